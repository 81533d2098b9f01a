//! Finds the deliveries of a source.
//!
//! What comes in: the request's source. What goes out: the wanted report's deliveries, oldest first, every
//! data object found below the manifest's own place. What it must never do: follow a key out of the source's place,
//! or choose between two reports by itself.

use super::pointer::{Pointer, Shape, pointer};
use super::{DataObject, Delivery, Format, Objects, ReadObject, Rows};
use crate::error::AuditError;
use crate::hashes::Fingerprint;
use crate::opened::Opened;
use crate::request::AuditRequest;
use apportion_model::{BillingPeriod, Instant};
use csv::ByteRecord;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PERIOD_START: &str = "bill_billing_period_start_date";
const STATUS_TABLE: &str = "cost_and_usage_data_status/cost_and_usage_data_status.parquet";

/// The deliveries that the request asks for.
pub(crate) fn find(request: &AuditRequest) -> Result<Vec<Delivery>, AuditError> {
    let source = Objects::new(&request.source);
    if let Some(key) = &request.source_object {
        if !source.has(key)? {
            return Err(AuditError::NotFound { wanted: key.clone(), place: request.source.name() });
        }
        return in_periods(request, loose(&source, key, vec![key.clone()])?);
    }
    let files = source.list()?;
    let manifests = if request.files { Vec::new() } else { manifests(&source, &files)? };
    if manifests.is_empty() {
        let (report, chosen) = chosen_loose(request, &source, &files)?;
        return in_periods(request, loose(&source, &report, chosen)?);
    }
    let files: BTreeSet<String> = files.into_iter().collect();
    let chosen = chosen(request, manifests)?;
    chosen_periods(request, chosen)?.iter().map(|manifest| load(&source, manifest, &files)).collect()
}

/// A manifest that points to a delivery, and what it says.
struct Manifest {
    pointer: Pointer,
    bytes: Vec<u8>,
    assembly: String,
    keys: Vec<String>,
}

/// The manifests that point to a cost report's data; those of FOCUS exports and those that name nothing don't.
fn manifests(source: &Objects, files: &[String]) -> Result<Vec<Manifest>, AuditError> {
    let mut found = Vec::new();
    for pointer in files.iter().filter_map(|key| pointer(key)) {
        if let Some(manifest) = read_manifest(source, pointer)? {
            found.push(manifest);
        }
    }
    Ok(found)
}

fn read_manifest(source: &Objects, pointer: Pointer) -> Result<Option<Manifest>, AuditError> {
    let key = &pointer.key;
    let bytes = source.manifest(key)?;
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|cause| AuditError::bad(key, format!("is no JSON: {cause}")))?;
    let exports = pointer.shape == Shape::Exports;
    if json.get("dataFiles").is_some() != exports || is_focus(&json) {
        return Ok(None);
    }
    let (assembly, keys) = if exports { ("executionId", "dataFiles") } else { ("assemblyId", "reportKeys") };
    let assembly = json.get(assembly).and_then(Value::as_str);
    let assembly =
        assembly.ok_or_else(|| AuditError::bad(key, "has no assemblyId or executionId"))?.to_owned();
    let keys = json.get(keys).and_then(Value::as_array);
    let keys = keys.ok_or_else(|| AuditError::bad(key, "has no reportKeys or dataFiles"))?;
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| AuditError::bad(key, format!("names a file by {value}, which is no text")))
    };
    let keys = keys.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    if !exports {
        check_period(&json, &pointer)?;
    }
    Ok((!keys.is_empty()).then_some(Manifest { bytes, assembly, keys, pointer }))
}

fn is_focus(manifest: &Value) -> bool {
    let columns = manifest.get("columns").and_then(Value::as_array);
    let names: Vec<&str> =
        columns.into_iter().flatten().filter_map(|column| column.get("name")?.as_str()).collect();
    has_focus_names(&names)
}

fn has_focus_names(names: &[&str]) -> bool {
    let has = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    has("BilledCost") && (has("ChargePeriodStart") || has("SubAccountId"))
}

/// The one report that is meant.
fn chosen(request: &AuditRequest, mut manifests: Vec<Manifest>) -> Result<Vec<Manifest>, AuditError> {
    let place = request.source.name();
    if let Some(report) = &request.report {
        manifests.retain(|manifest| manifest.pointer.report == *report);
        if manifests.is_empty() {
            return Err(AuditError::NotFound { wanted: format!("a manifest of report {report:?}"), place });
        }
    }
    let reports: BTreeSet<_> =
        manifests.iter().map(|m| (m.pointer.root.clone(), m.pointer.report.clone())).collect();
    if reports.len() > 1 {
        let found = reports.iter().map(|(root, report)| format!("{report} (in {root:?})")).collect();
        return Err(AuditError::Ambiguous { place, found });
    }
    Ok(manifests)
}

