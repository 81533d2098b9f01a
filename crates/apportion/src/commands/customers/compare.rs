use super::books::{Amounts, Books, Claim, Line, Pieces, claims_of};
use crate::exit;
use crate::printer::{Head, Printer, amounts, count, grouped, text};
use anyhow::Context;
use apportion_core::money::{ExactSum, Fraction};
use apportion_flow::run::{Customer, DeliverRequest, Watcher, deliver};
use apportion_model::{BillingPeriod, Day};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const HEADS: [Head; 7] = [
    text("period"),
    text("customer"),
    count("rows before"),
    count("rows after"),
    amounts("unblended cost before"),
    amounts("unblended cost after"),
    amounts("difference"),
];

/// Accounts that are named one by one to people.
const ACCOUNTS_SHOWN: usize = 20;

/// One line of the table.
#[derive(Debug, Serialize)]
struct LineChange {
    /// The customer; none for what nobody owns.
    customer: Option<String>,
    /// Why the line items are in nobody's share; none for a share.
    reason: Option<String>,
    rows_before: u64,
    rows_after: u64,
    unblended_cost_before: BTreeMap<String, String>,
    unblended_cost_after: BTreeMap<String, String>,
    unblended_cost_difference: BTreeMap<String, String>,
}

/// An account of which line items change hands.
#[derive(Debug, Serialize)]
struct AccountChange {
    account: String,
    /// Line items that change hands.
    rows: u64,
    /// By currency, the amount that changes hands, without sign.
    unblended_cost: BTreeMap<String, String>,
    lost_by: Vec<String>,
    gained_by: Vec<String>,
}

/// One month.
#[derive(Debug, Serialize)]
struct PeriodChange {
    billing_period: String,
    report: String,
    source_rows: u64,
    source_unblended_cost: BTreeMap<String, String>,
    /// Line items that change hands, and the amounts by currency, without sign.
    moved_rows: u64,
    moved_unblended_cost: BTreeMap<String, String>,
    /// The larger of both parts, as a percentage rounded up.
    moved_share: String,
    #[serde(skip)]
    share: Fraction,
    /// What differs.
    customers: Vec<LineChange>,
    accounts: Vec<AccountChange>,
    /// What is to be known of the new routes, as line items on both sides of a move.
    observations: Vec<String>,
}

/// What a change of customers moves.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    periods: Vec<PeriodChange>,
}

/// Plans the months with the customers of `after` and with those `before`, and compares.
pub(super) fn compare(
    before: &[Customer],
    after: &DeliverRequest,
    watcher: &dyn Watcher,
) -> anyhow::Result<Comparison> {
    let pattern = after.customers.first().context("no customer is left")?;
    let (claims_before, claims_after) = (claims_of(before), claims_of(&after.customers));
    let changing: BTreeSet<String> = claims_before
        .keys()
        .chain(claims_after.keys())
        .filter(|account| claims_before.get(*account) != claims_after.get(*account))
        .cloned()
        .collect();
    let books_of = |customers: &[Customer]| {
        let pieces = Pieces::new(customers, &changing, pattern)?;
        let request = DeliverRequest { customers: pieces.customers.clone(), only: None, ..after.clone() };
        pieces.books(&deliver(&request, watcher)?)
    };
    let (new, old) = (books_of(&after.customers)?, books_of(before)?);
    let same_source = |(old, new): (&Books, &Books)| {
        (&old.billing_period, &old.source_name, &old.report, &old.source_assembly_id, &old.source)
            == (&new.billing_period, &new.source_name, &new.report, &new.source_assembly_id, &new.source)
    };
    if old.len() != new.len() || !old.iter().zip(&new).all(same_source) {
        let message = "the source was delivered anew while it was compared; run the same command again";
        return Err(exit::Failure { code: exit::SOURCE_MOVED, message: message.to_owned() }.into());
    }
    let swaps = |account: &str, period: &str| {
        let none = BTreeSet::new();
        let before = claims_before.get(account).unwrap_or(&none);
        is_swapped(before, claims_after.get(account).unwrap_or(&none), period)
    };
    let periods = old.iter().zip(&new).map(|(old, new)| PeriodChange::new(old, new, &swaps)).collect();
    Ok(Comparison { periods })
}

/// Whether somebody both gains and loses days of the account in a month: then what its owners have more or less says
/// nothing of how much changes hands.
fn is_swapped(before: &BTreeSet<Claim>, after: &BTreeSet<Claim>, period: &str) -> bool {
    let Ok(period) = BillingPeriod::parse(period) else { return false };
    let owner = |claims: &BTreeSet<Claim>, day: Day| {
        let holds =
            |(_, from, to): &&Claim| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day < to);
        claims.iter().find(holds).map(|(customer, _, _)| customer.clone())
    };
    let (mut losers, mut gainers) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..31 {
        let day = period.start().plus(number);
        let (old, new) = (owner(before, day), owner(after, day));
        if day < period.end() && old != new {
            losers.insert(old);
            gainers.insert(new);
        }
    }
    losers.intersection(&gainers).next().is_some()
}

