use super::WriteError;
use super::kernel::{SharedTexts, TextId};
use crate::plant;
use std::fs::OpenOptions;
use std::io::Write;
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

/// Rows that wait until enough of them are there to be sorted and compressed.
///
/// A row is its own text with a gap, and the id of a text that fills the gap and that many rows share. The bytes may be
/// parked on disk when memory is short. Where a window ends is decided by its rows' whole text, wherever that is, so
/// neither parking nor sharing changes a byte.
#[derive(Debug, Default)]
pub struct Window {
    /// The file that holds the first rows, and how many bytes of them.
    parked: Option<(PathBuf, usize)>,
    /// The other rows, one after another.
    bytes: Vec<u8>,
    rows: usize,
    /// Bytes that all rows are as text.
    text: usize,
    /// Where the row that is being written begins, and where its gap is.
    begun: usize,
    gap: usize,
}

/// A row of a window, to be sorted.
pub(super) struct Row<'a> {
    pub(super) before: &'a [u8],
    pub(super) shared: Option<TextId>,
    pub(super) behind: &'a [u8],
}

impl Window {
    /// Begins a row; its own text is what is appended to the buffer from now on.
    #[inline]
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.begun = self.bytes.len();
        self.gap = usize::MAX;
        self.bytes.extend_from_slice(&[0; ROW_HEAD]);
        &mut self.bytes
    }

    /// The buffer of the row that was begun.
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Says that the shared text stands here.
    #[inline]
    pub(super) fn gap(&mut self) {
        self.gap = self.bytes.len();
    }

    /// Ends the row: its text is whole, its line end included. `shared_bytes` is the length of the shared text.
    #[inline]
    pub(super) fn end(&mut self, key: u128, shared: Option<TextId>, shared_bytes: usize) {
        let own = self.begun + ROW_HEAD;
        let before = self.gap.min(self.bytes.len()) - own;
        let behind = self.bytes.len() - own - before;
        if let Some(head) = self.bytes.get_mut(self.begun..own) {
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

    /// Bytes that wait in memory.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Moves the rows in memory to the end of a file that no other window uses: its own, or else a new one.
    pub(super) fn park(&mut self, new_file: impl FnOnce() -> PathBuf) -> Result<usize, WriteError> {
        let path = self.parked.as_ref().map_or_else(new_file, |(path, _)| path.clone());
        let name = path.display().to_string();
        let wrong = |source| WriteError::Io { path: name.clone(), doing: "parking rows", source };
        plant::write_point();
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(wrong)?;
        file.write_all(&self.bytes).map_err(wrong)?;
        let there = self.parked.as_ref().map_or(0, |(_, bytes)| *bytes);
        self.parked = Some((path, there + self.bytes.len()));
        let freed = self.waiting_bytes();
        self.bytes = Vec::new();
        Ok(freed)
    }

    /// Brings parked rows back.
    pub(super) fn unpark(&mut self) -> Result<(), WriteError> {
        let Some((path, bytes)) = self.parked.take() else { return Ok(()) };
        let wrong = |source| WriteError::Io {
            path: path.display().to_string(),
            doing: "fetching parked rows",
            source,
        };
        let mut rows = std::fs::read(&path).map_err(wrong)?;
        if rows.len() != bytes {
            return Err(wrong(std::io::ErrorKind::UnexpectedEof.into()));
        }
        rows.append(&mut self.bytes);
        self.bytes = rows;
        std::fs::remove_file(&path).map_err(wrong)
    }

    /// Each row's sort key and where it stands, in the order in which they came.
    pub(super) fn keys(&self) -> Vec<(u128, usize)> {
        let mut keys = Vec::with_capacity(self.rows);
        let mut at = 0;
        while let Some((key, _, before, behind)) = self.head(at) {
            keys.push((key, at));
            at += ROW_HEAD + before + behind;
        }
        keys
    }

    /// A look at a row's beginning, so that it comes nearer.
    #[inline]
    pub(super) fn touch(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0) ^ self.bytes.get(at + 192).copied().unwrap_or(0)
    }

    /// The row that stands there.
    #[inline]
    pub(super) fn row(&self, at: usize) -> Option<Row<'_>> {
        let (_, shared, before, behind) = self.head(at)?;
        let own = self.bytes.get(at + ROW_HEAD..at + ROW_HEAD + before + behind)?;
        let (before, behind) = own.split_at_checked(before)?;
        Some(Row { before, shared, behind })
    }

    #[inline]
    fn head(&self, at: usize) -> Option<(u128, Option<TextId>, usize, usize)> {
        let (key, rest) = self.bytes.get(at..at + ROW_HEAD)?.split_first_chunk::<16>()?;
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
