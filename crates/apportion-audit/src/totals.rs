//! Totals as the proofs state them.
//!
//! What comes in: line items with their period, currency, type, invoice, numbers and hash; and the totals that a
//! proof states. What goes out: exact totals, and every difference between two of them. What it must never do: forgive a
//! difference, or let two groups run together.

use crate::columns::ADDITIVE;
use crate::hashes::hex128;
use crate::numbers::{Number, Sum};
use apportion_model::BillingPeriod;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// No bill has nearly as many sets of currency, line item type and invoice.
const MOST_GROUPS: usize = 100_000;

/// The groups of one delivery, numbered as they come.
#[derive(Default)]
pub(crate) struct Groups {
    numbers: HashMap<Vec<u8>, usize>,
    keys: Vec<GroupKey>,
    scratch: Vec<u8>,
    last: Vec<u8>,
    last_number: usize,
}

/// What the line items of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    pub(crate) period: String,
    pub(crate) currency: String,
    pub(crate) line_item_type: String,
    pub(crate) invoice_id: String,
}

impl Groups {
    /// The number of a line item's group, or none where there are far too many.
    pub(crate) fn number(
        &mut self,
        period: BillingPeriod,
        currency: &[u8],
        line_item_type: &[u8],
        invoice_id: &[u8],
    ) -> Option<usize> {
        // Texts that a proof writes alike are one group.
        let texts = [currency, line_item_type, invoice_id].map(String::from_utf8_lossy);
        self.scratch.clear();
        self.scratch.extend_from_slice(&period.start().number().to_le_bytes());
        for text in &texts {
            self.scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.scratch.extend_from_slice(text.as_bytes());
        }
        if self.scratch == self.last {
            return Some(self.last_number);
        }
        let number = match self.numbers.get(&self.scratch) {
            Some(number) => *number,
            None if self.keys.len() >= MOST_GROUPS => return None,
            None => {
                self.numbers.insert(self.scratch.clone(), self.keys.len());
                let [currency, line_item_type, invoice_id] = texts.map(Cow::into_owned);
                let period = period.to_string();
                self.keys.push(GroupKey { period, currency, line_item_type, invoice_id });
                self.keys.len() - 1
            }
        };
        std::mem::swap(&mut self.last, &mut self.scratch);
        self.last_number = number;
        Some(number)
    }
}

#[derive(Clone)]
struct Group {
    rows: u64,
    items_hash: u128,
    sums: Vec<Sum>,
}

/// Rows, sums and item hashes per group.
#[derive(Clone, Default)]
pub(crate) struct Totals {
    rows: u64,
    groups: Vec<Option<Box<Group>>>,
}

impl Totals {
    /// Adds a line item; `numbers` follow the order of the additive columns.
    pub(crate) fn add(&mut self, group: usize, item_hash: u128, numbers: &[Option<Number>]) {
        if self.groups.len() <= group {
            self.groups.resize(group + 1, None);
        }
        let group = self.groups[group].get_or_insert_with(|| {
            Box::new(Group { rows: 0, items_hash: 0, sums: vec![Sum::default(); ADDITIVE.len()] })
        });
        self.rows += 1;
        group.rows += 1;
        group.items_hash = group.items_hash.wrapping_add(item_hash);
        for (sum, number) in group.sums.iter_mut().zip(numbers) {
            if let Some(number) = number {
                sum.add(number);
            }
        }
    }

    /// Adds other totals of the same delivery.
    pub(crate) fn plus(&mut self, other: &Self) {
        self.rows += other.rows;
        self.groups.resize(self.groups.len().max(other.groups.len()), None);
        for (own, other) in self.groups.iter_mut().zip(&other.groups) {
            match (own, other) {
                (Some(own), Some(other)) => own.plus(other),
                (own @ None, Some(other)) => *own = Some(other.clone()),
                (_, None) => {}
            }
        }
    }

