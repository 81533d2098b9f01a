//! A world of stores in memory: named buckets whose every operation can be the one at which a run dies, an answer gets
//! lost, another run goes first, or the source changes.
//!
//! What comes in: a state, and what goes wrong when. What goes out: buckets for runs of the product's own code, and
//! after each operation the state, for somebody who watches. What it must never do: be kinder than a store (what it
//! promises is held by the same exam), or decide by time or by threads what happens next.
//!
//! A [`World`] holds the state. A run gets hold of it by a [`Process`], which may die, and then nothing of that run
//! reaches the stores any more. Several processes of one world may take turns by a [`Schedule`].

mod bucket;
mod faults;
mod objects;
mod reader;
mod schedule;

pub use faults::{Mode, Plan};
pub use objects::{Content, Library, Object, State};
pub use reader::{Books, Live, Reader};
pub use schedule::Schedule;

use apportion_flow::outcome::Kind;
use apportion_flow::storage::{Bucket, StorageError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a bucket can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// All objects.
    List,
    /// What is known of an object.
    Info,
    /// A small object.
    Read,
    /// An object, from any position.
    Open,
    /// A new object.
    PutNew,
    /// Other bytes for an object, if it still has those that were seen.
    Swap,
    /// One object less.
    Delete,
}

/// An operation that has just been done, or was cut off in the middle.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which of all processes' operations it was, counted from 1.
    pub number: u64,
    /// Which process asked.
    pub process: usize,
    /// Which of that process's operations it was, counted from 1.
    pub own_number: u64,
    /// What was asked.
    pub operation: Operation,
    /// Of which bucket.
    pub bucket: String,
    /// About which key; blank for a listing.
    pub key: String,
    /// Whether anything in the bucket was written or deleted.
    pub wrote: bool,
}

/// Somebody who sees the state after each operation, may change it, and says what is wrong with it.
pub type Watch = dyn Fn(&mut State, &Step) -> Result<(), String> + Send + Sync;

/// Stores, and what has happened to them.
pub struct World {
    state: Mutex<State>,
    operations: AtomicU64,
    watch: Box<Watch>,
    broken: Mutex<Vec<String>>,
    schedule: Option<Schedule>,
    weakness: Weakness,
}

/// A promise that the stores of a world break, so that a test can see that breaking it is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// None.
    None,
    /// A swap doesn't compare.
    SwapsBlindly,
    /// The nth put of a data file is answered and forgotten.
    ForgetsData(u64),
}

impl World {
    /// A world in which each process does what it wants when it wants.
    pub fn new(state: State, watch: Box<Watch>) -> Self {
        Self {
            state: Mutex::new(state),
            operations: AtomicU64::new(0),
            watch,
            broken: Mutex::default(),
            schedule: None,
            weakness: Weakness::None,
        }
    }

    /// A world that nobody watches.
    pub fn unwatched(state: State) -> Self {
        Self::new(state, Box::new(|_, _| Ok(())))
    }

    /// The same, in which processes take turns.
    #[must_use]
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        Self { schedule: Some(schedule), ..self }
    }

    /// The same, with stores that break a promise.
    #[must_use]
    pub fn with_weakness(self, weakness: Weakness) -> Self {
        Self { weakness, ..self }
    }

    /// A process that does its work in this world. With a schedule nobody's turn comes until each process that has
    /// begun asks for something or has ended, so all are begun before the first of them runs.
    pub fn begin(self: &Arc<Self>, number: usize, plan: Plan) -> Arc<Process> {
        if let Some(schedule) = &self.schedule {
            schedule.begin(number);
        }
        Arc::new(Process {
            world: Arc::clone(self),
            number,
            plan,
            operations: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            faults: AtomicU64::new(0),
        })
    }

    /// How many operations there were, of all processes.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// The state as it is now: cheap, for the bytes aren't copied.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// What whoever watches found wrong, in order.
    pub fn broken(&self) -> Vec<String> {
        self.broken.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn show(&self, state: &mut State, step: &Step) {
        if let Err(problem) = (self.watch)(state, step) {
            let mut broken = self.broken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            broken.push(format!("after {step:?}: {problem}"));
        }
    }
}

/// One run's hold on a world.
pub struct Process {
    world: Arc<World>,
    number: usize,
    plan: Plan,
    operations: AtomicU64,
    dead: AtomicBool,
    faults: AtomicU64,
}

/// What an operation is about.
struct Asked<'a> {
    operation: Operation,
    bucket: &'a str,
    key: &'a str,
}

impl Process {
    /// A bucket of the world, as this process sees it.
    pub fn bucket(self: &Arc<Self>, name: &str) -> Arc<dyn Bucket> {
        Arc::new(bucket::WorldBucket::new(Arc::clone(self), name))
    }

    /// How many operations it has asked for while it lived.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// How many of them went wrong.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Says that the run is over, so that others needn't wait for it.
    pub fn end(&self) {
        if let Some(schedule) = &self.world.schedule {
            schedule.end(self.number);
        }
    }

