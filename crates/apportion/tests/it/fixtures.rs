//! The tiny reports of testdata/, one oddity each: planned, delivered, verified, audited, and compared with what was
//! looked at and found right. `APPORTION_BLESS=1` writes what is found instead.

use crate::support::{MANIFEST, PERIOD_FOLDER, Place, Said, gunzip, gzip, manifest, testdata, zip};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What most cells are; only others are shown.
const USUAL: [(&str, &str); 17] = [
    ("identity_time_interval", "2025-03-02T00:00:00Z/2025-03-02T01:00:00Z"),
    ("bill_invoice_id", "INV1"),
    ("bill_billing_entity", "AWS"),
    ("bill_bill_type", "Anniversary"),
    ("bill_payer_account_id", "999900001111"),
    ("bill_billing_period_start_date", "2025-03-01T00:00:00Z"),
    ("bill_billing_period_end_date", "2025-04-01T00:00:00Z"),
    ("line_item_usage_start_date", "2025-03-02T00:00:00Z"),
    ("line_item_usage_end_date", "2025-03-02T01:00:00Z"),
    ("line_item_line_item_type", "Usage"),
    ("line_item_product_code", "AmazonEC2"),
    ("line_item_usage_type", "BoxUsage:m5.large"),
    ("line_item_operation", "RunInstances"),
    ("line_item_usage_amount", "1"),
    ("line_item_currency_code", "USD"),
    ("line_item_line_item_description", "an hour"),
    ("line_item_legal_entity", "Amazon Web Services Inc."),
];
/// As the cost, or of no interest.
const HIDDEN: [&str; 4] =
    ["line_item_unblended_rate", "line_item_blended_rate", "line_item_blended_cost", "identity_line_item_id"];

