//! What must hold for every report: invariants 3, 4, 5, 6 and 8 of ARCHITECTURE.md, over random ones.
//!
//! `APPORTION_CASES` says how many reports each property sees, `APPORTION_SEED` from which on; a failure names its
//! seed, and `APPORTION_SEED=<seed> APPORTION_CASES=1` runs it alone.

use crate::harness::{
    Tree, code, has_python, number_of, run, say, set_time, stderr, temp, text_of, tree, workspace, write,
};
use crate::random_report::{
    COLUMNS, Draw, HARMLESS, Numbers, Owned, PERIOD, Party, Report, ReportColumn, Row,
};
use crate::read_back::{as_in_parquet, data_files, is_data, read};
use crate::written_report::{Form, TIME, request, settings, target, write_report};
use apportion_core::columns::{Contract, snake_name};
use apportion_flow::run::{DeliverReport, State, Unwatched, deliver};
use apportion_flow::storage::{Body, Bucket, Folder, ObjectInfo, Opened, Put, StorageError, Swap};
use apportion_flow::write::Order;
use apportion_model::Format;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Runs a property over all cases and says how many there were.
fn cases(name: &str, property: impl Fn(u64)) {
    cases_of(1, name, property);
}

/// The same for a property that delivers so often in each case, over so many times fewer.
fn cases_of(deliveries: u64, name: &str, property: impl Fn(u64)) {
    let (count, first) = (number_of("APPORTION_CASES", 200), number_of("APPORTION_SEED", 1));
    let count = count.div_ceil(deliveries);
    for seed in first..first + count {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(seed)));
        if let Err(panic) = done {
            say(&format!("property {name} fails with APPORTION_SEED={seed}"));
            std::panic::resume_unwind(panic);
        }
    }
    say(&format!("properties: {count} cases each: {name}"));
}

/// Writes the source and delivers it; everything must go well.
fn delivered(report: &Report, form: &Form, place: &Path) -> DeliverReport {
    write_report(report, form, &place.join("source"));
    let done = deliver(&request(report, place), &Unwatched).unwrap();
    assert_eq!(done.count(State::Failed), 0, "{done:?}");
    done
}

