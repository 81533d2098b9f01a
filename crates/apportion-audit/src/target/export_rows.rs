//! What a consumer reads in the rows of an export.
//!
//! What comes in: the delivered rows in the contract's columns. What goes out: their count, hash and exact sums, and
//! findings about cells. What it must never do: keep a row.

use super::ExportContext;
use crate::columns::{ADDITIVE, ColumnType, ECO, is_guaranteed};
use crate::hashes::RowHasher;
use crate::masking::{Masker, Places, Sensitivity};
use crate::numbers::{NOT_A_NUMBER, Number, Sum};
use crate::report::{FindingKind, Findings};
use csv::ByteRecord;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Gathers the figures of one export over all of its files.
pub(super) struct ExportRows<'a> {
    context: &'a ExportContext<'a>,
    masker: Masker,
    places: Places,
    sensitivities: Vec<Sensitivity>,
    /// Places of the additive columns that the contract delivers.
    summed: Vec<usize>,
    other_doubles: Vec<usize>,
    payer: usize,
    account: usize,
    currency: usize,
    allowed: HashSet<Vec<u8>>,
    /// Accounts that other customers' lists have.
    of_others: HashSet<Vec<u8>>,
    sums: HashMap<Vec<u8>, Vec<Sum>>,
    hasher: RowHasher,
    pub(super) rows: u64,
    pub(super) rows_hash: u128,
    pub(super) cells_of_others: u64,
}

impl<'a> ExportRows<'a> {
    pub(super) fn new(context: &'a ExportContext<'a>, masker: Masker) -> Self {
        let place = |name: &str| ECO.iter().position(|(column, _)| *column == name).unwrap_or_default();
        let doubles = (0..ECO.len()).filter(|column| ECO[*column].1 == ColumnType::Double);
        let (summed, other_doubles) = doubles.partition(|column| ADDITIVE.contains(&ECO[*column].0));
        Self {
            context,
            masker,
            places: Places::new(),
            sensitivities: ECO.iter().map(|(name, kind)| Sensitivity::of(name, *kind)).collect(),
            summed,
            other_doubles,
            payer: place("bill_payer_account_id"),
            account: place("line_item_usage_account_id"),
            currency: place("line_item_currency_code"),
            allowed: context.allowed_accounts(),
            of_others: context.accounts_of_others(),
            sums: HashMap::new(),
            hasher: RowHasher::default(),
            rows: 0,
            rows_hash: 0,
            cells_of_others: 0,
        }
    }

    /// The header that each file must have.
    pub(super) fn header(&self) -> Vec<&'static [u8]> {
        ECO.iter().map(|(name, _)| name.as_bytes()).collect()
    }

    pub(super) fn row(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        self.rows += 1;
        record.iter().for_each(|cell| self.hasher.cell(cell));
        self.rows_hash = self.rows_hash.wrapping_add(self.hasher.finish());
        self.add_numbers(key, row, record, findings);
        self.check_account(key, row, record, findings);
        self.check_cells(key, row, record, findings);
    }

    fn add_numbers(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        let currency = record.get(self.currency).unwrap_or_default();
        if !self.sums.contains_key(currency) {
            self.sums.insert(currency.to_vec(), vec![Sum::default(); self.summed.len()]);
        }
        let Some(sums) = self.sums.get_mut(currency) else { return };
        let mut unreadable = |column: usize, text: &[u8], cause: &str| {
            let text = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
            let detail = format!("row {row}, column {}: {text:?} {cause}", ECO[column].0);
            findings.add(FindingKind::CellUnreadable, key, detail);
        };
        for (sum, column) in sums.iter_mut().zip(&self.summed) {
            match record.get(*column).unwrap_or_default() {
                b"" => {}
                text => match Number::parse(text) {
                    Ok(number) => sum.add(&number),
                    Err(NOT_A_NUMBER) if !is_guaranteed(ECO[*column].0) => {}
                    Err(cause) => unreadable(*column, text, cause),
                },
            }
        }
        for column in &self.other_doubles {
            let text = record.get(*column).unwrap_or_default();
            if !text.is_empty()
                && let Err(cause) = Number::parse(text)
                && (cause != NOT_A_NUMBER || is_guaranteed(ECO[*column].0))
            {
                unreadable(*column, text, cause);
            }
        }
    }

    fn check_account(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        let account = record.get(self.account).unwrap_or_default();
        if self.allowed.contains(account) {
            return;
        }
        self.cells_of_others += 1;
        let account = String::from_utf8_lossy(account).into_owned();
        let detail = format!("row {row}: usage account {account:?} is none of the export's");
        findings.add(FindingKind::ForeignAccount, key, detail);
    }

    fn check_cells(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        if self.masker.sees_all() {
            return;
        }
        // Only a payer that the source has excuses its own id.
        let payer = record.get(self.payer).unwrap_or_default();
        let payer = if self.context.expected.payers.contains(payer) { payer } else { b"" };
        for (column, cell) in record.iter().enumerate().take(ECO.len()) {
            if cell.is_empty() || column == self.account {
                continue;
            }
            for place in self.places.find(self.sensitivities[column], cell) {
                let id = &cell[place.clone()];
                let known = self.context.expected.accounts.contains(id) || self.of_others.contains(id);
                if known && self.masker.is_foreign(id, payer) {
                    self.cells_of_others += 1;
                    let id = String::from_utf8_lossy(id).into_owned();
                    let detail =
                        format!("row {row}, column {}: account {id} of somebody else", ECO[column].0);
                    findings.add(FindingKind::ForeignCell, key, detail);
                }
            }
        }
    }

    /// The additive columns that the contract delivers.
    pub(super) fn summed_columns(&self) -> impl Iterator<Item = &'static str> {
        self.summed.iter().map(|column| ECO[*column].0)
    }

    /// One column's sums.
    pub(super) fn per_currency(&self, column: &str) -> BTreeMap<String, Sum> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let Some(place) = self.summed.iter().position(|summed| ECO[*summed].0 == column) else {
            return sums;
        };
        for (currency, columns) in &self.sums {
            sums.entry(String::from_utf8_lossy(currency).into_owned()).or_default().plus(&columns[place]);
        }
        sums
    }
}
