//! Run: joins the stages. The only place that names them all.
//!
//! What comes in: a request whose settings are resolved, and somebody who watches. What goes out: a report that says
//! what was done for whom. What it must never do: publish before the ledger balanced, or let one customer's failure
//! touch another.

mod choosing;
mod delivery;
mod exports;
mod proofs;
mod publishing;
mod report;
mod request;
mod written;

pub use report::{CustomerReport, DeliverReport, PeriodReport, State, UnassignedReport};
pub use request::{
    Customer, DeliverRequest, RequestError, Sharing, SourceKindWanted, SourceRequest, SpoolRequest,
};

use crate::catalog::CatalogError;
use crate::check::CheckError;
use crate::outcome::Kind;
use crate::publish::PublishError;
use crate::source::{FoundDelivery, SourceError};
use crate::split::SplitError;
use crate::storage::StorageError;
use crate::write::{WriteError, clear_dead_spools};
use apportion_core::ledger::Imbalance;
use apportion_model::BillingPeriod;
use choosing::{choose_report, chosen_deliveries};

/// Somebody who watches a run and may end it.
pub trait Watcher: Sync {
    /// What is being done now, of which size if it is known.
    fn stage(&self, text: &str, bytes: Option<u64>);
    /// More rows and bytes of the source are done.
    fn advance(&self, rows: u64, bytes: u64);
    /// Whether to stop.
    fn interrupted(&self) -> bool;
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
            Self::Unbalanced { .. } => Kind::Unbalanced,
            Self::Older { .. } => Kind::SourceMoved,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// How often a delivery is begun anew when its source moves.
const ATTEMPTS: u32 = 3;

/// Splits every chosen delivery of the source and delivers the shares; with `dry_run`, only says what it would do.
///
/// # Errors
/// Whatever keeps a period from being delivered; periods before it are delivered. What keeps only one customer from
/// being delivered is in the report.
pub fn deliver(request: &DeliverRequest, watcher: &dyn Watcher) -> Result<DeliverReport, RunError> {
    request.check()?;
    if !request.dry_run {
        clear_dead_spools(&request.spool.folder);
    }
    watcher.stage("looking for reports", None);
    let (report, refused) = choose_report(request)?;
    let mut done = DeliverReport { refused, ..DeliverReport::default() };
    for delivery in chosen_deliveries(request.periods.as_deref(), request, &report)? {
        done.periods.push(deliver_period(request, &report.name, delivery, watcher)?);
    }
    Ok(done)
}

/// One period, begun anew when its source moves: from its manifest on, for the keys may be others now.
fn deliver_period(
    request: &DeliverRequest,
    report: &str,
    mut delivery: FoundDelivery,
    watcher: &dyn Watcher,
) -> Result<PeriodReport, RunError> {
    let mut attempt = 1;
    loop {
        match delivery::run(request, report, &delivery, watcher) {
            Err(RunError::Source(SourceError::Moved { .. })) if attempt < ATTEMPTS => {
                attempt += 1;
                let (report, _) = choose_report(request)?;
                delivery =
                    chosen_deliveries(Some(&[delivery.period]), request, &report)?.pop().unwrap_or(delivery);
            }
            other => return other,
        }
    }
}
