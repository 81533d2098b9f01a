use super::WriteError;
use super::block::push_block;
use super::dictionary::{BLANK, Dictionary};
use super::text_rows::sort_keys;
use super::waited::WaitedRows;
use crate::plant::{self, Plant, is_planted, strikes};
use apportion_core::columns::{ColumnId, Contract, ExportColumn, known};
use apportion_core::line_item::{Batch, Cells, Texts};
use apportion_core::mask::{Mask, Rule};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Rows of a block when it goes to the disk: enough for its dictionaries to pay.
const BLOCK_ROWS: usize = 4096;
/// Bytes of a block when it goes to the disk, however few rows are in it.
const BLOCK_BYTES: usize = 4 << 20;
/// Bytes that a text takes in memory besides its own: its end, its hash and code, and what the tables keep free.
const TEXT_BYTES: usize = 40;
/// Texts of a dictionary of the source up to which what became of each is remembered for a batch.
const REMEMBERED: usize = 1 << 16;

/// One column that an export may have, and its cells in the present block.
pub(super) struct WaitingColumn {
    pub(super) export: ExportColumn,
    /// Whether a cell that isn't blank has been seen.
    filled: bool,
    /// The row that gave it its header, counted over the whole lane.
    named_by: u64,
    pub(super) dictionary: Dictionary,
    /// One per row; none behind the last that isn't blank.
    pub(super) codes: Vec<u32>,
}

/// The rows of an export that can't be encoded before its last row is known: of a contract whose columns depend on
/// the rows, or of a format that is written column by column.
///
/// Until then they wait in the spool, masked, in blocks of some rows: per column each text once, and a code per row. So
/// a text is masked and copied once for all rows of a block, and costs as little where it is read again.
pub struct WaitingLane {
    contract: Contract,
    columns: Vec<WaitingColumn>,
    /// The known columns that the contract takes, the fixed ones first, with the lane's column once there is one.
    known: Vec<(ColumnId, Rule, Option<usize>)>,
    by_name: HashMap<String, usize>,
    /// None: only the columns are of interest.
    path: Option<PathBuf>,
    /// Rows of the present block, and of those before it.
    rows: usize,
    rows_before: u64,
    /// About what its cells take in memory.
    block_bytes: usize,
    /// Bytes on the disk.
    bytes: u64,
    coder: Coder,
}

impl WaitingLane {
    /// A lane whose rows wait in a file that is there for it alone; without one, only its columns are noted.
    pub fn new(contract: Contract, mask: Mask, path: Option<PathBuf>) -> Self {
        let fixed = contract.fixed();
        let taken = known().all().filter(|(id, column)| {
            contract != Contract::Eco && !fixed.contains(id) && contract.takes(&column.name)
        });
        let rule = |id| Rule::of(known().get(id));
        let columns = fixed.iter().enumerate().map(|(place, id)| (*id, rule(*id), Some(place)));
        Self {
            contract,
            columns: fixed.iter().map(|id| WaitingColumn::new(ExportColumn::known(*id))).collect(),
            known: columns.chain(taken.map(|(id, _)| (id, rule(id), None))).collect(),
            by_name: HashMap::new(),
            path,
            rows: 0,
            rows_before: 0,
            block_bytes: 0,
            bytes: 0,
            coder: Coder::new(mask),
        }
    }

