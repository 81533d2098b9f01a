use super::exports::{Delivered, Export, exports_of};
use super::held::{Held, held};
use super::publishing::{commit_all, put_proofs, re_pin};
use super::report::{CustomerReport, PeriodReport, State, UnassignedReport};
use super::request::{DeliverRequest, SourceRequest, SpoolRequest};
use super::written::{Pass, Written, write};
use super::{RunError, Watcher};
use crate::catalog::{Standing, assembly_id, live_proof, master_pointer, master_proof};
use crate::source::{FoundDelivery, Observations, Pin, pin};
use crate::storage::{Lease, LeaseSeen, take_lease};
use crate::threads::Workers;
use crate::timings::Stage;
use crate::write::Spool;
use apportion_core::columns::{ExportColumn, drift};
use apportion_core::ledger::{Destination, LedgerKey, TotalsJson};
use apportion_core::money::{ExactSum, Number};
use apportion_core::proof::MasterPointer;
use apportion_core::route::Reason;
use apportion_model::{AssemblyId, BillingPeriod, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};

/// Line item types that AWS documents or that real files hold; others are copied and reported.
const KNOWN_TYPES: [&str; 19] = [
    "BundledDiscount",
    "Credit",
    "Discount",
    "DiscountedUsage",
    "EdpDiscount",
    "Fee",
    "FlatRateSubscription",
    "PrivateRateDiscount",
    "RIFee",
    "Refund",
    "RiVolumeDiscount",
    "SavingsPlanCoveredUsage",
    "SavingsPlanNegation",
    "SavingsPlanRecurringFee",
    "SavingsPlanUpfrontFee",
    "SppDiscount",
    "Tax",
    "Usage",
    "",
];

/// One delivery, from its pin to its commit.
pub(super) fn run(
    request: &DeliverRequest,
    source: &SourceRequest,
    report: &str,
    delivery: &FoundDelivery,
    watcher: &dyn Watcher,
) -> Result<PeriodReport, RunError> {
    let period = delivery.period;
    let begun = lease_seen(request, source, period)?;
    watcher.stage(&format!("{}: pinning", period.month_text()), None);
    let meter = watcher.meter();
    let pin = meter.time(Stage::Pin, || pin(source.bucket.as_ref(), delivery))?;
    let source_bytes = pin.data().iter().map(|object| object.bytes).sum();
    meter.count(Stage::Pin, 0, source_bytes);
    let mut observations = Observations::default();
    let mut exports =
        exports_of(&Delivered { request, source, delivery, pin: &pin, meter: &meter }, &mut observations)?;
    let delivery_id = delivery_id(source, &pin, &exports);
    let pass = Pass { request, source, delivery, pin: &pin, period, delivery_id: &delivery_id, watcher };
    let mut wanted = exports.iter().filter(|export| export.wanted).peekable();
    if wanted.peek().is_some() && wanted.all(Export::is_older) {
        // A copy that lags behind: nothing of it goes anywhere, so nothing of it is read.
        return unchanged(&pass, report, &exports, State::Failed);
    }
    let held = held(&pass, &exports)?;
    if let Some(held) = held.as_ref().filter(|held| !request.dry_run || !held.differs()) {
        return left(&pass, report, &exports, held);
    }
    if !request.dry_run && is_done(&pass, &exports)? {
        return unchanged(&pass, report, &exports, State::Unchanged);
    }
    let doing = if request.dry_run { "reading" } else { "splitting" };
    watcher.stage(&format!("{}: {doing}", period.month_text()), Some(source_bytes));
    meter.count(Stage::Read, 0, source_bytes);
    let spool = spool_of(&pass, exports.len())?;
    // Until the manifests have moved.
    let _lease = lease_of(&pass, begun, spool.as_ref())?;
    let written = write(&pass, &mut exports, spool)?;
    let imbalances = written.ledger.imbalances(&written.keys);
    if !imbalances.is_empty() {
        return Err(RunError::Unbalanced { period, imbalances });
    }
    let mut texts = texts_of(request, delivery, &written, observations);
    let mut drift = drift_of(&pass, &written)?;
    drift.extend(overwriting(&pin));
    if request.dry_run {
        texts.extend(held.as_ref().and_then(|held| held.texts(&pass)));
        let state = held.as_ref().map_or(State::Planned, Held::state);
        let lock = held.map(|held| held.report(&pass));
        return Ok(PeriodReport {
            lock,
            drift,
            ..report_of(&pass, report, &exports, &written, state, texts)?
        });
    }
    watcher.stage(&format!("{}: publishing", period.month_text()), None);
    let master = put_proofs(&pass, report, &mut exports, &written, &texts)?;
    re_pin(&pass)?;
    if watcher.interrupted() {
        return Err(RunError::Interrupted);
    }
    // Locked while this run was reading: no manifest has moved, and none moves now.
    if let Some(held) = self::held(&pass, &exports)? {
        return left(&pass, report, &exports, &held);
    }
    commit_all(&pass, &mut exports, &written, master.as_deref())?;
    let report = report_of(&pass, report, &exports, &written, State::Delivered, texts)?;
    Ok(PeriodReport { master_proof: master, drift, ..report })
}

