use super::WriteError;
use super::pack::{Gzip, Packed, Packing, compress};
use crate::plant::{self, Plant, strikes};
use apportion_model::AssemblyId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Compressed bytes at which a file ends.
const FILE_BYTES: u64 = 40 << 20;
/// Most bytes of a file: a window that would make it larger begins the next. No window is that large itself.
const MOST_BYTES: u64 = 63 << 20;

/// What the name of every spool's own folder begins with.
const PREFIX: &str = "apportion-spool-";
/// How often a folder of one's own is looked for before somebody else must be in the way on purpose.
const ATTEMPTS: u32 = 100;

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
    /// The sum of the rows' hashes, taken before they were compressed.
    pub rows_hash: u128,
    /// Of a csv.gz, the length of each gzip member.
    pub members: Vec<u32>,
}

struct Growing {
    file: File,
    info: SpooledFile,
}

struct LaneFiles {
    folder: PathBuf,
    /// The header as a gzip member of its own, at the start of every file.
    header: Vec<u8>,
    /// Whether what is packed is a whole file, with its header in its one member.
    single: bool,
    growing: Option<Growing>,
    begun: u32,
    /// How many of its windows have been parked so far.
    parked: u64,
}

/// The bounded folder in which files wait until they are put.
///
/// It is locked for as long as its run lives; a folder that nobody holds is what a run left that died.
pub struct Spool {
    root: PathBuf,
    _lock: File,
    limit: u64,
    used: u64,
    lanes: Vec<LaneFiles>,
}

impl Spool {
    /// Makes an empty folder for one delivery in `folder`, for so many lanes.
    ///
    /// # Errors
    /// A folder that can't be made.
    pub fn new(folder: &Path, delivery: &AssemblyId, limit: u64, lanes: usize) -> Result<Self, WriteError> {
        let (root, lock) =
            own_folder(folder, delivery).map_err(|source| error(folder, "making a folder in it", source))?;
        let lanes = (0..lanes).map(|place| LaneFiles {
            folder: root.join(place.to_string()),
            header: Vec::new(),
            single: false,
            growing: None,
            begun: 0,
            parked: 0,
        });
        Ok(Self { lanes: lanes.collect(), root, _lock: lock, limit, used: 0 })
    }

    /// Says how a lane's csv.gz files begin, before anything is appended to them.
    ///
    /// # Errors
    /// A compressor that fails.
    pub fn set_packing(&mut self, lane: usize, packing: &Packing) -> Result<(), WriteError> {
        let lane = &mut self.lanes[lane];
        lane.header.clear();
        lane.single = packing.gzip == Gzip::Single;
        compress(&packing.header, &mut lane.header)
    }

    /// Its own folder, locked as long as it is there.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder in which a lane's files are written by somebody else.
    pub fn folder(&self, lane: usize) -> &Path {
        &self.lanes[lane].folder
    }

