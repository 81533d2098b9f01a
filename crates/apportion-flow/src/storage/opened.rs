use super::store::LocalCopy;
use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

/// An object that can be read from any position, always in the one version that was opened.
#[derive(Debug)]
pub struct Opened(Source);

#[derive(Debug)]
enum Source {
    /// A file of a folder.
    File(File),
    /// An object of a store; what is read of it lies in a local copy from then on.
    Copy(Arc<LocalCopy>, u64),
}

/// Which version of an object was opened.
#[derive(Debug, Clone, Default)]
pub struct Version(Option<Arc<LocalCopy>>);

impl Version {
    /// Whether a read has found that the store has another version by now.
    pub fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(|copy| copy.is_gone())
    }

    /// What the store calls it; None of a file, and where the store gives none.
    pub fn tag(&self) -> Option<&str> {
        self.0.as_ref().and_then(|copy| copy.tag())
    }
}

impl From<File> for Opened {
    fn from(file: File) -> Self {
        Self(Source::File(file))
    }
}

impl Opened {
    pub(super) fn copy(copy: Arc<LocalCopy>) -> Self {
        Self(Source::Copy(copy, 0))
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// A file that can't be looked at.
    pub fn size(&self) -> io::Result<u64> {
        match &self.0 {
            Source::File(file) => Ok(file.metadata()?.len()),
            Source::Copy(copy, _) => Ok(copy.bytes()),
        }
    }

    /// The version that this is.
    pub fn version(&self) -> Version {
        match &self.0 {
            Source::File(_) => Version::default(),
            Source::Copy(copy, _) => Version(Some(Arc::clone(copy))),
        }
    }

    /// SHA-256 of exactly this version, where it is known without reading it.
    pub fn known_sha256(&self) -> Option<[u8; 32]> {
        match &self.0 {
            Source::File(_) => None,
            Source::Copy(copy, _) => copy.known_sha256(),
        }
    }

    /// Remembers SHA-256 of this version, which was read to its end.
    pub fn remember_sha256(&self, sha256: [u8; 32]) {
        if let Source::Copy(copy, _) = &self.0 {
            copy.remember_sha256(sha256);
        }
    }

    /// The same object once more. Of a file, both move together when one reads.
    ///
    /// # Errors
    /// A system without another file handle.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Source::File(file) => Source::File(file.try_clone()?),
            Source::Copy(copy, position) => Source::Copy(Arc::clone(copy), *position),
        }))
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::File(file) => file.read(buffer),
            Source::Copy(copy, position) => {
                let read = copy.read_at(*position, buffer)?;
                *position += read as u64;
                Ok(read)
            }
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Source::File(file) => file.seek(to),
            Source::Copy(copy, position) => {
                let moved = match to {
                    SeekFrom::Start(at) => Some(at),
                    SeekFrom::End(by) => copy.bytes().checked_add_signed(by),
                    SeekFrom::Current(by) => position.checked_add_signed(by),
                };
                *position = moved.ok_or(io::ErrorKind::InvalidInput)?;
                Ok(*position)
            }
        }
    }
}

impl Length for Opened {
    fn len(&self) -> u64 {
        self.size().unwrap_or(0)
    }
}

impl ChunkReader for Opened {
    type T = BufReader<Self>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let mut reader = self.try_clone()?;
        reader.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut reader = self.try_clone()?;
        reader.seek(SeekFrom::Start(start))?;
        let mut buffer = Vec::with_capacity(length);
        let read = reader.take(length as u64).read_to_end(&mut buffer)?;
        if read != length {
            return Err(ParquetError::EOF(format!("expected to read {length} bytes, read only {read}")));
        }
        Ok(buffer.into())
    }
}
