//! Reads one delivered file to its very end.
//!
//! What comes in: a key below a place, and the header the file must have. What goes out: every row to the caller,
//! what the file weighs and hashes to, and findings. What it must never do: stop at the first gzip member, or skip
//! anything that a consumer could see otherwise.

use crate::error::AuditError;
use crate::expect::ROWS_BETWEEN_LOOKS;
use crate::hashes::{Fingerprint, RowHasher, Tap, TapRecord};
use crate::report::{FindingKind, Findings};
use csv::{ByteRecord, Terminator};
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::rc::Rc;

const BUFFER: usize = 256 << 10;
const LONGEST_ROW: u64 = 64 << 20;

/// What is to be read, and how it must look.
pub(crate) struct FileCheck<'a> {
    pub(crate) place: &'a Path,
    pub(crate) key: &'a str,
    pub(crate) header: &'a [&'a [u8]],
    /// Whether quoting and line ends must be exactly the contract's.
    pub(crate) exact_form: bool,
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

/// A row whose cells are in the header's order; the findings are handed on.
pub(crate) type OnRow<'a> = dyn FnMut(u64, &ByteRecord, &mut Findings) + 'a;

/// Reads the file, tells the caller every row, and compares header, shape and form.
pub(crate) fn read_file(
    check: &FileCheck<'_>,
    findings: &mut Findings,
    on_row: &mut OnRow<'_>,
) -> Result<FileFound, AuditError> {
    let path = check.place.join(check.key);
    let mut found = FileFound::unread(check.key);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) => {
            let kind = match cause.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => FindingKind::FileMissing,
                _ => FindingKind::FileUnreadable,
            };
            findings.add(kind, check.key, cause.to_string());
            return Ok(found);
        }
    };
    let (mut reader, tap, counts) = open(file);
    let mut state =
        State { check, rows: 0, rows_hash: 0, ragged: 0, written: 0, hasher: RowHasher::default() };
    let whole = match state.read(&mut reader, &counts, findings, on_row) {
        Ok(()) => true,
        Err(Stop::Interrupted) => return Err(AuditError::Interrupted),
        Err(Stop::Broken(cause)) => {
            let broken = matches!(
                cause.kind(),
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
            );
            let kind = if broken { FindingKind::GzipBroken } else { FindingKind::FileUnreadable };
            findings.add(kind, check.key, format!("after {} rows: {cause}", state.rows));
            false
        }
    };
    let right_shape = whole && state.ragged == 0;
    if check.exact_form && right_shape && state.written != counts.all.get() {
        let detail = format!(
            "its text is {} bytes, the contract's form of the same cells {}: quoting, line ends or blank lines",
            counts.all.get(),
            state.written
        );
        findings.add(FindingKind::FormDiffers, check.key, detail);
    }
    (found.rows, found.rows_hash) = (state.rows, state.rows_hash);
    found.fingerprint = if whole { Some(tap.fingerprint()) } else { fingerprint(&path) };
    Ok(found)
}

/// A file whose text can't be read to the end is weighed all the same.
fn fingerprint(path: &Path) -> Option<Fingerprint> {
    Fingerprint::of_stream(BufReader::with_capacity(BUFFER, File::open(path).ok()?)).ok()
}

type CsvReader = csv::Reader<Counted<MultiGzDecoder<BufReader<Tap<File>>>>>;

fn open(file: File) -> (CsvReader, TapRecord, Counts) {
    let (tap, record) = Tap::new(file);
    let counts = Counts::default();
    let gzip = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, tap));
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        // Lines end in \n and nothing else; a \r would be part of a cell.
        .terminator(Terminator::Any(b'\n'))
        .buffer_capacity(BUFFER)
        .from_reader(Counted { inner: gzip, counts: counts.clone() });
    (reader, record, counts)
}

enum Stop {
    Interrupted,
    Broken(std::io::Error),
}

struct State<'a> {
    check: &'a FileCheck<'a>,
    rows: u64,
    rows_hash: u128,
    ragged: u64,
    /// Bytes of the contract's own form of what was read.
    written: u64,
    hasher: RowHasher,
}

