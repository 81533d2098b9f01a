use super::key::LedgerKey;
use super::totals::{Totals, TotalsJson};
use crate::columns::known;
use crate::mask::Mask;
use crate::money::ExactSum;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A text in a proof's totals that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToldError {
    /// A sum that is no number.
    #[error("the sum of {column} in the totals of {line_item_type:?} is {text:?}, which is no number")]
    Sum {
        /// The column.
        column: String,
        /// Whose totals.
        line_item_type: String,
        /// The text.
        text: String,
    },
    /// A sum of a column that is never summed.
    #[error("the totals tell a sum of {0:?}, which is no additive column")]
    Column(String),
    /// A hash that is none.
    #[error("items_hash {0:?} isn't 32 hex digits")]
    Hash(String),
}

/// Totals by key as proofs tell them, read back and added up exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldTotals {
    by_key: BTreeMap<LedgerKey, Totals>,
}

/// One key under which two sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unexplained {
    /// Period, currency, line item type and invoice.
    #[serde(flatten)]
    pub key: LedgerKey,
    /// Rows on the left.
    pub rows: u64,
    /// Rows on the right.
    pub other_rows: u64,
    /// The unblended cost on the left minus that on the right, exact.
    pub unblended_difference: String,
    /// The additive columns whose sums differ.
    pub columns: Vec<String>,
    /// Whether the hashes of the line items differ.
    pub items_differ: bool,
}

impl ToldTotals {
    /// Reads the totals of a proof.
    ///
    /// # Errors
    /// A sum that is no number or of an unknown column, a hash that is none.
    pub fn read<'a>(told: impl IntoIterator<Item = &'a TotalsJson>) -> Result<Self, ToldError> {
        let mut totals = Self::default();
        for told in told {
            totals.add(told)?;
        }
        Ok(totals)
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// A sum that is no number or of an unknown column, a hash that is none.
    pub fn add(&mut self, told: &TotalsJson) -> Result<(), ToldError> {
        let hash = &told.items_hash;
        let is_hash = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let items_hash = u128::from_str_radix(hash, 16).ok().filter(|_| is_hash);
        let items_hash = items_hash.ok_or_else(|| ToldError::Hash(hash.chars().take(80).collect()))?;
        let mut totals = Totals::told(told.rows, items_hash);
        for (column, text) in &told.sums {
            let place = known().additive().iter().position(|additive| known().get(*additive).name == *column);
            let place = place.ok_or_else(|| ToldError::Column(column.chars().take(80).collect()))?;
            let sum = ExactSum::parse(text).ok_or_else(|| ToldError::Sum {
                column: column.clone(),
                line_item_type: told.key.line_item_type.clone(),
                text: text.chars().take(80).collect(),
            })?;
            *totals.sum_mut(place) = sum;
        }
        self.by_key.entry(told.key.clone()).or_default().merge(&totals);
        Ok(())
    }

    /// Adds other totals, key by key.
    pub fn merge(&mut self, other: &Self) {
        for (key, totals) in &other.by_key {
            self.by_key.entry(key.clone()).or_default().merge(totals);
        }
    }

    /// As a customer proof tells them: the texts of the keys masked, keys that become one added up.
    pub fn masked(&self, mask: &Mask) -> Self {
        self.with_keys(|key| key.masked(mask))
    }

    /// By period alone, for a mask whose key isn't known.
    pub fn by_period(&self) -> Self {
        self.with_keys(|key| LedgerKey { billing_period: key.billing_period.clone(), ..LedgerKey::default() })
    }

    fn with_keys(&self, new: impl Fn(&LedgerKey) -> LedgerKey) -> Self {
        let mut totals = Self::default();
        for (key, one) in &self.by_key {
            totals.by_key.entry(new(key)).or_default().merge(one);
        }
        totals
    }

    /// Each key with its totals.
    pub fn by_key(&self) -> impl Iterator<Item = (&LedgerKey, &Totals)> {
        self.by_key.iter()
    }

    /// Line items under all keys.
    pub fn rows(&self) -> u64 {
        self.by_key.values().fold(0, |sum, totals| sum.saturating_add(totals.rows()))
    }

    /// Where the two differ, in rows, any sum, or the line items' hashes; empty where they are the same.
    pub fn differences(&self, other: &Self) -> Vec<Unexplained> {
        let none = Totals::default();
        let keys: BTreeSet<&LedgerKey> = self.by_key.keys().chain(other.by_key.keys()).collect();
        keys.into_iter()
            .filter_map(|key| {
                let left = self.by_key.get(key).unwrap_or(&none);
                let right = other.by_key.get(key).unwrap_or(&none);
                (left != right).then(|| unexplained(key, left, right))
            })
            .collect()
    }
}

fn unexplained(key: &LedgerKey, left: &Totals, right: &Totals) -> Unexplained {
    let mut difference = left.unblended_cost().clone();
    difference.subtract(right.unblended_cost());
    let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = (left.sums().collect(), right.sums().collect());
    let columns: BTreeSet<&str> = ours.keys().chain(theirs.keys()).copied().collect();
    Unexplained {
        key: key.clone(),
        rows: left.rows(),
        other_rows: right.rows(),
        unblended_difference: difference.to_string(),
        columns: columns
            .into_iter()
            .filter(|column| ours.get(column) != theirs.get(column))
            .map(str::to_owned)
            .collect(),
        items_differ: left.items_hash() != right.items_hash(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rows: u64, cost: &str, hash: u128) -> TotalsJson {
        TotalsJson {
            key: LedgerKey { currency: "USD".into(), ..LedgerKey::default() },
            rows,
            sums: BTreeMap::from([("line_item_unblended_cost".to_owned(), cost.to_owned())]),
            items_hash: format!("{hash:032x}"),
        }
    }

    #[test]
    fn parts_add_up_exactly_and_what_differs_is_named() {
        let whole = ToldTotals::read([&told(3, "0.3", 1)]).unwrap();
        // The hashes add up modulo 2^128.
        let mut parts = ToldTotals::read([&told(1, "0.1", u128::MAX)]).unwrap();
        parts.merge(&ToldTotals::read([&told(2, "0.2", 2)]).unwrap());
        assert_eq!(whole.differences(&parts), vec![]);
        assert_eq!(parts.rows(), 3);
        parts.add(&told(0, "0.0000000000000000000000001", 0)).unwrap();
        let [one] = parts.differences(&whole).try_into().unwrap();
        assert_eq!(one.unblended_difference, "0.0000000000000000000000001");
        assert_eq!(one.columns, ["line_item_unblended_cost"]);
        assert!(!one.items_differ);
        let [one] = whole.differences(&ToldTotals::default()).try_into().unwrap();
        assert_eq!((one.rows, one.other_rows, one.items_differ), (3, 0, true));
    }

    #[test]
    fn what_no_proof_of_ours_tells_is_refused() {
        assert!(matches!(ToldTotals::read([&told(1, "1e3", 1)]), Err(ToldError::Sum { .. })));
        let mut wrong = told(1, "1", 1);
        wrong.items_hash.replace_range(..1, "+");
        assert!(matches!(ToldTotals::read([&wrong]), Err(ToldError::Hash(_))));
        wrong = told(u64::MAX, "1", 1);
        wrong.sums.insert("line_item_unblended_rate".to_owned(), "1".to_owned());
        assert!(matches!(ToldTotals::read([&wrong]), Err(ToldError::Column(_))));
        let many = told(u64::MAX, "1", 1);
        assert_eq!(ToldTotals::read([&many, &many]).unwrap().rows(), u64::MAX);
    }
}
