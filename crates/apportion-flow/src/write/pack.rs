use super::WriteError;
use super::deflate::{Deflater, Effort};
use super::kernel::SharedTexts;
use super::window::Window;
use crate::plant::{Plant, strikes};
use crate::timings::{Meter, Stage};
use apportion_core::proof::row_hash;
use libdeflater::{CompressionLvl, Compressor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Text of a gzip member, in bytes, when it ends.
const MEMBER_BYTES: usize = 1 << 20;

/// How many rows ahead one is fetched from memory.
const AHEAD: usize = 6;

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

/// How hard a csv.gz is compressed. Part of what decides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Looks less hard for what repeats: files some hundredths larger, in hardly less time since the default is fast itself.
    Fast,
    /// Most of what sorted rows give, in little time.
    Default,
    /// The smallest files, in several times the time.
    Small,
}

impl Level {
    /// All levels, the default first.
    pub const ALL: [Self; 3] = [Self::Default, Self::Fast, Self::Small];

    /// Its name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Small => "small",
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
    /// How hard they are compressed.
    pub level: Level,
    /// The header line, which a single member begins with.
    pub header: Arc<[u8]>,
}

/// The order of rows in an export. A CUR promises none; sorted ones compress far better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By SKU, resource and usage start inside each window; equal rows stay in the source's order.
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

/// Compressed rows, ready to be appended to a file.
#[derive(Debug)]
pub struct Packed {
    /// Whole gzip members.
    pub bytes: Vec<u8>,
    /// The length of each, in order.
    pub members: Vec<u32>,
    /// How many rows.
    pub rows: u64,
    /// The sum of the rows' hashes.
    pub rows_hash: u128,
}

/// What a thread that packs uses again and again.
pub(super) struct PackScratch {
    text: Vec<u8>,
    gzip: Compressors,
    meter: Meter,
}

impl PackScratch {
    pub(super) fn new(meter: &Meter) -> Self {
        Self { text: Vec::new(), gzip: Compressors::default(), meter: meter.clone() }
    }
}

impl Window {
    /// Sorts and compresses.
    pub(super) fn pack(
        self,
        packing: &Packing,
        shared: &SharedTexts,
        scratch: &mut PackScratch,
    ) -> Result<Packed, WriteError> {
        let meter = scratch.meter.clone();
        meter.count(Stage::Pack, self.rows() as u64, self.text_bytes() as u64);
        meter.time(Stage::Pack, || self.packed(packing, shared, scratch))
    }

    fn packed(
        mut self,
        packing: &Packing,
        shared: &SharedTexts,
        scratch: &mut PackScratch,
    ) -> Result<Packed, WriteError> {
        self.gather()?;
        let mut rows = self.keys();
        if packing.order == Order::Sorted {
            // The place makes it stable.
            rows.sort_unstable();
        }
        let mut packed = Packed {
            bytes: Vec::with_capacity(self.text_bytes() / 6),
            members: Vec::new(),
            rows: self.rows() as u64,
            rows_hash: 0,
        };
        let PackScratch { text, gzip, .. } = scratch;
        text.clear();
        let most = match packing.gzip {
            Gzip::MultiMember => MEMBER_BYTES,
            Gzip::Single => {
                text.extend_from_slice(&packing.header);
                usize::MAX
            }
        };
        let mut touched = 0;
        for (place, (_, at)) in rows.iter().enumerate() {
            // Sorted rows lie anywhere: one that is fetched early is there when its turn comes.
            if let Some((_, ahead)) = rows.get(place + AHEAD) {
                touched ^= self.touch(*ahead);
            }
            let Some(row) = self.row(*at) else { continue };
            let begin = text.len();
            row.write_to(text, shared);
            let line = text.get(begin..text.len().saturating_sub(1)).unwrap_or_default();
            packed.rows_hash = packed.rows_hash.wrapping_add(row_hash(line));
            if strikes(Plant::WriteCell) {
                spoil(text, begin);
            }
            if text.len() >= most {
                packed.push(gzip, packing.level, text)?;
                text.clear();
            }
        }
        if !text.is_empty() {
            packed.push(gzip, packing.level, text)?;
        }
        std::hint::black_box(touched);
        Ok(packed)
    }
}

impl Packed {
    fn push(&mut self, gzip: &mut Compressors, level: Level, text: &[u8]) -> Result<(), WriteError> {
        let before = self.bytes.len();
        gzip.compress(level, text, &mut self.bytes)?;
        self.members.push((self.bytes.len() - before) as u32);
        Ok(())
    }
}

/// Changes the last cell of a row that has been hashed: a bug for tests to plant.
fn spoil(text: &mut Vec<u8>, begin: usize) {
    let cell = text.iter().rposition(|byte| *byte == b',').map_or(begin, |comma| comma + 1);
    text.truncate(cell);
    text.extend_from_slice(b"planted\n");
}

/// libdeflate's level for small files: beyond it time doubles for hardly a byte.
const SMALL_LEVEL: i32 = 8;
/// A table that stays in the nearest cache; what a larger one finds besides is a hundredth.
const DEFAULT: Effort = Effort { table_bits: 13, patience: 6 };
const FAST: Effort = Effort { table_bits: 11, patience: 4 };

/// A compressor for each level, made when it is needed.
#[derive(Default)]
pub struct Compressors {
    default: Option<Deflater>,
    fast: Option<Deflater>,
    small: Option<Compressor>,
    buffer: Vec<u8>,
}

impl Compressors {
    /// Appends one gzip member, without name and time: the same bytes on every processor.
    ///
    /// # Errors
    /// A library that fails, which has no cause in the data.
    pub fn compress(&mut self, level: Level, text: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        match level {
            Level::Fast => self.fast.get_or_insert_with(|| Deflater::new(FAST)).gzip(text, out),
            Level::Default => self.default.get_or_insert_with(|| Deflater::new(DEFAULT)).gzip(text, out),
            Level::Small => return self.compress_small(text, out),
        }
        Ok(())
    }

    /// With libdeflate, which is plain C.
    fn compress_small(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
        let compressor = match &mut self.small {
            Some(compressor) => compressor,
            none => {
                let level = CompressionLvl::new(SMALL_LEVEL);
                none.insert(Compressor::new(
                    level.map_err(|error| WriteError::Compress(format!("{error:?}")))?,
                ))
            }
        };
        let bound = compressor.gzip_compress_bound(text.len());
        if self.buffer.len() < bound {
            self.buffer.resize(bound, 0);
        }
        let written = compressor
            .gzip_compress(text, &mut self.buffer)
            .map_err(|error| WriteError::Compress(error.to_string()))?;
        out.extend_from_slice(self.buffer.get(..written).unwrap_or_default());
        Ok(())
    }
}

/// Appends one gzip member at the default level.
pub(super) fn compress(text: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
    Compressors::default().compress(Level::Default, text, out)
}
