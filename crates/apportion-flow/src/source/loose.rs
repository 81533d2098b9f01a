use super::binding::Binding;
use super::discover::FOCUS;
use super::error::SourceError;
use super::observations::Observations;
use super::parquet_file::ParquetFile;
use super::reader::Open;
use crate::storage::Bucket;
use apportion_core::columns::known;
use apportion_core::line_item::{Cells, excerpt};
use apportion_core::manifest::{Encoding, is_athena_text, is_focus};
use apportion_model::{BillingPeriod, Instant};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::Read;

/// How much of a file is looked at to know what it is.
const START: u64 = 1 << 16;

const ATHENA: &str = "Athena's own output, fields between bytes 1 and no header: nothing says what its columns are. \
     Deliver from the report that Athena reads, or write the query's result as Parquet or CSV with a header";

/// What AWS writes beside a report and is no data: templates, statements, status tables, the access check.
pub(super) fn is_side_file(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.starts_with('.')
        || name.ends_with(".sql")
        || name.ends_with(".yml")
        || name.ends_with(".json")
        || name == "aws-programmatic-access-test-object"
        || is_status_table(key)
}

/// The one-column table in which Athena integration says whether a report is being written.
pub(super) fn is_status_table(key: &str) -> bool {
    let name = "cost_and_usage_data_status/cost_and_usage_data_status.parquet";
    key.strip_suffix(name).is_some_and(|above| above.is_empty() || above.ends_with('/'))
}

/// Why a loose file isn't read, by its name, its header and its first bytes; None if it is, or is no data at all.
///
/// # Errors
/// A file that can't be opened.
pub fn refusal_of_loose(bucket: &dyn Bucket, key: &str) -> Result<Option<&'static str>, SourceError> {
    let name = key.rsplit('/').next().unwrap_or(key);
    let (gzip, csv) = match Encoding::of_key(key) {
        Encoding::Parquet => return parquet_is_focus(bucket, key),
        Encoding::CsvZip => return Ok(None),
        Encoding::CsvGz => (true, true),
        Encoding::Csv => (false, true),
        // Athena names its files by the query, with no ending or `.gz`.
        Encoding::Unknown if name.ends_with(".gz") => (true, false),
        Encoding::Unknown if !name.contains('.') => (false, false),
        Encoding::Unknown => return Ok(None),
    };
    let Some(start) = start_of(bucket, key, gzip)? else { return Ok(None) };
    if is_athena_text(&start) {
        return Ok(Some(ATHENA));
    }
    // Whatever else is wrong is found when it's read.
    let text = String::from_utf8_lossy(&start);
    let header = text.lines().next().unwrap_or_default();
    let names = header.split(',').map(|name| name.trim_start_matches('\u{feff}').trim_matches('"'));
    Ok((csv && is_focus(names)).then_some(FOCUS))
}

fn start_of(bucket: &dyn Bucket, key: &str, gzip: bool) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(file) = bucket.open(key)? else { return Ok(None) };
    let mut start = Vec::new();
    let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    // A broken file is refused with its place when it's read; here only its first line matters.
    let _ = reader.take(START).read_to_end(&mut start);
    Ok(Some(start))
}

fn parquet_is_focus(bucket: &dyn Bucket, key: &str) -> Result<Option<&'static str>, SourceError> {
    let Some(file) = bucket.open(key)? else { return Ok(None) };
    Ok(match ParquetFile::open(key.into(), file) {
        Ok(file) => is_focus(file.headers.iter().map(String::as_str)).then_some(FOCUS),
        Err(_) => None,
    })
}

/// The months of a loose file's line items, with how many each has.
///
/// # Errors
/// A file that can't be read, lacks a required column, or holds a line item whose month isn't known.
pub fn months_of(bucket: &dyn Bucket, key: &str) -> Result<BTreeMap<BillingPeriod, u64>, SourceError> {
    let mut months = BTreeMap::new();
    let Some(file) = bucket.open(key)? else { return Ok(months) };
    let mut open = Open::new(key.into(), file)?;
    open.refuse_focus(bucket)?;
    let binding = Binding::new(key, open.headers(), &[], false, &mut Observations::default())?;
    if let Open::Parquet(file) = &mut open {
        let mut needed = vec![false; file.headers.len()];
        binding.places_of(known().well_known().period_start).iter().for_each(|place| needed[*place] = true);
        file.project(&needed)?;
    }
    let mut open = open.read_ahead()?;
    let mut cut = Cut::default();
    while let Some((first_row, rows, cells)) = open.next()? {
        let starts = binding.period_starts(rows, &cells);
        for row in 0..rows {
            let month = cut.month(key, first_row + row as u64, starts.get(row))?;
            *months.entry(month).or_default() += 1;
        }
    }
    Ok(months)
}

/// Reads months of line items; consecutive ones mostly have the same text.
#[derive(Default)]
pub(super) struct Cut {
    last: Vec<u8>,
    month: Option<BillingPeriod>,
}

impl Cut {
    /// The month of a line item of a loose file.
    ///
    /// # Errors
    /// A text that is no timestamp, blank included.
    pub(super) fn month(&mut self, key: &str, row: u64, start: &[u8]) -> Result<BillingPeriod, SourceError> {
        if self.month.is_none() || self.last != start {
            self.last.clear();
            self.last.extend_from_slice(start);
            self.month = Instant::parse(start).and_then(BillingPeriod::of);
        }
        self.month.ok_or_else(|| SourceError::Cell {
            object: key.to_owned(),
            row,
            column: "bill_billing_period_start_date".to_owned(),
            problem: format!(
                "\"{}\" is not a timestamp, so the line item's month isn't known. A loose file has no manifest that \
                 says it: correct the file, or deliver from the report with its manifests",
                excerpt(start)
            ),
        })
    }

    /// The rows of a batch that lie in a month.
    pub(super) fn rows_of(
        &mut self,
        month: BillingPeriod,
        key: &str,
        first_row: u64,
        rows: usize,
        starts: &Cells,
    ) -> Result<Vec<u32>, SourceError> {
        let mut own = Vec::with_capacity(rows);
        for row in 0..rows {
            if self.month(key, first_row + row as u64, starts.get(row))? == month {
                own.push(row as u32);
            }
        }
        Ok(own)
    }
}
