//! Proofs: the counts, sums and hashes of one export, and of a whole delivery.
//!
//! What comes in: totals, files and settings as values. What goes out: JSON, and back. What it must never do: put
//! anything of another customer, or of the source beyond its version, into a customer's proof.
//! The fields are described in docs/delivery-format.md, section 7.

mod books;

pub use books::{Amount, Books, Bridge, BridgeBy, BridgeKey, Bridges, InvoiceTie, Part, invoice_ids};

use crate::columns::{Contract, ExportColumn, HeaderStyle};
use crate::ledger::TotalsJson;
use crate::route::{OwnedAccount, Reason};
use apportion_model::{
    AccountId, AssemblyId, BillingPeriod, CustomerId, Format, Layout, ReportId, SourceName,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Raised whenever a delivered byte could change; part of every assembly id.
pub const FORMAT_VERSION: u32 = 3;

/// What a delivered row adds to its file's `rows_hash`: the hash of its line as csv.gz has it (`csv::push_row`), whatever
/// the format.
#[inline]
pub fn row_hash(line: &[u8]) -> u128 {
    xxh3_128(line)
}

/// What a customer proof calls itself.
pub const CUSTOMER_PROOF: &str = "apportion customer proof";
/// What a master proof calls itself.
pub const MASTER_PROOF: &str = "apportion master proof";

/// One data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofFile {
    /// Its key in its place.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Rows without the header.
    pub rows: u64,
    /// Multiset hash of the delivered rows, in hex; blank for source objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rows_hash: String,
}

/// The accounts of a customer as its proof lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProofAccounts {
    /// `"all"`.
    All(AllAccounts),
    /// Those that bear on the period.
    Listed(Vec<OwnedAccount>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllAccounts {
    /// Every account.
    All,
}

/// Totals of line items that are in nobody's share, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonTotals {
    /// Why.
    pub reason: Reason,
    /// What.
    #[serde(flatten)]
    pub totals: TotalsJson,
}

/// The proof of one export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerProof {
    /// [`CUSTOMER_PROOF`].
    pub proof: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Whose.
    pub customer: CustomerId,
    /// Its accounts, as far as they bear on the period.
    pub accounts: ProofAccounts,
    /// The one account of this export, with `sharing = "account"`.
    pub linked_account: Option<AccountId>,
    /// The export.
    pub report_id: ReportId,
    /// Our assembly id.
    pub assembly_id: AssemblyId,
    /// The month.
    pub billing_period: BillingPeriod,
    /// Which columns.
    pub contract: Contract,
    /// Which key layout.
    pub layout: Layout,
    /// Which file format.
    pub format: Format,
    /// How the header row is written.
    pub header: HeaderStyle,
    /// `sorted` or `source`.
    pub order: String,
    /// `multi-member`, `single`, or `none` for Parquet.
    pub gzip: String,
    /// How hard a csv.gz is compressed: `default`, `fast`, `small`, or `none` for Parquet.
    pub level: String,
    /// Its columns, in order.
    pub columns: Vec<ExportColumn>,
    /// `mask` or `faithful`.
    pub privacy: String,
    /// `keep` or `mask`.
    pub payer: String,
    /// `none`, or the mask key's fingerprint.
    pub mask_key: String,
    /// Line item types that are withheld.
    pub withhold: Vec<String>,
    /// The version of the source.
    pub source_version: String,
    /// Line items in the export.
    pub rows: u64,
    /// Its files.
    pub files: Vec<ProofFile>,
    /// Totals of its line items, over source values.
    pub totals: Vec<TotalsJson>,
    /// Totals of what was withheld from the customer; on its first export only.
    pub withheld: Vec<ReasonTotals>,
    /// What a Parquet file can't hold as it came; empty for csv.gz.
    pub representation: Vec<Representation>,
}

/// By how much the stored cells of one column differ from the source's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Representation {
    /// The snake name.
    pub column: String,
    /// The exact sum of (stored double - the text's number); None for columns that aren't doubles.
    pub difference: Option<String>,
    /// Texts that the type can't hold at all.
    pub not_represented: u64,
}

