//! A CSV (gzip, in a zip archive, or plain), read block by block: a tool of the stages that read one.
//!
//! What comes in: a stream. What goes out: its header and blocks of whole records, to the end of its last gzip
//! member. What it must never do: stop at the first member, take a cut file for a whole one, or believe what an
//! archive says of its size.

use crate::zip_text::{ZipText, only_entry};
use apportion_core::csv::{CsvError, CsvProblem, Limits, split_records};
use apportion_core::line_item::{Block, Cells};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read, Seek};
use std::sync::Arc;

/// Text that makes one block, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Records that make one block at most.
const BLOCK_RECORDS: usize = 4096;

/// Why a CSV can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CsvGzError {
    /// The compressed data are broken.
    #[error("the gzip data are broken after {rows} rows: {problem}")]
    Gzip {
        /// Whole rows read before that.
        rows: u64,
        /// What is wrong.
        problem: String,
    },
    /// The archive is broken, or isn't one of one CSV.
    #[error("the zip archive can't be read after {rows} rows: {problem}")]
    Zip {
        /// Whole rows read before that.
        rows: u64,
        /// What is wrong.
        problem: String,
    },
    /// A record is broken.
    #[error("row {row}: the record {problem}")]
    Record {
        /// The row, from 1; 0 is the header.
        row: u64,
        /// What is wrong.
        problem: CsvProblem,
    },
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Hashes and counts what passes through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.hash.update(&buffer[..read]);
                self.bytes += read as u64;
                Ok(read)
            }
            Err(error) => {
                // Told apart later from an error of the decoder.
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// How the text is packed.
enum Text<R> {
    Gzip(Box<MultiGzDecoder<BufReader<Hashing<R>>>>),
    Zip(Box<ZipText<BufReader<Hashing<R>>>>),
    Plain(Box<BufReader<Hashing<R>>>),
}

impl<R: Read> Text<R> {
    fn hashing(&mut self) -> &mut Hashing<R> {
        match self {
            Self::Gzip(reader) => reader.get_mut().get_mut(),
            Self::Zip(reader) => reader.get_mut().get_mut(),
            Self::Plain(reader) => reader.get_mut(),
        }
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zip(reader) => reader.read(buffer),
            Self::Plain(reader) => reader.read(buffer),
        }
    }
}

/// A CSV, read block by block to its end.
pub struct CsvGz<R> {
    reader: Text<R>,
    /// Bytes behind the last whole record.
    rest: Vec<u8>,
    at_end: bool,
    limits: Limits,
    /// The file's header.
    pub headers: Vec<String>,
    /// Records handed out so far.
    rows: u64,
}

impl<R: Read> CsvGz<R> {
    /// Opens a gzip stream and reads its header.
    ///
    /// # Errors
    /// Broken gzip data, or a header that isn't a CSV record.
    pub fn open(inner: R) -> Result<Self, CsvGzError> {
        Self::of(Text::Gzip(Box::new(MultiGzDecoder::new(hashing(inner)))))
    }

    /// Opens a stream of text and reads its header.
    ///
    /// # Errors
    /// A header that isn't a CSV record.
    pub fn open_plain(inner: R) -> Result<Self, CsvGzError> {
        Self::of(Text::Plain(Box::new(hashing(inner))))
    }

    fn of(reader: Text<R>) -> Result<Self, CsvGzError> {
        let mut csv = Self {
            reader,
            rest: Vec::new(),
            at_end: false,
            limits: Limits::default(),
            headers: Vec::new(),
            rows: 0,
        };
        csv.read_header()?;
        Ok(csv)
    }

    fn read_header(&mut self) -> Result<(), CsvGzError> {
        let mut bounds = Vec::new();
        loop {
            // Always more than before: a header that never ends must reach its limit.
            self.fill(self.rest.len() * 2 + (1 << 16))?;
            if self.rest.starts_with(b"\xEF\xBB\xBF") {
                self.rest.drain(..3);
            }
            let split = split_records(&mut self.rest, self.at_end, 0, 1, &self.limits, &mut bounds)
                .map_err(|error| record_error(0, error))?;
            if split.records == 1 {
                let text = |(start, end): &(u32, u32)| {
                    String::from_utf8_lossy(&self.rest[*start as usize..*end as usize]).into_owned()
                };
                self.headers = bounds.iter().map(text).collect();
                self.rest.drain(..split.consumed);
                return Ok(());
            }
            if self.at_end {
                return Ok(());
            }
            self.check_record_limit(0)?;
        }
    }

