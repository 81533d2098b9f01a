//! The source is overwritten while it is read, as AWS does it: under the same keys, the manifest last. What is live is
//! of one version or of the other, exactly.

use super::{NEWEST, SOURCE, Scene, VERSIONS, WRITTEN, is_clean, spread};
use crate::harness::say;
use apportion_flow::outcome::Kind;
use apportion_flow::run::{DeliverReport, RunError};
use apportion_testkit::world::{Operation, State, Step, Watch, World};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The version that is read first.
const READ: usize = 1;

/// The source's keys in the order in which AWS writes them.
fn in_order(state: &State) -> Vec<String> {
    let mut keys = state.keys_of(VERSIONS[NEWEST]);
    keys.sort_by_key(|key| key.ends_with(".json"));
    keys
}

/// Someone who reads what is live, and overwrites the source at some operations: the nth object at the nth of them.
fn overwriting(scene: &Arc<Scene>, at: Vec<u64>) -> Box<Watch> {
    let (watch, keys) = (scene.watch(), in_order(&scene.start));
    Box::new(move |state, step| {
        let mut due = at.iter().zip(&keys).filter(|(at, _)| **at == step.number);
        due.by_ref().for_each(|(_, key)| state.copy(VERSIONS[NEWEST], SOURCE, Some(key)));
        watch(state, step)
    })
}

/// A world whose source has the version that is read first.
fn world(scene: &Arc<Scene>, watch: Box<Watch>) -> Arc<World> {
    let mut start = scene.start.clone();
    start.copy(VERSIONS[READ], SOURCE, None);
    Arc::new(World::new(start, watch))
}

/// Whatever lies where a run of one version, to which nothing happens, would have put something, is exactly that. What
/// lies elsewhere was put by a run that began anew before any manifest named it.
fn check_unmixed(scene: &Scene, state: &State, when: &str) {
    for (place, hash) in state.digest(&WRITTEN) {
        let mut known = scene.wanted.iter().filter_map(|wanted| wanted.get(&place)).peekable();
        // A pointer remembers what was live between.
        let may = known.peek().is_none() || place.1.ends_with("-MasterPointer.json");
        assert!(may || known.any(|known| *known == hash), "{when}: {place:?} is of no version");
    }
}

fn run(scene: &Arc<Scene>, at: &[u64], spool: &Path) -> (Arc<World>, Result<DeliverReport, RunError>) {
    let world = world(scene, overwriting(scene, at.to_vec()));
    let done = scene.run_plainly(&world, spool);
    (world, done)
}

#[test]
fn a_source_that_is_overwritten_at_any_operation_is_never_mixed() {
    let scene = Scene::new();
    let objects = in_order(&scene.start).len() as u64;
    // All at once, one operation after the other, and with pauses: none so long that a whole run, from its pin to its
    // last look at the manifest, fits into it. Nothing would tell that run that AWS isn't done.
    let gaps = [0, 1, 2, 3, 5, 8];
    // A run that begins anew has more operations than one that doesn't.
    let most = scene.steps.len() as u64 * 2;
    let (old, new, refused) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    spread(most * gaps.len() as u64, |number, spool| {
        let (first, gap) = (1 + number / gaps.len() as u64, gaps[(number % gaps.len() as u64) as usize]);
        let at: Vec<u64> = (0..objects).map(|object| first + object * gap).collect();
        let (world, done) = run(&scene, &at, spool);
        let when = format!("overwritten at {at:?}");
        assert_eq!(world.broken(), [""; 0], "{when}");
        let state = world.state();
        check_unmixed(&scene, &state, &when);
        let is = |version| scene.check_whole(&state, version).is_ok();
        if is_clean(&done) {
            assert!(is(READ) || is(NEWEST), "{when}: {done:?}");
            let counted = if is(READ) { &old } else { &new };
            counted.fetch_add(1, Ordering::Relaxed);
        } else {
            let kind = done.as_ref().map_err(RunError::kind).err();
            assert_eq!(kind, Some(Kind::SourceMoved), "{when}: {done:?}");
            assert!(is(0), "{when}: it failed, and something is live");
            refused.fetch_add(1, Ordering::Relaxed);
        }
        // Whatever it was, the next run finds the newest source at rest.
        let mut rest = world.state();
        rest.copy(VERSIONS[NEWEST], SOURCE, None);
        let world = Arc::new(World::new(rest, scene.watch()));
        let done = scene.run_plainly(&world, spool);
        assert!(is_clean(&done) && world.broken().is_empty(), "{when}: {done:?}");
        scene.check_whole(&world.state(), NEWEST).unwrap_or_else(|problem| panic!("{when}: {problem}"));
        check_unmixed(&scene, &world.state(), &when);
    });
    let [old, new, refused] = [old, new, refused].map(AtomicU64::into_inner);
    assert!(old > 0 && new > 0, "{old} old, {new} new");
    say(&format!(
        "trust: {} overwritten sources, {old} delivered as they were, {new} anew, {refused} refused, 0 mixed",
        most * gaps.len() as u64
    ));
}

#[test]
fn a_source_that_never_rests_is_given_up_after_three_tries() {
    let scene = Scene::new();
    let tries = Arc::new(Mutex::new(Vec::<Step>::new()));
    let (watch, seen) = (scene.watch(), Arc::clone(&tries));
    let keys = in_order(&scene.start);
    let world = world(
        &scene,
        Box::new(move |state, step| {
            if step.bucket == SOURCE && step.operation == Operation::List {
                seen.lock().unwrap().push(step.clone());
            }
            // Once the data are read, there is another manifest, which names the same.
            if step.bucket == SOURCE && step.operation == Operation::Open && step.key == keys[0] {
                let manifest = keys.last().unwrap();
                let object = state.get(SOURCE, manifest).unwrap();
                let (bytes, modified) = ([object.content.bytes(), b"\n"].concat(), object.modified + 1000);
                state.put_at(SOURCE, manifest, bytes, modified);
            }
            watch(state, step)
        }),
    );
    let spool = crate::harness::temp();
    let done = scene.run_plainly(&world, spool.path());
    let error = done.unwrap_err();
    assert_eq!(error.kind(), Kind::SourceMoved, "{error}");
    assert_eq!(tries.lock().unwrap().len(), 3);
    assert_eq!(world.broken(), [""; 0]);
    assert_eq!(scene.check_whole(&world.state(), 0), Ok(()));
}