    /// Does an operation, unless it goes wrong. `work` says whether it wrote; `tear` leaves what a write that is cut
    /// off leaves, if anything.
    fn operate<T>(
        &self,
        asked: &Asked<'_>,
        work: impl FnOnce(&mut State) -> Result<(T, bool), StorageError>,
        tear: impl FnOnce(&mut State) -> bool,
    ) -> Result<T, StorageError> {
        let world = &self.world;
        if self.is_dead() {
            return Err(failure(asked, "the process is dead"));
        }
        let _turn = world.schedule.as_ref().map(|schedule| schedule.turn(self.number));
        let mut state = world.lock();
        // It may have died, by another of its threads, while this one waited.
        if self.is_dead() {
            return Err(failure(asked, "the process is dead"));
        }
        let own_number = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
        let mut step = Step {
            number: world.operations.fetch_add(1, Ordering::Relaxed) + 1,
            process: self.number,
            own_number,
            operation: asked.operation,
            bucket: asked.bucket.to_owned(),
            key: asked.key.to_owned(),
            wrote: false,
        };
        let mode = self.plan.mode_of(own_number);
        if let Some(mode) = mode {
            self.faults.fetch_add(1, Ordering::Relaxed);
            self.dead.store(mode.is_death(), Ordering::Relaxed);
        }
        let done = match mode {
            Some(Mode::Before | Mode::Error) => Err(failure(asked, "the store didn't do it")),
            Some(Mode::Torn) => {
                step.wrote = tear(&mut state);
                Err(failure(asked, "the process died in the middle"))
            }
            Some(Mode::After | Mode::ErrorAfter) | None => work(&mut state).map(|(answer, wrote)| {
                step.wrote = wrote;
                answer
            }),
        };
        world.show(&mut state, &step);
        match mode {
            Some(Mode::After | Mode::ErrorAfter) => Err(failure(asked, "the answer was lost")),
            _ => done,
        }
    }
}

fn failure(asked: &Asked<'_>, problem: &str) -> StorageError {
    StorageError::Remote {
        place: asked.bucket.to_owned(),
        key: asked.key.to_owned(),
        doing: "being tested",
        problem: problem.to_owned(),
        kind: Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket_exam;

    #[test]
    fn a_bucket_of_a_world_keeps_every_promise_of_a_bucket() {
        let world = Arc::new(World::unwatched(State::default()));
        bucket_exam(world.begin(0, Plan::Nothing).bucket("exam").as_ref());
        assert!(world.operations() > 100);
    }

    #[test]
    #[should_panic(expected = "compare-and-swap")]
    fn the_exam_finds_out_a_world_that_swaps_blindly() {
        let world = World::unwatched(State::default()).with_weakness(Weakness::SwapsBlindly);
        bucket_exam(Arc::new(world).begin(0, Plan::Nothing).bucket("exam").as_ref());
    }

    #[test]
    fn each_mode_leaves_what_it_says() {
        use apportion_flow::storage::Body;
        let keys = |world: &World| world.state().keys_of("b");
        for (mode, left) in [
            (Mode::Before, &[][..]),
            (Mode::After, &["f/new"]),
            (Mode::Torn, &["f/.new.partial"]),
            (Mode::Error, &[]),
            (Mode::ErrorAfter, &["f/new"]),
        ] {
            let world = Arc::new(World::unwatched(State::default()));
            let process = world.begin(0, Plan::At(1, mode));
            let bucket = process.bucket("b");
            assert!(bucket.put_new("f/new", Body::Bytes(b"four")).is_err());
            assert_eq!(keys(&world), left, "{mode:?}");
            assert_eq!(process.is_dead(), bucket.info("f/new").is_err(), "{mode:?}");
            assert_eq!((process.is_dead(), process.faults()), (mode.is_death(), 1), "{mode:?}");
            // Whoever comes next finishes it, and tidies up.
            let next = world.begin(1, Plan::Nothing).bucket("b");
            next.put_new("f/new", Body::Bytes(b"four")).unwrap();
            assert_eq!(keys(&world), ["f/new"], "{mode:?}");
        }
    }

    /// Two processes, one of which asks from two threads: all of it happens, and for one seed in one order.
    #[test]
    fn processes_take_turns_in_an_order_that_a_seed_decides() {
        let order = |seed: u64| {
            let steps = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&steps);
            let watch: Box<Watch> = Box::new(move |_, step| {
                seen.lock().unwrap().push((step.process, step.bucket.clone()));
                Ok(())
            });
            let world = World::new(State::default(), watch).with_schedule(Schedule::new(seed));
            let world = Arc::new(world);
            let processes = [0, 1].map(|number| world.begin(number, Plan::Nothing));
            std::thread::scope(|scope| {
                for process in &processes {
                    scope.spawn(move || {
                        std::thread::scope(|inner| {
                            for thread in 0..=process.number {
                                let bucket = process.bucket(&thread.to_string());
                                inner.spawn(move || (0..40).for_each(|_| assert!(bucket.list().is_ok())));
                            }
                        });
                        process.end();
                    });
                }
            });
            let steps = steps.lock().unwrap().clone();
            let count = |process: usize| steps.iter().filter(|step| step.0 == process).count();
            assert_eq!((count(0), count(1)), (40, 80));
            steps.iter().map(|step| step.0).collect::<Vec<_>>()
        };
        let orders: Vec<_> = (0..8).map(order).collect();
        assert!(orders.iter().any(|other| *other != orders[0]), "every seed has the same order");
        // Both go on in turns, and not one after the other.
        assert!(orders.iter().all(|order| order.iter().take(60).any(|process| *process != order[0])));
    }
}
