use super::{Bucket, StorageError};
use crate::outcome::Kind;
use apportion_core::manifest::{ManifestError, OwnManifest, read_own};
use apportion_core::proof::{CustomerProof, MasterPointer, MasterProof, PeriodState};
use apportion_model::{AccountId, BillingPeriod, CustomerId, ObjectKey, SourceName};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Our own small objects: what is larger is none of ours.
const DOCUMENT_LIMIT: u64 = 256 << 20;

/// One of our documents as it lies in its place.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// What it says.
    pub value: T,
    /// Its bytes, for a compare-and-swap.
    pub bytes: Vec<u8>,
}

/// Why one of our documents can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The place failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It isn't there.
    #[error("{place}/{key} isn't there")]
    Missing {
        /// The bucket or folder.
        place: String,
        /// Which object.
        key: String,
    },
    /// It is something else.
    #[error("{place}/{key} is not what it must be: {problem}")]
    Unreadable {
        /// The bucket or folder.
        place: String,
        /// Which object.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No proof was ever put.
    #[error(
        "{place} holds no master proof{of}: nothing was delivered with this MSP's place yet, or it is another one"
    )]
    Nothing {
        /// The bucket or folder.
        place: String,
        /// Of which sources and months, and which there are.
        of: String,
    },
}

impl DocumentError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::Missing { .. } | Self::Nothing { .. } => Kind::NotFound,
            Self::Unreadable { .. } => Kind::Limit,
        }
    }
}

/// Something that apportion writes as JSON.
pub trait Stored: DeserializeOwned {}
impl Stored for MasterPointer {}
impl Stored for MasterProof {}
impl Stored for CustomerProof {}
impl Stored for PeriodState {}

/// Reads one of our documents; None if it isn't there.
///
/// # Errors
/// A place that can't be read, or another text.
pub fn find_document<T: Stored>(
    bucket: &dyn Bucket,
    key: &str,
) -> Result<Option<Document<T>>, DocumentError> {
    let Some(bytes) = bucket.read(key, DOCUMENT_LIMIT)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(Document { value, bytes })),
        Err(error) => Err(DocumentError::Unreadable {
            place: bucket.place(),
            key: key.to_owned(),
            problem: error.to_string(),
        }),
    }
}

/// Reads a manifest of ours, whose keys are relative to the place then.
///
/// # Errors
/// A text that isn't one.
pub fn read_manifest(bucket: &dyn Bucket, bytes: &[u8]) -> Result<OwnManifest, ManifestError> {
    Ok(read_own(bytes)?.below(bucket.prefix()))
}

/// Reads one of our documents, which must be there.
///
/// # Errors
/// A place that can't be read, no such object, or another text.
pub fn read_document<T: Stored>(bucket: &dyn Bucket, key: &str) -> Result<Document<T>, DocumentError> {
    find_document(bucket, key)?
        .ok_or_else(|| DocumentError::Missing { place: bucket.place(), key: key.to_owned() })
}

/// The sources and months of which the MSP's place holds master proofs, found by their pointers. The listing finds
/// pointers and nothing else.
///
/// # Errors
/// A place that can't be listed, or one without the sources and months that are asked for.
pub fn delivered_periods(
    msp: &dyn Bucket,
    sources: &[SourceName],
    periods: Option<&[BillingPeriod]>,
) -> Result<Vec<(SourceName, BillingPeriod)>, DocumentError> {
    let found: Vec<(SourceName, BillingPeriod)> =
        msp.list()?.iter().filter_map(|object| ObjectKey::read_master_pointer(&object.key)).collect();
    let chosen: Vec<_> = found
        .iter()
        .filter(|(source, period)| {
            sources.contains(source) && periods.is_none_or(|periods| periods.contains(period))
        })
        .cloned()
        .collect();
    let missing: Vec<String> = periods
        .unwrap_or_default()
        .iter()
        .filter(|period| !chosen.iter().any(|(_, found)| found == *period))
        .map(|period| period.month_text())
        .collect();
    if !chosen.is_empty() && missing.is_empty() {
        return Ok(chosen);
    }
    let there: Vec<String> =
        found.iter().map(|(source, period)| format!("{} of source {source}", period.month_text())).collect();
    let mut of = String::new();
    if !missing.is_empty() {
        of = format!(" of {}", missing.join(", "));
    }
    if !there.is_empty() {
        of = format!("{of} (it has {})", there.join(", "));
    }
    Err(DocumentError::Nothing { place: msp.place(), of })
}

/// Where the exports of customers lie: by customer, and by linked account where each has a place of its own.
#[derive(Clone, Default)]
pub struct Targets {
    places: Vec<(CustomerId, Option<AccountId>, Arc<dyn Bucket>)>,
}

impl Targets {
    /// Adds a place: of one linked account, or (None) of all exports of the customer.
    pub fn add(&mut self, customer: CustomerId, linked: Option<AccountId>, place: Arc<dyn Bucket>) {
        self.places.push((customer, linked, place));
    }

    /// The place of an export; None if the settings name none.
    pub fn find(&self, customer: &CustomerId, linked: Option<&AccountId>) -> Option<&Arc<dyn Bucket>> {
        let mut own = self.places.iter().filter(|(id, ..)| id == customer);
        own.find(|(_, account, _)| account.is_none() || account.as_ref() == linked).map(|(.., place)| place)
    }
}
