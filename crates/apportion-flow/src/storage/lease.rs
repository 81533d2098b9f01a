//! The lease: two runs don't do the same work.
//!
//! What comes in: who wants to work on a month. What goes out: that nobody else does, or who it is. What it must never do:
//! stand in for the commit protocol. Safety never rests on it: it may be lost, stolen or forgotten, and nothing but work
//! is wasted.

use super::{Bucket, StorageError, Swap};
use crate::outcome::Kind;
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

/// Who runs something, on which machine, at what time.
#[derive(Clone)]
pub struct Operator {
    /// For people, as `ann@msp-1 (process 4711)`.
    pub name: String,
    /// The machine's name.
    pub machine: String,
    /// Wait for another run that is at work on the same, instead of ending.
    pub wait: bool,
    /// The time of day, in milliseconds since 1970. It decides no delivered byte.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Operator {
    /// Now, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Now, as log entries write it.
    pub fn at(&self) -> String {
        apportion_core::log::at(self.now())
    }
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The MSP's place failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Somebody else has it.
    #[error(
        "{holder} is at work on the same month, so nothing was done here. Wait for it with --wait, or run again later; if that run has died, its lease is over in {seconds} seconds at the latest"
    )]
    Held {
        /// Who.
        holder: String,
        /// When the lease is over at the latest, if he says nothing more.
        seconds: u64,
    },
    /// Somebody else had it meanwhile.
    #[error("another run was at work on the same month meanwhile; run again")]
    Overtaken,
}

impl LeaseError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::Held { .. } | Self::Overtaken => Kind::Held,
        }
    }
}

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
pub struct LeaseSeen(Option<Vec<u8>>);

/// A lease of one's own. Dropped, it is given back.
pub struct Lease {
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

impl LeaseSeen {
    /// What stands there.
    pub fn look(msp: &dyn Bucket, key: &str) -> Result<Self, StorageError> {
        Ok(Self(msp.read(key, MOST_BYTES)?))
    }

    fn record(&self) -> Option<Record> {
        // What can't be read is nobody's.
        self.0.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok())
    }

    /// Refuses it if somebody else has it. A run that is at work on the month already says in which folder.
    fn refuse_other(
        &self,
        msp: &dyn Bucket,
        key: &str,
        operator: &Operator,
        own: Option<&Path>,
    ) -> Result<(), LeaseError> {
        let Some(record) = self.record().filter(|record| record.held) else { return Ok(()) };
        // Whoever had one's own folder before is gone: where processes are counted from 1, it is called the same.
        let is_gone = |spool: &Path| own == Some(spool) || is_dead(spool);
        if record.machine == operator.machine && is_gone(&record.spool) {
            return Ok(());
        }
        let Some(info) = msp.info(key)? else { return Ok(()) };
        let age = operator.now().saturating_sub(info.modified);
        let left = i64::try_from(LASTS.as_millis()).unwrap_or(i64::MAX).saturating_sub(age);
        if left <= 0 {
            return Ok(());
        }
        Err(LeaseError::Held { holder: record.holder, seconds: u64::try_from(left / 1000).unwrap_or(0) })
    }
}

/// Takes the lease, unless somebody else has it, or had it since `begun` was looked at. `spool` is a folder that is locked
/// as long as the run lives.
///
/// # Errors
/// Somebody else, or a place that fails.
pub fn take_lease(
    msp: &Arc<dyn Bucket>,
    key: &str,
    operator: &Operator,
    spool: &Path,
    begun: Option<&LeaseSeen>,
) -> Result<Lease, LeaseError> {
    let record = Record {
        held: true,
        holder: operator.name.clone(),
        machine: operator.machine.clone(),
        spool: spool.to_owned(),
        renewed: 0,
    };
    for _ in 0..ATTEMPTS {
        let seen = LeaseSeen::look(msp.as_ref(), key)?;
        seen.refuse_other(msp.as_ref(), key, operator, Some(spool))?;
        if begun.is_some_and(|begun| seen != *begun) {
            return Err(LeaseError::Overtaken);
        }
        if msp.swap(key, seen.0.as_deref(), &text(&record))? == Swap::Done {
            msp.prove_conditions(key, &text(&record))?;
            return Ok(Lease::new(Arc::clone(msp), key.to_owned(), record));
        }
    }
    Err(LeaseError::Overtaken)
}

/// Waits until nobody has the lease any more; false if somebody asked to stop before.
///
/// # Errors
/// A place that fails, and somebody who has it for half a day.
pub fn wait_for_lease(
    msp: &dyn Bucket,
    key: &str,
    operator: &Operator,
    interrupted: impl Fn() -> bool,
) -> Result<bool, LeaseError> {
    for _ in 0..LONGEST_WAIT {
        match LeaseSeen::look(msp, key)?.refuse_other(msp, key, operator, None) {
            Err(LeaseError::Held { .. }) => {}
            free => return free.map(|()| true),
        }
        for _ in 0..LOOKS {
            if interrupted() {
                return Ok(false);
            }
            std::thread::sleep(LOOKED / LOOKS);
        }
    }
    Err(LeaseError::Overtaken)
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
