//! A small report of two customers, one of whom has an export for each of two accounts, and its settings.

use crate::harness::{code, run, set_time, stderr, temp, tree};
use crate::random_report::{Draw, Numbers, Party, Report, ReportColumn, common_columns};
use crate::written_report::{Form, TIME, settings_with, write_report};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_flow::write::{Gzip, Order};
use apportion_model::{Format, Layout};
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
        by_account: place == 1,
        withhold: vec!["Tax".to_owned()],
        ..Party::plain(&format!("customer{place}"), accounts, &format!("t{place}"))
    }
}

/// What the customers receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What is delivered when nobody says anything.
    Plain,
    /// csv.gz whose columns are known after the last row.
    Waiting,
    /// Parquet.
    Parquet,
    /// Everything at once, from two sources.
    All,
}

/// The name of the second source.
pub const SECOND: &str = "second";

impl Look {
    fn apply(self, parties: &mut [Party]) {
        for (place, party) in parties.iter_mut().enumerate() {
            match self {
                Self::Plain => {}
                Self::Waiting => party.contract = [Contract::EcoExtended, Contract::Source][place % 2],
                Self::Parquet => party.formats = vec![Format::Parquet],
                Self::All => {
                    party.contract = [Contract::EcoExtended, Contract::Source][place % 2];
                    party.layout = Layout::ALL[(place + 1) % 2];
                    party.header = HeaderStyle::ALL[place % 2];
                    party.gzip = Gzip::ALL[(place + 1) % 2];
                    party.order = [Order::Source, Order::Sorted][place % 2];
                    party.formats = Format::ALL.to_vec();
                }
            }
        }
    }

    /// What stands in the settings behind the first source.
    fn more_sources(self) -> &'static str {
        if self == Self::All { "\n[[source]]\nurl = \"source2\"\nname = \"second\"\n" } else { "" }
    }
}

/// Line items of all accounts in turn, a nobody's among them.
pub fn report(seed: u64, rows: usize) -> Report {
    report_looking(Look::Plain, seed, rows)
}

/// The same, with customers who receive other things.
pub fn report_looking(look: Look, seed: u64, rows: usize) -> Report {
    let mut report = Report {
        payers: vec![PAYER.to_owned(), PAYER.to_owned()],
        parties: vec![party(0, &[ONE]), party(1, &TWO)],
        unknown: vec!["333333333333".to_owned()],
        columns: common_columns(),
        rows: Vec::new(),
        cur2: false,
        with_key: true,
    };
    look.apply(&mut report.parties);
    for id in [ONE, TWO[0], "333333333333"] {
        let header = format!("resourceTags/user:only {id}");
        report.columns.push(ReportColumn { only: Some(id.to_owned()), ..ReportColumn::new(&header) });
    }
    report.columns.push(ReportColumn::new("vendor/Margin"));
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
    make_looking(Look::Plain, place, seed, rows)
}

/// The same, with customers who receive other things.
pub fn make_looking(look: Look, place: &Path, seed: u64, rows: usize) -> PathBuf {
    write_sources(look, place, seed, rows);
    settings_with(&report_looking(look, seed, 0), place, look.more_sources())
}

/// The second source is another payer's bill of the same month.
fn write_sources(look: Look, place: &Path, seed: u64, rows: usize) {
    write_report(&report_looking(look, seed, rows), &form(rows), &place.join("source"));
    if look == Look::All {
        let mut other = report_looking(look, seed + 1000, rows / 2);
        let payer = other.columns.iter().position(|column| column.name == "bill_payer_account_id").unwrap();
        for row in &mut other.rows {
            "888800002222".clone_into(&mut row.cells[payer]);
        }
        write_report(&other, &form(rows / 2), &place.join("source2"));
    }
}

/// Replaces the source by a newer one.
pub fn renew(place: &Path, seed: u64, rows: usize) {
    renew_looking(Look::Plain, place, seed, rows);
}

/// Replaces all sources by newer ones.
pub fn renew_looking(look: Look, place: &Path, seed: u64, rows: usize) {
    write_sources(look, place, seed, rows);
    for source in ["source", "source2"].map(|name| place.join(name)) {
        for manifest in tree(&source).keys().filter(|key| key.ends_with(".json")) {
            set_time(&source.join(manifest), TIME + 3600);
        }
    }
}

/// Runs `deliver` with a spool in the settings' folder.
pub fn deliver(settings: &Path, environment: &[(&str, &str)]) -> Output {
    let spool = settings.with_file_name("spool");
    run("deliver", settings, &["--spool", spool.to_str().unwrap(), "--threads", "2"], environment)
}

/// A place with a delivery.
pub fn delivered(rows: usize) -> (tempfile::TempDir, PathBuf) {
    delivered_looking(Look::Plain, rows)
}

/// The same, to customers who receive other things.
pub fn delivered_looking(look: Look, rows: usize) -> (tempfile::TempDir, PathBuf) {
    let place = temp();
    let settings = make_looking(look, place.path(), 1, rows);
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    (place, settings)
}
