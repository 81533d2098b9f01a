//! The known columns of a CUR, the contracts, and AWS's rule from header to snake name.
//!
//! What comes in: `columns.toml`, and the headers of files. What goes out: [`ColumnId`]s and their properties.
//! What it must never do: guess. A header that isn't in the table is unknown, and is delivered in no contract
//! but `source`.

mod contract;
mod drift;
mod name;

pub use contract::{Contract, ExportColumn, HeaderStyle};
pub use drift::drift;
pub use name::{slash_name, snake_name};

use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("columns.toml");

/// A known column: its place in `columns.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(u16);

impl ColumnId {
    /// The place as an index into anything that has one entry per known column.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A column's type, as AWS types CUR 2.0 and its Athena tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Text, account ids and rates included.
    String,
    /// A number; in CSV its decimal text.
    Double,
    /// One of the two billing period dates and the two usage dates.
    Timestamp,
}

impl ColumnType {
    /// The type's name in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
        }
    }

    /// The type's name in a legacy manifest.
    pub fn manifest_name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Double => "OptionalBigDecimal",
            Self::Timestamp => "DateTime",
        }
    }

    /// The type of that name in a legacy manifest of ours.
    pub fn of_manifest_name(name: &str) -> Option<Self> {
        [Self::String, Self::Double, Self::Timestamp].into_iter().find(|kind| kind.manifest_name() == name)
    }
}

/// One known column.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The snake name.
    pub name: String,
    /// The legacy slash name, where legacy CUR has the column.
    pub header: Option<String>,
    /// The type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether the ledger sums it.
    #[serde(default)]
    pub additive: bool,
    /// Whether the whole cell is an account id.
    #[serde(default)]
    pub account: bool,
    /// Whether AWS guarantees it in every report.
    #[serde(default)]
    pub guaranteed: bool,
    /// The CUR 2.0 map it lives in, where it isn't a column of its own.
    pub map: Option<String>,
    /// The key in that map.
    pub key: Option<String>,
    /// Other snake names under which real files hold it.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// The columns that decisions are made by.
#[derive(Debug, Clone, Copy)]
pub struct WellKnown {
    /// `line_item_usage_account_id`: whose the line item is.
    pub usage_account: ColumnId,
    /// `line_item_usage_start_date`: when.
    pub usage_start: ColumnId,
    /// `line_item_line_item_type`.
    pub line_item_type: ColumnId,
    /// `line_item_currency_code`.
    pub currency: ColumnId,
    /// `line_item_unblended_cost`.
    pub unblended_cost: ColumnId,
    /// `bill_billing_period_start_date`.
    pub period_start: ColumnId,
    /// `bill_payer_account_id`.
    pub payer_account: ColumnId,
    /// `line_item_product_code`.
    pub product_code: ColumnId,
    /// `split_line_item_parent_resource_id`: not blank on split-cost rows only.
    pub split_parent: ColumnId,
    /// `line_item_resource_id`.
    pub resource_id: ColumnId,
    /// `product_sku`.
    pub sku: ColumnId,
    /// `bill_invoice_id`: blank until the invoice is issued.
    pub invoice_id: ColumnId,
}

impl WellKnown {
    /// The columns without which a delivery is refused.
    pub fn required(&self) -> [ColumnId; 6] {
        [
            self.usage_account,
            self.usage_start,
            self.line_item_type,
            self.currency,
            self.unblended_cost,
            self.period_start,
        ]
    }
}

/// All known columns.
#[derive(Debug)]
pub struct Columns {
    columns: Vec<Column>,
    by_name: HashMap<String, ColumnId>,
    eco: Vec<ColumnId>,
    eco_extended: Vec<ColumnId>,
    guaranteed: Vec<ColumnId>,
    additive: Vec<ColumnId>,
    well_known: WellKnown,
}

#[derive(Deserialize)]
struct Table {
    contract: Contracts,
    column: Vec<Column>,
}

#[derive(Deserialize)]
struct Contracts {
    eco: Vec<String>,
    extended: Vec<String>,
}

static KNOWN: LazyLock<Columns> = LazyLock::new(|| {
    // The table is part of the program; `the_table_is_whole` proves that it reads, so the fallback never runs.
    Columns::parse(TABLE).unwrap_or_else(|_| Columns::empty())
});

