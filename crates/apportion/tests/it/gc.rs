//! Garbage: only what nobody needs goes, whenever a run dies nothing live breaks, and the next run finishes.

use crate::harness::{Tree, code, copy, program, run, say, set_time, stderr, temp, tree};
use crate::random_report::PERIOD;
use crate::small_report::{Look, deliver, delivered, make_looking, renew, renew_looking};
use crate::written_report::TIME;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const ROWS: usize = 30;
const NOW: [&str; 5] = ["--grace", "0", "--output", "json", "--delete"];

/// Delivers the month anew, from other line items.
fn restate(place: &Path, seed: u64, more: &[&str]) {
    renew(place, seed, ROWS);
    let source = place.join("source");
    for manifest in tree(&source).keys().filter(|key| key.ends_with(".json")) {
        set_time(&source.join(manifest), TIME + 3600 * seed);
    }
    let spool = place.join("spool");
    let flags = [&["--spool", spool.to_str().unwrap()], more].concat();
    let out = run("deliver", &place.join("apportion.toml"), &flags, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
}

/// A month delivered so many times.
fn restated(times: u64) -> (tempfile::TempDir, PathBuf) {
    let (place, settings) = delivered(ROWS);
    (2..=times).for_each(|seed| restate(place.path(), seed, &[]));
    (place, settings)
}

fn gc(settings: &Path, more: &[&str]) -> (i32, Value, String) {
    let out = run("gc", settings, more, &[]);
    (code(&out), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), stderr(&out))
}

fn everything(place: &Path) -> Tree {
    tree(place).into_iter().filter(|(key, _)| !key.starts_with("source/")).collect()
}

/// Deliveries that the pointer names, the newest first.
fn deliveries(place: &Path) -> Vec<String> {
    let bytes = fs::read(place.join(format!("msp/proofs/main/{PERIOD}-MasterPointer.json"))).unwrap();
    let pointer: Value = serde_json::from_slice(&bytes).unwrap();
    let older = pointer["older"].as_array().unwrap();
    let ids =
        [&pointer].into_iter().chain(older).map(|entry| entry["delivery_id"].as_str().unwrap().to_owned());
    ids.collect()
}

