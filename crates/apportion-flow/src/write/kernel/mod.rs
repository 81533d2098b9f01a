//! The kernel: rows of a batch in, their text out, for as many exports as ask.
//!
//! What comes in: a batch, the columns that all these exports have, and for each export its rows and its mask. What
//! goes out: rows in the export's window. What it must never do: write a byte that the plain way wouldn't (each cell
//! masked, quoted where it must be, separated by commas), or keep more in memory than it was allowed.
//!
//! Where the time is saved. Most cells come coded by a dictionary: each distinct text is quoted, given its comma and
//! looked through for account ids once, not once per row. Two thirds of a row's columns describe the product and follow
//! from its SKU: their text is put together once per distinct row of them, kept once, and a row only names it. Cells in
//! which an account id stands, and only those, go through the export's own mask.

mod dictionary;
mod groups;
mod shared;

#[cfg(test)]
mod tests;

pub use shared::SharedTexts;
pub(crate) use shared::TextId;

use super::order;
use super::window::Window;
use crate::plant::{Plant, is_planted};
use apportion_core::columns::{ColumnId, known};
use apportion_core::csv::push_cell;
use apportion_core::line_item::{Batch, Cells};
use apportion_core::mask::{Mask, Rule};
use dictionary::Encoded;
use groups::Groups;
use shared::Keeper;
use std::ops::Range;
use std::sync::Arc;

const COMMAS: [u8; 256] = [b','; 256];

/// Which part of the sort key a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyPart {
    Sku,
    Resource,
    UsageStart,
}

/// Writes rows of exports that have the same columns.
#[derive(Debug)]
pub struct Kernel {
    columns: Vec<(ColumnId, Rule, Option<KeyPart>)>,
    /// The places of the columns whose text rows share; never the last one.
    shared: Range<usize>,
    /// Knows where account ids can stand; changes nothing.
    finder: Mask,
    encoded: Vec<Option<Arc<Encoded>>>,
    groups: Groups,
    keeper: Keeper,
}

/// A column of a batch that has cells.
struct Column<'a> {
    place: usize,
    rule: Rule,
    key: Option<KeyPart>,
    cells: &'a Cells,
    coded: Option<Coded<'a>>,
}

struct Coded<'a> {
    codes: &'a [u32],
    encoded: Arc<Encoded>,
}

/// A text that a row shares, and its length.
#[derive(Debug, Clone, Copy)]
struct Shared {
    id: TextId,
    bytes: u32,
}

/// A batch, made ready for writing rows of it.
pub struct Prepared<'a> {
    columns: Vec<Column<'a>>,
    /// Which of them rows may share the text of.
    middle: Range<usize>,
    places: Range<usize>,
    width: usize,
    /// For each row, the text that it shares.
    texts: Vec<Option<Shared>>,
    payers: &'a Cells,
}

/// Buffers that are used again for every row of an export.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    masked: Vec<u8>,
    key: [u64; 3],
}

impl Kernel {
    /// A kernel for exports with these columns, that keeps at most so many bytes of shared text.
    pub fn new(columns: &[ColumnId], limit: usize) -> Self {
        let well_known = known().well_known();
        let part = |id: ColumnId| match id {
            id if id == well_known.sku => Some(KeyPart::Sku),
            id if id == well_known.resource_id => Some(KeyPart::Resource),
            id if id == well_known.usage_start => Some(KeyPart::UsageStart),
            _ => None,
        };
        Self {
            columns: columns.iter().map(|id| (*id, Rule::of(known().get(*id)), part(*id))).collect(),
            shared: product_columns(columns),
            finder: Mask::faithful(),
            encoded: vec![None; columns.len()],
            groups: Groups::default(),
            keeper: Keeper::new(limit),
        }
    }

