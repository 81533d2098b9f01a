use crate::cli::{DemoArgs, MakeArgs, RunArgs};
use crate::exit;
use crate::printer::{Head, Printer, amounts, bytes, count, grouped, text};
use crate::progress::Progress;
use crate::settings::{self, CustomerEntry, DeliverEntry, MspEntry, Settings, SettingsFile, SourceEntry};
use crate::signals::Signals;
use anyhow::Context;
use apportion_audit::AuditReport;
use apportion_core::money::{ExactSum, Number};
use apportion_flow::check::verify;
use apportion_flow::maker::{Made, MadeCustomer, MakeError, MakeKind, MakeRequest, make as make_report};
use apportion_flow::run::{DeliverReport, Watcher, deliver};
use apportion_model::BillingPeriod;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Says that a folder was made by a demo, and may be emptied by the next one.
const MARKER: &str = ".made-by-apportion-demo";
/// The demo's mask key is no secret, so that two demos make the same bytes.
const MASK_KEY: &str = "apportion demo: not a secret, the same for everybody\n";

const HEADS: [Head; 7] = [
    text("customer"),
    text("name"),
    count("accounts"),
    count("months"),
    count("rows"),
    amounts("unblended cost"),
    bytes("delivered"),
];

/// What `demo --output json` prints.
#[derive(Serialize)]
struct DemoReport<'a> {
    folder: String,
    customers: Vec<DemoCustomer>,
    verified_exports: usize,
    zeros: apportion_audit::Zeros,
    deliver: &'a DeliverReport,
}

#[derive(Serialize)]
struct DemoCustomer {
    customer: String,
    name: String,
    accounts: usize,
    months: usize,
    rows: u64,
    unblended_cost: BTreeMap<String, String>,
    bytes: u64,
}

/// `demo`: makes, delivers, verifies, audits and shows.
pub(crate) fn run(args: &DemoArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let folder = &args.folder;
    empty(folder)?;
    let request = MakeRequest {
        out: folder.join("source"),
        kind: MakeKind::Cur1Csv,
        rows: 300_000,
        accounts: 84,
        customers: 12,
        first: BillingPeriod::new(2025, 10)?,
        months: 13,
        seed: 1,
        rows_per_file: 1_000_000,
    };
    let progress = Progress::new(printer, signals);
    progress.stage("making an MSP's bill of 13 months", None);
    let made = made(&request, &progress)?;
    std::fs::write(folder.join("mask.key"), MASK_KEY).context("writing the mask key")?;
    write_settings(folder, &made.customers, Some("mask.key"))?;
    let resolved = settings::resolve(&RunArgs {
        config: Some(folder.join("apportion.toml")),
        threads: args.threads,
        spool: Some(folder.join("spool")),
        ..RunArgs::default()
    })?;
    let report = deliver(&resolved.request(false)?, &progress)?;
    let (verified, problems) = verify_all(&resolved, &progress, printer)?;
    let audited = super::audit::audit_all(&resolved, &progress)?;
    progress.finish();
    show(folder, &made, &report, &audited, verified, printer)?;
    Ok(if problems == 0 && audited.is_clean() { exit::OK } else { exit::UNBALANCED })
}

/// `demo make`: only the report and the settings that fit it.
pub(crate) fn make(args: &MakeArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let kind: MakeKind = args.kind.parse().map_err(|_| {
        exit::usage(format!(
            "kind {:?} can't be made; there are cur1-csv, cur1-parquet and cur2-csv",
            args.kind
        ))
    })?;
    let first =
        BillingPeriod::parse_month(&args.first).map_err(|error| exit::usage(format!("--first: {error}")))?;
    let occupied = args.out.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(exit::usage(format!("{} isn't empty; name a new folder with --out", args.out.display())));
    }
    let request = MakeRequest {
        out: args.out.join("source"),
        kind,
        rows: args.rows,
        accounts: args.accounts,
        customers: args.customers,
        first,
        months: args.months,
        seed: args.seed,
        rows_per_file: args.rows_per_file,
    };
    let progress = Progress::new(printer, signals);
    progress.stage("making", None);
    let made = made(&request, &progress)?;
    progress.finish();
    write_settings(&args.out, &made.customers, None)?;
    printer.note(&format!(
        "{}: {} line items in {} files; next: apportion plan --config {}/apportion.toml",
        args.out.display(),
        grouped(made.rows),
        made.files,
        args.out.display()
    ));
    Ok(exit::OK)
}

/// Makes the report, showing how far it is.
fn made(request: &MakeRequest, progress: &Progress<'_>) -> anyhow::Result<Made> {
    let mut before = 0;
    let made = make_report(request, &mut |rows| {
        progress.advance(rows.saturating_sub(before), 0);
        before = rows;
        !progress.interrupted()
    });
    made.map_err(|error| match error {
        MakeError::Interrupted => apportion_flow::run::RunError::Interrupted.into(),
        MakeError::Request(_) | MakeError::NotEmpty(_) => exit::usage(error.to_string()),
        MakeError::Io { .. } | MakeError::Encode(_) => error.into(),
    })
}

/// Makes the folder, or empties it if an earlier demo made it.
fn empty(folder: &Path) -> anyhow::Result<()> {
    if folder.join(MARKER).exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
    } else if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(exit::usage(format!(
            "{} holds something that no demo made; name another folder with --folder",
            folder.display()
        )));
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(folder.join(MARKER), "").with_context(|| format!("writing to {}", folder.display()))?;
    // Whatever version control this lies in need not see it.
    std::fs::write(folder.join(".gitignore"), "*\n")
        .with_context(|| format!("writing to {}", folder.display()))
}

