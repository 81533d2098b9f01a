use super::key::{KeyReader, LedgerKey};
use crate::columns::{ColumnId, ColumnType, known};
use crate::line_item::{Batch, Place, Reading, Remembered, excerpt};
use crate::money::{Number, NumberProblem};
use apportion_model::{BillingPeriod, Instant};
use std::collections::BTreeMap;
use std::convert::Infallible;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Rows whose cells are hashed column after column before the next rows': few enough that a CSV's records stay near.
const TILE: usize = 256;

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
    /// Numbers of the additive columns, line item after line item, each line item's in the columns' order.
    numbers: Vec<Fact>,
    /// For each line item, where its numbers end.
    number_ends: Vec<u32>,
}

/// A number of an additive column; `place` is the column's place among them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    /// One that is a whole number of the units that sums count in first.
    Units { place: u8, units: i128 },
    /// Any other.
    Other { place: u8, number: Box<Number> },
}

impl Facts {
    /// How many line items.
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    #[inline]
    pub(super) fn numbers_of(&self, row: usize) -> &[Fact] {
        let start = if row == 0 { 0 } else { self.number_ends.get(row - 1).map_or(0, |end| *end as usize) };
        let end = self.number_ends.get(row).map_or(start, |end| *end as usize);
        self.numbers.get(start..end).unwrap_or_default()
    }
}

/// An additive column of a batch: its place among them, its seed if it is hashed, and what is known of its cells.
type AdditiveColumn<'a> = (u8, ColumnId, Option<u64>, Reading<'a, Option<Booked>>);

/// What a cell of an additive column comes to.
#[derive(Debug, Clone, PartialEq)]
enum Booked {
    Blank,
    /// No number, in a column where that is no error.
    Unsummed,
    /// The number, and its part of the line item's hash: zero where the column isn't hashed.
    Number(Fact, u128),
}

/// Reads facts, and remembers which key has which place.
#[derive(Debug, Default)]
pub struct FactsReader {
    keys: KeyReader,
    /// One per additive column.
    booked: Vec<Remembered<Option<Booked>>>,
    /// One per guaranteed column.
    hashed: Vec<Remembered<u128>>,
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
        self.keys.read(batch, periods, &mut facts.keys);
        facts.hashes.clear();
        facts.hashes.resize(batch.rows, 0);
        self.read_numbers(batch, facts)?;
        self.read_hashes(batch, facts)?;
        let seed = known().guaranteed().len() as u64;
        for hash in &mut facts.hashes {
            *hash = xxh3_128_with_seed(&hash.to_le_bytes(), seed);
        }
        Ok(())
    }

    /// The key of a place.
    pub fn key(&self, place: usize) -> Option<&LedgerKey> {
        self.keys.get(place)
    }

    /// Columns with texts that are no numbers: how many, and the first of them. Such a text is delivered as it is
    /// and adds nothing. In a column that AWS guarantees it is an error instead.
    pub fn unsummed(&self) -> impl Iterator<Item = (u64, &LedgerError)> {
        self.unsummed.values().map(|(count, first)| (*count, first))
    }

    /// The numbers of the additive columns, and the parts of the hashes that those of them have that are hashed.
    fn read_numbers(&mut self, batch: &Batch, facts: &mut Facts) -> Result<(), LedgerError> {
        let Self { booked, canonical, unsummed, .. } = self;
        facts.numbers.clear();
        facts.number_ends.clear();
        booked.resize_with(known().additive().len(), Remembered::default);
        let mut columns: Vec<AdditiveColumn<'_>> = (0u8..)
            .zip(known().additive().iter().copied())
            .zip(booked)
            .filter(|((_, column), _)| !batch.column(*column).holds_nothing())
            .map(|((place, column), booked)| (place, column, seed(column), booked.of(batch.column(column))))
            .collect();
        for row in 0..batch.rows {
            for (place, column, seed, reading) in &mut columns {
                let error = |problem| LedgerError {
                    place: batch.place(row, *column),
                    text: excerpt(batch.column(*column).get(row)),
                    problem,
                };
                let booked = reading.get(row, |cell| book(cell, *place, *seed, canonical).map(Some));
                match booked.map_err(error)? {
                    Some(Booked::Number(fact, hash)) => {
                        facts.numbers.push(fact.clone());
                        if seed.is_some() {
                            facts.hashes[row] = facts.hashes[row].wrapping_add(*hash);
                        }
                    }
                    Some(Booked::Unsummed) => {
                        let first = || (0, error(NumberProblem::NotANumber));
                        unsummed.entry(*column).or_insert_with(first).0 += 1;
                    }
                    Some(Booked::Blank) | None => {}
                }
            }
            facts.number_ends.push(facts.numbers.len() as u32);
        }
        Ok(())
    }

    /// The other columns' parts of the hashes. See docs/delivery-format.md, section 7, `items_hash`.
    fn read_hashes(&mut self, batch: &Batch, facts: &mut Facts) -> Result<(), LedgerError> {
        let Self { hashed, canonical, .. } = self;
        hashed.resize_with(known().guaranteed().len(), Remembered::default);
        let mut columns: Vec<(u64, ColumnId, ColumnType, Reading<'_, u128>)> = (0u64..)
            .zip(known().guaranteed().iter().copied())
            .zip(hashed)
            .filter(|((_, column), _)| {
                !known().get(*column).additive && !batch.column(*column).holds_nothing()
            })
            .map(|((seed, column), hashed)| {
                (seed, column, known().get(column).kind, hashed.of(batch.column(column)))
            })
            .collect();
        for (tile, sums) in facts.hashes.chunks_mut(TILE).enumerate() {
            for (seed, column, kind, reading) in &mut columns {
                for (row, sum) in (tile * TILE..).zip(sums.iter_mut()) {
                    let hash = match kind {
                        ColumnType::String => {
                            let Ok(hash) = reading.get(row, |cell| Ok::<_, Infallible>(hash(cell, *seed)));
                            *hash
                        }
                        _ => *reading.get(row, |cell| hash_of_value(cell, *kind, *seed, canonical)).map_err(
                            |problem| LedgerError {
                                place: batch.place(row, *column),
                                text: excerpt(batch.column(*column).get(row)),
                                problem,
                            },
                        )?,
                    };
                    *sum = sum.wrapping_add(hash);
                }
            }
        }
        Ok(())
    }
}

