//! The rows of one source object.
//!
//! What comes in: a CSV or Parquet object. What goes out: its snake names, then row after row of cells, and at
//! the end what the object weighed and hashed to. What it must never do: trim, pad or repair a row.

use super::archive::OnlyFile;
use super::parquet_rows::ParquetRows;
use super::{DataObject, Format};
use crate::error::AuditError;
use crate::hashes::{Fingerprint, Tap, TapRecord};
use crate::names::snake;
use crate::opened::{Opened, Reader};
use apportion_model::{BillingPeriod, Instant};
use csv::ByteRecord;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::io::{BufReader, Read};
use std::rc::Rc;

/// A row beyond this is a quote that never closes.
const LONGEST_ROW: u64 = 64 << 20;
const BUFFER: usize = 256 << 10;

const PERIOD_START: &[u8] = b"bill_billing_period_start_date";

type CsvReader = csv::Reader<RowLimit<Box<dyn Read>>>;

enum Inner {
    /// Without a tap the object's own bytes don't pass by.
    Csv {
        reader: Box<CsvReader>,
        tap: Option<TapRecord>,
        since_row: Rc<Cell<u64>>,
    },
    Parquet(Box<ParquetRows>),
}

/// Reads an object row by row.
pub(crate) struct Rows {
    object: DataObject,
    opened: Opened,
    headers: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
    row: u64,
    /// How many rows were handed out; fewer than were read where only one month's are wanted.
    own: u64,
    /// Where the month stands.
    month_columns: Vec<usize>,
    inner: Inner,
}

impl Rows {
    /// Reads the header or schema of an object.
    pub(crate) fn read(object: &DataObject, opened: Opened) -> Result<Self, AuditError> {
        let started = match object.format {
            Format::Csv | Format::PlainCsv | Format::ZipCsv => open_csv(object, opened.reader()),
            Format::Parquet => match ParquetRows::open(opened.clone()) {
                Ok(rows) => Ok((rows.headers(), Inner::Parquet(Box::new(rows)))),
                Err(cause) => Err(AuditError::bad(&object.key, cause)),
            },
        };
        let (headers, inner) = started.map_err(|error| why(&opened, 0, error))?;
        let names: Vec<Vec<u8>> = headers.iter().map(|header: &Vec<u8>| snake(header)).collect();
        let month_columns = (0..names.len()).filter(|column| names[*column] == PERIOD_START).collect();
        Ok(Self { object: object.clone(), opened, headers, names, row: 0, own: 0, month_columns, inner })
    }

    /// The headers as the file has them.
    pub(crate) fn headers(&self) -> &[Vec<u8>] {
        &self.headers
    }

    /// The snake names in the file's column order.
    pub(crate) fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// How many rows were handed out.
    pub(crate) fn count(&self) -> u64 {
        self.own
    }

    /// The number of the last row, from 1.
    pub(crate) fn row(&self) -> u64 {
        self.row
    }

    /// Something wrong with a cell of the last row.
    pub(crate) fn fault(&self, column: &str, cause: String) -> AuditError {
        AuditError::BadInput {
            object: self.object.key.clone(),
            row: Some(self.row),
            column: Some(column.into()),
            cause,
        }
    }