/// An export as the master proof names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterExport {
    /// Whose.
    pub customer: CustomerId,
    /// The export.
    pub report_id: ReportId,
    /// Our assembly id.
    pub assembly_id: AssemblyId,
    /// The one account, with `sharing = "account"`.
    pub linked_account: Option<AccountId>,
    /// Which file format. Exports of one customer and account that differ in it alone hold the same line items.
    pub format: Format,
    /// The manifest's key in the customer's target.
    pub manifest: String,
    /// The customer proof's key in the customer's target.
    pub proof: String,
    /// Line items.
    pub rows: u64,
    /// Totals.
    pub totals: Vec<TotalsJson>,
}

/// What was withheld from one customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterWithheld {
    /// From whom.
    pub customer: CustomerId,
    /// Why and how much.
    pub totals: Vec<ReasonTotals>,
}

/// What is in nobody's share, the withheld included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterUnassigned {
    /// Line items.
    pub rows: u64,
    /// Totals of nobody's line items, the withheld not included.
    pub totals: Vec<ReasonTotals>,
    /// The files in the MSP's place.
    pub files: Vec<ProofFile>,
}

/// The proof of a whole delivery: all customers, unassigned, source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterProof {
    /// [`MASTER_PROOF`].
    pub proof: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The source's name.
    pub source: SourceName,
    /// The report's name.
    pub report: String,
    /// Its kind.
    pub kind: String,
    /// The month.
    pub billing_period: BillingPeriod,
    /// AWS's name for the delivery.
    pub source_assembly_id: AssemblyId,
    /// The version of the source.
    pub source_version: String,
    /// The manifest, then the data objects.
    pub source_objects: Vec<ProofFile>,
    /// The id of the whole delivery.
    pub delivery_id: AssemblyId,
    /// Totals of the source.
    pub source_totals: Vec<TotalsJson>,
    /// Every export.
    pub customers: Vec<MasterExport>,
    /// What was withheld, by customer.
    pub withheld: Vec<MasterWithheld>,
    /// What is in nobody's share.
    pub unassigned: MasterUnassigned,
    /// The payer accounts of its line items.
    pub payers: Vec<AccountId>,
    /// The source's columns, by name.
    pub columns: Vec<SourceColumn>,
    /// What else should be known.
    pub observations: Vec<String>,
}

/// A column of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    /// The snake name.
    pub name: String,
    /// Its type in the files; all of them, as `double or string`, where they differ.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many of the delivery's files have it.
    pub files: u32,
}

/// Names the newest master proof of a month, and those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterPointer {
    /// The newest.
    #[serde(flatten)]
    pub newest: MasterEntry,
    /// Those before it, the newest first.
    pub older: Vec<MasterEntry>,
}

/// One delivery as the pointer names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterEntry {
    /// The id of the whole delivery.
    pub delivery_id: AssemblyId,
    /// The master proof's key.
    pub proof: String,
}

impl MasterPointer {
    /// The pointer after one more delivery; one that was there before moves to the front.
    pub fn after(before: Option<Self>, newest: MasterEntry) -> Self {
        let mut older: Vec<MasterEntry> =
            before.map(|pointer| [vec![pointer.newest], pointer.older].concat()).unwrap_or_default();
        older.retain(|entry| *entry != newest);
        Self { newest, older }
    }
}

/// What the MSP can decide about a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Nothing moves until it is unlocked.
    Locked,
    /// It was locked, and isn't any more.
    Unlocked,
}

/// What the MSP has decided about a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodState {
    /// What.
    pub state: Decision,
    /// Why, in the words of who did it.
    pub reason: String,
    /// The delivery that stays, or that stayed.
    pub delivery_id: AssemblyId,
    /// The source version that it was made of.
    pub source_version: String,
}

/// The source generation that a manifest stands for. It travels beside the manifest, never in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The file time of the source's manifest, in milliseconds since 1970.
    pub generation: i64,
    /// The source's version.
    pub source_version: String,
}

impl Generation {
    /// Whether it stands for a newer source than another. The same source is never newer, whatever its file time.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.generation > other.generation && self.source_version != other.source_version
    }
}

/// JSON as it is stored: indented, one line end at the end.
pub fn to_stored_json(value: &impl Serialize) -> Vec<u8> {
    // Structs of texts, numbers and lists always have a JSON form.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
