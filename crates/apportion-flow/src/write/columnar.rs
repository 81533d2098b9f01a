use super::WriteError;
use super::chunk::{Chunk, encode};
use super::pack::Order;
use super::spool::SpooledFile;
use super::waited::{Group, WaitedRows};
use super::window::WINDOW_ROWS;
use crate::plant::{self, Plant, strikes};
use crate::threads::Workers;
use apportion_core::columns::ColumnType;
use apportion_core::csv::{LineColumn, lines_hash};
use apportion_core::money::DifferenceSum;
use apportion_core::proof::Representation;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a row group, so that its columns are long enough to compress and short enough to hold.
/// They are whole windows, each of them sorted by itself.
const GROUP_ROWS: usize = 32_768 / WINDOW_ROWS * WINDOW_ROWS;
/// Bytes of a row group, before they are compressed, at which it ends although few rows are in it.
const GROUP_BYTES: u64 = 44 << 20;
/// Bytes at which a file ends.
const FILE_BYTES: u64 = 40 << 20;
/// Most bytes of a file: a row group that would make it larger begins the next. No row group is that large itself.
const MOST_BYTES: u64 = 62 << 20;
/// Rows that are hashed by one thread at a time.
const HASHED_ROWS: usize = 8192;
/// What the files say wrote them; no version, because two versions that write the same bytes are to write the same bytes.
const CREATED_BY: &str = "apportion";

/// Writes the rows of an export as Parquet files. `done` gets each as soon as it is finished, so that
/// no more than one has to wait; what they can't hold comes back.
///
/// # Errors
/// A disk that is full, and what `done` returns.
pub fn write_parquet<E: From<WriteError>>(
    rows: &WaitedRows,
    order: Order,
    folder: &Path,
    workers: &Workers,
    done: &mut dyn FnMut(SpooledFile) -> Result<(), E>,
) -> Result<Vec<Representation>, E> {
    std::fs::create_dir_all(folder).map_err(|source| io_error(folder, "making the folder", source))?;
    let mut writer = FilesWriter::new(rows, folder, workers)?;
    let mut groups = rows.groups()?;
    while let Some(group) = groups.next(GROUP_ROWS, GROUP_BYTES)? {
        writer.write_group(&group, order)?.into_iter().try_for_each(&mut *done)?;
    }
    writer.finish()?.into_iter().try_for_each(done)?;
    Ok(writer.into_representation())
}

fn io_error(path: &Path, doing: &'static str, source: std::io::Error) -> WriteError {
    WriteError::Io { path: path.display().to_string(), doing, source }
}