/// The known columns.
pub fn known() -> &'static Columns {
    &KNOWN
}

impl Columns {
    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut by_name = HashMap::new();
        for (index, column) in table.column.iter().enumerate() {
            let id = ColumnId(u16::try_from(index).map_err(|error| error.to_string())?);
            for name in std::iter::once(&column.name).chain(&column.aliases) {
                if by_name.insert(name.clone(), id).is_some() {
                    return Err(format!("column {name} is there twice"));
                }
            }
        }
        let find = |name: &str| by_name.get(name).copied().ok_or_else(|| format!("no column {name}"));
        let list = |names: &[String]| names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>();
        let eco = list(&table.contract.eco)?;
        let of = |test: fn(&Column) -> bool| {
            (0u16..).zip(&table.column).filter(|(_, c)| test(c)).map(|(i, _)| ColumnId(i)).collect()
        };
        Ok(Self {
            eco_extended: eco.iter().copied().chain(list(&table.contract.extended)?).collect(),
            eco,
            guaranteed: of(|column| column.guaranteed),
            additive: of(|column| column.additive),
            well_known: WellKnown {
                usage_account: find("line_item_usage_account_id")?,
                usage_start: find("line_item_usage_start_date")?,
                line_item_type: find("line_item_line_item_type")?,
                currency: find("line_item_currency_code")?,
                unblended_cost: find("line_item_unblended_cost")?,
                period_start: find("bill_billing_period_start_date")?,
                payer_account: find("bill_payer_account_id")?,
                product_code: find("line_item_product_code")?,
                split_parent: find("split_line_item_parent_resource_id")?,
                resource_id: find("line_item_resource_id")?,
                sku: find("product_sku")?,
                invoice_id: find("bill_invoice_id")?,
            },
            by_name,
            columns: table.column,
        })
    }

    fn empty() -> Self {
        let none = ColumnId(0);
        Self {
            columns: Vec::new(),
            by_name: HashMap::new(),
            eco: Vec::new(),
            eco_extended: Vec::new(),
            guaranteed: Vec::new(),
            additive: Vec::new(),
            well_known: WellKnown {
                usage_account: none,
                usage_start: none,
                line_item_type: none,
                currency: none,
                unblended_cost: none,
                period_start: none,
                payer_account: none,
                product_code: none,
                split_parent: none,
                resource_id: none,
                sku: none,
                invoice_id: none,
            },
        }
    }

    /// The column of a snake name or one of its aliases.
    pub fn find(&self, snake_name: &str) -> Option<ColumnId> {
        self.by_name.get(snake_name).copied()
    }

    /// A column's properties.
    pub fn get(&self, id: ColumnId) -> &Column {
        &self.columns[id.index()]
    }

    /// All columns, in `columns.toml`'s order.
    pub fn all(&self) -> impl Iterator<Item = (ColumnId, &Column)> {
        (0u16..).map(ColumnId).zip(&self.columns)
    }

    /// How many columns are known.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// The 28 columns that AWS guarantees in every report, in the order the line item hash counts them.
    /// Source: AWS user guide, "Troubleshooting Cost and Usage Reports".
    pub fn guaranteed(&self) -> &[ColumnId] {
        &self.guaranteed
    }

    /// The columns the ledger sums.
    pub fn additive(&self) -> &[ColumnId] {
        &self.additive
    }

    /// The columns that decisions are made by.
    pub fn well_known(&self) -> &WellKnown {
        &self.well_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let columns = Columns::parse(TABLE).unwrap();
        assert_eq!(columns.eco.len(), 244);
        assert_eq!(columns.guaranteed.len(), 28);
        assert_eq!(columns.additive.len(), 45);
        for (_, column) in columns.all() {
            if let Some(header) = &column.header {
                assert_eq!(&String::from_utf8(snake_name(header.as_bytes())).unwrap(), &column.name);
            }
            assert_eq!(column.map.is_some(), column.key.is_some(), "{}", column.name);
            assert!(!column.additive || column.kind == ColumnType::Double, "{}", column.name);
            assert!(!column.account || column.kind == ColumnType::String, "{}", column.name);
        }
    }
}
