use super::WriteError;
use crate::plant;
use libdeflater::{CompressionLvl, Compressor};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The gzip level, of libdeflate. Part of the format version.
pub const LEVEL: i32 = 3;
/// Rows of a window when it is full. A number, not a size: the windows of an export that is read again as a source
/// then hold the same rows, in whatever order they stood.
pub(super) const WINDOW_ROWS: usize = 4096;
/// Windows that fill a file of one gzip member.
const WINDOWS_OF_SINGLE: usize = 4;
/// Text of a window, in bytes, when it is full although few rows are in it: such rows are no line items that AWS writes.
/// With the longest row behind that, a window fits into a file.
pub(super) const WINDOW_BYTES: usize = 44 << 20;
/// Text of a gzip member, in bytes, when it ends.
const MEMBER_BYTES: usize = 1 << 20;

/// How many gzip members a csv.gz has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gzip {
    /// Several: what RFC 1952 allows, and most readers read.
    MultiMember,
    /// One, for readers that stop after it; the files are smaller and there are more of them.
    Single,
}

impl Gzip {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::MultiMember, Self::Single];

    /// Its name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MultiMember => "multi-member",
            Self::Single => "single",
        }
    }
}

/// How a lane's windows become members.
#[derive(Debug, Clone)]
pub struct Packing {
    /// In which order the rows stand.
    pub order: Order,
    /// Into how many members.
    pub gzip: Gzip,
    /// The header line, which a single member begins with.
    pub header: Arc<[u8]>,
}

impl Packing {
    /// Rows of a window that is full.
    pub(super) fn window_rows(&self) -> usize {
        match self.gzip {
            Gzip::MultiMember => WINDOW_ROWS,
            Gzip::Single => WINDOW_ROWS * WINDOWS_OF_SINGLE,
        }
    }
}

/// The order of rows in an export. A CUR promises none; sorted ones compress far better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By resource, SKU and usage start inside each window; equal rows stay in the source's order.
    Sorted,
    /// The source's.
    Source,
}

impl Order {
    /// The order's name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sorted => "sorted",
            Self::Source => "source",
        }
    }
}

/// Encoded rows that are not compressed yet.
///
/// Its text may be parked on disk when memory is short. Where it ends is decided by its whole text, wherever that is,
/// so parking changes no byte.
#[derive(Debug, Default)]
pub struct Window {
    /// The file that holds the beginning of the rows' text, and how much of it.
    parked: Option<(PathBuf, usize)>,
    /// The rest of the rows' text, each row with its line end.
    pub(super) text: Vec<u8>,
    /// Where each row ends, and where its sort key stands in the text.
    pub(super) rows: Vec<RowSpan>,
    /// The sum of the rows' hashes.
    pub(super) rows_hash: u128,
}

#[derive(Debug, Clone)]
pub(super) struct RowSpan {
    pub(super) row: Range<u32>,
    pub(super) key: [Range<u32>; 3],
}

/// Compressed rows, ready to be appended to a file.
#[derive(Debug)]
pub struct Packed {
    /// Whole gzip members.
    pub bytes: Vec<u8>,
    /// How many bytes each of them has.
    pub members: Vec<u32>,
    /// How many rows.
    pub rows: u64,
    /// The sum of the rows' hashes.
    pub rows_hash: u128,
}

fn slice<'a>(text: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    text.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl Window {
    /// Whether it is time to pack it: decided by its own rows alone.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        self.rows.len() >= rows || self.parked_bytes() + self.text.len() >= WINDOW_BYTES
    }

    /// Bytes of its text that are on disk: where the text in memory begins.
    pub(super) fn parked_bytes(&self) -> usize {
        self.parked.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// Moves the text in memory to the end of a file that no other window uses: its own, or else a new one.
    pub(super) fn park(&mut self, new_file: impl FnOnce() -> PathBuf) -> Result<usize, WriteError> {
        let path = self.parked.as_ref().map_or_else(new_file, |(path, _)| path.clone());
        let name = path.display().to_string();
        let wrong = |source| WriteError::Io { path: name.clone(), doing: "parking rows", source };
        plant::write_point();
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(wrong)?;
        file.write_all(&self.text).map_err(wrong)?;
        let moved = self.text.len();
        self.parked = Some((path, self.parked_bytes() + moved));
        self.text = Vec::new();
        Ok(moved)
    }

    /// Brings parked text back.
    fn unpark(&mut self) -> Result<(), WriteError> {
        let Some((path, bytes)) = self.parked.take() else { return Ok(()) };
        let wrong = |source| WriteError::Io {
            path: path.display().to_string(),
            doing: "fetching parked rows",
            source,
        };
        let mut text = std::fs::read(&path).map_err(wrong)?;
        if text.len() != bytes {
            return Err(wrong(std::io::ErrorKind::UnexpectedEof.into()));
        }
        text.append(&mut self.text);
        self.text = text;
        std::fs::remove_file(&path).map_err(wrong)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sorts and compresses.
    pub(super) fn pack(mut self, packing: &Packing) -> Result<Packed, WriteError> {
        self.unpark()?;
        let text = &self.text;
        if packing.order == Order::Sorted {
            self.rows.sort_by(|left, right| {
                left.key.iter().map(|key| slice(text, key)).cmp(right.key.iter().map(|key| slice(text, key)))
            });
        }
        let mut packed = Packed {
            bytes: Vec::new(),
            members: Vec::new(),
            rows: self.rows.len() as u64,
            rows_hash: self.rows_hash,
        };
        let (mut member, most) = match packing.gzip {
            Gzip::MultiMember => (Vec::with_capacity(MEMBER_BYTES.min(text.len()) + (1 << 12)), MEMBER_BYTES),
            Gzip::Single => (packing.header.to_vec(), usize::MAX),
        };
        for row in &self.rows {
            member.extend_from_slice(slice(text, &row.row));
            if member.len() >= most {
                packed.members.push(compress(&member, &mut packed.bytes)?);
                member.clear();
            }
        }
        if !member.is_empty() {
            packed.members.push(compress(&member, &mut packed.bytes)?);
        }
        Ok(packed)
    }
}

/// Appends one gzip member; returns how many bytes it has. libdeflate writes no name and no time, and gives the same bytes on every CPU.
pub(super) fn compress(text: &[u8], out: &mut Vec<u8>) -> Result<u32, WriteError> {
    let level = CompressionLvl::new(LEVEL).map_err(|error| WriteError::Compress(format!("{error:?}")))?;
    let mut compressor = Compressor::new(level);
    let start = out.len();
    out.resize(start + compressor.gzip_compress_bound(text.len()), 0);
    let written = compressor
        .gzip_compress(text, &mut out[start..])
        .map_err(|error| WriteError::Compress(error.to_string()))?;
    out.truncate(start + written);
    u32::try_from(written).map_err(|error| WriteError::Compress(error.to_string()))
}
