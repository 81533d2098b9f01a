//! Where a line item belongs.
//!
//! What comes in: the six cells that routing looks at, and the row's period. What goes out: a customer, or
//! unassigned with a reason. What it must never do: let a line item have two routes, or none.

use crate::request::{AuditedAccounts, AuditedCustomer, Contract};
use apportion_model::{BillingPeriod, Day};
use std::collections::HashMap;

/// The outcome for one line item; customers by their place in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The customer's share.
    Share(usize),
    /// Unassigned, although a customer owns it.
    Withheld(usize, &'static str),
    /// Unassigned.
    Nobody(&'static str),
}

/// The cells that routing looks at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RoutedCells<'a> {
    pub(crate) account: &'a [u8],
    pub(crate) line_item_type: &'a [u8],
    pub(crate) payer: &'a [u8],
    pub(crate) product_code: &'a [u8],
    pub(crate) split_parent: &'a [u8],
}

/// Who owns which account on which days.
pub(crate) struct Router<'a> {
    customers: &'a [AuditedCustomer],
    owners: HashMap<&'a [u8], Vec<(usize, usize)>>,
    owner_of_all: Option<usize>,
}

impl<'a> Router<'a> {
    /// `period` is the delivery's: an entry whose dates don't touch it owns nothing of the delivery.
    pub(crate) fn new(customers: &'a [AuditedCustomer], period: BillingPeriod) -> Self {
        let mut owners: HashMap<&[u8], Vec<(usize, usize)>> = HashMap::new();
        let mut owner_of_all = None;
        for (customer, settings) in customers.iter().enumerate() {
            match &settings.accounts {
                AuditedAccounts::All => owner_of_all = owner_of_all.or(Some(customer)),
                AuditedAccounts::Listed(accounts) => {
                    for (entry, account) in accounts.iter().enumerate() {
                        let entries = owners.entry(account.id.as_str().as_bytes()).or_default();
                        if account.touches(period) {
                            entries.push((customer, entry));
                        }
                    }
                }
            }
        }
        Self { customers, owners, owner_of_all }
    }

    /// The day by which an account's owner is chosen.
    pub(crate) fn day(period: BillingPeriod, usage_start: Option<Day>) -> Day {
        usage_start.filter(|day| (period.start()..period.end()).contains(day)).unwrap_or(period.start())
    }

    pub(crate) fn route(&self, cells: RoutedCells<'_>, day: Day) -> Route {
        if cells.account.is_empty() {
            return Route::Nobody("blank_account");
        }
        let listed = self.owners.get(cells.account);
        let owner = listed
            .and_then(|entries| entries.iter().find(|(customer, entry)| self.holds(*customer, *entry, day)))
            .map(|(customer, _)| *customer)
            .or(self.owner_of_all);
        if let Some(customer) = owner {
            return self.owned(customer, cells);
        }
        if listed.is_some() {
            return Route::Nobody("outside_dates");
        }
        if cells.account == cells.payer {
            return Route::Nobody(payers(cells));
        }
        Route::Nobody("unknown_account")
    }

    fn holds(&self, customer: usize, entry: usize, day: Day) -> bool {
        match &self.customers[customer].accounts {
            AuditedAccounts::All => true,
            AuditedAccounts::Listed(accounts) => accounts[entry].holds(day),
        }
    }

    fn owned(&self, customer: usize, cells: RoutedCells<'_>) -> Route {
        let AuditedCustomer { contract, withhold, .. } = &self.customers[customer];
        if *contract == Contract::Eco && !cells.split_parent.is_empty() {
            Route::Withheld(customer, "withheld_split_cost")
        } else if withhold.iter().any(|withheld| withheld.as_bytes() == cells.line_item_type) {
            Route::Withheld(customer, "withheld_type")
        } else {
            Route::Share(customer)
        }
    }
}

