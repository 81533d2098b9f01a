//! `audit` of buckets: word for word what it says of folders with the same bytes; planted defects, sources that move while
//! they are read, places that don't let themselves be read, and bad weather, which is never a finding.

use crate::audit_defects::{cell, column, edit, lines, read, rows, store};
use crate::harness::{
    Tree, code, copy, gunzip, gzip, number_of, program, run, say, stderr, temp, tree, write,
};
use crate::random_report::{Draw, Numbers};
use crate::small_report::{Look, ONE, TWO, form, make_looking, renew, report_looking};
use crate::support::small_csv;
use crate::written_report::{Form, write_report};
use apportion_testkit::s3::{Call, Fault, Operation, PASSING, TestS3, seeded};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROWS: usize = 24;
const MSP: &str = "999900001111";
/// The buckets with their owners; each has the name of the folder that it stands for.
const BUCKETS: [(&str, &str); 5] = [
    ("source", MSP),
    ("source2", MSP),
    ("msp", MSP),
    ("target0", "111111111111"),
    ("target1", "222222222222"),
];

/// A delivery from folders to folders whose names buckets may have.
fn delivered(look: Look, form_of_source: Option<Form>) -> (tempfile::TempDir, PathBuf) {
    let place = temp();
    let file = make_looking(look, place.path(), 1, ROWS);
    if let Some(form) = form_of_source {
        fs::remove_dir_all(place.path().join("source")).unwrap();
        let mut report = report_looking(look, 1, 0);
        let (mut draw, accounts) = (Draw::new(1), report.accounts());
        for number in 0..ROWS {
            let account = accounts[number % accounts.len()].clone();
            let row = report.row_of(&mut draw, number, account, Numbers::Doubles);
            report.rows.push(row);
        }
        write_report(&report, &form, &place.path().join("source"));
    }
    let text = fs::read_to_string(&file).unwrap().replace("targets/t", "target");
    write(&file, text.as_bytes());
    let out = run("deliver", &file, &[], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    (place, file)
}

/// The same settings with buckets for folders, below a prefix.
fn in_buckets(file: &Path, below: &str) -> PathBuf {
    let mut text = fs::read_to_string(file).unwrap();
    for (bucket, owner) in BUCKETS {
        let below = if bucket.starts_with("source") { "" } else { below };
        let url = format!("url = \"s3://{bucket}{below}\"\nowner = \"{owner}\"\n");
        text = text.replace(&format!("url = \"{bucket}\"\n"), &url);
    }
    let buckets = file.with_file_name("buckets.toml");
    write(&buckets, text.as_bytes());
    buckets
}

/// Buckets with what lies in the folders.
fn filled(place: &Path) -> TestS3 {
    let server = TestS3::start(&BUCKETS);
    for (bucket, _) in BUCKETS {
        if place.join(bucket).is_dir() {
            server.put_folder(bucket, "", &place.join(bucket));
        }
    }
    server
}

fn run_in(server: &TestS3, what: &[&str], settings: &Path) -> Output {
    let mut command = program(what);
    command.arg("--config").arg(settings).env_clear().envs(server.environment()).output().unwrap()
}

/// An audit of buckets.
fn audit(server: &TestS3, settings: &Path) -> (i32, Value, String) {
    let out = run_in(server, &["audit", "--output", "json"], settings);
    (code(&out), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), stderr(&out))
}

