use super::bucket::ObjectBucket;
use crate::storage::StorageError;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::sync::OnceLock;

/// The tag of a version that no object ever has.
const NO_VERSION: &str = "\"00000000000000000000000000000000\"";

/// Whether writes to a place can be made to depend on what is there.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Nobody else writes there, so the settings say: each look right before a write stands in for its condition.
    pub(super) single_writer: bool,
    proven: OnceLock<()>,
}

impl Conditions {
    pub(super) fn new(single_writer: bool) -> Self {
        Self { single_writer, proven: OnceLock::new() }
    }

    /// The mode of a write that depends on what is there, once that has been looked at.
    pub(super) fn mode(&self, conditional: PutMode) -> PutMode {
        if self.single_writer { PutMode::Overwrite } else { conditional }
    }
}

impl ObjectBucket {
    /// Tries two writes that must be refused, of the bytes that the object has.
    pub(super) fn prove(&self, key: &str, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        if self.conditions.single_writer || self.conditions.proven.get().is_some() {
            return Ok(());
        }
        let another = UpdateVersion { e_tag: Some(NO_VERSION.to_owned()), version: None };
        for (mode, condition) in [(PutMode::Create, "If-None-Match"), (PutMode::Update(another), "If-Match")]
        {
            let options = PutOptions { mode, ..PutOptions::default() };
            match self.network.wait(self.store.put_opts(path, PutPayload::from(bytes.to_vec()), options)) {
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                }
                Ok(_) => return Err(StorageError::Weak { place: self.place.clone(), condition }),
                Err(error) => return Err(self.failed(key, "trying the conditions of writes on", error)),
            }
        }
        let _ = self.conditions.proven.set(());
        Ok(())
    }
}
