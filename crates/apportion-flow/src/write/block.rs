use super::dictionary::BLANK;
use super::waiting::WaitingColumn;
use std::ops::Range;

/// Bytes that a cell which isn't blank takes besides its text's own when it is encoded: a length or a place in the
/// dictionary, and what a double is longer than a number's text.
const CELL_BYTES: u32 = 6;

/// How the codes of a block's column are written: 0 is a blank cell, 1 the first text.
#[derive(Clone, Copy)]
enum Width {
    /// All rows have one code.
    One,
    Bytes(usize),
}

/// Appends a block of rows: its length, how many rows, and for each column that isn't blank its number, texts and codes.
pub(super) fn push_block(out: &mut Vec<u8>, rows: usize, columns: &[WaitingColumn]) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    push(out, rows as u32);
    for (number, column) in (0u32..).zip(columns).filter(|(_, column)| !column.codes.is_empty()) {
        push(out, number);
        push_texts(out, column);
        push_codes(out, rows, column);
    }
    let length = (out.len() - start - 8) as u64;
    if let Some(head) = out.get_mut(start..start + 8) {
        head.copy_from_slice(&length.to_le_bytes());
    }
}

fn push(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn push_texts(out: &mut Vec<u8>, column: &WaitingColumn) {
    let texts = &column.dictionary.texts;
    push(out, texts.len() as u32);
    let mut end = 0;
    for place in 0..texts.len() {
        end += texts.get(place).len() as u32;
        push(out, end);
    }
    for place in 0..texts.len() {
        out.extend_from_slice(texts.get(place));
    }
}

fn push_codes(out: &mut Vec<u8>, rows: usize, column: &WaitingColumn) {
    let written = column.codes.iter().map(|code| code.wrapping_add(1));
    let blanks = rows - column.codes.len();
    let first = column.codes.first().copied().unwrap_or(BLANK);
    if blanks == 0 && column.codes.iter().all(|code| *code == first) {
        out.push(0);
        push(out, first.wrapping_add(1));
        return;
    }
    let texts = column.dictionary.texts.len();
    let width = if texts <= 0xFF {
        out.push(1);
        out.extend(written.map(|code| code as u8));
        1
    } else if texts <= 0xFFFF {
        out.push(2);
        out.extend(written.flat_map(|code| (code as u16).to_le_bytes()));
        2
    } else {
        out.push(4);
        out.extend(written.flat_map(u32::to_le_bytes));
        4
    };
    out.resize(out.len() + blanks * width, 0);
}

/// A block that was read again.
pub(super) struct Block {
    data: Vec<u8>,
    pub(super) rows: usize,
    columns: Vec<BlockColumn>,
    /// Bytes of each row, about as many as it has when it is encoded.
    pub(super) row_bytes: Vec<u32>,
}

pub(super) struct BlockColumn {
    /// Which of the lane's columns.
    number: usize,
    /// Where each text ends, behind `texts`.
    ends: Vec<u32>,
    texts: usize,
    codes: Range<usize>,
    width: Width,
}

impl Block {
    /// Reads what [`push_block`] wrote behind the length; None if it isn't that.
    pub(super) fn parse(data: Vec<u8>) -> Option<Self> {
        let mut at = 0;
        let rows = take(&data, &mut at)? as usize;
        let mut columns = Vec::new();
        while at < data.len() {
            let number = take(&data, &mut at)? as usize;
            let count = take(&data, &mut at)?;
            let ends = (0..count).map(|_| take(&data, &mut at)).collect::<Option<Vec<u32>>>()?;
            let texts = at;
            at = at.checked_add(ends.last().map_or(0, |end| *end as usize))?;
            let width = *data.get(at)?;
            at += 1;
            let bytes = if width == 0 { 4 } else { rows * usize::from(width) };
            let codes = at..at.checked_add(bytes)?;
            at = codes.end;
            data.get(codes.clone())?;
            let width = if width == 0 { Width::One } else { Width::Bytes(usize::from(width)) };
            columns.push(BlockColumn { number, ends, texts, codes, width });
        }
        let mut block = Self { data, rows, columns, row_bytes: Vec::new() };
        block.row_bytes = block.bytes_of_rows();
        Some(block)
    }

    fn bytes_of_rows(&self) -> Vec<u32> {
        let (mut every, mut rows, mut codes) = (0, vec![0u32; self.rows], Vec::new());
        for column in &self.columns {
            let bytes_of = |code: u32| match self.text(column, code).len() as u32 {
                0 => 0,
                bytes => bytes.saturating_add(CELL_BYTES),
            };
            if matches!(column.width, Width::One) {
                every += self.codes_of(column, 0..1, &mut codes).first().map_or(0, |code| bytes_of(*code));
                continue;
            }
            let sizes: Vec<u32> = (0..column.ends.len() as u32).map(bytes_of).collect();
            for (row, code) in rows.iter_mut().zip(self.codes_of(column, 0..self.rows, &mut codes)) {
                *row = row.saturating_add(sizes.get(*code as usize).copied().unwrap_or(0));
            }
        }
        rows.iter_mut().for_each(|row| *row = row.saturating_add(every));
        rows
    }

    /// One of the lane's columns, if it isn't blank here.
    pub(super) fn column(&self, number: usize) -> Option<&BlockColumn> {
        let place = self.columns.binary_search_by_key(&number, |column| column.number).ok()?;
        self.columns.get(place)
    }

    /// How many texts a column has.
    pub(super) fn texts(column: &BlockColumn) -> usize {
        column.ends.len()
    }

    /// The text of a code.
    pub(super) fn text(&self, column: &BlockColumn, code: u32) -> &[u8] {
        let code = code as usize;
        let start = code.checked_sub(1).and_then(|before| column.ends.get(before)).copied().unwrap_or(0);
        let Some(end) = column.ends.get(code) else { return &[] };
        self.data.get(column.texts + start as usize..column.texts + *end as usize).unwrap_or_default()
    }

    /// The codes of some rows, in `codes`.
    pub(super) fn codes_of<'a>(
        &self,
        column: &BlockColumn,
        rows: Range<usize>,
        codes: &'a mut Vec<u32>,
    ) -> &'a [u32] {
        codes.clear();
        let written = self.data.get(column.codes.clone()).unwrap_or_default();
        let part = |width: usize| written.get(rows.start * width..rows.end * width).unwrap_or_default();
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        match column.width {
            Width::One => codes.resize(rows.len(), number(written).wrapping_sub(1)),
            Width::Bytes(1) => codes.extend(part(1).iter().map(|code| u32::from(*code).wrapping_sub(1))),
            Width::Bytes(width) => {
                codes.extend(part(width).chunks_exact(width).map(|code| number(code).wrapping_sub(1)))
            }
        }
        codes
    }
}

fn take(data: &[u8], at: &mut usize) -> Option<u32> {
    let bytes = data.get(*at..*at + 4)?;
    *at += 4;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
