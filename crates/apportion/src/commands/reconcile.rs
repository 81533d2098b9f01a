use crate::cli::ReconcileArgs;
use crate::exit;
use crate::printer::{Head, Printer, amounts, count, text};
use crate::settings;
use crate::signals::Signals;
use apportion_core::money::ExactSum;
use apportion_core::proof::BridgeBy;
use apportion_flow::check::{
    BridgeLine, BridgeReport, Invoice, InvoiceReport, ReconcileReport, ReconcileRequest, reconcile,
};

const HEADS: [Head; 8] = [
    text("of"),
    text("source"),
    text("period"),
    text("line item type"),
    text("invoice"),
    text("line"),
    count("rows"),
    amounts("unblended cost"),
];

/// `reconcile`: master proofs, live manifests and invoices, without reading data.
pub(crate) fn run(args: &ReconcileArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let by = by_of(&args.by)?;
    let invoices = args.invoices.iter().map(|text| invoice_of(text)).collect::<anyhow::Result<_>>()?;
    let settings = settings::resolve(&args.run)?;
    let places = settings.places()?;
    let request = ReconcileRequest {
        msp: places.msp,
        sources: places.sources,
        exports: places.exports,
        targets: places.targets,
        mask_key: settings.mask_key.as_ref().map(|setting| setting.key.clone()),
        only: settings.only.clone(),
        periods: settings.periods.clone(),
        by,
        invoices,
    };
    let report = reconcile(&request, &|| signals.came())?;
    print(&report, by, printer)?;
    Ok(match (report.ties(), report.behind().next()) {
        (false, _) => exit::UNBALANCED,
        (true, Some(_)) => exit::PARTIAL,
        (true, None) => exit::OK,
    })
}

/// Reads `--by period,type`.
fn by_of(text: &str) -> anyhow::Result<BridgeBy> {
    let mut by = BridgeBy::default();
    for word in text.split(',').map(str::trim) {
        match word {
            "source" => by.source = true,
            "period" => by.period = true,
            "type" => by.line_item_type = true,
            "invoice" => by.invoice = true,
            // Amounts of two currencies are never added up, so this says nothing more.
            "currency" => {}
            other => {
                return Err(exit::usage(format!(
                    "--by {other:?} isn't known; it can be source, period, currency, type and invoice, several with commas"
                )));
            }
        }
    }
    Ok(by)
}

/// Reads `ID=AMOUNT` or `ID=AMOUNT CURRENCY`.
fn invoice_of(text: &str) -> anyhow::Result<Invoice> {
    let wrong = || {
        exit::usage(format!(
            "--invoice {text:?} must be ID=AMOUNT or 'ID=AMOUNT CURRENCY', the amount as 1234.56, without thousands separators"
        ))
    };
    let (id, amount) = text.rsplit_once('=').ok_or_else(wrong)?;
    let mut words = amount.split_whitespace();
    let amount = words.next().and_then(ExactSum::parse).ok_or_else(wrong)?;
    let currency = words.next().map(str::to_owned);
    if id.trim().is_empty() || words.next().is_some() {
        return Err(wrong());
    }
    Ok(Invoice { id: id.trim().to_owned(), amount, currency })
}

fn print(report: &ReconcileReport, by: BridgeBy, printer: &Printer) -> anyhow::Result<()> {
    // Columns that tell nothing apart are left out of people's and machines' tables alike.
    let shown = [true, by.source, by.period, by.line_item_type, by.invoice, true, true, true];
    let mut rows: Vec<Vec<String>> = report.bridges.iter().flat_map(bridge_rows).collect();
    rows.extend(report.invoices.iter().flat_map(invoice_rows));
    let keep = |place: usize| shown.get(place).copied().unwrap_or(true);
    let heads: Vec<Head> = (0..).zip(HEADS).filter(|(place, _)| keep(*place)).map(|(_, head)| head).collect();
    for row in &mut rows {
        let mut place = 0;
        row.retain(|_| {
            place += 1;
            keep(place - 1)
        });
    }
    printer.rows(&heads, &rows, report)?;
    for finding in &report.findings {
        printer.line(&format!(
            "finding: {}: {} of {}: {}: {}: {}",
            finding.kind,
            finding.customer.as_deref().unwrap_or("-"),
            finding.source,
            finding.billing_period,
            finding.object,
            finding.detail
        ));
    }
    for (delivery, export) in report.behind() {
        printer.line(&format!(
            "behind: {} of {}: {}: {}",
            export.report_id,
            delivery.billing_period,
            export.state.as_str(),
            export.detail
        ));
    }
    for invoice in &report.invoices {
        verdict(invoice, printer);
    }
    for line in zeros(report) {
        printer.note(&line);
    }
    Ok(())
}

