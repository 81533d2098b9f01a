//! One month delivered four times: what is live follows the last delivery and never the union, whatever arrives
//! when; `periods diff` names what changed, and `periods rollback` goes back.

use crate::harness::set_time;
use crate::support::{HEADER, MANIFEST, Place, Said, same_tree};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

const MONTH: &str = "2025-03";
const ACME: &str = "111122223333";
const BETA: &str = "444455556666";
const NOBODY: &str = "777788889999";

/// A line item, without the id that AWS gives anew in each version: account, type, day, service, cost in 10^-4.
type Item = (&'static str, &'static str, u32, &'static str, i64);

/// The four versions of the month.
fn versions() -> [Vec<Item>; 4] {
    // The first days, with two line items that can't be told apart.
    let first: Vec<Item> = vec![
        (ACME, "Usage", 1, "AmazonEC2", 15_000),
        (ACME, "Usage", 2, "AmazonEC2", 15_000),
        (ACME, "Usage", 2, "AmazonEC2", 15_000),
        (BETA, "Usage", 1, "AmazonS3", 7),
        (NOBODY, "Usage", 1, "AmazonS3", 250),
    ];
    // More days.
    let mut second = first.clone();
    second.extend([
        (ACME, "Usage", 3, "AmazonRDS", 40_000),
        (BETA, "Usage", 9, "AmazonS3", 9),
        (ACME, "Tax", 1, "", 9_999),
    ]);
    // One of the twins is gone, a price is another, a credit came.
    let mut third = second.clone();
    third.remove(2);
    third[2].4 = 8;
    third.push((ACME, "Credit", 3, "AmazonRDS", -40_000));
    // What was nobody's is gone, and a support fee came.
    let mut fourth = third.clone();
    fourth.retain(|item| item.0 != NOBODY);
    fourth.push((BETA, "Fee", 31, "AWSSupportBusiness", 290_000));
    [first, second, third, fourth]
}

fn text(cost: i64) -> String {
    format!("{}{}.{:04}", if cost < 0 { "-" } else { "" }, cost.abs() / 10_000, cost.abs() % 10_000)
}

/// Puts a version into the source, with the time at which AWS wrote it.
fn arrive(place: &Place, version: usize) {
    let mut csv = format!("{HEADER}\n");
    for (number, (account, kind, day, service, cost)) in versions()[version].iter().enumerate() {
        csv.push_str(&format!(
            "v{version}-{number},999900001111,2025-03-01T00:00:00Z,{account},{kind},2025-03-{day:02}T00:00:00Z,{service},1,USD,{}\n",
            text(*cost)
        ));
    }
    place.report(&format!("v{version}"), &[csv.as_bytes()]);
    set_time(&place.at("source").join(MANIFEST), 1_750_000_000 + version as u64 * 3600);
}

fn place() -> Place {
    let place = Place::new();
    place.two_customers();
    place
}

/// Everything that is in the targets, but for what no manifest names.
fn live(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let tree = place.tree("targets");
    let manifests: Vec<String> = tree
        .iter()
        .filter(|(key, _)| key.contains("/manifests/") && key.ends_with("-Manifest.json"))
        .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
        .collect();
    let assembly = |key: &str| key.split('/').nth(5).unwrap_or_default().to_owned();
    tree.into_iter()
        .filter(|(key, _)| {
            let assembly = assembly(key);
            !key.ends_with('/')
                && (key.contains("/manifests/") || manifests.iter().any(|text| text.contains(&assembly)))
        })
        .collect()
}

fn rows(said: &Said) -> Vec<u64> {
    let report = said.json();
    let customers = report["periods"][0]["customers"].as_array().unwrap().iter();
    customers.map(|customer| customer["rows"].as_u64().unwrap()).collect()
}

fn count(version: usize, account: &str) -> u64 {
    versions()[version].iter().filter(|item| item.0 == account).count() as u64
}

fn line(place: &Place) -> Value {
    place.run(&["periods", "list", "-o", "json"]).expect(0).json()[0].clone()
}

#[test]
fn totals_follow_the_last_delivery_in_any_order_of_arrival() {
    let alone = place();
    arrive(&alone, 3);
    alone.run(&["deliver"]).expect(0);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1], [0, 3, 1, 2], [1, 2, 0, 3]] {
        let place = place();
        let mut newest = None;
        for version in order {
            arrive(&place, version);
            let is_newer = newest.is_none_or(|newest| version > newest);
            let before = (place.tree("targets"), place.tree("msp"));
            let said = place.run(&["deliver", "-o", "json"]).expect(if is_newer { 0 } else { 5 });
            if is_newer {
                newest = Some(version);
                assert_eq!(rows(&said), [count(version, ACME), count(version, BETA)], "{order:?}");
            } else {
                said.tells(&["newer version of the source"]);
                same_tree(&before.0, &place.tree("targets"));
                same_tree(&before.1, &place.tree("msp"));
            }
        }
        same_tree(&live(&alone), &live(&place));
        let last = line(&place);
        assert_eq!(last["rows"].as_u64(), Some(versions()[3].len() as u64), "{order:?}");
        place.run(&["verify"]).expect(0);
    }
}

