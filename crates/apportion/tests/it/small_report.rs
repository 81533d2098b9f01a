//! A small report of two customers, one of whom has an export for each of two accounts, and its settings.

use crate::harness::{code, run, set_time, stderr, temp, tree};
use crate::random_report::{Draw, Numbers, Owned, Party, Report};
use crate::written_report::{Form, TIME, settings, write_report};
use std::path::{Path, PathBuf};
use std::process::Output;

/// The first customer's account.
pub const ONE: &str = "111111111111";
/// The second customer's accounts.
pub const TWO: [&str; 2] = ["222222222221", "222222222222"];
/// The payer.
pub const PAYER: &str = "999900001111";

fn party(place: usize, accounts: &[&str]) -> Party {
    Party {
        id: format!("customer{place}"),
        accounts: accounts.iter().map(|id| Owned { id: (*id).to_owned(), from: None, to: None }).collect(),
        by_account: place == 1,
        withhold: vec!["Tax".to_owned()],
        payer_kept: true,
        source_order: false,
        target: format!("t{place}"),
    }
}

/// Line items of all accounts in turn, a nobody's among them.
pub fn report(seed: u64, rows: usize) -> Report {
    let mut report = Report {
        payers: vec![PAYER.to_owned(), PAYER.to_owned()],
        parties: vec![party(0, &[ONE]), party(1, &TWO)],
        unknown: vec!["333333333333".to_owned()],
        rows: Vec::new(),
        cur2: false,
        with_key: true,
    };
    let mut draw = Draw::new(seed);
    let accounts = report.accounts();
    for number in 0..rows {
        let account = accounts[number % accounts.len()].clone();
        let row = report.row_of(&mut draw, number, account, Numbers::Hostile);
        report.rows.push(row);
    }
    report
}

/// Two parts.
pub fn form(rows: usize) -> Form {
    Form { cuts: vec![rows / 2], members: 1, parquet: false, seed: 1 }
}

/// Writes source and settings into a place, and returns the settings.
pub fn make(place: &Path, seed: u64, rows: usize) -> PathBuf {
    let report = report(seed, rows);
    write_report(&report, &form(rows), &place.join("source"));
    settings(&report, place)
}

/// Replaces the source by a newer one.
pub fn renew(place: &Path, seed: u64, rows: usize) {
    let source = place.join("source");
    write_report(&report(seed, rows), &form(rows), &source);
    for manifest in tree(&source).keys().filter(|key| key.ends_with(".json")) {
        set_time(&source.join(manifest), TIME + 3600);
    }
}

/// Runs `deliver` with a spool in the settings' folder.
pub fn deliver(settings: &Path, environment: &[(&str, &str)]) -> Output {
    let spool = settings.with_file_name("spool");
    run("deliver", settings, &["--spool", spool.to_str().unwrap(), "--threads", "2"], environment)
}

/// A place with a delivery.
pub fn delivered(rows: usize) -> (tempfile::TempDir, PathBuf) {
    let place = temp();
    let settings = make(place.path(), 1, rows);
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    (place, settings)
}