fn amount(line: &BridgeLine, currency: &str) -> Vec<String> {
    vec![line.line.clone(), line.rows.to_string(), format!("{} {currency}", line.unblended_cost)]
}

fn bridge_rows(bridge: &BridgeReport) -> Vec<Vec<String>> {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let told = bridge.lines.iter().map(|line| {
        let mut row = vec!["bridge".to_owned()];
        row.extend([
            of(&bridge.source),
            of(&bridge.billing_period),
            of(&bridge.line_item_type),
            of(&bridge.invoice_id),
        ]);
        row.extend(amount(line, &bridge.currency));
        row
    });
    told.collect()
}

/// What makes up an invoice, what AWS says, and the difference; where they differ, the customers too.
fn invoice_rows(invoice: &InvoiceReport) -> Vec<Vec<String>> {
    let row = |cells: Vec<String>| {
        let mut row = vec![format!("invoice {}", invoice.invoice_id)];
        row.extend([const { String::new() }; 4]);
        row.extend(cells);
        row
    };
    let total = |line: &str, sum: &str| {
        row(vec![line.to_owned(), String::new(), format!("{sum} {}", invoice.currency)])
    };
    let mut rows: Vec<Vec<String>> =
        invoice.by_line_item_type.iter().map(|line| row(amount(line, &invoice.currency))).collect();
    rows.push(total("= unblended cost", &invoice.unblended_cost));
    rows.push(total("- invoiced", &invoice.invoiced));
    rows.push(total("= difference", &invoice.difference));
    if !invoice.ties {
        rows.extend(invoice.bridge.iter().map(|line| row(amount(line, &invoice.currency))));
    }
    rows
}

fn verdict(invoice: &InvoiceReport, printer: &Printer) {
    let InvoiceReport { invoice_id, currency, difference, .. } = invoice;
    match (invoice.ties, difference.as_str()) {
        (true, "0") => printer.note(&format!("invoice {invoice_id}: the difference is 0 {currency}")),
        (true, _) => printer.note(&format!(
            "invoice {invoice_id}: the difference is {difference} {currency}, less than half a cent: AWS rounds an invoice to cents, line items aren't rounded"
        )),
        (false, _) => printer.line(&format!(
            "finding: invoice {invoice_id}: its line items make {difference} {currency} more than was invoiced"
        )),
    }
}

/// The four zeros, as far as they can be told without reading data.
fn zeros(report: &ReconcileReport) -> [String; 4] {
    let money: Vec<String> =
        report.zeros.money_unexplained.iter().map(|(currency, sum)| format!("{sum} {currency}")).collect();
    let money = if money.is_empty() { "0".to_owned() } else { money.join(", ") };
    [
        format!("rows unexplained            {}", report.zeros.rows_unexplained),
        format!("money unexplained           {money}"),
        "cells of others             not told without reading data: apportion audit".to_owned(),
        format!("files not as manifest says  {}", report.zeros.files_not_as_manifest),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_is_read_with_its_amount_and_currency() {
        let invoice = invoice_of("EUINDE26-1=-12.50 EUR").unwrap();
        assert_eq!((invoice.id.as_str(), invoice.currency.as_deref()), ("EUINDE26-1", Some("EUR")));
        assert_eq!(invoice.amount.to_string(), "-12.5");
        assert_eq!(invoice_of("1=0").unwrap().currency, None);
        for bad in ["1", "=5", "1=", "1=1,000.00", "1=5 USD more", "1=five", "1=1e3"] {
            assert!(invoice_of(bad).is_err(), "{bad}");
        }
    }
}
