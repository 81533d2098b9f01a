//! What prevents an audit.
//!
//! What comes in: the object, row, column and cause. What goes out: one sentence with all of them, and a kind that
//! an exit code can be chosen by. What it must never do: stand for a defect of a target; those are findings.

use crate::place::{PlaceError, PlaceErrorKind};

/// Which sort of obstacle it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditErrorKind {
    /// There is no such source, report or period.
    NotFound,
    /// The source holds several reports and none was named.
    Ambiguous,
    /// The manifest names an object that isn't there, or something was replaced while it was read.
    SourceNotReady,
    /// The source is broken, or holds what the delivery format refuses; or there is more of it than may be.
    BadInput,
    /// Credentials or permissions don't suffice.
    Permission,
    /// A place is reached in a wrong way.
    Settings,
    /// A place can't be read.
    Io,
    /// The caller asked to stop.
    Interrupted,
}

/// Why the audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no such source, report or period.
    #[error("{wanted} was not found in {place}")]
    NotFound {
        /// What was looked for.
        wanted: String,
        /// Where.
        place: String,
    },
    /// The source holds several reports and none was named.
    #[error("{place} holds several reports, name one of them: {}", .found.join(", "))]
    Ambiguous {
        /// Where.
        place: String,
        /// The names found.
        found: Vec<String>,
    },
    /// The manifest names an object that isn't there.
    #[error("{manifest} names {object}, which isn't there")]
    SourceNotReady {
        /// The manifest's key.
        manifest: String,
        /// The object's key, as the manifest has it.
        object: String,
    },
    /// The source is broken, or holds what the delivery format refuses.
    #[error("{object}{}{}: {cause}", row_text(.row), column_text(.column))]
    BadInput {
        /// The object's key.
        object: String,
        /// The data row, from 1.
        row: Option<u64>,
        /// The column's snake name.
        column: Option<String>,
        /// What is wrong, and what was found.
        cause: String,
    },
    /// A place, or an object of it, can't be read.
    #[error("{cause}{}{}", after(.rows), advice(.cause))]
    Place {
        /// How many rows of the object were read before.
        rows: Option<u64>,
        /// The place's own sentence.
        cause: PlaceError,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

fn row_text(row: &Option<u64>) -> String {
    row.map_or_else(String::new, |row| format!(", row {row}"))
}

fn after(rows: &Option<u64>) -> String {
    rows.filter(|rows| *rows > 0).map_or_else(String::new, |rows| format!(" (after {rows} rows)"))
}

fn advice(cause: &PlaceError) -> &'static str {
    match cause.kind {
        PlaceErrorKind::Moved => ". Nothing was judged by two versions; run again when nobody writes there",
        _ => "",
    }
}

fn column_text(column: &Option<String>) -> String {
    column.as_ref().map_or_else(String::new, |column| format!(", column {column}"))
}

impl From<PlaceError> for AuditError {
    fn from(cause: PlaceError) -> Self {
        Self::Place { rows: None, cause }
    }
}

impl AuditError {
    /// Which sort of obstacle it is.
    pub fn kind(&self) -> AuditErrorKind {
        match self {
            Self::NotFound { .. } => AuditErrorKind::NotFound,
            Self::Ambiguous { .. } => AuditErrorKind::Ambiguous,
            Self::SourceNotReady { .. } => AuditErrorKind::SourceNotReady,
            Self::BadInput { .. } => AuditErrorKind::BadInput,
            Self::Place { cause, .. } => match cause.kind {
                PlaceErrorKind::NotFound => AuditErrorKind::NotFound,
                PlaceErrorKind::Moved => AuditErrorKind::SourceNotReady,
                PlaceErrorKind::Permission => AuditErrorKind::Permission,
                PlaceErrorKind::Settings => AuditErrorKind::Settings,
                PlaceErrorKind::Limit => AuditErrorKind::BadInput,
                PlaceErrorKind::Interrupted => AuditErrorKind::Interrupted,
                PlaceErrorKind::Unreachable | PlaceErrorKind::Unreadable => AuditErrorKind::Io,
            },
            Self::Interrupted => AuditErrorKind::Interrupted,
        }
    }

    /// A fault of an object as a whole.
    pub(crate) fn bad(object: &str, cause: impl Into<String>) -> Self {
        Self::BadInput { object: object.into(), row: None, column: None, cause: cause.into() }
    }

    /// Content that can't be decoded.
    pub(crate) fn broken(object: &str, row: Option<u64>, cause: impl Into<String>) -> Self {
        Self::BadInput { object: object.into(), row, column: None, cause: cause.into() }
    }

    /// The same with the object's place before its key.
    pub(crate) fn of(self, place: &str) -> Self {
        let whole = |key: String| if key.is_empty() { place.to_owned() } else { format!("{place}/{key}") };
        match self {
            Self::BadInput { object, row, column, cause } => {
                Self::BadInput { object: whole(object), row, column, cause }
            }
            Self::SourceNotReady { manifest, object } => {
                Self::SourceNotReady { manifest: whole(manifest), object }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where() {
        let error = AuditError::BadInput {
            object: "a/b.csv.gz".into(),
            row: Some(7),
            column: Some("line_item_unblended_cost".into()),
            cause: "\"x\" is not a number".into(),
        };
        assert_eq!(
            error.to_string(),
            "a/b.csv.gz, row 7, column line_item_unblended_cost: \"x\" is not a number"
        );
        assert_eq!(error.kind(), AuditErrorKind::BadInput);
    }
}
