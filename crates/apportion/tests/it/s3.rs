//! The program itself, with source, MSP's place and targets in buckets: to the same bytes as with folders, also in bad
//! weather, with the owner expected and the role taken for each customer, and nothing of any secret in what it says.

use crate::crash::{LiveAssemblies, consume_tree};
use crate::harness::{Tree, code, copy, is_of_runs, program, stderr, temp, tree, write};
use crate::servers::{Moto, S3sFs, keys, network};
use crate::small_report::{form, renew, report};
use crate::written_report::{settings, write_report};
use apportion_flow::storage::{Bucket, ObjectBucket, PlaceUrl, StoreOptions};
use apportion_testkit::s3::{
    ACCESS_KEY, Call, Fault, MACHINE_ROLE, Operation, PASSING, Role, SECRET_KEY, TestS3, seeded,
};
use std::path::{Path, PathBuf};
use std::process::Output;

pub const ROWS: usize = 24;
const MSP: &str = "999900001111";
/// The buckets with their owners; each has the name of the folder that it stands for.
pub const BUCKETS: [(&str, &str); 4] =
    [("source", MSP), ("msp-place", MSP), ("target0", "111111111111"), ("target1", "222222222222")];

/// A report, and the settings with folders; returns the file.
pub fn make(place: &Path) -> PathBuf {
    make_of(place, ROWS)
}

/// The same with so many line items.
pub fn make_of(place: &Path, rows: usize) -> PathBuf {
    let report = report(1, rows);
    write_report(&report, &form(rows), &place.join("source"));
    let file = settings(&report, place);
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (old, new) in [("\"msp\"", "\"msp-place\""), ("targets/t", "target")] {
        text = text.replace(old, new);
    }
    write(&file, text.as_bytes());
    file
}

/// The same settings with buckets for folders.
pub fn in_buckets(file: &Path, more: impl Fn(&str) -> String) -> PathBuf {
    let mut text = std::fs::read_to_string(file).unwrap();
    for (bucket, owner) in BUCKETS {
        let url = format!("url = \"s3://{bucket}\"\nowner = \"{owner}\"\n{}", more(bucket));
        text = text.replace(&format!("url = \"{bucket}\"\n"), &url);
    }
    let buckets = file.with_file_name("buckets.toml");
    write(&buckets, text.as_bytes());
    buckets
}

/// Runs the program with buckets.
pub fn run(server: &TestS3, what: &[&str], settings: &Path) -> Output {
    let mut command = program(what);
    command.arg("--config").arg(settings).env_clear().envs(server.environment());
    let out = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), stderr(&out));
    assert!(!said.contains(SECRET_KEY) && !said.contains("marked-"), "a secret in:\n{said}");
    out
}

#[track_caller]
pub fn good(server: &TestS3, what: &[&str], settings: &Path) -> String {
    let out = run(server, what, settings);
    assert_eq!(code(&out), 0, "{what:?}: {}", stderr(&out));
    String::from_utf8(out.stdout).unwrap()
}

pub fn started(source: &Path) -> TestS3 {
    let server = TestS3::start(&BUCKETS);
    server.put_folder("source", "", source);
    server
}

/// What a run leaves: of folders, and of buckets.
pub fn left(place: &Path) -> Vec<Tree> {
    BUCKETS[1..].iter().map(|(name, _)| tree(&place.join(name))).collect()
}

pub fn left_in(server: &TestS3) -> Vec<Tree> {
    let tree = |name| server.tree(name).into_iter().filter(|(key, _)| !is_of_runs(key)).collect();
    BUCKETS[1..].iter().map(|(name, _)| tree(name)).collect()
}

#[track_caller]
pub fn same(server: &TestS3, place: &Path) {
    for ((name, _), (found, due)) in BUCKETS[1..].iter().zip(left_in(server).iter().zip(left(place))) {
        let keys: Vec<_> = found.keys().collect();
        assert_eq!(keys, due.keys().collect::<Vec<_>>(), "{name}");
        for (key, bytes) in found {
            assert!(*bytes == due[key], "{name}/{key} has other bytes than the folder's");
        }
    }
}

