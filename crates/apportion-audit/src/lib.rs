//! Doubts: recomputes every share from the source and the delivered targets, by its own code.
//!
//! What comes in: a source, the settings of all customers, and where their shares were delivered. What goes out: a
//! report with the four zeros (rows unexplained, money unexplained, cells of others, files not as their manifest)
//! and a finding for every defect. What it must never do: share code with the splitter, write anything, or forgive.
//!
//! The delivery format's page is all that this crate and the splitter have in common. Folders it reads by itself; of any
//! other place whoever calls it must bring the bytes ([`Place`]), and what they are is decided here.

mod cells;
mod columns;
mod delivered;
mod documents;
mod doubles;
mod error;
mod expect;
mod hashes;
mod headers;
mod line_item;
mod maps;
mod masking;
mod master;
mod names;
mod numbers;
mod opened;
mod place;
mod proof;
mod report;
mod request;
mod routing;
mod share;
mod source;
mod stored;
mod target;
mod totals;

pub use error::{AuditError, AuditErrorKind};
pub use place::{Folder, Object, Place, PlaceError, PlaceErrorKind};
pub use report::{AuditReport, CustomerAudit, Finding, FindingKind, PeriodAudit, Zeros};
pub use request::{
    AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport, Contract, Gzip,
    HeaderStyle, Level, RowOrder,
};

use expect::{Expected, expect};
use master::{Master, MasterContext};
use report::{Findings, ZeroCounts};
use source::Delivery;
use target::{ExportContext, UNBLENDED, audit_export, texts};

/// Audits every wanted billing period of a source against what was delivered.
///
/// `interrupted` is asked every few thousand rows; `progress` is told the object being read and its rows so far.
///
/// # Errors
/// Only what prevents the audit: a source that isn't there, is ambiguous, incomplete, broken, unreadable or changing, a
/// place that doesn't let itself be read, or the caller's wish to stop. A defect of a target is a finding.
pub fn audit(
    request: &AuditRequest,
    interrupted: &dyn Fn() -> bool,
    progress: &dyn Fn(&str, u64),
) -> Result<AuditReport, AuditError> {
    let in_source = |error: AuditError| error.of(&request.source.name());
    let mut report = AuditReport { periods: Vec::new(), locked: Vec::new(), findings: Vec::new() };
    for delivery in source::find(request).map_err(in_source)? {
        if request.locked.contains(&delivery.period) {
            report.locked.push(delivery.period);
            continue;
        }
        if interrupted() {
            return Err(AuditError::Interrupted);
        }
        let (period, findings) = audit_period(request, &delivery, interrupted, progress)?;
        report.periods.push(period);
        report.findings.extend(findings);
    }
    Ok(report)
}

fn audit_period(
    request: &AuditRequest,
    delivery: &Delivery,
    interrupted: &dyn Fn() -> bool,
    progress: &dyn Fn(&str, u64),
) -> Result<(PeriodAudit, Vec<Finding>), AuditError> {
    let expected = expect(request, delivery, interrupted, progress);
    let expected = expected.map_err(|error| error.of(&request.source.name()))?;
    if delivery.manifest.is_some() {
        // Loose files can have other months, too.
        delivery.source.forget();
    }
    let mut findings = Findings::for_period(delivery.period);
    let mut zeros = ZeroCounts::default();
    let context = MasterContext { request, delivery, expected: &expected, interrupted, progress };
    let master = match request.msp_place.as_deref() {
        Some(place) => Master::load(&context, place, &mut findings)?,
        None => None,
    };
    let mut customers = Vec::new();
    for (number, customer) in request.customers.iter().enumerate().filter(|(_, customer)| customer.audited) {
        findings.about(Some(customer.id.as_str()));
        for (account, rows) in &expected.customers[number].without_export {
            zeros.rows += rows;
            let detail = format!("{rows} rows of account {account:?} belong to the share, but to no export");
            findings.add(FindingKind::ShareWithoutExport, "", detail);
        }
        for export in &customer.exports {
            let Some(share) = expected.share(number, export.linked_account.as_ref()) else { continue };
            let columns = share.columns(customer.contract, &expected.registry);
            let in_master = master.as_ref().is_some_and(|master| master.names(export.report_id.as_str()));
            let context = ExportContext {
                request,
                period: delivery.period,
                expected: &expected,
                customer_number: number,
                customer,
                export,
                share,
                columns: &columns,
                in_master,
                interrupted,
                progress,
            };
            customers.push(audit_export(&context, &mut findings, &mut zeros)?);
            export.target.forget();
        }
    }
    findings.about(None);
    if let (Some(master), Some(place)) = (&master, &request.msp_place) {
        master.check(&context, place.as_ref(), &customers, &mut findings, &mut zeros)?;
        place.forget();
    } else if request.msp_place.is_some() {
        // Without a master proof nothing leads to the unassigned line items.
        zeros.rows += expected.unassigned;
    }
    zeros.files += findings.broken_files();
    let figures = figures(request, delivery, &expected, customers, &zeros);
    Ok((figures, findings.finish()))
}

fn figures(
    request: &AuditRequest,
    delivery: &Delivery,
    expected: &Expected,
    customers: Vec<CustomerAudit>,
    zeros: &ZeroCounts,
) -> PeriodAudit {
    let unaudited =
        expected.customers.iter().zip(&request.customers).filter(|(_, settings)| !settings.audited);
    let shares = unaudited.flat_map(|(customer, _)| &customer.shares);
    PeriodAudit {
        billing_period: delivery.period,
        source_rows: expected.source_totals.rows(),
        customers,
        unassigned_rows: expected.unassigned,
        withheld_rows: expected.withheld,
        unaudited_rows: shares.map(|share| share.totals.rows()).sum(),
        unblended_source: texts(&expected.source_totals.per_currency(&expected.groups, UNBLENDED)),
        zeros: zeros.zeros(),
    }
}
