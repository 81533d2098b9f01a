//! A good delivery is live; then the source goes bad. Each time: the right exit code, a message with object, place,
//! cause and next step, nothing changed in any target, and nothing left behind.

use crate::support::{HEADER, MANIFEST, Place, Said, gzip, manifest, row, same_tree, small_csv};
use serde_json::json;

const OBJECT: &str = "cur/rpt/20250301-20250401/a2/rpt-1.csv.gz";

/// A place with a good delivery, and the source taken away.
pub fn delivered() -> Place {
    let place = Place::new();
    place.two_customers();
    place.report("a1", &[small_csv(30).as_bytes()]);
    place.run(&["deliver", "-q"]).expect(0);
    place.remove("source");
    place
}

/// Delivers from what `spoil` writes; everything else must be as before.
#[track_caller]
pub fn refused(code: i32, words: &[&str], spoil: impl FnOnce(&Place)) -> Said {
    let place = delivered();
    spoil(&place);
    fails(&place, code, words)
}

#[track_caller]
fn fails(place: &Place, code: i32, words: &[&str]) -> Said {
    let (targets, msp) = (place.tree("targets"), place.tree("msp"));
    assert!(targets.len() > 6 && msp.len() > 3, "a good delivery is in place");
    let said = place.run(&["deliver", "--no-progress"]).expect(code).tells(words);
    assert!(said.out.is_empty(), "stdout:\n{}", said.out);
    same_tree(&targets, &place.tree("targets"));
    same_tree(&msp, &place.tree("msp"));
    assert!(place.tree("tmp").is_empty(), "left behind: {:?}", place.tree("tmp").keys());
    assert!(!said.err.contains("panicked"), "{}", said.err);
    place.run(&["verify"]).expect(0);
    said
}

/// One object of these bytes under a manifest.
#[track_caller]
fn refused_object(code: i32, words: &[&str], bytes: &[u8]) {
    refused(code, words, |place| place.objects("a2", &[bytes]));
}

/// One object of this text under a manifest.
#[track_caller]
fn refused_text(code: i32, words: &[&str], text: &str) {
    refused_object(code, words, &gzip(text.as_bytes()));
}

const FETCH: &str = "Nothing was published; fetch the file again";

#[test]
fn a_truncated_gzip() {
    let whole = gzip(small_csv(3000).as_bytes());
    refused_object(13, &[OBJECT, "gzip data are broken", "cut short", FETCH], &whole[..whole.len() - 4]);
    refused_object(13, &[OBJECT, "gzip data are broken", "cut short", FETCH], &whole[..whole.len() / 2]);
    refused_object(13, &[OBJECT, "gzip data are broken", FETCH], &whole[..5]);
}

#[test]
fn a_gzip_with_something_behind_it() {
    let mut bytes = gzip(small_csv(30).as_bytes());
    bytes.extend_from_slice(b"this is no gzip member");
    refused_object(13, &[OBJECT, "gzip data are broken", FETCH], &bytes);
}

#[test]
fn a_corrupted_byte() {
    let mut bytes = gzip(small_csv(3000).as_bytes());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    refused_object(13, &[OBJECT, "Nothing was published; fetch the file again"], &bytes);
    // Only the checksum tells of this one.
    let mut bytes = gzip(small_csv(3000).as_bytes());
    let checksum = bytes.len() - 6;
    bytes[checksum] ^= 1;
    refused_object(13, &[OBJECT, "gzip data are broken", FETCH], &bytes);
}

#[test]
fn a_file_that_the_manifest_names_is_missing() {
    let words = [
        MANIFEST,
        "names cur/rpt/20250301-20250401/a2/rpt-2.csv.gz",
        "isn't there",
        "wait for AWS",
        "run again",
    ];
    refused(5, &words, |place| {
        place.report("a2", &[small_csv(30).as_bytes(), small_csv(30).as_bytes()]);
        place.remove("source/cur/rpt/20250301-20250401/a2/rpt-2.csv.gz");
    });
}

#[test]
fn a_key_that_leads_out_of_the_folder() {
    for key in [
        "cur/rpt/20250301-20250401/../../../../secret.csv.gz",
        "cur/rpt/20250301-20250401/a2/../../../../../secret.csv.gz",
        "/etc/secret.csv.gz",
    ] {
        refused(13, &[MANIFEST, key, "Nothing was read", "check who wrote this manifest"], |place| {
            place.report("a2", &[small_csv(3).as_bytes()]);
            let mut text = manifest("a2", &[]);
            text["reportKeys"] = json!([key]);
            place.write(&format!("source/{MANIFEST}"), text.to_string());
            place.write("secret.csv.gz", gzip(small_csv(3).as_bytes()));
        });
    }
}

