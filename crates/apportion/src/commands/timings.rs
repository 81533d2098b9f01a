use crate::printer::{Printer, grouped};
use apportion_flow::timings::StageTiming;
use std::time::Duration;

/// Prints what each stage has cost; for a person, so beside the data.
pub(crate) fn show(stages: &[StageTiming], wall: Duration, printer: &Printer) {
    let all: u64 = stages.iter().map(|stage| stage.nanos).sum();
    let proof: u64 = stages.iter().filter(|stage| stage.proof).map(|stage| stage.nanos).sum();
    printer.line(&format!(
        "{:<8} {:>9} {:>6} {:>13} {:>8}  (processor time of all threads; rates per second of it)",
        "stage", "CPU s", "share", "rows/s", "MB/s"
    ));
    for stage in stages {
        printer.line(
            format!(
                "{:<8} {:>9} {:>5}% {:>13} {:>8}  {}",
                stage.stage,
                seconds(stage.nanos),
                percent(stage.nanos, all),
                rate(stage.rows, 1, stage.nanos),
                rate(stage.bytes, 1_000_000, stage.nanos),
                if stage.bytes > 0 { format!("of {}", stage.bytes_of) } else { String::new() },
            )
            .trim_end(),
        );
    }
    let wall = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
    printer.line(&format!(
        "{:<8} {:>9} CPU s in {} s; {}% of it is proof (pin, ledger, check)",
        "all",
        seconds(all),
        seconds(wall),
        percent(proof, all)
    ));
}

fn seconds(nanos: u64) -> String {
    let hundredths = nanos / 10_000_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

/// Per second, in units; blank where nothing was counted.
fn rate(count: u64, unit: u128, nanos: u64) -> String {
    if count == 0 || nanos == 0 {
        return String::new();
    }
    let rate = u128::from(count) * 1_000_000_000 / u128::from(nanos) / unit;
    grouped(u64::try_from(rate).unwrap_or(u64::MAX))
}
