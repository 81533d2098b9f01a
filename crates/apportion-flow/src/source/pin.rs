use super::discover::FoundDelivery;
use super::error::SourceError;
use super::parquet_file::ParquetFile;
use crate::digest::{hex, sha256_of};
use crate::storage::{Bucket, Opened};
use sha2::{Digest, Sha256};

/// One object of a delivery, in the version that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedObject {
    /// Its key, relative to the source.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// The version of a delivery: what exactly its objects held when it was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The manifest, where there is one, then the data objects in its order.
    pub objects: Vec<PinnedObject>,
    /// SHA-256 over all of them: docs/delivery-format.md, section 7.
    pub version: String,
    /// The file time of the manifest (or the newest loose file), in milliseconds since 1970: the order of generations.
    pub generation: i64,
    /// The first data object that is newer than the manifest, which AWS writes last: a report that is being overwritten
    /// looks like that, and so does a copy.
    pub newer_than_manifest: Option<String>,
}

impl Pin {
    /// The data objects.
    pub fn data(&self) -> &[PinnedObject] {
        let manifest = usize::from(self.objects.first().is_some_and(|object| object.key.ends_with(".json")));
        self.objects.get(manifest..).unwrap_or_default()
    }
}

/// Hashes an object's bytes as they are now; None if there is no such object.
///
/// # Errors
/// An object that can't be read.
pub fn hash_object(bucket: &dyn Bucket, key: &str) -> Result<Option<PinnedObject>, SourceError> {
    let Some(file) = bucket.open(key)? else { return Ok(None) };
    hash_opened(bucket, key, file).map(Some)
}

fn hash_opened(bucket: &dyn Bucket, key: &str, mut file: Opened) -> Result<PinnedObject, SourceError> {
    let (sha256, bytes) = sha256_of(&mut file)
        .map_err(|source| SourceError::Io { object: format!("{}/{key}", bucket.place()), source })?;
    file.remember_sha256(sha256);
    Ok(PinnedObject { key: key.to_owned(), bytes, sha256 })
}

/// The same without reading it, where the store says that it's a version whose hash is known.
fn pin_object(bucket: &dyn Bucket, key: &str) -> Result<Option<PinnedObject>, SourceError> {
    let Some(file) = bucket.open(key)? else { return Ok(None) };
    match (file.known_sha256(), file.size()) {
        (Some(sha256), Ok(bytes)) => Ok(Some(PinnedObject { key: key.to_owned(), bytes, sha256 })),
        _ => hash_opened(bucket, key, file).map(Some),
    }
}

/// Pins a delivery. The manifest is hashed first and looked at again last.
///
/// # Errors
/// A report that is being written, a missing object, one that can't be read, or a manifest that changes meanwhile.
pub fn pin(bucket: &dyn Bucket, delivery: &FoundDelivery) -> Result<Pin, SourceError> {
    let missing = |key: &str| SourceError::Missing {
        manifest: delivery.manifest.clone().unwrap_or_else(|| bucket.place()),
        object: key.to_owned(),
    };
    if let Some(status) = &delivery.status {
        check_status(bucket, status)?;
    }
    // Whether everything is there is cheap to know, and worth knowing before the first gigabyte is hashed.
    let mut times = Vec::with_capacity(delivery.keys.len());
    for key in &delivery.keys {
        times.push((bucket.info(key)?.ok_or_else(|| missing(key))?.modified, key));
    }
    let (generation, newer_than_manifest) = match &delivery.manifest {
        Some(manifest) => {
            let written = bucket.info(manifest)?.ok_or_else(|| missing(manifest))?.modified;
            let newer = times.iter().find(|(modified, _)| *modified > written);
            (written, newer.map(|(_, key)| (*key).clone()))
        }
        None => (times.iter().map(|(modified, _)| *modified).max().unwrap_or(i64::MIN), None),
    };
    let mut objects = Vec::new();
    let mut version = Sha256::new();
    for key in delivery.manifest.iter().chain(&delivery.keys) {
        let is_manifest = objects.is_empty() && delivery.manifest.is_some();
        let object = if is_manifest { hash_object(bucket, key) } else { pin_object(bucket, key) };
        let object = object?.ok_or_else(|| missing(key))?;
        if is_manifest && delivery.manifest_sha256.is_some_and(|found| found != object.sha256) {
            // The keys are an older manifest's: with this one they would be a mixture.
            return Err(SourceError::Moved { object: key.clone() });
        }
        version.update(format!("{}\t{}\t{}\n", object.key, object.bytes, hex(&object.sha256)));
        objects.push(object);
    }
    Ok(Pin { objects, version: hex(&version.finalize()), generation, newer_than_manifest })
}

/// Refuses a report that its status table says is being written. No lock, but AWS's word; anything else than
/// `UPDATING` is no reason to wait.
fn check_status(bucket: &dyn Bucket, key: &str) -> Result<(), SourceError> {
    let Some(file) = bucket.open(key)? else { return Ok(()) };
    let mut table = ParquetFile::open(key.into(), file)?;
    table.project(&vec![true; table.headers.len()])?;
    while let Some((_, rows, columns)) = table.next_batch()? {
        let updating = |cell: &[u8]| cell.trim_ascii().eq_ignore_ascii_case(b"UPDATING");
        if columns.iter().any(|cells| (0..rows).any(|row| updating(cells.get(row)))) {
            return Err(SourceError::NotReady { object: key.to_owned() });
        }
    }
    Ok(())
}
