//! What the audit says.
//!
//! What comes in: counts and differences from the other modules. What goes out: one report with the four zeros, the
//! figures behind them, and every finding. What it must never do: leave a difference out because it is small.

use apportion_model::BillingPeriod;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::numbers::{Number, Sum};

/// Everything the audit found.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// One entry per audited billing period.
    pub periods: Vec<PeriodAudit>,
    /// Billing periods of the source that are locked, and weren't compared with it.
    pub locked: Vec<BillingPeriod>,
    /// What is wrong, in the order it was found.
    pub findings: Vec<Finding>,
}

/// The figures of one billing period.
#[derive(Debug, Clone, Serialize)]
pub struct PeriodAudit {
    /// The month.
    pub billing_period: BillingPeriod,
    /// Line items in the source.
    pub source_rows: u64,
    /// One entry per audited export.
    pub customers: Vec<CustomerAudit>,
    /// Line items that belong to no share, withheld ones included.
    pub unassigned_rows: u64,
    /// Of those, the ones that a customer owns.
    pub withheld_rows: u64,
    /// Line items of shares whose target wasn't audited.
    pub unaudited_rows: u64,
    /// Unblended cost of the source, exact, per currency.
    pub unblended_source: BTreeMap<String, String>,
    /// The four zeros of this period.
    pub zeros: Zeros,
}

/// The figures of one export.
#[derive(Debug, Clone, Serialize)]
pub struct CustomerAudit {
    /// Whose it is.
    pub customer: String,
    /// Its report id.
    pub report_id: String,
    /// The assembly its manifest names.
    pub assembly_id: Option<String>,
    /// The key of its proof, if its manifest was read.
    pub proof: Option<String>,
    /// Line items that belong in it.
    pub rows_expected: u64,
    /// Rows that its consumer reads.
    pub rows_found: u64,
    /// The auditor's own multiset hash of the rows as they should be: of the names and cells that aren't blank.
    pub rows_hash_expected: String,
    /// The same over the rows that its consumer reads.
    pub rows_hash_found: String,
    /// Unblended cost that belongs in it, exact, per currency.
    pub unblended_expected: BTreeMap<String, String>,
    /// Unblended cost that its consumer reads.
    pub unblended_found: BTreeMap<String, String>,
    /// Data files that its manifest names.
    pub files: u64,
    /// Findings about it.
    pub findings: u64,
}

/// The four zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Zeros {
    /// Line items that are in no share or in too many.
    pub rows_unexplained: u64,
    /// Unblended cost that is missing or too much: an exact decimal, absolute, over exports and currencies.
    pub money_unexplained: String,
    /// Cells that show a customer somebody else's account, and account ids of others in manifests and proofs.
    pub cells_of_others: u64,
    /// Data files that are not what manifest and proof say.
    pub files_not_as_manifest: u64,
}

/// One defect.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Which sort.
    pub kind: FindingKind,
    /// Whose delivery, if it is one customer's.
    pub customer: Option<String>,
    /// Which month.
    pub billing_period: Option<BillingPeriod>,
    /// The object's key below its target or place.
    pub object: String,
    /// What was expected and what was found, with row and column where known.
    pub detail: String,
}

/// The sorts of defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The export has no manifest.
    ManifestMissing,
    /// The manifest is no JSON object, or can't be read.
    ManifestUnreadable,
    /// A field of the manifest isn't what it must be.
    ManifestDiffers,
    /// The manifest names a file that isn't there.
    FileMissing,
    /// A key is not one of the export's assembly, or a data file beside the named ones.
    FileUnexpectedKey,
    /// A file can't be read.
    FileUnreadable,
    /// A file's SHA-256 isn't the proof's.
    FileHash,
    /// A file's size isn't the proof's.
    FileSize,
    /// A file's gzip is cut off, broken, or followed by something else.
    GzipBroken,
    /// A file has more gzip members than it may have.
    GzipMembers,
    /// A Parquet file is cut off, broken, or can't be decoded.
    ParquetBroken,
    /// A column of a Parquet file isn't of the contract's type.
    SchemaDiffers,
    /// A file's header row isn't the contract's.
    HeaderDiffers,
    /// A row has more or fewer cells than the header.
    RaggedRow,
    /// The text of a file isn't written as the contract says (quoting, line ends, blank lines).
    FormDiffers,
    /// A cell of type double is no number.
    CellUnreadable,
    /// Fewer rows than belong in the export.
    RowsMissing,
    /// More rows than belong in the export.
    RowsSurplus,
    /// As many rows as there should be, with other cells.
    CellsDiffer,
    /// The right rows in another order than `order = "source"` promises.
    OrderDiffers,
    /// A column's sum isn't the source's.
    SumsDiffer,
    /// A row of an account that the export doesn't have.
    ForeignAccount,
    /// An account id of somebody else inside a cell.
    ForeignCell,
    /// An account id of somebody else in a manifest or a customer's proof.
    ForeignText,
    /// The share of an account that has no export.
    ShareWithoutExport,
    /// The export has no proof.
    ProofMissing,
    /// The customer proof is no JSON object, or can't be read.
    ProofUnreadable,
    /// A field of the customer proof isn't what it must be.
    ProofDiffers,
    /// The MSP's place has no pointer, or its master proof is missing.
    MasterMissing,
    /// Pointer or master proof are no JSON object, or can't be read.
    MasterUnreadable,
    /// A field of the master proof or its pointer isn't what it must be.
    MasterDiffers,
    /// The files of unassigned line items aren't what they must be.
    UnassignedDiffers,
    /// The source generation beside a manifest is missing or not what it must be.
    GenerationDiffers,
    /// The source isn't the one that the delivery was made from.
    SourceChanged,
}