pub fn delivered_folder() -> (tempfile::TempDir, PathBuf) {
    let place = temp();
    let file = make(place.path());
    let out = crate::harness::run("deliver", &file, &[], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    (place, file)
}

#[test]
fn buckets_get_the_same_bytes_as_folders_and_every_command_reads_them() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    good(&server, &["plan"], &buckets);
    assert!(left_in(&server).iter().all(Tree::is_empty), "plan wrote something");
    good(&server, &["deliver"], &buckets);
    same(&server, place.path());
    // Nothing to do writes nothing.
    server.forget_calls();
    good(&server, &["deliver"], &buckets);
    let writes = |calls: &[Call]| {
        let reads = [Operation::Get, Operation::Head, Operation::List];
        calls.iter().filter(|call| !reads.contains(&call.operation)).count()
    };
    assert_eq!(writes(&server.calls()), 0);
    for what in [
        &["verify"][..],
        &["reconcile"],
        &["audit"],
        &["periods", "list", "--check"],
        &["gc", "--grace", "0", "--keep", "1"],
        &["config", "show"],
        &["config", "check"],
    ] {
        good(&server, what, &buckets);
    }
    // The owner is told, and signed, with every call; and customers' buckets are only listed by who reads them whole.
    for call in server.calls() {
        let owner = BUCKETS.iter().find(|(name, _)| *name == call.bucket).unwrap().1;
        assert_eq!(call.owner.as_deref(), Some(owner), "{call:?}");
    }
    server.forget_calls();
    // Another delivery, compared, gone back from, and its garbage collected: as in folders.
    renew(place.path(), 2, ROWS);
    server.put_folder("source", "", &place.path().join("source"));
    let out = crate::harness::run("deliver", &file, &[], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    good(&server, &["deliver"], &buckets);
    same(&server, place.path());
    assert!(
        !server
            .calls()
            .iter()
            .any(|call| call.operation == Operation::List && call.bucket.starts_with("target"))
    );
    let month = "2026-10";
    good(&server, &["periods", "diff", month], &buckets);
    good(&server, &["gc", "--grace", "0", "--keep", "1", "--delete"], &buckets);
    let out = crate::harness::run("gc", &file, &["--grace", "0", "--keep", "1", "--delete"], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    same(&server, place.path());
    good(&server, &["verify"], &buckets);
    good(&server, &["audit"], &buckets);
    good(&server, &["periods", "lock", month], &buckets);
}

#[test]
fn with_a_cache_an_unchanged_source_is_not_fetched_and_a_wrong_cache_changes_no_byte() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    let cache = place.path().join("cache");
    let deliver = ["deliver", "--cache", cache.to_str().unwrap()];
    good(&server, &deliver, &buckets);
    same(&server, place.path());
    let fetched = || {
        let is_data = |call: &&Call| {
            call.bucket == "source" && call.operation == Operation::Get && call.key.ends_with(".gz")
        };
        server.calls().iter().filter(is_data).count()
    };
    assert!(fetched() > 0);
    server.forget_calls();
    good(&server, &deliver, &buckets);
    assert_eq!(fetched(), 0);
    // Whatever it says, what is delivered is the same; what is wrong in it is found and mended.
    let remembered = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    for path in remembered.filter(|path| path.to_string_lossy().contains("versions-source-")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let wrong: String = text.lines().map(|line| format!("{}00\"]\n", &line[..line.len() - 4])).collect();
        assert_ne!(text, wrong);
        write(&path, wrong.as_bytes());
    }
    BUCKETS[1..].iter().for_each(|(bucket, _)| server.remove_all(bucket));
    good(&server, &deliver, &buckets);
    same(&server, place.path());
    server.forget_calls();
    good(&server, &deliver, &buckets);
    assert_eq!(fetched(), 0);
}

#[test]
fn places_may_be_of_any_mix_and_said_by_flags() {
    let (place, _) = delivered_folder();
    let server = started(&place.path().join("source"));
    let here = temp();
    let target = here.path().join("target0");
    let arguments = |target: &str| -> Vec<String> {
        let source = place.path().join("source").display().to_string();
        [
            "--source",
            &source,
            "--target",
            target,
            "--accounts",
            "111111111111",
            "--endpoint-url",
            server.url(),
        ]
        .map(str::to_owned)
        .into()
    };
    let deliver = |arguments: Vec<String>| {
        let mut command = program(&["deliver"]);
        command.env_clear().current_dir(here.path()).args(arguments);
        command.envs(server.environment()).env_remove("AWS_ENDPOINT_URL");
        let out = command.output().unwrap();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
    };
    deliver(arguments(target.to_str().unwrap()));
    deliver(arguments("s3://target0"));
    assert!(server.tree("target0") == tree(&target) && !tree(&target).is_empty());
    // A source below a prefix, whose manifests name keys from the bucket's root.
    server.remove_all("target0");
    let mut below = arguments("s3://target0");
    below[1] = "s3://source/cur".to_owned();
    deliver(below);
    let data = |tree: Tree| tree.into_iter().filter(|(key, _)| key.ends_with(".gz")).map(|(_, bytes)| bytes);
    assert!(data(server.tree("target0")).eq(data(tree(&target))));
    // A bucket that isn't there, and one that nobody has the keys for, are told in one line.
    for (url, environment, exit, words) in [
        ("s3://nowhere", None, 10, "no such bucket"),
        ("s3://target0", Some(("AWS_SECRET_ACCESS_KEY", "wrong")), 12, "aren't known or are wrong"),
        ("s3://Target0", None, 2, "can't be a bucket's name"),
        ("gs://target0", None, 2, "only folders and buckets"),
    ] {
        let mut command = program(&["verify", "--target", url]);
        command.env_clear().envs(server.environment()).envs(environment);
        let out = command.output().unwrap();
        assert_eq!(code(&out), exit, "{url}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{url}: {}", stderr(&out));
    }
}

#[test]
fn below_a_prefix_manifests_name_keys_from_the_buckets_root() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    let text = std::fs::read_to_string(&buckets).unwrap();
    let below = |text: String, bucket: &str| {
        text.replace(&format!("s3://{bucket}\""), &format!("s3://{bucket}/deep/er\""))
    };
    let text = BUCKETS[1..].iter().fold(text, |text, (bucket, _)| below(text, bucket));
    write(&buckets, text.as_bytes());
    for what in [&["deliver"][..], &["deliver"], &["verify"], &["reconcile"], &["periods", "list"]] {
        good(&server, what, &buckets);
    }
    let mut manifests = 0;
    for ((bucket, _), (found, due)) in
        BUCKETS[1..].iter().zip(left_in(&server).iter().zip(left(place.path())))
    {
        assert_eq!(found.len(), due.len());
        for (key, bytes) in found {
            let relative = key.strip_prefix("deep/er/").unwrap();
            if !key.ends_with("-Manifest.json") {
                assert!(*bytes == due[relative], "{bucket}/{key}");
                continue;
            }
            manifests += 1;
            let manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            let named = manifest["reportKeys"].as_array().unwrap().iter();
            let named = named.chain([&manifest["additionalArtifactKeys"][0]["name"]]);
            assert!(named.clone().count() > 1);
            for key in named {
                assert!(found.contains_key(key.as_str().unwrap()), "{bucket}: {key} isn't there");
            }
        }
    }
    assert_eq!(manifests, 6);
    // Another month's delivery, and back: the older manifest is found by its own keys.
    renew(place.path(), 2, ROWS);
    server.put_folder("source", "", &place.path().join("source"));
    good(&server, &["deliver"], &buckets);
    let list = good(&server, &["periods", "list", "--output", "json"], &buckets);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let older = list[0]["older"][0].as_str().unwrap();
    good(&server, &["periods", "rollback", "2026-10", "--to", older], &buckets);
    good(&server, &["verify"], &buckets);
}

