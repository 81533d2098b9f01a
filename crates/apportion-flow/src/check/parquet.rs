use super::file::{CheckError, Checked, Expected, compare};
use crate::csv_gz::CsvGzError;
use crate::threads::Workers;
use apportion_core::columns::{ColumnType, ExportColumn, known};
use apportion_core::csv::{self, LineColumn, lines_hash};
use apportion_core::line_item::Texts;
use apportion_model::Instant;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub(super) const BATCH_ROWS: usize = 2048;
/// Rows that one thread decodes at a time.
const PART_ROWS: usize = 16_384;
/// Bytes of the largest file that is read: those of ours have at most 64 MiB.
const MOST_BYTES: u64 = 64 << 20;
/// The code of a blank cell.
const BLANK: u32 = u32::MAX;

/// Decodes a finished Parquet file of the spool again and compares it with what was handed over.
///
/// # Errors
/// The first thing that isn't as it must be.
pub fn check_parquet(
    path: &Path,
    columns: &[ExportColumn],
    expected: &Expected<'_>,
    workers: &Workers,
) -> Result<Checked, CheckError> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| CheckError::Decode { file: name.clone(), source: CsvGzError::Io(error) })?;
    check_parquet_file(&name, file, columns, expected, workers)
}

/// The same for a file that is open.
pub(super) fn check_parquet_file(
    name: &str,
    file: impl Read,
    columns: &[ExportColumn],
    expected: &Expected<'_>,
    workers: &Workers,
) -> Result<Checked, CheckError> {
    let wrong = |problem: String| CheckError::Parquet { file: name.to_owned(), problem };
    let mut data = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut data)
        .map_err(|error| CheckError::Decode { file: name.to_owned(), source: CsvGzError::Io(error) })?;
    if data.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("it has more than {MOST_BYTES} bytes, as no file of ours has")));
    }
    let data = Bytes::from(data);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&data, options).map_err(|error| wrong(error.to_string()))?;
    check_schema(name, &metadata, columns)?;
    let usage_account = &known().get(known().well_known().usage_account).name;
    let account = columns.iter().position(|column| column.name == *usage_account);
    let parts = parts_of(&metadata).map_err(|error| wrong(error.to_string()))?;
    let found = workers.run(parts.len() + 1, |task| {
        // The hash of the bytes is a task like the others.
        let Some(part) = task.checked_sub(1).and_then(|task| parts.get(task)) else {
            return Ok(Found::Sha256(Sha256::digest(&data).into()));
        };
        let sum = part.read(&data).map_err(|error| wrong(error.to_string()))?;
        let own = account.zip(expected.accounts);
        let stray = own.and_then(|(place, own)| sum.columns.get(place)?.stray(part.rows.len(), own));
        if let Some((row, account)) = stray {
            let row = part.first + row as u64 + 1;
            return Err(CheckError::Stray { file: name.to_owned(), row, account });
        }
        Ok(Found::Rows(sum.rows as u64, sum.hash()))
    });
    let found = found.ok_or_else(|| wrong("the decoder gave up on it".to_owned()))?;
    let mut checked = Checked { sha256: [0; 32], bytes: data.len() as u64, rows: 0, rows_hash: 0 };
    for found in found {
        match found? {
            Found::Sha256(sha256) => checked.sha256 = sha256,
            Found::Rows(rows, hash) => {
                checked.rows += rows;
                checked.rows_hash = checked.rows_hash.wrapping_add(hash);
            }
        }
    }
    compare(name, expected, checked)
}

enum Found {
    Sha256([u8; 32]),
    Rows(u64, u128),
}

/// Some rows of a row group, which one thread reads.
struct Part {
    metadata: ArrowReaderMetadata,
    group: usize,
    /// Rows of the whole group.
    of: usize,
    rows: Range<usize>,
    /// Rows of the file before them.
    first: u64,
}

