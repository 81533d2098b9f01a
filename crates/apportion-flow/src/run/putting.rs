//! Puts beside the split: checked files in, what became of them out.
//!
//! A store takes its time to answer, and while it does nobody here has anything to do: so many puts are under way at
//! once, on threads that mostly wait. What it must never do: hold more bytes than it was given, let one place that doesn't
//! answer keep the others waiting, or go on once nobody wants the results.

use crate::publish::{PublishError, put_data};
use crate::storage::{Bucket, PAYLOAD_BYTES};
use crate::timings::{Meter, Stage};
use crate::write::{SpooledFile, WriteError};
use apportion_core::proof::ProofFile;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

/// Puts under way at once.
const AT_ONCE: usize = 16;
/// Of these, the most to one place.
const AT_ONE_PLACE: usize = 8;

/// A checked file that goes to its target.
pub(super) struct Leaving {
    pub(super) lane: usize,
    pub(super) file: SpooledFile,
    /// What the proof will say of it.
    pub(super) said: ProofFile,
    pub(super) target: Arc<dyn Bucket>,
}

/// A file that has gone to its target, or couldn't.
pub(super) struct Gone {
    pub(super) lane: usize,
    pub(super) file: SpooledFile,
    pub(super) said: ProofFile,
    pub(super) failure: Option<PublishError>,
}

/// How a place has done so far.
#[derive(Default)]
struct PlaceState {
    under_way: usize,
    /// Puts that succeeded: a place that hasn't answered yet gets one at a time, so that it can't hold up others.
    succeeded: usize,
}

#[derive(Default)]
struct Queue {
    files: VecDeque<Leaving>,
    places: HashMap<String, PlaceState>,
    /// Bytes of files that are being put.
    bytes: u64,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// The most bytes that may be in memory, of files that are being put.
    memory: u64,
}

/// The threads that put files. Dropped, they end after what they have in hand.
pub(super) struct Putter<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: Arc<Shared>,
    sender: Sender<Option<Gone>>,
    results: Receiver<Option<Gone>>,
    meter: Meter,
    threads: usize,
    waiting: usize,
}

impl<'scope, 'env> Putter<'scope, 'env> {
    /// Puts that may hold so many bytes in memory.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, memory: u64, meter: &Meter) -> Self {
        let (sender, results) = channel();
        let shared = Shared { queue: Mutex::default(), changed: Condvar::new(), memory };
        let (shared, meter) = (Arc::new(shared), meter.clone());
        Self { scope, shared, sender, results, meter, threads: 0, waiting: 0 }
    }

    /// Hands a file over.
    pub(super) fn give(&mut self, file: Leaving) {
        self.waiting += 1;
        if self.threads < AT_ONCE.min(self.waiting) {
            self.threads += 1;
            let (shared, sender, meter) = (Arc::clone(&self.shared), self.sender.clone(), self.meter.clone());
            self.scope.spawn(move || work(&shared, &sender, &meter));
        }
        self.shared.lock().files.push_back(file);
        self.shared.changed.notify_one();
    }

    /// A file that has gone; with `wait`, once there is one. None if there is none, or none was handed over.
    ///
    /// # Errors
    /// A thread that panicked.
    pub(super) fn take(&mut self, wait: bool) -> Result<Option<Gone>, WriteError> {
        if self.waiting == 0 {
            return Ok(None);
        }
        let gone = if wait { self.results.recv().ok() } else { self.results.try_recv().ok() };
        let Some(gone) = gone else { return Ok(None) };
        self.waiting -= 1;
        gone.map(Some).ok_or(WriteError::Thread)
    }
}

impl Drop for Putter<'_, '_> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next file whose turn it is; None once nobody wants more.
    fn next(&self) -> Option<Leaving> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(file) = queue.next(self.memory) {
                return Some(file);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, place: &str, bytes: u64, succeeded: bool) {
        let mut queue = self.lock();
        queue.bytes -= bytes;
        if let Some(place) = queue.places.get_mut(place) {
            place.under_way -= 1;
            place.succeeded = if succeeded { place.succeeded + 1 } else { 0 };
        }
        drop(queue);
        self.changed.notify_all();
    }
}

/// What a file takes of the memory while it is put.
fn payload(file: &Leaving) -> u64 {
    file.file.bytes.min(PAYLOAD_BYTES)
}

impl Queue {
    /// Takes the first file out that may go now.
    fn next(&mut self, memory: u64) -> Option<Leaving> {
        let may_go = |file: &Leaving| {
            let has_room = self.bytes == 0 || self.bytes + payload(file) <= memory;
            let place = self.places.get(&file.target.place());
            has_room && place.is_none_or(|place| place.under_way <= place.succeeded.min(AT_ONE_PLACE - 1))
        };
        let position = self.files.iter().position(may_go)?;
        let file = self.files.remove(position)?;
        self.bytes += payload(&file);
        self.places.entry(file.target.place()).or_default().under_way += 1;
        Some(file)
    }
}

fn work(shared: &Shared, results: &Sender<Option<Gone>>, meter: &Meter) {
    while let Some(leaving) = shared.next() {
        let (place, bytes) = (leaving.target.place(), payload(&leaving));
        let gone = catch_unwind(AssertUnwindSafe(|| put(leaving, meter))).ok();
        shared.done(&place, bytes, gone.as_ref().is_some_and(|gone| gone.failure.is_none()));
        if results.send(gone).is_err() {
            return;
        }
    }
}

