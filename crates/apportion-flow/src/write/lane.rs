use super::WriteError;
use super::pack::{Packing, WINDOW_ROWS, Window};
use super::text_rows::{TextRows, sort_keys};
use crate::plant::{Plant, is_planted, strikes};
use apportion_core::columns::{ColumnId, ExportColumn, HeaderStyle, known};
use apportion_core::csv::push_cell;
use apportion_core::line_item::{Batch, Cells};
use apportion_core::mask::{Mask, Rule};
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
    columns: Vec<(ColumnId, Rule)>,
    rows: TextRows,
    masked: Vec<u8>,
}

impl ExportLane {
    /// A lane without rows.
    pub fn new(columns: &[ColumnId], mask: Mask, packing: Packing) -> Self {
        let keys = sort_keys(|key| columns.iter().position(|id| *id == key));
        Self {
            packing,
            mask,
            columns: columns.iter().map(|id| (*id, Rule::of(known().get(*id)))).collect(),
            rows: TextRows::new(columns.len(), keys),
            masked: Vec::new(),
        }
    }

    /// Encodes rows of a batch. `full` gets each window that is full with them.
    ///
    /// # Errors
    /// What `full` returns.
    pub fn append<E>(
        &mut self,
        batch: &Batch,
        rows: &[u32],
        full: &mut dyn FnMut(Window, Packing) -> Result<(), E>,
    ) -> Result<(), E> {
        // Columns that a batch hasn't are commas and nothing else.
        let cells: Vec<(usize, &Cells, Rule)> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (id, rule))| (place, batch.column(*id), *rule))
            .filter(|(_, cells, _)| !cells.is_blank())
            .collect();
        let payers = batch.column(known().well_known().payer_account);
        for row in rows {
            if strikes(Plant::WriteDrop) {
                continue;
            }
            let row = *row as usize;
            self.rows.begin();
            for (place, cells, rule) in &cells {
                let cell = cells.get(row);
                if cell.is_empty() {
                    continue;
                }
                let rule = if is_planted(Plant::MaskSkip) { Rule::Keep } else { *rule };
                let cell = self.mask.apply(rule, cell, payers.get(row), &mut self.masked);
                self.rows.cell(*place, cell);
            }
            self.rows.end();
            if let Some(window) = self.rows.take_full(self.packing.window_rows()) {
                full(window, self.packing.clone())?;
            }
        }
        Ok(())
    }

    /// The export's columns.
    pub fn columns(&self) -> Vec<ExportColumn> {
        self.columns.iter().map(|(id, _)| ExportColumn::known(*id)).collect()
    }

    /// Bytes of text that wait in memory.
    pub fn waiting_bytes(&self) -> usize {
        self.rows.window.text.len()
    }

    /// Moves the text that waits in memory to a file of this window's own; returns how much that was.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn park(&mut self, new_file: impl FnOnce() -> PathBuf) -> Result<usize, WriteError> {
        self.rows.window.park(new_file)
    }

    /// The last window, if it holds anything.
    pub fn finish(&mut self) -> Option<(Window, Packing)> {
        Some((self.rows.take_rest()?, self.packing.clone()))
    }
}

/// The line items that are nobody's, with all the source's columns.
pub struct UnassignedLane {
    width: usize,
    rows: TextRows,
}

impl UnassignedLane {
    /// A lane for a source with so many columns.
    pub fn new(width: usize) -> Self {
        Self { width, rows: TextRows::new(width + 2, [None; 3]) }
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
        self.rows.take_full(WINDOW_ROWS)
    }

    /// The last window, if it holds anything.
    pub fn finish(&mut self) -> Option<Window> {
        self.rows.take_rest()
    }
}
