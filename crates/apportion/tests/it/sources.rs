//! Several sources in one run, a target per linked account, and months of which one is refused: what belongs apart
//! stays apart, and what is right is delivered beside what isn't.

use crate::read_back::{data_files, is_data, read};
use crate::support::{HEADER, MANIFEST, Place, gzip, manifest, row, same_tree, small_csv};
use flate2::bufread::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

const PAYER: &str = "999900001111";
const OTHER_PAYER: &str = "888800002222";

/// The report of March 2025 of a payer, in a folder of its own.
fn source(place: &Place, folder: &str, payer: &str, rows: u32) {
    let text = small_csv(rows).replace(PAYER, payer);
    place.write(&format!("{folder}/cur/rpt/20250301-20250401/a1/rpt-1.csv.gz"), gzip(text.as_bytes()));
    place.write(&format!("{folder}/{MANIFEST}"), manifest("a1", &["rpt-1.csv.gz"]).to_string());
}

fn sources(entries: &[(&str, &str)]) -> String {
    let entry = |(url, name): &(&str, &str)| {
        let name = if name.is_empty() { String::new() } else { format!("name = \"{name}\"\n") };
        format!("[[source]]\nurl = \"{url}\"\n{name}\n")
    };
    entries.iter().map(entry).collect()
}

const ACME: &str = "[msp]\nurl = \"msp\"\n[[customer]]\nid = \"acme\"\naccounts = [\"111122223333\"]\n\
                    [customer.deliver]\nurl = \"targets/acme\"\n";

/// The live manifests' names, and how many data rows each names.
fn live(place: &Place, target: &str) -> BTreeMap<String, usize> {
    let tree = place.tree(target);
    let pointers =
        tree.iter().filter(|(key, _)| key.starts_with("manifests/") && key.ends_with("-Manifest.json"));
    let rows = |bytes: &Vec<u8>| {
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        let keys = manifest["reportKeys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap());
        keys.map(|key| read(key, &tree[key]).len() - 1).sum()
    };
    pointers.map(|(key, bytes)| (key.rsplit('/').next().unwrap().to_owned(), rows(bytes))).collect()
}

#[test]
fn two_payers_are_delivered_side_by_side_and_never_mixed() {
    let place = Place::new();
    source(&place, "one", PAYER, 9);
    source(&place, "two", OTHER_PAYER, 12);
    place.write("apportion.toml", format!("{}{ACME}", sources(&[("one", ""), ("two", "partner")])));
    let said = place.run(&["deliver", "-o", "json"]).expect(0).json();
    let told: Vec<(&str, u64)> = said["periods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|period| (period["source"].as_str().unwrap(), period["source_rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("main", 9), ("partner", 12)]);
    let due = [("acme-Manifest.json".to_owned(), 6), ("acme-partner-Manifest.json".to_owned(), 8)];
    assert_eq!(live(&place, "targets/acme"), due.into());
    let msp = place.tree("msp");
    for name in ["main", "partner"] {
        assert!(msp.contains_key(&format!("proofs/{name}/20250301-20250401-MasterPointer.json")), "{name}");
        assert!(
            msp.keys().any(|key| key.starts_with(&format!("unassigned/{name}/20250301-20250401/"))),
            "{name}"
        );
    }
    // One of them alone, in a place of its own, has the same data files: nothing of the other is in them.
    place.write(
        "alone.toml",
        format!(
            "{}{}",
            sources(&[("two", "partner")]),
            ACME.replace("targets", "alone").replace("msp\"", "alone-msp\"")
        ),
    );
    place.run(&["deliver", "--config", "alone.toml"]).expect(0);
    let (both, alone) = (data_files(&place.tree("targets/acme")), data_files(&place.tree("alone/acme")));
    assert_eq!(alone.keys().collect::<Vec<_>>(), ["acme-partner-00001.csv.gz"]);
    assert!(alone.iter().all(|(key, bytes)| &both[key] == bytes));
    // A second run has nothing to do, a new delivery of one moves that one's pointer alone.
    let before = place.tree("targets/acme");
    place.run(&["deliver"]).expect(0);
    same_tree(&before, &place.tree("targets/acme"));
    source(&place, "two", OTHER_PAYER, 15);
    place.run(&["deliver"]).expect(0);
    let after = place.tree("targets/acme");
    assert_eq!(
        before.get("manifests/20250301-20250401/acme-Manifest.json"),
        after.get("manifests/20250301-20250401/acme-Manifest.json")
    );
    assert_eq!(live(&place, "targets/acme").get("acme-partner-Manifest.json"), Some(&10));
    // A flag takes the place of all of them.
    place.remove("targets");
    place.remove("msp");
    place.run(&["deliver", "--source", "two"]).expect(0);
    assert_eq!(live(&place, "targets/acme"), [("acme-Manifest.json".to_owned(), 10)].into());
}

