use super::deliver::money;
use crate::cli::{
    PeriodsCommand, PeriodsDiffArgs, PeriodsListArgs, PeriodsLockArgs, PeriodsMonthArgs, PeriodsRollbackArgs,
    PlacesArgs,
};
use crate::clock::today;
use crate::exit::{self, usage};
use crate::printer::{Head, Printer, amounts, count, text};
use crate::progress::Progress;
use crate::settings;
use crate::signals::Signals;
use apportion_core::log::LogEntry;
use apportion_core::period::{ChangeLine, Dimension};
use apportion_core::proof::Decision;
use apportion_flow::run::periods::{
    BehindExport, Difference, Locking, PeriodLine, PeriodsRequest, Rollback, RolledExport, SourceNow, Turn,
    diff, list, lock, rollback, unlock,
};
use apportion_flow::run::read_log;
use apportion_model::{BillingPeriod, Day, SourceName};

const LIST: [Head; 10] = [
    text("source"),
    text("period"),
    text("state"),
    text("delivery"),
    count("older"),
    text("source now"),
    count("rows"),
    amounts("unblended cost"),
    text("exports live"),
    text("reason"),
];

const DIFF: [Head; 8] = [
    text("by"),
    text("value"),
    text("currency"),
    count("rows removed"),
    count("rows added"),
    amounts("removed"),
    amounts("added"),
    amounts("net"),
];

const ROLLBACK: [Head; 8] = [
    text("source"),
    text("period"),
    text("customer"),
    text("report id"),
    text("state"),
    count("rows"),
    amounts("unblended cost"),
    amounts("before"),
];

const LOG: [Head; 9] = [
    count("entry"),
    text("at"),
    text("operator"),
    text("action"),
    text("source"),
    text("period"),
    text("delivery"),
    count("exports"),
    text("reason"),
];

const LOCK: [Head; 5] = [text("source"), text("period"), text("state"), text("delivery"), text("reason")];

/// `periods`: one subcommand each.
pub(crate) fn run(command: &PeriodsCommand, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    match command {
        PeriodsCommand::Diff(args) => run_diff(args, printer, signals),
        PeriodsCommand::Rollback(args) => run_rollback(args, printer),
        PeriodsCommand::List(args) => run_list(args, printer),
        PeriodsCommand::Lock(args) => run_lock(args, printer),
        PeriodsCommand::Unlock(args) => run_unlock(args, printer),
        PeriodsCommand::Log(args) => run_log(args, printer),
    }
}

fn request(args: &PlacesArgs) -> anyhow::Result<PeriodsRequest> {
    let only = args.source_name.as_deref().map(SourceName::new).transpose();
    let only = only.map_err(|error| usage(format!("--source-name: {error}")))?;
    settings::resolve(&args.into())?.periods_request(only)
}

