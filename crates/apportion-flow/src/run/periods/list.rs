use super::super::delivery::unblended_of;
use super::super::{RunError, choose_report};
use super::{ExportKeys, Month, PeriodError, PeriodsRequest};
use crate::catalog::{live, master_pointer, master_proof, period_state};
use crate::source::{SourceError, pin};
use apportion_core::period::{Delivery, Facts, Invoices, State, judge};
use apportion_core::proof::{MasterExport, MasterProof};
use apportion_model::{BillingPeriod, Day, ObjectKey, SourceName};
use serde::Serialize;
use std::collections::BTreeMap;

/// Older deliveries that are looked at, to see whether one was invoiced.
const OLDER: usize = 100;

/// Whether the source still is what the newest delivery was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceNow {
    /// It is.
    Same,
    /// It has another version.
    Changed,
    /// It has no such month, or the settings no such source.
    Gone,
}

impl SourceNow {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

/// An export of which not the newest delivery's assembly is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BehindExport {
    /// The export.
    pub report_id: String,
    /// What is the matter.
    pub why: String,
}

/// A month of a source.
#[derive(Debug, Clone, Serialize)]
pub struct PeriodLine {
    /// The source's name.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// Where it stands.
    pub state: State,
    /// Whether a delivery that was invoiced has been followed by another version.
    pub restated: bool,
    /// Why.
    pub reason: String,
    /// The newest delivery.
    pub delivery_id: String,
    /// The source version that it was made of.
    pub source_version: String,
    /// What the source is now; None where it wasn't looked at.
    pub source_now: Option<SourceNow>,
    /// The deliveries before it, the newest first.
    pub older: Vec<String>,
    /// Line items of the source.
    pub rows: u64,
    /// Their unblended cost by currency, exact.
    pub unblended_cost: BTreeMap<String, String>,
    /// Exports that are live as the newest delivery made them.
    pub live: usize,
    /// The others.
    pub behind: Vec<BehindExport>,
}

/// All months that were delivered, of the sources and periods that are asked for; with `check`, each compared with
/// its source, which is hashed for that and not decoded.
///
/// # Errors
/// A place that can't be read, or that holds nothing; a source that can't be read.
pub fn list(
    request: &PeriodsRequest,
    periods: Option<&[BillingPeriod]>,
    today: Day,
    check: bool,
) -> Result<Vec<PeriodLine>, RunError> {
    let mut lines = Vec::new();
    for month in all_months(request, periods)? {
        let proof = request.proof(&month.pointer.newest)?;
        let source_now = if check { Some(source_now(request, &month, &proof)?) } else { None };
        lines.push(line(request, &month, &proof, today, source_now)?);
    }
    if lines.is_empty() {
        let what = periods.map_or_else(
            || "any month".to_owned(),
            |months| months.iter().map(|month| month.month_text()).collect::<Vec<_>>().join(", "),
        );
        return Err(PeriodError::NoDelivery { place: request.msp.place(), what }.into());
    }
    Ok(lines)
}

/// The months that the MSP's place has pointers of. A listing only finds them: what they are, the pointers say.
fn all_months(request: &PeriodsRequest, periods: Option<&[BillingPeriod]>) -> Result<Vec<Month>, RunError> {
    let mut months = Vec::new();
    for object in request.msp.list()? {
        let Some((source, period)) = place_of(&object.key) else { continue };
        let wanted = request.only.as_ref().is_none_or(|only| *only == source)
            && periods.is_none_or(|periods| periods.contains(&period));
        if !wanted {
            continue;
        }
        if let Some(pointer) = master_pointer(request.msp.as_ref(), &object.key)? {
            months.push(Month { source, period, pointer });
        }
    }
    Ok(months)
}

