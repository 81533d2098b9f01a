//! What `audit` must find in exports of the other shapes (contracts, Parquet, layout `aws`, slash headers, a target
//! per account), and that it says nothing against right ones.

use crate::audit_defects::{
    CELLS, Defects, Place, Records, audit, cell, column, edit, find_all, lines, read, rows, store,
};
use crate::harness::{code, gunzip, gzip, number_of, program, run, say, stderr, temp};
use crate::random_report::{Draw, Numbers, Report};
use crate::small_report::{Look, ONE, TWO, deliver, delivered, delivered_looking, form, renew, report};
use crate::written_report::{Form, settings, write_report};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_flow::write::{Gzip, Order};
use apportion_model::{Format, Layout};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROWS: usize = 60;
const T0: &str = "targets/t0";

/// The first customer's csv.gz.
fn csv_of(place: &Place) -> PathBuf {
    place.find(T0, "customer0-00001.csv.gz")
}

/// The first customer's Parquet file.
fn parquet_of(place: &Place) -> PathBuf {
    place.find(T0, "customer0-parquet-00001.snappy.parquet")
}

/// A Parquet file of the second customer's account of that place.
fn linked_of(place: &Place, account: usize) -> PathBuf {
    let target = format!("targets/t1-{}", TWO[account]);
    place.find(&target, &format!("customer1-{}-parquet-00001.snappy.parquet", TWO[account]))
}

fn proof_of(place: &Place) -> PathBuf {
    place.find(T0, "customer0-parquet-Proof.json")
}

/// The columns of a Parquet file.
type Columns = Vec<(String, ArrayRef)>;

fn parquet_columns(path: &Path) -> Columns {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let batch = builder.with_batch_size(1 << 20).build().unwrap().next().unwrap().unwrap();
    let names = batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    names.into_iter().zip(batch.columns().iter().cloned()).collect()
}

fn store_parquet(path: &Path, columns: Columns, compression: Compression) {
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Edits the columns of a Parquet file.
fn parquet(path: &Path, change: impl FnOnce(&mut Columns)) {
    let mut columns = parquet_columns(path);
    change(&mut columns);
    store_parquet(path, columns, Compression::SNAPPY);
}

fn at(columns: &Columns, name: &str) -> usize {
    columns.iter().position(|(known, _)| known == name).unwrap_or_else(|| panic!("no column {name}"))
}

fn texts(array: &ArrayRef) -> Vec<String> {
    array.as_string::<i32>().iter().map(|cell| cell.unwrap_or_default().to_owned()).collect()
}

/// Changes the first text of a column that isn't blank.
fn text_cell(columns: &mut Columns, name: &str, change: impl Fn(&str) -> String) {
    let at = at(columns, name);
    let mut cells = texts(&columns[at].1);
    let cell = cells.iter_mut().find(|cell| !cell.is_empty()).unwrap_or_else(|| panic!("{name} is blank"));
    *cell = change(cell);
    columns[at].1 = Arc::new(StringArray::from(cells));
}

fn sliced(columns: &mut Columns, from: usize, rows: usize) {
    for (_, array) in columns {
        *array = array.slice(from, rows);
    }
}

fn in_parquet_cells(defects: &mut Defects) {
    let object = "customer0-parquet";
    let mut file = |name: &str, kinds: &'static [&'static str], change: fn(&mut Columns)| {
        defects.add(&format!("Parquet: {name}"), kinds, object, move |place| {
            parquet(&parquet_of(place), change)
        });
    };
    file("the last bit of a double", CELLS, |columns| {
        let at = at(columns, "line_item_unblended_cost");
        let cells = columns[at].1.as_primitive::<Float64Type>();
        let mut cells: Vec<Option<f64>> = cells.iter().collect();
        let cell = cells.iter_mut().flatten().find(|cell| **cell != 0.0).unwrap();
        *cell = f64::from_bits(cell.to_bits() + 1);
        columns[at].1 = Arc::new(Float64Array::from(cells));
    });
    file("a double that became null", CELLS, |columns| {
        let at = at(columns, "line_item_usage_amount");
        let mut cells: Vec<Option<f64>> = columns[at].1.as_primitive::<Float64Type>().iter().collect();
        *cells.iter_mut().find(|cell| cell.is_some()).unwrap() = None;
        columns[at].1 = Arc::new(Float64Array::from(cells));
    });
    file("a text", CELLS, |columns| text_cell(columns, "identity_line_item_id", |text| format!("{text}x")));
    file("a tag", CELLS, |columns| {
        text_cell(columns, "resource_tags_user_environment", |text| format!("{text}x"));
    });
    file("an account in a tag", &["foreign_cell"], |columns| {
        text_cell(columns, "resource_tags_user_environment", |_| format!("arn:aws:s3:::{}:x", TWO[0]));
        text_cell(columns, "cost_category_team", |_| format!("AccountId : {}", TWO[0]));
    });
    file("another's usage account", &["foreign_account"], |columns| {
        text_cell(columns, "line_item_usage_account_id", |_| TWO[0].to_owned());
    });
    file("a double as text", &["schema_differs"], |columns| {
        let at = at(columns, "line_item_unblended_cost");
        let cells = columns[at].1.as_primitive::<Float64Type>();
        let cells: Vec<String> =
            cells.iter().map(|c| c.map_or_else(String::new, |c| c.to_string())).collect();
        columns[at].1 = Arc::new(StringArray::from(cells));
    });
    file("a text that is null", &["form_differs"], |columns| {
        // Only a column that is blank in every row may be null.
        let at = at(columns, "product_location");
        let cells = texts(&columns[at].1);
        let nulls = cells.iter().map(|cell| (!cell.is_empty()).then_some(cell.as_str()));
        columns[at].1 = Arc::new(nulls.collect::<StringArray>());
    });
}