#[test]
fn a_key_that_cannot_be_followed_is_told() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    server.put("source", "cur//R/odd.csv", "x");
    let out = run(&server, &["plan"], &in_buckets(&file, |_| String::new()));
    assert_eq!(code(&out), 13, "{}", stderr(&out));
    assert!(stderr(&out).contains("'//'") && stderr(&out).contains("s3://BUCKET/PREFIX"), "{}", stderr(&out));
}

#[test]
fn overlapping_places_in_buckets_are_refused() {
    let place = temp();
    let file = make(place.path());
    let server = started(&place.path().join("source"));
    for (old, new, words) in [
        ("s3://target1\"", "s3://target0/below\"", "lies within"),
        ("s3://msp-place\"", "s3://source\"", "is the same place as"),
        ("s3://target0\"", "s3://msp-place/below\"", "contains"),
    ] {
        let buckets = in_buckets(&file, |_| String::new());
        let text = std::fs::read_to_string(&buckets).unwrap();
        assert!(text.contains(old));
        write(&buckets, text.replace(old, new).as_bytes());
        let out = run(&server, &["deliver"], &buckets);
        assert_eq!(code(&out), 2, "{new}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{new}: {}", stderr(&out));
    }
    assert!(server.calls().is_empty());
}

#[test]
fn in_bad_weather_a_run_delivers_the_same_bytes_or_fails_cleanly_and_the_next_one_does() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    let seeds = crate::harness::number_of("APPORTION_SEEDS", 6);
    for seed in 0..seeds {
        let server = started(&place.path().join("source"));
        server.plan(seeded(seed, 10, &PASSING));
        let out = run(&server, &["deliver"], &buckets);
        assert!([0, 1, 3].contains(&code(&out)), "seed {seed}: {}", stderr(&out));
        server.clear_plan();
        if code(&out) != 0 {
            good(&server, &["deliver"], &buckets);
        }
        same(&server, place.path());
    }
}

