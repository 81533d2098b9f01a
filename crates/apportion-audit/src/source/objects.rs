//! The objects of a source, each in one version as long as the audit lasts.
//!
//! What comes in: keys. What goes out: objects, in the version in which they were opened first. What it must never do: give
//! another version without a word.

use super::ReadObject;
use crate::error::AuditError;
use crate::hashes::Fingerprint;
use crate::opened::Opened;
use crate::place::{Place, PlaceError, PlaceErrorKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// More than any manifest has.
const LARGEST_MANIFEST: u64 = 256 << 20;

/// A source's place, with the versions of its objects that were seen.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    place: Arc<dyn Place>,
    seen: Rc<RefCell<HashMap<String, String>>>,
}

impl Objects {
    pub(crate) fn new(place: &Arc<dyn Place>) -> Self {
        Self { place: Arc::clone(place), seen: Rc::default() }
    }

    /// Every key, in their order.
    pub(super) fn list(&self) -> Result<Vec<String>, AuditError> {
        Ok(self.place.list("")?)
    }

    /// Whether there is such an object.
    pub(super) fn has(&self, key: &str) -> Result<bool, AuditError> {
        Ok(self.find(key)?.is_some())
    }

    /// Opens an object that was there before.
    pub(crate) fn open(&self, key: &str) -> Result<Opened, AuditError> {
        self.find(key)?.ok_or_else(|| self.moved(key, "isn't there any more"))
    }

    fn find(&self, key: &str) -> Result<Option<Opened>, AuditError> {
        let Some(object) = self.place.open(key)? else { return Ok(None) };
        if let Some(version) = object.version() {
            let mut seen = self.seen.borrow_mut();
            let first = seen.entry(key.to_owned()).or_insert_with(|| version.clone());
            if *first != version {
                return Err(self.moved(key, "was replaced while it was audited"));
            }
        }
        Ok(Some(Opened::new(object)))
    }

    /// A manifest's bytes.
    pub(super) fn manifest(&self, key: &str) -> Result<Vec<u8>, AuditError> {
        let bytes = self.place.read(key, LARGEST_MANIFEST)?;
        bytes.ok_or_else(|| self.moved(key, "isn't there any more"))
    }

    /// Looks whether a manifest still is what it was.
    pub(super) fn check_still(&self, manifest: &ReadObject) -> Result<(), AuditError> {
        if Fingerprint::of(&self.manifest(&manifest.key)?) == manifest.fingerprint {
            return Ok(());
        }
        Err(self.moved(&manifest.key, "was replaced while its data were read"))
    }

    fn moved(&self, key: &str, what: &str) -> AuditError {
        let text = format!("{}/{key} {what}", self.place.name());
        PlaceError { kind: PlaceErrorKind::Moved, text }.into()
    }

    /// Lets go of what is kept of objects that were read.
    pub(crate) fn forget(&self) {
        self.place.forget();
    }
}