/// What a line item of the payer's own account is.
fn payers(cells: RoutedCells<'_>) -> &'static str {
    let support = || cells.product_code.windows(b"Support".len()).any(|window| window == b"Support");
    match cells.line_item_type {
        b"Tax" => "payer_tax",
        b"Credit" => "payer_credit",
        b"Refund" => "payer_refund",
        kind if kind.ends_with(b"Discount") => "payer_discount",
        b"RIFee" | b"SavingsPlanUpfrontFee" | b"SavingsPlanRecurringFee" => "payer_commitment",
        _ if support() => "payer_support",
        b"Fee" | b"FlatRateSubscription" => "payer_fee",
        _ => "payer_usage",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{AuditedAccount, Gzip, HeaderStyle, RowOrder};
    use apportion_model::{AccountId, CustomerId};

    fn customer(id: &str, accounts: AuditedAccounts) -> AuditedCustomer {
        AuditedCustomer {
            id: CustomerId::new(id).unwrap(),
            accounts,
            withhold: vec!["Credit".into()],
            payer_kept: true,
            faithful: false,
            contract: Contract::Eco,
            header: HeaderStyle::Snake,
            gzip: Gzip::MultiMember,
            level: crate::request::Level::Default,
            order: RowOrder::Sorted,
            exports: Vec::new(),
            audited: true,
        }
    }

    fn account(id: &str, from: Option<&str>, to: Option<&str>) -> AuditedAccount {
        let day = |text: &str| Day::parse(text).unwrap();
        AuditedAccount { id: AccountId::from_data(id), from: from.map(day), to: to.map(day) }
    }

    fn cells<'a>(account: &'a str, kind: &'a str, product: &'a str, parent: &'a str) -> RoutedCells<'a> {
        RoutedCells {
            account: account.as_bytes(),
            line_item_type: kind.as_bytes(),
            payer: b"9",
            product_code: product.as_bytes(),
            split_parent: parent.as_bytes(),
        }
    }

    #[test]
    fn every_line_item_has_one_route() {
        let customers = [
            customer("a", AuditedAccounts::Listed(vec![account("1", None, Some("2026-10-15"))])),
            customer(
                "b",
                AuditedAccounts::Listed(vec![account("1", Some("2026-10-15"), Some("2026-10-20"))]),
            ),
        ];
        let router = Router::new(&customers, BillingPeriod::new(2026, 10).unwrap());
        let extended = [AuditedCustomer { contract: Contract::EcoExtended, ..customers[0].clone() }];
        let route = Router::new(&extended, BillingPeriod::new(2026, 10).unwrap())
            .route(cells("1", "Usage", "", "x"), Day::parse("2026-10-01").unwrap());
        assert_eq!(route, Route::Share(0));
        let on = |day: &str, cells| router.route(cells, Day::parse(day).unwrap());
        assert_eq!(on("2026-10-14", cells("1", "Usage", "", "")), Route::Share(0));
        assert_eq!(on("2026-10-15", cells("1", "Usage", "", "")), Route::Share(1));
        assert_eq!(on("2026-10-20", cells("1", "Usage", "", "")), Route::Nobody("outside_dates"));
        assert_eq!(
            on("2026-10-14", cells("1", "Credit", "", "x")),
            Route::Withheld(0, "withheld_split_cost")
        );
        assert_eq!(on("2026-10-14", cells("1", "Credit", "", "")), Route::Withheld(0, "withheld_type"));
        assert_eq!(on("2026-10-14", cells("", "Usage", "", "")), Route::Nobody("blank_account"));
        assert_eq!(on("2026-10-14", cells("01", "Usage", "", "")), Route::Nobody("unknown_account"));
        for (kind, product, reason) in [
            ("Tax", "AWSSupport", "payer_tax"),
            ("Credit", "", "payer_credit"),
            ("Refund", "", "payer_refund"),
            ("EdpDiscount", "", "payer_discount"),
            ("DiscountedUsage", "", "payer_usage"),
            ("RIFee", "AWSSupport", "payer_commitment"),
            ("SavingsPlanUpfrontFee", "", "payer_commitment"),
            ("SavingsPlanRecurringFee", "", "payer_commitment"),
            ("Fee", "AWSSupportBusiness", "payer_support"),
            ("Fee", "x", "payer_fee"),
            ("FlatRateSubscription", "x", "payer_fee"),
            ("Usage", "x", "payer_usage"),
        ] {
            assert_eq!(
                on("2026-10-14", cells("9", kind, product, "")),
                Route::Nobody(reason),
                "{kind} {product}"
            );
        }
    }

    #[test]
    fn a_day_outside_the_period_is_its_first() {
        let period = BillingPeriod::new(2026, 10).unwrap();
        let day = |text: &str| Some(Day::parse(text).unwrap());
        assert_eq!(Router::day(period, None), period.start());
        assert_eq!(Router::day(period, day("2026-11-01")), period.start());
        assert_eq!(Router::day(period, day("2026-09-30")), period.start());
        assert_eq!(Router::day(period, day("2026-10-31")).to_string(), "2026-10-31");
        let all = [customer("a", AuditedAccounts::All)];
        let router = Router::new(&all, period);
        assert_eq!(router.route(cells("7", "Usage", "", ""), period.start()), Route::Share(0));
    }
}
