//! Independent tasks on several threads, their results in the tasks' order.
//!
//! What comes in: a number of tasks, and what does one. What goes out: one result per task. What it must never do: let
//! the number of threads, or which of them is faster, change a result.

use crate::timings::{Meter, Stage};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Questions that wait for an answer at once: as many as the network has connections, so that a long way costs few turns.
const WAITING: usize = 32;

/// The threads that a piece of work may take, and the stage that their time belongs to.
#[derive(Clone)]
pub struct Workers {
    threads: usize,
    stage: Stage,
    meter: Meter,
}

impl Workers {
    /// So many threads, whose time is taken if anybody asked for it.
    pub fn new(threads: usize, stage: Stage, meter: &Meter) -> Self {
        Self { threads, stage, meter: meter.clone() }
    }

    /// Threads for work that mostly waits for places to answer, however many processors there are.
    pub(crate) fn waiting(stage: Stage, meter: &Meter) -> Self {
        Self::new(WAITING, stage, meter)
    }

    /// Does tasks 0 to `tasks` - 1. None if a thread panicked.
    pub(crate) fn run<R: Send>(&self, tasks: usize, work: impl Fn(usize) -> R + Sync) -> Option<Vec<R>> {
        on_threads(self.threads, tasks, |task| self.meter.time(self.stage, || work(task)))
    }

    /// Does one piece of work on this thread.
    pub(crate) fn time<R>(&self, work: impl FnOnce() -> R) -> R {
        self.meter.time(self.stage, work)
    }

    /// Counts what they have handled.
    pub(crate) fn count(&self, rows: u64, bytes: u64) {
        self.meter.count(self.stage, rows, bytes);
    }
}

/// Does tasks 0 to `tasks` - 1 on at most so many threads, this one among them. None if one of the others panicked.
fn on_threads<R: Send>(threads: usize, tasks: usize, work: impl Fn(usize) -> R + Sync) -> Option<Vec<R>> {
    let next = AtomicUsize::new(0);
    let do_some = || {
        let mut done = Vec::new();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return done;
            }
            done.push((task, work(task)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(tasks)).map(|_| scope.spawn(do_some)).collect();
        let mut done = Some(do_some());
        for other in others {
            let more = other.join().ok();
            done = done.zip(more).map(|(mut done, mut more)| {
                done.append(&mut more);
                done
            });
        }
        done
    })?;
    done.sort_by_key(|(task, _)| *task);
    Some(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_tasks_order() {
        for threads in [0, 1, 3, 9] {
            assert_eq!(on_threads(threads, 5, |task| task * 2), Some(vec![0, 2, 4, 6, 8]));
            assert_eq!(on_threads(threads, 0, |task| task), Some(Vec::new()));
        }
    }
}
