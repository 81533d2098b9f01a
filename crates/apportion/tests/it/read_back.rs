//! Delivered data files as cells: what a reader makes of csv.gz and of Parquet.

use crate::harness::{Tree, gunzip, records};
use apportion_model::Instant;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Whether a key is a data file's.
pub fn is_data(key: &str) -> bool {
    key.ends_with(".csv.gz") || key.ends_with(".parquet")
}

/// The keys of the data files of a tree, by their own names.
pub fn data_files(tree: &Tree) -> Tree {
    let own_name = |key: &str| key.rsplit('/').next().unwrap().to_owned();
    tree.iter().filter(|(key, _)| is_data(key)).map(|(key, bytes)| (own_name(key), bytes.clone())).collect()
}

/// The records of a data file, the header first.
pub fn read(key: &str, bytes: &[u8]) -> Vec<Vec<String>> {
    if key.ends_with(".parquet") {
        read_parquet(bytes)
    } else {
        records(std::str::from_utf8(&gunzip(bytes)).unwrap())
    }
}

fn opened(bytes: &[u8]) -> ParquetRecordBatchReaderBuilder<File> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempfile_in(memory) } else { tempfile::tempfile() };
    let mut file = made.unwrap();
    file.write_all(bytes).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap()
}

/// What is stored in a Parquet file.
pub fn batches(bytes: &[u8]) -> Vec<RecordBatch> {
    opened(bytes).build().unwrap().map(Result::unwrap).collect()
}

/// The names and types of a Parquet file's columns.
pub fn schema(bytes: &[u8]) -> Vec<(String, DataType)> {
    let builder = opened(bytes);
    let fields = builder.schema().fields();
    fields.iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

fn read_parquet(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut found = vec![schema(bytes).into_iter().map(|(name, _)| name).collect()];
    for batch in batches(bytes) {
        let row = |row| batch.columns().iter().map(|column| cell(column.as_ref(), row)).collect();
        found.extend((0..batch.num_rows()).map(row));
    }
    found
}

fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Float64 => double_text(column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if &**zone == "UTC" => {
            moment_text(column.as_primitive::<TimestampMillisecondType>().value(row))
        }
        other => panic!("a column of type {other}"),
    }
}

fn double_text(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { value.to_string() }
}

fn moment_text(millis: i64) -> String {
    let mut text = Vec::new();
    Instant::from_millis(millis).write_to(&mut text);
    String::from_utf8(text).unwrap()
}

/// What a reader of Parquet finds where a csv.gz has this cell.
pub fn as_in_parquet(kind: &str, cell: &str) -> String {
    match kind {
        "double" => {
            let number = cell.parse::<f64>().ok().filter(|value| value.is_finite());
            number.map(double_text).unwrap_or_default()
        }
        "timestamp" => Instant::parse(cell.as_bytes()).map(|at| moment_text(at.millis())).unwrap_or_default(),
        _ => cell.to_owned(),
    }
}
