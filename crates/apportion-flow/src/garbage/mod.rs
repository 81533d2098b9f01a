//! Garbage: deliveries that nobody needs any more are shown, and deleted where that is asked for.
//!
//! What comes in: the MSP's place, the customers' targets, how many deliveries stay, and the time before which others
//! may go. What goes out: what was, or would be, deleted, for whom and of which size. What it must never do: delete by
//! a listing, or delete what is live, what is newest, what a lock names, or what a delivery that stays holds too.
//!
//! The keys come from our own older proofs: pointer, master proof, customer proof. Each is deleted after everything
//! whose keys it holds: data files, the assembly's manifest, the customer proof; unassigned files, the master proof; the
//! pointer's entry last. A crash at any point leaves what the next run needs to finish.

mod export;
mod report;

pub use report::{GarbageDelivery, GarbageItem, GarbageReport, GarbageState};

use crate::outcome::Kind;
use crate::storage::{
    Bucket, DocumentError, Lease, LeaseError, Operator, StorageError, Swap, Targets, delivered_periods,
    find_document, read_document, take_lease,
};
use apportion_core::proof::{
    Decision, MasterEntry, MasterExport, MasterPointer, MasterProof, PeriodState, to_stored_json,
};
use apportion_model::{AccountId, BillingPeriod, CustomerId, ObjectKey, SourceName};
use export::{Objects, objects_of, unassigned_objects};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// How often a pointer's entry is taken out anew when somebody else changes the pointer.
const ATTEMPTS: u32 = 5;

/// What may be collected.
#[derive(Clone)]
pub struct GarbageRequest {
    /// The MSP's place.
    pub msp: Arc<dyn Bucket>,
    /// The sources of the settings.
    pub sources: Vec<SourceName>,
    /// Where exports lie.
    pub targets: Targets,
    /// Only this customer's objects; None: all, unassigned line items and master proofs too.
    pub only: Option<CustomerId>,
    /// Which months; None: all that were delivered.
    pub periods: Option<Vec<BillingPeriod>>,
    /// A delivery may go if it was replaced before this moment, in milliseconds since 1970.
    pub before: i64,
    /// So many of the newest deliveries of a month stay; at least one always does.
    pub keep: usize,
    /// Delete, instead of only showing.
    pub delete: bool,
    /// Who asks; while a month's objects are deleted, no delivery may bring them to life again.
    pub operator: Operator,
    /// A folder that is locked as long as this run lives.
    pub alive: PathBuf,
}

/// Why nothing can be collected.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// The MSP's place has nothing, or can't be read or written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Somebody asked to stop.
    #[error("interrupted; what is deleted was nobody's any more, the same command goes on with the rest")]
    Interrupted,
}

impl GarbageError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Document(error) => error.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

impl From<StorageError> for GarbageError {
    fn from(error: StorageError) -> Self {
        Self::Document(error.into())
    }
}

