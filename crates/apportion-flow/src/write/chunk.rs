use super::WriteError;
use super::dictionary::BLANK;
use super::waited::GroupColumn;
use super::window::WINDOW_ROWS;
use crate::plant::{Plant, strikes};
use apportion_core::columns::ColumnType;
use apportion_core::csv::push_cell;
use apportion_core::line_item::Texts;
use apportion_core::money::{DifferenceSum, Number};
use apportion_model::Instant;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::collections::HashMap;
use std::io::Write as _;

/// Rows of a page.
const PAGE_ROWS: usize = WINDOW_ROWS;
/// Bytes of values, before they are compressed, at which a page ends.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of the longest text that is told as a column's smallest or largest.
const TOLD_BYTES: usize = 64;

/// A column of a row group as a file holds it.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
    /// The text that a reader makes of each value, and which of them each row has, in the source's order; one code if
    /// all rows have it.
    pub(super) texts: Texts,
    pub(super) codes: Vec<u32>,
    /// What the doubles are more than the numbers.
    pub(super) difference: DifferenceSum,
    /// Cells of which no value could be made.
    pub(super) not_represented: u64,
}

/// Encodes a column of a row group, whose rows stand in this order. A column of which the export has no cell that isn't
/// blank (`filled` is false) is null.
pub(super) fn encode(
    column: GroupColumn,
    kind: ColumnType,
    filled: bool,
    order: &[u32],
    description: ColumnDescPtr,
) -> Result<Chunk, WriteError> {
    let GroupColumn { texts: cells, mut codes } = column;
    let mut values = Values::new(kind);
    // Blank cells come first, so that a code is the place of a value.
    let mut counts = vec![0u64; cells.len() + 1];
    let first = codes.first().copied().unwrap_or(BLANK);
    let every = codes.iter().all(|code| *code == first);
    if every {
        codes = vec![first];
    }
    for code in &mut codes {
        *code = code.wrapping_add(1);
        if let Some(count) = counts.get_mut(*code as usize) {
            *count += if every { order.len() as u64 } else { 1 };
        }
    }
    for (place, count) in counts.iter().enumerate() {
        let cell = place.checked_sub(1).map_or(&[][..], |place| cells.get(place));
        values.push(cell, *count, filled);
    }
    let mut pages = Pages::new();
    if every {
        let place = first.wrapping_add(1) as usize;
        values.write_one(place, order.len(), &mut pages).map_err(wrong)?;
    } else {
        let in_order = order.iter().map(|row| codes.get(*row as usize).copied().unwrap_or(0));
        values.write(in_order.collect(), &counts, &mut pages).map_err(wrong)?;
    }
    let (bytes, close) = pages.finish(order.len(), &values, description).map_err(wrong)?;
    let Values { lines, difference, not_represented, .. } = values;
    Ok(Chunk { bytes, close, texts: lines, codes, difference, not_represented })
}

fn wrong(error: ParquetError) -> WriteError {
    WriteError::Compress(error.to_string())
}

/// The distinct values of a column.
struct Values {
    kind: ColumnType,
    /// Each as Parquet's plain encoding has it; blank for a null.
    plain: Texts,
    /// Each as the line of a CSV has it.
    lines: Texts,
    difference: DifferenceSum,
    not_represented: u64,
    /// The smallest and the largest, as plain numbers or texts.
    moments: Option<(i64, i64)>,
    texts: Option<(Vec<u8>, Vec<u8>)>,
}

impl Values {
    fn new(kind: ColumnType) -> Self {
        Self {
            kind,
            plain: Texts::default(),
            lines: Texts::default(),
            difference: DifferenceSum::default(),
            not_represented: 0,
            moments: None,
            texts: None,
        }
    }

    /// Adds the value of a text that so many cells have.
    fn push(&mut self, cell: &[u8], count: u64, filled: bool) {
        let made = match self.kind {
            ColumnType::String if filled && count > 0 => {
                self.push_text(cell, count);
                true
            }
            ColumnType::Double => self.push_double(cell, count),
            ColumnType::Timestamp => self.push_moment(cell),
            ColumnType::String => false,
        };
        if !made {
            self.plain.push(&[]);
            self.lines.push(&[]);
            self.not_represented += if cell.is_empty() { 0 } else { count };
        }
    }

