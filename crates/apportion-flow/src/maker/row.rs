//! One line item on its way to a writer.
//!
//! What comes in: cells by column. What goes out: the same cells, and a stamp that tells a writer whether anything
//! but the cells that vary from slot to slot has changed since it last looked. What it must never do: allocate per
//! line item.

use super::columns::{COLUMNS, Column};

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing.
    Blank,
    /// A stretch of the row's text.
    Text(u32, u32),
    /// Ten-billionths.
    Number(i64),
    /// Seconds since 1970.
    Moment(i64),
    /// Start and end, in seconds since 1970.
    Span(i64, i64),
}

/// A line item.
#[derive(Debug)]
pub(super) struct Row {
    cells: Vec<Cell>,
    text: String,
    stamp: u64,
}

impl Row {
    /// A blank one.
    pub(super) fn new() -> Self {
        Self { cells: vec![Cell::Blank; COLUMNS.len()], text: String::with_capacity(4096), stamp: 0 }
    }

    /// Blanks every cell.
    pub(super) fn clear(&mut self) {
        self.cells.fill(Cell::Blank);
        self.text.clear();
        self.stamp += 1;
    }

    /// Sets a text; a blank one blanks the cell.
    pub(super) fn set(&mut self, column: Column, text: &str) {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        let end = self.text.len() as u32;
        self.put(column, if start == end { Cell::Blank } else { Cell::Text(start, end) });
    }

    /// Sets a number.
    pub(super) fn number(&mut self, column: Column, value: i64) {
        self.put(column, Cell::Number(value));
    }

    /// Sets a moment.
    pub(super) fn moment(&mut self, column: Column, seconds: i64) {
        self.put(column, Cell::Moment(seconds));
    }

    /// Sets the usage dates and the time interval.
    pub(super) fn span(&mut self, start: i64, end: i64) {
        self.put(Column::TimeInterval, Cell::Span(start, end));
        self.put(Column::UsageStart, Cell::Moment(start));
        self.put(Column::UsageEnd, Cell::Moment(end));
    }

    /// Blanks a cell.
    pub(super) fn blank(&mut self, column: Column) {
        self.put(column, Cell::Blank);
    }

    fn put(&mut self, column: Column, cell: Cell) {
        self.cells[column.number()] = cell;
        if !column.varies() {
            self.stamp += 1;
        }
    }

    /// The cell of a column.
    pub(super) fn cell(&self, column: Column) -> Cell {
        self.cells[column.number()]
    }

    /// A stretch of the row's text.
    pub(super) fn text(&self, start: u32, end: u32) -> &str {
        &self.text[start as usize..end as usize]
    }

    /// Changes whenever a cell that doesn't vary from slot to slot has changed.
    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }
}
