//! Programs that nobody here wrote read what is delivered, from the manifest to the sums. The scripts that drive them
//! are in `consumers/`; what they find is compared here with the rows that went in and with the customer proofs.
//!
//! `APPORTION_READERS_PYTHON` names a Python that has duckdb, polars, pandas and pyarrow. `docs/formats.md` lists the
//! consumers and what each needs to be told.

use crate::harness::{csv_cell, has_python};
use crate::random_report::Draw;
use crate::samples::add;
use crate::support::{HEADER, Place, Said, gunzip, gzip, manifest, readers_python, row, skip, workspace};
use flate2::bufread::GzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const MARCH: &str = "20250301-20250401";
const APRIL: &str = "20250401-20250501";
/// Each account's export, whether its line items are long, and how many there are. Long ones make a second file.
const ACCOUNTS: [(&str, &str, bool, usize); 5] = [
    ("011122223333", "acme", true, 18_000),
    ("111122223333", "acme", true, 2_000),
    ("444455556666", "beta", false, 6_000),
    ("777788889999", "gamma-777788889999", false, 4_000),
    ("077788889999", "gamma-077788889999", false, 3),
];
/// Bytes of a long line item's description.
const LONG: usize = 5_000;
const CUSTOMERS: [(&str, &str); 3] = [
    ("acme", "accounts = [\"011122223333\", \"111122223333\"]"),
    ("beta", "accounts = [\"444455556666\"]"),
    ("gamma", "accounts = [\"777788889999\", \"077788889999\"]\nsharing = \"account\""),
];
/// What breaks readers of CSV.
const TEXTS: [&str; 12] = [
    "an hour",
    "two\nlines",
    "a \"quoted\" word, and a comma",
    "\"",
    "Größe 🚀 – 東京",
    "a\r\nb\n\nc",
    " ",
    "NA",
    "NULL",
    "=1+1",
    "12345678901234567890",
    ",\n\",",
];
const COSTS: [&str; 12] = [
    "0.0416666667",
    "-0.0416666667",
    "0",
    "0.0000000001",
    "-7.0E-10",
    "2.5893953072562468e-05",
    "123456789.123456",
    "0.123456789012345678901",
    "-0.0000000004",
    "1E+2",
    "3.10",
    "-12.5",
];

/// What one account's part of an export must come to.
#[derive(Debug, Default, Clone)]
struct Due {
    rows: u64,
    costs: Vec<String>,
    bytes: u64,
}

/// By manifest, then by account.
type Dues = BTreeMap<String, BTreeMap<String, Due>>;

fn manifest_key(period: &str, report: &str) -> String {
    format!("manifests/{period}/{report}-Manifest.json")
}

/// Writes a month with line items for all customers and nobody, and one without any.
fn write_source(place: &Place, accounts: &[(&str, &str, bool, usize)]) -> Dues {
    let mut draw = Draw::new(17);
    let mut dues = Dues::new();
    // Hardly compressible beyond the few kilobytes that a compressor remembers, so files become as large as they may.
    let noise: String = (0..1 << 20).map(|_| char::from(b'0' + draw.below(64) as u8)).collect();
    let header = format!("{HEADER},lineItem/LineItemDescription\n");
    let mut parts = [header.clone(), header.clone()];
    let mut number = 0;
    let nobody = ("999988887777", "", false, 100);
    for (account, report, long, rows) in accounts.iter().chain([&nobody]) {
        for period in [MARCH, APRIL].into_iter().filter(|_| !report.is_empty()) {
            dues.entry(manifest_key(period, report)).or_default();
        }
        for _ in 0..*rows {
            number += 1;
            let mut text = draw.pick(&TEXTS).to_string();
            if *long {
                let start = draw.below(noise.len() - LONG);
                text.push_str(&noise[start..start + LONG]);
            }
            let cost = *draw.pick(&COSTS);
            let line = row(number, account, 1 + number % 28, cost);
            parts[number as usize % 2].push_str(&format!("{line},{}\n", csv_cell(&text)));
            if let Some(accounts) = dues.get_mut(&manifest_key(MARCH, report)) {
                let due = accounts.entry((*account).to_owned()).or_default();
                due.rows += 1;
                due.costs.push(cost.to_owned());
                due.bytes += text.len() as u64;
            }
        }
    }
    place.report("a1", &[parts[0].as_bytes(), parts[1].as_bytes()]);
    let key = format!("cur/rpt/{APRIL}/b1/rpt-1.csv.gz");
    place.write(&format!("source/{key}"), gzip(header.as_bytes()));
    let april = manifest("b1", &["rpt-1.csv.gz"]).to_string().replace(MARCH, APRIL);
    let april = april.replace("20250401T", "20250501T").replace("20250301T", "20250401T");
    place.write(&format!("source/cur/rpt/{APRIL}/rpt-Manifest.json"), april);
    dues
}

