use super::error::SourceError;
use super::parquet_cells::{CellProblem, kind_of, texts_of};
use super::parquet_numbers::Repeated;
use crate::storage::Opened;
use apportion_core::line_item::{Cells, Texts};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Encoding;
use parquet::file::metadata::ParquetMetaData;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Rows of a batch: 8 MB of codes for the columns of a report.
const BATCH_ROWS: usize = 8192;
const FETCH_AGAIN: &str = "Nothing was published; fetch the file again";

/// A Parquet file, read batch by batch; strings stay coded where the file has them so.
pub(super) struct ParquetFile {
    pub(super) object: Arc<str>,
    metadata: ArrowReaderMetadata,
    file: Opened,
    reader: Option<ParquetRecordBatchReader>,
    /// For each column that is read, its place among the file's.
    projected: Vec<usize>,
    /// The columns' names.
    pub(super) headers: Vec<String>,
    /// Their types, as a schema names them.
    pub(super) kinds: Vec<&'static str>,
    rows: u64,
    /// Dictionaries as texts, by column: consecutive batches share theirs.
    dictionaries: HashMap<usize, (StringArray, Arc<Texts>)>,
    /// What doubles and moments have been seen, by column.
    repeated: HashMap<usize, Repeated>,
}

/// Runs the decoder, which can panic on hostile files; then the file is refused like any other that is broken.
fn guarded<T>(object: &str, decode: impl FnOnce() -> Result<T, SourceError>) -> Result<T, SourceError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let problem = "the decoder gave up on the file; nothing was published. Fetch it again".to_owned();
        Err(SourceError::Parquet { object: object.to_owned(), problem })
    })
}

impl ParquetFile {
    /// Opens a file and reads its footer.
    pub(super) fn open(object: Arc<str>, file: Opened) -> Result<Self, SourceError> {
        guarded(&Arc::clone(&object), || Self::read_footer(object, file))
    }

