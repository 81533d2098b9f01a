//! Targets and sources that misbehave: one customer's failure touches nobody else, and a source that moves, is old,
//! or doesn't fit publishes nothing.

use crate::harness::{Tree, code, has_manifests, run, set_time, stderr, temp, tree, write};
use crate::small_report::{deliver as run_deliver, form, make, renew, report};
use crate::watched::{Done, Watched};
use crate::written_report::{TIME, request, write_report};
use apportion_flow::outcome::Kind;
use apportion_flow::run::{DeliverRequest, RunError, State, Unwatched, deliver};
use apportion_flow::source::SourceError;
use apportion_flow::storage::Folder;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

const ROWS: usize = 24;

fn targets(place: &Path, name: &str) -> Tree {
    tree(&place.join("targets").join(name))
}

/// The exit code and what was said.
fn ended(settings: &Path, environment: &[(&str, &str)]) -> (i32, String) {
    let out = run_deliver(settings, environment);
    (code(&out), stderr(&out))
}

#[test]
fn a_target_that_fails_fails_alone() {
    let (good, bad) = (temp(), temp());
    assert_eq!(ended(&make(good.path(), 1, ROWS), &[]).0, 0);
    let settings = make(bad.path(), 1, ROWS);
    // Where the first customer's folder should be, there is a file.
    write(&bad.path().join("targets/t0"), b"in the way");
    let (code, said) = ended(&settings, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("customer0") && said.contains("t0"), "{said}");
    assert_eq!(fs::read(bad.path().join("targets/t0")).unwrap(), b"in the way");
    assert!(targets(bad.path(), "t1") == targets(good.path(), "t1"));
    assert!(!targets(bad.path(), "t1").is_empty());
    // Out of the way, the next run delivers it, to the same bytes.
    fs::remove_file(bad.path().join("targets/t0")).unwrap();
    assert_eq!(ended(&settings, &[]).0, 0);
    assert!(tree(&bad.path().join("targets")) == tree(&good.path().join("targets")));
    assert!(tree(&bad.path().join("msp")) == tree(&good.path().join("msp")));
}

const MOVING: &str = "R-00002.csv.gz";

/// A request whose data are replaced while they are read: each time the second part is opened, for as many times as
/// it is told.
fn moving(place: &Path, moves: u64) -> (DeliverRequest, Arc<Watched>) {
    make(place, 1, ROWS);
    let (root, turns) = (place.join("source"), AtomicU64::new(0));
    // The pin opens it first; then the reader finds other rows there.
    let bucket = Watched::with(Folder::new(&root), move |what, key| {
        if what == Done::Open && key.ends_with(MOVING) {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            if turn < moves {
                write_report(&report(100 + turn, ROWS), &form(ROWS), &root);
            }
        }
    });
    let mut request = request(&report(1, ROWS), place);
    request.sources[0].bucket = bucket.clone();
    (request, bucket)
}

#[test]
fn a_source_that_moves_while_it_is_read_is_read_anew() {
    let place = temp();
    let (request, bucket) = moving(place.path(), 1);
    let done = deliver(&request, &Unwatched).unwrap();
    assert_eq!(done.count(State::Delivered), 3, "{done:?}");
    assert!(bucket.count(Done::Open, MOVING) > 3);
    // What is delivered is what the source became, to the last byte.
    let other = temp();
    write_report(&report(100, ROWS), &form(ROWS), &other.path().join("source"));
    deliver(&crate::written_report::request(&report(100, ROWS), other.path()), &Unwatched).unwrap();
    for name in ["t0", "t1"] {
        let (found, due) = (targets(place.path(), name), targets(other.path(), name));
        for (key, bytes) in due {
            assert!(found.get(&key) == Some(&bytes), "{key}");
        }
    }
}

#[test]
fn a_source_that_keeps_moving_is_given_up_and_nothing_is_published() {
    let place = temp();
    let (request, bucket) = moving(place.path(), u64::MAX);
    let error = deliver(&request, &Unwatched).unwrap_err();
    assert!(matches!(error, RunError::Source(SourceError::Moved { .. })), "{error}");
    assert_eq!(error.kind(), Kind::SourceMoved);
    let opened = bucket.count(Done::Open, MOVING);
    assert!((6..=12).contains(&opened), "three attempts open it a few times each, not {opened}");
    assert!(!has_manifests(place.path()));
    assert_eq!(fs::read_dir(place.path().join("spool")).unwrap().count(), 0);
}

