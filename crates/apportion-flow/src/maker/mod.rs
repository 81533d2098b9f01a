//! The CUR maker: a believable Cost and Usage Report of a managed service provider, made from a seed.
//!
//! What comes in: how many line items, accounts and customers, which months, which kind, and a seed. What goes out: a
//! folder that looks like the bucket AWS delivers to, and who and what is in it. What it must never do: ask a clock or
//! the system for randomness, compute money with floats, keep line items in memory, or read anything.
//!
//! The same seed and numbers make the same line items in every kind, and the same bytes on every machine.

mod amount;
mod bucket;
mod catalog;
mod cells;
mod columns;
mod commit;
mod draw;
mod gzip;
mod month;
mod plan;
mod row;
mod services;
mod special;
mod stories;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod world;

use apportion_model::{AccountId, BillingPeriod, CustomerId, Day};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The report's name.
const REPORT: &str = "msp-cur";

/// Line items of a file where nobody asked for another number; AWS splits at about a million.
pub const ROWS_PER_FILE: u64 = 1_000_000;

/// Line items between two calls of `progress`.
const STEP: u64 = 4_096;

/// What kind of report to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeKind {
    /// Legacy CUR, gzipped CSV.
    Cur1Csv,
    /// Legacy CUR, snappy Parquet.
    Cur1Parquet,
    /// CUR 2.0, gzipped CSV.
    Cur2Csv,
}

impl MakeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Cur1Csv, Self::Cur1Parquet, Self::Cur2Csv];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cur1Csv => "cur1-csv",
            Self::Cur1Parquet => "cur1-parquet",
            Self::Cur2Csv => "cur2-csv",
        }
    }
}

impl FromStr for MakeKind {
    type Err = MakeError;
    fn from_str(text: &str) -> Result<Self, MakeError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(MakeError::Request("a kind is cur1-csv, cur1-parquet or cur2-csv"))
    }
}

/// What to make.
#[derive(Debug, Clone)]
pub struct MakeRequest {
    /// Becomes the bucket's folder; is created, and must be empty if it exists.
    pub out: PathBuf,
    /// Kind of report.
    pub kind: MakeKind,
    /// Line items in all, of the newest version of every month.
    pub rows: u64,
    /// Accounts of customers and nobody's, without the payer.
    pub accounts: u32,
    /// Customers; no more than accounts.
    pub customers: u32,
    /// The first month.
    pub first: BillingPeriod,
    /// How many months.
    pub months: u32,
    /// Chooses everything that isn't asked for.
    pub seed: u64,
    /// Line items of a file; [`ROWS_PER_FILE`] as a rule.
    pub rows_per_file: u64,
}

/// An account of a customer, and when it is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeAccount {
    /// 12 digits.
    pub id: AccountId,
    /// Theirs from this day on; always if there is none.
    pub from: Option<Day>,
    /// Theirs until the day before; for good if there is none.
    pub to: Option<Day>,
}

/// A customer in the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeCustomer {
    /// `acme`.
    pub id: CustomerId,
    /// `Acme GmbH`.
    pub name: String,
    /// Its accounts.
    pub accounts: Vec<MadeAccount>,
    /// Whether it should get one export per account.
    pub sharing_account: bool,
}

/// Something to find in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// In a few words.
    pub title: String,
    /// With customer, account, resource and day.
    pub text: String,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The report's name; it lies below `cur/` in the folder.
    pub report: String,
    /// The payer's account.
    pub payer: AccountId,
    /// Its customers.
    pub customers: Vec<MadeCustomer>,
    /// Its months.
    pub periods: Vec<BillingPeriod>,
    /// The month that was delivered twice.
    pub restated: BillingPeriod,
    /// Line items of the newest versions.
    pub rows: u64,
    /// Data files, those of the older version included.
    pub files: u64,
    /// What to find in it.
    pub stories: Vec<Story>,
}

/// Why nothing was made, or not all.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The numbers don't make sense.
    #[error("can't make such a report: {0}")]
    Request(&'static str),
    /// The folder holds something.
    #[error("{0} exists and isn't an empty folder")]
    NotEmpty(String),
    /// The folder or a file failed.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A file couldn't be encoded.
    #[error("encoding: {0}")]
    Encode(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl MakeError {
    fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), error }
    }
}

/// The customers that [`make`] will use for the same numbers, without writing anything. Numbers that can't be made
/// give none.
pub fn plan_customers(
    accounts: u32,
    customers: u32,
    first: BillingPeriod,
    months: u32,
    seed: u64,
) -> Vec<MadeCustomer> {
    plan::Plan::new(accounts, customers, first, months, seed).map(|plan| plan.customers).unwrap_or_default()
}

/// Makes a report. `progress` hears every few thousand line items how many there are, and stops the making by
/// returning false; whole months stay behind then, and what is there of the next has no manifest.
///
/// # Errors
/// Numbers that make no sense, a folder that isn't empty, a disk that fails, or an interruption.
pub fn make(request: &MakeRequest, progress: &mut dyn FnMut(u64) -> bool) -> Result<Made, MakeError> {
    let world = world::World::new(request)?;
    claim(&request.out)?;
    let mut rows = 0;
    let mut files = 0;
    for period in &world.periods {
        if period.index == world.parts.restated {
            // The older version counts for nothing, but its making can be interrupted.
            let so_far = rows;
            files += version(&world, period, request, true, &mut |_| progress(so_far))?;
        }
        files += version(&world, period, request, false, &mut |step| {
            rows += step;
            progress(rows)
        })?;
    }
    Ok(Made {
        report: REPORT.to_string(),
        payer: AccountId::from_data(&world.plan.accounts[world.plan.payer()].id),
        customers: world.plan.customers.clone(),
        periods: world.periods.iter().map(|period| period.period).collect(),
        restated: world.periods[world.parts.restated].period,
        rows,
        files,
        stories: stories::stories(&world),
    })
}

/// Makes one version of one month; `progress` hears of steps.
fn version(
    world: &world::World,
    period: &world::Period,
    request: &MakeRequest,
    is_older: bool,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, MakeError> {
    let mut version =
        bucket::Version::new(world, period, request.kind, &request.out, request.rows_per_file, is_older)?;
    let mut step = 0;
    let mut take = |row: &row::Row| {
        version.line(row)?;
        step += 1;
        if step == STEP {
            step = 0;
            return if progress(STEP) { Ok(()) } else { Err(MakeError::Interrupted) };
        }
        Ok(())
    };
    month::Month::new(world, period, is_older, &mut take).run()?;
    let files = version.finish()?;
    if progress(step) { Ok(files) } else { Err(MakeError::Interrupted) }
}

/// Takes an empty folder, or makes one.
fn claim(out: &Path) -> Result<(), MakeError> {
    fs::create_dir_all(out).map_err(|error| MakeError::io(out, error))?;
    let mut entries = fs::read_dir(out).map_err(|error| MakeError::io(out, error))?;
    if entries.next().is_some() { Err(MakeError::NotEmpty(out.display().to_string())) } else { Ok(()) }
}