#[test]
fn a_run_that_dies_before_any_of_its_writes_leaves_whole_exports_and_the_next_one_goes_on() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    let old = temp();
    copy(place.path(), old.path());
    renew(place.path(), 2, ROWS);
    let out = crate::harness::run("deliver", &file, &[], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let before = || {
        let server = started(&place.path().join("source"));
        BUCKETS[1..].iter().for_each(|(name, _)| server.put_folder(name, "", &old.path().join(name)));
        server
    };
    let live = |trees: &[Tree]| -> Vec<LiveAssemblies> { trees[1..].iter().map(consume_tree).collect() };
    let (old_live, new_live) = (live(&left(old.path())), live(&left(place.path())));
    assert!(old_live != new_live);
    let run_with = |server: &TestS3, name: &str, value: &str| {
        let mut command = program(&["deliver", "--threads", "1"]);
        command.arg("--config").arg(&buckets).env_clear().envs(server.environment()).env(name, value);
        command.output().unwrap()
    };
    let counted = run_with(&before(), "APPORTION_COUNT_WRITES", "1");
    let said = stderr(&counted);
    let writes = said.lines().find_map(|line| line.strip_suffix(" writes")).unwrap();
    let writes: u64 = writes.rsplit(' ').next().unwrap().parse().unwrap();
    let most = crate::harness::number_of("APPORTION_S3_CRASHES", 12).max(1);
    let mut points = 0;
    for at in (1..=writes).step_by(writes.div_ceil(most) as usize) {
        let server = before();
        let out = run_with(&server, "APPORTION_KILL_AT", &at.to_string());
        assert!(out.status.code().is_none_or(|code| code != 0), "write {at} of {writes} isn't one");
        for ((now, old), new) in live(&left_in(&server)).iter().zip(&old_live).zip(&new_live) {
            for ((now, old), new) in now.iter().zip(old).zip(new) {
                assert!(now == old || now == new, "write {at}: {} is at {}", now.0, now.1);
            }
        }
        good(&server, &["deliver"], &buckets);
        same(&server, place.path());
        points += 1;
    }
    crate::harness::say(&format!("s3 crash: {points} of {writes} writes"));
}

#[test]
fn a_customers_broken_bucket_changes_nobody_elses_export() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    for fault in [Fault::Denied, Fault::Error, Fault::Before] {
        let server = started(&place.path().join("source"));
        server.plan(move |call| (call.bucket == "target0").then_some(fault));
        let out = run(&server, &["deliver"], &buckets);
        assert_eq!(code(&out), 3, "{}", stderr(&out));
        assert!(stderr(&out).contains("customer0"), "{}", stderr(&out));
        assert!(server.tree("target1") == tree(&place.path().join("target1")), "{fault:?}");
        assert!(server.tree("target0").is_empty());
        server.clear_plan();
        good(&server, &["deliver"], &buckets);
        same(&server, place.path());
    }
}