/// The amount that goes from some to others: what all gain together, without sign.
fn moved(old: &Amounts, new: &Amounts, owners: &[(Amounts, Amounts)], swapped: bool) -> Amounts {
    let mut cost = BTreeMap::new();
    for currency in old.cost.keys().chain(new.cost.keys()) {
        let of = |amounts: &Amounts| amounts.cost.get(currency).cloned().unwrap_or_default();
        let mut gains = ExactSum::default();
        // What the owners lose together, nobody gains, and the other way round.
        let nobody = (of(new), of(old));
        let each = owners.iter().map(|(old, new)| (of(old), of(new))).chain([nobody]);
        for (before, mut after) in each {
            after.subtract(&before);
            if after > ExactSum::default() {
                gains.merge(&after);
            }
        }
        let whole = of(old).abs().max(of(new).abs());
        cost.insert(currency.clone(), if swapped { gains.max(whole) } else { gains });
    }
    let gains: u64 = owners.iter().map(|(old, new)| new.rows.saturating_sub(old.rows)).sum();
    let rows = gains + old.rows.saturating_sub(new.rows);
    Amounts { rows: if swapped { rows.max(old.rows).max(new.rows) } else { rows }, cost }
}

impl PeriodChange {
    fn new(old: &Books, new: &Books, is_swapped: &dyn Fn(&str, &str) -> bool) -> Self {
        let names: BTreeSet<&String> = old.accounts.keys().chain(new.accounts.keys()).collect();
        let mut all = Amounts::default();
        let mut accounts = Vec::new();
        for account in names {
            let (change, moved) = account_change(old, new, account, is_swapped(account, &old.billing_period));
            if change.rows > 0 {
                accounts.push(change);
            }
            all.merge(&moved);
        }
        accounts.sort_by_key(|account| std::cmp::Reverse(account.rows));
        let none = ExactSum::default();
        let of_cost = all
            .cost
            .iter()
            .map(|(currency, sum)| Fraction::of_amount(sum, old.source.cost.get(currency).unwrap_or(&none)));
        let share = of_cost.max().unwrap_or_default().max(Fraction::of_count(all.rows, old.source.rows));
        let told: BTreeSet<&String> = old.observations.iter().collect();
        Self {
            billing_period: old.billing_period.clone(),
            report: old.report.clone(),
            source_rows: old.source.rows,
            source_unblended_cost: old.source.cost_text(),
            moved_rows: all.rows,
            moved_unblended_cost: all.cost_text(),
            moved_share: share.to_string(),
            share,
            customers: line_changes(old, new),
            accounts,
            observations: new.observations.iter().filter(|text| !told.contains(text)).cloned().collect(),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let money = crate::commands::deliver::money;
        let mut rows: Vec<Vec<String>> = self
            .customers
            .iter()
            .map(|line| {
                let name = match (&line.customer, &line.reason) {
                    (Some(customer), None) => customer.clone(),
                    (customer, reason) => format!(
                        "({}: {})",
                        customer.as_deref().unwrap_or("nobody"),
                        reason.as_deref().unwrap_or_default()
                    ),
                };
                vec![
                    self.billing_period.clone(),
                    name,
                    line.rows_before.to_string(),
                    line.rows_after.to_string(),
                    money(&line.unblended_cost_before),
                    money(&line.unblended_cost_after),
                    money(&line.unblended_cost_difference),
                ]
            })
            .collect();
        let (source, cost) = (self.source_rows.to_string(), money(&self.source_unblended_cost));
        let period = self.billing_period.clone();
        rows.push(vec![
            period,
            "= source".to_owned(),
            source.clone(),
            source,
            cost.clone(),
            cost,
            String::new(),
        ]);
        rows
    }

    fn notes(&self, printer: &Printer) {
        let period = &self.billing_period;
        for text in &self.observations {
            printer.note(&format!("note: {period}: {text}"));
        }
        let money = |sums: &BTreeMap<String, String>| match crate::commands::deliver::money(sums) {
            text if text.is_empty() => "no money".to_owned(),
            text => text,
        };
        for account in self.accounts.iter().take(ACCOUNTS_SHOWN) {
            printer.note(&format!(
                "{period}: account {}, from {} to {}: {} line items, {}",
                account.account,
                account.lost_by.join(" and "),
                account.gained_by.join(" and "),
                grouped(account.rows),
                money(&account.unblended_cost)
            ));
        }
        if let more @ 1.. = self.accounts.len().saturating_sub(ACCOUNTS_SHOWN) {
            printer.note(&format!("{period}: and {more} accounts more; --output json names all"));
        }
        printer.note(&format!(
            "{period}: {} of {} line items and {} of {} change hands: {}",
            grouped(self.moved_rows),
            grouped(self.source_rows),
            money(&self.moved_unblended_cost),
            money(&self.source_unblended_cost),
            self.moved_share
        ));
    }
}

fn account_change(old: &Books, new: &Books, account: &str, swapped: bool) -> (AccountChange, Amounts) {
    let none = BTreeMap::new();
    let (before, after) =
        (old.accounts.get(account).unwrap_or(&none), new.accounts.get(account).unwrap_or(&none));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let (mut had, mut has) = (Amounts::default(), Amounts::default());
    let (mut lost_by, mut gained_by, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let pair =
            (before.get(name).cloned().unwrap_or_default(), after.get(name).cloned().unwrap_or_default());
        had.merge(&pair.0);
        has.merge(&pair.1);
        if swapped || pair.1.rows < pair.0.rows {
            lost_by.push(name.clone());
        }
        if swapped || pair.0.rows < pair.1.rows {
            gained_by.push(name.clone());
        }
        owners.push(pair);
    }
    if has.rows < had.rows {
        gained_by.push("nobody".to_owned());
    }
    if had.rows < has.rows {
        lost_by.push("nobody".to_owned());
    }
    let moved = moved(&had, &has, &owners, swapped);
    let change = AccountChange {
        account: account.to_owned(),
        rows: moved.rows,
        unblended_cost: moved.cost_text(),
        lost_by,
        gained_by,
    };
    (change, moved)
}

fn line_changes(old: &Books, new: &Books) -> Vec<LineChange> {
    let names: BTreeSet<&Line> = old.lines.keys().chain(new.lines.keys()).collect();
    let none = Amounts::default();
    let changes = names.into_iter().filter_map(|line| {
        let (before, after) = (old.lines.get(line).unwrap_or(&none), new.lines.get(line).unwrap_or(&none));
        // A customer that is new and has nothing in this month is also something to see.
        let comes = old.lines.contains_key(line) != new.lines.contains_key(line);
        if before == after && !comes {
            return None;
        }
        let mut difference = after.clone();
        for (currency, sum) in &before.cost {
            difference.cost.entry(currency.clone()).or_default().subtract(sum);
        }
        Some(LineChange {
            customer: Some(line.customer.clone()).filter(|customer| !customer.is_empty()),
            reason: Some(line.reason.clone()).filter(|reason| !reason.is_empty()),
            rows_before: before.rows,
            rows_after: after.rows,
            unblended_cost_before: before.cost_text(),
            unblended_cost_after: after.cost_text(),
            unblended_cost_difference: difference.cost_text(),
        })
    });
    changes.collect()
}

impl Comparison {
    /// Prints the table, and says on stderr which accounts move.
    pub(super) fn print(&self, printer: &Printer) -> anyhow::Result<()> {
        let rows: Vec<Vec<String>> = self.periods.iter().flat_map(PeriodChange::rows).collect();
        printer.rows(&HEADS, &rows, self)?;
        self.periods.iter().for_each(|period| period.notes(printer));
        Ok(())
    }

