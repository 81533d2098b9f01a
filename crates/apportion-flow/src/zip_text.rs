//! The only file of a zip archive, as a stream.
//!
//! What comes in: an archive that can be sought in. What goes out: the text of the one file in it. What it must never
//! do: read an archive of several files, or hand out more than the archive says there is, or without its checksum.

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Take};
use zip::CompressionMethod;

/// Where a file lies in its archive, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    packed_bytes: u64,
    bytes: u64,
    crc: u32,
    deflated: bool,
}

/// Finds the only file of an archive, and stands the reader at its data.
///
/// # Errors
/// What keeps it from being read, as a sentence without its subject.
pub(crate) fn only_entry<R: Read + Seek>(reader: R) -> Result<(R, Entry), String> {
    let broken = |error: zip::result::ZipError| format!("it isn't a whole zip archive ({error})");
    let mut archive = zip::ZipArchive::new(reader).map_err(broken)?;
    let mut files = Vec::new();
    for place in 0..archive.len() {
        if !archive.by_index_raw(place).map_err(broken)?.is_dir() {
            files.push(place);
        }
    }
    let [only] = files.as_slice() else {
        return Err(format!("it holds {} files, where a cost report's archive holds one", files.len()));
    };
    let file = archive.by_index_raw(*only).map_err(broken)?;
    let name = file.name().map_err(broken)?.into_owned();
    if !name.to_ascii_lowercase().ends_with(".csv") {
        return Err(format!("its file {name:?} is no .csv"));
    }
    if file.encrypted() {
        return Err(format!("its file {name:?} is encrypted"));
    }
    let deflated = match file.compression() {
        CompressionMethod::Deflated => true,
        CompressionMethod::Stored => false,
        other => return Err(format!("its file {name:?} is packed by {other}, which isn't read")),
    };
    let entry =
        Entry { packed_bytes: file.compressed_size(), bytes: file.size(), crc: file.crc32(), deflated };
    let start = file.data_start().ok_or("its directory is broken")?;
    drop(file);
    let mut reader = archive.into_inner();
    reader.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
    Ok((reader, entry))
}

enum Packed<R> {
    Deflated(DeflateDecoder<Take<R>>),
    Stored(Take<R>),
}

/// The text of an archive's file, checked against what the archive says of it.
pub(crate) struct ZipText<R> {
    packed: Packed<R>,
    entry: Entry,
    crc: Crc,
    read: u64,
}

impl<R: BufRead> ZipText<R> {
    /// A reader that stands at the file's data.
    pub(crate) fn new(reader: R, entry: Entry) -> Self {
        let data = reader.take(entry.packed_bytes);
        let packed =
            if entry.deflated { Packed::Deflated(DeflateDecoder::new(data)) } else { Packed::Stored(data) };
        Self { packed, entry, crc: Crc::new(), read: 0 }
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        match &mut self.packed {
            Packed::Deflated(decoder) => decoder.get_mut().get_mut(),
            Packed::Stored(data) => data.get_mut(),
        }
    }
}

impl<R> ZipText<R> {
    pub(crate) fn into_inner(self) -> R {
        match self.packed {
            Packed::Deflated(decoder) => decoder.into_inner().into_inner(),
            Packed::Stored(data) => data.into_inner(),
        }
    }
}

impl<R: BufRead> Read for ZipText<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.packed {
            Packed::Deflated(decoder) => decoder.read(buffer)?,
            Packed::Stored(data) => data.read(buffer)?,
        };
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        self.crc.update(&buffer[..read]);
        self.read += read as u64;
        if self.read > self.entry.bytes {
            return wrong("it holds more text than its directory says");
        }
        if read == 0 && !buffer.is_empty() {
            if self.read < self.entry.bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.crc.sum() != self.entry.crc {
                return wrong("the checksum of its file is wrong");
            }
        }
        Ok(read)
    }
}
