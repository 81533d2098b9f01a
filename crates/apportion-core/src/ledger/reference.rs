//! The facts of a batch worked out cell by cell, in the plainest way, for the tests of the quick one.

use super::facts::LedgerError;
use super::key::LedgerKey;
use super::totals::TotalsJson;
use crate::columns::{ColumnId, ColumnType, known};
use crate::line_item::{Batch, Cells, Texts, excerpt};
use crate::money::{ExactSum, Number, NumberProblem};
use apportion_model::{BillingPeriod, Instant};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128_with_seed;

#[derive(Default)]
struct Plain {
    totals: BTreeMap<LedgerKey, (u64, BTreeMap<String, ExactSum>, u128)>,
    unsummed: BTreeMap<ColumnId, (u64, LedgerError)>,
}

fn number(batch: &Batch, row: usize, column: ColumnId) -> Result<Option<Number>, LedgerError> {
    let cell = batch.column(column).get(row);
    let error = |problem| LedgerError { place: batch.place(row, column), text: excerpt(cell), problem };
    Number::parse_any(cell).map_err(error)
}

impl Plain {
    fn add(&mut self, batch: &Batch, periods: &[BillingPeriod]) -> Result<(), LedgerError> {
        let mut numbers = vec![BTreeMap::new(); batch.rows];
        for (row, numbers) in numbers.iter_mut().enumerate() {
            for column in known().additive() {
                match number(batch, row, *column) {
                    Ok(Some(number)) => drop(numbers.insert(*column, number)),
                    Ok(None) => {}
                    Err(error)
                        if error.problem == NumberProblem::NotANumber && !known().get(*column).guaranteed =>
                    {
                        self.unsummed.entry(*column).or_insert((0, error)).0 += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for (row, numbers) in numbers.into_iter().enumerate() {
            let mut hash = 0u128;
            for (seed, column) in (0..).zip(known().guaranteed()) {
                let cell = batch.column(*column).get(row);
                let canonical = match known().get(*column).kind {
                    ColumnType::String => cell.to_vec(),
                    ColumnType::Timestamp => Instant::parse(cell)
                        .map_or(cell.to_vec(), |moment| moment.millis().to_string().into_bytes()),
                    ColumnType::Double => {
                        let mut canonical = Vec::new();
                        if let Some(number) = number(batch, row, *column)? {
                            number.push_canonical(&mut canonical);
                        }
                        canonical
                    }
                };
                if !canonical.is_empty() {
                    hash = hash.wrapping_add(xxh3_128_with_seed(&canonical, seed));
                }
            }
            let text = |id| String::from_utf8_lossy(batch.column(id).get(row)).into_owned();
            let columns = known().well_known();
            let key = LedgerKey {
                billing_period: periods[row].to_string(),
                currency: text(columns.currency),
                line_item_type: text(columns.line_item_type),
                invoice_id: text(columns.invoice_id),
            };
            let totals = self.totals.entry(key).or_default();
            totals.0 += 1;
            totals.2 = totals.2.wrapping_add(xxh3_128_with_seed(&hash.to_le_bytes(), 28));
            for (column, number) in numbers {
                totals.1.entry(known().get(column).name.clone()).or_default().add(&number);
            }
        }
        Ok(())
    }

    fn json(&self) -> Vec<TotalsJson> {
        let told =
            |(key, (rows, sums, hash)): (&LedgerKey, &(u64, BTreeMap<String, ExactSum>, u128))| TotalsJson {
                key: key.clone(),
                rows: *rows,
                sums: sums.iter().map(|(name, sum)| (name.clone(), sum.to_string())).collect(),
                items_hash: format!("{hash:032x}"),
            };
        self.totals.iter().map(told).collect()
    }
}

/// How a column of a batch is held.
#[derive(Debug, Clone, Copy)]
enum Held {
    Blank,
    Plain,
    Field,
    /// In a dictionary of its own.
    Coded,
    /// In the dictionary that all batches share.
    Shared,
}

const TEXTS: [&[u8]; 8] =
    [b"", b"Usage", b"Tax", b"USD", b"\xff", b"\xfe", b"123456789012", b"a longer text of a cell"];
const NUMBERS: [&[u8]; 20] = [
    b"",
    b"0",
    b"-0.000",
    b"0.0300000000",
    b"720.0",
    b"-12.5",
    b"1e-20",
    b"-7.0E-10",
    b"+7.",
    b".5",
    b"99999999999999999999999",
    b"0.00000000000000000012345",
    b"1.2345678901234567890123456789012345678901234567",
    b"9e40",
    b"1e-60",
    b"170141183460469231731.687303715884105727",
    b"-170141183460469231731.687303715884105728",
    b"12345678901234567.89",
    b"1000000000000000000",
    b"18446744073709551615",
];
const MOMENTS: [&[u8]; 5] =
    [b"", b"2026-10-01T00:00:00Z", b"2026-10-01 00:00:00.000", b"no moment", b"2026-10-31T23:00:00Z"];
/// Texts that no number is made of, or that can't be summed.
const WRONG: [&[u8]; 3] = [b"n/a", b"1e41", b"1.2.3"];

fn cells(held: Held, texts: &[&[u8]], shared: &Arc<Texts>, picks: &[u8]) -> Cells {
    let pick = |pick: &u8| usize::from(*pick) % texts.len();
    let mut plain = Texts::default();
    picks.iter().for_each(|one| plain.push(texts[pick(one)]));
    // Blank cells have no code, now and then.
    let code = |one: &u8| {
        if one.is_multiple_of(2) && texts[pick(one)].is_empty() { u32::MAX } else { pick(one) as u32 }
    };
    match held {
        Held::Blank => Cells::Blank,
        Held::Plain => Cells::Plain(Arc::new(plain)),
        Held::Field => {
            let mut block = crate::line_item::Block { width: 1, ..Default::default() };
            for one in picks {
                let start = block.bytes.len() as u32;
                block.bytes.extend_from_slice(texts[pick(one)]);
                block.bounds.push((start, block.bytes.len() as u32));
            }
            Cells::Field { block: Arc::new(block), field: 0 }
        }
        Held::Coded => {
            let mut own = Texts::default();
            texts.iter().for_each(|text| own.push(text));
            Cells::Coded { codes: picks.iter().map(code).collect(), texts: Arc::new(own) }
        }
        Held::Shared => Cells::Coded { codes: picks.iter().map(code).collect(), texts: Arc::clone(shared) },
    }
}

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        Just(Held::Blank),
        Just(Held::Plain),
        Just(Held::Field),
        Just(Held::Coded),
        Just(Held::Shared)
    ]
}

/// Three batches: for each column how it is held, and what each row has; and where a cell is wrong.
fn batches() -> impl Strategy<Value = (Vec<Batch>, Vec<BillingPeriod>)> {
    let count = known().guaranteed().len() + known().additive().len();
    let column = (prop::collection::vec(held(), 3), prop::collection::vec(any::<u8>(), 36));
    let wrong = prop::option::weighted(0.4, (0..count, 0usize..3));
    (prop::collection::vec(column, count), wrong, prop::collection::vec(1u32..=2, 12)).prop_map(
        |(held, wrong, months)| {
            let rows = 12;
            let mut batches: Vec<Batch> = (0..3)
                .map(|place| Batch {
                    object: "object".into(),
                    first_row: 1 + place * rows as u64,
                    rows,
                    offsets: None,
                    known: vec![Cells::Blank; known().count()],
                    source: Vec::new(),
                    other: Vec::new(),
                })
                .collect();
            let columns = known().guaranteed().iter().chain(known().additive());
            for (at, (column, (held, picks))) in columns.zip(held).enumerate() {
                let mut texts: Vec<&[u8]> = match known().get(*column).kind {
                    ColumnType::String => TEXTS.to_vec(),
                    ColumnType::Timestamp => MOMENTS.to_vec(),
                    ColumnType::Double => NUMBERS.to_vec(),
                };
                if let Some((_, which)) = wrong.filter(|(column, _)| *column == at) {
                    texts.push(WRONG[which]);
                }
                let mut shared = Texts::default();
                texts.iter().for_each(|text| shared.push(text));
                let shared = Arc::new(shared);
                for ((batch, held), picks) in batches.iter_mut().zip(held).zip(picks.chunks(rows)) {
                    batch.known[column.index()] = cells(held, &texts, &shared, picks);
                }
            }
            let months = months.into_iter().map(|month| BillingPeriod::new(2026, month).unwrap()).collect();
            (batches, months)
        },
    )
}

proptest! {
    #[test]
    fn the_books_are_those_of_the_plain_way((batches, periods) in batches()) {
        use super::{Destination, Facts, FactsReader, Ledger};
        let (mut plain, mut keys, mut facts, mut ledger) =
            (Plain::default(), FactsReader::default(), Facts::default(), Ledger::default());
        for batch in &batches {
            let expected = plain.add(batch, &periods);
            prop_assert_eq!(&keys.read(batch, &periods, &mut facts), &expected);
            if expected.is_err() {
                return Ok(());
            }
            ledger.book_source(&facts);
            (0..facts.rows()).for_each(|row| ledger.book(Destination::Export(row as u32 % 3), &facts, row));
        }
        prop_assert_eq!(ledger.source().to_json(&keys), plain.json());
        prop_assert_eq!(ledger.imbalances(&keys), vec![]);
        let unsummed: Vec<_> = keys.unsummed().map(|(count, first)| (count, first.clone())).collect();
        prop_assert_eq!(unsummed, plain.unsummed.into_values().collect::<Vec<_>>());
        // One line item less on the way out is noticed.
        let mut short = Ledger::default();
        short.book_source(&facts);
        (1..facts.rows()).for_each(|row| short.book(Destination::Export(0), &facts, row));
        prop_assert_eq!(short.imbalances(&keys).len(), 1);
    }
}