    /// The month of which most changes hands, and how much that is.
    pub(super) fn most(&self) -> Option<(&str, Fraction)> {
        let most = self.periods.iter().max_by_key(|period| period.share)?;
        Some((&most.billing_period, most.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apportion_core::money::Number;

    fn amounts(rows: u64, cost: &str) -> Amounts {
        let mut sum = ExactSum::default();
        sum.add(&Number::parse(cost.as_bytes()).unwrap().unwrap());
        Amounts { rows, cost: BTreeMap::from([("USD".to_owned(), sum)]) }
    }

    fn claim(customer: &str, from: &str, to: &str) -> Claim {
        let day = |text: &str| (!text.is_empty()).then(|| Day::parse(text).unwrap());
        (customer.to_owned(), day(from), day(to))
    }

    #[test]
    fn what_changes_hands_is_counted_once() {
        let two = [(amounts(10, "5"), amounts(6, "2")), (amounts(0, "0"), amounts(4, "3"))];
        assert_eq!(moved(&amounts(10, "5"), &amounts(10, "5"), &two, false), amounts(4, "3"));
        let new = [(amounts(0, "0"), amounts(4, "-3"))];
        assert_eq!(moved(&amounts(0, "0"), &amounts(4, "-3"), &new, false), amounts(4, "3"));
        let closed = [(amounts(10, "5"), amounts(6, "2"))];
        assert_eq!(moved(&amounts(10, "5"), &amounts(6, "2"), &closed, false), amounts(4, "3"));
        let swapped = [(amounts(4, "3"), amounts(6, "2")), (amounts(6, "2"), amounts(4, "3"))];
        assert_eq!(moved(&amounts(10, "5"), &amounts(10, "5"), &swapped, true), amounts(10, "5"));
    }

    #[test]
    fn who_gains_and_loses_days_of_one_account_swaps_them() {
        let is = |before: &[Claim], after: &[Claim]| {
            is_swapped(
                &before.iter().cloned().collect(),
                &after.iter().cloned().collect(),
                "20261001-20261101",
            )
        };
        let (a, b) = (claim("a", "", "2026-10-15"), claim("b", "2026-10-15", ""));
        let (c, d) = (claim("b", "", "2026-10-15"), claim("a", "2026-10-15", ""));
        assert!(is(&[a.clone(), b.clone()], &[c.clone(), d]));
        assert!(!is(&[claim("a", "", "")], &[a.clone(), b.clone()]));
        assert!(!is(std::slice::from_ref(&a), &[c]) && !is(&[], &[a.clone(), b]));
        assert!(!is(&[a], &[claim("a", "", "2026-12-01")]));
    }
}
