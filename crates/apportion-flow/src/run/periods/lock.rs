use super::super::RunError;
use super::list::{BehindExport, behind};
use super::{Month, PeriodError, PeriodsRequest};
use crate::catalog::{SeenState, period_state, set_period_state};
use crate::storage::Swap;
use apportion_core::log::Action;
use apportion_core::proof::{Decision, PeriodState};
use apportion_model::BillingPeriod;
use serde::Serialize;

/// What the MSP decided about a month.
#[derive(Debug, Clone, Serialize)]
pub struct Locking {
    /// The source.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// `locked` or `unlocked`.
    pub state: Decision,
    /// Why it is, or was, locked.
    pub reason: String,
    /// The delivery that stays, or that stayed.
    pub delivery_id: String,
    /// The source version that it was made of.
    pub source_version: String,
    /// Whether anything was written.
    pub changed: bool,
    /// Exports of which another assembly, or none, is live; they stay so while the month is locked.
    pub behind: Vec<BehindExport>,
}

/// Locks a month of each source that has it: its newest delivery stays until it is unlocked.
///
/// # Errors
/// A month that was never delivered, a place that can't be written to, somebody else who is faster.
pub fn lock(
    request: &PeriodsRequest,
    period: BillingPeriod,
    reason: Option<&str>,
) -> Result<Vec<Locking>, RunError> {
    let months = request.months(period)?;
    months.iter().map(|month| lock_month(request, month, reason)).collect()
}

fn lock_month(request: &PeriodsRequest, month: &Month, reason: Option<&str>) -> Result<Locking, RunError> {
    let proof = request.proof(&month.pointer.newest)?;
    let seen = period_state(request.msp.as_ref(), &month.state_key())?;
    let before = seen.state.as_ref().filter(|state| state.state == Decision::Locked);
    let said = reason.or_else(|| before.map(|state| state.reason.as_str()));
    let state = PeriodState {
        state: Decision::Locked,
        reason: said.unwrap_or("locked by the MSP").to_owned(),
        delivery_id: month.pointer.newest.delivery_id.clone(),
        source_version: proof.source_version.clone(),
    };
    let changed = set(request, month, &seen, &state)?;
    Ok(locking(month, state, changed, behind(request, &month.source, &proof)))
}

/// Unlocks a month of each source that has it: the next `deliver` goes on with what the source holds then.
///
/// # Errors
/// A month that was never delivered, a place that can't be written to, somebody else who is faster.
pub fn unlock(request: &PeriodsRequest, period: BillingPeriod) -> Result<Vec<Locking>, RunError> {
    let mut done = Vec::new();
    for month in request.months(period)? {
        let seen = period_state(request.msp.as_ref(), &month.state_key())?;
        let Some(before) = seen.state.clone() else {
            let proof = request.proof(&month.pointer.newest)?;
            let state = PeriodState {
                state: Decision::Unlocked,
                reason: "it never was locked".to_owned(),
                delivery_id: proof.delivery_id,
                source_version: proof.source_version,
            };
            done.push(locking(&month, state, false, Vec::new()));
            continue;
        };
        let state = PeriodState { state: Decision::Unlocked, ..before };
        let changed = set(request, &month, &seen, &state)?;
        done.push(locking(&month, state, changed, Vec::new()));
    }
    Ok(done)
}

/// Writes a state, if what was seen is still there; says whether there was anything to write.
pub(super) fn set(
    request: &PeriodsRequest,
    month: &Month,
    seen: &SeenState,
    state: &PeriodState,
) -> Result<bool, RunError> {
    if seen.state.as_ref() != Some(state) {
        let action = match state.state {
            Decision::Locked => Action::Lock,
            Decision::Unlocked => Action::Unlock,
        };
        request.log(month, action, state, Vec::new())?;
    }
    let key = month.state_key();
    match set_period_state(request.msp.as_ref(), &key, seen, state)? {
        Swap::Done => Ok(seen.state.as_ref() != Some(state)),
        Swap::Lost => Err(PeriodError::Raced { place: request.msp.place(), key }.into()),
    }
}

fn locking(month: &Month, state: PeriodState, changed: bool, behind: Vec<BehindExport>) -> Locking {
    Locking {
        source: month.source.to_string(),
        billing_period: month.period.to_string(),
        state: state.state,
        reason: state.reason,
        delivery_id: state.delivery_id.to_string(),
        source_version: state.source_version,
        changed,
        behind,
    }
}