#[test]
fn every_fixture_is_delivered_as_it_should_be() {
    let bless = std::env::var_os("APPORTION_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut folders: Vec<_> = fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        count += 1;
        let found = outcome(&folder);
        let path = folder.join("expected.txt");
        if bless {
            fs::write(&path, found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != found {
            wrong.push(format!("{}:\n{}", folder.display(), difference(&expected, &found)));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 25, "only {count} fixtures were found");
}

/// A fixture that nobody explains is of no use, and neither is a line about one that isn't there.
#[test]
fn the_readme_names_every_fixture() {
    let readme = fs::read_to_string(testdata().join("README.md")).unwrap();
    let mut told: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|name| *name != "folder")
        .collect();
    told.sort_unstable();
    let mut there: Vec<String> = fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    assert_eq!(told, there);
}

fn difference(expected: &str, found: &str) -> String {
    let mut text = String::new();
    for line in expected.lines().filter(|line| !found.lines().any(|other| other == *line)) {
        writeln!(text, "  - {line}").unwrap();
    }
    for line in found.lines().filter(|line| !expected.lines().any(|other| other == *line)) {
        writeln!(text, "  + {line}").unwrap();
    }
    if text.is_empty() { "  the lines' order or number".to_owned() } else { text }
}

/// Lays the fixture out as a bucket.
fn lay_out(folder: &Path, place: &Place) {
    let own = |name: &str| fs::read(folder.join(name)).ok();
    let shared = |name: &str| fs::read(testdata().join(name)).unwrap();
    place.write("apportion.toml", own("settings.toml").unwrap_or_else(|| shared("settings.toml")));
    place.write("mask.key", shared("mask.key"));
    if let Some(list) = own("objects.txt") {
        // Each line: an object's key, and the file that it is made of by its ending.
        for line in String::from_utf8(list).unwrap().lines() {
            let (key, file) = line.split_once(" <- ").unwrap();
            let bytes = fs::read(folder.join(file)).unwrap();
            place.write(&format!("source/{key}"), packed(key, &bytes));
        }
        return;
    }
    let mut objects = Vec::new();
    while let Some(text) = own(&format!("part-{}.csv", objects.len() + 1)) {
        let mut bytes = gzip(&text);
        if let Some(member) = own(&format!("part-{}.member-2.csv", objects.len() + 1)) {
            bytes.extend(gzip(&member));
        }
        objects.push(bytes);
    }
    let names: Vec<String> = (1..=objects.len()).map(|number| format!("rpt-{number}.csv.gz")).collect();
    let given = own("manifest.json");
    let exports = given.as_ref().is_some_and(|text| String::from_utf8_lossy(text).contains("dataFiles"));
    for (name, bytes) in names.iter().zip(&objects) {
        let key = if exports {
            format!("source/exports/rpt/data/BILLING_PERIOD=2025-03/e1/{name}")
        } else {
            format!("source/{PERIOD_FOLDER}/a1/{name}")
        };
        place.write(&key, bytes);
    }
    let manifest = given.unwrap_or_else(|| {
        manifest("a1", &names.iter().map(String::as_str).collect::<Vec<_>>()).to_string().into()
    });
    if exports {
        place.write("source/exports/rpt/metadata/BILLING_PERIOD=2025-03/rpt-Manifest.json", manifest);
    } else {
        place.write(&format!("source/{MANIFEST}"), manifest);
    }
}

/// A text as an object of this key has it.
fn packed(key: &str, text: &[u8]) -> Vec<u8> {
    if key.ends_with(".gz") {
        return gzip(text);
    }
    if key.ends_with(".zip") {
        return zip(&[("rpt.csv", text)]);
    }
    text.to_vec()
}

/// All that the program makes of a fixture, as a text to look at.
fn outcome(folder: &Path) -> String {
    let place = Place::new();
    lay_out(folder, &place);
    let planned = place.run(&["plan", "--no-progress", "-o", "json"]).expect(0).json();
    assert!(place.tree("targets").is_empty() && place.tree("msp").is_empty(), "plan writes nothing");
    let delivered = place.run(&["deliver", "--no-progress", "-o", "json"]).expect(0).json();
    let periods = delivered["periods"].as_array().unwrap();
    let mut text = String::new();
    for (plan, period) in planned["periods"].as_array().unwrap().iter().zip(periods) {
        same_but_for_state(plan, period, folder);
        text.push_str(&told(&place, period));
        text.push_str(if periods.len() > 1 { "\n" } else { "" });
    }
    proved(&place, &mut text);
    text
}

/// All that is told of a period, and what was delivered for it.
fn told(place: &Place, period: &Value) -> String {
    let month = period["billing_period"].as_str().unwrap();
    let mut text = String::new();
    writeln!(
        text,
        "{} {} {}: {} line items, {}",
        period["billing_period"].as_str().unwrap(),
        period["report"].as_str().unwrap(),
        period["kind"].as_str().unwrap(),
        period["source_rows"],
        money(&period["source_unblended_cost"])
    )
    .unwrap();
    for customer in period["customers"].as_array().unwrap() {
        let id = customer["customer"].as_str().unwrap();
        writeln!(text, "\n{id}: {} line items, {}", customer["rows"], money(&customer["unblended_cost"]))
            .unwrap();
        text.push_str(&delivered_rows(place, id, month));
    }
    writeln!(text, "\nunassigned").unwrap();
    for line in period["unassigned"].as_array().unwrap() {
        let owner = line["owner"].as_str().map(|owner| format!(" from {owner}")).unwrap_or_default();
        let reason = line["reason"].as_str().unwrap();
        writeln!(text, "  {reason}{owner}: {} line items, {}", line["rows"], money(&line["unblended_cost"]))
            .unwrap();
    }
    text.push_str(&unassigned_rows(place, month));
    writeln!(text, "\nnotes").unwrap();
    for note in period["observations"].as_array().unwrap() {
        writeln!(text, "  {}", note.as_str().unwrap()).unwrap();
    }
    text
}

/// `plan` says what `deliver` does.
fn same_but_for_state(planned: &Value, delivered: &Value, folder: &Path) {
    for key in ["source_rows", "source_unblended_cost", "unassigned", "observations"] {
        assert_eq!(planned[key], delivered[key], "{}: {key}", folder.display());
    }
    let both =
        planned["customers"].as_array().unwrap().iter().zip(delivered["customers"].as_array().unwrap());
    for (plan, done) in both {
        for key in ["customer", "report_id", "rows", "unblended_cost", "assembly_id", "manifest"] {
            assert_eq!(plan[key], done[key], "{}: {key}", folder.display());
        }
    }
}

fn money(sums: &Value) -> String {
    let sums: Vec<String> = sums
        .as_object()
        .unwrap()
        .iter()
        .map(|(currency, sum)| format!("{} {currency}", sum.as_str().unwrap()))
        .collect();
    if sums.is_empty() { "no cost".to_owned() } else { sums.join(", ") }
}

fn proved(place: &Place, text: &mut String) {
    let verified = place.run(&["verify", "-o", "json"]).expect(0).json();
    let exports =
        verified.as_array().unwrap().iter().flat_map(|target| target["exports"].as_array().unwrap());
    let good = exports.filter(|export| export["problems"].as_array().unwrap().is_empty()).count();
    let audit: Said = place.run(&["audit", "-o", "json"]).expect(0);
    assert_eq!(audit.json()["findings"], serde_json::json!([]));
    let zeros: Vec<&str> = audit.err.lines().filter_map(|line| line.split_whitespace().last()).collect();
    writeln!(text, "\nverify: {good} exports good; audit: {}", zeros.join(" ")).unwrap();
    let again = place.run(&["deliver", "--no-progress", "-o", "json"]).expect(0).json();
    for period in again["periods"].as_array().unwrap() {
        for customer in period["customers"].as_array().unwrap() {
            assert_eq!(customer["state"], "unchanged");
        }
    }
}

/// A month's only data file below a folder, as records by column name.
fn records(place: &Place, folder: &str, month: &str) -> Vec<BTreeMap<String, String>> {
    let files: Vec<Vec<u8>> = place
        .tree(folder)
        .into_iter()
        .filter(|(name, _)| name.ends_with(".csv.gz") && name.contains(month))
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(files.len(), 1, "{folder} {month}");
    let text = gunzip(&files[0]);
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let headers = reader.headers().unwrap().clone();
    let mut rows: Vec<BTreeMap<String, String>> = reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            headers.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect()
        })
        .collect();
    rows.sort_by(|left, right| left.get("identity_line_item_id").cmp(&right.get("identity_line_item_id")));
    rows
}

