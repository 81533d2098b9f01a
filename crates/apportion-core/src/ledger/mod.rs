//! The ledger: everything that came in went out, exactly once.
//!
//! What comes in: the facts of each batch (computed once, from source cells), and where each of its line items
//! went. What goes out: totals per period, currency, line item type, invoice and route, and whether they balance. What it
//! must never do: take the way in from the way out. Both sides add the same facts, but at different moments: the
//! source side when a batch has been read, the other side when a line item has been handed over.

mod facts;
mod key;
#[cfg(test)]
mod reference;
mod told;
mod totals;

pub use facts::{Facts, FactsReader, LedgerError};
pub use key::LedgerKey;
pub use told::{ToldError, ToldTotals, Unexplained};
pub use totals::{KeyedTotals, Totals, TotalsJson};

use crate::money::ExactSum;
use crate::route::Reason;
use serde::Serialize;
use std::collections::BTreeMap;

/// Where line items went, as the ledger and the proofs tell it. Customers are places in the run's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Into an export, by its place in the run's list of exports.
    Export(u32),
    /// Once more into an export that holds the same share in a further format.
    Copy {
        /// The export's place in the run's list.
        place: u32,
        /// The place of the export whose share it is.
        of: u32,
    },
    /// Withheld from a customer.
    Withheld(Reason, u32),
    /// Nobody's.
    Nobody(Reason),
}

/// The books of one delivery.
#[derive(Debug, Default)]
pub struct Ledger {
    source: KeyedTotals,
    destinations: BTreeMap<Destination, KeyedTotals>,
}

/// One line in which the two sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imbalance {
    /// Period, currency, line item type and invoice.
    pub key: LedgerKey,
    /// Rows in the source.
    pub source_rows: u64,
    /// Rows handed over.
    pub handed_over_rows: u64,
    /// The unblended cost in the source minus that handed over.
    pub unblended_difference: String,
    /// Whether the multiset hashes differ.
    pub items_differ: bool,
}

impl Ledger {
    /// Books all line items of a batch on the source's side.
    pub fn book_source(&mut self, facts: &Facts) {
        for row in 0..facts.rows() {
            self.source.add(facts, row);
        }
    }

    /// Books one line item on its destination's side.
    #[inline]
    pub fn book(&mut self, destination: Destination, facts: &Facts, row: usize) {
        self.destinations.entry(destination).or_default().add(facts, row);
    }

    /// The account of one destination, for many bookings in a row.
    pub fn destination(&mut self, destination: Destination) -> &mut KeyedTotals {
        self.destinations.entry(destination).or_default()
    }

    /// The source's totals.
    pub fn source(&self) -> &KeyedTotals {
        &self.source
    }

    /// Every destination's totals.
    pub fn destinations(&self) -> impl Iterator<Item = (Destination, &KeyedTotals)> {
        self.destinations.iter().map(|(destination, totals)| (*destination, totals))
    }

    /// One destination's totals; None where nothing went.
    pub fn get(&self, destination: Destination) -> Option<&KeyedTotals> {
        self.destinations.get(&destination)
    }

    /// Where the source and the sum of all destinations differ, or a copy and its share; empty when everything is
    /// accounted for.
    pub fn imbalances(&self, keys: &FactsReader) -> Vec<Imbalance> {
        let mut handed_over = KeyedTotals::default();
        let mut imbalances = Vec::new();
        let none = KeyedTotals::default();
        for (destination, totals) in &self.destinations {
            match destination {
                Destination::Copy { of, .. } => {
                    let share = self.get(Destination::Export(*of)).unwrap_or(&none);
                    imbalances.extend(differences(share, totals, keys));
                }
                _ => handed_over.merge(totals),
            }
        }
        imbalances.extend(differences(&self.source, &handed_over, keys));
        imbalances
    }
}

/// Where what went out isn't what came in.
fn differences(source: &KeyedTotals, handed_over: &KeyedTotals, keys: &FactsReader) -> Vec<Imbalance> {
    let none = Totals::default();
    (0..source.len().max(handed_over.len()))
        .filter_map(|place| {
            let source = source.get(place).unwrap_or(&none);
            let out = handed_over.get(place).unwrap_or(&none);
            let differs = source != out;
            differs.then(|| Imbalance {
                key: keys.key(place).cloned().unwrap_or_default(),
                source_rows: source.rows(),
                handed_over_rows: out.rows(),
                unblended_difference: difference(source.unblended_cost(), out.unblended_cost()),
                items_differ: source.items_hash() != out.items_hash(),
            })
        })
        .collect()
}

fn difference(left: &ExactSum, right: &ExactSum) -> String {
    let mut difference = left.clone();
    difference.subtract(right);
    difference.to_string()
}
