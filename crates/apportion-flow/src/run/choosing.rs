use super::RunError;
use super::request::{SourceKindWanted, SourceRequest};
use crate::source::{
    Discovery, FoundDelivery, FoundReport, SourceError, discover, discover_files, months_of, refusal_of_loose,
};
use crate::storage::Bucket;
use apportion_core::manifest::{Encoding, Kind as SourceKind};
use apportion_model::{AssemblyId, BillingPeriod};
use std::collections::BTreeMap;

/// The one report that is meant, and what else is there and isn't read.
pub(super) fn choose_report(source: &SourceRequest) -> Result<(FoundReport, Vec<String>), RunError> {
    let bucket = source.bucket.as_ref();
    if let Some(key) = &source.object {
        return Ok(loose_report(bucket, key, std::slice::from_ref(key))?);
    }
    if source.kind == SourceKindWanted::Files {
        return Ok(folder_report(bucket, source.report.as_deref())?);
    }
    let discovery = discover(bucket)?;
    let place = bucket.place();
    let mut names: Vec<String> = discovery.reports.keys().cloned().collect();
    names.extend(discovery.loose.iter().cloned());
    let chosen = match &source.report {
        Some(wanted) => {
            names.iter().find(|name| *name == wanted).cloned().ok_or_else(|| SourceError::NotFound {
                place: place.clone(),
                what: format!("no report named {wanted}; there {}", list(&names)),
            })?
        }
        None => match names.as_slice() {
            [one] => one.clone(),
            [] => return Err(nothing_to_read(place, &discovery).into()),
            _ => return Err(SourceError::Ambiguous { place, names }.into()),
        },
    };
    let mut refused = refusals(&discovery);
    match discovery.reports.get(&chosen) {
        Some(report) => Ok((report.clone(), refused)),
        None => {
            let (report, more) = loose_report(bucket, &chosen, std::slice::from_ref(&chosen))?;
            refused.extend(more);
            Ok((report, refused))
        }
    }
}

fn refusals(discovery: &Discovery) -> Vec<String> {
    discovery.refusals.iter().map(|refusal| format!("{}: {}", refusal.object, refusal.reason)).collect()
}

/// All loose files of a folder as one report.
fn folder_report(
    bucket: &dyn Bucket,
    wanted: Option<&str>,
) -> Result<(FoundReport, Vec<String>), SourceError> {
    let name = bucket.bucket_name();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != name) {
        let what = format!("kind files makes one report of the folder, {name}; there is none named {wanted}");
        return Err(SourceError::NotFound { place: bucket.place(), what });
    }
    let discovery = discover_files(bucket)?;
    if discovery.loose.is_empty() {
        return Err(nothing_to_read(bucket.place(), &discovery));
    }
    let (report, more) = loose_report(bucket, &name, &discovery.loose)?;
    let mut refused = refusals(&discovery);
    refused.extend(more);
    Ok((report, refused))
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "is none".to_owned() } else { format!("are: {}", names.join(", ")) }
}

fn nothing_to_read(place: String, discovery: &Discovery) -> SourceError {
    if !discovery.refusals.is_empty() {
        let reasons =
            discovery.refusals.iter().map(|refusal| format!("  {}: {}", refusal.object, refusal.reason));
        return SourceError::Refused { place, reasons: reasons.collect() };
    }
    let what = if discovery.empty_manifests.is_empty() {
        "no report was found: no manifest (<report>/<yyyymmdd-yyyymmdd>/<report>-Manifest.json, \
         <report>/year=…/month=…/ or metadata/BILLING_PERIOD=…/), and no .csv.gz, .csv.zip, .csv or .parquet file"
            .to_owned()
    } else {
        format!(
            "there are manifests but no data that belong to them ({}): a manifest must lie in its billing period's folder and name files",
            discovery.empty_manifests.join(", ")
        )
    };
    SourceError::NotFound { place, what }
}

/// Loose files as a report with one delivery per month that their line items lie in, and which of them hold none.
fn loose_report(
    bucket: &dyn Bucket,
    name: &str,
    keys: &[String],
) -> Result<(FoundReport, Vec<String>), SourceError> {
    let mut months: BTreeMap<BillingPeriod, Vec<String>> = BTreeMap::new();
    let mut empty = Vec::new();
    for key in keys {
        let known = Encoding::of_key(key) != Encoding::Unknown;
        let reason = refusal_of_loose(bucket, key)?
            .or((!known).then_some("is neither CSV (.csv.gz, .csv.zip, .csv) nor .parquet"));
        if let Some(reason) = reason {
            let reasons = vec![format!("  {key}: {reason}")];
            return Err(SourceError::Refused { place: bucket.place(), reasons });
        }
        let is_empty = bucket.info(key)?.is_some_and(|info| info.bytes == 0) && keys.len() > 1;
        let found = if is_empty { BTreeMap::new() } else { months_of(bucket, key)? };
        if found.is_empty() {
            empty.push(format!("{key}: holds no line item, so it belongs to no month"));
        }
        for month in found.into_keys() {
            months.entry(month).or_default().push(key.clone());
        }
    }
    if months.is_empty() {
        let what = format!("{} holds no line item, so its month isn't known", keys.join(", "));
        return Err(SourceError::NotFound { place: bucket.place(), what });
    }
    let delivery = |(period, keys)| {
        let delivery = FoundDelivery {
            kind: SourceKind::Files,
            period,
            assembly: AssemblyId::from_source("files"),
            manifest: None,
            manifest_sha256: None,
            keys,
            status: None,
        };
        (period, delivery)
    };
    let deliveries = months.into_iter().map(delivery).collect();
    Ok((FoundReport { name: name.to_owned(), root: String::new(), deliveries }, empty))
}

/// The deliveries of the wanted months.
pub(super) fn chosen_deliveries(
    periods: Option<&[BillingPeriod]>,
    source: &SourceRequest,
    report: &FoundReport,
) -> Result<Vec<FoundDelivery>, RunError> {
    let Some(wanted) = periods else { return Ok(report.deliveries.values().cloned().collect()) };
    wanted
        .iter()
        .map(|period| {
            report.deliveries.get(period).cloned().ok_or_else(|| {
                let months: Vec<String> = report.deliveries.keys().map(|month| month.month_text()).collect();
                RunError::Source(SourceError::NotFound {
                    place: source.bucket.place(),
                    what: format!(
                        "report {} has no delivery of {}; it has {}",
                        report.name,
                        period.month_text(),
                        months.join(", ")
                    ),
                })
            })
        })
        .collect()
}
