//! Run: joins the stages. The only place that names them all.
//!
//! What comes in: a request whose settings are resolved, and somebody who watches. What goes out: a report that says
//! what was done for whom. What it must never do: publish before the ledger balanced, or let one customer's failure
//! touch another.

mod checker;
mod choosing;
mod delivery;
mod exports;
mod held;
mod lanes;
mod log;
#[cfg(test)]
mod parquet_tests;
mod payers;
pub mod periods;
mod proofs;
mod publishing;
mod putting;
mod report;
mod request;
mod written;

pub use log::{Log, LogError, read_log};
pub use report::{
    CustomerReport, DeliverReport, LockReport, PeriodReport, RefusedPeriod, State, UnassignedReport,
};
pub use request::{
    Customer, DeliverRequest, PlannedExport, RequestError, Sharing, SourceKindWanted, SourceRequest,
    SpoolRequest, Target,
};

use self::payers::payers_of;
use crate::catalog::CatalogError;
use crate::check::CheckError;
use crate::outcome::Kind;
use crate::publish::PublishError;
use crate::source::{FoundDelivery, SourceError};
use crate::split::SplitError;
use crate::storage::{LeaseError, StorageError, wait_for_lease};
use crate::timings::Meter;
use crate::write::{WriteError, clear_dead_spools};
use apportion_core::ledger::Imbalance;
use apportion_model::{AccountId, BillingPeriod, ObjectKey};
use choosing::{choose_report, chosen_deliveries};
use std::collections::{BTreeMap, BTreeSet};

/// Somebody who watches a run and may end it.
pub trait Watcher: Sync {
    /// What is being done now, of which size if it is known.
    fn stage(&self, text: &str, bytes: Option<u64>);
    /// More rows and bytes of the source are done.
    fn advance(&self, rows: u64, bytes: u64);
    /// Whether to stop.
    fn interrupted(&self) -> bool;
    /// Takes the time of each stage; by default nobody asks for it.
    fn meter(&self) -> Meter {
        Meter::default()
    }
}

/// Watches nothing and never stops.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64, _: u64) {}
    fn interrupted(&self) -> bool {
        false
    }
}

/// Why a run ended without its work done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The request contradicts itself.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A batch can't be split.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file isn't what was written.
    #[error("a finished file is not what was handed over. Nothing was published. {0}")]
    Check(#[from] CheckError),
    /// A target can't be looked at.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The MSP's place can't be written to.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A storage operation failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger doesn't balance.
    #[error(
        "the ledger of period {period} does not balance, so nothing was published: {}",
        describe(imbalances)
    )]
    Unbalanced {
        /// The month.
        period: BillingPeriod,
        /// Where the two sides differ.
        imbalances: Vec<Imbalance>,
    },
    /// A question about periods has no answer.
    #[error(transparent)]
    Period(#[from] periods::PeriodError),
    /// A newer source is live.
    #[error(
        "{target}: the live export {report_id} of {period} stands for a newer version of the source than the one given here; it stays. Deliver from the newer source, or move the target's manifest away if going back is meant"
    )]
    Older {
        /// The target.
        target: String,
        /// The export.
        report_id: String,
        /// The month.
        period: BillingPeriod,
    },
    /// The delivery log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another run is at work on the same month.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A thread panicked.
    #[error(
        "a thread ended early, which is a fault of apportion's. What is live is whole; run again, and tell its makers"
    )]
    Thread,
    /// Somebody asked to stop.
    #[error(
        "interrupted. Nothing of the unfinished period was published, the last exports are untouched; run the same command again to go on"
    )]
    Interrupted,
}

fn describe(imbalances: &[Imbalance]) -> String {
    let texts: Vec<String> = imbalances
        .iter()
        .take(5)
        .map(|line| {
            format!(
                "{} {} in {}: {} rows in, {} rows out, unblended cost differs by {}",
                line.key.billing_period,
                line.key.line_item_type,
                line.key.currency,
                line.source_rows,
                line.handed_over_rows,
                line.unblended_difference
            )
        })
        .collect();
    texts.join("; ")
}

