use apportion_core::columns::known;
use apportion_core::line_item::{Batch, Remembered};
use apportion_core::route::{Accounts, Route};
use apportion_model::{AccountId, BillingPeriod, Day, Instant};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;

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
    /// A number for each text that an account or a payer has.
    numbers: HashMap<Vec<u8>, u32>,
    accounts: Remembered<Option<u32>>,
    payers: Remembered<Option<u32>>,
    /// By the account's number, the number of the payer that it was first seen under.
    first_payers: Vec<Option<u32>>,
    all_payers: BTreeSet<String>,
    under_two_payers: BTreeSet<String>,
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
        let Self { numbers, accounts: known_accounts, payers: known_payers, .. } = self;
        let (mut account_numbers, mut payer_numbers) = (known_accounts.of(accounts), known_payers.of(payers));
        let first_payers = &mut self.first_payers;
        for row in 0..routes.len() {
            let mut number = |cell: &[u8]| Ok::<_, Infallible>(Some(number(numbers, cell)));
            let (Ok(account), Ok(payer)) =
                (account_numbers.get(row, &mut number), payer_numbers.get(row, &mut number));
            let (account, payer) = (account.unwrap_or_default() as usize, *payer);
            if first_payers.len() <= account {
                first_payers.resize(account + 1, None);
            }
            let first = &mut first_payers[account];
            if *first == payer {
                continue;
            }
            let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
            if !payers.get(row).is_empty() {
                self.all_payers.insert(text(payers.get(row)));
            }
            if first.is_none() {
                *first = payer;
            } else {
                self.under_two_payers.insert(text(accounts.get(row)));
            }
        }
        if !self.moves.is_empty() {
            (0..routes.len()).for_each(|row| self.look_at_move(batch, row, accounts.get(row)));
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

fn number(numbers: &mut HashMap<Vec<u8>, u32>, cell: &[u8]) -> u32 {
    if let Some(number) = numbers.get(cell) {
        return *number;
    }
    let next = numbers.len() as u32;
    numbers.insert(cell.to_vec(), next);
    next
}
