//! Runs beside each other, and what is kept of them: stores without conditions, the lease on a month, the delivery log.

use crate::harness::{Tree, code, program, stderr, temp, tree, write};
use crate::s3::{BUCKETS, delivered_folder, good, in_buckets, left_in, run, same, started};
use crate::small_report::{deliver, make, renew};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LEASE: &str = "msp/leases/main/20261001-20261101-Lease.json";

#[test]
fn a_store_that_ignores_conditions_is_refused_unless_nobody_else_writes_there() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    // One customer's: nobody else's delivery minds.
    let server = started(&place.path().join("source"));
    server.weaken("target1");
    let out = run(&server, &["deliver"], &buckets);
    assert_eq!(code(&out), 3, "{}", stderr(&out));
    for words in ["customer1", "If-None-Match", "single_writer = true"] {
        assert!(stderr(&out).contains(words), "{words}: {}", stderr(&out));
    }
    assert!(!server.tree("target1").keys().any(|key| key.starts_with("manifests/")));
    assert!(server.tree("target0") == tree(&place.path().join("target0")));
    // The MSP's own place: nothing at all is delivered.
    let server = started(&place.path().join("source"));
    server.weaken("msp-place");
    let out = run(&server, &["deliver"], &buckets);
    assert_eq!(code(&out), 14, "{}", stderr(&out));
    assert!(server.tree("target0").is_empty() && server.tree("target1").is_empty());
    // Where nobody else writes, every run says so, and nothing is different.
    let server = started(&place.path().join("source"));
    BUCKETS[1..].iter().for_each(|(bucket, _)| server.weaken(bucket));
    let alone = in_buckets(&file, |_| "single_writer = true\n".to_owned());
    for _ in 0..2 {
        let out = run(&server, &["deliver"], &alone);
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        assert!(stderr(&out).contains("s3://target0, s3://target1, s3://msp-place"), "{}", stderr(&out));
    }
    same(&server, place.path());
    // What is there already is still never written over.
    let key = server.tree("target0").into_keys().find(|key| key.ends_with(".csv.gz")).unwrap();
    server.put("target0", &key, "spoilt");
    let manifest = server.tree("target0").into_keys().find(|key| key.starts_with("manifests/2")).unwrap();
    server.remove("target0", &manifest);
    let out = run(&server, &["deliver"], &alone);
    assert_eq!(code(&out), 3, "{}", stderr(&out));
    assert!(stderr(&out).contains("exists with other bytes"), "{}", stderr(&out));
    assert_eq!(server.tree("target0")[&key], b"spoilt");
}

