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
    /// A newer source became live since the plan was made.
    #[error("{place}/{manifest} stands for a newer version of the source by now; it stays")]
    Older {
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
            Self::Older { .. } => Kind::SourceMoved,
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
    /// The generation that was live when the plan was made. Only this one may be newer: the plan knew of it.
    pub seen_generation: Option<&'a Generation>,
}

/// How often a generation is put in the place of others that come in between.
const TRIES: u32 = 8;

/// Whether a newer source than that of a generation is live.
///
/// # Errors
/// A target that can't be read.
pub fn is_newer_live(target: &dyn Bucket, key: &str, than: &Generation) -> Result<bool, StorageError> {
    let live = target.read(key, 1 << 16)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(live.is_some_and(|live: Generation| live.is_newer_than(than)))
}

/// Makes a manifest the live one: the commit of an export.
///
/// # Errors
/// Somebody else's manifest in its place, a newer source that became live meanwhile, a store that would not have minded
/// either, or a target that fails.
pub fn commit(target: &dyn Bucket, commit: &Commit<'_>) -> Result<(), PublishError> {
    target.prove_conditions(commit.assembly_manifest, commit.bytes)?;
    let raced = || PublishError::Raced { place: target.place(), manifest: commit.manifest.to_owned() };
    if put_generation(target, commit)? == Swap::Lost {
        return Err(raced());
    }
    match target.swap(commit.manifest, commit.seen, commit.bytes)? {
        Swap::Done => Ok(()),
        // Another run of the same delivery came first: the same bytes are the same commit.
        Swap::Lost if target.read(commit.manifest, 64 << 20)?.as_deref() == Some(commit.bytes) => Ok(()),
        Swap::Lost => Err(raced()),
    }
}

/// Writes the generation beside the manifest, before it. Whoever comes with an older source must stop here: the swap
/// of the manifest would fail, but by then the newer manifest would lie beside an older generation, and the next run
/// of an old source would go back behind it.
fn put_generation(target: &dyn Bucket, commit: &Commit<'_>) -> Result<Swap, PublishError> {
    let mut text = serde_json::to_vec(commit.generation).unwrap_or_default();
    text.push(b'\n');
    for _ in 0..TRIES {
        let seen = target.read(commit.generation_key, 1 << 16)?;
        if seen.as_deref() == Some(text.as_slice()) {
            return Ok(Swap::Done);
        }
        let live: Option<Generation> = seen.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        if live.as_ref().is_some_and(|live| live.is_newer_than(commit.generation))
            && live.as_ref() != commit.seen_generation
        {
            let (place, manifest) = (target.place(), commit.manifest.to_owned());
            return Err(PublishError::Older { place, manifest });
        }
        if target.swap(commit.generation_key, seen.as_deref(), &text)? == Swap::Done {
            return Ok(Swap::Done);
        }
    }
    Ok(Swap::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Folder;

    #[test]
    fn a_commit_that_comes_late_leaves_the_newer_generation() {
        let place = tempfile::tempdir().unwrap();
        let target = Folder::new(place.path());
        let [old, middle, new] = [(1, "old"), (2, "middle"), (3, "new")]
            .map(|(generation, version)| Generation { generation, source_version: version.to_owned() });
        let commit = |seen: Option<&Generation>, generation: &Generation| {
            let bytes = |generation: &Generation| generation.source_version.clone().into_bytes();
            let (seen_bytes, bytes) = (seen.map(bytes), bytes(generation));
            commit(
                &target,
                &Commit {
                    manifest: "m",
                    seen: seen_bytes.as_deref(),
                    bytes: &bytes,
                    assembly_manifest: "a/m",
                    generation_key: ".g",
                    generation,
                    seen_generation: seen,
                },
            )
        };
        commit(None, &old).unwrap();
        // Both were planned when the old one was live.
        commit(Some(&old), &new).unwrap();
        let late = commit(Some(&old), &middle);
        assert!(matches!(late, Err(PublishError::Older { .. })), "{late:?}");
        assert!(is_newer_live(&target, ".g", &middle).unwrap());
        assert_eq!(target.read("m", 9).unwrap().unwrap(), b"new");
        // Who moved the manifest away means to go back.
        target.delete("m").unwrap();
        let back = Commit {
            manifest: "m",
            seen: None,
            bytes: b"middle",
            assembly_manifest: "a/m",
            generation_key: ".g",
            generation: &middle,
            seen_generation: Some(&new),
        };
        super::commit(&target, &back).unwrap();
        assert!(!is_newer_live(&target, ".g", &middle).unwrap());
    }
}