#[test]
fn an_older_source_never_takes_the_place_of_a_newer_one() {
    let place = temp();
    let settings = make(place.path(), 1, ROWS);
    assert_eq!(ended(&settings, &[]).0, 0);
    renew(place.path(), 2, ROWS);
    assert_eq!(ended(&settings, &[]).0, 0);
    let live = tree(&place.path().join("targets"));
    // The first source again, with its old time.
    write_report(&report(1, ROWS), &form(ROWS), &place.path().join("source"));
    let (code, said) = ended(&settings, &[]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("newer version of the source"), "{said}");
    assert!(tree(&place.path().join("targets")) == live);
    // AWS can restate to what was there before: the same bytes, but younger.
    for manifest in tree(&place.path().join("source")).keys().filter(|key| key.ends_with(".json")) {
        set_time(&place.path().join("source").join(manifest), TIME + 7200);
    }
    let (code, said) = ended(&settings, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(tree(&place.path().join("targets")) != live);
}

#[test]
fn a_full_spool_ends_the_run_and_leaves_nothing() {
    let place = temp();
    let settings = make(place.path(), 1, ROWS);
    let spool = place.path().join("spool");
    let more = ["--spool", spool.to_str().unwrap(), "--spool-limit", "5000"];
    let out = run("deliver", &settings, &more, &[]);
    assert_eq!(code(&out), 13, "{}", stderr(&out));
    assert!(stderr(&out).contains("spool is full"), "{}", stderr(&out));
    assert!(tree(&place.path().join("targets")).is_empty() && tree(&place.path().join("msp")).is_empty());
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    assert_eq!(ended(&settings, &[]).0, 0);
}

/// Every file with the time of its last change.
fn times(place: &Path) -> BTreeMap<String, SystemTime> {
    tree(place)
        .into_keys()
        .map(|key| {
            let time = fs::metadata(place.join(&key)).unwrap().modified().unwrap();
            (key, time)
        })
        .collect()
}

#[test]
fn delivering_twice_writes_nothing() {
    let place = temp();
    let settings = make(place.path(), 1, ROWS);
    let (code, said) = ended(&settings, &[("APPORTION_COUNT_WRITES", "1")]);
    assert!(code == 0 && !said.contains(" 0 writes"), "{said}");
    let before = times(place.path());
    let (code, said) = ended(&settings, &[("APPORTION_COUNT_WRITES", "1")]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(": 0 writes"), "{said}");
    assert_eq!(times(place.path()), before);
}

#[test]
fn another_setting_makes_another_assembly_and_leaves_the_old_one() {
    let place = temp();
    let settings = make(place.path(), 1, ROWS);
    assert_eq!(ended(&settings, &[]).0, 0);
    let old = tree(&place.path().join("targets"));
    let text = fs::read_to_string(&settings).unwrap();
    // Only the first customer's: each customer's settings are named in their order.
    fs::write(&settings, text.replacen("order = \"sorted\"", "order = \"source\"", 1)).unwrap();
    let (code, said) = ended(&settings, &[]);
    assert_eq!(code, 0, "{said}");
    let new = tree(&place.path().join("targets"));
    let changed: Vec<&String> = old.keys().filter(|key| old[*key] != new[*key]).collect();
    assert_eq!(changed, ["t0/manifests/20261001-20261101/customer0-Manifest.json"]);
    let added: Vec<&String> = new.keys().filter(|key| !old.contains_key(*key)).collect();
    assert_eq!(added.len(), 3, "a file, its proof and its own manifest: {added:?}");
    assert!(added.iter().all(|key| key.starts_with("t0/RawCURReports/")), "{added:?}");
    // And back: what was put once is found again, and nothing is written but the manifest.
    fs::write(&settings, text).unwrap();
    assert_eq!(ended(&settings, &[]).0, 0);
    let back = tree(&place.path().join("targets"));
    assert!(old.iter().all(|(key, bytes)| &back[key] == bytes) && back.len() == new.len());
}
