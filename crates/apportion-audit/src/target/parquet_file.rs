//! Reads a delivered Parquet file.
//!
//! What comes in: the file. What goes out: its rows as cells, and findings about its schema and form. What it must
//! never do: trust statistics, or a schema that a writer embedded.

use super::files::RowsFound;
use crate::columns::ColumnType;
use crate::error::AuditError;
use crate::hashes::Fingerprint;
use crate::opened::Opened;
use crate::report::{FindingKind, Findings};
use crate::source::write_cell;
use arrow_array::{Array, RecordBatch};
use csv::ByteRecord;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::Type;
use std::panic::AssertUnwindSafe;

/// A batch holds at most this many cells, so that a wide file takes no more memory than a narrow one.
const CELLS_OF_BATCH: usize = 1 << 20;
const ROWS_OF_BATCH: usize = 4096;

/// Reads to the end. The weight is left to the caller.
pub(super) fn read(
    file: &Opened,
    rows: &mut RowsFound<'_, '_>,
    findings: &mut Findings,
) -> Result<Option<Fingerprint>, AuditError> {
    let key = rows.check.key;
    let broken = |findings: &mut Findings, read: u64, cause: String| {
        if let Some(error) = file.obstacle(read) {
            return Err(error);
        }
        findings.add(FindingKind::ParquetBroken, key, format!("after {read} rows: {cause}"));
        Ok(None)
    };
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        match decoded(|| ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options)) {
            Ok(builder) => builder,
            Err(cause) => return broken(findings, 0, cause),
        };
    let fields = builder.parquet_schema().root_schema().get_fields().to_vec();
    rows.header(fields.iter().map(|field| field.name().as_bytes()), findings);
    check_schema(rows, &fields, findings);
    check_compression(key, builder.metadata(), findings);
    let batch_rows = (CELLS_OF_BATCH / fields.len().max(1)).clamp(1, ROWS_OF_BATCH);
    let mut reader = match decoded(|| builder.with_batch_size(batch_rows).build()) {
        Ok(reader) => reader,
        Err(cause) => return broken(findings, 0, cause),
    };
    let filled = |name: &str| {
        let column = rows.check.columns.iter().find(|column| column.header == name.as_bytes());
        column.is_some_and(|column| column.filled && column.kind == ColumnType::Text)
    };
    let mut cells =
        Cells { filled_texts: fields.iter().map(|f| filled(f.name())).collect(), ..Cells::default() };
    loop {
        match decoded(|| reader.next().transpose()) {
            Ok(Some(batch)) => cells.read(&batch, rows, findings)?,
            Ok(None) => return Ok(None),
            Err(cause) => return broken(findings, rows.rows, cause),
        }
    }
}

/// What the library says of the file. On some broken files it panics instead, and that must not end the audit.
fn decoded<T, E: std::fmt::Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match std::panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|cause| cause.to_string()),
        Err(_) => Err("the decoder gave up on it".into()),
    }
}

/// Each column must have exactly the contract's type.
fn check_schema(rows: &RowsFound<'_, '_>, fields: &[std::sync::Arc<Type>], findings: &mut Findings) {
    for column in rows.check.columns {
        let name = String::from_utf8_lossy(&column.header);
        let Some(field) = fields.iter().find(|field| field.name() == name) else { continue };
        if !is_of(field, column.kind) {
            let detail = format!("column {name}: expected {}, found {field:?}", wanted(column.kind));
            findings.add(FindingKind::SchemaDiffers, rows.check.key, detail);
        }
    }
}

fn is_of(field: &Type, kind: ColumnType) -> bool {
    let info = field.get_basic_info();
    if !field.is_primitive() || !info.has_repetition() || info.repetition() != Repetition::OPTIONAL {
        return false;
    }
    let logical = info.logical_type_ref();
    match (kind, field.get_physical_type()) {
        (ColumnType::Text, Physical::BYTE_ARRAY) => matches!(logical, Some(LogicalType::String)),
        (ColumnType::Double, Physical::DOUBLE) => logical.is_none(),
        (ColumnType::Timestamp, Physical::INT64) => matches!(
            logical,
            Some(LogicalType::Timestamp(timestamp))
                if timestamp.is_adjusted_to_u_t_c && timestamp.unit == TimeUnit::MILLIS
        ),
        _ => false,
    }
}

fn wanted(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "OPTIONAL STRING",
        ColumnType::Double => "OPTIONAL DOUBLE",
        ColumnType::Timestamp => "OPTIONAL TIMESTAMP(MILLIS, UTC)",
    }
}

fn check_compression(key: &str, metadata: &ParquetMetaData, findings: &mut Findings) {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let other = chunks.map(|chunk| chunk.compression()).find(|found| *found != Compression::SNAPPY);
    if let Some(other) = other {
        findings.add(FindingKind::FormDiffers, key, format!("compression: expected SNAPPY, found {other}"));
    }
}

#[derive(Default)]
struct Cells {
    record: ByteRecord,
    scratch: Vec<u8>,
    /// The columns that must not have a null.
    filled_texts: Vec<bool>,
    null_texts: bool,
    unreadable: bool,
}

impl Cells {
    fn read(
        &mut self,
        batch: &RecordBatch,
        rows: &mut RowsFound<'_, '_>,
        findings: &mut Findings,
    ) -> Result<(), AuditError> {
        let mut filled = batch.columns().iter().zip(&self.filled_texts).filter(|(_, filled)| **filled);
        if !self.null_texts && filled.any(|(array, _)| array.null_count() > 0) {
            self.null_texts = true;
            let detail = "a null in a string column, where blank must be ''";
            findings.add(FindingKind::FormDiffers, rows.check.key, detail);
        }
        for row in 0..batch.num_rows() {
            self.record.clear();
            for array in batch.columns() {
                self.scratch.clear();
                if let Err(cause) = write_cell(array.as_ref(), row, &mut self.scratch)
                    && !self.unreadable
                {
                    self.unreadable = true;
                    let detail = format!("row {}: {cause}", rows.rows + 1);
                    findings.add(FindingKind::CellUnreadable, rows.check.key, detail);
                }
                self.record.push_field(&self.scratch);
            }
            rows.row(&self.record, findings)?;
        }
        Ok(())
    }
}
