use super::WriteError;
use super::pack::{Order, Packing, Window, compress};
use super::text_rows::{TextRows, sort_keys};
use crate::plant::{self, Plant, is_planted, strikes};
use apportion_core::columns::{ColumnId, Contract, ExportColumn, known};
use apportion_core::line_item::{Batch, Cells};
use apportion_core::mask::{Mask, Rule};
use libdeflater::Decompressor;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of rows that are compressed together while they wait.
const BLOCK_BYTES: usize = 256 << 10;
/// Ends a row; columns are counted from 1.
const ROW_END: u64 = 0;

/// One column that an export may have.
struct WaitingColumn {
    export: ExportColumn,
    /// Whether a cell that isn't blank has been seen.
    filled: bool,
    /// The last row that has a cell here: several columns of a source may have one name, the first counts.
    row: u64,
}

/// The rows of an export that can't be encoded before its last row is known: of a contract whose columns depend on
/// the rows, or of a format that is written column by column.
///
/// Until then each row waits in the spool as its cells that aren't blank, masked.
pub struct WaitingLane {
    contract: Contract,
    mask: Mask,
    columns: Vec<WaitingColumn>,
    by_known: HashMap<ColumnId, usize>,
    by_name: HashMap<String, usize>,
    path: PathBuf,
    block: Vec<u8>,
    /// Bytes on the disk.
    bytes: u64,
    rows: u64,
    masked: Vec<u8>,
}

/// A column of a batch, and where its cells go.
struct Source<'a> {
    cells: &'a Cells,
    rule: Rule,
    /// The lane's column, once it has one.
    place: Option<usize>,
    name: &'a str,
    header: &'a str,
    id: Option<ColumnId>,
}

impl WaitingLane {
    /// A lane whose rows wait in a file that is there for it alone.
    pub fn new(contract: Contract, mask: Mask, path: PathBuf) -> Self {
        let columns = contract.fixed().iter().map(|id| WaitingColumn::new(ExportColumn::known(*id)));
        Self {
            contract,
            mask,
            columns: columns.collect(),
            by_known: contract.fixed().iter().enumerate().map(|(place, id)| (*id, place)).collect(),
            by_name: HashMap::new(),
            path,
            block: Vec::new(),
            bytes: 0,
            rows: 0,
            masked: Vec::new(),
        }
    }

    /// Appends rows of a batch; returns how many bytes went to the disk.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn append(&mut self, batch: &Batch, rows: &[u32]) -> Result<u64, WriteError> {
        let mut sources = self.sources(batch);
        let payers = batch.column(known().well_known().payer_account);
        let mut written = 0;
        for row in rows {
            if strikes(Plant::WriteDrop) {
                continue;
            }
            self.rows += 1;
            for source in &mut sources {
                self.append_cell(source, *row as usize, payers);
            }
            push_number(&mut self.block, ROW_END);
            if self.block.len() >= BLOCK_BYTES {
                written += self.flush()?;
            }
        }
        Ok(written)
    }

    /// The batch's columns that the contract takes, the fixed ones first.
    fn sources<'a>(&self, batch: &'a Batch) -> Vec<Source<'a>> {
        let mut sources = Vec::new();
        for id in self.contract.fixed() {
            sources.push(self.known_source(batch, *id));
        }
        if self.contract != Contract::Eco {
            for (id, column) in known().all() {
                if !self.contract.fixed().contains(&id) && self.contract.takes(&column.name) {
                    sources.push(self.known_source(batch, id));
                }
            }
            for other in batch.other.iter().filter(|other| self.contract.takes(&other.name)) {
                let rule = Rule::of_other(&other.name);
                let place = self.by_name.get(&*other.name).copied();
                sources.push(Source {
                    cells: &other.cells,
                    rule,
                    place,
                    name: &other.name,
                    header: &other.header,
                    id: None,
                });
            }
        }
        sources.retain(|source| !source.cells.is_blank());
        sources
    }

    fn known_source<'a>(&self, batch: &'a Batch, id: ColumnId) -> Source<'a> {
        let column = known().get(id);
        let place = self.by_known.get(&id).copied();
        Source {
            cells: batch.column(id),
            rule: Rule::of(column),
            place,
            name: &column.name,
            header: "",
            id: Some(id),
        }
    }

    fn append_cell(&mut self, source: &mut Source<'_>, row: usize, payers: &Cells) {
        let cell = source.cells.get(row);
        if cell.is_empty() {
            return;
        }
        let rule = if is_planted(Plant::MaskSkip) { Rule::Keep } else { source.rule };
        let mut masked = std::mem::take(&mut self.masked);
        let cell = self.mask.apply(rule, cell, payers.get(row), &mut masked);
        if !cell.is_empty() {
            let place =
                *source.place.get_or_insert_with(|| self.new_column(source.name, source.header, source.id));
            let column = &mut self.columns[place];
            if column.row != self.rows {
                column.row = self.rows;
                column.filled = true;
                push_number(&mut self.block, place as u64 + 1);
                push_number(&mut self.block, cell.len() as u64);
                self.block.extend_from_slice(cell);
            }
        }
        self.masked = masked;
    }

    fn new_column(&mut self, name: &str, header: &str, id: Option<ColumnId>) -> usize {
        let there = match id {
            Some(id) => self.by_known.get(&id),
            None => self.by_name.get(name),
        };
        if let Some(place) = there {
            return *place;
        }
        let place = self.columns.len();
        let export = match id {
            Some(id) => {
                self.by_known.insert(id, place);
                ExportColumn::known(id)
            }
            None => {
                self.by_name.insert(name.to_owned(), place);
                ExportColumn::other(name, header)
            }
        };
        self.columns.push(WaitingColumn::new(export));
        place
    }

    /// Bytes of rows that wait in memory.
    pub fn waiting_bytes(&self) -> usize {
        self.block.len()
    }

    /// Moves the rows that wait in memory to the disk; returns how many bytes they became.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn flush(&mut self) -> Result<u64, WriteError> {
        if self.block.is_empty() {
            return Ok(0);
        }
        let mut packed = (self.block.len() as u64).to_le_bytes().to_vec();
        packed.extend_from_slice(&[0; 8]);
        compress(&self.block, &mut packed)?;
        let length = (packed.len() - 16) as u64;
        packed[8..16].copy_from_slice(&length.to_le_bytes());
        plant::write_point();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&packed))
            .map_err(|source| self.error("keeping rows that wait", source))?;
        self.block.clear();
        self.bytes += packed.len() as u64;
        Ok(packed.len() as u64)
    }

    fn error(&self, doing: &'static str, source: std::io::Error) -> WriteError {
        WriteError::Io { path: self.path.display().to_string(), doing, source }
    }

    /// After the last row: the export's columns are known, and its rows can be read.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn finish(
        mut self,
        reserve: &mut dyn FnMut(u64) -> Result<(), WriteError>,
    ) -> Result<WaitedRows, WriteError> {
        reserve(self.flush()?)?;
        let fixed = self.contract.fixed().len();
        let mut order: Vec<usize> = (fixed..self.columns.len()).collect();
        order.sort_by(|left, right| self.columns[*left].export.name.cmp(&self.columns[*right].export.name));
        let mut places: Vec<usize> = (0..self.columns.len()).collect();
        for (place, column) in order.iter().enumerate() {
            places[*column] = fixed + place;
        }
        let in_order = || (0..fixed).chain(order.iter().copied()).map(|column| &self.columns[column]);
        Ok(WaitedRows {
            columns: in_order().map(|column| column.export.clone()).collect(),
            filled: in_order().map(|column| column.filled).collect(),
            keys: sort_keys(|key| self.by_known.get(&key).map(|column| places[*column])),
            places,
            path: self.path,
            bytes: self.bytes,
        })
    }
}