fn parts_of(metadata: &ArrowReaderMetadata) -> Result<Vec<Part>, ParquetError> {
    let (mut parts, mut first) = (Vec::new(), 0);
    for group in 0..metadata.metadata().num_row_groups() {
        let coded = coded_metadata(metadata, group)?;
        let of = usize::try_from(metadata.metadata().row_group(group).num_rows()).unwrap_or(0);
        for from in (0..of).step_by(PART_ROWS) {
            let rows = from..(from + PART_ROWS).min(of);
            parts.push(Part { metadata: coded.clone(), group, of, first: first + from as u64, rows });
        }
        first += of as u64;
    }
    Ok(parts)
}

/// The same metadata, with which columns of a group that have a dictionary are decoded as one.
fn coded_metadata(metadata: &ArrowReaderMetadata, group: usize) -> Result<ArrowReaderMetadata, ParquetError> {
    let chunks = metadata.metadata().row_group(group).columns();
    let fields = metadata.schema().fields().iter().zip(chunks).map(|(field, chunk)| {
        match (field.data_type(), chunk.dictionary_page_offset()) {
            (DataType::Utf8, Some(_)) => {
                let kind = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
                Arc::new(Field::new(field.name(), kind, field.is_nullable()))
            }
            _ => Arc::clone(field),
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

impl Part {
    fn read(&self, data: &Bytes) -> Result<DecodedRows, ParquetError> {
        let mut reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(data.clone(), self.metadata.clone())
                .with_row_groups(vec![self.group])
                .with_row_selection(RowSelection::from_consecutive_ranges(
                    std::iter::once(self.rows.clone()),
                    self.of,
                ))
                .with_batch_size(self.rows.len())
                .build()?;
        let batch = reader.next().transpose()?;
        let columns = batch.iter().flat_map(|batch| batch.columns()).map(decode);
        let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
        Ok(DecodedRows { rows, columns: columns.collect::<Result<_, _>>()? })
    }
}

struct DecodedRows {
    rows: usize,
    columns: Vec<Decoded>,
}

impl DecodedRows {
    fn hash(&self) -> u128 {
        let columns = self.columns.iter();
        let lines: Vec<LineColumn<'_>> =
            columns.map(|column| LineColumn { codes: &column.codes, texts: &column.texts }).collect();
        lines_hash(&lines, 0..self.rows)
    }
}

/// The cells of a column as lines of a CSV have them: a code per row, or a single one that all rows have.
#[derive(Default)]
struct Decoded {
    texts: Texts,
    codes: Vec<u32>,
}

impl Decoded {
    /// The first row whose account isn't one's own, and that account.
    fn stray(&self, rows: usize, own: &HashSet<Vec<u8>>) -> Option<(usize, String)> {
        let text = |code: u32| self.texts.get(code as usize);
        // The code that was looked up last.
        let mut last = None;
        let row = (0..rows).find(|row| {
            let code = self.codes.get(*row).or(self.codes.last()).copied().unwrap_or(BLANK);
            if last == Some(code) {
                return false;
            }
            last = Some(code);
            !own.contains(text(code))
        })?;
        let code = self.codes.get(row).or(self.codes.last()).copied().unwrap_or(BLANK);
        Some((row, String::from_utf8_lossy(text(code)).into_owned()))
    }
}

/// The text that docs/delivery-format.md, section 1, reads from each cell.
fn decode(array: &ArrayRef) -> Result<Decoded, ParquetError> {
    if array.null_count() == array.len() {
        return Ok(Decoded { texts: Texts::default(), codes: vec![BLANK] });
    }
    let nulls = array.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let mut decoded = Decoded::default();
    match array.data_type() {
        DataType::Dictionary(..) => {
            let coded = array.as_dictionary::<UInt32Type>();
            let values = coded.values().as_string::<i32>();
            for place in 0..values.len() {
                decoded.texts.push_with(|text| csv::push_cell(text, values.value(place).as_bytes()));
            }
            decoded.codes.extend_from_slice(coded.keys().values());
            if nulls.is_some() {
                let codes = decoded.codes.iter_mut().enumerate();
                codes.filter(|(row, _)| is_null(*row)).for_each(|(_, code)| *code = BLANK);
            }
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            for row in (0..values.len()).filter(|row| !is_null(*row)) {
                decoded.texts.push_with(|text| csv::push_cell(text, values.value(row).as_bytes()));
            }
            let mut codes = 0..;
            let code = |row| if is_null(row) { Some(BLANK) } else { codes.next() };
            decoded.codes = (0..values.len()).filter_map(code).collect();
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            let bits = (0..values.len()).map(|row| (!is_null(row)).then(|| values[row].to_bits()));
            decoded.numbers(bits, |bits, text| {
                let value = f64::from_bits(bits);
                if value == 0f64 {
                    text.push(b'0');
                } else {
                    // Writing to a Vec can't fail.
                    let _ = write!(text, "{value}");
                }
            });
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let values = array.as_primitive::<TimestampMillisecondType>().values();
            let bits = (0..values.len()).map(|row| (!is_null(row)).then(|| values[row].cast_unsigned()));
            decoded.numbers(bits, |bits, text| Instant::from_millis(bits.cast_signed()).write_to(text));
        }
        other => return Err(ParquetError::General(format!("a column has type {other}"))),
    }
    Ok(decoded)
}

impl Decoded {
    /// Makes a text of each number, but hardly ever twice of one.
    fn numbers(&mut self, numbers: impl Iterator<Item = Option<u64>>, write: impl Fn(u64, &mut Vec<u8>)) {
        const PLACES_BITS: u32 = 11;
        let mut met = vec![(0u64, BLANK); 1 << PLACES_BITS];
        for number in numbers {
            let Some(number) = number else {
                self.codes.push(BLANK);
                continue;
            };
            let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - PLACES_BITS);
            let Some(met) = met.get_mut(place as usize) else { continue };
            if met.1 == BLANK || met.0 != number {
                *met = (number, self.texts.len() as u32);
                self.texts.push_with(|text| write(number, text));
            }
            self.codes.push(met.1);
        }
    }
}

fn type_name(kind: &DataType) -> Option<ColumnType> {
    match kind {
        DataType::Utf8 => Some(ColumnType::String),
        DataType::Float64 => Some(ColumnType::Double),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if &**zone == "UTC" => {
            Some(ColumnType::Timestamp)
        }
        _ => None,
    }
}

/// Names and types in the manifest's order.
fn check_schema(
    name: &str,
    metadata: &ArrowReaderMetadata,
    columns: &[ExportColumn],
) -> Result<(), CheckError> {
    let fields = metadata.schema().fields();
    let told =
        |place: usize| fields.get(place).map(|field| (field.name().as_str(), type_name(field.data_type())));
    let due = |place: usize| columns.get(place).map(|column| (column.name.as_str(), Some(column.kind)));
    let Some(place) = (0..fields.len().max(columns.len())).find(|place| told(*place) != due(*place)) else {
        return Ok(());
    };
    let text = |column: Option<(&str, Option<ColumnType>)>| {
        column.map(|(name, kind)| format!("{name} {}", kind.map_or("of another type", ColumnType::as_str)))
    };
    Err(CheckError::Header {
        file: name.to_owned(),
        column: place + 1,
        expected: text(due(place)).unwrap_or_default(),
        found: text(told(place)).unwrap_or_default(),
    })
}

/// The text that docs/delivery-format.md, section 1, reads from a cell.
pub(super) fn push_cell(batch: &RecordBatch, place: usize, row: usize, out: &mut Vec<u8>) {
    let array = batch.column(place);
    if array.is_null(row) {
        return;
    }
    match array.data_type() {
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            if value == 0f64 {
                out.push(b'0');
            } else {
                // Writing to a Vec can't fail.
                let _ = write!(out, "{value}");
            }
        }
        _ => Instant::from_millis(array.as_primitive::<TimestampMillisecondType>().value(row)).write_to(out),
    }
}
