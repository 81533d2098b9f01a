use crate::NameError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who receives a share. Becomes part of report ids and file names, so its letters are few.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CustomerId(Box<str>);

impl CustomerId {
    /// # Errors
    /// Anything but 1 to 64 of `a-z A-Z 0-9 - _`, beginning with a letter or digit.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if crate::report::is_plain_name(text, 64) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(
                text,
                "a customer id: 1 to 64 letters, digits, '-' or '_', beginning with a letter or digit",
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CustomerId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<CustomerId> for String {
    fn from(id: CustomerId) -> Self {
        id.0.into()
    }
}
