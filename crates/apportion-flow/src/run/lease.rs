//! The lease: two runs don't do the same work.
//!
//! What comes in: who wants to work on a month. What goes out: that nobody else does, or who it is. What it must never do:
//! stand in for the commit protocol. Safety never rests on it: it may be lost, stolen or forgotten, and nothing but work
//! is wasted.

use super::request::{DeliverRequest, Operator, SourceRequest};
use super::{RunError, Watcher};
use crate::storage::{Bucket, StorageError, Swap};
use apportion_model::{BillingPeriod, ObjectKey};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A lease that wasn't renewed for so long is over.
const LASTS: Duration = Duration::from_secs(600);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(120);
/// How often it is tried to take one, while others do.
const ATTEMPTS: u32 = 10;
/// Whoever waits looks so often.
const LOOKED: Duration = Duration::from_secs(5);
/// How often in between it is looked whether somebody asked to stop.
const LOOKS: u32 = 25;
/// Looks of one who waits: half a day.
const LONGEST_WAIT: u32 = 8640;
/// No lease is larger.
const MOST_BYTES: u64 = 1 << 16;

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Whether somebody has it.
    held: bool,
    /// Who, for people.
    holder: String,
    /// The holder's machine.
    machine: String,
    /// A folder of the holder's that is locked as long as the run lives.
    spool: PathBuf,
    /// How often it was renewed.
    renewed: u64,
}

/// What stood there when a run began: what changed since then was done by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen(Option<Vec<u8>>);

/// A lease of one's own. Dropped, it is given back.
pub(super) struct Lease {
    held: Arc<Held>,
    renewing: Option<JoinHandle<()>>,
}

struct Held {
    msp: Arc<dyn Bucket>,
    key: String,
    /// What stands there now, and whether to stop renewing it.
    now: Mutex<(Record, bool)>,
    stop: Condvar,
}

/// Who has the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) holder: String,
    /// After so many seconds without a word from him it is over.
    pub(super) seconds: u64,
}

impl Seen {
    /// What stands there for a month; nothing where nobody asks for leases.
    pub(super) fn of(
        request: &DeliverRequest,
        source: &SourceRequest,
        period: BillingPeriod,
    ) -> Result<Option<Self>, StorageError> {
        let Some(msp) = request.msp.as_ref().filter(|_| request.operator.is_some() && !request.dry_run)
        else {
            return Ok(None);
        };
        let key = ObjectKey::Lease { source: &source.name, period }.to_string();
        Self::look(msp.as_ref(), &key).map(Some)
    }

    /// What stands there.
    fn look(msp: &dyn Bucket, key: &str) -> Result<Self, StorageError> {
        Ok(Self(msp.read(key, MOST_BYTES)?))
    }

    fn record(&self) -> Option<Record> {
        // What can't be read is nobody's.
        self.0.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok())
    }

    /// Who else has it. A run that is at work on the month already says in which folder.
    fn other(
        &self,
        msp: &dyn Bucket,
        key: &str,
        operator: &Operator,
        own: Option<&Path>,
    ) -> Result<Option<Other>, StorageError> {
        let Some(record) = self.record().filter(|record| record.held) else { return Ok(None) };
        // Whoever had one's own folder before is gone: where processes are counted from 1, it is called the same.
        let is_gone = |spool: &Path| own == Some(spool) || is_dead(spool);
        if record.machine == operator.machine && is_gone(&record.spool) {
            return Ok(None);
        }
        let Some(info) = msp.info(key)? else { return Ok(None) };
        let age = operator.now().saturating_sub(info.modified);
        let left = i64::try_from(LASTS.as_millis()).unwrap_or(i64::MAX).saturating_sub(age);
        let seconds = u64::try_from(left / 1000).unwrap_or(0);
        Ok((left > 0).then_some(Other { holder: record.holder, seconds }))
    }
}

