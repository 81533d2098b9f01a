//! Reads one delivered file to its very end.
//!
//! What comes in: a key below a place, and the columns that the file must have. What goes out: every row to the
//! caller, what the file weighs and hashes to, and findings. What it must never do: skip anything that a consumer
//! could see otherwise.

use super::{csv_file, parquet_file};
use crate::columns::ColumnType;
use crate::error::AuditError;
use crate::expect::ROWS_BETWEEN_LOOKS;
use crate::hashes::{Fingerprint, RowHasher};
use crate::names::snake;
use crate::opened::Opened;
use crate::place::Place;
use crate::report::{FindingKind, Findings};
use apportion_model::Format;
use csv::ByteRecord;
use std::io::BufReader;

/// For reading a file through.
pub(super) const BUFFER: usize = 256 << 10;

/// One column that a file must have.
#[derive(Debug, Clone)]
pub(crate) struct FileColumn {
    /// As the file must write it.
    pub(crate) header: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) kind: ColumnType,
    /// Whether the export has a cell of it that isn't blank; else a Parquet file may leave it out as null.
    pub(crate) filled: bool,
}

/// What is to be read, and how it must look.
pub(crate) struct FileCheck<'a> {
    pub(crate) place: &'a dyn Place,
    pub(crate) key: &'a str,
    pub(crate) format: Format,
    pub(crate) columns: &'a [FileColumn],
    /// Whether quoting and line ends must be exactly the contract's.
    pub(crate) exact_form: bool,
    /// Whether there must be one gzip member and no more.
    pub(crate) single_member: bool,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    pub(crate) progress: &'a dyn Fn(&str, u64),
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFound {
    pub(crate) key: String,
    /// None where the file can't be read.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) rows: u64,
    pub(crate) rows_hash: u128,
}

impl FileFound {
    pub(crate) fn unread(key: &str) -> Self {
        Self { key: key.to_owned(), fingerprint: None, rows: 0, rows_hash: 0 }
    }
}

/// A row whose cells are in the order of the columns that the file must have, those of any others behind them; the
/// findings are handed on.
pub(crate) type OnRow<'a> = dyn FnMut(u64, &ByteRecord, &mut Findings) + 'a;

/// Reads the file, tells the caller every row, and compares header, shape and form.
pub(crate) fn read_file(
    check: &FileCheck<'_>,
    findings: &mut Findings,
    on_row: &mut OnRow<'_>,
) -> Result<FileFound, AuditError> {
    let file = match check.place.open(check.key) {
        Ok(Some(object)) => Opened::new(object),
        Ok(None) => {
            findings.add(FindingKind::FileMissing, check.key, "isn't there");
            return Ok(FileFound::unread(check.key));
        }
        Err(cause) if cause.is_obstacle() => return Err(cause.into()),
        Err(cause) => {
            findings.add(FindingKind::FileUnreadable, check.key, cause.text);
            return Ok(FileFound::unread(check.key));
        }
    };
    if (check.interrupted)() {
        return Err(AuditError::Interrupted);
    }
    let mut rows = RowsFound {
        check,
        rows: 0,
        rows_hash: 0,
        order: None,
        ordered: ByteRecord::new(),
        hasher: RowHasher::default(),
        on_row,
    };
    let fingerprint = match check.format {
        Format::CsvGz => csv_file::read(&file, &mut rows, findings)?,
        Format::Parquet => parquet_file::read(&file, &mut rows, findings)?,
    };
    // A file whose rows can't be read to the end is weighed all the same, in the version that they were read from.
    let fingerprint = match fingerprint {
        Some(fingerprint) => Some(fingerprint),
        None => weigh(&file, rows.rows)?,
    };
    (check.progress)(check.key, rows.rows);
    Ok(FileFound { key: check.key.to_owned(), fingerprint, rows: rows.rows, rows_hash: rows.rows_hash })
}

fn weigh(file: &Opened, rows: u64) -> Result<Option<Fingerprint>, AuditError> {
    let weighed = Fingerprint::of_stream(BufReader::with_capacity(BUFFER, file.reader()));
    match file.obstacle(rows) {
        Some(error) => Err(error),
        None => Ok(weighed.ok()),
    }
}

/// The rows of a file as they come.
pub(super) struct RowsFound<'a, 'r> {
    pub(super) check: &'a FileCheck<'a>,
    pub(super) rows: u64,
    rows_hash: u128,
    /// Where the columns are, unless they are where they must be.
    order: Option<Vec<Option<usize>>>,
    ordered: ByteRecord,
    hasher: RowHasher,
    on_row: &'a mut OnRow<'r>,
}

impl RowsFound<'_, '_> {
    /// Compares the header; rows can be told behind it.
    pub(super) fn header<'h>(&mut self, found: impl Iterator<Item = &'h [u8]>, findings: &mut Findings) {
        let (wanted, found) = (self.check.columns, found.collect::<Vec<_>>());
        if found.iter().copied().eq(wanted.iter().map(|column| column.header.as_slice())) {
            return;
        }
        let at = found.iter().zip(wanted).position(|(found, wanted)| *found != wanted.header);
        let detail = match at {
            Some(at) => {
                let text = |header: &[u8]| String::from_utf8_lossy(header).into_owned();
                let (expected, found) = (text(&wanted[at].header), text(found[at]));
                format!("column {}: expected {expected:?}, found {found:?}", at + 1)
            }
            None => format!("expected {} columns, found {}", wanted.len(), found.len()),
        };
        findings.add(FindingKind::HeaderDiffers, self.check.key, detail);
        let place = |column: &FileColumn| {
            let same = found.iter().position(|header| *header == column.header);
            same.or_else(|| found.iter().position(|header| snake(header) == column.name))
        };
        let mut order: Vec<Option<usize>> = wanted.iter().map(place).collect();
        let surplus: Vec<usize> = (0..found.len()).filter(|at| !order.contains(&Some(*at))).collect();
        order.extend(surplus.into_iter().map(Some));
        self.order = Some(order);
    }

    /// Takes up the next row.
    pub(super) fn row(&mut self, record: &ByteRecord, findings: &mut Findings) -> Result<(), AuditError> {
        self.rows += 1;
        record.iter().for_each(|cell| self.hasher.cell(cell));
        self.rows_hash = self.rows_hash.wrapping_add(self.hasher.finish());
        match &self.order {
            None => (self.on_row)(self.rows, record, findings),
            Some(order) => {
                self.ordered.clear();
                for place in order {
                    let cell = place.and_then(|place| record.get(place));
                    self.ordered.push_field(cell.unwrap_or_default());
                }
                (self.on_row)(self.rows, &self.ordered, findings);
            }
        }
        if self.rows.is_multiple_of(ROWS_BETWEEN_LOOKS) {
            (self.check.progress)(self.check.key, self.rows);
            if (self.check.interrupted)() {
                return Err(AuditError::Interrupted);
            }
        }
        Ok(())
    }
}
