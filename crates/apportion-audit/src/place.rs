//! Places: where a source, a target, or what is the MSP's own lies.
//!
//! What comes in: keys. What goes out: the bytes of objects, each in one version, and which keys there are. What it must
//! never do: decode or judge what it reads, or pass two versions of an object off as one.

use apportion_model::ObjectKey;
use std::fmt::{self, Debug};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Deeper than any report lies.
const DEEPEST: usize = 24;

/// Something that holds objects by key. The auditor has folders of its own; who calls it brings anything else.
pub trait Place: Debug + Send + Sync {
    /// How people name it.
    fn name(&self) -> String;

    /// The bucket's name, as manifests carry it; None where it has no name.
    fn bucket(&self) -> Option<String>;

    /// What stands before all its keys where manifests name them: blank, or with a slash at its end.
    fn prefix(&self) -> String {
        String::new()
    }

    /// All keys that begin with `below`, in their order. It is blank, or ends with a slash; then none is no error.
    ///
    /// # Errors
    /// Any part that can't be listed.
    fn list(&self, below: &str) -> Result<Vec<String>, PlaceError>;

    /// An object, in the version that it has now; None if there is none.
    ///
    /// # Errors
    /// Whatever keeps it from being opened.
    fn open(&self, key: &str) -> Result<Option<Box<dyn Object>>, PlaceError>;

    /// A small object's bytes, all of one version; None if there is none.
    ///
    /// # Errors
    /// [`PlaceErrorKind::Limit`] if it has more bytes than `limit`; whatever keeps it from being read.
    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, PlaceError>;

    /// Lets go of whatever is kept of what was read: it won't be read again soon.
    fn forget(&self) {}
}

/// An object that was opened: from any position it gives the bytes of one and the same version, or an error.
pub trait Object: Send + Sync {
    /// Its size in bytes.
    fn bytes(&self) -> u64;

    /// What the version that was opened is called; None where a place has no such names, as folders haven't.
    fn version(&self) -> Option<String>;

    /// Reads some bytes, at least one unless `at` is the end.
    ///
    /// # Errors
    /// [`PlaceErrorKind::Moved`] if there is another version by now; whatever keeps it from being read.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<usize, PlaceError>;
}

/// Which sort of failure of a place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceErrorKind {
    /// The place itself isn't there.
    NotFound,
    /// Another version took the place of the one that was opened.
    Moved,
    /// Credentials or permissions don't suffice.
    Permission,
    /// The place is reached in a wrong way, which a person must mend.
    Settings,
    /// More bytes than may be, or a key that can't be followed.
    Limit,
    /// The caller asked to stop.
    Interrupted,
    /// The way to the place failed, which says nothing of the object.
    Unreachable,
    /// This object can't be read, although its place can.
    Unreadable,
}

/// Why a place, or an object of it, can't be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct PlaceError {
    /// Which sort.
    pub kind: PlaceErrorKind,
    /// One sentence that names the place, the object if it is about one, and the cause.
    pub text: String,
}

impl PlaceError {
    /// Whether it keeps the auditor from judging, instead of being a defect of what is judged.
    pub(crate) fn is_obstacle(&self) -> bool {
        self.kind != PlaceErrorKind::Unreadable
    }

    fn of_system(place: &Path, key: &str, cause: &io::Error) -> Self {
        let kind = match cause.kind() {
            ErrorKind::PermissionDenied => PlaceErrorKind::Permission,
            _ => PlaceErrorKind::Unreadable,
        };
        let path = if key.is_empty() { place.to_owned() } else { place.join(key) };
        Self { kind, text: format!("{} can't be read: {cause}", path.display()) }
    }
}

/// A folder that is laid out as a bucket would be.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// A folder, which needn't be there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn failed(&self, key: &str) -> impl Fn(io::Error) -> PlaceError {
        move |cause| PlaceError::of_system(&self.root, key, &cause)
    }

    fn path(&self, key: &str) -> Result<PathBuf, PlaceError> {
        let refused = |cause: apportion_model::KeyError| PlaceError {
            kind: PlaceErrorKind::Limit,
            text: format!("{}: {cause}", self.root.display()),
        };
        ObjectKey::check_relative(key).map_err(refused)?;
        Ok(self.root.join(key))
    }

    fn file(&self, key: &str) -> Result<Option<(File, u64)>, PlaceError> {
        let file = match File::open(self.path(key)?) {
            Ok(file) => file,
            Err(cause) if is_absent(&cause) => return Ok(None),
            Err(cause) => return Err(self.failed(key)(cause)),
        };
        let about = file.metadata().map_err(self.failed(key))?;
        Ok(about.is_file().then_some((file, about.len())))
    }

    fn walk(&self, folder: &Path, key: &str, depth: usize, keys: &mut Vec<String>) -> Result<(), PlaceError> {
        if depth > DEEPEST {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder).map_err(self.failed(key))? {
            let entry = entry.map_err(self.failed(key))?;
            // A name that isn't UTF-8 can't be a key that a manifest names.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = if key.is_empty() { name } else { format!("{key}/{name}") };
            let kind = entry.file_type().map_err(self.failed(&key))?;
            if kind.is_dir() {
                self.walk(&entry.path(), &key, depth + 1, keys)?;
            } else if kind.is_file() || entry.path().is_file() {
                keys.push(key);
            }
        }
        Ok(())
    }
}

