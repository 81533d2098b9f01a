//! The shapes that an export can have, and its files in each.

#![allow(clippy::float_arithmetic)] // Wrong doubles are made on purpose.

use crate::columns::{ColumnType, ECO, EXTENDED, GUARANTEED};
use crate::items::{csv, gzip, members, rows_hash, sha256};
use apportion_audit::{Contract, Gzip, HeaderStyle, RowOrder};
use apportion_model::{Format, Layout};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_array::{Int64Array, TimestampMillisecondArray};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::sync::Arc;

/// 2026-10-01T00:00:00Z, the one moment of this world.
pub(crate) const MOMENT: &str = "2026-10-01T00:00:00Z";
pub(crate) const MOMENT_MILLIS: i64 = 1_790_812_800_000;

/// Everything that the settings say about an export.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) contract: Contract,
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    pub(crate) header: HeaderStyle,
    pub(crate) gzip: Gzip,
    pub(crate) order: RowOrder,
    pub(crate) payer_kept: bool,
    pub(crate) key: Option<&'static [u8]>,
}

impl Shape {
    pub(crate) const PLAIN: Self = Self {
        contract: Contract::Eco,
        format: Format::CsvGz,
        layout: Layout::Eco,
        header: HeaderStyle::Snake,
        gzip: Gzip::MultiMember,
        order: RowOrder::Sorted,
        payer_kept: true,
        key: None,
    };

    pub(crate) const PARQUET: Self = Self { format: Format::Parquet, ..Self::PLAIN };
    pub(crate) const SOURCE: Self = Self { contract: Contract::Source, ..Self::PLAIN };

    /// Every contract, format, layout and header, and the other settings in turn.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for contract in [Contract::Eco, Contract::EcoExtended, Contract::Source] {
            for format in Format::ALL {
                for layout in Layout::ALL {
                    for header in [HeaderStyle::Snake, HeaderStyle::Slash] {
                        let odd = all.len() % 2 == 1;
                        all.push(Self {
                            contract,
                            format,
                            layout,
                            header,
                            gzip: if odd { Gzip::Single } else { Gzip::MultiMember },
                            order: if odd { RowOrder::Source } else { RowOrder::Sorted },
                            payer_kept: all.len() % 3 != 0,
                            key: odd.then_some(&b"a key of some length"[..]),
                        });
                    }
                }
            }
        }
        all
    }

    pub(crate) fn report(&self, customer: &str) -> String {
        format!("{customer}{}", self.format.report_suffix())
    }

    pub(crate) fn folder(&self, customer: &str, account: &str, period: &str, assembly: &str) -> String {
        match self.layout {
            Layout::Eco => format!("RawCURReports/cur/{account}/{period}/{assembly}"),
            Layout::Aws => format!("{}/{period}/{assembly}", self.report(customer)),
        }
    }

    /// The folder of pointer and generation.
    pub(crate) fn pointers(&self, customer: &str, period: &str) -> String {
        match self.layout {
            Layout::Eco => format!("manifests/{period}"),
            Layout::Aws => format!("{}/{period}", self.report(customer)),
        }
    }
}

pub(crate) fn kind_of(name: &str) -> ColumnType {
    let known = ECO.iter().chain(&EXTENDED).chain(&GUARANTEED).find(|(known, _)| *known == name);
    known.map_or(ColumnType::Text, |(_, kind)| *kind)
}

/// How a Parquet column is stored; all but the first is wrong somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Store {
    Right,
    Required,
    Text,
    Integer,
    Micros,
    LocalMillis,
    NullText,
    /// So much is added to each double.
    Off(f64),
}

#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) header: String,
    pub(crate) kind: ColumnType,
    pub(crate) store: Store,
}

/// A data file before it is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Not snappy.
    pub(crate) uncompressed: bool,
    /// More gzip members than the shape allows.
    pub(crate) two_members: bool,
}

impl Table {
    pub(crate) fn at(&self, header: &str) -> usize {
        self.columns
            .iter()
            .position(|column| column.header == header)
            .unwrap_or_else(|| panic!("no {header}"))
    }

    pub(crate) fn cell(&mut self, row: usize, header: &str) -> &mut String {
        let at = self.at(header);
        &mut self.rows[row][at]
    }

    pub(crate) fn store(&mut self, header: &str, store: Store) {
        let at = self.at(header);
        self.columns[at].store = store;
    }