impl WaitingColumn {
    fn new(export: ExportColumn) -> Self {
        Self { export, filled: false, row: 0 }
    }
}

/// All rows of an export, and its columns.
pub struct WaitedRows {
    /// The columns, in order.
    pub columns: Vec<ExportColumn>,
    /// For each column, whether it has a cell that isn't blank.
    pub filled: Vec<bool>,
    keys: [Option<usize>; 3],
    /// The final place of each column as the rows number them.
    places: Vec<usize>,
    path: PathBuf,
    bytes: u64,
}

impl WaitedRows {
    /// Calls `each` with every row in the source's order: place and cell, by ascending place.
    fn for_each<E: From<WriteError>>(
        &self,
        each: &mut dyn FnMut(&[(usize, &[u8])]) -> Result<(), E>,
    ) -> Result<(), E> {
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
            match rows.take_full(packing.window_rows()) {
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
        each: &mut dyn FnMut(&[(usize, &[u8])]) -> Result<(), E>,
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
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
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
    cells: Vec<(u32, std::ops::Range<usize>)>,
    rows: Vec<std::ops::Range<usize>>,
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
        self.rows.len() >= super::pack::WINDOW_ROWS || self.bytes.len() >= super::pack::WINDOW_BYTES
    }

    fn cell(&self, row: &std::ops::Range<usize>, place: Option<usize>) -> &[u8] {
        let cells = self.cells.get(row.clone()).unwrap_or_default();
        let found = place.and_then(|place| cells.iter().find(|(at, _)| *at as usize == place));
        found.and_then(|(_, range)| self.bytes.get(range.clone())).unwrap_or_default()
    }

    fn hand_over<E>(
        &mut self,
        keys: &[Option<usize>; 3],
        each: &mut dyn FnMut(&[(usize, &[u8])]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|left, right| {
            keys.iter().map(|key| self.cell(left, *key)).cmp(keys.iter().map(|key| self.cell(right, *key)))
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => {
                return Err(WriteError::Io { path: path.display().to_string(), doing: "opening", source });
            }
        };
        Ok(Self { path: path.to_owned(), file, packed: Vec::new(), block: Vec::new() })
    }

    fn broken(&self) -> WriteError {
        let source = std::io::Error::from(std::io::ErrorKind::InvalidData);
        WriteError::Io { path: self.path.display().to_string(), doing: "fetching rows that waited", source }
    }

    fn next(&mut self) -> Result<Option<&[u8]>, WriteError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut head = [0; 16];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
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

/// LEB128.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
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
