//! What Parquet exports hold: blanks and nulls, the nearest doubles, moments, and what they can't hold, told in the
//! proof.

use crate::read_back::{batches, data_files, read, schema};
use crate::support::{HEADER, Place, gunzip, gzip, skip};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType};
use arrow_schema::{DataType, TimeUnit};
use serde_json::Value;
use std::process::Command;

const MORE: &str =
    "lineItem/UsageEndDate,lineItem/ResourceId,lineItem/TaxType,pricing/publicOnDemandCost,vendor/Odd";

/// A line item with these last cells.
fn line(id: u32, cost: &str, more: &str) -> String {
    format!("{},{more}\n", crate::support::row(id, "111122223333", 1 + id % 28, cost))
}

struct Delivered {
    place: Place,
    proof: Value,
    file: (String, Vec<u8>),
}

/// Delivers a report as Parquet and as csv.gz.
fn delivered(text: &[u8], contract: &str) -> Delivered {
    let place = Place::new();
    place.objects("a1", &[&gzip(text)]);
    let common = ["deliver", "--source", "source", "--accounts", "111122223333", "--target", "out"];
    let own =
        ["--customer", "acme", "--formats", "csv.gz,parquet", "--contract", contract, "--order", "source"];
    place.run(&[&common[..], &own].concat()).expect(0);
    place.run(&["verify", "--target", "out"]).expect(0);
    let tree = place.tree("out");
    let (_, proof) = tree.iter().find(|(key, _)| key.ends_with("acme-parquet-Proof.json")).unwrap();
    let file = data_files(&tree).into_iter().find(|(key, _)| key.ends_with(".parquet")).unwrap();
    Delivered { proof: serde_json::from_slice(proof).unwrap(), place, file }
}

impl Delivered {
    fn column(&self, name: &str) -> arrow_array::ArrayRef {
        let batches = batches(&self.file.1);
        assert_eq!(batches.len(), 1);
        batches[0].column_by_name(name).unwrap().clone()
    }

    /// What the proof says of a column: the difference and how many texts it can't hold.
    fn told(&self, name: &str) -> Option<(Value, u64)> {
        let told = self.proof["representation"].as_array().unwrap();
        let column = told.iter().find(|column| column["column"] == name)?;
        Some((column["difference"].clone(), column["not_represented"].as_u64().unwrap()))
    }
}

#[test]
fn blanks_nulls_doubles_and_moments() {
    let mut text = format!("{HEADER},{MORE}\n");
    text.push_str(&line(1, "0.1", "2025-03-05T01:30:00+02:00,i-1,,0.1,"));
    text.push_str(&line(2, "9007199254740993", "2025-03-31 23:59:59.250,,,,"));
    text.push_str(&line(3, "-1.5E-10", "yesterday,,,n/a,"));
    text.push_str(&line(4, "0", ",,,-0.0,"));
    let all = delivered(text.as_bytes(), "eco");
    // No cell of the export: null. Some cells: blank ones are ''.
    for name in ["line_item_tax_type", "product_servicecode", "bill_bill_type"] {
        assert_eq!(all.column(name).null_count(), 4, "{name}");
    }
    let resource = all.column("line_item_resource_id");
    assert_eq!(resource.null_count(), 0);
    assert_eq!(resource.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["i-1", "", "", ""]);
    let cost = all.column("line_item_unblended_cost");
    let cost: Vec<f64> = cost.as_primitive::<Float64Type>().iter().flatten().collect();
    assert_eq!(cost, [0.1, 9_007_199_254_740_992.0, -1.5e-10, 0.0]);
    let end = all.column("line_item_usage_end_date");
    let end: Vec<Option<i64>> = end.as_primitive::<TimestampMillisecondType>().iter().collect();
    assert_eq!(end, [Some(1_741_131_000_000), Some(1_743_465_599_250), None, None]);
    let on_demand = all.column("pricing_public_on_demand_cost");
    let on_demand: Vec<Option<f64>> = on_demand.as_primitive::<Float64Type>().iter().collect();
    assert_eq!(on_demand, [Some(0.1), None, None, Some(0.0)]);
    let place =
        schema(&all.file.1).iter().position(|(name, _)| name == "pricing_public_on_demand_cost").unwrap();
    assert_eq!(read(&all.file.0, &all.file.1)[4][place], "0");
    // 2^53 + 1 loses one; 0.1 and -1.5E-10 are not what their doubles are, exactly.
    let (difference, lost) = all.told("line_item_unblended_cost").unwrap();
    assert_eq!(lost, 0);
    // By Python's fractions.
    let exact = "-0.99999999999999999444888487587669835963597418648785009054336114786565303802490234375";
    assert_eq!(difference, exact);
    let tenth = "0.0000000000000000055511151231257827021181583404541015625";
    assert_eq!(all.told("pricing_public_on_demand_cost"), Some((tenth.into(), 1)));
    assert_eq!(all.told("line_item_usage_end_date"), Some((Value::Null, 1)));
    assert_eq!(all.told("line_item_usage_amount"), None);
}

