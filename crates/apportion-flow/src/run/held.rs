use super::RunError;
use super::exports::{Export, identify};
use super::report::{LockReport, State};
use super::written::Pass;
use crate::catalog::{master_proof, period_state};
use apportion_core::period::{Hold, hold};
use apportion_core::proof::PeriodState;
use apportion_model::{AssemblyId, ObjectKey};
use std::collections::BTreeMap;

/// A month that the MSP has locked.
pub(super) struct Held {
    lock: PeriodState,
    hold: Hold,
    /// Exports that today's settings would make otherwise than they were locked, in words.
    settings: Vec<String>,
}

/// The lock on a delivery's month, if there is one; without a place of the MSP's nothing can be locked.
pub(super) fn held(pass: &Pass<'_>, exports: &[Export<'_>]) -> Result<Option<Held>, RunError> {
    let Some(msp) = &pass.request.msp else { return Ok(None) };
    let source = &pass.source.name;
    let key = ObjectKey::PeriodState { source, period: pass.period }.to_string();
    let state = period_state(msp.as_ref(), &key)?.state;
    let (Some(hold), Some(lock)) = (hold(state.as_ref(), &pass.pin.version), state) else { return Ok(None) };
    let key = ObjectKey::MasterProof { source, period: pass.period, delivery: &lock.delivery_id }.to_string();
    let locked: BTreeMap<String, AssemblyId> = master_proof(msp.as_ref(), &key)?
        .map(|proof| {
            let exports = proof.customers.into_iter();
            exports.map(|export| (export.report_id.to_string(), export.assembly_id)).collect()
        })
        .unwrap_or_default();
    let mut settings = Vec::new();
    for export in exports {
        // What it would be called, were the source still the locked one: then only settings can differ.
        let now = identify(export, &lock.source_version, pass.request.mask_key.as_ref());
        match locked.get(export.report.as_str()) {
            Some(then) if *then == now => {}
            Some(_) => settings.push(format!("{} would change", export.report)),
            None => settings.push(format!("{} would be new", export.report)),
        }
    }
    let gone = locked.keys().filter(|report| !exports.iter().any(|export| export.report.as_str() == *report));
    settings.extend(gone.map(|report| format!("{report} would be delivered no more")));
    Ok(Some(Held { lock, hold, settings }))
}

impl Held {
    /// What becomes of its exports.
    pub(super) fn state(&self) -> State {
        match self.hold {
            Hold::Same => State::Locked,
            Hold::Changed => State::Waiting,
        }
    }

    /// Whether there is anything that `plan` could show.
    pub(super) fn differs(&self) -> bool {
        self.hold == Hold::Changed || !self.settings.is_empty()
    }

    /// What waits because settings have changed.
    pub(super) fn texts(&self, pass: &Pass<'_>) -> Option<String> {
        let month = pass.period.month_text();
        (!self.settings.is_empty()).then(|| {
            format!(
                "the month is locked ({}), so changed settings (or another version of apportion) wait: {}. `apportion plan --period {month}` shows rows and money; `apportion periods unlock {month}` lets the next `deliver` go on",
                self.lock.reason,
                self.settings.join(", ")
            )
        })
    }

    pub(super) fn report(&self, pass: &Pass<'_>) -> LockReport {
        let month = pass.period.month_text();
        let alarm = (self.hold == Hold::Changed).then(|| {
            format!(
                "{month} of source {} is locked ({}), and its source is another now: the locked delivery {} was made of version {}, the source has version {} (assembly {}). Nothing was written. See what would change in rows and money: `apportion plan --period {month}`. To accept it: `apportion periods unlock {month}`, then `apportion deliver --period {month}`; `apportion periods diff {month}` explains what changed",
                pass.source.name,
                self.lock.reason,
                self.lock.delivery_id,
                short(&self.lock.source_version),
                short(&pass.pin.version),
                pass.delivery.assembly,
            )
        });
        LockReport {
            reason: self.lock.reason.clone(),
            delivery_id: self.lock.delivery_id.to_string(),
            source_version: self.lock.source_version.clone(),
            source_version_now: pass.pin.version.clone(),
            alarm,
        }
    }
}

/// Enough of a hash for people to compare; JSON has the whole.
fn short(version: &str) -> &str {
    version.get(..12).unwrap_or(version)
}
