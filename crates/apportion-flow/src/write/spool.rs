use super::WriteError;
use super::pack::{Packed, compress};
use crate::plant::{self, Plant, strikes};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Compressed bytes at which a file ends. With the largest window that can follow, files stay below 64 MiB.
const FILE_BYTES: u64 = 40 << 20;

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledFile {
    /// Which file of its lane, from 1.
    pub number: u32,
    /// Where it waits.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Rows without the header.
    pub rows: u64,
    /// The sum of the rows' hashes, taken before they were encoded.
    pub rows_hash: u128,
}

struct Growing {
    file: File,
    info: SpooledFile,
}

struct LaneFiles {
    folder: PathBuf,
    /// The header as a gzip member of its own, at the start of every file.
    header: Vec<u8>,
    growing: Option<Growing>,
    begun: u32,
    /// How many of its windows have been parked so far.
    parked: u64,
}

/// The bounded folder in which files wait until they are put.
pub struct Spool {
    root: PathBuf,
    limit: u64,
    used: u64,
    lanes: Vec<LaneFiles>,
}

impl Spool {
    /// Makes an empty folder for one delivery, one header text per lane.
    ///
    /// # Errors
    /// A folder that can't be made.
    pub fn new(root: &Path, limit: u64, headers: &[Vec<u8>]) -> Result<Self, WriteError> {
        // What an earlier run left there is of no use: local state is a cache.
        let _ = fs::remove_dir_all(root);
        plant::write_point();
        fs::create_dir_all(root).map_err(|source| error(root, "making the folder", source))?;
        let mut lanes = Vec::with_capacity(headers.len());
        for (place, header) in headers.iter().enumerate() {
            let mut member = Vec::new();
            compress(header, &mut member)?;
            lanes.push(LaneFiles {
                folder: root.join(place.to_string()),
                header: member,
                growing: None,
                begun: 0,
                parked: 0,
            });
        }
        Ok(Self { root: root.to_owned(), limit, used: 0, lanes })
    }

    /// Appends packed rows to a lane's file, and hands the file back if it is finished with that.
    ///
    /// # Errors
    /// A full spool or disk.
    pub fn append(&mut self, lane: usize, packed: &Packed) -> Result<Option<SpooledFile>, WriteError> {
        self.begin(lane)?;
        self.reserve(packed.bytes.len())?;
        let lane = &mut self.lanes[lane];
        let Some(growing) = &mut lane.growing else { return Ok(None) };
        plant::write_point();
        growing
            .file
            .write_all(&packed.bytes)
            .map_err(|source| error(&growing.info.path, "writing", source))?;
        growing.info.bytes += packed.bytes.len() as u64;
        growing.info.rows += packed.rows;
        growing.info.rows_hash = growing.info.rows_hash.wrapping_add(packed.rows_hash);
        if growing.info.bytes < FILE_BYTES {
            return Ok(None);
        }
        Self::end(lane)
    }

    /// The name of a new file in which a lane's window may park its text until it is packed. Parked text is bounded
    /// by the windows' size and doesn't count against the limit.
    pub fn parking(&mut self, lane: usize) -> PathBuf {
        let lane = &mut self.lanes[lane];
        lane.parked += 1;
        self.root.join(format!(
            "{}-{}.parked",
            lane.folder.file_name().unwrap_or_default().display(),
            lane.parked
        ))
    }

    /// Finishes a lane's last file; a lane without any row gets one with only a header.
    ///
    /// # Errors
    /// A full spool or disk.
    pub fn finish(&mut self, lane: usize) -> Result<Option<SpooledFile>, WriteError> {
        if self.lanes[lane].begun == 0 {
            self.begin(lane)?;
        }
        Self::end(&mut self.lanes[lane])
    }

    fn begin(&mut self, lane: usize) -> Result<(), WriteError> {
        if self.lanes[lane].growing.is_some() {
            return Ok(());
        }
        self.reserve(self.lanes[lane].header.len())?;
        let lane = &mut self.lanes[lane];
        lane.begun += 1;
        fs::create_dir_all(&lane.folder)
            .map_err(|source| error(&lane.folder, "making the folder", source))?;
        let path = lane.folder.join(format!("{:05}.csv.gz", lane.begun));
        plant::write_point();
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&path)
            .map_err(|source| error(&path, "making the file", source))?;
        file.write_all(&lane.header).map_err(|source| error(&path, "writing", source))?;
        let info =
            SpooledFile { number: lane.begun, path, bytes: lane.header.len() as u64, rows: 0, rows_hash: 0 };
        lane.growing = Some(Growing { file, info });
        Ok(())
    }

    fn end(lane: &mut LaneFiles) -> Result<Option<SpooledFile>, WriteError> {
        let Some(growing) = lane.growing.take() else { return Ok(None) };
        if strikes(Plant::WriteByte) {
            spoil(&growing.info.path);
        }
        Ok(Some(growing.info))
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), WriteError> {
        let used = self.used + bytes as u64;
        if used > self.limit {
            return Err(WriteError::Full { used, limit: self.limit });
        }
        self.used = used;
        Ok(())
    }

    /// Removes a file that has left.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn release(&mut self, file: &SpooledFile) -> Result<(), WriteError> {
        plant::write_point();
        fs::remove_file(&file.path).map_err(|source| error(&file.path, "removing", source))?;
        self.used = self.used.saturating_sub(file.bytes);
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn error(path: &Path, doing: &'static str, source: std::io::Error) -> WriteError {
    WriteError::Io { path: path.display().to_string(), doing, source }
}

/// Flips a bit in the middle of a file: a bug for tests to plant.
fn spoil(path: &Path) {
    if let Ok(mut bytes) = fs::read(path) {
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
        let _ = fs::write(path, bytes);
    }
}
