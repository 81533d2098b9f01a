//! Random reports as objects: legacy CUR as csv.gz or Parquet, CUR 2.0 as csv.gz; and what to ask for.

use crate::harness::{csv_cell, gzip, set_time, write};
use crate::random_report::{Draw, Owned, PERIOD, Party, Report, ReportColumn, Row};
use apportion_core::columns::{ColumnType, known};
use apportion_core::mask::MaskKey;
use apportion_core::route::{Accounts, OwnedAccount, RoutedCustomer};
use apportion_flow::run::{Customer, DeliverRequest, Sharing, SourceRequest, SpoolRequest, Target};
use apportion_flow::storage::{Bucket, Folder};
use apportion_model::{AccountId, CustomerId, Day, SourceName};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The time of every source manifest, in seconds: the generation.
pub const TIME: u64 = 1_790_000_000;
/// The mask key of the reports that have one.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// How a report's rows lie in objects.
#[derive(Debug, Clone)]
pub struct Form {
    /// The row that each part begins with, the first left out.
    pub cuts: Vec<usize>,
    /// Into how many gzip members each part is cut, anywhere.
    pub members: usize,
    pub parquet: bool,
    /// Decides where members are cut.
    pub seed: u64,
}

impl Form {
    pub fn csv(draw: &mut Draw, rows: usize) -> Self {
        let mut cuts: Vec<usize> = (0..draw.below(3)).map(|_| draw.below(rows + 1)).collect();
        cuts.sort_unstable();
        Self { cuts, members: draw.within(1..4), parquet: false, seed: draw.next() }
    }

    pub fn parquet(draw: &mut Draw, rows: usize) -> Self {
        Self { parquet: true, ..Self::csv(draw, rows) }
    }
}

/// Writes a report into `folder` and returns its data objects' paths, in order.
pub fn write_report(report: &Report, form: &Form, folder: &Path) -> Vec<PathBuf> {
    let mut bounds = vec![0];
    bounds.extend(&form.cuts);
    bounds.push(report.rows.len());
    let mut draw = Draw::new(form.seed);
    let mut keys = Vec::new();
    let mut paths = Vec::new();
    for (number, part) in (1..).zip(bounds.windows(2)) {
        let rows = &report.rows[part[0]..part[1]];
        let ending = if form.parquet { "snappy.parquet" } else { "csv.gz" };
        let key = if report.cur2 {
            format!("export/data/BILLING_PERIOD=2026-10/2026-10-31-x/E-{number:05}.{ending}")
        } else {
            format!("cur/R/{PERIOD}/a1b2/R-{number:05}.{ending}")
        };
        let bytes = match (form.parquet, report.cur2) {
            (true, _) => parquet_of(&report.columns, rows),
            (false, true) => members(cur2_text(&report.columns, rows).as_bytes(), form.members, &mut draw),
            (false, false) => members(legacy_text(&report.columns, rows).as_bytes(), form.members, &mut draw),
        };
        paths.push(folder.join(&key));
        write(&folder.join(&key), &bytes);
        keys.push(key);
    }
    let (manifest, text) = manifest_of(report, &keys);
    write(&folder.join(&manifest), text.to_string().as_bytes());
    set_time(&folder.join(&manifest), TIME);
    paths
}

fn manifest_of(report: &Report, keys: &[String]) -> (String, serde_json::Value) {
    if report.cur2 {
        let files: Vec<String> = keys.iter().map(|key| format!("s3://msp/{key}")).collect();
        let text = serde_json::json!({ "executionId": "e1", "dataFiles": files });
        return ("export/metadata/BILLING_PERIOD=2026-10/E-Manifest.json".to_owned(), text);
    }
    let text = serde_json::json!({
        "assemblyId": "a1b2", "account": "999999999999", "columns": [], "charset": "UTF-8",
        "compression": "GZIP", "contentType": "text/csv", "reportId": "r", "reportName": "R",
        "billingPeriod": { "start": "20261001T000000.000Z", "end": "20261101T000000.000Z" },
        "bucket": "msp", "reportKeys": keys, "additionalArtifactKeys": []
    });
    (format!("cur/R/{PERIOD}/R-Manifest.json"), text)
}

