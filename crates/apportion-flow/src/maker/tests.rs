//! Tests of the maker: what it makes is read back by other means.

use super::*;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use flate2::read::MultiGzDecoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

fn request(out: &Path, kind: MakeKind, rows: u64, accounts: u32, customers: u32, months: u32) -> MakeRequest {
    let first = BillingPeriod::new(2025, 10).unwrap();
    let out = out.to_path_buf();
    MakeRequest { out, kind, rows, accounts, customers, first, months, seed: 7, rows_per_file: 1_500 }
}

fn made(request: &MakeRequest) -> Made {
    make(request, &mut |_| true).unwrap()
}

/// SHA-256 of every file below a folder, by name.
fn hashes(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, format!("{:x}", Sha256::digest(fs::read(path).unwrap())));
            }
        }
    }
    found
}

/// Keys of a month's files, by the pointer.
fn keys(root: &Path, kind: MakeKind, period: BillingPeriod) -> Vec<String> {
    let pointer = match kind {
        MakeKind::Cur2Csv => format!("metadata/BILLING_PERIOD={}", period.month_text()),
        _ => period.to_string(),
    };
    let text = fs::read(root.join(format!("cur/msp-cur/{pointer}/msp-cur-Manifest.json"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let list = if kind == MakeKind::Cur2Csv { &manifest["dataFiles"] } else { &manifest["reportKeys"] };
    let strip = |key: &str| key.trim_start_matches("s3://example-msp-billing/").to_string();
    list.as_array().unwrap().iter().map(|key| strip(key.as_str().unwrap())).collect()
}

/// A plain reader of quoted CSV, so that the maker's own quoting isn't taken at its word.
fn parse(text: &str) -> Vec<Vec<String>> {
    let mut lines = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let line = lines.last_mut().unwrap();
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                line.last_mut().unwrap().push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => line.push(String::new()),
            '\n' if !is_quoted => lines.push(vec![String::new()]),
            letter => line.last_mut().unwrap().push(letter),
        }
    }
    lines.pop();
    lines
}

type Record = BTreeMap<String, String>;

fn read_csv(path: &Path) -> Vec<Record> {
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut lines = parse(&text).into_iter();
    let header = lines.next().unwrap();
    lines
        .map(|line| {
            assert_eq!(line.len(), header.len());
            header.iter().cloned().zip(line).filter(|(_, cell)| !cell.is_empty()).collect()
        })
        .collect()
}

fn read_month(root: &Path, kind: MakeKind, period: BillingPeriod) -> Vec<Record> {
    keys(root, kind, period).iter().flat_map(|key| read_csv(&root.join(key))).collect()
}

/// Ten-billionths of a decimal text, with or without an exponent.
fn number(text: &str) -> i128 {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap();
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{decimals}").parse().unwrap();
    let places = 10 + exponent - decimals.len() as i32;
    if places < 0 {
        let by = 10i128.pow(places.unsigned_abs());
        assert_eq!(digits % by, 0, "{text}");
        digits / by
    } else {
        digits * 10i128.pow(places as u32)
    }
}

fn sum(records: &[Record], column: &str) -> i128 {
    records.iter().filter_map(|record| record.get(column)).map(|cell| number(cell)).sum()
}

#[test]
fn the_same_request_makes_the_same_bytes() {
    for kind in MakeKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, other) =
            (folder.path().join("one"), folder.path().join("two"), folder.path().join("other"));
        let first = made(&request(&one, kind, 8_000, 30, 5, 3));
        made(&request(&two, kind, 8_000, 30, 5, 3));
        made(&MakeRequest { seed: 8, ..request(&other, kind, 8_000, 30, 5, 3) });
        assert_eq!(hashes(&one), hashes(&two));
        assert_ne!(hashes(&one), hashes(&other));
        assert_eq!(first.rows, 8_000);
    }
}