    /// Appends packed rows to a lane's file, and hands back what is finished: the file that they didn't fit into any
    /// more, and their own if it is full with them.
    ///
    /// # Errors
    /// A full spool or disk.
    pub fn append(&mut self, lane: usize, packed: &Packed) -> Result<Vec<SpooledFile>, WriteError> {
        let single = self.lanes[lane].single;
        let growing = self.lanes[lane].growing.as_ref().map_or(0, |growing| growing.info.bytes);
        let mut done = Vec::new();
        if growing + packed.bytes.len() as u64 > MOST_BYTES {
            done.extend(Self::end(&mut self.lanes[lane])?);
        }
        self.begin(lane, !single)?;
        self.reserve(packed.bytes.len() as u64)?;
        let lane = &mut self.lanes[lane];
        let Some(growing) = &mut lane.growing else { return Ok(done) };
        plant::write_point();
        growing
            .file
            .write_all(&packed.bytes)
            .map_err(|source| error(&growing.info.path, "writing", source))?;
        growing.info.bytes += packed.bytes.len() as u64;
        growing.info.rows += packed.rows;
        growing.info.rows_hash = growing.info.rows_hash.wrapping_add(packed.rows_hash);
        growing.info.members.extend_from_slice(&packed.members);
        if growing.info.bytes >= FILE_BYTES || single {
            done.extend(Self::end(lane)?);
        }
        Ok(done)
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
            self.begin(lane, true)?;
        }
        Self::end(&mut self.lanes[lane])
    }

    /// Drops a lane's unfinished file, for which there is no use any more.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn discard(&mut self, lane: usize) -> Result<(), WriteError> {
        Self::end(&mut self.lanes[lane])?.map_or(Ok(()), |file| self.release(&file))
    }

    fn begin(&mut self, lane: usize, with_header: bool) -> Result<(), WriteError> {
        if self.lanes[lane].growing.is_some() {
            return Ok(());
        }
        let header = if with_header { self.lanes[lane].header.clone() } else { Vec::new() };
        self.reserve(header.len() as u64)?;
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
        file.write_all(&header).map_err(|source| error(&path, "writing", source))?;
        let members = if with_header { vec![header.len() as u32] } else { Vec::new() };
        let bytes = header.len() as u64;
        let info = SpooledFile { number: lane.begun, path, bytes, rows: 0, rows_hash: 0, members };
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

    /// Counts bytes that somebody has written into it, or is about to.
    ///
    /// # Errors
    /// A spool that is full.
    pub fn reserve(&mut self, bytes: u64) -> Result<(), WriteError> {
        let used = self.used + bytes;
        if self.is_short_of(bytes) {
            return Err(WriteError::Full { used, limit: self.limit });
        }
        self.used = used;
        Ok(())
    }

    /// Whether so many bytes more would be too many.
    pub fn is_short_of(&self, bytes: u64) -> bool {
        self.used + bytes > self.limit
    }

    /// Gives back what was reserved for bytes that aren't there any more.
    pub fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// The file in which a lane's rows wait until the last one is known.
    pub fn waiting(&self, lane: usize) -> PathBuf {
        self.root.join(format!("{lane}.waiting"))
    }

    /// Removes a file that has left.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn release(&mut self, file: &SpooledFile) -> Result<(), WriteError> {
        plant::write_point();
        fs::remove_file(&file.path).map_err(|source| error(&file.path, "removing", source))?;
        self.give_back(file.bytes);
        Ok(())
    }
}

/// Makes and locks a folder that no other run has. Process ids alone don't tell runs apart: containers that share a
/// disk all count from 1.
fn own_folder(folder: &Path, delivery: &AssemblyId) -> io::Result<(PathBuf, File)> {
    for number in 0..ATTEMPTS {
        let root = folder.join(format!("{PREFIX}{}-{number}-{delivery}", std::process::id()));
        plant::write_point();
        fs::create_dir_all(folder)?;
        match fs::create_dir(&root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        // Another run may take the folder for a dead one's before it is locked; then there is a next number.
        let Ok(lock) = File::open(&root) else { continue };
        if lock.try_lock().is_ok() && root.is_dir() {
            return Ok((root, lock));
        }
    }
    Err(io::Error::other("other runs take every name"))
}

/// Removes the folders of runs that died: those that nobody holds. What can't be removed is left.
pub fn clear_dead_spools(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_spool(path)) {
        let Ok(held) = File::open(&path) else { continue };
        match held.try_lock() {
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            Ok(()) => {
                plant::write_point();
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// Whether a name is that of a spool's own folder, to the last letter: temporary folders hold much else.
fn is_spool(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((process, rest)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let Some((number, delivery)) = rest.split_once('-') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(process)
        && digits(number)
        && delivery.len() == 36
        && delivery.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        && path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
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
pub(super) fn spoil(path: &Path) {
    if let Ok(mut bytes) = fs::read(path) {
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
        let _ = fs::write(path, bytes);
    }
}
