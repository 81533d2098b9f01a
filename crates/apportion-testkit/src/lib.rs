//! The exams that every bucket and every delivery must pass; for tests only.
//!
//! What comes in: something that claims to be a bucket. What goes out: nothing, or a panic that says which promise
//! of [`Bucket`] it broke. What it must never do: forgive, or know which bucket it examines.

#![allow(clippy::unwrap_used, clippy::panic)] // An exam that fails must say so; it never runs outside of tests.

use apportion_flow::storage::{Body, Bucket, Put, StorageError, Swap};
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

/// Keys that lead out of a place or that stores disagree about.
const REFUSED: [&str; 11] = ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", "a/..", "a\\b", "a\0b"];
/// Keys that look odd and must work, as real reports have them.
const ODD: [&str; 5] = [
    "exam/BILLING_PERIOD=2026-04/2026-04-16T15:24:15.653Z-x/a..b.csv.gz",
    "exam/größe/東京",
    "exam/ with spaces /+%20&=@",
    "exam/.hidden",
    "exam/deep/er/and/deep/er/still",
];

/// Examines a bucket that holds nothing below `exam/`.
///
/// # Panics
/// With the promise that is broken.
pub fn bucket_exam(bucket: &dyn Bucket) {
    puts(bucket);
    files(bucket);
    reads(bucket);
    odd_keys(bucket);
    refused_keys(bucket);
    swaps(bucket);
    racing_swaps(bucket);
    racing_puts(bucket);
    listing(bucket);
}

fn content(bucket: &dyn Bucket, key: &str) -> Option<Vec<u8>> {
    bucket.read(key, 1 << 20).unwrap()
}

fn puts(bucket: &dyn Bucket) {
    let key = "exam/put";
    assert_eq!(content(bucket, key), None, "an object that was never put is there");
    assert_eq!(bucket.info(key).unwrap(), None);
    assert!(bucket.open(key).unwrap().is_none());
    assert_eq!(bucket.put_new(key, Body::Bytes(b"first")).unwrap(), Put::Created);
    assert_eq!(
        bucket.put_new(key, Body::Bytes(b"first")).unwrap(),
        Put::AlreadyThere,
        "the same bytes again"
    );
    for other in [&b"other"[..], b"firs", b"first2", b""] {
        let refused = bucket.put_new(key, Body::Bytes(other));
        assert!(matches!(refused, Err(StorageError::Divergent { .. })), "other bytes: {refused:?}");
    }
    assert_eq!(content(bucket, key).unwrap(), b"first", "a refused put changed the object");
    assert_eq!(bucket.put_new("exam/empty", Body::Bytes(b"")).unwrap(), Put::Created);
    assert_eq!(content(bucket, "exam/empty").unwrap(), b"", "an object of 0 bytes is an object");
    assert_eq!(bucket.info("exam/empty").unwrap().unwrap().bytes, 0);
    assert_eq!(bucket.put_new("exam/empty", Body::Bytes(b"")).unwrap(), Put::AlreadyThere);
}

fn files(bucket: &dyn Bucket) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("body");
    // Larger than any buffer, and not of one byte.
    let body: Vec<u8> = (0..300_000u32).flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(&path, &body).unwrap();
    assert_eq!(bucket.put_new("exam/file", Body::File(&path)).unwrap(), Put::Created);
    assert_eq!(bucket.put_new("exam/file", Body::File(&path)).unwrap(), Put::AlreadyThere);
    assert_eq!(bucket.put_new("exam/file", Body::Bytes(&body)).unwrap(), Put::AlreadyThere);
    assert!(path.exists(), "a put took its file away");
    let mut last = body.clone();
    *last.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &last).unwrap();
    let refused = bucket.put_new("exam/file", Body::File(&path));
    assert!(matches!(refused, Err(StorageError::Divergent { .. })), "the last byte differs: {refused:?}");
    let mut found = Vec::new();
    bucket.open("exam/file").unwrap().unwrap().read_to_end(&mut found).unwrap();
    assert!(found == body);
    let missing = bucket.put_new("exam/no-file", Body::File(&place.path().join("nothing")));
    assert!(missing.is_err(), "a body that isn't there was put");
    assert_eq!(bucket.info("exam/no-file").unwrap(), None, "a failed put left an object");
}

fn reads(bucket: &dyn Bucket) {
    assert_eq!(bucket.read("exam/put", 5).unwrap().unwrap(), b"first", "a limit that is just enough");
    let refused = bucket.read("exam/put", 4);
    assert!(matches!(refused, Err(StorageError::TooLarge { bytes: 5, limit: 4, .. })), "{refused:?}");
    let info = bucket.info("exam/put").unwrap().unwrap();
    assert_eq!((info.key.as_str(), info.bytes), ("exam/put", 5));
    // After 2020, before 2200, in milliseconds.
    assert!((1_577_836_800_000..7_258_118_400_000).contains(&info.modified), "{}", info.modified);
    // A key that ends where a folder begins, or goes on behind an object, names nothing.
    assert_eq!(bucket.info("exam").unwrap(), None, "a folder is no object");
    for key in ["exam/put/below", "exam/pu", "exam/put2"] {
        assert_eq!(content(bucket, key), None, "{key}");
        assert_eq!(bucket.info(key).unwrap(), None, "{key}");
    }
}

