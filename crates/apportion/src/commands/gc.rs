use crate::cli::GcArgs;
use crate::clock;
use crate::exit::{self, usage};
use crate::operator::operator;
use crate::printer::{Head, Printer, bytes, count, text};
use crate::settings::{self, size_text};
use crate::signals::Signals;
use apportion_flow::garbage::{GarbageReport, GarbageRequest, GarbageState, collect_garbage};
use apportion_flow::run::RunError;
use apportion_flow::write::Spool;
use apportion_model::AssemblyId;
use std::collections::BTreeMap;

const HEADS: [Head; 9] = [
    text("source"),
    text("period"),
    text("delivery"),
    text("whose"),
    text("assembly"),
    text("state"),
    count("objects"),
    bytes("bytes"),
    text("reason"),
];

/// `gc`: shows what nobody needs any more, and deletes it where that is asked for.
pub(crate) fn run(args: &GcArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let grace = grace_of(&args.grace)?;
    if args.keep == 0 {
        return Err(usage("--keep 0 would let the newest delivery go; it must be at least 1"));
    }
    let settings = settings::resolve(&args.run)?;
    let places = settings.places()?;
    // Its folder says that this run lives.
    let spool =
        Spool::new(&settings.spool, &AssemblyId::from_hash(&[0; 32]), 0, 0).map_err(RunError::from)?;
    let request = GarbageRequest {
        msp: places.msp,
        sources: places.sources,
        targets: places.targets,
        only: settings.only.clone(),
        periods: settings.periods.clone(),
        before: clock::now_millis().saturating_sub(grace),
        keep: args.keep,
        delete: args.delete,
        operator: operator(false),
        alive: spool.root().to_owned(),
    };
    let report = collect_garbage(&request, &|| signals.came());
    #[cfg(debug_assertions)]
    super::plant::say_writes();
    let report = report?;
    print(&report, args.delete, printer)?;
    Ok(if report.is_whole() { exit::OK } else { exit::PARTIAL })
}

/// Reads `30d`, `12h`, `90m` or `0`: milliseconds.
fn grace_of(text: &str) -> anyhow::Result<i64> {
    const UNITS: [(&str, i64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default().trim();
    let number = digits.parse::<i64>().ok().filter(|number| *number >= 0);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = factor.or(if unit.is_empty() && number == Some(0) { Some(1) } else { None });
    number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        usage(format!("--grace {text:?} is not a time; write 30d, 12h, 90m, or 0 for no grace at all"))
    })
}

fn print(report: &GarbageReport, delete: bool, printer: &Printer) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for delivery in &report.deliveries {
        for item in &delivery.items {
            if matches!(item.state, GarbageState::Shown | GarbageState::Deleted) {
                let sum = sums.entry(&item.whose).or_default();
                *sum = (sum.0 + item.objects, sum.1 + item.bytes);
            }
            rows.push(vec![
                delivery.source.clone(),
                delivery.billing_period.clone(),
                delivery.delivery_id.clone(),
                item.whose.clone(),
                item.assembly_id.clone(),
                item.state.as_str().to_owned(),
                item.objects.to_string(),
                item.bytes.to_string(),
                item.reason.clone(),
            ]);
        }
    }
    printer.rows(&HEADS, &rows, report)?;
    for refused in &report.refused {
        printer.line(&format!("error: {refused}"));
    }
    for (delivery, item) in
        report.deliveries.iter().flat_map(|delivery| delivery.items.iter().map(move |item| (delivery, item)))
    {
        if item.state == GarbageState::Failed {
            let whose = if item.whose.is_empty() { "delivery" } else { &item.whose };
            printer.line(&format!("error: {whose} {}: {}", delivery.delivery_id, item.reason));
        }
    }
    let done = if delete { "deleted" } else { "would delete" };
    for (whose, (objects, bytes)) in &sums {
        printer.note(&format!("{done}: {whose}: {objects} objects, {}", size_text(*bytes)));
    }
    if !delete && !sums.is_empty() {
        printer.note("nothing was deleted; `apportion gc --delete` with the same settings does it");
    }
    if sums.is_empty() {
        printer.note("there is nothing that nobody needs");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_read() {
        assert_eq!(grace_of("30d").unwrap(), 2_592_000_000);
        assert_eq!(grace_of("12 h").unwrap(), 43_200_000);
        assert_eq!(grace_of("0").unwrap(), 0);
        for bad in ["", "30", "d", "-1d", "1.5d", "1w", "99999999999999d"] {
            assert!(grace_of(bad).is_err(), "{bad}");
        }
    }
}
