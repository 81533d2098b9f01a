//! Cells as a Parquet export stores them.
//!
//! What comes in: the delivered cells of a row, with their columns. What goes out: the text that is read back from
//! each, the row's hash over those, and what the representation loses. What it must never do: hide a loss.

use crate::columns::ColumnType;
use crate::delivered::{Registry, add_cell};
use crate::doubles::{Representation, nearest, shortest};
use crate::numbers::{Number, Sum};
use apportion_model::Instant;
use std::collections::{BTreeMap, HashMap};
use twox_hash::XxHash3_128;

/// A cell in its stored form; most columns repeat a cell for hours of rows.
#[derive(Default)]
struct Stored {
    source: Vec<u8>,
    text: Vec<u8>,
    /// A double with the number that was to be stored, and the number that is read back.
    double: Option<(f64, Number, Option<Number>)>,
    lost: bool,
}

/// The cells of one row.
#[derive(Default)]
pub(crate) struct StoredCells {
    last: HashMap<u32, Stored>,
    bytes: Vec<u8>,
    /// Columns of this row whose form says more than its text.
    noted: Vec<u32>,
    pub(crate) hash: u128,
}

impl StoredCells {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.noted.clear();
    }

    /// Adds a cell that isn't blank.
    pub(crate) fn add(&mut self, column: u32, kind: ColumnType, tag: &[u8; 16], cell: &[u8]) {
        if kind == ColumnType::Text && std::str::from_utf8(cell).is_ok() {
            add_cell(&mut self.bytes, tag, cell);
            return;
        }
        let stored = self.last.entry(column).or_default();
        if stored.source != cell {
            *stored = store(kind, cell);
        }
        if !stored.text.is_empty() {
            add_cell(&mut self.bytes, tag, &stored.text);
        }
        if stored.lost || stored.double.is_some() {
            self.noted.push(column);
        }
    }

    pub(crate) fn finish(&mut self) {
        self.hash = XxHash3_128::oneshot(&self.bytes);
    }
}

fn store(kind: ColumnType, cell: &[u8]) -> Stored {
    let mut stored = Stored { source: cell.to_vec(), ..Stored::default() };
    match kind {
        ColumnType::Text => {
            stored.text = String::from_utf8_lossy(cell).into_owned().into_bytes();
            stored.lost = true;
        }
        ColumnType::Timestamp => match Instant::parse(cell) {
            Some(moment) => moment.write_to(&mut stored.text),
            None => stored.lost = true,
        },
        ColumnType::Double => match nearest(cell) {
            Some((double, number)) => {
                stored.text = shortest(double).into_bytes();
                stored.double = Some((double, number, Number::parse(&stored.text).ok()));
            }
            None => stored.lost = true,
        },
    }
    stored
}

/// What the rows of a share become in Parquet.
#[derive(Default)]
pub(crate) struct StoredShare {
    pub(crate) rows_hash: u128,
    /// Per currency and column the exact sums of what is read back.
    sums: HashMap<String, HashMap<u32, Sum>>,
    losses: BTreeMap<u32, Representation>,
}

impl StoredShare {
    /// Adds a row.
    pub(crate) fn add(&mut self, cells: &StoredCells, currency: &[u8]) {
        self.rows_hash = self.rows_hash.wrapping_add(cells.hash);
        if cells.noted.is_empty() {
            return;
        }
        let currency = String::from_utf8_lossy(currency);
        if !self.sums.contains_key(currency.as_ref()) {
            self.sums.insert(currency.clone().into_owned(), HashMap::new());
        }
        let Some(sums) = self.sums.get_mut(currency.as_ref()) else { return };
        for column in &cells.noted {
            let Some(stored) = cells.last.get(column) else { continue };
            let losses = self.losses.entry(*column).or_default();
            losses.not_represented += u64::from(stored.lost);
            if let Some((double, number, read)) = &stored.double {
                losses.add(*double, number);
                if let Some(read) = read {
                    sums.entry(*column).or_default().add(read);
                }
            }
        }
    }

    /// The sums of one column.
    pub(crate) fn per_currency(&self, registry: &Registry, column: &str) -> BTreeMap<String, Sum> {
        let named = |(number, _): &(&u32, &Sum)| registry.name(**number) == column;
        let of = |sums: &HashMap<u32, Sum>| sums.iter().find(named).map(|(_, sum)| sum.clone());
        self.sums.iter().filter_map(|(currency, sums)| Some((currency.clone(), of(sums)?))).collect()
    }

    /// Per column that loses something: its name, the difference unless that is zero, and how many cells are lost.
    pub(crate) fn representation(&self, registry: &Registry) -> BTreeMap<String, (Option<String>, u64)> {
        let mut all = BTreeMap::new();
        for (column, losses) in &self.losses {
            let name = registry.name(*column);
            let double = crate::columns::fixed(name).is_some_and(|(kind, _)| kind == ColumnType::Double);
            let difference = double.then(|| losses.difference()).filter(|text| text != "0");
            if losses.not_represented > 0 || difference.is_some() {
                all.insert(name.to_owned(), (difference, losses.not_represented));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_form_that_is_read_back() {
        use ColumnType::{Double, Text, Timestamp};
        for (kind, cell, text, lost) in [
            (Double, &b"0.10"[..], &b"0.1"[..], false),
            (Double, b"-0", b"0", false),
            (Double, b"none", b"", true),
            (Timestamp, b"2026-10-01 00:00:00", b"2026-10-01T00:00:00Z", false),
            (Timestamp, b"2026-10-01T02:00:00.500+02:00", b"2026-10-01T00:00:00.500Z", false),
            (Timestamp, b"soon", b"", true),
            (Text, b"a\xffb", "a\u{fffd}b".as_bytes(), true),
        ] {
            let stored = store(kind, cell);
            assert_eq!((stored.text.as_slice(), stored.lost), (text, lost), "{cell:?}");
        }
    }
}
