//! Death at every write: whatever is left, a consumer reads the old export or the new one, and the next run ends
//! with exactly what a run that nobody killed ends with.

use crate::harness::{Tree, code, copy, number_of, program, say, stderr, temp, text_of, tree};
use crate::random_report::Draw;
use crate::read_back::{is_data, read};
use crate::small_report::{Look, SECOND, deliver, make_looking, renew_looking};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The live exports of a tree: the manifest's key and its assembly.
pub type LiveAssemblies = Vec<(String, String)>;

/// A place where an older delivery is live and a newer source lies ready.
fn prepared(look: Look, place: &Path, rows: usize) {
    let settings = make_looking(look, place, 1, rows);
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    renew_looking(look, place, 2, rows);
}

fn everything(place: &Path) -> Tree {
    tree(place).into_iter().filter(|(key, _)| !key.starts_with("source")).collect()
}

/// What a consumer makes of a target: follows each manifest to the last byte, and returns what is live.
fn consume(target: &Path) -> LiveAssemblies {
    consume_tree(&tree(target))
}

/// The same of a target that lies somewhere else.
pub fn consume_tree(objects: &Tree) -> LiveAssemblies {
    let mut live = LiveAssemblies::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| key.ends_with("-Manifest.json")) {
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        let assembly = manifest["assemblyId"].as_str().unwrap();
        if key.contains(&format!("/{assembly}/")) {
            // The assembly's own manifest is no pointer.
            continue;
        }
        let proof_key = manifest["additionalArtifactKeys"][0]["name"].as_str().unwrap();
        let proof: Value = serde_json::from_slice(&objects[proof_key]).unwrap();
        assert_eq!(proof["assembly_id"], assembly, "{key}: a mixture");
        let keys = manifest["reportKeys"].as_array().unwrap();
        let files = proof["files"].as_array().unwrap();
        assert_eq!(keys.len(), files.len(), "{key}");
        let mut rows = 0;
        for (named, file) in keys.iter().zip(files) {
            let named = named.as_str().unwrap();
            assert!(named.contains(&format!("/{assembly}/")), "{key} names {named}: a mixture");
            let bytes =
                objects.get(named).unwrap_or_else(|| panic!("{key} names {named}, which isn't there"));
            let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(file["sha256"], hash.as_str(), "{named}");
            assert_eq!(file["bytes"], bytes.len(), "{named}");
            rows += read(named, bytes).len() - 1;
        }
        assert_eq!(proof["rows"], rows, "{key}");
        live.push((key.clone(), assembly.to_owned()));
    }
    live
}

/// The MSP's pointer names a master proof that is there, and whose files are there whole.
fn consume_msps_place(place: &Path) {
    consume_msps_tree(&tree(&place.join("msp")));
}

/// The same of a place that lies somewhere else.
pub fn consume_msps_tree(objects: &Tree) {
    let pointers = objects.iter().filter(|(key, _)| key.ends_with("-MasterPointer.json"));
    for (key, bytes) in pointers {
        let pointer: Value = serde_json::from_slice(bytes).unwrap();
        let proof = &objects[pointer["proof"].as_str().unwrap()];
        let proof: Value = serde_json::from_slice(proof).unwrap();
        assert_eq!(proof["delivery_id"], pointer["delivery_id"], "{key}: a mixture");
        for file in proof["unassigned"]["files"].as_array().unwrap() {
            let bytes = &objects[file["key"].as_str().unwrap()];
            let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(file["sha256"], hash.as_str(), "{file}");
        }
    }
}

/// The live exports of both targets, all whole.
fn consume_all(place: &Path) -> LiveAssemblies {
    ["t0", "t1"].iter().flat_map(|name| consume(&place.join("targets").join(name))).collect()
}

/// Each export is the old or the new one.
fn check_live(place: &Path, old: &LiveAssemblies, new: &LiveAssemblies, when: &str) {
    consume_msps_place(place);
    let live = consume_all(place);
    assert_eq!(live.len(), old.len(), "{when}");
    for ((now, old), new) in live.iter().zip(old).zip(new) {
        assert!(now == old || now == new, "{when}: {} is at {}", now.0, now.1);
    }
}

fn same(wanted: &Tree, found: &Tree, when: &str) {
    for (key, bytes) in wanted {
        let other = found.get(key).unwrap_or_else(|| panic!("{when}: {key} isn't there"));
        assert!(bytes == other || !is_data(key), "{when}: {key}: {:?}", read(key, other));
        assert!(bytes == other, "{when}: {key}:\n{}\n{}", text_of(key, bytes), text_of(key, other));
    }
    let more: Vec<&String> = found.keys().filter(|key| !wanted.contains_key(*key)).collect();
    assert!(more.is_empty(), "{when}: left behind: {more:?}");
}

fn nothing_in(spool: &Path, when: &str) {
    let left = std::fs::read_dir(spool).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{when}: the spool holds {left} entries");
}

/// A state to kill runs in, and what a run that lives makes of it.
struct Scene {
    state: tempfile::TempDir,
    old: LiveAssemblies,
    new: LiveAssemblies,
    wanted: Tree,
    writes: u64,
    took: Duration,
}