/// A column's place among the guaranteed ones, by which its cells are hashed.
fn seed(column: ColumnId) -> Option<u64> {
    (0u64..).zip(known().guaranteed()).find(|(_, guaranteed)| **guaranteed == column).map(|(place, _)| place)
}

/// Only a text in a column that AWS guarantees (it has a seed) must be a number.
fn book(cell: &[u8], place: u8, seed: Option<u64>, canonical: &mut Vec<u8>) -> Result<Booked, NumberProblem> {
    let number = match Number::parse(cell) {
        Ok(Some(number)) => number,
        Ok(None) => return Ok(Booked::Blank),
        Err(NumberProblem::NotANumber) if seed.is_none() => return Ok(Booked::Unsummed),
        Err(problem) => return Err(problem),
    };
    let hash = seed.map_or(0, |seed| {
        canonical.clear();
        number.push_canonical(canonical);
        hash(canonical, seed)
    });
    let fact = match number.units() {
        Some(units) => Fact::Units { place, units },
        None => Fact::Other { place, number: Box::new(number) },
    };
    Ok(Booked::Number(fact, hash))
}

/// A canonical cell's part of its line item's hash. A blank one has none.
#[inline]
fn hash(canonical: &[u8], seed: u64) -> u128 {
    if canonical.is_empty() { 0 } else { xxh3_128_with_seed(canonical, seed) }
}

fn hash_of_value(
    cell: &[u8],
    kind: ColumnType,
    seed: u64,
    canonical: &mut Vec<u8>,
) -> Result<u128, NumberProblem> {
    canonical.clear();
    match kind {
        ColumnType::String => canonical.extend_from_slice(cell),
        ColumnType::Timestamp => match Instant::parse(cell) {
            Some(moment) => canonical.extend_from_slice(moment.millis().to_string().as_bytes()),
            None => canonical.extend_from_slice(cell),
        },
        ColumnType::Double => {
            if let Some(number) = Number::parse(cell)? {
                number.push_canonical(canonical);
            }
        }
    }
    Ok(hash(canonical, seed))
}
