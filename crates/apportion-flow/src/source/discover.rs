use super::error::SourceError;
use crate::storage::{Bucket, ObjectInfo};
use apportion_core::manifest::{Encoding, Kind, SourceManifest, is_focus, read_source};
use apportion_model::{AssemblyId, BillingPeriod, ObjectKey};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

/// No manifest that AWS writes comes near this.
pub(super) const MANIFEST_LIMIT: u64 = 64 << 20;

/// A report and its deliveries, the newest of each month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundReport {
    /// Its name.
    pub name: String,
    /// Its months.
    pub deliveries: BTreeMap<BillingPeriod, FoundDelivery>,
}

/// One delivery: which objects, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDelivery {
    /// What it is.
    pub kind: Kind,
    /// How its files are written.
    pub encoding: Encoding,
    /// The month.
    pub period: BillingPeriod,
    /// AWS's name for the delivery.
    pub assembly: AssemblyId,
    /// The manifest's key; None for a loose file.
    pub manifest: Option<String>,
    /// SHA-256 of the manifest's bytes as they were read: the keys below are that version's.
    pub manifest_sha256: Option<[u8; 32]>,
    /// The data objects' keys, relative to the source, in the manifest's order.
    pub keys: Vec<String>,
}

/// Something that was recognised and isn't read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which object.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// Everything found in a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The reports, by name.
    pub reports: BTreeMap<String, FoundReport>,
    /// Loose files, by name; their month is known only from their rows.
    pub loose: Vec<String>,
    /// What was recognised and isn't read.
    pub refusals: Vec<Refusal>,
    /// Manifests that name no data.
    pub empty_manifests: Vec<String>,
}

/// Looks for reports and loose files.
///
/// # Errors
/// A listing that fails, a manifest in a period's folder that can't be read, and keys that lead out of the folder.
pub fn discover(bucket: &dyn Bucket) -> Result<Discovery, SourceError> {
    let objects = bucket.list()?;
    let mut discovery = Discovery::default();
    for object in objects.iter().filter(|object| is_manifest(&object.key)) {
        discovery.add_manifest(bucket, object)?;
    }
    if discovery.reports.is_empty() && discovery.refusals.is_empty() {
        for object in &objects {
            discovery.add_loose(bucket, object)?;
        }
    }
    Ok(discovery)
}

fn is_manifest(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let lower = name.to_ascii_lowercase();
    lower.ends_with(".json")
        && lower.contains("manifest")
        && !lower.contains("redshift")
        && !name.starts_with('.')
}

/// Where a pointer manifest stands: the report's name and the month.
struct Pointer<'a> {
    folder: &'a str,
    report: &'a str,
    period: BillingPeriod,
    data_exports: bool,
}

impl<'a> Pointer<'a> {
    /// Legacy: `…/<yyyymmdd-yyyymmdd>/<report>-Manifest.json`; Data Exports:
    /// `…/metadata/BILLING_PERIOD=yyyy-mm/<export>-Manifest.json`.
    fn of(key: &'a str) -> Option<Self> {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        let stem = name.strip_suffix(".json")?;
        let report = stem.strip_suffix("-Manifest").unwrap_or(stem);
        let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
        if let Ok(period) = BillingPeriod::parse(last) {
            return Some(Self { folder, report, period, data_exports: false });
        }
        let month = last
            .get(..15)
            .filter(|start| start.eq_ignore_ascii_case("BILLING_PERIOD="))
            .map(|_| &last[15..])?;
        let in_metadata = above == "metadata" || above.ends_with("/metadata");
        let period = BillingPeriod::parse_month(month).ok()?;
        in_metadata.then_some(Self { folder, report, period, data_exports: true })
    }

