use crate::cli::DoctorArgs;
use crate::clock::now_millis;
use crate::exit;
use crate::printer::{Head, Printer, text};
use crate::progress::Progress;
use crate::settings::{self, Place, Settings};
use crate::signals::Signals;
use apportion_flow::outcome::Kind;
use apportion_flow::run::{RunError, SourceRequest, Watcher, months_of};
use apportion_flow::storage::{Probed, StorageError, probe};
use apportion_model::BillingPeriod;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

const HEADS: [Head; 5] = [text("place"), text("of"), text("check"), text("result"), text("detail")];
/// Places that are looked at at once; they mostly wait.
const AT_ONCE: usize = 16;

/// What one place was looked at for.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    place: String,
    of: String,
    check: String,
    result: &'static str,
    detail: String,
    #[serde(skip)]
    kind: Option<Kind>,
}

/// A place to look at.
enum Patient {
    Source(SourceRequest),
    Written { place: Place, of: String },
}

/// `doctor`: whether each place can do what a delivery needs, before one is tried.
pub(crate) fn run(args: &DoctorArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let settings = settings::resolve(&(&args.places).into())?;
    let request = settings.request(true)?;
    let only = args.places.source_name.as_deref();
    let sources = request.sources.into_iter();
    let asked = sources.filter(|source| only.is_none_or(|only| source.name.as_str() == only));
    let mut patients: Vec<Patient> = asked.map(Patient::Source).collect();
    patients.extend(written(&settings));
    let progress = Progress::new(printer, signals);
    progress.stage(&format!("looking at {} places", patients.len()), None);
    let name = format!("{}-{}", std::process::id(), now_millis());
    let findings = look_at_all(&patients, |patient| patient.examine(&name, !args.read_only), signals);
    progress.finish();
    if signals.came() {
        return Err(RunError::Interrupted.into());
    }
    printer.rows(&HEADS, &rows(&findings), &findings)?;
    let failed: Vec<Kind> = findings.iter().filter_map(|finding| finding.kind).collect();
    if args.read_only {
        printer.note("nothing was written, so nothing is known of writing; without --read-only two small objects are put into each place that is written to, and deleted");
    }
    let Some(first) = failed.first() else {
        printer.note("every place can do what a delivery needs");
        return Ok(exit::OK);
    };
    let is_all = failed.iter().all(|kind| kind == first);
    Ok(if is_all { exit::code_of_settled_kind(*first) } else { exit::FAILED })
}

/// The places that deliveries write to, each once.
fn written(settings: &Settings) -> Vec<Patient> {
    let mut all: BTreeMap<String, (Place, Vec<String>)> = BTreeMap::new();
    let msp = settings.msp.iter().map(|place| (place, "the MSP".to_owned()));
    let targets = settings.customers.iter().flat_map(|customer| {
        customer.target.places().into_iter().map(|place| (place, customer.id.to_string()))
    });
    for (place, of) in msp.chain(targets) {
        let (_, whose) = all.entry(place.to_string()).or_insert_with(|| (place.clone(), Vec::new()));
        if !whose.contains(&of) {
            whose.push(of);
        }
    }
    all.into_values().map(|(place, of)| Patient::Written { place, of: of.join(", ") }).collect()
}

/// Looks at many places at once; what is found stands in their order.
fn look_at_all(
    patients: &[Patient],
    examine: impl Fn(&Patient) -> Vec<Finding> + Sync,
    signals: &Signals,
) -> Vec<Finding> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(patients.len()) {
            scope.spawn(|| {
                while !signals.came() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(patient) = patients.get(number) else { return };
                    let findings = examine(patient);
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(number, findings);
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().flatten().collect()
}

impl Patient {
    fn examine(&self, name: &str, writes: bool) -> Vec<Finding> {
        match self {
            Self::Source(source) => {
                let check = "its report and months can be read";
                let (detail, kind) = match months_of(source) {
                    Ok((report, months)) => (format!("report {report}: {}", span(&months)), None),
                    Err(error) => (error.to_string(), Some(error.kind())),
                };
                vec![finding(source.bucket.place(), "a source", check, detail, kind)]
            }
            Self::Written { place, of } => match place.open() {
                Ok(bucket) => {
                    let probed = probe(bucket.as_ref(), name, writes).into_iter();
                    probed.map(|probed| finding_of(place, of, probed)).collect()
                }
                Err(error) => vec![failed(place, of, "it can be opened", &error)],
            },
        }
    }
}

fn finding(place: String, of: &str, check: &str, detail: String, kind: Option<Kind>) -> Finding {
    let result = if kind.is_some() { "failed" } else { "ok" };
    Finding { place, of: of.to_owned(), check: check.to_owned(), result, detail, kind }
}

fn finding_of(place: &Place, of: &str, probed: Probed) -> Finding {
    let is_needed = !probed.for_garbage;
    let (kind, detail) = probed.failure.unzip();
    let mut finding = finding(place.to_string(), of, probed.what, detail.unwrap_or_default(), kind);
    if !is_needed && finding.kind.take().is_some() {
        finding.result = "no";
    }
    finding
}

fn failed(place: &Place, of: &str, check: &str, error: &StorageError) -> Finding {
    finding(place.to_string(), of, check, error.to_string(), Some(error.kind()))
}

/// A place where all is well has one line: there may be thousands.
fn rows(findings: &[Finding]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for place in findings.chunk_by(|left, right| left.place == right.place) {
        let is_well = place.iter().all(|finding| finding.result == "ok");
        for (number, finding) in place.iter().enumerate() {
            let Finding { place: name, of, check, result, detail, .. } = finding;
            let check = match place.len() {
                checks if is_well && checks > 1 && number == 0 => format!("{checks} checks"),
                checks if is_well && checks > 1 => continue,
                _ => check.clone(),
            };
            rows.push(vec![name.clone(), of.clone(), check, (*result).to_owned(), detail.clone()]);
        }
    }
    rows
}

/// The first and the last month.
fn span(months: &[BillingPeriod]) -> String {
    match months {
        [] => "no month".to_owned(),
        [one] => one.month_text(),
        [first, .., last] => {
            format!("{} months, {} to {}", months.len(), first.month_text(), last.month_text())
        }
    }
}