#[test]
fn two_sources_with_one_bill_are_refused() {
    let place = Place::new();
    source(&place, "one", PAYER, 9);
    source(&place, "two", PAYER, 9);
    place.write("apportion.toml", format!("{}{ACME}", sources(&[("one", "ours"), ("two", "theirs")])));
    let before = place.tree("");
    for command in ["plan", "deliver"] {
        let words = ["ours", "theirs", "20250301-20250401", PAYER, "would count twice"];
        place.run(&[command]).expect(2).tells(&words);
        same_tree(&before, &place.tree(""));
    }
}

#[test]
fn a_month_that_is_refused_keeps_no_other_month_back() {
    let place = Place::new();
    place.report("a1", &[small_csv(9).as_bytes()]);
    let april = "source/cur/rpt/20250401-20250501";
    let text = format!("{HEADER}\n{}\n", row(1, "111122223333", 1, "1.5")).replace("2025-03", "2025-04");
    let keys = ["cur/rpt/20250401-20250501/b1/rpt-1.csv.gz"];
    let mut told = manifest("b1", &[]);
    told["reportKeys"] = keys.to_vec().into();
    told["billingPeriod"] =
        serde_json::json!({ "start": "20250401T000000.000Z", "end": "20250501T000000.000Z" });
    place.write(&format!("{april}/rpt-Manifest.json"), told.to_string());
    place.write("apportion.toml", format!("{}{ACME}", sources(&[("source", "")])));
    let good = "manifests/20250301-20250401/acme-Manifest.json";
    // A ragged row, a file that isn't there, one that was cut short.
    let ragged = gzip(format!("{text}too,few\n").as_bytes());
    let short = gzip(text.as_bytes());
    for bytes in [Some(&ragged[..]), None, Some(&short[..short.len() - 9])] {
        for name in ["targets", "msp"] {
            place.remove(name);
        }
        place.remove(&format!("{april}/b1"));
        if let Some(bytes) = bytes {
            place.write(&format!("source/{}", keys[0]), bytes);
        }
        let said = place.run(&["deliver"]).expect(3).tells(&["error: 20250401-20250501", "rpt-1.csv.gz"]);
        assert!(said.out.contains("20250301-20250401"), "{}", said.out);
        let tree = place.tree("targets/acme");
        assert!(
            tree.contains_key(good) && !tree.keys().any(|key| key.contains("20250401-")),
            "{:?}",
            tree.keys()
        );
        place.run(&["verify", "--target", "targets/acme"]).expect(0);
    }
    // Put right, it is delivered, and the good one stays as it is.
    let before = place.tree("targets/acme");
    place.write(&format!("source/{}", keys[0]), gzip(text.as_bytes()));
    place.run(&["deliver"]).expect(0);
    let after = place.tree("targets/acme");
    assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)) && after.len() > before.len());
    // Where it is the only one, its own code tells.
    place.write(&format!("source/{}", keys[0]), ragged);
    place.run(&["deliver", "--period", "2025-04"]).expect(13);
}

const ACCOUNTS: [&str; 2] = ["111122223333", "444455556666"];

fn shared(target: &str, more: &str) -> String {
    format!(
        "{}[msp]\nurl = \"msp\"\n[[customer]]\nid = \"acme\"\naccounts = [\"{}\", \"{}\"]\nsharing = \"account\"\n\
         [customer.deliver]\nurl = \"{target}\"\n{more}",
        sources(&[("source", "")]),
        ACCOUNTS[0],
        ACCOUNTS[1],
    )
}

#[test]
fn each_linked_account_has_a_target_of_its_own() {
    let place = Place::new();
    place.report("a1", &[small_csv(30).as_bytes()]);
    let more = "formats = [\"csv.gz\", \"parquet\"]\ncontract = \"source\"\n";
    place.write("apportion.toml", shared("targets/{account}/cur", more));
    place.run(&["deliver"]).expect(0);
    let mut rows = 0;
    for account in ACCOUNTS {
        let other = ACCOUNTS.iter().find(|other| **other != account).unwrap();
        let tree = place.tree(&format!("targets/{account}/cur"));
        let live = live(&place, &format!("targets/{account}/cur"));
        let due = [format!("acme-{account}-Manifest.json"), format!("acme-{account}-parquet-Manifest.json")];
        assert_eq!(live.keys().collect::<Vec<_>>(), due.iter().collect::<Vec<_>>());
        rows += live.values().sum::<usize>();
        for (key, bytes) in &tree {
            assert!(!key.contains(other), "{key}");
            // A proof names all of its customer's accounts; nothing else names another account.
            if is_data(key) {
                assert!(!read(key, bytes).iter().flatten().any(|cell| cell.contains(other)), "{key}");
            }
        }
        place.run(&["verify", "--target", &format!("targets/{account}/cur")]).expect(0);
    }
    assert_eq!(rows, 60);
    place.run(&["verify"]).expect(0);
    // A folder that is in the way of one account leaves the other's alone.
    let good = place.tree("targets/444455556666");
    place.remove("targets");
    place.remove("msp");
    place.write("targets/111122223333", "in the way");
    place.run(&["deliver"]).expect(3).tells(&["acme-111122223333"]);
    same_tree(&good, &place.tree("targets/444455556666"));
}

