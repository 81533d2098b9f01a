//! What `audit` must find: defects of all kinds, each planted into a fresh copy of one good delivery; and that it
//! says nothing where nothing is wrong.

use crate::harness::{
    code, copy, csv_cell, gunzip, gzip, number_of, records, run, say, stderr, temp, tree, write,
};
use crate::random_report::{Numbers, Report};
use crate::small_report::{ONE, PAYER, TWO, delivered};
use crate::written_report::{Form, settings, write_report};
use apportion_flow::run::{Unwatched, deliver};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

const ROWS: usize = 60;

/// A copy of the good delivery, to be spoiled.
pub struct Place {
    pub root: PathBuf,
}

/// One export: the target's folder and what its report id is.
#[derive(Clone, Copy)]
struct Export(&'static str, &'static str);

const FIRST: Export = Export("t0", "customer0");
const SECOND: Export = Export("t1", "customer1-222222222221");
const THIRD: Export = Export("t1", "customer1-222222222222");

impl Place {
    /// The only object below `folder` whose key ends so.
    pub fn find(&self, folder: &str, ending: &str) -> PathBuf {
        let below = self.root.join(folder);
        let keys: Vec<String> = tree(&below).into_keys().filter(|key| key.ends_with(ending)).collect();
        assert_eq!(keys.len(), 1, "{folder}: {ending}: {keys:?}");
        below.join(&keys[0])
    }

    fn of(&self, export: Export, ending: &str) -> PathBuf {
        self.find(&format!("targets/{}", export.0), &format!("{}{ending}", export.1))
    }

    fn data(&self, export: Export) -> PathBuf {
        self.of(export, "-00001.csv.gz")
    }

    fn manifest(&self, export: Export) -> PathBuf {
        // The pointer; an assembly's own manifest lies deeper.
        self.find(&format!("targets/{}", export.0), &format!("20261101/{}-Manifest.json", export.1))
    }

    fn proof(&self, export: Export) -> PathBuf {
        self.of(export, "-Proof.json")
    }

    fn generation(&self, export: Export) -> PathBuf {
        self.of(export, "-Generation.json")
    }

    pub fn master(&self) -> PathBuf {
        self.find("msp", "-MasterProof.json")
    }

    pub fn pointer(&self) -> PathBuf {
        self.find("msp", "-MasterPointer.json")
    }

    fn unassigned(&self) -> PathBuf {
        self.find("msp", "unassigned-00001.csv.gz")
    }

    fn source(&self, part: usize) -> PathBuf {
        self.find("source", &format!("R-{part:05}.csv.gz"))
    }

    /// Changes an export's proof so that it says of its file what the file now is.
    fn forge(&self, export: Export) {
        let bytes = fs::read(self.data(export)).unwrap();
        let records = records(std::str::from_utf8(&gunzip(&bytes)).unwrap());
        let hash = records[1..].iter().fold(0u128, |sum, row| {
            let line: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
            sum.wrapping_add(xxh3_128(line.join(",").as_bytes()))
        });
        let rows = records.len() as i64 - 1;
        edit(&self.proof(export), |proof| {
            let sha: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let more = rows - proof["rows"].as_i64().unwrap();
            proof["rows"] = rows.into();
            let total = proof["totals"][0]["rows"].as_i64().unwrap();
            proof["totals"][0]["rows"] = (total + more).into();
            let file = &mut proof["files"][0];
            file["rows"] = rows.into();
            file["bytes"] = bytes.len().into();
            file["sha256"] = sha.into();
            file["rows_hash"] = format!("{hash:032x}").into();
        });
    }
}

/// Edits a JSON document.
pub fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let before = value.clone();
    change(&mut value);
    assert!(value != before, "{} wasn't changed", path.display());
    let mut text = serde_json::to_vec_pretty(&value).unwrap();
    text.push(b'\n');
    fs::write(path, text).unwrap();
}

/// Records of a file, the header first.
pub type Records = Vec<Vec<String>>;

pub fn read(path: &Path) -> Records {
    records(std::str::from_utf8(&gunzip(&fs::read(path).unwrap())).unwrap())
}

pub fn store(path: &Path, records: &Records) {
    let lines = records.iter().map(|row| {
        let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
        cells.join(",") + "\n"
    });
    fs::write(path, gzip(lines.collect::<String>().as_bytes())).unwrap();
}

