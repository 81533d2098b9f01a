use super::WriteError;
use super::pack::Order;
use super::spool::SpooledFile;
use super::waited::WaitedRows;
use crate::plant::{self, Plant, strikes};
use apportion_core::columns::ColumnType;
use apportion_core::csv::push_cell;
use apportion_core::money::{Number, RepresentationDifference};
use apportion_core::proof::{Representation, row_hash};
use apportion_model::Instant;
use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a row group, so that its columns are long enough to compress and short enough to hold.
const GROUP_ROWS: usize = 32_768;
/// Bytes of a row group, before they are compressed, at which it ends although few rows are in it.
const GROUP_BYTES: u64 = 44 << 20;
/// Bytes at which a file ends.
const FILE_BYTES: u64 = 40 << 20;
/// Most bytes of a file: a row group that could make it larger begins the next. No row group is that large itself.
const MOST_BYTES: u64 = 62 << 20;
/// Bytes that a cell which isn't blank takes besides its text's own, before they are compressed: a length or a place in
/// the dictionary, and what the double is longer than a number's text.
const CELL_BYTES: u64 = 6;
/// What the files say wrote them; no version, because two versions that write the same bytes are to write the same bytes.
const CREATED_BY: &str = "apportion";
/// Distinct texts of a column that are counted before their differences are summed up.
const DISTINCT: usize = 4096;

/// Writes the rows of an export as Parquet files. `done` gets each as soon as it is finished, so that no more than one
/// has to wait; what they can't hold comes back.
///
/// # Errors
/// A disk that is full, and what `done` returns.
pub fn write_parquet<E: From<WriteError>>(
    rows: &WaitedRows,
    order: Order,
    folder: &Path,
    done: &mut dyn FnMut(SpooledFile) -> Result<(), E>,
) -> Result<Vec<Representation>, E> {
    std::fs::create_dir_all(folder).map_err(|source| io_error(folder, "making the folder", source))?;
    let mut writer = FilesWriter::new(rows, folder);
    rows.for_each_in_order::<E>(order, &mut |cells| {
        writer.push(cells)?.into_iter().try_for_each(&mut *done)
    })?;
    writer.finish()?.into_iter().try_for_each(done)?;
    Ok(writer.into_representation())
}

fn io_error(path: &Path, doing: &'static str, source: std::io::Error) -> WriteError {
    WriteError::Io { path: path.display().to_string(), doing, source }
}