/// Shows, or deletes, the deliveries that nobody needs any more.
///
/// # Errors
/// An MSP's place that can't be read or written. A target that fails leaves its objects, and is in the report.
pub fn collect_garbage(
    request: &GarbageRequest,
    interrupted: &dyn Fn() -> bool,
) -> Result<GarbageReport, GarbageError> {
    let mut report = GarbageReport::default();
    let found = delivered_periods(request.msp.as_ref(), &request.sources, request.periods.as_deref())?;
    for (source, period) in found {
        let collector = Collector { request, source: &source, period, interrupted };
        let lease = match collector.lease() {
            Ok(lease) => lease,
            Err(LeaseError::Storage(error)) => return Err(error.into()),
            Err(held) => {
                report.refused.push(format!("{source} {period}: {held}"));
                continue;
            }
        };
        let month = collector.month();
        drop(lease);
        match month {
            Ok(deliveries) => report.deliveries.extend(deliveries),
            // Whatever can't be read might name what must stay: nothing of this month is touched.
            Err(GarbageError::Document(
                error @ (DocumentError::Missing { .. } | DocumentError::Unreadable { .. }),
            )) => {
                report.refused.push(format!("{source} {period}: {error}; nothing of this month was deleted"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// One month of one source.
struct Collector<'a> {
    request: &'a GarbageRequest,
    source: &'a SourceName,
    period: BillingPeriod,
    interrupted: &'a dyn Fn() -> bool,
}

/// Whose objects of which assembly: by customer, linked account, and the key of the customer proof.
type Needed = BTreeMap<(CustomerId, Option<AccountId>, String), String>;

/// What a month's deliveries are.
struct Sorted {
    /// Those that stay, with the reason.
    kept: Vec<(MasterEntry, String)>,
    /// Those that may go, the oldest first.
    garbage: Vec<MasterEntry>,
}

impl Collector<'_> {
    fn msp(&self) -> &dyn Bucket {
        self.request.msp.as_ref()
    }

    fn pointer_key(&self) -> String {
        ObjectKey::MasterPointer { source: self.source, period: self.period }.to_string()
    }

    fn lease(&self) -> Result<Option<Lease>, LeaseError> {
        let GarbageRequest { msp, operator, alive, delete, .. } = self.request;
        let key = ObjectKey::Lease { source: self.source, period: self.period }.to_string();
        delete.then(|| take_lease(msp, &key, operator, alive, None)).transpose()
    }

    fn month(&self) -> Result<Vec<GarbageDelivery>, GarbageError> {
        let pointer = read_document::<MasterPointer>(self.msp(), &self.pointer_key())?.value;
        let Sorted { kept, garbage } = self.sort(&pointer)?;
        let mut needed = Needed::new();
        let mut deliveries = Vec::new();
        for (entry, reason) in kept {
            let proof = read_document::<MasterProof>(self.msp(), &entry.proof)?.value;
            for MasterExport { customer, linked_account, proof, .. } in proof.customers {
                needed.insert((customer, linked_account, proof), entry.delivery_id.to_string());
            }
            deliveries.push(self.delivery(&entry, vec![GarbageItem::whole(GarbageState::Kept, reason)]));
        }
        for entry in garbage {
            let items = self.collect(&entry, &needed)?;
            deliveries.push(self.delivery(&entry, items));
        }
        Ok(deliveries)
    }

    fn delivery(&self, entry: &MasterEntry, items: Vec<GarbageItem>) -> GarbageDelivery {
        GarbageDelivery {
            source: self.source.to_string(),
            billing_period: self.period.to_string(),
            delivery_id: entry.delivery_id.to_string(),
            items,
        }
    }

    /// The delivery that a lock names.
    fn locked(&self) -> Result<Option<PeriodState>, GarbageError> {
        let key = ObjectKey::PeriodState { source: self.source, period: self.period }.to_string();
        let state = find_document::<PeriodState>(self.msp(), &key)?.map(|document| document.value);
        // An unlocked month's state still tells what was locked; that binds nobody.
        Ok(state.filter(|state| state.state == Decision::Locked))
    }

    fn sort(&self, pointer: &MasterPointer) -> Result<Sorted, GarbageError> {
        let locked = self.locked()?;
        let pointer_written = self.msp().info(&self.pointer_key())?.map(|info| info.modified);
        let mut sorted =
            Sorted { kept: vec![(pointer.newest.clone(), "the newest".to_owned())], garbage: vec![] };
        // A delivery is out since the next one came; before the grace is over, somebody may still be reading it.
        let mut replaced = pointer_written;
        for entry in &pointer.older {
            let written = self.msp().info(&entry.proof)?.map(|info| info.modified);
            let is_locked = locked.as_ref().is_some_and(|state| state.delivery_id == entry.delivery_id);
            let stays = if is_locked {
                Some("the month's state names it".to_owned())
            } else if written.is_none() {
                // Its master proof was deleted by a run that died before it came to the pointer.
                None
            } else if sorted.kept.len() < self.request.keep {
                Some(format!("among the {} newest", self.request.keep))
            } else if written.max(replaced).is_some_and(|moment| moment >= self.request.before) {
                Some("within the grace period".to_owned())
            } else {
                None
            };
            replaced = written;
            match stays {
                Some(reason) => sorted.kept.push((entry.clone(), reason)),
                None => sorted.garbage.insert(0, entry.clone()),
            }
        }
        Ok(sorted)
    }

    /// One delivery that may go: every export that nobody else needs, then what is the MSP's.
    fn collect(&self, entry: &MasterEntry, needed: &Needed) -> Result<Vec<GarbageItem>, GarbageError> {
        if self.request.delete && !self.is_still_garbage(entry)? {
            let reason = "it was delivered anew, or locked, since this run began";
            return Ok(vec![GarbageItem::whole(GarbageState::Kept, reason)]);
        }
        let Some(proof) = find_document::<MasterProof>(self.msp(), &entry.proof)? else {
            return Ok(vec![self.take_out(entry)?]);
        };
        let proof = proof.value;
        let due =
            ObjectKey::MasterProof { source: self.source, period: self.period, delivery: &entry.delivery_id };
        if proof.delivery_id != entry.delivery_id || due.to_string() != entry.proof {
            let reason = format!("{} isn't the master proof that the pointer says it is", entry.proof);
            return Ok(vec![GarbageItem::whole(GarbageState::Failed, reason)]);
        }
        let mut items = Vec::new();
        for export in &proof.customers {
            if (self.interrupted)() {
                return Err(GarbageError::Interrupted);
            }
            items.extend(self.export(export, needed));
        }
        if items.iter().any(|item| item.state.keeps_delivery()) {
            let reason = "its master proof holds the keys of what is left";
            items.push(GarbageItem::whole(GarbageState::Kept, reason));
            return Ok(items);
        }
        let unassigned = unassigned_objects(self.msp(), &proof)?;
        items.push(self.remove(self.msp(), unassigned, GarbageItem::of_msp("(unassigned)"))?);
        let own = Objects::of(self.msp(), vec![entry.proof.clone()])?;
        items.push(self.remove(self.msp(), own, GarbageItem::of_msp("(master proof)"))?);
        items.extend(Some(self.take_out(entry)?).filter(|item| item.state == GarbageState::Failed));
        Ok(items)
    }

    /// Looked at again right before anything is deleted: a run may have delivered it anew meanwhile.
    fn is_still_garbage(&self, entry: &MasterEntry) -> Result<bool, GarbageError> {
        let pointer = read_document::<MasterPointer>(self.msp(), &self.pointer_key())?.value;
        let locked = self.locked()?.is_some_and(|state| state.delivery_id == entry.delivery_id);
        Ok(!locked && pointer.newest.delivery_id != entry.delivery_id && pointer.older.contains(entry))
    }

    /// One export; None where nothing of it is there any more.
    fn export(&self, export: &MasterExport, needed: &Needed) -> Option<GarbageItem> {
        let item = |state, reason: String| GarbageItem {
            state,
            reason,
            report_id: export.report_id.to_string(),
            assembly_id: export.assembly_id.to_string(),
            ..GarbageItem::of_msp(export.customer.as_str())
        };
        let key = (export.customer.clone(), export.linked_account.clone(), export.proof.clone());
        if let Some(delivery) = needed.get(&key) {
            return Some(item(GarbageState::Shared, format!("delivery {delivery} holds it too")));
        }
        if self.request.only.as_ref().is_some_and(|only| *only != export.customer) {
            return Some(item(GarbageState::NotChosen, String::new()));
        }
        let Some(target) = self.request.targets.find(&export.customer, export.linked_account.as_ref()) else {
            let reason =
                format!("the settings name no target any more; it lies in the folder of {}", export.proof);
            return Some(item(GarbageState::Left, reason));
        };
        let done = objects_of(target.as_ref(), export, self.period).and_then(|objects| match objects {
            Err(reason) => Ok(item(GarbageState::Failed, reason)),
            Ok(objects) if objects.keys.is_empty() => Ok(item(GarbageState::Gone, String::new())),
            Ok(objects) => match export::live_reason(target.as_ref(), export)? {
                Some(reason) => Ok(objects.counted(item(GarbageState::Kept, reason))),
                None => self.remove(target.as_ref(), objects, item(GarbageState::Shown, String::new())),
            },
        });
        match done {
            Ok(item) if item.state == GarbageState::Gone => None,
            Ok(item) => Some(item),
            Err(error) => Some(item(GarbageState::Failed, error.to_string())),
        }
    }

    /// Deletes objects in their order, or only counts them.
    fn remove(
        &self,
        place: &dyn Bucket,
        objects: Objects,
        item: GarbageItem,
    ) -> Result<GarbageItem, StorageError> {
        let mut item = objects.counted(item);
        if self.request.delete {
            for key in &objects.keys {
                place.delete(key)?;
            }
            item.state = GarbageState::Deleted;
        }
        Ok(item)
    }

    /// Takes the entry out of the pointer, by compare-and-swap.
    fn take_out(&self, entry: &MasterEntry) -> Result<GarbageItem, GarbageError> {
        let mut item = GarbageItem::of_msp("(pointer's entry)");
        if !self.request.delete {
            return Ok(item);
        }
        let key = self.pointer_key();
        for _ in 0..ATTEMPTS {
            let seen = read_document::<MasterPointer>(self.msp(), &key)?;
            let mut pointer = seen.value;
            let before = pointer.older.len();
            pointer.older.retain(|older| older != entry);
            if pointer.older.len() == before
                || self.msp().swap(&key, Some(&seen.bytes), &to_stored_json(&pointer))? == Swap::Done
            {
                item.state = GarbageState::Deleted;
                return Ok(item);
            }
        }
        item.state = GarbageState::Failed;
        item.reason = format!("{key} was changed by others again and again; run again");
        Ok(item)
    }
}
