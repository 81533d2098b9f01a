//! Reads a delivered csv.gz file.
//!
//! What comes in: the file. What goes out: its rows, and findings about header, shape and form. What it must never
//! do: stop at the first gzip member.

use super::files::{BUFFER, RowsFound};
use super::members::Members;
use crate::error::AuditError;
use crate::hashes::{Fingerprint, Tap};
use crate::opened::{Opened, Reader};
use crate::report::{FindingKind, Findings};
use csv::{ByteRecord, Terminator};
use std::cell::Cell;
use std::io::{BufReader, ErrorKind, Read};
use std::rc::Rc;

const LONGEST_ROW: u64 = 64 << 20;

/// Reads to the end; the file's weight, unless it breaks off.
pub(super) fn read(
    file: &Opened,
    rows: &mut RowsFound<'_, '_>,
    findings: &mut Findings,
) -> Result<Option<Fingerprint>, AuditError> {
    let (tap, weight) = Tap::new(file.reader());
    let (members, member_count) = Members::new(BufReader::with_capacity(BUFFER, tap));
    let counts = Counts::default();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        // Lines end in \n and nothing else; a \r would be part of a cell.
        .terminator(Terminator::Any(b'\n'))
        .buffer_capacity(BUFFER)
        .from_reader(Counted { inner: members, counts: counts.clone() });
    let (key, mut text) = (rows.check.key, Text::default());
    match text.read(&mut reader, &counts, rows, findings) {
        Ok(()) => {}
        Err(Stop::Audit(error)) => return Err(error),
        Err(Stop::Broken(cause)) => {
            if let Some(error) = file.obstacle(rows.rows) {
                return Err(error);
            }
            let broken = matches!(
                cause.kind(),
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
            );
            let kind = if broken { FindingKind::GzipBroken } else { FindingKind::FileUnreadable };
            findings.add(kind, key, format!("after {} rows: {cause}", rows.rows));
            return Ok(None);
        }
    }
    if rows.check.exact_form && text.ragged == 0 && text.written != counts.all.get() {
        let detail = format!(
            "its text is {} bytes, the contract's form of the same cells {}: quoting, line ends or blank lines",
            counts.all.get(),
            text.written
        );
        findings.add(FindingKind::FormDiffers, key, detail);
    }
    if rows.check.single_member && member_count.get() != 1 {
        let detail = format!("{} gzip members, although gzip = \"single\"", member_count.get());
        findings.add(FindingKind::GzipMembers, key, detail);
    }
    Ok(Some(weight.fingerprint()))
}

type CsvReader = csv::Reader<Counted<Members<BufReader<Tap<Reader>>>>>;

enum Stop {
    Audit(AuditError),
    Broken(std::io::Error),
}

#[derive(Default)]
struct Text {
    ragged: u64,
    /// Bytes of the contract's own form of what was read.
    written: u64,
}

impl Text {
    fn read(
        &mut self,
        reader: &mut CsvReader,
        counts: &Counts,
        rows: &mut RowsFound<'_, '_>,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        let mut record = ByteRecord::new();
        if !next(reader, counts, &mut record)? {
            findings.add(FindingKind::HeaderDiffers, rows.check.key, "has no header row");
            return Ok(());
        }
        self.written += written(&record);
        rows.header(record.iter(), findings);
        let width = record.len();
        while next(reader, counts, &mut record)? {
            self.written += written(&record);
            rows.row(&record, findings).map_err(Stop::Audit)?;
            if record.len() != width {
                self.ragged += 1;
                let detail = format!("row {}: has {} cells, its header {width}", rows.rows, record.len());
                findings.add(FindingKind::RaggedRow, rows.check.key, detail);
            }
        }
        Ok(())
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
    use super::super::files::{FileCheck, FileColumn, FileFound, read_file};
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn read(bytes: &[u8]) -> (FileFound, Vec<FindingKind>) {
        read_as(bytes, false)
    }

    fn read_as(bytes: &[u8], single_member: bool) -> (FileFound, Vec<FindingKind>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), bytes).unwrap();
        let column = |name: &str| FileColumn {
            header: name.into(),
            name: name.into(),
            kind: crate::columns::ColumnType::Text,
            filled: true,
        };
        let check = FileCheck {
            place: &crate::place::Folder::new(folder.path()),
            key: "f",
            format: apportion_model::Format::CsvGz,
            columns: &["a", "b"].map(column),
            exact_form: true,
            single_member,
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

    #[test]
    fn a_second_member_is_seen_where_there_must_be_one() {
        let (one, two) = (gzip("a,b\n1,2\n"), gzip("3,4\n"));
        assert_eq!(read_as(&one, true).1, []);
        assert_eq!(read_as(&[one.clone(), two].concat(), true).1, [FindingKind::GzipMembers]);
        assert_eq!(read_as(&[one, gzip("")].concat(), true).1, [FindingKind::GzipMembers]);
    }
}