/// The gzip members of a file, unpacked.
fn members(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let mut text = Vec::new();
        let mut decoder = GzDecoder::new(bytes);
        decoder.read_to_end(&mut text).unwrap();
        found.push(text);
        bytes = decoder.into_inner();
    }
    found
}

/// Most bytes of a data file.
const MOST: usize = 64 << 20;

#[test]
fn a_single_member_is_one_and_several_are_several() {
    let place = Place::new();
    let mut text = format!("{HEADER},vendor/Long\n");
    let rows = 17_000;
    for id in 0..rows {
        let long = format!("{id:0width$}", width = 400 + id as usize % 50);
        text.push_str(&format!("{},{long}\n", row(id, "111122223333", 1 + id % 28, "0.5")));
    }
    place.report("a1", &[text.as_bytes()]);
    for contract in ["eco", "source"] {
        for gzip in ["single", "multi-member"] {
            place.remove("out");
            let common = ["deliver", "--source", "source", "--accounts", "111122223333", "--target", "out"];
            place.run(&[&common[..], &["--contract", contract, "--gzip", gzip]].concat()).expect(0);
            let files = data_files(&place.tree("out"));
            let mut found = 0;
            for (key, bytes) in &files {
                let members = members(bytes);
                assert!(bytes.len() < MOST, "{key}");
                assert_eq!(
                    members.len() == 1,
                    gzip == "single",
                    "{contract} {gzip}: {} members",
                    members.len()
                );
                assert!(members[0].starts_with(b"bill_bill_type,"), "{key}");
                found += read(key, bytes).len() - 1;
            }
            assert_eq!(found, rows as usize);
            assert_eq!(files.len(), if gzip == "single" { 2 } else { 1 });
        }
    }
    place.run(&["verify", "--target", "out"]).expect(0);
}

#[test]
fn headers_of_either_style_in_either_layout() {
    let place = Place::new();
    place.report("a1", &[small_csv(9).as_bytes()]);
    for (layout, header, due) in [
        ("eco", None, "line_item_usage_account_id"),
        ("eco", Some("slash"), "lineItem/UsageAccountId"),
        ("aws", None, "lineItem/UsageAccountId"),
        ("aws", Some("snake"), "line_item_usage_account_id"),
    ] {
        for contract in ["eco", "eco-extended", "source"] {
            place.remove("out");
            let mut args = vec!["deliver", "--source", "source", "--accounts", "all", "--target", "out"];
            args.extend(["--layout", layout, "--contract", contract, "--formats", "parquet,csv.gz"]);
            args.extend(header.map(|header| ["--header", header]).into_iter().flatten());
            place.run(&args).expect(0);
            let tree = place.tree("out");
            for (key, bytes) in data_files(&tree) {
                // Parquet columns always have snake names.
                let due = if key.ends_with(".parquet") { "line_item_usage_account_id" } else { due };
                assert!(read(&key, &bytes)[0].iter().any(|name| name == due), "{layout} {header:?} {key}");
            }
            // A manifest is made of slash names, whatever stands in the header row.
            for (_, bytes) in tree.iter().filter(|(key, _)| key.ends_with("-Manifest.json")) {
                let manifest: Value = serde_json::from_slice(bytes).unwrap();
                let columns = manifest["columns"].as_array().unwrap();
                let there =
                    |column: &Value| column["category"] == "lineItem" && column["name"] == "UsageAccountId";
                assert!(columns.iter().any(there));
            }
            place.run(&["verify", "--target", "out"]).expect(0);
        }
    }
}

#[test]
fn what_is_withheld_is_in_no_format() {
    let place = Place::new();
    let text = small_csv(12).replacen(",Usage,", ",Tax,", 5);
    place.report("a1", &[text.as_bytes()]);
    let common =
        ["deliver", "--source", "source", "--accounts", "all", "--target", "out", "--msp-target", "msp"];
    let own = ["--withhold", "Tax", "--formats", "parquet,csv.gz", "--customer", "acme", "-o", "json"];
    let said = place.run(&[&common[..], &own].concat()).expect(0).json();
    assert_eq!(said["periods"][0]["unassigned"][0]["rows"], 5);
    let mut proofs = 0;
    for (key, bytes) in place.tree("out") {
        if key.ends_with("-Proof.json") {
            let proof: Value = serde_json::from_slice(&bytes).unwrap();
            // Told once, in the customer's first export.
            let withheld = proof["withheld"].as_array().unwrap().len();
            assert_eq!(withheld, usize::from(proof["format"] == "parquet"), "{key}");
            assert_eq!(proof["rows"], 7);
            proofs += 1;
        }
        if is_data(&key) {
            assert!(!read(&key, &bytes).iter().flatten().any(|cell| cell == "Tax"), "{key}");
        }
    }
    assert_eq!(proofs, 2);
}
