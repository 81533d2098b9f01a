//! Every implementation of a bucket passes the same exam, also on servers that others wrote.

use crate::harness::{number_of, say, temp};
use crate::servers::{Moto, S3sFs, keys, network, network_in};
use apportion_flow::storage::{
    Body, Bucket, Folder, ObjectBucket, PlaceUrl, Secret, StaticKeys, StorageError, StoreOptions, Weather,
};
use apportion_testkit::bucket_exam;
use apportion_testkit::s3::{Fault, Operation, PASSING, TestS3, seeded};
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

const OWNER: &str = "999900001111";

fn options(server: &TestS3) -> StoreOptions {
    StoreOptions {
        endpoint_url: Some(server.url().to_owned()),
        owner: Some(OWNER.parse().unwrap()),
        keys: Some(keys()),
        ..StoreOptions::default()
    }
}

fn bucket(server: &TestS3, url: &str) -> ObjectBucket {
    let url: PlaceUrl = url.parse().unwrap();
    ObjectBucket::s3(&network(), &url, &options(server)).unwrap()
}

#[test]
fn a_folder_keeps_every_promise_of_a_bucket() {
    let place = temp();
    bucket_exam(&Folder::new(place.path().join("made by the first write")));
}

#[test]
fn a_store_in_memory_keeps_every_promise_of_a_bucket() {
    bucket_exam(&ObjectBucket::in_memory(network()));
}

#[test]
fn our_own_s3_keeps_every_promise_of_a_bucket() {
    let server = TestS3::start(&[("exam-bucket", OWNER)]);
    bucket_exam(&bucket(&server, "s3://exam-bucket"));
    bucket_exam(&bucket(&server, "s3://exam-bucket/with/a prefix"));
    // The file of the exam in parts.
    let parts = bucket(&server, "s3://exam-bucket/parts").with_part_bytes(100_000);
    bucket_exam(&parts);
    assert_eq!(server.uploads_left("exam-bucket"), 0);
    let calls = server.calls();
    assert!(calls.iter().any(|call| call.operation == Operation::Complete));
    assert!(calls.iter().filter(|call| call.operation == Operation::List).count() > 3);
    // The owner is sent, and signed, with every single one.
    let without: Vec<_> = calls.iter().filter(|call| call.owner.as_deref() != Some(OWNER)).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn moto_keeps_every_promise_of_a_bucket() {
    let Some(moto) = Moto::start(&["exam-bucket"]) else { return };
    let open = |url: &str| {
        let endpoint_url = Some(moto.url().to_owned());
        let options = StoreOptions { endpoint_url, keys: Some(keys()), ..StoreOptions::default() };
        ObjectBucket::s3(&network(), &url.parse().unwrap(), &options).unwrap()
    };
    bucket_exam(&open("s3://exam-bucket/whole"));
    // Moto heeds S3's least size of a part.
    let parts = open("s3://exam-bucket/parts").with_part_bytes(5 << 20);
    let scratch = temp();
    let path = scratch.path().join("body");
    let body: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &body).unwrap();
    for wanted in ["Created", "AlreadyThere"] {
        assert_eq!(format!("{:?}", parts.put_new("large", Body::File(&path)).unwrap()), wanted);
    }
    let mut found = Vec::new();
    parts.open("large").unwrap().unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, body);
    std::fs::write(&path, b"other").unwrap();
    let refused = parts.put_new("large", Body::File(&path));
    assert!(matches!(refused, Err(StorageError::Divergent { .. })), "{refused:?}");
}