    fn push_text(&mut self, cell: &[u8], count: u64) {
        let text = String::from_utf8_lossy(cell);
        if let std::borrow::Cow::Owned(_) = text {
            self.not_represented += count;
        }
        self.lines.push_with(|line| push_cell(line, text.as_bytes()));
        let text = if strikes(Plant::WriteCell) { "planted".into() } else { text };
        let text = text.as_bytes();
        self.plain.push_with(|plain| {
            plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
            plain.extend_from_slice(text);
        });
        match &mut self.texts {
            None => self.texts = Some((text.to_vec(), text.to_vec())),
            Some((least, most)) => {
                if text < least.as_slice() {
                    *least = text.to_vec();
                }
                if text > most.as_slice() {
                    *most = text.to_vec();
                }
            }
        }
    }

    fn push_double(&mut self, cell: &[u8], count: u64) -> bool {
        // The number's own grammar first: a float's would also take "inf".
        let Ok(Some(number)) = Number::parse(cell) else { return false };
        let Some(value) = std::str::from_utf8(cell).ok().and_then(|cell| cell.parse::<f64>().ok()) else {
            return false;
        };
        self.plain.push(&value.to_le_bytes());
        self.difference.add(value, &number, count);
        self.lines.push_with(|line| {
            if value == 0f64 {
                line.push(b'0');
            } else {
                // Writing to a Vec can't fail.
                let _ = write!(line, "{value}");
            }
        });
        true
    }

    fn push_moment(&mut self, cell: &[u8]) -> bool {
        let Some(moment) = Instant::parse(cell) else { return false };
        let millis = moment.millis();
        self.plain.push(&millis.to_le_bytes());
        self.lines.push_with(|line| moment.write_to(line));
        let (least, most) = self.moments.unwrap_or((millis, millis));
        self.moments = Some((least.min(millis), most.max(millis)));
        true
    }

    /// Writes so many rows that all have one value.
    fn write_one(&self, place: usize, rows: usize, pages: &mut Pages) -> Result<(), ParquetError> {
        let value = self.plain.get(place);
        let (there, encoding) = if value.is_empty() {
            (0, Encoding::PLAIN)
        } else {
            pages.write_dictionary(value, 1)?;
            (1, Encoding::RLE_DICTIONARY)
        };
        for from in (0..rows).step_by(PAGE_ROWS) {
            let rows = PAGE_ROWS.min(rows - from);
            let mut page = levels(|levels| push_run(levels, rows, there, 1));
            if there == 1 {
                page.push(1);
                push_run(&mut page, rows, 0, 1);
            }
            pages.write_values(page, rows, rows * (1 - there as usize), encoding)?;
        }
        Ok(())
    }

    /// Writes all rows, each given by the place of its value.
    ///
    /// The dictionary has each value once, in the order in which the written rows have them: neither the order in which
    /// the rows came nor how their numbers were spelt is in the bytes.
    fn write(&self, mut rows: Vec<u32>, counts: &[u64], pages: &mut Pages) -> Result<(), ParquetError> {
        let same = self.first_of_each_value();
        let mut codes = vec![BLANK; counts.len()];
        let mut used = Vec::new();
        for row in &mut rows {
            *row = same.get(*row as usize).copied().unwrap_or(*row);
            if let Some(code) = codes.get_mut(*row as usize).filter(|code| **code == BLANK)
                && !self.plain.get(*row as usize).is_empty()
            {
                *code = used.len() as u32;
                used.push(*row as usize);
            }
        }
        let size = |place: usize| self.plain.get(place).len() as u64;
        let plain: u64 = counts.iter().enumerate().map(|(place, count)| size(place) * count).sum();
        let bits = bits_of(used.len());
        let coded =
            used.iter().map(|place| size(*place)).sum::<u64>() + rows.len() as u64 * u64::from(bits) / 8;
        if used.is_empty() || coded > plain {
            return self.write_plain(&rows, pages);
        }
        let mut dictionary = Vec::new();
        used.iter().for_each(|place| dictionary.extend_from_slice(self.plain.get(*place)));
        pages.write_dictionary(&dictionary, used.len())?;
        for row in &mut rows {
            *row = codes.get(*row as usize).copied().unwrap_or(BLANK);
        }
        for rows in rows.chunks(PAGE_ROWS) {
            pages.write_page(rows, BLANK, Encoding::RLE_DICTIONARY, |values, page| {
                page.push(bits);
                push_hybrid(values, bits, page);
            })?;
        }
        Ok(())
    }

