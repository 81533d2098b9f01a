use super::error::SourceError;
use super::loose::{is_side_file, is_status_table, refusal_of_loose};
use super::pointer::{Layout, Pointer};
use crate::storage::{Bucket, ObjectInfo};
use apportion_core::manifest::{Encoding, Kind, SourceManifest, is_focus, read_source};
use apportion_model::{AssemblyId, BillingPeriod};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};

/// No manifest that AWS writes comes near this.
pub(super) const MANIFEST_LIMIT: u64 = 64 << 20;

/// A report and its deliveries, the newest of each month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundReport {
    /// Its name.
    pub name: String,
    /// What stands before the folders of its months; blank for loose files.
    pub root: String,
    /// Its months.
    pub deliveries: BTreeMap<BillingPeriod, FoundDelivery>,
}

/// One delivery: which objects, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDelivery {
    /// What it is.
    pub kind: Kind,
    /// The month.
    pub period: BillingPeriod,
    /// AWS's name for the delivery.
    pub assembly: AssemblyId,
    /// The manifest's key; None for loose files.
    pub manifest: Option<String>,
    /// SHA-256 of the manifest's bytes as they were read: the keys below are that version's.
    pub manifest_sha256: Option<[u8; 32]>,
    /// The data objects' keys, relative to the source, in the manifest's order.
    pub keys: Vec<String>,
    /// The report's status table, where Athena integration has written one.
    pub status: Option<String>,
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
    /// Loose files, by name; their months are known only from their rows.
    pub loose: Vec<String>,
    /// What was recognised and isn't read.
    pub refusals: Vec<Refusal>,
    /// Manifests that name no data.
    pub empty_manifests: Vec<String>,
    /// Manifests of single executions, by their export's place and month.
    executions: BTreeMap<(String, String, BillingPeriod), Vec<String>>,
}

/// Looks for reports, and for loose files where there is none.
///
/// # Errors
/// A listing that fails, a manifest in a period's folder that can't be read, and keys that lead out of the folder.
pub fn discover(bucket: &dyn Bucket) -> Result<Discovery, SourceError> {
    let objects = bucket.list()?;
    let there: HashSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    let mut discovery = Discovery::default();
    for object in objects.iter().filter(|object| is_manifest(&object.key)) {
        discovery.add_manifest(bucket, object, &there)?;
    }
    discovery.refuse_executions();
    if discovery.reports.is_empty() && discovery.refusals.is_empty() {
        discovery.add_all_loose(bucket, &objects)?;
    }
    discovery.add_status_tables(&objects);
    Ok(discovery)
}