/// It has folders for what lies below a key, lets racing swaps win together and ignores `If-Match` when an object is read,
/// so it can't pass the exam. What it does right is to look at signatures.
#[test]
fn s3s_fs_refuses_who_does_not_know_the_secret() {
    let Some(server) = S3sFs::start(&["exam-bucket"]) else { return };
    let read = |keys: StaticKeys| {
        let endpoint_url = Some(server.url().to_owned());
        let options = StoreOptions { endpoint_url, keys: Some(keys), ..StoreOptions::default() };
        let url = "s3://exam-bucket".parse().unwrap();
        ObjectBucket::s3(&network(), &url, &options).unwrap().read("key", 9)
    };
    assert_eq!(read(keys()).unwrap(), None);
    let refused = read(StaticKeys { secret: Secret::new("another"), ..keys() });
    let is_denied = |error: &StorageError| error.kind() == apportion_flow::outcome::Kind::Permission;
    assert!(refused.as_ref().is_err_and(is_denied), "{refused:?}");
}

/// An object of some blocks, whose bytes tell where they stand.
fn large() -> Vec<u8> {
    (0..3_500_000u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_large_object_is_read_from_anywhere_in_one_version_and_each_part_once() {
    let server = TestS3::start(&[("exam-bucket", OWNER)]);
    let bytes = large();
    server.put("exam-bucket", "large", bytes.clone());
    let bucket = bucket(&server, "s3://exam-bucket");
    let mut opened = bucket.open("large").unwrap().unwrap();
    // The end first, as Parquet has it.
    opened.seek(SeekFrom::End(-8)).unwrap();
    let mut end = [0; 8];
    opened.read_exact(&mut end).unwrap();
    assert_eq!(end[..], bytes[bytes.len() - 8..]);
    let gets = || server.calls().iter().filter(|call| call.operation == Operation::Get).count();
    assert_eq!(gets(), 1, "the rest was read, too");
    opened.rewind().unwrap();
    let mut found = Vec::new();
    opened.read_to_end(&mut found).unwrap();
    assert_eq!(found, bytes);
    assert_eq!(gets(), 4);
    // The same version again: nothing is fetched twice.
    let mut again = Vec::new();
    bucket.open("large").unwrap().unwrap().read_to_end(&mut again).unwrap();
    assert_eq!((again, gets()), (bytes.clone(), 4));
    // Another one is another object; one that is replaced while it's read is never a mixture.
    let mut half = bucket.open("large").unwrap().unwrap();
    server.put("exam-bucket", "large", vec![1; bytes.len()]);
    let mut other = bucket.open("large").unwrap().unwrap();
    let mut start = [0; 4];
    other.read_exact(&mut start).unwrap();
    assert_eq!(start, [1; 4]);
    server.put("exam-bucket", "large", vec![2; bytes.len()]);
    let mut rest = Vec::new();
    let error = other.read_to_end(&mut rest).unwrap_err();
    assert!(error.to_string().contains("replaced meanwhile") && other.version().is_gone(), "{error}");
    assert!(rest.iter().all(|byte| *byte == 1));
    found.clear();
    half.read_to_end(&mut found).unwrap();
    assert_eq!(found, bytes, "what was here already of the older version is still that version");
}

#[test]
fn an_upload_that_fails_is_taken_back() {
    let server = TestS3::start(&[("exam-bucket", OWNER)]);
    // A place that was given up isn't asked again, so each case has its own.
    let open = || bucket(&server, "s3://exam-bucket").with_part_bytes(100_000);
    let scratch = temp();
    let path = scratch.path().join("body");
    std::fs::write(&path, vec![7; 450_000]).unwrap();
    for (operation, fault) in [
        (Operation::Part, Fault::Denied),
        (Operation::Complete, Fault::Denied),
        (Operation::Part, Fault::Error),
        (Operation::Complete, Fault::ErrorInside),
    ] {
        server.plan(move |call| (call.operation == operation).then_some(fault));
        let failed = open().put_new("large", Body::File(&path));
        assert!(failed.is_err(), "{operation:?} {fault:?}: {failed:?}");
        assert_eq!(server.uploads_left("exam-bucket"), 0, "{operation:?} {fault:?}");
        assert!(server.tree("exam-bucket").is_empty());
    }
    // Done, and the answer lost: that is a success.
    server.plan(|call| (call.operation == Operation::Complete).then_some(Fault::ErrorAfter));
    let put = open().put_new("large", Body::File(&path));
    assert!(put.is_ok(), "{put:?}");
    assert_eq!(server.tree("exam-bucket")["large"], vec![7; 450_000]);
}

#[test]
fn an_upload_in_parts_overwrites_nothing_that_came_meanwhile() {
    let server = std::sync::Arc::new(TestS3::start(&[("exam-bucket", OWNER)]));
    let bucket = bucket(&server, "s3://exam-bucket").with_part_bytes(100_000);
    let scratch = temp();
    let path = scratch.path().join("body");
    std::fs::write(&path, vec![7; 450_000]).unwrap();
    let others = std::sync::Arc::downgrade(&server);
    server.plan(move |call| {
        if call.operation == Operation::Complete {
            others.upgrade().unwrap().put("exam-bucket", "large", "of somebody else");
        }
        None
    });
    let put = bucket.put_new("large", Body::File(&path));
    assert!(matches!(put, Err(StorageError::Divergent { .. })), "{put:?}");
    assert_eq!(server.tree("exam-bucket")["large"], b"of somebody else");
    assert_eq!(server.uploads_left("exam-bucket"), 0);
}

#[test]
fn in_any_weather_every_operation_ends_and_nothing_is_torn() {
    let all = [passing(), vec![Fault::Stall, Fault::Denied, Fault::Redirected, Fault::Skewed]].concat();
    let weather = Weather { stall: Duration::from_millis(60), tries: 4, pause: Duration::from_millis(2) };
    let seeds = number_of("APPORTION_SEEDS", 40);
    let mut failed = 0;
    for seed in 0..seeds {
        let server = TestS3::start(&[("exam-bucket", OWNER)]);
        server.plan(seeded(seed, 30, &all));
        let url: PlaceUrl = "s3://exam-bucket".parse().unwrap();
        let network = network_in(weather);
        let stormy = ObjectBucket::s3(&network, &url, &options(&server)).unwrap().with_part_bytes(50_000);
        failed += u64::from(everything(&stormy).is_err());
        server.clear_plan();
        // Whole or not there.
        let tree = server.tree("exam-bucket");
        let is_one_of =
            |key: &str, allowed: &[&[u8]]| tree.get(key).is_none_or(|now| allowed.contains(&now.as_slice()));
        assert!(is_one_of("small", &[b"small"]) && is_one_of("pointer", &[b"one", b"two"]), "seed {seed}");
        assert!(is_one_of("data", &[&[9; 120_000]]), "seed {seed}");
        everything(&bucket(&server, "s3://exam-bucket").with_part_bytes(50_000)).unwrap();
        let tree = server.tree("exam-bucket");
        assert_eq!(tree["data"], vec![9; 120_000], "seed {seed}");
        assert_eq!((tree["pointer"].as_slice(), tree["small"].as_slice()), (&b"two"[..], &b"small"[..]));
    }
    say(&format!("weather: {seeds} seeds with any fault at 30 %, {failed} failed cleanly, 0 torn"));
}

#[test]
fn a_strangers_bucket_gets_no_byte() {
    let server = TestS3::start(&[("exam-bucket", OWNER)]);
    let bucket = bucket(&server, "s3://exam-bucket");
    bucket.put_new("mine", Body::Bytes(b"mine")).unwrap();
    server.recreate("exam-bucket", "000000000666");
    let errors = [
        bucket.put_new("key", Body::Bytes(b"bytes")).unwrap_err(),
        bucket.swap("key", None, b"bytes").unwrap_err(),
        bucket.read("mine", 9).unwrap_err(),
        bucket.info("mine").unwrap_err(),
        bucket.list().unwrap_err(),
        bucket.delete("mine").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), apportion_flow::outcome::Kind::Permission, "{error}");
        assert!(error.to_string().contains("isn't account 999900001111's"), "{error}");
    }
    assert!(server.tree("exam-bucket").is_empty());
}