#[test]
fn every_kind_has_the_same_line_items_and_cost() {
    let folder = tempfile::tempdir().unwrap();
    let made: Vec<(MakeKind, PathBuf, Made)> = MakeKind::ALL
        .into_iter()
        .map(|kind| {
            let out = folder.path().join(kind.as_str());
            let made = made(&request(&out, kind, 20_000, 40, 11, 4));
            (kind, out, made)
        })
        .collect();
    for period in &made[0].2.periods {
        let legacy = read_month(&made[0].1, MakeKind::Cur1Csv, *period);
        let newer = read_month(&made[2].1, MakeKind::Cur2Csv, *period);
        assert_eq!(legacy.len(), newer.len());
        for column in ["UnblendedCost", "BlendedCost", "UsageAmount", "NetUnblendedCost"] {
            let snake = columns::snake_name(&format!("lineItem/{column}"));
            assert_eq!(sum(&legacy, &format!("lineItem/{column}")), sum(&newer, &snake), "{column}");
        }
        for (left, right) in legacy.iter().zip(&newer) {
            assert_eq!(left.get("lineItem/ResourceId"), right.get("line_item_resource_id"));
            let map: Record = serde_json::from_str(&right["resource_tags"]).unwrap();
            assert_eq!(left.get("resourceTags/user:Name"), map.get("user_name"));
        }
        assert_eq!(parquet_cells(&made[1].1, *period), legacy_cells(&legacy));
    }
}

/// Unblended cost and account of every line item of a Parquet month, the cost as the nearest ten-billionth.
fn parquet_cells(root: &Path, period: BillingPeriod) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for key in keys(root, MakeKind::Cur1Parquet, period) {
        let file = fs::File::open(root.join(key)).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let costs =
                batch.column_by_name("line_item_unblended_cost").unwrap().as_primitive::<Float64Type>();
            let accounts = batch.column_by_name("line_item_usage_account_id").unwrap().as_string::<i32>();
            for at in 0..batch.num_rows() {
                cells.push((format!("{}", costs.value(at)), accounts.value(at).to_string()));
            }
        }
    }
    cells
}

fn legacy_cells(records: &[Record]) -> Vec<(String, String)> {
    records
        .iter()
        .map(|record| {
            let cost: f64 = record["lineItem/UnblendedCost"].parse().unwrap();
            (format!("{cost}"), record.get("lineItem/UsageAccountId").cloned().unwrap_or_default())
        })
        .collect()
}

#[test]
fn every_line_item_type_occurs_and_the_books_of_commitments_balance() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let made =
        made(&MakeRequest { rows_per_file: 100_000, ..request(&out, MakeKind::Cur1Csv, 60_000, 50, 12, 5) });
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0;
    for period in &made.periods {
        let records = read_month(&out, MakeKind::Cur1Csv, *period);
        total += records.len() as u64;
        for record in &records {
            *types.entry(record["lineItem/LineItemType"].clone()).or_default() += 1;
        }
        check_usage(&records);
        check_commitments(&records);
    }
    assert_eq!(total, 60_000);
    for wanted in [
        "Usage",
        "DiscountedUsage",
        "RIFee",
        "Fee",
        "SavingsPlanCoveredUsage",
        "SavingsPlanNegation",
        "SavingsPlanRecurringFee",
        "SavingsPlanUpfrontFee",
        "Tax",
        "Credit",
        "Refund",
        "EdpDiscount",
        "PrivateRateDiscount",
        "BundledDiscount",
        "FlatRateSubscription",
    ] {
        assert!(types.contains_key(wanted), "{wanted} in {types:?}");
    }
}

/// Cost is rate times amount, rounded to ten digits.
fn check_usage(records: &[Record]) {
    for record in records.iter().filter(|record| record["lineItem/LineItemType"] == "Usage") {
        let product = number(&record["lineItem/UnblendedRate"]) * number(&record["lineItem/UsageAmount"]);
        let cost = number(&record["lineItem/UnblendedCost"]);
        assert!((product - cost * 10_000_000_000).abs() <= 5_000_000_000, "{record:?}");
    }
}