fn case(seed: u64) -> (Report, Form, Draw) {
    let report = Report::new(seed, Numbers::Hostile);
    let mut draw = Draw::new(seed ^ 0xabcd_ef01);
    let form = Form::csv(&mut draw, report.rows.len());
    (report, form, draw)
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

// ---- a. taint ----

#[test]
fn no_customer_receives_a_mark_of_another() {
    cases("taint", |seed| {
        let (report, form, _) = case(seed);
        let place = temp();
        delivered(&report, &form, place.path());
        let mut seen = 0;
        for (number, party) in report.parties.iter().enumerate() {
            for (key, bytes) in &tree(&target(place.path(), &party.target)) {
                if is_data(key) {
                    let cells = read(key, bytes);
                    let text: String = cells.iter().flatten().map(|cell| format!("{cell}\n")).collect();
                    seen += check_marks(&report, number, key, &text);
                    check_cells(party, &report, key, &cells);
                    check_bytes(number, &report, key, bytes);
                } else {
                    let text = format!("{key}\n{}", text_of(key, bytes));
                    check_marks(&report, number, key, &text);
                    check_document(number, &report, key, &text);
                }
            }
        }
        // Without this, a delivery of nothing would pass. Every line item's id carries its mark.
        let copies = |row: &Row| report.owner(row).map_or(0, |owner| report.parties[owner].formats.len());
        let due: usize = report.rows.iter().filter(|row| report.is_delivered(row)).map(copies).sum();
        assert_eq!(seen, due);
    });
}

/// Every mark is one of a line item that this customer is to receive; returns how many line items are seen.
fn check_marks(report: &Report, party: usize, key: &str, text: &str) -> usize {
    let mut numbers = BTreeSet::new();
    for mark in text.split('⟦').skip(1) {
        let (account, rest) = mark.split_once('#').unwrap();
        let number: usize = rest.split_once('⟧').unwrap().0.parse().unwrap();
        let row = report.rows.iter().find(|row| row.number == number).unwrap();
        assert_eq!(row.account, account);
        assert_eq!(report.owner(row), Some(party), "{key} holds line item {number} of account {account:?}");
        // A document may name the type of what was withheld from this customer; a file may hold nothing of it.
        assert!(
            report.is_delivered(row) || key.ends_with(".json"),
            "{key} holds withheld line item {number}"
        );
        let by_account = report.parties[party].by_account;
        assert!(!by_account || key.contains(account) || key.ends_with(".json"), "{key} holds {account}");
        numbers.insert(number);
    }
    numbers.len()
}

/// No id of another's account where AWS puts ids, but the payer's where it may stay; and no column of another's.
fn check_cells(party: &Party, report: &Report, key: &str, records: &[Vec<String>]) {
    let named = |wanted: &str| {
        let column = |name: &String| snake_name(name.as_bytes()) == wanted.as_bytes();
        records[0].iter().position(column)
    };
    let strangers: Vec<String> = report.accounts().into_iter().filter(|id| !party.owns_now(id)).collect();
    for name in &records[0] {
        assert!(!strangers.iter().any(|id| name.contains(id)), "{key} has column {name}");
    }
    let payer_place = named("bill_payer_account_id").unwrap();
    for row in &records[1..] {
        for (name, cell) in records[0].iter().zip(row) {
            for id in strangers.iter().filter(|id| cell.contains(*id)) {
                let kept = party.payer_kept && row[payer_place] == **id;
                let cell = cell.replace(&format!("{HARMLESS}{id}"), "");
                assert!(kept || !cell.contains(id), "{key}: {name} shows account {id}: {cell}");
            }
        }
    }
    if let (Some(place), false) = (named("bill_payer_account_name"), party.payer_kept) {
        assert!(records[1..].iter().all(|row| row[place].is_empty()), "{key} names the payer");
    }
}

/// A Parquet file holds more than cells: nothing of it may name another customer either.
fn check_bytes(party: usize, report: &Report, key: &str, bytes: &[u8]) {
    for (number, other) in report.parties.iter().enumerate() {
        let id = other.id.as_bytes();
        assert!(
            number == party || !bytes.windows(id.len()).any(|part| part == id),
            "{key} names {}",
            other.id
        );
    }
}

/// Nothing of anybody else in a manifest, a proof, or their names.
fn check_document(party: usize, report: &Report, key: &str, text: &str) {
    for id in report.accounts().iter().filter(|id| !report.parties[party].owns(id)) {
        assert!(!text.contains(id), "{key} names account {id}");
    }
    for (number, other) in report.parties.iter().enumerate() {
        assert!(number == party || !text.contains(&other.id), "{key} names customer {}", other.id);
    }
    for unassigned in
        ["unassigned", "unknown_account", "payer_tax", "payer_usage", "payer_fee", "payer_credit"]
    {
        assert!(!text.contains(unassigned), "{key} tells of what is nobody's");
    }
}

// ---- b. non-interference ----

#[test]
fn nothing_of_another_changes_a_customers_export() {
    cases("non-interference", |seed| {
        let (before, form, mut draw) = case(seed);
        let after = change_others(&before, &mut draw);
        let (one, other) = (temp(), temp());
        delivered(&before, &form, one.path());
        delivered(&after, &Form::csv(&mut draw, after.rows.len()), other.path());
        let name = &before.parties[0].target;
        let one = without_ids(&tree(&target(one.path(), name)));
        let other = without_ids(&tree(&target(other.path(), name)));
        same_trees(&one, &other, "changing others");
        assert!(!one.is_empty());
    });
}

/// One to three changes of anything but the first customer.
fn change_others(report: &Report, draw: &mut Draw) -> Report {
    let mut changed = report.clone();
    for _ in 0..draw.within(1..4) {
        let others: Vec<usize> =
            (0..changed.rows.len()).filter(|place| changed.owner(&changed.rows[*place]) != Some(0)).collect();
        let other = (changed.parties.len() > 1).then(|| draw.within(1..changed.parties.len()));
        match (draw.below(10), other) {
            (0, _) => add_row(&mut changed, draw),
            (1, _) if !others.is_empty() => {
                let place = *draw.pick(&others);
                changed.rows.remove(place);
            }
            (2, _) if !others.is_empty() => {
                let place = *draw.pick(&others);
                let (number, account) = (changed.rows[place].number, changed.rows[place].account.clone());
                let row = changed.row_of(draw, number, account, Numbers::Hostile);
                // The other day of an account that moves could be the first customer's.
                if changed.owner(&row) != Some(0) {
                    changed.rows[place] = row;
                }
            }
            (3, Some(other)) => changed.parties[other].id = format!("renamed{other}"),
            (4, Some(other)) => {
                let gone = changed.parties.remove(other);
                changed.unknown.extend(gone.accounts.into_iter().map(|account| account.id));
            }
            (5, Some(other)) => {
                let party = &mut changed.parties[other];
                party.by_account = !party.by_account;
                party.draw_delivery(draw);
                party.withhold = vec!["Usage".to_owned(), "Fee".to_owned()];
            }
            (6, _) => {
                let accounts: Vec<Owned> =
                    report.unknown.iter().map(|id| Owned { id: id.clone(), from: None, to: None }).collect();
                if !changed.parties.iter().any(|party| accounts.iter().any(|account| party.owns(&account.id)))
                {
                    let mut party = Party { accounts, ..Party::plain("new", &[], "new") };
                    party.draw_delivery(draw);
                    changed.parties.push(party);
                }
            }
            (7 | 8, _) => add_column(&mut changed, draw, &others),
            _ => add_row(&mut changed, draw),
        }
    }
    changed
}

/// A column that only others' line items have cells in. Its name may be that of a column of all.
fn add_column(report: &mut Report, draw: &mut Draw, others: &[usize]) {
    let header = *draw.pick(&[
        "resourceTags/user:cost center",
        "resourceTags/user:somebody's",
        "costCategory/Team 2",
        "costCategory/team",
        "discount/somebody's",
        "vendor/Secret",
        "Secret",
    ]);
    if report.columns.iter().any(|column| column.header == header) {
        return;
    }
    // Behind the required ones: the places of those are known to the tests.
    let place = draw.within(COLUMNS.len()..report.columns.len() + 1);
    report.columns.insert(place, ReportColumn::new(header));
    for (number, row) in report.rows.iter_mut().enumerate() {
        let filled = others.contains(&number) && draw.percent(70);
        let cell = if filled { format!("⟦{}#{}⟧", row.account, row.number) } else { String::new() };
        row.cells.insert(place, cell);
    }
}

fn add_row(report: &mut Report, draw: &mut Draw) {
    let strangers: Vec<String> = report
        .accounts()
        .into_iter()
        .filter(|id| !report.parties[0].owns(id))
        .chain([String::new()])
        .collect();
    let account = draw.pick(&strangers).clone();
    let row: Row = report.row_of(draw, 1000 + draw.clone().below(1000), account, Numbers::Hostile);
    let place = draw.below(report.rows.len() + 1);
    report.rows.insert(place, row);
}

/// A target without what may differ: assembly ids, in names and texts, and the source's version and generation.
fn without_ids(tree: &Tree) -> Tree {
    let mut ids = BTreeSet::new();
    for (_, bytes) in tree.iter().filter(|(key, _)| key.ends_with("-Manifest.json")) {
        ids.insert(json_of(bytes)["assemblyId"].as_str().unwrap().to_owned());
    }
    for bytes in tree.iter().filter(|(key, _)| key.ends_with("-Proof.json")).map(|(_, bytes)| bytes) {
        ids.insert(json_of(bytes)["source_version"].as_str().unwrap().to_owned());
    }
    let plain = |text: &str| ids.iter().fold(text.to_owned(), |text, id| text.replace(id, "ID"));
    tree.iter()
        .map(|(key, bytes)| {
            let text = if key.ends_with(".json") {
                plain(std::str::from_utf8(bytes).unwrap()).into_bytes()
            } else {
                bytes.clone()
            };
            (plain(key), text)
        })
        .collect()
}

fn same_trees(one: &Tree, other: &Tree, what: &str) {
    let keys = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(one), keys(other), "{what}: other objects");
    for (key, bytes) in one {
        if bytes != &other[key] && is_data(key) {
            assert_eq!(read(key, bytes), read(key, &other[key]), "{what}: {key}");
            panic!("{what}: {key}: the same cells in other bytes");
        }
        if bytes != &other[key] {
            assert_eq!(text_of(key, bytes), text_of(key, &other[key]), "{what}: {key}");
        }
    }
}

