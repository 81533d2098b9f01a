//! `doctor`: what a delivery needs of each place is tried before a delivery is, and nothing is left of it.

use crate::harness::{code, program, stderr, temp, tree};
use crate::s3::{BUCKETS, delivered_folder, in_buckets, run, started};
use crate::small_report::make;
use apportion_testkit::s3::{Call, Fault, Operation, TestS3};
use serde_json::Value;
use std::path::Path;

/// What it found: place, check and result of each line.
fn examined(server: &TestS3, settings: &Path, more: &[&str]) -> (i32, Vec<(String, String, String)>) {
    let out = run(server, &[&["doctor", "--output", "json"], more].concat(), settings);
    let found: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let found = found.iter().map(|line| (text(line, "place"), text(line, "check"), text(line, "result")));
    (code(&out), found.collect())
}

fn is_write(call: &Call) -> bool {
    !matches!(call.operation, Operation::Get | Operation::Head | Operation::List)
}

#[test]
fn folders_that_are_well() {
    let place = temp();
    let settings = make(place.path(), 1, 12);
    let before = tree(place.path());
    let out = program(&["doctor", "--config", settings.to_str().unwrap()]).output().unwrap();
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    for words in ["a source", "the MSP", "customer0", "7 checks", "report "] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(stderr(&out).contains("every place can do what a delivery needs"));
    assert!(tree(place.path()) == before);
}

#[test]
fn buckets_that_are_well_and_that_are_not() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    let server = started(&place.path().join("source"));
    let (exit, found) = examined(&server, &buckets, &[]);
    assert_eq!((exit, found.len()), (0, 1 + 3 * 7), "{found:?}");
    assert!(found.iter().all(|(_, _, result)| result == "ok"), "{found:?}");
    assert!(BUCKETS[1..].iter().all(|(bucket, _)| server.tree(bucket).is_empty()));
    server.forget_calls();
    let (exit, found) = examined(&server, &buckets, &["--read-only"]);
    assert_eq!((exit, found.len()), (0, 4), "{found:?}");
    assert!(!server.calls().iter().any(is_write));
    // Whoever may not delete may deliver.
    server.plan(|call| (call.operation == Operation::Delete).then_some(Fault::Denied));
    let (exit, found) = examined(&server, &buckets, &[]);
    assert_eq!(exit, 0, "{found:?}");
    assert_eq!(
        found.iter().filter(|(_, check, result)| check.contains("gc alone") && result == "no").count(),
        3
    );
    server.clear_plan();
    let failing = |exit: i32, check: &str, server: &TestS3| {
        let (found_exit, found) = examined(server, &buckets, &[]);
        let failed: Vec<_> = found.iter().filter(|(_, _, result)| result == "failed").collect();
        assert_eq!(failed.len(), 1, "{found:?}");
        assert_eq!((failed[0].0.as_str(), failed[0].1.as_str(), found_exit), ("s3://target1", check, exit));
    };
    server.weaken("target1");
    failing(14, "the conditions of writes are heeded", &server);
    server.recreate("target1", "333333333333");
    failing(12, "an object that isn't there is told from one that may not be read", &server);
    server.recreate("target1", "222222222222");
    server.plan(|call| (call.bucket == "target1" && is_write(call)).then_some(Fault::Denied));
    failing(12, "an object can be put", &server);
}
