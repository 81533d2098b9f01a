//! Kinds of source of which no public file exists, made from real rows by an independent library (pyarrow, Python's
//! zipfile): each is delivered with the same cells as the rows as a plain CSV, verified and audited, and its sums are
//! those that Python's decimals found. `APPORTION_READERS_PYTHON` names a Python that has pyarrow.

use crate::samples::root;
use crate::support::{Place, Said, skip, testdata};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MADE: &str = include_str!("kinds_made.py");

/// The folder of each kind below the made ones, and the kind that it must be found to be.
const KINDS: [(&str, &str); 6] = [
    ("plain/rows.csv", "files"),
    ("zip", "cur1-csv"),
    ("overwrite", "cur1-csv"),
    ("athena", "cur1-parquet"),
    ("cur2", "cur2-parquet"),
    ("create-new", "cur2-parquet"),
];

/// The rows that are made into every kind: real ones where they are there, else a fixture's.
fn rows(place: &Place) -> (PathBuf, &'static str) {
    let real = root().join("wa-labs/Nov2018-WorkshopCUR-00001.snappy.parquet");
    if real.exists() {
        return (real, "re-encoded from real rows");
    }
    skip("samples", "wa-labs isn't there; kinds are made from a fixture's rows");
    let rows = place.at("rows.csv");
    fs::copy(testdata().join("comma-and-quotes/part-1.csv"), &rows).unwrap();
    (rows, "made from a fixture's rows")
}

#[test]
fn every_made_kind_is_delivered_as_the_rows_it_was_made_of() {
    let Some(python) = std::env::var_os("APPORTION_READERS_PYTHON").map(PathBuf::from) else {
        skip("readers", "APPORTION_READERS_PYTHON names no Python with pyarrow");
        return;
    };
    let place = Place::new();
    let (input, origin) = rows(&place);
    place.write("kinds_made.py", MADE);
    let mut command = Command::new(python);
    command.arg(place.at("kinds_made.py")).arg(&input).arg(place.at("made"));
    Said::of(command.output().unwrap()).expect(0);
    let sums: Value = serde_json::from_slice(&fs::read(place.at("made/sums.json")).unwrap()).unwrap();
    let mut first: Option<BTreeMap<String, u128>> = None;
    for (folder, kind) in KINDS {
        let hashes = deliver(&place.at("made").join(folder), folder, kind, &sums);
        // The same cells in every customer's files, whatever they were read from.
        assert_eq!(*first.get_or_insert_with(|| hashes.clone()), hashes, "{folder}");
    }
    let counts = sums.as_object().unwrap().values().flat_map(|types| types.as_object().unwrap().values());
    let rows: u64 = counts.map(|sum| sum[0].as_u64().unwrap()).sum();
    println!(
        "kinds: {} kinds of {rows} rows, {origin}: the same cells in all; verified and audited",
        KINDS.len()
    );
}

/// Delivers a kind with one customer per account; each customer's hash over all its files comes back.
fn deliver(source: &Path, what: &str, kind: &str, sums: &Value) -> BTreeMap<String, u128> {
    let place = Place::new();
    let mut text = format!("[[source]]\nurl = {:?}\n\n[msp]\nurl = \"msp\"\n", source.display().to_string());
    for account in sums.as_object().unwrap().keys() {
        text.push_str(&format!(
            "\n[[customer]]\nid = \"c{account}\"\naccounts = [\"{account}\"]\n[customer.deliver]\nurl = \"targets/{account}\"\n"
        ));
    }
    place.write("apportion.toml", text);
    let said = place.run(&["deliver", "--no-progress", "-o", "json"]).expect(0).json();
    assert_eq!(said["periods"].as_array().unwrap().len(), 1, "{what}");
    assert_eq!(said["periods"][0]["kind"], kind, "{what}");
    let proof = place.at("msp").join(said["periods"][0]["master_proof"].as_str().unwrap());
    let proof: Value = serde_json::from_slice(&fs::read(proof).unwrap()).unwrap();
    assert_eq!(proof["unassigned"]["rows"], 0, "{what}");
    for customer in proof["customers"].as_array().unwrap() {
        let account = customer["customer"].as_str().unwrap().strip_prefix('c').unwrap();
        let mut found = serde_json::Map::new();
        for totals in customer["totals"].as_array().unwrap() {
            let cost = totals["sums"]["line_item_unblended_cost"].as_str().unwrap_or("0");
            found.insert(
                totals["line_item_type"].as_str().unwrap().to_owned(),
                serde_json::json!([totals["rows"], cost]),
            );
        }
        assert_eq!(Value::Object(found), sums[account], "{what} {account}");
    }
    place.run(&["verify"]).expect(0);
    let audit = place.run(&["audit", "-o", "json"]).expect(0).json();
    assert_eq!(audit["findings"], serde_json::json!([]), "{what}");
    let hash = |proof: &[u8]| {
        let proof: Value = serde_json::from_slice(proof).unwrap();
        let hashes =
            proof["files"].as_array().unwrap().iter().map(|file| file["rows_hash"].as_str().unwrap());
        hashes.map(|hash| u128::from_str_radix(hash, 16).unwrap()).fold(0, u128::wrapping_add)
    };
    let proofs = place.tree("targets").into_iter().filter(|(key, _)| key.ends_with("-Proof.json"));
    proofs.map(|(key, proof)| (key.split('/').next().unwrap().to_owned(), hash(&proof))).collect()
}
