use super::WriteError;
use super::block::Block;
use super::buffers::Buffers;
use super::dictionary::{BLANK, Dictionary};
use super::order::sort_key;
use super::pack::{Order, Packing};
use super::text_rows::TextRows;
use super::window::{WINDOW_BYTES, WINDOW_ROWS, Window};
use apportion_core::columns::ExportColumn;
use apportion_core::line_item::Texts;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the largest block that is read again: far more than a lane keeps in memory.
const MOST_BLOCK: u64 = 2 << 30;

/// All rows of an export, and its columns.
pub struct WaitedRows {
    /// The columns, in order.
    pub columns: Vec<ExportColumn>,
    /// For each column, whether it has a cell that isn't blank.
    pub filled: Vec<bool>,
    /// Where SKU, resource id and usage start stand.
    pub(super) keys: [Option<usize>; 3],
    /// The lane's column of each column.
    pub(super) numbers: Vec<usize>,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl WaitedRows {
    /// The rows in the source's order, group by group.
    pub(super) fn groups(&self) -> Result<Groups<'_>, WriteError> {
        Ok(Groups { waited: self, blocks: Blocks::open(&self.path)?, ahead: None })
    }

    /// Encodes all rows as CSV text; `full` gets each window.
    ///
    /// # Errors
    /// What `full` returns, and a spool that can't be read.
    pub fn into_windows<E: From<WriteError>>(
        self,
        packing: &Packing,
        buffers: &Buffers,
        full: &mut dyn FnMut(Window, Packing) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = TextRows::new(self.columns.len(), self.keys, buffers);
        let mut groups = self.groups()?;
        while let Some(group) = groups.next(WINDOW_ROWS, WINDOW_BYTES as u64)? {
            let columns: Vec<(usize, GroupColumn)> = (0..self.columns.len())
                .map(|place| (place, group.column(place)))
                .filter(|(_, column)| !column.codes.is_empty())
                .collect();
            for row in 0..group.rows {
                rows.begin();
                for (place, column) in &columns {
                    let cell = column.get(row);
                    if !cell.is_empty() {
                        rows.cell(*place, cell);
                    }
                }
                rows.end();
                if let Some(window) = rows.take_full() {
                    full(window, packing.clone())?;
                }
            }
        }
        rows.take_rest().map_or(Ok(()), |window| full(window, packing.clone()))
    }

    /// Removes the rows from the spool.
    ///
    /// # Errors
    /// A file that can't be removed.
    pub fn remove(path: &Path) -> Result<(), WriteError> {
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(WriteError::Io { path: path.display().to_string(), doing: "removing", source })
            }
            _ => Ok(()),
        }
    }

    /// Where the rows wait.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes they are there.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Reads the rows again, some at a time.
pub(super) struct Groups<'a> {
    waited: &'a WaitedRows,
    blocks: Blocks,
    /// A block of which so many rows were handed over already.
    ahead: Option<(Arc<Block>, usize)>,
}

impl<'a> Groups<'a> {
    /// The next group: it ends with the row with which it has so many rows or bytes, wherever blocks end.
    pub(super) fn next(&mut self, rows: usize, bytes: u64) -> Result<Option<Group<'a>>, WriteError> {
        let mut group = Group { waited: self.waited, parts: Vec::new(), rows: 0 };
        let mut group_bytes = 0;
        while group.rows < rows && group_bytes < bytes {
            let next = match self.ahead.take() {
                Some(ahead) => Some(ahead),
                None => self.blocks.next()?.map(|block| (Arc::new(block), 0)),
            };
            let Some((block, from)) = next else { break };
            let mut to = from;
            while to < block.rows && group.rows < rows && group_bytes < bytes {
                group_bytes += block.row_bytes.get(to).map_or(0, |bytes| u64::from(*bytes));
                (to, group.rows) = (to + 1, group.rows + 1);
            }
            if to < block.rows {
                self.ahead = Some((Arc::clone(&block), to));
            }
            group.parts.push((block, from..to));
        }
        Ok((group.rows > 0).then_some(group))
    }
}

