//! What every share must be, recomputed from the source.
//!
//! What comes in: one delivery and the settings. What goes out: rows, hashes and exact totals of every share, of
//! what is withheld and of what is nobody's. What it must never do: read a target, keep rows, or drop one.

use crate::cells::{FilePlan, Place, cell};
use crate::delivered::{Recipient, Registry, Row};
use crate::error::AuditError;
use crate::hashes::{Fingerprint, RowHasher};
use crate::line_item::{Fault, LineItem};
use crate::masking::{Masker, Places, Sensitivity};
use crate::request::{AuditRequest, AuditedAccounts, AuditedCustomer, Contract};
use crate::routing::{Route, RoutedCells, Router};
use crate::share::{CustomerExpected, Share, shares};
use crate::source::{DataObject, Delivery, ReadObject, source_version};
use crate::totals::{Groups, Totals};
use apportion_model::{AccountId, BillingPeriod, Day, Format, Instant};
use csv::ByteRecord;
use std::collections::{BTreeMap, HashSet};

/// How many rows go by between two looks at the caller.
pub(crate) const ROWS_BETWEEN_LOOKS: u64 = 8192;
/// More accounts than any organisation has.
const MOST_ACCOUNTS: usize = 1_000_000;
const REQUIRED: [&str; 6] = [
    "line_item_usage_account_id",
    "line_item_usage_start_date",
    "line_item_line_item_type",
    "line_item_currency_code",
    "line_item_unblended_cost",
    "bill_billing_period_start_date",
];

/// The places of the guaranteed columns that decide something.
const PERIOD_START: usize = 3;
const INVOICE: usize = 4;
const PAYER: usize = 5;
const CURRENCY: usize = 10;
const TYPE: usize = 13;
const PRODUCT: usize = 17;
const ACCOUNT: usize = 22;
const USAGE_START: usize = 25;

/// What the whole delivery must have become.
pub(crate) struct Expected {
    pub(crate) groups: Groups,
    pub(crate) registry: Registry,
    pub(crate) source_totals: Totals,
    pub(crate) customers: Vec<CustomerExpected>,
    pub(crate) nobody: BTreeMap<&'static str, Totals>,
    /// The header of the unassigned files.
    pub(crate) unassigned_columns: Vec<Vec<u8>>,
    /// The source's columns, and in how many files each is.
    pub(crate) source_columns: BTreeMap<Vec<u8>, u64>,
    pub(crate) unassigned_hash: u128,
    pub(crate) unassigned: u64,
    pub(crate) withheld: u64,
    /// Every usage and payer account of the source.
    pub(crate) accounts: HashSet<Vec<u8>>,
    pub(crate) payers: HashSet<Vec<u8>>,
    /// The manifest, if there is one, and the data objects.
    pub(crate) objects: Vec<ReadObject>,
    pub(crate) source_version: String,
}

impl Expected {
    /// The share of an export.
    pub(crate) fn share(&self, customer: usize, linked_account: Option<&AccountId>) -> Option<&Share> {
        self.customers
            .get(customer)?
            .shares
            .iter()
            .find(|share| share.linked_account.as_ref() == linked_account)
    }
}

/// Reads a delivery.
pub(crate) fn expect(
    request: &AuditRequest,
    delivery: &Delivery,
    interrupted: &dyn Fn() -> bool,
    progress: &dyn Fn(&str, u64),
) -> Result<Expected, AuditError> {
    let mut pass = Pass::new(request, delivery);
    pass.all_columns()?;
    for object in &delivery.objects {
        pass.object(object, interrupted, progress)?;
    }
    delivery.check_manifest()?;
    let mut expected = pass.expected;
    expected.source_version = source_version(&expected.objects);
    Ok(expected)
}

/// A customer's masker; `own` are the accounts that are theirs on any day of the period.
pub(crate) fn masker(customer: &AuditedCustomer, period: BillingPeriod, key: Option<&[u8]>) -> Masker {
    let own = match &customer.accounts {
        AuditedAccounts::Listed(accounts) if !customer.faithful => Some(
            accounts
                .iter()
                .filter(|account| account.touches(period))
                .map(|account| account.id.as_str().as_bytes().to_vec())
                .collect(),
        ),
        _ => None,
    };
    Masker::new(customer.id.as_str(), own, customer.payer_kept, key)
}

struct Pass<'a> {
    request: &'a AuditRequest,
    delivery: &'a Delivery,
    router: Router<'a>,
    maskers: Vec<Masker>,
    places: Places,
    /// Whether some export may have columns outside the fixed list.
    wide: bool,
    /// Per customer whether there is an export in Parquet.
    parquet: Vec<bool>,
    hasher: RowHasher,
    delivered_account: Vec<u8>,
    item: LineItem,
    form: Row,
    periods: (Vec<u8>, Option<BillingPeriod>),
    days: (Vec<u8>, Option<Day>),
    expected: Expected,
}