/// A folder has no empty parts: two keys that differ in those only are one.
#[test]
fn a_key_that_is_named_twice() {
    for twice in ["rpt-1.csv.gz", "/rpt-1.csv.gz"] {
        refused(13, &[MANIFEST, "is named twice"], |place| {
            place.report("a2", &[small_csv(3).as_bytes()]);
            let text = manifest("a2", &["rpt-1.csv.gz", twice]);
            place.write(&format!("source/{MANIFEST}"), text.to_string());
        });
    }
    refused(5, &[MANIFEST, "names cur/rpt/20250301-20250401/etc/secret.csv.gz", "isn't there"], |place| {
        place.report("a2", &[small_csv(3).as_bytes()]);
        let mut text = manifest("a2", &[]);
        text["reportKeys"] = json!(["cur/rpt/20250301-20250401//etc/secret.csv.gz"]);
        place.write(&format!("source/{MANIFEST}"), text.to_string());
    });
}

#[test]
fn a_ragged_row() {
    let mut text = small_csv(5000);
    text.push_str("one,two\n");
    refused_text(13, &[OBJECT, "row 5001", "2 fields", "10", FETCH, "ask who wrote it"], &text);
    refused_text(
        13,
        &[OBJECT, "row 1", "11 fields"],
        &format!("{HEADER}\n{},more\n", row(1, "111122223333", 1, "1")),
    );
}

#[test]
fn an_unclosed_quote() {
    let mut text = small_csv(20);
    text.push_str("\"id21,and so on\n");
    refused_text(13, &[OBJECT, "row 21", "quote", FETCH], &text);
}

#[test]
fn a_required_column_is_gone() {
    let words = [
        OBJECT,
        "has no column line_item_usage_account_id",
        "this period is refused and the last export stays",
    ];
    refused_text(13, &words, &small_csv(3).replace("lineItem/UsageAccountId", "lineItem/Whatever"));
}

#[test]
fn a_required_column_is_gone_from_the_second_file_only() {
    let other = small_csv(3).replace("lineItem/UnblendedCost", "lineItem/Cost");
    refused(13, &["a2/rpt-2.csv.gz", "has no column line_item_unblended_cost"], |place| {
        place.report("a2", &[small_csv(3).as_bytes(), other.as_bytes()]);
    });
}

#[test]
fn text_where_a_number_is_due() {
    for bad in ["NULL", "1,5", "0x10", "NaN", "inf", "1e", "--1", "1 USD"] {
        let cell = if bad.contains(',') { format!("\"{bad}\"") } else { bad.to_owned() };
        let text = format!("{}{}\n", small_csv(7), row(8, "111122223333", 1, &cell));
        let quoted = format!("\"{bad}\" is not a number");
        refused_text(13, &[OBJECT, "row 8", "line_item_unblended_cost", &quoted], &text);
    }
}

#[test]
fn a_number_beyond_what_can_be_summed() {
    let text = format!("{}{}\n", small_csv(7), row(8, "111122223333", 1, "1e41"));
    refused_text(13, &[OBJECT, "row 8", "line_item_unblended_cost", "1e41"], &text);
}

#[test]
fn a_date_that_is_none() {
    for bad in ["2025-02-30T00:00:00Z", "yesterday", "2025-03-01T25:00:00Z", "03/01/2025"] {
        let line = row(8, "111122223333", 1, "1")
            .replace("2025-03-01T00:00:00Z,AmazonEC2", &format!("{bad},AmazonEC2"));
        let text = format!("{}{line}\n", small_csv(7));
        refused_text(13, &[OBJECT, "row 8", "line_item_usage_start_date", bad], &text);
    }
}

#[test]
fn a_manifest_that_is_none() {
    let name = format!("source/{MANIFEST}");
    for (text, words) in [
        ("{\"assemblyId\": \"a2\", ", &["is not a manifest"][..]),
        ("", &["is not a manifest"]),
        ("{}", &["is not a manifest", "no reportKeys and no dataFiles"]),
        (
            "{\"assemblyId\":\"a\",\"reportKeys\":[\"x\"],\"billingPeriod\":{\"start\":\"20250301\",\"end\":\"20250501\"}}",
            &["20250301 to 20250501", "not one calendar month"],
        ),
        (
            "{\"assemblyId\":\"a\",\"reportKeys\":[\"x\"],\"billingPeriod\":{\"start\":\"20250201\",\"end\":\"20250301\"}}",
            &["another month"],
        ),
    ] {
        let mut all = vec![MANIFEST];
        all.extend_from_slice(words);
        refused(13, &all, |place| {
            place.report("a2", &[small_csv(3).as_bytes()]);
            place.write(&name, text);
        });
    }
}

#[test]
fn the_only_file_has_no_bytes() {
    refused_object(13, &[OBJECT, "empty", "fetch the file again"], b"");
}

#[test]
fn a_file_of_nothing() {
    // A gzip member with no text in it has no header, so no column either.
    refused_text(13, &[OBJECT, "has no column"], "");
}

#[test]
fn a_loose_file_without_a_month() {
    let text = small_csv(3).replace("2025-03-01T00:00:00Z,1", ",1");
    let words = ["all.csv.gz", "row 1", "bill_billing_period_start_date", "month isn't known"];
    refused(13, &words, |place| place.write("source/all.csv.gz", gzip(text.as_bytes())));
    // Not only the first line item: a file of several months is cut by it.
    let text = format!(
        "{}{}\n",
        small_csv(8),
        row(9, "111122223333", 1, "1").replace("2025-03-01T00:00:00Z,1", ",1")
    );
    let words = ["all.csv", "row 9", "bill_billing_period_start_date", "month isn't known"];
    refused(13, &words, |place| place.write("source/all.csv", &text));
}

