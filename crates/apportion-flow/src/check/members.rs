//! The gzip members of a file of our own, inflated one after another.
//!
//! What comes in: a file in the spool, and the size of each of its members. What goes out: each member's text, and the
//! file's SHA-256. What it must never do: leave a byte of the file unread or unhashed, or take a member for whole whose
//! reader would find more or less in it.

use crate::csv_gz::CsvGzError;
use flate2::bufread::GzDecoder;
use libdeflater::{Crc, Decompressor};
use memchr::memmem;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most text of a member, in bytes: no window that becomes one is larger.
const MOST_TEXT: usize = 80 << 20;
/// Bytes of a member's header as we write it: no name, no time.
const HEADER_BYTES: usize = 10;
/// Bytes behind a member's data: its text's CRC-32 and size.
const TRAILER_BYTES: usize = 8;

/// A file whose members are asked for.
pub(super) struct Members<'a> {
    file: File,
    sizes: std::slice::Iter<'a, u32>,
    hash: Sha256,
    bytes: u64,
    decompressor: Decompressor,
    /// The present member and its text; they become as large as the largest.
    packed: Vec<u8>,
    text: Vec<u8>,
}

impl<'a> Members<'a> {
    /// Opens a file whose members have these sizes.
    pub(super) fn open(path: &Path, sizes: &'a [u32]) -> Result<Self, CsvGzError> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let told = sizes.iter().map(|size| u64::from(*size)).sum::<u64>();
        if bytes != told {
            return Err(broken(0, format!("the file has {bytes} bytes where {told} were written")));
        }
        Ok(Self {
            file,
            sizes: sizes.iter(),
            hash: Sha256::new(),
            bytes,
            decompressor: Decompressor::new(),
            packed: Vec::new(),
            text: Vec::new(),
        })
    }

    /// The text of the next member; None behind the last. `rows` is for errors: how many have been read.
    pub(super) fn next(&mut self, rows: u64) -> Result<Option<&[u8]>, CsvGzError> {
        let Some(size) = self.sizes.next() else { return Ok(None) };
        let Self { decompressor, packed, text, .. } = self;
        packed.resize(*size as usize, 0);
        self.file.read_exact(packed)?;
        self.hash.update(&*packed);
        let (crc, length) =
            trailer(packed).ok_or_else(|| broken(rows, "a member without trailer".to_owned()))?;
        if length > MOST_TEXT {
            return Err(broken(rows, format!("a member of more than {MOST_TEXT} bytes of text")));
        }
        if text.len() < length {
            text.resize(length, 0);
        }
        let text = &mut text[..length];
        let inflated = decompressor.gzip_decompress(packed, text);
        let inflated = inflated.map_err(|error| broken(rows, error.to_string()))?;
        if inflated != length || !is_one_member(packed, text, crc) {
            return Err(broken(rows, "a member doesn't end where it should".to_owned()));
        }
        Ok(Some(text))
    }

    /// SHA-256 and size of the file, behind its last member.
    pub(super) fn finish(mut self) -> Result<([u8; 32], u64), CsvGzError> {
        // Nobody else writes here; but what is hashed must be the whole file.
        if self.file.read(&mut [0])? > 0 {
            return Err(CsvGzError::Io(io::Error::other("the file grew while it was read")));
        }
        Ok((self.hash.finalize().into(), self.bytes))
    }
}

fn broken(rows: u64, problem: String) -> CsvGzError {
    CsvGzError::Gzip { rows, problem }
}

/// CRC-32 and size of the text, as a member's last bytes say.
fn trailer(packed: &[u8]) -> Option<(u32, usize)> {
    let start = packed.len().checked_sub(TRAILER_BYTES)?;
    let (crc, length) = packed[start..].split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*crc), u32::from_le_bytes(length.try_into().ok()?) as usize))
}