/// Edits the records of a file.
pub fn rows(path: &Path, change: impl FnOnce(&mut Records)) {
    let mut records = read(path);
    let before = records.clone();
    change(&mut records);
    assert!(records != before, "{} wasn't changed", path.display());
    store(path, &records);
}

pub fn column(records: &Records, name: &str) -> usize {
    records[0].iter().position(|header| header == name).unwrap_or_else(|| panic!("no column {name}"))
}

/// Edits the first cell of a column that isn't blank and that the edit changes.
pub fn cell(path: &Path, name: &str, change: impl Fn(&str) -> String) {
    rows(path, |records| {
        let place = column(records, name);
        let changed = |row: &Vec<String>| !row[place].is_empty() && change(&row[place]) != row[place];
        let row = (1..records.len()).find(|row| changed(&records[*row]));
        let row = row.unwrap_or_else(|| panic!("nothing of {name} can be changed"));
        records[row][place] = change(&records[row][place]);
    });
}

/// Another digit in the place of the last that isn't 0.
fn other_digit(text: &str) -> String {
    let end = text.find(['e', 'E']).unwrap_or(text.len());
    let Some(at) = text[..end].rfind(|letter: char| ('1'..='8').contains(&letter)) else {
        return text.to_owned();
    };
    let digit = text.as_bytes()[at] + 1;
    format!("{}{}{}", &text[..at], char::from(digit), &text[at + 1..])
}

fn text(path: &Path, change: impl FnOnce(String) -> String) {
    let before = String::from_utf8(gunzip(&fs::read(path).unwrap())).unwrap();
    let after = change(before.clone());
    assert!(after != before);
    fs::write(path, gzip(after.as_bytes())).unwrap();
}

/// Where the first gzip member of a file ends.
fn first_member(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut decoder = flate2::bufread::GzDecoder::new(&mut rest);
    std::io::copy(&mut decoder, &mut std::io::sink()).unwrap();
    drop(decoder);
    bytes.len() - rest.len()
}

/// One defect: its name, the kinds of finding of which one must be there, a part of the object's key that this
/// finding must name, and how it is planted.
struct Defect {
    name: String,
    kinds: &'static [&'static str],
    object: String,
    plant: Box<dyn Fn(&Place)>,
}

#[derive(Default)]
pub struct Defects(Vec<Defect>);

impl Defects {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn add(
        &mut self,
        name: &str,
        kinds: &'static [&'static str],
        object: &str,
        plant: impl Fn(&Place) + 'static,
    ) {
        let defect =
            Defect { name: name.to_owned(), kinds, object: object.to_owned(), plant: Box::new(plant) };
        self.0.push(defect);
    }
}

pub const CELLS: &[&str] = &["cells_differ", "sums_differ"];
const FILE: &[&str] = &["file_hash"];

fn in_cells(defects: &mut Defects) {
    for name in [
        "line_item_unblended_cost",
        "line_item_blended_cost",
        "line_item_usage_amount",
        "line_item_normalization_factor",
        "pricing_public_on_demand_cost",
        "reservation_effective_cost",
    ] {
        defects.add(&format!("one digit of {name}"), CELLS, "customer0-", move |place| {
            cell(&place.data(FIRST), name, other_digit);
        });
    }
    for name in [
        "identity_line_item_id",
        "line_item_resource_id",
        "line_item_line_item_description",
        "line_item_unblended_rate",
        "product_product_name",
        "product_sku",
        "reservation_reservation_a_r_n",
        "resource_tags_aws_cloudformation_stack_id",
        "bill_invoice_id",
    ] {
        defects.add(&format!("one character more in {name}"), CELLS, "customer0-", move |place| {
            cell(&place.data(FIRST), name, |text| format!("{text}x"));
        });
    }
    for (name, new) in [
        ("line_item_line_item_type", "Credit2"),
        ("line_item_currency_code", "GBP"),
        ("line_item_usage_start_date", "2026-10-02T03:00:01Z"),
        ("bill_billing_period_end_date", "2026-12-01T00:00:00Z"),
        ("line_item_unblended_cost", ""),
        ("identity_line_item_id", ""),
    ] {
        defects.add(&format!("{name} becomes {new:?}"), CELLS, "customer0-", move |place| {
            cell(&place.data(FIRST), name, |_| new.to_owned());
        });
    }
    defects.add("a cost that is no number", &["cell_unreadable"], "customer0-00001", |place| {
        cell(&place.data(FIRST), "line_item_unblended_cost", |_| "1,5".to_owned());
    });
    defects.add("two rows' costs exchanged", CELLS, "customer0-", |place| {
        rows(&place.data(FIRST), |records| {
            let cost = column(records, "line_item_unblended_cost");
            let other = (2..records.len()).find(|row| records[*row][cost] != records[1][cost]).unwrap();
            let moved = records[1][cost].clone();
            records[1][cost] = records[other][cost].clone();
            records[other][cost] = moved;
        });
    });
}

