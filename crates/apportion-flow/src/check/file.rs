use super::members::Members;
use crate::csv_gz::{CsvGz, CsvGzError};
use crate::outcome::Kind;
use apportion_core::columns::{ExportColumn, known};
use apportion_core::csv::{CanonicalLines, Limits, LineProblem, push_row, split_records, unquoted};
use apportion_core::proof::row_hash;
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

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
    /// Its text isn't the contract's, even if readers may read the same cells from it.
    #[error("{file}, row {row}: isn't written as it must be: {problem}")]
    Form {
        /// The file.
        file: String,
        /// The row, from 1; 0 is the header.
        row: u64,
        /// What is wrong.
        problem: LineProblem,
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

/// Decodes a finished csv.gz file of the spool again and compares it with what was handed over. `members` are the sizes of
/// its gzip members. Text that isn't exactly as the contract has it is refused, too.
///
/// # Errors
/// The first thing that isn't as it must be.
pub fn check_file(path: &Path, members: &[u32], expected: &Expected<'_>) -> Result<Checked, CheckError> {
    let name = path.display().to_string();
    let wrong = |source| CheckError::Decode { file: name.clone(), source };
    let mut members = Members::open(path, members).map_err(wrong)?;
    let mut found = Found::new(&name, expected);
    let first = members.next(0).map_err(wrong)?.unwrap_or_default();
    let rest = found.header(first)?;
    found.rows(rest)?;
    while let Some(text) = members.next(found.rows).map_err(wrong)? {
        found.rows(text)?;
    }
    let (sha256, bytes) = members.finish().map_err(wrong)?;
    let Found { rows, rows_hash, .. } = found;
    compare(&name, expected, Checked { sha256, bytes, rows, rows_hash })
}

/// What has been found in a file of our own so far.
struct Found<'a> {
    name: &'a str,
    expected: &'a Expected<'a>,
    /// The column of the usage account, where that must be looked at.
    account: Option<(usize, &'a HashSet<Vec<u8>>)>,
    rows: u64,
    rows_hash: u128,
}

impl<'a> Found<'a> {
    fn new(name: &'a str, expected: &'a Expected<'a>) -> Self {
        let account = account_place(&expected.header).zip(expected.accounts);
        Self { name, expected, account, rows: 0, rows_hash: 0 }
    }

    fn wrong_form(&self, row: u64, problem: LineProblem) -> CheckError {
        CheckError::Form { file: self.name.to_owned(), row, problem }
    }

    /// Takes the header line from a file's beginning; what follows comes back.
    fn header<'t>(&self, text: &'t [u8]) -> Result<&'t [u8], CheckError> {
        let mut due = Vec::new();
        push_row(&mut due, self.expected.header.iter().map(String::as_bytes));
        due.push(b'\n');
        if let Some(rest) = text.strip_prefix(due.as_slice()) {
            return Ok(rest);
        }
        let (mut bytes, mut bounds) = (text.to_vec(), Vec::new());
        split_records(&mut bytes, 0, true, 0, 1, &Limits::default(), &mut bounds)
            .map_err(|error| self.wrong_form(0, error.problem.into()))?;
        let title = |(from, to): &(u32, u32)| {
            String::from_utf8_lossy(bytes.get(*from as usize..*to as usize).unwrap_or_default()).into_owned()
        };
        check_header(self.name, &bounds.iter().map(title).collect::<Vec<_>>(), &self.expected.header)?;
        // The same titles, then, and other bytes.
        match CanonicalLines::new(text, self.expected.header.len(), None).next_line() {
            Err(problem) => Err(self.wrong_form(0, problem)),
            Ok(_) => Err(CheckError::Cells { file: self.name.to_owned() }),
        }
    }

    /// Takes whole rows.
    fn rows(&mut self, text: &[u8]) -> Result<(), CheckError> {
        let place = self.account.map(|(place, _)| place);
        let mut lines = CanonicalLines::new(text, self.expected.header.len(), place);
        while let Some(line) = lines.next_line().map_err(|problem| self.wrong_form(self.rows + 1, problem))? {
            self.rows += 1;
            if let Some((_, own)) = self.account
                && !own.contains(line.cell)
                && !own.contains(&*unquoted(line.cell))
            {
                return Err(stray(self.name, self.rows, &unquoted(line.cell)));
            }
            self.rows_hash = self.rows_hash.wrapping_add(row_hash(line.bytes));
        }
        Ok(())
    }
}

fn stray(name: &str, row: u64, account: &[u8]) -> CheckError {
    let account = String::from_utf8_lossy(account).into_owned();
    CheckError::Stray { file: name.to_owned(), row, account }
}