#[test]
fn a_source_that_is_replaced_while_it_is_read_is_never_mixed() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |_| String::new());
    let other = temp();
    copy(&place.path().join("source"), &other.path().join("source"));
    make(other.path());
    renew(other.path(), 2, ROWS);
    let out = crate::harness::run("deliver", &other.path().join(file.file_name().unwrap()), &[], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let reads = {
        let server = started(&place.path().join("source"));
        good(&server, &["deliver"], &buckets);
        server.calls().iter().filter(|call| call.bucket == "source").count() as u64
    };
    for at in 1..=reads {
        let server = std::sync::Arc::new(started(&place.path().join("source")));
        let (weak, new) = (std::sync::Arc::downgrade(&server), other.path().join("source"));
        let seen = std::sync::atomic::AtomicU64::new(0);
        server.plan(move |call| {
            let is_it =
                call.bucket == "source" && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == at;
            if is_it && let Some(server) = weak.upgrade() {
                server.put_folder("source", "", &new);
            }
            None
        });
        let out = run(&server, &["deliver"], &buckets);
        assert!([0, 5].contains(&code(&out)), "call {at}: {}", stderr(&out));
        // The old delivery or the new one; and then the new one.
        let data = |trees: &[Tree]| -> Vec<Vec<u8>> {
            trees
                .iter()
                .flatten()
                .filter(|(key, _)| key.ends_with(".csv.gz"))
                .map(|(_, bytes)| bytes.clone())
                .collect()
        };
        let found = data(&left_in(&server)[1..]);
        let allowed: Vec<Vec<u8>> =
            [place.path(), other.path()].iter().flat_map(|place| data(&left(place)[1..])).collect();
        assert!(found.iter().all(|bytes| allowed.contains(bytes)), "call {at}: bytes of neither");
        server.clear_plan();
        good(&server, &["deliver"], &buckets);
        good(&server, &["verify"], &buckets);
    }
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::{name}:role/cur-writer")
}

#[test]
fn each_customers_bucket_is_written_by_its_own_role_and_by_no_other() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    for (bucket, owner) in &BUCKETS[2..] {
        server.add_role(Role {
            arn: role(owner),
            external_id: Some(format!("marked-external-id-{bucket}")),
            bucket: (*bucket).to_owned(),
            seconds: 3600,
        });
        write(
            &place.path().join(format!("{bucket}.external-id")),
            format!("marked-external-id-{bucket}\n").as_bytes(),
        );
    }
    let with_roles = |swapped: bool| {
        in_buckets(&file, move |bucket| match BUCKETS[2..].iter().position(|(name, _)| *name == bucket) {
            None => String::new(),
            Some(place) => {
                let (name, owner) = BUCKETS[2 + if swapped { 1 - place } else { place }];
                format!("role_arn = \"{}\"\nexternal_id_file = \"{name}.external-id\"\n", role(owner))
            }
        })
    };
    // The role of the one can't write to the other's: the session may only touch its own prefix, and the role its own bucket.
    let out = run(&server, &["deliver"], &with_roles(true));
    assert_eq!(code(&out), 12, "{}", stderr(&out));
    assert!(stderr(&out).contains("customer0") && stderr(&out).contains("customer1"), "{}", stderr(&out));
    assert!(server.tree("target0").is_empty() && server.tree("target1").is_empty());
    server.forget_calls();
    good(&server, &["deliver"], &with_roles(false));
    same(&server, place.path());
    for call in server.calls().iter().filter(|call| call.operation != Operation::AssumeRole) {
        let is_session = call.access_key.starts_with("ASIA");
        assert_eq!(is_session, call.bucket.starts_with("target"), "{call:?}");
    }
    // A wrong external id is refused by the trust policy, and told without the id.
    write(&place.path().join("target0.external-id"), b"marked-another-external-id");
    let out = run(&server, &["verify"], &with_roles(false));
    assert_eq!(code(&out), 12, "{}", stderr(&out));
    assert!(
        stderr(&out).contains("trust policy") && stderr(&out).contains(&role("111111111111")),
        "{}",
        stderr(&out)
    );
}