impl<'a> Pass<'a> {
    fn new(request: &'a AuditRequest, delivery: &'a Delivery) -> Self {
        let key = request.mask_key.as_deref();
        let customers = &request.customers;
        let of_parquet = |customer: &AuditedCustomer| {
            customer.audited && customer.exports.iter().any(|export| export.format == Format::Parquet)
        };
        Self {
            request,
            delivery,
            router: Router::new(customers, delivery.period),
            maskers: customers.iter().map(|customer| masker(customer, delivery.period, key)).collect(),
            places: Places::new(),
            wide: customers.iter().any(|customer| customer.audited && customer.contract != Contract::Eco),
            parquet: customers.iter().map(of_parquet).collect(),
            hasher: RowHasher::default(),
            delivered_account: Vec::new(),
            item: LineItem::default(),
            form: Row::default(),
            periods: (Vec::new(), None),
            days: (Vec::new(), None),
            expected: Expected {
                groups: Groups::default(),
                registry: Registry::default(),
                source_totals: Totals::default(),
                customers: customers.iter().map(shares).collect(),
                nobody: BTreeMap::new(),
                unassigned_columns: Vec::new(),
                source_columns: BTreeMap::new(),
                unassigned_hash: 0,
                unassigned: 0,
                withheld: 0,
                accounts: HashSet::new(),
                payers: HashSet::new(),
                objects: delivery.manifest.iter().cloned().collect(),
                source_version: String::new(),
            },
        }
    }