impl State<'_> {
    fn read(
        &mut self,
        reader: &mut CsvReader,
        counts: &Counts,
        findings: &mut Findings,
        on_row: &mut OnRow<'_>,
    ) -> Result<(), Stop> {
        let mut record = ByteRecord::new();
        if !next(reader, counts, &mut record)? {
            findings.add(FindingKind::HeaderDiffers, self.check.key, "has no header row");
            return Ok(());
        }
        self.written += written(&record);
        let order = self.header(&record, findings);
        let mut ordered = ByteRecord::new();
        let width = record.len();
        while next(reader, counts, &mut record)? {
            self.rows += 1;
            self.written += written(&record);
            record.iter().for_each(|cell| self.hasher.cell(cell));
            self.rows_hash = self.rows_hash.wrapping_add(self.hasher.finish());
            if record.len() != width {
                self.ragged += 1;
                let detail = format!("row {}: has {} cells, its header {width}", self.rows, record.len());
                findings.add(FindingKind::RaggedRow, self.check.key, detail);
            }
            match &order {
                None => on_row(self.rows, &record, findings),
                Some(order) => {
                    ordered.clear();
                    for place in order {
                        let cell = place.and_then(|place| record.get(place));
                        ordered.push_field(cell.unwrap_or_default());
                    }
                    on_row(self.rows, &ordered, findings);
                }
            }
            if self.rows.is_multiple_of(ROWS_BETWEEN_LOOKS) {
                (self.check.progress)(self.check.key, self.rows);
                if (self.check.interrupted)() {
                    return Err(Stop::Interrupted);
                }
            }
        }
        (self.check.progress)(self.check.key, self.rows);
        Ok(())
    }

    /// Nothing where the header is right; else where each column of the right one is found.
    fn header(&self, record: &ByteRecord, findings: &mut Findings) -> Option<Vec<Option<usize>>> {
        let wanted = self.check.header;
        if record.iter().eq(wanted.iter().copied()) {
            return None;
        }
        let at = record.iter().zip(wanted).position(|(found, wanted)| found != *wanted);
        let detail = match at {
            Some(at) => {
                let text =
                    |cell: Option<&[u8]>| String::from_utf8_lossy(cell.unwrap_or_default()).into_owned();
                let (expected, found) = (text(wanted.get(at).copied()), text(record.get(at)));
                format!("column {}: expected {expected:?}, found {found:?}", at + 1)
            }
            None => format!("expected {} columns, found {}", wanted.len(), record.len()),
        };
        findings.add(FindingKind::HeaderDiffers, self.check.key, detail);
        Some(wanted.iter().map(|name| record.iter().position(|found| found == *name)).collect())
    }
}

fn next(reader: &mut CsvReader, counts: &Counts, record: &mut ByteRecord) -> Result<bool, Stop> {
    counts.since_row.set(0);
    reader.read_byte_record(record).map_err(|cause| {
        let text = cause.to_string();
        Stop::Broken(match cause.into_kind() {
            csv::ErrorKind::Io(cause) => cause,
            _ => std::io::Error::new(ErrorKind::InvalidData, text),
        })
    })
}

/// The length of a row in the contract's form: quotes only where they must be, `\n` behind it.
fn written(record: &ByteRecord) -> u64 {
    let mut length = record.len() as u64;
    for cell in record {
        length += cell.len() as u64;
        let quoted =
            memchr::memchr3(b'"', b',', b'\n', cell).is_some() || memchr::memchr(b'\r', cell).is_some();
        if quoted {
            length += 2 + memchr::memchr_iter(b'"', cell).count() as u64;
        }
    }
    length
}

#[derive(Clone, Default)]
struct Counts {
    all: Rc<Cell<u64>>,
    since_row: Rc<Cell<u64>>,
}

/// Counts the text, and stops a row that never ends before it fills the memory.
struct Counted<R> {
    inner: R,
    counts: Counts,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.counts.since_row.get() > LONGEST_ROW {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "a row of more than 64 MiB"));
        }
        let count = self.inner.read(buffer)?;
        self.counts.all.set(self.counts.all.get() + count as u64);
        self.counts.since_row.set(self.counts.since_row.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn read(bytes: &[u8]) -> (FileFound, Vec<FindingKind>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), bytes).unwrap();
        let header: [&[u8]; 2] = [b"a", b"b"];
        let check = FileCheck {
            place: folder.path(),
            key: "f",
            header: &header,
            exact_form: true,
            interrupted: &|| false,
            progress: &|_, _| {},
        };
        let mut findings = Findings::default();
        let found = read_file(&check, &mut findings, &mut |_, _, _| {}).unwrap();
        assert_eq!(found.fingerprint, Some(Fingerprint::of(bytes)));
        (found, findings.finish().into_iter().map(|finding| finding.kind).collect())
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_right_file_is_read_to_its_last_member() {
        let (found, kinds) = read(&[gzip("a,b\n1,\"x,\"\"y\"\"\"\n"), gzip("\",\",\"\r\"\n")].concat());
        assert_eq!((found.rows, kinds), (2, vec![]));
    }

    #[test]
    fn each_defect_has_its_kind() {
        use FindingKind::{FormDiffers, GzipBroken, HeaderDiffers, RaggedRow};
        let good = gzip("a,b\n1,2\n");
        for (bytes, kind) in [
            (good[..good.len() - 4].to_vec(), GzipBroken),
            ([&good[..], b"tail"].concat(), GzipBroken),
            ([&good[..], &[0; 16]].concat(), GzipBroken),
            (b"a,b\n1,2\n".to_vec(), GzipBroken),
            (gzip("b,a\n1,2\n"), HeaderDiffers),
            (gzip("a,b\n1,2,3\n"), RaggedRow),
            (gzip("a,b\n\"1\",2\n"), FormDiffers),
            (gzip("a,b\n\n1,2\n"), FormDiffers),
            (gzip("a,b\n1,2"), FormDiffers),
            (gzip(""), HeaderDiffers),
        ] {
            assert_eq!(read(&bytes).1, [kind], "{bytes:?}");
        }
        assert!(read(&gzip("a,b\r\n1,2\r\n")).1.contains(&HeaderDiffers));
    }
}
