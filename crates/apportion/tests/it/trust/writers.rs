//! Several runs at once, some of an older source, some that die: whoever's turn it is, every reader reads something
//! whole, nothing goes back in time, and in the end everything is as one run would have left it.

use super::{NEWEST, Scene, VERSIONS, WRITTEN, figure, is_clean, operator, spread};
use crate::harness::say;
use crate::random_report::Draw;
use apportion_flow::storage::Operator;
use apportion_testkit::world::{Mode, Plan, Process, Schedule, State, Weakness, World};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One of the runs.
#[derive(Debug, Clone, Copy)]
struct Writer {
    version: usize,
    threads: usize,
    lease: Lease,
    plan: Plan,
}

/// How a run takes leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    /// Not at all, as one without an operator.
    Ignored,
    /// Those of others are over, however new: its clock is ahead, or it was paused for long.
    Over,
    /// As it should.
    Heeded,
}

impl Lease {
    fn operator(self) -> Option<Operator> {
        match self {
            Self::Ignored => None,
            Self::Over => Some(operator(i64::MAX / 2)),
            Self::Heeded => Some(operator(0)),
        }
    }
}

fn writers(scene: &Scene, draw: &mut Draw) -> Vec<Writer> {
    let count = draw.within(2..6);
    let one = |draw: &mut Draw| {
        let version = if draw.percent(40) { draw.below(NEWEST) } else { NEWEST };
        let at = 1 + draw.next() % scene.steps.len() as u64;
        let mode = *draw.pick(&[Mode::Before, Mode::After, Mode::Torn]);
        let plan = match draw.below(10) {
            0..=2 => Plan::At(at, mode),
            3 => Plan::At(at, *draw.pick(&[Mode::Error, Mode::ErrorAfter])),
            _ => Plan::Nothing,
        };
        let lease = *draw.pick(&[Lease::Ignored, Lease::Over, Lease::Over, Lease::Heeded]);
        Writer { version, threads: *draw.pick(&[1, 1, 1, 2]), lease, plan }
    };
    (0..count).map(|_| one(draw)).collect()
}

/// Lets them all run at once, in the order of a seed.
fn run_all(scene: &Arc<Scene>, world: &Arc<World>, writers: &[Writer], spool: &Path) {
    let begun: Vec<Arc<Process>> =
        writers.iter().enumerate().map(|(number, writer)| world.begin(number, writer.plan)).collect();
    std::thread::scope(|scope| {
        for (process, writer) in begun.iter().zip(writers) {
            scope.spawn(move || {
                let done = scene.run_by(
                    writer.threads,
                    writer.lease.operator(),
                    process,
                    VERSIONS[writer.version],
                    spool,
                );
                let lone = writers.len() == 1 && writer.plan == Plan::Nothing;
                assert!(!lone || is_clean(&done), "{done:?}");
            });
        }
    });
}

/// What a plain run leaves is there; what else is there, runs of other versions have left, as they leave it.
fn check_end(scene: &Scene, state: &State, writers: &[Writer], when: &str) {
    scene.check_whole(state, NEWEST).unwrap_or_else(|problem| panic!("{when}: {problem}"));
    let found = state.digest(&WRITTEN);
    if writers.iter().all(|writer| writer.version == NEWEST) {
        super::same(&scene.wanted[NEWEST], &found, &when);
        return;
    }
    let is_pointer = |key: &str| key.ends_with("-MasterPointer.json");
    for ((bucket, key), hash) in &scene.wanted[NEWEST] {
        let other = found.get(&(bucket.clone(), key.clone()));
        assert!(other == Some(hash) || is_pointer(key), "{when}: {bucket}/{key} isn't what it should be");
    }
    for ((bucket, key), hash) in &found {
        let place = (bucket.clone(), key.clone());
        let is_known = scene.wanted.iter().any(|wanted| wanted.get(&place) == Some(hash));
        // A pointer remembers what was live between; what was torn in a version that nobody finished lies beside it.
        let may = is_pointer(key) || key.ends_with(".partial");
        assert!(is_known || may, "{when}: {bucket}/{key} is nobody's");
    }
}

#[test]
fn runs_at_once_never_hurt_each_other() {
    let scene = Scene::new();
    let schedules = figure(5_000);
    let (operations, stale, deaths) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    spread(schedules, |seed, spool| {
        let mut draw = Draw::new(seed ^ 0x57a1e);
        let writers = writers(&scene, &mut draw);
        let world = World::new(scene.start.clone(), scene.watch()).with_schedule(Schedule::new(draw.next()));
        let world = Arc::new(world);
        run_all(&scene, &world, &writers, spool);
        let when = format!("seed {seed}, {writers:?}");
        assert_eq!(world.broken(), [""; 0], "{when}");
        let done = scene.run_plainly(&world, spool);
        assert!(is_clean(&done), "{when}: {done:?}");
        assert_eq!(world.broken(), [""; 0], "{when}");
        check_end(&scene, &world.state(), &writers, &when);
        operations.fetch_add(world.operations(), Ordering::Relaxed);
        let count = |test: fn(&&Writer) -> bool| writers.iter().filter(test).count() as u64;
        stale.fetch_add(count(|writer| writer.version < NEWEST), Ordering::Relaxed);
        deaths.fetch_add(count(|writer| writer.plan != Plan::Nothing), Ordering::Relaxed);
    });
    say(&format!(
        "trust: {schedules} writer schedules, {} operations, {} runs of an older source, {} that die or hear of an error",
        operations.into_inner(),
        stale.into_inner(),
        deaths.into_inner()
    ));
}

/// What finds nothing wrong in thousands of schedules must find something wrong where something is.
#[test]
fn a_store_that_swaps_blindly_is_found_out() {
    let scene = Scene::new();
    let found = AtomicU64::new(0);
    spread(50, |seed, spool| {
        let mut draw = Draw::new(seed);
        let writers = [0, 1, NEWEST].map(|version| Writer {
            version,
            threads: 1,
            lease: Lease::Ignored,
            plan: Plan::Nothing,
        });
        let world = World::new(scene.start.clone(), scene.watch()).with_schedule(Schedule::new(draw.next()));
        let world = Arc::new(world.with_weakness(Weakness::SwapsBlindly));
        run_all(&scene, &world, &writers, spool);
        let broken = world.broken();
        found.fetch_add(
            u64::from(broken.iter().any(|problem| problem.contains("went back"))),
            Ordering::Relaxed,
        );
    });
    let found = found.into_inner();
    assert!(found >= 5, "only {found} of 50 schedules show it");
}
