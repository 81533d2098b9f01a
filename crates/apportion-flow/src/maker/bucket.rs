//! The bucket's folder: data files in their places, then the manifests that name them.
//!
//! What comes in: a month's line items, version by version. What goes out: the files as AWS lays them out, the pointer
//! last. What it must never do: write over a file of an older version.

use super::columns::{BLANK_IN_CUR2, Column, Kind};
use super::draw::Draw;
use super::gzip::Gzip;
use super::row::Row;
use super::table::Table;
use super::text::Lines;
use super::world::{Period, World};
use super::{MakeError, MakeKind, REPORT};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What manifests call the bucket: the folder's own name would make bytes depend on the machine.
const BUCKET: &str = "example-msp-billing";

/// One version of one month in the making.
pub(super) struct Version<'a> {
    world: &'a World,
    period: &'a Period,
    kind: MakeKind,
    root: &'a Path,
    /// Assembly id or execution id.
    id: String,
    /// Key of the folder of its data files, with a slash at the end.
    folder: String,
    keys: Vec<String>,
    encoder: Encoder,
    rows_per_file: u64,
    rows_in_file: u64,
    /// Line items after which the first member of a gzip file ends early, in some months.
    early: u64,
}

enum Encoder {
    Csv(Box<Lines>, Option<Gzip>),
    Parquet(Box<Table>),
}

impl<'a> Version<'a> {
    /// Begins a version.
    pub(super) fn new(
        world: &'a World,
        period: &'a Period,
        kind: MakeKind,
        root: &'a Path,
        rows_per_file: u64,
        is_older: bool,
    ) -> Result<Self, MakeError> {
        let number = u64::from(!is_older);
        let mut draw = world.draw(&[80, period.index as u64, number, kind as u64]);
        let id = draw.new_uuid();
        let base = format!("cur/{REPORT}");
        let (folder, columns) = match kind {
            MakeKind::Cur2Csv => {
                let time = execution_time(period, number, &mut draw);
                (
                    format!("{base}/data/BILLING_PERIOD={}/{time}-{id}/", period.period.month_text()),
                    Vec::new(),
                )
            }
            _ => (format!("{base}/{}/{id}/", period.period), world.columns_of(period.index)),
        };
        let path = root.join(&folder);
        fs::create_dir_all(&path).map_err(|error| MakeError::io(&path, error))?;
        let encoder = match kind {
            MakeKind::Cur1Csv => Encoder::Csv(Box::new(Lines::legacy(&columns)), None),
            MakeKind::Cur2Csv => Encoder::Csv(Box::new(Lines::cur2()), None),
            MakeKind::Cur1Parquet => Encoder::Parquet(Box::new(Table::new(&columns))),
        };
        let early = if period.index % 3 == 1 { 1 + period.rows / 3 } else { u64::MAX };
        let (keys, rows_in_file) = (Vec::new(), 0);
        let rows_per_file = rows_per_file.max(1);
        Ok(Self { world, period, kind, root, id, folder, keys, encoder, rows_per_file, rows_in_file, early })
    }

    /// Writes a line item.
    pub(super) fn line(&mut self, row: &Row) -> Result<(), MakeError> {
        if self.keys.is_empty() || self.rows_in_file == self.rows_per_file {
            self.next_file()?;
        }
        self.rows_in_file += 1;
        match &mut self.encoder {
            Encoder::Parquet(table) => table.line(row),
            Encoder::Csv(_, None) => Ok(()),
            Encoder::Csv(lines, Some(file)) => {
                lines.line(row, &mut file.text);
                if self.rows_in_file == self.early { file.flush() } else { file.flush_if_full() }
            }
        }
    }

    fn next_file(&mut self) -> Result<(), MakeError> {
        self.end_file()?;
        let ending = if self.kind == MakeKind::Cur1Parquet { "snappy.parquet" } else { "csv.gz" };
        let key = format!("{}{REPORT}-{:05}.{ending}", self.folder, self.keys.len() + 1);
        let path = self.root.join(&key);
        match &mut self.encoder {
            Encoder::Parquet(table) => table.create(&path)?,
            Encoder::Csv(lines, file) => {
                let mut made = match file.take() {
                    Some(last) => last.next(&path)?,
                    None => Gzip::create(&path)?,
                };
                lines.header(&mut made.text);
                *file = Some(made);
            }
        }
        self.rows_in_file = 0;
        self.keys.push(key);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), MakeError> {
        match &mut self.encoder {
            Encoder::Parquet(table) => table.close(),
            Encoder::Csv(_, Some(file)) => file.flush(),
            Encoder::Csv(_, None) => Ok(()),
        }
    }