/// Reads a delivered csv.gz file as its consumer does: whoever packed it, and whatever form its cells have.
pub(super) fn check_stream(
    name: &str,
    stream: impl Read,
    expected: &Expected<'_>,
) -> Result<Checked, CheckError> {
    let wrong = |source| CheckError::Decode { file: name.to_owned(), source };
    let mut csv = CsvGz::open(stream).map_err(wrong)?;
    check_header(name, &csv.headers, &expected.header)?;
    let account = account_place(&csv.headers).zip(expected.accounts);
    let (mut rows, mut rows_hash, mut line) = (0u64, 0u128, Vec::new());
    while let Some((first, block)) = csv.next_block().map_err(wrong)? {
        for row in 0..block.rows() {
            if let Some((place, own)) = account
                && !own.contains(block.get(row, place))
            {
                return Err(stray(name, first + row as u64, block.get(row, place)));
            }
            line.clear();
            push_row(&mut line, (0..block.width).map(|field| block.get(row, field)));
            rows_hash = rows_hash.wrapping_add(row_hash(&line));
        }
        rows += block.rows() as u64;
    }
    let (sha256, bytes) = csv.finish().map_err(wrong)?;
    compare(name, expected, Checked { sha256, bytes, rows, rows_hash })
}

/// What was found is what was handed over.
pub(super) fn compare(name: &str, expected: &Expected<'_>, checked: Checked) -> Result<Checked, CheckError> {
    if checked.rows != expected.rows {
        return Err(CheckError::Rows { file: name.to_owned(), expected: expected.rows, found: checked.rows });
    }
    if expected.rows_hash.is_some_and(|hash| hash != checked.rows_hash) {
        return Err(CheckError::Cells { file: name.to_owned() });
    }
    Ok(checked)
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

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    /// What becomes of a file with such members; the account is in the second column of three.
    fn check(texts: &[&str], rows: u64, rows_hash: Option<u128>) -> Result<Checked, CheckError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut compressor = Compressor::new(CompressionLvl::new(3).unwrap());
        let (mut bytes, mut members) = (Vec::new(), Vec::new());
        for text in texts {
            let mut packed = vec![0; compressor.gzip_compress_bound(text.len())];
            let size = compressor.gzip_compress(text.as_bytes(), &mut packed).unwrap();
            bytes.extend_from_slice(&packed[..size]);
            members.push(size as u32);
        }
        std::fs::write(&path, &bytes).unwrap();
        let header = ["a", "line_item_usage_account_id", "b"].map(str::to_owned).to_vec();
        let own = [b"111122223333".to_vec(), b"not,plain".to_vec()].into();
        let expected = Expected { header, rows, rows_hash, accounts: Some(&own) };
        let checked = check_file(&path, &members, &expected);
        // A consumer finds the same, where there is nothing to find.
        if let Ok(checked) = &checked {
            assert_eq!(*checked, check_stream("f", &bytes[..], &expected).unwrap());
        }
        checked
    }

    const HEADER: &str = "a,line_item_usage_account_id,b\n";

    #[test]
    fn a_right_file_is_what_its_consumer_finds() {
        let lines = ["x,111122223333,\"q \"\", n\"", ",\"not,plain\",", "\"a\n\",111122223333,\"\r\""];
        let hash = lines.iter().map(|line| row_hash(line.as_bytes())).fold(0, u128::wrapping_add);
        let [first, second, third] = lines.map(|line| format!("{line}\n"));
        let rest = format!("{second}{third}");
        let checked = check(&[HEADER, &first, &rest], 3, Some(hash)).unwrap();
        assert_eq!((checked.rows, checked.rows_hash), (3, hash));
        assert!(check(&[&format!("{HEADER}{first}{rest}")], 3, Some(hash)).is_ok());
        assert!(check(&[HEADER], 0, Some(0)).is_ok());
        assert!(matches!(check(&[HEADER, &first], 2, None), Err(CheckError::Rows { found: 1, .. })));
        assert!(matches!(check(&[HEADER, &first], 1, Some(hash)), Err(CheckError::Cells { .. })));
    }

    #[test]
    fn each_defect_is_told_with_its_row() {
        let row = "x,111122223333,y\n";
        for (texts, problem) in [
            (vec![HEADER, row, "x,999922223333,y\n"], "row 2: account 999922223333"),
            (vec![HEADER, row, "x,\"9,9\",y\n"], "row 2: account 9,9"),
            (vec![HEADER, row, "x,111122223333,\"y\"\n"], "row 2: isn't written as it must be: a cell"),
            (vec![HEADER, row, "x,111122223333,y"], "row 2: isn't written as it must be: it doesn't end"),
            (vec![HEADER, row, "x,111122223333\n"], "row 2: isn't written as it must be: the record has 2"),
            (vec![HEADER, "\n", row], "row 1: isn't written as it must be: a line is blank"),
            (vec![&HEADER[2..], row], "(column 1: "),
            (vec!["a,\"line_item_usage_account_id\",b\n"], "row 0: isn't written"),
            (vec!["a,\"line"], "row 0: isn't written"),
            (vec!["\u{feff}a,line_item_usage_account_id,b\n"], "(column 1: "),
            (vec![HEADER.trim_end()], "row 0: isn't written as it must be: it doesn't end"),
            (vec![], "(column 1: "),
        ] {
            let found = check(&texts, 2, None).unwrap_err().to_string();
            assert!(found.contains(problem), "{found} is not {problem}");
        }
    }
}