fn write_settings(place: &Place) {
    let mut text = "[[source]]\nurl = \"source\"\n\n[msp]\nurl = \"msp\"\n".to_owned();
    for (id, accounts) in CUSTOMERS {
        text.push_str(&format!(
            "\n[[customer]]\nid = \"{id}\"\n{accounts}\n[customer.deliver]\nurl = \"targets/{id}\"\n\
             formats = [\"csv.gz\", \"parquet\"]\ngzip = \"{}\"\n",
            if id == "gamma" { "single" } else { "multi-member" }
        ));
    }
    place.write("apportion.toml", text);
}

/// How one consumer is started; the target is its last argument.
struct Consumer {
    name: &'static str,
    command: Vec<PathBuf>,
    /// How it calls strings, doubles and timestamps of a Parquet file; nothing where it reads csv.gz.
    types: Option<[&'static str; 3]>,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/consumers").join(name)
}

/// Whether a program is there; of Java, whether it can run a source file.
fn has(name: &str) -> bool {
    let (argument, sign) =
        if name == "java" { ("--list-modules", "jdk.compiler") } else { ("--version", "") };
    let output = Command::new(name).arg(argument).output();
    let there = output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains(sign)
    });
    if !there {
        skip(name, "it isn't there");
    }
    there
}

fn consumers() -> Vec<Consumer> {
    let mut consumers = Vec::new();
    let mut add = |name, command: &[&Path], types| {
        consumers.push(Consumer {
            name,
            command: command.iter().map(|word| word.to_path_buf()).collect(),
            types,
        });
    };
    let python_script = script("read_export.py");
    let mut with_python =
        |name: &'static str, python: &Path, library: &str, types: Option<[&'static str; 3]>| {
            let format = if types.is_some() { "parquet" } else { "csv.gz" };
            add(name, &[python, &python_script, library.as_ref(), format.as_ref()], types);
        };
    if has_python() {
        with_python("zcat, Python's csv", "python3".as_ref(), "zcat", None);
        with_python("Python's gzip and csv", "python3".as_ref(), "csv", None);
    } else {
        skip("python", "there is no python3");
    }
    if let Some(python) = readers_python() {
        with_python("DuckDB", &python, "duckdb", None);
        with_python("Polars", &python, "polars", None);
        with_python("pandas", &python, "pandas", None);
        with_python("pyarrow", &python, "pyarrow", None);
        let types = ["VARCHAR", "DOUBLE", "TIMESTAMP WITH TIME ZONE"];
        with_python("DuckDB, Parquet", &python, "duckdb", Some(types));
        let types = ["String", "Float64", "Datetime(time_unit='ms', time_zone='UTC')"];
        with_python("Polars, Parquet", &python, "polars", Some(types));
        let types = ["str", "float64", "datetime64[ms, UTC]"];
        with_python("pandas, Parquet", &python, "pandas", Some(types));
        let types = ["string", "double", "timestamp[ms, tz=UTC]"];
        with_python("pyarrow, Parquet", &python, "pyarrow", Some(types));
    }
    if has("java") {
        add("Java's GZIPInputStream", &["java".as_ref(), &script("ReadExport.java"), "file".as_ref()], None);
    }
    if has("node") {
        for (name, method) in [("Node's gunzipSync", "gunzipSync"), ("Node's createGunzip", "createGunzip")] {
            add(name, &["node".as_ref(), &script("read_export.js"), method.as_ref()], None);
        }
    }
    consumers
}

impl Consumer {
    fn read(&self, target: &Path) -> Value {
        let mut command = Command::new(&self.command[0]);
        Said::of(command.args(&self.command[1..]).arg(target).output().unwrap()).expect(0).json()
    }
}

