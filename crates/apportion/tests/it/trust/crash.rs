//! A run dies at each of its operations, and whoever recovers dies, too.

use super::{Scene, figure, spread, writes};
use crate::harness::say;
use crate::random_report::Draw;
use apportion_testkit::world::{Mode, Plan, Step, Weakness, World};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a run is cut short: each of these is a point of every operation.
const MODES: [Mode; 4] = [Mode::Before, Mode::After, Mode::ErrorAfter, Mode::Torn];

/// Runs one after the other, each cut short, and then one that isn't. Returns how many were.
fn chain(scene: &Arc<Scene>, threads: usize, plans: &[(u64, Mode)], spool: &Path) -> u64 {
    let world = Arc::new(World::new(scene.start.clone(), scene.watch()));
    let mut struck = 0;
    for (number, (at, mode)) in plans.iter().enumerate() {
        let process = world.begin(number, Plan::At(*at, *mode));
        let done = scene.run_by(threads, Some(super::operator(0)), &process, super::SOURCE, spool);
        struck += process.faults();
        // What fails after the last commit is a look back, for the report, or the lease that is given back.
        let is_work = |step: &Step| writes(step) && !step.key.starts_with("leases/");
        let cut = plans.len() == 1 && scene.steps.get(*at as usize - 1).is_some_and(is_work);
        assert!(!cut || !super::is_clean(&done), "{plans:?}: {done:?}");
    }
    scene.recover(&world, spool, &plans);
    struck
}

#[test]
fn a_run_can_die_at_every_operation_and_so_can_who_recovers() {
    let scene = Scene::new();
    let operations = scene.steps.len() as u64;
    let mut singles = Vec::new();
    for (at, step) in (1..).zip(&scene.steps) {
        let all = MODES.iter().filter(|mode| **mode != Mode::Torn || writes(step));
        singles.extend(all.map(|mode| (at, *mode)));
    }
    let points = AtomicU64::new(0);
    spread(singles.len() as u64, |number, spool| {
        let struck = chain(&scene, 1, &[singles[number as usize]], spool);
        assert_eq!(struck, 1, "{:?}", singles[number as usize]);
        points.fetch_add(struck, Ordering::Relaxed);
    });
    let most = figure(10_000);
    // Each of these has at least one point.
    spread(most, |seed, spool| {
        if points.load(Ordering::Relaxed) >= most {
            return;
        }
        let mut draw = Draw::new(seed);
        let (length, threads) = (*draw.pick(&[2, 4]), *draw.pick(&[1, 1, 1, 2]));
        let mut plan = || (1 + draw.next() % operations, *draw.pick(&MODES));
        let plans: Vec<(u64, Mode)> = (0..length).map(|_| plan()).collect();
        points.fetch_add(chain(&scene, threads, &plans, spool), Ordering::Relaxed);
    });
    let points = points.into_inner();
    assert!(points >= most, "{points} of {most}");
    say(&format!(
        "trust: {points} crash points of {operations} operations, {} of them each alone",
        singles.len()
    ));
}

/// What finds nothing wrong ten thousand times must find something wrong where something is.
#[test]
fn a_store_that_loses_a_data_file_is_found_out() {
    let scene = Scene::new();
    let puts = scene.steps.iter().filter(|step| step.key.ends_with(".csv.gz") && writes(step)).count();
    assert!(puts >= 4, "{puts}");
    spread(puts as u64, |number, spool| {
        let world = World::new(scene.start.clone(), scene.watch());
        let world = Arc::new(world.with_weakness(Weakness::ForgetsData(number + 1)));
        let _ = scene.run_plainly(&world, spool);
        let broken = world.broken();
        assert!(broken.iter().any(|problem| problem.contains("not there")), "{number}: {broken:?}");
    });
}