/// Faults that pass: whoever tries again comes through, with new credentials where those have ended.
fn passing() -> Vec<Fault> {
    [&PASSING[..], &[Fault::Expired]].concat()
}

#[test]
fn in_bad_weather_every_operation_comes_through_or_fails_cleanly() {
    let seeds = number_of("APPORTION_SEEDS", 40);
    let (mut failed, mut calls, mut clean_calls) = (0, 0, 0);
    for seed in 0..seeds {
        for percent in [0, 10] {
            let server = TestS3::start(&[("exam-bucket", OWNER)]);
            server.plan(seeded(seed, percent, &passing()));
            let bucket = bucket(&server, "s3://exam-bucket").with_part_bytes(50_000);
            let done = everything(&bucket);
            if percent == 0 {
                clean_calls += server.calls().len();
                done.unwrap();
            } else {
                calls += server.calls().len();
                if let Err(error) = done {
                    failed += 1;
                    say(&format!("weather: seed {seed}: {error}"));
                }
            }
            server.clear_plan();
            if percent > 0 {
                // What is there is whole, and going on from there ends as without any fault.
                let again = everything(&bucket);
                assert!(again.is_ok(), "seed {seed}: {again:?}");
            }
            let tree = server.tree("exam-bucket");
            assert_eq!(tree["data"], vec![9; 120_000], "seed {seed}");
            assert_eq!((tree["pointer"].as_slice(), tree["small"].as_slice()), (&b"two"[..], &b"small"[..]));
        }
    }
    say(&format!("weather: {seeds} seeds, {failed} failed cleanly, {calls} calls against {clean_calls}"));
    assert!(calls <= 2 * clean_calls, "{calls} calls, {clean_calls} without faults");
    assert!(failed * 10 <= seeds, "{failed} of {seeds} failed");
}