/// Negations cancel by account and time, and what is used and unused of a commitment is what is paid.
fn check_commitments(records: &[Record]) {
    let of = |kind: &str| -> Vec<Record> {
        records.iter().filter(|record| record["lineItem/LineItemType"] == kind).cloned().collect()
    };
    let mut left: BTreeMap<(String, String), i128> = BTreeMap::new();
    for record in of("SavingsPlanCoveredUsage").iter().chain(&of("SavingsPlanNegation")) {
        let key = (record["lineItem/UsageAccountId"].clone(), record["identity/TimeInterval"].clone());
        *left.entry(key).or_default() += number(&record["lineItem/UnblendedCost"]);
        assert!(record["savingsPlan/SavingsPlanARN"].contains(&record["bill/PayerAccountId"]));
    }
    assert!(!left.is_empty() && left.values().all(|sum| *sum == 0));
    let fees = of("SavingsPlanRecurringFee");
    let covered = of("SavingsPlanCoveredUsage");
    assert_eq!(
        sum(&fees, "savingsPlan/UsedCommitment"),
        sum(&covered, "savingsPlan/SavingsPlanEffectiveCost")
    );
    for fee in &fees {
        assert!(
            number(&fee["savingsPlan/UsedCommitment"]) <= number(&fee["savingsPlan/TotalCommitmentToDate"])
        );
    }
    let (paid, used) = (of("RIFee"), of("DiscountedUsage"));
    assert_eq!(sum(&used, "lineItem/UnblendedCost"), 0);
    let effective = sum(&used, "reservation/EffectiveCost");
    let unused = sum(&paid, "reservation/UnusedRecurringFee")
        + sum(&paid, "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod");
    let whole =
        sum(&paid, "lineItem/UnblendedCost") + sum(&paid, "reservation/AmortizedUpfrontFeeForBillingPeriod");
    assert_eq!(effective + unused, whole);
    let foreign =
        |record: &&Record| !record["reservation/ReservationARN"].contains(&record["lineItem/UsageAccountId"]);
    assert!(used.iter().filter(foreign).count() > 0);
}

#[test]
fn the_restated_month_has_two_versions_and_the_pointer_names_the_second() {
    for kind in [MakeKind::Cur1Csv, MakeKind::Cur2Csv] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let made = made(&request(&out, kind, 6_000, 20, 4, 3));
        let month = match kind {
            MakeKind::Cur2Csv => format!("cur/msp-cur/data/BILLING_PERIOD={}", made.restated.month_text()),
            _ => format!("cur/msp-cur/{}", made.restated),
        };
        let newest = read_month(&out, kind, made.restated);
        let key = keys(&out, kind, made.restated).remove(0);
        let folders: Vec<PathBuf> = fs::read_dir(out.join(&month))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(folders.len(), 2);
        let older = folders.iter().find(|path| !out.join(&key).starts_with(path)).unwrap();
        let mut records = Vec::new();
        for entry in fs::read_dir(older).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "gz") {
                records.extend(read_csv(&path));
            }
        }
        assert!(records.len() < newest.len() && records.len() * 10 > newest.len() * 9);
        let (cost, kind_of) = if kind == MakeKind::Cur2Csv {
            ("line_item_unblended_cost", "line_item_line_item_type")
        } else {
            ("lineItem/UnblendedCost", "lineItem/LineItemType")
        };
        assert_ne!(sum(&records, cost), sum(&newest, cost));
        assert!(newest.iter().any(|record| record[kind_of] == "Refund"));
        assert!(!records.iter().any(|record| record[kind_of] == "Refund"));
    }
}

#[test]
fn customers_can_be_planned_without_writing() {
    let folder = tempfile::tempdir().unwrap();
    let made = made(&request(&folder.path().join("out"), MakeKind::Cur1Csv, 3_000, 84, 12, 4));
    let first = BillingPeriod::new(2025, 10).unwrap();
    assert_eq!(made.customers, plan_customers(84, 12, first, 4, 7));
    assert!(plan_customers(3, 12, first, 4, 7).is_empty());
    type Times = Vec<(Option<Day>, Option<Day>)>;
    let mut seen: BTreeMap<String, Times> = BTreeMap::new();
    for account in made.customers.iter().flat_map(|customer| &customer.accounts) {
        assert!(AccountId::from_settings(account.id.as_str()).is_ok());
        seen.entry(account.id.to_string()).or_default().push((account.from, account.to));
    }
    assert!(seen.keys().any(|id| id.starts_with('0')));
    assert!(!seen.contains_key(made.payer.as_str()));
    let moved: Vec<_> = seen.values().filter(|times| times.len() > 1).collect();
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0][0].1, moved[0][1].0);
    assert!(seen.values().filter(|times| times.len() == 1).all(|times| times[0] == (None, None)));
    let many = plan_customers(5_000, 1_200, first, 2, 7);
    assert_eq!(many.len(), 1_200);
    let ids: std::collections::BTreeSet<_> = many.iter().map(|customer| customer.id.as_str()).collect();
    assert_eq!(ids.len(), 1_200);
}

