use crate::cli::{RunArgs, VerifyArgs};
use crate::exit;
use crate::printer::{Head, Printer, count, text};
use crate::settings::{self, Place};
use crate::signals::Signals;
use apportion_flow::check::{Verdict, VerifyError, verify};
use std::collections::BTreeMap;

const HEADS: [Head; 6] =
    [text("target"), text("period"), text("report id"), count("files"), count("rows"), text("verdict")];

/// `verify`: reads targets as their consumers would.
pub(crate) fn run(args: &VerifyArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let periods = settings::periods_of(args.period.as_deref())?;
    let mut verdicts = Vec::new();
    for target in targets(args)? {
        if target.is_missing_folder() {
            return Err(VerifyError::Nothing(target.to_string()).into());
        }
        let bucket = target.open().map_err(VerifyError::from)?;
        verdicts.push(verify(bucket.as_ref(), periods.as_deref(), &|| signals.came())?);
    }
    print(&verdicts, printer)?;
    Ok(if verdicts.iter().all(Verdict::is_clean) { exit::OK } else { exit::UNBALANCED })
}

fn targets(args: &VerifyArgs) -> anyhow::Result<Vec<Place>> {
    if let Some(target) = &args.target {
        return Ok(vec![settings::place_of(target, &args.store)?]);
    }
    let run = RunArgs {
        config: args.config.clone(),
        customer: args.customer.clone(),
        store: args.store.clone(),
        ..RunArgs::default()
    };
    let settings = settings::resolve(&run)?;
    let chosen = settings
        .customers
        .iter()
        .filter(|customer| settings.only.as_ref().is_none_or(|only| *only == customer.id));
    let targets: BTreeMap<String, Place> = chosen
        .flat_map(|customer| customer.target.places())
        .map(|place| (place.to_string(), place.clone()))
        .collect();
    if targets.is_empty() {
        return Err(exit::usage("no target; give --target PATH, or a settings file with customers"));
    }
    Ok(targets.into_values().collect())
}

fn print(verdicts: &[Verdict], printer: &Printer) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for verdict in verdicts {
        for export in &verdict.exports {
            let good = if export.problems.is_empty() { "good" } else { "WRONG" };
            rows.push(vec![
                verdict.target.clone(),
                export.billing_period.clone(),
                export.report_id.clone(),
                export.files.to_string(),
                export.rows.to_string(),
                good.to_owned(),
            ]);
        }
    }
    printer.rows(&HEADS, &rows, &verdicts)?;
    for export in verdicts.iter().flat_map(|verdict| &verdict.exports) {
        for problem in &export.problems {
            printer.line(&format!("error: {} of {}: {problem}", export.report_id, export.billing_period));
        }
    }
    Ok(())
}