#[test]
fn a_role_that_nobody_gives_an_answer_about_is_given_up() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let with_roles =
        in_buckets(&file, |bucket| match BUCKETS[2..].iter().find(|(name, _)| *name == bucket) {
            Some((_, owner)) => format!("role_arn = \"{}\"\n", role(owner)),
            None => String::new(),
        });
    server.plan(|call| (call.operation == Operation::AssumeRole).then_some(Fault::Stall));
    let began = std::time::Instant::now();
    let out = run(&server, &["deliver", "--stall", "1"], &with_roles);
    assert_eq!(code(&out), 12, "{}", stderr(&out));
    // Six times two seconds, and pauses; both customers at once.
    assert!(began.elapsed().as_secs() < 45, "{:?}", began.elapsed());
    assert!(stderr(&out).contains("nobody gave credentials within 2 seconds"), "{}", stderr(&out));
}

#[test]
fn credentials_that_end_in_the_middle_are_taken_anew() {
    let (place, file) = delivered_folder();
    let buckets = in_buckets(&file, |bucket| match bucket {
        "target0" => format!("role_arn = \"{}\"\n", role("111111111111")),
        _ => String::new(),
    });
    let fresh = || {
        let server = std::sync::Arc::new(started(&place.path().join("source")));
        let (arn, bucket) = (role("111111111111"), "target0".to_owned());
        server.add_role(Role { arn, external_id: None, bucket, seconds: 3600 });
        server
    };
    let calls = {
        let server = fresh();
        good(&server, &["deliver"], &buckets);
        server.calls().iter().filter(|call| call.bucket == "target0").count() as u64
    };
    for at in 1..=calls {
        let server = fresh();
        let (weak, seen) = (std::sync::Arc::downgrade(&server), std::sync::atomic::AtomicU64::new(0));
        server.plan(move |call| {
            let is_it =
                call.bucket == "target0" && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == at;
            if is_it && let Some(server) = weak.upgrade() {
                server.expire_sessions();
            }
            None
        });
        good(&server, &["deliver"], &buckets);
        same(&server, place.path());
        let taken = server.calls().iter().filter(|call| call.operation == Operation::AssumeRole).count();
        assert_eq!(taken, 2, "call {at}");
    }
}