impl RunError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Request(_) => Kind::Usage,
            Self::Source(error) => error.kind(),
            Self::Split(error) => error.kind(),
            Self::Write(error) => error.kind(),
            Self::Check(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
            Self::Publish(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Period(error) => error.kind(),
            Self::Unbalanced { .. } => Kind::Unbalanced,
            Self::Older { .. } => Kind::SourceMoved,
            Self::Log(error) => match error {
                LogError::Storage(error) => error.kind(),
                LogError::Problem { .. } => Kind::Limit,
                LogError::Raced { .. } => Kind::Failed,
            },
            Self::Lease(error) => error.kind(),
            Self::Thread => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// How often a delivery is begun anew when its source moves.
const ATTEMPTS: u32 = 3;

/// Splits every chosen delivery of the source and delivers the shares; with `dry_run`, only says what it would do.
///
/// # Errors
/// Whatever keeps everything from being delivered. What keeps only one customer, or one of several periods, from
/// being delivered is in the report.
pub fn deliver(request: &DeliverRequest, watcher: &dyn Watcher) -> Result<DeliverReport, RunError> {
    request.check()?;
    if !request.dry_run {
        clear_dead_spools(&request.spool.folder);
    }
    watcher.stage("looking for reports", None);
    let mut done = DeliverReport::default();
    let mut found = Vec::new();
    for source in &request.sources {
        let (report, refused) = choose_report(source)?;
        done.refused.extend(refused);
        let deliveries = match &request.periods {
            // Of several sources not every one has every month; that one of them has it is seen to below.
            Some(wanted) if request.sources.len() > 1 => {
                wanted.iter().filter_map(|period| report.deliveries.get(period).cloned()).collect()
            }
            wanted => chosen_deliveries(wanted.as_deref(), source, &report)?,
        };
        found.push((source, report.name, deliveries));
    }
    let is_there = |period: &BillingPeriod| {
        found.iter().any(|(_, _, deliveries)| deliveries.iter().any(|delivery| delivery.period == *period))
    };
    if let Some(missing) = request.periods.iter().flatten().find(|period| !is_there(period)) {
        let what = format!("no source has a delivery of {}", missing.month_text());
        let places: Vec<String> = request.sources.iter().map(|source| source.bucket.place()).collect();
        return Err(SourceError::NotFound { place: places.join(", "), what }.into());
    }
    refuse_same_bill(request, &found)?;
    let mut first = None;
    for (source, report, deliveries) in found {
        for delivery in deliveries {
            let period = delivery.period;
            match deliver_period(request, source, &report, delivery, watcher) {
                Ok(delivered) => done.periods.push(delivered),
                // What is wrong with one month's files, or who is at work on it, is no reason to keep the others'.
                Err(
                    error @ (RunError::Source(_)
                    | RunError::Split(_)
                    | RunError::Lease(LeaseError::Held { .. } | LeaseError::Overtaken)),
                ) => {
                    done.refused_periods.push(RefusedPeriod {
                        billing_period: period.to_string(),
                        source: source.name.to_string(),
                        error: error.to_string(),
                        kind: error.kind(),
                    });
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
    }
    done.timings = watcher.meter().stages();
    match first {
        Some(error) if done.periods.is_empty() => Err(error),
        _ => Ok(done),
    }
}

/// Two sources with one payer's bill of one month: each line item would be delivered twice.
fn refuse_same_bill(
    request: &DeliverRequest,
    found: &[(&SourceRequest, String, Vec<FoundDelivery>)],
) -> Result<(), RunError> {
    if found.len() < 2 {
        return Ok(());
    }
    let mut seen: BTreeMap<(BillingPeriod, AccountId), &SourceRequest> = BTreeMap::new();
    for (source, _, deliveries) in found {
        for delivery in deliveries {
            for payer in payers_of(request, source, delivery)? {
                let first = seen.insert((delivery.period, payer.clone()), source);
                if let Some(first) = first {
                    return Err(RequestError::SameBill {
                        first: first.name.clone(),
                        second: source.name.clone(),
                        period: delivery.period,
                        payer,
                    }
                    .into());
                }
            }
        }
    }
    Ok(())
}

/// The months that the sources have, oldest first.
///
/// # Errors
/// A source that can't be read, or whose report isn't clear.
pub fn months(request: &DeliverRequest) -> Result<Vec<BillingPeriod>, RunError> {
    let mut months = BTreeSet::new();
    for source in &request.sources {
        months.extend(months_of(source)?.1);
    }
    Ok(months.into_iter().collect())
}

/// A source's report, and its months, oldest first.
///
/// # Errors
/// A source that can't be read, or whose report isn't clear.
pub fn months_of(source: &SourceRequest) -> Result<(String, Vec<BillingPeriod>), RunError> {
    let (report, _) = choose_report(source)?;
    Ok((report.name, report.deliveries.into_keys().collect()))
}

/// One period, begun anew when its source moves: from its manifest on, for the keys may be others now.
fn deliver_period(
    request: &DeliverRequest,
    source: &SourceRequest,
    report: &str,
    mut delivery: FoundDelivery,
    watcher: &dyn Watcher,
) -> Result<PeriodReport, RunError> {
    let mut attempt = 1;
    loop {
        match delivery::run(request, source, report, &delivery, watcher) {
            Err(RunError::Source(SourceError::Moved { .. })) if attempt < ATTEMPTS => {
                attempt += 1;
                let (report, _) = choose_report(source)?;
                delivery =
                    chosen_deliveries(Some(&[delivery.period]), source, &report)?.pop().unwrap_or(delivery);
            }
            // What it did is to be looked at, and mostly nothing is left to do.
            Err(RunError::Lease(LeaseError::Overtaken)) if attempt < ATTEMPTS => attempt += 1,
            Err(RunError::Lease(error @ LeaseError::Held { .. })) => {
                wait_for(request, source, delivery.period, error, watcher)?;
            }
            other => return other,
        }
    }
}

/// Waits for whoever is at work on a month, where that is wanted.
fn wait_for(
    request: &DeliverRequest,
    source: &SourceRequest,
    period: BillingPeriod,
    held: LeaseError,
    watcher: &dyn Watcher,
) -> Result<(), RunError> {
    let operator = request.operator.as_ref().filter(|operator| operator.wait);
    let (Some(msp), Some(operator)) = (&request.msp, operator) else { return Err(held.into()) };
    watcher.stage(&format!("{}: waiting: {held}", period.month_text()), None);
    let key = ObjectKey::Lease { source: &source.name, period }.to_string();
    match wait_for_lease(msp.as_ref(), &key, operator, || watcher.interrupted())? {
        true => Ok(()),
        false => Err(RunError::Interrupted),
    }
}
