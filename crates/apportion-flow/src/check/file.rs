use crate::csv_gz::{CsvGz, CsvGzError};
use crate::outcome::Kind;
use apportion_core::columns::{ExportColumn, known};
use apportion_core::proof::CELL_END;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// What a finished file must be.
#[derive(Debug)]
pub struct Expected<'a> {
    /// The header row, column by column; nothing for Parquet, whose columns have types as well.
    pub header: Vec<String>,
    /// Rows without the header.
    pub rows: u64,
    /// Sum of the rows' hashes; None where only the rest is known.
    pub rows_hash: Option<u128>,
    /// The usage accounts that may stand in it; None for any.
    pub accounts: Option<&'a HashSet<Vec<u8>>>,
}

/// What a file is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// SHA-256 of the compressed bytes.
    pub sha256: [u8; 32],
    /// Compressed bytes.
    pub bytes: u64,
    /// Rows without the header.
    pub rows: u64,
    /// Sum of the rows' hashes.
    pub rows_hash: u128,
}

/// A file that isn't what it must be.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It can't be decoded.
    #[error("{file}: {source}")]
    Decode {
        /// The file.
        file: String,
        /// What is wrong.
        source: CsvGzError,
    },
    /// It isn't Parquet.
    #[error("{file}: {problem}")]
    Parquet {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// It has another header.
    #[error("{file}: the header isn't the contract's (column {column}: {found:?} where {expected:?} is due)")]
    Header {
        /// The file.
        file: String,
        /// The column's place, from 1.
        column: usize,
        /// What should be there.
        expected: String,
        /// What is.
        found: String,
    },
    /// It has other bytes.
    #[error("{file} has SHA-256 {found} where its proof says {expected}: it was changed after delivery")]
    Bytes {
        /// The file.
        file: String,
        /// What the proof says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It has another number of rows.
    #[error("{file}: {found} rows where {expected} were written")]
    Rows {
        /// The file.
        file: String,
        /// Rows written.
        expected: u64,
        /// Rows decoded.
        found: u64,
    },
    /// Its cells aren't those that were written.
    #[error("{file}: the cells aren't those that were handed over")]
    Cells {
        /// The file.
        file: String,
    },
    /// It holds a line item of an account that isn't the customer's.
    #[error("{file}, row {row}: account {account} isn't this customer's")]
    Stray {
        /// The file.
        file: String,
        /// The row, from 1.
        row: u64,
        /// The account.
        account: String,
    },
}

impl CheckError {
    /// What sort of failure it is: our own, save for what the disk did.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Decode { source: CsvGzError::Io(error), .. } => crate::outcome::kind_of_io(error),
            _ => Kind::Unbalanced,
        }
    }
}

/// A hash as proofs write it.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes a finished file of the spool again and compares it with what was handed over.
///
/// # Errors
/// The first thing that isn't as it must be.
pub fn check_file(path: &Path, expected: &Expected<'_>) -> Result<Checked, CheckError> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| CheckError::Decode { file: name.clone(), source: CsvGzError::Io(error) })?;
    check_stream(&name, file, expected)
}

/// The same for any stream.
pub(super) fn check_stream(
    name: &str,
    stream: impl Read,
    expected: &Expected<'_>,
) -> Result<Checked, CheckError> {
    let wrong = |source| CheckError::Decode { file: name.to_owned(), source };
    let mut csv = CsvGz::open(stream).map_err(wrong)?;
    check_header(name, &csv.headers, &expected.header)?;
    let place = account_place(&csv.headers);
    let (mut rows, mut rows_hash, mut hashed) = (0u64, 0u128, Vec::new());
    while let Some((first, block)) = csv.next_block().map_err(wrong)? {
        for row in 0..block.rows() {
            if let Some((place, accounts)) = place.zip(expected.accounts) {
                let account = block.get(row, place);
                if !accounts.contains(account) {
                    return Err(CheckError::Stray {
                        file: name.to_owned(),
                        row: first + row as u64,
                        account: String::from_utf8_lossy(account).into_owned(),
                    });
                }
            }
            hashed.clear();
            for field in 0..block.width {
                hashed.extend_from_slice(block.get(row, field));
                hashed.push(CELL_END);
            }
            rows_hash = rows_hash.wrapping_add(xxh3_128(&hashed));
        }
        rows += block.rows() as u64;
    }
    let (sha256, bytes) = csv.finish().map_err(wrong)?;
    if rows != expected.rows {
        return Err(CheckError::Rows { file: name.to_owned(), expected: expected.rows, found: rows });
    }
    if expected.rows_hash.is_some_and(|hash| hash != rows_hash) {
        return Err(CheckError::Cells { file: name.to_owned() });
    }
    Ok(Checked { sha256, bytes, rows, rows_hash })
}

/// Where the usage account stands, in either style of header.
fn account_place(header: &[String]) -> Option<usize> {
    let column = ExportColumn::known(known().well_known().usage_account);
    header.iter().position(|title| *title == column.name || *title == column.header)
}

fn check_header(name: &str, found: &[String], expected: &[String]) -> Result<(), CheckError> {
    let differs =
        (0..found.len().max(expected.len())).find(|place| found.get(*place) != expected.get(*place));
    let Some(place) = differs else { return Ok(()) };
    Err(CheckError::Header {
        file: name.to_owned(),
        column: place + 1,
        expected: expected.get(place).cloned().unwrap_or_default(),
        found: found.get(place).cloned().unwrap_or_default(),
    })
}
