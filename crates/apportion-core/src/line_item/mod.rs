//! Line items in memory: batches of cells, as every stage passes them on.
//!
//! What comes in: fields of CSV records and decoded Parquet columns. What goes out: each cell's bytes by column
//! and row, without an allocation per row. What it must never do: change a cell, or know where it came from.
//!
//! Cells of a CSV stay where they were read (a block of records and the bounds of its fields); cells of a
//! Parquet file stay coded by their dictionary. A line item's columns are the known ones, whatever the file
//! called them; the source's own columns are kept beside them for the unassigned line items.

mod remembered;

pub use remembered::{Reading, Remembered};

use crate::columns::{ColumnId, known};
use std::sync::Arc;

/// Texts one after another.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    /// No text yet, and room for so many of so many bytes altogether.
    pub fn with_capacity(texts: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(texts) }
    }

    /// Texts that lie one after another in `bytes`, with where each ends. A text whose end isn't there is blank.
    pub fn from_ends(bytes: Vec<u8>, ends: Vec<u32>) -> Self {
        Self { bytes, ends }
    }

    /// Adds a text.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(text));
    }

    /// Adds a text that `write` appends to the buffer.
    #[inline]
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        // A batch is bounded far below 4 GiB by the limits of its reader.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// The text at a place; blank beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).map_or(0, |end| *end as usize) };
        let end = self.ends.get(index).map_or(start, |end| *end as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// All texts' bytes, one after another.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many texts there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Records of a CSV, unquoted in place, with the bounds of every field, record after record.
#[derive(Debug, Default)]
pub struct Block {
    /// The records' bytes.
    pub bytes: Vec<u8>,
    /// Start and end of each field.
    pub bounds: Vec<(u32, u32)>,
    /// Fields in a record.
    pub width: usize,
}

impl Block {
    /// A field of a record; blank where there is none.
    pub fn get(&self, row: usize, field: usize) -> &[u8] {
        self.bounds
            .get(row * self.width + field)
            .and_then(|(start, end)| self.bytes.get(*start as usize..*end as usize))
            .unwrap_or_default()
    }

    /// How many records there are.
    pub fn rows(&self) -> usize {
        self.bounds.len().checked_div(self.width).unwrap_or(0)
    }
}

/// One column of a batch.
#[derive(Debug, Clone, Default)]
pub enum Cells {
    /// Every cell is blank.
    #[default]
    Blank,
    /// A field of each record of a block.
    Field {
        /// The records.
        block: Arc<Block>,
        /// Which field.
        field: u32,
    },
    /// A text per row.
    Plain(Arc<Texts>),
    /// A code per row, and the text of each code. A code without a text is blank.
    Coded {
        /// One per row.
        codes: Arc<[u32]>,
        /// One per code.
        texts: Arc<Texts>,
    },
}

impl Cells {
    /// The cell of a row.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        match self {
            Self::Blank => &[],
            Self::Field { block, field } => block.get(row, *field as usize),
            Self::Plain(texts) => texts.get(row),
            Self::Coded { codes, texts } => codes.get(row).map_or(&[], |code| texts.get(*code as usize)),
        }
    }

    /// The cells of some rows only.
    pub fn select(&self, rows: &[u32]) -> Self {
        match self {
            Self::Blank => Self::Blank,
            Self::Coded { codes, texts } => Self::Coded {
                codes: rows.iter().map(|row| codes.get(*row as usize).copied().unwrap_or(u32::MAX)).collect(),
                texts: Arc::clone(texts),
            },
            Self::Field { .. } | Self::Plain(_) => {
                let mut texts = Texts::default();
                rows.iter().for_each(|row| texts.push(self.get(*row as usize)));
                Self::Plain(Arc::new(texts))
            }
        }
    }

    /// Whether every cell is known to be blank.
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Blank)
    }

    /// Whether a quick look shows that every cell is blank; a column of which it says no may be, too.
    pub fn holds_nothing(&self) -> bool {
        match self {
            Self::Blank => true,
            Self::Field { .. } => false,
            Self::Plain(texts) | Self::Coded { texts, .. } => texts.bytes.is_empty(),
        }
    }
}

/// A column of a file that isn't a known one, or a key of one of CUR 2.0's maps that isn't.
#[derive(Debug, Clone)]
pub struct OtherColumn {
    /// The snake name: what [`crate::columns::snake_name`] makes of the header. Never that of a known column;
    /// several columns of a batch may share it, then each row's first cell that isn't blank counts.
    pub name: Arc<str>,
    /// The slash name: as the source spells it, or category, `/` and the rest where it is spelt in snake or is a key.
    pub header: Arc<str>,
    /// Its cells.
    pub cells: Cells,
}

/// Some line items of one object, in its order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The object they are from, as errors name it.
    pub object: Arc<str>,
    /// The place of the first in its object, counted from 1 without the header.
    pub first_row: u64,
    /// How many.
    pub rows: usize,
    /// Where each is behind the first, where they aren't consecutive: a loose file is cut by month.
    pub offsets: Option<Arc<[u32]>>,
    /// One entry per known column.
    pub known: Vec<Cells>,
    /// The source's own columns, in the order of the delivery's column list; empty where nobody asked for them.
    pub source: Vec<Cells>,
    /// Columns and map keys beyond the known ones that hold anything here: the file's columns in its order, then keys
    /// by map and in byte order. Empty where nobody asked for them.
    pub other: Vec<OtherColumn>,
}

impl Batch {
    /// A known column's cells.
    #[inline]
    pub fn column(&self, id: ColumnId) -> &Cells {
        &self.known[id.index()]
    }

    /// The place of a row in its object, counted from 1 without the header.
    pub fn row_in_object(&self, row: usize) -> u64 {
        row_in_object(self.first_row, self.offsets.as_deref(), row)
    }

    /// Where a cell is, for an error.
    pub fn place(&self, row: usize, column: ColumnId) -> Place {
        Place {
            object: Arc::clone(&self.object),
            row: self.row_in_object(row),
            column: known().get(column).name.clone(),
        }
    }
}

/// The place in its object of a row of a batch that begins at `first_row`.
pub fn row_in_object(first_row: u64, offsets: Option<&[u32]>, row: usize) -> u64 {
    let offset = offsets.and_then(|offsets| offsets.get(row)).map_or(row as u64, |offset| u64::from(*offset));
    first_row + offset
}

/// A cell's place: which object, which row, which column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The object's key.
    pub object: Arc<str>,
    /// The row, counted from 1 without the header.
    pub row: u64,
    /// The snake name.
    pub column: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, row {}, column {}", self.object, self.row, self.column)
    }
}

/// At most 80 characters of a cell, for an error: lossy, escaped, and cut.
pub fn excerpt(cell: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(cell.get(..cell.len().min(320)).unwrap_or_default())
        .chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect();
    text
}
