//! `audit`: everything recomputed by other code.
//!
//! What comes in: settings. What goes out: the auditor's report as a table, findings and the four zeros. What it must never
//! do: decode a byte for the auditor, or soften what it says.

mod places;

use crate::cli::RunArgs;
use crate::exit;
use crate::printer::{Head, Printer, amounts, count, text};
use crate::progress::Progress;
use crate::settings::{self, ResolvedCustomer, Settings, SourceSetting};
use crate::signals::Signals;
use apportion_audit::{
    AuditError, AuditReport, AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport,
    RowOrder, audit,
};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::proof::{Decision, PeriodState};
use apportion_core::route::Accounts;
use apportion_flow::run::{Customer, PlannedExport, RunError, SourceRequest, Watcher};
use apportion_flow::storage::{Bucket, find_document};
use apportion_flow::write::{Gzip, Level, Order};
use apportion_model::{BillingPeriod, ObjectKey, SourceName};
use std::cell::RefCell;

const HEADS: [Head; 6] = [
    text("period"),
    text("customer"),
    text("report id"),
    count("rows expected"),
    count("rows found"),
    amounts("unblended cost"),
];

/// `audit`: recomputes everything by other code.
pub(crate) fn run(args: &RunArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let settings = settings::resolve(args)?;
    let progress = Progress::new(printer, signals);
    let report = audit_all(&settings, &progress);
    progress.finish();
    let report = report?;
    print(&report, printer)?;
    Ok(if report.is_clean() { exit::OK } else { exit::UNBALANCED })
}

/// One source after another, in the order of the settings.
pub(crate) fn audit_all(settings: &Settings, watcher: &dyn Watcher) -> anyhow::Result<AuditReport> {
    watcher.stage("auditing: everything again, by other code", None);
    let last = RefCell::new((String::new(), 0));
    let progress = |object: &str, rows: u64| {
        let mut last = last.borrow_mut();
        let before = if last.0 == object && last.1 <= rows { last.1 } else { 0 };
        watcher.advance(rows - before, 0);
        *last = (object.to_owned(), rows);
    };
    let mut whole = AuditReport { periods: Vec::new(), locked: Vec::new(), findings: Vec::new() };
    for request in requests(settings)? {
        let report = audit(&request, &|| watcher.interrupted(), &progress)?;
        whole.periods.extend(report.periods);
        whole.locked.extend(report.locked);
        whole.findings.extend(report.findings);
    }
    let is_there = |period: &BillingPeriod| {
        whole.locked.contains(period) || whole.periods.iter().any(|one| one.billing_period == *period)
    };
    match settings.periods.iter().flatten().find(|period| !is_there(period)) {
        None => Ok(whole),
        Some(period) => Err(AuditError::NotFound {
            wanted: format!("billing period {period}"),
            place: "any source of the settings".to_owned(),
        }
        .into()),
    }
}

/// The settings in the auditor's own words, one request per source.
fn requests(settings: &Settings) -> anyhow::Result<Vec<AuditRequest>> {
    let deliver = settings.request(true)?;
    let request = |(source, named): (&SourceSetting, &SourceRequest)| {
        let customers = settings.customers.iter().zip(&deliver.customers);
        let (place, object) = places::source(&source.place, named);
        Ok(AuditRequest {
            source: place,
            source_object: object,
            source_name: source.name.clone(),
            source_in_report_ids: source.named,
            report: source.report.clone(),
            files: named.kind == apportion_flow::run::SourceKindWanted::Files,
            periods: settings.periods.clone(),
            period_may_be_elsewhere: deliver.sources.len() > 1,
            locked: locked(deliver.msp.as_deref(), &source.name)?,
            customers: customers
                .map(|(resolved, customer)| audited(settings, named, resolved, customer))
                .collect::<anyhow::Result<_>>()?,
            msp_place: settings
                .msp
                .as_ref()
                .zip(deliver.msp.as_ref())
                .map(|(named, msp)| places::place(named, msp)),
            mask_key: settings.mask_key.as_ref().map(|setting| setting.key.expose().to_vec()),
        })
    };
    settings.sources()?.iter().zip(&deliver.sources).map(request).collect()
}

