//! Manifests: what belongs to a delivery. Bytes in, struct out, and back.
//!
//! What comes in: the text of a legacy CUR manifest, a Data Exports manifest, or one of our own. What goes out:
//! which objects a delivery is made of, under which name, for which month. What it must never do: look at a
//! bucket, or normalise a key: keys are opaque until the source stage resolves them.

mod own;

pub use own::{OwnManifest, read_own, write_own};

use apportion_model::{AssemblyId, BillingPeriod};
use serde::Deserialize;

/// The kinds of source that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Legacy CUR as CSV, packed or not.
    Cur1Csv,
    /// Legacy CUR as Parquet.
    Cur1Parquet,
    /// CUR 2.0 as CSV, packed or not.
    Cur2Csv,
    /// CUR 2.0 as Parquet.
    Cur2Parquet,
    /// Loose files without a manifest.
    Files,
}

impl Kind {
    /// The kind's name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cur1Csv => "cur1-csv",
            Self::Cur1Parquet => "cur1-parquet",
            Self::Cur2Csv => "cur2-csv",
            Self::Cur2Parquet => "cur2-parquet",
            Self::Files => "files",
        }
    }
}

/// How an object is written, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// gzip CSV.
    CsvGz,
    /// CSV in a zip archive.
    CsvZip,
    /// Parquet.
    Parquet,
    /// Plain CSV.
    Csv,
    /// Something else.
    Unknown,
}

impl Encoding {
    /// Whether it is CSV, packed or not.
    pub fn is_csv(self) -> bool {
        matches!(self, Self::CsvGz | Self::CsvZip | Self::Csv)
    }

    /// By the name of an object.
    pub fn of_key(key: &str) -> Self {
        if key.ends_with(".csv.gz") {
            Self::CsvGz
        } else if key.ends_with(".zip") {
            Self::CsvZip
        } else if key.ends_with(".parquet") {
            Self::Parquet
        } else if key.ends_with(".csv") {
            Self::Csv
        } else {
            Self::Unknown
        }
    }
}

/// What a source's manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceManifest {
    /// Legacy CUR (false) or Data Exports (true).
    pub data_exports: bool,
    /// The delivery's name: assembly id or execution id.
    pub assembly: AssemblyId,
    /// The report's name, where the manifest says it.
    pub report: Option<String>,
    /// The month, where the manifest says it (a Data Exports manifest doesn't).
    pub period: Option<BillingPeriod>,
    /// The data objects' keys, as written.
    pub keys: Vec<String>,
    /// The names of the columns, as written; what a file's own header says beats it.
    pub columns: Vec<String>,
}

/// A text that is not a manifest that can be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of a manifest's shape.
    #[error("is not a manifest: {0}")]
    Shape(String),
    /// The period isn't a month.
    #[error("has billing period {start} to {end}, which is not one calendar month")]
    Period {
        /// As written.
        start: String,
        /// As written.
        end: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    assembly_id: Option<String>,
    report_name: Option<String>,
    billing_period: Option<RawPeriod>,
    report_keys: Option<Vec<String>>,
    execution_id: Option<String>,
    data_files: Option<Vec<String>>,
    #[serde(default)]
    columns: Vec<RawColumn>,
}

#[derive(Deserialize)]
struct RawPeriod {
    start: String,
    end: String,
}

#[derive(Deserialize)]
struct RawColumn {
    category: Option<String>,
    name: String,
}

