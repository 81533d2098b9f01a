//! Kinds of source that are recognised and refused, or must wait: each with its reason, what to do, and nothing
//! changed in any target.

use crate::bad_input::{refused, small_parquet};
use crate::support::{MANIFEST, PERIOD_FOLDER, Place, gzip, manifest, small_csv, zip};
use serde_json::{Value, json};

const ARCHIVE: &str = "cur/rpt/20250301-20250401/a2/rpt-1.csv.zip";
const ASK: &str = "Nothing was published; fetch the file again, or ask who wrote it";

/// A legacy manifest of these keys, and one object.
fn report(place: &Place, key: &str, bytes: &[u8]) {
    let mut text = manifest("a2", &[]);
    text["reportKeys"] = json!([key]);
    place.write(&format!("source/{MANIFEST}"), text.to_string());
    place.write(&format!("source/{key}"), bytes);
}

#[track_caller]
fn refused_archive(words: &[&str], bytes: &[u8]) {
    let mut all = vec![ARCHIVE, ASK];
    all.extend_from_slice(words);
    refused(13, &all, |place| report(place, ARCHIVE, bytes));
}

#[test]
fn archives_that_are_not_one_csv() {
    let text = small_csv(300);
    let text = text.as_bytes();
    refused_archive(&["holds 2 files"], &zip(&[("a.csv", text), ("b.csv", text)]));
    refused_archive(&["holds 0 files"], &zip(&[]));
    refused_archive(&["rpt.parquet", "is no .csv"], &zip(&[("rpt.parquet", text)]));
    refused_archive(&["isn't a whole zip archive"], text);
    let whole = zip(&[("rpt.csv", text)]);
    refused_archive(&["isn't a whole zip archive"], &whole[..whole.len() - 30]);
}

#[test]
fn archives_that_lie() {
    let text = small_csv(300);
    let whole = zip(&[("rpt.csv", text.as_bytes())]);
    let directory = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    // The directory's checksum and size of the file.
    let spoilt = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[directory + at..directory + at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let size = text.len() as u32;
    refused_archive(&["checksum of its file is wrong"], &spoilt(16, 1));
    refused_archive(&["more text than its directory says"], &spoilt(24, size - 1));
    refused_archive(&["cut short"], &spoilt(24, size + 1));
    // Its data, not what is said of them.
    let mut bytes = whole.clone();
    bytes[directory / 2] ^= 0x40;
    refused_archive(&["zip archive can't be read"], &bytes);
}

/// What unpacks to a thousand times its size is streamed; a header or a record that never ends has a limit.
#[test]
fn an_archive_that_unpacks_to_one_endless_record() {
    let endless = vec![b'x'; 20 << 20];
    for start in ["\"", "", &format!("{}\"", small_csv(3))] {
        let bytes = zip(&[("rpt.csv", &[start.as_bytes(), &endless].concat())]);
        assert!(bytes.len() < 1 << 20);
        refused(13, &[ARCHIVE, "has a field of more than"], |place| report(place, ARCHIVE, &bytes));
    }
}

/// Many small fields are no way round it either.
#[test]
fn a_header_of_too_many_columns() {
    let bytes = gzip(&b"a,".repeat(5000));
    refused(13, &["rpt-1.csv.gz", "row 0", "more than 4096 fields"], |place| place.objects("a2", &[&bytes]));
}

fn athena(place: &Place, folder: &str, assembly: &str) {
    let key = "cur/rpt/rpt/year=2025/month=3/rpt-00001.snappy.parquet";
    let mut text = manifest(assembly, &[]);
    text["reportKeys"] = json!([key]);
    place.write(&format!("source/{key}"), small_parquet(2.5));
    place.write(&format!("source/cur/rpt/{folder}/rpt-Manifest.json"), text.to_string());
}

fn status(place: &Place, text: &str) {
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    let column = std::sync::Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("status", column)]).unwrap();
    let bytes = crate::support::parquet(&batch);
    place.write("source/cur/rpt/cost_and_usage_data_status/cost_and_usage_data_status.parquet", bytes);
}

