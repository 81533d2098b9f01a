use super::pack::{RowSpan, Window};
use crate::plant::{Plant, strikes};
use apportion_core::columns::known;
use apportion_core::csv::push_cell;
use apportion_core::proof::row_hash;

/// The places, among an export's columns, of the three columns that rows are sorted by.
pub(super) fn sort_keys(
    find: impl Fn(apportion_core::columns::ColumnId) -> Option<usize>,
) -> [Option<usize>; 3] {
    let columns = known().well_known();
    [columns.resource_id, columns.sku, columns.usage_start].map(find)
}

/// Writes rows as CSV text into a window, cell by cell, and hashes them as they are written.
#[derive(Debug, Default)]
pub(super) struct TextRows {
    pub(super) window: Window,
    width: usize,
    keys: [Option<usize>; 3],
    /// Where the present row and its key begin and end, and the place of its last cell.
    start: u32,
    key: [std::ops::Range<u32>; 3],
    column: usize,
}

impl TextRows {
    pub(super) fn new(width: usize, keys: [Option<usize>; 3]) -> Self {
        Self { width, keys, ..Self::default() }
    }

    fn position(&self) -> u32 {
        (self.window.parked_bytes() + self.window.text.len()) as u32
    }

    pub(super) fn begin(&mut self) {
        self.start = self.position();
        self.key = [(); 3].map(|()| self.start..self.start);
        self.column = 0;
    }

    /// A cell that isn't blank; places must come in ascending order.
    #[inline]
    pub(super) fn cell(&mut self, place: usize, cell: &[u8]) {
        self.blanks_to(place);
        let from = self.position();
        push_cell(&mut self.window.text, cell);
        if self.keys.contains(&Some(place)) {
            let to = self.position();
            for (wanted, range) in self.keys.iter().zip(&mut self.key) {
                if *wanted == Some(place) {
                    *range = from..to;
                }
            }
        }
    }

    fn blanks_to(&mut self, place: usize) {
        for _ in self.column..place {
            self.window.text.push(b',');
        }
        self.column = place.max(self.column);
    }

    pub(super) fn end(&mut self) {
        self.blanks_to(self.width.saturating_sub(1));
        let start = self.start as usize - self.window.parked_bytes();
        let hash = row_hash(self.window.text.get(start..).unwrap_or_default());
        self.window.rows_hash = self.window.rows_hash.wrapping_add(hash);
        if strikes(Plant::WriteCell) {
            push_cell(&mut self.window.text, b"planted");
        }
        self.window.text.push(b'\n');
        let row = self.start..self.position();
        self.window.rows.push(RowSpan { row, key: self.key.clone() });
    }

    /// The window, if it is full with so many rows.
    pub(super) fn take_full(&mut self, rows: usize) -> Option<Window> {
        self.window.is_full(rows).then(|| std::mem::take(&mut self.window))
    }

    /// The last window, if it holds anything.
    pub(super) fn take_rest(&mut self) -> Option<Window> {
        let window = std::mem::take(&mut self.window);
        (!window.is_empty()).then_some(window)
    }
}
