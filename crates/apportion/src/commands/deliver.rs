use super::timings;
use crate::cli::RunArgs;
use crate::exit;
use crate::printer::{Head, Printer, amounts, bytes, count, grouped, text};
use crate::progress::Progress;
use crate::settings;
use crate::signals::Signals;
use apportion_core::route::Accounts;
use apportion_flow::outcome::Kind;
use apportion_flow::run::{CustomerReport, DeliverReport, PeriodReport, State, deliver};
use apportion_model::SourceName;
use std::collections::BTreeMap;
use std::time::Instant;

const HEADS: [Head; 9] = [
    text("period"),
    text("customer"),
    text("report id"),
    text("state"),
    count("rows"),
    amounts("unblended cost"),
    amounts("before"),
    count("files"),
    bytes("bytes"),
];

/// `plan` and `deliver`: one looks, the other does.
pub(crate) fn run(args: &RunArgs, dry_run: bool, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let settings = settings::resolve(args)?;
    let request = settings.request(dry_run)?;
    notes_before(&settings, printer);
    let progress = Progress::new(printer, signals).with_timings(args.timings);
    let begun = Instant::now();
    let report = deliver(&request, &progress);
    progress.finish();
    #[cfg(debug_assertions)]
    super::plant::say_writes();
    let report = report?;
    printer.rows(&HEADS, &table(&report), &report)?;
    notes_after(&report, dry_run, printer);
    if args.timings {
        timings::show(&report.timings, begun.elapsed(), printer);
    }
    Ok(code(&report))
}

/// What the settings mean for what customers can read.
pub(crate) fn notes_before(settings: &settings::Settings, printer: &Printer) {
    for customer in settings.customers.iter().filter(|customer| customer.faithful) {
        printer.note(&format!(
            "note: privacy = \"faithful\": account ids of others in {}'s line items are left readable",
            customer.id
        ));
    }
    let masks =
        |customer: &settings::ResolvedCustomer| !customer.faithful && customer.accounts != Accounts::All;
    if settings.mask_key.is_none() && settings.customers.iter().any(masks) {
        printer.note("note: no mask key is configured, so every foreign account id becomes 000000000000; `apportion init` makes a key");
    }
    let targets = settings.customers.iter().flat_map(|customer| customer.target.places());
    let alone: Vec<String> = targets
        .chain(&settings.msp)
        .filter(|place| place.has_single_writer())
        .map(ToString::to_string)
        .collect();
    if !alone.is_empty() {
        printer.note(&format!(
            "note: single_writer = true: written without conditions, which is safe as long as no other run writes there: {}",
            alone.join(", ")
        ));
    }
    if settings.msp.is_none() {
        printer.note("note: without an MSP's place (--msp-target) unassigned line items are counted but not written, and there is no master proof");
    }
}

fn notes_after(report: &DeliverReport, dry_run: bool, printer: &Printer) {
    for refused in &report.refused {
        printer.note(&format!("note: also in the source and not read: {refused}"));
    }
    for period in &report.periods {
        for text in &period.observations {
            printer.note(&format!("note: {}: {text}", month_of(period)));
        }
        for text in &period.drift {
            printer.note(&format!("note: {}: {text}", month_of(period)));
        }
        for customer in &period.customers {
            for (what, columns) in
                [("new", &customer.columns_added), ("no longer in it", &customer.columns_gone)]
            {
                if !columns.is_empty() {
                    printer.note(&format!(
                        "note: {} of {}: columns that are {what}: {}",
                        customer.report_id,
                        period.billing_period,
                        columns.join(", ")
                    ));
                }
            }
        }
        for customer in period.customers.iter().filter(|customer| customer.error.is_some()) {
            let error = customer.error.as_deref().unwrap_or_default();
            printer.line(&format!("error: {} of {}: {error}", customer.report_id, period.billing_period));
        }
    }
    for alarm in report.alarms() {
        printer.line(&format!("error: {alarm}"));
    }
    for refused in &report.refused_periods {
        printer.line(&format!("error: {}: {}", refused.billing_period, refused.error));
    }
    if dry_run {
        printer.note("nothing was written; `apportion deliver` with the same settings does it");
        return;
    }
    if report.count(State::Delivered) > 0 {
        printer.note(
            "the csv.gz files are gzip of several members: a reader must go on to the last one. Compare the rows above \
             with what was imported; `apportion verify` counts them as a consumer would, `apportion audit` recomputes them",
        );
    }
}