    /// Appends rows of a batch; returns how many bytes went to the disk.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn append(&mut self, batch: &Batch, rows: &[u32]) -> Result<u64, WriteError> {
        let kept: Vec<u32>;
        let rows = if is_planted(Plant::WriteDrop) {
            kept = rows.iter().copied().filter(|_| !strikes(Plant::WriteDrop)).collect();
            &kept
        } else {
            rows
        };
        let payers = batch.column(known().well_known().payer_account);
        // What a mask makes of a text depends on the row by its payer alone.
        let same_payer = |left: &u32, right: &u32| match payers {
            Cells::Blank => true,
            Cells::Coded { codes, .. } => codes.get(*left as usize) == codes.get(*right as usize),
            _ => payers.get(*left as usize) == payers.get(*right as usize),
        };
        for run in rows.chunk_by(same_payer) {
            let payer = run.first().map_or(&[][..], |row| payers.get(*row as usize));
            self.append_run(batch, run, payer);
        }
        if self.rows >= BLOCK_ROWS || self.block_bytes >= BLOCK_BYTES { self.flush() } else { Ok(0) }
    }

    /// Appends rows that have the same payer.
    fn append_run(&mut self, batch: &Batch, rows: &[u32], payer: &[u8]) {
        for at in 0..self.known.len() {
            let Some((id, rule, place)) = self.known.get(at).copied() else { continue };
            let cells = batch.column(id);
            if !cells.is_blank() {
                let column = place.and_then(|place| self.columns.get_mut(place));
                if self.coder.code(cells, rows, rule, payer, column.map(|column| &mut column.dictionary)) {
                    let place = place.unwrap_or_else(|| self.new_column(ExportColumn::known(id)));
                    if let Some(known) = self.known.get_mut(at) {
                        known.2 = Some(place);
                    }
                    self.take_codes(place);
                }
            }
        }
        if self.contract != Contract::Eco {
            for other in batch.other.iter().filter(|other| !other.cells.is_blank()) {
                if self.contract.takes(&other.name) {
                    let (rule, place) =
                        (Rule::of_other(&other.name), self.by_name.get(&*other.name).copied());
                    let column = place.and_then(|place| self.columns.get_mut(place));
                    let dictionary = column.map(|column| &mut column.dictionary);
                    if self.coder.code(&other.cells, rows, rule, payer, dictionary) {
                        let row = self.coder.codes.iter().take_while(|code| **code == BLANK).count();
                        let row = self.rows_before + (self.rows + row) as u64;
                        let place = place.unwrap_or_else(|| self.new_other(&other.name, &other.header, row));
                        self.name_by(place, &other.name, &other.header, row);
                        self.take_codes(place);
                    }
                }
            }
        }
        self.rows += rows.len();
    }

    /// Gives a column the codes of the rows that are being appended. Several columns of a source may have one name: the
    /// first cell that isn't blank counts.
    fn take_codes(&mut self, place: usize) {
        let Some(column) = self.columns.get_mut(place) else { return };
        column.filled = true;
        if !self.coder.fresh.texts.is_empty() {
            column.dictionary = std::mem::take(&mut self.coder.fresh);
        }
        if column.codes.len() <= self.rows {
            column.codes.resize(self.rows, BLANK);
            column.codes.extend_from_slice(&self.coder.codes);
        } else {
            for (there, code) in column.codes.iter_mut().skip(self.rows).zip(&self.coder.codes) {
                if *there == BLANK {
                    *there = *code;
                }
            }
        }
        column.dictionary.cells = column.codes.len();
        self.block_bytes += self.coder.codes.len() * size_of::<u32>() + self.coder.bytes;
    }

    fn new_other(&mut self, name: &str, header: &str, row: u64) -> usize {
        let place = self.new_column(ExportColumn::other(name, header));
        self.by_name.insert(name.to_owned(), place);
        if let Some(column) = self.columns.get_mut(place) {
            column.named_by = row;
        }
        place
    }

    /// Columns of a source that have one name may have several headers: that of the first row's cell counts, in whatever
    /// batch it came.
    fn name_by(&mut self, place: usize, name: &str, header: &str, row: u64) {
        if let Some(column) = self.columns.get_mut(place).filter(|column| row < column.named_by) {
            column.named_by = row;
            column.export = ExportColumn::other(name, header);
        }
    }

    fn new_column(&mut self, export: ExportColumn) -> usize {
        self.columns.push(WaitingColumn::new(export));
        self.columns.len() - 1
    }

    /// Bytes of rows that wait in memory.
    pub fn waiting_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Moves the rows that wait in memory to the disk; returns how many bytes they became.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn flush(&mut self) -> Result<u64, WriteError> {
        let rows = std::mem::take(&mut self.rows);
        self.rows_before += rows as u64;
        self.block_bytes = 0;
        let mut block = Vec::new();
        if self.path.is_some() && rows > 0 {
            push_block(&mut block, rows, &self.columns);
        }
        for column in &mut self.columns {
            column.codes.clear();
            if !column.dictionary.texts.is_empty() {
                column.dictionary = Dictionary::default();
            }
        }
        let Some(path) = self.path.as_deref().filter(|_| rows > 0) else { return Ok(0) };
        plant::write_point();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(&block))
            .map_err(|source| WriteError::Io {
            path: path.display().to_string(),
            doing: "keeping rows that wait",
            source,
        })?;
        self.bytes += block.len() as u64;
        Ok(block.len() as u64)
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
            self.new_other("resource_tags_user_planted", "resourceTags/user:planted", 0);
        }
        let fixed = self.contract.fixed().len();
        let mut order: Vec<usize> = (fixed..self.columns.len()).collect();
        order.sort_by(|left, right| self.columns[*left].export.name.cmp(&self.columns[*right].export.name));
        let mut places: Vec<usize> = (0..self.columns.len()).collect();
        for (place, column) in order.iter().enumerate() {
            places[*column] = fixed + place;
        }
        let numbers: Vec<usize> = (0..fixed).chain(order).collect();
        let in_order = || numbers.iter().map(|column| &self.columns[*column]);
        let place_of = |key: ColumnId| {
            let (_, _, column) = self.known.iter().find(|(id, _, _)| *id == key)?;
            column.and_then(|column| places.get(column)).copied()
        };
        Ok(WaitedRows {
            columns: in_order().map(|column| column.export.clone()).collect(),
            filled: in_order().map(|column| column.filled).collect(),
            keys: sort_keys(place_of),
            numbers,
            path: self.path.unwrap_or_default(),
            bytes: self.bytes,
        })
    }
}

