//! Kinds of source of which no public file exists, made from real rows by an independent library (pyarrow, Python's
//! zipfile): each is delivered with the same cells as the rows as a plain CSV, verified and audited, and its sums are
//! those that Python's decimals found. `APPORTION_READERS_PYTHON` names a Python that has pyarrow.

use crate::samples::root;
use crate::support::{MANIFEST, Place, Said, gunzip, gzip, skip, small_csv, testdata, zip};
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

/// Parquet parts that differ: a column that is text in one and a number in the other, two columns of one name, and a
/// struct where CUR 2.0 has a map.
#[test]
fn parquet_parts_that_drift_are_read_by_name() {
    let place = Place::new();
    place.two_customers();
    let folder = "source/exports/rpt/data/BILLING_PERIOD=2025-03";
    place.write(&format!("{folder}/rpt-1.parquet"), drifting(true));
    place.write(&format!("{folder}/rpt-2.parquet"), drifting(false));
    let keys =
        [1, 2].map(|number| format!("s3://b/exports/rpt/data/BILLING_PERIOD=2025-03/rpt-{number}.parquet"));
    let manifest = serde_json::json!({"executionId": "e1", "columns": [], "dataFiles": keys});
    let key = "source/exports/rpt/metadata/BILLING_PERIOD=2025-03/rpt-Manifest.json";
    place.write(key, manifest.to_string());
    let said = place.run(&["deliver", "--no-progress", "-o", "json"]).expect(0).json();
    let period = &said["periods"][0];
    assert_eq!((&period["kind"], &period["source_rows"]), (&"cur2-parquet".into(), &4.into()));
    assert_eq!(period["source_unblended_cost"]["USD"], "3");
    let told = period["observations"].to_string();
    for words in [
        "columns of different types from file to file, read as text: line_item_unblended_cost (double in 1, string in 1), product (map in 1, struct in 1)",
        "columns that only some files have: identity_line_item_id (1 of 2)",
        "in 1 rows headers identity_line_item_id and identity_line_item_id hold different values",
    ] {
        assert!(told.contains(words), "{words:?} is missing in {told}");
    }
    place.run(&["verify"]).expect(0);
    assert_eq!(place.run(&["audit", "-o", "json"]).expect(0).json()["findings"], serde_json::json!([]));
    // From the map and from the struct; of two columns the first that isn't blank.
    let file = place.tree("targets/acme").into_iter().find(|(key, _)| key.ends_with(".csv.gz")).unwrap().1;
    let text = String::from_utf8(gunzip(&file)).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut at = |name: &str| reader.headers().unwrap().iter().position(|header| header == name).unwrap();
    let places = [at("identity_line_item_id"), at("product_sku"), at("product_vcpu")];
    let mut cells: Vec<String> = Vec::new();
    for record in reader.records() {
        let record = record.unwrap();
        cells.push(places.map(|place| record[place].to_owned()).join(" "));
    }
    cells.sort();
    assert_eq!(cells, [" S2 8", "first S1 ", "second  "]);
}

/// Two line items of acme and, in the first part, one of them with two ids; in the second one of beta, too.
fn drifting(first: bool) -> Vec<u8> {
    use arrow_array::builder::{MapBuilder, StringBuilder};
    use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, StructArray};
    use arrow_schema::{DataType, Field, Schema};
    use std::sync::Arc;
    let text = |cells: [Option<&str>; 2]| Arc::new(StringArray::from(cells.to_vec())) as ArrayRef;
    let same = |cell| text([Some(cell), Some(cell)]);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("bill_payer_account_id", same("999900001111")),
        ("bill_billing_period_start_date", same("2025-03-01T00:00:00Z")),
        ("line_item_line_item_type", same("Usage")),
        ("line_item_usage_start_date", same("2025-03-02T00:00:00Z")),
        ("line_item_currency_code", same("USD")),
    ];
    if first {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("sku");
        map.values().append_value("S1");
        map.append(true).unwrap();
        map.append(false).unwrap();
        columns.push(("line_item_usage_account_id", same("111122223333")));
        columns.push(("line_item_unblended_cost", Arc::new(Float64Array::from(vec![1.0, 0.5]))));
        columns.push(("product", Arc::new(map.finish())));
        columns.push(("identity_line_item_id", text([Some("first"), None])));
        columns.push(("identity_line_item_id", text([Some("other"), Some("second")])));
    } else {
        let fields = vec![
            (Arc::new(Field::new("sku", DataType::Utf8, true)), text([Some("S2"), None])),
            (
                Arc::new(Field::new("vcpu", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![8, 4])) as ArrayRef,
            ),
        ];
        columns.push(("line_item_usage_account_id", text([Some("111122223333"), Some("444455556666")])));
        columns.push(("line_item_unblended_cost", text([Some("0.50"), Some("1.00")])));
        columns.push(("product", Arc::new(StructArray::from(fields))));
    }
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).unwrap();
    crate::support::parquet(&batch)
}

/// `kind = "files"`: all files of a folder are one report, a delivery per month, each file by its own name's ending.
#[test]
fn all_loose_files_of_a_folder_are_one_report() {
    let place = Place::new();
    let march = small_csv(30);
    let april = march.replace("2025-03-", "2025-04-");
    place.write("source/a.csv", format!("{march}{}", april.split_once('\n').unwrap().1));
    place.write("source/deep/b.csv.gz", gzip(march.as_bytes()));
    place.write("source/deep/c.csv.zip", zip(&[("c.csv", april.as_bytes())]));
    place.write("source/empty.csv", format!("{}\n", march.lines().next().unwrap()));
    // Not looked at: the files are the report.
    place.write(&format!("source/{MANIFEST}"), "{}");
    let report = place
        .run(&[
            "deliver",
            "--source",
            "source",
            "--kind",
            "files",
            "--accounts",
            "all",
            "--target",
            "target",
            "-o",
            "json",
        ])
        .expect(0)
        .json();
    let told: Vec<(&str, &str, u64)> = report["periods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|period| {
            let text = |name: &str| period[name].as_str().unwrap();
            (text("billing_period"), text("report"), period["source_rows"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(told, [("20250301-20250401", "source", 60), ("20250401-20250501", "source", 60)]);
    let refused = report["refused"][0].as_str().unwrap();
    assert!(refused.contains("empty.csv: holds no line item"), "{refused}");
    place
        .run(&["audit", "--source", "source", "--kind", "files", "--accounts", "all", "--target", "target"])
        .expect(0);
}