fn of_others(defects: &mut Defects) {
    defects.add("an account id unmasked in a tag", &["foreign_cell"], "customer0-00001", |place| {
        cell(&place.data(FIRST), "resource_tags_aws_created_by", |_| format!("Root:{}", TWO[0]));
    });
    defects.add("an account id unmasked in an ARN", &["foreign_cell"], "customer0-00001", |place| {
        cell(&place.data(FIRST), "reservation_reservation_a_r_n", |_| {
            format!("arn:aws:ec2:us-east-1:{}:thing/1", TWO[1])
        });
    });
    defects.add("another customer's usage account", &["foreign_account"], "customer0-00001", |place| {
        cell(&place.data(FIRST), "line_item_usage_account_id", |_| TWO[0].to_owned());
    });
    defects.add("the payer's usage account", &["foreign_account"], "customer0-00001", |place| {
        cell(&place.data(FIRST), "line_item_usage_account_id", |_| PAYER.to_owned());
    });
    defects.add("another account as payer", &["foreign_cell"], "customer0-00001", |place| {
        cell(&place.data(FIRST), "bill_payer_account_id", |_| TWO[0].to_owned());
    });
    defects.add("rows swapped between customers", &["foreign_account"], "customer0-00001", |place| {
        let (mut one, mut two) = (read(&place.data(FIRST)), read(&place.data(SECOND)));
        std::mem::swap(&mut one[1], &mut two[1]);
        store(&place.data(FIRST), &one);
        store(&place.data(SECOND), &two);
    });
    defects.add("a row moved between a customer's exports", &["foreign_account"], THIRD.1, |place| {
        let (mut two, mut three) = (read(&place.data(SECOND)), read(&place.data(THIRD)));
        three.push(two.pop().unwrap());
        store(&place.data(SECOND), &two);
        store(&place.data(THIRD), &three);
    });
    defects.add("another customer's file", &["foreign_account"], "customer0-00001", |place| {
        fs::copy(place.data(SECOND), place.data(FIRST)).unwrap();
    });
}

fn of_files(defects: &mut Defects) {
    let (first, export) = ("customer0-00001", "customer0-Manifest");
    defects.add("a row dropped", &["rows_missing"], export, |place| {
        rows(&place.data(FIRST), |records| drop(records.remove(2)));
    });
    defects.add("a row doubled", &["rows_surplus"], export, |place| {
        rows(&place.data(FIRST), |records| records.push(records[1].clone()));
    });
    defects.add("a header renamed", &["header_differs"], first, |place| {
        rows(&place.data(FIRST), |records| records[0][20].push('x'));
    });
    defects.add("columns in another order", &["header_differs"], first, |place| {
        rows(&place.data(FIRST), |records| records.iter_mut().for_each(|row| row.swap(4, 5)));
    });
    defects.add("cells in another order", CELLS, export, |place| {
        rows(&place.data(FIRST), |records| records[1..].iter_mut().for_each(|row| row.swap(0, 1)));
    });
    defects.add("a row with a cell too few", &["ragged_row"], first, |place| {
        rows(&place.data(FIRST), |records| drop(records[1].pop()));
    });
    defects.add("the last gzip member removed", &["rows_missing"], export, |place| {
        let bytes = fs::read(place.data(FIRST)).unwrap();
        let end = first_member(&bytes);
        assert!(end < bytes.len());
        fs::write(place.data(FIRST), &bytes[..end]).unwrap();
    });
    defects.add("something behind the last member", &["gzip_broken"], first, |place| {
        let mut bytes = fs::read(place.data(FIRST)).unwrap();
        bytes.extend_from_slice(b"more");
        fs::write(place.data(FIRST), bytes).unwrap();
    });
    defects.add("a file cut short", &["gzip_broken"], first, |place| {
        let bytes = fs::read(place.data(FIRST)).unwrap();
        fs::write(place.data(FIRST), &bytes[..bytes.len() - 9]).unwrap();
    });
    defects.add("a file of no bytes", &["gzip_broken", "header_differs"], first, |place| {
        fs::write(place.data(FIRST), b"").unwrap();
    });
    defects.add("a file gone", &["file_missing"], first, |place| fs::remove_file(place.data(FIRST)).unwrap());
    defects.add("a file beside the others", &["file_unexpected_key"], "customer0-00002", |place| {
        let path = place.data(FIRST);
        fs::copy(&path, path.to_str().unwrap().replace("00001", "00002")).unwrap();
    });
    defects.add("the same rows packed anew", FILE, first, |place| {
        let records = read(&place.data(FIRST));
        store(&place.data(FIRST), &records);
    });
    defects.add("rows in another order", FILE, first, |place| {
        rows(&place.data(FIRST), |records| records[1..].reverse());
    });
    defects.add("other line ends", &["form_differs"], first, |place| {
        text(&place.data(FIRST), |text| {
            text.replacen(",\n", ",\r\n", 1).replacen("line_item_id\n", "line_item_id\r\n", 1)
        });
    });
    defects.add("needless quotes", &["form_differs"], first, |place| {
        text(&place.data(FIRST), |text| text.replacen(",USD,", ",\"USD\",", 1));
    });
}

