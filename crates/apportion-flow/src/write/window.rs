use super::WriteError;
use super::buffers::Buffers;
use super::kernel::{SharedTexts, TextId};
use crate::plant;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;

/// Rows of a window when it is full. A number, not a size: the windows of an export that is read again as a source
/// then hold the same rows, in whatever order they stood.
pub(super) const WINDOW_ROWS: usize = 16_384;
/// Text of a window, in bytes, when it is full although few rows are in it: such rows are no line items that AWS writes.
/// With the longest row behind that, a window fits into a file.
pub(super) const WINDOW_BYTES: usize = 44 << 20;

/// What stands before each row's own text: the sort key, the shared text's id, the lengths of what stands before and
/// behind that text.
const ROW_HEAD: usize = 16 + 8 + 4 + 4;

/// Bytes that a buffer must have left for another row to begin in it: more than nearly all rows have.
const ROW_RESERVE: usize = 4 << 10;

/// Rows that wait until enough of them are there to be sorted and compressed.
///
/// A row is its own text with a gap, and the id of a text that fills the gap and that many rows share. The bytes may be
/// parked on disk when memory is short. Where a window ends is decided by its rows' whole text, wherever that is, so
/// neither parking nor sharing changes a byte.
#[derive(Debug)]
pub struct Window {
    buffers: Buffers,
    /// The file that holds the first rows, and how many bytes of each buffer.
    parked: Option<(PathBuf, Vec<usize>)>,
    /// The other rows, one after another; no row stands in two buffers.
    filled: Vec<Vec<u8>>,
    filling: Vec<u8>,
    rows: usize,
    /// Bytes that all rows are as text.
    text: usize,
    /// Where in its buffer the row that is being written begins, and where its gap is.
    begun: usize,
    gap: usize,
}

/// Where a row stands: its buffer, and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowPlace {
    buffer: u32,
    at: u32,
}

/// A row of a window, to be sorted.
pub(super) struct Row<'a> {
    pub(super) before: &'a [u8],
    pub(super) shared: Option<TextId>,
    pub(super) behind: &'a [u8],
}

impl Window {
    /// A window without rows, that takes its buffers from here and gives them back.
    pub(super) fn new(buffers: &Buffers) -> Self {
        Self {
            buffers: buffers.clone(),
            parked: None,
            filled: Vec::new(),
            filling: Vec::new(),
            rows: 0,
            text: 0,
            begun: 0,
            gap: 0,
        }
    }

    /// The rows so far; those that come next find an empty window.
    pub(super) fn take(&mut self) -> Self {
        let next = Self::new(&self.buffers);
        std::mem::replace(self, next)
    }