/// Rows, columns and whole files.
fn in_parquet_files(defects: &mut Defects) {
    let object = "customer0-parquet";
    let mut file = |name: &str, kinds: &'static [&'static str], change: fn(&mut Columns)| {
        defects.add(&format!("Parquet: {name}"), kinds, object, move |place| {
            parquet(&parquet_of(place), change)
        });
    };
    file("a row dropped", &["rows_missing"], |columns| {
        let rows = columns[0].1.len();
        sliced(columns, 1, rows - 1);
    });
    file("rows of one group alone", &["rows_missing"], |columns| sliced(columns, 0, 1));
    file("a column dropped", &["header_differs"], |columns| drop(columns.remove(3)));
    file("a tag dropped", &["header_differs"], |columns| drop(columns.pop()));
    file("another's tag key", &["header_differs"], |columns| {
        let blank = vec![""; columns[0].1.len()];
        columns.push(("resource_tags_user_theirs".to_owned(), Arc::new(StringArray::from(blank))));
    });
    file("a column renamed", &["header_differs"], |columns| columns[7].0.push('x'));
    file("a slash name", &["header_differs"], |columns| columns[0].0 = "bill/BillType".to_owned());
    file("two columns in the other's place", &["header_differs"], |columns| columns.swap(0, 1));
    file("the same cells packed anew", &["file_hash"], |_| {});
    defects.add("Parquet: another compression", &["form_differs"], object, |place| {
        let path = parquet_of(place);
        store_parquet(&path, parquet_columns(&path), Compression::UNCOMPRESSED);
    });
    defects.add("Parquet: a file cut short", &["parquet_broken"], object, |place| {
        let bytes = fs::read(parquet_of(place)).unwrap();
        fs::write(parquet_of(place), &bytes[..bytes.len() / 2]).unwrap();
    });
    defects.add("Parquet: another customer's file", &["foreign_account"], object, |place| {
        fs::copy(linked_of(place, 0), parquet_of(place)).unwrap();
    });
    defects.add("Parquet: exports of two accounts exchanged", &["foreign_account"], TWO[1], |place| {
        let (one, two) = (fs::read(linked_of(place, 0)).unwrap(), fs::read(linked_of(place, 1)).unwrap());
        fs::write(linked_of(place, 0), two).unwrap();
        fs::write(linked_of(place, 1), one).unwrap();
    });
    defects.add("Parquet: a file gone", &["file_missing"], object, |place| {
        fs::remove_file(parquet_of(place)).unwrap();
    });
}