fn in_manifests(defects: &mut Defects) {
    const DIFFERS: &[&str] = &["manifest_differs"];
    const KEYS: &[&str] = &["file_unexpected_key", "manifest_differs", "file_missing"];
    let object = "customer0";
    let mut field = |name: &'static str, value: Value| {
        defects.add(
            &format!("the manifest's {name} is {value}"),
            DIFFERS,
            "customer0-Manifest",
            move |place| {
                edit(&place.manifest(FIRST), |manifest| manifest[name] = value.clone());
            },
        );
    };
    field("billingPeriod", json!({ "start": "20260901T000000.000Z", "end": "20261001T000000.000Z" }));
    field("reportId", json!(SECOND.1));
    field("reportName", json!("other"));
    field("columns", json!([]));
    field("account", json!(TWO[0]));
    field("bucket", json!("elsewhere"));
    field("compression", json!("ZIP"));
    field("assemblyId", json!("00000000-0000-0000-0000-000000000000"));
    field("additionalArtifactKeys", json!([]));
    field("more", json!("than there should be"));
    defects.add("no manifest", &["manifest_missing"], "customer0-Manifest", |place| {
        fs::remove_file(place.manifest(FIRST)).unwrap();
    });
    defects.add("a manifest that isn't JSON", &["manifest_unreadable"], "customer0-Manifest", |place| {
        fs::write(place.manifest(FIRST), b"{").unwrap();
    });
    defects.add(
        "a manifest without keys",
        &["manifest_differs", "file_unexpected_key", "rows_missing"],
        object,
        |place| {
            edit(&place.manifest(FIRST), |manifest| manifest["reportKeys"] = json!([]));
        },
    );
    let mut keys = |name: &'static str, change: fn(&Place, String) -> Value| {
        defects.add(&format!("the manifest names {name}"), KEYS, "", move |place| {
            edit(&place.manifest(FIRST), |manifest| {
                let key = manifest["reportKeys"][0].as_str().unwrap().to_owned();
                manifest["reportKeys"] = change(place, key);
            });
        });
    };
    keys("a file twice", |_, key| json!([key, key]));
    keys("a file that isn't there", |_, key| json!([key, key.replace("00001", "00002")]));
    keys("a file of another assembly", |place, key| {
        let parts: Vec<&str> = key.split('/').collect();
        let other = key.replace(parts[4], "00000000-0000-0000-0000-000000000000");
        let target = place.root.join("targets/t0");
        write(&target.join(&other), &fs::read(target.join(&key)).unwrap());
        json!([other])
    });
    keys("another customer's file", |place, key| {
        let other = place.data(SECOND);
        let below = place.root.join("targets/t1");
        let other = other.strip_prefix(&below).unwrap().to_str().unwrap().to_owned();
        write(&place.root.join("targets/t0").join(&other), &fs::read(below.join(&other)).unwrap());
        json!([key, other])
    });
    keys("a file outside", |_, key| json!([key, "../t1/manifests/x.csv.gz"]));
}