#[test]
fn text_that_is_not_utf_8() {
    let mut text = format!("{HEADER},{MORE}\n").into_bytes();
    text.extend(line(1, "1", ",i-1,,,one").bytes());
    let mut odd = line(2, "1", ",i-2,,,Gr").into_bytes();
    odd.pop();
    odd.extend(b"\xf6\xdfe\n");
    text.extend(odd);
    let all = delivered(&text, "source");
    let column = all.column("vendor_odd");
    assert_eq!(
        column.as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["one", "Gr\u{fffd}\u{fffd}e"]
    );
    assert_eq!(all.told("vendor_odd"), Some((Value::Null, 1)));
    // In csv.gz the bytes are the source's.
    let tree = all.place.tree("out");
    let (_, csv) = tree.iter().find(|(key, _)| key.ends_with(".csv.gz")).unwrap();
    assert!(gunzip(csv).windows(6).any(|part| part == b"Gr\xf6\xdfe\n"));
}

#[test]
fn an_export_without_a_row_has_columns() {
    for contract in ["eco", "eco-extended", "source"] {
        let text = format!("{HEADER}\n{}\n", crate::support::row(1, "444455556666", 1, "1"));
        let all = delivered(text.as_bytes(), contract);
        let columns = schema(&all.file.1);
        let due = match contract {
            "eco" => 244,
            "eco-extended" => 287,
            _ => 28,
        };
        assert_eq!((columns.len(), all.proof["columns"].as_array().unwrap().len()), (due, due));
        assert_eq!(read(&all.file.0, &all.file.1).len(), 1);
        assert_eq!(all.proof["rows"], 0);
        let kind = |name: &str| columns.iter().find(|(column, _)| column == name).unwrap().1.clone();
        assert_eq!(kind("line_item_unblended_cost"), DataType::Float64);
        assert_eq!(kind("bill_bill_type"), DataType::Utf8);
        let moment = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        assert_eq!(kind("line_item_usage_start_date"), moment);
        with_pyarrow(&all, 0, due);
    }
}

/// What pyarrow makes of the file, where there is one: rows and columns, and no column REQUIRED.
fn with_pyarrow(all: &Delivered, rows: usize, columns: usize) {
    let Some(python) = std::env::var_os("APPORTION_READERS_PYTHON") else {
        return skip("readers", "APPORTION_READERS_PYTHON names no Python with pyarrow");
    };
    all.place.write("one.parquet", &all.file.1);
    let script = "import sys, pyarrow.parquet as p; t = p.read_table(sys.argv[1]); s = p.ParquetFile(sys.argv[1]).schema; \
                  print(t.num_rows, t.num_columns, all(s.column(i).max_definition_level == 1 for i in range(len(s))))";
    let out = Command::new(python).args(["-c", script]).arg(all.place.at("one.parquet")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(said.trim(), format!("{rows} {columns} True"), "{}", String::from_utf8_lossy(&out.stderr));
}
