//! Stores that fail now and then, before or after they have done what was asked: a run succeeds or says that it
//! didn't, nobody reads anything torn meanwhile, and the next run that is let alone ends where it should.

use super::{NEWEST, SOURCE, Scene, figure, is_clean, spread};
use crate::harness::say;
use crate::random_report::Draw;
use apportion_testkit::world::{Mode, Plan, World};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of a hundred operations fail.
const PERCENT: u64 = 30;

/// Runs by these plans, and then one that is let alone. Returns how many operations failed, and how many runs were
/// clean all the same.
fn run_all(scene: &Arc<Scene>, plans: &[Plan], spool: &Path) -> (u64, u64) {
    let world = Arc::new(World::new(scene.start.clone(), scene.watch()));
    let (mut faults, mut clean) = (0, 0);
    for (number, plan) in plans.iter().enumerate() {
        let process = world.begin(number, *plan);
        let done = scene.run(&process, SOURCE, spool);
        faults += process.faults();
        if is_clean(&done) {
            clean += 1;
            // Who says that all is delivered must be right.
            let whole = scene.check_whole(&world.state(), NEWEST);
            assert_eq!(whole, Ok(()), "{plans:?}: {done:?}");
        }
    }
    scene.recover(&world, spool, &plans);
    (faults, clean)
}

#[test]
fn stores_that_fail_now_and_then_harm_nothing() {
    let scene = Scene::new();
    let operations = scene.steps.len() as u64;
    spread(operations, |number, spool| {
        let (faults, _) = run_all(&scene, &[Plan::At(number + 1, Mode::Error)], spool);
        assert_eq!(faults, 1);
    });
    let runs = figure(5_000);
    let (faults, clean) = (AtomicU64::new(0), AtomicU64::new(0));
    spread(runs.div_ceil(2), |seed, spool| {
        let mut draw = Draw::new(seed ^ 0xfa117);
        // A run whose every operation may fail hardly ever comes to its commits.
        let plan = |draw: &mut Draw| Plan::Errors {
            seed: draw.next(),
            percent: PERCENT,
            from: if draw.percent(20) { 1 } else { 1 + draw.next() % operations },
        };
        let plans = [plan(&mut draw), plan(&mut draw)];
        let (failed, fine) = run_all(&scene, &plans, spool);
        faults.fetch_add(failed, Ordering::Relaxed);
        clean.fetch_add(fine, Ordering::Relaxed);
    });
    let (faults, clean) = (faults.into_inner(), clean.into_inner());
    assert!(faults > runs && clean > 0 && clean < runs, "{faults} faults, {clean} of {runs} runs clean");
    say(&format!("trust: {runs} fault runs, {faults} operations that fail, {clean} runs clean all the same"));
}
