use apportion_core::columns::known;
use apportion_core::line_item::Batch;
use apportion_core::route::{Accounts, Route};
use apportion_model::{AccountId, BillingPeriod, Day, Instant};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Line items whose usage lies on both sides of an account's move. They are not cut: their start decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Straddle {
    /// The account that moves.
    pub account: String,
    /// The line item type.
    pub line_item_type: String,
    /// The day it moves.
    pub day: Day,
}

/// Notices what a person should know and no total shows: accounts under two payers, line items that straddle a
/// move.
#[derive(Debug, Default)]
pub struct Watch {
    moves: HashMap<Vec<u8>, Vec<Day>>,
    straddles: BTreeMap<Straddle, u64>,
    payers: HashMap<Vec<u8>, Vec<u8>>,
    all_payers: BTreeSet<String>,
    under_two_payers: BTreeSet<String>,
    last: (Vec<u8>, Vec<u8>),
}

impl Watch {
    /// Knows on which days inside a month accounts come or go.
    pub fn new<'a>(accounts: impl Iterator<Item = &'a Accounts>, period: BillingPeriod) -> Self {
        let mut watch = Self::default();
        for list in accounts {
            let Accounts::Listed(list) = list else { continue };
            for account in list {
                for day in [account.from, account.to].into_iter().flatten() {
                    if period.start() < day && day < period.end() {
                        let days = watch.moves.entry(account.id.as_str().as_bytes().to_vec()).or_default();
                        if !days.contains(&day) {
                            days.push(day);
                        }
                    }
                }
            }
        }
        watch
    }

    pub(super) fn look(&mut self, batch: &Batch, routes: &[Route]) {
        let columns = known().well_known();
        let (accounts, payers) = (batch.column(columns.usage_account), batch.column(columns.payer_account));
        for row in 0..routes.len() {
            let (account, payer) = (accounts.get(row), payers.get(row));
            if self.last.0 != account || self.last.1 != payer {
                self.last = (account.to_vec(), payer.to_vec());
                self.look_at_payer(account, payer);
            }
            if !self.moves.is_empty() {
                self.look_at_move(batch, row, account);
            }
        }
    }

    fn look_at_payer(&mut self, account: &[u8], payer: &[u8]) {
        if !payer.is_empty() {
            self.all_payers.insert(String::from_utf8_lossy(payer).into_owned());
        }
        match self.payers.get(account) {
            None => {
                self.payers.insert(account.to_vec(), payer.to_vec());
            }
            Some(other) if other != payer => {
                self.under_two_payers.insert(String::from_utf8_lossy(account).into_owned());
            }
            Some(_) => {}
        }
    }

    fn look_at_move(&mut self, batch: &Batch, row: usize, account: &[u8]) {
        let Some(days) = self.moves.get(account) else { return };
        let columns = known().well_known();
        let Some(end_column) = known().find("line_item_usage_end_date") else { return };
        let start = Instant::parse(batch.column(columns.usage_start).get(row));
        let end = Instant::parse(batch.column(end_column).get(row));
        let (Some(start), Some(end)) = (start, end) else { return };
        for day in days {
            let moment = Instant::from_millis(i64::from(day.number()) * 86_400_000);
            if start < moment && moment < end {
                let straddle = Straddle {
                    account: String::from_utf8_lossy(account).into_owned(),
                    line_item_type: String::from_utf8_lossy(batch.column(columns.line_item_type).get(row))
                        .into_owned(),
                    day: *day,
                };
                *self.straddles.entry(straddle).or_default() += 1;
            }
        }
    }

    /// The payer accounts of all line items, in their order.
    pub fn payers(&self) -> Vec<AccountId> {
        self.all_payers.iter().map(|payer| AccountId::from_data(payer)).collect()
    }

    /// One sentence each.
    pub fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self
            .straddles
            .iter()
            .map(|(straddle, rows)| {
                format!(
                    "{rows} {} line items of account {} began before it moved on {} and end after; they go whole to the owner at their start",
                    straddle.line_item_type, straddle.account, straddle.day
                )
            })
            .collect();
        texts.extend(
            self.under_two_payers
                .iter()
                .map(|account| format!("account {account} is there under two payers (it moved)")),
        );
        texts
    }
}