// ---- c. conservation, by an oracle in another language ----

#[test]
fn an_oracle_in_python_counts_the_same() {
    if !has_python() {
        return say("SKIPPED: conservation by the oracle, for there is no python3");
    }
    let place = temp();
    let list = std::cell::RefCell::new(Vec::new());
    cases("conservation", |seed| {
        let (mut report, form, _) = case(seed);
        // The oracle reads no Parquet, but what its proof tells of the csv.gz beside it.
        for party in report.parties.iter_mut().filter(|party| party.formats.len() == 1) {
            party.formats = if seed % 3 == 0 { Format::ALL.to_vec() } else { vec![Format::CsvGz] };
        }
        let own = place.path().join(seed.to_string());
        let source = write_report(&report, &form, &own.join("source"));
        let done = deliver(&request(&report, &own), &Unwatched).unwrap();
        assert_eq!(done.count(State::Failed), 0);
        list.borrow_mut().push(oracle_case(seed, &report, &own, &source));
    });
    let list = list.into_inner();
    let input = place.path().join("cases.json");
    write(&input, Value::from(list.clone()).to_string().as_bytes());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oracle.py");
    let table = workspace().join("crates/apportion-core/src/columns/columns.toml");
    let out = Command::new("python3").arg(script).arg(&input).arg(table).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(said.trim(), format!("ok {}", list.len()), "{}", String::from_utf8_lossy(&out.stderr));
}