    /// Looks a batch through: what can be done once per distinct text is done here.
    pub fn prepare<'a>(&mut self, batch: &'a Batch) -> Prepared<'a> {
        let columns: Vec<Column<'a>> = self
            .columns
            .iter()
            .zip(&mut self.encoded)
            .enumerate()
            .filter_map(|(place, ((id, rule, key), remembered))| {
                let cells = batch.column(*id);
                let coded = match cells {
                    Cells::Blank => return None,
                    Cells::Coded { codes, texts } => {
                        let same = remembered.as_ref().filter(|encoded| encoded.is_of(texts, *rule));
                        let encoded = match same {
                            Some(encoded) => Arc::clone(encoded),
                            None => Arc::new(Encoded::new(texts, *rule, &self.finder)),
                        };
                        *remembered = Some(Arc::clone(&encoded));
                        Some(Coded { codes, encoded })
                    }
                    _ => None,
                };
                Some(Column { place, rule: *rule, key: *key, cells, coded })
            })
            .collect();
        let position = |place: usize| columns.partition_point(|column| column.place < place);
        let middle = position(self.shared.start)..position(self.shared.end);
        let mut prepared = Prepared {
            columns,
            middle,
            places: self.shared.clone(),
            width: self.columns.len(),
            texts: Vec::new(),
            payers: batch.column(known().well_known().payer_account),
        };
        if !self.shared.is_empty() {
            let mut middle = Middle { prepared: &prepared, finder: &self.finder, keeper: &mut self.keeper };
            let texts = self.groups.texts(&mut middle, batch.rows);
            prepared.texts = texts;
        }
        prepared
    }

    /// The shared texts so far, which windows with rows of all batches up to now are packed with.
    pub fn shared_texts(&mut self) -> SharedTexts {
        self.keeper.seal()
    }
}

/// The longest run of columns that describe the product, without the last column of all.
fn product_columns(columns: &[ColumnId]) -> Range<usize> {
    let is_product =
        |place: &usize| columns.get(*place).is_some_and(|id| known().get(*id).name.starts_with("product_"));
    let (mut longest, mut start) = (0..0, 0);
    let places = columns.len().saturating_sub(1);
    while start < places {
        let end = (start..places).find(|place| !is_product(place)).unwrap_or(places);
        if end - start > longest.len() {
            longest = start..end;
        }
        start = end + 1;
    }
    longest
}

/// The columns whose text rows share, as the groups need them.
struct Middle<'k, 'a> {
    prepared: &'k Prepared<'a>,
    finder: &'k Mask,
    keeper: &'k mut Keeper,
}

impl<'a> Middle<'_, 'a> {
    fn columns(&self) -> &[Column<'a>] {
        self.prepared.columns.get(self.prepared.middle.clone()).unwrap_or_default()
    }

    /// The text of a row, kept; None where a customer may read another, or where there is no room.
    fn keep(&mut self, row: usize, buffer: &mut Vec<u8>) -> Option<Shared> {
        buffer.clear();
        let mut at = self.prepared.places.start;
        for column in self.columns() {
            match &column.coded {
                Some(coded) => {
                    let code = coded.codes.get(row).copied().unwrap_or(u32::MAX);
                    let text = coded.encoded.get(code);
                    if text.is_empty() {
                        continue;
                    }
                    if coded.encoded.has_places(code) {
                        return None;
                    }
                    push_commas(buffer, column.place - at);
                    buffer.extend_from_slice(text);
                }
                None => {
                    let cell = column.cells.get(row);
                    if cell.is_empty() {
                        continue;
                    }
                    if self.finder.has_places(column.rule, cell) {
                        return None;
                    }
                    push_commas(buffer, column.place - at);
                    push_cell(buffer, cell);
                    buffer.push(b',');
                }
            }
            at = column.place + 1;
        }
        push_commas(buffer, self.prepared.places.end - at);
        let bytes = u32::try_from(buffer.len()).ok()?;
        Some(Shared { id: self.keeper.keep(buffer)?, bytes })
    }
}