fn odd_keys(bucket: &dyn Bucket) {
    for key in ODD {
        assert_eq!(bucket.put_new(key, Body::Bytes(key.as_bytes())).unwrap(), Put::Created, "{key}");
        assert_eq!(content(bucket, key).unwrap(), key.as_bytes(), "{key}");
    }
}

fn refused_keys(bucket: &dyn Bucket) {
    let long = format!("exam/{}", "a/".repeat(600) + "a");
    for key in REFUSED.into_iter().chain([long.as_str()]) {
        let is_refused = |error: StorageError| matches!(error, StorageError::Key { .. });
        assert!(bucket.put_new(key, Body::Bytes(b"x")).is_err_and(is_refused), "put {key:?}");
        assert!(bucket.swap(key, None, b"x").is_err_and(is_refused), "swap {key:?}");
        assert!(bucket.read(key, 9).is_err_and(is_refused), "read {key:?}");
        assert!(bucket.info(key).is_err_and(is_refused), "info {key:?}");
        assert!(bucket.open(key).is_err_and(is_refused), "open {key:?}");
    }
}

fn swaps(bucket: &dyn Bucket) {
    let key = "exam/pointers/swap";
    assert_eq!(bucket.swap(key, Some(b"seen"), b"new").unwrap(), Swap::Lost, "nothing is there to be seen");
    assert_eq!(content(bucket, key), None, "a lost swap wrote");
    assert_eq!(bucket.swap(key, None, b"one").unwrap(), Swap::Done);
    assert_eq!(bucket.swap(key, None, b"two").unwrap(), Swap::Lost, "something is there");
    assert_eq!(bucket.swap(key, Some(b"on"), b"two").unwrap(), Swap::Lost, "other bytes are there");
    assert_eq!(bucket.swap(key, Some(b""), b"two").unwrap(), Swap::Lost, "bytes are there");
    assert_eq!(content(bucket, key).unwrap(), b"one", "a lost swap wrote");
    assert_eq!(bucket.swap(key, Some(b"one"), b"").unwrap(), Swap::Done);
    assert_eq!(content(bucket, key).unwrap(), b"");
    assert_eq!(bucket.swap(key, None, b"two").unwrap(), Swap::Lost, "an object of 0 bytes is an object");
    assert_eq!(bucket.swap(key, Some(b""), b"two").unwrap(), Swap::Done);
    assert_eq!(content(bucket, key).unwrap(), b"two");
}

/// Of many swaps from one state exactly one wins, round after round.
fn racing_swaps(bucket: &dyn Bucket) {
    let key = "exam/pointers/race";
    let mut seen: Option<Vec<u8>> = None;
    for round in 0..25 {
        let wins = AtomicU32::new(0);
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (wins, seen, start) = (&wins, &seen, &start);
                scope.spawn(move || {
                    start.wait();
                    let new = format!("{round} {thread}");
                    match bucket.swap(key, seen.as_deref(), new.as_bytes()).unwrap() {
                        Swap::Done => wins.fetch_add(1, Ordering::Relaxed),
                        Swap::Lost => 0,
                    };
                });
            }
        });
        assert_eq!(wins.into_inner(), 1, "round {round}: so many swaps won");
        seen = content(bucket, key);
        assert!(seen.as_ref().is_some_and(|now| now.starts_with(format!("{round} ").as_bytes())), "{seen:?}");
    }
}

/// Of many puts of one key with different bytes exactly one creates it, and it is whole.
fn racing_puts(bucket: &dyn Bucket) {
    for round in 0..10 {
        let key = format!("exam/puts/{round}");
        let created = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..6u8 {
                let (key, created) = (&key, &created);
                scope.spawn(move || {
                    let body = vec![thread; 70_000];
                    match bucket.put_new(key, Body::Bytes(&body)) {
                        Ok(Put::Created) => {
                            created.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(StorageError::Divergent { .. }) => {}
                        other => panic!("{key}: {other:?}"),
                    }
                });
            }
        });
        assert_eq!(created.into_inner(), 1, "{key}: so many puts created it");
        let found = content(bucket, &key).unwrap();
        assert!(found.len() == 70_000 && found.iter().all(|byte| *byte == found[0]), "{key} is a mixture");
    }
}

fn listing(bucket: &dyn Bucket) {
    let list = bucket.list().unwrap();
    let keys: Vec<&str> = list.iter().map(|object| object.key.as_str()).collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(keys, sorted, "the listing isn't in the order of keys");
    let mut due: Vec<String> = ["put", "empty", "file", "pointers/swap", "pointers/race"]
        .iter()
        .map(|name| format!("exam/{name}"))
        .chain(ODD.iter().map(|key| (*key).to_owned()))
        .chain((0..10).map(|round| format!("exam/puts/{round}")))
        .collect();
    due.sort_unstable();
    let found: Vec<&str> = keys.into_iter().filter(|key| key.starts_with("exam/")).collect();
    assert_eq!(found, due, "the listing holds other objects, or what a write left behind");
    for object in &list {
        assert_eq!(bucket.info(&object.key).unwrap().as_ref(), Some(object), "{}", object.key);
    }
}
