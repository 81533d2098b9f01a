use super::{Body, Bucket, Put, StorageError, Swap};
use crate::outcome::Kind;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who swaps at once, and how often.
const RACERS: u32 = 6;
const ROUNDS: u32 = 3;
/// Far more than any object of the probe has.
const LIMIT: u64 = 1 << 16;

/// One thing that a place was tried for.
#[derive(Debug)]
pub struct Probed {
    /// What must be so.
    pub what: &'static str,
    /// Whether it's only needed to collect garbage.
    pub for_garbage: bool,
    /// Why it isn't.
    pub failure: Option<(Kind, String)>,
}

/// What is tried, in its order; what comes later needs what came before.
type Try = fn(&Probe<'_>) -> Result<(), StorageError>;

const READS: [(&str, Try); 1] =
    [("an object that isn't there is told from one that may not be read", absent)];

const WRITES: [(&str, Try); 5] = [
    ("an object can be put", put),
    ("it is read as it was put", read),
    ("the conditions of writes are heeded", conditions),
    ("nothing is put over it", no_overwrite),
    ("of racing swaps one wins", racing_swaps),
];

struct Probe<'a> {
    bucket: &'a dyn Bucket,
    /// Two keys that nobody else has.
    object: String,
    pointer: String,
}

/// Tries whether a place does what deliveries need, with two small objects under `.apportion-probe/`, called after `name`,
/// that are deleted again; without `writes`, only by looking. What comes after a failure isn't tried.
pub fn probe(bucket: &dyn Bucket, name: &str, writes: bool) -> Vec<Probed> {
    let key = |what: &str| format!(".apportion-probe/{name}-{what}");
    let probe = Probe { bucket, object: key("object"), pointer: key("pointer") };
    let mut probed = Vec::new();
    let mut wrote = false;
    for (what, attempt) in READS.into_iter().chain(WRITES.into_iter().filter(|_| writes)) {
        wrote |= what == WRITES[0].0;
        let failure = attempt(&probe).err().map(|error| (error.kind(), error.to_string()));
        let failed = failure.is_some();
        probed.push(Probed { what, for_garbage: false, failure });
        if failed {
            break;
        }
    }
    if wrote {
        let deleted = [&probe.object, &probe.pointer].map(|key| bucket.delete(key));
        let failure = deleted.into_iter().find_map(Result::err);
        let failure = failure.map(|error| (error.kind(), format!("{error}; it stays there")));
        probed.push(Probed { what: "an object can be deleted (for gc alone)", for_garbage: true, failure });
    }
    probed
}

impl Probe<'_> {
    fn broken(&self, key: &str, problem: String) -> StorageError {
        StorageError::Remote {
            place: self.bucket.place(),
            key: key.to_owned(),
            doing: "trying the store",
            problem,
            kind: Kind::StoreTooWeak,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{} tries whether this store is good enough\n", self.object).into_bytes()
    }
}

fn absent(probe: &Probe<'_>) -> Result<(), StorageError> {
    match probe.bucket.info(&probe.object)? {
        None => Ok(()),
        Some(_) => Err(probe.broken(&probe.object, "it is there, and nobody put it there".to_owned())),
    }
}

fn put(probe: &Probe<'_>) -> Result<(), StorageError> {
    match probe.bucket.put_new(&probe.object, Body::Bytes(&probe.bytes()))? {
        Put::Created => Ok(()),
        Put::AlreadyThere => Err(probe.broken(&probe.object, "it was there before it was put".to_owned())),
    }
}

fn read(probe: &Probe<'_>) -> Result<(), StorageError> {
    if probe.bucket.read(&probe.object, LIMIT)? == Some(probe.bytes()) {
        return Ok(());
    }
    Err(probe.broken(&probe.object, "what is read isn't what was put".to_owned()))
}

fn conditions(probe: &Probe<'_>) -> Result<(), StorageError> {
    probe.bucket.prove_conditions(&probe.object, &probe.bytes())
}

fn no_overwrite(probe: &Probe<'_>) -> Result<(), StorageError> {
    let other = probe.bucket.put_new(&probe.object, Body::Bytes(b"other"));
    match other {
        Err(StorageError::Divergent { .. }) => read(probe),
        Err(error) => Err(error),
        Ok(_) => Err(probe.broken(&probe.object, "other bytes were put over it".to_owned())),
    }
}

/// Of many swaps from one state exactly one wins, and what it wrote is there.
fn racing_swaps(probe: &Probe<'_>) -> Result<(), StorageError> {
    let (bucket, key) = (probe.bucket, probe.pointer.as_str());
    let mut seen: Option<Vec<u8>> = None;
    for round in 0..ROUNDS {
        let (wins, start) = (AtomicU32::new(0), Barrier::new(RACERS as usize));
        let race = |racer: u32| {
            start.wait();
            let new = format!("{round} {racer}");
            let swap = bucket.swap(key, seen.as_deref(), new.as_bytes())?;
            wins.fetch_add(u32::from(swap == Swap::Done), Ordering::Relaxed);
            Ok(())
        };
        std::thread::scope(|scope| {
            let race = &race;
            let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(move || race(racer))).collect();
            let ended = |_| Err(probe.broken(key, "a thread ended".to_owned()));
            racers.into_iter().try_for_each(|racer| racer.join().unwrap_or_else(ended))
        })?;
        let wins = wins.into_inner();
        if wins != 1 {
            return Err(probe.broken(key, format!("{wins} of {RACERS} swaps at once say that they won")));
        }
        seen = bucket.read(key, LIMIT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Folder;

    #[test]
    fn a_folder_is_good_enough_and_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path());
        for (writes, steps) in [(false, 1), (true, 7)] {
            let probed = probe(&folder, "me", writes);
            assert_eq!(probed.len(), steps);
            assert!(probed.iter().all(|step| step.failure.is_none()), "{probed:?}");
            assert!(folder.list().unwrap().is_empty());
        }
    }
}