/// Some rows that follow each other.
pub(super) struct Group<'a> {
    waited: &'a WaitedRows,
    parts: Vec<(Arc<Block>, Range<usize>)>,
    pub(super) rows: usize,
}

/// The cells of a column in a group, each text once, in the order in which they come first.
pub(super) struct GroupColumn {
    pub(super) texts: Texts,
    /// One per row; none if all of them are blank.
    pub(super) codes: Vec<u32>,
}

impl GroupColumn {
    /// The cell of a row.
    pub(super) fn get(&self, row: usize) -> &[u8] {
        self.codes.get(row).map_or(&[], |code| self.texts.get(*code as usize))
    }
}

impl Group<'_> {
    /// The cells of one of the export's columns: the same ones, whatever blocks they waited in.
    pub(super) fn column(&self, place: usize) -> GroupColumn {
        let number = self.waited.numbers.get(place).copied().unwrap_or(usize::MAX);
        let (mut dictionary, mut codes) = (Dictionary::default(), Vec::new());
        let (mut here, mut known) = (Vec::new(), Vec::new());
        let mut rows = 0;
        for (block, part) in &self.parts {
            if let Some(column) = block.column(number) {
                codes.resize(rows, BLANK);
                codes.reserve(self.rows - rows);
                known.clear();
                known.resize(Block::texts(column), BLANK);
                for code in block.codes_of(column, part.clone(), &mut here) {
                    let Some(known) = known.get_mut(*code as usize) else {
                        codes.push(BLANK);
                        continue;
                    };
                    if *known == BLANK {
                        *known = dictionary.code_of(block.text(column, *code));
                    }
                    codes.push(*known);
                }
            }
            rows += part.len();
        }
        if dictionary.texts.is_empty() {
            codes.clear();
        } else {
            codes.resize(rows, BLANK);
        }
        GroupColumn { texts: dictionary.texts, codes }
    }

    /// The order in which the rows are to stand: by window as in csv.gz.
    pub(super) fn in_order(&self, order: Order) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.rows as u32).collect();
        if order == Order::Sorted {
            let keys = self.waited.keys.map(|place| place.map(|place| self.column(place)));
            let [sku, resource, start] = &keys;
            let keys: Vec<u128> = (0..self.rows)
                .map(|row| sort_key(cell_of(sku, row), cell_of(resource, row), cell_of(start, row)))
                .collect();
            for window in rows.chunks_mut(WINDOW_ROWS) {
                window.sort_by_key(|row| keys.get(*row as usize).copied());
            }
        }
        rows
    }
}

fn cell_of(column: &Option<GroupColumn>, row: usize) -> &[u8] {
    column.as_ref().map_or(&[], |column| column.get(row))
}

/// The blocks of a waiting lane's file.
struct Blocks {
    path: PathBuf,
    file: Option<BufReader<File>>,
}

impl Blocks {
    fn open(path: &Path) -> Result<Self, WriteError> {
        let file = match File::open(path) {
            Ok(file) => Some(BufReader::new(file)),
            // A lane without rows never made its file.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => {
                return Err(WriteError::Io { path: path.display().to_string(), doing: "opening", source });
            }
        };
        Ok(Self { path: path.to_owned(), file })
    }

    fn broken(&self) -> WriteError {
        let source = std::io::Error::from(ErrorKind::InvalidData);
        WriteError::Io { path: self.path.display().to_string(), doing: "fetching rows that waited", source }
    }

    fn next(&mut self) -> Result<Option<Block>, WriteError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut length = [0; 8];
        match file.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(_) => return Err(self.broken()),
        }
        let length = u64::from_le_bytes(length);
        let mut block = Vec::new();
        let read = file.take(length.min(MOST_BLOCK)).read_to_end(&mut block);
        if read.is_err() || block.len() as u64 != length {
            return Err(self.broken());
        }
        Block::parse(block).map(Some).ok_or_else(|| self.broken())
    }
}