impl Prepared<'_> {
    /// Writes a row into an export's window.
    #[inline]
    pub(super) fn write(&self, row: usize, mask: &Mask, scratch: &mut Scratch, window: &mut Window) {
        scratch.key = [0; 3];
        window.begin();
        let shared = self.texts.get(row).copied().flatten();
        let (before, behind) = match shared {
            Some(_) => (0..self.middle.start, self.middle.end..self.columns.len()),
            None => (0..self.columns.len(), 0..0),
        };
        let mut at = self.cells(before, 0, row, mask, scratch, window.buffer());
        if shared.is_some() {
            push_commas(window.buffer(), self.places.start - at);
            window.gap();
            at = self.cells(behind, self.places.end, row, mask, scratch, window.buffer());
            self.sku_of(row, scratch);
        }
        let out = window.buffer();
        if at == self.width {
            // The last cell's comma.
            out.pop();
        } else {
            push_commas(out, self.width - 1 - at);
        }
        out.push(b'\n');
        let [sku, resource, seconds] = scratch.key;
        let bytes = shared.map_or(0, |shared| shared.bytes as usize);
        window.end(order::join(sku, resource, seconds), shared.map(|shared| shared.id), bytes);
    }

    /// Writes the cells of some columns, each with a comma behind it; returns the place behind the last one.
    #[inline]
    fn cells(
        &self,
        columns: Range<usize>,
        from: usize,
        row: usize,
        mask: &Mask,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut at = from;
        for column in self.columns.get(columns).unwrap_or_default() {
            let cell = match &column.coded {
                Some(coded) => {
                    let code = coded.codes.get(row).copied().unwrap_or(u32::MAX);
                    let text = coded.encoded.get(code);
                    if text.is_empty() {
                        continue;
                    }
                    if !coded.encoded.has_places(code) {
                        push_commas(out, column.place - at);
                        out.extend_from_slice(text);
                        at = column.place + 1;
                        if let Some(part) = column.key {
                            scratch.key[part as usize] = part.of(coded.encoded.plain(code));
                        }
                        continue;
                    }
                    coded.encoded.plain(code)
                }
                None => column.cells.get(row),
            };
            if cell.is_empty() {
                continue;
            }
            let rule = if is_planted(Plant::MaskSkip) { Rule::Keep } else { column.rule };
            let payer = if rule == Rule::Keep { &[] } else { self.payers.get(row) };
            let cell = mask.apply(rule, cell, payer, &mut scratch.masked);
            if cell.is_empty() {
                continue;
            }
            push_commas(out, column.place - at);
            push_cell(out, cell);
            out.push(b',');
            at = column.place + 1;
            if let Some(part) = column.key {
                scratch.key[part as usize] = part.of(cell);
            }
        }
        at
    }

    /// The SKU's part of the sort key, of a row whose SKU stands in the text that it shares.
    #[inline]
    fn sku_of(&self, row: usize, scratch: &mut Scratch) {
        let middle = self.columns.get(self.middle.clone()).unwrap_or_default();
        if let Some(column) = middle.iter().find(|column| column.key == Some(KeyPart::Sku)) {
            scratch.key[KeyPart::Sku as usize] = KeyPart::Sku.of(column.cells.get(row));
        }
    }
}

impl KeyPart {
    #[inline]
    fn of(self, cell: &[u8]) -> u64 {
        match self {
            Self::Sku | Self::Resource => order::hash(cell),
            Self::UsageStart => order::seconds(cell),
        }
    }
}

#[inline]
fn push_commas(out: &mut Vec<u8>, mut count: usize) {
    if count == 0 {
        return;
    }
    if count == 1 {
        return out.push(b',');
    }
    while count > COMMAS.len() {
        out.extend_from_slice(&COMMAS);
        count -= COMMAS.len();
    }
    out.extend_from_slice(COMMAS.get(..count).unwrap_or_default());
}