fn oracle_case(seed: u64, report: &Report, place: &Path, source: &[PathBuf]) -> Value {
    let below = |folder: &Path, ending: &str| -> Vec<PathBuf> {
        tree(folder).keys().filter(|key| key.ends_with(ending)).map(|key| folder.join(key)).collect()
    };
    let date = |day: Option<i32>| day.map(|day| format!("2026-10-{day:02}"));
    let customers: Vec<Value> = report
        .parties
        .iter()
        .map(|party| {
            let accounts: Vec<Value> = party
                .accounts
                .iter()
                .map(|own| json!({ "id": own.id, "from": date(own.from), "to": date(own.to) }))
                .collect();
            let target = target(place, &party.target);
            json!({
                "id": party.id, "accounts": accounts, "withhold": party.withhold, "target": target,
                "contract": party.contract.as_str(), "payer": if party.payer_kept { "keep" } else { "mask" },
                "header": party.header.as_str(), "order": party.order.as_str(),
                "formats": party.formats.iter().map(|format| format.as_str()).collect::<Vec<_>>(),
                "proofs": below(&target, "-Proof.json"),
            })
        })
        .collect();
    let msp = place.join("msp");
    json!({
        "seed": seed, "month": "2026-10-01", "source": source, "customers": customers,
        "unassigned": below(&msp, ".csv.gz"), "master": below(&msp, "-MasterProof.json")[0],
    })
}

// ---- d. the same bytes on any machine ----

/// A source that lists in another order every time.
struct Shuffled(Folder, std::sync::Mutex<Draw>);

impl Bucket for Shuffled {
    fn place(&self) -> String {
        self.0.place()
    }
    fn bucket_name(&self) -> String {
        self.0.bucket_name()
    }
    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        let mut list = self.0.list()?;
        let mut draw = self.1.lock().unwrap();
        for place in (1..list.len()).rev() {
            list.swap(place, draw.below(place + 1));
        }
        Ok(list)
    }
    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError> {
        self.0.info(key)
    }
    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.read(key, limit)
    }
    fn open(&self, key: &str) -> Result<Option<Opened>, StorageError> {
        self.0.open(key)
    }
    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        self.0.put_new(key, body)
    }
    fn prove_conditions(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.prove_conditions(key, bytes)
    }
    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError> {
        self.0.swap(key, seen, new)
    }
    fn delete(&self, key: &str) -> Result<bool, StorageError> {
        self.0.delete(key)
    }
}

