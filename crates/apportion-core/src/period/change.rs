use crate::columns::{ColumnType, known};
use crate::money::{ExactSum, Number};
use apportion_model::Instant;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_128;

/// The column that AWS gives other values to in each version of a month, so no two rows are compared by it.
const UNSTABLE: &str = "identity_line_item_id";

/// The columns by which the rows of two deliveries are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    columns: Vec<(String, ColumnType)>,
    /// Columns that only the older side has.
    pub only_from: Vec<String>,
    /// Columns that only the newer side has.
    pub only_to: Vec<String>,
}

impl Compared {
    /// Those that both sides have, without the line item's id.
    pub fn of(from: &BTreeSet<String>, to: &BTreeSet<String>) -> Self {
        let kind = |name: &str| known().find(name).map_or(ColumnType::String, |id| known().get(id).kind);
        Self {
            columns: from
                .intersection(to)
                .filter(|name| *name != UNSTABLE)
                .map(|name| (name.clone(), kind(name)))
                .collect(),
            only_from: from.difference(to).cloned().collect(),
            only_to: to.difference(from).cloned().collect(),
        }
    }

    /// For each compared column its place in a file; None where the file hasn't got it, as if it were blank.
    pub fn places(&self, file: &[String]) -> Vec<Option<usize>> {
        self.columns.iter().map(|(name, _)| file.iter().position(|column| column == name)).collect()
    }

    /// What two rows have in common exactly if they are the same: blank cells don't count, and numbers and
    /// timestamps do as values. `cell` gives a compared column's cell; `scratch` is only there to be used again.
    pub fn hash<'a>(&self, cell: impl Fn(usize) -> &'a [u8], scratch: &mut Vec<u8>) -> u128 {
        scratch.clear();
        for (place, (_, kind)) in self.columns.iter().enumerate() {
            let cell = cell(place);
            if cell.is_empty() {
                continue;
            }
            scratch.extend_from_slice(&(place as u32).to_le_bytes());
            let start = scratch.len();
            scratch.extend_from_slice(&[0; 4]);
            push_canonical(*kind, cell, scratch);
            // The length stands before the cell, so that no two rows run into the same bytes.
            let length = (scratch.len() - start - 4) as u32;
            scratch[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        xxh3_128(scratch)
    }
}

fn push_canonical(kind: ColumnType, cell: &[u8], out: &mut Vec<u8>) {
    match kind {
        ColumnType::Double => {
            if let Ok(Some(number)) = Number::parse(cell) {
                return number.push_canonical(out);
            }
        }
        ColumnType::Timestamp => {
            if let Some(moment) = Instant::parse(cell) {
                return moment.write_to(out);
            }
        }
        ColumnType::String => {}
    }
    out.extend_from_slice(cell);
}

/// What changes are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Whose share the row is in; in brackets, where it is in nobody's.
    Customer,
    /// The usage account.
    Account,
    /// The product code.
    Service,
    /// The line item type.
    LineItemType,
    /// The UTC day of the usage's start.
    Day,
}

impl Dimension {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 5] = [Self::Customer, Self::Account, Self::Service, Self::LineItemType, Self::Day];

    /// The name, as it is typed and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Account => "account",
            Self::Service => "service",
            Self::LineItemType => "line-item-type",
            Self::Day => "day",
        }
    }
}

/// A row that is on one side only.
#[derive(Debug, Clone, Copy)]
pub struct ChangedRow<'a> {
    /// Whether the newer side has it.
    pub added: bool,
    /// The currency code.
    pub currency: &'a str,
    /// The unblended cost; None where the cell holds no number.
    pub cost: Option<&'a Number>,
    /// Its value in each dimension, in the order of [`Dimension::ALL`].
    pub values: [&'a str; 5],
}

/// Rows and money that came and went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows that only the newer side has.
    pub rows_added: u64,
    /// Rows that only the older side has.
    pub rows_removed: u64,
    /// The unblended cost of those added.
    pub added: ExactSum,
    /// The unblended cost of those removed.
    pub removed: ExactSum,
}

impl Change {
    fn book(&mut self, row: &ChangedRow<'_>) {
        let (rows, sum) = if row.added {
            (&mut self.rows_added, &mut self.added)
        } else {
            (&mut self.rows_removed, &mut self.removed)
        };
        *rows += 1;
        if let Some(cost) = row.cost {
            sum.add(cost);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.rows_added += other.rows_added;
        self.rows_removed += other.rows_removed;
        self.added.merge(&other.added);
        self.removed.merge(&other.removed);
    }

    /// By how much the money grew.
    pub fn net(&self) -> ExactSum {
        let mut net = self.added.clone();
        net.subtract(&self.removed);
        net
    }
}

/// What changed, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeLine {
    /// The value of the dimension; blank in a total.
    pub value: String,
    /// The currency.
    pub currency: String,
    /// Rows that only the older delivery has.
    pub rows_removed: u64,
    /// Rows that only the newer delivery has.
    pub rows_added: u64,
    /// The unblended cost of those removed, exact.
    pub removed: String,
    /// The unblended cost of those added.
    pub added: String,
    /// The difference.
    pub net: String,
}