fn is_absent(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl Place for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn bucket(&self) -> Option<String> {
        let own = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        // A path such as `.` has no name of its own.
        own.or_else(|| {
            let whole = self.root.canonicalize().ok()?;
            whole.file_name().map(|name| name.to_string_lossy().into_owned())
        })
    }

    fn list(&self, below: &str) -> Result<Vec<String>, PlaceError> {
        let key = below.trim_end_matches('/');
        let folder = if key.is_empty() { self.root.clone() } else { self.path(key)? };
        match std::fs::metadata(&folder) {
            Ok(about) if about.is_dir() || key.is_empty() => {}
            Ok(_) => return Ok(Vec::new()),
            Err(cause) if is_absent(&cause) && !key.is_empty() => return Ok(Vec::new()),
            Err(cause) if is_absent(&cause) => {
                let text = format!("{} isn't there", self.root.display());
                return Err(PlaceError { kind: PlaceErrorKind::NotFound, text });
            }
            Err(cause) => return Err(self.failed(key)(cause)),
        }
        let mut keys = Vec::new();
        self.walk(&folder, key, 0, &mut keys)?;
        keys.sort();
        Ok(keys)
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Object>>, PlaceError> {
        let Some((file, bytes)) = self.file(key)? else { return Ok(None) };
        Ok(Some(Box::new(OpenFile { file, bytes, root: self.root.clone(), key: key.to_owned() })))
    }

    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, PlaceError> {
        let Some((file, _)) = self.file(key)? else { return Ok(None) };
        let mut content = Vec::new();
        let most = limit.saturating_add(1);
        let read = file.take(most).read_to_end(&mut content).map_err(self.failed(key))?;
        if read as u64 > limit {
            let path = self.root.join(key);
            let text = format!("{} has more than {limit} bytes", path.display());
            return Err(PlaceError { kind: PlaceErrorKind::Limit, text });
        }
        Ok(Some(content))
    }
}

struct OpenFile {
    file: File,
    bytes: u64,
    root: PathBuf,
    key: String,
}

impl Object for OpenFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn version(&self) -> Option<String> {
        None
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<usize, PlaceError> {
        self.file.read_at(buffer, at).map_err(|cause| PlaceError::of_system(&self.root, &self.key, &cause))
    }
}

impl Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFile({})", self.root.join(&self.key).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_what_lies_below_it_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("own/a/b")).unwrap();
        std::fs::write(place.path().join("own/a/x"), "12345").unwrap();
        std::fs::write(place.path().join("own/a/b/y"), "").unwrap();
        std::fs::write(place.path().join("own/a.z"), "").unwrap();
        std::fs::write(place.path().join("outside"), "no").unwrap();
        let folder = Folder::new(place.path().join("own"));
        assert_eq!(folder.bucket().unwrap(), "own");
        assert_eq!(folder.list("").unwrap(), ["a.z", "a/b/y", "a/x"]);
        assert_eq!(folder.list("a/").unwrap(), ["a/b/y", "a/x"]);
        assert_eq!(folder.list("none/").unwrap(), Vec::<String>::new());
        assert_eq!(folder.list("a.z/").unwrap(), Vec::<String>::new());
        assert_eq!(folder.read("a/x", 5).unwrap().unwrap(), b"12345");
        assert_eq!(folder.read("a/x", 4).unwrap_err().kind, PlaceErrorKind::Limit);
        assert!(folder.read("none", 5).unwrap().is_none() && folder.open("a.z/none").unwrap().is_none());
        // A folder is no object.
        assert!(folder.open("a").unwrap().is_none());
        assert_eq!(folder.open("../outside").err().unwrap().kind, PlaceErrorKind::Limit);
        let object = folder.open("a/x").unwrap().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(
            (object.bytes(), object.read_at(3, &mut buffer).unwrap(), &buffer[..2]),
            (5, 2, &b"45"[..])
        );
        assert_eq!(object.read_at(5, &mut buffer).unwrap(), 0);
        let missing = Folder::new(place.path().join("none")).list("").unwrap_err();
        assert_eq!(missing.kind, PlaceErrorKind::NotFound);
    }
}
