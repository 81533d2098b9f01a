use crate::outcome::{Kind, kind_of_io};
use crate::storage::StorageError;
use apportion_core::csv::CsvProblem;
use apportion_core::manifest::ManifestError;
use apportion_model::BillingPeriod;

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
    /// Two reports of one name in two places.
    #[error("two reports are called {report}: {}. Give the folder of the one that is meant as the source", manifests.join(" and "))]
    SameName {
        /// The name.
        report: String,
        /// A manifest of each.
        manifests: Vec<String>,
    },
    /// Two manifests of one month that say different things.
    #[error("report {report} has two manifests of {} that don't name the same delivery: {}. Move the one that isn't AWS's newest away, or copy both anew", period.month_text(), manifests.join(" and "))]
    TwoManifests {
        /// The report.
        report: String,
        /// The month.
        period: BillingPeriod,
        /// Both.
        manifests: Vec<String>,
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
    /// AWS is writing the report.
    #[error(
        "{object} says UPDATING: AWS is writing this report now. Nothing was read; run again when it says READY"
    )]
    NotReady {
        /// The status table's key.
        object: String,
    },
    /// The source changed while it was read.
    #[error("{object} changed while it was read. Nothing was published; run again when the source is quiet")]
    Moved {
        /// What changed.
        object: String,
    },
    /// The only file holds nothing at all.
    #[error("{object}: the file is empty (0 bytes). Nothing was published; fetch the file again")]
    Empty {
        /// The object.
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
    /// A zip archive is broken, or isn't one of a cost report.
    #[error(
        "{object}: the zip archive can't be read after {rows} rows: {problem}. Nothing was published; fetch the file again, or ask who wrote it"
    )]
    Zip {
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
            Self::Refused { .. }
            | Self::Ambiguous { .. }
            | Self::SameName { .. }
            | Self::TwoManifests { .. } => Kind::Usage,
            Self::Missing { .. } | Self::Moved { .. } | Self::NotReady { .. } => Kind::SourceMoved,
            Self::Manifest { .. }
            | Self::Key { .. }
            | Self::Empty { .. }
            | Self::Gzip { .. }
            | Self::Zip { .. }
            | Self::Record { .. }
            | Self::Parquet { .. }
            | Self::Cell { .. }
            | Self::ColumnsMissing { .. }
            | Self::TooManyColumns { .. } => Kind::Limit,
            Self::Io { source, .. } => kind_of_io(source),
        }
    }
}
