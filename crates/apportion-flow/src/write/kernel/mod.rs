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
use apportion_core::csv::{needs_quotes, push_cell};
use apportion_core::line_item::{Batch, Cells, Texts};
use apportion_core::mask::{Mask, Rule, Sight};
use dictionary::{Encoded, push_slice};
use groups::Groups;
use shared::Keeper;
use std::ops::Range;

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
    encoded: Vec<Option<Encoded>>,
    groups: Groups,
    keeper: Keeper,
}

/// A column of a batch that has cells.
struct Column<'a> {
    place: usize,
    rule: Rule,
    key: Option<KeyPart>,
    cells: &'a Cells,
    form: Form<'a>,
}

/// What is known of a column's cells.
enum Form<'a> {
    /// Every text is encoded.
    Coded { codes: &'a [u32], encoded: &'a Encoded },
    /// No cell needs quotes or a mask.
    Clean(&'a Texts),
    /// Nothing.
    Other,
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
    /// Which of those is the SKU.
    sku: Option<usize>,
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
    /// The account id that was kept last, in a row of which payer.
    kept: (Vec<u8>, Vec<u8>),
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
            encoded: columns.iter().map(|_| None).collect(),
            groups: Groups::default(),
            keeper: Keeper::new(limit),
        }
    }

    /// Looks a batch through: what can be done once per distinct text is done here.
    pub fn prepare<'a>(&'a mut self, batch: &'a Batch) -> Prepared<'a> {
        let Self { columns, shared, finder, encoded, groups, keeper } = self;
        let cells = columns.iter().map(|(id, rule, key)| (batch.column(*id), *rule, *key));
        for ((cells, rule, key), encoded) in cells.clone().zip(encoded.iter_mut()) {
            if let Cells::Coded { texts, .. } = cells
                && !encoded.as_ref().is_some_and(|encoded| encoded.is_of(texts, rule))
            {
                *encoded = Some(Encoded::new(texts, rule, key, finder));
            }
        }
        let columns: Vec<Column<'a>> = cells
            .zip(encoded.iter())
            .enumerate()
            .filter(|(_, ((cells, ..), _))| !cells.is_blank())
            .map(|(place, ((cells, rule, key), encoded))| {
                let form = Form::of(cells, encoded.as_ref(), rule, finder);
                Column { place, rule, key, cells, form }
            })
            .collect();
        let position = |place: usize| columns.partition_point(|column| column.place < place);
        let middle = position(shared.start)..position(shared.end);
        let mut prepared = Prepared {
            sku: middle.clone().find(|column| columns[*column].key == Some(KeyPart::Sku)),
            columns,
            middle,
            places: shared.clone(),
            width: encoded.len(),
            texts: Vec::new(),
            payers: batch.column(known().well_known().payer_account),
        };
        if shared.start < shared.end {
            prepared.texts = groups.texts(&mut Middle { prepared: &prepared, finder, keeper }, batch.rows);
        }
        prepared
    }

    /// The shared texts so far, which windows with rows of all batches up to now are packed with.
    pub fn shared_texts(&mut self) -> SharedTexts {
        self.keeper.seal()
    }
}