/// Looks for loose files only, whatever manifests there are.
///
/// # Errors
/// A listing that fails, or a file that can't be opened.
pub fn discover_files(bucket: &dyn Bucket) -> Result<Discovery, SourceError> {
    let mut discovery = Discovery::default();
    discovery.add_all_loose(bucket, &bucket.list()?)?;
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

/// What a delivery is, by its files.
fn kind_of(manifest: &SourceManifest) -> Result<Kind, String> {
    let encodings: Vec<Encoding> = manifest.keys.iter().map(|key| Encoding::of_key(key)).collect();
    if encodings.iter().all(|encoding| encoding.is_csv()) {
        return Ok(if manifest.data_exports { Kind::Cur2Csv } else { Kind::Cur1Csv });
    }
    if encodings.iter().all(|encoding| *encoding == Encoding::Parquet) {
        return Ok(if manifest.data_exports { Kind::Cur2Parquet } else { Kind::Cur1Parquet });
    }
    let unknown = manifest.keys.iter().zip(&encodings).find(|(_, encoding)| **encoding == Encoding::Unknown);
    Err(match unknown {
        Some((key, _)) => {
            format!(
                "it names {key}, a file of a kind that isn't read: neither CSV (.csv.gz, .csv.zip, .csv) nor .parquet"
            )
        }
        None => "its files are CSV and Parquet mixed, which no report of AWS's is".to_owned(),
    })
}

impl Discovery {
    fn refuse(&mut self, object: &str, reason: impl Into<String>) {
        self.refusals.push(Refusal { object: object.to_owned(), reason: reason.into() });
    }

    fn add_manifest(
        &mut self,
        bucket: &dyn Bucket,
        object: &ObjectInfo,
        there: &HashSet<&str>,
    ) -> Result<(), SourceError> {
        let bytes = bucket.read(&object.key, MANIFEST_LIMIT)?.unwrap_or_default();
        let Some(pointer) = Pointer::of(&object.key) else {
            // An assembly's own manifest, or one that lies somewhere else: never a pointer to a month.
            if read_source(&bytes).is_ok() {
                match Pointer::of_execution(&object.key) {
                    Some(Pointer { root, report, period, .. }) => {
                        self.executions.entry((root, report, period)).or_default().push(object.key.clone());
                    }
                    None => self.empty_manifests.push(object.key.clone()),
                }
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
        if manifest.data_exports != (pointer.layout == Layout::DataExports) {
            self.empty_manifests.push(object.key.clone());
            return Ok(());
        }
        if manifest.keys.is_empty() {
            self.empty_manifests.push(object.key.clone());
            return Ok(());
        }
        match kind_of(&manifest) {
            Err(reason) => self.refuse(&object.key, reason),
            Ok(kind) => {
                let delivery = FoundDelivery {
                    kind,
                    period: pointer.period,
                    assembly: manifest.assembly.clone(),
                    manifest: Some(object.key.clone()),
                    manifest_sha256: Some(Sha256::digest(&bytes).into()),
                    keys: resolve_all(&object.key, &pointer, &manifest.keys, there)?,
                    status: None,
                };
                self.add_delivery(pointer, delivery)?;
            }
        }
        Ok(())
    }

    fn add_delivery(&mut self, pointer: Pointer, delivery: FoundDelivery) -> Result<(), SourceError> {
        let Pointer { root, report: name, period, layout, .. } = pointer;
        let report = self.reports.entry(name.clone()).or_insert_with(|| FoundReport {
            name: name.clone(),
            root: root.clone(),
            deliveries: BTreeMap::new(),
        });
        if report.root != root {
            let other = report.deliveries.values().next().and_then(|other| other.manifest.clone());
            return Err(SourceError::SameName {
                report: name,
                manifests: other.into_iter().chain(delivery.manifest).collect(),
            });
        }
        let Some(other) = report.deliveries.get(&period) else {
            report.deliveries.insert(period, delivery);
            return Ok(());
        };
        // Athena integration can leave the same manifest in the date folder and in the month's.
        if other.assembly != delivery.assembly || other.keys != delivery.keys {
            return Err(SourceError::TwoManifests {
                report: name,
                period,
                manifests: other.manifest.iter().cloned().chain(delivery.manifest).collect(),
            });
        }
        if layout == Layout::Athena {
            report.deliveries.insert(period, delivery);
        }
        Ok(())
    }

    /// Without a manifest directly in the month's folder nothing says which execution is the month.
    fn refuse_executions(&mut self) {
        for ((root, name, period), keys) in std::mem::take(&mut self.executions) {
            let is_found =
                |report: &FoundReport| report.root == root && report.deliveries.contains_key(&period);
            if self.reports.get(&name).is_some_and(is_found) || self.is_refused(&root, &name, period) {
                continue;
            }
            let folder = keys[0].rsplitn(3, '/').last().unwrap_or_default().to_owned();
            let reason = format!(
                "{} holds manifests of single executions only ({}), and none that says which of them {} is. AWS writes \
                 that one as {folder}/{name}-Manifest.json: copy it with the rest, or put a copy of the execution's \
                 manifest that is meant there",
                folder,
                keys.join(", "),
                period.month_text(),
            );
            self.refuse(&keys[0], reason);
        }
    }

    fn is_refused(&self, root: &str, report: &str, period: BillingPeriod) -> bool {
        let pointers = self.refusals.iter().filter_map(|refusal| Pointer::of(&refusal.object));
        let manifests = self.empty_manifests.iter().filter_map(|key| Pointer::of(key));
        pointers
            .chain(manifests)
            .any(|other| other.root == root && other.report == report && other.period == period)
    }

    /// Data files without a manifest; only looked at where there is no manifest at all, or none is wanted.
    fn add_all_loose(&mut self, bucket: &dyn Bucket, objects: &[ObjectInfo]) -> Result<(), SourceError> {
        for object in objects.iter().filter(|object| !is_side_file(&object.key)) {
            match refusal_of_loose(bucket, &object.key)? {
                None if Encoding::of_key(&object.key) != Encoding::Unknown => {
                    self.loose.push(object.key.clone());
                }
                None => {}
                Some(reason) => self.refuse(&object.key, reason),
            }
        }
        Ok(())
    }

    /// Gives every delivery of an Athena report its status table.
    fn add_status_tables(&mut self, objects: &[ObjectInfo]) {
        for object in objects.iter().filter(|object| is_status_table(&object.key)) {
            let root = object.key.rsplitn(3, '/').nth(2).unwrap_or_default();
            for report in self.reports.values_mut().filter(|report| report.root == root) {
                for delivery in report.deliveries.values_mut().filter(|one| one.kind == Kind::Cur1Parquet) {
                    delivery.status = Some(object.key.clone());
                }
            }
        }
    }
}

fn resolve_all(
    manifest: &str,
    pointer: &Pointer,
    keys: &[String],
    there: &HashSet<&str>,
) -> Result<Vec<String>, SourceError> {
    let mut seen = HashSet::with_capacity(keys.len());
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let wrong = |problem| SourceError::Key { manifest: manifest.to_owned(), key: key.clone(), problem };
        let resolved = pointer.resolve(key, there).map_err(wrong)?;
        if !seen.insert(resolved.clone()) {
            return Err(wrong("is named twice".to_owned()));
        }
        found.push(resolved);
    }
    Ok(found)
}

pub(super) const FOCUS: &str = "a FOCUS export: it lacks blended cost, reservation units and nearly all product \
     attributes, so it can't become a CUR. Deliver from a legacy CUR or a CUR 2.0 export";
