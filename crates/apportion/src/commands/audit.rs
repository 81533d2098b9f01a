use crate::cli::RunArgs;
use crate::exit;
use crate::printer::{Head, Printer, amounts, count, text};
use crate::settings::{self, Place, ResolvedCustomer, Settings, SourceSetting};
use crate::signals::Signals;
use apportion_audit::{
    AuditError, AuditReport, AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport,
    RowOrder, audit,
};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::proof::{Decision, PeriodState};
use apportion_core::route::Accounts;
use apportion_flow::run::{Customer, PlannedExport, SourceRequest};
use apportion_flow::write::{Gzip, Level, Order};
use apportion_model::{BillingPeriod, ObjectKey, SourceName};
use std::path::{Path, PathBuf};

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
    let report = audit_all(&settings, &|| signals.came(), &|_, _| {})?;
    print(&report, printer)?;
    Ok(if report.is_clean() { exit::OK } else { exit::UNBALANCED })
}

/// One source after another, in the order of the settings.
pub(crate) fn audit_all(
    settings: &Settings,
    interrupted: &dyn Fn() -> bool,
    progress: &dyn Fn(&str, u64),
) -> anyhow::Result<AuditReport> {
    let mut whole = AuditReport { periods: Vec::new(), locked: Vec::new(), findings: Vec::new() };
    for request in requests(settings)? {
        let report = audit(&request, interrupted, progress)?;
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

/// The auditor has readers of its own, and none for buckets.
fn folder_of(place: &Place) -> anyhow::Result<PathBuf> {
    place.folder().map(Path::to_owned).ok_or_else(|| {
        exit::usage(format!(
            "{place}: audit reads folders only in this version. Copy source, targets and the MSP's place with `aws s3 sync`, and audit the copies; `verify` and `reconcile` read buckets"
        ))
    })
}

/// The settings in the auditor's own words, one request per source.
fn requests(settings: &Settings) -> anyhow::Result<Vec<AuditRequest>> {
    let deliver = settings.request(true)?;
    let request = |(source, named): (&SourceSetting, &SourceRequest)| {
        let customers = settings.customers.iter().zip(&deliver.customers);
        Ok(AuditRequest {
            source: folder_of(&source.place)?,
            source_name: source.name.clone(),
            source_in_report_ids: source.named,
            report: source.report.clone(),
            files: named.kind == apportion_flow::run::SourceKindWanted::Files,
            periods: settings.periods.clone(),
            period_may_be_elsewhere: deliver.sources.len() > 1,
            locked: locked(settings, &source.name)?,
            customers: customers
                .map(|(resolved, customer)| audited(settings, named, resolved, customer))
                .collect::<anyhow::Result<_>>()?,
            msp_place: settings.msp.as_ref().map(folder_of).transpose()?,
            mask_key: settings.mask_key.as_ref().map(|setting| setting.key.expose().to_vec()),
        })
    };
    settings.sources()?.iter().zip(&deliver.sources).map(request).collect()
}

/// The months that the MSP has locked: what is live of them need not be what the source and the settings say now.
fn locked(settings: &Settings, source: &SourceName) -> anyhow::Result<Vec<BillingPeriod>> {
    let Some(msp) = &settings.msp else { return Ok(Vec::new()) };
    let msp = folder_of(msp)?;
    let any = BillingPeriod::new(1970, 1)?;
    let key = ObjectKey::PeriodState { source, period: any }.to_string();
    let folder = msp.join(key).parent().map(Path::to_owned).unwrap_or_default();
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut locked = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(Ok(period)) = name.get(..17).map(BillingPeriod::parse) else { continue };
        let key = ObjectKey::PeriodState { source, period }.to_string();
        if !key.ends_with(&format!("/{name}")) {
            continue;
        }
        let state: PeriodState = serde_json::from_slice(&std::fs::read(msp.join(&key))?)
            .map_err(|error| exit::usage(format!("{key} can't be read: {error}")))?;
        if state.state == Decision::Locked {
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
        target: folder_of(target)?,
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
