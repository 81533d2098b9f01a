use super::super::RunError;
use super::super::delivery::unblended_of;
use super::lock::set;
use super::{ExportKeys, Month, PeriodError, PeriodsRequest};
use crate::catalog::{Live, live, live_proof, period_state};
use crate::outcome::Kind;
use crate::publish::{Commit, PublishError, commit, replace};
use crate::storage::{Bucket, Swap, read_manifest};
use apportion_core::log::{Action, LoggedExport};
use apportion_core::proof::{
    CustomerProof, Decision, Generation, MasterEntry, MasterExport, MasterPointer, MasterProof, PeriodState,
    to_stored_json,
};
use apportion_model::{BillingPeriod, ObjectKey};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Missing files that are told one by one.
const TOLD: usize = 10;

/// What becomes of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Its manifest would go back.
    Planned,
    /// Its manifest went back.
    Moved,
    /// The older delivery's assembly was live already.
    Unchanged,
    /// The older delivery has no such export: what is live stays.
    Stays,
    /// Its target failed; what is live stays.
    Failed,
}

impl Turn {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Moved => "moved",
            Self::Unchanged => "unchanged",
            Self::Stays => "stays",
            Self::Failed => "failed",
        }
    }
}

/// One export of a month that goes back.
#[derive(Debug, Clone, Serialize)]
pub struct RolledExport {
    /// Whose.
    pub customer: String,
    /// The export.
    pub report_id: String,
    /// What became of it.
    pub state: Turn,
    /// Line items of the older delivery's.
    pub rows: u64,
    /// Their unblended cost by currency, exact.
    pub unblended_cost: BTreeMap<String, String>,
    /// Line items of what was live before; None if nothing was.
    pub rows_before: Option<u64>,
    /// Their unblended cost by currency.
    pub unblended_cost_before: BTreeMap<String, String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What sort of failure it is.
    #[serde(skip)]
    pub failure: Option<Kind>,
}

/// A month that goes back to an older delivery.
#[derive(Debug, Clone, Serialize)]
pub struct Rollback {
    /// The source.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// The newest delivery before.
    pub from: String,
    /// The delivery that it goes back to.
    pub to: String,
    /// Why the month is locked now.
    pub reason: String,
    /// Whether all of it was done.
    pub done: bool,
    /// Each export.
    pub exports: Vec<RolledExport>,
}

/// An export whose files are all there, ready to go back.
struct Ready<'a> {
    export: &'a MasterExport,
    target: Arc<dyn Bucket>,
    keys: ExportKeys,
    /// The assembly's own manifest.
    bytes: Vec<u8>,
    live: Live,
}

/// Puts a month back to an older delivery, every export of it: the manifests become those that it had put, the
/// month is locked, and the MSP's pointer names it as the newest. With `dry_run`, only looks.
///
/// # Errors
/// A delivery that isn't known, an export whose target isn't known, a manifest, proof or data file that is gone or
/// has another size: then nothing is moved. A target that fails later is in the result; run it again then.
pub fn rollback(
    request: &PeriodsRequest,
    period: BillingPeriod,
    to: &str,
    dry_run: bool,
) -> Result<Rollback, RunError> {
    let month = request.month(period)?;
    let entry = month.entry(to)?;
    let proof = request.proof(entry)?;
    let newest = request.proof(&month.pointer.newest)?;
    let ready = all_ready(request, &month, &proof)?;
    let mut exports: Vec<RolledExport> = ready.iter().map(planned).collect();
    let is_stray =
        |export: &&MasterExport| !proof.customers.iter().any(|older| older.report_id == export.report_id);
    exports.extend(newest.customers.iter().filter(is_stray).map(stays));
    let mut rollback = Rollback {
        source: month.source.to_string(),
        billing_period: period.to_string(),
        from: month.pointer.newest.delivery_id.to_string(),
        to: entry.delivery_id.to_string(),
        reason: format!("rolled back to {}", entry.delivery_id),
        done: false,
        exports,
    };
    if dry_run {
        return Ok(rollback);
    }
    // Locked first: no `deliver` that starts now may go forward between two manifests.
    let seen = period_state(request.msp.as_ref(), &month.state_key())?;
    let state = PeriodState {
        state: Decision::Locked,
        reason: rollback.reason.clone(),
        delivery_id: entry.delivery_id.clone(),
        source_version: proof.source_version.clone(),
    };
    set(request, &month, &seen, &state)?;
    let moved = ready.iter().map(|ready| LoggedExport {
        customer: ready.export.customer.clone(),
        report_id: ready.export.report_id.clone(),
        assembly_id: ready.export.assembly_id.clone(),
        target: ready.target.place(),
    });
    request.log(&month, Action::Rollback, &state, moved.collect())?;
    for (ready, export) in ready.iter().zip(&mut rollback.exports) {
        match put_back(ready, &proof) {
            Ok(turn) => export.state = turn,
            Err(error) => {
                export.state = Turn::Failed;
                export.error = Some(error.to_string());
                export.failure = Some(error.kind());
            }
        }
    }
    rollback.done = rollback.exports.iter().all(|export| export.failure.is_none());
    if rollback.done {
        point_to(request, &month, entry)?;
    }
    Ok(rollback)
}