/// Takes the lease, unless somebody else has it, or had it since `begun` was looked at.
pub(super) fn take(
    msp: &Arc<dyn Bucket>,
    key: &str,
    operator: &Operator,
    spool: &Path,
    begun: &Seen,
) -> Result<Lease, RunError> {
    let record = Record {
        held: true,
        holder: operator.name.clone(),
        machine: operator.machine.clone(),
        spool: spool.to_owned(),
        renewed: 0,
    };
    for _ in 0..ATTEMPTS {
        let seen = Seen::look(msp.as_ref(), key)?;
        if let Some(other) = seen.other(msp.as_ref(), key, operator, Some(spool))? {
            return Err(RunError::Held { holder: other.holder, seconds: other.seconds });
        }
        if seen != *begun {
            return Err(RunError::Overtaken);
        }
        if msp.swap(key, seen.0.as_deref(), &text(&record))? == Swap::Done {
            msp.prove_conditions(key, &text(&record))?;
            return Ok(Lease::new(Arc::clone(msp), key.to_owned(), record));
        }
    }
    Err(RunError::Overtaken)
}

/// Waits until nobody has the lease any more.
pub(super) fn wait_until_free(
    request: &DeliverRequest,
    source: &SourceRequest,
    period: BillingPeriod,
    watcher: &dyn Watcher,
) -> Result<(), RunError> {
    let (Some(msp), Some(operator)) = (&request.msp, &request.operator) else { return Ok(()) };
    let key = ObjectKey::Lease { source: &source.name, period }.to_string();
    for _ in 0..LONGEST_WAIT {
        let Some(other) = Seen::look(msp.as_ref(), &key)?.other(msp.as_ref(), &key, operator, None)? else {
            return Ok(());
        };
        for _ in 0..LOOKS {
            if watcher.interrupted() {
                return Err(RunError::Interrupted);
            }
            // What is left of a lease may be less.
            std::thread::sleep((LOOKED / LOOKS).min(Duration::from_secs(other.seconds)));
        }
    }
    Err(RunError::Overtaken)
}

fn text(record: &Record) -> Vec<u8> {
    apportion_core::proof::to_stored_json(record)
}

/// Whether a run of this machine that had this folder is gone: it holds the folder locked as long as it lives.
fn is_dead(spool: &Path) -> bool {
    File::open(spool).map_or(true, |folder| !matches!(folder.try_lock(), Err(TryLockError::WouldBlock)))
}

impl Lease {
    fn new(msp: Arc<dyn Bucket>, key: String, record: Record) -> Self {
        let held = Held { msp, key, now: Mutex::new((record, false)), stop: Condvar::new() };
        let held = Arc::new(held);
        let renewed = Arc::clone(&held);
        let renewing = std::thread::Builder::new().name("lease".to_owned()).spawn(move || renewed.renew());
        // Without a thread it runs out early, and somebody may do the same work.
        Self { held, renewing: renewing.ok() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        {
            let mut now = self.held.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.1 = true;
            self.held.stop.notify_all();
        }
        if let Some(renewing) = self.renewing.take() {
            let _ = renewing.join();
        }
        let now = self.held.now.lock().unwrap_or_else(PoisonError::into_inner);
        let free = Record { held: false, ..now.0.clone() };
        // Lost or failed: then it is somebody else's, or runs out.
        let _ = self.held.msp.swap(&self.held.key, Some(&text(&now.0)), &text(&free));
    }
}

impl Held {
    /// Says from time to time that the run lives, until it is over or the lease is another's.
    fn renew(&self) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let waited = self.stop.wait_timeout_while(now, RENEWED, |now| !now.1);
            now = waited.unwrap_or_else(PoisonError::into_inner).0;
            if now.1 {
                return;
            }
            let next = Record { renewed: now.0.renewed + 1, ..now.0.clone() };
            match self.msp.swap(&self.key, Some(&text(&now.0)), &text(&next)) {
                Ok(Swap::Done) => now.0 = next,
                Ok(Swap::Lost) => return,
                // It may pass; if not, the lease runs out.
                Err(_) => {}
            }
        }
    }
}
