use super::WriteError;
use super::pack::{Order, RowSpan, Window};
use crate::plant::{Plant, is_planted, strikes};
use apportion_core::columns::{ColumnId, Contract, known};
use apportion_core::csv::push_cell;
use apportion_core::line_item::{Batch, Cells};
use apportion_core::mask::{Mask, Rule};
use apportion_core::proof::CELL_END;
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_128;

/// What decides the bytes of an export, besides its rows.
#[derive(Debug)]
pub struct LaneSettings {
    /// Which columns.
    pub contract: Contract,
    /// In which order its rows stand.
    pub order: Order,
    /// What its customer may not read.
    pub mask: Mask,
}

/// The rows of one export on their way into a window.
pub struct ExportLane {
    settings: LaneSettings,
    columns: Vec<(ColumnId, Rule)>,
    /// For each of the three sort keys, its place in the contract.
    keys: [Option<usize>; 3],
    window: Window,
    /// The cells of the present row, as they are hashed.
    hashed: Vec<u8>,
    masked: Vec<u8>,
}

impl ExportLane {
    /// A lane without rows.
    pub fn new(settings: LaneSettings) -> Self {
        let contract = settings.contract.columns();
        let columns = contract.iter().map(|id| (*id, Rule::of(known().get(*id)))).collect();
        let well_known = known().well_known();
        let keys = [well_known.resource_id, well_known.sku, well_known.usage_start]
            .map(|key| contract.iter().position(|id| *id == key));
        Self { settings, columns, keys, window: Window::default(), hashed: Vec::new(), masked: Vec::new() }
    }

    /// The order of its rows.
    pub fn order(&self) -> Order {
        self.settings.order
    }

    /// The header line of its files.
    pub fn header(contract: Contract) -> Vec<u8> {
        let names: Vec<&str> = contract.columns().iter().map(|id| known().get(*id).name.as_str()).collect();
        let mut line = names.join(",").into_bytes();
        line.push(b'\n');
        line
    }

    /// Encodes rows of a batch. `full` gets each window that is full with them.
    ///
    /// # Errors
    /// What `full` returns.
    pub fn append<E>(
        &mut self,
        batch: &Batch,
        rows: &[u32],
        full: &mut dyn FnMut(Window, Order) -> Result<(), E>,
    ) -> Result<(), E> {
        // Columns that a batch hasn't are commas and nothing else.
        let cells: Vec<(usize, &Cells, Rule)> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (id, rule))| (place, batch.column(*id), *rule))
            .filter(|(_, cells, _)| !cells.is_blank())
            .collect();
        for row in rows {
            if strikes(Plant::WriteDrop) {
                continue;
            }
            self.append_row(batch, *row as usize, &cells);
            if self.window.is_full() {
                full(std::mem::take(&mut self.window), self.settings.order)?;
            }
        }
        Ok(())
    }

    fn append_row(&mut self, batch: &Batch, row: usize, cells: &[(usize, &Cells, Rule)]) {
        let payer = batch.column(known().well_known().payer_account).get(row);
        let parked = self.window.parked_bytes();
        let text = &mut self.window.text;
        let hashed = &mut self.hashed;
        hashed.clear();
        let start = (parked + text.len()) as u32;
        let mut key = [start..start, start..start, start..start];
        let mut column = 0;
        for (place, cells, rule) in cells {
            let cell = cells.get(row);
            if cell.is_empty() {
                continue;
            }
            for _ in column..*place {
                text.push(b',');
                hashed.push(CELL_END);
            }
            column = *place;
            let rule = if is_planted(Plant::MaskSkip) { Rule::Keep } else { *rule };
            let cell = self.settings.mask.apply(rule, cell, payer, &mut self.masked);
            hashed.extend_from_slice(cell);
            let from = (parked + text.len()) as u32;
            if strikes(Plant::WriteCell) {
                push_cell(text, b"planted");
            } else {
                push_cell(text, cell);
            }
            for (wanted, range) in self.keys.iter().zip(&mut key) {
                if *wanted == Some(*place) {
                    *range = from..(parked + text.len()) as u32;
                }
            }
        }
        for _ in column + 1..self.columns.len() {
            text.push(b',');
            hashed.push(CELL_END);
        }
        hashed.push(CELL_END);
        text.push(b'\n');
        self.window.rows_hash = self.window.rows_hash.wrapping_add(xxh3_128(hashed));
        self.window.rows.push(RowSpan { row: start..(parked + text.len()) as u32, key });
    }

    /// Bytes of text that wait in memory.
    pub fn waiting_bytes(&self) -> usize {
        self.window.text.len()
    }

    /// Moves the text that waits in memory to a file of this window's own; returns how much that was.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn park(&mut self, new_file: impl FnOnce() -> PathBuf) -> Result<usize, WriteError> {
        self.window.park(new_file)
    }

    /// The last window, if it holds anything.
    pub fn finish(&mut self) -> Option<Window> {
        let window = std::mem::take(&mut self.window);
        (!window.is_empty()).then_some(window)
    }
}

/// The line items that are nobody's, with all the source's columns.
pub struct UnassignedLane {
    width: usize,
    window: Window,
    hashed: Vec<u8>,
}

impl UnassignedLane {
    /// A lane for a source with so many columns.
    pub fn new(width: usize) -> Self {
        Self { width, window: Window::default(), hashed: Vec::new() }
    }

    /// The header line of its files.
    pub fn header(source_columns: &[String]) -> Vec<u8> {
        let mut line = Vec::new();
        for name in source_columns {
            push_cell(&mut line, name.as_bytes());
            line.push(b',');
        }
        line.extend_from_slice(b"apportion_reason,apportion_owner\n");
        line
    }

    /// Encodes one row; a window that is full with it comes back.
    pub fn append(&mut self, batch: &Batch, row: usize, reason: &str, owner: &str) -> Option<Window> {
        let parked = self.window.parked_bytes();
        let text = &mut self.window.text;
        let start = (parked + text.len()) as u32;
        self.hashed.clear();
        let cells =
            (0..self.width).map(|place| batch.source.get(place).map_or(&[][..], |cells| cells.get(row)));
        for (place, cell) in cells.chain([reason.as_bytes(), owner.as_bytes()]).enumerate() {
            if place > 0 {
                text.push(b',');
            }
            push_cell(text, cell);
            self.hashed.extend_from_slice(cell);
            self.hashed.push(CELL_END);
        }
        text.push(b'\n');
        self.window.rows_hash = self.window.rows_hash.wrapping_add(xxh3_128(&self.hashed));
        let end = (parked + text.len()) as u32;
        self.window.rows.push(RowSpan { row: start..end, key: [end..end, end..end, end..end] });
        if self.window.is_full() { Some(std::mem::take(&mut self.window)) } else { None }
    }

    /// The last window, if it holds anything.
    pub fn finish(&mut self) -> Option<Window> {
        let window = std::mem::take(&mut self.window);
        (!window.is_empty()).then_some(window)
    }
}