/// Everything that a delivery leaves: targets and MSP's place.
fn everything(place: &Path) -> Tree {
    let mut all = Tree::new();
    for name in ["targets", "msp"] {
        all.extend(tree(&place.join(name)).into_iter().map(|(key, bytes)| (format!("{name}/{key}"), bytes)));
    }
    all
}

#[test]
fn threads_and_the_order_of_a_listing_change_no_byte() {
    cases_of(3, "same bytes", |seed| {
        let (report, form, mut draw) = case(seed);
        let place = temp();
        let mut first: Option<Tree> = None;
        // With no memory at all, whatever waits is moved to the disk after every batch.
        for (threads, memory) in [(1, 512 << 20), (2, 0), (8, 1 << 10)] {
            let own = place.path().join(threads.to_string());
            write_report(&report, &form, &own.join("source"));
            let mut request = request(&report, &own);
            (request.threads, request.memory) = (threads, memory);
            let source = Folder::new(own.join("source"));
            let order = std::sync::Mutex::new(Draw::new(draw.next()));
            request.sources[0].bucket = Arc::new(Shuffled(source, order));
            deliver(&request, &Unwatched).unwrap();
            let tree = everything(&own);
            assert!(tree.len() > 4);
            same_trees(first.get_or_insert_with(|| tree.clone()), &tree, &format!("{threads} threads"));
        }
    });
}

/// Rows of a window when it is full, as crates/apportion-flow/src/write/pack.rs has it.
const WINDOW_ROWS: usize = 4096;

/// A report whose first customer's first window is filled by one of the last rows: what packs the few rows behind it
/// is done long before the window is, and a result that isn't put in its turn shows.
fn just_over_a_window() -> Report {
    let mut report = crate::small_report::report(7, 0);
    report.parties[0].order = Order::Source;
    let mut draw = Draw::new(7);
    let mut left = WINDOW_ROWS + 3;
    while left > 0 {
        let number = report.rows.len();
        let account =
            if number.is_multiple_of(50) { crate::small_report::TWO[0] } else { crate::small_report::ONE };
        let row = report.row_of(&mut draw, number, account.to_owned(), Numbers::Hostile);
        left -= usize::from(report.owner(&row) == Some(0) && report.is_delivered(&row));
        report.rows.push(row);
    }
    report
}

/// The first customer's only file, as records.
fn first_file(place: &Path) -> Vec<Vec<String>> {
    let tree = data_files(&tree(&target(place, "t0")));
    assert_eq!(tree.len(), 1);
    let (key, bytes) = tree.first_key_value().unwrap();
    read(key, bytes)
}

/// Small reports fill one window of text at most, which leaves nothing to be put in the wrong order.
#[test]
fn threads_and_parts_change_no_byte_of_large_exports_either() {
    let mut report = just_over_a_window();
    for contract in [Contract::Eco, Contract::Source] {
        report.parties[0].contract = contract;
        same_bytes_in_parts(&report);
    }
}

fn same_bytes_in_parts(report: &Report) {
    let mut first: Option<Tree> = None;
    for (threads, cuts) in [(1, vec![]), (2, vec![600]), (8, vec![1, 777])] {
        let own = temp();
        let form = Form { cuts, members: threads, parquet: false, seed: 1 };
        write_report(report, &form, &own.path().join("source"));
        let mut request = request(report, own.path());
        request.threads = threads;
        deliver(&request, &Unwatched).unwrap();
        // The header, and with contract `source` the few rows that `eco` withholds.
        assert!(first_file(own.path()).len() >= WINDOW_ROWS + 4);
        let [mut all, other] = ["t0", "t1"].map(|name| without_ids(&tree(&target(own.path(), name))));
        all.extend(other);
        let due = first.get_or_insert_with(|| all.clone());
        assert_eq!(due.len(), all.len());
        for (key, bytes) in &*due {
            assert!(all.get(key) == Some(bytes), "{threads} threads: {key}");
        }
    }
}