impl WaitingColumn {
    fn new(export: ExportColumn) -> Self {
        Self { export, filled: false, named_by: 0, dictionary: Dictionary::default(), codes: Vec::new() }
    }
}

/// Turns cells of a batch into codes of a column's dictionary.
struct Coder {
    mask: Mask,
    /// The codes of the present rows.
    codes: Vec<u32>,
    /// Bytes of texts that came with them.
    bytes: usize,
    /// The texts of a column that isn't there yet.
    fresh: Dictionary,
    /// For each code of the source's dictionary the turn in which it was met last, and what it became.
    met: Vec<(u32, u32)>,
    turn: u32,
    masked: Vec<u8>,
}

impl Coder {
    fn new(mask: Mask) -> Self {
        Self {
            mask,
            codes: Vec::new(),
            bytes: 0,
            fresh: Dictionary::default(),
            met: Vec::new(),
            turn: 0,
            masked: Vec::new(),
        }
    }

    /// Codes the cells of some rows with the same payer; false if all of them are blank. Without a dictionary the texts
    /// go into a fresh one.
    fn code(
        &mut self,
        cells: &Cells,
        rows: &[u32],
        rule: Rule,
        payer: &[u8],
        dictionary: Option<&mut Dictionary>,
    ) -> bool {
        self.codes.clear();
        self.bytes = 0;
        let mut fresh = std::mem::take(&mut self.fresh);
        let none = dictionary.is_none();
        let dictionary = match dictionary {
            Some(there) => there,
            None => &mut fresh,
        };
        let rule = if is_planted(Plant::MaskSkip) { Rule::Keep } else { rule };
        match cells {
            Cells::Blank => {}
            Cells::Coded { codes, texts } if texts.len() <= REMEMBERED => {
                self.code_by_text(codes, texts, rows, rule, payer, dictionary);
            }
            _ => self.code_by_row(cells, rows, rule, payer, dictionary),
        }
        if none && !fresh.texts.is_empty() {
            self.fresh = fresh;
        }
        self.codes.iter().any(|code| *code != BLANK)
    }

    fn code_by_text(
        &mut self,
        codes: &[u32],
        texts: &Texts,
        rows: &[u32],
        rule: Rule,
        payer: &[u8],
        dictionary: &mut Dictionary,
    ) {
        if self.turn == u32::MAX {
            self.met.clear();
            self.turn = 0;
        }
        self.turn += 1;
        if self.met.len() < texts.len() {
            self.met.resize(texts.len(), (0, BLANK));
        }
        for row in rows {
            let source = codes.get(*row as usize).copied().unwrap_or(BLANK) as usize;
            let code = match self.met.get(source) {
                Some((turn, code)) if *turn == self.turn => *code,
                _ => {
                    let code = self.code_of(texts.get(source), rule, payer, dictionary);
                    if let Some(met) = self.met.get_mut(source) {
                        *met = (self.turn, code);
                    }
                    code
                }
            };
            self.codes.push(code);
        }
    }

    fn code_by_row(
        &mut self,
        cells: &Cells,
        rows: &[u32],
        rule: Rule,
        payer: &[u8],
        dictionary: &mut Dictionary,
    ) {
        let mut last: (&[u8], u32) = (&[], BLANK);
        for row in rows {
            let cell = cells.get(*row as usize);
            if cell != last.0 {
                last = (cell, self.code_of(cell, rule, payer, dictionary));
            }
            self.codes.push(last.1);
        }
    }

    fn code_of(&mut self, cell: &[u8], rule: Rule, payer: &[u8], dictionary: &mut Dictionary) -> u32 {
        if cell.is_empty() {
            return BLANK;
        }
        let cell = self.mask.apply(rule, cell, payer, &mut self.masked);
        if cell.is_empty() {
            return BLANK;
        }
        let (texts, seen) = (dictionary.texts.len(), dictionary.cells + self.codes.len());
        let code = dictionary.likely_code_of(cell, seen);
        if code as usize == texts {
            self.bytes += cell.len() + TEXT_BYTES;
        }
        code
    }
}