    /// Begins a row; its own text is what is appended to the buffer from now on.
    #[inline]
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        if self.filling.capacity() - self.filling.len() < ROW_RESERVE {
            self.next_buffer();
        }
        self.begun = self.filling.len();
        self.gap = usize::MAX;
        self.filling.extend_from_slice(&[0; ROW_HEAD]);
        &mut self.filling
    }

    #[cold]
    fn next_buffer(&mut self) {
        let next = self.buffers.take();
        self.set_aside(next);
    }

    /// What has been filled so far is whole; rows go on in the next buffer.
    fn set_aside(&mut self, next: Vec<u8>) {
        let filled = std::mem::replace(&mut self.filling, next);
        self.filled.extend((filled.capacity() > 0).then_some(filled));
    }

    /// The buffer of the row that was begun.
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.filling
    }

    /// Says that the shared text stands here.
    #[inline]
    pub(super) fn gap(&mut self) {
        self.gap = self.filling.len();
    }

    /// Ends the row: its text is whole, its line end included. `shared_bytes` is the length of the shared text.
    #[inline]
    pub(super) fn end(&mut self, key: u128, shared: Option<TextId>, shared_bytes: usize) {
        let own = self.begun + ROW_HEAD;
        let before = self.gap.min(self.filling.len()) - own;
        let behind = self.filling.len() - own - before;
        if let Some(head) = self.filling.get_mut(self.begun..own) {
            head[..16].copy_from_slice(&key.to_le_bytes());
            head[16..24].copy_from_slice(&TextId::to_number(shared).to_le_bytes());
            head[24..28].copy_from_slice(&(before as u32).to_le_bytes());
            head[28..].copy_from_slice(&(behind as u32).to_le_bytes());
        }
        self.rows += 1;
        self.text += before + behind + shared_bytes;
    }

    /// Whether it is time to pack it: decided by its own rows alone.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows >= WINDOW_ROWS || self.text >= WINDOW_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes they are as text.
    pub(super) fn text_bytes(&self) -> usize {
        self.text
    }

    /// Bytes of memory that its rows wait in.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.filled.iter().map(Vec::capacity).sum::<usize>() + self.filling.capacity()
    }

    /// Moves the rows in memory to the end of a file that no other window uses: its own, or else a new one.
    pub(super) fn park(&mut self, new_file: impl FnOnce() -> PathBuf) -> Result<(), WriteError> {
        self.set_aside(Vec::new());
        let (path, parked) = self.parked.get_or_insert_with(|| (new_file(), Vec::new()));
        let wrong =
            |source| WriteError::Io { path: path.display().to_string(), doing: "parking rows", source };
        plant::write_point();
        let mut file = OpenOptions::new().create(true).append(true).open(&*path).map_err(wrong)?;
        for buffer in &self.filled {
            file.write_all(buffer).map_err(wrong)?;
        }
        parked.extend(self.filled.iter().map(Vec::len));
        self.buffers.give(self.filled.drain(..));
        Ok(())
    }

    /// Brings all rows together in memory, the parked ones before the others.
    pub(super) fn gather(&mut self) -> Result<(), WriteError> {
        self.set_aside(Vec::new());
        let Some((path, parked)) = self.parked.take() else { return Ok(()) };
        let wrong = |source| WriteError::Io {
            path: path.display().to_string(),
            doing: "fetching parked rows",
            source,
        };
        let mut file = File::open(&path).map_err(wrong)?;
        let mut filled = Vec::with_capacity(parked.len() + self.filled.len());
        for bytes in parked {
            let mut buffer = self.buffers.take();
            buffer.resize(bytes, 0);
            file.read_exact(&mut buffer).map_err(wrong)?;
            filled.push(buffer);
        }
        filled.append(&mut self.filled);
        self.filled = filled;
        std::fs::remove_file(&path).map_err(wrong)
    }

    /// Each row's sort key and where it stands, in the order in which they came. They must have been gathered.
    pub(super) fn keys(&self) -> Vec<(u128, RowPlace)> {
        let mut keys = Vec::with_capacity(self.rows);
        for buffer in 0..self.filled.len() as u32 {
            let mut place = RowPlace { buffer, at: 0 };
            while let Some((key, _, before, behind)) = self.head(place) {
                keys.push((key, place));
                place.at += (ROW_HEAD + before + behind) as u32;
            }
        }
        keys
    }

    /// A look at a row's beginning, so that it comes nearer.
    #[inline]
    pub(super) fn touch(&self, place: RowPlace) -> u8 {
        let Some(row) = self.from(place) else { return 0 };
        row.first().copied().unwrap_or(0) ^ row.get(192).copied().unwrap_or(0)
    }

    /// The row that stands there.
    #[inline]
    pub(super) fn row(&self, place: RowPlace) -> Option<Row<'_>> {
        let (_, shared, before, behind) = self.head(place)?;
        let own = self.from(place)?.get(ROW_HEAD..ROW_HEAD + before + behind)?;
        let (before, behind) = own.split_at_checked(before)?;
        Some(Row { before, shared, behind })
    }

    #[inline]
    fn from(&self, place: RowPlace) -> Option<&[u8]> {
        self.filled.get(place.buffer as usize)?.get(place.at as usize..)
    }

    #[inline]
    fn head(&self, place: RowPlace) -> Option<(u128, Option<TextId>, usize, usize)> {
        let (key, rest) = self.from(place)?.split_first_chunk::<16>()?;
        let (shared, rest) = rest.split_first_chunk::<8>()?;
        let (before, rest) = rest.split_first_chunk::<4>()?;
        let behind = rest.first_chunk::<4>()?;
        Some((
            u128::from_le_bytes(*key),
            TextId::of_number(u64::from_le_bytes(*shared)),
            u32::from_le_bytes(*before) as usize,
            u32::from_le_bytes(*behind) as usize,
        ))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.set_aside(Vec::new());
        self.buffers.give(self.filled.drain(..));
    }
}

impl Row<'_> {
    /// Appends the row's text, its line end included.
    #[inline]
    pub(super) fn write_to(&self, out: &mut Vec<u8>, shared: &SharedTexts) {
        out.extend_from_slice(self.before);
        if let Some(id) = self.shared {
            out.extend_from_slice(shared.get(id));
        }
        out.extend_from_slice(self.behind);
    }
}