#[test]
fn another_machine_changes_no_byte() {
    let count = number_of("APPORTION_CASES", 200).div_ceil(40);
    for seed in 1..=count {
        let (report, form, _) = case(seed);
        let place = temp();
        let worlds: [&[(&str, &str)]; 3] = [
            &[("TZ", "UTC"), ("LANG", "C")],
            &[
                ("TZ", "Asia/Tokyo"),
                ("LANG", "tr_TR.UTF-8"),
                ("LC_ALL", "de_DE.UTF-8"),
                ("HOSTNAME", "other"),
            ],
            &[
                ("TZ", "America/St_Johns"),
                ("LC_NUMERIC", "fr_FR"),
                ("APPORTION_THREADS", "7"),
                ("HOME", "/nowhere"),
            ],
        ];
        let mut first: Option<Tree> = None;
        for (number, world) in worlds.iter().enumerate() {
            let own = place.path().join(number.to_string());
            let temporary = own.join("temporary");
            std::fs::create_dir_all(&temporary).unwrap();
            write_report(&report, &form, &own.join("source"));
            let settings = settings(&report, &own);
            let mut world = world.to_vec();
            world.push(("TMPDIR", temporary.to_str().unwrap()));
            let spool = own.join("elsewhere");
            let more = ["--spool", spool.to_str().unwrap()];
            let out = run("deliver", &settings, if number == 2 { &more } else { &[] }, &world);
            assert_eq!(code(&out), 0, "{}", stderr(&out));
            let tree = everything(&own);
            assert!(tree.len() > 4);
            same_trees(first.get_or_insert_with(|| tree.clone()), &tree, "another machine");
            assert!(std::fs::read_dir(&temporary).unwrap().next().is_none(), "something stays behind");
        }
    }
    say(&format!("properties: {count} cases: another machine, through the program"));
}

#[test]
fn who_left_before_the_month_has_no_share_of_what_is_billed_late() {
    let mut report = crate::small_report::report(1, 25);
    let one = crate::small_report::ONE;
    report.parties[0].accounts[0].to = Some(1);
    report.parties[0].accounts.push(Owned { id: "444444444444".to_owned(), from: None, to: None });
    let place =
        crate::random_report::COLUMNS.iter().position(|(_, name)| *name == "bill_billing_period_start_date");
    for row in report.rows.iter_mut().filter(|row| row.account == one) {
        row.cells[place.unwrap()] = "2026-09-01T00:00:00Z".to_owned();
        row.day = -29;
    }
    let own = temp();
    let done = delivered(&report, &Form { cuts: vec![], members: 1, parquet: false, seed: 1 }, own.path());
    let outside = done.periods[0].unassigned.iter().find(|line| line.reason == "outside_dates");
    assert_eq!(outside.map(|line| line.rows), Some(5), "{done:?}");
    assert_eq!(done.periods[0].customers[0].rows, 0);
}

// ---- e. and f. the same rows in other objects ----

/// What proofs say of totals and items, over all exports and the rest.
fn totals(place: &Path) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, bytes) in everything(place).iter().filter(|(key, _)| key.ends_with("Proof.json")) {
        let proof = json_of(bytes);
        let name = key.rsplit('/').next().unwrap();
        let name = if name.ends_with("MasterProof.json") { "master" } else { name };
        for field in ["totals", "withheld", "source_totals", "rows"] {
            found.push((format!("{name} {field}"), proof[field].clone()));
        }
        found.push((format!("{name} unassigned"), proof["unassigned"]["totals"].clone()));
        for customer in proof["customers"].as_array().into_iter().flatten() {
            found.push((format!("{name} {}", customer["report_id"]), customer["totals"].clone()));
        }
    }
    assert!(found.iter().any(|(_, value)| value.to_string().contains("items_hash")));
    // Keys hold assembly ids, which are others for other objects.
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

fn same_totals(one: &Path, other: &Path) {
    let (one, other) = (totals(one), totals(other));
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one, other);
    }
}

#[test]
fn parts_and_members_change_no_total_and_no_customers_byte() {
    cases_of(2, "parts", |seed| {
        let (report, form, mut draw) = case(seed);
        let other_form = Form::csv(&mut draw, report.rows.len());
        let (one, other) = (temp(), temp());
        delivered(&report, &form, one.path());
        delivered(&report, &other_form, other.path());
        same_totals(one.path(), other.path());
        for party in &report.parties {
            let trees = [&one, &other].map(|place| without_ids(&tree(&target(place.path(), &party.target))));
            same_trees(&trees[0], &trees[1], "other parts");
        }
    });
}

