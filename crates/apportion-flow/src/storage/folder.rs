use super::{Body, Bucket, ObjectInfo, Opened, Put, StorageError, Swap};
use crate::plant::{self, Plant};
use apportion_model::ObjectKey;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A folder that is laid out as a bucket would be.
///
/// A new object is written beside its place under a name that begins with a dot, synced, and linked to its name,
/// which fails if the name is taken. A manifest is replaced by rename, under a lock on its folder. A crash leaves
/// at most a dot file, which the next run of the same delivery overwrites.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// A folder, which needn't exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        ObjectKey::check_relative(key).map_err(|source| StorageError::Key { place: self.place(), source })?;
        Ok(self.root.join(key))
    }

    fn error(&self, key: &str, doing: &'static str) -> impl FnOnce(io::Error) -> StorageError {
        let (place, key) = (self.place(), key.to_owned());
        move |source| StorageError::Io { place, key, doing, source }
    }

    fn walk(&self, folder: &Path, found: &mut Vec<ObjectInfo>) -> Result<(), StorageError> {
        let name = folder.strip_prefix(&self.root).unwrap_or(folder).to_string_lossy().into_owned();
        let entries = fs::read_dir(folder).map_err(self.error(&name, "listing"))?;
        for entry in entries {
            let entry = entry.map_err(self.error(&name, "listing"))?;
            let path = entry.path();
            // Follows symbolic links, so that a folder of links to reports works.
            let meta = fs::metadata(&path).map_err(self.error(&path.to_string_lossy(), "looking at"))?;
            if meta.is_dir() {
                self.walk(&path, found)?;
            } else if meta.is_file()
                && let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str)
            {
                found.push(ObjectInfo { key: key.to_owned(), bytes: meta.len(), modified: modified(&meta) });
            }
        }
        Ok(())
    }

    /// Writes a dot file beside `path`, synced. A write that fails takes its dot file with it.
    fn write_beside(&self, path: &Path, key: &str, body: Body<'_>) -> Result<PathBuf, StorageError> {
        let parent = path.parent().unwrap_or(&self.root);
        plant::write_point();
        fs::create_dir_all(parent).map_err(self.error(key, "making the folder of"))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = parent.join(format!(".{name}.partial"));
        match self.write_synced(&beside, key, body) {
            Ok(()) => Ok(beside),
            Err(error) => {
                // What failed is told; that the rest of it can't be removed would say nothing more.
                let _ = fs::remove_file(&beside);
                Err(error)
            }
        }
    }

    fn write_synced(&self, path: &Path, key: &str, body: Body<'_>) -> Result<(), StorageError> {
        plant::write_point();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)
            .map_err(self.error(key, "writing"))?;
        plant::write_point();
        match body {
            Body::Bytes(bytes) => file.write_all(bytes).map_err(self.error(key, "writing"))?,
            Body::File(from) => {
                let mut from = File::open(from).map_err(self.error(key, "reading the spooled file of"))?;
                io::copy(&mut from, &mut file).map_err(self.error(key, "writing"))?;
            }
        }
        plant::write_point();
        file.sync_all().map_err(self.error(key, "syncing"))
    }

    fn sync_parent(&self, path: &Path, key: &str) -> Result<(), StorageError> {
        let parent = path.parent().unwrap_or(&self.root);
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .map_err(self.error(key, "syncing the folder of"))
    }

    /// Holds other writers of the same folder off until the file is dropped.
    fn lock(&self, path: &Path, key: &str) -> Result<File, StorageError> {
        let parent = path.parent().unwrap_or(&self.root);
        plant::write_point();
        let make_and_open = || fs::create_dir_all(parent).and_then(|()| File::open(parent));
        // A delete of the folder's last object may take the folder away in between; then it is made again.
        let folder = make_and_open()
            .or_else(|error| if is_absent(&error) { make_and_open() } else { Err(error) })
            .map_err(self.error(key, "making the folder of"))?;
        folder.lock().map_err(self.error(key, "locking the folder of"))?;
        Ok(folder)
    }
}

impl Bucket for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn bucket_name(&self) -> String {
        self.root.file_name().map_or_else(|| "folder".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        let mut found = Vec::new();
        self.walk(&self.root, &mut found)?;
        found.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(found)
    }

