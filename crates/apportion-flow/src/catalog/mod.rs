//! Catalog: which delivery is new, for whom, and under which name.
//!
//! What comes in: a pinned source version, a customer's settings, and the manifest that is live in its target. What
//! goes out: the assembly id, and whether there is anything to do. What it must never do: let anything into an
//! assembly id that changes no byte, or leave out what does.

use crate::outcome::Kind;
use crate::storage::{Bucket, StorageError, Swap, read_manifest};
use apportion_core::manifest::OwnManifest;
use apportion_core::proof::{
    CustomerProof, FORMAT_VERSION, Generation, MasterPointer, MasterProof, PeriodState, to_stored_json,
};
use apportion_model::AssemblyId;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The name of a delivery of ours: a hash of everything that decides its bytes, and of the format version.
pub fn assembly_id(inputs: &impl Serialize) -> AssemblyId {
    let mut hash = Sha256::new();
    hash.update(format!("apportion {FORMAT_VERSION}\n"));
    // Structs of texts, numbers and lists always have a JSON form.
    hash.update(serde_json::to_vec(inputs).unwrap_or_default());
    AssemblyId::from_hash(&hash.finalize().into())
}

/// What is live in a target for one export.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The manifest's bytes; None if there is none.
    pub bytes: Option<Vec<u8>>,
    /// The manifest, if it is one of ours that can be read.
    pub manifest: Option<OwnManifest>,
    /// The generation it stands for.
    pub generation: Option<Generation>,
}

/// Where an export stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is to be written.
    New,
    /// Exactly this is live already.
    Published,
    /// A newer source is live.
    Newer(Generation),
}

/// Why a target or the MSP's place can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A small object of ours that decides something can't be read; to take it for absent could undo a lock.
    #[error(
        "{place}/{key} isn't what apportion writes there ({problem}); put back what was there, or move it away"
    )]
    Unreadable {
        /// The MSP's place.
        place: String,
        /// Which object.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl CatalogError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::Unreadable { .. } => Kind::Limit,
        }
    }
}

/// Looks at what is live.
///
/// # Errors
/// A target that can't be read.
pub fn live(target: &dyn Bucket, manifest_key: &str, generation_key: &str) -> Result<Live, CatalogError> {
    let bytes = target.read(manifest_key, 64 << 20)?;
    let manifest = bytes.as_deref().and_then(|bytes| read_manifest(target, bytes).ok());
    let generation =
        target.read(generation_key, 1 << 16)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(Live { bytes, manifest, generation })
}

/// Rows and totals of the export that is live, for `plan` to compare with; None if there is none, or its proof
/// can't be read.
pub fn live_proof(target: &dyn Bucket, live: &Live) -> Option<CustomerProof> {
    let key = &live.manifest.as_ref()?.proof;
    let bytes = target.read(key, 256 << 20).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// What the MSP's place says is the newest master proof of a month; None if there is none that can be read.
///
/// # Errors
/// A place that can't be read.
pub fn master_pointer(msp: &dyn Bucket, key: &str) -> Result<Option<MasterPointer>, StorageError> {
    Ok(msp.read(key, 16 << 20)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A master proof; None if there is none of that key, or it can't be read.
///
/// # Errors
/// A place that can't be read.
pub fn master_proof(msp: &dyn Bucket, key: &str) -> Result<Option<MasterProof>, StorageError> {
    Ok(msp.read(key, 256 << 20)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// What the MSP has decided about a month, as it was seen.
#[derive(Debug, Clone, Default)]
pub struct SeenState {
    /// The object's bytes; None if there is none.
    pub bytes: Option<Vec<u8>>,
    /// What they say.
    pub state: Option<PeriodState>,
}

/// Reads a month's state.
///
/// # Errors
/// A place that can't be read, or a state that can't: it must not pass for none.
pub fn period_state(msp: &dyn Bucket, key: &str) -> Result<SeenState, CatalogError> {
    let Some(bytes) = msp.read(key, 1 << 16)? else { return Ok(SeenState::default()) };
    let state = serde_json::from_slice(&bytes).map_err(|error| CatalogError::Unreadable {
        place: msp.place(),
        key: key.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(SeenState { bytes: Some(bytes), state: Some(state) })
}

/// Gives a month another state, if it still has the one that was seen.
///
/// # Errors
/// A place that can't be written to.
pub fn set_period_state(
    msp: &dyn Bucket,
    key: &str,
    seen: &SeenState,
    state: &PeriodState,
) -> Result<Swap, CatalogError> {
    let new = to_stored_json(state);
    if seen.bytes.as_ref() == Some(&new) {
        return Ok(Swap::Done);
    }
    if let Some(seen) = &seen.bytes {
        msp.prove_conditions(key, seen)?;
    }
    Ok(msp.swap(key, seen.bytes.as_deref(), &new)?)
}

impl Live {
    /// Where an export of that name and source stands.
    pub fn standing(&self, assembly: &AssemblyId, source: &Generation) -> Standing {
        if self.manifest.as_ref().is_some_and(|manifest| manifest.assembly == *assembly)
            && self.generation.as_ref().is_some_and(|live| live.source_version == source.source_version)
        {
            return Standing::Published;
        }
        match &self.generation {
            // The same source under other settings is no step back.
            Some(live) if self.manifest.is_some() && live.is_newer_than(source) => {
                Standing::Newer(live.clone())
            }
            _ => Standing::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_never_goes_back_by_itself() {
        let text = apportion_core::manifest::write_own(&OwnManifest {
            assembly: AssemblyId::from_source("live"),
            account: apportion_model::AccountId::from_data("1"),
            report: apportion_model::ReportId::new("r").unwrap(),
            period: apportion_model::BillingPeriod::new(2026, 10).unwrap(),
            bucket: "b".into(),
            format: apportion_model::Format::CsvGz,
            columns: vec![],
            keys: vec![],
            proof: "p".into(),
        });
        let generation =
            |generation, version: &str| Generation { generation, source_version: version.into() };
        let live = Live {
            manifest: apportion_core::manifest::read_own(&text).ok(),
            bytes: Some(text),
            generation: Some(generation(5, "five")),
        };
        let standing =
            |id: &str, at, version| live.standing(&AssemblyId::from_source(id), &generation(at, version));
        assert_eq!(standing("live", 5, "five"), Standing::Published);
        assert_eq!(standing("other", 4, "four"), Standing::Newer(generation(5, "five")));
        assert_eq!(standing("other", 6, "six"), Standing::New);
        assert_eq!(standing("other", 4, "five"), Standing::New);
        assert_eq!(
            Live::default().standing(&AssemblyId::from_source("x"), &generation(0, "")),
            Standing::New
        );
    }
}
