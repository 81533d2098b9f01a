use crate::NameError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Letters, digits, `-` and `_`, beginning with a letter or digit: safe in a key, a file name and a URL.
pub(crate) fn is_plain_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The id of one of our exports: `<customer>[-<source name>][-<account>][-parquet]`, stable over months.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReportId(Box<str>);

impl ReportId {
    /// # Errors
    /// Anything but 1 to 200 of `a-z A-Z 0-9 - _`, beginning with a letter or digit.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if is_plain_name(text, 200) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "a report id: 1 to 200 letters, digits, '-' or '_'"))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ReportId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<ReportId> for String {
    fn from(id: ReportId) -> Self {
        id.0.into()
    }
}

/// The name of one delivery. AWS's is opaque (a UUID in old reports, a timestamp in newer ones, an execution id
/// in CUR 2.0) and must never be sorted by; ours is a hash in a UUID's shape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssemblyId(Box<str>);

impl AssemblyId {
    /// Takes AWS's name for a delivery as it stands.
    pub fn from_source(text: &str) -> Self {
        Self(text.into())
    }

    /// Our own name: the first 16 bytes of a hash as 32 hex digits, grouped 8-4-4-4-12.
    pub fn from_hash(hash: &[u8; 32]) -> Self {
        let mut text = String::with_capacity(36);
        for (index, byte) in hash.iter().take(16).enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AssemblyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one `[[source]]` of the settings; `main` for the one that goes without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(Box<str>);

impl SourceName {
    /// # Errors
    /// Anything but 1 to 64 of `a-z A-Z 0-9 - _`, beginning with a letter or digit.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if is_plain_name(text, 64) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "a source name: 1 to 64 letters, digits, '-' or '_'"))
        }
    }

    /// The name of a source that the settings don't name.
    pub fn unnamed() -> Self {
        Self("main".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SourceName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> Self {
        name.0.into()
    }
}
