use super::super::{RunError, Watcher};
use super::shares::{Share, shares_of};
use super::{PeriodError, PeriodsRequest};
use crate::check::{Row, TakesRows, each_row};
use apportion_core::money::{ExactSum, Number, RepresentationDifference};
use apportion_core::period::{ChangeLine, ChangedRow, Changes, Compared, Dimension};
use apportion_core::proof::MasterProof;
use apportion_model::{BillingPeriod, Format, Instant};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows that are compared in one pass over a share's files: each takes up to 80 bytes, so a pass stays below 170 MB
/// however large a share is. A share of more rows is read several times, each time for the rows whose hash is next.
pub const ROWS_PER_PASS: u64 = 2_000_000;

/// One of the two deliveries.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// The id of the whole delivery.
    pub delivery_id: String,
    /// AWS's name for it.
    pub source_assembly_id: String,
    /// The source's version.
    pub source_version: String,
    /// Line items of the source.
    pub rows: u64,
}

impl Side {
    fn of(proof: &MasterProof) -> Self {
        Self {
            delivery_id: proof.delivery_id.to_string(),
            source_assembly_id: proof.source_assembly_id.to_string(),
            source_version: proof.source_version.clone(),
            rows: proof.source_totals.iter().map(|totals| totals.rows).sum(),
        }
    }
}

/// What two deliveries of a month differ in.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The source.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// The older of the two, or whatever was named so.
    pub from: Side,
    /// The newer.
    pub to: Side,
    /// What should be known about the comparison.
    pub notes: Vec<String>,
    /// By currency.
    pub total: Vec<ChangeLine>,
    /// By each dimension's values and currency.
    pub by: BTreeMap<String, Vec<ChangeLine>>,
}

/// Compares two deliveries of a month, row by row as multisets, customer by customer and with what was in nobody's
/// share; without ids, the newest with the one before it.
///
/// # Errors
/// A delivery that isn't known, a file that is gone or isn't what its proof says, and rows or money that don't
/// explain the proofs' difference to the last digit.
pub fn diff(
    request: &PeriodsRequest,
    period: BillingPeriod,
    from: Option<&str>,
    to: Option<&str>,
    rows_per_pass: u64,
    watcher: &dyn Watcher,
) -> Result<Difference, RunError> {
    let month = request.month(period)?;
    let to = to.map_or(Ok(&month.pointer.newest), |to| month.entry(to))?;
    let from = match from {
        Some(from) => month.entry(from)?,
        None => month
            .entries()
            .find(|entry| entry.delivery_id != to.delivery_id)
            .ok_or_else(|| PeriodError::OneDelivery { period, delivery: to.delivery_id.clone() })?,
    };
    let (from, to) = (request.proof(from)?, request.proof(to)?);
    let mut notes = Vec::new();
    if from.source_version == to.source_version {
        notes.push(
            "both were made of the same version of the source: what differs, settings have changed"
                .to_owned(),
        );
    }
    let (mut old, mut new) = (shares_of(request, &from)?, shares_of(request, &to)?);
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let mut changes = Changes::default();
    for name in names {
        let pair = Pair {
            from: old.remove(&name).unwrap_or_default(),
            to: new.remove(&name).unwrap_or_default(),
            name,
            watcher,
            rows_per_pass: rows_per_pass.max(1),
        };
        pair.compare(&mut changes, &mut notes)?;
    }
    Ok(Difference {
        source: month.source.to_string(),
        billing_period: period.to_string(),
        from: Side::of(&from),
        to: Side::of(&to),
        notes,
        total: changes.total_lines(),
        by: Dimension::ALL.iter().map(|by| (by.as_str().to_owned(), changes.lines(*by))).collect(),
    })
}

/// One customer's line items in both deliveries; or those in nobody's share.
struct Pair<'a> {
    /// The customer's id; blank for nobody.
    name: String,
    from: Share,
    to: Share,
    watcher: &'a dyn Watcher,
    rows_per_pass: u64,
}

