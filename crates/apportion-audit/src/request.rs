//! What is to be audited.
//!
//! What comes in: settings, resolved by the caller. What goes out: plain data for the other modules. What it must
//! never do: carry anything that the splitter computed.

use crate::place::Place;
use apportion_model::{AccountId, BillingPeriod, CustomerId, Day, Format, Layout, ReportId, SourceName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One audit: a source, and where its shares were delivered.
#[derive(Debug, Clone)]
pub struct AuditRequest {
    /// Where the source lies.
    pub source: Arc<dyn Place>,
    /// The one loose object of it that is the source, if all else in it isn't.
    pub source_object: Option<String>,
    /// The source's name; `main` unless the settings name it.
    pub source_name: SourceName,
    /// Whether report ids carry the source's name. For information: the report ids are given below.
    pub source_in_report_ids: bool,
    /// Which report, where the source holds several: the manifest's file name without `-Manifest.json`, or a loose
    /// file's name.
    pub report: Option<String>,
    /// Whether all loose files of the folder are one report, whatever manifests there are.
    pub files: bool,
    /// Which billing periods; none means all of the source.
    pub periods: Option<Vec<BillingPeriod>>,
    /// Whether a wanted period may be missing here, because another source can have it; the report tells which are
    /// there.
    pub period_may_be_elsewhere: bool,
    /// Billing periods that stay at an older delivery by the MSP's wish; they aren't compared with the source.
    pub locked: Vec<BillingPeriod>,
    /// All customers of the settings, because routing needs all.
    pub customers: Vec<AuditedCustomer>,
    /// The MSP's own place, with master proofs and unassigned line items.
    pub msp_place: Option<Arc<dyn Place>>,
    /// The key that foreign account ids are masked with; none means twelve zeros.
    pub mask_key: Option<Vec<u8>>,
}

/// One customer of the settings.
#[derive(Debug, Clone)]
pub struct AuditedCustomer {
    /// Who it is.
    pub id: CustomerId,
    /// Which accounts are theirs.
    pub accounts: AuditedAccounts,
    /// Line item types that go to unassigned instead.
    pub withhold: Vec<String>,
    /// Whether the payer's account id stays readable (`payer = "keep"`).
    pub payer_kept: bool,
    /// Whether nothing is masked (`privacy = "faithful"`).
    pub faithful: bool,
    /// Which columns their exports have.
    pub contract: Contract,
    /// How the headers of their csv.gz files are written.
    pub header: HeaderStyle,
    /// How many gzip members their csv.gz files have.
    pub gzip: Gzip,
    /// How hard it says its csv.gz files are compressed.
    pub level: Level,
    /// In which order their rows are.
    pub order: RowOrder,
    /// Their exports, the first of which carries the withheld totals in its proof.
    pub exports: Vec<AuditedExport>,
    /// Whether the target is read; otherwise the customer only takes part in routing.
    pub audited: bool,
}

/// Which columns an export has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// The 244 columns of the Eco schema.
    Eco,
    /// Those, more known ones, and the share's own tags, cost categories and discounts.
    EcoExtended,
    /// The guaranteed columns and all that have a value in the share.
    Source,
}

impl Contract {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Eco => "eco",
            Self::EcoExtended => "eco-extended",
            Self::Source => "source",
        }
    }
}

/// How the headers of csv.gz files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderStyle {
    /// Snake names.
    Snake,
    /// Legacy names, `category/Name`.
    Slash,
}

impl HeaderStyle {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Snake => "snake",
            Self::Slash => "slash",
        }
    }
}

/// How many gzip members a file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gzip {
    /// Any number.
    MultiMember,
    /// One.
    Single,
}

impl Gzip {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MultiMember => "multi-member",
            Self::Single => "single",
        }
    }
}

/// How hard files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As the settings have it where they say nothing.
    Default,
    /// Less hard.
    Fast,
    /// Harder.
    Small,
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fast => "fast",
            Self::Small => "small",
        }
    }
}

/// In which order the rows of an export are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowOrder {
    /// As it compresses best.
    Sorted,
    /// The source's.
    Source,
}

impl RowOrder {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sorted => "sorted",
            Self::Source => "source",
        }
    }
}

/// The accounts of a customer.
#[derive(Debug, Clone)]
pub enum AuditedAccounts {
    /// Every account.
    All,
    /// These.
    Listed(Vec<AuditedAccount>),
}

/// One account of a customer.
#[derive(Debug, Clone)]
pub struct AuditedAccount {
    /// The id.
    pub id: AccountId,
    /// The first day it is theirs; none means since ever.
    pub from: Option<Day>,
    /// The first day it isn't theirs any more; none means for ever.
    pub to: Option<Day>,
}

/// One export of a customer.
#[derive(Debug, Clone)]
pub struct AuditedExport {
    /// Its report id.
    pub report_id: ReportId,
    /// The place that its consumer reads.
    pub target: Arc<dyn Place>,
    /// Where its objects lie there.
    pub layout: Layout,
    /// How its data files are written.
    pub format: Format,
    /// The only account it holds, with `sharing = "account"`.
    pub linked_account: Option<AccountId>,
    /// The `[account]` setting; none means the linked account, the first listed one, or with all accounts a payer.
    pub folder: Option<AccountId>,
}

impl AuditedAccount {
    /// Whether any day of the month is theirs.
    pub(crate) fn touches(&self, period: BillingPeriod) -> bool {
        self.from.is_none_or(|from| from < period.end())
            && self.to.is_none_or(|to| to > period.start())
            && self.from.zip(self.to).is_none_or(|(from, to)| from < to)
    }

    /// Whether the day is theirs.
    pub(crate) fn holds(&self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }
}