    /// The next row of the wanted month, or false behind the last.
    pub(crate) fn next(&mut self, record: &mut ByteRecord) -> Result<bool, AuditError> {
        while self.next_of_any_month(record)? {
            if self.is_wanted(record)? {
                self.own += 1;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_wanted(&self, record: &ByteRecord) -> Result<bool, AuditError> {
        let Some(month) = self.object.month else { return Ok(true) };
        let cells = self.month_columns.iter().filter_map(|column| record.get(*column));
        let cell = cells.into_iter().find(|cell| !cell.is_empty()).unwrap_or_default();
        let found = Instant::parse(cell).and_then(BillingPeriod::of);
        let no_moment = || format!("{:?} is no moment", String::from_utf8_lossy(cell));
        found
            .map(|found| found == month)
            .ok_or_else(|| self.fault("bill_billing_period_start_date", no_moment()))
    }

    fn next_of_any_month(&mut self, record: &mut ByteRecord) -> Result<bool, AuditError> {
        let (key, row) = (&self.object.key, self.row + 1);
        let more = match &mut self.inner {
            Inner::Csv { reader, since_row, .. } => {
                since_row.set(0);
                reader.read_byte_record(record).map_err(|cause| csv_fault(key, row, cause))
            }
            Inner::Parquet(rows) => {
                rows.next(record).map_err(|cause| AuditError::broken(key, Some(row), cause))
            }
        };
        let more = more.map_err(|error| why(&self.opened, self.row, error))?;
        self.row += u64::from(more);
        Ok(more)
    }

    /// Size and SHA-256 of the object, once all its rows are read: of the version that they were read from.
    pub(crate) fn finish(self) -> Result<Fingerprint, AuditError> {
        match self.inner {
            Inner::Csv { tap: Some(tap), .. } => Ok(tap.fingerprint()),
            Inner::Csv { tap: None, .. } | Inner::Parquet(_) => {
                let whole = BufReader::with_capacity(BUFFER, self.opened.reader());
                Fingerprint::of_stream(whole).map_err(|cause| {
                    let error = AuditError::broken(&self.object.key, None, cause.to_string());
                    why(&self.opened, self.row, error)
                })
            }
        }
    }
}

/// What decoders say of an object that can't be read isn't the reason.
fn why(opened: &Opened, rows: u64, error: AuditError) -> AuditError {
    match opened.failure() {
        Some(cause) => AuditError::Place { rows: Some(rows), cause },
        None => error,
    }
}

fn open_csv(object: &DataObject, file: Reader) -> Result<(Vec<Vec<u8>>, Inner), AuditError> {
    let key = object.key.as_str();
    let (inner, tap): (Box<dyn Read>, _) = match object.format {
        Format::ZipCsv => {
            let text =
                OnlyFile::open(file).map_err(|cause| AuditError::broken(key, None, cause.to_string()))?;
            (Box::new(BufReader::with_capacity(BUFFER, text)), None)
        }
        format => {
            let (tap, tap_record) = Tap::new(file);
            let tapped = BufReader::with_capacity(BUFFER, tap);
            let text: Box<dyn Read> =
                if format == Format::Csv { Box::new(MultiGzDecoder::new(tapped)) } else { Box::new(tapped) };
            (text, Some(tap_record))
        }
    };
    let since_row = Rc::new(Cell::new(0));
    let limited = RowLimit { inner, since_row: since_row.clone() };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(false)
        .buffer_capacity(BUFFER)
        .from_reader(limited);
    let mut header = ByteRecord::new();
    if !reader.read_byte_record(&mut header).map_err(|cause| csv_fault(key, 0, cause))? {
        return Err(AuditError::bad(key, "has no header row"));
    }
    let headers = header.iter().map(<[u8]>::to_vec).collect();
    Ok((headers, Inner::Csv { reader: Box::new(reader), tap, since_row }))
}

fn csv_fault(key: &str, row: u64, cause: csv::Error) -> AuditError {
    let row = (row > 0).then_some(row);
    let text = cause.to_string();
    match cause.into_kind() {
        csv::ErrorKind::Io(cause) => AuditError::broken(key, row, cause.to_string()),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => AuditError::BadInput {
            object: key.into(),
            row,
            column: None,
            cause: format!("has {len} cells, its header {expected_len}"),
        },
        _ => AuditError::BadInput { object: key.into(), row, column: None, cause: text },
    }
}

/// Stops a row that never ends before it fills the memory.
struct RowLimit<R> {
    inner: R,
    since_row: Rc<Cell<u64>>,
}

impl<R: Read> Read for RowLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_row.get() > LONGEST_ROW {
            let cause = "a row of more than 64 MiB: is a quote left open?";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, cause));
        }
        let count = self.inner.read(buffer)?;
        self.since_row.set(self.since_row.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{Folder, Place};
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn open(folder: &tempfile::TempDir, bytes: &[u8]) -> Result<Rows, AuditError> {
        std::fs::write(folder.path().join("a.csv.gz"), bytes).unwrap();
        let object = DataObject { key: "a.csv.gz".into(), format: Format::Csv, month: None };
        let opened = Folder::new(folder.path()).open("a.csv.gz").unwrap().unwrap();
        Rows::read(&object, Opened::new(opened))
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_run_on_and_cells_are_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let bytes =
            [gzip(b"\xef\xbb\xbfbill/BillType,x\r\n\" a \",\"b\"\"c\nd\"\r\n"), gzip(b"1,\n")].concat();
        let mut rows = open(&folder, &bytes).unwrap();
        assert_eq!(rows.names(), [b"bill_bill_type".to_vec(), b"x".to_vec()]);
        let mut record = ByteRecord::new();
        assert!(rows.next(&mut record).unwrap());
        assert_eq!(record, vec![" a ", "b\"c\nd"]);
        assert!(rows.next(&mut record).unwrap());
        assert_eq!(record, vec!["1", ""]);
        assert!(!rows.next(&mut record).unwrap());
        assert_eq!(rows.finish().unwrap(), Fingerprint::of(&bytes));
    }

    #[test]
    fn a_broken_object_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let good = gzip(b"a,b\n1,2\n");
        let all = |bytes: &[u8]| {
            let mut rows = open(&folder, bytes)?;
            let mut record = ByteRecord::new();
            while rows.next(&mut record)? {}
            Ok::<_, AuditError>(())
        };
        assert!(all(&good).is_ok());
        for bad in [&good[..good.len() - 3], &[&good[..], b"garbage"].concat(), &gzip(b""), b"", b"a,b\n"] {
            assert!(matches!(all(bad), Err(AuditError::BadInput { .. })));
        }
        let ragged = all(&gzip(b"a,b\n1,2\n1\n")).unwrap_err();
        assert_eq!(ragged.to_string(), "a.csv.gz, row 2: has 1 cells, its header 2");
    }
}