fn in_proofs(defects: &mut Defects) {
    const DIFFERS: &[&str] = &["proof_differs"];
    let object = "customer0-Proof";
    let mut proof = |name: &str, kinds: &'static [&'static str], change: fn(&mut Value)| {
        defects.add(&format!("the proof's {name}"), kinds, object, move |place| {
            edit(&place.proof(FIRST), change)
        });
    };
    proof("rows", DIFFERS, |proof| proof["rows"] = 1.into());
    proof("rows of one total", DIFFERS, |proof| proof["totals"][0]["rows"] = 99.into());
    proof("one sum", DIFFERS, |proof| {
        let sums = proof["totals"].as_array_mut().unwrap().iter_mut().map(|totals| &mut totals["sums"]);
        let sum = sums.filter_map(|sums| sums.get_mut("line_item_unblended_cost")).next().unwrap();
        *sum = "0.01".into();
    });
    proof("items hash", DIFFERS, |proof| proof["totals"][0]["items_hash"] = "0".repeat(32).into());
    proof("totals", DIFFERS, |proof| drop(proof["totals"].as_array_mut().unwrap().pop()));
    proof("rows hash", DIFFERS, |proof| proof["files"][0]["rows_hash"] = "0".repeat(32).into());
    proof("accounts, one more", &["proof_differs", "foreign_text"], |proof| {
        proof["accounts"].as_array_mut().unwrap().push(json!({ "id": TWO[0], "from": null, "to": null }));
    });
    proof("customer", DIFFERS, |proof| proof["customer"] = "customer1".into());
    proof("report id", DIFFERS, |proof| proof["report_id"] = SECOND.1.into());
    proof("source version", &["source_changed"], |proof| proof["source_version"] = "0".repeat(64).into());
    proof("assembly id", DIFFERS, |proof| proof["assembly_id"] = "0".into());
    proof("withheld", DIFFERS, |proof| proof["withheld"] = json!([]));
    proof("mask key", DIFFERS, |proof| proof["mask_key"] = "none".into());
    proof("privacy", DIFFERS, |proof| proof["privacy"] = "faithful".into());
    proof("payer", DIFFERS, |proof| proof["payer"] = "mask".into());
    proof("withhold", DIFFERS, |proof| proof["withhold"] = json!([]));
    proof("format version", DIFFERS, |proof| proof["format_version"] = 9.into());
    proof("linked account", DIFFERS, |proof| proof["linked_account"] = ONE.into());
    proof("note about another", &["foreign_text"], |proof| proof["note"] = format!("see {}", TWO[1]).into());
    defects.add("a file's SHA-256 in the proof", FILE, "customer0", |place| {
        edit(&place.proof(FIRST), |proof| proof["files"][0]["sha256"] = "0".repeat(64).into());
    });
    defects.add("a file's size in the proof", &["file_size"], "customer0", |place| {
        edit(&place.proof(FIRST), |proof| proof["files"][0]["bytes"] = 1.into());
    });
    defects.add("no proof", &["proof_missing"], object, |place| fs::remove_file(place.proof(FIRST)).unwrap());
    defects.add("a proof that isn't JSON", &["proof_unreadable"], object, |place| {
        fs::write(place.proof(FIRST), b"null, or nearly").unwrap();
    });
}