fn chosen_periods(request: &AuditRequest, manifests: Vec<Manifest>) -> Result<Vec<Manifest>, AuditError> {
    let mut by_period: BTreeMap<BillingPeriod, Manifest> = BTreeMap::new();
    for manifest in manifests {
        let period = manifest.pointer.period;
        let Some(other) = by_period.get(&period) else {
            by_period.insert(period, manifest);
            continue;
        };
        // Of one delivery told twice, the manifest beside Athena's data is the one that counts.
        let names = |one: &Manifest| one.keys.iter().map(|key| file_of(key).to_owned()).collect::<Vec<_>>();
        if other.assembly != manifest.assembly || names(other) != names(&manifest) {
            let cause = format!("says of {} other than {}", period.month_text(), other.pointer.key);
            return Err(AuditError::bad(&manifest.pointer.key, cause));
        }
        if manifest.pointer.shape == Shape::YearMonth {
            by_period.insert(period, manifest);
        }
    }
    let Some(wanted) = &request.periods else {
        return Ok(by_period.into_values().collect());
    };
    let wanted: BTreeSet<_> = wanted.iter().copied().collect();
    let missing = |period: BillingPeriod| AuditError::NotFound {
        wanted: format!("billing period {period}"),
        place: request.source.name(),
    };
    if let Some(period) = wanted.iter().find(|period| !by_period.contains_key(period))
        && !request.period_may_be_elsewhere
    {
        return Err(missing(*period));
    }
    Ok(by_period.into_iter().filter(|(period, _)| wanted.contains(period)).map(|(_, found)| found).collect())
}