    fn read_footer(object: Arc<str>, file: Opened) -> Result<Self, SourceError> {
        let wrong = |problem: String| SourceError::Parquet { object: object.to_string(), problem };
        let plain =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
                .map_err(|error| wrong(format!("the file isn't whole Parquet: {error}. {FETCH_AGAIN}")))?;
        let schema = plain.schema();
        let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
        let mut kinds = Vec::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate() {
            let Some(kind) = kind_of(field.data_type()) else {
                // Not broken, only not read: a person must choose another source.
                return Err(SourceError::Refused {
                    place: object.to_string(),
                    reasons: vec![format!(
                        "  column {} has type {}, which no cost report has. Leave it out, or deliver from AWS's own report",
                        field.name(),
                        field.data_type(),
                    )],
                });
            };
            kinds.push(kind);
            let coded = field.data_type() == &DataType::Utf8 && is_coded(plain.metadata(), place);
            fields.push(if coded {
                let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                field.as_ref().clone().with_data_type(kind)
            } else {
                field.as_ref().clone()
            });
        }
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_schema(Arc::new(Schema::new(fields)));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options)
            .map_err(|error| wrong(format!("the file isn't whole Parquet: {error}. {FETCH_AGAIN}")))?;
        let headers = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self {
            object,
            metadata,
            file,
            reader: None,
            projected: Vec::new(),
            headers,
            kinds,
            rows: 0,
            dictionaries: HashMap::new(),
            repeated: HashMap::new(),
        })
    }

    /// Says which columns are read.
    pub(super) fn project(&mut self, needed: &[bool]) -> Result<(), SourceError> {
        self.projected = (0..needed.len()).filter(|place| needed[*place]).collect();
        let file = self
            .file
            .try_clone()
            .map_err(|source| SourceError::Io { object: self.object.to_string(), source })?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), self.projected.iter().copied());
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        self.reader = Some(reader.map_err(|error| self.wrong(error.to_string()))?);
        Ok(())
    }

    fn wrong(&self, problem: String) -> SourceError {
        SourceError::Parquet {
            object: self.object.to_string(),
            problem: format!("{problem} (after row {}). {FETCH_AGAIN}", self.rows),
        }
    }

    /// The next rows, one entry per column of the file; None at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<(u64, usize, Vec<Cells>)>, SourceError> {
        let object = Arc::clone(&self.object);
        let next = guarded(&object, || match self.reader.as_mut().and_then(Iterator::next) {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => Err(self.wrong(error.to_string())),
        })?;
        let Some(batch) = next else { return Ok(None) };
        let first = self.rows + 1;
        let columns = self.cells_of(&batch, first)?;
        self.rows += batch.num_rows() as u64;
        Ok(Some((first, batch.num_rows(), columns)))
    }

    fn cells_of(&mut self, batch: &RecordBatch, first: u64) -> Result<Vec<Cells>, SourceError> {
        let mut columns = vec![Cells::Blank; self.headers.len()];
        for (place, array) in self.projected.clone().into_iter().zip(batch.columns()) {
            if array.null_count() == array.len() {
                continue;
            }
            columns[place] = match array.data_type() {
                DataType::Dictionary(..) => self.coded(place, array),
                DataType::Float64 | DataType::Date32 | DataType::Timestamp(..) => {
                    let repeated = self.repeated.entry(place).or_default();
                    repeated.cells_of(array).unwrap_or(Ok(Cells::Blank))
                }
                _ => texts_of(array).map(|texts| Cells::Plain(Arc::new(texts))),
            }
            .map_err(|problem| SourceError::Cell {
                object: self.object.to_string(),
                row: first + problem.row as u64,
                column: self.headers[place].clone(),
                problem: problem.text,
            })?;
        }
        Ok(columns)
    }

    fn coded(&mut self, place: usize, array: &ArrayRef) -> Result<Cells, CellProblem> {
        let coded = array.as_dictionary::<Int32Type>();
        let codes = codes_of(coded.keys());
        let values = coded.values().as_string::<i32>();
        // The remembered array keeps its memory alive, so that the same place is the same dictionary.
        let same = |array: &StringArray| {
            array.value_data().as_ptr() == values.value_data().as_ptr()
                && array.value_offsets().as_ptr_range() == values.value_offsets().as_ptr_range()
        };
        let texts = match self.dictionaries.get(&place).filter(|(array, _)| same(array)) {
            Some((_, texts)) => Arc::clone(texts),
            None => {
                let texts = Arc::new(texts_of(coded.values())?);
                self.dictionaries.insert(place, (values.clone(), Arc::clone(&texts)));
                texts
            }
        };
        Ok(Cells::Coded { codes, texts })
    }
}

/// A dictionary's keys as codes; a null has one without a text.
fn codes_of(keys: &Int32Array) -> Arc<[u32]> {
    let values = keys.values();
    let Some(nulls) = keys.nulls() else {
        return values.iter().map(|key| *key as u32).collect::<Vec<_>>().into();
    };
    let mut codes = vec![u32::MAX; values.len()];
    let valid = nulls.inner().bit_chunks();
    for ((keys, codes), valid) in values.chunks(64).zip(codes.chunks_mut(64)).zip(valid.iter_padded()) {
        match valid {
            0 => {}
            u64::MAX => codes.iter_mut().zip(keys).for_each(|(code, key)| *code = *key as u32),
            _ => {
                for (place, (key, code)) in keys.iter().zip(codes).enumerate() {
                    *code = *key as u32 | ((valid >> place & 1) as u32).wrapping_sub(1);
                }
            }
        }
    }
    codes.into()
}

/// Whether all chunks of a flat column are wholly dictionary encoded; others would be coded anew, at a cost.
fn is_coded(metadata: &ParquetMetaData, place: usize) -> bool {
    let schema = metadata.file_metadata().schema_descr();
    // Leaves are counted on from those of the nested columns before.
    let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == place);
    let dictionary = [Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY, Encoding::PLAIN];
    metadata.num_row_groups() > 0
        && metadata.row_groups().iter().all(|group| {
            leaf.and_then(|leaf| group.columns().get(leaf)).is_some_and(|chunk| {
                chunk.dictionary_page_offset().is_some()
                    && chunk.encodings().all(|encoding| dictionary.contains(&encoding))
            })
        })
}