fn in_msps_place(defects: &mut Defects) {
    const DIFFERS: &[&str] = &["master_differs"];
    let mut master = |name: &str, change: fn(&mut Value)| {
        defects.add(&format!("the master proof's {name}"), DIFFERS, "MasterProof", move |place| {
            edit(&place.master(), change);
        });
    };
    master("source totals", |master| {
        let sums =
            master["source_totals"].as_array_mut().unwrap().iter_mut().map(|totals| &mut totals["sums"]);
        *sums.filter_map(|sums| sums.get_mut("line_item_usage_amount")).next().unwrap() = "1".into();
    });
    master("rows of a customer", |master| master["customers"][0]["rows"] = 0.into());
    master("list of customers", |master| drop(master["customers"].as_array_mut().unwrap().pop()));
    master("assembly of a customer", |master| master["customers"][1]["assembly_id"] = "0".into());
    master("totals of a customer", |master| master["customers"][2]["totals"] = json!([]));
    master("withheld", |master| master["withheld"] = json!([]));
    master("rows that are nobody's", |master| master["unassigned"]["rows"] = 0.into());
    master("totals that are nobody's", |master| {
        drop(master["unassigned"]["totals"].as_array_mut().unwrap().pop());
    });
    master("source's name", |master| master["source"] = "other".into());
    master("report", |master| master["report"] = "other".into());
    master("kind", |master| master["kind"] = "cur2-csv".into());
    master("delivery id", |master| master["delivery_id"] = "0".into());
    master("source assembly", |master| master["source_assembly_id"] = "0".into());
    defects.add(
        "the master proof's hash of a source object",
        &["source_changed", "master_differs"],
        "",
        |place| {
            edit(&place.master(), |master| master["source_objects"][1]["sha256"] = "0".repeat(64).into());
        },
    );
    defects.add("no master proof", &["master_missing"], "MasterProof", |place| {
        fs::remove_file(place.master()).unwrap();
    });
    defects.add("no pointer", &["master_missing"], "MasterPointer", |place| {
        fs::remove_file(place.pointer()).unwrap();
    });
    defects.add("a pointer that isn't JSON", &["master_unreadable"], "MasterPointer", |place| {
        fs::write(place.pointer(), b"[").unwrap();
    });
    defects.add("a pointer to another delivery", DIFFERS, "Master", |place| {
        edit(&place.pointer(), |pointer| pointer["delivery_id"] = "0".into());
    });
}

fn in_unassigned(defects: &mut Defects) {
    let mut unassigned = |name: &str, change: fn(&mut Records)| {
        defects.add(
            &format!("unassigned: {name}"),
            &["unassigned_differs", "header_differs"],
            "unassigned/",
            move |place| {
                rows(&place.unassigned(), change);
            },
        );
    };
    unassigned("a row dropped", |records| drop(records.pop()));
    unassigned("a row doubled", |records| records.push(records[1].clone()));
    unassigned("a reason changed", |records| {
        let place = column(records, "apportion_reason");
        records[1][place] = "blank_account".to_owned();
    });
    unassigned("an owner named", |records| {
        let place = column(records, "apportion_owner");
        let row = records[1..].iter_mut().find(|row| row[place].is_empty()).unwrap();
        row[place] = "customer1".to_owned();
    });
    unassigned("an owner gone", |records| {
        let place = column(records, "apportion_owner");
        records[1..].iter_mut().find(|row| !row[place].is_empty()).unwrap()[place].clear();
    });
    unassigned("a cell edited", |records| {
        let place = column(records, "identity_line_item_id");
        records[1][place].push('x');
    });
    unassigned("a header renamed", |records| records[0][3].push('x'));
    defects.add("no unassigned file", &["file_missing"], "unassigned-00001", |place| {
        fs::remove_file(place.unassigned()).unwrap();
    });
}

fn in_generations_and_source(defects: &mut Defects) {
    const GENERATION: &[&str] = &["generation_differs"];
    defects.add("no generation", GENERATION, "Generation", |place| {
        fs::remove_file(place.generation(FIRST)).unwrap()
    });
    defects.add("a generation of another source", GENERATION, "Generation", |place| {
        edit(&place.generation(FIRST), |generation| generation["source_version"] = "0".into());
    });
    defects.add("a generation that isn't JSON", GENERATION, "Generation", |place| {
        fs::write(place.generation(SECOND), b"?").unwrap();
    });
    let mut source = |name: &str, change: fn(&mut Records)| {
        defects.add(&format!("source: {name} after delivery"), &["source_changed"], "", move |place| {
            rows(&place.source(1), change);
        });
    };
    source("a row edited", |records| {
        let cost = column(records, "lineItem/UnblendedCost");
        records[1][cost] = "77.7".to_owned();
    });
    source("a row dropped", |records| drop(records.pop()));
    source("a row added", |records| records.push(records[1].clone()));
    defects.add("source: parts swapped after delivery", &["source_changed"], "", |place| {
        let (one, two) = (fs::read(place.source(1)).unwrap(), fs::read(place.source(2)).unwrap());
        fs::write(place.source(1), two).unwrap();
        fs::write(place.source(2), one).unwrap();
    });
}