impl Pair<'_> {
    fn compare(&self, changes: &mut Changes, notes: &mut Vec<String>) -> Result<(), RunError> {
        let Self { from, to, .. } = self;
        if from.content() == to.content() {
            // The same files: whatever they hold, it is the same.
            return Ok(());
        }
        self.notes(notes);
        let any = |share: &Share| share.files.is_empty();
        // Where one side has no file at all, the other's columns are compared with nothing.
        let compared = match (any(from), any(to)) {
            (true, _) => Compared::of(&to.columns, &to.columns),
            (_, true) => Compared::of(&from.columns, &from.columns),
            _ => Compared::of(&from.columns, &to.columns),
        };
        for (only, which) in [(&compared.only_from, "older"), (&compared.only_to, "newer")] {
            if !only.is_empty() {
                notes.push(format!(
                    "{}: not compared, because only the {which} delivery has them: columns {}",
                    self.label(),
                    only.join(", ")
                ));
            }
        }
        let (mut own, mut stored) = (Changes::default(), RepresentationDifference::default());
        let passes = (from.rows + to.rows).div_ceil(self.rows_per_pass).max(1);
        for pass in 0..passes {
            let mut counted = Counted { compared: &compared, pass, passes, counts: HashMap::new() };
            self.read(from, &mut Counting::new(&mut counted, 1))?;
            self.read(to, &mut Counting::new(&mut counted, -1))?;
            counted.counts.retain(|_, count| *count != 0);
            if !counted.counts.is_empty() {
                for (share, added) in [(from, false), (to, true)] {
                    let mut booking = Booking::new(&mut counted, added, self, &mut own);
                    self.read(share, &mut booking)?;
                    if added {
                        stored.merge(&booking.stored);
                    } else {
                        stored.subtract(&booking.stored);
                    }
                }
            }
        }
        self.explains(&own, &stored)?;
        changes.merge(&own);
        Ok(())
    }

    fn label(&self) -> &str {
        if self.name.is_empty() { "(nobody)" } else { &self.name }
    }

    /// What changes of settings do to a comparison.
    fn notes(&self, notes: &mut Vec<String>) {
        if self.from.files.is_empty() || self.to.files.is_empty() {
            return;
        }
        for ((what, from), (_, to)) in self.from.settings.iter().zip(&self.to.settings) {
            if from != to {
                notes.push(format!(
                    "{}: {what} differs: {from} then, {to} now; cells that depend on it differ in every row",
                    self.label()
                ));
            }
        }
    }

    fn read<T: TakesRows>(&self, share: &Share, taker: &mut T) -> Result<(), RunError> {
        for file in &share.files {
            if self.watcher.interrupted() {
                return Err(RunError::Interrupted);
            }
            self.watcher.stage(&format!("comparing {}", file.key), None);
            let place = format!("{}/{}", file.place.place(), file.key);
            let Some(open) = file.place.open(&file.key)? else {
                return Err(PeriodError::Gone { object: place }.into());
            };
            let rows = each_row(&place, open, file.format, &file.sha256, file.names.as_deref(), taker)
                .map_err(PeriodError::File)?;
            self.watcher.advance(rows, 0);
        }
        Ok(())
    }

    /// Rows and money that came and went are exactly the difference of the proofs. `stored` is what the booked rows'
    /// doubles are more than the texts they are shown by; it is zero without Parquet.
    fn explains(&self, own: &Changes, stored: &RepresentationDifference) -> Result<(), RunError> {
        let (mut rows, mut all) = (0i128, ExactSum::default());
        let mut currencies: BTreeSet<&String> = own.total().keys().collect();
        currencies.extend(self.from.cost.keys().chain(self.to.cost.keys()));
        let is_exact = [stored, &self.from.difference, &self.to.difference].iter().all(|sum| sum.is_zero());
        for currency in currencies {
            let change = own.total().get(currency).cloned().unwrap_or_default();
            rows += i128::from(change.rows_added) - i128::from(change.rows_removed);
            let mut rest = change.net();
            if let Some(cost) = self.to.cost.get(currency) {
                rest.subtract(cost);
            }
            if let Some(cost) = self.from.cost.get(currency) {
                rest.merge(cost);
            }
            if is_exact && !rest.is_zero() {
                return Err(self.unexplained(format!("{rest} {currency}")));
            }
            all.merge(&rest);
        }
        // What Parquet can't hold as it came is told by column, over all currencies.
        let mut rest = RepresentationDifference::parse(&all.to_string()).unwrap_or_default();
        rest.merge(stored);
        rest.subtract(&self.to.difference);
        rest.merge(&self.from.difference);
        if !rest.is_zero() {
            return Err(self.unexplained(rest.to_string()));
        }
        let due = i128::from(self.to.rows) - i128::from(self.from.rows);
        if rows != due {
            return Err(self.unexplained(format!("{} rows", rows - due)));
        }
        Ok(())
    }

    fn unexplained(&self, rest: String) -> RunError {
        PeriodError::Unexplained { customer: self.label().to_owned(), rest }.into()
    }
}

/// How much more often the older side has a row than the newer, for the rows of one pass.
struct Counted<'a> {
    compared: &'a Compared,
    pass: u64,
    passes: u64,
    counts: HashMap<u128, i64>,
}

