use crate::{AccountId, AssemblyId, BillingPeriod, Format, Layout, ReportId, SourceName};
use std::fmt;

/// What the objects of one export have in common: everything that stands in their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExportPlace<'a> {
    /// Where its objects lie.
    pub layout: Layout,
    /// The `[account]` folder of layout `eco`.
    pub account: &'a AccountId,
    /// The month.
    pub period: BillingPeriod,
    /// Our assembly id.
    pub assembly: &'a AssemblyId,
    /// The export.
    pub report: &'a ReportId,
}

/// Every object that apportion ever writes, and the only place where a key is put together from names.
///
/// A key is relative to the target (a customer's bucket prefix or folder) or, from `Unassigned` on, to the MSP's
/// place. `format!` of two ids into a path anywhere else is how one customer gets another's bill.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectKey<'a> {
    /// A data file of an export; the number counts from 1.
    Data(ExportPlace<'a>, Format, u32),
    /// The customer proof, beside the data files it speaks of.
    Proof(ExportPlace<'a>),
    /// The manifest as it was when this assembly was delivered: never replaced.
    AssemblyManifest(ExportPlace<'a>),
    /// The manifest: the one mutable object of an export, and its commit.
    Manifest {
        /// Where the export's objects lie.
        layout: Layout,
        /// The month.
        period: BillingPeriod,
        /// The export.
        report: &'a ReportId,
    },
    /// The source generation that a manifest stands for; folders only, where objects have no metadata.
    Generation {
        /// Where the export's objects lie.
        layout: Layout,
        /// The month.
        period: BillingPeriod,
        /// The export.
        report: &'a ReportId,
    },
    /// A file of unassigned line items, in the MSP's place only.
    Unassigned {
        /// The source's name.
        source: &'a SourceName,
        /// The month.
        period: BillingPeriod,
        /// The id of the whole delivery.
        delivery: &'a AssemblyId,
        /// Which file, from 1.
        number: u32,
    },
    /// The proof of a whole delivery, in the MSP's place only.
    MasterProof {
        /// The source's name.
        source: &'a SourceName,
        /// The month.
        period: BillingPeriod,
        /// The id of the whole delivery.
        delivery: &'a AssemblyId,
    },
    /// Names the newest master proof of a month; mutable, in the MSP's place only.
    MasterPointer {
        /// The source's name.
        source: &'a SourceName,
        /// The month.
        period: BillingPeriod,
    },
    /// What the MSP has decided about a month; mutable, in the MSP's place only.
    PeriodState {
        /// The source's name.
        source: &'a SourceName,
        /// The month.
        period: BillingPeriod,
    },
    /// Who is working on a month; mutable, in the MSP's place only.
    Lease {
        /// The source's name.
        source: &'a SourceName,
        /// The month.
        period: BillingPeriod,
    },
    /// An entry of the delivery log, counted from 1, in the MSP's place only.
    LogEntry(u64),
    /// Names the newest entry of the delivery log; mutable, in the MSP's place only.
    LogHead,
}

/// The folder of one assembly.
impl fmt::Display for ExportPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, account, period, assembly, report } = self;
        match layout {
            Layout::Eco => write!(f, "RawCURReports/cur/{account}/{period}/{assembly}"),
            Layout::Aws => write!(f, "{report}/{period}/{assembly}"),
        }
    }
}

impl fmt::Display for ObjectKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(place, format, number) => {
                write!(f, "{place}/{}-{number:05}.{}", place.report, format.extension())
            }
            Self::Proof(place) => write!(f, "{place}/{}-Proof.json", place.report),
            Self::AssemblyManifest(place) => write!(f, "{place}/{}-Manifest.json", place.report),
            Self::Manifest { layout: Layout::Eco, period, report } => {
                write!(f, "manifests/{period}/{report}-Manifest.json")
            }
            Self::Manifest { layout: Layout::Aws, period, report } => {
                write!(f, "{report}/{period}/{report}-Manifest.json")
            }
            Self::Generation { layout: Layout::Eco, period, report } => {
                write!(f, "manifests/{period}/.{report}-Generation.json")
            }
            Self::Generation { layout: Layout::Aws, period, report } => {
                write!(f, "{report}/{period}/.{report}-Generation.json")
            }
            Self::Unassigned { source, period, delivery, number } => {
                write!(f, "unassigned/{source}/{period}/{delivery}/unassigned-{number:05}.csv.gz")
            }
            Self::MasterProof { source, period, delivery } => {
                write!(f, "proofs/{source}/{period}/{delivery}-MasterProof.json")
            }
            Self::MasterPointer { source, period } => {
                write!(f, "proofs/{source}/{period}-MasterPointer.json")
            }
            Self::PeriodState { source, period } => write!(f, "states/{source}/{period}-State.json"),
            Self::Lease { source, period } => write!(f, "leases/{source}/{period}-Lease.json"),
            Self::LogEntry(number) => write!(f, "log/{number:010}.json"),
            Self::LogHead => f.write_str("log/head.json"),
        }
    }
}

