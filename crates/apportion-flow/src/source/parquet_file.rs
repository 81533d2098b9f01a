use super::error::SourceError;
use apportion_core::line_item::{Cells, Texts};
use apportion_model::Instant;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Encoding;
use parquet::file::metadata::ParquetMetaData;
use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const BATCH_ROWS: usize = 2048;
const FETCH_AGAIN: &str = "Nothing was published; fetch the file again";

/// A Parquet file, read batch by batch; strings stay coded where the file has them so.
pub(super) struct ParquetFile {
    object: Arc<str>,
    metadata: ArrowReaderMetadata,
    file: File,
    reader: Option<ParquetRecordBatchReader>,
    /// For each column that is read, its place among the file's.
    projected: Vec<usize>,
    /// The columns' names.
    pub(super) headers: Vec<String>,
    rows: u64,
    /// Dictionaries as texts, by column: consecutive batches share theirs.
    dictionaries: HashMap<usize, (ArrayRef, Arc<Texts>)>,
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
    pub(super) fn open(object: Arc<str>, file: File) -> Result<Self, SourceError> {
        guarded(&Arc::clone(&object), || Self::read_footer(object, file))
    }

    fn read_footer(object: Arc<str>, file: File) -> Result<Self, SourceError> {
        let wrong = |problem: String| SourceError::Parquet { object: object.to_string(), problem };
        let plain =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
                .map_err(|error| wrong(format!("the file isn't whole Parquet: {error}. {FETCH_AGAIN}")))?;
        let schema = plain.schema();
        let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate() {
            if let DataType::Map(..) | DataType::Struct(_) | DataType::List(_) = field.data_type() {
                // Not broken, only not read: a person must choose another source.
                let nested =
                    if matches!(field.data_type(), DataType::Map(..)) { "map" } else { "nested column" };
                return Err(SourceError::Refused {
                    place: object.to_string(),
                    reasons: vec![format!(
                        "  column {} is a {nested}: CUR 2.0 as Parquet is a kind that isn't read yet. Set the export to CSV, or read a legacy CUR",
                        field.name(),
                    )],
                });
            }
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
            rows: 0,
            dictionaries: HashMap::new(),
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
        let codes = coded
            .keys()
            .iter()
            .map(|key| key.and_then(|key| u32::try_from(key).ok()).unwrap_or(u32::MAX))
            .collect();
        let values = coded.values();
        let remembered =
            self.dictionaries.get(&place).filter(|(array, _)| array.to_data().ptr_eq(&values.to_data()));
        let texts = match remembered {
            Some((_, texts)) => Arc::clone(texts),
            None => {
                let texts = Arc::new(texts_of(values)?);
                self.dictionaries.insert(place, (Arc::clone(values), Arc::clone(&texts)));
                texts
            }
        };
        Ok(Cells::Coded { codes, texts })
    }
}

/// Whether all chunks of a column are wholly dictionary encoded; others would be coded anew, at a cost.
fn is_coded(metadata: &ParquetMetaData, place: usize) -> bool {
    metadata.num_row_groups() > 0
        && metadata.row_groups().iter().all(|group| {
            group.columns().get(place).is_some_and(|chunk| {
                chunk.dictionary_page_offset().is_some()
                    && chunk.encodings().all(|encoding| {
                        matches!(
                            encoding,
                            Encoding::RLE
                                | Encoding::RLE_DICTIONARY
                                | Encoding::PLAIN_DICTIONARY
                                | Encoding::PLAIN
                        )
                    })
            })
        })
}

struct CellProblem {
    row: usize,
    text: String,
}

/// Every value as the text that CSV would have: docs/delivery-format.md, section 1.
fn texts_of(array: &ArrayRef) -> Result<Texts, CellProblem> {
    match array.data_type() {
        DataType::Utf8 => Ok(each(array, |row| array.as_string::<i32>().value(row).as_bytes())),
        DataType::LargeUtf8 => Ok(each(array, |row| array.as_string::<i64>().value(row).as_bytes())),
        DataType::Binary => Ok(each(array, |row| array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Ok(each(array, |row| array.as_binary::<i64>().value(row))),
        DataType::Boolean => {
            Ok(each(array, |row| if array.as_boolean().value(row) { &b"true"[..] } else { &b"false"[..] }))
        }
        DataType::Float64 => numbers::<Float64Type>(array, |value| (value.is_finite(), value == 0f64)),
        DataType::Float32 => numbers::<Float32Type>(array, |value| (value.is_finite(), value == 0f32)),
        DataType::Int8 => numbers::<Int8Type>(array, |_| (true, false)),
        DataType::Int16 => numbers::<Int16Type>(array, |_| (true, false)),
        DataType::Int32 => numbers::<Int32Type>(array, |_| (true, false)),
        DataType::Int64 => numbers::<Int64Type>(array, |_| (true, false)),
        DataType::UInt8 => numbers::<UInt8Type>(array, |_| (true, false)),
        DataType::UInt16 => numbers::<UInt16Type>(array, |_| (true, false)),
        DataType::UInt32 => numbers::<UInt32Type>(array, |_| (true, false)),
        DataType::UInt64 => numbers::<UInt64Type>(array, |_| (true, false)),
        DataType::Date32 => moments(array, |row| {
            i64::from(array.as_primitive::<Date32Type>().value(row)).checked_mul(86_400_000)
        }),
        DataType::Timestamp(TimeUnit::Second, _) => {
            moments(array, |row| array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            moments(array, |row| Some(array.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            moments(array, |row| whole(array.as_primitive::<TimestampMicrosecondType>().value(row), 1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            moments(array, |row| whole(array.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000))
        }
        DataType::Null => Ok(each(array, |_| &[])),
        other => Err(CellProblem { row: 0, text: format!("the column has type {other}, which no CUR has") }),
    }
}

fn whole(value: i64, unit: i64) -> Option<i64> {
    (value % unit == 0).then(|| value / unit)
}

fn each<'a>(array: &ArrayRef, value: impl Fn(usize) -> &'a [u8]) -> Texts {
    let mut texts = Texts::default();
    for row in 0..array.len() {
        texts.push(if array.is_null(row) { &[] } else { value(row) });
    }
    texts
}

/// `Display` of a double is its shortest round-trip decimal, in plain notation; only `-0` needs care.
fn numbers<T>(array: &ArrayRef, look: impl Fn(T::Native) -> (bool, bool)) -> Result<Texts, CellProblem>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    use std::io::Write;
    let values = array.as_primitive::<T>();
    let mut texts = Texts::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(&[]);
            continue;
        }
        let value = values.value(row);
        match look(value) {
            (false, _) => return Err(CellProblem { row, text: format!("{value} is not a finite number") }),
            (_, true) => texts.push(b"0"),
            _ => texts.push_with(|bytes| {
                // Writing to a Vec can't fail.
                let _ = write!(bytes, "{value}");
            }),
        }
    }
    Ok(texts)
}

fn moments(array: &ArrayRef, millis: impl Fn(usize) -> Option<i64>) -> Result<Texts, CellProblem> {
    // Years 1 to 9999.
    const RANGE: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;
    let mut texts = Texts::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(&[]);
            continue;
        }
        let moment = millis(row).filter(|millis| RANGE.contains(millis));
        let text = "the timestamp is finer than a millisecond or outside the years 1 to 9999";
        let moment = moment.ok_or_else(|| CellProblem { row, text: text.to_owned() })?;
        texts.push_with(|bytes| Instant::from_millis(moment).write_to(bytes));
    }
    Ok(texts)
}
