//! Publish: data first, proof next, the manifest last, and only after the ledger balanced.
//!
//! What comes in: checked files and finished proofs. What goes out: objects in one customer's target. What it must
//! never do: overwrite a data object, move a manifest to an older source unless a rollback asks for it, or know of more
//! than one customer.
//!
//! The order (ARCHITECTURE.md, "The commit protocol"): each data file is put create-only under a new assembly id;
//! then the proof; then, by compare-and-swap, the one mutable object. A crash at any point leaves the old manifest
//! valid; the next run finds the same assembly id and the same bytes, and goes on.

use crate::outcome::Kind;
use crate::plant::{Plant, is_planted};
use crate::storage::{Body, Bucket, Put, StorageError, Swap};
use apportion_core::proof::Generation;
use std::path::Path;

/// Why an export couldn't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The target failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The manifest changed since the plan was made.
    #[error(
        "{place}/{manifest} was changed by somebody else during this run; nothing was replaced. Run again"
    )]
    Raced {
        /// The target.
        place: String,
        /// The manifest's key.
        manifest: String,
    },
}

impl PublishError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::Raced { .. } => Kind::Failed,
        }
    }
}

/// Puts a checked data file.
///
/// # Errors
/// An object of that key with other bytes, or a target that fails.
pub fn put_data(target: &dyn Bucket, key: &str, file: &Path) -> Result<Put, PublishError> {
    if is_planted(Plant::PublishCut) {
        let bytes = std::fs::read(file).unwrap_or_default();
        return Ok(target.put_new(key, Body::Bytes(&bytes[..bytes.len() / 2]))?);
    }
    Ok(target.put_new(key, Body::File(file))?)
}

/// Puts a proof or another small object that must be new.
///
/// # Errors
/// An object of that key with other bytes, or a target that fails.
pub fn put_small(target: &dyn Bucket, key: &str, bytes: &[u8]) -> Result<Put, PublishError> {
    Ok(target.put_new(key, Body::Bytes(bytes))?)
}

/// Gives a small mutable object new bytes, unless it has them already; lost if somebody else changes it meanwhile.
///
/// # Errors
/// A target that fails.
pub fn replace(target: &dyn Bucket, key: &str, new: &[u8]) -> Result<Swap, PublishError> {
    // A month that is delivered every day has a pointer with many entries.
    let seen = target.read(key, 16 << 20)?;
    if seen.as_deref() == Some(new) { Ok(Swap::Done) } else { Ok(target.swap(key, seen.as_deref(), new)?) }
}

/// A manifest ready to become the live one.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The manifest's key.
    pub manifest: &'a str,
    /// Its bytes when the plan was made; None if there was none.
    pub seen: Option<&'a [u8]>,
    /// Its new bytes.
    pub bytes: &'a [u8],
    /// The key of the assembly's own manifest, which is there already and has the same bytes.
    pub assembly_manifest: &'a str,
    /// The key of its generation.
    pub generation_key: &'a str,
    /// The generation it stands for.
    pub generation: &'a Generation,
}

/// Makes a manifest the live one: the commit of an export.
///
/// # Errors
/// Somebody else's manifest in its place, a store that would not have minded it, or a target that fails.
pub fn commit(target: &dyn Bucket, commit: &Commit<'_>) -> Result<(), PublishError> {
    target.prove_conditions(commit.assembly_manifest, commit.bytes)?;
    let mut text = serde_json::to_vec(commit.generation).unwrap_or_default();
    text.push(b'\n');
    let raced = || PublishError::Raced { place: target.place(), manifest: commit.manifest.to_owned() };
    if replace(target, commit.generation_key, &text)? == Swap::Lost {
        return Err(raced());
    }
    match target.swap(commit.manifest, commit.seen, commit.bytes)? {
        Swap::Done => Ok(()),
        // Another run of the same delivery came first: the same bytes are the same commit.
        Swap::Lost if target.read(commit.manifest, 64 << 20)?.as_deref() == Some(commit.bytes) => Ok(()),
        Swap::Lost => Err(raced()),
    }
}