/// A run that is stopped in the middle, with the lease in its hands.
fn stopped(settings: &Path) -> Child {
    let place = settings.parent().unwrap();
    let child = spawned(settings, &[]);
    let began = Instant::now();
    while !std::fs::read_to_string(place.join(LEASE)).is_ok_and(|text| text.contains("\"held\": true")) {
        assert!(began.elapsed().as_secs() < 60);
        std::thread::yield_now();
    }
    signal(&child, "-STOP");
    child
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

fn spawned(settings: &Path, more: &[&str]) -> Child {
    let spool = settings.with_file_name("spool");
    let mut command = program(&["deliver", "--config", settings.to_str().unwrap()]);
    command.args(["--spool", spool.to_str().unwrap()]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn everything(settings: &Path) -> Tree {
    let place = settings.parent().unwrap();
    let mut all = tree(&place.join("targets"));
    all.extend(tree(&place.join("msp")));
    all
}

/// A report in a folder, and what a run delivers of it elsewhere.
fn prepared(place: &Path) -> (PathBuf, Tree) {
    let other = temp();
    let due = make(other.path(), 1, 4000);
    assert_eq!(code(&deliver(&due, &[])), 0);
    (make(place, 1, 4000), everything(&due))
}

#[test]
fn two_runs_do_not_do_the_same_work() {
    let place = temp();
    let (settings, due) = prepared(place.path());
    let mut first = stopped(&settings);
    let second = spawned(&settings, &[]).wait_with_output().unwrap();
    let said = stderr(&second);
    assert_eq!(code(&second), 11, "{said}");
    for words in
        [format!("(process {})", first.id()), "--wait".to_owned(), "seconds at the latest".to_owned()]
    {
        assert!(said.contains(&words), "{words}: {said}");
    }
    let waiting = spawned(&settings, &["--wait", "--output", "json"]);
    std::thread::sleep(Duration::from_millis(300));
    signal(&first, "-CONT");
    assert!(first.wait().unwrap().success());
    let waited: Output = waiting.wait_with_output().unwrap();
    assert_eq!(code(&waited), 0, "{}", stderr(&waited));
    let told: Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!(told["periods"][0]["customers"][0]["state"], "unchanged", "{told}");
    assert!(everything(&settings) == due);
}

#[test]
fn the_lease_of_a_run_that_died_is_no_hindrance() {
    let place = temp();
    let (settings, due) = prepared(place.path());
    let mut first = stopped(&settings);
    first.kill().unwrap();
    first.wait().unwrap();
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    assert!(everything(&settings) == due);
}

#[test]
fn the_lease_of_another_machine_runs_out() {
    let place = temp();
    let (settings, due) = prepared(place.path());
    let lease = place.path().join(LEASE);
    write(&lease, &of_another());
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 11, "{}", stderr(&out));
    assert!(stderr(&out).contains("ann@far-away (process 7)"), "{}", stderr(&out));
    assert!(!place.path().join("targets").exists());
    let age = |seconds: u64| std::time::SystemTime::now() - Duration::from_secs(seconds);
    std::fs::File::open(&lease).unwrap().set_modified(age(590)).unwrap();
    assert_eq!(code(&deliver(&settings, &[])), 11);
    std::fs::File::open(&lease).unwrap().set_modified(age(601)).unwrap();
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    assert!(everything(&settings) == due);
    // One that can't be read is nobody's, and `plan` needs none.
    write(&lease, b"{");
    assert_eq!(code(&crate::harness::run("plan", &settings, &[], &[])), 0);
}

/// A lease of somebody on another machine.
fn of_another() -> Vec<u8> {
    let record = json!({
        "held": true, "holder": "ann@far-away (process 7)", "machine": "far-away", "spool": "/nowhere", "renewed": 3,
    });
    record.to_string().into_bytes()
}

#[test]
fn a_month_that_another_run_delivers_keeps_no_other_back() {
    let place = temp();
    let out =
        program(&["demo", "make", "--rows", "4000", "--accounts", "6", "--customers", "2", "--months", "2"])
            .args(["--first", "2026-09", "--out", place.path().join("made").to_str().unwrap()])
            .output()
            .unwrap();
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let made = place.path().join("made");
    write(&made.join(LEASE), &of_another());
    let out = deliver(&made.join("apportion.toml"), &[]);
    assert_eq!(code(&out), 11, "{}", stderr(&out));
    assert!(stderr(&out).contains("error: 20261001-20261101: ann@far-away"), "{}", stderr(&out));
    let manifests: Vec<String> =
        tree(&made.join("targets")).into_keys().filter(|key| key.contains("/manifests/")).collect();
    assert!(manifests.len() >= 2 && manifests.iter().all(|key| key.contains("20260901")), "{manifests:?}");
}

#[test]
fn nothing_is_collected_of_a_month_that_somebody_delivers() {
    let place = temp();
    let settings = make(place.path(), 1, 24);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    renew(place.path(), 2, 24);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    let gc = |more: &[&str]| {
        let spool = settings.with_file_name("spool");
        let mut command =
            program(&["gc", "--grace", "0", "--keep", "1", "--config", settings.to_str().unwrap()]);
        command.args(["--spool", spool.to_str().unwrap()]).args(more).output().unwrap()
    };
    let (before, lease) = (everything(&settings), place.path().join(LEASE));
    write(&lease, &of_another());
    let out = gc(&["--delete"]);
    assert_eq!(code(&out), 3, "{}", stderr(&out));
    assert!(stderr(&out).contains("ann@far-away (process 7) is at work"), "{}", stderr(&out));
    assert!(everything(&settings) == before);
    // To look, nothing is held.
    assert_eq!(code(&gc(&[])), 0);
    std::fs::File::open(&lease).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(code(&gc(&["--delete"])), 0);
    assert!(everything(&settings).len() < before.len());
    assert!(std::fs::read_to_string(&lease).unwrap().contains("\"held\": false"));
}

/// What `periods log` says, with its exit code.
fn log(settings: &Path) -> (i32, Vec<Value>, String) {
    let out = program(&["periods", "log", "--output", "json", "--config", settings.to_str().unwrap()])
        .output()
        .unwrap();
    (code(&out), serde_json::from_slice(&out.stdout).unwrap(), stderr(&out))
}

#[test]
fn the_log_tells_who_delivered_what_to_whom_and_shows_every_change() {
    let place = temp();
    let settings = make(place.path(), 1, 24);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    renew(place.path(), 2, 24);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    let periods = |what: &[&str]| {
        let out = program(&[&["periods"], what, &["--config", settings.to_str().unwrap()]].concat())
            .output()
            .unwrap();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
    };
    let (_, entries, _) = log(&settings);
    periods(&["lock", "2026-10", "--reason", "closed"]);
    periods(&["lock", "2026-10", "--reason", "closed"]);
    periods(&["unlock", "2026-10"]);
    periods(&["rollback", "2026-10", "--to", entries[0]["delivery_id"].as_str().unwrap()]);
    let (exit, entries, said) = log(&settings);
    assert_eq!(exit, 0, "{said}");
    let told: Vec<(&str, usize)> = entries
        .iter()
        .map(|entry| (entry["action"].as_str().unwrap(), entry["exports"].as_array().unwrap().len()))
        .collect();
    // What was done already, or was locked already, is no entry.
    assert_eq!(
        told,
        [("deliver", 3), ("deliver", 3), ("lock", 0), ("unlock", 0), ("lock", 0), ("rollback", 3)]
    );
    assert_eq!(entries[2]["reason"], "closed");
    assert_eq!(entries[0]["exports"][0]["customer"], "customer0");
    assert!(entries[0]["operator"].as_str().unwrap().contains("(process "));
    assert!(said.contains("an unbroken chain up to entry 6, which has"), "{said}");
    let folder = place.path().join("msp/log");
    let whole: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    for (path, bytes) in &whole {
        if !path.ends_with("head.json") {
            std::fs::remove_file(path).unwrap();
            assert_eq!(log(&settings).0, 4, "without {}", path.display());
        }
        write(path, String::from_utf8_lossy(bytes).replacen('2', "3", 1).as_bytes());
        assert_eq!(log(&settings).0, 4, "changed {}", path.display());
        write(path, bytes);
    }
    // Nothing is delivered past a log that was changed.
    write(&folder.join("head.json"), b"{");
    renew(place.path(), 3, 24);
    periods(&["list"]);
    let before = everything(&settings);
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 3, "{}", stderr(&out));
    assert_eq!(before.len(), everything(&settings).len());
}

#[test]
fn what_could_not_be_delivered_is_in_the_log_too() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    let server = started(&place.path().join("source"));
    server.plan(|call| {
        let is_it = call.bucket == "target1" && call.key.starts_with("manifests/");
        (is_it && call.operation == apportion_testkit::s3::Operation::Put)
            .then_some(apportion_testkit::s3::Fault::Denied)
    });
    assert_eq!(code(&run(&server, &["deliver"], &buckets)), 3);
    server.clear_plan();
    good(&server, &["deliver"], &buckets);
    let entries: Vec<Value> = server
        .tree("msp-place")
        .into_iter()
        .filter(|(key, _)| key.starts_with("log/0"))
        .map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap())
        .collect();
    let told: Vec<(&str, usize)> = entries
        .iter()
        .map(|entry| (entry["action"].as_str().unwrap(), entry["exports"].as_array().unwrap().len()))
        .collect();
    assert_eq!(told, [("deliver", 3), ("not-delivered", 2), ("deliver", 2)]);
    assert_eq!(left_in(&server).len(), 3);
    same(&server, place.path());
}
