//! The one file of a zip archive, unpacked as it is read.
//!
//! What comes in: an archive. What goes out: the text of its only file, from a thread of its own that unpacks it into a
//! pipe. What it must never do: keep the text, or pass over a checksum that is wrong.

use crate::opened::Reader;
use std::io::{Error, ErrorKind, PipeReader, PipeWriter, Read, Result};
use std::thread::JoinHandle;
use zip::ZipArchive;

/// Reads the text.
pub(super) struct OnlyFile {
    pipe: PipeReader,
    worker: Option<JoinHandle<Result<()>>>,
}

impl OnlyFile {
    pub(super) fn open(file: Reader) -> Result<Self> {
        let mut archive = ZipArchive::new(file)?;
        let mut files = Vec::new();
        for (place, name) in archive.file_names().enumerate() {
            let name = name?.into_owned();
            if !name.ends_with('/') {
                files.push((place, name));
            }
        }
        let [(place, name)] = files.as_slice() else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "a zip archive that doesn't hold exactly one file",
            ));
        };
        if !name.to_ascii_lowercase().ends_with(".csv") {
            return Err(Error::new(ErrorKind::InvalidData, format!("a zip archive whose file is {name:?}")));
        }
        let place = *place;
        // A packing or encryption that isn't read shows here.
        archive.by_index(place)?;
        let (pipe, writer) = std::io::pipe()?;
        let worker = std::thread::spawn(move || unpack(archive, place, writer));
        Ok(Self { pipe, worker: Some(worker) })
    }
}

fn unpack(mut archive: ZipArchive<Reader>, place: usize, mut writer: PipeWriter) -> Result<()> {
    let mut file = archive.by_index(place)?;
    let size = file.size();
    // One byte more than the archive says is enough to know that it lies.
    let written = std::io::copy(&mut file.by_ref().take(size + 1), &mut writer)?;
    if written == size {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::InvalidData, "a zip archive whose file is longer or shorter than it says"))
    }
}

impl Read for OnlyFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let gave_up = || Error::new(ErrorKind::InvalidData, "the zip archive can't be unpacked");
        match self.worker.take() {
            Some(worker) => worker.join().map_err(|_| gave_up())?.map(|()| 0),
            None => Ok(0),
        }
    }
}
