//! Routes: whose a line item is, by its usage account and date only.
//!
//! What comes in: the customers' account lists with their dates, and batches of line items. What goes out: one
//! [`Route`] per line item, a customer or `unassigned` with a reason. What it must never do: let a line item's
//! type take it from the owner of its account, or leave one without a route.

mod membership;

pub use membership::{Accounts, Membership, MembershipError, OwnedAccount};

use crate::columns::{ColumnId, known};
use crate::line_item::{Batch, Place, excerpt};
use apportion_model::{BillingPeriod, CustomerId, Day, Instant};
use serde::{Deserialize, Serialize};

/// Why a line item is in nobody's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody lists the account.
    UnknownAccount,
    /// The line item names no account.
    BlankAccount,
    /// A customer lists the account, but not for this date.
    OutsideDates,
    /// Tax of the payer's own account.
    PayerTax,
    /// Support of the payer's own account.
    PayerSupport,
    /// Another fee of the payer's own account.
    PayerFee,
    /// A credit to the payer's own account.
    PayerCredit,
    /// A refund to the payer's own account.
    PayerRefund,
    /// A discount to the payer's own account.
    PayerDiscount,
    /// Fees of reservations and Savings Plans that the payer owns.
    PayerCommitment,
    /// The payer's own usage.
    PayerUsage,
    /// A split-cost line item, which would be an empty shell in contract `eco`.
    WithheldSplitCost,
    /// A line item type that the customer's settings withhold.
    WithheldType,
}

impl Reason {
    /// All reasons, in the order of tables.
    pub const ALL: [Self; 13] = [
        Self::UnknownAccount,
        Self::BlankAccount,
        Self::OutsideDates,
        Self::PayerTax,
        Self::PayerSupport,
        Self::PayerFee,
        Self::PayerCredit,
        Self::PayerRefund,
        Self::PayerDiscount,
        Self::PayerCommitment,
        Self::PayerUsage,
        Self::WithheldSplitCost,
        Self::WithheldType,
    ];

    /// The reason as files and proofs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown_account",
            Self::BlankAccount => "blank_account",
            Self::OutsideDates => "outside_dates",
            Self::PayerTax => "payer_tax",
            Self::PayerSupport => "payer_support",
            Self::PayerFee => "payer_fee",
            Self::PayerCredit => "payer_credit",
            Self::PayerRefund => "payer_refund",
            Self::PayerDiscount => "payer_discount",
            Self::PayerCommitment => "payer_commitment",
            Self::PayerUsage => "payer_usage",
            Self::WithheldSplitCost => "withheld_split_cost",
            Self::WithheldType => "withheld_type",
        }
    }
}

/// The outcome of one line item. `owner` and `customer` are places in the list the router was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// The customer's share.
    Share {
        /// Whose.
        customer: u32,
    },
    /// Nobody's share.
    Unassigned {
        /// Why.
        reason: Reason,
        /// Whose it would have been; only for what is withheld.
        owner: Option<u32>,
    },
}

/// One customer, as routing sees it.
#[derive(Debug, Clone)]
pub struct RoutedCustomer {
    /// Who.
    pub id: CustomerId,
    /// Which accounts, and when.
    pub accounts: Accounts,
    /// Line item types that are withheld from the share.
    pub withhold: Vec<String>,
    /// Whether its contract has columns for split-cost line items.
    pub carries_split_cost: bool,
}

/// A date that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{place}: \"{text}\" is not a timestamp. Nothing was published; fetch the file again, or ask who wrote it"
)]
pub struct DateError {
    /// Where.
    pub place: Place,
    /// The cell.
    pub text: String,
}

/// Routes line items.
#[derive(Debug)]
pub struct Router {
    membership: Membership,
    withhold: Vec<Vec<Vec<u8>>>,
    carries_split_cost: Vec<bool>,
    default_period: BillingPeriod,
}

impl Router {
    /// # Errors
    /// Two customers that claim one account on one day, or an empty list.
    pub fn new(customers: &[RoutedCustomer], default_period: BillingPeriod) -> Result<Self, MembershipError> {
        Ok(Self {
            membership: Membership::new(customers.iter().map(|customer| (&customer.id, &customer.accounts)))?
                .bearing_on(default_period),
            withhold: customers
                .iter()
                .map(|customer| customer.withhold.iter().map(|kind| kind.as_bytes().to_vec()).collect())
                .collect(),
            carries_split_cost: customers.iter().map(|customer| customer.carries_split_cost).collect(),
            default_period,
        })
    }