/// The Arrow schema of an export.
fn schema_of<'a>(columns: impl Iterator<Item = (&'a str, ColumnType)>) -> Schema {
    let fields = columns.map(|(name, kind)| {
        let kind = match kind {
            ColumnType::String => DataType::Utf8,
            ColumnType::Double => DataType::Float64,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        };
        Field::new(name, kind, true)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

struct FilesWriter<'a> {
    folder: &'a Path,
    schema: SchemaRef,
    columns: Vec<ColumnCells>,
    rows_in_group: usize,
    bytes_in_group: u64,
    open: Option<(SpooledFile, ArrowWriter<File>)>,
    begun: u32,
    /// The present row as a line of csv.gz, and the text of one of its cells.
    line: Vec<u8>,
    text: Vec<u8>,
    rows_hash: u128,
}

impl<'a> FilesWriter<'a> {
    fn new(rows: &WaitedRows, folder: &'a Path) -> Self {
        let schema = schema_of(rows.columns.iter().map(|column| (column.name.as_str(), column.kind)));
        let columns = rows.columns.iter().zip(&rows.filled);
        Self {
            folder,
            schema: Arc::new(schema),
            columns: columns
                .map(|(column, filled)| ColumnCells::new(&column.name, column.kind, *filled))
                .collect(),
            rows_in_group: 0,
            bytes_in_group: 0,
            open: None,
            begun: 0,
            line: Vec::new(),
            text: Vec::new(),
            rows_hash: 0,
        }
    }

    /// Adds a row; files that are finished with it come back.
    fn push(&mut self, cells: &[(usize, &[u8])]) -> Result<Vec<SpooledFile>, WriteError> {
        self.line.clear();
        let mut rest = cells;
        for (place, column) in self.columns.iter_mut().enumerate() {
            let cell = match rest.split_first() {
                Some(((at, cell), behind)) if *at == place => {
                    rest = behind;
                    *cell
                }
                _ => &[],
            };
            if place > 0 {
                self.line.push(b',');
            }
            self.text.clear();
            column.push(cell, &mut self.text);
            push_cell(&mut self.line, &self.text);
            self.bytes_in_group += if cell.is_empty() { 0 } else { cell.len() as u64 + CELL_BYTES };
        }
        self.rows_hash = self.rows_hash.wrapping_add(row_hash(&self.line));
        self.rows_in_group += 1;
        if self.rows_in_group >= GROUP_ROWS || self.bytes_in_group >= GROUP_BYTES {
            return self.end_group();
        }
        Ok(Vec::new())
    }

    fn end_group(&mut self) -> Result<Vec<SpooledFile>, WriteError> {
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnCells::take).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(compress_error)?;
        let written = self.open.as_ref().map_or(0, |(_, writer)| writer.bytes_written() as u64);
        let mut done = Vec::new();
        if written + self.bytes_in_group > MOST_BYTES {
            done.extend(self.end_file()?);
        }
        if self.open.is_none() {
            self.open = Some(self.begin_file()?);
        }
        let Some((file, writer)) = &mut self.open else { return Ok(done) };
        plant::write_point();
        writer
            .write(&batch)
            .and_then(|()| writer.flush())
            .map_err(|error| parquet_error(&file.path, error))?;
        file.rows += self.rows_in_group as u64;
        file.rows_hash = file.rows_hash.wrapping_add(self.rows_hash);
        (self.rows_in_group, self.bytes_in_group, self.rows_hash) = (0, 0, 0);
        if writer.bytes_written() as u64 >= FILE_BYTES {
            done.extend(self.end_file()?);
        }
        Ok(done)
    }

    fn begin_file(&mut self) -> Result<(SpooledFile, ArrowWriter<File>), WriteError> {
        self.begun += 1;
        let number = self.begun;
        let path: PathBuf = self.folder.join(format!("{number:05}.snappy.parquet"));
        plant::write_point();
        let file = File::create_new(&path).map_err(|source| io_error(&path, "making the file", source))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(CREATED_BY.to_owned())
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        // The schema is Parquet's own; what Arrow would add says which library wrote it.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&self.schema), options)
            .map_err(|error| parquet_error(&path, error))?;
        Ok((SpooledFile { number, path, bytes: 0, members: Vec::new(), rows: 0, rows_hash: 0 }, writer))
    }

    fn end_file(&mut self) -> Result<Option<SpooledFile>, WriteError> {
        let Some((mut info, writer)) = self.open.take() else { return Ok(None) };
        plant::write_point();
        let mut file = writer.into_inner().map_err(|error| parquet_error(&info.path, error))?;
        file.flush().map_err(|source| io_error(&info.path, "writing", source))?;
        info.bytes = file.metadata().map_err(|source| io_error(&info.path, "looking at", source))?.len();
        if strikes(Plant::WriteByte) {
            super::spool::spoil(&info.path);
        }
        Ok(Some(info))
    }

    /// Ends the last file; an export without a row is a file with columns and without rows.
    fn finish(&mut self) -> Result<Vec<SpooledFile>, WriteError> {
        let mut done = Vec::new();
        if self.rows_in_group > 0 || self.begun == 0 {
            done.extend(self.end_group()?);
        }
        done.extend(self.end_file()?);
        Ok(done)
    }

    fn into_representation(self) -> Vec<Representation> {
        self.columns.into_iter().filter_map(ColumnCells::into_representation).collect()
    }
}

fn compress_error(error: arrow_schema::ArrowError) -> WriteError {
    WriteError::Compress(error.to_string())
}

fn parquet_error(path: &Path, error: parquet::errors::ParquetError) -> WriteError {
    io_error(path, "writing", std::io::Error::other(error.to_string()))
}

/// The cells of one column in the present row group.
struct ColumnCells {
    name: String,
    /// Whether the export has any cell here that isn't blank; a column without one is null throughout.
    filled: bool,
    values: Values,
    not_represented: u64,
}

enum Values {
    Text(StringBuilder),
    Double {
        builder: Float64Builder,
        difference: RepresentationDifference,
        texts: HashMap<Box<[u8]>, (f64, u64)>,
    },
    Timestamp(TimestampMillisecondBuilder),
}

impl ColumnCells {
    fn new(name: &str, kind: ColumnType, filled: bool) -> Self {
        let values = match kind {
            ColumnType::String => Values::Text(StringBuilder::new()),
            ColumnType::Double => Values::Double {
                builder: Float64Builder::new(),
                difference: RepresentationDifference::default(),
                texts: HashMap::new(),
            },
            ColumnType::Timestamp => {
                Values::Timestamp(TimestampMillisecondBuilder::new().with_timezone("UTC"))
            }
        };
        Self { name: name.to_owned(), filled, values, not_represented: 0 }
    }

    /// Adds a cell, and to `hashed` the text that a reader makes of what is stored.
    fn push(&mut self, cell: &[u8], hashed: &mut Vec<u8>) {
        match &mut self.values {
            Values::Text(builder) if cell.is_empty() && !self.filled => builder.append_null(),
            Values::Text(builder) => {
                let text = String::from_utf8_lossy(cell);
                if let std::borrow::Cow::Owned(_) = text {
                    self.not_represented += 1;
                }
                hashed.extend_from_slice(text.as_bytes());
                builder.append_value(if strikes(Plant::WriteCell) { "planted".into() } else { text });
            }
            Values::Double { builder, texts, difference } => {
                let value = double(cell);
                builder.append_option(value);
                match value {
                    Some(value) => {
                        push_double(hashed, value);
                        count(texts, difference, cell, value);
                    }
                    None => self.not_represented += u64::from(!cell.is_empty()),
                }
            }
            Values::Timestamp(builder) => {
                let moment = Instant::parse(cell);
                builder.append_option(moment.map(Instant::millis));
                match moment {
                    Some(moment) => moment.write_to(hashed),
                    None => self.not_represented += u64::from(!cell.is_empty()),
                }
            }
        }
    }

    fn take(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Double { builder, .. } => Arc::new(builder.finish()),
            Values::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }

    fn into_representation(self) -> Option<Representation> {
        let mut told =
            Representation { column: self.name, difference: None, not_represented: self.not_represented };
        if let Values::Double { mut difference, mut texts, .. } = self.values {
            sum_up(&mut texts, &mut difference);
            told.difference = (!difference.is_zero()).then(|| difference.to_string());
        }
        (told.difference.is_some() || told.not_represented > 0).then_some(told)
    }
}

/// The double nearest to a cell's number.
fn double(cell: &[u8]) -> Option<f64> {
    // The number's own grammar first: a float's would also take "inf".
    Number::parse(cell).ok().flatten()?;
    std::str::from_utf8(cell).ok()?.parse().ok()
}

/// The text that a reader makes of a double: docs/delivery-format.md, section 1.
fn push_double(out: &mut Vec<u8>, value: f64) {
    if value == 0f64 {
        out.push(b'0');
    } else {
        // Writing to a Vec can't fail.
        let _ = write!(out, "{value}");
    }
}

/// Counts a text; its exact difference is worked out once for all cells that hold it.
fn count(
    texts: &mut HashMap<Box<[u8]>, (f64, u64)>,
    difference: &mut RepresentationDifference,
    cell: &[u8],
    value: f64,
) {
    if let Some((_, count)) = texts.get_mut(cell) {
        *count += 1;
        return;
    }
    if texts.len() >= DISTINCT {
        sum_up(texts, difference);
    }
    texts.insert(cell.into(), (value, 1));
}

fn sum_up(texts: &mut HashMap<Box<[u8]>, (f64, u64)>, difference: &mut RepresentationDifference) {
    for (text, (value, count)) in texts.drain() {
        if let Ok(Some(number)) = Number::parse(&text) {
            difference.add(value, &number, count);
        }
    }
}