fn delivered_rows(place: &Place, customer: &str, month: &str) -> String {
    let mut text = String::new();
    for row in records(place, &format!("targets/{customer}"), month) {
        write!(text, "  {}", row["identity_line_item_id"]).unwrap();
        for (name, usual) in USUAL {
            if row[name].is_empty() && !usual.is_empty() {
                write!(text, " {name}=").unwrap();
            }
        }
        for (name, cell) in &row {
            let usual = USUAL.iter().any(|(usual, value)| usual == name && value == cell);
            if !cell.is_empty() && !usual && !HIDDEN.contains(&name.as_str()) {
                let short = name.strip_prefix("line_item_").unwrap_or(name);
                let cell =
                    if cell.contains([' ', '\n', '\r', '"']) { format!("{cell:?}") } else { cell.clone() };
                write!(text, " {short}={cell}").unwrap();
            }
        }
        text.push('\n');
    }
    text
}

fn unassigned_rows(place: &Place, month: &str) -> String {
    let mut text = String::new();
    for row in records(place, "msp/unassigned", month) {
        let (reason, owner) = (&row["apportion_reason"], &row["apportion_owner"]);
        let cost = &row["line_item_unblended_cost"];
        writeln!(text, "  {}: {reason} {owner} {cost}", row["identity_line_item_id"]).unwrap();
    }
    text
}