impl Counted<'_> {
    /// The row's hash, if it is one of this pass.
    fn of_pass(&self, places: &[Option<usize>], row: &dyn Row, scratch: &mut Vec<u8>) -> Option<u128> {
        let cell = |at: usize| places.get(at).copied().flatten().map_or(&b""[..], |place| row.cell(place));
        let hash = self.compared.hash(cell, scratch);
        (hash as u64 % self.passes == self.pass).then_some(hash)
    }
}

/// Counts the rows of one side.
struct Counting<'a, 'b> {
    counted: &'a mut Counted<'b>,
    step: i64,
    places: Vec<Option<usize>>,
    scratch: Vec<u8>,
}

impl<'a, 'b> Counting<'a, 'b> {
    fn new(counted: &'a mut Counted<'b>, step: i64) -> Self {
        Self { counted, step, places: Vec::new(), scratch: Vec::new() }
    }
}

impl TakesRows for Counting<'_, '_> {
    fn columns(&mut self, names: &[String], _: Format) {
        self.places = self.counted.compared.places(names);
    }

    fn row(&mut self, row: &dyn Row) {
        if let Some(hash) = self.counted.of_pass(&self.places, row, &mut self.scratch) {
            *self.counted.counts.entry(hash).or_default() += self.step;
        }
    }
}

/// Where the cells stand that a changed row is told by.
#[derive(Default)]
struct Told {
    currency: Option<usize>,
    cost: Option<usize>,
    account: Option<usize>,
    service: Option<usize>,
    line_item_type: Option<usize>,
    start: Option<usize>,
    owner: Option<usize>,
    is_parquet: bool,
}

/// Books the rows that one side has more of.
struct Booking<'a, 'b> {
    counted: &'a mut Counted<'b>,
    added: bool,
    customer: &'a str,
    changes: &'a mut Changes,
    places: Vec<Option<usize>>,
    told: Told,
    scratch: Vec<u8>,
    /// What the doubles of the costs are more than the texts that they are read as.
    stored: RepresentationDifference,
}

impl<'a, 'b> Booking<'a, 'b> {
    fn new(counted: &'a mut Counted<'b>, added: bool, pair: &'a Pair<'_>, changes: &'a mut Changes) -> Self {
        let (customer, places, told) = (pair.label(), Vec::new(), Told::default());
        let stored = RepresentationDifference::default();
        Self { counted, added, customer, changes, places, told, scratch: Vec::new(), stored }
    }

    fn book(&mut self, row: &dyn Row) {
        let text =
            |place: Option<usize>| String::from_utf8_lossy(place.map_or(&b""[..], |place| row.cell(place)));
        let cost = self.told.cost.and_then(|place| Number::parse(row.cell(place)).ok().flatten());
        if let Some(cost) = cost.as_ref().filter(|_| self.told.is_parquet)
            && let Ok(double) = text(self.told.cost).parse()
        {
            self.stored.add(double, cost, 1);
        }
        let start = text(self.told.start);
        let day = Instant::parse(start.as_bytes()).map(|start| start.day().to_string()).unwrap_or_default();
        let owner = text(self.told.owner);
        let withheld = format!("({owner})");
        self.changes.book(&ChangedRow {
            added: self.added,
            currency: &text(self.told.currency),
            cost: cost.as_ref(),
            values: [
                if owner.is_empty() { self.customer } else { &withheld },
                &text(self.told.account),
                &text(self.told.service),
                &text(self.told.line_item_type),
                &day,
            ],
        });
    }
}

impl TakesRows for Booking<'_, '_> {
    fn columns(&mut self, names: &[String], format: Format) {
        self.places = self.counted.compared.places(names);
        let find = |name: &str| names.iter().position(|column| column == name);
        self.told = Told {
            currency: find("line_item_currency_code"),
            cost: find("line_item_unblended_cost"),
            account: find("line_item_usage_account_id"),
            service: find("line_item_product_code"),
            line_item_type: find("line_item_line_item_type"),
            start: find("line_item_usage_start_date"),
            owner: find("apportion_owner"),
            is_parquet: format == Format::Parquet,
        };
    }

    fn row(&mut self, row: &dyn Row) {
        let Some(hash) = self.counted.of_pass(&self.places, row, &mut self.scratch) else { return };
        // Of rows that are the same, as many are booked as one side has more.
        let Some(count) = self.counted.counts.get_mut(&hash) else { return };
        match (self.added, *count) {
            (false, 1..) => *count -= 1,
            (true, ..0) => *count += 1,
            _ => return,
        }
        self.book(row);
    }
}