    /// Ends the data and writes the manifests; returns the number of data files.
    pub(super) fn finish(mut self) -> Result<u64, MakeError> {
        if self.keys.is_empty() {
            self.next_file()?;
        }
        self.end_file()?;
        let manifest = if self.kind == MakeKind::Cur2Csv { self.cur2_manifest() } else { self.manifest() };
        let text =
            serde_json::to_vec_pretty(&manifest).map_err(|error| MakeError::Encode(error.to_string()))?;
        let name = format!("{REPORT}-Manifest.json");
        let own = if self.kind == MakeKind::Cur2Csv {
            self.root.join(self.folder.replacen("/data/", "/metadata/", 1))
        } else {
            self.root.join(&self.folder)
        };
        fs::create_dir_all(&own).map_err(|error| MakeError::io(&own, error))?;
        write(own.join(&name), &text)?;
        // The pointer: the same text, one folder up, over the older version's.
        write(own.parent().unwrap_or(&own).join(&name), &text)?;
        Ok(self.keys.len() as u64)
    }

    fn manifest(&self) -> Value {
        let is_parquet = self.kind == MakeKind::Cur1Parquet;
        let columns: Vec<Value> =
            self.world.columns_of(self.period.index).into_iter().map(manifest_column).collect();
        let stamp = |day: apportion_model::Day| format!("{}T000000.000Z", day.to_string().replace('-', ""));
        json!({
            "assemblyId": self.id,
            "account": self.world.plan.accounts[self.world.plan.payer()].id,
            "columns": columns,
            "charset": "UTF-8",
            "compression": if is_parquet { "Parquet" } else { "GZIP" },
            "contentType": if is_parquet { "Parquet" } else { "text/csv" },
            "reportId": report_id(self.world),
            "reportName": REPORT,
            "billingPeriod": {
                "start": stamp(self.period.period.start()),
                "end": stamp(self.period.period.end()),
            },
            "bucket": BUCKET,
            "reportKeys": self.keys,
            "additionalArtifactKeys": [],
        })
    }

    fn cur2_manifest(&self) -> Value {
        let payer = &self.world.plan.accounts[self.world.plan.payer()].id;
        let names = match &self.encoder {
            Encoder::Csv(lines, _) => lines.names(),
            Encoder::Parquet(_) => &[],
        };
        let columns: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "type": kind_text(cur2_kind(name))})).collect();
        let files: Vec<String> = self.keys.iter().map(|key| format!("s3://{BUCKET}/{key}")).collect();
        let export = self.world.draw(&[82]).new_uuid();
        json!({
            "executionId": self.id,
            "exportArn": format!("arn:aws:bcm-data-exports:us-east-1:{payer}:export/{REPORT}-{export}"),
            "columns": columns,
            "dataFiles": files,
            "additionalOutputFiles": [],
        })
    }
}

fn write(path: PathBuf, text: &[u8]) -> Result<(), MakeError> {
    fs::write(&path, text).map_err(|error| MakeError::io(&path, error))
}

fn manifest_column(column: Column) -> Value {
    let info = column.info();
    let kind = match (column, info.kind) {
        (Column::TimeInterval, _) => "Interval",
        (_, Kind::Moment) => "DateTime",
        (_, Kind::Double) if column.is_guaranteed() => "BigDecimal",
        (_, Kind::Double) => "OptionalBigDecimal",
        (_, Kind::Text) if column.is_guaranteed() => "String",
        (_, Kind::Text) => "OptionalString",
    };
    json!({"category": info.group, "name": info.name, "type": kind})
}

fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Double => "double",
        Kind::Moment => "timestamp",
    }
}

fn cur2_kind(name: &str) -> Kind {
    let known =
        super::columns::ALL.iter().find(|column| column.snake() == name).map(|column| column.info().kind);
    let blank = || BLANK_IN_CUR2.iter().find(|(found, _)| *found == name).map(|(_, kind)| *kind);
    known.or_else(blank).unwrap_or(Kind::Text)
}

fn report_id(world: &World) -> String {
    let mut text = String::with_capacity(64);
    world.draw(&[81]).hex(&mut text, 64);
    text
}

/// When an export of a month ran: the first days of the next month, a later version later.
fn execution_time(period: &Period, number: u64, draw: &mut Draw) -> String {
    let day = period.period.end().plus(2 + 6 * number as i32);
    let (hour, minute, second) = (draw.below(24), draw.below(60), draw.below(60));
    format!("{day}T{hour:02}:{minute:02}:{second:02}.{:03}Z", draw.below(1000))
}