    /// How many line items there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The sum of one additive column per currency.
    pub(crate) fn per_currency(&self, groups: &Groups, column: &str) -> BTreeMap<String, Sum> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let Some(place) = ADDITIVE.iter().position(|name| *name == column) else {
            return sums;
        };
        for (key, group) in groups.keys.iter().zip(&self.groups) {
            if let Some(group) = group {
                sums.entry(key.currency.clone()).or_default().plus(&group.sums[place]);
            }
        }
        sums
    }

    /// The form that a master proof states, for comparison.
    pub(crate) fn stated(&self, groups: &Groups, reason: Option<&str>) -> Stated {
        self.stated_as(groups, reason, &mut str::to_owned)
    }

    /// The form that a proof states whose reader sees the keys' texts as `read` gives them; keys that become one are
    /// added up.
    pub(crate) fn stated_as(
        &self,
        groups: &Groups,
        reason: Option<&str>,
        read: &mut dyn FnMut(&str) -> String,
    ) -> Stated {
        let mut seen: BTreeMap<GroupKey, Group> = BTreeMap::new();
        for (key, group) in groups.keys.iter().zip(&self.groups) {
            let Some(group) = group else { continue };
            let key = GroupKey {
                period: key.period.clone(),
                currency: read(&key.currency),
                line_item_type: read(&key.line_item_type),
                invoice_id: read(&key.invoice_id),
            };
            match seen.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert((**group).clone());
                }
                Entry::Occupied(mut entry) => entry.get_mut().plus(group),
            }
        }
        let told = seen.into_iter().map(|(key, group)| {
            let sums = ADDITIVE.iter().zip(&group.sums).filter(|(_, sum)| sum.is_seen());
            let value = StatedGroup {
                rows: group.rows,
                sums: sums.map(|(name, sum)| ((*name).to_owned(), sum.to_text())).collect(),
                items_hash: hex128(group.items_hash),
            };
            ((reason.map(str::to_owned), key), value)
        });
        told.collect()
    }
}

impl Group {
    fn plus(&mut self, other: &Self) {
        self.rows += other.rows;
        self.items_hash = self.items_hash.wrapping_add(other.items_hash);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, other)| sum.plus(other));
    }
}

/// Totals as a proof writes them.
pub(crate) type Stated = BTreeMap<(Option<String>, GroupKey), StatedGroup>;

/// One entry of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatedGroup {
    rows: u64,
    sums: BTreeMap<String, String>,
    items_hash: String,
}

/// Reads the totals that a proof states; with `reasons`, each must have one.
pub(crate) fn read_stated(list: &Value, reasons: bool) -> Result<Stated, String> {
    let list = list.as_array().ok_or("is not a list")?;
    let mut stated = Stated::new();
    for (index, entry) in list.iter().enumerate() {
        let (key, group) = read_group(entry, reasons).map_err(|what| format!("entry {index}: {what}"))?;
        if stated.insert(key, group).is_some() {
            return Err(format!("entry {index}: its group was there before"));
        }
    }
    Ok(stated)
}

fn read_group(entry: &Value, reasons: bool) -> Result<((Option<String>, GroupKey), StatedGroup), String> {
    const KNOWN: [&str; 8] = [
        "reason",
        "billing_period",
        "currency",
        "line_item_type",
        "invoice_id",
        "rows",
        "sums",
        "items_hash",
    ];
    let fields = entry.as_object().ok_or("is not an object")?;
    if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(format!("unknown field {unknown:?}"));
    }
    let text = |name: &str| {
        entry.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("{name} is no text"))
    };
    let key = GroupKey {
        period: text("billing_period")?,
        currency: text("currency")?,
        line_item_type: text("line_item_type")?,
        invoice_id: text("invoice_id")?,
    };
    let reason = if reasons { Some(text("reason")?) } else { None };
    let mut sums = BTreeMap::new();
    for (name, sum) in entry.get("sums").and_then(Value::as_object).ok_or("sums is no object")? {
        let sum = sum.as_str().ok_or_else(|| format!("the sum of {name} is no text"))?;
        sums.insert(name.clone(), sum.to_owned());
    }
    let rows = entry.get("rows").and_then(Value::as_u64).ok_or("rows is no count")?;
    Ok(((reason, key), StatedGroup { rows, sums, items_hash: text("items_hash")? }))
}