/// The months that the MSP has locked: what is live of them need not be what the source and the settings say now.
fn locked(msp: Option<&dyn Bucket>, source: &SourceName) -> anyhow::Result<Vec<BillingPeriod>> {
    let Some(msp) = msp else { return Ok(Vec::new()) };
    let key_of = |period| ObjectKey::PeriodState { source, period }.to_string();
    let any = key_of(BillingPeriod::new(1970, 1)?);
    let below = any.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut locked = Vec::new();
    for object in msp.list_below(&format!("{below}/")).map_err(RunError::from)? {
        let name = object.key.rsplit('/').next().unwrap_or_default();
        let Some(Ok(period)) = name.get(..17).map(BillingPeriod::parse) else { continue };
        let key = key_of(period);
        if key != object.key {
            continue;
        }
        let state = find_document::<PeriodState>(msp, &key)?;
        if state.is_some_and(|state| state.value.state == Decision::Locked) {
            locked.push(period);
        }
    }
    Ok(locked)
}

fn audited(
    settings: &Settings,
    source: &SourceRequest,
    resolved: &ResolvedCustomer,
    customer: &Customer,
) -> anyhow::Result<AuditedCustomer> {
    let exports = customer.exports(source).map_err(|error| exit::usage(error.to_string()))?;
    Ok(AuditedCustomer {
        id: resolved.id.clone(),
        accounts: match &resolved.accounts {
            Accounts::All => AuditedAccounts::All,
            Accounts::Listed(list) => AuditedAccounts::Listed(
                list.iter()
                    .map(|account| AuditedAccount {
                        id: account.id.clone(),
                        from: account.from,
                        to: account.to,
                    })
                    .collect(),
            ),
        },
        withhold: resolved.withhold.clone(),
        payer_kept: resolved.payer_kept,
        faithful: resolved.faithful,
        contract: match resolved.contract {
            Contract::Eco => apportion_audit::Contract::Eco,
            Contract::EcoExtended => apportion_audit::Contract::EcoExtended,
            Contract::Source => apportion_audit::Contract::Source,
        },
        header: match resolved.header {
            HeaderStyle::Snake => apportion_audit::HeaderStyle::Snake,
            HeaderStyle::Slash => apportion_audit::HeaderStyle::Slash,
        },
        gzip: match resolved.gzip {
            Gzip::MultiMember => apportion_audit::Gzip::MultiMember,
            Gzip::Single => apportion_audit::Gzip::Single,
        },
        level: match resolved.level {
            Level::Default => apportion_audit::Level::Default,
            Level::Fast => apportion_audit::Level::Fast,
            Level::Small => apportion_audit::Level::Small,
        },
        order: match resolved.order {
            Order::Sorted => RowOrder::Sorted,
            Order::Source => RowOrder::Source,
        },
        exports: exports
            .into_iter()
            .map(|planned| audited_export(resolved, planned))
            .collect::<anyhow::Result<_>>()?,
        audited: settings.only.as_ref().is_none_or(|only| *only == resolved.id),
    })
}

fn audited_export(resolved: &ResolvedCustomer, planned: PlannedExport) -> anyhow::Result<AuditedExport> {
    let target = resolved.target.place_for(planned.linked.as_ref());
    let target = target.ok_or_else(|| exit::usage(format!("{} has no target", planned.report)))?;
    Ok(AuditedExport {
        report_id: planned.report,
        target: places::place(target, &planned.target),
        layout: resolved.layout,
        format: planned.format,
        linked_account: planned.linked,
        folder: resolved.folder.clone(),
    })
}

/// Prints the table, every finding, and the four zeros.
pub(crate) fn print(report: &AuditReport, printer: &Printer) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for period in &report.periods {
        for customer in &period.customers {
            rows.push(vec![
                period.billing_period.to_string(),
                customer.customer.to_string(),
                customer.report_id.to_string(),
                customer.rows_expected.to_string(),
                customer.rows_found.to_string(),
                super::deliver::money(&customer.unblended_found),
            ]);
        }
    }
    printer.rows(&HEADS, &rows, report)?;
    for finding in &report.findings {
        let whose = finding.customer.as_deref().unwrap_or("-");
        printer.line(&format!(
            "finding: {}: {whose}: {}: {}",
            name(&finding.kind),
            finding.object,
            finding.detail
        ));
    }
    for period in &report.locked {
        printer.line(&format!("{period}: locked, not compared with the source"));
    }
    for line in four_zeros(report) {
        printer.note(&line);
    }
    Ok(())
}

fn name(kind: &impl serde::Serialize) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The four zeros of a whole report.
pub(crate) fn four_zeros(report: &AuditReport) -> [String; 4] {
    let zeros = report.zeros();
    [
        format!("rows unexplained            {}", zeros.rows_unexplained),
        format!("money unexplained           {}", zeros.money_unexplained),
        format!("cells of others             {}", zeros.cells_of_others),
        format!("files not as manifest says  {}", zeros.files_not_as_manifest),
    ]
}