/// Everything that the older delivery's manifests name is there, or nothing moves.
fn all_ready<'a>(
    request: &PeriodsRequest,
    month: &Month,
    proof: &'a MasterProof,
) -> Result<Vec<Ready<'a>>, RunError> {
    let mut ready = Vec::new();
    let mut missing = Vec::new();
    for export in &proof.customers {
        let target = request.target_of(&month.source, export).ok_or_else(|| PeriodError::NoTarget {
            report_id: export.report_id.clone(),
            customer: export.customer.clone(),
        })?;
        let Some(keys) = ExportKeys::of(export, month.period) else {
            missing.push(format!("{} is no manifest's key in any layout", export.manifest));
            continue;
        };
        match look(target.as_ref(), export, &keys, &mut missing)? {
            Some(bytes) => {
                let live = live(target.as_ref(), &export.manifest, &keys.generation)?;
                ready.push(Ready { export, target, keys, bytes, live });
            }
            None => continue,
        }
    }
    if missing.is_empty() {
        return Ok(ready);
    }
    let more = missing.len().saturating_sub(TOLD);
    missing.truncate(TOLD);
    if more > 0 {
        missing.push(format!("and {more} more"));
    }
    Err(PeriodError::Incomplete { delivery: proof.delivery_id.clone(), missing }.into())
}

/// The assembly's own manifest, once its proof and every file are seen to be there with their sizes.
fn look(
    target: &dyn Bucket,
    export: &MasterExport,
    keys: &ExportKeys,
    missing: &mut Vec<String>,
) -> Result<Option<Vec<u8>>, RunError> {
    let place = target.place();
    let Some(bytes) = target.read(&keys.assembly_manifest, 64 << 20)? else {
        missing.push(format!("{place}/{} isn't there", keys.assembly_manifest));
        return Ok(None);
    };
    let proof = target.read(&export.proof, 256 << 20)?;
    let proof: Option<CustomerProof> = proof.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (Some(proof), Ok(manifest)) = (proof, read_manifest(target, &bytes)) else {
        missing.push(format!("{place}/{}: it or its manifest isn't there or can't be read", export.proof));
        return Ok(None);
    };
    let named: Vec<&String> = proof.files.iter().map(|file| &file.key).collect();
    if manifest.assembly != export.assembly_id || named != manifest.keys.iter().collect::<Vec<_>>() {
        missing.push(format!("{place}/{} isn't the manifest of its proof", keys.assembly_manifest));
    }
    for file in &proof.files {
        match target.info(&file.key)? {
            Some(info) if info.bytes == file.bytes => {}
            Some(info) => missing.push(format!(
                "{place}/{} has {} bytes where {} were delivered",
                file.key, info.bytes, file.bytes
            )),
            None => missing.push(format!("{place}/{} isn't there", file.key)),
        }
    }
    Ok(Some(bytes))
}

fn planned(ready: &Ready<'_>) -> RolledExport {
    let before = live_proof(ready.target.as_ref(), &ready.live);
    let is_live = ready.live.bytes.as_ref() == Some(&ready.bytes);
    RolledExport {
        customer: ready.export.customer.to_string(),
        report_id: ready.export.report_id.to_string(),
        state: if is_live { Turn::Unchanged } else { Turn::Planned },
        rows: ready.export.rows,
        unblended_cost: unblended_of(&ready.export.totals),
        rows_before: before.as_ref().map(|proof| proof.rows),
        unblended_cost_before: before.map(|proof| unblended_of(&proof.totals)).unwrap_or_default(),
        error: None,
        failure: None,
    }
}

/// An export that the newest delivery has and the older one hasn't: a manifest is never taken away.
fn stays(export: &MasterExport) -> RolledExport {
    let cost = unblended_of(&export.totals);
    RolledExport {
        customer: export.customer.to_string(),
        report_id: export.report_id.to_string(),
        state: Turn::Stays,
        rows: export.rows,
        unblended_cost: cost.clone(),
        rows_before: Some(export.rows),
        unblended_cost_before: cost,
        error: None,
        failure: None,
    }
}

/// Makes the assembly's own manifest the live one again.
fn put_back(ready: &Ready<'_>, proof: &MasterProof) -> Result<Turn, PublishError> {
    let live = ready.live.generation.as_ref();
    let is_live = ready.live.bytes.as_ref() == Some(&ready.bytes)
        && live.is_some_and(|live| live.source_version == proof.source_version);
    if is_live {
        return Ok(Turn::Unchanged);
    }
    // The version becomes the older one's; the order stays that of the newest that was ever live. So a source
    // that is older than that is refused as before, and the newest one may go forward again.
    let generation = Generation {
        generation: live.map_or(0, |live| live.generation),
        source_version: proof.source_version.clone(),
    };
    let back = Commit {
        manifest: &ready.export.manifest,
        seen: ready.live.bytes.as_deref(),
        bytes: &ready.bytes,
        assembly_manifest: &ready.keys.assembly_manifest,
        generation_key: &ready.keys.generation,
        generation: &generation,
        seen_generation: live,
    };
    commit(ready.target.as_ref(), &back)?;
    Ok(Turn::Moved)
}

/// The MSP's pointer names the delivery as the newest.
fn point_to(request: &PeriodsRequest, month: &Month, entry: &MasterEntry) -> Result<(), RunError> {
    let pointer = MasterPointer::after(Some(month.pointer.clone()), entry.clone());
    let key = ObjectKey::MasterPointer { source: &month.source, period: month.period }.to_string();
    match replace(request.msp.as_ref(), &key, &to_stored_json(&pointer))? {
        Swap::Done => Ok(()),
        Swap::Lost => Err(PeriodError::Raced { place: request.msp.place(), key }.into()),
    }
}
