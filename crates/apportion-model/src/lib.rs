//! Names: the types every crate of apportion agrees on, and no rules.
//!
//! What comes in: text from settings, manifests and cells. What goes out: types that can't be confused with
//! each other. What it must never do: decide anything about money, routes or columns, or read or write a byte.

mod account;
mod customer;
mod export;
mod key;
mod period;
mod report;
mod time;

pub use account::AccountId;
pub use customer::CustomerId;
pub use export::{Format, Layout};
pub use key::{ExportPlace, KeyError, ObjectKey};
pub use period::BillingPeriod;
pub use report::{AssemblyId, ReportId, SourceName};
pub use time::{Day, Instant};

/// A text that is not the name it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct NameError {
    /// The text as it was given.
    pub text: String,
    /// What would have been right, in words a person can act on.
    pub wanted: &'static str,
}

impl NameError {
    pub(crate) fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(200).collect(), wanted }
    }
}
