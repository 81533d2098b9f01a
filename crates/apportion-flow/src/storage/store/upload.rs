use super::bucket::ObjectBucket;
use crate::digest::{hex, sha256_of};
use crate::plant;
use crate::storage::{Put, StorageError};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// Under which name an object's SHA-256 travels with it: stores tell no checksum of the whole by themselves.
const SHA256: &str = "sha256";
/// How often it is looked again whether an object that is said to be there is.
const LOOKS: u32 = 5;

fn attributes(sha256: &str) -> Attributes {
    [(Attribute::Metadata(SHA256.into()), sha256.to_owned())].into_iter().collect()
}

/// A new object: where, and what it must be.
pub(super) struct New<'a> {
    pub(super) key: &'a str,
    pub(super) path: &'a Path,
    pub(super) sha256: &'a str,
    pub(super) bytes: u64,
}

impl ObjectBucket {
    /// Puts a new object in one request.
    pub(super) fn put_whole(&self, new: &New<'_>, content: Vec<u8>) -> Result<Put, StorageError> {
        if self.conditions.single_writer && self.head(new.key, new.path)?.is_some() {
            return self.compare(new);
        }
        plant::write_point();
        let mode = self.conditions.mode(PutMode::Create);
        let options = PutOptions { mode, attributes: attributes(new.sha256), ..PutOptions::default() };
        let put = self.network.wait(self.store.put_opts(new.path, PutPayload::from(content), options));
        match put {
            Ok(_) => Ok(Put::Created),
            // Also when the first try came through and its answer didn't.
            Err(object_store::Error::AlreadyExists { .. }) => self.compare(new),
            Err(error) => Err(self.failed(new.key, "putting", error)),
        }
    }

    /// Puts a new object in parts, of which one is in memory. What was begun and can't be finished is taken back.
    pub(super) fn put_parts(&self, new: &New<'_>, mut file: File) -> Result<Put, StorageError> {
        if self.head(new.key, new.path)?.is_some() {
            return self.compare(new);
        }
        plant::write_point();
        let options = PutMultipartOptions { attributes: attributes(new.sha256), ..Default::default() };
        let begun = self.network.wait(self.store.put_multipart_opts(new.path, options));
        let mut upload = begun.map_err(|error| self.failed(new.key, "beginning to put", error))?;
        let mut ended = Ok(());
        loop {
            let mut part = Vec::new();
            let read = file.by_ref().take(self.part_bytes).read_to_end(&mut part);
            ended = match read {
                Ok(0) => break,
                Ok(_) => {
                    plant::write_point();
                    let put = self.network.wait(upload.put_part(PutPayload::from(part)));
                    put.map_err(|error| self.failed(new.key, "putting a part of", error))
                }
                Err(error) => Err(self.local(new.key, "reading the spooled file of")(error)),
            };
            if ended.is_err() {
                break;
            }
        }
        if ended.is_ok() {
            plant::write_point();
            match self.network.wait(upload.complete()) {
                Ok(_) => return Ok(Put::Created),
                Err(error) => ended = Err(self.failed(new.key, "completing", error)),
            }
        }
        // What failed is told; a store that can't take the parts back drops them by its lifecycle rule.
        let _ = self.network.wait(upload.abort());
        // Somebody else may have been first, or the completion came through and its answer didn't.
        match self.head(new.key, new.path) {
            Ok(Some(_)) => self.compare(new),
            _ => ended.map(|()| Put::Created),
        }
    }

    /// Whether an object that is there already has exactly the bytes that were to be put.
    fn compare(&self, new: &New<'_>) -> Result<Put, StorageError> {
        for look in 0..LOOKS {
            let options = GetOptions { head: true, ..GetOptions::default() };
            match self.network.wait(self.store.get_opts(new.path, options)) {
                Ok(found) => {
                    let told = found.attributes.get(&Attribute::Metadata(SHA256.into()));
                    let is_same = found.meta.size == new.bytes
                        && match told {
                            Some(told) => **told == *new.sha256,
                            None => self.content_digest(new)?.as_deref() == Some(new.sha256),
                        };
                    return if is_same {
                        Ok(Put::AlreadyThere)
                    } else {
                        Err(StorageError::Divergent { place: self.place.clone(), key: new.key.to_owned() })
                    };
                }
                // Two writers at once: the store refuses one before the other's object is there.
                Err(object_store::Error::NotFound { .. }) => {
                    std::thread::sleep(Duration::from_millis(100 << look));
                }
                Err(error) => return Err(self.failed(new.key, "looking at", error)),
            }
        }
        Err(StorageError::Remote {
            place: self.place.clone(),
            key: new.key.to_owned(),
            doing: "putting",
            problem: "the store says that it is there already, and doesn't show it. Run again".to_owned(),
            kind: crate::outcome::Kind::Failed,
        })
    }

    /// The hash of an object that didn't bring one along.
    fn content_digest(&self, new: &New<'_>) -> Result<Option<String>, StorageError> {
        let Some(opened) = self.open_path(new.key, new.path)? else { return Ok(None) };
        let (sha256, _) = sha256_of(opened).map_err(self.local(new.key, "comparing"))?;
        Ok(Some(hex(&sha256)))
    }
}
