use crate::digest::hex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file of what is remembered that is larger begins anew.
const MOST_BYTES: u64 = 64 << 20;

/// A version of an object: its path in the bucket, its tag, its size.
type Version = (String, String, u64);

/// SHA-256 of versions of objects that were read to their end, so that an object which hasn't changed needn't be fetched
/// to know what it is. A cache: without it everything is fetched, and what is wrong in it is found when the object is
/// read.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    known: Mutex<HashMap<Version, [u8; 32]>>,
    /// Where it outlives the run, a line for each version.
    file: Option<PathBuf>,
}

impl Remembered {
    /// What is remembered of a bucket in a folder; for this run only, without one.
    pub(super) fn load(folder: Option<&Path>, endpoint: &str, bucket: &str) -> Self {
        let Some(folder) = folder else { return Self::default() };
        // Buckets of two hosts may have one name.
        let host = hex(&Sha256::digest(endpoint)[..8]);
        let file = folder.join(format!("versions-{bucket}-{host}.jsonl"));
        let mut text = String::new();
        let opened = File::open(&file).map(|file| file.take(MOST_BYTES + 1));
        let read = opened.and_then(|mut file| file.read_to_string(&mut text));
        if read.is_err() || text.len() as u64 > MOST_BYTES {
            text.clear();
            // Gone or not: what can't be written is remembered for this run only.
            let _ = std::fs::remove_file(&file);
        }
        // A line that was cut by a death is none.
        let known = text.lines().filter_map(read_line).collect();
        Self { known: Mutex::new(known), file: Some(file) }
    }

    pub(super) fn find(&self, path: &str, etag: &str, bytes: u64) -> Option<[u8; 32]> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(path.to_owned(), etag.to_owned(), bytes)).copied()
    }

    pub(super) fn add(&self, path: &str, etag: &str, bytes: u64, sha256: [u8; 32]) {
        let version = (path.to_owned(), etag.to_owned(), bytes);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.insert(version.clone(), sha256) == Some(sha256) {
            return;
        }
        let (Some(file), Ok(line)) = (&self.file, serde_json::to_string(&(version, hex(&sha256)))) else {
            return;
        };
        // A cache that can't be written costs time, and nothing else.
        let _ = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let opened = OpenOptions::new().create(true).append(true).open(file);
        let _ = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}

fn read_line(line: &str) -> Option<(Version, [u8; 32])> {
    let (version, text): (Version, String) = serde_json::from_str(line).ok()?;
    let mut sha256 = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (place, byte) in sha256.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some((version, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_outlives_the_run_and_only_for_its_own_version() {
        let folder = tempfile::tempdir().unwrap();
        let load = |endpoint: &str| Remembered::load(Some(folder.path()), endpoint, "bucket");
        let first = load("http://one");
        first.add("a\u{e9}/b", "\"tag\"", 5, [7; 32]);
        first.add("a\u{e9}/b", "\"tag\"", 5, [8; 32]);
        let mut cut = OpenOptions::new().append(true).open(first.file.as_ref().unwrap()).unwrap();
        cut.write_all(b"[[\"c\",\"tag\",5],\"0707").unwrap();
        let again = load("http://one");
        assert_eq!(again.find("a\u{e9}/b", "\"tag\"", 5), Some([8; 32]));
        assert_eq!(again.find("a\u{e9}/b", "\"tag\"", 6), None);
        assert_eq!(again.find("a\u{e9}/b", "\"other\"", 5), None);
        assert_eq!(again.find("c", "tag", 5), None);
        assert_eq!(load("http://two").find("a\u{e9}/b", "\"tag\"", 5), None);
        let none = Remembered::load(None, "http://one", "bucket");
        none.add("a", "tag", 5, [7; 32]);
        assert_eq!(none.find("a", "tag", 5), Some([7; 32]));
    }
}