    fn list_below(&self, below: &str) -> Result<Vec<ObjectInfo>, StorageError> {
        let folder = self.path(below.trim_end_matches('/'))?;
        let mut found = Vec::new();
        if folder.is_dir() {
            self.walk(&folder, &mut found)?;
        }
        found.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(found)
    }

    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError> {
        match fs::metadata(self.path(key)?) {
            Ok(meta) if meta.is_file() => {
                Ok(Some(ObjectInfo { key: key.to_owned(), bytes: meta.len(), modified: modified(&meta) }))
            }
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.error(key, "looking at")(error)),
        }
    }

    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(file) = self.open(key)? else { return Ok(None) };
        let bytes = file.size().map_err(self.error(key, "looking at"))?;
        if bytes > limit {
            return Err(StorageError::TooLarge { place: self.place(), key: key.to_owned(), bytes, limit });
        }
        let mut content = Vec::with_capacity(bytes as usize);
        file.take(limit).read_to_end(&mut content).map_err(self.error(key, "reading"))?;
        Ok(Some(content))
    }

    fn open(&self, key: &str) -> Result<Option<Opened>, StorageError> {
        match File::open(self.path(key)?) {
            Ok(file) => Ok(Some(file.into())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.error(key, "opening")(error)),
        }
    }

    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        let path = self.path(key)?;
        let _lock = self.lock(&path, key)?;
        if path.exists() {
            return self.compare(&path, key, body);
        }
        let beside = self.write_beside(&path, key, body)?;
        plant::write_point();
        // A link fails where a rename would overwrite. The lock and the look above stand in for it on file
        // systems without links.
        match fs::hard_link(&beside, &path) {
            Ok(()) => {
                plant::write_point();
                fs::remove_file(&beside).map_err(self.error(key, "tidying up"))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return self.compare(&path, key, body);
            }
            Err(_) => fs::rename(&beside, &path).map_err(self.error(key, "naming"))?,
        }
        self.sync_parent(&path, key)?;
        Ok(Put::Created)
    }

    /// A folder's conditions are its own locks.
    fn prove_conditions(&self, _: &str, _: &[u8]) -> Result<(), StorageError> {
        Ok(())
    }

    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError> {
        let path = self.path(key)?;
        let _lock = self.lock(&path, key)?;
        let now = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(self.error(key, "reading")(error)),
        };
        if now.as_deref() != seen && !plant::is_planted(Plant::StoreWeak) {
            return Ok(Swap::Lost);
        }
        let beside = self.write_beside(&path, key, Body::Bytes(new))?;
        plant::write_point();
        fs::rename(&beside, &path).map_err(self.error(key, "naming"))?;
        self.sync_parent(&path, key)?;
        Ok(Swap::Done)
    }

    fn delete(&self, key: &str) -> Result<bool, StorageError> {
        let path = self.path(key)?;
        let parent = path.parent().unwrap_or(&self.root);
        let folder = match File::open(parent) {
            Ok(folder) => folder,
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(self.error(key, "opening the folder of")(error)),
        };
        folder.lock().map_err(self.error(key, "locking the folder of"))?;
        // What a run that died left of the same object would keep the folder from being empty for ever.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        remove_if_there(&path.with_file_name(format!(".{name}.partial")))
            .map_err(self.error(key, "deleting"))?;
        let deleted = path.is_file() && remove_if_there(&path).map_err(self.error(key, "deleting"))?;
        folder.sync_all().map_err(self.error(key, "syncing the folder of"))?;
        if parent != self.root {
            plant::write_point();
            // An assembly's folder goes with its last object. One that holds anything stays, and that is no failure.
            let _ = fs::remove_dir(parent);
        }
        Ok(deleted)
    }
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    plant::write_point();
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Folder {
    /// Whether an object that is there already has exactly the bytes that were to be put.
    fn compare(&self, path: &Path, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        let same = match body {
            Body::Bytes(bytes) => fs::read(path).map(|now| now == bytes),
            Body::File(from) => same_content(path, from),
        };
        if same.map_err(self.error(key, "comparing"))? {
            // An earlier run may have died between the link and the removal.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let beside = path.with_file_name(format!(".{name}.partial"));
            if beside.exists() {
                plant::write_point();
                fs::remove_file(&beside).map_err(self.error(key, "tidying up"))?;
            }
            Ok(Put::AlreadyThere)
        } else {
            Err(StorageError::Divergent { place: self.place(), key: key.to_owned() })
        }
    }
}

fn same_content(left: &Path, right: &Path) -> io::Result<bool> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = left.read(&mut one)?;
        if read == 0 {
            return Ok(true);
        }
        right.read_exact(&mut other[..read])?;
        if one[..read] != other[..read] {
            return Ok(false);
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn modified(meta: &fs::Metadata) -> i64 {
    let time = meta.modified().unwrap_or(UNIX_EPOCH);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}