impl FindingKind {
    /// Whether the defect means that a data file isn't as manifest and proof say.
    fn is_about_a_file(self) -> bool {
        use FindingKind::{
            FileHash, FileMissing, FileSize, FileUnexpectedKey, FileUnreadable, FormDiffers, GzipBroken,
            GzipMembers, HeaderDiffers, ParquetBroken, RaggedRow, SchemaDiffers,
        };
        matches!(
            self,
            FileHash
                | FileMissing
                | FileSize
                | FileUnexpectedKey
                | FileUnreadable
                | FormDiffers
                | GzipBroken
                | GzipMembers
                | HeaderDiffers
                | ParquetBroken
                | RaggedRow
                | SchemaDiffers
        )
    }
}

impl AuditReport {
    /// Whether there is nothing to say against the delivery.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.zeros().are_zero()
    }

    /// The four zeros over all periods.
    pub fn zeros(&self) -> Zeros {
        let mut all = ZeroCounts::default();
        for period in &self.periods {
            all.rows += period.zeros.rows_unexplained;
            all.cells += period.zeros.cells_of_others;
            all.files += period.zeros.files_not_as_manifest;
            if let Ok(money) = Number::parse(period.zeros.money_unexplained.as_bytes()) {
                all.money.add(&money);
            }
        }
        all.zeros()
    }
}

impl Zeros {
    /// Whether all four are.
    pub fn are_zero(&self) -> bool {
        self.rows_unexplained == 0
            && self.money_unexplained == "0"
            && self.cells_of_others == 0
            && self.files_not_as_manifest == 0
    }
}

/// The zeros while they are counted.
#[derive(Default)]
pub(crate) struct ZeroCounts {
    pub(crate) rows: u64,
    pub(crate) money: Sum,
    pub(crate) cells: u64,
    pub(crate) files: u64,
}

impl ZeroCounts {
    pub(crate) fn zeros(&self) -> Zeros {
        Zeros {
            rows_unexplained: self.rows,
            money_unexplained: self.money.to_text(),
            cells_of_others: self.cells,
            files_not_as_manifest: self.files,
        }
    }
}

/// How many findings of one kind about one object are spelled out; the rest are counted.
const SPELLED_OUT: u64 = 10;

/// Gathers findings, and keeps a broken file from filling the report.
#[derive(Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    counts: BTreeMap<(FindingKind, Option<String>, String), u64>,
    period: Option<BillingPeriod>,
    customer: Option<String>,
}

impl Findings {
    pub(crate) fn for_period(period: BillingPeriod) -> Self {
        Self { period: Some(period), ..Self::default() }
    }

    /// Whose delivery the next findings are about.
    pub(crate) fn about(&mut self, customer: Option<&str>) {
        self.customer = customer.map(str::to_owned);
    }

    pub(crate) fn add(&mut self, kind: FindingKind, object: &str, detail: impl Into<String>) {
        let count = self.counts.entry((kind, self.customer.clone(), object.to_owned())).or_default();
        *count += 1;
        if *count <= SPELLED_OUT {
            self.list.push(Finding {
                kind,
                customer: self.customer.clone(),
                billing_period: self.period,
                object: object.to_owned(),
                detail: detail.into(),
            });
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Data files with a defect, each counted once.
    pub(crate) fn broken_files(&self) -> u64 {
        let files: std::collections::BTreeSet<_> = self
            .counts
            .keys()
            .filter(|(kind, _, _)| kind.is_about_a_file())
            .map(|(_, customer, object)| (customer, object))
            .collect();
        files.len() as u64
    }

    /// All findings, with a last word about those that were only counted.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        for ((kind, customer, object), count) in self.counts {
            if count > SPELLED_OUT {
                self.list.push(Finding {
                    kind,
                    customer,
                    billing_period: self.period,
                    object,
                    detail: format!("and {} more of this kind", count - SPELLED_OUT),
                });
            }
        }
        self.list
    }
}