/// The multiset difference of two versions: rows and cost that went and came, by account.
fn due(from: usize, to: usize) -> BTreeMap<&'static str, [i64; 4]> {
    let mut counts: BTreeMap<Item, i64> = BTreeMap::new();
    for (version, step) in [(from, -1), (to, 1)] {
        for item in &versions()[version] {
            *counts.entry(*item).or_default() += step;
        }
    }
    let mut due: BTreeMap<&str, [i64; 4]> = BTreeMap::new();
    for (item, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        let by = due.entry(item.0).or_default();
        let place = usize::from(count > 0);
        by[place] += count.abs();
        by[2 + place] += count.abs() * item.4;
    }
    due
}

fn units(text: &Value) -> i64 {
    let text = text.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{}{fraction:0<4}", whole.trim_start_matches('-'));
    let units: i64 = digits.parse().unwrap();
    if whole.starts_with('-') { -units } else { units }
}

/// The changes of a dimension: rows removed, rows added, cost removed, cost added.
fn told<'a>(difference: &'a Value, by: &str) -> BTreeMap<&'a str, [i64; 4]> {
    let lines = difference["by"][by].as_array().unwrap().iter();
    lines
        .map(|line| {
            let rows = |name: &str| line[name].as_i64().unwrap();
            let (removed, added) = (units(&line["removed"]), units(&line["added"]));
            assert_eq!(units(&line["net"]), added - removed);
            (line["value"].as_str().unwrap(), [rows("rows_removed"), rows("rows_added"), removed, added])
        })
        .collect()
}