/// Whether the bytes are one member and nothing more. libdeflate reads the first member and says nothing of what follows;
/// so what follows must not be a trailer of other text, or begin as a member does.
fn is_one_member(packed: &[u8], text: &[u8], crc: u32) -> bool {
    let mut own = Crc::new();
    own.update(text);
    if own.sum() != crc {
        return false;
    }
    let Some((header, rest)) = packed.split_at_checked(HEADER_BYTES) else { return false };
    // In ten million files a header's bytes stand by chance in none; but cells could be made to hold them.
    memmem::find(rest, header).is_none() || ends_with_first(packed)
}

/// The same by a slow decoder that tells where a member ends.
fn ends_with_first(packed: &[u8]) -> bool {
    let mut decoder = GzDecoder::new(packed);
    io::copy(&mut decoder, &mut io::sink()).is_ok() && decoder.into_inner().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    fn member(text: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::new(3).unwrap());
        let mut packed = vec![0; compressor.gzip_compress_bound(text.len())];
        let size = compressor.gzip_compress(text, &mut packed).unwrap();
        packed.truncate(size);
        packed
    }

    /// The texts of a file with members of these sizes.
    fn texts(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, bytes).unwrap();
        let sizes: Vec<u32> = sizes.iter().map(|size| *size as u32).collect();
        let mut members = Members::open(&path, &sizes).map_err(|error| error.to_string())?;
        let mut texts = Vec::new();
        while let Some(text) = members.next(7).map_err(|error| error.to_string())? {
            texts.push(text.to_vec());
        }
        let (sha256, size) = members.finish().unwrap();
        assert_eq!((&sha256[..], size), (&Sha256::digest(bytes)[..], bytes.len() as u64));
        Ok(texts)
    }

    #[test]
    fn members_are_read_one_by_one() {
        let (long, short) = (b"a,b\n".repeat(5000), b"c\n".to_vec());
        let (first, second) = (member(&long), member(&short));
        let file = [&first[..], &second, &first].concat();
        let found = texts(&file, &[first.len(), second.len(), first.len()]);
        assert_eq!(found, Ok(vec![long.clone(), short, long]));
        assert_eq!(texts(b"", &[]), Ok(vec![]));
    }

    #[test]
    fn whatever_is_no_member_is_refused() {
        let text = b"a,b\n".repeat(500);
        let (one, other) = (member(&text), member(b"a,b\n"));
        let twice = [&one[..], &one].concat();
        let tail = &one[one.len() - TRAILER_BYTES..];
        for (bytes, sizes, problem) in [
            (one.clone(), vec![one.len() - 1], "bytes where"),
            (one.clone(), vec![], "bytes where"),
            (twice.clone(), vec![twice.len()], "doesn't end"),
            (twice.clone(), vec![one.len() - 1, one.len() + 1], "after 7 rows"),
            ([&one[..], &other].concat(), vec![one.len() + other.len()], "after 7 rows"),
            ([&one[..], &[0; 9]].concat(), vec![one.len() + 9], "after 7 rows"),
            ([&one[..], b"past", &[0; 4], &tail[4..]].concat(), vec![one.len() + 12], "doesn't end"),
            (b"short".to_vec(), vec![5], "without trailer"),
            ([&one[..one.len() - 4], &[255; 4]].concat(), vec![one.len()], "bytes of text"),
        ] {
            let found = texts(&bytes, &sizes).unwrap_err();
            assert!(found.contains(problem), "{found} is not {problem}");
        }
        for place in [3, HEADER_BYTES + 1, one.len() - 6, one.len() - 2] {
            let mut spoiled = one.clone();
            spoiled[place] ^= 0x10;
            assert!(texts(&spoiled, &[one.len()]).is_err(), "byte {place}");
        }
    }

    #[test]
    fn a_text_that_holds_a_members_header_is_no_second_member() {
        let header = &member(b"x\n")[..HEADER_BYTES];
        // Bytes that nothing repeats are stored as they are.
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let text: Vec<u8> = (0..4096).map(|_| noise()).chain(header.iter().copied()).collect();
        let packed = member(&text);
        assert!(memmem::find(&packed[1..], header).is_some());
        assert_eq!(texts(&packed, &[packed.len()]), Ok(vec![text]));
    }
}