fn forged(defects: &mut Defects) {
    let first = "customer0";
    defects.add("forged: a cost, and the proof of its file", CELLS, first, |place| {
        cell(&place.data(FIRST), "line_item_unblended_cost", other_digit);
        place.forge(FIRST);
    });
    defects.add("forged: a text, and the proof of its file", CELLS, first, |place| {
        cell(&place.data(FIRST), "product_product_name", |text| format!("{text}x"));
        place.forge(FIRST);
    });
    defects.add("forged: a row dropped, and all counts", &["rows_missing"], first, |place| {
        rows(&place.data(FIRST), |records| drop(records.pop()));
        place.forge(FIRST);
    });
    defects.add("forged: a row doubled, and all counts", &["rows_surplus"], first, |place| {
        rows(&place.data(FIRST), |records| records.push(records[1].clone()));
        place.forge(FIRST);
    });
    defects.add("forged: rows swapped between customers", &["foreign_account"], first, |place| {
        let (mut one, mut two) = (read(&place.data(FIRST)), read(&place.data(SECOND)));
        std::mem::swap(&mut one[1], &mut two[1]);
        store(&place.data(FIRST), &one);
        store(&place.data(SECOND), &two);
        place.forge(FIRST);
        place.forge(SECOND);
    });
    defects.add("forged: an unmasked account", &["foreign_cell"], first, |place| {
        cell(&place.data(FIRST), "resource_tags_aws_created_by", |_| format!("Root:{}", TWO[0]));
        place.forge(FIRST);
    });
    defects.add("forged: a row moved to nobody's", &["rows_missing", "unassigned_differs"], "", |place| {
        rows(&place.data(FIRST), |records| drop(records.pop()));
        place.forge(FIRST);
        edit(&place.master(), |master| {
            let rows = master["customers"][0]["rows"].as_u64().unwrap();
            master["customers"][0]["rows"] = (rows - 1).into();
        });
        rows(&place.unassigned(), |records| records.push(records[1].clone()));
    });
}

fn all_defects() -> Defects {
    let mut defects = Defects::default();
    in_cells(&mut defects);
    of_others(&mut defects);
    of_files(&mut defects);
    in_manifests(&mut defects);
    in_proofs(&mut defects);
    in_msps_place(&mut defects);
    in_unassigned(&mut defects);
    in_generations_and_source(&mut defects);
    forged(&mut defects);
    defects
}

pub fn audit(settings: &Path) -> (i32, Value) {
    let out = run("audit", settings, &["--output", "json"], &[]);
    let report = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", stderr(&out)));
    (code(&out), report)
}

/// What is said against a delivery, one line each.
pub fn lines(report: &Value) -> String {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| format!("\n    {finding}")).collect()
}

#[test]
fn audit_finds_every_planted_defect() {
    let (good, settings) = delivered(ROWS);
    let (code, report) = audit(&settings);
    assert_eq!(code, 0, "{}", lines(&report));
    let defects = all_defects();
    assert!(defects.len() >= 50);
    find_all(good.path(), &defects, "audit:");
}

/// Plants each defect into a fresh copy of a good delivery; all must be found.
pub fn find_all(good: &Path, defects: &Defects, name: &str) {
    let mut missed = Vec::new();
    for defect in &defects.0 {
        let place = temp();
        copy(good, place.path());
        (defect.plant)(&Place { root: place.path().to_owned() });
        let (code, report) = audit(&place.path().join("apportion.toml"));
        let fits = |finding: &Value| {
            defect.kinds.contains(&finding["kind"].as_str().unwrap())
                && finding["object"].as_str().unwrap().contains(&defect.object)
        };
        if code != 4 || !report["findings"].as_array().unwrap().iter().any(fits) {
            missed.push(format!("{}: exit {code}, not {:?}:{}", defect.name, defect.kinds, lines(&report)));
        }
    }
    say(&format!("{name} {} of {} planted defects found", defects.len() - missed.len(), defects.len()));
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn audit_says_nothing_against_clean_deliveries() {
    let count = number_of("APPORTION_CASES", 200).div_ceil(4);
    for seed in 1..=count {
        let place = temp();
        let report = Report::new(seed, Numbers::Hostile);
        let mut draw = crate::random_report::Draw::new(seed);
        write_report(&report, &Form::csv(&mut draw, report.rows.len()), &place.path().join("source"));
        let settings = settings(&report, place.path());
        deliver(&crate::written_report::request(&report, place.path()), &Unwatched).unwrap();
        let (code, report) = audit(&settings);
        assert_eq!(code, 0, "APPORTION_SEED={seed}: {}", lines(&report));
    }
    say(&format!("audit: {count} clean audits"));
}