/// The variables of the environment that a program runs with.
type Environment = Vec<(&'static str, String)>;

#[test]
fn credentials_come_from_every_place_that_aws_has() {
    let (place, _) = delivered_folder();
    let server = started(&place.path().join("source"));
    server.put_folder("target0", "", &place.path().join("target0"));
    let bucket = "target0".to_owned();
    server.add_role(Role { arn: MACHINE_ROLE.to_owned(), external_id: None, bucket, seconds: 3600 });
    let here = |name: &str| place.path().join(name).display().to_string();
    let keys = format!("aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    write(&place.path().join("credentials"), format!("[msp]\n{keys}").as_bytes());
    let said = format!(
        "{{\"Version\": 1, \"AccessKeyId\": \"{ACCESS_KEY}\", \"SecretAccessKey\": \"{SECRET_KEY}\"}}"
    );
    write(&place.path().join("said.json"), said.as_bytes());
    let config = format!(
        "[profile process]\ncredential_process = cat {}\n[profile role]\nrole_arn = {MACHINE_ROLE}\nsource_profile = msp\n",
        here("said.json")
    );
    write(&place.path().join("config"), config.as_bytes());
    write(&place.path().join("token"), b"marked-web-identity-token");
    let files = vec![
        ("AWS_CONFIG_FILE", here("config")),
        ("AWS_SHARED_CREDENTIALS_FILE", here("credentials")),
        ("PATH", std::env::var("PATH").unwrap()),
    ];
    let with = |more: Vec<(&'static str, String)>| server.environment_with([files.clone(), more].concat());
    let cases: [(&str, Environment, &[&str], bool); 8] = [
        ("environment", server.environment(), &[], false),
        ("profile by flag", with(vec![]), &["--profile", "msp"], false),
        ("profile by variable", with(vec![("AWS_PROFILE", "msp".to_owned())]), &[], false),
        ("process", with(vec![]), &["--profile", "process"], false),
        ("role of a profile", with(vec![]), &["--profile", "role"], true),
        (
            "web identity",
            server.environment_with(vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", here("token")),
                ("AWS_ROLE_ARN", MACHINE_ROLE.to_owned()),
            ]),
            &[],
            true,
        ),
        ("container", server.environment_of_container(), &[], true),
        ("instance", server.environment_of_instance(), &[], true),
    ];
    for (name, environment, more, is_session) in cases {
        server.forget_calls();
        let mut command = program(&["verify", "--target", "s3://target0"]);
        let out = command.args(more).env_clear().envs(environment).output().unwrap();
        assert_eq!(code(&out), 0, "{name}: {}", stderr(&out));
        let signed = server.calls().into_iter().filter(|call| call.bucket == "target0");
        assert!(
            signed.map(|call| call.access_key.starts_with("ASIA")).all(|session| session == is_session),
            "{name}"
        );
        assert!(!server.calls().is_empty());
    }
    // None at all is told in one line, with what to do.
    let mut command = program(&["verify", "--target", "s3://target0"]);
    let out = command.env_clear().envs(server.environment_with(vec![])).output().unwrap();
    assert_eq!(code(&out), 12, "{}", stderr(&out));
    assert!(
        stderr(&out).contains("gives no credentials") && stderr(&out).contains("Sign in"),
        "{}",
        stderr(&out)
    );
}

#[test]
fn what_no_try_can_mend_is_told_at_once_with_what_to_do() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    for (fault, exit, words) in [
        (Fault::Skewed, 12, &["clock is off", "05 Oct 2026", "Set the clock"][..]),
        (Fault::Redirected, 2, &["ap-southeast-2", "eu-central-1", "write region"]),
        (Fault::Denied, 12, &["AccessDenied", "isn't account 999900001111's"]),
    ] {
        server.plan(move |_| Some(fault));
        server.forget_calls();
        let out = run(&server, &["deliver"], &buckets);
        assert_eq!(code(&out), exit, "{fault:?}: {}", stderr(&out));
        for word in words {
            assert!(stderr(&out).contains(word), "{fault:?}: {word} isn't in: {}", stderr(&out));
        }
        assert_eq!(server.calls().len(), 1, "{fault:?} was tried again");
    }
    // Nobody listens there; and a store that always fails is given up before long.
    let mut command =
        program(&["verify", "--target", "s3://target0", "--endpoint-url", "http://127.0.0.1:9"]);
    let out = command.env_clear().envs(server.environment()).output().unwrap();
    assert_eq!(code(&out), 1, "{}", stderr(&out));
    assert!(
        stderr(&out).contains("can't be reached") && stderr(&out).contains("6 tries"),
        "{}",
        stderr(&out)
    );
    server.plan(|_| Some(Fault::SlowDown));
    server.forget_calls();
    let out = run(&server, &["verify"], &buckets);
    assert_eq!(code(&out), 1, "{}", stderr(&out));
    assert!(server.calls().len() <= 12, "{} calls", server.calls().len());
    assert!(left_in(&server).iter().all(Tree::is_empty));
}

/// Delivers to a server that others wrote, and reads what it has then.
fn same_bytes_from(url: &str, key: &str, secret: &str) {
    let (place, file) = delivered_folder();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = BUCKETS[1..].iter().fold(text, |text, (bucket, _)| {
        text.replace(&format!("url = \"{bucket}\"\n"), &format!("url = \"s3://{bucket}\"\n"))
    });
    write(&file, text.as_bytes());
    let environment = [
        ("AWS_ENDPOINT_URL_S3", url),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    for what in ["deliver", "deliver", "verify", "reconcile", "audit"] {
        let out = crate::harness::run(what, &file, &[], &environment);
        assert_eq!(code(&out), 0, "{what}: {}", stderr(&out));
    }
    for (bucket, _) in &BUCKETS[1..] {
        let place_url: PlaceUrl = format!("s3://{bucket}").parse().unwrap();
        let endpoint_url = Some(url.to_owned());
        let options = StoreOptions { endpoint_url, keys: Some(keys()), ..StoreOptions::default() };
        let store = ObjectBucket::s3(&network(), &place_url, &options).unwrap();
        let content = |key: &str| store.read(key, 1 << 24).unwrap().unwrap();
        let list = store.list().unwrap();
        let delivered = list.iter().filter(|object| !is_of_runs(&object.key));
        let found: Tree = delivered.map(|object| (object.key.clone(), content(&object.key))).collect();
        assert!(found == tree(&place.path().join(bucket)), "{bucket}");
    }
}

#[test]
fn moto_gets_the_same_bytes_as_folders() {
    let Some(moto) = Moto::start(&BUCKETS.map(|(name, _)| name)) else { return };
    same_bytes_from(moto.url(), "a", "b");
}

#[test]
fn s3s_fs_gets_the_same_bytes_as_folders() {
    let Some(server) = S3sFs::start(&BUCKETS.map(|(name, _)| name)) else { return };
    same_bytes_from(server.url(), ACCESS_KEY, SECRET_KEY);
}

#[test]
fn a_bucket_made_anew_by_a_stranger_gets_no_byte() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    server.recreate("target0", "666600000666");
    let out = run(&server, &["deliver"], &in_buckets(&file, |_| String::new()));
    assert_eq!(code(&out), 3, "{}", stderr(&out));
    assert!(stderr(&out).contains("isn't account 111111111111's"), "{}", stderr(&out));
    assert!(server.tree("target0").is_empty());
    assert!(server.tree("target1") == tree(&place.path().join("target1")));
}

#[test]
fn what_hangs_is_given_up_and_made_anew() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    let hung = std::sync::atomic::AtomicU64::new(0);
    server.plan(move |call| {
        let is_it =
            call.operation == Operation::Put && hung.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2;
        is_it.then_some(Fault::Stall)
    });
    good(&server, &["deliver", "--stall", "1"], &buckets);
    same(&server, place.path());
}