/// Files with gzip = "single" and slash headers.
fn in_csv(defects: &mut Defects) {
    let object = "customer0-0000";
    defects.add("two members in gzip single", &["gzip_members"], object, |place| {
        let text = gunzip(&fs::read(csv_of(place)).unwrap());
        fs::write(csv_of(place), [gzip(&text[..99]), gzip(&text[99..])].concat()).unwrap();
    });
    let mut header = |name: &'static str, change: fn(&mut Records)| {
        defects.add(name, &["header_differs"], object, move |place| rows(&csv_of(place), change));
    };
    header("a snake name among slash names", |records| {
        let at = column(records, "lineItem/UsageAccountId");
        records[0][at] = "line_item_usage_account_id".to_owned();
    });
    header("a tag by another spelling", |records| {
        let at = column(records, "resourceTags/user:Nobody Knows");
        records[0][at] = "resourceTags/user_nobody_knows".to_owned();
    });
    header("a tag dropped", |records| records.iter_mut().for_each(|row| drop(row.pop())));
    header("another's tag key in the file", |records| {
        records[0].push("resourceTags/user:Theirs".to_owned());
        records[1..].iter_mut().for_each(|row| row.push(String::new()));
    });
    header("tags out of order", |records| {
        let (one, other) = (records[0].len() - 2, records[0].len() - 1);
        records.iter_mut().for_each(|row| row.swap(one, other));
    });
    defects.add("an account in a column of nobody's", &["foreign_cell"], object, |place| {
        rows(&csv_of(place), |records| {
            records[0].push("resourceTags/user:Theirs".to_owned());
            records[1..].iter_mut().for_each(|row| row.push(TWO[0].to_owned()));
        });
    });
    defects.add("an account in a cost category", &["foreign_cell"], object, |place| {
        cell(&csv_of(place), "costCategory/Team", |_| format!("arn:aws:iam::{}:user/x", TWO[1]));
    });
    defects.add("a split line item left out", &["rows_missing"], "customer0-Manifest", |place| {
        rows(&csv_of(place), |records| {
            let at = column(records, "splitLineItem/ParentResourceId");
            let split = (1..records.len()).find(|row| !records[*row][at].is_empty());
            records.remove(split.expect("a split line item"));
        });
    });
    defects.add("rows in another order", &["order_differs"], "customer0-Manifest", |place| {
        let mut records: Records = read(&csv_of(place));
        records[1..].reverse();
        store(&csv_of(place), &records);
    });
}

fn in_documents(defects: &mut Defects) {
    let object = "customer0";
    let own = |place: &Place| csv_of(place).with_file_name("customer0-Manifest.json");
    defects.add("no manifest of the assembly", &["manifest_missing"], object, move |place| {
        fs::remove_file(own(place)).unwrap();
    });
    defects.add(
        "a manifest of the assembly with a line end more",
        &["manifest_differs"],
        object,
        move |place| {
            let text = fs::read(own(place)).unwrap();
            fs::write(own(place), [text, b"\n".to_vec()].concat()).unwrap();
        },
    );
    defects.add(
        "a manifest of the assembly with a column fewer",
        &["manifest_differs"],
        object,
        move |place| {
            edit(&own(place), |manifest| drop(manifest["columns"].as_array_mut().unwrap().pop()));
        },
    );
    defects.add("an older delivery without a proof", &["master_differs"], "MasterPointer", |place| {
        edit(&place.pointer(), |pointer| pointer["older"] = json!([{"delivery_id": "x"}]));
    });
    defects.add("no pointer of layout aws", &["manifest_missing"], object, |place| {
        let paths = [place.find(T0, "20261101/customer0-Manifest.json")];
        paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    });
    defects.add("no generation of layout aws", &["generation_differs"], object, |place| {
        fs::remove_file(place.find(T0, "/.customer0-Generation.json")).unwrap();
    });
    defects.add("a target of another account", &["manifest_missing"], TWO[1], |place| {
        fs::remove_dir_all(place.root.join(format!("targets/t1-{}", TWO[1]))).unwrap();
    });
}

