//! Places for the auditor. Folders it reads by its own code; the bytes of buckets come to it the way that deliveries' do.
//! What they are, it decides alone.

use crate::settings;
use apportion_audit::{Folder, Object, Place, PlaceError, PlaceErrorKind};
use apportion_flow::outcome::{Carried, Kind, kind_of_io};
use apportion_flow::run::SourceRequest;
use apportion_flow::storage::{Bucket, Opened, StorageError};
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The place of the settings, which has been opened.
pub(super) fn place(named: &settings::Place, opened: &Arc<dyn Bucket>) -> Arc<dyn Place> {
    match named.folder() {
        Some(folder) => Arc::new(Folder::new(folder)),
        None => Arc::new(InBucket(Arc::clone(opened))),
    }
}

/// The source's place, and which object of it the source is if it is one alone.
pub(super) fn source(named: &settings::Place, request: &SourceRequest) -> (Arc<dyn Place>, Option<String>) {
    match (named.folder(), &request.object) {
        (Some(file), Some(object)) => {
            let folder = file.parent().filter(|parent| *parent != Path::new(""));
            (Arc::new(Folder::new(folder.unwrap_or(Path::new(".")))), Some(object.clone()))
        }
        _ => (place(named, &request.bucket), request.object.clone()),
    }
}

/// A bucket, or what lies below a prefix in it.
struct InBucket(Arc<dyn Bucket>);

impl fmt::Debug for InBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InBucket({})", self.0.place())
    }
}

impl Place for InBucket {
    fn name(&self) -> String {
        self.0.place()
    }

    fn bucket(&self) -> Option<String> {
        Some(self.0.bucket_name())
    }

    fn prefix(&self) -> String {
        self.0.prefix().to_owned()
    }

    fn list(&self, below: &str) -> Result<Vec<String>, PlaceError> {
        let found = if below.is_empty() { self.0.list() } else { self.0.list_below(below) };
        Ok(found.map_err(failed)?.into_iter().map(|object| object.key).collect())
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Object>>, PlaceError> {
        let Some(opened) = self.0.open(key).map_err(failed)? else { return Ok(None) };
        let name = format!("{}/{key}", self.0.place());
        let bytes = opened.size().map_err(|error| unreadable(&name, &error))?;
        Ok(Some(Box::new(InBucketObject { name, bytes, opened: Mutex::new(opened) })))
    }

    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, PlaceError> {
        self.0.read(key, limit).map_err(failed)
    }

    fn forget(&self) {
        self.0.forget_copies();
    }
}

/// An object of a bucket, in one version.
struct InBucketObject {
    name: String,
    bytes: u64,
    opened: Mutex<Opened>,
}

impl Object for InBucketObject {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn version(&self) -> Option<String> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.version().tag().map(|tag| format!("{tag} of {} bytes", self.bytes))
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<usize, PlaceError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let read = opened.seek(SeekFrom::Start(at)).and_then(|_| opened.read(buffer));
        read.map_err(|error| {
            let error = unreadable(&self.name, &error);
            if opened.version().is_gone() {
                PlaceError { kind: PlaceErrorKind::Moved, ..error }
            } else {
                error
            }
        })
    }
}

fn failed(error: StorageError) -> PlaceError {
    PlaceError { kind: kind_of(error.kind()), text: error.to_string() }
}

fn unreadable(name: &str, error: &io::Error) -> PlaceError {
    let carried = error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>());
    let text = carried.map_or_else(|| format!("{name}: reading: {error}"), |carried| carried.text.clone());
    PlaceError { kind: kind_of(kind_of_io(error)), text }
}

fn kind_of(kind: Kind) -> PlaceErrorKind {
    match kind {
        Kind::NotFound => PlaceErrorKind::NotFound,
        Kind::SourceMoved => PlaceErrorKind::Moved,
        Kind::Permission => PlaceErrorKind::Permission,
        Kind::Usage => PlaceErrorKind::Settings,
        Kind::Limit => PlaceErrorKind::Limit,
        Kind::Interrupted => PlaceErrorKind::Interrupted,
        // Whatever else is wrong is wrong with the way: a store can't know whether its objects can be read.
        Kind::Failed | Kind::Unbalanced | Kind::StoreTooWeak | Kind::Held => PlaceErrorKind::Unreachable,
    }
}
