use super::WriteError;
use super::buffers::Buffers;
use super::kernel::{Prepared, Scratch};
use super::pack::Packing;
use super::text_rows::TextRows;
use super::window::Window;
use crate::plant::{Plant, strikes};
use apportion_core::columns::{ColumnId, ExportColumn, HeaderStyle};
use apportion_core::csv::push_cell;
use apportion_core::line_item::Batch;
use apportion_core::mask::Mask;
use std::path::PathBuf;

/// The header line of csv.gz files.
pub fn header_line<'a>(titles: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, title) in titles.enumerate() {
        if place > 0 {
            line.push(b',');
        }
        push_cell(&mut line, title.as_bytes());
    }
    line.push(b'\n');
    line
}

/// The header line of an export.
pub fn export_header(columns: &[ExportColumn], style: HeaderStyle) -> Vec<u8> {
    header_line(columns.iter().map(|column| column.title(style)))
}

/// The rows of an export whose columns are fixed, on their way into a window.
pub struct ExportLane {
    packing: Packing,
    mask: Mask,
    columns: Vec<ColumnId>,
    window: Window,
    scratch: Scratch,
}

impl ExportLane {
    /// A lane without rows.
    pub fn new(columns: &[ColumnId], mask: Mask, packing: Packing, buffers: &Buffers) -> Self {
        let columns = columns.to_vec();
        Self { packing, mask, columns, window: Window::new(buffers), scratch: Scratch::default() }
    }

    /// Writes a row of a batch; a window that is full with it comes back.
    #[inline]
    pub fn append(&mut self, batch: &Prepared<'_>, row: usize) -> Option<(Window, Packing)> {
        if strikes(Plant::WriteDrop) {
            return None;
        }
        batch.write(row, &self.mask, &mut self.scratch, &mut self.window);
        let full = self.window.is_full();
        full.then(|| (self.window.take(), self.packing.clone()))
    }

    /// The export's columns.
    pub fn columns(&self) -> Vec<ExportColumn> {
        self.columns.iter().map(|id| ExportColumn::known(*id)).collect()
    }

    /// Bytes of memory that rows wait in.
    pub fn waiting_bytes(&self) -> usize {
        self.window.waiting_bytes()
    }

    /// Moves the rows that wait in memory to a file of this window's own.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn park(&mut self, new_file: impl FnOnce() -> PathBuf) -> Result<(), WriteError> {
        self.window.park(new_file)
    }

    /// The last window, if it holds anything.
    pub fn finish(&mut self) -> Option<(Window, Packing)> {
        let window = self.window.take();
        (!window.is_empty()).then(|| (window, self.packing.clone()))
    }
}

/// The line items that are nobody's, with all the source's columns.
pub struct UnassignedLane {
    width: usize,
    rows: TextRows,
}

impl UnassignedLane {
    /// A lane for a source with so many columns.
    pub fn new(width: usize, buffers: &Buffers) -> Self {
        Self { width, rows: TextRows::new(width + 2, [None; 3], buffers) }
    }

    /// Encodes one row; a window that is full with it comes back.
    pub fn append(&mut self, batch: &Batch, row: usize, reason: &str, owner: &str) -> Option<Window> {
        self.rows.begin();
        let cells =
            (0..self.width).map(|place| batch.source.get(place).map_or(&[][..], |cells| cells.get(row)));
        for (place, cell) in cells.chain([reason.as_bytes(), owner.as_bytes()]).enumerate() {
            if !cell.is_empty() {
                self.rows.cell(place, cell);
            }
        }
        self.rows.end();
        self.rows.take_full()
    }

    /// The last window, if it holds anything.
    pub fn finish(&mut self) -> Option<Window> {
        self.rows.take_rest()
    }
}
