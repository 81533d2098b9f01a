use crate::outcome::Kind;
use crate::timings::StageTiming;
use apportion_model::Format;
use serde::Serialize;
use std::collections::BTreeMap;

/// What became of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It would be written (`plan`).
    Planned,
    /// It was written and its manifest moved.
    Delivered,
    /// Exactly this was live already.
    Unchanged,
    /// Its month is locked, and the source is still the one that was locked: nothing is written.
    Locked,
    /// Its month is locked, and the source has changed since: the last export stays until somebody decides.
    Waiting,
    /// It isn't part of this run (`--customer`).
    NotChosen,
    /// It couldn't be delivered; the last export is untouched.
    Failed,
}

impl State {
    /// The state in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Delivered => "delivered",
            Self::Unchanged => "unchanged",
            Self::Locked => "locked",
            Self::Waiting => "waiting",
            Self::NotChosen => "not chosen",
            Self::Failed => "failed",
        }
    }
}

/// One export of one month.
#[derive(Debug, Clone, Serialize)]
pub struct CustomerReport {
    /// Whose.
    pub customer: String,
    /// The customer's name, for people.
    pub name: String,
    /// The export.
    pub report_id: String,
    /// Its format. Exports of one share in several formats hold the same line items.
    pub format: Format,
    /// What became of it.
    pub state: State,
    /// Line items.
    pub rows: u64,
    /// Their unblended cost by currency, exact.
    pub unblended_cost: BTreeMap<String, String>,
    /// Line items of the export that was live before; None if there was none.
    pub rows_before: Option<u64>,
    /// The unblended cost by currency of the export that was live before.
    pub unblended_cost_before: BTreeMap<String, String>,
    /// Columns that the live export doesn't have.
    pub columns_added: Vec<String>,
    /// Columns that only the live export has.
    pub columns_gone: Vec<String>,
    /// Data files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Our assembly id.
    pub assembly_id: String,
    /// Where it is.
    pub target: String,
    /// The manifest's key.
    pub manifest: String,
    /// Why it failed.
    pub error: Option<String>,
    /// What sort of failure it is.
    #[serde(skip)]
    pub failure: Option<Kind>,
}

/// Line items that are in nobody's share, by reason.
#[derive(Debug, Clone, Serialize)]
pub struct UnassignedReport {
    /// Why.
    pub reason: String,
    /// Whose they would have been; only for what is withheld.
    pub owner: Option<String>,
    /// Line items.
    pub rows: u64,
    /// Their unblended cost by currency, exact.
    pub unblended_cost: BTreeMap<String, String>,
}

/// The lock that holds a month.
#[derive(Debug, Clone, Serialize)]
pub struct LockReport {
    /// Why it was locked, in the words of who did it.
    pub reason: String,
    /// The delivery that stays.
    pub delivery_id: String,
    /// The source version that it was made of.
    pub source_version: String,
    /// The source's version now.
    pub source_version_now: String,
    /// What has to be decided, if the source has changed since.
    pub alarm: Option<String>,
}

/// One month.
#[derive(Debug, Clone, Serialize)]
pub struct PeriodReport {
    /// The month.
    pub billing_period: String,
    /// The source's name.
    pub source: String,
    /// The report's name.
    pub report: String,
    /// Its kind.
    pub kind: String,
    /// AWS's name for the delivery.
    pub source_assembly_id: String,
    /// Line items of the source; 0 where nothing had to be read.
    pub source_rows: u64,
    /// Their unblended cost by currency, exact.
    pub source_unblended_cost: BTreeMap<String, String>,
    /// Each export.
    pub customers: Vec<CustomerReport>,
    /// What is in nobody's share.
    pub unassigned: Vec<UnassignedReport>,
    /// The master proof's key in the MSP's place, if there is one.
    pub master_proof: Option<String>,
    /// The lock that holds the month, if it is locked.
    pub lock: Option<LockReport>,
    /// What else should be known.
    pub observations: Vec<String>,
    /// How the source's columns differ from those of the delivery before, or of the month before. It depends on what
    /// was delivered when, so it stands here and not in the master proof.
    pub drift: Vec<String>,
}

/// A month whose source can't be delivered; its last exports stay.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedPeriod {
    /// The month.
    pub billing_period: String,
    /// The source's name.
    pub source: String,
    /// Why.
    pub error: String,
    /// What sort of failure it is.
    #[serde(skip)]
    pub kind: Kind,
}

/// A whole run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DeliverReport {
    /// What else lies in the source and isn't read, each with the reason.
    pub refused: Vec<String>,
    /// Each month.
    pub periods: Vec<PeriodReport>,
    /// Months that could not be delivered at all, beside others that could.
    pub refused_periods: Vec<RefusedPeriod>,
    /// What each stage has cost; only where somebody asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timings: Vec<StageTiming>,
}

impl DeliverReport {
    /// The alarms of locked months whose source has changed.
    pub fn alarms(&self) -> impl Iterator<Item = &str> {
        self.periods.iter().filter_map(|period| period.lock.as_ref()?.alarm.as_deref())
    }

    /// How many exports ended in a state.
    pub fn count(&self, state: State) -> usize {
        self.periods
            .iter()
            .flat_map(|period| &period.customers)
            .filter(|customer| customer.state == state)
            .count()
    }
}
