use super::conditions::Conditions;
use super::copies::{Copies, LocalCopy, Origin};
use super::network::Network;
use super::remembered::Remembered;
use super::upload::New;
use super::wire::{BodyLimit, Trouble};
use crate::digest::{hex, sha256_of};
use crate::outcome::Kind;
use crate::plant;
use crate::storage::{Body, Bucket, ObjectInfo, Opened, Put, StorageError, Swap};
use futures_core::Stream;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;

/// The most bytes that go in one request, and are in memory for it; larger files go in parts of this size.
pub const PAYLOAD_BYTES: u64 = 16 << 20;

/// A small object's bytes, and the tag of the version that they are.
type Tagged = (Vec<u8>, Option<String>);

/// A bucket of an object store, or what lies below a prefix in it.
pub struct ObjectBucket {
    pub(super) network: Arc<Network>,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) place: String,
    pub(super) bucket: String,
    /// Empty, or with a slash at its end.
    pub(super) prefix: String,
    pub(super) part_bytes: u64,
    pub(super) copies: Copies,
    remembered: Arc<Remembered>,
    pub(super) conditions: Conditions,
}

impl fmt::Debug for ObjectBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectBucket({})", self.place)
    }
}

impl ObjectBucket {
    pub(super) fn new(
        network: Arc<Network>,
        store: Arc<dyn ObjectStore>,
        place: String,
        bucket: String,
        prefix: String,
        remembered: Remembered,
    ) -> Self {
        let remembered = Arc::new(remembered);
        Self {
            network,
            store,
            place,
            bucket,
            prefix,
            part_bytes: PAYLOAD_BYTES,
            copies: Copies::default(),
            remembered,
            conditions: Conditions::default(),
        }
    }

    /// A store in the memory of this process, for tests.
    pub fn in_memory(network: Arc<Network>) -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self::new(
            network,
            store,
            "memory".to_owned(),
            "memory".to_owned(),
            String::new(),
            Remembered::default(),
        )
    }

    /// The same with other parts: a store may want them larger, a test smaller.
    #[must_use]
    pub fn with_part_bytes(self, part_bytes: u64) -> Self {
        Self { part_bytes, ..self }
    }

    /// The same, where the settings say that nobody else ever writes.
    pub(super) fn with_single_writer(self, single_writer: bool) -> Self {
        Self { conditions: Conditions::new(single_writer), ..self }
    }

    fn path(&self, key: &str) -> Result<Path, StorageError> {
        let refused = |source| StorageError::Key { place: self.place.clone(), source };
        apportion_model::ObjectKey::check_relative(key).map_err(refused)?;
        let whole = format!("{}{key}", self.prefix);
        apportion_model::ObjectKey::check_relative(&whole).map_err(refused)?;
        let path = Path::parse(&whole).map_err(|error| self.failed(key, "naming", error.into()))?;
        Ok(path)
    }

    /// An error of the store's, in words for people.
    pub(super) fn failed(&self, key: &str, doing: &'static str, error: object_store::Error) -> StorageError {
        failed(&self.place, key, doing, &error)
    }

    /// An error of the local disk's.
    pub(super) fn local(&self, key: &str, doing: &'static str) -> impl FnOnce(io::Error) -> StorageError {
        let (place, key) = (self.place.clone(), key.to_owned());
        move |source| StorageError::Io { place, key, doing, source }
    }

    /// What the store knows of an object.
    pub(super) fn head(&self, key: &str, path: &Path) -> Result<Option<ObjectMeta>, StorageError> {
        match self.network.wait(self.store.head(path)) {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(key, "looking at", error)),
        }
    }

    pub(super) fn open_path(&self, key: &str, path: &Path) -> Result<Option<Opened>, StorageError> {
        let Some(meta) = self.head(key, path)? else { return Ok(None) };
        if let Some(copy) = self.copies.find(path, meta.e_tag.as_deref(), meta.size) {
            return Ok(Some(Opened::copy(copy)));
        }
        let (place, name) = (self.place.clone(), key.to_owned());
        let origin = Origin {
            network: Arc::clone(&self.network),
            store: Arc::clone(&self.store),
            path: path.clone(),
            etag: meta.e_tag,
            bytes: meta.size,
            remembered: Arc::clone(&self.remembered),
            error: Box::new(move |error| failed(&place, &name, "reading", &error)),
        };
        let copy = LocalCopy::new(origin).map_err(self.local(key, "making a local copy of"))?;
        let copy = Arc::new(copy);
        self.copies.keep(&copy);
        Ok(Some(Opened::copy(copy)))
    }

    /// A small object with its tag.
    fn read_tagged(&self, key: &str, path: &Path, limit: u64) -> Result<Option<Tagged>, StorageError> {
        let mut options = GetOptions::default();
        options.extensions.insert(BodyLimit(limit));
        let got = self.network.wait(async {
            let got = self.store.get_opts(path, options).await?;
            let meta = got.meta.clone();
            let bytes = if meta.size > limit { None } else { Some(got.bytes().await?) };
            Ok((meta, bytes))
        });
        match got {
            Ok((meta, Some(bytes))) => Ok(Some((bytes.to_vec(), meta.e_tag))),
            Ok((meta, None)) => Err(StorageError::TooLarge {
                place: self.place.clone(),
                key: key.to_owned(),
                bytes: meta.size,
                limit,
            }),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(key, "reading", error)),
        }
    }

    fn info_of(&self, meta: &ObjectMeta) -> Option<ObjectInfo> {
        let key = meta.location.as_ref().strip_prefix(&self.prefix)?.to_owned();
        // Whole seconds: a listing may know more digits than the object's own header.
        let modified = meta.last_modified.timestamp().saturating_mul(1000);
        Some(ObjectInfo { key, bytes: meta.size, modified })
    }

    async fn list_all(&self, below: &str) -> object_store::Result<Vec<ObjectMeta>> {
        let prefix = Path::parse(format!("{}{below}", self.prefix))?;
        let mut stream = pin!(self.store.list(Some(&prefix)));
        let mut found = Vec::new();
        while let Some(meta) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
            found.push(meta?);
        }
        Ok(found)
    }
}

