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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::AuditErrorKind;
    use crate::place::Object;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// One object, of which each opening finds the next version; and a manifest that is another one each time.
    #[derive(Debug, Default)]
    struct Restless(AtomicU64);

    impl Object for u64 {
        fn bytes(&self) -> u64 {
            1
        }

        fn version(&self) -> Option<String> {
            Some(self.to_string())
        }

        fn read_at(&self, _: u64, _: &mut [u8]) -> Result<usize, PlaceError> {
            Ok(0)
        }
    }

    impl Place for Restless {
        fn name(&self) -> String {
            "s3://restless".into()
        }

        fn bucket(&self) -> Option<String> {
            None
        }

        fn list(&self, _: &str) -> Result<Vec<String>, PlaceError> {
            Ok(Vec::new())
        }

        fn open(&self, key: &str) -> Result<Option<Box<dyn Object>>, PlaceError> {
            let version = self.0.fetch_add(1, Ordering::Relaxed) / 2;
            Ok((key == "a").then(|| Box::new(version) as Box<dyn Object>))
        }

        fn read(&self, _: &str, _: u64) -> Result<Option<Vec<u8>>, PlaceError> {
            Ok(Some(self.0.fetch_add(1, Ordering::Relaxed).to_string().into_bytes()))
        }
    }

    #[test]
    fn another_version_than_the_first_is_an_error() {
        let place: Arc<dyn Place> = Arc::new(Restless::default());
        let objects = Objects::new(&place);
        assert!(objects.open("a").is_ok() && objects.open("a").is_ok());
        let error = objects.open("a").err().unwrap();
        assert_eq!(error.kind(), AuditErrorKind::SourceNotReady);
        assert!(
            error.to_string().starts_with("s3://restless/a was replaced while it was audited. "),
            "{error}"
        );
        assert_eq!(objects.open("b").err().unwrap().kind(), AuditErrorKind::SourceNotReady);
        assert!(!objects.has("b").unwrap());
        let fingerprint = Fingerprint::of(&objects.manifest("m").unwrap());
        let manifest = ReadObject { key: "m".into(), fingerprint, rows: 0 };
        let error = objects.check_still(&manifest).unwrap_err();
        assert!(
            error.to_string().starts_with("s3://restless/m was replaced while its data were read. "),
            "{error}"
        );
    }
}
