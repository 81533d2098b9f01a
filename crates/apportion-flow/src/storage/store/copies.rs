use super::network::Network;
use super::remembered::Remembered;
use crate::outcome::Carried;
use crate::storage::StorageError;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What is fetched at once.
const BLOCK: u64 = 4 << 20;
/// Blocks that are fetched ahead of one who reads on.
const AHEAD: u64 = 2;
/// Copies that are kept for the next who opens the same version, in bytes and in number.
const KEPT_BYTES: u64 = 2 << 30;
const KEPT: usize = 64;

/// A version of an object, of which what was read lies on the local disk: fetched block by block, each only in this
/// version (`If-Match`), the next ones ahead of the reader. So a file can be read from any position, its footer without
/// the rest, and nothing twice.
pub(in crate::storage) struct LocalCopy {
    pub(super) origin: Origin,
    file: File,
    blocks: Mutex<Vec<Block>>,
    changed: Condvar,
    gone: AtomicBool,
}

/// Where the bytes come from.
pub(super) struct Origin {
    pub(super) network: Arc<Network>,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    /// None where the store has no tags.
    pub(super) etag: Option<String>,
    pub(super) bytes: u64,
    pub(super) remembered: Arc<Remembered>,
    /// Tells an error as the bucket does.
    pub(super) error: Box<dyn Fn(object_store::Error) -> StorageError + Send + Sync>,
}

#[derive(Debug)]
enum Block {
    Missing,
    Coming,
    Here,
    Failed(io::Error),
}

impl fmt::Debug for LocalCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalCopy({} in version {:?})", self.origin.path, self.origin.etag)
    }
}

impl LocalCopy {
    pub(super) fn new(origin: Origin) -> io::Result<Self> {
        let folder = &origin.network.folders.copies;
        std::fs::create_dir_all(folder)?;
        let file = tempfile::tempfile_in(folder)?;
        let blocks = (0..origin.bytes.div_ceil(BLOCK)).map(|_| Block::Missing).collect();
        Ok(Self {
            origin,
            file,
            blocks: Mutex::new(blocks),
            changed: Condvar::new(),
            gone: AtomicBool::new(false),
        })
    }

    pub(in crate::storage) fn bytes(&self) -> u64 {
        self.origin.bytes
    }

    /// SHA-256 of this version, if it was once read to its end.
    pub(in crate::storage) fn known_sha256(&self) -> Option<[u8; 32]> {
        let origin = &self.origin;
        origin.remembered.find(origin.path.as_ref(), origin.etag.as_deref()?, origin.bytes)
    }

    /// Remembers SHA-256 of this version.
    pub(in crate::storage) fn remember_sha256(&self, sha256: [u8; 32]) {
        if let Some(etag) = self.origin.etag.as_deref() {
            self.origin.remembered.add(self.origin.path.as_ref(), etag, self.origin.bytes, sha256);
        }
    }

    /// What the store calls this version.
    pub(in crate::storage) fn tag(&self) -> Option<&str> {
        self.origin.etag.as_deref()
    }

    /// Whether the store has another version by now.
    pub(in crate::storage) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn blocks(&self) -> MutexGuard<'_, Vec<Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads some bytes, at least one unless `at` is the end.
    pub(in crate::storage) fn read_at(self: &Arc<Self>, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if at >= self.origin.bytes || buffer.is_empty() {
            return Ok(0);
        }
        let number = at / BLOCK;
        self.have(number)?;
        let end = ((number + 1) * BLOCK).min(self.origin.bytes);
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let (part, _) = buffer.split_at_mut(most);
        self.file.read_exact_at(part, at)?;
        Ok(most)
    }

    /// Waits until a block is here.
    fn have(self: &Arc<Self>, number: u64) -> io::Result<()> {
        let mut blocks = self.blocks();
        // Whoever comes from the block before reads on.
        let place = number as usize;
        let reads_on =
            place.checked_sub(1).is_some_and(|before| matches!(blocks.get(before), Some(Block::Here)));
        let last = if reads_on { number + AHEAD } else { number };
        for wanted in number..=last {
            if let Some(block @ Block::Missing) = blocks.get_mut(wanted as usize) {
                *block = Block::Coming;
                self.fetch(wanted);
            }
        }
        loop {
            match blocks.get_mut(place) {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Block::Here) => return Ok(()),
                Some(block @ Block::Failed(_)) => {
                    return match std::mem::replace(block, Block::Missing) {
                        Block::Failed(error) => Err(error),
                        _ => Ok(()),
                    };
                }
                // Another one waited for it and was told why it failed.
                Some(block @ Block::Missing) => {
                    *block = Block::Coming;
                    self.fetch(number);
                }
                Some(Block::Coming) => {}
            }
            blocks = self.changed.wait(blocks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fetch(self: &Arc<Self>, number: u64) {
        let copy = Arc::clone(self);
        self.origin.network.start(async move {
            let fetched = copy.fetched(number).await;
            let fetched = fetched.and_then(|bytes| copy.file.write_all_at(&bytes, number * BLOCK));
            let mut blocks = copy.blocks();
            if let Some(block) = blocks.get_mut(number as usize) {
                *block = match fetched {
                    Ok(()) => Block::Here,
                    Err(error) => Block::Failed(error),
                };
            }
            copy.changed.notify_all();
        });
    }

    async fn fetched(&self, number: u64) -> io::Result<Bytes> {
        let origin = &self.origin;
        let range = number * BLOCK..((number + 1) * BLOCK).min(origin.bytes);
        let length = range.end - range.start;
        let options = GetOptions {
            if_match: origin.etag.clone(),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let got = async { origin.store.get_opts(&origin.path, options).await?.bytes().await };
        let bytes = got.await.map_err(|error| {
            let kind = match &error {
                // Another version than the one that was opened.
                object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. } => {
                    self.gone.store(true, Ordering::Relaxed);
                    io::ErrorKind::StaleNetworkFileHandle
                }
                _ => io::ErrorKind::Other,
            };
            let error = (origin.error)(error);
            io::Error::new(kind, Carried { kind: error.kind(), text: error.to_string() })
        })?;
        if bytes.len() as u64 != length {
            let problem = format!("{}: {} bytes came where {length} are due", origin.path, bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        Ok(bytes)
    }
}

/// The copies of a place's objects that were opened last.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<VecDeque<Arc<LocalCopy>>>);

impl Copies {
    /// The copy of exactly this version, if one is kept.
    pub(super) fn find(&self, path: &Path, etag: Option<&str>, bytes: u64) -> Option<Arc<LocalCopy>> {
        etag?;
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |copy: &Arc<LocalCopy>| {
            let origin = &copy.origin;
            origin.path == *path && origin.etag.as_deref() == etag && origin.bytes == bytes
        };
        let place = copies.iter().position(is_it)?;
        let copy = copies.remove(place)?;
        copies.push_back(Arc::clone(&copy));
        Some(copy)
    }

    /// Keeps none any longer.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps a copy; those that weren't opened for longest go.
    pub(super) fn keep(&self, copy: &Arc<LocalCopy>) {
        if copy.bytes() > KEPT_BYTES {
            return;
        }
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|other| other.origin.path != copy.origin.path);
        copies.push_back(Arc::clone(copy));
        while copies.len() > KEPT || copies.iter().map(|copy| copy.bytes()).sum::<u64>() > KEPT_BYTES {
            copies.pop_front();
        }
    }
}