/// A key that must not be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {key:?} {problem}")]
pub struct KeyError {
    /// The key as it was found.
    pub key: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl ObjectKey<'_> {
    /// Of which source and month a key of the MSP's place is the master pointer; None if it is something else.
    pub fn read_master_pointer(key: &str) -> Option<(SourceName, BillingPeriod)> {
        let (source, name) = key.strip_prefix("proofs/")?.split_once('/')?;
        let source = SourceName::new(source).ok()?;
        let period = BillingPeriod::parse(name.strip_suffix("-MasterPointer.json")?).ok()?;
        Some((source, period))
    }

    /// Whether a key of the MSP's place tells of runs, and so differs from run to run: a lease, or the delivery log.
    pub fn tells_of_runs(key: &str) -> bool {
        key.starts_with("leases/") || key.starts_with("log/")
    }

    /// Checks that a key which somebody else wrote stays inside the place it is read from.
    ///
    /// # Errors
    /// A part `..` or `.`, a backslash, a NUL, a leading or doubled `/`, or more than 1,024 bytes (S3's limit).
    pub fn check_relative(key: &str) -> Result<(), KeyError> {
        let wrong = |problem| Err(KeyError { key: key.chars().take(200).collect(), problem });
        if key.is_empty() || key.len() > 1024 {
            return wrong("is empty or longer than 1,024 bytes");
        }
        if key.contains(['\\', '\0']) {
            return wrong("holds a backslash or a NUL");
        }
        for part in key.split('/') {
            match part {
                "." | ".." => return wrong("points outside its folder"),
                "" => return wrong("has an empty part ('//', or a '/' at an end)"),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_are_those_that_consumers_document() {
        let account = AccountId::from_data("111122223333");
        let period = BillingPeriod::new(2026, 10).unwrap();
        let assembly = AssemblyId::from_hash(&[0xab; 32]);
        let report = ReportId::new("acme").unwrap();
        let place =
            |layout| ExportPlace { layout, account: &account, period, assembly: &assembly, report: &report };
        assert_eq!(
            ObjectKey::Data(place(Layout::Eco), Format::CsvGz, 1).to_string(),
            "RawCURReports/cur/111122223333/20261001-20261101/abababab-abab-abab-abab-abababababab/acme-00001.csv.gz"
        );
        let manifest = |layout| ObjectKey::Manifest { layout, period, report: &report }.to_string();
        assert_eq!(manifest(Layout::Eco), "manifests/20261001-20261101/acme-Manifest.json");
        assert_eq!(
            ObjectKey::Data(place(Layout::Aws), Format::Parquet, 2).to_string(),
            "acme/20261001-20261101/abababab-abab-abab-abab-abababababab/acme-00002.snappy.parquet"
        );
        assert_eq!(manifest(Layout::Aws), "acme/20261001-20261101/acme-Manifest.json");
    }

    #[test]
    fn a_master_pointer_is_known_by_its_key() {
        let (source, period) = (SourceName::new("emea").unwrap(), BillingPeriod::new(2026, 10).unwrap());
        let key = ObjectKey::MasterPointer { source: &source, period }.to_string();
        assert_eq!(ObjectKey::read_master_pointer(&key), Some((source, period)));
        for other in [
            "proofs/emea/20261001-20261101/x-MasterProof.json",
            "proofs/20261001-20261101-MasterPointer.json",
            "states/emea/20261001-20261101-State.json",
            "proofs/e ea/20261001-20261101-MasterPointer.json",
        ] {
            assert_eq!(ObjectKey::read_master_pointer(other), None, "{other}");
        }
    }

    #[test]
    fn keys_that_leave_their_folder_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "a/../b", "..", "a/./b", "a\\b", "a\0b"] {
            assert!(ObjectKey::check_relative(bad).is_err(), "{bad:?}");
        }
        assert!(
            ObjectKey::check_relative("data/BILLING_PERIOD=2026-04/2026-04-16T15:24:15.653Z-x/a..b.csv.gz")
                .is_ok()
        );
    }
}