/// Says what went wrong: what the wire found, or what the store's library did.
fn failed(place: &str, key: &str, doing: &'static str, error: &object_store::Error) -> StorageError {
    let (mut problem, mut kind) = (error.to_string(), kind_of(error));
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            (problem, kind) = (trouble.to_string(), trouble.kind);
            break;
        }
        source = error.source();
    }
    if let object_store::Error::InvalidPath { source } = error {
        problem = format!(
            "a key can't be read: {source}. Such keys (with '//', or a '/' at an end) are left alone below other prefixes: name one, as s3://BUCKET/PREFIX, or copy the objects"
        );
    }
    if let object_store::Error::Precondition { .. } = error {
        problem = "it was replaced meanwhile".to_owned();
    }
    StorageError::Remote { place: place.to_owned(), key: key.to_owned(), doing, problem, kind }
}

fn kind_of(error: &object_store::Error) -> Kind {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Kind::NotFound,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Kind::Permission,
        E::NotImplemented { .. } | E::NotSupported { .. } => Kind::StoreTooWeak,
        E::InvalidPath { .. } => Kind::Limit,
        E::Precondition { .. } => Kind::SourceMoved,
        _ => Kind::Failed,
    }
}

impl Bucket for ObjectBucket {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn bucket_name(&self) -> String {
        self.bucket.clone()
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        self.list_below("")
    }

    fn list_below(&self, below: &str) -> Result<Vec<ObjectInfo>, StorageError> {
        let found = self.network.wait(self.list_all(below));
        let found = found.map_err(|error| self.failed(below, "listing", error))?;
        let mut infos: Vec<ObjectInfo> = found.iter().filter_map(|meta| self.info_of(meta)).collect();
        infos.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(infos)
    }

    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError> {
        let path = self.path(key)?;
        Ok(self.head(key, &path)?.and_then(|meta| self.info_of(&meta)))
    }

    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path(key)?;
        Ok(self.read_tagged(key, &path, limit)?.map(|(bytes, _)| bytes))
    }

    fn open(&self, key: &str) -> Result<Option<Opened>, StorageError> {
        let path = self.path(key)?;
        self.open_path(key, &path)
    }

    fn forget_copies(&self) {
        self.copies.forget();
    }

    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        let path = self.path(key)?;
        match body {
            Body::Bytes(bytes) => {
                let (sha256, length) = sha256_of(bytes).map_err(self.local(key, "hashing"))?;
                let new = New { key, path: &path, sha256: &hex(&sha256), bytes: length };
                self.put_whole(&new, bytes.to_vec())
            }
            Body::File(from) => {
                const DOING: &str = "reading the spooled file of";
                let open = || File::open(from).map_err(self.local(key, DOING));
                let (sha256, length) = sha256_of(open()?).map_err(self.local(key, DOING))?;
                let new = New { key, path: &path, sha256: &hex(&sha256), bytes: length };
                if length > self.part_bytes {
                    return self.put_parts(&new, open()?);
                }
                self.put_whole(&new, std::fs::read(from).map_err(self.local(key, DOING))?)
            }
        }
    }

    fn prove_conditions(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.prove(key, &self.path(key)?, bytes)
    }

    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError> {
        let path = self.path(key)?;
        // One byte more than was seen is enough to know that it isn't what was seen.
        let limit = seen.map_or(0, |seen| seen.len() as u64);
        let mode = match seen {
            None if self.conditions.single_writer && self.head(key, &path)?.is_some() => {
                return Ok(Swap::Lost);
            }
            None => PutMode::Create,
            Some(seen) => match self.read_tagged(key, &path, limit) {
                Ok(Some((now, etag))) if now == seen => {
                    PutMode::Update(UpdateVersion { e_tag: etag, version: None })
                }
                Ok(_) | Err(StorageError::TooLarge { .. }) => return Ok(Swap::Lost),
                Err(error) => return Err(error),
            },
        };
        plant::write_point();
        let options = PutOptions { mode: self.conditions.mode(mode), ..PutOptions::default() };
        match self.network.wait(self.store.put_opts(&path, PutPayload::from(new.to_vec()), options)) {
            Ok(_) => Ok(Swap::Done),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                // Lost, unless the first try came through and only its answer didn't.
                match self.read_tagged(key, &path, new.len() as u64) {
                    Ok(Some((now, _))) if now == new => Ok(Swap::Done),
                    Ok(_) | Err(StorageError::TooLarge { .. }) => Ok(Swap::Lost),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(self.failed(key, "replacing", error)),
        }
    }

    fn delete(&self, key: &str) -> Result<bool, StorageError> {
        let path = self.path(key)?;
        if self.head(key, &path)?.is_none() {
            return Ok(false);
        }
        plant::write_point();
        match self.network.wait(self.store.delete(&path)) {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(key, "deleting", error)),
        }
    }
}
