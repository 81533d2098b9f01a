//! Periods through the program: states with their reasons, locks that hold and raise an alarm, and deliveries that
//! follow each other.

use crate::support::{HEADER, Place, Said, same_tree, small_csv};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

const MONTH: &str = "2025-03";

/// The small report with an invoice id in the line items from `first_blank` on left blank.
fn invoiced_csv(rows: u32, first_blank: u32) -> String {
    let mut text = format!("{HEADER},bill/InvoiceId\n");
    for (line, id) in small_csv(rows).lines().skip(1).zip(1..) {
        text.push_str(&format!("{line},{}\n", if id < first_blank { "E0042" } else { "" }));
    }
    text
}

fn place() -> Place {
    let place = Place::new();
    place.two_customers();
    place.report("a1", &[small_csv(30).as_bytes()]);
    place
}

/// A place with one delivery.
fn delivered() -> Place {
    let place = place();
    place.run(&["deliver"]).expect(0);
    place
}

/// Everything that was ever delivered, by place and key.
fn all(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let mut all = place.tree("targets");
    all.extend(place.tree("msp").into_iter().map(|(key, bytes)| (format!("msp/{key}"), bytes)));
    all
}

fn list(place: &Place, more: &[&str]) -> Vec<Value> {
    let said = place.run(&[&["periods", "list", "-o", "json"], more].concat()).expect(0);
    said.json().as_array().unwrap().clone()
}

/// State, and whether it is restated, as of a day.
fn state_on(place: &Place, day: &str) -> (String, bool) {
    let line = list(place, &["--today", day]).remove(0);
    (line["state"].as_str().unwrap().to_owned(), line["restated"].as_bool().unwrap())
}

fn states(said: &Said) -> Vec<String> {
    let report = said.json();
    let customers = report["periods"][0]["customers"].as_array().unwrap();
    customers.iter().map(|customer| customer["state"].as_str().unwrap().to_owned()).collect()
}

fn state(name: &str) -> (String, bool) {
    (name.to_owned(), false)
}

#[test]
fn a_month_has_a_state_and_a_reason() {
    let place = delivered();
    assert_eq!(state_on(&place, "2025-03-31"), state("open"));
    assert_eq!(state_on(&place, "2025-04-01"), state("estimated"));
    place.report("a2", &[invoiced_csv(30, 20).as_bytes()]);
    place.run(&["deliver"]).expect(0);
    assert_eq!(state_on(&place, "2025-04-01"), state("estimated"));
    place.report("a3", &[invoiced_csv(30, 99).as_bytes()]);
    place.run(&["deliver"]).expect(0);
    assert_eq!(state_on(&place, "2025-04-01"), state("invoiced"));
    // Other settings of the same source restate nothing; another source after the invoice does.
    place.run(&["deliver", "--order", "source"]).expect(0);
    assert_eq!(state_on(&place, "2025-04-01"), state("invoiced"));
    place.report("a4", &[invoiced_csv(31, 99).as_bytes()]);
    place.run(&["deliver"]).expect(0);
    assert_eq!(state_on(&place, "2025-04-01"), ("invoiced".to_owned(), true));
    let line = list(&place, &[]).remove(0);
    assert_eq!((line["rows"].as_u64(), line["live"].as_u64()), (Some(31), Some(2)));
    assert_eq!(line["older"].as_array().unwrap().len(), 4);
    assert!(line["reason"].as_str().unwrap().contains("restated: delivery"), "{line}");
    assert_eq!(line["source_now"], Value::Null);
    assert_eq!(line["unblended_cost"]["USD"], "0.0496");
}

#[test]
fn list_tells_what_is_behind_and_whether_the_source_has_changed() {
    let place = place();
    place.write("targets/acme/manifests", "a file where a folder is due");
    place.run(&["deliver"]).expect(3);
    place.remove("targets/acme/manifests");
    let said = place.run(&["periods", "list", "--check", "-o", "json"]).expect(0);
    said.json();
    let line = list(&place, &["--check"]).remove(0);
    assert_eq!((line["live"].as_u64(), line["source_now"].as_str()), (Some(1), Some("same")));
    assert_eq!(line["behind"][0]["report_id"], "acme");
    place.run(&["periods", "list"]).expect(0).tells(&["acme isn't live: no manifest of ours"]);
    place.report("a2", &[small_csv(31).as_bytes()]);
    assert_eq!(list(&place, &["--check"]).remove(0)["source_now"], "changed");
    place.remove("source/cur/rpt");
    assert_eq!(list(&place, &["--check"]).remove(0)["source_now"], "gone");
    place.run(&["periods", "list", "--period", "2024-01"]).expect(10).tells(&["2024-01"]);
}

#[test]
fn periods_need_a_place_of_the_msp() {
    let place = delivered();
    place.write("bare.toml", "[[source]]\nurl = \"source\"\n\n[[customer]]\nid = \"acme\"\naccounts = [\"111122223333\"]\n[customer.deliver]\nurl = \"targets/acme\"\n");
    for what in [vec!["list"], vec!["lock", MONTH], vec!["unlock", MONTH]] {
        let said = place.run(&[&["periods"], &what[..], &["--config", "bare.toml"]].concat());
        said.expect(2).tells(&["--msp-target"]);
        let said = place.run(&[&["periods"], &what[..], &["--msp-target", "nowhere"]].concat());
        said.expect(10).tells(&["nowhere"]);
    }
    place.run(&["periods", "lock", "2025-13"]).expect(2);
    place.run(&["periods", "lock", "2025-04"]).expect(10).tells(&["2025-04", "periods list"]);
    place.run(&["periods", "lock", MONTH, "--source-name", "other"]).expect(2).tells(&["main"]);
    // All by flags, without a settings file.
    let flags = ["--msp-target", "msp", "--accounts", "111122223333", "--customer", "acme"];
    let more = ["--target", "targets/acme", "-o", "json"];
    let said = place.run(&[&["periods", "list"], &flags[..], &more].concat()).expect(0);
    assert_eq!(said.json()[0]["live"], 1);
}

