//! A CSV (gzip, in a zip archive, or plain), read block by block: a tool of the stages that read one.
//!
//! What comes in: a stream. What goes out: its header and blocks of whole records, to the end of its last gzip
//! member. What it must never do: stop at the first member, take a cut file for a whole one, or believe what an
//! archive says of its size.

use crate::zip_text::{ZipText, only_entry};
use apportion_core::csv::{CsvError, CsvProblem, Limits, split_records};
use apportion_core::line_item::{Block, Cells};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read, Seek};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Text that makes one block, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Records that make one block at most.
const BLOCK_RECORDS: usize = 4096;
/// Room before a buffer's text for what is left over of the one before; more than that is copied.
const HEADROOM: usize = 1 << 16;
/// Buffers that are decompressed ahead.
const BUFFERS_AHEAD: usize = 2;
/// Blocks that are remembered, to use their memory again once nobody else holds them.
const BLOCKS_REMEMBERED: usize = 8;

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

/// SHA-256 and size of a stream.
type Digested = io::Result<([u8; 32], u64)>;

/// Why there is no more text.
enum TextProblem {
    Gzip(String),
    Zip(String),
    Io(io::Error),
}

impl TextProblem {
    fn after(self, rows: u64) -> CsvGzError {
        match self {
            Self::Gzip(problem) => CsvGzError::Gzip { rows, problem },
            Self::Zip(problem) => CsvGzError::Zip { rows, problem },
            Self::Io(error) => CsvGzError::Io(error),
        }
    }
}

impl<R: Read> Text<R> {
    fn hashing(&mut self) -> &mut Hashing<R> {
        match self {
            Self::Gzip(reader) => reader.get_mut().get_mut(),
            Self::Zip(reader) => reader.get_mut().get_mut(),
            Self::Plain(reader) => reader.get_mut(),
        }
    }

    /// Adds text to a buffer's first `filled` bytes until there are `target` or the text ends; how many there are,
    /// and whether it has ended.
    fn fill(
        &mut self,
        bytes: &mut [u8],
        mut filled: usize,
        target: usize,
    ) -> Result<(usize, bool), TextProblem> {
        while filled < target {
            let read = match self {
                Self::Gzip(reader) => reader.read(&mut bytes[filled..]),
                Self::Zip(reader) => reader.read(&mut bytes[filled..]),
                Self::Plain(reader) => reader.read(&mut bytes[filled..]),
            };
            match read {
                Ok(0) => return Ok((filled, true)),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.problem(&error)),
            }
        }
        Ok((filled, false))
    }

    fn problem(&mut self, error: &io::Error) -> TextProblem {
        if let Some(failure) = self.hashing().failure.take() {
            return TextProblem::Io(failure);
        }
        let problem = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the file is cut short".to_owned(),
            _ => error.to_string(),
        };
        match self {
            Self::Zip(_) => TextProblem::Zip(problem),
            _ => TextProblem::Gzip(problem),
        }
    }

    fn finish(self) -> Digested {
        let mut hashing = match self {
            Self::Gzip(reader) => reader.into_inner(),
            Self::Plain(reader) => *reader,
            Self::Zip(reader) => reader.into_inner(),
        };
        // The decoder has seen the last member's trailer; what the buffer read ahead is hashed already.
        io::copy(&mut hashing, &mut io::sink())?;
        let hashing = hashing.into_inner();
        Ok((hashing.hash.finalize().into(), hashing.bytes))
    }
}

/// What the thread hands over that decompresses ahead.
enum Chunk {
    /// A buffer, and where its text ends; it begins behind the headroom.
    Text(Vec<u8>, usize),
    Failed(TextProblem),
    End(Digested),
}

/// A text that is decompressed on a thread of its own.
struct Ahead {
    chunks: Option<Receiver<Chunk>>,
    /// Buffers that are free again.
    empty: Sender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
    digested: Option<Digested>,
}

