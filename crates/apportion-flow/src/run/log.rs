//! The delivery log in the MSP's place.
//!
//! What comes in: what is about to be done. What goes out: an entry that is there before anything is done, and the whole
//! log, checked. What it must never do: replace or remove an entry.

use super::RunError;
use crate::storage::Operator;
use crate::storage::{Bucket, StorageError, Swap};
use crate::threads::Workers;
use crate::timings::{Meter, Stage};
use apportion_core::log::{Action, LogEntry, LogHead, LogProblem, Logged, LoggedExport};
use apportion_core::proof::to_stored_json;
use apportion_model::{AssemblyId, BillingPeriod, ObjectKey, SourceName};

/// How often the next number is looked for, while others write.
const ATTEMPTS: u32 = 100;
/// No entry or head is larger: one names at most every export of a delivery.
const MOST_BYTES: u64 = 64 << 20;

/// Why the log can't be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The MSP's place failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It isn't whole.
    #[error(
        "the delivery log in {place}/log isn't whole: {problem}. Somebody changed it; put back what was there. If it can't be had any more, move the folder log away, keep it, and a new log begins"
    )]
    Problem {
        /// The MSP's place.
        place: String,
        /// What is wrong.
        problem: LogProblem,
    },
    /// Others write all the time.
    #[error("{place}/log: others write there all the time; run again")]
    Raced {
        /// The MSP's place.
        place: String,
    },
}

/// The log, from its first entry.
#[derive(Debug)]
pub struct Log {
    /// Every entry.
    pub entries: Vec<LogEntry>,
    /// The newest.
    pub head: LogHead,
    /// The first thing that is wrong; entries end before it.
    pub problem: Option<LogProblem>,
}

/// What an entry is to say.
pub(super) struct Entry<'a> {
    pub(super) action: Action,
    pub(super) source: &'a SourceName,
    pub(super) period: BillingPeriod,
    pub(super) delivery: &'a AssemblyId,
    pub(super) reason: Option<&'a str>,
    pub(super) exports: Vec<LoggedExport>,
}

/// Appends an entry, after whatever others append meanwhile.
pub(super) fn append(msp: &dyn Bucket, operator: &Operator, entry: Entry<'_>) -> Result<(), LogError> {
    let logged = Logged {
        at: operator.at(),
        operator: operator.name.clone(),
        action: entry.action,
        source: entry.source.clone(),
        billing_period: entry.period,
        delivery_id: entry.delivery.clone(),
        reason: entry.reason.map(str::to_owned),
        exports: entry.exports,
    };
    let head_key = ObjectKey::LogHead.to_string();
    let problem = |problem| LogError::Problem { place: msp.place(), problem };
    for _ in 0..ATTEMPTS {
        let seen = msp.read(&head_key, MOST_BYTES)?;
        let head = read_head(seen.as_deref()).map_err(problem)?;
        let key = ObjectKey::LogEntry(head.number + 1).to_string();
        let (bytes, next) = head.next(logged.clone());
        let next = match msp.put_new(&key, crate::storage::Body::Bytes(&bytes)) {
            Ok(_) => Some(next),
            // Somebody was faster, or died before the head knew.
            Err(StorageError::Divergent { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let is_ours = next.is_some();
        let next = match next {
            Some(next) => next,
            None => {
                let there = msp.read(&key, MOST_BYTES)?;
                let there = there.ok_or_else(|| problem(LogProblem::Missing(head.number + 1)))?;
                head.follow(&there).map_err(problem)?.1
            }
        };
        // Whoever finds the head behind moves it; that somebody else did is as good.
        let _: Swap = msp.swap(&head_key, seen.as_deref(), &to_stored_json(&next))?;
        if is_ours {
            return Ok(());
        }
    }
    Err(LogError::Raced { place: msp.place() })
}

/// Reads the whole log and follows its chain.
///
/// # Errors
/// A place that can't be read.
pub fn read_log(msp: &dyn Bucket) -> Result<Log, RunError> {
    let seen = msp.read(&ObjectKey::LogHead.to_string(), MOST_BYTES)?;
    let mut log = Log { entries: Vec::new(), head: LogHead::default(), problem: None };
    let told = match read_head(seen.as_deref()) {
        Ok(told) => told,
        Err(problem) => return Ok(Log { problem: Some(problem), ..log }),
    };
    // One more than the head knows of: whoever wrote it may have died before the head was moved.
    let wanted = usize::try_from(told.number).unwrap_or(usize::MAX).saturating_add(1);
    let workers = Workers::waiting(Stage::Publish, &Meter::default());
    let texts = workers
        .run(wanted, |place| msp.read(&ObjectKey::LogEntry(place as u64 + 1).to_string(), MOST_BYTES))
        .ok_or(RunError::Thread)?;
    for (number, text) in (1..).zip(texts) {
        let followed = match text? {
            Some(text) => log.head.follow(&text),
            None if number > told.number => break,
            None => Err(LogProblem::Missing(number)),
        };
        match followed {
            Ok((entry, head)) => {
                log.entries.push(entry);
                log.head = head;
            }
            Err(problem) => {
                log.problem = Some(problem);
                return Ok(log);
            }
        }
        if number == told.number && log.head != told {
            log.problem = Some(LogProblem::Head(number));
            return Ok(log);
        }
    }
    Ok(log)
}

fn read_head(bytes: Option<&[u8]>) -> Result<LogHead, LogProblem> {
    let Some(bytes) = bytes else { return Ok(LogHead::default()) };
    serde_json::from_slice(bytes)
        .map_err(|error| LogProblem::Unreadable { number: 0, problem: format!("the head: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Folder;
    use std::sync::Arc;

    fn entry<'a>(source: &'a SourceName, delivery: &'a AssemblyId) -> Entry<'a> {
        let period = BillingPeriod::new(2026, 10).unwrap();
        Entry { action: Action::Deliver, source, period, delivery, reason: None, exports: Vec::new() }
    }

    #[test]
    fn many_append_at_once_and_one_who_died_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let msp = Folder::new(folder.path());
        let (source, delivery) = (SourceName::unnamed(), AssemblyId::from_source("d"));
        let operator =
            |name: String| Operator { name, machine: String::new(), wait: false, clock: Arc::new(|| 0) };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (msp, source, delivery) = (&msp, &source, &delivery);
                scope.spawn(move || {
                    for number in 0..10 {
                        append(msp, &operator(format!("{thread} {number}")), entry(source, delivery))
                            .unwrap();
                    }
                });
            }
        });
        let log = read_log(&msp).unwrap();
        assert_eq!((log.problem, log.entries.len()), (None, 40));
        let head = std::fs::read(folder.path().join("log/head.json")).unwrap();
        append(&msp, &operator("died".to_owned()), entry(&source, &delivery)).unwrap();
        std::fs::write(folder.path().join("log/head.json"), head).unwrap();
        // It is there, whether the head knows or not.
        assert_eq!(read_log(&msp).unwrap().entries.len(), 41);
        append(&msp, &operator("next".to_owned()), entry(&source, &delivery)).unwrap();
        let log = read_log(&msp).unwrap();
        assert_eq!((log.problem, log.head.number), (None, 42));
        assert_eq!(log.entries[40].logged.operator, "died");
    }
}
