use crate::outcome::{Kind, kind_of_io};
use crate::storage::StorageError;
use apportion_core::csv::CsvProblem;
use apportion_core::manifest::ManifestError;

/// Why a source can't be read. Every message says which object, and row and column where there is one.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The bucket or folder failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is nothing.
    #[error("{place}: {what}")]
    NotFound {
        /// Where.
        place: String,
        /// What was looked for.
        what: String,
    },
    /// There is something, but nothing that is read.
    #[error("{place}: nothing here can be delivered:\n{}", reasons.join("\n"))]
    Refused {
        /// Where.
        place: String,
        /// One line per thing found.
        reasons: Vec<String>,
    },
    /// Several reports, and none chosen.
    #[error("{place} holds several reports: {}. Choose one with --report NAME (or `report = \"NAME\"` in its [[source]])", names.join(", "))]
    Ambiguous {
        /// Where.
        place: String,
        /// The reports' names.
        names: Vec<String>,
    },
    /// A manifest can't be followed.
    #[error("{object}: {source}")]
    Manifest {
        /// The manifest's key.
        object: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A manifest's key leads out of the folder, or nowhere.
    #[error("{manifest}: key {key:?} {problem}. Nothing was read; check who wrote this manifest")]
    Key {
        /// The manifest's key.
        manifest: String,
        /// The key it names.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that the manifest names isn't there.
    #[error(
        "{manifest} names {object}, which isn't there. The delivery isn't complete: wait for AWS to finish it, or copy the file, and run again"
    )]
    Missing {
        /// The manifest's key.
        manifest: String,
        /// The missing object.
        object: String,
    },
    /// The source changed while it was read.
    #[error("{object} changed while it was read. Nothing was published; run again when the source is quiet")]
    Moved {
        /// What changed.
        object: String,
    },
    /// A compressed file is broken.
    #[error(
        "{object}: the gzip data are broken after {rows} rows: {problem}. Nothing was published; fetch the file again"
    )]
    Gzip {
        /// The object.
        object: String,
        /// Whole rows read before that.
        rows: u64,
        /// What is wrong.
        problem: String,
    },
    /// A record is broken.
    #[error(
        "{object}, row {row}: the record {problem}. Nothing was published; fetch the file again, or ask who wrote it"
    )]
    Record {
        /// The object.
        object: String,
        /// The row, from 1; 0 is the header.
        row: u64,
        /// What is wrong.
        problem: CsvProblem,
    },
    /// A Parquet file is broken or holds what isn't read.
    #[error("{object}: {problem}")]
    Parquet {
        /// The object.
        object: String,
        /// What is wrong.
        problem: String,
    },
    /// A cell isn't what its column says.
    #[error("{object}, row {row}, column {column}: {problem}")]
    Cell {
        /// The object.
        object: String,
        /// The row, from 1.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// A column without which nothing can be delivered isn't there.
    #[error("{object} has no column {}. Without it no line item can be delivered; this period is refused and the last export stays", columns.join(", "))]
    ColumnsMissing {
        /// The object.
        object: String,
        /// The snake names.
        columns: Vec<String>,
    },
    /// A file has more columns than any CUR.
    #[error("{object} has {columns} columns, more than the limit of {limit}")]
    TooManyColumns {
        /// The object.
        object: String,
        /// How many.
        columns: usize,
        /// The limit.
        limit: usize,
    },
    /// Line items of several months in one loose file.
    #[error(
        "{object}, row {row}: the file holds line items of {first} and of {other}; a loose file of several months isn't read yet. Deliver from the report with its manifests, or cut the file by month"
    )]
    SeveralMonths {
        /// The object.
        object: String,
        /// The row, from 1.
        row: u64,
        /// The month of the first line item.
        first: String,
        /// The other month.
        other: String,
    },
    /// Reading a file failed.
    #[error("{object}: {source}")]
    Io {
        /// The object.
        object: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SourceError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::NotFound { .. } => Kind::NotFound,
            Self::Refused { .. } | Self::Ambiguous { .. } | Self::SeveralMonths { .. } => Kind::Usage,
            Self::Missing { .. } | Self::Moved { .. } => Kind::SourceMoved,
            Self::Manifest { .. }
            | Self::Key { .. }
            | Self::Gzip { .. }
            | Self::Record { .. }
            | Self::Parquet { .. }
            | Self::Cell { .. }
            | Self::ColumnsMissing { .. }
            | Self::TooManyColumns { .. } => Kind::Limit,
            Self::Io { source, .. } => kind_of_io(source),
        }
    }
}
