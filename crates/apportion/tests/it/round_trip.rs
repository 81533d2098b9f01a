//! What is written in layout `aws` is a source: read again and delivered with `privacy = "faithful"`, it becomes the
//! same data files, byte for byte.

use crate::harness::{number_of, say, temp, tree};
use crate::random_report::{Draw, Numbers, Party, Report};
use crate::read_back::{data_files, read};
use crate::support::{Place, skip, workspace};
use crate::written_report::{Form, request, target, write_report};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_flow::run::{DeliverRequest, State, Unwatched, deliver};
use apportion_flow::storage::Folder;
use apportion_flow::write::{Gzip, Order};
use apportion_model::{Format, Layout};
use std::path::Path;
use std::sync::Arc;

/// What the first customer's second pass is asked: the same, but nothing is masked again.
fn second(report: &Report, place: &Path, source: &Path) -> DeliverRequest {
    let mut only = report.clone();
    only.parties.truncate(1);
    only.parties[0].faithful = true;
    let mut request = request(&only, place);
    request.sources[0].bucket = Arc::new(Folder::new(source));
    request.threads = 2;
    request
}

/// Delivers a report and reads the first customer's export again; both must have the same data files. Returns how
/// many there are, and their rows.
fn there_and_back(report: &Report, form: &Form, what: &str) -> (usize, u64) {
    let place = temp();
    let source = place.path().join("source");
    write_report(report, form, &source);
    there_and_back_from(&source, report, what)
}