/// Reads a legacy CUR or Data Exports manifest.
///
/// # Errors
/// Text that isn't JSON of either shape, or a period that isn't one calendar month.
pub fn read_source(bytes: &[u8]) -> Result<SourceManifest, ManifestError> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| ManifestError::Shape(error.to_string()))?;
    let columns = raw
        .columns
        .into_iter()
        .map(|column| match column.category {
            Some(category) => format!("{category}/{}", column.name),
            None => column.name,
        })
        .collect();
    if let Some(keys) = raw.data_files {
        let id = raw.execution_id.ok_or_else(|| ManifestError::Shape("no executionId".into()))?;
        return Ok(SourceManifest {
            data_exports: true,
            assembly: AssemblyId::from_source(&id),
            report: None,
            period: None,
            keys,
            columns,
        });
    }
    let keys =
        raw.report_keys.ok_or_else(|| ManifestError::Shape("no reportKeys and no dataFiles".into()))?;
    let id = raw.assembly_id.ok_or_else(|| ManifestError::Shape("no assemblyId".into()))?;
    let period = raw.billing_period.ok_or_else(|| ManifestError::Shape("no billingPeriod".into()))?;
    Ok(SourceManifest {
        data_exports: false,
        assembly: AssemblyId::from_source(&id),
        report: raw.report_name,
        period: Some(read_period(&period)?),
        keys,
        columns,
    })
}

/// `20180501T000000.000Z`; the end is exclusive in AWS's own manifests, the month's last second in some others'.
fn read_period(raw: &RawPeriod) -> Result<BillingPeriod, ManifestError> {
    let wrong = || ManifestError::Period { start: raw.start.clone(), end: raw.end.clone() };
    let date = |text: &str| -> Option<(i32, u32, u32)> {
        let digits = text.get(..8)?;
        Some((
            digits.get(..4)?.parse().ok()?,
            digits.get(4..6)?.parse().ok()?,
            digits.get(6..8)?.parse().ok()?,
        ))
    };
    let (year, month, day) = date(&raw.start).ok_or_else(wrong)?;
    let period = BillingPeriod::new(year, month).map_err(|_| wrong())?;
    let end = date(&raw.end).ok_or_else(wrong)?;
    let exclusive = end == period.end().date();
    let last_second = end == period.end().plus(-1).date();
    if day == 1 && (exclusive || last_second) { Ok(period) } else { Err(wrong()) }
}

/// Whether a text begins like Athena's own output: fields between bytes 1, and no header.
pub fn is_athena_text(start: &[u8]) -> bool {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.contains(&1) && !line.contains(&0)
}

/// Whether column names are those of a FOCUS export, which lacks what a CUR must have.
pub fn is_focus<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = [false; 2];
    names.any(|name| {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        seen[0] |= is("BilledCost");
        seen[1] |= is("ChargePeriodStart") || is("SubAccountId");
        seen == [true; 2]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes() {
        let legacy = read_source(
            br#"{"assemblyId":"20230803T081120Z","reportName":"R","billingPeriod":{"start":"20230801T000000.000Z","end":"20230901T000000.000Z"},
                "bucket":null,"reportKeys":["P/R/x.csv.gz"],"columns":[{"category":"bill","name":"BillType"}],"additionalArtifactKeys":[{"artifactType":"x","name":"y"}]}"#,
        )
        .unwrap();
        assert_eq!(legacy.period.unwrap().to_string(), "20230801-20230901");
        assert_eq!(legacy.columns, ["bill/BillType"]);
        let exports = read_source(
            br#"{"executionId":"e","dataFiles":["s3://b/P/E/data/BILLING_PERIOD=2026-04/E.csv.gz"],"columns":[{"name":"BilledCost","type":"double"},{"name":"SubAccountId"}]}"#,
        )
        .unwrap();
        assert!(exports.data_exports && exports.period.is_none());
        assert!(is_focus(exports.columns.iter().map(String::as_str)));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            "{\"reportKeys\":[]}",
            "{\"dataFiles\":[]}",
            r#"{"assemblyId":"a","reportKeys":[],"billingPeriod":{"start":"20230802T","end":"20230901T"}}"#,
            r#"{"assemblyId":"a","reportKeys":[],"billingPeriod":{"start":"20230801T","end":"20231001T"}}"#,
            r#"{"assemblyId":"a","reportKeys":[],"billingPeriod":{"start":"é","end":"é"}}"#,
        ] {
            assert!(read_source(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