/// A folder for what waits, for each export's lane and the unassigned line items'; none where nothing is written.
fn spool_of(pass: &Pass<'_>, exports: usize) -> Result<Option<Spool>, RunError> {
    let SpoolRequest { folder, limit } = &pass.request.spool;
    let spool = (!pass.request.dry_run).then(|| Spool::new(folder, pass.delivery_id, *limit, exports + 1));
    Ok(spool.transpose()?)
}

/// The lease on the month, unless somebody else has it.
fn lease_of(
    pass: &Pass<'_>,
    begun: Option<LeaseSeen>,
    spool: Option<&Spool>,
) -> Result<Option<Lease>, RunError> {
    let (Some(msp), Some(operator)) = (&pass.request.msp, &pass.request.operator) else { return Ok(None) };
    let (Some(begun), Some(spool)) = (begun, spool) else { return Ok(None) };
    let key = ObjectKey::Lease { source: &pass.source.name, period: pass.period }.to_string();
    Ok(Some(take_lease(msp, &key, operator, spool.root(), Some(&begun))?))
}

/// What stands where the month's lease is; nothing where nobody asks for one.
fn lease_seen(
    request: &DeliverRequest,
    source: &SourceRequest,
    period: BillingPeriod,
) -> Result<Option<LeaseSeen>, RunError> {
    let asks = request.operator.is_some() && !request.dry_run;
    let Some(msp) = request.msp.as_ref().filter(|_| asks) else { return Ok(None) };
    let key = ObjectKey::Lease { source: &source.name, period }.to_string();
    Ok(Some(LeaseSeen::look(msp.as_ref(), &key)?))
}

/// The id of the whole delivery: the source's version, every export's id, and this program's version, because the
/// master proof holds sentences.
fn delivery_id(source: &SourceRequest, pin: &Pin, exports: &[Export<'_>]) -> AssemblyId {
    let ids: Vec<(&str, &AssemblyId)> =
        exports.iter().map(|export| (export.report.as_str(), &export.assembly)).collect();
    assembly_id(&("delivery", env!("CARGO_PKG_VERSION"), &source.name, &pin.version, ids))
}

/// Whether everything this run could write is live already.
fn is_done(pass: &Pass<'_>, exports: &[Export<'_>]) -> Result<bool, RunError> {
    if exports.iter().any(Export::is_written) {
        return Ok(false);
    }
    let Some(msp) = &pass.request.msp else { return Ok(true) };
    let key = ObjectKey::MasterPointer { source: &pass.source.name, period: pass.period }.to_string();
    let Some(MasterPointer { newest, .. }) = master_pointer(msp.as_ref(), &key)? else { return Ok(false) };
    Ok(newest.delivery_id == *pass.delivery_id && msp.info(&newest.proof)?.is_some())
}

