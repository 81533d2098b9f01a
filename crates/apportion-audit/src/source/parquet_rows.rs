//! The rows of a Parquet object as cells.
//!
//! What comes in: a Parquet file, batch by batch. What goes out: each value in the text form of the delivery format.
//! What it must never do: round a double, or guess at a type that the format doesn't name.

use apportion_model::Instant;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, MapArray, RecordBatch, StructArray};
use arrow_schema::{DataType, TimeUnit};
use csv::ByteRecord;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::ChunkReader;
use serde_json::Value;
use std::io::Write;

const BATCH_ROWS: usize = 4096;
/// 0001-01-01 to 9999-12-31, the moments that can be written with a year of four digits.
const MOMENTS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Reads a Parquet file row by row.
pub(super) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    headers: Vec<Vec<u8>>,
    batch: Option<RecordBatch>,
    next: usize,
    scratch: Vec<u8>,
}

impl ParquetRows {
    pub(super) fn open(file: impl ChunkReader + 'static) -> Result<Self, String> {
        // Without the embedded Arrow schema the types are Parquet's own, whatever wrote the file.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(|cause| cause.to_string())?
            .with_batch_size(BATCH_ROWS);
        let headers =
            builder.schema().fields().iter().map(|field| field.name().as_bytes().to_vec()).collect();
        let reader = builder.build().map_err(|cause| cause.to_string())?;
        Ok(Self { reader, headers, batch: None, next: 0, scratch: Vec::new() })
    }

    pub(super) fn headers(&self) -> Vec<Vec<u8>> {
        self.headers.clone()
    }

    pub(super) fn next(&mut self, record: &mut ByteRecord) -> Result<bool, String> {
        while self.batch.as_ref().is_none_or(|batch| self.next >= batch.num_rows()) {
            match self.reader.next() {
                None => return Ok(false),
                Some(batch) => self.batch = Some(batch.map_err(|cause| cause.to_string())?),
            }
            self.next = 0;
        }
        record.clear();
        if let Some(batch) = &self.batch {
            for (column, array) in batch.columns().iter().enumerate() {
                self.scratch.clear();
                write_cell(array.as_ref(), self.next, &mut self.scratch).map_err(|cause| {
                    format!("column {:?}: {cause}", String::from_utf8_lossy(&self.headers[column]))
                })?;
                record.push_field(&self.scratch);
            }
        }
        self.next += 1;
        Ok(true)
    }
}

/// Appends the text form of a value.
pub(crate) fn write_cell(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if array.is_null(row) {
        return Ok(());
    }
    if let Some(text) = text_of(array, row) {
        out.extend_from_slice(text);
        return Ok(());
    }
    let written = match array.data_type() {
        DataType::Null => Some(()),
        DataType::Boolean => array.as_boolean_opt().map(|cells| {
            out.extend_from_slice(if cells.value(row) { b"true" } else { b"false" });
        }),
        DataType::Float64 => primitive::<Float64Type>(array, row).map(|value| write_double(value, out)),
        DataType::Float32 => {
            primitive::<Float32Type>(array, row).map(|value| write_double(value.into(), out))
        }
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            return write_moment(millis(array, row), out);
        }
        DataType::Map(..) => match array.as_any().downcast_ref::<MapArray>() {
            Some(map) => return write_map(map, row, out),
            None => None,
        },
        DataType::Struct(_) => match array.as_any().downcast_ref::<StructArray>() {
            Some(group) => return write_struct(group, row, out),
            None => None,
        },
        _ => integer(array, row).map(|text| out.extend_from_slice(text.as_bytes())),
    };
    written.ok_or_else(|| format!("its type {} is none that a cost report has", array.data_type()))
}

