//! What every share must be, recomputed from the source.
//!
//! What comes in: one delivery and the settings. What goes out: rows, hashes and exact totals of every share, of
//! what is withheld and of what is nobody's. What it must never do: read a target, keep rows, or drop one.

use crate::cells::{FilePlan, Place, cell};
use crate::columns::{ADDITIVE, ColumnType, ECO, GUARANTEED, is_guaranteed};
use crate::error::AuditError;
use crate::hashes::{Fingerprint, RowHasher, cell_hash, item_hash};
use crate::masking::{Masker, Places, Sensitivity};
use crate::numbers::{NOT_A_NUMBER, Number};
use crate::request::{AuditRequest, AuditedAccounts, AuditedCustomer};
use crate::routing::{Route, RoutedCells, Router};
use crate::source::{DataObject, Delivery, ReadObject, Rows, source_version};
use crate::totals::{Groups, Totals};
use apportion_model::{AccountId, BillingPeriod, Day, Instant};
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
const PAYER: usize = 5;
const CURRENCY: usize = 10;
const TYPE: usize = 13;
const PRODUCT: usize = 17;
const ACCOUNT: usize = 22;
const USAGE_START: usize = 25;

/// One share: a customer's, or one linked account's of it.
#[derive(Default)]
pub(crate) struct Share {
    pub(crate) linked_account: Option<AccountId>,
    pub(crate) rows_hash: u128,
    pub(crate) totals: Totals,
    /// The usage accounts as delivered.
    pub(crate) accounts: HashSet<Vec<u8>>,
}

/// Everything that is one customer's.
#[derive(Default)]
pub(crate) struct CustomerExpected {
    pub(crate) shares: Vec<Share>,
    /// Rows of the share that none of its exports is for.
    pub(crate) without_export: BTreeMap<String, u64>,
    pub(crate) withheld: BTreeMap<&'static str, Totals>,
}

/// What the whole delivery must have become.
pub(crate) struct Expected {
    pub(crate) groups: Groups,
    pub(crate) source_totals: Totals,
    pub(crate) customers: Vec<CustomerExpected>,
    pub(crate) nobody: BTreeMap<&'static str, Totals>,
    /// The header of the unassigned files.
    pub(crate) unassigned_columns: Vec<Vec<u8>>,
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
    let columns = all_columns(delivery)?;
    let mut pass = Pass::new(request, delivery, columns);
    for object in &delivery.objects {
        pass.object(object, interrupted, progress)?;
    }
    let mut expected = pass.expected;
    expected.source_version = source_version(&expected.objects);
    Ok(expected)
}