/// Gzip of so many members, cut anywhere.
fn members(text: &[u8], count: usize, draw: &mut Draw) -> Vec<u8> {
    let mut cuts: Vec<usize> = (1..count).map(|_| draw.below(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).flat_map(|part| gzip(&text[part[0]..part[1]])).collect()
}

fn lines(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = header.join(",");
    text.push('\n');
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

fn legacy_text(columns: &[ReportColumn], rows: &[Row]) -> String {
    let header: Vec<String> = columns.iter().map(|column| csv_cell(&column.header)).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    lines(&header, rows.iter().map(|row| row.cells.clone()))
}

/// The map and the key in it that a column has in CUR 2.0.
fn map_of(column: &ReportColumn) -> Option<(&'static str, String)> {
    let (_, rest) = column.header.split_once('/')?;
    // As CUR 2.0 spells keys: `user_CostCenter`.
    let key = rest.replace(':', "_");
    for map in ["resource_tags", "cost_category", "discount"] {
        if column.name.starts_with(&format!("{map}_")) {
            return Some((map, key));
        }
    }
    let known = known().get(known().find(&column.name)?);
    (known.map.as_deref()? == "product").then_some(("product", known.key.clone()?))
}

const MAPS: [&str; 4] = ["product", "resource_tags", "cost_category", "discount"];

fn cur2_text(columns: &[ReportColumn], rows: &[Row]) -> String {
    let places: Vec<usize> = (0..columns.len()).filter(|place| map_of(&columns[*place]).is_none()).collect();
    let mut header: Vec<&str> = places.iter().map(|place| columns[*place].name.as_str()).collect();
    header.extend(MAPS);
    let cells = rows.iter().map(|row| {
        let mut cells: Vec<String> = places.iter().map(|place| row.cells[*place].clone()).collect();
        let mut maps: BTreeMap<&str, serde_json::Map<String, serde_json::Value>> = BTreeMap::new();
        for (column, cell) in columns.iter().zip(&row.cells).filter(|(_, cell)| !cell.is_empty()) {
            if let Some((map, key)) = map_of(column) {
                maps.entry(map).or_default().insert(key, cell.as_str().into());
            }
        }
        for map in MAPS {
            let text = maps.remove(map).map(|map| serde_json::Value::Object(map).to_string());
            cells.push(
                text.unwrap_or_else(|| if row.number % 2 == 0 { "{}".to_owned() } else { String::new() }),
            );
        }
        cells
    });
    lines(&header, cells)
}

fn parquet_of(columns: &[ReportColumn], rows: &[Row]) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (place, ReportColumn { name, .. }) in columns.iter().enumerate() {
        let cells = rows.iter().map(|row| row.cells[place].as_str());
        let kind = known().find(name).map_or(ColumnType::String, |id| known().get(id).kind);
        let (kind, array): (DataType, ArrayRef) = match kind {
            ColumnType::String => {
                // A blank text is sometimes '' and sometimes null.
                let cells =
                    cells.enumerate().map(|(n, cell)| (!cell.is_empty() || n % 2 == 0).then_some(cell));
                (DataType::Utf8, Arc::new(cells.collect::<StringArray>()))
            }
            ColumnType::Double => (
                DataType::Float64,
                Arc::new(cells.map(|cell| cell.parse::<f64>().ok()).collect::<Float64Array>()),
            ),
            ColumnType::Timestamp => {
                let millis =
                    |cell: &str| apportion_model::Instant::parse(cell.as_bytes()).map(|at| at.millis());
                let array = cells.map(millis).collect::<TimestampMillisecondArray>().with_timezone("UTC");
                (DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), Arc::new(array))
            }
        };
        fields.push(Field::new(name.as_str(), kind, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn date(day: i32) -> String {
    format!("2026-10-{day:02}")
}

fn owned(account: &Owned) -> OwnedAccount {
    let day = |day: Option<i32>| day.map(|day| Day::parse(&date(day)).unwrap());
    OwnedAccount {
        id: AccountId::from_settings(&account.id).unwrap(),
        from: day(account.from),
        to: day(account.to),
    }
}

/// What a customer is asked for, with its target below `place`.
pub fn customer(party: &Party, place: &Path) -> Customer {
    Customer {
        routed: RoutedCustomer {
            id: CustomerId::new(&party.id).unwrap(),
            accounts: Accounts::Listed(party.accounts.iter().map(owned).collect()),
            withhold: party.withhold.clone(),
            carries_split_cost: party.contract.carries_split_cost(),
        },
        name: party.id.clone(),
        sharing: if party.by_account { Sharing::Account } else { Sharing::Organization },
        target: Target::One(Arc::new(Folder::new(target(place, &party.target)))),
        layout: party.layout,
        formats: party.formats.clone(),
        header: party.header,
        gzip: party.gzip,
        level: party.level,
        folder: None,
        contract: party.contract,
        order: party.order,
        payer_kept: party.payer_kept,
        faithful: party.faithful,
    }
}

/// A request to deliver the report in `place/source` to folders below `place`.
pub fn request(report: &Report, place: &Path) -> DeliverRequest {
    let customers = report.parties.iter().map(|party| customer(party, place));
    DeliverRequest {
        sources: vec![SourceRequest {
            bucket: Arc::new(Folder::new(place.join("source"))) as Arc<dyn Bucket>,
            name: SourceName::unnamed(),
            named: false,
            report: None,
            object: None,
            kind: Default::default(),
        }],
        periods: None,
        customers: customers.collect(),
        only: None,
        msp: Some(Arc::new(Folder::new(place.join("msp")))),
        mask_key: if report.with_key { MaskKey::new(KEY.as_bytes()) } else { None },
        spool: SpoolRequest { folder: place.join("spool"), limit: 1 << 30 },
        threads: 1,
        memory: 512 << 20,
        dry_run: false,
        operator: None,
    }
}

/// Where a target lies.
pub fn target(place: &Path, name: &str) -> PathBuf {
    place.join("targets").join(name)
}

/// The same as settings, for the program; returns the file.
pub fn settings(report: &Report, place: &Path) -> PathBuf {
    settings_with(report, place, "")
}

/// The same with more sources.
pub fn settings_with(report: &Report, place: &Path, more_sources: &str) -> PathBuf {
    let mut text = format!("[[source]]\nurl = \"source\"\n{more_sources}\n[msp]\nurl = \"msp\"\n");
    if report.with_key {
        text.push_str("mask_key_file = \"mask.key\"\n");
        write(&place.join("mask.key"), KEY.as_bytes());
    }
    for party in &report.parties {
        let account = |account: &Owned| {
            let day = |name: &str, day: Option<i32>| {
                day.map(|day| format!(", {name} = \"{}\"", date(day))).unwrap_or_default()
            };
            format!("{{ id = \"{}\"{}{} }}", account.id, day("from", account.from), day("to", account.to))
        };
        let accounts: Vec<String> = party.accounts.iter().map(account).collect();
        let words: Vec<&str> = party.formats.iter().map(|format| format.as_str()).collect();
        text.push_str(&format!(
            "\n[[customer]]\nid = \"{}\"\naccounts = [{}]\nsharing = \"{}\"\nwithhold = {:?}\npayer = \"{}\"\nprivacy = \"{}\"\n",
            party.id,
            accounts.join(", "),
            if party.by_account { "account" } else { "organization" },
            party.withhold,
            if party.payer_kept { "keep" } else { "mask" },
            if party.faithful { "faithful" } else { "mask" },
        ));
        text.push_str(&format!(
            "[customer.deliver]\nurl = \"targets/{}\"\ncontract = \"{}\"\nlayout = \"{}\"\nformats = {words:?}\nheader = \"{}\"\ngzip = \"{}\"\nlevel = \"{}\"\norder = \"{}\"\n",
            party.target,
            party.contract.as_str(),
            party.layout,
            party.header.as_str(),
            party.gzip.as_str(),
            party.level.as_str(),
            party.order.as_str(),
        ));
    }
    let path = place.join("apportion.toml");
    write(&path, text.as_bytes());
    path
}