fn text_of(array: &dyn Array, row: usize) -> Option<&[u8]> {
    match array.data_type() {
        DataType::Utf8 => array.as_string_opt::<i32>().map(|cells| cells.value(row).as_bytes()),
        DataType::LargeUtf8 => array.as_string_opt::<i64>().map(|cells| cells.value(row).as_bytes()),
        DataType::Utf8View => array.as_string_view_opt().map(|cells| cells.value(row).as_bytes()),
        DataType::Binary => array.as_binary_opt::<i32>().map(|cells| cells.value(row)),
        DataType::LargeBinary => array.as_binary_opt::<i64>().map(|cells| cells.value(row)),
        DataType::BinaryView => array.as_binary_view_opt().map(|cells| cells.value(row)),
        _ => None,
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Option<T::Native> {
    array.as_primitive_opt::<T>().map(|cells| cells.value(row))
}

fn integer(array: &dyn Array, row: usize) -> Option<String> {
    match array.data_type() {
        DataType::Int8 => primitive::<Int8Type>(array, row).map(|value| value.to_string()),
        DataType::Int16 => primitive::<Int16Type>(array, row).map(|value| value.to_string()),
        DataType::Int32 => primitive::<Int32Type>(array, row).map(|value| value.to_string()),
        DataType::Int64 => primitive::<Int64Type>(array, row).map(|value| value.to_string()),
        DataType::UInt8 => primitive::<UInt8Type>(array, row).map(|value| value.to_string()),
        DataType::UInt16 => primitive::<UInt16Type>(array, row).map(|value| value.to_string()),
        DataType::UInt32 => primitive::<UInt32Type>(array, row).map(|value| value.to_string()),
        DataType::UInt64 => primitive::<UInt64Type>(array, row).map(|value| value.to_string()),
        _ => None,
    }
}

/// `{}` writes the shortest decimal that reads back as the same double, without an exponent.
fn write_double(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 {
        out.push(b'0');
    } else {
        // Writing to a vector can't fail.
        let _ = write!(out, "{value}");
    }
}

fn millis(array: &dyn Array, row: usize) -> Option<i64> {
    match array.data_type() {
        DataType::Date32 => {
            primitive::<Date32Type>(array, row).and_then(|days| i64::from(days).checked_mul(86_400_000))
        }
        DataType::Date64 => primitive::<Date64Type>(array, row),
        DataType::Timestamp(TimeUnit::Second, _) => {
            primitive::<TimestampSecondType>(array, row).and_then(|seconds| seconds.checked_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive::<TimestampMillisecondType>(array, row),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(array, row).map(|micros| micros.div_euclid(1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive::<TimestampNanosecondType>(array, row).map(|nanos| nanos.div_euclid(1_000_000))
        }
        _ => None,
    }
}

fn write_moment(millis: Option<i64>, out: &mut Vec<u8>) -> Result<(), String> {
    let millis =
        millis.filter(|millis| MOMENTS.contains(millis)).ok_or("a moment outside the years 1 to 9999")?;
    Instant::from_millis(millis).write_to(out);
    Ok(())
}

/// A map of Parquet's own becomes the JSON object that CUR 2.0 writes elsewhere.
fn write_map(map: &MapArray, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let entries = map.value(row);
    let (Some(keys), Some(values)) = (entries.columns().first(), entries.columns().get(1)) else {
        return Err("a map without keys and values".into());
    };
    let mut members = Vec::new();
    let mut key = Vec::new();
    for entry in (0..entries.len()).filter(|entry| !values.is_null(*entry)) {
        key.clear();
        write_cell(keys.as_ref(), entry, &mut key)?;
        members.push(member(&key, values.as_ref(), entry)?);
    }
    out.extend_from_slice(format!("{{{}}}", members.join(",")).as_bytes());
    Ok(())
}

fn write_struct(group: &StructArray, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let there = group.fields().iter().zip(group.columns()).filter(|(_, cells)| !cells.is_null(row));
    let members: Result<Vec<String>, String> =
        there.map(|(field, cells)| member(field.name().as_bytes(), cells.as_ref(), row)).collect();
    out.extend_from_slice(format!("{{{}}}", members?.join(",")).as_bytes());
    Ok(())
}

/// `"key":value`: numbers and booleans as they are, everything else as a string.
fn member(key: &[u8], values: &dyn Array, entry: usize) -> Result<String, String> {
    let quoted = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned()).to_string();
    let mut cell = Vec::new();
    write_cell(values, entry, &mut cell)?;
    let kind = values.data_type();
    let bare = kind.is_integer() || matches!(kind, DataType::Boolean | DataType::Float32 | DataType::Float64);
    let value = if bare { String::from_utf8_lossy(&cell).into_owned() } else { quoted(&cell) };
    Ok(format!("{}:{value}", quoted(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        ArrayRef, BooleanArray, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray,
    };
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    #[test]
    fn values_have_the_text_of_the_format() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("s", Arc::new(StringArray::from(vec![Some("x"), None]))),
            ("d", Arc::new(Float64Array::from(vec![1e-7, -0.0]))),
            ("e", Arc::new(Float64Array::from(vec![720.0, 1e22]))),
            ("i", Arc::new(Int32Array::from(vec![-5, 7]))),
            ("b", Arc::new(BooleanArray::from(vec![true, false]))),
            (
                "t",
                Arc::new(TimestampMicrosecondArray::from(vec![1_541_030_400_000_000, 1_541_030_400_250_999])),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(file.try_clone().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let mut rows = ParquetRows::open(file).unwrap();
        let mut record = ByteRecord::new();
        assert!(rows.next(&mut record).unwrap());
        assert_eq!(record, vec!["x", "0.0000001", "720", "-5", "true", "2018-11-01T00:00:00Z"]);
        assert!(rows.next(&mut record).unwrap());
        assert_eq!(
            record,
            vec!["", "0", "10000000000000000000000", "7", "false", "2018-11-01T00:00:00.250Z"]
        );
        assert!(!rows.next(&mut record).unwrap());
    }
}