#[test]
fn consumers_read_every_export_to_the_last_decimal() {
    let place = Place::new();
    let dues = write_source(&place, &ACCOUNTS);
    write_settings(&place);
    place.run(&["deliver", "--no-progress", "-q"]).expect(0);
    let schema = place.run(&["schema", "eco", "-o", "json"]).expect(0).json();
    let mut first_members = BTreeMap::new();
    for (customer, _) in CUSTOMERS {
        look(&place.at("targets").join(customer), &dues, &mut first_members);
    }
    let files: Vec<usize> = first_members.values().map(|(files, _)| *files).collect();
    assert!(files.contains(&2), "no export has several files: {files:?}");
    assert!(first_members.values().filter(|(_, rows)| *rows > 0).count() >= 2, "{first_members:?}");
    let consumers = consumers();
    let page = fs::read_to_string(workspace().join("docs/formats.md")).unwrap();
    for consumer in &consumers {
        assert!(page.contains(&format!("\n| {} | ", consumer.name)), "docs/formats.md: {}", consumer.name);
        let mut seen = BTreeSet::new();
        let mut rows = 0;
        let mut version = String::new();
        for (customer, _) in CUSTOMERS {
            let told = consumer.read(&place.at("targets").join(customer));
            version = told["version"].as_str().unwrap().to_owned();
            for (key, export) in told["exports"].as_object().unwrap() {
                rows += compare(consumer, key, export, &dues, &first_members, &schema);
                seen.insert(key.replace("-parquet-Manifest", "-Manifest"));
            }
        }
        assert!(seen.iter().eq(dues.keys()), "{} read {seen:?}", consumer.name);
        println!("{:22} {version:18} {rows} rows of {} exports, exact", consumer.name, seen.len());
    }
    println!("consumers: {}", consumers.len());
}

fn cost_of<'a>(accounts: impl Iterator<Item = &'a Due>) -> String {
    add(&accounts.flat_map(|due| due.costs.iter().cloned()).collect::<Vec<_>>())
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("0")
}

/// Looks at the exports of a target without a consumer: the proof says what is due; and how many files there are, and
/// how many rows a reader finds that goes no further than the first gzip member with any.
fn look(target: &Path, dues: &Dues, first_members: &mut BTreeMap<String, (usize, u64)>) {
    for (key, accounts) in dues.iter().filter(|(key, _)| target.join(key).exists()) {
        let manifest: Value = serde_json::from_slice(&fs::read(target.join(key)).unwrap()).unwrap();
        let proof = target.join(manifest["additionalArtifactKeys"][0]["name"].as_str().unwrap());
        let proof: Value = serde_json::from_slice(&fs::read(proof).unwrap()).unwrap();
        let totals = proof["totals"].as_array().unwrap();
        let costs = totals.iter().map(|of| text_of(&of["sums"]["line_item_unblended_cost"]).to_owned());
        assert_eq!(add(&costs.collect::<Vec<_>>()), cost_of(accounts.values()), "{key}");
        assert_eq!(proof["rows"], accounts.values().map(|due| due.rows).sum::<u64>(), "{key}");
        let keys = manifest["reportKeys"].as_array().unwrap();
        let first = fs::read(target.join(keys[0].as_str().unwrap())).unwrap();
        let (mut text, mut left, mut members) = (Vec::new(), first.as_slice(), 0);
        while !left.is_empty() && members < 2 {
            let mut member = GzDecoder::new(left);
            member.read_to_end(&mut text).unwrap();
            left = member.into_inner();
            members += 1;
        }
        let rows = csv::Reader::from_reader(text.as_slice()).records().count() as u64;
        let goes_on = !left.is_empty() || keys.len() > 1;
        first_members.insert(key.clone(), (keys.len(), if goes_on { rows } else { 0 }));
    }
}

