//! Line items as Parquet.
//!
//! What comes in: rows. What goes out: a snappy file as AWS's Athena integration writes it: snake names, strings with
//! dictionaries, doubles for costs and UTC milliseconds for dates. What it must never do: compute a double; each is
//! read from its decimal text.

use super::MakeError;
use super::amount::write_plain;
use super::columns::{Column, Kind};
use super::row::{Cell, Row};
use super::text::write_cell;
use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Line items that are handed to the encoder at once.
const BATCH: usize = 4_096;
/// Line items of a row group.
const GROUP: usize = 131_072;

enum Builder {
    Text(StringBuilder),
    /// With the last number and its double, because most come again.
    Double(Float64Builder, (i64, f64)),
    Moment(TimestampMillisecondBuilder),
}

struct TableColumn {
    /// Several spellings of a tag become one column; a line item has at most one of them.
    sources: Vec<Column>,
    builder: Builder,
    length: usize,
    /// Blank is an empty text, not null.
    is_never_null: bool,
}

/// A file in the making.
pub(super) struct Table {
    writer: Option<ArrowWriter<File>>,
    schema: SchemaRef,
    columns: Vec<TableColumn>,
    rows: usize,
    stamp: u64,
    /// Columns that the rows of this stamp fill.
    filled: Vec<usize>,
    text: Vec<u8>,
}

impl Table {
    /// The table of a month's columns; no file yet.
    pub(super) fn new(columns: &[Column]) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut made: Vec<TableColumn> = Vec::new();
        let mut fields = Vec::new();
        for &column in columns {
            let name = column.snake();
            if let Some(at) = names.iter().position(|found| *found == name) {
                made[at].sources.push(column);
                continue;
            }
            let (kind, builder) = builder(column.info().kind);
            fields.push(Field::new(&name, kind, true));
            names.push(name);
            let is_never_null = column.is_guaranteed() && column.info().kind == Kind::Text;
            made.push(TableColumn { sources: vec![column], builder, length: 0, is_never_null });
        }
        let schema = Arc::new(Schema::new(fields));
        Self {
            writer: None,
            schema,
            columns: made,
            rows: 0,
            stamp: u64::MAX,
            filled: Vec::new(),
            text: Vec::new(),
        }
    }

    /// Begins a file.
    pub(super) fn create(&mut self, path: &Path) -> Result<(), MakeError> {
        let file = File::create_new(path).map_err(|error| MakeError::io(path, error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_created_by("apportion maker".to_string())
            // Every line item's id is another; a dictionary of them would be thrown away.
            .set_column_dictionary_enabled(ColumnPath::from("identity_line_item_id"), false)
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        self.writer =
            Some(ArrowWriter::try_new_with_options(file, self.schema.clone(), options).map_err(encode)?);
        Ok(())
    }

    /// Appends a line item.
    pub(super) fn line(&mut self, row: &Row) -> Result<(), MakeError> {
        if row.stamp() != self.stamp {
            self.stamp = row.stamp();
            let filled = self.columns.iter().enumerate().filter(|(_, column)| {
                column.sources.iter().any(|source| source.varies() || row.cell(*source) != Cell::Blank)
            });
            self.filled.clear();
            self.filled.extend(filled.map(|(index, _)| index));
        }
        for &index in &self.filled {
            self.columns[index].append(self.rows, row, &mut self.text);
        }
        self.rows += 1;
        if self.rows == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), MakeError> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = self.rows;
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(|column| column.finish(rows)).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(arrow)?;
        match &mut self.writer {
            Some(writer) => writer.write(&batch).map_err(encode),
            None => Ok(()),
        }
    }

    /// Ends the file.
    pub(super) fn close(&mut self) -> Result<(), MakeError> {
        self.flush()?;
        match self.writer.take() {
            Some(writer) => writer.close().map(|_| ()).map_err(encode),
            None => Ok(()),
        }
    }
}

impl TableColumn {
    fn append(&mut self, at: usize, row: &Row, text: &mut Vec<u8>) {
        let cell = self.sources.iter().map(|source| row.cell(*source)).find(|cell| *cell != Cell::Blank);
        let Some(cell) = cell else { return };
        self.fill(at);
        self.length += 1;
        match (&mut self.builder, cell) {
            (Builder::Text(builder), Cell::Text(start, end)) => builder.append_value(row.text(start, end)),
            (Builder::Text(builder), cell) => {
                text.clear();
                write_cell(text, cell, false);
                builder.append_value(std::str::from_utf8(text).unwrap_or_default());
            }
            (Builder::Double(builder, last), Cell::Number(value)) => {
                if last.0 != value {
                    text.clear();
                    write_plain(text, value);
                    let read = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                    *last = (value, read.unwrap_or_default());
                }
                builder.append_value(last.1);
            }
            (Builder::Moment(builder), Cell::Moment(seconds)) => builder.append_value(seconds * 1000),
            (Builder::Double(builder, _), _) => builder.append_null(),
            (Builder::Moment(builder), _) => builder.append_null(),
        }
    }

    /// Catches up with the line items that left this column blank.
    fn fill(&mut self, upto: usize) {
        let missing = upto.saturating_sub(self.length);
        if missing == 0 {
            return;
        }
        match &mut self.builder {
            Builder::Text(builder) if self.is_never_null => {
                (0..missing).for_each(|_| builder.append_value(""))
            }
            Builder::Text(builder) => builder.append_nulls(missing),
            Builder::Double(builder, _) => builder.append_nulls(missing),
            Builder::Moment(builder) => builder.append_nulls(missing),
        }
        self.length = upto;
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.fill(rows);
        self.length = 0;
        match &mut self.builder {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Double(builder, _) => Arc::new(builder.finish()),
            Builder::Moment(builder) => Arc::new(builder.finish()),
        }
    }
}

fn builder(kind: Kind) -> (DataType, Builder) {
    match kind {
        Kind::Text => (DataType::Utf8, Builder::Text(StringBuilder::new())),
        Kind::Double => (DataType::Float64, Builder::Double(Float64Builder::new(), (0, 0.0))),
        Kind::Moment => {
            let kind = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
            (kind.clone(), Builder::Moment(TimestampMillisecondBuilder::new().with_data_type(kind)))
        }
    }
}

fn encode(error: ParquetError) -> MakeError {
    MakeError::Encode(error.to_string())
}

fn arrow(error: ArrowError) -> MakeError {
    MakeError::Encode(error.to_string())
}