/// Of folders.
fn audit_of_folders(settings: &Path) -> (i32, Value) {
    let out = run("audit", settings, &["--output", "json"], &[]);
    (code(&out), serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", stderr(&out))))
}

fn parquet() -> Form {
    Form { parquet: true, ..form(ROWS) }
}

#[test]
fn buckets_and_folders_with_the_same_bytes_are_audited_to_the_same_words() {
    for (look, source, below) in [
        (Look::Plain, None, ""),
        (Look::Waiting, None, "/deep/er"),
        (Look::Parquet, Some(parquet()), ""),
        (Look::All, None, ""),
        (Look::All, Some(parquet()), "/deep"),
    ] {
        let (place, file) = delivered(look, source.clone());
        let buckets = in_buckets(&file, below);
        let server = TestS3::start(&BUCKETS);
        for bucket in ["source", "source2"].iter().filter(|name| place.path().join(name).is_dir()) {
            server.put_folder(bucket, "", &place.path().join(bucket));
        }
        let out = run_in(&server, &["deliver"], &buckets);
        assert_eq!(code(&out), 0, "{look:?}: {}", stderr(&out));
        server.forget_calls();
        for more in [&[][..], &["--output", "json"], &["--customer", "customer1"], &["--period", "2026-10"]] {
            let (found, due) =
                (run_in(&server, &[&["audit"][..], more].concat(), &buckets), run("audit", &file, more, &[]));
            assert_eq!(code(&due), 0, "{look:?}: {}", stderr(&due));
            let text =
                |out: &Output| (code(out), String::from_utf8(out.stdout.clone()).unwrap(), stderr(out));
            assert_eq!(text(&found), text(&due), "{look:?} {more:?}");
        }
        // The owner is told, and signed, with every call, and nothing is ever written.
        for call in server.calls() {
            let owner = BUCKETS.iter().find(|(name, _)| *name == call.bucket).unwrap().1;
            assert_eq!(call.owner.as_deref(), Some(owner), "{call:?}");
            let reads = [Operation::Get, Operation::Head, Operation::List];
            assert!(reads.contains(&call.operation), "{call:?}");
        }
    }
}

#[test]
fn what_is_read_is_fetched_once() {
    for (look, source) in [(Look::Plain, None), (Look::Parquet, Some(parquet()))] {
        let (place, file) = delivered(look, source);
        let server = filled(place.path());
        let (code, _, said) = audit(&server, &in_buckets(&file, ""));
        assert_eq!(code, 0, "{said}");
        let gets: Vec<Call> =
            server.calls().into_iter().filter(|call| call.operation == Operation::Get).collect();
        let is_data = |key: &str| key.ends_with(".csv.gz") || key.ends_with(".parquet");
        let mut data = 0;
        for (bucket, _) in BUCKETS {
            for key in server.tree(bucket).keys().filter(|key| is_data(key)) {
                data += 1;
                let fetched = gets.iter().filter(|call| call.bucket == bucket && call.key == *key).count();
                assert_eq!(fetched, 1, "{look:?}: {bucket}/{key}");
            }
        }
        assert!(data >= 6);
    }
}

#[test]
fn places_may_be_of_any_mix() {
    let (place, file) = delivered(Look::Plain, None);
    let server = filled(place.path());
    let whole = fs::read_to_string(in_buckets(&file, "")).unwrap();
    let due = audit_of_folders(&file);
    assert_eq!(due.0, 0);
    for one in ["source", "msp", "target0", "target1"] {
        let text = whole.replace(&format!("s3://{one}\""), &format!("{one}\""));
        // What is said of a bucket is no setting of a folder's, and does no harm.
        let mixed = file.with_file_name("mixed.toml");
        write(&mixed, text.as_bytes());
        let (code, report, said) = audit(&server, &mixed);
        assert_eq!((code, &report), (due.0, &due.1), "{one}: {said}");
        // And the one bucket among folders.
        let owner = BUCKETS.iter().find(|(name, _)| *name == one).unwrap().1;
        let text = fs::read_to_string(&file)
            .unwrap()
            .replace(&format!("url = \"{one}\"\n"), &format!("url = \"s3://{one}\"\nowner = \"{owner}\"\n"));
        write(&mixed, text.as_bytes());
        server.forget_calls();
        let (code, report, said) = audit(&server, &mixed);
        assert_eq!((code, &report), (due.0, &due.1), "{one}: {said}");
        assert!(!server.calls().is_empty() && server.calls().iter().all(|call| call.bucket == one));
    }
}

/// A copy of the good delivery, to be spoiled.
struct Spoiled(PathBuf);

impl Spoiled {
    fn find(&self, folder: &str, ending: &str) -> PathBuf {
        let below = self.0.join(folder);
        let keys: Vec<String> = tree(&below).into_keys().filter(|key| key.ends_with(ending)).collect();
        assert_eq!(keys.len(), 1, "{folder}: {ending}: {keys:?}");
        below.join(&keys[0])
    }

    fn data(&self) -> PathBuf {
        self.find("target0", "customer0-00001.csv.gz")
    }

    fn manifest(&self) -> PathBuf {
        self.find("target0", "20261101/customer0-Manifest.json")
    }

    fn unassigned(&self) -> PathBuf {
        self.find("msp", "unassigned-00001.csv.gz")
    }
}

/// A name, the kind of finding that must be there, and how it is planted.
type Defect = (&'static str, &'static str, fn(&Spoiled));

const DEFECTS: [Defect; 15] = [
    ("a byte of a data file", "gzip_broken", |place| {
        let mut bytes = fs::read(place.data()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(place.data(), bytes).unwrap();
    }),
    ("a byte of a data file's header", "file_hash", |place| {
        let mut bytes = fs::read(place.data()).unwrap();
        // The operating system that gzip names, which no reader looks at.
        bytes[9] ^= 1;
        fs::write(place.data(), bytes).unwrap();
    }),
    ("a data file gone", "file_missing", |place| fs::remove_file(place.data()).unwrap()),
    ("a data file of no bytes", "gzip_broken", |place| fs::write(place.data(), b"").unwrap()),
    ("a row of somebody else", "foreign_account", |place| {
        let other = place.find("target1", "customer1-222222222221-00001.csv.gz");
        let foreign = read(&other)[1].clone();
        rows(&place.data(), |records| records.push(foreign));
    }),
    ("a cell of somebody else", "foreign_cell", |place| {
        cell(&place.data(), "resource_tags_aws_created_by", |_| format!("Root:{}", TWO[0]));
    }),
    ("a cost that is another", "sums_differ", |place| {
        cell(&place.data(), "line_item_unblended_cost", |_| "12345.678".to_owned());
    }),
    ("a manifest of another assembly", "manifest_differs", |place| {
        edit(&place.manifest(), |manifest| manifest["assemblyId"] = "00000000-another".into());
    }),
    ("a manifest that leads elsewhere", "file_unexpected_key", |place| {
        edit(&place.manifest(), |manifest| manifest["reportKeys"][0] = "../target1/x.csv.gz".into());
    }),
    ("a manifest gone", "manifest_missing", |place| fs::remove_file(place.manifest()).unwrap()),
    ("a proof gone", "proof_missing", |place| {
        fs::remove_file(place.find("target0", "customer0-Proof.json")).unwrap();
    }),
    ("a stray data file", "file_unexpected_key", |place| {
        let data = place.data();
        fs::copy(&data, data.to_str().unwrap().replace("00001.csv", "00002.csv")).unwrap();
    }),
    ("a stray unassigned row", "unassigned_differs", |place| {
        rows(&place.unassigned(), |records| records.push(records[1].clone()));
    }),
    ("an unassigned row gone", "unassigned_differs", |place| {
        rows(&place.unassigned(), |records| drop(records.pop()));
    }),
    ("another source than was delivered", "source_changed", |place| {
        let part = place.find("source", "R-00001.csv.gz");
        let mut records = read(&part);
        let cost = column(&records, "lineItem/UnblendedCost");
        records[1][cost] = "77.7".to_owned();
        store(&part, &records);
    }),
];

#[test]
fn planted_defects_are_found_in_buckets_as_in_folders() {
    let (good, _) = delivered(Look::Plain, None);
    for (name, kind, plant) in DEFECTS {
        let place = temp();
        copy(good.path(), place.path());
        plant(&Spoiled(place.path().to_owned()));
        let file = place.path().join("apportion.toml");
        let server = filled(place.path());
        let (found, report, said) = audit(&server, &in_buckets(&file, ""));
        assert_eq!(found, 4, "{name}: {said}");
        let kinds: Vec<&str> =
            report["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert!(kinds.contains(&kind), "{name}:{}", lines(&report));
        assert_eq!(audit_of_folders(&file), (4, report), "{name}");
    }
    say(&format!("audit: {} planted defects found in buckets, as in folders", DEFECTS.len()));
}

#[test]
fn a_defect_in_a_parquet_export_is_found() {
    let (place, file) = delivered(Look::Parquet, Some(parquet()));
    let path = Spoiled(place.path().to_owned()).find("target0", ".parquet");
    for at in [4, 400] {
        let server = filled(place.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x55;
        let key = path.strip_prefix(place.path().join("target0")).unwrap().to_str().unwrap().to_owned();
        server.put("target0", &key, bytes);
        let (found, report, said) = audit(&server, &in_buckets(&file, ""));
        assert_eq!(found, 4, "{said}");
        assert!(lines(&report).contains("file_hash"), "{}", lines(&report));
    }
}

#[test]
fn below_a_prefix_only_what_is_named_from_the_buckets_root_is_followed() {
    let (_place, file) = delivered(Look::Plain, None);
    let server = TestS3::start(&BUCKETS);
    server.put_folder("source", "", &file.with_file_name("source"));
    let buckets = in_buckets(&file, "/deep");
    assert_eq!(code(&run_in(&server, &["deliver"], &buckets)), 0);
    // Relative keys would be right in a folder; here a consumer finds nothing.
    let (key, bytes) = server
        .tree("target0")
        .into_iter()
        .find(|(key, _)| key.ends_with("20261101/customer0-Manifest.json"))
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    server.put("target0", &key, text.replace("\"deep/", "\""));
    let (found, report, said) = audit(&server, &buckets);
    assert_eq!(found, 4, "{said}");
    let said = lines(&report);
    assert!(said.contains("file_unexpected_key") && said.contains("rows_missing"), "{said}");
}

#[test]
fn a_locked_month_of_a_bucket_is_not_audited() {
    let (place, file) = delivered(Look::Plain, None);
    let server = filled(place.path());
    let buckets = in_buckets(&file, "");
    assert_eq!(code(&run_in(&server, &["periods", "lock", "2026-10"], &buckets)), 0);
    renew(place.path(), 2, ROWS);
    server.put_folder("source", "", &place.path().join("source"));
    let out = run_in(&server, &["audit"], &buckets);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    assert!(stderr(&out).contains("20261001-20261101: locked, not compared"), "{}", stderr(&out));
    // What can't be read of a state is told, and isn't taken for "not locked".
    let key = server.tree("msp").into_keys().find(|key| key.ends_with("-State.json")).unwrap();
    server.put("msp", &key, "{");
    let out = run_in(&server, &["audit"], &buckets);
    assert_eq!(code(&out), 13, "{}", stderr(&out));
    assert!(stderr(&out).contains(&key), "{}", stderr(&out));
    server.plan(|call| (call.bucket == "msp").then_some(Fault::Denied));
    let out = run_in(&server, &["audit"], &buckets);
    assert_eq!(code(&out), 12, "{}", stderr(&out));
}

/// What an audit may say when the source changes to `new` while it is read: an error, or all of one state.
fn change_while_audited(
    server: &Arc<TestS3>,
    buckets: &Path,
    before: &Tree,
    new: &Tree,
    due: &[Value],
) -> [u64; 3] {
    let restore = |server: &TestS3| {
        server.remove_all("source");
        before.iter().for_each(|(key, bytes)| server.put("source", key, bytes.clone()));
    };
    restore(server);
    server.clear_plan();
    server.forget_calls();
    assert_eq!(audit(server, buckets).0, 0);
    let calls = server.calls().iter().filter(|call| call.bucket == "source").count() as u64;
    let mut seen = [0, 0, 0];
    for at in 1..=calls + 1 {
        restore(server);
        let (weak, number, new) = (Arc::downgrade(server), AtomicU64::new(0), new.clone());
        server.plan(move |call| {
            if call.bucket == "source"
                && number.fetch_add(1, Ordering::Relaxed) + 1 == at
                && let Some(server) = weak.upgrade()
            {
                new.iter().for_each(|(key, bytes)| server.put("source", key, bytes.clone()));
            }
            None
        });
        let (code, report, said) = audit(server, buckets);
        match code {
            5 => {
                assert!(said.contains("s3://source/") && said.contains("replaced"), "call {at}: {said}");
                seen[2] += 1;
            }
            _ => {
                let which = due.iter().position(|due| *due == report);
                seen[which.unwrap_or_else(|| panic!("call {at}: exit {code}: a mixture: {said}"))] += 1;
            }
        }
    }
    server.clear_plan();
    seen
}

#[test]
fn a_source_that_is_replaced_while_it_is_audited_is_an_error_and_never_a_mixture() {
    for (look, source) in [(Look::Plain, form(ROWS)), (Look::Parquet, parquet())] {
        let (place, file) = delivered(look, Some(source.clone()));
        let buckets = in_buckets(&file, "");
        let server = Arc::new(filled(place.path()));
        let before = tree(&place.path().join("source"));
        // All of it, and one object alone: of the same length, where it is text that can be made so.
        let newer = temp();
        copy(place.path(), newer.path());
        let mut report = report_looking(look, 2, 0);
        let (mut draw, accounts) = (Draw::new(2), report.accounts());
        for number in 0..ROWS {
            let account = accounts[number % accounts.len()].clone();
            let row = report.row_of(&mut draw, number, account, Numbers::Doubles);
            report.rows.push(row);
        }
        write_report(&report, &source, &newer.path().join("source"));
        // As a report in overwrite mode: another assembly under the same keys.
        let manifest = Spoiled(newer.path().to_owned()).find("source", "-Manifest.json");
        edit(&manifest, |manifest| manifest["assemblyId"] = "overwritten".into());
        let all = tree(&newer.path().join("source"));
        assert!(all.keys().eq(before.keys()));
        let second = all.iter().find(|(key, _)| key.contains("-00002.")).unwrap();
        let one = Tree::from([(second.0.clone(), second.1.clone())]);
        let (due_before, clean) = audit_of_folders(&file);
        assert_eq!(due_before, 0);
        for new in [all.clone(), one] {
            let after = temp();
            copy(place.path(), after.path());
            new.iter().for_each(|(key, bytes)| write(&after.path().join("source").join(key), bytes));
            let (found, changed) = audit_of_folders(&after.path().join("apportion.toml"));
            assert_eq!(found, 4);
            let seen = change_while_audited(&server, &buckets, &before, &new, &[clean.clone(), changed]);
            assert!(seen[0] > 0 && seen[1] > 0 && seen[2] > 0, "{look:?}: {seen:?}");
            say(&format!(
                "audit: source replaced before each call: {} as before, {} as after, {} refused, none mixed",
                seen[0], seen[1], seen[2]
            ));
        }
    }
}

#[test]
fn an_object_of_several_blocks_is_replaced_by_one_of_the_same_length_and_never_mixed() {
    let here = temp();
    let (before, after) = (small_csv(90_000), small_csv(90_000).replace(",0.", ",1."));
    assert!(before.len() == after.len() && before.len() > 8 << 20);
    write(&here.path().join("source/all.csv"), before.as_bytes());
    let target = here.path().join("target").display().to_string();
    let server = Arc::new(TestS3::start(&BUCKETS));
    let run = |what: &str, source: &str| {
        let mut command = program(&[what, "--source", source, "--accounts", "all", "--target", &target]);
        let out = command.args(["--output", "json"]).env_clear().envs(server.environment()).output().unwrap();
        (code(&out), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), stderr(&out))
    };
    let folder = here.path().join("source").display().to_string();
    assert_eq!(run("deliver", &folder).0, 0);
    let clean = run("audit", &folder);
    write(&here.path().join("source/all.csv"), after.as_bytes());
    let changed = run("audit", &folder);
    assert_eq!((clean.0, changed.0), (0, 4));
    server.put("source", "all.csv", before.clone());
    server.forget_calls();
    assert_eq!(run("audit", "s3://source"), clean);
    let mut seen = [0, 0, 0];
    for at in 1..=server.calls().len() as u64 {
        server.clear_plan();
        server.put("source", "all.csv", before.clone());
        let (weak, number, new) = (Arc::downgrade(&server), AtomicU64::new(0), after.clone());
        server.plan(move |_| {
            if number.fetch_add(1, Ordering::Relaxed) + 1 == at
                && let Some(server) = weak.upgrade()
            {
                server.put("source", "all.csv", new.clone());
            }
            None
        });
        let (code, report, said) = run("audit", "s3://source");
        let all_of_one = [&clean, &changed].iter().position(|due| (due.0, &due.1) == (code, &report));
        assert!(all_of_one.is_some() || code == 5, "call {at}: exit {code}: a mixture: {said}");
        seen[all_of_one.unwrap_or(2)] += 1;
    }
    assert!(seen[1] > 0 && seen[2] > 2, "{seen:?}");
}

#[test]
fn a_source_object_that_goes_away_is_an_error() {
    let (place, file) = delivered(Look::Plain, None);
    let server = Arc::new(filled(place.path()));
    let weak = Arc::downgrade(&server);
    server.plan(move |call| {
        if call.operation == Operation::Get
            && call.key.ends_with("R-00001.csv.gz")
            && let Some(server) = weak.upgrade()
        {
            server.remove("source", &call.key);
        }
        None
    });
    let (code, _, said) = audit(&server, &in_buckets(&file, ""));
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("s3://source/cur/R/20261001-20261101/a1b2/R-00001.csv.gz"), "{said}");
}

#[test]
fn a_target_file_that_is_replaced_while_it_is_read_is_no_finding() {
    let (place, file) = delivered(Look::Plain, None);
    let server = Arc::new(filled(place.path()));
    let weak = Arc::downgrade(&server);
    server.plan(move |call| {
        if call.operation == Operation::Get
            && call.key.ends_with("customer0-00001.csv.gz")
            && let Some(server) = weak.upgrade()
        {
            server.put("target0", &call.key, gzip(b"other\n"));
        }
        None
    });
    let (code, _, said) = audit(&server, &in_buckets(&file, ""));
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("s3://target0/") && said.contains("replaced meanwhile"), "{said}");
}

/// Something that keeps a bucket from being read: the bucket, which calls, and what goes wrong with them.
type Refusal = (&'static str, fn(&Call) -> bool, Fault);

#[test]
fn a_place_that_may_not_be_read_is_told_and_is_no_finding() {
    let (place, file) = delivered(Look::Plain, None);
    let server = filled(place.path());
    let buckets = in_buckets(&file, "");
    let any: fn(&Call) -> bool = |_| true;
    let of_data: fn(&Call) -> bool = |call| call.key.ends_with(".csv.gz");
    let lists: fn(&Call) -> bool = |call| call.operation == Operation::List;
    let refusals: [Refusal; 9] = [
        ("source", any, Fault::Denied),
        ("source", of_data, Fault::Denied),
        ("msp", any, Fault::Denied),
        ("msp", of_data, Fault::Denied),
        ("target0", any, Fault::Denied),
        ("target0", of_data, Fault::Denied),
        ("target0", lists, Fault::Denied),
        ("target1", any, Fault::Skewed),
        ("target1", any, Fault::Expired),
    ];
    for (number, (bucket, which, fault)) in refusals.into_iter().enumerate() {
        server.plan(move |call| (call.bucket == bucket && which(call)).then_some(fault));
        let out = run_in(&server, &["audit"], &buckets);
        assert_eq!(code(&out), 12, "{number}: {}", stderr(&out));
        let said = stderr(&out);
        let error: Vec<&str> = said.lines().filter(|line| line.starts_with("error:")).collect();
        let place = format!("s3://{bucket}");
        assert!(error.len() == 1 && error[0].contains(&place), "{number}: {said}");
        assert!(!said.contains("finding:") && !said.contains("rows unexplained"), "{number}: {said}");
        assert!(out.stdout.is_empty());
    }
    server.plan(|call| {
        (call.bucket == "target0" && call.operation == Operation::List).then_some(Fault::Denied)
    });
    let said = stderr(&run_in(&server, &["audit"], &buckets));
    assert!(said.contains(": listing: ") && said.contains("s3:ListBucket"), "{said}");
    server.clear_plan();
    // A bucket that a stranger made anew isn't read, whatever lies in it.
    server.recreate("target0", "666600000666");
    server.put_folder("target0", "", &place.path().join("target0"));
    let out = run_in(&server, &["audit"], &buckets);
    assert_eq!(code(&out), 12, "{}", stderr(&out));
    assert!(stderr(&out).contains("isn't account 111111111111's"), "{}", stderr(&out));
    // One that isn't there.
    let text = fs::read_to_string(&buckets).unwrap();
    for bucket in ["source", "msp", "target0"] {
        write(&buckets, text.replace(&format!("s3://{bucket}\""), "s3://nowhere\"").as_bytes());
        let out = run_in(&server, &["audit"], &buckets);
        assert_eq!(code(&out), 10, "{bucket}: {}", stderr(&out));
        assert!(stderr(&out).contains("s3://nowhere") && stderr(&out).contains("no such bucket"));
    }
}

#[test]
fn in_bad_weather_an_audit_says_the_same_or_fails_and_accuses_nobody() {
    let (place, file) = delivered(Look::Parquet, Some(parquet()));
    let buckets = in_buckets(&file, "");
    let due = audit_of_folders(&file);
    let server = filled(place.path());
    for seed in 0..number_of("APPORTION_SEEDS", 6) {
        server.plan(seeded(seed, 10, &PASSING));
        let (code, report, said) = audit(&server, &buckets);
        assert!(code == 1 || (code, &report) == (due.0, &due.1), "seed {seed}: exit {code}: {said}");
    }
    server.plan(|call| (call.key.ends_with("-00001.snappy.parquet")).then_some(Fault::SlowDown));
    let (code, _, said) = audit(&server, &buckets);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("s3://") && said.contains(": 503 ") && said.contains("tries"), "{said}");
}

#[test]
fn ctrl_c_ends_an_audit_that_waits_for_the_network() {
    let (place, file) = delivered(Look::Plain, None);
    let server = filled(place.path());
    server.plan(|call| (call.bucket == "target1").then_some(Fault::Stall));
    let mut command = program(&["audit"]);
    command.arg("--config").arg(in_buckets(&file, "")).env_clear().envs(server.environment());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !server.calls().iter().any(|call| call.bucket == "target1") {
        assert!(began.elapsed().as_secs() < 60);
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let interrupted = Instant::now();
    let out = child.wait_with_output().unwrap();
    assert!(interrupted.elapsed().as_secs() < 15, "{:?}", interrupted.elapsed());
    assert_eq!(code(&out), 130, "{}", stderr(&out));
    assert!(out.stdout.is_empty() && stderr(&out).contains("interrupted"), "{}", stderr(&out));
}

#[test]
fn loose_files_of_a_bucket_are_audited() {
    let (place, _) = delivered(Look::Plain, None);
    let loose = gunzip(&fs::read(Spoiled(place.path().to_owned()).find("source", "R-00001.csv.gz")).unwrap());
    let here = temp();
    for (name, files) in [("one", 1), ("two", 2)] {
        for number in 0..files {
            write(&here.path().join(format!("{name}/source/part-{number}.csv")), &loose);
        }
        let server = TestS3::start(&BUCKETS);
        server.put_folder("source", "", &here.path().join(name).join("source"));
        let folder = here.path().join(name).join("source").display().to_string();
        let target = here.path().join(name).join("target0").display().to_string();
        let with = |what: &str, source: &str, target: &str| {
            let mut command = program(&[what, "--source", source, "--accounts", ONE, "--target", target]);
            if files > 1 {
                command.args(["--kind", "files"]);
            }
            command.env_clear().envs(server.environment()).output().unwrap()
        };
        for (source, target) in [(folder.as_str(), target.as_str()), ("s3://source", "s3://target0")] {
            for what in ["deliver", "audit"] {
                let out = with(what, source, target);
                assert_eq!(code(&out), 0, "{name}: {what} {source}: {}", stderr(&out));
            }
        }
        let (found, due) = (with("audit", "s3://source", "s3://target0"), with("audit", &folder, &target));
        assert_eq!(String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&due.stdout));
    }
}
