//! Cost reports that nobody on this project wrote: each is delivered with exactly the sums that an independent script
//! found, and verified and audited, or refused by name. They are not part of the repository.

use crate::support::{Place, Said, gunzip, skip, workspace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rows and unblended cost, by usage account and line item type.
type Totals = BTreeMap<(String, String), (u64, String)>;

struct Line {
    name: String,
    what: String,
}

struct Samples {
    root: PathBuf,
    expected: Value,
    lines: Vec<Line>,
    delivered: usize,
    refused: usize,
    skipped: usize,
}

pub fn root() -> PathBuf {
    std::env::var_os("APPORTION_SAMPLES").map_or_else(|| workspace().join("../shared/samples"), PathBuf::from)
}

#[test]
fn every_sample_is_delivered_exactly_or_refused_by_name() {
    let root = root();
    let Ok(expected) = fs::read(root.join("expected.json")) else {
        skip("samples", &format!("there is no expected.json in {}; set APPORTION_SAMPLES", root.display()));
        println!("samples: 0 delivered, 0 refused, 1 skipped");
        return;
    };
    let expected = serde_json::from_slice(&expected).unwrap();
    let mut samples = Samples { root, expected, lines: Vec::new(), delivered: 0, refused: 0, skipped: 0 };
    samples.deliver_all();
    samples.refuse_all();
    samples.nise_small();
    samples.koku_bucket();
    let width = samples.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    for line in &samples.lines {
        println!("{:width$} | {}", line.name, line.what);
    }
    println!(
        "samples: {} delivered, {} refused, {} skipped",
        samples.delivered, samples.refused, samples.skipped
    );
}

impl Samples {
    fn deliver_all(&mut self) {
        let known = |name: &str| Some(name.to_owned());
        for (path, expected) in [
            ("wa-labs/Oct2018-WorkshopCUR-00001.snappy.parquet", known("wa-labs Oct parquet")),
            ("wa-labs/Nov2018-WorkshopCUR-00001.snappy.parquet", known("wa-labs Nov parquet")),
            ("wa-labs-legacy-csv", known("wa-labs Nov legacy csv (3 parts)")),
            ("cur2-excerpt", known("cur2 excerpt")),
            ("focus_converters", known("focus_converters")),
            // Not in expected.json: summed here, from the CSV itself or the one that lies beside it.
            ("keboola/cur_1_0/s3_structure/mock-cur-bucket", None),
            ("keboola/cur_1_0/MockTestReport-00001.csv.zip", None),
            ("keboola/cur_1_0/sample_billing_data.csv", None),
            ("keboola/cur_2_0/s3_structure/mock-cur-v2-bucket", None),
            ("keboola/cur_2_0/MockTestReportV2-00001.csv.gz", None),
            ("keboola/cur_2_0/sample_billing_data_v2.csv", None),
            ("koku/2023-06-01.csv", None),
        ] {
            let Some(source) = self.find(path) else { continue };
            let totals = match expected {
                Some(name) => self.expected_totals(&name),
                None => sum_csv(&self.plain_text(path)),
            };
            self.deliver(path, &source, &totals);
        }
    }

    fn refuse_all(&mut self) {
        for (path, code, words) in [
            ("focus-excerpt", 2, &["focus_sample_excerpt.csv", "FOCUS export"][..]),
            ("focus-excerpt/focus_sample_excerpt.csv", 2, &["FOCUS export"]),
            ("focus-toolkit-goldens", 2, &["aws_1_2_cost", "aws_1_3_cost", "FOCUS export"]),
            ("focus-toolkit-goldens/aws_1_2_cost_and_usage_rows100_seed42.csv", 2, &["FOCUS export"]),
            ("focus-toolkit-goldens/aws_1_3_cost_and_usage_rows100_seed42.csv", 2, &["FOCUS export"]),
            ("jimroth-ice-manifests", 10, &["manifest-2018-01.json", "no data"]),
            // Two reports under two folders, and none chosen.
            ("wa-labs", 2, &["several reports", "Nov2018", "Oct2018", "--report"]),
        ] {
            let Some(source) = self.find(path) else { continue };
            self.refuse(path, &source, code, words);
        }
    }

    /// koku-nise writes text into two columns of numbers that AWS doesn't guarantee: delivered as it is, and told.
    fn nise_small(&mut self) {
        let name = "nise-small";
        let Some(source) = self.find(name) else { return };
        let totals = self.expected_totals("nise small");
        self.deliver(name, &source, &totals).tells(&["pricing_public_on_demand_cost", "convertible"]);
    }

    /// A whole fake bucket: account ids of 13 digits, and three months in the one file of a manifest.
    fn koku_bucket(&mut self) {
        let name = "koku/test_local_bucket.tar.gz";
        let Some(archive) = self.find(name) else { return };
        let place = Place::new();
        fs::create_dir(place.at("bucket")).unwrap();
        let unpacked =
            Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(place.at("bucket")).status();
        assert!(unpacked.unwrap().success(), "tar");
        let file = place
            .tree("bucket")
            .into_iter()
            .find(|(name, _)| name.ends_with(".csv.gz"))
            .map(|(_, bytes)| bytes)
            .unwrap();
        let said = self.deliver(name, &place.at("bucket"), &sum_csv(&gunzip(&file)));
        said.tells(&["line items of billing period 20180601-20180701 stay in this delivery"])
            .tells(&["line items of billing period 20180701-20180801 stay in this delivery"]);
        // The same rows as a loose file are cut: one delivery per month.
        place.write("loose/koku.csv.gz", &file);
        let name = "koku csv.gz as a loose file";
        let said = self.deliver(name, &place.at("loose/koku.csv.gz"), &sum_csv(&gunzip(&file)));
        assert_eq!(said.json()["periods"].as_array().unwrap().len(), 3);
    }

    /// The rows of a sample as plain CSV: its own, or those of the file that lies beside it.
    fn plain_text(&self, path: &str) -> Vec<u8> {
        let beside = [
            ("keboola/cur_1_0", "keboola/cur_1_0/sample_billing_data.csv"),
            ("keboola/cur_2_0", "keboola/cur_2_0/MockTestReportV2-00001.csv.gz"),
        ];
        let own = beside.iter().find(|(start, _)| !path.ends_with(".csv") && path.starts_with(start));
        let bytes = fs::read(self.root.join(own.map_or(path, |(_, file)| *file))).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) { gunzip(&bytes) } else { bytes }
    }

    fn find(&mut self, path: &str) -> Option<PathBuf> {
        let full = self.root.join(path);
        if full.exists() {
            return Some(full);
        }
        skip("samples", &format!("{path} isn't there"));
        self.skipped += 1;
        self.lines.push(Line { name: path.to_owned(), what: "skipped: it isn't there".to_owned() });
        None
    }

    /// Delivers with one customer per account where the ids allow it, and compares, verifies and audits.
    fn deliver(&mut self, name: &str, source: &Path, expected: &Totals) -> Said {
        let place = Place::new();
        let by_account = expected.keys().all(|(account, _)| is_account(account));
        let mut accounts: Vec<&str> = expected.keys().map(|(account, _)| account.as_str()).collect();
        accounts.dedup();
        write_settings(&place, source, if by_account { &accounts } else { &[] });
        let said = place.run(&["deliver", "--no-progress", "-o", "json"]).expect(0);
        let found = found_totals(&place, &said.json(), by_account);
        let (expected, found) =
            if by_account { (expected.clone(), found) } else { (over_accounts(expected), found) };
        assert_eq!(found, expected, "{name}");
        place.run(&["verify"]).expect(0);
        let audit = place.run(&["audit", "-o", "json"]).expect(0).json();
        assert_eq!(audit["findings"], serde_json::json!([]), "{name}");
        let rows: u64 = found.values().map(|(rows, _)| rows).sum();
        let accounts = accounts.len();
        self.delivered += 1;
        let what = format!("delivered: {rows} rows of {accounts} accounts, exact; verified and audited");
        self.lines.push(Line { name: name.to_owned(), what });
        said
    }

    fn refuse(&mut self, name: &str, source: &Path, code: i32, words: &[&str]) {
        let place = Place::new();
        write_settings(&place, source, &[]);
        let said = place.run(&["deliver", "--no-progress", "-q"]).expect(code).tells(words);
        assert!(said.out.is_empty(), "{name}");
        assert!(place.tree("targets").is_empty() && place.tree("msp").is_empty(), "{name}");
        let reason = said.err.trim().replace(&format!("{}/", self.root.display()), "");
        let reason = reason.replace('\n', " ");
        let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
        self.refused += 1;
        let what = format!("refused, exit {code}: {}", reason.chars().take(230).collect::<String>());
        self.lines.push(Line { name: name.to_owned(), what });
    }

    fn expected_totals(&self, name: &str) -> Totals {
        let mut totals = Totals::new();
        for (account, types) in self.expected[name]["by_account"].as_object().expect(name) {
            for (kind, sums) in types.as_object().unwrap() {
                let cost = plain(sums["cost"].as_str().unwrap());
                totals.insert((account.clone(), kind.clone()), (sums["rows"].as_u64().unwrap(), cost));
            }
        }
        totals
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Without trailing zeros, so that two ways of writing one number compare.
fn plain(text: &str) -> String {
    if text.contains('.') {
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return if text.is_empty() || text == "-" || text == "-0" { "0".to_owned() } else { text.to_owned() };
    }
    text.to_owned()
}

fn over_accounts(totals: &Totals) -> Totals {
    let mut sums: BTreeMap<(String, String), (u64, Vec<String>)> = BTreeMap::new();
    for ((_, kind), (rows, cost)) in totals {
        let sum = sums.entry(("all".to_owned(), kind.clone())).or_default();
        sum.0 += rows;
        sum.1.push(cost.clone());
    }
    sums.into_iter().map(|(key, (rows, costs))| (key, (rows, add(&costs)))).collect()
}

/// The exact sum of decimals, by scaling all to the longest fraction.
pub fn add(numbers: &[String]) -> String {
    let scaled: i128 = numbers.iter().map(|number| scaled(number)).sum();
    let digits = format!("{:0>width$}", scaled.unsigned_abs(), width = PLACES + 1);
    let (whole, fraction) = digits.split_at(digits.len() - PLACES);
    plain(&format!("{}{whole}.{fraction}", if scaled < 0 { "-" } else { "" }))
}

/// Digits behind the point that no sample exceeds.
const PLACES: usize = 24;

/// A decimal, with an exponent or without, times 10 to the power of [`PLACES`].
fn scaled(number: &str) -> i128 {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = PLACES as i32 + exponent.parse::<i32>().unwrap() - fraction.len() as i32;
    let zeros = u32::try_from(zeros).unwrap_or_else(|_| panic!("{number} has more than {PLACES} places"));
    let digits = format!("{}{fraction}", whole.trim_start_matches(['-', '+']));
    let value: i128 = digits.parse().unwrap_or_else(|_| panic!("{number:?} is not a number"));
    let value = value.checked_mul(10i128.pow(zeros)).unwrap();
    if number.starts_with('-') { -value } else { value }
}

#[test]
fn the_sums_of_this_test_are_exact() {
    let sum = |numbers: &[&str]| add(&numbers.iter().map(|number| (*number).to_owned()).collect::<Vec<_>>());
    assert_eq!(sum(&["0.1", "0.2", "-0.3"]), "0");
    assert_eq!(sum(&["1", "-0.00000000000000000001"]), "0.99999999999999999999");
    assert_eq!(sum(&["-2.50", "1.25", "-0"]), "-1.25");
    assert_eq!(sum(&["2.5893953072562468e-05", "1E+2"]), "100.000025893953072562468");
    assert_eq!(
        (plain("10"), plain("1.0"), plain("0.0"), plain("-0.10")),
        ("10".into(), "1".into(), "0".into(), "-0.1".into())
    );
}

/// Rows and unblended cost of a plain CSV, by account and type, with this test's own arithmetic.
fn sum_csv(text: &[u8]) -> Totals {
    let mut reader = csv::Reader::from_reader(text);
    let headers = reader.headers().unwrap().clone();
    let place = |slash: &str, snake: &str| {
        headers.iter().position(|name| name == slash || name == snake).unwrap_or_else(|| panic!("{slash}"))
    };
    let account = place("lineItem/UsageAccountId", "line_item_usage_account_id");
    let kind = place("lineItem/LineItemType", "line_item_line_item_type");
    let cost = place("lineItem/UnblendedCost", "line_item_unblended_cost");
    let mut sums: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for record in reader.records() {
        let record = record.unwrap();
        sums.entry((record[account].to_owned(), record[kind].to_owned()))
            .or_default()
            .push(record[cost].to_owned());
    }
    sums.into_iter().map(|(key, costs)| (key, (costs.len() as u64, add(&costs)))).collect()
}

/// One customer per account; all accounts in one where none are given.
fn write_settings(place: &Place, source: &Path, accounts: &[&str]) {
    let mut text = format!("[[source]]\nurl = {:?}\n\n[msp]\nurl = \"msp\"\n", source.display().to_string());
    for account in accounts {
        text.push_str(&format!(
            "\n[[customer]]\nid = \"c{account}\"\naccounts = [\"{account}\"]\n[customer.deliver]\nurl = \"targets/{account}\"\n"
        ));
    }
    if accounts.is_empty() {
        text.push_str(
            "\n[[customer]]\nid = \"everyone\"\naccounts = \"all\"\n[customer.deliver]\nurl = \"targets/all\"\n",
        );
    }
    place.write("apportion.toml", text);
}

/// What the master proofs of all months say of each customer.
fn found_totals(place: &Place, report: &Value, by_account: bool) -> Totals {
    let mut sums: BTreeMap<(String, String), (u64, Vec<String>)> = BTreeMap::new();
    for period in report["periods"].as_array().unwrap() {
        let key = period["master_proof"].as_str().unwrap();
        let proof: Value = serde_json::from_slice(&fs::read(place.at("msp").join(key)).unwrap()).unwrap();
        assert_eq!(proof["unassigned"]["rows"], 0);
        for customer in proof["customers"].as_array().unwrap() {
            let name = customer["customer"].as_str().unwrap();
            let account = if by_account { name.strip_prefix('c').unwrap() } else { "all" };
            for totals in customer["totals"].as_array().unwrap() {
                let kind = totals["line_item_type"].as_str().unwrap().to_owned();
                let sum = sums.entry((account.to_owned(), kind)).or_default();
                sum.0 += totals["rows"].as_u64().unwrap();
                sum.1.push(totals["sums"]["line_item_unblended_cost"].as_str().unwrap_or("0").to_owned());
            }
        }
    }
    sums.into_iter().map(|(key, (rows, costs))| (key, (rows, add(&costs)))).collect()
}