    /// A column of its own, with that cell in each row.
    pub(crate) fn insert(&mut self, at: usize, header: &str, cell: &str) {
        self.columns
            .insert(at, Column { header: header.into(), kind: ColumnType::Text, store: Store::Right });
        self.rows.iter_mut().for_each(|row| row.insert(at, cell.into()));
    }

    pub(crate) fn remove(&mut self, header: &str) {
        let at = self.at(header);
        self.columns.remove(at);
        self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }

    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        self.columns.swap(one, other);
        self.rows.iter_mut().for_each(|row| row.swap(one, other));
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self, shape: &Shape) -> Vec<u8> {
        let headers: Vec<&str> = self.columns.iter().map(|column| column.header.as_str()).collect();
        match (shape.format, shape.gzip) {
            (Format::Parquet, _) => self.parquet(),
            (_, Gzip::Single) if !self.two_members => gzip(&csv(&headers, &self.rows)),
            _ => members(&csv(&headers, &self.rows)),
        }
    }

    fn parquet(&self) -> Vec<u8> {
        let arrays: Vec<ArrayRef> = (0..self.columns.len()).map(|at| self.array(at)).collect();
        let fields: Vec<Field> = self
            .columns
            .iter()
            .zip(&arrays)
            .map(|(column, array)| {
                Field::new(&column.header, array.data_type().clone(), column.store != Store::Required)
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
        let compression = if self.uncompressed { Compression::UNCOMPRESSED } else { Compression::SNAPPY };
        // Each row is a row group, so that what reads only the first is found out.
        let properties = WriterProperties::builder().set_compression(compression);
        let properties = properties.set_max_row_group_row_count(Some(1)).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn array(&self, at: usize) -> ArrayRef {
        let column = &self.columns[at];
        let texts = || self.rows.iter().map(|row| row[at].as_str());
        let doubles = |more: f64| -> ArrayRef {
            Arc::new(texts().map(|text| text.parse::<f64>().ok().map(|d| d + more)).collect::<Float64Array>())
        };
        let moments = |scale: i64| texts().map(move |text| (text == MOMENT).then_some(MOMENT_MILLIS * scale));
        match (column.kind, column.store) {
            (_, Store::Text) => Arc::new(StringArray::from_iter_values(texts())),
            (_, Store::NullText) => {
                Arc::new(texts().map(|t| (!t.is_empty()).then_some(t)).collect::<StringArray>())
            }
            (_, Store::Integer) => Arc::new(texts().map(|t| t.parse::<i64>().ok()).collect::<Int64Array>()),
            (ColumnType::Text, _) => Arc::new(StringArray::from_iter_values(texts())),
            (ColumnType::Double, Store::Off(more)) => doubles(more),
            (ColumnType::Double, _) => doubles(0.0),
            (ColumnType::Timestamp, Store::Micros) => {
                Arc::new(moments(1000).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            (ColumnType::Timestamp, Store::LocalMillis) => {
                Arc::new(moments(1).collect::<TimestampMillisecondArray>())
            }
            (ColumnType::Timestamp, _) => {
                Arc::new(moments(1).collect::<TimestampMillisecondArray>().with_timezone("UTC"))
            }
        }
    }

    /// The cells that the delivery format reads from the file.
    fn read_back(&self, shape: &Shape) -> Vec<Vec<String>> {
        if shape.format == Format::CsvGz {
            return self.rows.clone();
        }
        let cell = |column: &Column, text: &String| match (column.kind, column.store) {
            (ColumnType::Double, Store::Right | Store::Required) => {
                text.parse::<f64>().map_or_else(|_| String::new(), |double| double.to_string())
            }
            (ColumnType::Double, Store::Off(more)) => {
                text.parse::<f64>().map_or_else(|_| String::new(), |double| (double + more).to_string())
            }
            _ => text.clone(),
        };
        let row = |row: &Vec<String>| self.columns.iter().zip(row).map(|(c, text)| cell(c, text)).collect();
        self.rows.iter().map(row).collect()
    }

    /// What a proof says of the file.
    pub(crate) fn entry(&self, key: &str, shape: &Shape, bytes: &[u8]) -> Value {
        let rows = self.read_back(shape);
        json!({"key": key, "bytes": bytes.len(), "sha256": sha256(bytes), "rows": rows.len(), "rows_hash": rows_hash(&rows)})
    }
}