/// Settings for a made report.
pub(super) fn write_settings(
    folder: &Path,
    customers: &[MadeCustomer],
    mask_key: Option<&str>,
) -> anyhow::Result<()> {
    let day = |day: Option<apportion_model::Day>| day.map(|day| day.to_string());
    let settings = SettingsFile {
        source: vec![SourceEntry { url: "source".to_owned(), ..SourceEntry::default() }],
        msp: Some(MspEntry {
            url: Some("msp".to_owned()),
            mask_key_file: mask_key.map(str::to_owned),
            ..MspEntry::default()
        }),
        customer: customers
            .iter()
            .map(|customer| CustomerEntry {
                id: customer.id.to_string(),
                name: Some(customer.name.clone()),
                accounts: settings::Accounts::List(
                    customer
                        .accounts
                        .iter()
                        .map(|account| {
                            settings::dated(account.id.to_string(), day(account.from), day(account.to))
                        })
                        .collect(),
                ),
                sharing: customer.sharing_account.then(|| "account".to_owned()),
                deliver: Some(DeliverEntry {
                    url: format!("targets/{}", customer.id),
                    ..DeliverEntry::default()
                }),
                ..CustomerEntry::default()
            })
            .collect(),
        ..SettingsFile::default()
    };
    let path = folder.join("apportion.toml");
    std::fs::write(&path, toml::to_string(&settings)?).with_context(|| format!("writing {}", path.display()))
}

/// Reads every target as its consumer would: how many exports there are, and how many problems.
fn verify_all(
    settings: &Settings,
    progress: &Progress<'_>,
    printer: &Printer,
) -> anyhow::Result<(usize, usize)> {
    progress.stage("verifying: reading every target as its consumer would", None);
    let (mut exports, mut problems) = (0, 0);
    for customer in &settings.customers {
        let Some(target) = customer.target.place_for(None) else { continue };
        let verdict = verify(target.open()?.as_ref(), None, &|| progress.interrupted())?;
        exports += verdict.exports.len();
        for problem in verdict.exports.iter().flat_map(|export| &export.problems) {
            problems += 1;
            printer.line(&format!("error: {problem}"));
        }
    }
    Ok((exports, problems))
}

fn show(
    folder: &Path,
    made: &Made,
    report: &DeliverReport,
    audited: &AuditReport,
    verified_exports: usize,
    printer: &Printer,
) -> anyhow::Result<()> {
    let customers: Vec<DemoCustomer> =
        made.customers.iter().map(|customer| summary(customer, report)).collect();
    let rows: Vec<Vec<String>> = customers
        .iter()
        .map(|customer| {
            vec![
                customer.customer.clone(),
                customer.name.clone(),
                customer.accounts.to_string(),
                customer.months.to_string(),
                customer.rows.to_string(),
                super::deliver::money(&customer.unblended_cost),
                customer.bytes.to_string(),
            ]
        })
        .collect();
    let place = folder.display().to_string();
    let whole = DemoReport {
        folder: place.clone(),
        customers,
        verified_exports,
        zeros: audited.zeros(),
        deliver: report,
    };
    printer.rows(&HEADS, &rows, &whole)?;
    let unassigned: u64 =
        report.periods.iter().flat_map(|period| &period.unassigned).map(|line| line.rows).sum();
    let source: u64 = report.periods.iter().map(|period| period.source_rows).sum();
    printer.note(&format!(
        "{} line items of {} months: customers + {} unassigned = source. {verified_exports} exports verified. The four zeros:",
        grouped(source),
        report.periods.len(),
        grouped(unassigned)
    ));
    for line in super::audit::four_zeros(audited) {
        printer.note(&format!("  {line}"));
    }
    printer.note(&format!("\nAll of it is in {place}/. What to look at next:"));
    for line in [
        format!("{place}/targets/            one folder per customer, as it would be in their bucket"),
        format!(
            "{place}/msp/proofs/         the master proofs; {place}/msp/unassigned/ what is nobody's, with reasons"
        ),
        format!("apportion plan   --config {place}/apportion.toml --period 2026-10"),
        format!("apportion audit  --config {place}/apportion.toml"),
        format!(
            "apportion verify --target {place}/targets/{}",
            made.customers.first().map_or("", |c| c.id.as_str())
        ),
    ] {
        printer.note(&format!("  {line}"));
    }
    printer.note("What happened in this bill:");
    for story in &made.stories {
        printer.note(&format!("  {}: {}", story.title, story.text));
    }
    Ok(())
}

/// One customer over all months.
fn summary(customer: &MadeCustomer, report: &DeliverReport) -> DemoCustomer {
    let accounts: BTreeSet<&str> = customer.accounts.iter().map(|account| account.id.as_str()).collect();
    let mut sums: BTreeMap<String, ExactSum> = BTreeMap::new();
    let mut summary = DemoCustomer {
        customer: customer.id.to_string(),
        name: customer.name.clone(),
        accounts: accounts.len(),
        months: 0,
        rows: 0,
        unblended_cost: BTreeMap::new(),
        bytes: 0,
    };
    for period in &report.periods {
        let mut own =
            period.customers.iter().filter(|export| export.customer == customer.id.as_str()).peekable();
        summary.months += usize::from(own.peek().is_some());
        for export in own {
            summary.rows += export.rows;
            summary.bytes += export.bytes;
            for (currency, sum) in &export.unblended_cost {
                if let Ok(Some(number)) = Number::parse(sum.as_bytes()) {
                    sums.entry(currency.clone()).or_default().add(&number);
                }
            }
        }
    }
    summary.unblended_cost = sums.into_iter().map(|(currency, sum)| (currency, sum.to_string())).collect();
    summary
}