/// Every difference, in words.
pub(crate) fn differences(expected: &Stated, found: &Stated) -> Vec<String> {
    let mut differences = Vec::new();
    for (key, group) in expected {
        match found.get(key) {
            None => differences.push(format!("{}: missing, expected {} rows", name(key), group.rows)),
            Some(other) => compare_groups(&name(key), group, other, &mut differences),
        }
    }
    for (key, group) in found {
        if !expected.contains_key(key) {
            differences.push(format!("{}: not expected, found with {} rows", name(key), group.rows));
        }
    }
    differences
}

fn name((reason, key): &(Option<String>, GroupKey)) -> String {
    let reason = reason.as_ref().map_or_else(String::new, |reason| format!("{reason} "));
    format!("{reason}{} {:?} {:?} {:?}", key.period, key.currency, key.line_item_type, key.invoice_id)
}

fn compare_groups(name: &str, expected: &StatedGroup, found: &StatedGroup, differences: &mut Vec<String>) {
    if expected.rows != found.rows {
        differences.push(format!("{name}: rows expected {}, found {}", expected.rows, found.rows));
    }
    if expected.items_hash != found.items_hash {
        let (expected, found) = (&expected.items_hash, &found.items_hash);
        differences.push(format!("{name}: items_hash expected {expected}, found {found}"));
    }
    let columns: std::collections::BTreeSet<_> = expected.sums.keys().chain(found.sums.keys()).collect();
    for column in columns {
        let (wanted, stated) = (expected.sums.get(column), found.sums.get(column));
        if wanted != stated {
            let text = |sum: Option<&String>| sum.cloned().unwrap_or_else(|| "no number".into());
            differences.push(format!(
                "{name}: sum of {column} expected {}, found {}",
                text(wanted),
                text(stated)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn totals() -> (Groups, Totals) {
        let (mut groups, mut totals) = (Groups::default(), Totals::default());
        let period = BillingPeriod::new(2026, 10).unwrap();
        let mut numbers = vec![None; ADDITIVE.len()];
        numbers[2] = Some(Number::parse(b"1.50").unwrap());
        for kind in [&b"Usage"[..], b"Tax", b"Usage"] {
            let group = groups.number(period, b"USD", kind, b"\xff7").unwrap();
            totals.add(group, u128::MAX, &numbers);
        }
        (groups, totals)
    }

    #[test]
    fn stated_totals_come_back() {
        let (groups, totals) = totals();
        let entry = |kind: &str, rows: u64, sum: &str, hash: &str| {
            json!({"billing_period": "20261001-20261101", "currency": "USD", "line_item_type": kind,
                "invoice_id": "\u{fffd}7", "rows": rows, "sums": {"line_item_unblended_cost": sum}, "items_hash": hash})
        };
        let right = json!([
            entry("Tax", 1, "1.5", &"f".repeat(32)),
            entry("Usage", 2, "3", &format!("{}e", "f".repeat(31))),
        ]);
        let expected = totals.stated(&groups, None);
        assert_eq!(differences(&expected, &read_stated(&right, false).unwrap()), Vec::<String>::new());
        let wrong = json!([entry("Tax", 2, "1.50", &"f".repeat(32)), entry("Fee", 2, "3", "")]);
        assert_eq!(differences(&expected, &read_stated(&wrong, false).unwrap()).len(), 4);
        assert!(read_stated(&right, true).is_err());
        assert!(read_stated(&json!([right[0], right[0]]), false).is_err());
        assert_eq!(totals.per_currency(&groups, "line_item_unblended_cost")["USD"].to_text(), "4.5");
        assert_eq!(totals.rows(), 3);
    }
}
