use super::facts::{Fact, Facts, FactsReader};
use super::key::LedgerKey;
use crate::columns::known;
use crate::mask::Mask;
use crate::money::ExactSum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows, exact sums and the multiset hash of some line items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    rows: u64,
    /// One per additive column, in their order; None until a number is seen.
    sums: Vec<Option<ExactSum>>,
    items_hash: u128,
}

impl Totals {
    /// Totals as a proof tells them; the texts are read by who reads the proof.
    pub(super) fn told(rows: u64, items_hash: u128) -> Self {
        Self { rows, sums: Vec::new(), items_hash }
    }

    #[inline]
    pub(super) fn sum_mut(&mut self, place: usize) -> &mut ExactSum {
        if self.sums.len() <= place {
            self.sums.resize(known().additive().len().max(place + 1), None);
        }
        self.sums[place].get_or_insert_default()
    }

    #[inline]
    fn add(&mut self, facts: &Facts, row: usize) {
        self.rows += 1;
        self.items_hash = self.items_hash.wrapping_add(facts.hashes.get(row).copied().unwrap_or_default());
        for fact in facts.numbers_of(row) {
            match fact {
                Fact::Units { place, units } => self.sum_mut(usize::from(*place)).add_units(*units),
                Fact::Other { place, number } => self.sum_mut(usize::from(*place)).add(number),
            }
        }
    }

    /// Adds other totals.
    pub fn merge(&mut self, other: &Self) {
        // A proof that was tampered with may tell any number.
        self.rows = self.rows.saturating_add(other.rows);
        self.items_hash = self.items_hash.wrapping_add(other.items_hash);
        for (place, sum) in other.sums.iter().enumerate() {
            if let Some(sum) = sum {
                self.sum_mut(place).merge(sum);
            }
        }
    }

    /// How many line items.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The sum modulo 2^128 of the line items' hashes.
    pub fn items_hash(&self) -> u128 {
        self.items_hash
    }

    /// The sum of `line_item_unblended_cost`; zero if there was none.
    pub fn unblended_cost(&self) -> &ExactSum {
        static ZERO: std::sync::LazyLock<ExactSum> = std::sync::LazyLock::new(ExactSum::default);
        let column = known().well_known().unblended_cost;
        let place = known().additive().iter().position(|additive| *additive == column);
        place.and_then(|place| self.sums.get(place)).and_then(Option::as_ref).unwrap_or(&ZERO)
    }

    /// The sums by column name.
    pub fn sums(&self) -> impl Iterator<Item = (&'static str, &ExactSum)> {
        known()
            .additive()
            .iter()
            .zip(&self.sums)
            .filter_map(|(column, sum)| Some((known().get(*column).name.as_str(), sum.as_ref()?)))
    }
}

/// Totals by key, the keys by their places in a [`FactsReader`].
#[derive(Debug, Clone, Default)]
pub struct KeyedTotals {
    by_place: Vec<Totals>,
}

impl KeyedTotals {
    /// Adds one line item of a batch.
    #[inline]
    pub fn add(&mut self, facts: &Facts, row: usize) {
        let place = facts.keys.get(row).map_or(0, |place| *place as usize);
        if self.by_place.len() <= place {
            self.by_place.resize_with(place + 1, Totals::default);
        }
        self.by_place[place].add(facts, row);
    }

    /// Adds other totals, key by key.
    pub fn merge(&mut self, other: &Self) {
        if self.by_place.len() < other.by_place.len() {
            self.by_place.resize_with(other.by_place.len(), Totals::default);
        }
        for (own, theirs) in self.by_place.iter_mut().zip(&other.by_place) {
            own.merge(theirs);
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Totals> {
        self.by_place.get(place)
    }

    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    /// How many line items there are under all keys.
    pub fn rows(&self) -> u64 {
        self.by_place.iter().map(Totals::rows).sum()
    }

    /// Key and totals, for keys with line items, in the keys' order.
    pub fn by_key<'a>(&'a self, keys: &'a FactsReader) -> BTreeMap<&'a LedgerKey, &'a Totals> {
        self.by_place
            .iter()
            .enumerate()
            .filter(|(_, totals)| totals.rows > 0)
            .filter_map(|(place, totals)| Some((keys.key(place)?, totals)))
            .collect()
    }

    /// The unblended cost by currency.
    pub fn unblended_by_currency(&self, keys: &FactsReader) -> BTreeMap<String, ExactSum> {
        let mut sums: BTreeMap<String, ExactSum> = BTreeMap::new();
        for (key, totals) in self.by_key(keys) {
            sums.entry(key.currency.clone()).or_default().merge(totals.unblended_cost());
        }
        sums
    }

    /// As the master proof writes it.
    pub fn to_json(&self, keys: &FactsReader) -> Vec<TotalsJson> {
        self.by_key(keys).into_iter().map(|(key, totals)| TotalsJson::new(key, totals)).collect()
    }

    /// As a customer proof writes it: the texts of the keys, which are cells of the source, go through the customer's
    /// mask. Keys that become one are counted together.
    pub fn to_masked_json(&self, keys: &FactsReader, mask: &Mask) -> Vec<TotalsJson> {
        let mut masked: BTreeMap<LedgerKey, Totals> = BTreeMap::new();
        for (key, totals) in self.by_key(keys) {
            masked.entry(key.masked(mask)).or_default().merge(totals);
        }
        masked.iter().map(|(key, totals)| TotalsJson::new(key, totals)).collect()
    }
}

/// Totals as the proofs write them: sums as text, the hash as 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsJson {
    /// Period, currency and line item type.
    #[serde(flatten)]
    pub key: LedgerKey,
    /// How many line items.
    pub rows: u64,
    /// The sum of each additive column that has a number.
    pub sums: BTreeMap<String, String>,
    /// The sum modulo 2^128 of the line items' hashes.
    pub items_hash: String,
}

impl TotalsJson {
    fn new(key: &LedgerKey, totals: &Totals) -> Self {
        Self {
            key: key.clone(),
            rows: totals.rows,
            sums: totals.sums().map(|(name, sum)| (name.to_owned(), sum.to_string())).collect(),
            items_hash: format!("{:032x}", totals.items_hash),
        }
    }
}