    /// The routes of a batch's line items, in their order; `periods` are the line items' own.
    ///
    /// # Errors
    /// A usage start that isn't blank and isn't a timestamp.
    pub fn route(
        &self,
        batch: &Batch,
        periods: &[BillingPeriod],
        routes: &mut Vec<Route>,
    ) -> Result<(), DateError> {
        let columns = known().well_known();
        routes.clear();
        for row in 0..batch.rows {
            let period = periods.get(row).copied().unwrap_or(self.default_period);
            let account = batch.column(columns.usage_account).get(row);
            if account.is_empty() {
                routes.push(Route::Unassigned { reason: Reason::BlankAccount, owner: None });
                continue;
            }
            let date = self.date(batch, row, period)?;
            routes.push(match self.membership.owner(account, date) {
                Some(customer) => self.owned(batch, row, customer),
                None => Route::Unassigned { reason: self.unowned(batch, row, account), owner: None },
            });
        }
        Ok(())
    }

    /// The UTC day that membership is looked up for.
    fn date(&self, batch: &Batch, row: usize, period: BillingPeriod) -> Result<Day, DateError> {
        let column = known().well_known().usage_start;
        let cell = batch.column(column).get(row);
        if cell.is_empty() {
            return Ok(period.start());
        }
        let moment = Instant::parse(cell)
            .ok_or_else(|| DateError { place: batch.place(row, column), text: excerpt(cell) })?;
        let day = moment.day();
        Ok(if (period.start()..period.end()).contains(&day) { day } else { period.start() })
    }

    fn owned(&self, batch: &Batch, row: usize, customer: u32) -> Route {
        let columns = known().well_known();
        let withheld = |reason| Route::Unassigned { reason, owner: Some(customer) };
        let carries = self.carries_split_cost.get(customer as usize).copied().unwrap_or_default();
        if !carries && !batch.column(columns.split_parent).get(row).is_empty() {
            return withheld(Reason::WithheldSplitCost);
        }
        let types = self.withhold.get(customer as usize).map_or(&[][..], Vec::as_slice);
        if !types.is_empty() {
            let line_item_type = batch.column(columns.line_item_type).get(row);
            if types.iter().any(|withheld| withheld == line_item_type) {
                return withheld(Reason::WithheldType);
            }
        }
        Route::Share { customer }
    }

    fn unowned(&self, batch: &Batch, row: usize, account: &[u8]) -> Reason {
        let columns = known().well_known();
        let cell = |id: ColumnId| batch.column(id).get(row);
        if self.membership.is_listed(account) {
            return Reason::OutsideDates;
        }
        if account != cell(columns.payer_account) {
            return Reason::UnknownAccount;
        }
        match cell(columns.line_item_type) {
            b"Tax" => Reason::PayerTax,
            b"Credit" => Reason::PayerCredit,
            b"Refund" => Reason::PayerRefund,
            kind if kind.ends_with(b"Discount") => Reason::PayerDiscount,
            b"RIFee" | b"SavingsPlanUpfrontFee" | b"SavingsPlanRecurringFee" => Reason::PayerCommitment,
            _ if memchr::memmem::find(cell(columns.product_code), b"Support").is_some() => {
                Reason::PayerSupport
            }
            b"Fee" | b"FlatRateSubscription" => Reason::PayerFee,
            _ => Reason::PayerUsage,
        }
    }

    /// The period of each line item: the month of its bill, or the delivery's where that is blank.
    ///
    /// # Errors
    /// A billing period start that isn't blank and isn't a timestamp.
    pub fn periods(&self, batch: &Batch, periods: &mut Vec<BillingPeriod>) -> Result<(), DateError> {
        let column = known().well_known().period_start;
        let cells = batch.column(column);
        let mut last: (&[u8], BillingPeriod) = (&[], self.default_period);
        periods.clear();
        for row in 0..batch.rows {
            let cell = cells.get(row);
            if cell != last.0 {
                let period = if cell.is_empty() {
                    Some(self.default_period)
                } else {
                    Instant::parse(cell).and_then(BillingPeriod::of)
                };
                let wrong = || DateError { place: batch.place(row, column), text: excerpt(cell) };
                last = (cell, period.ok_or_else(wrong)?);
            }
            periods.push(last.1);
        }
        Ok(())
    }
}