/// One row per export, one per reason for which a line item is in nobody's share, and one for the source.
fn table(report: &DeliverReport) -> Vec<Vec<String>> {
    report.periods.iter().flat_map(period_rows).collect()
}

fn period_rows(period: &PeriodReport) -> Vec<Vec<String>> {
    let month = month_of(period);
    let mut rows: Vec<Vec<String>> =
        period.customers.iter().map(|customer| customer_row(&month, customer)).collect();
    let line = |name: &str, state: &str, rows: u64, cost: &BTreeMap<String, String>| {
        let mut row = vec![month.clone(), name.to_owned(), String::new(), state.to_owned()];
        row.extend([rows.to_string(), money(cost), String::new(), String::new(), String::new()]);
        row
    };
    for unassigned in &period.unassigned {
        let name =
            unassigned.owner.as_ref().map_or_else(|| "(nobody)".to_owned(), |owner| format!("({owner})"));
        rows.push(line(&name, &unassigned.reason, unassigned.rows, &unassigned.unblended_cost));
    }
    if period.source_rows > 0 {
        rows.push(line("= source", &period.kind, period.source_rows, &period.source_unblended_cost));
    }
    rows
}

/// The month, and the source where the settings name it.
fn month_of(period: &PeriodReport) -> String {
    if period.source == SourceName::unnamed().as_str() {
        period.billing_period.clone()
    } else {
        format!("{} {}", period.billing_period, period.source)
    }
}

fn customer_row(period: &str, customer: &CustomerReport) -> Vec<String> {
    let before = match customer.rows_before {
        Some(rows) if rows == customer.rows && customer.unblended_cost_before == customer.unblended_cost => {
            "same".to_owned()
        }
        Some(rows) => format!("{} / {}", grouped(rows), money(&customer.unblended_cost_before)),
        None => String::new(),
    };
    vec![
        period.to_owned(),
        customer.customer.clone(),
        customer.report_id.clone(),
        customer.state.as_str().to_owned(),
        customer.rows.to_string(),
        money(&customer.unblended_cost),
        before,
        customer.files.to_string(),
        customer.bytes.to_string(),
    ]
}

/// Amounts with their currencies.
pub(crate) fn money(sums: &BTreeMap<String, String>) -> String {
    sums.iter().map(|(currency, sum)| format!("{sum} {currency}")).collect::<Vec<_>>().join(", ")
}

/// 11 where nothing is wrong but that another run is at work. 3 where some failed, or wait for a decision; where all failed, the same, if others were only left out or unchanged.
fn code(report: &DeliverReport) -> u8 {
    let failed = report.count(State::Failed);
    let is_calm = failed == 0 && report.alarms().next().is_none();
    if is_calm
        && !report.refused_periods.is_empty()
        && report.refused_periods.iter().all(|one| one.kind == Kind::Held)
    {
        return exit::HELD;
    }
    if !report.refused_periods.is_empty() || report.alarms().next().is_some() {
        return exit::PARTIAL;
    }
    let fine: usize = [State::Delivered, State::Unchanged, State::Planned, State::Locked]
        .into_iter()
        .map(|state| report.count(state))
        .sum();
    match (failed, fine) {
        (0, _) => exit::OK,
        (_, 0) => report
            .periods
            .iter()
            .flat_map(|period| &period.customers)
            .find_map(|customer| customer.failure)
            .map_or(exit::FAILED, exit::code_of_settled_kind),
        _ => exit::PARTIAL,
    }
}