fn put(leaving: Leaving, meter: &Meter) -> Gone {
    let Leaving { lane, file, said, target } = leaving;
    meter.count(Stage::Put, 0, file.bytes);
    let put = meter.time(Stage::Put, || put_data(target.as_ref(), &said.key, &file.path));
    Gone { lane, file, said, failure: put.err() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Body, ObjectInfo, Opened, Put, StorageError, Swap};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A place whose puts end when they are let.
    struct Slow {
        name: &'static str,
        open: Mutex<bool>,
        changed: Condvar,
        under_way: AtomicUsize,
        most: AtomicUsize,
    }

    impl Slow {
        fn new(name: &'static str, open: bool) -> Arc<Self> {
            let (open, changed) = (Mutex::new(open), Condvar::new());
            Arc::new(Self { name, open, changed, under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) })
        }

        fn let_go(&self) {
            *self.open.lock().unwrap() = true;
            self.changed.notify_all();
        }
    }

    impl Bucket for Slow {
        fn place(&self) -> String {
            self.name.to_owned()
        }
        fn bucket_name(&self) -> String {
            self.place()
        }
        fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
            Ok(Vec::new())
        }
        fn info(&self, _: &str) -> Result<Option<ObjectInfo>, StorageError> {
            Ok(None)
        }
        fn read(&self, _: &str, _: u64) -> Result<Option<Vec<u8>>, StorageError> {
            Ok(None)
        }
        fn open(&self, _: &str) -> Result<Option<Opened>, StorageError> {
            Ok(None)
        }
        fn put_new(&self, key: &str, _: Body<'_>) -> Result<Put, StorageError> {
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let mut open = self.open.lock().unwrap();
            while !*open {
                open = self.changed.wait(open).unwrap();
            }
            drop(open);
            std::thread::yield_now();
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            match key {
                "bad" => Err(StorageError::Divergent { place: self.place(), key: key.to_owned() }),
                _ => Ok(Put::Created),
            }
        }
        fn prove_conditions(&self, _: &str, _: &[u8]) -> Result<(), StorageError> {
            Ok(())
        }
        fn swap(&self, _: &str, _: Option<&[u8]>, _: &[u8]) -> Result<Swap, StorageError> {
            Ok(Swap::Lost)
        }
        fn delete(&self, _: &str) -> Result<bool, StorageError> {
            Ok(false)
        }
    }

    fn leaving(lane: usize, target: &Arc<Slow>, key: &str, bytes: u64) -> Leaving {
        let path = PathBuf::new();
        let file = SpooledFile { number: 1, path, bytes, rows: 0, rows_hash: 0, members: Vec::new() };
        let text = String::new();
        let said = ProofFile { key: key.to_owned(), bytes, sha256: text.clone(), rows: 0, rows_hash: text };
        Leaving { lane, file, said, target: Arc::clone(target) as Arc<dyn Bucket> }
    }

    #[test]
    fn a_place_that_does_not_answer_holds_up_nobody() {
        let (dead, well) = (Slow::new("dead", false), Slow::new("well", true));
        std::thread::scope(|scope| {
            let mut putter = Putter::new(scope, 1 << 30, &Meter::default());
            (0..50).for_each(|lane| putter.give(leaving(lane, &dead, "good", 1)));
            (50..90).for_each(|lane| {
                putter.give(leaving(lane, &well, if lane.is_multiple_of(2) { "bad" } else { "good" }, 1))
            });
            for _ in 0..40 {
                let gone = putter.take(true).unwrap().unwrap();
                assert_eq!((gone.lane >= 50, gone.failure.is_some()), (true, gone.lane.is_multiple_of(2)));
            }
            assert!(putter.take(false).unwrap().is_none());
            assert_eq!(dead.most.load(Ordering::SeqCst), 1);
            dead.let_go();
            (0..50).for_each(|_| assert!(putter.take(true).unwrap().unwrap().lane < 50));
            assert!(putter.take(true).unwrap().is_none());
        });
        let most = dead.most.load(Ordering::SeqCst);
        assert!((2..=AT_ONE_PLACE).contains(&most), "{most} at once");
    }

    #[test]
    fn no_more_bytes_are_put_at_once_than_the_memory_has() {
        let well = Slow::new("well", true);
        std::thread::scope(|scope| {
            let mut putter = Putter::new(scope, 2 * PAYLOAD_BYTES, &Meter::default());
            // Of the larger ones only a part is in memory.
            (0..40).for_each(|lane| {
                putter.give(leaving(lane, &well, "good", (1 + lane as u64 % 2) * PAYLOAD_BYTES))
            });
            (0..40).for_each(|_| assert!(putter.take(true).unwrap().unwrap().failure.is_none()));
        });
        assert!(well.most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn dropped_it_ends_after_what_is_in_hand() {
        let place = Slow::new("place", false);
        std::thread::scope(|scope| {
            let mut putter = Putter::new(scope, 1 << 30, &Meter::default());
            (0..9).for_each(|lane| putter.give(leaving(lane, &place, "good", 1)));
            while place.under_way.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            drop(putter);
            place.let_go();
        });
        assert_eq!(place.most.load(Ordering::SeqCst), 1);
    }
}