#[test]
fn a_bucket_that_always_hangs_is_given_up_once_for_all_of_its_exports() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    server.plan(|call| (call.bucket == "target1").then_some(Fault::Stall));
    let began = std::time::Instant::now();
    let out = run(&server, &["deliver", "--stall", "1"], &buckets);
    assert_eq!(code(&out), 3, "{}", stderr(&out));
    let took = began.elapsed().as_secs();
    // Six tries of a second, and their pauses.
    assert!(took < 25, "{took} s");
    // Each of its two exports is told.
    assert!(stderr(&out).contains("said nothing for 1 seconds (6 tries)"), "{}", stderr(&out));
    assert!(stderr(&out).contains("isn't asked again in this run"), "{}", stderr(&out));
    assert_eq!(server.calls().iter().filter(|call| call.bucket == "target1").count(), 6);
    assert!(server.tree("target0") == tree(&place.path().join("target0")));
    server.clear_plan();
    good(&server, &["deliver"], &buckets);
    same(&server, place.path());
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_the_network_and_says_what_is_safe() {
    let (place, file) = delivered_folder();
    let server = started(&place.path().join("source"));
    let buckets = in_buckets(&file, |_| String::new());
    server.plan(|call| (call.operation == Operation::Put).then_some(Fault::Stall));
    let mut command = program(&["deliver"]);
    command.arg("--config").arg(&buckets).env_clear().envs(server.environment());
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let began = std::time::Instant::now();
    while !server.calls().iter().any(|call| call.operation == Operation::Put) {
        assert!(began.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let interrupted = std::time::Instant::now();
    let out = child.wait_with_output().unwrap();
    assert!(interrupted.elapsed().as_secs() < 15, "{:?}", interrupted.elapsed());
    assert_eq!(code(&out), 130, "{}", stderr(&out));
    assert!(
        stderr(&out).contains("what is live is as it was, and running again goes on"),
        "{}",
        stderr(&out)
    );
    assert!(!left_in(&server).iter().any(|tree| tree.keys().any(|key| key.starts_with("manifests/"))));
    server.clear_plan();
    good(&server, &["deliver"], &buckets);
    same(&server, place.path());
}