/// The schema of an export. It is Parquet's own; what Arrow would add says which library wrote it.
fn schema_of<'a>(
    columns: impl Iterator<Item = (&'a str, ColumnType)>,
) -> Result<SchemaDescriptor, WriteError> {
    let fields = columns.map(|(name, kind)| {
        let kind = match kind {
            ColumnType::String => DataType::Utf8,
            ColumnType::Double => DataType::Float64,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        };
        Field::new(name, kind, true)
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    ArrowSchemaConverter::new().convert(&schema).map_err(|error| WriteError::Compress(error.to_string()))
}

struct FilesWriter<'a> {
    rows: &'a WaitedRows,
    folder: &'a Path,
    workers: &'a Workers,
    schema: SchemaDescriptor,
    told: Vec<(DifferenceSum, u64)>,
    open: Option<(SpooledFile, SerializedFileWriter<File>)>,
    begun: u32,
}

impl<'a> FilesWriter<'a> {
    fn new(rows: &'a WaitedRows, folder: &'a Path, workers: &'a Workers) -> Result<Self, WriteError> {
        let schema = schema_of(rows.columns.iter().map(|column| (column.name.as_str(), column.kind)))?;
        let told = vec![(DifferenceSum::default(), 0); rows.columns.len()];
        Ok(Self { rows, folder, workers, schema, told, open: None, begun: 0 })
    }

    /// Writes a row group; files that are finished with it come back.
    fn write_group(&mut self, group: &Group<'_>, order: Order) -> Result<Vec<SpooledFile>, WriteError> {
        let (chunks, rows_hash) = self.encode_group(group, order)?;
        for ((difference, not_represented), chunk) in self.told.iter_mut().zip(&chunks) {
            difference.merge(&chunk.difference);
            *not_represented += chunk.not_represented;
        }
        let bytes: u64 = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        let written = self.open.as_ref().map_or(0, |(_, writer)| writer.bytes_written() as u64);
        let mut done = Vec::new();
        if written + bytes > MOST_BYTES {
            done.extend(self.end_file()?);
        }
        if self.open.is_none() {
            self.open = Some(self.begin_file()?);
        }
        let Some((file, writer)) = &mut self.open else { return Ok(done) };
        plant::write_point();
        append(writer, chunks).map_err(|error| parquet_error(&file.path, error))?;
        file.rows += group.rows as u64;
        file.rows_hash = file.rows_hash.wrapping_add(rows_hash);
        if writer.bytes_written() as u64 >= FILE_BYTES {
            done.extend(self.end_file()?);
        }
        Ok(done)
    }

    /// The columns of a row group, and the sum of its rows' hashes: of the lines that a reader makes of what is stored.
    fn encode_group(&self, group: &Group<'_>, order: Order) -> Result<(Vec<Chunk>, u128), WriteError> {
        let order = group.in_order(order);
        let columns = self.rows.columns.len();
        let chunks = self.workers.run(columns, |place| {
            let kind = self.rows.columns.get(place).map_or(ColumnType::String, |column| column.kind);
            let filled = self.rows.filled.get(place).is_some_and(|filled| *filled);
            encode(group.column(place), kind, filled, &order, self.schema.column(place))
        });
        let chunks = chunks.ok_or(WriteError::Thread)?.into_iter().collect::<Result<Vec<Chunk>, _>>()?;
        let lines: Vec<LineColumn<'_>> =
            chunks.iter().map(|chunk| LineColumn { codes: &chunk.codes, texts: &chunk.texts }).collect();
        let hashes = self.workers.run(group.rows.div_ceil(HASHED_ROWS), |part| {
            let from = part * HASHED_ROWS;
            lines_hash(&lines, from..(from + HASHED_ROWS).min(group.rows))
        });
        let hashes = hashes.ok_or(WriteError::Thread)?;
        Ok((chunks, hashes.into_iter().fold(0, u128::wrapping_add)))
    }

    fn begin_file(&mut self) -> Result<(SpooledFile, SerializedFileWriter<File>), WriteError> {
        self.begun += 1;
        let number = self.begun;
        let path: PathBuf = self.folder.join(format!("{number:05}.snappy.parquet"));
        plant::write_point();
        let file = File::create_new(&path).map_err(|source| io_error(&path, "making the file", source))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(CREATED_BY.to_owned())
            .build();
        let schema = self.schema.root_schema_ptr();
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties))
            .map_err(|error| parquet_error(&path, error))?;
        Ok((SpooledFile { number, path, bytes: 0, rows: 0, rows_hash: 0, members: Vec::new() }, writer))
    }

    fn end_file(&mut self) -> Result<Option<SpooledFile>, WriteError> {
        let Some((mut info, writer)) = self.open.take() else { return Ok(None) };
        plant::write_point();
        let mut file = writer.into_inner().map_err(|error| parquet_error(&info.path, error))?;
        file.flush().map_err(|source| io_error(&info.path, "writing", source))?;
        info.bytes = file.metadata().map_err(|source| io_error(&info.path, "looking at", source))?.len();
        self.workers.count(info.rows, info.bytes);
        if strikes(Plant::WriteByte) {
            super::spool::spoil(&info.path);
        }
        Ok(Some(info))
    }

    /// Ends the last file; an export without a row is a file with columns and without rows.
    fn finish(&mut self) -> Result<Option<SpooledFile>, WriteError> {
        if self.begun == 0 {
            self.open = Some(self.begin_file()?);
        }
        self.end_file()
    }

    fn into_representation(self) -> Vec<Representation> {
        let told = self.rows.columns.iter().zip(self.told).map(|(column, (difference, not_represented))| {
            let difference = difference.total();
            let difference = (!difference.is_zero()).then(|| difference.to_string());
            Representation { column: column.name.clone(), difference, not_represented }
        });
        told.filter(|told| told.difference.is_some() || told.not_represented > 0).collect()
    }
}

fn append(writer: &mut SerializedFileWriter<File>, chunks: Vec<Chunk>) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for chunk in chunks {
        group.append_column(&chunk.bytes, chunk.close)?;
    }
    group.close()?;
    Ok(())
}

fn parquet_error(path: &Path, error: ParquetError) -> WriteError {
    io_error(path, "writing", std::io::Error::other(error.to_string()))
}
