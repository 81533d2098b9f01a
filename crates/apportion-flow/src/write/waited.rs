use super::pack::{Order, Packing};
use super::text_rows::TextRows;
use super::waiting::ROW_END;
use super::window::{WINDOW_BYTES, WINDOW_ROWS, Window};
use super::{WriteError, order};
use apportion_core::columns::ExportColumn;
use libdeflater::Decompressor;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Gets a row's cells that aren't blank, each with its place among the export's columns, by ascending place.
pub(super) type EachRow<'a, E> = dyn FnMut(&[(usize, &[u8])]) -> Result<(), E> + 'a;

/// All rows of an export, and its columns.
pub struct WaitedRows {
    /// The columns, in order.
    pub columns: Vec<ExportColumn>,
    /// For each column, whether it has a cell that isn't blank.
    pub filled: Vec<bool>,
    pub(super) keys: [Option<usize>; 3],
    /// The final place of each column as the rows number them.
    pub(super) places: Vec<usize>,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl WaitedRows {
    /// Calls `each` with every row, in the source's order.
    fn for_each<E: From<WriteError>>(&self, each: &mut EachRow<'_, E>) -> Result<(), E> {
        let mut blocks = Blocks::open(&self.path)?;
        while let Some(block) = blocks.next()? {
            let mut rest = block;
            let mut cells: Vec<(usize, &[u8])> = Vec::new();
            while let Some(number) = take_number(&mut rest) {
                if number == ROW_END {
                    cells.sort_by_key(|(place, _)| *place);
                    each(&cells)?;
                    cells.clear();
                    continue;
                }
                let cell = take_number(&mut rest).and_then(|length| {
                    let (cell, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                    rest = behind;
                    Some(cell)
                });
                let place = usize::try_from(number - 1).ok().and_then(|column| self.places.get(column));
                let (Some(place), Some(cell)) = (place, cell) else { return Err(blocks.broken().into()) };
                cells.push((*place, cell));
            }
        }
        Ok(())
    }

    /// Encodes all rows as CSV text; `full` gets each window.
    ///
    /// # Errors
    /// What `full` returns, and a spool that can't be read.
    pub fn into_windows<E: From<WriteError>>(
        self,
        packing: &Packing,
        full: &mut dyn FnMut(Window, Packing) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = TextRows::new(self.columns.len(), self.keys);
        self.for_each(&mut |cells| {
            rows.begin();
            for (place, cell) in cells {
                rows.cell(*place, cell);
            }
            rows.end();
            match rows.take_full() {
                Some(window) => full(window, packing.clone()),
                None => Ok(()),
            }
        })?;
        rows.take_rest().map_or(Ok(()), |window| full(window, packing.clone()))
    }

    /// Hands all rows over in the export's order, which is by window as in csv.gz.
    pub(super) fn for_each_in_order<E: From<WriteError>>(
        &self,
        order: Order,
        each: &mut EachRow<'_, E>,
    ) -> Result<(), E> {
        if order == Order::Source {
            return self.for_each(each);
        }
        let mut window = CellWindow::default();
        self.for_each(&mut |cells| {
            window.push(cells);
            if window.is_full() { window.hand_over(&self.keys, each) } else { Ok(()) }
        })?;
        window.hand_over(&self.keys, each)
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

/// The rows of a window as cells.
#[derive(Default)]
struct CellWindow {
    bytes: Vec<u8>,
    cells: Vec<(u32, Range<usize>)>,
    rows: Vec<Range<usize>>,
}

impl CellWindow {
    fn push(&mut self, cells: &[(usize, &[u8])]) {
        let start = self.cells.len();
        for (place, cell) in cells {
            let from = self.bytes.len();
            self.bytes.extend_from_slice(cell);
            self.cells.push((*place as u32, from..self.bytes.len()));
        }
        self.rows.push(start..self.cells.len());
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= WINDOW_ROWS || self.bytes.len() >= WINDOW_BYTES
    }

    fn cell(&self, row: &Range<usize>, place: Option<usize>) -> &[u8] {
        let cells = self.cells.get(row.clone()).unwrap_or_default();
        let found = place.and_then(|place| cells.iter().find(|(at, _)| *at as usize == place));
        found.and_then(|(_, range)| self.bytes.get(range.clone())).unwrap_or_default()
    }

    fn hand_over<E>(&mut self, keys: &[Option<usize>; 3], each: &mut EachRow<'_, E>) -> Result<(), E> {
        let mut rows = std::mem::take(&mut self.rows);
        let [sku, resource, usage_start] = *keys;
        rows.sort_by_cached_key(|row| {
            order::sort_key(self.cell(row, sku), self.cell(row, resource), self.cell(row, usage_start))
        });
        let mut cells: Vec<(usize, &[u8])> = Vec::new();
        for row in rows {
            cells.clear();
            for (place, range) in self.cells.get(row).unwrap_or_default() {
                cells.push((*place as usize, self.bytes.get(range.clone()).unwrap_or_default()));
            }
            each(&cells)?;
        }
        *self = Self::default();
        Ok(())
    }
}

/// The compressed blocks of a waiting lane's file.
struct Blocks {
    path: PathBuf,
    file: Option<BufReader<File>>,
    packed: Vec<u8>,
    block: Vec<u8>,
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
        Ok(Self { path: path.to_owned(), file, packed: Vec::new(), block: Vec::new() })
    }

    fn broken(&self) -> WriteError {
        let source = std::io::Error::from(ErrorKind::InvalidData);
        WriteError::Io { path: self.path.display().to_string(), doing: "fetching rows that waited", source }
    }

    fn next(&mut self) -> Result<Option<&[u8]>, WriteError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut head = [0; 16];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(_) => return Err(self.broken()),
        }
        let (bytes, packed) = head.split_at(8);
        let number = |text: &[u8]| {
            usize::try_from(text.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let (Ok(bytes), Ok(packed)) = (number(bytes), number(packed)) else { return Err(self.broken()) };
        self.packed.resize(packed, 0);
        self.block.resize(bytes, 0);
        if file.read_exact(&mut self.packed).is_err() {
            return Err(self.broken());
        }
        match Decompressor::new().gzip_decompress(&self.packed, &mut self.block) {
            Ok(length) if length == bytes => Ok(Some(&self.block)),
            _ => Err(self.broken()),
        }
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
