use crate::NameError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An AWS account id.
///
/// In data it is opaque text: real files hold ids with leading zeros, and other tools' files hold ids of 11 or
/// 13 digits. Only settings are strict ([`AccountId::from_settings`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(Box<str>);

impl AccountId {
    /// Takes any text as it stands, as data demands.
    pub fn from_data(text: &str) -> Self {
        Self(text.into())
    }

    /// Takes an account id that a person wrote down.
    ///
    /// # Errors
    /// Anything but exactly 12 digits.
    pub fn from_settings(text: &str) -> Result<Self, NameError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "an account id of 12 digits (keep leading zeros, and quote it)"))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_leading_zeros_and_refuse_the_rest() {
        assert_eq!(AccountId::from_settings("011254002932").unwrap().as_str(), "011254002932");
        for bad in ["", "11254002932", "0112540029321", "01125400293x", " 11254002932", "０11254002932"] {
            assert!(AccountId::from_settings(bad).is_err(), "{bad:?}");
        }
    }
}