    /// The place of a data key in this source, found from the manifest's own place: what stands before it in the
    /// bucket depends on where the copy was made.
    fn resolve(&self, key: &str) -> Result<String, String> {
        let key = key.strip_prefix("s3://").unwrap_or(key);
        let resolved = if self.data_exports {
            let behind = key
                .rfind("/data/")
                .map(|at| &key[at + 6..])
                .or_else(|| key.strip_prefix("data/"))
                .ok_or("lies in no `data` folder")?;
            let above = self.folder.rsplit_once("metadata/").map_or("", |(above, _)| above);
            format!("{above}data/{behind}")
        } else {
            let period = self.period.to_string();
            let at = key
                .find(&format!("{period}/"))
                .ok_or("lies in no folder of the manifest's billing period")?;
            format!("{}/{}", self.folder, &key[at + period.len() + 1..])
        };
        ObjectKey::check_relative(&resolved).map_err(|error| error.problem.to_owned())?;
        Ok(resolved)
    }
}

impl Discovery {
    fn refuse(&mut self, object: &str, reason: impl Into<String>) {
        self.refusals.push(Refusal { object: object.to_owned(), reason: reason.into() });
    }

    fn add_manifest(&mut self, bucket: &dyn Bucket, object: &ObjectInfo) -> Result<(), SourceError> {
        let bytes = bucket.read(&object.key, MANIFEST_LIMIT)?.unwrap_or_default();
        let Some(pointer) = Pointer::of(&object.key) else {
            // An assembly's own manifest, or one that lies somewhere else: never a pointer to a month.
            if read_source(&bytes).is_ok() {
                self.empty_manifests.push(object.key.clone());
            }
            return Ok(());
        };
        let manifest = read_source(&bytes)
            .map_err(|source| SourceError::Manifest { object: object.key.clone(), source })?;
        if is_focus(manifest.columns.iter().map(String::as_str)) {
            self.refuse(&object.key, FOCUS);
            return Ok(());
        }
        if let Some(period) = manifest.period.filter(|period| *period != pointer.period) {
            let problem = format!("lies in the folder of another month than its billing period {period}");
            return Err(SourceError::Key { manifest: object.key.clone(), key: object.key.clone(), problem });
        }
        if manifest.keys.is_empty() {
            self.empty_manifests.push(object.key.clone());
            return Ok(());
        }
        self.add_delivery(object, &pointer, &manifest, Sha256::digest(&bytes).into())
    }

    fn add_delivery(
        &mut self,
        object: &ObjectInfo,
        pointer: &Pointer<'_>,
        manifest: &SourceManifest,
        manifest_sha256: [u8; 32],
    ) -> Result<(), SourceError> {
        let encodings: Vec<Encoding> = manifest.keys.iter().map(|key| Encoding::of_key(key)).collect();
        let encoding = encodings.first().copied().unwrap_or(Encoding::Unknown);
        let kind = match (encoding, manifest.data_exports) {
            _ if encodings.iter().any(|other| *other != encoding) => {
                self.refuse(&object.key, "its files are of different kinds");
                return Ok(());
            }
            (Encoding::CsvGz, false) => Kind::Cur1Csv,
            (Encoding::Parquet, false) => Kind::Cur1Parquet,
            (Encoding::CsvGz, true) => Kind::Cur2Csv,
            (Encoding::Parquet, true) => Kind::Cur2Parquet,
            (other, _) => {
                self.refuse(&object.key, not_yet(other));
                return Ok(());
            }
        };
        let mut keys = Vec::with_capacity(manifest.keys.len());
        for key in &manifest.keys {
            let resolved = pointer.resolve(key).map_err(|problem| SourceError::Key {
                manifest: object.key.clone(),
                key: key.clone(),
                problem,
            })?;
            if keys.contains(&resolved) {
                let problem = "is named twice".to_owned();
                return Err(SourceError::Key { manifest: object.key.clone(), key: key.clone(), problem });
            }
            keys.push(resolved);
        }
        let report = self
            .reports
            .entry(pointer.report.to_owned())
            .or_insert_with(|| FoundReport { name: pointer.report.to_owned(), deliveries: BTreeMap::new() });
        let delivery = FoundDelivery {
            kind,
            encoding,
            period: pointer.period,
            assembly: manifest.assembly.clone(),
            manifest: Some(object.key.clone()),
            manifest_sha256: Some(manifest_sha256),
            keys,
        };
        if let Some(other) = report.deliveries.insert(pointer.period, delivery) {
            return Err(SourceError::Ambiguous {
                place: format!("{} (period {}, twice)", pointer.report, pointer.period),
                names: vec![other.manifest.unwrap_or_default(), object.key.clone()],
            });
        }
        Ok(())
    }