impl Ahead {
    fn start<R: Read + Send + 'static>(text: Text<R>) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(BUFFERS_AHEAD);
        let (empty, empties) = channel();
        let work = move || inflate_ahead(text, &empties, &sender);
        let thread = std::thread::Builder::new().name("inflate".to_owned()).spawn(work)?;
        Ok(Self { chunks: Some(chunks), empty, thread: Some(thread), digested: None })
    }

    /// The next text; None at its end.
    fn next(&mut self) -> Result<Option<(Vec<u8>, usize)>, TextProblem> {
        match self.chunks.as_ref().and_then(|chunks| chunks.recv().ok()) {
            Some(Chunk::Text(bytes, filled)) => Ok(Some((bytes, filled))),
            Some(Chunk::End(digested)) => {
                self.digested = Some(digested);
                Ok(None)
            }
            Some(Chunk::Failed(problem)) => Err(problem),
            None => Err(TextProblem::Io(not_read_to_end())),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Without a receiver the thread ends with the buffer it is filling.
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn not_read_to_end() -> io::Error {
    io::Error::other("the file wasn't read to its end")
}

fn inflate_ahead<R: Read>(mut text: Text<R>, empties: &Receiver<Vec<u8>>, chunks: &SyncSender<Chunk>) {
    loop {
        let mut bytes = empties.try_recv().unwrap_or_default();
        grow(&mut bytes, HEADROOM + BLOCK_BYTES);
        let length = bytes.len();
        let (filled, at_end) = match text.fill(&mut bytes, HEADROOM, length) {
            Ok(filled) => filled,
            Err(problem) => {
                let _ = chunks.send(Chunk::Failed(problem));
                return;
            }
        };
        if filled > HEADROOM && chunks.send(Chunk::Text(bytes, filled)).is_err() {
            return;
        }
        if at_end {
            let _ = chunks.send(Chunk::End(text.finish()));
            return;
        }
    }
}

/// Makes a buffer at least so long; only what is new is zeroed.
fn grow(bytes: &mut Vec<u8>, length: usize) {
    if bytes.is_empty() {
        *bytes = vec![0; length];
    } else if bytes.len() < length {
        bytes.resize(length, 0);
    }
}

/// Where a CSV's text comes from.
enum Feed<R> {
    Here(Text<R>),
    Ahead(Ahead),
}

/// A CSV, read block by block to its end.
pub struct CsvGz<R> {
    feed: Feed<R>,
    /// Bytes behind the last whole record.
    rest: Vec<u8>,
    at_end: bool,
    limits: Limits,
    /// The file's header.
    pub headers: Vec<String>,
    /// Records handed out so far.
    rows: u64,
    /// The blocks handed out last.
    blocks: Vec<Arc<Block>>,
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

    fn of(text: Text<R>) -> Result<Self, CsvGzError> {
        let mut csv = Self {
            feed: Feed::Here(text),
            rest: Vec::new(),
            at_end: false,
            limits: Limits::default(),
            headers: Vec::new(),
            rows: 0,
            blocks: Vec::new(),
        };
        csv.read_header()?;
        Ok(csv)
    }

    fn read_header(&mut self) -> Result<(), CsvGzError> {
        let mut bounds = Vec::new();
        loop {
            // Always more than before: a header that never ends must reach its limit.
            let (mut bytes, start, filled) = self.gather(self.rest.len() * 2 + (1 << 16), Vec::new())?;
            bytes.truncate(filled);
            bytes.drain(..start);
            self.rest = bytes;
            if self.rest.starts_with(b"\xEF\xBB\xBF") {
                self.rest.drain(..3);
            }
            let split = split_records(&mut self.rest, 0, self.at_end, 0, 1, &self.limits, &mut bounds)
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
            let (spare, mut bounds) = self.reuse();
            let (mut bytes, start, filled) = self.gather(target, spare)?;
            let text = bytes.get_mut(..filled).unwrap_or_default();
            let split =
                split_records(text, start, self.at_end, width, BLOCK_RECORDS, &self.limits, &mut bounds)
                    .map_err(|error| record_error(self.rows + 1, error))?;
            // What is left over belongs to the next block; the rest of this one's bytes stay where they are.
            self.rest.clear();
            self.rest.extend_from_slice(&text[split.consumed..]);
            if split.records > 0 {
                let first = self.rows + 1;
                self.rows += split.records as u64;
                let block = Arc::new(Block { bytes, bounds, width });
                self.blocks.push(Arc::clone(&block));
                return Ok(Some((first, block)));
            }
            if self.at_end {
                return Ok(None);
            }
            self.check_record_limit(self.rows + 1)?;
            target = self.rest.len() + BLOCK_BYTES;
        }
    }

    /// The buffers of a block that nobody holds any more; empty ones where there is none.
    fn reuse(&mut self) -> (Vec<u8>, Vec<(u32, u32)>) {
        let free = self.blocks.iter_mut().position(|block| Arc::get_mut(block).is_some());
        if let Some(block) = free.and_then(|place| Arc::into_inner(self.blocks.remove(place))) {
            let Block { bytes, mut bounds, .. } = block;
            bounds.clear();
            return (bytes, bounds);
        }
        if self.blocks.len() >= BLOCKS_REMEMBERED {
            self.blocks.remove(0);
        }
        (Vec::new(), Vec::with_capacity(self.headers.len() * 1024))
    }

    /// The bytes left over and the text behind them, `target` bytes or all there is: a buffer, and where in it they
    /// begin and end. `spare` may become that buffer.
    fn gather(&mut self, target: usize, mut spare: Vec<u8>) -> Result<(Vec<u8>, usize, usize), CsvGzError> {
        let mut filled = self.rest.len();
        match &mut self.feed {
            Feed::Here(text) => {
                grow(&mut spare, target.max(filled));
                spare[..filled].copy_from_slice(&self.rest);
                if !self.at_end {
                    let gathered = text.fill(&mut spare, filled, target);
                    (filled, self.at_end) = gathered.map_err(|problem| problem.after(self.rows))?;
                }
                Ok((spare, 0, filled))
            }
            Feed::Ahead(ahead) => {
                if !spare.is_empty() {
                    // A thread that has ended needs none.
                    let _ = ahead.empty.send(spare);
                }
                while !self.at_end && self.rest.len() < target {
                    let Some((mut bytes, end)) = ahead.next().map_err(|problem| problem.after(self.rows))?
                    else {
                        self.at_end = true;
                        break;
                    };
                    if let Some(start) = HEADROOM.checked_sub(self.rest.len()) {
                        bytes[start..HEADROOM].copy_from_slice(&self.rest);
                        return Ok((bytes, start, end));
                    }
                    self.rest.extend_from_slice(&bytes[HEADROOM..end]);
                    let _ = ahead.empty.send(bytes);
                }
                let filled = self.rest.len();
                Ok((std::mem::take(&mut self.rest), 0, filled))
            }
        }
    }

    /// One record can't make the buffer grow beyond the record limit.
    fn check_record_limit(&self, row: u64) -> Result<(), CsvGzError> {
        if self.rest.len() <= self.limits.record {
            return Ok(());
        }
        Err(CsvGzError::Record { row, problem: CsvProblem::RecordTooLong(self.limits.record) })
    }

    /// SHA-256 and size of the stream, once its end has been reached; of a zip archive they are only a part's.
    ///
    /// # Errors
    /// A stream that fails behind its last member.
    pub fn finish(self) -> Result<([u8; 32], u64), CsvGzError> {
        let digested = match self.feed {
            Feed::Here(text) => text.finish(),
            Feed::Ahead(mut ahead) => ahead.digested.take().unwrap_or_else(|| Err(not_read_to_end())),
        };
        Ok(digested?)
    }
}

impl<R: Read + Send + 'static> CsvGz<R> {
    /// Decompresses what is left on a thread of its own, a few buffers ahead; the same records come out.
    ///
    /// # Errors
    /// A thread that can't be started.
    pub fn read_ahead(self) -> Result<Self, CsvGzError> {
        let feed = match self.feed {
            Feed::Here(text) if !self.at_end => Feed::Ahead(Ahead::start(text)?),
            feed => feed,
        };
        Ok(Self { feed, ..self })
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

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    fn member(text: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::new(1).unwrap());
        let mut packed = vec![0; compressor.gzip_compress_bound(text.len())];
        let length = compressor.gzip_compress(text, &mut packed).unwrap();
        packed.truncate(length);
        packed
    }

    /// Each record's place and fields, the stream's hash and size, or what was wrong.
    type Told = Result<(Vec<(u64, Vec<Vec<u8>>)>, [u8; 32], u64), String>;

    /// Reads a file to its end and holds `held` blocks meanwhile, so that their memory isn't free.
    fn read(file: &[u8], ahead: bool, held: usize) -> Told {
        let stream = io::Cursor::new(file.to_vec());
        let mut csv = CsvGz::open(stream).map_err(|error| error.to_string())?;
        if ahead {
            csv = csv.read_ahead().unwrap();
        }
        let (mut rows, mut blocks) = (Vec::new(), Vec::new());
        while let Some((first, block)) = csv.next_block().map_err(|error| error.to_string())? {
            blocks.push((first, block));
            if blocks.len() > held {
                take(blocks.remove(0), &mut rows);
            }
        }
        blocks.into_iter().for_each(|block| take(block, &mut rows));
        let (hash, bytes) = csv.finish().map_err(|error| error.to_string())?;
        Ok((rows, hash, bytes))
    }

    fn take((first, block): (u64, Arc<Block>), rows: &mut Vec<(u64, Vec<Vec<u8>>)>) {
        for row in 0..block.rows() {
            let fields = (0..block.width).map(|field| block.get(row, field).to_vec()).collect();
            rows.push((first + row as u64, fields));
        }
    }

    #[test]
    fn what_is_inflated_ahead_is_the_same() {
        let long = "x".repeat(300_000);
        let texts = [
            // More records than a block takes, records longer than the headroom, and a last line without an end.
            (0..60_000).map(|row| format!("{row},\"a,{row}\"\n")).collect::<String>(),
            (0..30).map(|row| format!("{row},\"{long}\"\"\"\n")).collect::<String>(),
            (0..9_000).map(|row| format!("{row},{}\r\n", "y".repeat(row % 900))).collect::<String>() + "z,",
            "1,2\n".to_owned(),
            String::new(),
        ];
        for text in texts {
            let (first, second) = text.split_at(text.len() / 3);
            let whole = [member(b"n,t\n"), member(first.as_bytes()), member(b""), member(second.as_bytes())];
            let whole = whole.concat();
            let (rows, hash, bytes) = read(&whole, false, 0).unwrap();
            let mut records = csv_records(&text);
            assert_eq!(rows.len(), records.len());
            for (place, fields) in &rows {
                assert_eq!(*fields, std::mem::take(&mut records[*place as usize - 1]));
            }
            assert_eq!((hash, bytes), (Sha256::digest(&whole).into(), whole.len() as u64));
            for (ahead, held) in [(true, 0), (false, 3), (true, 3), (true, 20)] {
                assert!(read(&whole, ahead, held).unwrap() == (rows.clone(), hash, bytes), "{ahead} {held}");
            }
        }
    }

    /// The records of a text whose quotes are where the test above puts them.
    fn csv_records(text: &str) -> Vec<Vec<Vec<u8>>> {
        let fields = |line: &str| {
            let (left, right) = line.split_once(',').unwrap();
            let right = right.strip_prefix('"').and_then(|right| right.strip_suffix('"')).unwrap_or(right);
            vec![left.as_bytes().to_vec(), right.replace("\"\"", "\"").into_bytes()]
        };
        text.lines().map(fields).collect()
    }

    #[test]
    fn a_broken_file_is_refused_ahead_or_not() {
        let text: String = (0..200_000).map(|row| format!("{row},{}\n", row * 7)).collect();
        let whole = member(format!("n,t\n{text}").as_bytes());
        let mut wrong_sum = whole.clone();
        let place = wrong_sum.len() - 6;
        wrong_sum[place] ^= 1;
        let ragged = member(format!("n,t\n{text}1\n").as_bytes());
        for (file, problem) in [
            (&whole[..whole.len() / 2], "the file is cut short"),
            (&whole[..whole.len() - 3], "the file is cut short"),
            (&wrong_sum[..], "corrupt gzip"),
            (&ragged[..], "row 200001: the record has 1 fields where the header has 2"),
        ] {
            for ahead in [false, true] {
                let told = read(file, ahead, 0).unwrap_err();
                assert!(told.contains(problem), "{ahead}: {told}");
            }
        }
        // Nobody waits for the rest of a file that is let go.
        let mut csv = CsvGz::open(io::Cursor::new(whole)).unwrap().read_ahead().unwrap();
        assert_eq!(csv.next_block().unwrap().unwrap().0, 1);
        drop(csv);
    }
}
