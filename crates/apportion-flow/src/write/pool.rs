use super::WriteError;
use super::pack::{Packed, Packing, Window};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

struct Job {
    lane: usize,
    turn: u64,
    window: Window,
    packing: Packing,
}

struct Finished {
    lane: usize,
    turn: u64,
    packed: Result<Packed, WriteError>,
}

struct Threads {
    jobs: SyncSender<Job>,
    results: Receiver<Finished>,
    waiting: usize,
    most: usize,
}

/// Packs windows on other threads and hands the results back in each lane's own order, so that the number of
/// threads changes no byte.
pub struct Packer {
    threads: Option<Threads>,
    /// For each lane: the turn of the next window to be sent, and of the next result to be handed back.
    turns: Vec<(u64, u64)>,
    early: BTreeMap<(usize, u64), Packed>,
    ready: Vec<(usize, Packed)>,
}

impl Packer {
    /// A packer with so many threads; with one, everything is done where it is asked for.
    pub fn new<'scope>(scope: &'scope Scope<'scope, '_>, threads: usize, lanes: usize) -> Self {
        let threads = (threads > 1).then(|| {
            let (jobs, queue) = sync_channel::<Job>(threads);
            let (sender, results) = channel();
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..threads {
                let (queue, sender) = (Arc::clone(&queue), sender.clone());
                scope.spawn(move || work(&queue, &sender));
            }
            Threads { jobs, results, waiting: 0, most: threads * 2 }
        });
        Self { threads, turns: vec![(0, 0); lanes], early: BTreeMap::new(), ready: Vec::new() }
    }

    /// Hands a window over.
    ///
    /// # Errors
    /// A window, this or an earlier one, that couldn't be packed.
    pub fn send(&mut self, lane: usize, window: Window, packing: Packing) -> Result<(), WriteError> {
        let turn = self.turns[lane].0;
        self.turns[lane].0 += 1;
        let Some(threads) = &mut self.threads else {
            let packed = window.pack(&packing)?;
            self.turns[lane].1 += 1;
            self.ready.push((lane, packed));
            return Ok(());
        };
        threads.jobs.send(Job { lane, turn, window, packing }).map_err(|_| WriteError::Thread)?;
        threads.waiting += 1;
        // Memory is bounded by what is under way, so beyond that somebody must finish first.
        let wait = threads.waiting >= threads.most;
        self.collect(wait)
    }

    /// Takes results in; with `wait`, at least one.
    fn collect(&mut self, mut wait: bool) -> Result<(), WriteError> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        while threads.waiting > 0 {
            let finished = if wait {
                threads.results.recv().map_err(|_| WriteError::Thread)?
            } else {
                match threads.results.try_recv() {
                    Ok(finished) => finished,
                    Err(_) => break,
                }
            };
            wait = false;
            threads.waiting -= 1;
            self.early.insert((finished.lane, finished.turn), finished.packed?);
            let next = &mut self.turns[finished.lane].1;
            while let Some(packed) = self.early.remove(&(finished.lane, *next)) {
                *next += 1;
                self.ready.push((finished.lane, packed));
            }
        }
        Ok(())
    }

    /// Waits for everything that was sent.
    ///
    /// # Errors
    /// A window that couldn't be packed.
    pub fn drain(&mut self) -> Result<(), WriteError> {
        while self.threads.as_ref().is_some_and(|threads| threads.waiting > 0) {
            self.collect(true)?;
        }
        Ok(())
    }

    /// What has been packed, each lane's in its order.
    pub fn take_ready(&mut self) -> Vec<(usize, Packed)> {
        std::mem::take(&mut self.ready)
    }
}

fn work(queue: &Mutex<Receiver<Job>>, results: &Sender<Finished>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let (lane, turn) = (job.lane, job.turn);
        // A thread that died would be waited for; one that says so is an error.
        let packed = catch_unwind(AssertUnwindSafe(|| job.window.pack(&job.packing)));
        let finished = Finished { lane, turn, packed: packed.unwrap_or(Err(WriteError::Thread)) };
        if results.send(finished).is_err() {
            return;
        }
    }
}