impl<'a> Form<'a> {
    fn of(cells: &'a Cells, encoded: Option<&'a Encoded>, rule: Rule, finder: &Mask) -> Self {
        match (cells, encoded) {
            (Cells::Coded { codes, .. }, Some(encoded)) => Self::Coded { codes, encoded },
            // One look at all of them; ids only stand where a colon is, save for whole cells.
            (Cells::Plain(texts), _)
                if !needs_quotes(texts.bytes())
                    && (rule == Rule::Keep
                        || (matches!(rule, Rule::Text | Rule::CreatedBy)
                            && memchr::memchr(b':', texts.bytes()).is_none())) =>
            {
                debug_assert!(
                    (0..texts.len()).all(|row| finder.sight(rule, texts.get(row)) == Sight::Nothing)
                );
                Self::Clean(texts)
            }
            _ => Self::Other,
        }
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

impl Middle<'_, '_> {
    /// The text of a row, kept; None where a customer may read another, or where there is no room.
    fn keep(&mut self, row: usize, buffer: &mut Vec<u8>) -> Option<Shared> {
        buffer.clear();
        let mut at = self.prepared.places.start;
        for column in self.prepared.middle_columns() {
            if let Form::Coded { codes, encoded } = &column.form {
                let text = encoded.get(codes.get(row).copied().unwrap_or(u32::MAX));
                if text.is_blank() {
                    continue;
                }
                if text.has_places() {
                    return None;
                }
                push_commas(buffer, column.place - at);
                encoded.push(text, buffer);
            } else {
                let cell = column.cells.get(row);
                if cell.is_empty() {
                    continue;
                }
                if self.finder.sight(column.rule, cell) != Sight::Nothing {
                    return None;
                }
                push_commas(buffer, column.place - at);
                push_cell(buffer, cell);
                buffer.push(b',');
            }
            at = column.place + 1;
        }
        push_commas(buffer, self.prepared.places.end - at);
        let bytes = u32::try_from(buffer.len()).ok()?;
        Some(Shared { id: self.keeper.keep(buffer)?, bytes })
    }
}

impl<'a> Prepared<'a> {
    /// The columns that rows may share the text of.
    fn middle_columns(&self) -> &[Column<'a>] {
        self.columns.get(self.middle.clone()).unwrap_or_default()
    }

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
            let cell = match &column.form {
                Form::Coded { codes, encoded } => {
                    let code = codes.get(row).copied().unwrap_or(u32::MAX);
                    let text = encoded.get(code);
                    if text.is_blank() {
                        continue;
                    }
                    if !text.has_places() || self.keeps(row, encoded.account(code), mask, scratch) {
                        push_commas(out, column.place - at);
                        encoded.push(text, out);
                        at = column.place + 1;
                        if let Some(part) = column.key {
                            scratch.key[part as usize] = encoded.key(code);
                        }
                        continue;
                    }
                    encoded.plain(code)
                }
                Form::Clean(texts) => {
                    let cell = texts.get(row);
                    if !cell.is_empty() {
                        push_commas(out, column.place - at);
                        out.extend_from_slice(cell);
                        out.push(b',');
                        at = column.place + 1;
                        if let Some(part) = column.key {
                            scratch.key[part as usize] = part.of(cell);
                        }
                    }
                    continue;
                }
                Form::Other => column.cells.get(row),
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

    /// Whether the one account id of a cell stays readable.
    #[inline]
    fn keeps(&self, row: usize, id: Option<&[u8]>, mask: &Mask, scratch: &mut Scratch) -> bool {
        let Some(id) = id else { return false };
        let payer = self.payers.get(row);
        if scratch.kept.0 == id && scratch.kept.1 == payer {
            return true;
        }
        let kept = is_planted(Plant::MaskSkip) || mask.keeps(id, payer);
        if kept {
            id.clone_into(&mut scratch.kept.0);
            payer.clone_into(&mut scratch.kept.1);
        }
        kept
    }

    /// The SKU's part of the sort key, of a row whose SKU stands in the text that it shares.
    #[inline]
    fn sku_of(&self, row: usize, scratch: &mut Scratch) {
        let Some(column) = self.sku.and_then(|sku| self.columns.get(sku)) else { return };
        scratch.key[KeyPart::Sku as usize] = match &column.form {
            Form::Coded { codes, encoded } => encoded.key(codes.get(row).copied().unwrap_or(u32::MAX)),
            _ => KeyPart::Sku.of(column.cells.get(row)),
        };
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
    while count > COMMAS.len() {
        out.extend_from_slice(&COMMAS);
        count -= COMMAS.len();
    }
    push_slice(out, &COMMAS, 0, count);
}