/// Which source and month a pointer is of, by its key.
fn place_of(key: &str) -> Option<(SourceName, BillingPeriod)> {
    let (folder, name) = key.rsplit_once('/')?;
    let source = SourceName::new(folder.rsplit('/').next()?).ok()?;
    let period = BillingPeriod::parse(name.split_once("-Master")?.0).ok()?;
    (ObjectKey::MasterPointer { source: &source, period }.to_string() == key).then_some((source, period))
}

fn facts_of(proof: &MasterProof) -> Delivery {
    Delivery {
        id: proof.delivery_id.clone(),
        source_version: proof.source_version.clone(),
        invoices: Invoices::of(proof.billing_period, &proof.source_totals),
    }
}

fn line(
    request: &PeriodsRequest,
    month: &Month,
    proof: &MasterProof,
    today: Day,
    source_now: Option<SourceNow>,
) -> Result<PeriodLine, RunError> {
    let decided = period_state(request.msp.as_ref(), &month.state_key())?.state;
    let mut older = Vec::new();
    for entry in month.pointer.older.iter().take(OLDER) {
        // One that can't be read any more tells nothing of what came after it.
        older.extend(master_proof(request.msp.as_ref(), &entry.proof)?.as_ref().map(facts_of));
    }
    let judged = judge(&Facts {
        period: month.period,
        today,
        decided: decided.as_ref(),
        newest: &facts_of(proof),
        older: &older,
    });
    let behind = behind(request, &month.source, proof);
    Ok(PeriodLine {
        source: month.source.to_string(),
        billing_period: month.period.to_string(),
        state: judged.state,
        restated: judged.restated,
        reason: judged.reason,
        delivery_id: proof.delivery_id.to_string(),
        source_version: proof.source_version.clone(),
        source_now,
        older: month.pointer.older.iter().map(|entry| entry.delivery_id.to_string()).collect(),
        rows: proof.source_totals.iter().map(|totals| totals.rows).sum(),
        unblended_cost: unblended_of(&proof.source_totals),
        live: proof.customers.len() - behind.len(),
        behind,
    })
}

/// The exports of a delivery that aren't live.
pub(super) fn behind(
    request: &PeriodsRequest,
    source: &SourceName,
    proof: &MasterProof,
) -> Vec<BehindExport> {
    let of = |export: &MasterExport| {
        let why = why_behind(request, source, proof.billing_period, export)?;
        Some(BehindExport { report_id: export.report_id.to_string(), why })
    };
    proof.customers.iter().filter_map(of).collect()
}

fn why_behind(
    request: &PeriodsRequest,
    source: &SourceName,
    period: BillingPeriod,
    export: &MasterExport,
) -> Option<String> {
    let Some(target) = request.target_of(source, export) else {
        return Some("the settings name no target for it any more".to_owned());
    };
    let Some(keys) = ExportKeys::of(export, period) else {
        return Some(format!("{} is no manifest's key in any layout", export.manifest));
    };
    match live(target.as_ref(), &export.manifest, &keys.generation) {
        Err(error) => Some(error.to_string()),
        Ok(live) => match live.manifest {
            Some(manifest) if manifest.assembly == export.assembly_id => None,
            Some(manifest) => Some(format!("assembly {} is live", manifest.assembly)),
            None => Some("no manifest of ours is live".to_owned()),
        },
    }
}

/// Hashes the source's month and compares it with the newest delivery's.
fn source_now(request: &PeriodsRequest, month: &Month, proof: &MasterProof) -> Result<SourceNow, RunError> {
    let Some(source) = request.sources.iter().find(|source| source.name == month.source) else {
        return Ok(SourceNow::Gone);
    };
    let (report, _) = match choose_report(source) {
        Err(RunError::Source(SourceError::NotFound { .. })) => return Ok(SourceNow::Gone),
        other => other?,
    };
    let Some(delivery) = report.deliveries.get(&month.period) else { return Ok(SourceNow::Gone) };
    let pin = pin(source.bucket.as_ref(), delivery)?;
    Ok(if pin.version == proof.source_version { SourceNow::Same } else { SourceNow::Changed })
}
