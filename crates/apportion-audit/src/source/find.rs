//! Finds the deliveries of a source.
//!
//! What comes in: the request's folder or file. What goes out: the wanted report's deliveries, oldest first, every
//! data object found below the manifest's own place. What it must never do: follow a key out of the source folder,
//! or choose between two reports by itself.

use super::{DataObject, Delivery, Format, ReadObject, Rows};
use crate::error::AuditError;
use crate::hashes::Fingerprint;
use crate::request::AuditRequest;
use apportion_model::{BillingPeriod, Instant};
use csv::ByteRecord;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MANIFEST: &str = "-Manifest.json";
const DEEPEST: usize = 24;
const LARGEST_MANIFEST: u64 = 256 << 20;

/// A manifest in the place where it points to a delivery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pointer {
    report: String,
    /// The folder that holds the period folders (legacy), or `data` and `metadata` (CUR 2.0).
    root: String,
    cur2: bool,
    period: BillingPeriod,
    key: String,
}

/// The deliveries that the request asks for.
pub(crate) fn find(request: &AuditRequest) -> Result<Vec<Delivery>, AuditError> {
    let source = &request.source;
    let place = source.display().to_string();
    let about = std::fs::metadata(source).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => {
            AuditError::NotFound { wanted: "the source".into(), place: place.clone() }
        }
        _ => AuditError::Io { object: place.clone(), cause },
    })?;
    if about.is_file() {
        let name = source.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        return in_periods(request, vec![loose(&name, source)?]);
    }
    let mut files = Vec::new();
    walk(source, "", 0, &mut files)?;
    files.sort();
    let pointers: Vec<Pointer> = files.iter().filter_map(|key| pointer(key)).collect();
    if pointers.is_empty() {
        let loose_file = chosen_loose(request, &files)?;
        return in_periods(request, vec![loose(&loose_file, &source.join(&loose_file))?]);
    }
    let chosen = chosen(request, pointers)?;
    chosen_periods(request, chosen)?.iter().map(|pointer| load(source, pointer)).collect()
}