#[test]
fn a_report_that_is_being_written() {
    let words = ["cost_and_usage_data_status.parquet says UPDATING", "run again when it says READY"];
    refused(5, &words, |place| {
        athena(place, "rpt/year=2025/month=3", "a2");
        status(place, "UPDATING");
    });
    let place = crate::bad_input::delivered();
    athena(&place, "rpt/year=2025/month=3", "a2");
    athena(&place, "20250301-20250401", "a2");
    status(&place, "READY");
    place.run(&["deliver", "--no-progress"]).expect(0);
    place.run(&["audit"]).expect(0);
    // The auditor doesn't read what is being written either.
    status(&place, "UPDATING");
    place.run(&["audit"]).expect(5).tells(&["UPDATING"]);
}

#[test]
fn two_manifests_of_one_month_that_disagree() {
    let words = ["two manifests of 2025-03", "rpt/year=2025/month=3/rpt-Manifest.json", MANIFEST, "newest"];
    refused(2, &words, |place| {
        athena(place, "rpt/year=2025/month=3", "a2");
        athena(place, "20250301-20250401", "a3");
    });
}

#[test]
fn two_reports_of_one_name() {
    refused(2, &["two reports are called rpt", "other/cur/rpt", MANIFEST, "Give the folder"], |place| {
        place.report("a2", &[small_csv(3).as_bytes()]);
        place.write(&format!("source/other/{MANIFEST}"), manifest("a2", &["rpt-1.csv.gz"]).to_string());
    });
}

#[test]
fn a_folder_of_csv_and_parquet_mixed() {
    refused(2, &[MANIFEST, "CSV and Parquet mixed"], |place| {
        let text = manifest("a2", &["rpt-1.csv.gz", "rpt-2.parquet"]);
        place.write(&format!("source/{MANIFEST}"), text.to_string());
    });
}

fn exports(files: &[&str]) -> Value {
    json!({"executionId": "e2", "columns": [], "dataFiles": files})
}

#[test]
fn executions_without_the_manifest_that_chooses_one() {
    let data = "e/rpt/data/BILLING_PERIOD=2025-03/x-2/rpt-1.csv.gz";
    let words =
        ["e/rpt/metadata/BILLING_PERIOD=2025-03/x-2/rpt-Manifest.json", "single executions only", "copy it"];
    refused(2, &words, |place| {
        place.write(&format!("source/{data}"), gzip(small_csv(3).as_bytes()));
        for execution in ["x-1", "x-2"] {
            let key = format!("source/e/rpt/metadata/BILLING_PERIOD=2025-03/{execution}/rpt-Manifest.json");
            place.write(&key, exports(&[&format!("s3://b/{data}")]).to_string());
        }
    });
}

const FOCUS: &str = "BilledCost,SubAccountId,ChargePeriodStart\n1,111122223333,2025-03-01T00:00:00Z\n";

#[test]
fn a_focus_export_however_it_is_packed() {
    let words = ["FOCUS export", "can't become a CUR", "Deliver from a legacy CUR or a CUR 2.0 export"];
    for (key, bytes) in [
        ("focus.csv", FOCUS.as_bytes().to_vec()),
        ("focus.csv.gz", gzip(FOCUS.as_bytes())),
        ("focus.csv.zip", zip(&[("focus.csv", FOCUS.as_bytes())])),
        ("focus.parquet", focus_parquet()),
    ] {
        refused(2, &words, |place| place.write(&format!("source/{key}"), &bytes));
        // Under a manifest that lists no columns, the file itself tells.
        refused(2, &words, |place| report(place, &format!("{PERIOD_FOLDER}/a2/{key}"), &bytes));
    }
}

fn focus_parquet() -> Vec<u8> {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let batch = RecordBatch::try_from_iter([
        ("billedcost", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef),
        ("subaccountid", Arc::new(StringArray::from(vec!["111122223333"])) as ArrayRef),
    ])
    .unwrap();
    crate::support::parquet(&batch)
}

#[test]
fn what_athena_writes_itself() {
    let text = "id1\u{1}999900001111\u{1}2025-03-01\nid2\u{1}999900001111\u{1}2025-03-01\n";
    let words = ["Athena's own output", "no header", "Deliver from the report that Athena reads"];
    for (key, bytes) in [
        ("20250301_120000_00012_abcde_0b1c", text.as_bytes().to_vec()),
        ("20250301_120000_00012_abcde_0b1c.gz", gzip(text.as_bytes())),
        ("unloaded.csv", text.as_bytes().to_vec()),
    ] {
        refused(2, &words, |place| place.write(&format!("source/out/{key}"), &bytes));
    }
}
