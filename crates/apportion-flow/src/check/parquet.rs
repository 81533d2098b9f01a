use super::file::{CheckError, Checked, Expected, compare};
use crate::csv_gz::CsvGzError;
use apportion_core::columns::{ColumnType, ExportColumn, known};
use apportion_core::csv;
use apportion_core::proof::row_hash;
use apportion_model::Instant;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, Write as _};
use std::path::Path;

pub(super) const BATCH_ROWS: usize = 2048;

/// Decodes a finished Parquet file of the spool again and compares it with what was handed over.
///
/// # Errors
/// The first thing that isn't as it must be.
pub fn check_parquet(
    path: &Path,
    columns: &[ExportColumn],
    expected: &Expected<'_>,
) -> Result<Checked, CheckError> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| CheckError::Decode { file: name.clone(), source: CsvGzError::Io(error) })?;
    check_parquet_file(&name, file, columns, expected)
}

/// The same for a file that is open.
pub(super) fn check_parquet_file(
    name: &str,
    mut file: File,
    columns: &[ExportColumn],
    expected: &Expected<'_>,
) -> Result<Checked, CheckError> {
    let wrong = |problem: String| CheckError::Parquet { file: name.to_owned(), problem };
    let (sha256, bytes) = hash(&mut file)
        .map_err(|error| CheckError::Decode { file: name.to_owned(), source: CsvGzError::Io(error) })?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| wrong(error.to_string()))?;
    check_schema(name, &metadata, columns)?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let usage_account = &known().get(known().well_known().usage_account).name;
    let account = columns.iter().position(|column| column.name == *usage_account);
    let (mut rows, mut rows_hash) = (0u64, 0u128);
    let (mut line, mut cell) = (Vec::new(), Vec::new());
    for batch in reader {
        let batch = batch.map_err(|error| wrong(error.to_string()))?;
        for row in 0..batch.num_rows() {
            line.clear();
            for place in 0..columns.len() {
                cell.clear();
                push_cell(&batch, place, row, &mut cell);
                if let (true, Some(own)) = (account == Some(place), expected.accounts)
                    && !own.contains(&cell)
                {
                    return Err(CheckError::Stray {
                        file: name.to_owned(),
                        row: rows + row as u64 + 1,
                        account: String::from_utf8_lossy(&cell).into_owned(),
                    });
                }
                if place > 0 {
                    line.push(b',');
                }
                csv::push_cell(&mut line, &cell);
            }
            rows_hash = rows_hash.wrapping_add(row_hash(&line));
        }
        rows += batch.num_rows() as u64;
    }
    compare(name, expected, Checked { sha256, bytes, rows, rows_hash })
}

pub(super) fn hash(file: &mut File) -> std::io::Result<([u8; 32], u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    file.rewind()?;
    Ok((hash.finalize().into(), bytes))
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
