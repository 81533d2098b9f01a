//! The source: which deliveries it holds, and their rows.
//!
//! What comes in: the source's place, in which a report lies as AWS put it, or loose files. What goes out: deliveries
//! with their objects, and rows as cells under snake names. What it must never do: write, take a file that no manifest
//! names, or make one delivery of two versions.

mod archive;
mod find;
mod objects;
mod parquet_rows;
mod pointer;
mod rows;

pub(crate) use find::find;
pub(crate) use objects::Objects;
pub(crate) use parquet_rows::write_cell;
pub(crate) use rows::Rows;

use crate::error::AuditError;
use crate::hashes::{Fingerprint, hex};
use apportion_model::BillingPeriod;
use sha2::{Digest, Sha256};

/// One billing period of a report.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// Where its objects are.
    pub(crate) source: Objects,
    pub(crate) report: String,
    pub(crate) period: BillingPeriod,
    /// Absent for a loose file.
    pub(crate) manifest: Option<ReadObject>,
    /// AWS's name of the delivery; absent for a loose file.
    pub(crate) assembly: Option<String>,
    pub(crate) objects: Vec<DataObject>,
    pub(crate) kind: Option<&'static str>,
}

impl Delivery {
    /// Opens an object; None if it is one of several and has no bytes: what an update with fewer files can leave.
    pub(crate) fn open(&self, object: &DataObject) -> Result<Option<Rows>, AuditError> {
        let opened = self.source.open(&object.key)?;
        if self.objects.len() > 1 && opened.bytes() == 0 {
            return Ok(None);
        }
        Rows::read(object, opened).map(Some)
    }

    /// Looks whether the manifest still is what it was before the objects were read.
    pub(crate) fn check_manifest(&self) -> Result<(), AuditError> {
        match &self.manifest {
            Some(manifest) => self.source.check_still(manifest),
            None => Ok(()),
        }
    }
}

/// A data object that is there to be read.
#[derive(Debug, Clone)]
pub(crate) struct DataObject {
    /// Relative to the source's place.
    pub(crate) key: String,
    pub(crate) format: Format,
    /// Only this month's rows are the delivery's; of a loose file.
    pub(crate) month: Option<BillingPeriod>,
}

/// How a data object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// gzip CSV.
    Csv,
    /// CSV without any packing.
    PlainCsv,
    /// One CSV in a zip archive.
    ZipCsv,
    Parquet,
}

impl Format {
    fn of(key: &str) -> Option<Self> {
        let endings = [
            (".csv.gz", Self::Csv),
            (".csv", Self::PlainCsv),
            (".zip", Self::ZipCsv),
            (".parquet", Self::Parquet),
        ];
        endings.into_iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, format)| format)
    }
}

/// An object of the source after it was read.
#[derive(Debug, Clone)]
pub(crate) struct ReadObject {
    pub(crate) key: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) rows: u64,
}

/// The version of a source, from its manifest and data objects in their order.
pub(crate) fn source_version(objects: &[ReadObject]) -> String {
    let mut hash = Sha256::new();
    for object in objects {
        let ReadObject { key, fingerprint, .. } = object;
        hash.update(format!("{key}\t{}\t{}\n", fingerprint.bytes, fingerprint.sha256));
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_hash_of_lines() {
        let objects = [ReadObject { key: "a/b".into(), fingerprint: Fingerprint::of(b"abc"), rows: 1 }];
        let line = "a/b\t3\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert_eq!(source_version(&objects), hex(&Sha256::digest(line)));
    }
}