    /// For each text the first one of the same value; empty where that is always itself.
    fn first_of_each_value(&self) -> Vec<u32> {
        // Texts that are UTF-8 are their own values.
        if self.kind == ColumnType::String && self.not_represented == 0 {
            return Vec::new();
        }
        let mut first: HashMap<&[u8], u32> = HashMap::new();
        let places = 0..self.plain.len() as u32;
        places.map(|place| *first.entry(self.plain.get(place as usize)).or_insert(place)).collect()
    }

    fn write_plain(&self, rows: &[u32], pages: &mut Pages) -> Result<(), ParquetError> {
        // Nulls are told by one place.
        let null = (0..self.plain.len()).find(|place| self.plain.get(*place).is_empty());
        let null = null.map_or(BLANK, |place| place as u32);
        let mut rest = rows.to_vec();
        for row in &mut rest {
            if self.plain.get(*row as usize).is_empty() {
                *row = null;
            }
        }
        let mut rest = rest.as_slice();
        while !rest.is_empty() {
            let (mut to, mut bytes) = (0, 0);
            while to < rest.len().min(PAGE_ROWS) && bytes < PAGE_BYTES {
                bytes += rest.get(to).map_or(0, |place| self.plain.get(*place as usize).len());
                to += 1;
            }
            let (page, behind) = rest.split_at(to);
            pages.write_page(page, null, Encoding::PLAIN, |values, page| {
                page.reserve(bytes);
                values.iter().for_each(|place| page.extend_from_slice(self.plain.get(*place as usize)));
            })?;
            rest = behind;
        }
        Ok(())
    }

    fn statistics(&self, nulls: u64) -> Option<Statistics> {
        Some(match self.kind {
            ColumnType::String => {
                let short = |text: &Vec<u8>| text.len() <= TOLD_BYTES;
                let told = self.texts.as_ref().filter(|(least, most)| short(least) && short(most));
                let text = |text: &Vec<u8>| ByteArray::from(text.clone());
                let (least, most) = told.map(|(least, most)| (text(least), text(most))).unzip();
                Statistics::byte_array(least, most, None, Some(nulls), false)
            }
            ColumnType::Timestamp => {
                let (least, most) = self.moments.unzip();
                Statistics::int64(least, most, None, Some(nulls), false)
            }
            ColumnType::Double => Statistics::double(None, None, None, Some(nulls), false),
        })
    }
}

/// Bits of a place among so many.
fn bits_of(count: usize) -> u8 {
    (usize::BITS - count.saturating_sub(1).leading_zeros()).max(1) as u8
}

/// The pages of a column.
struct Pages {
    out: TrackedWrite<Vec<u8>>,
    snappy: snap::raw::Encoder,
    dictionary: bool,
    first: Option<u64>,
    pages: i32,
    encoding: Encoding,
    uncompressed: usize,
    nulls: u64,
}

impl Pages {
    fn new() -> Self {
        Self {
            out: TrackedWrite::new(Vec::new()),
            snappy: snap::raw::Encoder::new(),
            dictionary: false,
            first: None,
            pages: 0,
            encoding: Encoding::PLAIN,
            uncompressed: 0,
            nulls: 0,
        }
    }

    fn compress(&mut self, page: &[u8]) -> Result<Bytes, ParquetError> {
        let packed = self.snappy.compress_vec(page);
        packed.map(Bytes::from).map_err(|error| ParquetError::General(error.to_string()))
    }