/// A place with all four deliveries, and their ids in order.
fn four(more: &[&str]) -> (Place, Vec<String>) {
    let place = place();
    for version in 0..4 {
        arrive(&place, version);
        place.run(&[&["deliver"], more].concat()).expect(0);
    }
    let line = line(&place);
    let mut ids = vec![line["delivery_id"].as_str().unwrap().to_owned()];
    ids.extend(line["older"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    ids.reverse();
    (place, ids)
}

#[test]
fn diff_names_what_changed() {
    let (place, ids) = four(&[]);
    for (from, to) in [(0, 1), (1, 2), (2, 3), (0, 3), (3, 0)] {
        for per_pass in ["1", "3", "1000"] {
            let said = place.run(&[
                "periods",
                "diff",
                MONTH,
                "--from",
                &ids[from],
                "--to",
                &ids[to],
                "--rows-per-pass",
                per_pass,
                "-o",
                "json",
            ]);
            let difference = said.expect(0).json();
            let due = due(from, to);
            assert_eq!(told(&difference, "account"), due, "{from} to {to}");
            let customers: BTreeMap<&str, [i64; 4]> = due
                .iter()
                .map(|(account, change)| match *account {
                    ACME => ("acme", *change),
                    BETA => ("beta", *change),
                    _ => ("(nobody)", *change),
                })
                .collect();
            assert_eq!(told(&difference, "customer"), customers);
            let total = due.values().fold([0; 4], |sum, one| std::array::from_fn(|at| sum[at] + one[at]));
            for by in ["service", "line-item-type", "day"] {
                let told = told(&difference, by);
                let sum = told.values().fold([0; 4], |sum, one| std::array::from_fn(|at| sum[at] + one[at]));
                assert_eq!(sum, total, "{by}");
            }
        }
    }
    // Without ids: the newest and the one before it.
    let difference = place.run(&["periods", "diff", MONTH, "-o", "json"]).expect(0).json();
    assert_eq!(
        (&difference["from"]["delivery_id"], &difference["to"]["delivery_id"]),
        (&ids[2].as_str().into(), &ids[3].as_str().into())
    );
    assert_eq!(told(&difference, "day").keys().collect::<Vec<_>>(), [&"2025-03-01", &"2025-03-31"]);
    assert_eq!(told(&difference, "service")["AWSSupportBusiness"], [0, 1, 0, 290_000]);
    let said = place.run(&["periods", "diff", MONTH, "--by", "service,day", "-o", "csv"]).expect(0);
    assert!(
        said.out.contains("\nday,2025-03-31,USD,0,1,0,29,29\n") && !said.out.contains("\ncustomer,"),
        "{}",
        said.out
    );
    place.run(&["periods", "diff", MONTH, "--by", "colour"]).expect(2).tells(&["line-item-type"]);
    place.run(&["periods", "diff", MONTH, "--from", "nonsense"]).expect(10).tells(&[&ids[0]]);
    same_as_nothing(&place, &ids);
}

fn same_as_nothing(place: &Place, ids: &[String]) {
    let said =
        place.run(&["periods", "diff", MONTH, "--from", &ids[1], "--to", &ids[1], "-o", "json"]).expect(0);
    assert_eq!(said.json()["total"].as_array().unwrap().len(), 0);
    said.tells(&["no row came or went"]);
}

#[test]
fn diff_reads_what_there_is_and_says_what_cannot_be_compared() {
    // Parquet alone, exports by account, slash headers: the same changes.
    for more in [
        &["--formats", "parquet"][..],
        &["--formats", "csv.gz,parquet", "--sharing", "account"],
        &["--layout", "aws", "--contract", "source"],
    ] {
        let (place, ids) = four(more);
        let said = place.run(&["periods", "diff", MONTH, "--from", &ids[0], "--to", &ids[3], "-o", "json"]);
        assert_eq!(told(&said.expect(0).json(), "account"), due(0, 3), "{more:?}");
    }
    // Another contract, another mask key: what both have is compared, and the rest is told.
    let (place, _) = four(&[]);
    place.run(&["deliver", "--contract", "source"]).expect(0);
    let said = place.run(&["periods", "diff", MONTH, "-o", "json"]).expect(0);
    assert_eq!(said.json()["total"].as_array().unwrap().len(), 0, "{}", said.out);
    said.tells(&[
        "acme: contract differs: eco then, source now",
        "only the older delivery has them",
        "same version of the source",
    ]);
    // An account that moves is gone here and there is more there.
    let settings = fs::read_to_string(place.at("apportion.toml")).unwrap();
    let moved = settings.replace("[\"111122223333\"]", "[\"121212121212\"]");
    place
        .write("apportion.toml", moved.replace("[\"444455556666\"]", "[\"444455556666\", \"111122223333\"]"));
    place.run(&["deliver", "--contract", "source"]).expect(0);
    let difference = place.run(&["periods", "diff", MONTH, "-o", "json"]).expect(0).json();
    let by = told(&difference, "customer");
    let (acme, beta) = (by["acme"], by["beta"]);
    assert_eq!((acme[0], acme[1], acme[2]), (beta[1], beta[0], beta[3]));
    assert_eq!(units(&difference["total"][0]["net"]), 0);
}

#[test]
fn diff_refuses_files_that_are_not_what_their_proofs_say() {
    let (place, _) = four(&[]);
    let line = line(&place);
    let older = line["older"][0].as_str().unwrap();
    let unassigned = format!("msp/unassigned/main/20250301-20250401/{older}/unassigned-00001.csv.gz");
    let whole = fs::read(place.at(&unassigned)).unwrap();
    let text = String::from_utf8(crate::support::gunzip(&whole)).unwrap().replacen("0.0250", "0.0251", 1);
    place.write(&unassigned, crate::support::gzip(text.as_bytes()));
    place.run(&["periods", "diff", MONTH]).expect(4).tells(&["unassigned-00001", "changed after delivery"]);
    place.remove(&unassigned);
    place.run(&["periods", "diff", MONTH]).expect(10).tells(&["unassigned-00001"]);
    place.write(&unassigned, whole);
    place.run(&["periods", "diff", MONTH]).expect(0);
    // A proof that tells other money: what changed doesn't explain it.
    let proof = format!("msp/proofs/main/20250301-20250401/{older}-MasterProof.json");
    let text = fs::read_to_string(place.at(&proof)).unwrap();
    let place_of = text.rfind("\"line_item_unblended_cost\": \"0.025\"").unwrap();
    let (head, tail) = text.split_at(place_of);
    place.write(&proof, format!("{head}{}", tail.replacen("0.025", "0.026", 1)));
    place.run(&["periods", "diff", MONTH]).expect(4).tells(&["(nobody)", "0.001", "apportion verify"]);
}

#[test]
fn a_rollback_goes_back_and_stays_until_it_is_unlocked() {
    let (place, ids) = four(&[]);
    let fourth = live(&place);
    let before = (place.tree("targets"), place.tree("msp"));
    let said =
        place.run(&["periods", "rollback", MONTH, "--to", &ids[1], "--dry-run", "-o", "json"]).expect(0);
    let export = &said.json()["exports"][0];
    assert_eq!((&export["state"], &export["rows"]), (&"planned".into(), &count(1, ACME).into()));
    assert_eq!(export["rows_before"], count(3, ACME));
    same_tree(&before.0, &place.tree("targets"));
    same_tree(&before.1, &place.tree("msp"));
    // How an id begins is enough, if only one begins so.
    let said = place.run(&["periods", "rollback", MONTH, "--to", &ids[1][..12], "-o", "json"]).expect(0);
    assert!(said.json()["exports"].as_array().unwrap().iter().all(|export| export["state"] == "moved"));
    place.run(&["verify"]).expect(0);
    let second = self::place();
    arrive(&second, 1);
    second.run(&["deliver"]).expect(0);
    let without_generations = |mut tree: BTreeMap<String, Vec<u8>>| {
        tree.retain(|key, _| !key.ends_with("-Generation.json"));
        tree
    };
    same_tree(&without_generations(live(&second)), &without_generations(live(&place)));
    let now = line(&place);
    assert_eq!((&now["state"], &now["delivery_id"]), (&"locked".into(), &ids[1].as_str().into()));
    assert_eq!(now["reason"], format!("rolled back to {}", ids[1]));
    assert_eq!((now["live"].as_u64(), now["older"].as_array().unwrap().len()), (Some(2), 3));
    // A second time, there is nothing to do.
    let again = place.run(&["periods", "rollback", MONTH, "--to", &ids[1], "-o", "json"]).expect(0);
    assert!(again.json()["exports"].as_array().unwrap().iter().all(|export| export["state"] == "unchanged"));
    place.run(&["deliver"]).expect(3).tells(&["rolled back to", "periods unlock"]);
    assert_eq!(line(&place)["delivery_id"], ids[1]);
    // An older source than the newest that was ever live is refused as before, the newest goes forward.
    place.run(&["periods", "unlock", MONTH]).expect(0);
    arrive(&place, 2);
    place.run(&["deliver"]).expect(5);
    arrive(&place, 3);
    place.run(&["deliver"]).expect(0);
    same_tree(&fourth, &live(&place));
    assert_eq!(line(&place)["delivery_id"], ids[3]);
}

#[test]
fn a_rollback_moves_nothing_unless_all_of_it_is_there() {
    let (place, ids) = four(&[]);
    place.run(&["periods", "rollback", MONTH]).expect(2);
    place.run(&["periods", "rollback", MONTH, "--to", "nonsense"]).expect(10).tells(&[&ids[0], &ids[3]]);
    let assembly = {
        let proof = format!("msp/proofs/main/20250301-20250401/{}-MasterProof.json", ids[1]);
        let proof: Value = serde_json::from_slice(&fs::read(place.at(&proof)).unwrap()).unwrap();
        proof["customers"][1]["assembly_id"].as_str().unwrap().to_owned()
    };
    let file =
        format!("targets/beta/RawCURReports/cur/{BETA}/20250301-20250401/{assembly}/beta-00001.csv.gz");
    let whole = fs::read(place.at(&file)).unwrap();
    let manifest = file.replace("-00001.csv.gz", "-Manifest.json");
    let kept = fs::read(place.at(&manifest)).unwrap();
    let attempt = |tells: &str| {
        let before = (place.tree("targets"), place.tree("msp"));
        place
            .run(&["periods", "rollback", MONTH, "--to", &ids[1]])
            .expect(10)
            .tells(&["nothing was moved", tells]);
        same_tree(&before.0, &place.tree("targets"));
        same_tree(&before.1, &place.tree("msp"));
    };
    place.write(&file, &whole[1..]);
    attempt("bytes where");
    place.remove(&file);
    attempt("beta-00001.csv.gz isn't there");
    place.write(&file, &whole);
    place.remove(&manifest);
    attempt("beta-Manifest.json isn't there");
    place.write(&manifest, kept);
    // A customer that the settings don't know any more: where its export lies, nobody can say.
    let settings = fs::read_to_string(place.at("apportion.toml")).unwrap();
    place.write("apportion.toml", settings.replace("\"beta\"", "\"gamma\""));
    place.run(&["periods", "rollback", MONTH, "--to", &ids[1]]).expect(2).tells(&["beta", "settings"]);
    place.write("apportion.toml", &settings);
    place.run(&["periods", "rollback", MONTH, "--to", &ids[1]]).expect(0);
}

#[test]
fn a_rollback_that_dies_is_locked_and_finished_by_the_next() {
    let (place, ids) = four(&[]);
    let copy = |to: &Place| {
        for folder in ["source", "targets", "msp"] {
            crate::harness::copy(&place.at(folder), &to.at(folder));
        }
        to.two_customers();
    };
    let whole = self::place();
    copy(&whole);
    whole.run(&["periods", "rollback", MONTH, "--to", &ids[0]]).expect(0);
    let mut died = 0;
    for write in 1.. {
        let other = self::place();
        copy(&other);
        let mut command = other.command();
        command
            .args(["periods", "rollback", MONTH, "--to", &ids[0]])
            .env("APPORTION_KILL_AT", write.to_string());
        if Said::of(command.output().unwrap()).code == 0 {
            break;
        }
        died += 1;
        other.run(&["verify"]).expect(0);
        // Nothing goes forward in between, once the first manifest has moved.
        let moved = live(&other) != live(&place);
        let said = other.run(&["deliver", "-o", "json"]);
        assert!(!moved || said.code == 3, "write {write}: {}", said.err);
        other.run(&["periods", "rollback", MONTH, "--to", &ids[0]]).expect(0);
        same_tree(&live(&whole), &live(&other));
        assert_eq!(line(&other)["delivery_id"], ids[0]);
    }
    assert!(died > 8, "only {died} writes");
}

#[test]
fn an_export_that_the_older_delivery_has_not_stays_and_is_told() {
    let place = place();
    let settings = fs::read_to_string(place.at("apportion.toml")).unwrap();
    let alone = settings.split("[[customer]]\nid = \"beta\"").next().unwrap();
    place.write("apportion.toml", alone);
    arrive(&place, 0);
    place.run(&["deliver"]).expect(0);
    let first = line(&place)["delivery_id"].as_str().unwrap().to_owned();
    place.write("apportion.toml", &settings);
    place.run(&["deliver"]).expect(0);
    let beta = place.tree("targets/beta");
    let said = place.run(&["periods", "rollback", MONTH, "--to", &first, "-o", "json"]).expect(0);
    assert_eq!(said.json()["exports"][1]["state"], "stays");
    said.tells(&["has no export beta"]);
    same_tree(&beta, &place.tree("targets/beta"));
}
