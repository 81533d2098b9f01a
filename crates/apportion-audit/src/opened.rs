//! Opened objects, as decoders want to read them.
//!
//! What comes in: an object of a place. What goes out: readers at any position, and why reading failed, which decoders tell
//! in words of their own. What it must never do: open anything a second time.

use crate::error::AuditError;
use crate::place::{Object, PlaceError};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// For what a decoder reads in small pieces.
const BUFFER: usize = 64 << 10;

/// An object in the one version that was opened.
#[derive(Clone)]
pub(crate) struct Opened {
    object: Arc<dyn Object>,
    failure: Arc<Mutex<Option<PlaceError>>>,
}

impl Opened {
    pub(crate) fn new(object: Box<dyn Object>) -> Self {
        Self { object: object.into(), failure: Arc::default() }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.object.bytes()
    }

    /// Reads it from its beginning.
    pub(crate) fn reader(&self) -> Reader {
        Reader { opened: self.clone(), at: 0 }
    }

    /// Why its place gave no bytes, if that is why decoding failed.
    pub(crate) fn failure(&self) -> Option<PlaceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What keeps the auditor from judging the object, after so many of its rows.
    pub(crate) fn obstacle(&self, rows: u64) -> Option<AuditError> {
        let cause = self.failure().filter(PlaceError::is_obstacle)?;
        Some(AuditError::Place { rows: Some(rows), cause })
    }
}

/// Reads an object from a position of its own.
pub(crate) struct Reader {
    opened: Opened,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.opened.object.read_at(self.at, buffer) {
            Ok(read) => {
                self.at += read as u64;
                Ok(read)
            }
            Err(cause) => {
                *self.opened.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause.clone());
                Err(Error::other(cause))
            }
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let moved = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.opened.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = moved.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Length for Opened {
    fn len(&self) -> u64 {
        self.bytes()
    }
}

impl ChunkReader for Opened {
    type T = BufReader<Reader>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::with_capacity(BUFFER, Reader { opened: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<bytes::Bytes> {
        let mut content = Vec::new();
        let reader = Reader { opened: self.clone(), at: start };
        let read = reader.take(length as u64).read_to_end(&mut content)?;
        if read != length {
            return Err(ParquetError::EOF(format!("{length} bytes were due and {read} are there")));
        }
        Ok(content.into())
    }
}
