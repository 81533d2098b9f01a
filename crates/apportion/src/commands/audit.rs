use crate::cli::RunArgs;
use crate::exit;
use crate::printer::{Head, Printer, amounts, count, text};
use crate::settings::{self, ResolvedCustomer, Settings};
use crate::signals::Signals;
use apportion_audit::{
    AuditReport, AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport, audit,
};
use apportion_core::route::Accounts;
use apportion_flow::run::{Customer, SourceRequest};

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
    let request = request(&settings)?;
    let report = audit(&request, &|| signals.came(), &|_, _| {})?;
    print(&report, printer)?;
    Ok(if report.is_clean() { exit::OK } else { exit::UNBALANCED })
}

/// The settings in the auditor's own words.
pub(crate) fn request(settings: &Settings) -> anyhow::Result<AuditRequest> {
    let deliver = settings.request(true)?;
    let source = settings.source()?;
    let customers = settings
        .customers
        .iter()
        .zip(&deliver.customers)
        .map(|(resolved, customer)| audited(settings, &deliver.source, resolved, customer))
        .collect::<anyhow::Result<_>>()?;
    Ok(AuditRequest {
        source: source.path.clone(),
        source_name: source.name.clone(),
        source_in_report_ids: source.named,
        report: source.report.clone(),
        files: deliver.source.kind == apportion_flow::run::SourceKindWanted::Files,
        periods: settings.periods.clone(),
        customers,
        msp_place: settings.msp.clone(),
        mask_key: settings.mask_key.as_ref().map(|setting| setting.key.expose().to_vec()),
    })
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
        target: resolved.target.clone(),
        exports: exports
            .into_iter()
            .map(|(linked_account, report_id)| AuditedExport {
                report_id,
                linked_account,
                folder: resolved.folder.clone(),
            })
            .collect(),
        audited: settings.only.as_ref().is_none_or(|only| *only == resolved.id),
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
