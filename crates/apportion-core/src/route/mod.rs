//! Routes: whose a line item is, by its usage account and date only.
//!
//! What comes in: the customers' account lists with their dates, and batches of line items. What goes out: one
//! [`Route`] per line item, a customer or `unassigned` with a reason. What it must never do: let a line item's
//! type take it from the owner of its account, or leave one without a route.

mod membership;

pub use membership::{Accounts, Membership, MembershipError, OwnedAccount};

use crate::columns::{ColumnId, known};
use crate::line_item::{Batch, Place, Remembered, excerpt};
use apportion_model::{BillingPeriod, CustomerId, Day, Instant};
use membership::Standing;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

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

/// Routes line items. What it makes of a cell is remembered, because it never depends on another cell.
#[derive(Debug)]
pub struct Router {
    rules: Rules,
    default_period: BillingPeriod,
    /// By usage account; the inner None for a blank one.
    standings: Remembered<Option<Option<Standing>>>,
    /// By usage start; the inner None for a blank one.
    days: Remembered<Option<Option<Day>>>,
    /// By the bill's period start.
    periods: Remembered<Option<BillingPeriod>>,
}

/// What routes follow from.
#[derive(Debug)]
struct Rules {
    membership: Membership,
    withhold: Vec<Vec<Vec<u8>>>,
    carries_split_cost: Vec<bool>,
}

impl Router {
    /// # Errors
    /// Two customers that claim one account on one day, or an empty list.
    pub fn new(customers: &[RoutedCustomer], default_period: BillingPeriod) -> Result<Self, MembershipError> {
        let rules = Rules {
            membership: Membership::new(customers.iter().map(|customer| (&customer.id, &customer.accounts)))?
                .bearing_on(default_period),
            withhold: customers
                .iter()
                .map(|customer| customer.withhold.iter().map(|kind| kind.as_bytes().to_vec()).collect())
                .collect(),
            carries_split_cost: customers.iter().map(|customer| customer.carries_split_cost).collect(),
        };
        let (standings, days, periods) = Default::default();
        Ok(Self { rules, default_period, standings, days, periods })
    }

    /// The routes of a batch's line items, in their order; `periods` are the line items' own.
    ///
    /// # Errors
    /// A usage start that isn't blank and isn't a timestamp, unless the account is blank.
    pub fn route(
        &mut self,
        batch: &Batch,
        periods: &[BillingPeriod],
        routes: &mut Vec<Route>,
    ) -> Result<(), DateError> {
        let columns = known().well_known();
        let Self { rules, standings, days, .. } = self;
        let mut standings = standings.of(batch.column(columns.usage_account));
        let mut days = days.of(batch.column(columns.usage_start));
        routes.clear();
        for row in 0..batch.rows {
            let standing = |account: &[u8]| {
                Ok::<_, Infallible>(Some((!account.is_empty()).then(|| rules.membership.standing(account))))
            };
            let Ok(standing) = standings.get(row, standing);
            let Some(standing) = standing.flatten() else {
                routes.push(Route::Unassigned { reason: Reason::BlankAccount, owner: None });
                continue;
            };
            // Read even where the account's owner is the same on every day: what isn't a date is refused.
            let day = *days.get(row, day_of).map_err(|NoTimestamp| error(batch, row, columns.usage_start))?;
            let owner = match standing {
                Standing::Always(customer) => Some(customer),
                Standing::Unlisted => None,
                Standing::ByDay => {
                    let period = periods.get(row).copied().unwrap_or(self.default_period);
                    let account = batch.column(columns.usage_account).get(row);
                    rules.membership.owner(account, day_within(period, day.flatten()))
                }
            };
            routes.push(match owner {
                Some(customer) => rules.owned(batch, row, customer),
                None => Route::Unassigned { reason: unowned(batch, row, standing), owner: None },
            });
        }
        Ok(())
    }

    /// The period of each line item: the month of its bill, or the delivery's where that is blank.
    ///
    /// # Errors
    /// A billing period start that isn't blank and isn't a timestamp.
    pub fn periods(&mut self, batch: &Batch, periods: &mut Vec<BillingPeriod>) -> Result<(), DateError> {
        let column = known().well_known().period_start;
        let default_period = self.default_period;
        let mut reading = self.periods.of(batch.column(column));
        let period = |cell: &[u8]| {
            if cell.is_empty() {
                return Ok(Some(default_period));
            }
            Instant::parse(cell).and_then(BillingPeriod::of).map(Some).ok_or(NoTimestamp)
        };
        periods.clear();
        for row in 0..batch.rows {
            let period = *reading.get(row, period).map_err(|NoTimestamp| error(batch, row, column))?;
            periods.push(period.unwrap_or(default_period));
        }
        Ok(())
    }
}

/// A cell that should be a timestamp and isn't.
struct NoTimestamp;

fn error(batch: &Batch, row: usize, column: ColumnId) -> DateError {
    DateError { place: batch.place(row, column), text: excerpt(batch.column(column).get(row)) }
}

fn day_of(usage_start: &[u8]) -> Result<Option<Option<Day>>, NoTimestamp> {
    if usage_start.is_empty() {
        return Ok(Some(None));
    }
    Instant::parse(usage_start).map(|moment| Some(Some(moment.day()))).ok_or(NoTimestamp)
}

/// The UTC day that membership is looked up for: that of the usage's start, where it lies in the period.
fn day_within(period: BillingPeriod, usage_start: Option<Day>) -> Day {
    usage_start.filter(|day| (period.start()..period.end()).contains(day)).unwrap_or(period.start())
}

impl Rules {
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
}

