//! Period states: open, estimated, invoiced, locked, each with its reason; and what changed between two deliveries.
//!
//! What comes in: the day, what the MSP decided, and the totals of the month's deliveries; rows of two of them. What
//! goes out: the state and a sentence; rows and money that came and went. What it must never do: ask for the time, or take an invoice id for the only sign of a final month.

mod change;

pub use change::{Change, ChangeLine, ChangedRow, Changes, Compared, Dimension};

use crate::ledger::TotalsJson;
use crate::proof::{Decision, PeriodState};
use apportion_model::{AssemblyId, BillingPeriod, Day};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where a month stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is still running.
    Open,
    /// It is over, and line items have no invoice id yet.
    Estimated,
    /// Every line item that gets an invoice id has one.
    Invoiced,
    /// The MSP has locked it: nothing moves.
    Locked,
}

impl State {
    /// The state in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Estimated => "estimated",
            Self::Invoiced => "invoiced",
            Self::Locked => "locked",
        }
    }
}

/// How far the invoices of a delivery have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invoices {
    /// Line items that have an invoice id.
    pub with_id: u64,
    /// Line items that have none and are of a type that gets one.
    pub waiting: u64,
    /// Line items of types that carry no money and that never showed an id.
    pub without_money: u64,
    /// How many invoices.
    pub invoices: usize,
}

impl Invoices {
    /// Counts the line items of a month's own bill; those of other months' bills, which late line items are, have
    /// invoices of their own.
    pub fn of(period: BillingPeriod, totals: &[TotalsJson]) -> Self {
        let period = period.to_string();
        let mut found = Self::default();
        let mut ids = BTreeSet::new();
        // By currency and type: line items with an id, without one, and whether any total without one is money.
        let mut groups: BTreeMap<(&str, &str), (u64, u64, bool)> = BTreeMap::new();
        for totals in totals.iter().filter(|totals| totals.key.billing_period == period) {
            let key = &totals.key;
            let group = groups.entry((key.currency.as_str(), key.line_item_type.as_str())).or_default();
            if key.invoice_id.is_empty() {
                group.1 += totals.rows;
                group.2 |= totals.sums.get("line_item_unblended_cost").is_some_and(|sum| sum != "0");
            } else {
                group.0 += totals.rows;
                ids.insert(key.invoice_id.as_str());
            }
        }
        for (with_id, blank, money) in groups.into_values() {
            found.with_id += with_id;
            if with_id == 0 && !money {
                found.without_money += blank;
            } else {
                found.waiting += blank;
            }
        }
        found.invoices = ids.len();
        found
    }

    /// Whether every line item that gets an invoice id has one.
    pub fn are_complete(&self) -> bool {
        self.with_id > 0 && self.waiting == 0
    }

    fn sentence(&self) -> String {
        let all = self.with_id + self.waiting;
        if self.are_complete() {
            return format!("all {all} line items that get an invoice id have one ({} ids)", self.invoices);
        }
        if self.with_id > 0 {
            return format!("{} of {all} line items have no invoice id yet", self.waiting);
        }
        if all == 0 && self.without_money == 0 {
            return "the delivery holds no line item of this month".to_owned();
        }
        "no line item has an invoice id: AWS hasn't issued the invoice, or the CUR is pro forma (Billing Conductor), \
         which never gets one; then `periods lock` makes the month final"
            .to_owned()
    }
}

/// A delivery of a month, as far as its state depends on it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The id of the whole delivery.
    pub id: AssemblyId,
    /// The version of the source that it was made of.
    pub source_version: String,
    /// Its invoices.
    pub invoices: Invoices,
}

/// What a month's state is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The month.
    pub period: BillingPeriod,
    /// The day it is.
    pub today: Day,
    /// What the MSP decided last.
    pub decided: Option<&'a PeriodState>,
    /// The newest delivery.
    pub newest: &'a Delivery,
    /// Those before it, the newest first.
    pub older: &'a [Delivery],
}

/// A month's state with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Where the month stands.
    pub state: State,
    /// Whether a delivery that was invoiced has been followed by another version.
    pub restated: bool,
    /// Why, as a sentence without its full stop.
    pub reason: String,
}

/// Where a month stands, and why.
pub fn judge(facts: &Facts<'_>) -> Judged {
    let Facts { period, today, decided, newest, older } = *facts;
    let restated = older
        .iter()
        .find(|older| older.source_version != newest.source_version && older.invoices.are_complete());
    let (state, mut reason) = match decided.filter(|decided| decided.state == Decision::Locked) {
        Some(lock) => (State::Locked, locked_sentence(lock, newest)),
        None if today < period.end() => {
            (State::Open, format!("the month runs until {}", period.end().plus(-1)))
        }
        None if newest.invoices.are_complete() => (State::Invoiced, newest.invoices.sentence()),
        None => (State::Estimated, newest.invoices.sentence()),
    };
    if let Some(older) = restated {
        reason = format!(
            "{reason}; restated: delivery {} was invoiced from another version of the source",
            older.id
        );
    }
    Judged { state, restated: restated.is_some(), reason }
}

fn locked_sentence(lock: &PeriodState, newest: &Delivery) -> String {
    if lock.delivery_id == newest.id {
        return lock.reason.clone();
    }
    format!(
        "{}; the lock holds delivery {}, which isn't the newest: a rollback didn't come to its end, run it again",
        lock.reason, lock.delivery_id
    )
}

/// What a lock means for a source of that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The source is still the one that was locked.
    Same,
    /// The source has changed since: an alarm.
    Changed,
}