    /// The next block of records, and the place of its first, from 1; None at the end.
    ///
    /// # Errors
    /// Broken gzip data, or a broken record.
    pub fn next_block(&mut self) -> Result<Option<(u64, Arc<Block>)>, CsvGzError> {
        let width = self.headers.len();
        let mut target = BLOCK_BYTES;
        loop {
            self.fill(target)?;
            let mut bytes = std::mem::take(&mut self.rest);
            let mut bounds = Vec::with_capacity(width * 1024);
            let split =
                split_records(&mut bytes, self.at_end, width, BLOCK_RECORDS, &self.limits, &mut bounds)
                    .map_err(|error| record_error(self.rows + 1, error))?;
            if split.records > 0 {
                // What is left over belongs to the next block; the rest of this one's bytes stay where they are.
                self.rest = Vec::with_capacity(BLOCK_BYTES + (1 << 16));
                self.rest.extend_from_slice(&bytes[split.consumed..]);
                let first = self.rows + 1;
                self.rows += split.records as u64;
                return Ok(Some((first, Arc::new(Block { bytes, bounds, width }))));
            }
            bytes.drain(..split.consumed);
            self.rest = bytes;
            if self.at_end {
                return Ok(None);
            }
            self.check_record_limit(self.rows + 1)?;
            target = self.rest.len() + BLOCK_BYTES;
        }
    }

    /// One record can't make the buffer grow beyond the record limit.
    fn check_record_limit(&self, row: u64) -> Result<(), CsvGzError> {
        if self.rest.len() <= self.limits.record {
            return Ok(());
        }
        Err(CsvGzError::Record { row, problem: CsvProblem::RecordTooLong(self.limits.record) })
    }

    /// Decompresses until the buffer holds `target` bytes or the file ends.
    fn fill(&mut self, target: usize) -> Result<(), CsvGzError> {
        while !self.at_end && self.rest.len() < target {
            let filled = self.rest.len();
            self.rest.resize(filled.max(target), 0);
            let read = self.reader.read(&mut self.rest[filled..]);
            self.rest.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.at_end = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if let Some(failure) = self.reader.hashing().failure.take() {
                        return Err(CsvGzError::Io(failure));
                    }
                    let problem = match error.kind() {
                        io::ErrorKind::UnexpectedEof => "the file is cut short".to_owned(),
                        _ => error.to_string(),
                    };
                    let rows = self.rows;
                    return Err(match self.reader {
                        Text::Zip(_) => CsvGzError::Zip { rows, problem },
                        _ => CsvGzError::Gzip { rows, problem },
                    });
                }
            }
        }
        Ok(())
    }

    /// SHA-256 and size of the stream, once its end has been reached; of a zip archive they are only a part's.
    ///
    /// # Errors
    /// A stream that fails behind its last member.
    pub fn finish(self) -> Result<([u8; 32], u64), CsvGzError> {
        let mut hashing = match self.reader {
            Text::Gzip(reader) => reader.into_inner(),
            Text::Plain(reader) => *reader,
            Text::Zip(reader) => reader.into_inner(),
        };
        // The decoder has seen the last member's trailer; what the buffer read ahead is hashed already.
        io::copy(&mut hashing, &mut io::sink())?;
        let hashing = hashing.into_inner();
        Ok((hashing.hash.finalize().into(), hashing.bytes))
    }
}

impl<R: Read + Seek> CsvGz<R> {
    /// Opens the only file of a zip archive and reads its header.
    ///
    /// # Errors
    /// An archive that is broken or doesn't hold exactly one file, or a header that isn't a CSV record.
    pub fn open_zip(inner: R) -> Result<Self, CsvGzError> {
        let (inner, entry) = only_entry(inner).map_err(|problem| CsvGzError::Zip { rows: 0, problem })?;
        Self::of(Text::Zip(Box::new(ZipText::new(hashing(inner), entry))))
    }
}

fn hashing<R: Read>(inner: R) -> BufReader<Hashing<R>> {
    let hashing = Hashing { inner, hash: Sha256::new(), bytes: 0, failure: None };
    BufReader::with_capacity(1 << 18, hashing)
}

fn record_error(first: u64, error: CsvError) -> CsvGzError {
    CsvGzError::Record { row: first + error.record as u64, problem: error.problem }
}

/// The columns of a block.
pub fn columns_of(block: &Arc<Block>) -> Vec<Cells> {
    (0..block.width as u32).map(|field| Cells::Field { block: Arc::clone(block), field }).collect()
}