/// Compares what a consumer has found in an export; returns its rows.
fn compare(
    consumer: &Consumer,
    key: &str,
    export: &Value,
    dues: &Dues,
    first_members: &BTreeMap<String, (usize, u64)>,
    schema: &Value,
) -> u64 {
    let name = consumer.name;
    let report = key.replace("-parquet-Manifest", "-Manifest");
    assert_eq!(report != key, consumer.types.is_some(), "{name} {key}");
    let accounts = export["accounts"].as_object().unwrap();
    assert!(accounts.keys().eq(dues[&report].keys()), "{name} {key}: {:?}", accounts.keys());
    let mut rows = 0;
    for (account, due) in &dues[&report] {
        let found = &accounts[account];
        assert_eq!(found["rows"], due.rows, "{name} {key} {account}: rows");
        assert_eq!(found["bytes"], due.bytes, "{name} {key} {account}: bytes of descriptions");
        // A Parquet file holds doubles: the shortest text of each is what can be summed.
        let as_double = |cost: &String| cost.parse::<f64>().unwrap().to_string();
        let costs: Vec<String> = match consumer.types {
            Some(_) => due.costs.iter().map(as_double).collect(),
            None => due.costs.clone(),
        };
        let sum = add(&costs);
        assert_eq!(add(&[text_of(&found["cost"]).to_owned()]), sum, "{name} {key} {account}: cost");
        if let Some(float) = found["float"].as_f64() {
            assert!(near(float, &sum, &costs), "{name} {key} {account}: {float} instead of {sum}");
        }
        rows += due.rows;
    }
    if consumer.types.is_none() {
        let (files, first) = first_members[&report];
        assert_eq!(export["files"], files, "{name} {key}");
        assert!(rows > first || rows == 0, "{name} {key}: the first member alone has {first} rows");
    }
    check_columns(consumer, key, &export["columns"], schema);
    rows
}

/// Whether a sum of floats is as near to the exact one as the size of what was summed allows.
#[allow(clippy::float_arithmetic)] // What others sum as floats can only be compared so.
fn near(float: f64, sum: &str, costs: &[String]) -> bool {
    let size: f64 = costs.iter().map(|cost| cost.parse::<f64>().unwrap().abs()).sum();
    (float - sum.parse::<f64>().unwrap()).abs() <= size * 1e-12
}

fn check_columns(consumer: &Consumer, key: &str, found: &Value, schema: &Value) {
    let (found, due) = (found.as_array().unwrap(), schema["columns"].as_array().unwrap());
    assert_eq!(found.len(), due.len(), "{} {key}", consumer.name);
    for (found, due) in found.iter().zip(due) {
        assert_eq!(found[0], due["column_name"], "{} {key}", consumer.name);
        let Some([string, double, timestamp]) = consumer.types else { continue };
        let kind = match due["data_type"].as_str().unwrap() {
            "double" => double,
            "timestamp" => timestamp,
            _ => string,
        };
        assert_eq!(found[1], kind, "{} {key}: {}", consumer.name, found[0]);
    }
}