    /// The snake names of all files, in order of first appearance.
    fn all_columns(&mut self) -> Result<(), AuditError> {
        let delivery = self.delivery;
        for object in &delivery.objects {
            let Some(rows) = delivery.open(object)? else { continue };
            let has = |name: &&&str| rows.names().iter().any(|found| found == name.as_bytes());
            if let Some(missing) = REQUIRED.iter().find(|name| !has(name)) {
                let cause = format!("has no column {missing}, so it can't be split");
                return Err(AuditError::bad(&object.key, cause));
            }
            let mut in_file = HashSet::new();
            for name in rows.names().iter().filter(|name| in_file.insert(*name)) {
                let files = self.expected.source_columns.entry(name.clone()).or_default();
                *files += 1;
                if *files == 1 {
                    self.expected.unassigned_columns.push(name.clone());
                }
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        object: &DataObject,
        interrupted: &dyn Fn() -> bool,
        progress: &dyn Fn(&str, u64),
    ) -> Result<(), AuditError> {
        let Some(mut rows) = self.delivery.open(object)? else {
            let key = object.key.clone();
            self.expected.objects.push(ReadObject { key, fingerprint: Fingerprint::of(b""), rows: 0 });
            return Ok(());
        };
        let (expected, mut record) = (&mut self.expected, ByteRecord::new());
        let (all, registry) = (&expected.unassigned_columns, &mut expected.registry);
        let plan = FilePlan::new(rows.headers(), rows.names(), all, self.wide, registry);
        let mut plan = plan.map_err(|cause| AuditError::bad(&object.key, cause))?;
        while rows.next(&mut record)? {
            plan.read(&record, &mut self.expected.registry)
                .map_err(|fault| rows.fault(fault.column, fault.cause.into()))?;
            self.row(&plan, &record).map_err(|fault| rows.fault(fault.column, fault.cause))?;
            if rows.row().is_multiple_of(ROWS_BETWEEN_LOOKS) {
                progress(&object.key, rows.row());
                if interrupted() {
                    return Err(AuditError::Interrupted);
                }
            }
        }
        progress(&object.key, rows.row());
        let row_count = rows.count();
        self.expected.objects.push(ReadObject {
            key: object.key.clone(),
            fingerprint: rows.finish()?,
            rows: row_count,
        });
        Ok(())
    }

    fn row(&mut self, plan: &FilePlan, record: &ByteRecord) -> Result<(), Fault> {
        let get = |place: &Place| cell(place, record, &plan.maps);
        let guaranteed = |place: usize| get(&plan.guaranteed[place]);
        let period = self.period(guaranteed(PERIOD_START))?;
        let day = Router::day(period, self.usage_start(guaranteed(USAGE_START))?);
        self.item.read(plan, record)?;
        let cells = RoutedCells {
            account: guaranteed(ACCOUNT),
            line_item_type: guaranteed(TYPE),
            payer: guaranteed(PAYER),
            product_code: guaranteed(PRODUCT),
            split_parent: get(&plan.split_parent),
        };
        let (currency, invoice) = (guaranteed(CURRENCY), guaranteed(INVOICE));
        let group = self.expected.groups.number(period, currency, cells.line_item_type, invoice);
        let group = group.ok_or_else(|| {
            Fault::new("line_item_line_item_type", "more types and invoices than a bill has")
        })?;
        self.note_accounts(cells)?;
        let (hash, numbers) = (self.item.item_hash, &self.item.numbers);
        self.expected.source_totals.add(group, hash, numbers);
        match self.router.route(cells, day) {
            Route::Share(customer) => self.share(customer, group, cells, plan, record),
            Route::Withheld(customer, reason) => {
                let withheld = &mut self.expected.customers[customer].withheld;
                withheld.entry(reason).or_default().add(group, hash, numbers);
                self.expected.withheld += 1;
                let owner = self.request.customers[customer].id.as_str();
                self.unassigned(plan, record, reason, owner);
            }
            Route::Nobody(reason) => {
                self.expected.nobody.entry(reason).or_default().add(group, hash, numbers);
                self.unassigned(plan, record, reason, "");
            }
        }
        Ok(())
    }

    fn period(&mut self, text: &[u8]) -> Result<BillingPeriod, Fault> {
        if text.is_empty() {
            return Ok(self.delivery.period);
        }
        if self.periods.0 != text || self.periods.1.is_none() {
            self.periods = (text.to_vec(), Instant::parse(text).and_then(BillingPeriod::of));
        }
        self.periods.1.ok_or_else(|| Fault::cell("bill_billing_period_start_date", text))
    }

    fn usage_start(&mut self, text: &[u8]) -> Result<Option<Day>, Fault> {
        if text.is_empty() {
            return Ok(None);
        }
        if self.days.0 != text || self.days.1.is_none() {
            self.days = (text.to_vec(), Instant::parse(text).map(Instant::day));
        }
        self.days.1.map(Some).ok_or_else(|| Fault::cell("line_item_usage_start_date", text))
    }

    fn note_accounts(&mut self, cells: RoutedCells<'_>) -> Result<(), Fault> {
        let expected = &mut self.expected;
        note(&mut expected.accounts, cells.account)?;
        note(&mut expected.accounts, cells.payer)?;
        note(&mut expected.payers, cells.payer)
    }

    fn share(
        &mut self,
        customer: usize,
        group: usize,
        cells: RoutedCells<'_>,
        plan: &FilePlan,
        record: &ByteRecord,
    ) {
        self.delivered_account.clear();
        if self.request.customers[customer].audited {
            self.take(customer, cells, plan, record);
        } else {
            self.form.clear();
        }
        let expected = &mut self.expected.customers[customer];
        let currency = cell(&plan.guaranteed[CURRENCY], record, &plan.maps);
        let mut found = false;
        for share in &mut expected.shares {
            if share.linked_account.as_ref().is_none_or(|id| id.as_str().as_bytes() == cells.account) {
                found = true;
                share.add(group, &self.item, &self.form, currency, &self.expected.registry);
                if !share.accounts.contains(&self.delivered_account) {
                    share.accounts.insert(self.delivered_account.clone());
                }
            }
        }
        if !found {
            let account = String::from_utf8_lossy(cells.account).into_owned();
            *expected.without_export.entry(account).or_default() += 1;
        }
    }

    /// The row as the customer must receive it.
    fn take(&mut self, customer: usize, cells: RoutedCells<'_>, plan: &FilePlan, record: &ByteRecord) {
        let (masker, places) = (&mut self.maskers[customer], &mut self.places);
        masker.write(places, Sensitivity::Account, cells.account, cells.payer, &mut self.delivered_account);
        let contract = self.request.customers[customer].contract;
        let parquet = self.parquet[customer];
        let mut to = Recipient { contract, masker, places, payer: cells.payer, parquet };
        self.form.take(&plan.delivered, record, &plan.maps, &mut to);
    }

    fn unassigned(&mut self, plan: &FilePlan, record: &ByteRecord, reason: &str, owner: &str) {
        self.expected.unassigned += 1;
        if self.request.msp_place.is_none() {
            return;
        }
        for place in &plan.all {
            self.hasher.cell(cell(place, record, &plan.maps));
        }
        self.hasher.cell(reason.as_bytes());
        self.hasher.cell(owner.as_bytes());
        self.expected.unassigned_hash = self.expected.unassigned_hash.wrapping_add(self.hasher.finish());
    }
}

fn note(accounts: &mut HashSet<Vec<u8>>, id: &[u8]) -> Result<(), Fault> {
    if id.is_empty() || accounts.contains(id) {
        return Ok(());
    }
    if accounts.len() >= MOST_ACCOUNTS {
        return Err(Fault::new("line_item_usage_account_id", "more accounts than there can be"));
    }
    accounts.insert(id.to_vec());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::GUARANTEED;

    #[test]
    fn deciding_columns_are_where_they_are_taken_from() {
        for (place, name) in [
            (PERIOD_START, "bill_billing_period_start_date"),
            (PAYER, "bill_payer_account_id"),
            (CURRENCY, "line_item_currency_code"),
            (TYPE, "line_item_line_item_type"),
            (PRODUCT, "line_item_product_code"),
            (ACCOUNT, "line_item_usage_account_id"),
            (USAGE_START, "line_item_usage_start_date"),
        ] {
            assert_eq!(GUARANTEED[place].0, name);
        }
    }
}
