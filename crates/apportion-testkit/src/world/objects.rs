use super::reader::Table;
use apportion_model::ObjectKey;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use tempfile::{Builder, NamedTempFile, TempPath};

/// Bytes, with what was found out about them: whoever asks again, in whichever run, isn't kept waiting.
#[derive(Debug)]
pub struct Content {
    bytes: Vec<u8>,
    sha256: [u8; 32],
    hex: String,
    file: OnceLock<TempPath>,
    json: OnceLock<Option<serde_json::Value>>,
    table: OnceLock<Result<Table, String>>,
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their SHA-256.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The same as lower-case hex digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    pub(super) fn json(&self) -> Option<&serde_json::Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.bytes).ok()).as_ref()
    }

    pub(super) fn table(&self) -> Result<&Table, String> {
        self.table.get_or_init(|| Table::of(&self.bytes)).as_ref().map_err(Clone::clone)
    }

    /// A file of these bytes, at their beginning.
    pub(super) fn open(&self) -> io::Result<File> {
        if self.file.get().is_none() {
            let mut file = temporary()?;
            file.write_all(&self.bytes)?;
            // Another thread may have been quicker; then this file goes.
            let _ = self.file.set(file.into_temp_path());
        }
        File::open(self.file.get().ok_or(io::ErrorKind::NotFound)?)
    }
}

/// In memory where the system has such a place.
fn temporary() -> io::Result<NamedTempFile> {
    let memory = Path::new("/dev/shm");
    let builder = Builder::new().prefix("apportion-world-").to_owned();
    if memory.is_dir() { builder.tempfile_in(memory) } else { builder.tempfile() }
}

/// Every content that was ever put, once: ten thousand runs put the same few bytes.
#[derive(Debug, Clone, Default)]
pub struct Library(Arc<Mutex<HashMap<[u8; 32], Arc<Content>>>>);

impl Library {
    /// The content of these bytes.
    pub fn content(&self, bytes: Vec<u8>) -> Arc<Content> {
        let sha256: [u8; 32] = Sha256::digest(&bytes).into();
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let made = || {
            let (file, json, table) = Default::default();
            let hex = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            Arc::new(Content { bytes, sha256, hex, file, json, table })
        };
        Arc::clone(known.entry(sha256).or_insert_with(made))
    }
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub content: Arc<Content>,
    /// When it was written, in milliseconds since 1970.
    pub modified: i64,
}

/// All buckets, and the clock of the stores. A clone costs a few pointers per object.
#[derive(Debug, Clone)]
pub struct State {
    library: Library,
    buckets: BTreeMap<String, Arc<BTreeMap<String, Object>>>,
    clock: i64,
    data_puts: u64,
}

impl Default for State {
    fn default() -> Self {
        // A day in 2026: the exam wants a plausible one.
        Self { library: Library::default(), buckets: BTreeMap::new(), clock: 1_780_000_000_000, data_puts: 0 }
    }
}

impl State {
    /// Puts an object with a time, whatever is there.
    pub fn put_at(&mut self, bucket: &str, key: &str, bytes: Vec<u8>, modified: i64) {
        let content = self.library.content(bytes);
        self.objects_mut(bucket).insert(key.to_owned(), Object { content, modified });
    }

    /// Gives a bucket what another has: the whole of it, or what a key names.
    pub fn copy(&mut self, from: &str, to: &str, key: Option<&str>) {
        match key {
            None => {
                let whole = self.buckets.get(from).cloned().unwrap_or_default();
                self.buckets.insert(to.to_owned(), whole);
            }
            Some(key) => {
                if let Some(object) = self.get(from, key).cloned() {
                    self.objects_mut(to).insert(key.to_owned(), object);
                }
            }
        }
    }

    /// An object.
    pub fn get(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.get(key)
    }

    /// The objects of a bucket, in the order of their keys.
    pub fn objects(&self, bucket: &str) -> impl Iterator<Item = (&String, &Object)> {
        self.buckets.get(bucket).into_iter().flat_map(|objects| objects.iter())
    }

    /// Their keys.
    pub fn keys_of(&self, bucket: &str) -> Vec<String> {
        self.objects(bucket).map(|(key, _)| key.clone()).collect()
    }

    /// Bucket and key of every object of some buckets, with SHA-256 of its bytes; but for what tells of runs.
    pub fn digest(&self, buckets: &[&str]) -> BTreeMap<(String, String), [u8; 32]> {
        let digest = |bucket: &&str| {
            let bucket = (*bucket).to_owned();
            self.objects(&bucket)
                .filter(|(key, _)| !ObjectKey::tells_of_runs(key))
                .map(|(key, object)| ((bucket.clone(), key.clone()), *object.content.sha256()))
                .collect::<Vec<_>>()
        };
        buckets.iter().flat_map(digest).collect()
    }

    pub(super) fn put(&mut self, bucket: &str, key: &str, bytes: Vec<u8>) {
        self.clock += 1;
        let modified = self.clock;
        self.put_at(bucket, key, bytes, modified);
    }

    /// Which put of a data file this is.
    pub(super) fn count_data_put(&mut self) -> u64 {
        self.data_puts += 1;
        self.data_puts
    }

    pub(super) fn remove(&mut self, bucket: &str, key: &str) -> bool {
        self.get(bucket, key).is_some() && self.objects_mut(bucket).remove(key).is_some()
    }

    fn objects_mut(&mut self, bucket: &str) -> &mut BTreeMap<String, Object> {
        Arc::make_mut(self.buckets.entry(bucket.to_owned()).or_default())
    }
}
