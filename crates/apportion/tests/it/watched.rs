//! A bucket that remembers what was done to it, and can do something of its own right after.

use apportion_flow::storage::{Body, Bucket, Folder, ObjectInfo, Opened, Put, StorageError, Swap};
use std::sync::{Arc, Mutex};

/// What can be done to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    List,
    Info,
    Read,
    Open,
    Put,
    Swap,
}

type After = Box<dyn Fn(Done, &str) + Send + Sync>;

/// A folder that is watched.
pub struct Watched {
    folder: Folder,
    after: After,
    done: Mutex<Vec<(Done, String)>>,
}

impl Watched {
    /// Only remembers.
    pub fn new(folder: Folder) -> Arc<Self> {
        Self::with(folder, |_, _| {})
    }

    /// Does something after each operation, before its result is seen.
    pub fn with(folder: Folder, after: impl Fn(Done, &str) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { folder, after: Box::new(after), done: Mutex::default() })
    }

    /// The keys to which something was done, in order.
    pub fn keys(&self, what: Done) -> Vec<String> {
        let done = self.done.lock().unwrap();
        done.iter().filter(|(did, _)| *did == what).map(|(_, key)| key.clone()).collect()
    }

    /// How often something was done to keys that end so.
    pub fn count(&self, what: Done, end: &str) -> usize {
        self.keys(what).iter().filter(|key| key.ends_with(end)).count()
    }

    /// Forgets what was done.
    pub fn forget(&self) {
        self.done.lock().unwrap().clear();
    }

    fn did(&self, what: Done, key: &str) {
        self.done.lock().unwrap().push((what, key.to_owned()));
        (self.after)(what, key);
    }
}

impl Bucket for Watched {
    fn place(&self) -> String {
        self.folder.place()
    }
    fn bucket_name(&self) -> String {
        self.folder.bucket_name()
    }
    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        let result = self.folder.list();
        self.did(Done::List, "");
        result
    }
    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError> {
        let result = self.folder.info(key);
        self.did(Done::Info, key);
        result
    }
    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let result = self.folder.read(key, limit);
        self.did(Done::Read, key);
        result
    }
    fn open(&self, key: &str) -> Result<Option<Opened>, StorageError> {
        let result = self.folder.open(key);
        self.did(Done::Open, key);
        result
    }
    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        let result = self.folder.put_new(key, body);
        self.did(Done::Put, key);
        result
    }
    fn prove_conditions(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.folder.prove_conditions(key, bytes)
    }
    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError> {
        let result = self.folder.swap(key, seen, new);
        self.did(Done::Swap, key);
        result
    }
    fn delete(&self, key: &str) -> Result<bool, StorageError> {
        self.folder.delete(key)
    }
}
