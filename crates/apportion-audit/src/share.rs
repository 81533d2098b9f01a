//! What belongs to one customer.
//!
//! What comes in: line items in the forms that exports have. What goes out: per share its rows' hashes, totals,
//! columns and accounts. What it must never do: keep rows; it grows with columns, groups and accounts alone.

use crate::delivered::{ExportColumn, Registry, Row, Seen, export_columns};
use crate::line_item::LineItem;
use crate::request::{AuditedCustomer, Contract};
use crate::stored::StoredShare;
use crate::totals::Totals;
use apportion_model::{AccountId, Format};
use std::collections::{BTreeMap, HashSet};

/// One share: a customer's, or one linked account's of it.
#[derive(Default)]
pub(crate) struct Share {
    pub(crate) linked_account: Option<AccountId>,
    pub(crate) totals: Totals,
    /// The usage accounts as delivered.
    pub(crate) accounts: HashSet<Vec<u8>>,
    rows_hash: u128,
    order: Order,
    /// With an export in Parquet.
    pub(crate) stored: Option<Box<StoredShare>>,
    stored_order: Order,
    seen: Seen,
}

/// A hash of rows in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Order(u128);

impl Order {
    /// Adds the next row.
    pub(crate) fn add(&mut self, row_hash: u128) {
        const ODD: u128 = 0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9;
        self.0 = self.0.wrapping_mul(ODD).wrapping_add(row_hash);
    }
}

impl Share {
    /// Adds a line item in all forms.
    pub(crate) fn add(
        &mut self,
        group: usize,
        item: &LineItem,
        row: &Row,
        currency: &[u8],
        registry: &Registry,
    ) {
        self.totals.add(group, item.item_hash, &item.numbers);
        self.rows_hash = self.rows_hash.wrapping_add(row.hash);
        self.order.add(row.hash);
        self.seen.mark(&row.marks, registry.len());
        if let Some(stored) = &mut self.stored {
            stored.add(&row.stored, currency);
            self.stored_order.add(row.stored.hash);
        }
    }

    /// The columns of an export of this share.
    pub(crate) fn columns(&self, contract: Contract, registry: &Registry) -> Vec<ExportColumn> {
        export_columns(contract, &self.seen, registry)
    }

    /// The multiset hash of the rows as a format's reader sees them.
    pub(crate) fn rows_hash(&self, format: Format) -> u128 {
        match (format, &self.stored) {
            (Format::Parquet, Some(stored)) => stored.rows_hash,
            _ => self.rows_hash,
        }
    }

    /// The hash of the rows in the source's order as a format's reader sees them.
    pub(crate) fn order(&self, format: Format) -> Order {
        if format == Format::Parquet { self.stored_order } else { self.order }
    }
}

/// Everything that is one customer's.
#[derive(Default)]
pub(crate) struct CustomerExpected {
    pub(crate) shares: Vec<Share>,
    /// Rows of the share that none of its exports is for.
    pub(crate) without_export: BTreeMap<String, u64>,
    pub(crate) withheld: BTreeMap<&'static str, Totals>,
}

/// One share per way the customer's exports are cut; without any export the whole.
pub(crate) fn shares(customer: &AuditedCustomer) -> CustomerExpected {
    let mut shares: Vec<Share> = Vec::new();
    let cuts = customer.exports.iter().map(|export| export.linked_account.clone());
    for linked_account in cuts.chain(customer.exports.is_empty().then_some(None)) {
        if !shares.iter().any(|share| share.linked_account == linked_account) {
            let parquet = customer.exports.iter().any(|export| export.format == Format::Parquet);
            let stored = parquet.then(Box::default);
            shares.push(Share { linked_account, stored, ..Share::default() });
        }
    }
    CustomerExpected { shares, ..CustomerExpected::default() }
}