#[test]
fn a_source_that_is_not_there() {
    refused(10, &["source", "isn't there"], |_| {});
    refused(10, &["no report was found", "-Manifest.json", ".csv.gz"], |place| {
        place.write("source/readme.txt", "nothing");
    });
}

#[test]
fn a_month_that_is_not_there() {
    let place = delivered();
    place.report("a1", &[small_csv(30).as_bytes()]);
    let words = ["no delivery of 2025-04", "it has 2025-03"];
    place.run(&["deliver", "--period", "2025-04"]).expect(10).tells(&words);
    place.run(&["deliver", "--report", "other"]).expect(10).tells(&["no report named other", "rpt"]);
}

/// A Parquet report as the program's own maker writes it.
fn parquet(place: &Place) -> String {
    let make = ["demo", "make", "--out", "made", "--rows", "300", "--accounts", "4", "--customers", "2"];
    let how = ["--kind", "cur1-parquet", "--months", "1", "--first", "2025-03", "-q"];
    place.run(&[&make[..], &how[..]].concat()).expect(0);
    let mut names = place.tree("made/source").into_keys().filter(|name| name.ends_with(".parquet"));
    names.next_back().unwrap()
}

#[test]
fn a_parquet_that_is_cut_off() {
    let maker = Place::new();
    let name = parquet(&maker);
    let whole = std::fs::read(maker.at("made/source").join(&name)).unwrap();
    for (kept, what) in [
        (whole.len() - 9, "isn't whole Parquet"),
        (whole.len() / 2, "isn't whole Parquet"),
        (3, "isn't whole Parquet"),
    ] {
        refused(13, &["x.parquet", what, "fetch the file again"], |place| {
            place.write("source/x.parquet", &whole[..kept]);
        });
    }
    // A whole footer over broken pages.
    let mut broken = whole.clone();
    for byte in &mut broken[4..400] {
        *byte = !*byte;
    }
    refused(13, &["x.parquet"], |place| place.write("source/x.parquet", &broken));
}

#[test]
fn not_a_number_in_parquet() {
    for bad in [f64::NAN, f64::INFINITY] {
        let bytes = small_parquet(bad);
        let words = ["x.parquet", "row 2", "line_item_unblended_cost", "is not a finite number"];
        refused(13, &words, |place| place.write("source/x.parquet", &bytes));
    }
}

/// Two line items, of which the second costs this.
pub fn small_parquet(cost: f64) -> Vec<u8> {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let text = |value: &str| Arc::new(StringArray::from(vec![value; 2])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("identity_line_item_id", text("x")),
        ("bill_payer_account_id", text("999900001111")),
        ("bill_billing_period_start_date", text("2025-03-01T00:00:00Z")),
        ("line_item_usage_account_id", text("111122223333")),
        ("line_item_line_item_type", text("Usage")),
        ("line_item_usage_start_date", text("2025-03-02T00:00:00Z")),
        ("line_item_currency_code", text("USD")),
        ("line_item_unblended_cost", Arc::new(Float64Array::from(vec![1.0, cost])) as ArrayRef),
    ])
    .unwrap();
    crate::support::parquet(&batch)
}

/// Lists stand in no cost report: what their text would be, nothing says.
#[test]
fn a_list_in_parquet() {
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{Array, RecordBatch};
    use std::sync::Arc;
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.values().append_value("x");
    lists.append(true);
    let lists = Arc::new(lists.finish()) as Arc<dyn Array>;
    let batch = RecordBatch::try_from_iter([("product", lists)]).unwrap();
    let bytes = crate::support::parquet(&batch);
    refused(2, &["x.parquet", "product", "List", "which no cost report has"], |place| {
        place.write("source/x.parquet", &bytes);
    });
}

/// An update with fewer chunks can leave the surplus ones empty; beside files with rows they are told, not refused.
#[test]
fn a_file_of_no_bytes_beside_others() {
    let place = delivered();
    place.objects("a2", &[&gzip(small_csv(40).as_bytes()), b""]);
    place.run(&["deliver"]).expect(0).tells(&["rpt-2.csv.gz is empty (0 bytes)"]);
    place.run(&["verify"]).expect(0);
    place.run(&["audit"]).expect(0);
}

/// The good of the same: else the refusals above could have another cause.
#[test]
fn the_same_when_it_is_good() {
    let place = delivered();
    place.report("a2", &[small_csv(40).as_bytes()]);
    let report = place.run(&["deliver", "-q", "-o", "json"]).expect(0).json();
    assert_eq!(report["periods"][0]["customers"][0]["state"], "delivered");
    assert!(place.tree("tmp").is_empty());
    place.remove("source");
    place.write("source/x.parquet", small_parquet(2.5));
    // Another report id would be needed to have both; the point is that this file can be read.
    let plan = place.run(&["plan", "-q", "-o", "json"]).expect(0).json();
    assert_eq!(plan["periods"][0]["source_unblended_cost"]["USD"], "3.5");
}