    /// A data file without a manifest; only looked at where there is no manifest at all.
    fn add_loose(&mut self, bucket: &dyn Bucket, object: &ObjectInfo) -> Result<(), SourceError> {
        let name = object.key.rsplit('/').next().unwrap_or(&object.key);
        if name.starts_with('.') {
            return Ok(());
        }
        if Encoding::of_key(&object.key) == Encoding::Unknown {
            return Ok(());
        }
        match refusal_of_loose(bucket, &object.key)? {
            None => self.loose.push(object.key.clone()),
            Some(reason) => self.refuse(&object.key, reason),
        }
        Ok(())
    }
}

/// Why a loose file isn't read, by its name and its header; None if it is.
///
/// # Errors
/// A file that can't be opened.
pub fn refusal_of_loose(bucket: &dyn Bucket, key: &str) -> Result<Option<&'static str>, SourceError> {
    // The header first: that a FOCUS export should be compressed is no help to anybody.
    Ok(match Encoding::of_key(key) {
        Encoding::Parquet => None,
        Encoding::CsvGz => header_is_focus(bucket, key, true)?.then_some(FOCUS),
        Encoding::Csv if header_is_focus(bucket, key, false)? => Some(FOCUS),
        other => Some(not_yet(other)),
    })
}

pub(super) const FOCUS: &str = "a FOCUS export: it lacks blended cost, reservation units and nearly all product \
     attributes, so it can't become a CUR. Deliver from a legacy CUR or a CUR 2.0 export";

fn not_yet(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::CsvZip => "a CUR as csv.zip, a kind that isn't read yet. Set the report to gzip or Parquet",
        Encoding::Csv => "a plain CSV, a kind that isn't read yet. Compress it: gzip FILE.csv",
        _ => "a file of a kind that isn't read: neither .csv.gz nor .parquet",
    }
}

/// Whether the header of a loose CSV is that of a FOCUS export. Whatever else is wrong is found when it's read.
fn header_is_focus(bucket: &dyn Bucket, key: &str, gzip: bool) -> Result<bool, SourceError> {
    let Some(file) = bucket.open(key)? else { return Ok(false) };
    let mut start = Vec::new();
    let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    // A broken file is refused with its place when it's read; here only its first line matters.
    let _ = reader.take(1 << 16).read_to_end(&mut start);
    let text = String::from_utf8_lossy(&start);
    Ok(is_focus(text.lines().next().unwrap_or_default().split(',').map(|name| name.trim_matches('"'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_from_the_manifests_own_place() {
        let legacy = Pointer::of("cur/R/20181101-20181201/R-Manifest.json").unwrap();
        assert_eq!(
            legacy.resolve("elsewhere/R/20181101-20181201/343e/R-1.csv.gz").unwrap(),
            "cur/R/20181101-20181201/343e/R-1.csv.gz"
        );
        let exports = Pointer::of("metadata/BILLING_PERIOD=2026-04/E-Manifest.json").unwrap();
        assert_eq!(
            exports
                .resolve("s3://b//P/E/data/BILLING_PERIOD=2026-04/2026-04-16T15:24:15.653Z-x/E-1.csv.gz")
                .unwrap(),
            "data/BILLING_PERIOD=2026-04/2026-04-16T15:24:15.653Z-x/E-1.csv.gz"
        );
        assert!(Pointer::of("cur/R/20181101-20181201/343e/R-Manifest.json").is_none());
        for bad in
            ["R/20181101-20181201/../../x.csv.gz", "R/20181001-20181101/a.csv.gz", "R/20181101-20181201//a"]
        {
            assert!(legacy.resolve(bad).is_err(), "{bad}");
        }
        for bad in ["s3://b/P/E/data/../../x.csv.gz", "s3://b/P/E/x.csv.gz"] {
            assert!(exports.resolve(bad).is_err(), "{bad}");
        }
    }
}