fn file_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn in_periods(request: &AuditRequest, mut deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, AuditError> {
    let Some(wanted) = &request.periods else { return Ok(deliveries) };
    if let Some(period) = wanted.iter().find(|period| !deliveries.iter().any(|one| one.period == **period))
        && !request.period_may_be_elsewhere
    {
        return Err(AuditError::NotFound {
            wanted: format!("billing period {period}"),
            place: request.source.name(),
        });
    }
    deliveries.retain(|delivery| wanted.contains(&delivery.period));
    Ok(deliveries)
}

/// Without any manifest each file is a report of its own, named by its key; or all are one, named by the folder.
fn chosen_loose(
    request: &AuditRequest,
    source: &Objects,
    files: &[String],
) -> Result<(String, Vec<String>), AuditError> {
    let place = request.source.name();
    let is_data = |key: &&String| {
        let name = file_of(key);
        let status = key.as_str() == STATUS_TABLE || key.ends_with(&format!("/{STATUS_TABLE}"));
        !name.starts_with('.') && !status && Format::of(key).is_some()
    };
    let mut found = Vec::new();
    for key in files.iter().filter(is_data) {
        if !is_focus_file(source, key) {
            found.push(key.clone());
        }
    }
    let nothing = "a manifest, .csv.gz, .csv.zip, .csv or .parquet file";
    if request.files && !found.is_empty() {
        return Ok((request.source.bucket().unwrap_or_default(), found));
    }
    if let Some(report) = &request.report {
        found.retain(|key| key == report || file_of(key) == report);
    }
    match found.len() {
        0 => Err(AuditError::NotFound { wanted: nothing.into(), place }),
        1 => Ok((found[0].clone(), found)),
        _ => Err(AuditError::Ambiguous { place, found }),
    }
}

/// A file that can't be opened is no reason to pass it over: that is told when it is read.
fn is_focus_file(source: &Objects, key: &str) -> bool {
    let Some(format) = Format::of(key) else { return false };
    let object = DataObject { key: key.into(), format, month: None };
    let rows = source.open(key).and_then(|opened| Rows::read(&object, opened));
    let Ok(rows) = rows else { return false };
    let names: Vec<String> =
        rows.headers().iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    has_focus_names(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One delivery per month of loose files' rows.
fn loose(source: &Objects, report: &str, files: Vec<String>) -> Result<Vec<Delivery>, AuditError> {
    let mut months: BTreeMap<BillingPeriod, Vec<DataObject>> = BTreeMap::new();
    let several = files.len() > 1;
    for key in files {
        let opened = source.open(&key)?;
        if several && opened.bytes() == 0 {
            continue;
        }
        let format = Format::of(&key).ok_or_else(|| AuditError::bad(&key, "is neither CSV nor .parquet"))?;
        let object = DataObject { key, format, month: None };
        for month in months_of(&object, opened)? {
            months.entry(month).or_default().push(DataObject { month: Some(month), ..object.clone() });
        }
    }
    if months.is_empty() {
        return Err(AuditError::bad(report, "has no row, so its billing period is unknown"));
    }
    let delivery = |(period, objects)| Delivery {
        source: source.clone(),
        report: report.into(),
        period,
        manifest: None,
        assembly: None,
        objects,
        kind: Some("files"),
    };
    Ok(months.into_iter().map(delivery).collect())
}

fn months_of(object: &DataObject, opened: Opened) -> Result<BTreeSet<BillingPeriod>, AuditError> {
    let mut rows = Rows::read(object, opened)?;
    let columns: Vec<usize> =
        (0..rows.names().len()).filter(|c| rows.names()[*c] == PERIOD_START.as_bytes()).collect();
    if columns.is_empty() {
        return Err(AuditError::bad(
            &object.key,
            format!("has no column {PERIOD_START}, so it can't be split"),
        ));
    }
    let mut months = BTreeSet::new();
    let mut last = Vec::new();
    let mut record = ByteRecord::new();
    while rows.next(&mut record)? {
        let cell =
            columns.iter().filter_map(|at| record.get(*at)).find(|cell| !cell.is_empty()).unwrap_or_default();
        if months.is_empty() || cell != last {
            let month = Instant::parse(cell).and_then(BillingPeriod::of).ok_or_else(|| {
                rows.fault(PERIOD_START, format!("{:?} is no moment", String::from_utf8_lossy(cell)))
            })?;
            months.insert(month);
            last = cell.to_vec();
        }
    }
    Ok(months)
}

fn load(source: &Objects, manifest: &Manifest, files: &BTreeSet<String>) -> Result<Delivery, AuditError> {
    let Manifest { pointer, bytes, assembly, keys } = manifest;
    let mut objects = Vec::with_capacity(keys.len());
    for key in keys {
        let bad = |cause: String| AuditError::bad(&pointer.key, cause);
        let found = pointer.locate(key, files).map_err(bad)?;
        let format =
            Format::of(key).ok_or_else(|| bad(format!("names {key:?}: neither CSV nor .parquet")))?;
        if !files.contains(&found) && !source.has(&found)? {
            return Err(AuditError::SourceNotReady { manifest: pointer.key.clone(), object: key.clone() });
        }
        objects.push(DataObject { key: found, format, month: None });
    }
    let kind = kind(pointer.shape == Shape::Exports, &objects);
    if kind == Some("cur1-parquet") {
        check_status(source, pointer, files)?;
    }
    Ok(Delivery {
        source: source.clone(),
        report: pointer.report.clone(),
        period: pointer.period,
        manifest: Some(ReadObject { key: pointer.key.clone(), fingerprint: Fingerprint::of(bytes), rows: 0 }),
        assembly: Some(assembly.clone()),
        kind,
        objects,
    })
}

/// Athena integration says in a table of one column whether the report is being written.
fn check_status(source: &Objects, pointer: &Pointer, files: &BTreeSet<String>) -> Result<(), AuditError> {
    let key = if pointer.root.is_empty() {
        STATUS_TABLE.to_owned()
    } else {
        format!("{}/{STATUS_TABLE}", pointer.root)
    };
    if !files.contains(&key) {
        return Ok(());
    }
    let object = DataObject { key, format: Format::Parquet, month: None };
    let mut rows = Rows::read(&object, source.open(&object.key)?)?;
    let mut record = ByteRecord::new();
    while rows.next(&mut record)? {
        if record.iter().any(|cell| cell.trim_ascii().eq_ignore_ascii_case(b"updating")) {
            return Err(AuditError::SourceNotReady {
                manifest: object.key,
                object: "a report that is UPDATING".into(),
            });
        }
    }
    Ok(())
}

fn kind(cur2: bool, objects: &[DataObject]) -> Option<&'static str> {
    let parquet = |object: &DataObject| object.format == Format::Parquet;
    match (cur2, objects.iter().all(parquet), objects.iter().any(parquet)) {
        (_, false, true) => None,
        (false, all, _) => Some(if all { "cur1-parquet" } else { "cur1-csv" }),
        (true, all, _) => Some(if all { "cur2-parquet" } else { "cur2-csv" }),
    }
}

fn check_period(manifest: &Value, pointer: &Pointer) -> Result<(), AuditError> {
    let start = manifest.get("billingPeriod").and_then(|period| period.get("start")).and_then(Value::as_str);
    let start = start.ok_or_else(|| AuditError::bad(&pointer.key, "has no billingPeriod"))?;
    let wanted = &pointer.period.to_string()[..8];
    if start.starts_with(wanted) {
        Ok(())
    } else {
        Err(AuditError::bad(&pointer.key, format!("billingPeriod starts {start:?}, its folder {wanted}")))
    }
}