fn unowned(batch: &Batch, row: usize, standing: Standing) -> Reason {
    let columns = known().well_known();
    let cell = |id: ColumnId| batch.column(id).get(row);
    if standing != Standing::Unlisted {
        return Reason::OutsideDates;
    }
    if cell(columns.usage_account) != cell(columns.payer_account) {
        return Reason::UnknownAccount;
    }
    match cell(columns.line_item_type) {
        b"Tax" => Reason::PayerTax,
        b"Credit" => Reason::PayerCredit,
        b"Refund" => Reason::PayerRefund,
        kind if kind.ends_with(b"Discount") => Reason::PayerDiscount,
        b"RIFee" | b"SavingsPlanUpfrontFee" | b"SavingsPlanRecurringFee" => Reason::PayerCommitment,
        _ if memchr::memmem::find(cell(columns.product_code), b"Support").is_some() => Reason::PayerSupport,
        b"Fee" | b"FlatRateSubscription" => Reason::PayerFee,
        _ => Reason::PayerUsage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line_item::{Cells, Texts};
    use apportion_model::AccountId;
    use proptest::prelude::*;
    use std::sync::Arc;

    const ACCOUNTS: [&str; 5] = ["", "111111111111", "222222222222", "333333333333", "444444444444"];
    const STARTS: [&str; 5] =
        ["", "2026-10-05T00:00:00Z", "2026-10-25T00:00:00Z", "2026-09-05T00:00:00Z", "no moment"];

    fn router() -> Router {
        let day = |text| Some(Day::parse(text).unwrap());
        let owned = |id: &str, from, to| OwnedAccount { id: AccountId::from_settings(id).unwrap(), from, to };
        let customer = |id, accounts: Vec<OwnedAccount>| RoutedCustomer {
            id: CustomerId::new(id).unwrap(),
            accounts: Accounts::Listed(accounts),
            withhold: Vec::new(),
            carries_split_cost: false,
        };
        let customers = [
            customer(
                "a",
                vec![owned("111111111111", None, None), owned("222222222222", None, day("2026-10-20"))],
            ),
            customer(
                "b",
                vec![
                    owned("222222222222", day("2026-10-20"), day("2026-10-28")),
                    owned("333333333333", day("2026-10-20"), None),
                ],
            ),
        ];
        Router::new(&customers, BillingPeriod::new(2026, 10).unwrap()).unwrap()
    }

    /// The route of one line item, the plain way.
    fn route(rules: &Rules, account: &str, start: &str, period: BillingPeriod) -> Result<Route, ()> {
        let nobody = |reason| Ok(Route::Unassigned { reason, owner: None });
        if account.is_empty() {
            return nobody(Reason::BlankAccount);
        }
        let mut day = period.start();
        if !start.is_empty() {
            let own = Instant::parse(start.as_bytes()).ok_or(())?.day();
            if period.start() <= own && own < period.end() {
                day = own;
            }
        }
        match rules.membership.owner(account.as_bytes(), day) {
            Some(customer) => Ok(Route::Share { customer }),
            None if rules.membership.is_listed(account.as_bytes()) => nobody(Reason::OutsideDates),
            None => nobody(Reason::UnknownAccount),
        }
    }

    fn cells(coded: bool, list: &[&str], picks: &[usize], dictionary: &Arc<Texts>) -> Cells {
        let mut plain = Texts::default();
        picks.iter().for_each(|pick| plain.push(list[*pick].as_bytes()));
        let code = |pick: &usize| if *pick == 0 { u32::MAX } else { *pick as u32 };
        if coded {
            Cells::Coded { codes: picks.iter().map(code).collect(), texts: Arc::clone(dictionary) }
        } else {
            Cells::Plain(Arc::new(plain))
        }
    }

    proptest! {
        #[test]
        fn routes_are_those_of_the_plain_way(
            batches in prop::collection::vec(
                (any::<[bool; 2]>(), prop::collection::vec((0usize..5, 0usize..21, 9u32..=11), 1..12)), 1..4),
        ) {
            let dictionary = |list: &[&str]| {
                let mut texts = Texts::default();
                list.iter().for_each(|text| texts.push(text.as_bytes()));
                Arc::new(texts)
            };
            let (accounts, starts) = (dictionary(&ACCOUNTS), dictionary(&STARTS));
            let mut router = router();
            for (coded, rows) in batches {
                let columns = known().well_known();
                // The last text, which is no date, is rare.
                let start_of = |pick: usize| if pick == 20 { 4 } else { pick % 4 };
                let picks: Vec<(usize, usize)> = rows.iter().map(|row| (row.0, start_of(row.1))).collect();
                let periods: Vec<_> = rows.iter().map(|row| BillingPeriod::new(2026, row.2).unwrap()).collect();
                let mut known_cells = vec![Cells::Blank; known().count()];
                let (account_picks, start_picks): (Vec<_>, Vec<_>) = picks.iter().copied().unzip();
                known_cells[columns.usage_account.index()] = cells(coded[0], &ACCOUNTS, &account_picks, &accounts);
                known_cells[columns.usage_start.index()] = cells(coded[1], &STARTS, &start_picks, &starts);
                let batch = Batch {
                    object: "object".into(), first_row: 1, rows: rows.len(), offsets: None,
                    known: known_cells, source: Vec::new(), other: Vec::new(),
                };
                let expected: Result<Vec<Route>, u64> = (1u64..).zip(&picks).zip(&periods)
                    .map(|((row, (account, start)), period)| {
                        route(&router.rules, ACCOUNTS[*account], STARTS[*start], *period).map_err(|()| row)
                    })
                    .collect();
                let mut routes = Vec::new();
                let routed = router.route(&batch, &periods, &mut routes);
                prop_assert_eq!(routed.map(|()| routes).map_err(|error| error.place.row), expected);
            }
        }
    }
}