/// The FinOps Foundation's converter of cost reports to FOCUS knows a CUR's columns by name, and refuses one in which
/// those it needs are missing. `APPORTION_FOCUS_PYTHON` names a Python that has it.
#[test]
fn a_converter_of_cost_reports_finds_every_line_item_and_its_cost() {
    let Some(python) = std::env::var_os("APPORTION_FOCUS_PYTHON").map(PathBuf::from) else {
        skip("focus", "APPORTION_FOCUS_PYTHON names no Python with focus-converter");
        return;
    };
    let place = Place::new();
    let make = "demo make --out msp --rows 20000 --accounts 12 --customers 3 --months 1 --no-progress -q";
    place.run(&make.split(' ').collect::<Vec<_>>()).expect(0);
    let deliver = "deliver --source msp/source --target target --accounts all --customer everyone \
                   --contract source --formats parquet --no-progress -q";
    place.run(&deliver.split_whitespace().collect::<Vec<_>>()).expect(0);
    let command = [python, script("read_export.py"), "focus".into(), "parquet".into()];
    let converter = Consumer { name: "focus-converter", command: command.into(), types: None };
    let told = converter.read(&place.at("target"));
    let exports = told["exports"].as_object().unwrap();
    assert_eq!(exports.len(), 1);
    let accounts: Vec<&Value> =
        exports.values().flat_map(|export| export["accounts"].as_object().unwrap().values()).collect();
    let rows: u64 = accounts.iter().map(|of| of["rows"].as_u64().unwrap()).sum();
    let costs: Vec<String> = accounts.iter().map(|of| text_of(&of["cost"]).to_owned()).collect();
    let proof: Value = {
        let (_, bytes) =
            place.tree("target").into_iter().find(|(key, _)| key.ends_with("-Proof.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    // What it calls billed is the net cost; the bill of the demo has one for each line item.
    let due = proof["totals"].as_array().unwrap().iter();
    let due = due.map(|of| text_of(&of["sums"]["line_item_net_unblended_cost"]).to_owned());
    assert_eq!(add(&costs), add(&due.collect::<Vec<_>>()));
    assert_eq!(proof["rows"], rows);
    println!(
        "focus-converter {}: {rows} rows of {} accounts, exact",
        text_of(&told["version"]),
        accounts.len()
    );
}

// ---- readers that stop ----

/// Prints how many bytes of text it finds in a file.
const PYTHON_ZLIB: &str = "
import sys, zlib
print(len(zlib.decompressobj(31).decompress(open(sys.argv[1], 'rb').read())))
";
/// The same, and then how many when it is told that there are several members.
const PERL_GUNZIP: &str = "
use IO::Uncompress::Gunzip qw(gunzip);
my $text;
gunzip $ARGV[0] => \\$text;
print length $text;
gunzip $ARGV[0] => \\$text, MultiStream => 1;
print ' ', length $text;
";

/// The programs that docs/formats.md warns of do stop, without an error; so the warning is neither idle nor outdated.
#[test]
fn readers_that_stop_after_the_first_member_are_those_of_the_page() {
    let place = Place::new();
    let dues = write_source(&place, &ACCOUNTS[2..3]);
    place.write(
        "apportion.toml",
        "[[source]]\nurl = \"source\"\n\n[[customer]]\nid = \"beta\"\naccounts = [\"444455556666\"]\n\
         [customer.deliver]\nurl = \"targets/beta\"\n",
    );
    place.run(&["deliver", "--no-progress", "-q", "--period", "2025-03"]).expect(0);
    let (name, bytes) =
        place.tree("targets").into_iter().find(|(name, _)| name.ends_with(".csv.gz")).unwrap();
    let file = place.at("targets").join(name);
    let mut first = Vec::new();
    let rest = {
        let mut member = GzDecoder::new(bytes.as_slice());
        member.read_to_end(&mut first).unwrap();
        member.into_inner().len()
    };
    assert!(rest > 0 && first.ends_with(b"\n"), "flate2's GzDecoder doesn't stop");
    let (first, whole) = (first.len().to_string(), gunzip(&bytes).len().to_string());
    let told = |command: &mut Command| Said::of(command.arg(&file).output().unwrap()).expect(0).out;
    let mut stopped = vec!["flate2's GzDecoder".to_owned()];
    if has_python() {
        assert_eq!(told(Command::new("python3").args(["-c", PYTHON_ZLIB])).trim(), first, "Python's zlib");
        stopped.push("Python's zlib.decompressobj".to_owned());
    }
    if Command::new("perl").args(["-MIO::Uncompress::Gunzip", "-e", "1"]).status().is_ok_and(|s| s.success())
    {
        assert_eq!(told(Command::new("perl").args(["-e", PERL_GUNZIP])), format!("{first} {whole}"), "Perl");
        stopped.push("Perl's IO::Uncompress::Gunzip".to_owned());
    }
    if has("java") {
        let java = Consumer {
            name: "Java from a slow stream",
            command: vec!["java".into(), script("ReadExport.java"), "slow".into()],
            types: None,
        };
        let told = java.read(&place.at("targets/beta"));
        let version = told["version"].as_str().unwrap();
        let major: u32 = version.split(['.', '-', '+']).next().unwrap().parse().unwrap();
        let key = manifest_key(MARCH, "beta");
        let rows = told["exports"][&key]["accounts"]["444455556666"]["rows"].as_u64().unwrap_or(0);
        let due = dues[&key]["444455556666"].rows;
        // Java 23 has mended it.
        assert_eq!(rows, if major < 23 { 0 } else { due }, "Java {version}");
        if rows < due {
            stopped.push(format!("Java {version}'s GZIPInputStream on a slow stream"));
        }
    }
    println!("stopped after the first member: {}", stopped.join(", "));
}