/// Whether a month is held, and if so, whether its source has changed; None where it may be delivered.
pub fn hold(decided: Option<&PeriodState>, source_version: &str) -> Option<Hold> {
    let lock = decided.filter(|decided| decided.state == Decision::Locked)?;
    Some(if lock.source_version == source_version { Hold::Same } else { Hold::Changed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerKey;

    fn totals(kind: &str, invoice: &str, rows: u64, cost: &str) -> TotalsJson {
        TotalsJson {
            key: LedgerKey {
                billing_period: "20261001-20261101".into(),
                currency: "USD".into(),
                line_item_type: kind.into(),
                invoice_id: invoice.into(),
            },
            rows,
            sums: BTreeMap::from([("line_item_unblended_cost".to_owned(), cost.to_owned())]),
            items_hash: String::new(),
        }
    }

    fn period() -> BillingPeriod {
        BillingPeriod::new(2026, 10).unwrap()
    }

    fn delivery(id: &str, version: &str, totals: &[TotalsJson]) -> Delivery {
        Delivery {
            id: AssemblyId::from_source(id),
            source_version: version.into(),
            invoices: Invoices::of(period(), totals),
        }
    }

    fn on(today: &str, newest: &Delivery, older: &[Delivery], decided: Option<&PeriodState>) -> Judged {
        judge(&Facts { period: period(), today: Day::parse(today).unwrap(), decided, newest, older })
    }

    fn locked(id: &str) -> PeriodState {
        PeriodState {
            state: Decision::Locked,
            reason: "books closed".into(),
            delivery_id: AssemblyId::from_source(id),
            source_version: "v1".into(),
        }
    }

    #[test]
    fn a_month_goes_from_open_to_estimated_to_invoiced() {
        let none = delivery("a", "v1", &[totals("Usage", "", 5, "1.5")]);
        let some = delivery("b", "v2", &[totals("Usage", "", 2, "1.5"), totals("Tax", "7", 1, "0.1")]);
        let all = delivery("c", "v3", &[totals("Usage", "7", 5, "1.5"), totals("Tax", "7", 1, "0.1")]);
        let at = |day, delivery: &Delivery| on(day, delivery, &[], None).state;
        assert_eq!(at("2026-10-31", &all), State::Open);
        assert_eq!(at("2026-11-01", &none), State::Estimated);
        assert_eq!(at("2026-11-01", &some), State::Estimated);
        assert_eq!(at("2026-11-01", &all), State::Invoiced);
        assert!(on("2026-11-01", &none, &[], None).reason.contains("Billing Conductor"));
        assert!(on("2026-11-01", &some, &[], None).reason.starts_with("2 of 3 line items"));
    }

    #[test]
    fn types_without_money_and_other_months_bills_keep_no_month_open() {
        let mut late = totals("Usage", "", 3, "9");
        late.key.billing_period = "20260901-20261001".into();
        let all = [totals("Usage", "7", 5, "1.5"), totals("DiscountedUsage", "", 4, "0"), late];
        assert_eq!(on("2026-11-02", &delivery("a", "v", &all), &[], None).state, State::Invoiced);
        // A type that does get ids waits for all of its own, money or none.
        let all = [totals("Usage", "7", 5, "1.5"), totals("Usage", "", 4, "0")];
        assert_eq!(on("2026-11-02", &delivery("a", "v", &all), &[], None).state, State::Estimated);
        let empty = on("2026-11-02", &delivery("a", "v", &[]), &[], None);
        assert_eq!((empty.state, empty.restated), (State::Estimated, false));
        assert!(empty.reason.contains("no line item of this month"), "{}", empty.reason);
    }

    #[test]
    fn a_change_after_the_invoice_is_a_restatement() {
        let before = delivery("a", "v1", &[totals("Usage", "7", 5, "1.5")]);
        let same = delivery("b", "v1", &[totals("Usage", "7", 5, "1.5")]);
        let after = delivery("c", "v2", &[totals("Usage", "7", 5, "1.4")]);
        let estimated = delivery("d", "v0", &[totals("Usage", "", 5, "1.4")]);
        let restated = |newest: &Delivery, older: &[&Delivery]| {
            let older: Vec<Delivery> = older.iter().map(|older| (*older).clone()).collect();
            on("2026-11-09", newest, &older, None).restated
        };
        assert!(restated(&after, &[&before]));
        assert!(restated(&after, &[&estimated, &before]));
        assert!(!restated(&same, &[&before]), "the same source under other settings");
        assert!(!restated(&before, &[&estimated]));
    }

    #[test]
    fn a_lock_beats_everything_and_is_told_in_its_own_words() {
        let newest = delivery("a", "v1", &[]);
        let judged = on("2026-10-15", &newest, &[], Some(&locked("a")));
        assert_eq!((judged.state, judged.reason.as_str()), (State::Locked, "books closed"));
        assert!(on("2026-10-15", &newest, &[], Some(&locked("b"))).reason.contains("run it again"));
        let unlocked = PeriodState { state: Decision::Unlocked, ..locked("a") };
        assert_eq!(on("2026-10-15", &newest, &[], Some(&unlocked)).state, State::Open);
        assert_eq!(hold(Some(&locked("a")), "v1"), Some(Hold::Same));
        assert_eq!(hold(Some(&locked("a")), "v2"), Some(Hold::Changed));
        assert_eq!(hold(Some(&unlocked), "v2"), None);
        assert_eq!(hold(None, "v2"), None);
    }
}
