//! What a consumer reads in the rows of an export.
//!
//! What comes in: the delivered rows in the export's columns, cells of surplus columns behind them. What goes out:
//! their count, hashes and exact sums, and findings about cells. What it must never do: keep a row.

use super::ExportContext;
use super::files::FileColumn;
use crate::columns::{ADDITIVE, ColumnType, is_guaranteed};
use crate::delivered::{add_cell, tag};
use crate::masking::{Masker, Places, Sensitivity};
use crate::numbers::{NOT_A_NUMBER, Number, Sum};
use crate::report::{FindingKind, Findings};
use crate::request::HeaderStyle;
use crate::share::Order;
use apportion_model::Format;
use csv::ByteRecord;
use std::collections::{BTreeMap, HashMap, HashSet};
use twox_hash::XxHash3_128;

/// Gathers the figures of one export over all of its files.
pub(super) struct ExportRows<'a> {
    context: &'a ExportContext<'a>,
    masker: Masker,
    places: Places,
    /// The columns that each file must have.
    pub(super) columns: Vec<FileColumn>,
    sensitivities: Vec<Sensitivity>,
    /// Columns in the byte order of their names, as hashes take them.
    by_name: Vec<(usize, [u8; 16])>,
    /// Places of the additive columns that the export has.
    summed: Vec<usize>,
    other_doubles: Vec<usize>,
    payer: Option<usize>,
    account: Option<usize>,
    currency: Option<usize>,
    allowed: HashSet<Vec<u8>>,
    /// Accounts that other customers' lists have.
    of_others: HashSet<Vec<u8>>,
    sums: HashMap<Vec<u8>, Vec<Sum>>,
    bytes: Vec<u8>,
    pub(super) rows: u64,
    pub(super) rows_hash: u128,
    pub(super) order: Order,
    pub(super) cells_of_others: u64,
}

impl<'a> ExportRows<'a> {
    pub(super) fn new(context: &'a ExportContext<'a>, masker: Masker) -> Self {
        let slash = context.export.format == Format::CsvGz && context.customer.header == HeaderStyle::Slash;
        let columns: Vec<FileColumn> = context
            .columns
            .iter()
            .map(|column| FileColumn {
                header: if slash { column.legacy.clone().into() } else { column.name.clone().into() },
                name: column.name.clone().into(),
                kind: column.kind,
                filled: column.filled,
            })
            .collect();
        let place = |name: &str| context.columns.iter().position(|column| column.name == name);
        let doubles = (0..columns.len()).filter(|at| columns[*at].kind == ColumnType::Double);
        let (summed, other_doubles) =
            doubles.partition(|at| ADDITIVE.contains(&context.columns[*at].name.as_str()));
        let mut by_name: Vec<_> = columns.iter().map(|column| tag(&column.name)).enumerate().collect();
        by_name.sort_by_key(|(at, _)| &columns[*at].name);
        Self {
            context,
            masker,
            places: Places::new(),
            sensitivities: context.columns.iter().map(|c| Sensitivity::of(&c.name, c.kind)).collect(),
            by_name,
            summed,
            other_doubles,
            payer: place("bill_payer_account_id"),
            account: place("line_item_usage_account_id"),
            currency: place("line_item_currency_code"),
            allowed: context.allowed_accounts(),
            of_others: context.accounts_of_others(),
            sums: HashMap::new(),
            bytes: Vec::new(),
            rows: 0,
            rows_hash: 0,
            order: Order::default(),
            cells_of_others: 0,
            columns,
        }
    }

    pub(super) fn row(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        self.rows += 1;
        self.bytes.clear();
        for (at, tag) in &self.by_name {
            match record.get(*at) {
                None | Some(b"") => {}
                Some(cell) => add_cell(&mut self.bytes, tag, cell),
            }
        }
        let hash = XxHash3_128::oneshot(&self.bytes);
        self.rows_hash = self.rows_hash.wrapping_add(hash);
        self.order.add(hash);
        self.add_numbers(key, row, record, findings);
        self.check_account(key, row, record, findings);
        self.check_cells(key, row, record, findings);
    }

    fn add_numbers(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        let context = self.context;
        let currency = cell(record, self.currency);
        if !self.sums.contains_key(currency) {
            self.sums.insert(currency.to_vec(), vec![Sum::default(); self.summed.len()]);
        }
        let Some(sums) = self.sums.get_mut(currency) else { return };
        let mut unreadable = |column: usize, text: &[u8], cause: &str| {
            let text = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
            let detail = format!("row {row}, column {}: {text:?} {cause}", context.columns[column].name);
            findings.add(FindingKind::CellUnreadable, key, detail);
        };
        for (sum, column) in sums.iter_mut().zip(&self.summed) {
            match record.get(*column).unwrap_or_default() {
                b"" => {}
                text => match Number::parse(text) {
                    Ok(number) => sum.add(&number),
                    Err(NOT_A_NUMBER) if !is_guaranteed(&context.columns[*column].name) => {}
                    Err(cause) => unreadable(*column, text, cause),
                },
            }
        }
        for column in &self.other_doubles {
            let text = record.get(*column).unwrap_or_default();
            if !text.is_empty()
                && let Err(cause) = Number::parse(text)
                && (cause != NOT_A_NUMBER || is_guaranteed(&context.columns[*column].name))
            {
                unreadable(*column, text, cause);
            }
        }
    }

    fn check_account(&mut self, key: &str, row: u64, record: &ByteRecord, findings: &mut Findings) {
        let account = cell(record, self.account);
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
        let payer = cell(record, self.payer);
        let payer = if self.context.expected.payers.contains(payer) { payer } else { b"" };
        for (column, cell) in record.iter().enumerate() {
            if cell.is_empty() || Some(column) == self.account {
                continue;
            }
            // A surplus column can be anything: its whole cell, too.
            let surplus = column >= self.sensitivities.len();
            let sensitivity = self.sensitivities.get(column).copied().unwrap_or(Sensitivity::CreatedBy);
            let whole = surplus.then_some(0..cell.len());
            for place in self.places.find(sensitivity, cell).iter().cloned().chain(whole) {
                let id = &cell[place];
                let known = self.context.expected.accounts.contains(id) || self.of_others.contains(id);
                if known && self.masker.is_foreign(id, payer) {
                    self.cells_of_others += 1;
                    let id = String::from_utf8_lossy(id).into_owned();
                    let name = self.context.columns.get(column).map_or("that is surplus", |c| &c.name);
                    let detail = format!("row {row}, column {name}: account {id} of somebody else");
                    findings.add(FindingKind::ForeignCell, key, detail);
                }
            }
            if sensitivity == Sensitivity::PayerName && !self.context.customer.payer_kept {
                self.cells_of_others += 1;
                let detail = format!("row {row}, column bill_payer_account_name: the payer is to be masked");
                findings.add(FindingKind::ForeignCell, key, detail);
            }
        }
    }

    /// The additive columns that the export has.
    pub(super) fn summed_columns(&self) -> impl Iterator<Item = &'a str> {
        self.summed.iter().map(|column| self.context.columns[*column].name.as_str())
    }

    /// One column's sums.
    pub(super) fn per_currency(&self, column: &str) -> BTreeMap<String, Sum> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let Some(place) = self.summed_columns().position(|summed| summed == column) else {
            return sums;
        };
        for (currency, columns) in &self.sums {
            sums.entry(String::from_utf8_lossy(currency).into_owned()).or_default().plus(&columns[place]);
        }
        sums
    }
}

fn cell(record: &ByteRecord, place: Option<usize>) -> &[u8] {
    place.and_then(|place| record.get(place)).unwrap_or_default()
}
