//! A report made on the spot by koku-nise, an independent maker of cost reports, and summed by Python's decimals.
//! `APPORTION_NISE_PYTHON` names a Python that has it (`pip install koku-nise`).

use crate::support::{Place, Said, skip};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `saving: 0`: without it koku-nise writes the text `None` into a column of numbers.
const STATIC: &str = r#"generators:
  - EC2Generator:
      start_date: 2025-03-01
      end_date: 2025-03-31
      processor_arch: 32-bit
      resource_id: "55555555"
      tags:
        resourceTags/user:environment: dev
      instance_type:
        inst_type: m5.large
        physical_cores: 1
        vcpu: 2
        memory: 8 GiB
        storage: EBS Only
        family: General Purpose
        cost: 0.096
        rate: 0.096
        saving: 0
  - S3Generator:
      start_date: 2025-03-01
      end_date: 2025-03-31
      amount: 10
      rate: 3
  - EBSGenerator:
      start_date: 2025-03-01
      end_date: 2025-03-31
      resource_id: "12345678"
      amount: 5
      rate: 2
accounts:
  payer: "999900001111"
  user:
    - "011122223333"
    - "444455556666"
"#;

/// Prints {account: {type: [rows, sum]}}.
const SUM: &str = r#"
import csv, decimal, glob, gzip, json, sys
decimal.getcontext().prec = 60
totals = {}
for path in glob.glob(sys.argv[1] + "/**/*.csv.gz", recursive=True):
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            of_type = totals.setdefault(row["lineItem/UsageAccountId"], {})
            entry = of_type.setdefault(row["lineItem/LineItemType"], [0, decimal.Decimal(0)])
            entry[0] += 1
            entry[1] += decimal.Decimal(row["lineItem/UnblendedCost"])
plain = lambda number: format(number.normalize() if number else decimal.Decimal(0), "f")
print(json.dumps({a: {t: [n, plain(s)] for t, (n, s) in of.items()} for a, of in totals.items()}))
"#;

#[test]
fn a_fresh_nise_report_is_delivered_exactly() {
    let Some(python) = std::env::var_os("APPORTION_NISE_PYTHON").map(PathBuf::from) else {
        skip("nise", "APPORTION_NISE_PYTHON names no Python with koku-nise");
        return;
    };
    let place = Place::new();
    make(&place, &python);
    let expected = sum(&place, &python);
    assert!(expected.as_object().unwrap().len() == 2, "{expected}");
    place.write(
        "apportion.toml",
        "[[source]]\nurl = \"bucket\"\n[msp]\nurl = \"msp\"\n\
         [[customer]]\nid = \"zero\"\naccounts = [\"011122223333\"]\n[customer.deliver]\nurl = \"targets/zero\"\n\
         [[customer]]\nid = \"four\"\naccounts = [\"444455556666\"]\n[customer.deliver]\nurl = \"targets/four\"\n",
    );
    let report = place.run(&["deliver", "--no-progress", "-o", "json"]).expect(0).json();
    let proof = place.at("msp").join(report["periods"][0]["master_proof"].as_str().unwrap());
    let proof: Value = serde_json::from_slice(&fs::read(proof).unwrap()).unwrap();
    for (place, account) in [(0, "011122223333"), (1, "444455556666")] {
        let mut found = serde_json::Map::new();
        for totals in proof["customers"][place]["totals"].as_array().unwrap() {
            let sums = serde_json::json!([totals["rows"], totals["sums"]["line_item_unblended_cost"]]);
            found.insert(totals["line_item_type"].as_str().unwrap().to_owned(), sums);
        }
        let expected = expected[account].as_object().unwrap();
        assert_eq!(found.len(), expected.len(), "{account}");
        for (kind, sums) in expected {
            assert_eq!(found[kind], *sums, "{account} {kind}");
        }
    }
    assert_eq!(proof["unassigned"]["rows"], 0);
    place.run(&["verify"]).expect(0);
    let audit = place.run(&["audit", "-o", "json"]).expect(0).json();
    assert_eq!(audit["findings"], serde_json::json!([]));
    println!("nise: {} rows, exact; verified and audited", report["periods"][0]["source_rows"]);
}

fn make(place: &Place, python: &Path) {
    place.write("static.yml", STATIC);
    fs::create_dir(place.at("bucket")).unwrap();
    let nise = python.with_file_name("nise");
    let mut command = Command::new(python);
    command.current_dir(place.folder()).arg(nise).args([
        "report",
        "aws",
        "-s",
        "2025-03-01",
        "-e",
        "2025-03-31",
    ]);
    command.args(["--static-report-file", "static.yml", "--aws-s3-report-name", "rpt"]);
    command.args(["--aws-s3-report-prefix", "pre", "--aws-s3-bucket-name"]).arg(place.at("bucket"));
    Said::of(command.output().unwrap()).expect(0);
}

fn sum(place: &Place, python: &Path) -> Value {
    let output = Command::new(python).arg("-c").arg(SUM).arg(place.at("bucket")).output().unwrap();
    Said::of(output).expect(0).json()
}