/// The snake names of all files, in order of first appearance.
fn all_columns(delivery: &Delivery) -> Result<Vec<Vec<u8>>, AuditError> {
    let (mut columns, mut seen) = (Vec::new(), HashSet::new());
    for object in delivery.objects.iter().filter(|object| !delivery.is_left_over(object)) {
        let rows = Rows::open(object)?;
        if let Some(missing) = REQUIRED.iter().find(|name| !rows.names().iter().any(|n| n == name.as_bytes()))
        {
            return Err(AuditError::bad(
                &object.key,
                format!("has no column {missing}, so it can't be split"),
            ));
        }
        for name in rows.names() {
            if seen.insert(name.clone()) {
                columns.push(name.clone());
            }
        }
    }
    Ok(columns)
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

/// What is computed of one line item before its route is followed.
#[derive(Default)]
struct LineItem {
    numbers: Vec<Option<Number>>,
    item_hash: u128,
    canonical: Vec<u8>,
    /// Per guaranteed timestamp column: the last text and its canonical form, as they repeat for hours of rows.
    moments: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Pass<'a> {
    request: &'a AuditRequest,
    delivery: &'a Delivery,
    router: Router<'a>,
    maskers: Vec<Masker>,
    places: Places,
    sensitivities: Vec<Sensitivity>,
    /// For each guaranteed column its place among the additive ones.
    additive_of: Vec<Option<usize>>,
    hasher: RowHasher,
    delivered_account: Vec<u8>,
    item: LineItem,
    periods: (Vec<u8>, Option<BillingPeriod>),
    days: (Vec<u8>, Option<Day>),
    expected: Expected,
}

impl<'a> Pass<'a> {
    fn new(request: &'a AuditRequest, delivery: &'a Delivery, columns: Vec<Vec<u8>>) -> Self {
        let key = request.mask_key.as_deref();
        let customers = &request.customers;
        let additive = |name: &str| ADDITIVE.iter().position(|additive| *additive == name);
        Self {
            request,
            delivery,
            router: Router::new(customers, delivery.period),
            maskers: customers.iter().map(|customer| masker(customer, delivery.period, key)).collect(),
            places: Places::new(),
            sensitivities: ECO.iter().map(|(name, kind)| Sensitivity::of(name, *kind)).collect(),
            additive_of: GUARANTEED.iter().map(|(name, _)| additive(name)).collect(),
            hasher: RowHasher::default(),
            delivered_account: Vec::new(),
            item: LineItem {
                numbers: vec![None; ADDITIVE.len()],
                moments: vec![Default::default(); GUARANTEED.len()],
                ..LineItem::default()
            },
            periods: (Vec::new(), None),
            days: (Vec::new(), None),
            expected: Expected {
                groups: Groups::default(),
                source_totals: Totals::default(),
                customers: customers.iter().map(shares).collect(),
                nobody: BTreeMap::new(),
                unassigned_columns: columns,
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

    fn object(
        &mut self,
        object: &DataObject,
        interrupted: &dyn Fn() -> bool,
        progress: &dyn Fn(&str, u64),
    ) -> Result<(), AuditError> {
        if self.delivery.is_left_over(object) {
            let key = object.key.clone();
            self.expected.objects.push(ReadObject { key, fingerprint: Fingerprint::of(b""), rows: 0 });
            return Ok(());
        }
        let mut rows = Rows::open(object)?;
        let mut plan = FilePlan::new(rows.names(), &self.expected.unassigned_columns);
        let mut record = ByteRecord::new();
        while rows.next(&mut record)? {
            plan.maps.read(&record).map_err(|fault| rows.fault(fault.column, fault.cause.into()))?;
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
        self.item.read_numbers(plan, record)?;
        self.item.hash(plan, record, &self.additive_of)?;
        let cells = RoutedCells {
            account: guaranteed(ACCOUNT),
            line_item_type: guaranteed(TYPE),
            payer: guaranteed(PAYER),
            product_code: guaranteed(PRODUCT),
            split_parent: get(&plan.split_parent),
        };
        let group = self.expected.groups.number(period, guaranteed(CURRENCY), cells.line_item_type);
        let group =
            group.ok_or_else(|| Fault::new("line_item_line_item_type", "more types than a bill has"))?;
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
        let hash = if self.request.customers[customer].audited {
            self.delivered_hash(customer, cells.payer, plan, record)
        } else {
            0
        };
        let expected = &mut self.expected.customers[customer];
        let mut found = false;
        for share in &mut expected.shares {
            if share.linked_account.as_ref().is_none_or(|id| id.as_str().as_bytes() == cells.account) {
                found = true;
                share.rows_hash = share.rows_hash.wrapping_add(hash);
                share.totals.add(group, self.item.item_hash, &self.item.numbers);
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

    /// The hash of the row as the customer must receive it.
    fn delivered_hash(
        &mut self,
        customer: usize,
        payer: &[u8],
        plan: &FilePlan,
        record: &ByteRecord,
    ) -> u128 {
        let (masker, places) = (&mut self.maskers[customer], &mut self.places);
        let account = cell(&plan.guaranteed[ACCOUNT], record, &plan.maps);
        self.delivered_account.clear();
        masker.write(places, Sensitivity::Account, account, payer, &mut self.delivered_account);
        for (place, sensitivity) in plan.eco.iter().zip(&self.sensitivities) {
            match cell(place, record, &plan.maps) {
                b"" => self.hasher.cell(b""),
                text => self.hasher.cell_with(|out| masker.write(places, *sensitivity, text, payer, out)),
            }
        }
        self.hasher.finish()
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

/// One share per way the customer's exports are cut; without any export the whole.
fn shares(customer: &AuditedCustomer) -> CustomerExpected {
    let mut shares: Vec<Share> = Vec::new();
    let cuts = customer.exports.iter().map(|export| export.linked_account.clone());
    for linked_account in cuts.chain(customer.exports.is_empty().then_some(None)) {
        if !shares.iter().any(|share| share.linked_account == linked_account) {
            shares.push(Share { linked_account, ..Share::default() });
        }
    }
    CustomerExpected { shares, ..CustomerExpected::default() }
}

/// A cell that the delivery format refuses.
struct Fault {
    column: &'static str,
    cause: String,
}

impl Fault {
    fn new(column: &'static str, cause: &str) -> Self {
        Self { column, cause: cause.into() }
    }

    fn cell(column: &'static str, text: &[u8]) -> Self {
        Self { column, cause: format!("{:?} is no moment", shortened(text)) }
    }
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned()
}

fn number(column: &'static str, text: &[u8]) -> Result<Number, Fault> {
    Number::parse(text).map_err(|cause| Fault { column, cause: format!("{:?} {cause}", shortened(text)) })
}

impl LineItem {
    fn read_numbers(&mut self, plan: &FilePlan, record: &ByteRecord) -> Result<(), Fault> {
        for (index, place) in plan.additive.iter().enumerate() {
            self.numbers[index] = match cell(place, record, &plan.maps) {
                b"" => None,
                text => match Number::parse(text) {
                    Ok(number) => Some(number),
                    // Writers that aren't AWS misplace texts there: delivered as they are, they add nothing.
                    Err(NOT_A_NUMBER) if !is_guaranteed(ADDITIVE[index]) => None,
                    Err(cause) => {
                        let cause = format!("{:?} {cause}", shortened(text));
                        return Err(Fault { column: ADDITIVE[index], cause });
                    }
                },
            };
        }
        Ok(())
    }

    fn hash(
        &mut self,
        plan: &FilePlan,
        record: &ByteRecord,
        additive_of: &[Option<usize>],
    ) -> Result<(), Fault> {
        let mut sum = 0u128;
        for (index, (name, kind)) in GUARANTEED.iter().enumerate() {
            let text = cell(&plan.guaranteed[index], record, &plan.maps);
            if text.is_empty() {
                continue;
            }
            let canonical = match kind {
                ColumnType::Text => text,
                ColumnType::Timestamp => canonical_moment(&mut self.moments[index], text),
                ColumnType::Double => {
                    self.canonical.clear();
                    match additive_of[index].and_then(|place| self.numbers[place]) {
                        Some(number) => number.write_canonical(&mut self.canonical),
                        None => number(name, text)?.write_canonical(&mut self.canonical),
                    }
                    &self.canonical
                }
            };
            sum = sum.wrapping_add(cell_hash(index, canonical));
        }
        self.item_hash = item_hash(sum);
        Ok(())
    }
}

/// Milliseconds since 1970, or the bytes as they are where they are no moment.
fn canonical_moment<'t>(last: &'t mut (Vec<u8>, Vec<u8>), text: &[u8]) -> &'t [u8] {
    if last.0 != text {
        let form =
            Instant::parse(text).map_or_else(|| text.to_vec(), |at| at.millis().to_string().into_bytes());
        *last = (text.to_vec(), form);
    }
    &last.1
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_moment_is_hashed_as_milliseconds() {
        let mut last = Default::default();
        assert_eq!(canonical_moment(&mut last, b"1970-01-01 00:00:01"), b"1000");
        assert_eq!(canonical_moment(&mut last, b"1970-01-01T00:00:01.000Z"), b"1000");
        assert_eq!(canonical_moment(&mut last, b"soon"), b"soon");
    }
}
