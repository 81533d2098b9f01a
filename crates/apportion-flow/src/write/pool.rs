use super::WriteError;
use super::kernel::SharedTexts;
use super::pack::{PackScratch, Packed, Packing};
use super::window::Window;
use crate::timings::Meter;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// Something else that a free thread may do.
pub type Task<'scope, T> = Box<dyn FnOnce() -> T + Send + 'scope>;

enum Job<'scope, T> {
    Pack { lane: usize, turn: u64, window: Window, packing: Packing, shared: SharedTexts },
    Task(Task<'scope, T>),
}

enum Finished<T> {
    Packed { lane: usize, turn: u64, packed: Packed },
    Task(T),
}

struct Threads<'scope, T> {
    jobs: SyncSender<Job<'scope, T>>,
    results: Receiver<Result<Finished<T>, WriteError>>,
    waiting: usize,
    most: usize,
}

/// Packs windows on other threads and hands the results back in each lane's own order, so that the number of
/// threads changes no byte. The same threads do other tasks between windows; their results come in any order.
pub struct Packer<'scope, T> {
    threads: Option<Threads<'scope, T>>,
    scratch: PackScratch,
    /// For each lane: the turn of the next window to be sent, and of the next result to be handed back.
    turns: Vec<(u64, u64)>,
    early: BTreeMap<(usize, u64), Packed>,
    ready: Vec<(usize, Packed)>,
    done: Vec<T>,
}

impl<'scope, T: Send + 'scope> Packer<'scope, T> {
    /// A packer with so many threads; with one, everything is done where it is asked for.
    pub fn new(scope: &'scope Scope<'scope, '_>, threads: usize, lanes: usize, meter: &Meter) -> Self {
        let threads = (threads > 1).then(|| {
            let (jobs, queue) = sync_channel::<Job<'scope, T>>(threads);
            let (sender, results) = channel();
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..threads {
                let (queue, sender) = (Arc::clone(&queue), sender.clone());
                let scratch = PackScratch::new(meter);
                scope.spawn(move || work(&queue, &sender, scratch));
            }
            Threads { jobs, results, waiting: 0, most: threads * 2 }
        });
        Self {
            threads,
            scratch: PackScratch::new(meter),
            turns: vec![(0, 0); lanes],
            early: BTreeMap::new(),
            ready: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Hands a window over, with the texts that its rows share.
    ///
    /// # Errors
    /// A window, this or an earlier one, that couldn't be packed.
    pub fn send(
        &mut self,
        lane: usize,
        window: Window,
        packing: Packing,
        shared: SharedTexts,
    ) -> Result<(), WriteError> {
        let turn = self.turns[lane].0;
        self.turns[lane].0 += 1;
        self.give(Job::Pack { lane, turn, window, packing, shared })
    }

    /// Hands a task over.
    ///
    /// # Errors
    /// A window that couldn't be packed.
    pub fn run(&mut self, task: Task<'scope, T>) -> Result<(), WriteError> {
        self.give(Job::Task(task))
    }

    fn give(&mut self, job: Job<'scope, T>) -> Result<(), WriteError> {
        let Some(threads) = &mut self.threads else {
            let finished = job.done(&mut self.scratch)?;
            self.take(finished);
            return Ok(());
        };
        threads.jobs.send(job).map_err(|_| WriteError::Thread)?;
        threads.waiting += 1;
        // Memory is bounded by what is under way, so beyond that somebody must finish first.
        let wait = threads.waiting >= threads.most;
        self.collect(wait)
    }

    fn take(&mut self, finished: Finished<T>) {
        match finished {
            Finished::Task(done) => self.done.push(done),
            Finished::Packed { lane, turn, packed } => {
                self.early.insert((lane, turn), packed);
                let next = &mut self.turns[lane].1;
                while let Some(packed) = self.early.remove(&(lane, *next)) {
                    *next += 1;
                    self.ready.push((lane, packed));
                }
            }
        }
    }

    /// Takes results in; with `wait`, at least one.
    fn collect(&mut self, mut wait: bool) -> Result<(), WriteError> {
        while let Some(threads) = self.threads.as_mut().filter(|threads| threads.waiting > 0) {
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
            self.take(finished?);
        }
        Ok(())
    }

    /// Waits until something that was handed over is done; false if nothing is under way.
    ///
    /// # Errors
    /// A window that couldn't be packed.
    pub fn wait(&mut self) -> Result<bool, WriteError> {
        if self.threads.as_ref().is_none_or(|threads| threads.waiting == 0) {
            return Ok(false);
        }
        self.collect(true)?;
        Ok(true)
    }

    /// Whether everything that was handed over has been done and taken.
    pub fn is_idle(&self) -> bool {
        self.threads.as_ref().is_none_or(|threads| threads.waiting == 0)
            && self.ready.is_empty()
            && self.done.is_empty()
    }

    /// What has been packed, each lane's in its order.
    pub fn take_ready(&mut self) -> Vec<(usize, Packed)> {
        std::mem::take(&mut self.ready)
    }

    /// What tasks have returned.
    pub fn take_done(&mut self) -> Vec<T> {
        std::mem::take(&mut self.done)
    }
}

impl<T> Job<'_, T> {
    fn done(self, scratch: &mut PackScratch) -> Result<Finished<T>, WriteError> {
        match self {
            Self::Task(task) => Ok(Finished::Task(task())),
            Self::Pack { lane, turn, window, packing, shared } => {
                let packed = window.pack(&packing, &shared, scratch)?;
                Ok(Finished::Packed { lane, turn, packed })
            }
        }
    }
}

fn work<T>(
    queue: &Mutex<Receiver<Job<'_, T>>>,
    results: &Sender<Result<Finished<T>, WriteError>>,
    mut scratch: PackScratch,
) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A thread that died would be waited for; one that says so is an error.
        let finished = catch_unwind(AssertUnwindSafe(|| job.done(&mut scratch)));
        if results.send(finished.unwrap_or(Err(WriteError::Thread))).is_err() {
            return;
        }
    }
}
