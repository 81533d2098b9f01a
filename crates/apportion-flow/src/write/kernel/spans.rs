use super::{Column, Middle, Shared};
use apportion_core::line_item::{Block, Cells, Texts};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Rows of a CSV whose shared columns are the same bytes of the file, found without taking them apart: from the first of
/// these fields to the last, whatever other columns stand between them.
///
/// Without a quote in them such bytes have one reading: their commas are the fields' ends. With one they are left alone.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Which field of a record is which column.
    layout: Vec<(usize, u32)>,
    /// By the hash of the bytes: which of `known` they are, and the text that such rows share.
    by_hash: HashMap<u64, (u32, Option<Shared>)>,
    known: Texts,
    buffer: Vec<u8>,
}

/// Bytes of fields between the shared ones that belong to other columns make spans differ that needn't: at most so many
/// fields for each shared one.
const MOST_FIELDS_FOR_ONE: usize = 3;

impl Spans {
    /// The shared text of each row; None where the columns don't come as fields of the same records.
    pub(super) fn texts(
        &mut self,
        middle: &mut Middle<'_, '_>,
        rows: usize,
        limit: usize,
    ) -> Option<Vec<Option<Shared>>> {
        let columns = middle.prepared.middle_columns();
        let (block, fields) = fields_of(columns)?;
        let layout = || columns.iter().filter_map(|column| Some((column.place, field_of(column)?.1)));
        if !self.layout.iter().copied().eq(layout()) {
            self.layout = layout().collect();
            self.by_hash.clear();
            self.known = Texts::default();
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let text = |row| match span_of(block, row, &fields) {
            Some(span) => self.text_of(span, limit, || middle.keep(row, &mut buffer)),
            None => middle.keep(row, &mut buffer),
        };
        let texts = (0..rows).map(text).collect();
        self.buffer = buffer;
        Some(texts)
    }

    fn text_of(
        &mut self,
        span: &[u8],
        limit: usize,
        make: impl FnOnce() -> Option<Shared>,
    ) -> Option<Shared> {
        let hash = xxh3_64(span);
        match self.by_hash.get(&hash) {
            Some((known, text)) if self.known.get(*known as usize) == span => *text,
            Some(_) => make(),
            None => {
                let text = make();
                if self.known.bytes().len() + span.len() <= limit {
                    self.by_hash.insert(hash, (self.known.len() as u32, text));
                    self.known.push(span);
                }
                text
            }
        }
    }
}

fn field_of<'a>(column: &Column<'a>) -> Option<(&'a Arc<Block>, u32)> {
    match column.cells {
        Cells::Field { block, field } => Some((block, *field)),
        _ => None,
    }
}

/// The block and the fields, if all columns are fields of one block and stand together in it.
fn fields_of<'a>(columns: &[Column<'a>]) -> Option<(&'a Block, Range<usize>)> {
    let (block, _) = field_of(columns.first()?)?;
    let (mut first, mut last) = (usize::MAX, 0);
    for column in columns {
        let (of, field) = field_of(column)?;
        if !Arc::ptr_eq(of, block) {
            return None;
        }
        (first, last) = (first.min(field as usize), last.max(field as usize));
    }
    let fields = first..last + 1;
    (fields.len() <= columns.len() * MOST_FIELDS_FOR_ONE).then_some((block, fields))
}

/// A row's bytes from the first of the fields to the last; None where a quote stands in them or before them.
fn span_of<'a>(block: &'a Block, row: usize, fields: &Range<usize>) -> Option<&'a [u8]> {
    let bounds = block.bounds.get(row * block.width..)?.get(fields.clone())?;
    let (start, end) = (bounds.first()?.0 as usize, bounds.last()?.1 as usize);
    let span = block.bytes.get(start..end)?;
    let quoted = start.checked_sub(1).and_then(|before| block.bytes.get(before)) == Some(&b'"');
    (!quoted && memchr::memchr(b'"', span).is_none()).then_some(span)
}
