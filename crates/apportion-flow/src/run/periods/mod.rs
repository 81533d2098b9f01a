//! Periods: what became of a month's deliveries, and what the MSP decides about it.
//!
//! What comes in: the MSP's place, customers with their targets, a day. What goes out: states with their reasons,
//! locks, a month put back to an older delivery, and what two deliveries differ in. What it must never do: write a
//! data file or a proof, or move a manifest to anything but what an earlier delivery had put there itself.

mod diff;
mod list;
mod lock;
mod rollback;
mod shares;

pub use diff::{Difference, ROWS_PER_PASS, Side, diff};
pub use list::{BehindExport, PeriodLine, SourceNow, list};
pub use lock::{Locking, lock, unlock};
pub use rollback::{Rollback, RolledExport, Turn, rollback};

use super::RunError;
use super::log::{Entry, append};
use super::request::{Customer, SourceRequest, Target};
use crate::catalog::{master_pointer, master_proof};
use crate::check::CheckError;
use crate::outcome::Kind;
use crate::storage::Bucket;
use crate::storage::Operator;
use apportion_core::log::{Action, LoggedExport};
use apportion_core::proof::{MasterEntry, MasterExport, MasterPointer, MasterProof, PeriodState};
use apportion_model::{
    AccountId, AssemblyId, BillingPeriod, CustomerId, ExportPlace, Layout, ObjectKey, ReportId, SourceName,
};
use std::sync::Arc;

/// What every question about periods must know.
#[derive(Clone)]
pub struct PeriodsRequest {
    /// The MSP's place.
    pub msp: Arc<dyn Bucket>,
    /// The sources of the settings.
    pub sources: Vec<SourceRequest>,
    /// The customers, for their targets.
    pub customers: Vec<Customer>,
    /// Only this source; None: all.
    pub only: Option<SourceName>,
    /// Who asks, for the log; what is changed without one isn't logged.
    pub operator: Option<Operator>,
}

/// Why a question about periods has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeriodError {
    /// Nothing was delivered.
    #[error(
        "{place} knows no delivery of {what}; `apportion periods list` shows what there is, `apportion deliver` makes one"
    )]
    NoDelivery {
        /// The MSP's place.
        place: String,
        /// Of what.
        what: String,
    },
    /// A delivery of that id isn't there.
    #[error("source {source_name} has no delivery {wanted} of {}; there are: {}", period.month_text(), list_of(there))]
    UnknownDelivery {
        /// The source.
        source_name: SourceName,
        /// The month.
        period: BillingPeriod,
        /// What was asked for.
        wanted: String,
        /// What there is, the newest first.
        there: Vec<AssemblyId>,
    },
    /// Where an export of an earlier delivery lies can't be known.
    #[error(
        "no target is known for {report_id}: customer {customer} is in the settings no more, or has other accounts now. Put it back into the settings as it was, and run again"
    )]
    NoTarget {
        /// The export.
        report_id: ReportId,
        /// Whose.
        customer: CustomerId,
    },
    /// An older delivery isn't whole any more.
    #[error("delivery {delivery} isn't whole any more, so nothing was moved: {}. Put back what is missing, or choose another delivery (`apportion periods list --output json` has them)", missing.join("; "))]
    Incomplete {
        /// The delivery.
        delivery: AssemblyId,
        /// What is missing.
        missing: Vec<String>,
    },
    /// There is nothing to compare.
    #[error("{} was delivered once, as {delivery}; there is no other delivery to compare it with", period.month_text())]
    OneDelivery {
        /// The month.
        period: BillingPeriod,
        /// The one.
        delivery: AssemblyId,
    },
    /// Something that a proof names isn't there.
    #[error(
        "{object} isn't there or can't be read, so the deliveries can't be compared; put it back, or choose another delivery with --from and --to"
    )]
    Gone {
        /// What.
        object: String,
    },
    /// A delivered file isn't what it was.
    #[error(transparent)]
    File(CheckError),
    /// What changed doesn't add up to the difference of the proofs.
    #[error(
        "the rows of {customer} don't explain the difference of the two proofs: {rest} is left. One of the two deliveries isn't what its proof says; `apportion verify` shows which"
    )]
    Unexplained {
        /// Whose.
        customer: String,
        /// What is left.
        rest: String,
    },
    /// Several sources have the month.
    #[error("{} was delivered from several sources ({}); choose one with --source-name", period.month_text(), sources.join(", "))]
    SeveralSources {
        /// The month.
        period: BillingPeriod,
        /// Their names.
        sources: Vec<String>,
    },
    /// A master proof isn't there, or isn't one.
    #[error(
        "{place}/{key} isn't there or is no master proof of this version of apportion; deliver the month again, or put it back"
    )]
    NoProof {
        /// The MSP's place.
        place: String,
        /// Its key.
        key: String,
    },
    /// Somebody else was faster.
    #[error(
        "{place}/{key} was changed by somebody else meanwhile; look at `apportion periods list` and run again"
    )]
    Raced {
        /// The place.
        place: String,
        /// Which object.
        key: String,
    },
}

/// The keys of an export that a master proof doesn't tell.
struct ExportKeys {
    generation: String,
    assembly_manifest: String,
}