impl Scene {
    fn new(look: Look, rows: usize) -> Self {
        let (state, done) = (temp(), temp());
        prepared(look, state.path(), rows);
        copy(state.path(), done.path());
        let began = Instant::now();
        let out = deliver(&done.path().join("apportion.toml"), &[("APPORTION_COUNT_WRITES", "1")]);
        let took = began.elapsed();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        let said = stderr(&out);
        let line = said.lines().find(|line| line.ends_with(" writes")).unwrap();
        let writes = line.rsplit(' ').nth(1).unwrap().parse().unwrap();
        let (old, new) = (consume_all(state.path()), consume_all(done.path()));
        assert!(old.iter().zip(&new).all(|(old, new)| old.0 == new.0 && old.1 != new.1));
        Self { old, new, wanted: everything(done.path()), state, writes, took }
    }

    fn fresh(&self) -> (tempfile::TempDir, PathBuf) {
        let place = temp();
        copy(self.state.path(), place.path());
        let settings = place.path().join("apportion.toml");
        (place, settings)
    }

    /// Dies at a write; false if there was no such write.
    fn die(&self, settings: &Path, at: u64) -> bool {
        let out = deliver(settings, &[("APPORTION_KILL_AT", &at.to_string())]);
        if code(&out) == 0 {
            return false;
        }
        assert_eq!(code(&out), -1, "killed at {at}: {}", stderr(&out));
        true
    }

    fn recover(&self, place: &Path, when: &str) {
        check_live(place, &self.old, &self.new, when);
        let out = deliver(&place.join("apportion.toml"), &[]);
        assert_eq!(code(&out), 0, "{when}: {}", stderr(&out));
        same(&self.wanted, &everything(place), when);
        nothing_in(&place.join("spool"), when);
    }
}

#[test]
fn a_run_can_die_at_every_write() {
    let scene = Scene::new(Look::Plain, 12);
    assert!(scene.writes > 50, "{} writes", scene.writes);
    for at in 1..=scene.writes {
        let (place, settings) = scene.fresh();
        assert!(scene.die(&settings, at), "there is no write {at}");
        scene.recover(place.path(), &format!("killed at write {at} of {}", scene.writes));
    }
    let mut draw = Draw::new(3);
    let (pairs, mut died) = (number_of("APPORTION_CASES", 200).div_ceil(4), 0);
    for _ in 0..pairs {
        let first = 1 + draw.next() % scene.writes;
        // A recovery has at least the writes that were left.
        let at = [first, 1 + draw.next() % (scene.writes - first + 1)];
        let (place, settings) = scene.fresh();
        assert!(scene.die(&settings, at[0]));
        check_live(place.path(), &scene.old, &scene.new, "between");
        died += u64::from(scene.die(&settings, at[1]));
        scene.recover(place.path(), &format!("killed at write {}, then at {}", at[0], at[1]));
    }
    // What was done already may be done in fewer writes; mostly it isn't.
    assert!(pairs < 20 || died > pairs / 2, "only {died} of {pairs} recoveries died");
    say(&format!("crash: {} points, {died} pairs", scene.writes));
}

/// Rows that wait, Parquet, both layouts, a target with two sources' exports: each has writes of its own.
#[test]
fn a_run_of_everything_can_die_at_every_write() {
    let scene = Scene::new(Look::All, 10);
    // Two exports of the first customer and four of the second, of each source.
    assert_eq!(scene.new.len(), 12);
    assert!(scene.new.iter().any(|(key, _)| key.contains(&format!("-{SECOND}"))), "{:?}", scene.new);
    let next = AtomicU64::new(1);
    std::thread::scope(|scope| {
        let (scene, next) = (&scene, &next);
        for _ in 0..2 {
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at > scene.writes {
                        return;
                    }
                    let (place, settings) = scene.fresh();
                    assert!(scene.die(&settings, at), "there is no write {at}");
                    scene.recover(place.path(), &format!("killed at write {at} of {}", scene.writes));
                }
            });
        }
    });
    say(&format!("crash: {} points of a run of everything", scene.writes));
}

#[test]
fn a_run_can_be_killed_at_any_moment() {
    let scene = Scene::new(Look::Plain, 2500);
    let mut draw = Draw::new(4);
    let (kills, mut died) = (number_of("APPORTION_CASES", 200) * 3 / 20, 0);
    for number in 0..kills {
        let (place, settings) = scene.fresh();
        for _ in 0..=draw.below(2) {
            let spool = place.path().join("spool");
            let mut child = program(&["deliver", "--config", settings.to_str().unwrap(), "--threads", "2"])
                .args(["--spool", spool.to_str().unwrap()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(scene.took.mul_f64(draw.below(1000) as f64 / 1000.0));
            child.kill().unwrap();
            died += u64::from(!child.wait().unwrap().success());
            check_live(place.path(), &scene.old, &scene.new, "killed");
        }
        scene.recover(place.path(), &format!("kill {number}"));
    }
    // How many die hangs on how the machine's speed changes meanwhile; that some do must not.
    assert!(died * 10 >= kills, "only {died} of {kills} runs died");
    say(&format!("crash: {died} kills"));
}