fn texts_of(
    request: &DeliverRequest,
    delivery: &FoundDelivery,
    written: &Written,
    mut observations: Observations,
) -> Vec<String> {
    for key in written.ledger.source().by_key(&written.keys).into_keys() {
        if key.billing_period != delivery.period.to_string() {
            observations
                .note(format!("line items of billing period {} stay in this delivery", key.billing_period));
        }
        if !KNOWN_TYPES.contains(&key.line_item_type.as_str()) {
            observations
                .note(format!("unknown line item type {:?} is delivered as it is", key.line_item_type));
        }
    }
    for (count, first) in written.keys.unsummed() {
        observations
            .note(format!("{count} cells are delivered as they are and not summed, the first is {first}"));
    }
    for (to, totals) in written.ledger.destinations() {
        let Destination::Withheld(Reason::WithheldSplitCost, owner) = to else { continue };
        let cost: Vec<String> = totals
            .unblended_by_currency(&written.keys)
            .iter()
            .filter(|(_, sum)| !sum.is_zero())
            .map(|(currency, sum)| format!("{sum} {currency}"))
            .collect();
        if let (false, Some(customer)) = (cost.is_empty(), request.customers.get(owner as usize)) {
            let id = &customer.routed.id;
            observations.note(format!(
                "split-cost line items withheld from {id} carry unblended cost: {}",
                cost.join(", ")
            ));
        }
    }
    let mut texts = written.observations.texts();
    texts.extend(observations.texts());
    texts.extend(written.watch.texts());
    texts
}

