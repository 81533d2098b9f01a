use super::report::GarbageItem;
use crate::storage::{Bucket, DocumentError, StorageError, find_document, read_manifest};
use apportion_core::proof::{CustomerProof, MasterExport, MasterProof, ProofFile};
use apportion_model::{BillingPeriod, ObjectKey};

const MANIFEST_LIMIT: u64 = 64 << 20;
/// Files that one export can have: their number has five digits.
const MOST_FILES: u32 = 99_999;

/// Objects that are there, in the order in which they are deleted.
pub(super) struct Objects {
    pub(super) keys: Vec<String>,
    bytes: u64,
}

impl Objects {
    /// Those of some keys that are there.
    pub(super) fn of(place: &dyn Bucket, keys: Vec<String>) -> Result<Self, StorageError> {
        let mut found = Self { keys: Vec::new(), bytes: 0 };
        for key in keys {
            if let Some(info) = place.info(&key)? {
                found.bytes += info.bytes;
                found.keys.push(key);
            }
        }
        Ok(found)
    }

    pub(super) fn counted(&self, item: GarbageItem) -> GarbageItem {
        GarbageItem { objects: self.keys.len() as u64, bytes: self.bytes, ..item }
    }
}

/// The objects of an export, or why they can't be told. The customer proof, which holds the keys, comes last.
pub(super) fn objects_of(
    target: &dyn Bucket,
    export: &MasterExport,
    period: BillingPeriod,
) -> Result<Result<Objects, String>, StorageError> {
    let report = &export.report_id;
    // Whatever a proof says: nothing but this assembly's own folder is ever touched.
    let due = format!("/{period}/{}/{report}-Proof.json", export.assembly_id);
    let folder = match export.proof.rsplit_once('/') {
        Some((folder, _)) if export.proof.ends_with(&due) => folder,
        _ => return Ok(Err(format!("{} isn't a customer proof's key", export.proof))),
    };
    if let Err(error) = ObjectKey::check_relative(&export.proof) {
        return Ok(Err(error.to_string()));
    }
    let mut keys = match find_document::<CustomerProof>(target, &export.proof) {
        Ok(Some(proof)) => match keys_in(folder, &proof.value.files) {
            Ok(keys) => keys,
            Err(reason) => return Ok(Err(reason)),
        },
        Ok(None) => numbered(target, folder, export)?,
        Err(DocumentError::Storage(error)) => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    // From the last to the first: without a proof, files are found by counting from the first.
    keys.reverse();
    keys.extend([format!("{folder}/{report}-Manifest.json"), export.proof.clone()]);
    Objects::of(target, keys).map(Ok)
}

/// The files' keys, which must all lie right in the folder.
fn keys_in(folder: &str, files: &[ProofFile]) -> Result<Vec<String>, String> {
    files
        .iter()
        .map(|file| match file.key.rsplit_once('/') {
            Some((parent, _)) if parent == folder && ObjectKey::check_relative(&file.key).is_ok() => {
                Ok(file.key.clone())
            }
            _ => Err(format!("the proof names {}, which isn't in {folder}/", file.key)),
        })
        .collect()
}

/// The data files of an export whose proof isn't there: its customer failed before, or it is deleted already. Files are
/// numbered from 1 without a gap, so a look at one after the other finds them without a listing.
fn numbered(target: &dyn Bucket, folder: &str, export: &MasterExport) -> Result<Vec<String>, StorageError> {
    let mut keys = Vec::new();
    for number in 1..=MOST_FILES {
        let key = format!("{folder}/{}-{number:05}.{}", export.report_id, export.format.extension());
        if target.info(&key)?.is_none() {
            break;
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Why an export must stay as long as its target's manifest is what it is; None if it may go.
pub(super) fn live_reason(
    target: &dyn Bucket,
    export: &MasterExport,
) -> Result<Option<String>, StorageError> {
    let Some(bytes) = target.read(&export.manifest, MANIFEST_LIMIT)? else { return Ok(None) };
    Ok(match read_manifest(target, &bytes) {
        Ok(manifest) if manifest.assembly == export.assembly_id => {
            Some("it is live: the customer's later deliveries failed".to_owned())
        }
        Ok(_) => None,
        Err(error) => {
            Some(format!("{} can't be read, so what is live isn't known: {error}", export.manifest))
        }
    })
}

/// The unassigned files of a delivery, as far as they lie where unassigned files lie.
pub(super) fn unassigned_objects(msp: &dyn Bucket, proof: &MasterProof) -> Result<Objects, StorageError> {
    let due = |number| {
        let MasterProof { source, billing_period: period, delivery_id: delivery, .. } = proof;
        ObjectKey::Unassigned { source, period: *period, delivery, number }.to_string()
    };
    let named = (1u32..).zip(&proof.unassigned.files);
    let keys: Vec<String> =
        named.filter(|(number, file)| file.key == due(*number)).map(|(_, file)| file.key.clone()).collect();
    Objects::of(msp, keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Body, Folder};
    use serde_json::json;

    const ASSEMBLY: &str = "abababab-abab-abab-abab-abababababab";

    fn export() -> MasterExport {
        let folder = format!("RawCURReports/cur/111122223333/20261001-20261101/{ASSEMBLY}");
        serde_json::from_value(json!({
            "customer": "acme", "report_id": "acme", "assembly_id": ASSEMBLY, "linked_account": null,
            "format": "csv.gz", "manifest": "manifests/20261001-20261101/acme-Manifest.json",
            "proof": format!("{folder}/acme-Proof.json"), "rows": 3, "totals": [],
        }))
        .unwrap()
    }

    fn proof(export: &MasterExport, files: &[String]) -> Vec<u8> {
        let files: Vec<_> =
            files.iter().map(|key| json!({"key": key, "bytes": 1, "sha256": "", "rows": 1})).collect();
        let proof = json!({
            "proof": "apportion customer proof", "format_version": 3, "customer": "acme", "accounts": "all",
            "linked_account": null, "report_id": export.report_id, "assembly_id": ASSEMBLY,
            "billing_period": "20261001-20261101", "contract": "eco", "layout": "eco", "format": "csv.gz",
            "header": "snake", "order": "sorted", "gzip": "multi-member", "level": "default", "columns": [], "privacy": "mask",
            "payer": "keep", "mask_key": "none", "withhold": [], "source_version": "", "rows": 3,
            "files": files, "totals": [], "withheld": [], "representation": [],
        });
        serde_json::to_vec(&proof).unwrap()
    }

    #[test]
    fn after_every_delete_what_is_left_can_still_be_found() {
        let (export, period) = (export(), BillingPeriod::new(2026, 10).unwrap());
        let (folder, _) = export.proof.rsplit_once('/').unwrap();
        let files: Vec<String> = (1..=4).map(|number| format!("{folder}/acme-{number:05}.csv.gz")).collect();
        let manifest = format!("{folder}/acme-Manifest.json");
        for with_proof in [true, false] {
            let place = tempfile::tempdir().unwrap();
            let bucket = Folder::new(place.path());
            for key in files.iter().chain([&manifest]) {
                bucket.put_new(key, Body::Bytes(b"x")).unwrap();
            }
            if with_proof {
                bucket.put_new(&export.proof, Body::Bytes(&proof(&export, &files))).unwrap();
            }
            let all = objects_of(&bucket, &export, period).unwrap().unwrap().keys;
            assert_eq!(all.len(), 5 + usize::from(with_proof));
            for (deleted, key) in all.iter().enumerate() {
                let found = objects_of(&bucket, &export, period).unwrap().unwrap().keys;
                assert_eq!(found, all[deleted..], "after {deleted} deletes");
                assert!(bucket.delete(key).unwrap());
            }
            assert_eq!(bucket.list().unwrap(), vec![]);
            assert!(!place.path().join(folder).exists(), "the assembly's folder is left");
        }
    }
}