/// What proofs say.
fn in_proofs(defects: &mut Defects) {
    let mut proof = |name: &str, change: fn(&mut Value)| {
        defects.add(
            &format!("the Parquet proof's {name}"),
            &["proof_differs"],
            "customer0-parquet",
            move |place| {
                edit(&proof_of(place), change);
            },
        );
    };
    proof("columns", |proof| drop(proof["columns"].as_array_mut().unwrap().pop()));
    proof("header of a column", |proof| proof["columns"][9]["header"] = "x".into());
    proof("type of a column", |proof| proof["columns"][9]["type"] = "timestamp".into());
    proof("header", |proof| proof["header"] = "snake".into());
    proof("gzip", |proof| proof["gzip"] = "single".into());
    proof("contract", |proof| proof["contract"] = "source".into());
    proof("layout", |proof| proof["layout"] = "eco".into());
    proof("format", |proof| proof["format"] = "csv.gz".into());
    proof("mask key", |proof| proof["mask_key"] = "0123456789abcdef".into());
    proof("invoice id", |proof| proof["totals"][0]["invoice_id"] = "another".into());
    proof("representation, left out", |proof| {
        assert!(!proof["representation"].as_array().unwrap().is_empty());
        proof["representation"] = json!([]);
    });
    proof("representation, another difference", |proof| {
        let list = proof["representation"].as_array_mut().unwrap();
        let entry = list.iter_mut().find(|entry| entry["difference"].is_string()).unwrap();
        entry["difference"] = format!("{}1", entry["difference"].as_str().unwrap()).into();
    });
    proof("representation, one more that is lost", |proof| {
        let entry = &mut proof["representation"][0]["not_represented"];
        *entry = (entry.as_u64().unwrap() + 1).into();
    });
    let mut master = |name: &str, change: fn(&mut Value)| {
        defects.add(
            &format!("the master proof's {name}"),
            &["master_differs"],
            "MasterProof",
            move |place| {
                edit(&place.master(), change);
            },
        );
    };
    master("format of an export", |master| master["customers"][0]["format"] = "parquet".into());
    master("manifest of an export", |master| master["customers"][1]["manifest"] = "x".into());
    master("proof of an export", |master| master["customers"][1]["proof"] = "x".into());
    master("payers", |master| master["payers"] = json!([ONE]));
    master("columns", |master| drop(master["columns"].as_array_mut().unwrap().pop()));
    master("files of a column", |master| master["columns"][0]["files"] = 7.into());
    master("invoice ids", |master| master["source_totals"][0]["invoice_id"] = "x".into());
}

/// A delivery in which nothing is as it is when nobody says anything.
fn good(place: &Path) -> PathBuf {
    let mut report = report(1, ROWS);
    let [first, second] = report.parties.as_mut_slice() else { panic!("two customers") };
    (first.contract, second.contract) = (Contract::EcoExtended, Contract::Source);
    (first.layout, first.header, first.gzip) = (Layout::Aws, HeaderStyle::Slash, Gzip::Single);
    first.order = Order::Source;
    (first.formats, second.formats) = (Format::ALL.to_vec(), vec![Format::Parquet]);
    "t1-{account}".clone_into(&mut second.target);
    let parent = report.columns.iter().position(|c| c.name == "split_line_item_parent_resource_id").unwrap();
    let split = report.rows.iter_mut().find(|row| row.account == ONE && row.kind != "Tax").unwrap();
    "i-parent".clone_into(&mut split.cells[parent]);
    write_report(&report, &form(ROWS), &place.join("source"));
    let settings = settings(&report, place);
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    settings
}