fn report_of(
    pass: &Pass<'_>,
    report: &str,
    exports: &[Export<'_>],
    written: &Written,
    state: State,
    observations: Vec<String>,
) -> Result<PeriodReport, RunError> {
    let customers = customer_reports(pass, exports, state)?
        .into_iter()
        .zip(exports)
        .enumerate()
        .map(|(place, (mut customer, export))| {
            if let Some(totals) = written.ledger.get(export.destination(place)) {
                customer.rows = totals.rows();
                customer.unblended_cost = as_text(totals.unblended_by_currency(&written.keys));
            }
            let columns = &written.exports[place].columns;
            if let Some(live) = export.live.manifest.as_ref().filter(|_| !columns.is_empty()) {
                customer.columns_added = missing_from(&live.columns, columns);
                customer.columns_gone = missing_from(columns, &live.columns);
            }
            customer.files = written.exports[place].files.len();
            customer.bytes = written.exports[place].files.iter().map(|file| file.bytes).sum();
            customer
        })
        .collect();
    let unassigned = written
        .ledger
        .destinations()
        .filter_map(|(to, totals)| {
            let (reason, owner) = match to {
                Destination::Export(_) | Destination::Copy { .. } => return None,
                Destination::Withheld(reason, owner) => (reason, pass.request.customers.get(owner as usize)),
                Destination::Nobody(reason) => (reason, None),
            };
            Some(UnassignedReport {
                reason: reason.as_str().to_owned(),
                owner: owner.map(|customer| customer.routed.id.to_string()),
                rows: totals.rows(),
                unblended_cost: as_text(totals.unblended_by_currency(&written.keys)),
            })
        })
        .collect();
    let source = written.ledger.source();
    Ok(PeriodReport {
        source_rows: source.rows(),
        source_unblended_cost: as_text(source.unblended_by_currency(&written.keys)),
        customers,
        unassigned,
        observations,
        ..empty_report(pass, report)
    })
}

/// The names of columns that another list doesn't have.
fn missing_from(there: &[ExportColumn], here: &[ExportColumn]) -> Vec<String> {
    let there: BTreeSet<&str> = there.iter().map(|column| column.name.as_str()).collect();
    here.iter().map(|column| &column.name).filter(|name| !there.contains(name.as_str())).cloned().collect()
}

/// How the source's columns differ from the last delivery's that the MSP's place knows of: of this month, or else of
/// the month before.
fn drift_of(pass: &Pass<'_>, written: &Written) -> Result<Vec<String>, RunError> {
    let Some(msp) = &pass.request.msp else { return Ok(Vec::new()) };
    for (period, when) in [(pass.period, "the delivery before"), (pass.period.previous(), "the month before")]
    {
        let key = ObjectKey::MasterPointer { source: &pass.source.name, period }.to_string();
        let Some(pointer) = master_pointer(msp.as_ref(), &key)? else { continue };
        let Some(proof) = master_proof(msp.as_ref(), &pointer.newest.proof)? else { continue };
        let texts = drift(&proof.columns, &written.source_columns);
        return Ok(texts.into_iter().map(|text| format!("against {when}: {text}")).collect());
    }
    Ok(Vec::new())
}

/// What a source looks like that AWS is overwriting. Not in the proof: times are no part of what was delivered.
fn overwriting(pin: &Pin) -> Option<String> {
    let key = pin.newer_than_manifest.as_ref()?;
    Some(format!(
        "{key} is newer than the manifest, which AWS writes last. Either this is a copy, or AWS was overwriting the report, and what was read is a mixture of two versions: then deliver again once the manifest is new"
    ))
}

/// A month that is locked.
fn left(
    pass: &Pass<'_>,
    report: &str,
    exports: &[Export<'_>],
    held: &Held,
) -> Result<PeriodReport, RunError> {
    Ok(PeriodReport {
        lock: Some(held.report(pass)),
        observations: held.texts(pass).into_iter().collect(),
        ..unchanged(pass, report, exports, held.state())?
    })
}

/// Nothing was read: what is live tells the numbers.
fn unchanged(
    pass: &Pass<'_>,
    report: &str,
    exports: &[Export<'_>],
    state: State,
) -> Result<PeriodReport, RunError> {
    let customers = customer_reports(pass, exports, state)?
        .into_iter()
        .map(|mut customer| {
            customer.rows = customer.rows_before.unwrap_or(0);
            customer.unblended_cost = customer.unblended_cost_before.clone();
            customer
        })
        .collect();
    Ok(PeriodReport { customers, ..empty_report(pass, report) })
}

fn empty_report(pass: &Pass<'_>, report: &str) -> PeriodReport {
    PeriodReport {
        billing_period: pass.period.to_string(),
        source: pass.source.name.to_string(),
        report: report.to_owned(),
        kind: pass.delivery.kind.as_str().to_owned(),
        source_assembly_id: pass.delivery.assembly.to_string(),
        source_rows: 0,
        source_unblended_cost: BTreeMap::new(),
        customers: Vec::new(),
        unassigned: Vec::new(),
        master_proof: None,
        lock: None,
        observations: Vec::new(),
        drift: Vec::new(),
    }
}

/// What there is to tell of each export before its own numbers are known.
fn customer_reports(
    pass: &Pass<'_>,
    exports: &[Export<'_>],
    otherwise: State,
) -> Result<Vec<CustomerReport>, RunError> {
    let workers = Workers::waiting(Stage::Publish, &pass.watcher.meter());
    let report = |place: usize| exports.get(place).map(|export| customer_report(export, otherwise));
    let reports = workers.run(exports.len(), report).ok_or(RunError::Thread)?;
    Ok(reports.into_iter().flatten().collect())
}

fn customer_report(export: &Export<'_>, otherwise: State) -> CustomerReport {
    let before = live_proof(export.target.as_ref(), &export.live);
    let state = match (&export.failure, export.wanted, &export.standing) {
        (Some(_), _, _) => State::Failed,
        (None, false, _) => State::NotChosen,
        (None, true, Standing::Published) if !matches!(otherwise, State::Locked | State::Waiting) => {
            State::Unchanged
        }
        (None, true, _) => otherwise,
    };
    CustomerReport {
        customer: export.customer.routed.id.to_string(),
        name: export.customer.name.clone(),
        report_id: export.report.to_string(),
        format: export.format,
        state,
        rows: 0,
        unblended_cost: BTreeMap::new(),
        rows_before: before.as_ref().map(|proof| proof.rows),
        unblended_cost_before: before.map(|proof| unblended_of(&proof.totals)).unwrap_or_default(),
        columns_added: Vec::new(),
        columns_gone: Vec::new(),
        files: 0,
        bytes: 0,
        assembly_id: export.assembly.to_string(),
        target: export.target.place(),
        manifest: export.manifest_key(),
        error: export.failure.as_ref().map(ToString::to_string),
        failure: export.failure.as_ref().map(RunError::kind),
    }
}

/// The unblended cost by currency, from totals as a proof tells them.
pub(super) fn unblended_of(totals: &[TotalsJson]) -> BTreeMap<String, String> {
    let mut sums: BTreeMap<String, ExactSum> = BTreeMap::new();
    for TotalsJson { key: LedgerKey { currency, .. }, sums: told, .. } in totals {
        let number = told
            .get("line_item_unblended_cost")
            .and_then(|text| Number::parse(text.as_bytes()).ok().flatten());
        if let Some(number) = number {
            sums.entry(currency.clone()).or_default().add(&number);
        }
    }
    as_text(sums)
}

fn as_text(sums: BTreeMap<String, ExactSum>) -> BTreeMap<String, String> {
    sums.into_iter().map(|(currency, sum)| (currency, sum.to_string())).collect()
}