    fn write_dictionary(&mut self, values: &[u8], count: usize) -> Result<(), ParquetError> {
        self.dictionary = true;
        let buf = self.compress(values)?;
        let page = Page::DictionaryPage {
            buf,
            num_values: count as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(page, values.len()).map(|_| ())
    }

    /// Writes rows of which those that are `null` have no value.
    fn write_page(
        &mut self,
        rows: &[u32],
        null: u32,
        encoding: Encoding,
        encode: impl Fn(&[u32], &mut Vec<u8>),
    ) -> Result<(), ParquetError> {
        if !rows.contains(&null) {
            let mut page = levels(|levels| push_run(levels, rows.len(), 1, 1));
            encode(rows, &mut page);
            return self.write_values(page, rows.len(), 0, encoding);
        }
        let there: Vec<u32> = rows.iter().map(|row| u32::from(*row != null)).collect();
        let values: Vec<u32> = rows.iter().copied().filter(|row| *row != null).collect();
        let mut page = levels(|levels| push_hybrid(&there, 1, levels));
        encode(&values, &mut page);
        self.write_values(page, rows.len(), rows.len() - values.len(), encoding)
    }

    /// Writes a page of so many rows.
    fn write_values(
        &mut self,
        page: Vec<u8>,
        rows: usize,
        nulls: usize,
        encoding: Encoding,
    ) -> Result<(), ParquetError> {
        self.nulls += nulls as u64;
        self.encoding = encoding;
        self.pages += 1;
        let (buf, length) = (self.compress(&page)?, page.len());
        let page = Page::DataPage {
            buf,
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let offset = self.write(page, length)?;
        self.first.get_or_insert(offset);
        Ok(())
    }

    fn write(&mut self, page: Page, length: usize) -> Result<u64, ParquetError> {
        let told = SerializedPageWriter::new(&mut self.out).write_page(CompressedPage::new(page, length))?;
        self.uncompressed += told.uncompressed_size;
        Ok(told.offset)
    }

    fn finish(
        self,
        rows: usize,
        values: &Values,
        description: ColumnDescPtr,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let data =
            PageEncodingStats { page_type: PageType::DATA_PAGE, encoding: self.encoding, count: self.pages };
        let (mut encodings, mut told) = (vec![Encoding::PLAIN, Encoding::RLE], Vec::new());
        if self.dictionary {
            encodings.push(Encoding::RLE_DICTIONARY);
            let encoding = Encoding::PLAIN;
            told.push(PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding, count: 1 });
        }
        told.push(data);
        let (uncompressed, nulls, first) = (self.uncompressed, self.nulls, self.first.unwrap_or(0));
        let bytes = Bytes::from(self.out.into_inner()?);
        let mut metadata = ColumnChunkMetaData::builder(description)
            .set_compression(Compression::SNAPPY)
            .set_encodings(encodings)
            .set_page_encoding_stats(told)
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_dictionary_page_offset(self.dictionary.then_some(0))
            .set_data_page_offset(first as i64);
        if let Some(statistics) = values.statistics(nulls) {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok((bytes, close))
    }
}

/// Shortest run that is told as one.
const RUN: usize = 8;

/// Parquet's hybrid of runs and packed bits.
fn push_hybrid(values: &[u32], bits: u8, out: &mut Vec<u8>) {
    let mut rest = values;
    // How many of the rest are to be packed.
    let mut packed = 0;
    while let Some(first) = rest.get(packed) {
        let run = rest.iter().skip(packed).take_while(|value| *value == first).count();
        // Values are packed by eights: a run fills the last of them up.
        let fill = packed.next_multiple_of(RUN) - packed;
        if run < fill + RUN {
            packed += run;
            continue;
        }
        let (before, behind) = rest.split_at(packed + fill);
        push_packed(before, bits, out);
        let run = run - fill;
        push_run(out, run, *first, bits);
        (rest, packed) = (behind.get(run..).unwrap_or_default(), 0);
    }
    push_packed(rest, bits, out);
}

fn push_run(out: &mut Vec<u8>, rows: usize, value: u32, bits: u8) {
    push_number(out, (rows as u64) << 1);
    out.extend(value.to_le_bytes().iter().take(usize::from(bits).div_ceil(8)));
}

/// A page that begins with what tells nulls from values.
fn levels(push: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut page = vec![0; 4];
    push(&mut page);
    let length = (page.len() - 4) as u32;
    if let Some(head) = page.get_mut(..4) {
        head.copy_from_slice(&length.to_le_bytes());
    }
    page
}

/// Values packed by eights, the lowest bits first.
fn push_packed(values: &[u32], bits: u8, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let eights = values.len().div_ceil(RUN);
    push_number(out, (eights as u64) << 1 | 1);
    let end = out.len() + eights * usize::from(bits);
    let (mut waiting, mut waiting_bits) = (0u64, 0);
    for value in values {
        waiting |= u64::from(*value) << waiting_bits;
        waiting_bits += bits;
        while waiting_bits >= 8 {
            out.push(waiting as u8);
            waiting >>= 8;
            waiting_bits -= 8;
        }
    }
    if waiting_bits > 0 {
        out.push(waiting as u8);
    }
    out.resize(end, 0);
}

/// LEB128.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
