use super::{ColumnId, ColumnType, known, slash_name, snake_name};
use serde::{Deserialize, Serialize};

/// Which columns a customer receives: docs/delivery-format.md, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// The ideal Eco schema: 244 columns, nothing else.
    Eco,
    /// The same, then Savings Plans, net amounts, discounts and split cost, then the customer's own tags and cost
    /// categories.
    EcoExtended,
    /// All columns of the source.
    Source,
}

impl Contract {
    /// All contracts, the default first.
    pub const ALL: [Self; 3] = [Self::Eco, Self::EcoExtended, Self::Source];

    /// The contract's name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eco => "eco",
            Self::EcoExtended => "eco-extended",
            Self::Source => "source",
        }
    }

    /// The columns that every export has, in their order, whatever its rows hold.
    pub fn fixed(self) -> &'static [ColumnId] {
        match self {
            Self::Eco => &known().eco,
            Self::EcoExtended => &known().eco_extended,
            Self::Source => &known().guaranteed,
        }
    }

    /// Whether a column outside the fixed ones belongs to an export that has a cell in it which isn't blank. Such
    /// columns follow the fixed ones in the byte order of their names.
    pub fn takes(self, name: &str) -> bool {
        match self {
            Self::Eco => false,
            Self::EcoExtended => ["resource_tags_", "cost_category_", "discount_"]
                .iter()
                .any(|prefix| name.starts_with(prefix)),
            Self::Source => true,
        }
    }

    /// Whether split-cost line items have columns that tell of them. Without those they would be empty shells whose
    /// usage counts twice.
    pub fn carries_split_cost(self) -> bool {
        self != Self::Eco
    }
}

/// How the columns of a csv.gz are called in its header row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderStyle {
    /// `line_item_usage_account_id`
    Snake,
    /// `lineItem/UsageAccountId`
    Slash,
}

impl HeaderStyle {
    /// Both styles.
    pub const ALL: [Self; 2] = [Self::Snake, Self::Slash];

    /// The style's name in settings and proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snake => "snake",
            Self::Slash => "slash",
        }
    }
}

/// One column of one export.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExportColumn {
    /// The snake name.
    pub name: String,
    /// The slash name: what manifests are made of, and the header row where `header = "slash"`.
    pub header: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

impl ExportColumn {
    /// A known column.
    pub fn known(id: ColumnId) -> Self {
        let column = known().get(id);
        let header = column.header.clone().unwrap_or_else(|| slash_name(&column.name));
        Self { name: column.name.clone(), header, kind: column.kind }
    }

    /// A column that isn't known, with the header that the source gave it.
    pub fn other(name: &str, header: &str) -> Self {
        let header = if header.contains('/') && snake_name(header.as_bytes()) == name.as_bytes() {
            header.to_owned()
        } else {
            slash_name(name)
        };
        Self { name: name.to_owned(), header, kind: ColumnType::String }
    }

    /// What stands in the header row.
    pub fn title(&self, style: HeaderStyle) -> &str {
        match style {
            HeaderStyle::Snake => &self.name,
            HeaderStyle::Slash => &self.header,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eco_contract_has_its_types_and_its_odd_order() {
        let eco = Contract::Eco.fixed();
        let count = |kind| eco.iter().filter(|id| known().get(**id).kind == kind).count();
        assert_eq!(count(ColumnType::String), 225);
        assert_eq!(count(ColumnType::Double), 15);
        assert_eq!(count(ColumnType::Timestamp), 4);
        assert_eq!(known().get(eco[0]).name, "bill_bill_type");
        assert_eq!(known().get(eco[243]).name, "identity_line_item_id");
    }

    #[test]
    fn extended_begins_with_eco_and_repeats_nothing() {
        let extended = Contract::EcoExtended.fixed();
        assert!(extended.starts_with(Contract::Eco.fixed()) && extended.len() > 280);
        let mut sorted = extended.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), extended.len());
        assert_eq!(Contract::Source.fixed().len(), 28);
    }

    #[test]
    fn every_slash_name_is_the_way_back_to_its_column() {
        for (id, column) in known().all() {
            let export = ExportColumn::known(id);
            assert_eq!(snake_name(export.header.as_bytes()), column.name.as_bytes(), "{}", export.header);
        }
        assert_eq!(slash_name("resource_tags_user_cost_center"), "resourceTags/user_cost_center");
        assert_eq!(slash_name("line_item_2x"), "lineItem/2x");
        assert_eq!(slash_name("something_else"), "something_else");
        let tag = ExportColumn::other("resource_tags_user_cost_center", "resourceTags/user:CostCenter");
        assert_eq!(tag.header, "resourceTags/user:CostCenter");
        assert_eq!(ExportColumn::other("margin", "Margin").header, "margin");
    }
}