#[test]
fn stories_are_in_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let made =
        made(&MakeRequest { rows_per_file: 100_000, ..request(&out, MakeKind::Cur1Csv, 40_000, 30, 12, 4) });
    let records: Vec<Record> =
        made.periods.iter().flat_map(|period| read_month(&out, MakeKind::Cur1Csv, *period)).collect();
    let has =
        |column: &str, text: &str| records.iter().any(|record| record.get(column).is_some_and(|c| c == text));
    for story in &made.stories {
        for word in story.text.split([' ', ',', ';']).map(|word| word.trim_end_matches('.')) {
            if word.starts_with("i-0") || word.starts_with("vol-0") || word.contains(":loadbalancer/") {
                assert!(has("lineItem/ResourceId", word), "{word}");
            } else if word.contains(":savingsplan/") {
                assert!(has("savingsPlan/SavingsPlanARN", word), "{word}");
            } else if word.contains(":reserved-instances/") {
                assert!(has("reservation/ReservationARN", word), "{word}");
            } else if word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit()) {
                assert!(has("lineItem/UsageAccountId", word), "{word}");
            }
        }
    }
    assert!(records.iter().any(|record| !record.contains_key("lineItem/UsageAccountId")));
    assert!(records.iter().any(|record| record.contains_key("splitLineItem/ParentResourceId")));
    assert!(records.iter().any(|record| record.contains_key("resourceTags/user:cost-center")));
    let newest = made.periods[3].start().to_string();
    let has_invoice = |record: &Record| record.contains_key("bill/InvoiceId");
    assert!(records.iter().all(|r| has_invoice(r) != r["bill/BillingPeriodStartDate"].starts_with(&newest)));
}

#[test]
fn months_differ_in_columns_and_files_in_members() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let made = made(&request(&out, MakeKind::Cur1Csv, 6_000, 20, 4, 5));
    let mut headers = std::collections::BTreeSet::new();
    let mut members = std::collections::BTreeSet::new();
    for period in &made.periods {
        let key = keys(&out, MakeKind::Cur1Csv, *period).remove(0);
        let packed = fs::read(out.join(key)).unwrap();
        let mut text = String::new();
        MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        headers.insert(text.lines().next().unwrap().to_string());
        let mut first = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut first).unwrap();
        members.insert(first.len() == text.len());
    }
    assert!(headers.len() > 2);
    assert_eq!(members.len(), 2);
}

#[test]
fn the_smallest_reports_work() {
    for kind in MakeKind::ALL {
        for (rows, months) in [(0, 1), (1, 1), (10, 1), (10, 4), (500, 1)] {
            let folder = tempfile::tempdir().unwrap();
            let made = made(&request(&folder.path().join("out"), kind, rows, 1, 1, months));
            assert_eq!(made.rows, rows);
            if kind != MakeKind::Cur1Parquet {
                let read: usize = made
                    .periods
                    .iter()
                    .map(|period| read_month(&folder.path().join("out"), kind, *period).len())
                    .sum();
                assert_eq!(read as u64, rows);
            }
        }
    }
}

#[test]
fn hours_are_filled_where_there_are_many_line_items() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let made =
        made(&MakeRequest { rows_per_file: 1_000_000, ..request(&out, MakeKind::Cur1Csv, 110_000, 6, 3, 2) });
    assert_eq!(made.rows, 110_000);
    let records = read_month(&out, MakeKind::Cur1Csv, made.periods[0]);
    check_commitments(&records);
    assert!(records.iter().any(|record| record["identity/TimeInterval"].contains("T07:00:00Z/")));
}

#[test]
fn a_full_folder_and_an_interruption_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("something"), "x").unwrap();
    let full = request(folder.path(), MakeKind::Cur1Csv, 10, 1, 1, 1);
    assert!(matches!(make(&full, &mut |_| true), Err(MakeError::NotEmpty(_))));
    let out = folder.path().join("out");
    let mut last = 0;
    let mut stop = |rows| {
        last = rows;
        rows < 5_000
    };
    let stopped = make(&request(&out, MakeKind::Cur1Csv, 40_000, 5, 2, 2), &mut stop);
    assert!(matches!(stopped, Err(MakeError::Interrupted)));
    assert!((5_000..10_000).contains(&last));
    assert!("cur1-xml".parse::<MakeKind>().is_err());
    assert_eq!("cur2-csv".parse::<MakeKind>().unwrap(), MakeKind::Cur2Csv);
}
