//! The delivery log: who delivered what to whom, as a chain in which each entry holds the hash of the one before.
//!
//! What comes in: what is about to be done, and entries as they were stored. What goes out: entries to store, and the
//! first place where a chain doesn't hold. What it must never do: read a clock, or take an entry on trust.

use crate::proof::to_stored_json;
use apportion_model::{AssemblyId, BillingPeriod, CustomerId, Instant, ReportId, SourceName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Manifests are about to move to a new delivery. Written before the first of them does.
    Deliver,
    /// Of what was about to be delivered, this could not be.
    NotDelivered,
    /// Manifests are about to go back to an older delivery.
    Rollback,
    /// A month was locked.
    Lock,
    /// A month was unlocked.
    Unlock,
}

impl Action {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::NotDelivered => "not-delivered",
            Self::Rollback => "rollback",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
        }
    }
}

/// One export that an entry speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedExport {
    /// Whose.
    pub customer: CustomerId,
    /// The export.
    pub report_id: ReportId,
    /// Our assembly id.
    pub assembly_id: AssemblyId,
    /// The target's url or folder.
    pub target: String,
}

/// What an entry says, without its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// When, by the clock of the machine that wrote it: `YYYY-MM-DDTHH:MM:SSZ`.
    pub at: String,
    /// Who, and on which machine.
    pub operator: String,
    /// What.
    pub action: Action,
    /// The source.
    pub source: SourceName,
    /// The month.
    pub billing_period: BillingPeriod,
    /// The id of the whole delivery.
    pub delivery_id: AssemblyId,
    /// Why, in the words of who did it, where a reason was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// To whom.
    pub exports: Vec<LoggedExport>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Counted from 1.
    pub number: u64,
    /// SHA-256 of the entry before, as it is stored; of nothing, for the first.
    pub previous: String,
    /// What it says.
    #[serde(flatten)]
    pub logged: Logged,
}

/// The newest entry that is known to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// Its number; 0 if there is none.
    pub number: u64,
    /// SHA-256 of it, as it is stored.
    pub sha256: String,
}

/// Why a log isn't a whole chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogProblem {
    /// An entry isn't there.
    #[error("entry {0} isn't there")]
    Missing(u64),
    /// An entry can't be read.
    #[error("entry {number} can't be read: {problem}")]
    Unreadable {
        /// Which.
        number: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry has another number than its place.
    #[error("in the place of entry {due} stands entry {found}")]
    OutOfPlace {
        /// Which should be there.
        due: u64,
        /// Which is.
        found: u64,
    },
    /// An entry doesn't follow on the one before.
    #[error("entry {0} doesn't follow on the one before it: one of the two was changed")]
    Broken(u64),
    /// The last entry isn't the one that the head names.
    #[error("the head names another entry {0} than the one that is there")]
    Head(u64),
}

impl Default for LogHead {
    fn default() -> Self {
        Self { number: 0, sha256: hash(b"") }
    }
}

impl LogHead {
    /// The entry that comes after it, as it is stored, and the head that it makes.
    pub fn next(&self, logged: Logged) -> (Vec<u8>, Self) {
        let number = self.number + 1;
        let bytes = to_stored_json(&LogEntry { number, previous: self.sha256.clone(), logged });
        let sha256 = hash(&bytes);
        (bytes, Self { number, sha256 })
    }

    /// Follows an entry that is there already.
    ///
    /// # Errors
    /// An entry that isn't the next one.
    pub fn follow(&self, bytes: &[u8]) -> Result<(LogEntry, Self), LogProblem> {
        let due = self.number + 1;
        let entry: LogEntry = serde_json::from_slice(bytes)
            .map_err(|error| LogProblem::Unreadable { number: due, problem: error.to_string() })?;
        if entry.number != due {
            return Err(LogProblem::OutOfPlace { due, found: entry.number });
        }
        if entry.previous != self.sha256 {
            return Err(LogProblem::Broken(due));
        }
        Ok((entry, Self { number: due, sha256: hash(bytes) }))
    }
}

/// A moment as entries write it.
pub fn at(millis: i64) -> String {
    let mut text = Vec::new();
    Instant::from_millis(millis - millis.rem_euclid(1000)).write_to(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(operator: &str) -> Logged {
        Logged {
            at: at(1_764_000_000_123),
            operator: operator.to_owned(),
            action: Action::Deliver,
            source: SourceName::unnamed(),
            billing_period: BillingPeriod::new(2026, 10).unwrap(),
            delivery_id: AssemblyId::from_source("d"),
            reason: None,
            exports: Vec::new(),
        }
    }

    #[test]
    fn whatever_is_changed_in_a_chain_shows() {
        let mut head = LogHead::default();
        let mut entries = Vec::new();
        for operator in ["ann", "ben", "cy", "dee"] {
            let (bytes, next) = head.next(logged(operator));
            entries.push(bytes);
            head = next;
        }
        let follow = |entries: &[Vec<u8>]| -> Result<LogHead, LogProblem> {
            entries.iter().try_fold(LogHead::default(), |head, bytes| Ok(head.follow(bytes)?.1))
        };
        assert_eq!(follow(&entries), Ok(head.clone()));
        assert_eq!(at(1_764_000_000_123), "2025-11-24T16:00:00Z");
        for place in 0..entries.len() {
            let mut without = entries.clone();
            without.remove(place);
            assert_ne!(follow(&without), Ok(head.clone()), "without {place}");
            for byte in 0..entries[place].len() {
                let mut changed = entries.clone();
                changed[place][byte] ^= 1;
                assert_ne!(follow(&changed), Ok(head.clone()), "byte {byte} of {place}");
            }
            for other in 0..place {
                let mut swapped = entries.clone();
                swapped.swap(place, other);
                assert!(follow(&swapped).is_err(), "{place} and {other}");
            }
        }
    }
}