/// The same for a report that is written already.
fn there_and_back_from(source: &Path, report: &Report, what: &str) -> (usize, u64) {
    let place = temp();
    let (first, again) = (place.path().join("first"), place.path().join("again"));
    let mut once = request(report, &first);
    once.sources[0].bucket = Arc::new(Folder::new(source));
    let done = deliver(&once, &Unwatched).unwrap();
    assert_eq!(done.count(State::Failed), 0, "{what}: {done:?}");
    let written = target(&first, &report.parties[0].target);
    let back = deliver(&second(report, &again, &written), &Unwatched).unwrap();
    let rows = done.periods[0].customers[0].rows;
    assert_eq!(back.periods[0].customers[0].rows, rows, "{what}: {back:?}");
    assert_eq!(back.periods[0].source_rows, rows, "{what}");
    let due = data_files(&tree(&written));
    let found = data_files(&tree(&target(&again, &report.parties[0].target)));
    assert_eq!(due.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{what}");
    for (key, bytes) in &due {
        if &found[key] != bytes {
            let (due, found) = (read(key, bytes), read(key, &found[key]));
            assert_eq!(due[0], found[0], "{what}: {key}: the header");
            let differing = due.iter().zip(&found).position(|(due, found)| due != found);
            panic!(
                "{what}: {key}: row {differing:?} of {} and {}: {:?}\n{:?}",
                due.len(),
                found.len(),
                differing.map(|row| &due[row]),
                differing.map(|row| &found[row])
            );
        }
    }
    (due.len(), rows)
}

fn as_a_source(party: &mut Party, format: Format) {
    party.layout = Layout::Aws;
    party.header = HeaderStyle::Slash;
    party.formats = vec![format];
    party.by_account = false;
}

#[test]
fn a_random_export_read_again_becomes_the_same_files() {
    // Two deliveries each.
    let count = number_of("APPORTION_CASES", 200).div_ceil(2);
    let first = number_of("APPORTION_SEED", 1);
    for seed in first..first + count {
        // Text that a Parquet column can't hold is gone after the first pass, and a column with nothing else with it.
        let format = Format::ALL[(seed % 2) as usize];
        let numbers = if format == Format::Parquet { Numbers::Doubles } else { Numbers::Hostile };
        let mut report = Report::new(seed, numbers);
        as_a_source(&mut report.parties[0], format);
        if format == Format::Parquet {
            // Rows may be sorted by the text of a timestamp, which Parquet doesn't keep.
            report.parties[0].order = Order::Source;
        }
        let form = Form::csv(&mut Draw::new(seed), report.rows.len());
        there_and_back(&report, &form, &format!("APPORTION_SEED={seed}"));
    }
    say(&format!("properties: {count} cases each: round trip"));
}

const ACCOUNT: &str = "111111111111";

/// A report with so many line items for one customer, as AWS would write them, and some of nobody.
fn large(rows: usize) -> Report {
    let mut report = crate::small_report::report_looking(crate::small_report::Look::Plain, 3, 0);
    report.parties.truncate(1);
    let mut draw = Draw::new(rows as u64);
    let start = report.columns.iter().position(|column| column.name == "line_item_usage_start_date").unwrap();
    for number in 0..rows + 10 {
        let account = if number % 3000 == 7 { "333333333333" } else { ACCOUNT };
        let mut row = report.row_of(&mut draw, number, account.to_owned(), Numbers::Doubles);
        row.cells[start] = format!("2026-10-{:02}T{:02}:00:00Z", 1 + number % 31, number % 24);
        report.rows.push(row);
    }
    report
}

#[test]
fn large_exports_read_again_become_the_same_files() {
    // More than two windows of several members, and more than one of a single one.
    let report = &mut large(19_500);
    let form = Form { cuts: vec![5_000, 9_001], members: 2, parquet: false, seed: 1 };
    let place = temp();
    let source = place.path().join("source");
    write_report(report, &form, &source);
    let mut seen = Vec::new();
    for (contract, order, gzip, format) in [
        (Contract::Source, Order::Sorted, Gzip::MultiMember, Format::CsvGz),
        (Contract::Source, Order::Source, Gzip::MultiMember, Format::CsvGz),
        (Contract::Source, Order::Sorted, Gzip::Single, Format::CsvGz),
        (Contract::EcoExtended, Order::Sorted, Gzip::MultiMember, Format::CsvGz),
        (Contract::EcoExtended, Order::Source, Gzip::Single, Format::CsvGz),
        (Contract::Eco, Order::Sorted, Gzip::MultiMember, Format::CsvGz),
        (Contract::Eco, Order::Sorted, Gzip::Single, Format::CsvGz),
        (Contract::Source, Order::Sorted, Gzip::MultiMember, Format::Parquet),
        (Contract::EcoExtended, Order::Sorted, Gzip::MultiMember, Format::Parquet),
        (Contract::Eco, Order::Source, Gzip::MultiMember, Format::Parquet),
    ] {
        let party = &mut report.parties[0];
        as_a_source(party, format);
        (party.contract, party.order, party.gzip) = (contract, order, gzip);
        let what = format!("{} {} {} {format}", contract.as_str(), order.as_str(), gzip.as_str());
        let (files, rows) = there_and_back_from(&source, report, &what);
        assert!(rows > 16_384, "{rows}");
        assert_eq!(files, if gzip == Gzip::Single { 2 } else { 1 }, "{what}");
        seen.push(what);
    }
    say(&format!("round trip: {} large exports", seen.len()));
}

#[test]
fn an_export_of_several_files_read_again_becomes_the_same_files() {
    // Text that hardly compresses, so that few line items fill a file.
    let mut report = large(40_000);
    let place = report.columns.iter().position(|column| column.name == "vendor_margin").unwrap();
    let mut draw = Draw::new(11);
    for row in &mut report.rows {
        // 64 different characters: six bits of each eight stay.
        let mut text = Vec::with_capacity(2_000);
        while text.len() < 2_000 {
            let bits = draw.next();
            text.extend((0..10).map(|place| b'0' + (bits >> (6 * place) & 63) as u8));
        }
        row.cells[place] = String::from_utf8(text).unwrap();
    }
    let party = &mut report.parties[0];
    as_a_source(party, Format::CsvGz);
    (party.contract, party.order) = (Contract::Source, Order::Sorted);
    let form = Form { cuts: vec![], members: 1, parquet: false, seed: 1 };
    let (files, _) = there_and_back(&report, &form, "several files");
    assert!(files > 1, "{files} file");
}

/// Delivers a source through the program and reads the customer's export again.
fn through_the_program(place: &Place, source: &str, accounts: &str, contract: &str, format: &str) -> u64 {
    for name in ["first", "again"] {
        place.remove(name);
    }
    let pass = |source: &str, target: &str, more: &[&str]| {
        let common =
            ["--accounts", accounts, "--customer", "acme", "--contract", contract, "--layout", "aws"];
        let own = ["deliver", "-o", "json", "--source", source, "--target", target, "--formats", format];
        place.run(&[&own[..], &common, more].concat()).expect(0).json()
    };
    let first = pass(source, "first", &[]);
    let again = pass("first", "again", &["--privacy", "faithful"]);
    let mut rows = 0;
    for (first, again) in
        first["periods"].as_array().unwrap().iter().zip(again["periods"].as_array().unwrap())
    {
        assert_eq!(first["customers"][0]["rows"], again["customers"][0]["rows"]);
        assert_eq!(first["customers"][0]["rows"], again["source_rows"]);
        rows += first["customers"][0]["rows"].as_u64().unwrap();
    }
    let [due, found] = ["first", "again"].map(|name| {
        let tree = place.tree(name);
        let data = |key: &String| key.ends_with(".csv.gz") || key.ends_with(".parquet");
        // `R/P/I/R-00001.csv.gz` without the assembly's id.
        let without_id = |key: &str| {
            let parts: Vec<&str> = key.split('/').collect();
            format!("{}/{}/{}", parts[0], parts[1], parts[3])
        };
        tree.iter()
            .filter(|(key, _)| data(key))
            .map(|(key, bytes)| (without_id(key), bytes.clone()))
            .collect()
    });
    crate::support::same_tree(&due, &found);
    rows
}

#[test]
fn the_demos_bill_and_a_real_one_come_back_the_same() {
    let place = Place::new();
    let make = ["demo", "make", "--out", "made", "--rows", "6000", "--months", "2", "--accounts", "12"];
    place.run(&[&make[..], &["--customers", "3"]].concat()).expect(0);
    let settings = std::fs::read_to_string(place.at("made/apportion.toml")).unwrap();
    let settings: toml::Table = settings.parse().unwrap();
    let customer = &settings["customer"][0];
    let accounts: Vec<&str> = customer["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| account.as_str().unwrap_or_else(|| account["id"].as_str().unwrap()))
        .collect();
    let source = format!("made/{}", settings["source"][0]["url"].as_str().unwrap());
    let mut passes = 0;
    for contract in ["eco", "eco-extended", "source"] {
        for format in ["csv.gz", "parquet"] {
            assert!(through_the_program(&place, &source, &accounts.join(","), contract, format) > 100);
            passes += 1;
        }
    }
    let real = std::env::var_os("APPORTION_SAMPLES")
        .map_or_else(|| workspace().join("../shared/samples"), std::path::PathBuf::from)
        .join("wa-labs-legacy-csv");
    if real.is_dir() {
        for (accounts, format) in [("all", "csv.gz"), ("011254002932", "csv.gz"), ("all", "parquet")] {
            let real = real.to_str().unwrap();
            assert!(through_the_program(&place, real, accounts, "source", format) > 10);
            passes += 1;
        }
    } else {
        skip("samples", &format!("there is no {}", real.display()));
    }
    say(&format!("round trip: {passes} through the program"));
}
