use super::WriteError;
use super::pack::compress;
use super::text_rows::sort_keys;
use super::waited::WaitedRows;
use crate::plant::{self, Plant, is_planted, strikes};
use apportion_core::columns::{ColumnId, Contract, ExportColumn, known};
use apportion_core::line_item::{Batch, Cells};
use apportion_core::mask::{Mask, Rule};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Bytes of rows that are compressed together while they wait.
const BLOCK_BYTES: usize = 256 << 10;
/// Ends a row; columns are counted from 1.
pub(super) const ROW_END: u64 = 0;

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
    /// None: only the columns are of interest.
    path: Option<PathBuf>,
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
    /// A lane whose rows wait in a file that is there for it alone; without one, only its columns are noted.
    pub fn new(contract: Contract, mask: Mask, path: Option<PathBuf>) -> Self {
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
        let Some(path) = self.path.as_deref().filter(|_| !self.block.is_empty()) else {
            self.block.clear();
            return Ok(0);
        };
        let mut packed = (self.block.len() as u64).to_le_bytes().to_vec();
        packed.extend_from_slice(&[0; 8]);
        compress(&self.block, &mut packed)?;
        let length = (packed.len() - 16) as u64;
        packed[8..16].copy_from_slice(&length.to_le_bytes());
        plant::write_point();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(&packed))
            .map_err(|source| WriteError::Io {
                path: path.display().to_string(),
                doing: "keeping rows that wait",
                source,
            })?;
        self.block.clear();
        self.bytes += packed.len() as u64;
        Ok(packed.len() as u64)
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
        if self.contract != Contract::Eco && strikes(Plant::ColumnStray) {
            self.new_column("resource_tags_user_planted", "resourceTags/user:planted", None);
        }
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
            path: self.path.unwrap_or_default(),
            bytes: self.bytes,
        })
    }
}

impl WaitingColumn {
    fn new(export: ExportColumn) -> Self {
        Self { export, filled: false, row: 0 }
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