/// All changes between two deliveries, by currency, and by each dimension and currency.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    total: BTreeMap<String, Change>,
    by: [BTreeMap<(String, String), Change>; 5],
}

impl Changes {
    /// Books a row.
    pub fn book(&mut self, row: &ChangedRow<'_>) {
        self.total.entry(row.currency.to_owned()).or_default().book(row);
        for (by, value) in self.by.iter_mut().zip(row.values) {
            by.entry((value.to_owned(), row.currency.to_owned())).or_default().book(row);
        }
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        for (currency, change) in &other.total {
            self.total.entry(currency.clone()).or_default().merge(change);
        }
        for (own, theirs) in self.by.iter_mut().zip(&other.by) {
            for (key, change) in theirs {
                own.entry(key.clone()).or_default().merge(change);
            }
        }
    }

    /// By currency.
    pub fn total(&self) -> &BTreeMap<String, Change> {
        &self.total
    }

    /// By currency, as it is told.
    pub fn total_lines(&self) -> Vec<ChangeLine> {
        self.total.iter().map(|(currency, change)| line("", currency, change)).collect()
    }

    /// By a dimension's values and currency, as it is told.
    pub fn lines(&self, dimension: Dimension) -> Vec<ChangeLine> {
        let by = Dimension::ALL.iter().position(|one| *one == dimension).and_then(|at| self.by.get(at));
        by.into_iter().flatten().map(|((value, currency), change)| line(value, currency, change)).collect()
    }
}

fn line(value: &str, currency: &str, change: &Change) -> ChangeLine {
    ChangeLine {
        value: value.to_owned(),
        currency: currency.to_owned(),
        rows_removed: change.rows_removed,
        rows_added: change.rows_added,
        removed: change.removed.to_string(),
        added: change.added.to_string(),
        net: change.net().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rows_are_the_same_by_value_and_never_by_the_line_items_id() {
        let columns =
            ["identity_line_item_id", "line_item_unblended_cost", "line_item_usage_start_date", "t"];
        let compared = Compared::of(&names(&columns), &names(&columns));
        let file: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let places = compared.places(&file);
        let hash = |cells: [&'static str; 4]| {
            let cell = |place: usize| places[place].map_or(&b""[..], |at| cells[at].as_bytes());
            compared.hash(cell, &mut Vec::new())
        };
        let one = hash(["a", "0.10", "2025-03-01T00:00:00Z", "x"]);
        assert_eq!(one, hash(["b", "1e-1", "2025-03-01 00:00:00", "x"]));
        for other in [
            ["a", "0.11", "2025-03-01T00:00:00Z", "x"],
            ["a", "0.10", "2025-03-01T00:00:01Z", "x"],
            ["a", "0.10", "2025-03-01T00:00:00Z", ""],
            ["a", "", "2025-03-01T00:00:00Z", "0.10x"],
        ] {
            assert_ne!(one, hash(other), "{other:?}");
        }
    }

    #[test]
    fn columns_of_one_side_are_named_and_not_compared() {
        let compared = Compared::of(&names(&["a", "b"]), &names(&["b", "c"]));
        assert_eq!(compared.columns, [("b".to_owned(), ColumnType::String)]);
        assert_eq!((compared.only_from, compared.only_to), (vec!["a".to_owned()], vec!["c".to_owned()]));
        // A file of a side may lack a column that another file of it has.
        let compared = Compared::of(&names(&["a", "b"]), &names(&["a", "b"]));
        assert_eq!(compared.places(&["b".to_owned()]), [None, Some(0)]);
    }

    #[test]
    fn changes_add_up_in_every_dimension() {
        let mut changes = Changes::default();
        let mut book = |added, cost: &str, day| {
            let cost = Number::parse(cost.as_bytes()).unwrap();
            let values = ["acme", "1", "AmazonEC2", "Usage", day];
            changes.book(&ChangedRow { added, currency: "USD", cost: cost.as_ref(), values });
        };
        book(false, "1.5", "2025-03-01");
        book(true, "1.25", "2025-03-02");
        book(true, "", "2025-03-02");
        let total = changes.total_lines().remove(0);
        assert_eq!((total.rows_removed, total.rows_added), (1, 2));
        assert_eq!(
            (total.removed.as_str(), total.added.as_str(), total.net.as_str()),
            ("1.5", "1.25", "-0.25")
        );
        assert_eq!(changes.lines(Dimension::Customer).len(), 1);
        let days: Vec<String> = changes.lines(Dimension::Day).into_iter().map(|line| line.net).collect();
        assert_eq!(days, ["-1.5", "1.25"]);
    }
}
