//! The hashes of the delivery format: of rows, of line items, of files.
//!
//! What comes in: cells, rows and byte streams. What goes out: 128-bit multiset hashes, SHA-256 and byte counts.
//! What it must never do: depend on the order of rows.

use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use twox_hash::XxHash3_128;

const ROW_SEED: u64 = 28;

/// Gathers the cells of one delivered row as a line of csv.gz.
#[derive(Default)]
pub(crate) struct RowHasher {
    line: Vec<u8>,
    cells: usize,
}

impl RowHasher {
    /// Adds the next cell.
    pub(crate) fn cell(&mut self, cell: &[u8]) {
        if self.cells > 0 {
            self.line.push(b',');
        }
        self.cells += 1;
        if !cell.iter().any(|byte| b"\",\n\r".contains(byte)) {
            self.line.extend_from_slice(cell);
            return;
        }
        self.line.push(b'"');
        for byte in cell {
            self.line.push(*byte);
            if *byte == b'"' {
                self.line.push(b'"');
            }
        }
        self.line.push(b'"');
    }

    /// The row's hash; the next row starts empty.
    pub(crate) fn finish(&mut self) -> u128 {
        let hash = XxHash3_128::oneshot_with_seed(0, &self.line);
        self.line.clear();
        self.cells = 0;
        hash
    }
}

/// The part of one guaranteed column in a line item's hash.
pub(crate) fn cell_hash(place: usize, canonical: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(place as u64, canonical)
}

/// A line item's hash from the sum of its columns' parts.
pub(crate) fn item_hash(sum: u128) -> u128 {
    XxHash3_128::oneshot_with_seed(ROW_SEED, &sum.to_le_bytes())
}

/// 32 hex digits.
pub(crate) fn hex128(hash: u128) -> String {
    format!("{hash:032x}")
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Size and SHA-256 of an object as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Fingerprint {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) }
    }

    /// Reads a stream to its end.
    pub(crate) fn of_stream(reader: impl Read) -> std::io::Result<Self> {
        let (mut tap, record) = Tap::new(reader);
        std::io::copy(&mut tap, &mut std::io::sink())?;
        Ok(record.fingerprint())
    }
}

/// What has come through a [`Tap`] so far.
#[derive(Clone)]
pub(crate) struct TapRecord(Rc<RefCell<(u64, Sha256)>>);

impl TapRecord {
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let state = self.0.borrow();
        Fingerprint { bytes: state.0, sha256: hex(&state.1.clone().finalize()) }
    }
}

/// A reader that hashes what it passes on, so that an object is read once.
pub(crate) struct Tap<R> {
    inner: R,
    record: TapRecord,
}

impl<R: Read> Tap<R> {
    pub(crate) fn new(inner: R) -> (Self, TapRecord) {
        let record = TapRecord(Rc::new(RefCell::new((0, Sha256::new()))));
        (Self { inner, record: record.clone() }, record)
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let mut state = self.record.0.borrow_mut();
        state.0 += count as u64;
        state.1.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_do_not_run_together() {
        let mut hasher = RowHasher::default();
        hasher.cell(b"ab");
        hasher.cell(b"");
        let first = hasher.finish();
        hasher.cell(b"a");
        hasher.cell(b"b");
        assert_ne!(first, hasher.finish());
        hasher.cell(b"ab");
        hasher.cell(b"");
        assert_eq!(first, hasher.finish());
        assert_eq!(first, XxHash3_128::oneshot(b"ab,"));
    }

    #[test]
    fn a_row_is_hashed_as_its_line() {
        for (cells, line) in [
            (&["", "a,b", "c"][..], &b",\"a,b\",c"[..]),
            (&["a \"b\"", "\r", "\n"], b"\"a \"\"b\"\"\",\"\r\",\"\n\""),
            (&["", ""], b","),
        ] {
            let mut hasher = RowHasher::default();
            cells.iter().for_each(|cell| hasher.cell(cell.as_bytes()));
            assert_eq!(hasher.finish(), XxHash3_128::oneshot(line), "{cells:?}");
        }
    }

    #[test]
    fn a_tap_sees_what_passes() {
        let whole = Fingerprint::of(b"abc");
        assert_eq!(Fingerprint::of_stream(&b"abc"[..]).unwrap(), whole);
        assert_eq!(whole.bytes, 3);
        assert_eq!(whole.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