fn run_log(args: &PlacesArgs, printer: &Printer) -> anyhow::Result<u8> {
    let request = request(args)?;
    let log = read_log(request.msp.as_ref())?;
    let row = |entry: &LogEntry| {
        let logged = &entry.logged;
        vec![
            entry.number.to_string(),
            logged.at.clone(),
            logged.operator.clone(),
            logged.action.as_str().to_owned(),
            logged.source.to_string(),
            logged.billing_period.to_string(),
            logged.delivery_id.to_string(),
            logged.exports.len().to_string(),
            logged.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = log.entries.iter().map(row).collect();
    printer.rows(&LOG, &rows, &log.entries)?;
    if let Some(problem) = log.problem {
        printer.line(&format!("error: the log isn't whole: {problem}"));
        return Ok(exit::UNBALANCED);
    }
    printer.note(&format!(
        "an unbroken chain up to entry {}, which has SHA-256 {}. Whoever keeps that elsewhere can tell later that nothing before it was changed",
        log.head.number, log.head.sha256
    ));
    Ok(exit::OK)
}

fn month_of(args: &PeriodsMonthArgs) -> anyhow::Result<BillingPeriod> {
    BillingPeriod::parse_month(&args.month).map_err(|error| usage(error.to_string()))
}

fn run_list(args: &PeriodsListArgs, printer: &Printer) -> anyhow::Result<u8> {
    let periods = settings::periods_of(args.period.as_deref())?;
    let today = match &args.today {
        Some(day) => Day::parse(day).map_err(|error| usage(format!("--today: {error}")))?,
        None => today(),
    };
    let lines = list(&request(&args.place)?, periods.as_deref(), today, args.check)?;
    let rows: Vec<Vec<String>> = lines.iter().map(list_row).collect();
    printer.rows(&LIST, &rows, &lines)?;
    for line in &lines {
        say_behind(&line.billing_period, &line.behind, printer);
    }
    Ok(exit::OK)
}

fn list_row(line: &PeriodLine) -> Vec<String> {
    let state = if line.restated {
        format!("{}, restated", line.state.as_str())
    } else {
        line.state.as_str().to_owned()
    };
    let exports = if line.behind.is_empty() {
        line.live.to_string()
    } else {
        format!("{} of {}", line.live, line.live + line.behind.len())
    };
    vec![
        line.source.clone(),
        line.billing_period.clone(),
        state,
        line.delivery_id.clone(),
        line.older.len().to_string(),
        line.source_now.map_or("", SourceNow::as_str).to_owned(),
        line.rows.to_string(),
        money(&line.unblended_cost),
        exports,
        line.reason.clone(),
    ]
}

fn say_behind(period: &str, behind: &[BehindExport], printer: &Printer) {
    for export in behind {
        printer.note(&format!(
            "note: {period}: the newest delivery's {} isn't live: {}",
            export.report_id, export.why
        ));
    }
}

fn run_lock(args: &PeriodsLockArgs, printer: &Printer) -> anyhow::Result<u8> {
    let period = month_of(&args.month)?;
    let done = lock(&request(&args.month.place)?, period, args.reason.as_deref())?;
    say_locking(&done, printer)?;
    for month in &done {
        say_behind(&month.billing_period, &month.behind, printer);
    }
    Ok(exit::OK)
}

fn run_unlock(args: &PeriodsMonthArgs, printer: &Printer) -> anyhow::Result<u8> {
    let period = month_of(args)?;
    let done = unlock(&request(&args.place)?, period)?;
    say_locking(&done, printer)
}

fn say_locking(done: &[Locking], printer: &Printer) -> anyhow::Result<u8> {
    let word = |state| match state {
        Decision::Locked => "locked",
        Decision::Unlocked => "unlocked",
    };
    let rows: Vec<Vec<String>> = done
        .iter()
        .map(|month| {
            vec![
                month.source.clone(),
                month.billing_period.clone(),
                word(month.state).to_owned(),
                month.delivery_id.clone(),
                month.reason.clone(),
            ]
        })
        .collect();
    printer.rows(&LOCK, &rows, &done)?;
    for month in done.iter().filter(|month| !month.changed) {
        let (period, state) = (&month.billing_period, word(month.state));
        printer.note(&format!("note: {period} of source {} was {state} already", month.source));
    }
    Ok(exit::OK)
}

fn run_diff(args: &PeriodsDiffArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let period = month_of(&args.month)?;
    let by = dimensions(args.by.as_deref())?;
    let request = request(&args.month.place)?;
    let progress = Progress::new(printer, signals);
    let (from, to) = (args.from.as_deref(), args.to.as_deref());
    let difference = diff(&request, period, from, to, args.rows_per_pass, &progress);
    progress.finish();
    let difference = difference?;
    printer.rows(&DIFF, &diff_rows(&difference, &by), &difference)?;
    for side in [("from", &difference.from), ("to", &difference.to)] {
        let (name, side) = side;
        printer.note(&format!(
            "{name}: delivery {} of {} line items, made of the source's assembly {}",
            side.delivery_id, side.rows, side.source_assembly_id
        ));
    }
    for note in &difference.notes {
        printer.note(&format!("note: {note}"));
    }
    if difference.total.is_empty() {
        printer.note("no row came or went");
    }
    Ok(exit::OK)
}

fn dimensions(text: Option<&str>) -> anyhow::Result<Vec<Dimension>> {
    let Some(text) = text else { return Ok(Dimension::ALL.to_vec()) };
    let one = |name: &str| {
        let known = Dimension::ALL.map(Dimension::as_str).join(", ");
        let found = Dimension::ALL.into_iter().find(|by| by.as_str() == name.trim());
        found.ok_or_else(|| usage(format!("--by: {name:?} isn't known; it can be {known}")))
    };
    text.split(',').map(one).collect()
}

fn diff_rows(difference: &Difference, by: &[Dimension]) -> Vec<Vec<String>> {
    let row = |by: &str, line: &ChangeLine| {
        vec![
            by.to_owned(),
            line.value.clone(),
            line.currency.clone(),
            line.rows_removed.to_string(),
            line.rows_added.to_string(),
            line.removed.clone(),
            line.added.clone(),
            line.net.clone(),
        ]
    };
    let mut rows: Vec<Vec<String>> = difference.total.iter().map(|line| row("total", line)).collect();
    for by in by.iter().map(|by| by.as_str()) {
        rows.extend(difference.by.get(by).into_iter().flatten().map(|line| row(by, line)));
    }
    rows
}

fn run_rollback(args: &PeriodsRollbackArgs, printer: &Printer) -> anyhow::Result<u8> {
    let period = month_of(&args.month)?;
    let done = rollback(&request(&args.month.place)?, period, &args.to, args.dry_run)?;
    #[cfg(debug_assertions)]
    super::plant::say_writes();
    let rows: Vec<Vec<String>> = done.exports.iter().map(|export| rollback_row(&done, export)).collect();
    printer.rows(&ROLLBACK, &rows, &done)?;
    for export in &done.exports {
        if let Some(error) = &export.error {
            printer.line(&format!("error: {} of {}: {error}", export.report_id, done.billing_period));
        }
        if export.state == Turn::Stays {
            printer.note(&format!(
                "note: delivery {} has no export {}, and what is live of it stays: line items that are in it may be in another customer's share, too. Tell its owner",
                done.to, export.report_id
            ));
        }
    }
    say_rollback(&done, args.dry_run, printer);
    if done.exports.iter().any(|export| export.failure.is_some()) {
        return Ok(exit::PARTIAL);
    }
    Ok(exit::OK)
}

fn say_rollback(done: &Rollback, dry_run: bool, printer: &Printer) {
    if dry_run {
        printer.note("nothing was written; the same command without --dry-run does it, for all customers");
    } else if done.done {
        printer.note(&format!(
            "{} is locked now ({}): the next `deliver` leaves it as it is, until `apportion periods unlock`",
            done.billing_period, done.reason
        ));
    } else {
        printer.line("error: not every export went back; the month is locked. Mend what failed and run the same command again");
    }
}

fn rollback_row(done: &Rollback, export: &RolledExport) -> Vec<String> {
    let before = match export.rows_before {
        Some(rows) => format!("{rows} / {}", money(&export.unblended_cost_before)),
        None => String::new(),
    };
    vec![
        done.source.clone(),
        done.billing_period.clone(),
        export.customer.clone(),
        export.report_id.clone(),
        export.state.as_str().to_owned(),
        export.rows.to_string(),
        money(&export.unblended_cost),
        before,
    ]
}
