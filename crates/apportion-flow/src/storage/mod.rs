//! Storage: buckets of object stores, and folders that stand for them.
//!
//! What comes in: keys and bytes. What goes out: objects that are there wholly or not at all. What it must never
//! do: overwrite a data object, normalise a key, or report an interrupted listing as a short one.

mod documents;
mod exam;
mod folder;
mod lease;
mod opened;
mod probe;
mod store;

pub use documents::{
    Document, DocumentError, Stored, Targets, delivered_periods, find_document, read_document, read_manifest,
};
pub use exam::{Exam, PARTS as EXAM_PARTS, examine};
pub use folder::Folder;
pub use lease::{Lease, LeaseError, LeaseSeen, Operator, take_lease, wait_for_lease};
pub use opened::{Opened, Version};
pub use probe::{Probed, probe};
pub use store::{
    BucketOwner, Folders, Network, ObjectBucket, PAYLOAD_BYTES, PlaceUrl, RoleOptions, Secret, StaticKeys,
    StoreOptions, Weather,
};

use crate::outcome::{Kind, kind_of_io};
use std::path::Path;

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key, relative to the place.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970: the order of source generations, and nothing else.
    pub modified: i64,
}

/// What a new object is made of.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This file's.
    File(&'a Path),
}

/// How a create-only put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Created,
    /// The same bytes were there already: an earlier run came this far.
    AlreadyThere,
}

/// How a compare-and-swap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The object now has the new bytes.
    Done,
    /// Somebody else changed it first; nothing was written.
    Lost,
}

/// Why a storage operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system said no.
    #[error("{place}/{key}: {doing}: {source}")]
    Io {
        /// The bucket or folder.
        place: String,
        /// Which object.
        key: String,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store, or the way to it, said no.
    #[error("{place}{}{key}: {doing}: {problem}", if key.is_empty() { "" } else { "/" })]
    Remote {
        /// The bucket.
        place: String,
        /// Which object; blank where it isn't about one.
        key: String,
        /// What was being done.
        doing: &'static str,
        /// What the store said, and what helps.
        problem: String,
        /// What sort of failure it is.
        kind: Kind,
    },
    /// The key must not be followed.
    #[error("{place}: {source}")]
    Key {
        /// The bucket or folder.
        place: String,
        /// Which key, and why.
        source: apportion_model::KeyError,
    },
    /// An object that must be new has other bytes already.
    #[error(
        "{place}/{key} exists with other bytes; it was changed after delivery, or another version of apportion wrote it. Move it away and run again"
    )]
    Divergent {
        /// The bucket or folder.
        place: String,
        /// Which object.
        key: String,
    },
    /// The store ignores the conditions that a safe commit stands on.
    #[error(
        "{place}: the store replaced an object that {condition} should have kept, so two runs at once could undo each other's manifests. No manifest was moved there. Deliver to a store that heeds conditional writes (AWS S3 does); or, if nothing but this one run ever writes there, say so with single_writer = true"
    )]
    Weak {
        /// The bucket.
        place: String,
        /// The header that was ignored.
        condition: &'static str,
    },
    /// An object is larger than anything of its sort.
    #[error("{place}/{key} has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The bucket or folder.
        place: String,
        /// Which object.
        key: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

impl StorageError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => kind_of_io(source),
            Self::Remote { kind, .. } => *kind,
            Self::Key { .. } | Self::TooLarge { .. } => Kind::Limit,
            Self::Divergent { .. } => Kind::Failed,
            Self::Weak { .. } => Kind::StoreTooWeak,
        }
    }
}

/// A place that holds objects by key. Every implementation passes the exam of [`examine`].
pub trait Bucket: Send + Sync {
    /// How people name the place.
    fn place(&self) -> String;

    /// The bucket's own name, as manifests carry it.
    fn bucket_name(&self) -> String;

    /// What stands before all its keys in the bucket: manifests name objects from the bucket's root, as their readers
    /// look for them. Blank for a whole bucket and for a folder, which stands for one.
    fn prefix(&self) -> &str {
        ""
    }

    /// All objects, in the order of their keys. Only to find manifests: what belongs to a delivery is never
    /// decided by a listing.
    ///
    /// # Errors
    /// Any part that can't be listed.
    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError>;

    /// The objects whose keys begin with `below`, which ends with a slash: some folder's. None is no failure.
    ///
    /// # Errors
    /// Any part that can't be listed.
    fn list_below(&self, below: &str) -> Result<Vec<ObjectInfo>, StorageError> {
        let mut found = self.list()?;
        found.retain(|object| object.key.starts_with(below));
        Ok(found)
    }

    /// What is known of an object; None if there is none.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError>;

    /// A small object's bytes; None if there is none.
    ///
    /// # Errors
    /// An object larger than `limit`, or one that can't be read.
    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError>;

    /// An object to read from any position; None if there is none. A store's is read in the one version that it has
    /// now: when it's replaced meanwhile, reading fails.
    ///
    /// # Errors
    /// Whatever keeps it from being opened.
    fn open(&self, key: &str) -> Result<Option<Opened>, StorageError>;

    /// Lets go of what is kept on the local disk for the next who opens the same: nobody will.
    fn forget_copies(&self) {}

    /// Puts an object that must be new. It appears wholly or not at all, and is on disk when this returns.
    ///
    /// # Errors
    /// An object of that key with other bytes, or a write that fails.
    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError>;

    /// Makes sure, once a run, that the store heeds the conditions of writes: by writes to an object of ours that must
    /// fail, and that change nothing where they don't, since they bring the very bytes that it has.
    ///
    /// # Errors
    /// A store that doesn't, or can't be asked.
    fn prove_conditions(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Replaces an object if it still has the bytes that were seen (None: if there is still none).
    ///
    /// # Errors
    /// A write that fails; then the object is as it was.
    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError>;

    /// Deletes an object, for garbage collection alone; false if there is none, which is no failure.
    ///
    /// # Errors
    /// An object that can't be deleted; then it is as it was.
    fn delete(&self, key: &str) -> Result<bool, StorageError>;
}
