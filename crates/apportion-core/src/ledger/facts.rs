use super::key::LedgerKey;
use crate::columns::{ColumnId, ColumnType, known};
use crate::line_item::{Batch, Place, excerpt};
use crate::money::{Number, NumberProblem};
use apportion_model::{BillingPeriod, Instant};
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// A cell that can't be booked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: \"{text}\" {problem}")]
pub struct LedgerError {
    /// Where.
    pub place: Place,
    /// The cell.
    pub text: String,
    /// Why.
    pub problem: NumberProblem,
}

/// What the ledger must know of the line items of one batch.
#[derive(Debug, Default)]
pub struct Facts {
    pub(super) keys: Vec<u32>,
    pub(super) hashes: Vec<u128>,
    /// Numbers of the additive columns, line item after line item: the column's place among them, and the number.
    pub(super) numbers: Vec<(u8, Number)>,
    /// For each line item, where its numbers end.
    pub(super) number_ends: Vec<u32>,
}

impl Facts {
    /// How many line items.
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn numbers_of(&self, row: usize) -> &[(u8, Number)] {
        let start = if row == 0 { 0 } else { self.number_ends.get(row - 1).map_or(0, |end| *end as usize) };
        let end = self.number_ends.get(row).map_or(start, |end| *end as usize);
        self.numbers.get(start..end).unwrap_or_default()
    }
}

/// Reads facts, and remembers which key has which place.
#[derive(Debug, Default)]
pub struct FactsReader {
    places: HashMap<LedgerKey, u32>,
    keys: Vec<LedgerKey>,
    canonical: Vec<u8>,
    unsummed: BTreeMap<ColumnId, (u64, LedgerError)>,
}

impl FactsReader {
    /// The facts of a batch, whose line items lie in `periods`.
    ///
    /// # Errors
    /// A number that isn't one, or can't be summed exactly.
    pub fn read(
        &mut self,
        batch: &Batch,
        periods: &[BillingPeriod],
        facts: &mut Facts,
    ) -> Result<(), LedgerError> {
        self.read_keys(batch, periods, facts);
        self.read_numbers(batch, facts)?;
        self.read_hashes(batch, facts)
    }

    /// The key of a place.
    pub fn key(&self, place: usize) -> Option<&LedgerKey> {
        self.keys.get(place)
    }

    fn read_keys(&mut self, batch: &Batch, periods: &[BillingPeriod], facts: &mut Facts) {
        let columns = known().well_known();
        let [currencies, types, invoices] =
            [columns.currency, columns.line_item_type, columns.invoice_id].map(|id| batch.column(id));
        facts.keys.clear();
        let mut last: Option<(BillingPeriod, [&[u8]; 3], u32)> = None;
        for (row, period) in periods.iter().enumerate().take(batch.rows) {
            let texts = [currencies.get(row), types.get(row), invoices.get(row)];
            let place = match last {
                Some((before, same, place)) if before == *period && same == texts => place,
                _ => self.place(LedgerKey::new(*period, texts[0], texts[1], texts[2])),
            };
            last = Some((*period, texts, place));
            facts.keys.push(place);
        }
    }

    fn place(&mut self, key: LedgerKey) -> u32 {
        let next = self.keys.len() as u32;
        *self.places.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            next
        })
    }

    /// Columns with texts that are no numbers: how many, and the first of them. Such a text is delivered as it is
    /// and adds nothing. In a column that AWS guarantees it is an error instead.
    pub fn unsummed(&self) -> impl Iterator<Item = (u64, &LedgerError)> {
        self.unsummed.values().map(|(count, first)| (*count, first))
    }

    fn read_numbers(&mut self, batch: &Batch, facts: &mut Facts) -> Result<(), LedgerError> {
        facts.numbers.clear();
        facts.number_ends.clear();
        let present: Vec<(u8, ColumnId)> = (0u8..)
            .zip(known().additive().iter().copied())
            .filter(|(_, column)| !batch.column(*column).is_blank())
            .collect();
        for row in 0..batch.rows {
            for (place, column) in &present {
                let cell = batch.column(*column).get(row);
                match number(batch, row, *column, cell) {
                    Ok(Some(number)) => facts.numbers.push((*place, number)),
                    Ok(None) => {}
                    Err(error)
                        if error.problem == NumberProblem::NotANumber && !known().get(*column).guaranteed =>
                    {
                        self.unsummed.entry(*column).or_insert((0, error)).0 += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            facts.number_ends.push(facts.numbers.len() as u32);
        }
        Ok(())
    }

    /// See docs/delivery-format.md, section 7, `items_hash`.
    fn read_hashes(&mut self, batch: &Batch, facts: &mut Facts) -> Result<(), LedgerError> {
        facts.hashes.clear();
        facts.hashes.resize(batch.rows, 0);
        for (place, column) in (0u64..).zip(known().guaranteed().iter().copied()) {
            let cells = batch.column(column);
            if cells.is_blank() {
                continue;
            }
            let kind = known().get(column).kind;
            let mut last: (&[u8], u128) = (&[], 0);
            for (row, sum) in facts.hashes.iter_mut().enumerate() {
                let cell = cells.get(row);
                if cell.is_empty() {
                    continue;
                }
                if cell != last.0 {
                    let canonical = self.canonical(batch, row, column, kind, cell)?;
                    last = (cell, xxh3_128_with_seed(canonical, place));
                }
                *sum = sum.wrapping_add(last.1);
            }
        }
        let seed = known().guaranteed().len() as u64;
        for hash in &mut facts.hashes {
            *hash = xxh3_128_with_seed(&hash.to_le_bytes(), seed);
        }
        Ok(())
    }

    fn canonical<'a>(
        &'a mut self,
        batch: &Batch,
        row: usize,
        column: ColumnId,
        kind: ColumnType,
        cell: &'a [u8],
    ) -> Result<&'a [u8], LedgerError> {
        self.canonical.clear();
        match kind {
            ColumnType::String => return Ok(cell),
            ColumnType::Timestamp => match Instant::parse(cell) {
                Some(moment) => self.canonical.extend_from_slice(moment.millis().to_string().as_bytes()),
                None => return Ok(cell),
            },
            ColumnType::Double => {
                if let Some(number) = number(batch, row, column, cell)? {
                    number.push_canonical(&mut self.canonical);
                }
            }
        }
        Ok(&self.canonical)
    }
}

#[inline]
fn number(batch: &Batch, row: usize, column: ColumnId, cell: &[u8]) -> Result<Option<Number>, LedgerError> {
    Number::parse(cell).map_err(|problem| LedgerError {
        place: batch.place(row, column),
        text: excerpt(cell),
        problem,
    })
}
