use crate::{AccountId, AssemblyId, BillingPeriod, ReportId, SourceName};
use std::fmt;

/// Every object that apportion ever writes, and the only place where a key is put together from names.
///
/// A key is relative to the target (a customer's bucket prefix or folder) or, for the last three, to the MSP's
/// place. `format!` of two ids into a path anywhere else is how one customer gets another's bill.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectKey<'a> {
    /// A data file of an export in layout `eco`; `number` counts from 1.
    EcoData {
        /// The `[account]` folder.
        account: &'a AccountId,
        /// The month.
        period: BillingPeriod,
        /// Our assembly id.
        assembly: &'a AssemblyId,
        /// The export.
        report: &'a ReportId,
        /// Which file, from 1.
        number: u32,
    },
    /// The customer proof, beside the data files it speaks of.
    EcoProof {
        /// The `[account]` folder.
        account: &'a AccountId,
        /// The month.
        period: BillingPeriod,
        /// Our assembly id.
        assembly: &'a AssemblyId,
        /// The export.
        report: &'a ReportId,
    },
    /// The manifest in layout `eco`: the one mutable object of an export, and its commit.
    EcoManifest {
        /// The month.
        period: BillingPeriod,
        /// The export.
        report: &'a ReportId,
    },
    /// The source generation that a manifest stands for; folders only, where objects have no metadata.
    EcoGeneration {
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
}

impl fmt::Display for ObjectKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcoData { account, period, assembly, report, number } => {
                write!(f, "RawCURReports/cur/{account}/{period}/{assembly}/{report}-{number:05}.csv.gz")
            }
            Self::EcoProof { account, period, assembly, report } => {
                write!(f, "RawCURReports/cur/{account}/{period}/{assembly}/{report}-Proof.json")
            }
            Self::EcoManifest { period, report } => write!(f, "manifests/{period}/{report}-Manifest.json"),
            Self::EcoGeneration { period, report } => {
                write!(f, "manifests/{period}/.{report}-Generation.json")
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
    fn the_eco_layout_is_the_one_the_consumer_documents() {
        let account = AccountId::from_data("111122223333");
        let period = BillingPeriod::new(2026, 10).unwrap();
        let assembly = AssemblyId::from_hash(&[0xab; 32]);
        let report = ReportId::new("acme").unwrap();
        assert_eq!(
            ObjectKey::EcoData { account: &account, period, assembly: &assembly, report: &report, number: 1 }
                .to_string(),
            "RawCURReports/cur/111122223333/20261001-20261101/abababab-abab-abab-abab-abababababab/acme-00001.csv.gz"
        );
        assert_eq!(
            ObjectKey::EcoManifest { period, report: &report }.to_string(),
            "manifests/20261001-20261101/acme-Manifest.json"
        );
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