/// One of each operation, so that it can be done again after it failed half-way.
fn everything(bucket: &ObjectBucket) -> Result<(), StorageError> {
    let scratch = temp();
    let path = scratch.path().join("body");
    std::fs::write(&path, vec![9; 120_000]).unwrap();
    bucket.put_new("small", Body::Bytes(b"small"))?;
    bucket.put_new("data", Body::File(&path))?;
    let seen = bucket.read("pointer", 99)?;
    if seen.as_deref() != Some(b"two") {
        bucket.swap("pointer", seen.as_deref(), b"one")?;
        bucket.swap("pointer", Some(b"one"), b"two")?;
    }
    bucket.info("data")?;
    let mut found = Vec::new();
    let opened = bucket.open("data")?.unwrap();
    let read = { opened }.read_to_end(&mut found);
    if let Err(source) = read {
        return Err(StorageError::Io { place: String::new(), key: String::new(), doing: "reading", source });
    }
    assert_eq!(found, vec![9; 120_000]);
    assert!(bucket.list()?.len() >= 3);
    bucket.delete("nothing")?;
    Ok(())
}

#[test]
fn what_lies_below_a_folder_is_listed_alone_and_copies_are_let_go() {
    let server = TestS3::start(&[("exam-bucket", OWNER)]);
    let scratch = temp();
    let store = bucket(&server, "s3://exam-bucket/deep");
    let places: [&dyn Bucket; 2] = [&store, &Folder::new(scratch.path())];
    for place in places {
        for key in ["a/x", "a/b/y", "a.z", "ab/c"] {
            place.put_new(key, Body::Bytes(key.as_bytes())).unwrap();
        }
        let below = |folder| -> Vec<String> {
            place.list_below(folder).unwrap().into_iter().map(|object| object.key).collect()
        };
        assert_eq!(below("a/"), ["a/b/y", "a/x"]);
        assert_eq!(below("a/b/"), ["a/b/y"]);
        assert!(below("none/").is_empty() && below("a.z/").is_empty());
    }
    let gets = || server.calls().iter().filter(|call| call.operation == Operation::Get).count();
    let read = || {
        let mut found = String::new();
        store.open("a/x").unwrap().unwrap().read_to_string(&mut found).unwrap();
        (found, gets())
    };
    assert_eq!((read().1, read().1), (1, 1));
    store.forget_copies();
    assert_eq!(read(), ("a/x".to_owned(), 2));
}