fn walk(folder: &Path, key: &str, depth: usize, files: &mut Vec<String>) -> Result<(), AuditError> {
    let failed = |cause| AuditError::Io { object: folder.display().to_string(), cause };
    if depth > DEEPEST {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A name that isn't UTF-8 can't be a key that a manifest names.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let key = if key.is_empty() { name } else { format!("{key}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk(&entry.path(), &key, depth + 1, files)?;
        } else if kind.is_file() || entry.path().is_file() {
            files.push(key);
        }
    }
    Ok(())
}

/// Only a manifest directly in the period's folder points to a delivery.
fn pointer(key: &str) -> Option<Pointer> {
    let parts: Vec<&str> = key.split('/').collect();
    let report = parts.last()?.strip_suffix(MANIFEST)?.to_owned();
    let folder = parts.len().checked_sub(2)?;
    if let Ok(period) = BillingPeriod::parse(parts[folder]) {
        let root = parts[..folder].join("/");
        return Some(Pointer { report, root, cur2: false, period, key: key.into() });
    }
    let month = parts[folder].strip_prefix("BILLING_PERIOD=")?;
    let period = BillingPeriod::parse_month(month).ok().filter(|_| month.len() == 7)?;
    let beside = folder.checked_sub(1).filter(|at| parts[*at] == "metadata")?;
    Some(Pointer { report, root: parts[..beside].join("/"), cur2: true, period, key: key.into() })
}

/// The one report that is meant.
fn chosen(request: &AuditRequest, mut pointers: Vec<Pointer>) -> Result<Vec<Pointer>, AuditError> {
    let place = request.source.display().to_string();
    if let Some(report) = &request.report {
        pointers.retain(|pointer| pointer.report == *report);
        if pointers.is_empty() {
            return Err(AuditError::NotFound { wanted: format!("a manifest of report {report:?}"), place });
        }
    }
    let reports: BTreeSet<_> = pointers.iter().map(|p| (p.root.clone(), p.report.clone(), p.cur2)).collect();
    if reports.len() > 1 {
        let found = reports.iter().map(|(root, report, _)| format!("{report} (in {root:?})")).collect();
        return Err(AuditError::Ambiguous { place, found });
    }
    Ok(pointers)
}

fn chosen_periods(request: &AuditRequest, pointers: Vec<Pointer>) -> Result<Vec<Pointer>, AuditError> {
    let mut by_period: BTreeMap<BillingPeriod, Pointer> =
        pointers.into_iter().map(|p| (p.period, p)).collect();
    let Some(wanted) = &request.periods else {
        return Ok(by_period.into_values().collect());
    };
    let wanted: BTreeSet<_> = wanted.iter().copied().collect();
    let missing = |period: BillingPeriod| AuditError::NotFound {
        wanted: format!("billing period {period}"),
        place: request.source.display().to_string(),
    };
    wanted.into_iter().map(|period| by_period.remove(&period).ok_or_else(|| missing(period))).collect()
}

fn in_periods(request: &AuditRequest, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, AuditError> {
    let has = |period: &BillingPeriod| deliveries.iter().any(|delivery| delivery.period == *period);
    match request.periods.iter().flatten().find(|period| !has(period)) {
        None => Ok(deliveries),
        Some(period) => Err(AuditError::NotFound {
            wanted: format!("billing period {period}"),
            place: request.source.display().to_string(),
        }),
    }
}

/// Without any manifest each file is a report of its own, named by its file name.
fn chosen_loose(request: &AuditRequest, files: &[String]) -> Result<String, AuditError> {
    let place = request.source.display().to_string();
    let mut found: Vec<String> = files.iter().filter(|key| Format::of(key).is_some()).cloned().collect();
    if let Some(report) = &request.report {
        found.retain(|key| key.rsplit('/').next() == Some(report));
    }
    match found.len() {
        0 => Err(AuditError::NotFound { wanted: "a manifest, .csv.gz or .parquet file".into(), place }),
        1 => Ok(found.remove(0)),
        _ => Err(AuditError::Ambiguous { place, found }),
    }
}

/// A loose file's period is that of its rows.
fn loose(key: &str, path: &Path) -> Result<Delivery, AuditError> {
    let format = Format::of(key).ok_or_else(|| AuditError::bad(key, "is neither .csv.gz nor .parquet"))?;
    let object = DataObject { key: key.into(), path: path.into(), format };
    let period = first_period(&object)?;
    Ok(Delivery {
        report: key.rsplit('/').next().unwrap_or(key).into(),
        period,
        manifest: None,
        assembly: None,
        objects: vec![object],
        kind: Some("files"),
        loose: true,
    })
}

fn first_period(object: &DataObject) -> Result<BillingPeriod, AuditError> {
    const COLUMN: &str = "bill_billing_period_start_date";
    let mut rows = Rows::open(object)?;
    let columns: Vec<usize> =
        (0..rows.names().len()).filter(|c| rows.names()[*c] == COLUMN.as_bytes()).collect();
    let mut record = ByteRecord::new();
    while rows.next(&mut record)? {
        let cells = columns.iter().filter_map(|column| record.get(*column));
        if let Some(cell) = cells.into_iter().find(|cell| !cell.is_empty()) {
            return Instant::parse(cell).and_then(BillingPeriod::of).ok_or_else(|| {
                rows.fault(COLUMN, format!("{:?} is no moment", String::from_utf8_lossy(cell)))
            });
        }
    }
    Err(AuditError::bad(&object.key, format!("has no {COLUMN} in any row, so its billing period is unknown")))
}

fn load(source: &Path, pointer: &Pointer) -> Result<Delivery, AuditError> {
    let key = &pointer.key;
    let path = source.join(key);
    let failed = |cause| AuditError::Io { object: key.clone(), cause };
    if std::fs::metadata(&path).map_err(failed)?.len() > LARGEST_MANIFEST {
        return Err(AuditError::bad(key, "is too large for a manifest"));
    }
    let bytes = std::fs::read(&path).map_err(failed)?;
    let manifest: Value = serde_json::from_slice(&bytes)
        .map_err(|cause| AuditError::bad(key, format!("is no JSON: {cause}")))?;
    let (assembly, keys) =
        if pointer.cur2 { ("executionId", "dataFiles") } else { ("assemblyId", "reportKeys") };
    let assembly = manifest.get(assembly).and_then(Value::as_str);
    let assembly = assembly.ok_or_else(|| AuditError::bad(key, "has no assemblyId or executionId"))?;
    let keys = manifest.get(keys).and_then(Value::as_array);
    let keys = keys.ok_or_else(|| AuditError::bad(key, "has no reportKeys or dataFiles"))?;
    if !pointer.cur2 {
        check_period(&manifest, pointer)?;
    }
    let objects =
        keys.iter().map(|data_key| locate(source, pointer, data_key)).collect::<Result<Vec<_>, _>>()?;
    Ok(Delivery {
        report: pointer.report.clone(),
        period: pointer.period,
        manifest: Some(ReadObject { key: key.clone(), fingerprint: Fingerprint::of(&bytes), rows: 0 }),
        assembly: Some(assembly.into()),
        kind: kind(pointer.cur2, &objects),
        objects,
        loose: false,
    })
}

fn kind(cur2: bool, objects: &[DataObject]) -> Option<&'static str> {
    let format = objects.first()?.format;
    objects.iter().all(|object| object.format == format).then_some(match (cur2, format) {
        (false, Format::Csv) => "cur1-csv",
        (false, Format::Parquet) => "cur1-parquet",
        (true, Format::Csv) => "cur2-csv",
        (true, Format::Parquet) => "cur2-parquet",
    })
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

/// Finds a data object from the manifest's own place.
fn locate(source: &Path, pointer: &Pointer, key: &Value) -> Result<DataObject, AuditError> {
    let bad = |cause: String| AuditError::bad(&pointer.key, cause);
    let key = key.as_str().ok_or_else(|| bad(format!("names a file by {key}, which is no text")))?;
    let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..") || part.contains(['\\', '\0'])) {
        return Err(bad(format!("names {key:?}, which would leave the source")));
    }
    let format =
        Format::of(key).ok_or_else(|| bad(format!("names {key:?}: neither .csv.gz nor .parquet")))?;
    let (anchor, folder) = if pointer.cur2 {
        ("data".to_owned(), "data".to_owned())
    } else {
        (pointer.period.to_string(), pointer.period.to_string())
    };
    let below = |base: &str, rest: &[&str]| {
        let joined = rest.join("/");
        if base.is_empty() { joined } else { format!("{base}/{joined}") }
    };
    let found = match parts.iter().rposition(|part| *part == anchor) {
        Some(at) => below(&below(&pointer.root, &[&folder]), &parts[at + 1..]),
        None if pointer.cur2 => return Err(bad(format!("names {key:?}, which has no data/ folder"))),
        None => beside_periods(source, pointer, &parts).unwrap_or_else(|| below(&pointer.root, &parts)),
    };
    let path = source.join(&found);
    if path.is_file() {
        Ok(DataObject { key: found, path, format })
    } else {
        Err(AuditError::SourceNotReady { manifest: pointer.key.clone(), object: key.into() })
    }
}

/// Legacy Parquet lies beside the period folders (`…/year=2018/month=11/…`): the longest end of the key that is
/// there, looked for in the report's folder and those above it, from the top.
fn beside_periods(source: &Path, pointer: &Pointer, parts: &[&str]) -> Option<String> {
    let root: Vec<&str> = pointer.root.split('/').filter(|part| !part.is_empty()).collect();
    for skipped in 0..parts.len() {
        for depth in 0..=root.len() {
            let key = [&root[..depth], &parts[skipped..]].concat().join("/");
            if source.join(&key).is_file() {
                return Some(key);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_manifests_in_a_period_folder_are_pointers() {
        let legacy = pointer("cur/r/20181101-20181201/r-Manifest.json").unwrap();
        assert_eq!((legacy.report.as_str(), legacy.root.as_str(), legacy.cur2), ("r", "cur/r", false));
        let cur2 = pointer("metadata/BILLING_PERIOD=2026-04/x-Manifest.json").unwrap();
        assert_eq!((cur2.root.as_str(), cur2.cur2, cur2.period.month_text().as_str()), ("", true, "2026-04"));
        for other in [
            "cur/r/20181101-20181201/343e/r-Manifest.json",
            "cur/r/20181101-20181131/r-Manifest.json",
            "data/BILLING_PERIOD=2026-04/x-Manifest.json",
            "metadata/BILLING_PERIOD=2026-04/run/x-Manifest.json",
            "r-Manifest.json",
            "cur/r/20181101-20181201/r.json",
        ] {
            assert_eq!(pointer(other), None, "{other}");
        }
    }
}