fn master(place: &Path, delivery: &str) -> Value {
    let path = place.join(format!("msp/proofs/main/{PERIOD}/{delivery}-MasterProof.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every live export is whole.
fn whole(place: &Path, when: &str) {
    for target in ["t0", "t1"] {
        let target = place.join("targets").join(target);
        let out = program(&["verify", "--target", target.to_str().unwrap()]).output().unwrap();
        assert_eq!(code(&out), 0, "{when}: {}", stderr(&out));
    }
}

/// How many writes a run made that was asked to count them.
fn writes(counted: &Output) -> u64 {
    let said = stderr(counted);
    let line = said.lines().find(|line| line.ends_with(" writes")).unwrap();
    line.rsplit(' ').nth(1).unwrap().parse().unwrap()
}

/// The assembly ids of all exports of all sources.
fn assemblies_of_all(place: &Path) -> Vec<String> {
    let masters = tree(place).into_iter().filter(|(key, _)| key.ends_with("-MasterProof.json"));
    let ids = masters.flat_map(|(_, bytes)| {
        let master: Value = serde_json::from_slice(&bytes).unwrap();
        [assemblies(&master, "customer0"), assemblies(&master, "customer1")].concat()
    });
    ids.collect()
}

/// Keys that hold one of these names.
fn holding(tree: &Tree, names: &[String]) -> Vec<String> {
    tree.keys().filter(|key| names.iter().any(|name| key.contains(name.as_str()))).cloned().collect()
}

fn assemblies(master: &Value, customer: &str) -> Vec<String> {
    let exports =
        master["customers"].as_array().unwrap().iter().filter(|export| export["customer"] == customer);
    exports.map(|export| export["assembly_id"].as_str().unwrap().to_owned()).collect()
}

/// The states of the items of a delivery, with whose they are.
fn states(report: &Value, delivery: &str) -> Vec<(String, String)> {
    let found =
        report["deliveries"].as_array().unwrap().iter().find(|entry| entry["delivery_id"] == delivery);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found.unwrap()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (text(&item["whose"]), text(&item["state"])))
        .collect()
}

#[test]
fn old_deliveries_are_shown_and_go_when_it_is_asked_for() {
    let (place, settings) = restated(4);
    let ids = deliveries(place.path());
    assert_eq!(ids.len(), 4);
    let old: Vec<String> = ids[2..]
        .iter()
        .flat_map(|id| {
            let master = master(place.path(), id);
            [assemblies(&master, "customer0"), assemblies(&master, "customer1"), vec![id.clone()]].concat()
        })
        .collect();
    let before = everything(place.path());
    // Nobody is kept from reading what went out a moment ago.
    let (ended, report, said) = gc(&settings, &["--output", "json"]);
    assert_eq!(ended, 0, "{said}");
    assert!(said.contains("nothing that nobody needs"), "{said}");
    assert!(ids.iter().all(|id| states(&report, id).iter().all(|(_, state)| state == "kept")), "{report:#}");
    // Shown, with sizes, and nothing is touched.
    let (ended, report, said) = gc(&settings, &NOW[..4]);
    assert_eq!(ended, 0, "{said}");
    assert!(said.contains("would delete: customer0: ") && said.contains("gc --delete"), "{said}");
    assert_eq!(everything(place.path()), before);
    let shown: u64 = report["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|delivery| delivery["items"].as_array().unwrap())
        .filter(|item| item["state"] == "shown")
        .map(|item| item["bytes"].as_u64().unwrap())
        .sum();
    let (ended, report, said) = gc(&settings, &NOW);
    assert_eq!(ended, 0, "{said}");
    for id in &ids[2..] {
        assert!(states(&report, id).iter().all(|(_, state)| state == "deleted"), "{report:#}");
    }
    let after = everything(place.path());
    assert_eq!(holding(&after, &old), Vec::<String>::new());
    assert_eq!(deliveries(place.path()), ids[..2]);
    let size = |tree: &Tree| -> u64 {
        let pointer = |key: &&String| !key.ends_with("-MasterPointer.json");
        tree.iter().filter(|(key, _)| pointer(key)).map(|(_, bytes)| bytes.len() as u64).sum()
    };
    assert_eq!(size(&before) - size(&after), shown, "it says how many bytes go");
    // No folder of an assembly is left empty.
    let folders = fs::read_dir(place.path().join(format!("msp/unassigned/main/{PERIOD}"))).unwrap();
    assert_eq!(folders.count(), 2);
    whole(place.path(), "after gc");
    assert_eq!(code(&run("reconcile", &settings, &[], &[])), 0);
    let (ended, _, said) = gc(&settings, &NOW);
    assert_eq!(ended, 0);
    assert!(said.contains("nothing that nobody needs"), "{said}");
    assert_eq!(everything(place.path()), after);
    // A run from the same source has nothing to do.
    assert_eq!(code(&deliver(&settings, &[])), 0);
    assert_eq!(everything(place.path()), after);
    let (ended, ..) = gc(&settings, &["--keep", "1", "--grace", "0", "--delete"]);
    assert_eq!((ended, deliveries(place.path()).len()), (0, 1));
    assert_eq!(gc(&settings, &["--keep", "0"]).0, 2);
    assert_eq!(gc(&settings, &["--grace", "1 week"]).0, 2);
}

#[test]
fn it_can_die_at_every_write() {
    let (state, _) = restated(3);
    let done = temp();
    copy(state.path(), done.path());
    let flags = ["--grace", "0", "--keep", "1", "--delete"];
    let counted = run("gc", &done.path().join("apportion.toml"), &flags, &[("APPORTION_COUNT_WRITES", "1")]);
    assert_eq!(code(&counted), 0, "{}", stderr(&counted));
    let writes = writes(&counted);
    assert!(writes > 30, "{writes} writes");
    let wanted = everything(done.path());
    for at in 1..=writes {
        let place = temp();
        copy(state.path(), place.path());
        let settings = place.path().join("apportion.toml");
        let when = format!("killed at write {at} of {writes}");
        let out = run("gc", &settings, &flags, &[("APPORTION_KILL_AT", &at.to_string())]);
        assert_eq!(code(&out), -1, "{when}: {}", stderr(&out));
        whole(place.path(), &when);
        assert_eq!(code(&run("reconcile", &settings, &[], &[])), 0, "{when}");
        let out = run("gc", &settings, &flags, &[]);
        assert_eq!(code(&out), 0, "{when}: {}", stderr(&out));
        let found = everything(place.path());
        let differing: Vec<&String> =
            wanted.keys().chain(found.keys()).filter(|key| wanted.get(*key) != found.get(*key)).collect();
        assert!(differing.is_empty(), "{when}: {differing:?}");
        assert_eq!(deliveries(place.path()).len(), 1, "{when}");
    }
    say(&format!("gc: {writes} crash points"));
}

#[test]
fn every_layout_format_and_source_is_collected() {
    let state = temp();
    let settings = make_looking(Look::All, state.path(), 1, ROWS);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    let old: Vec<String> = assemblies_of_all(state.path());
    assert_eq!(old.len(), 12);
    renew_looking(Look::All, state.path(), 2, ROWS);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    let done = temp();
    copy(state.path(), done.path());
    let flags = ["--grace", "0", "--keep", "1", "--delete"];
    let counted = run("gc", &done.path().join("apportion.toml"), &flags, &[("APPORTION_COUNT_WRITES", "1")]);
    assert_eq!(code(&counted), 0, "{}", stderr(&counted));
    let wanted = everything(done.path());
    assert_eq!(holding(&wanted, &old), Vec::<String>::new());
    whole(done.path(), "collected");
    assert_eq!(code(&run("reconcile", &done.path().join("apportion.toml"), &[], &[])), 0);
    let writes = writes(&counted);
    let mut points = 0;
    for at in (1..=writes).step_by(7) {
        let place = temp();
        copy(state.path(), place.path());
        let settings = place.path().join("apportion.toml");
        let out = run("gc", &settings, &flags, &[("APPORTION_KILL_AT", &at.to_string())]);
        assert_eq!(code(&out), -1, "killed at {at}: {}", stderr(&out));
        whole(place.path(), &format!("killed at {at}"));
        assert_eq!(code(&run("gc", &settings, &flags, &[])), 0);
        assert!(everything(place.path()) == wanted, "killed at {at} of {writes}: something else is left");
        points += 1;
    }
    say(&format!("gc: {points} of {writes} crash points with every layout and format"));
}

#[test]
fn an_assembly_that_a_newer_delivery_holds_too_stays() {
    let (place, settings) = delivered(ROWS);
    let text = fs::read_to_string(&settings).unwrap();
    // Only the first customer's settings change, so only its assembly does.
    for (order, gzip) in [("source", "multi-member"), ("sorted", "single"), ("source", "single")] {
        let changed = text.replacen("order = \"sorted\"", &format!("order = \"{order}\""), 1).replacen(
            "gzip = \"multi-member\"",
            &format!("gzip = \"{gzip}\""),
            1,
        );
        assert_ne!(changed, text);
        fs::write(&settings, changed).unwrap();
        assert_eq!(code(&deliver(&settings, &[])), 0);
    }
    let ids = deliveries(place.path());
    let masters: Vec<Value> = ids.iter().map(|id| master(place.path(), id)).collect();
    let shared = assemblies(&masters[0], "customer1");
    assert!(masters.iter().all(|master| assemblies(master, "customer1") == shared));
    let own = assemblies(&masters[3], "customer0");
    let (ended, report, said) = gc(&settings, &[&NOW[..], &["--keep", "1"]].concat());
    assert_eq!(ended, 0, "{said}");
    assert!(states(&report, &ids[3]).contains(&("customer1".to_owned(), "shared".to_owned())), "{report:#}");
    let after = everything(place.path());
    assert_eq!(deliveries(place.path()), ids[..1]);
    assert!(holding(&after, &own).is_empty());
    whole(place.path(), "shared");
    assert_eq!(code(&run("reconcile", &settings, &[], &[])), 0);
}

#[test]
fn a_customer_that_lags_behind_keeps_what_is_live() {
    let (place, settings) = delivered(ROWS);
    (2..=4).for_each(|seed| restate(place.path(), seed, &["--customer", "customer0"]));
    let ids = deliveries(place.path());
    let oldest = master(place.path(), &ids[3]);
    let (ended, report, said) = gc(&settings, &[&NOW[..], &["--keep", "1"]].concat());
    assert_eq!(ended, 0, "{said}");
    let of_oldest = states(&report, &ids[3]);
    assert!(of_oldest.contains(&("customer0".to_owned(), "deleted".to_owned())), "{report:#}");
    assert!(of_oldest.contains(&("customer1".to_owned(), "kept".to_owned())), "{report:#}");
    // The delivery stays known, for its proof holds the keys of what is live.
    assert_eq!(deliveries(place.path()), [ids[0].clone(), ids[3].clone()]);
    let after = everything(place.path());
    assert!(holding(&after, &assemblies(&oldest, "customer0")).is_empty());
    assert!(!holding(&after, &assemblies(&oldest, "customer1")).is_empty());
    whole(place.path(), "lagging");
    assert_eq!(code(&run("reconcile", &settings, &[], &[])), 3);
    // Once it has caught up, the rest goes.
    assert_eq!(code(&deliver(&settings, &[])), 0);
    assert_eq!(gc(&settings, &[&NOW[..], &["--keep", "1"]].concat()).0, 0);
    assert_eq!(deliveries(place.path()), ids[..1]);
    assert!(holding(&everything(place.path()), &assemblies(&oldest, "customer1")).is_empty());
    whole(place.path(), "caught up");
}

#[test]
fn a_locked_delivery_and_a_customer_that_left_stay() {
    let (place, settings) = restated(3);
    let ids = deliveries(place.path());
    let state = json!({
        "state": "locked", "reason": "invoiced", "delivery_id": ids[2],
        "source_version": master(place.path(), &ids[2])["source_version"],
    });
    let path = place.path().join(format!("msp/states/main/{PERIOD}-State.json"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, state.to_string()).unwrap();
    let keep_one = [&NOW[..], &["--keep", "1"]].concat();
    // Without the second customer's place, its objects are named and left, and the keys to them stay.
    let text = fs::read_to_string(&settings).unwrap();
    let (first, second) = text.split_at(text.rfind("[[customer]]").unwrap());
    assert!(second.contains("customer1"));
    fs::write(&settings, first).unwrap();
    let (ended, report, said) = gc(&settings, &keep_one);
    assert_eq!(ended, 0, "{said}");
    assert_eq!(states(&report, &ids[2]), [(String::new(), "kept".to_owned())]);
    assert!(states(&report, &ids[1]).contains(&("customer1".to_owned(), "left".to_owned())), "{report:#}");
    assert_eq!(deliveries(place.path()), ids);
    fs::write(&settings, &text).unwrap();
    assert_eq!(gc(&settings, &keep_one).0, 0);
    assert_eq!(deliveries(place.path()), [ids[0].clone(), ids[2].clone()]);
    whole(place.path(), "locked");
    // Unlocked, it goes, although the state still names it.
    let flags = ["periods", "unlock", "2026-10", "--config", settings.to_str().unwrap()];
    assert_eq!(code(&program(&flags).output().unwrap()), 0);
    assert_eq!(gc(&settings, &keep_one).0, 0);
    assert_eq!(deliveries(place.path()), ids[..1]);
    // A state that can't be read might lock anything.
    fs::write(&path, "{").unwrap();
    let before = everything(place.path());
    let (ended, _, said) = gc(&settings, &keep_one);
    assert_eq!(ended, 3);
    assert!(said.contains("State.json") && said.contains("nothing of this month was deleted"), "{said}");
    assert_eq!(everything(place.path()), before);
}

#[test]
fn a_proof_that_was_tampered_with_deletes_nothing_of_others() {
    let (place, settings) = restated(2);
    let ids = deliveries(place.path());
    let live =
        tree(&place.path().join("targets/t0")).into_keys().find(|key| key.ends_with(".csv.gz")).unwrap();
    let old = master(place.path(), &ids[1]);
    let key = old["customers"][0]["proof"].as_str().unwrap();
    let path = place.path().join("targets/t0").join(key);
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let newest = master(place.path(), &ids[0]);
    let foreign = newest["customers"][0]["proof"].as_str().unwrap();
    for named in [foreign, "../t1/x", &live.replace(&assemblies(&old, "customer0")[0], "y")] {
        let mut proof = good.clone();
        proof["files"][0]["key"] = json!(named);
        fs::write(&path, proof.to_string()).unwrap();
        let (ended, report, said) = gc(&settings, &[&NOW[..], &["--keep", "1"]].concat());
        assert_eq!(ended, 3, "{named}: {said}");
        assert!(
            states(&report, &ids[1]).contains(&("customer0".to_owned(), "failed".to_owned())),
            "{report:#}"
        );
        assert!(said.contains("the proof names"), "{said}");
        whole(place.path(), named);
    }
    // Mended, it goes.
    fs::write(&path, good.to_string()).unwrap();
    assert_eq!(gc(&settings, &[&NOW[..], &["--keep", "1"]].concat()).0, 0);
    assert_eq!(deliveries(place.path()), ids[..1]);
}

#[test]
fn a_newest_master_proof_that_is_gone_keeps_everything() {
    let (place, settings) = restated(3);
    let ids = deliveries(place.path());
    fs::remove_file(place.path().join(format!("msp/proofs/main/{PERIOD}/{}-MasterProof.json", ids[0])))
        .unwrap();
    let before = everything(place.path());
    let (ended, _, said) = gc(&settings, &[&NOW[..], &["--keep", "1"]].concat());
    assert_eq!(ended, 3, "{said}");
    assert_eq!(everything(place.path()), before);
}
