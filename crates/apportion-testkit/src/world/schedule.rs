use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long those who wait do so for one that computes. Never reached by a process that computes; it keeps one that
/// was never ended from holding up all others.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many others' turns a process can sleep through.
const LONGEST_SLEEP: u64 = 120;

/// Lets one operation of one process happen at a time, in an order that a seed decides: some processes sleep for long
/// while others go on. Nobody is chosen before each process that has begun and not ended waits for its turn, so the
/// order doesn't hang on who computes faster.
///
/// A process is its number, whichever thread asks: one whose threads ask at once waits with all of them.
#[derive(Debug)]
pub struct Schedule {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    drawn: u64,
    next_ticket: u64,
    /// Whose turn it is.
    turn: Option<u64>,
    processes: BTreeMap<usize, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tickets: Vec<u64>,
    sleeps: u64,
}

/// A turn, until it is dropped.
pub(super) struct Turn<'a>(&'a Schedule);

impl Schedule {
    /// The schedule of a seed.
    pub fn new(seed: u64) -> Self {
        let inner = Inner { drawn: seed, next_ticket: 0, turn: None, processes: BTreeMap::new() };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    pub(super) fn begin(&self, process: usize) {
        self.lock().processes.entry(process).or_default();
    }

    pub(super) fn end(&self, process: usize) {
        let mut inner = self.lock();
        inner.processes.remove(&process);
        inner.choose(false);
        self.changed.notify_all();
    }

    /// Waits for the turn of a process.
    pub(super) fn turn(&self, process: usize) -> Turn<'_> {
        let mut inner = self.lock();
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        inner.processes.entry(process).or_default().tickets.push(ticket);
        inner.choose(false);
        self.changed.notify_all();
        while inner.turn != Some(ticket) {
            let waited = self.changed.wait_timeout(inner, PATIENCE);
            let (next, timeout) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            inner = next;
            if timeout.timed_out() {
                inner.choose(true);
                self.changed.notify_all();
            }
        }
        Turn(self)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.turn = None;
        inner.choose(false);
        self.0.changed.notify_all();
    }
}

impl Inner {
    fn below(&mut self, end: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// Gives the turn to somebody, if it is nobody's and everybody waits (or nobody waits for the others any more).
    fn choose(&mut self, impatient: bool) {
        let all_wait = self.processes.values().all(|waiting| !waiting.tickets.is_empty());
        if self.turn.is_some() || !(all_wait || impatient) {
            return;
        }
        let waiting = |process: &(&usize, &Waiting)| !process.1.tickets.is_empty();
        let mut candidates: Vec<usize> = self.processes.iter().filter(waiting).map(|(id, _)| *id).collect();
        let awake: Vec<usize> =
            candidates.iter().copied().filter(|id| self.processes[id].sleeps == 0).collect();
        if !awake.is_empty() {
            candidates = awake;
        }
        if candidates.is_empty() {
            return;
        }
        let chosen = candidates[self.below(candidates.len() as u64) as usize];
        // Now and then whoever is chosen does one thing more, and then nothing for long.
        let sleeps = if self.below(24) == 0 { self.below(LONGEST_SLEEP) } else { 0 };
        let place = self.below(self.processes[&chosen].tickets.len() as u64) as usize;
        for waiting in self.processes.values_mut() {
            waiting.sleeps = waiting.sleeps.saturating_sub(1);
        }
        if let Some(process) = self.processes.get_mut(&chosen) {
            process.sleeps = sleeps;
            self.turn = Some(process.tickets.swap_remove(place));
        }
    }
}