#[test]
fn audit_finds_every_planted_defect_of_other_shapes() {
    let place = temp();
    let settings = good(place.path());
    let (found, report) = audit(&settings);
    assert_eq!(found, 0, "{}", lines(&report));
    let mut defects = Defects::default();
    in_parquet_cells(&mut defects);
    in_parquet_files(&mut defects);
    in_csv(&mut defects);
    in_documents(&mut defects);
    in_proofs(&mut defects);
    assert!(defects.len() >= 50);
    find_all(place.path(), &defects, "audit: other shapes:");
}

#[test]
fn audit_says_nothing_against_clean_deliveries_of_any_shape() {
    let count = number_of("APPORTION_CASES", 200).div_ceil(4);
    for seed in 1..=count {
        let mut draw = Draw::new(seed ^ 0x5eed);
        let place = temp();
        let numbers = if draw.percent(70) { Numbers::Hostile } else { Numbers::Doubles };
        let mut report = Report::new(seed, numbers);
        for party in &mut report.parties {
            party.draw_delivery(&mut draw);
            if party.by_account && draw.percent(50) {
                party.target.push_str("-{account}");
            }
        }
        let rows = report.rows.len();
        let doubles = numbers == Numbers::Doubles && !report.cur2;
        let form = if doubles { Form::parquet(&mut draw, rows) } else { Form::csv(&mut draw, rows) };
        write_report(&report, &form, &place.path().join("source"));
        let settings = settings(&report, place.path());
        let out = deliver(&settings, &[]);
        assert_eq!(code(&out), 0, "APPORTION_SEED={seed}: {}", stderr(&out));
        let (code, report) = audit(&settings);
        let text = fs::read_to_string(&settings).unwrap();
        assert_eq!(code, 0, "APPORTION_SEED={seed}: {}\n{text}", lines(&report));
    }
    say(&format!("audit: {count} clean audits of other shapes"));
}

#[test]
fn audit_reads_every_source_of_the_settings() {
    let (place, settings) = delivered_looking(Look::All, 20);
    let (found, report) = audit(&settings);
    assert_eq!(found, 0, "{}", lines(&report));
    let periods = report["periods"].as_array().unwrap();
    assert_eq!(periods.len(), 2);
    let customers = periods[1]["customers"].as_array().unwrap();
    assert!(customers.iter().all(|export| export["report_id"].as_str().unwrap().contains("-second")));
    assert_eq!(code(&run("audit", &settings, &["--period", "2026-10"], &[])), 0);
    assert_eq!(code(&run("audit", &settings, &["--period", "2026-09"], &[])), 10);
    let proof = Place { root: place.path().to_owned() }.find(T0, "customer0-second-Proof.json");
    edit(&proof, |proof| proof["rows"] = 99.into());
    assert_eq!(audit(&settings).0, 4);
}

#[test]
fn a_locked_month_is_not_audited() {
    let (place, settings) = delivered(20);
    let lock = |what: &str| {
        let out =
            program(&["periods", what, "2026-10", "--config", settings.to_str().unwrap()]).output().unwrap();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
    };
    lock("lock");
    renew(place.path(), 2, 25);
    let out = run("audit", &settings, &[], &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), stderr(&out));
    assert!(said.contains("20261001-20261101: locked, not compared with the source"), "{said}");
    lock("unlock");
    assert_eq!(audit(&settings).0, 4);
}