#[test]
fn parquet_and_csv_of_the_same_rows_have_the_same_totals() {
    cases_of(2, "Parquet", |seed| {
        let report = Report::new(seed, Numbers::Doubles);
        let mut draw = Draw::new(seed);
        let (one, other) = (temp(), temp());
        delivered(&report, &Form::csv(&mut draw, report.rows.len()), one.path());
        let done = delivered(&report, &Form::parquet(&mut draw, report.rows.len()), other.path());
        assert_eq!(done.periods[0].kind, "cur1-parquet");
        same_totals(one.path(), other.path());
    });
}

// ---- g. one share in two formats ----

#[test]
fn parquet_out_has_the_cells_of_the_csv_beside_it() {
    cases_of(2, "formats", |seed| {
        let (mut report, form, mut draw) = case(seed);
        report.parties.truncate(2);
        let mut formats = Format::ALL.to_vec();
        if draw.percent(50) {
            formats.reverse();
        }
        report.parties[0].formats = formats;
        let place = temp();
        delivered(&report, &form, place.path());
        let target = tree(&target(place.path(), &report.parties[0].target));
        let proofs: Vec<Value> = target
            .iter()
            .filter(|(key, _)| key.ends_with("-Proof.json"))
            .map(|(_, bytes)| json_of(bytes))
            .collect();
        for proof in proofs.iter().filter(|proof| proof["format"] == "csv.gz") {
            let report_id = format!("{}-parquet", proof["report_id"].as_str().unwrap());
            let other = proofs.iter().find(|other| other["report_id"] == report_id.as_str()).unwrap();
            assert_eq!(proof["totals"], other["totals"]);
            assert_eq!(proof["columns"], other["columns"]);
            same_cells(proof, all_records(&target, proof), all_records(&target, other));
        }
        assert!(proofs.len() >= 2);
    });
}

/// The records of all files of an export, without their headers.
fn all_records(target: &Tree, proof: &Value) -> Vec<Vec<String>> {
    let keys = proof["files"].as_array().unwrap().iter().map(|file| file["key"].as_str().unwrap());
    keys.flat_map(|key| read(key, &target[key]).split_off(1)).collect()
}

/// Rows may stand in another order: each format has its own.
fn same_cells(proof: &Value, mut csv: Vec<Vec<String>>, mut parquet: Vec<Vec<String>>) {
    let columns = proof["columns"].as_array().unwrap();
    let id = columns.iter().position(|column| column["name"] == "identity_line_item_id").unwrap();
    csv.sort_by(|left, right| left[id].cmp(&right[id]));
    parquet.sort_by(|left, right| left[id].cmp(&right[id]));
    assert_eq!(csv.len(), parquet.len());
    for (csv, parquet) in csv.iter().zip(&parquet) {
        for (column, (csv, parquet)) in
            proof["columns"].as_array().unwrap().iter().zip(csv.iter().zip(parquet))
        {
            let due = as_in_parquet(column["type"].as_str().unwrap(), csv);
            assert_eq!(&due, parquet, "{}: {csv:?}", column["name"]);
        }
    }
}

#[test]
fn the_generation_is_the_manifests_time_and_nothing_else_is() {
    let (report, form, _) = case(1);
    let (one, other) = (temp(), temp());
    delivered(&report, &form, one.path());
    write_report(&report, &form, &other.path().join("source"));
    let manifest = if report.cur2 {
        "export/metadata/BILLING_PERIOD=2026-10/E-Manifest.json".to_owned()
    } else {
        format!("cur/R/{PERIOD}/R-Manifest.json")
    };
    set_time(&other.path().join("source").join(manifest), TIME + 60);
    deliver(&request(&report, other.path()), &Unwatched).unwrap();
    let (one, other) = (everything(one.path()), everything(other.path()));
    let differ: Vec<&String> = one.keys().filter(|key| one[*key] != other[*key]).collect();
    assert!(!differ.is_empty() && differ.iter().all(|key| key.ends_with("-Generation.json")), "{differ:?}");
}
