use serde::{Deserialize, Serialize};
use std::fmt;

/// Where the objects of an export lie in its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// As Spot Eco asks for it: `RawCURReports/cur/…` and `manifests/…`.
    Eco,
    /// As AWS writes a legacy CUR in mode "create new version": one folder per report, month and assembly.
    Aws,
}

impl Layout {
    /// All layouts, the default first.
    pub const ALL: [Self; 2] = [Self::Eco, Self::Aws];

    /// The layout's name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eco => "eco",
            Self::Aws => "aws",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the data files of an export are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    /// CSV, compressed by gzip.
    #[serde(rename = "csv.gz")]
    CsvGz,
    /// Parquet, compressed by snappy.
    #[serde(rename = "parquet")]
    Parquet,
}

impl Format {
    /// All formats, the default first.
    pub const ALL: [Self; 2] = [Self::CsvGz, Self::Parquet];

    /// The format's name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CsvGz => "csv.gz",
            Self::Parquet => "parquet",
        }
    }

    /// How the names of its data files end, without the first dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::CsvGz => "csv.gz",
            Self::Parquet => "snappy.parquet",
        }
    }

    /// What it adds to a report id, so that a consumer that follows one manifest never counts twice.
    pub fn report_suffix(self) -> &'static str {
        match self {
            Self::CsvGz => "",
            Self::Parquet => "-parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