impl ExportKeys {
    /// From the keys that it does tell; None where those aren't of any layout of ours.
    fn of(export: &MasterExport, period: BillingPeriod) -> Option<Self> {
        let report = &export.report_id;
        let is_manifest = |layout: &Layout| {
            ObjectKey::Manifest { layout: *layout, period, report }.to_string() == export.manifest
        };
        let layout = Layout::ALL.into_iter().find(is_manifest)?;
        // Layout eco has the account's folder there; in layout aws it is in no key.
        let account = AccountId::from_data(export.proof.split('/').nth(2)?);
        let place = ExportPlace { layout, account: &account, period, assembly: &export.assembly_id, report };
        (ObjectKey::Proof(place).to_string() == export.proof).then(|| Self {
            generation: ObjectKey::Generation { layout, period, report }.to_string(),
            assembly_manifest: ObjectKey::AssemblyManifest(place).to_string(),
        })
    }
}

fn list_of(ids: &[AssemblyId]) -> String {
    ids.iter().map(AssemblyId::as_str).collect::<Vec<_>>().join(", ")
}

impl PeriodError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoDelivery { .. }
            | Self::UnknownDelivery { .. }
            | Self::NoProof { .. }
            | Self::OneDelivery { .. }
            | Self::Gone { .. }
            | Self::Incomplete { .. } => Kind::NotFound,
            Self::File(error) => error.kind(),
            Self::Unexplained { .. } => Kind::Unbalanced,
            Self::SeveralSources { .. } | Self::NoTarget { .. } => Kind::Usage,
            Self::Raced { .. } => Kind::Failed,
        }
    }
}

/// A month of a source that was delivered.
struct Month {
    source: SourceName,
    period: BillingPeriod,
    pointer: MasterPointer,
}

impl Month {
    fn state_key(&self) -> String {
        ObjectKey::PeriodState { source: &self.source, period: self.period }.to_string()
    }

    /// All deliveries, the newest first.
    fn entries(&self) -> impl Iterator<Item = &MasterEntry> {
        std::iter::once(&self.pointer.newest).chain(&self.pointer.older)
    }

    /// The delivery of that id, or of an id that alone begins so.
    fn entry(&self, wanted: &str) -> Result<&MasterEntry, PeriodError> {
        let mut found = self.entries().filter(|entry| entry.delivery_id.as_str().starts_with(wanted));
        match (found.next(), found.next()) {
            (Some(one), None) if !wanted.is_empty() => Ok(one),
            _ => Err(PeriodError::UnknownDelivery {
                source_name: self.source.clone(),
                period: self.period,
                wanted: wanted.to_owned(),
                there: self.entries().map(|entry| entry.delivery_id.clone()).collect(),
            }),
        }
    }
}

impl PeriodsRequest {
    /// The names of the sources that are asked for.
    fn source_names(&self) -> Vec<SourceName> {
        match (&self.only, self.sources.as_slice()) {
            (Some(only), _) => vec![only.clone()],
            (None, []) => vec![SourceName::unnamed()],
            (None, sources) => sources.iter().map(|source| source.name.clone()).collect(),
        }
    }

    /// A month, of each source that has it.
    fn months(&self, period: BillingPeriod) -> Result<Vec<Month>, RunError> {
        let mut months = Vec::new();
        let names = self.source_names();
        for source in &names {
            let key = ObjectKey::MasterPointer { source, period }.to_string();
            if let Some(pointer) = master_pointer(self.msp.as_ref(), &key)? {
                months.push(Month { source: source.clone(), period, pointer });
            }
        }
        if months.is_empty() {
            let names: Vec<&str> = names.iter().map(SourceName::as_str).collect();
            return Err(PeriodError::NoDelivery {
                place: self.msp.place(),
                what: format!("{} from source {}", period.month_text(), names.join(", ")),
            }
            .into());
        }
        Ok(months)
    }

    /// A month, of the one source that has it.
    fn month(&self, period: BillingPeriod) -> Result<Month, RunError> {
        let mut months = self.months(period)?;
        match (months.pop(), months.as_slice()) {
            (Some(one), []) => Ok(one),
            (last, rest) => {
                let sources = rest.iter().chain(&last).map(|month| month.source.to_string()).collect();
                Err(PeriodError::SeveralSources { period, sources }.into())
            }
        }
    }

    /// Writes into the log what is about to be done with a month.
    fn log(
        &self,
        month: &Month,
        action: Action,
        state: &PeriodState,
        exports: Vec<LoggedExport>,
    ) -> Result<(), RunError> {
        let Some(operator) = &self.operator else { return Ok(()) };
        let entry = Entry {
            action,
            source: &month.source,
            period: month.period,
            delivery: &state.delivery_id,
            reason: Some(&state.reason),
            exports,
        };
        Ok(append(self.msp.as_ref(), operator, entry)?)
    }

    /// A month's master proof.
    fn proof(&self, entry: &MasterEntry) -> Result<MasterProof, RunError> {
        master_proof(self.msp.as_ref(), &entry.proof)?
            .ok_or_else(|| PeriodError::NoProof { place: self.msp.place(), key: entry.proof.clone() }.into())
    }

    /// Where an export of an earlier delivery lies: where today's settings put the export of that name, or else its
    /// customer's others. None where the settings don't say any more.
    fn target_of(&self, source: &SourceName, export: &MasterExport) -> Option<Arc<dyn Bucket>> {
        let customer = self.customers.iter().find(|customer| customer.routed.id == export.customer)?;
        let source = self.sources.iter().find(|one| one.name == *source);
        let planned = source.and_then(|source| customer.exports(source).ok()).unwrap_or_default();
        if let Some(same) = planned.into_iter().find(|planned| planned.report == export.report_id) {
            return Some(same.target);
        }
        match (&customer.target, &export.linked_account) {
            (Target::One(target), _) => Some(Arc::clone(target)),
            (Target::ByAccount(targets), Some(account)) => targets.get(account).cloned(),
            (Target::ByAccount(_), None) => None,
        }
    }
}