#[test]
fn a_locked_month_stays_and_raises_an_alarm_when_its_source_changes() {
    let place = delivered();
    let said = place.run(&["periods", "lock", MONTH, "--reason", "books are closed", "-o", "json"]).expect(0);
    assert_eq!((&said.json()[0]["state"], &said.json()[0]["changed"]), (&"locked".into(), &true.into()));
    assert_eq!(state_on(&place, "2025-03-02"), state("locked"));
    let before = all(&place);
    // Locked twice is locked as before, in the first one's words.
    place.run(&["periods", "lock", MONTH]).expect(0).tells(&["was locked already"]);
    same_tree(&before, &all(&place));
    assert_eq!(states(&place.run(&["deliver", "-o", "json"]).expect(0)), ["locked", "locked"]);
    assert_eq!(states(&place.run(&["plan", "-o", "json"]).expect(0)), ["locked", "locked"]);
    place.report("a2", &[small_csv(33).as_bytes()]);
    let said = place.run(&["deliver", "-o", "json"]).expect(3).tells(&[
        "error: 2025-03 of source main is locked (books are closed)",
        "apportion periods unlock 2025-03",
        "apportion periods diff 2025-03",
    ]);
    assert_eq!(states(&said), ["waiting", "waiting"]);
    let lock = &said.json()["periods"][0]["lock"];
    assert!(lock["alarm"].as_str().unwrap().contains("a2"), "{lock}");
    assert_ne!(lock["source_version"], lock["source_version_now"]);
    // What waits can be looked at.
    let said = place.run(&["plan", "-o", "json"]).expect(3);
    let customer = &said.json()["periods"][0]["customers"][0];
    assert_eq!((&customer["rows"], &customer["rows_before"]), (&22.into(), &20.into()));
    assert_eq!(states(&said), ["waiting", "waiting"]);
    same_tree(&before, &all(&place));
    // Accepted.
    place.run(&["periods", "unlock", MONTH]).expect(0);
    place.run(&["periods", "unlock", MONTH]).expect(0).tells(&["was unlocked already"]);
    assert_eq!(states(&place.run(&["deliver", "-o", "json"]).expect(0)), ["delivered", "delivered"]);
    place.run(&["verify"]).expect(0);
}

#[test]
fn a_month_that_waits_keeps_no_other_back() {
    let place = delivered();
    place.run(&["periods", "lock", MONTH]).expect(0);
    place.report("a2", &[small_csv(33).as_bytes()]);
    // April beside it, as a report of its own month.
    let april = |text: String| text.replace("2025-03-", "2025-04-");
    let folder = "source/cur/rpt/20250401-20250501";
    place.write(&format!("{folder}/b1/rpt-1.csv.gz"), crate::support::gzip(april(small_csv(9)).as_bytes()));
    let manifest = crate::support::manifest("b1", &["rpt-1.csv.gz"]).to_string();
    let manifest = manifest.replace("20250401", "20250501").replace("20250301", "20250401");
    place.write(&format!("{folder}/rpt-Manifest.json"), manifest);
    let said = place.run(&["deliver", "-o", "json"]).expect(3);
    let report = said.json();
    let ended: Vec<&str> = report["periods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|period| period["customers"][0]["state"].as_str().unwrap())
        .collect();
    assert_eq!(ended, ["waiting", "delivered"]);
}

#[test]
fn settings_that_change_a_locked_month_wait_without_an_alarm() {
    let place = delivered();
    place.run(&["periods", "lock", MONTH]).expect(0);
    let before = all(&place);
    let settings = fs::read_to_string(place.at("apportion.toml")).unwrap();
    place.write(
        "apportion.toml",
        settings.replace("[\"444455556666\"]", "[\"444455556666\", \"777788889999\"]"),
    );
    let said = place
        .run(&["deliver", "-o", "json"])
        .expect(0)
        .tells(&["beta would change", "periods unlock 2025-03"]);
    assert!(!said.err.contains("acme would change"), "{}", said.err);
    assert_eq!(states(&said), ["locked", "locked"]);
    place.run(&["plan"]).expect(0).tells(&["beta would change"]);
    same_tree(&before, &all(&place));
    place.run(&["periods", "unlock", MONTH]).expect(0);
    assert_eq!(states(&place.run(&["deliver", "-o", "json"]).expect(0)), ["unchanged", "delivered"]);
}

#[test]
fn a_state_that_cannot_be_read_is_not_taken_for_none() {
    let place = delivered();
    place.run(&["periods", "lock", MONTH]).expect(0);
    let state = "msp/states/main/20250301-20250401-State.json";
    let text = fs::read_to_string(place.at(state)).unwrap();
    place.write(state, text.replace("\"locked\"", "\"frozen\""));
    place.report("a2", &[small_csv(33).as_bytes()]);
    let before = all(&place);
    place.run(&["deliver"]).expect(13).tells(&["State.json", "frozen"]);
    place.run(&["periods", "list"]).expect(13);
    same_tree(&before, &all(&place));
}
