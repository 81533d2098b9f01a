use super::binding::{Binding, snake};
use super::discover::{FOCUS, FoundDelivery};
use super::error::SourceError;
use super::maps::MapReader;
use super::observations::Observations;
use super::parquet_file::ParquetFile;
use super::pin::{Pin, hash_object};
use crate::csv_gz::{CsvGz, CsvGzError, columns_of};
use crate::storage::Bucket;
use apportion_core::columns::known;
use apportion_core::csv::Limits;
use apportion_core::line_item::{Batch, Cells, excerpt};
use apportion_core::manifest::{Encoding, Kind, is_focus};
use apportion_model::{AccountId, BillingPeriod, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

/// Which columns a reader hands out besides the known ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The source's own, for the unassigned line items.
    pub source: bool,
    /// All that aren't known, for contracts that deliver them.
    pub other: bool,
}

enum Open {
    Csv(Arc<str>, Box<CsvGz<File>>),
    Parquet(Box<ParquetFile>),
}

impl Open {
    fn new(object: Arc<str>, encoding: Encoding, file: File) -> Result<Self, SourceError> {
        Ok(match encoding {
            Encoding::Parquet => Self::Parquet(Box::new(ParquetFile::open(object, file)?)),
            _ => {
                if file.metadata().is_ok_and(|meta| meta.len() == 0) {
                    let problem = "the file is empty (0 bytes)".to_owned();
                    return Err(SourceError::Gzip { object: object.to_string(), rows: 0, problem });
                }
                let csv = CsvGz::open(file).map_err(|error| csv_error(&object, error))?;
                Self::Csv(object, Box::new(csv))
            }
        })
    }

    fn headers(&self) -> &[String] {
        match self {
            Self::Csv(_, file) => &file.headers,
            Self::Parquet(file) => &file.headers,
        }
    }

    fn next(&mut self) -> Result<Option<(u64, usize, Vec<Cells>)>, SourceError> {
        match self {
            Self::Csv(object, file) => {
                let block = file.next_block().map_err(|error| csv_error(object, error))?;
                Ok(block.map(|(first, block)| (first, block.rows(), columns_of(&block))))
            }
            Self::Parquet(file) => file.next_batch(),
        }
    }
}

fn csv_error(object: &str, error: CsvGzError) -> SourceError {
    let object = object.to_owned();
    match error {
        CsvGzError::Gzip { rows, problem } => SourceError::Gzip { object, rows, problem },
        CsvGzError::Record { row, problem } => SourceError::Record { object, row, problem },
        CsvGzError::Io(source) => SourceError::Io { object, source },
    }
}

/// Reads the line items of a pinned delivery, object after object.
pub struct Reader<'a> {
    bucket: &'a dyn Bucket,
    delivery: &'a FoundDelivery,
    pin: &'a Pin,
    /// The snake names of all files' columns, in order of first appearance; empty if they aren't wanted.
    pub source_columns: Vec<String>,
    /// What was seen besides.
    pub observations: Observations,
    wanted: Wanted,
    maps: MapReader,
    next_object: usize,
    current: Option<(Arc<str>, Open, Binding)>,
    /// Rows of each data object read so far.
    pub object_rows: BTreeMap<String, u64>,
}

impl<'a> Reader<'a> {
    /// Opens every file once to know all headers before the first row.
    ///
    /// # Errors
    /// A file that isn't there or can't be read, a required column that is missing, a FOCUS header.
    pub fn new(
        bucket: &'a dyn Bucket,
        delivery: &'a FoundDelivery,
        pin: &'a Pin,
        wanted: Wanted,
    ) -> Result<Self, SourceError> {
        let mut reader = Self {
            bucket,
            delivery,
            pin,
            source_columns: Vec::new(),
            observations: Observations::default(),
            wanted,
            maps: MapReader::default(),
            next_object: 0,
            current: None,
            object_rows: BTreeMap::new(),
        };
        let mut seen = BTreeSet::new();
        for key in &delivery.keys {
            let Some((object, open)) = reader.open(key)? else { continue };
            let headers = open.headers();
            if is_focus(headers.iter().map(String::as_str)) {
                return Err(SourceError::Refused {
                    place: bucket.place(),
                    reasons: vec![format!("  {key}: {FOCUS}")],
                });
            }
            let limit = Limits::default().columns;
            if headers.len() > limit {
                return Err(SourceError::TooManyColumns {
                    object: object.to_string(),
                    columns: headers.len(),
                    limit,
                });
            }
            // Refused before the first row of the first file, whichever file lacks the column.
            Binding::new(&object, headers, &[], false, &mut reader.observations)?;
            for name in headers.iter().map(|header| snake(header)) {
                if wanted.source && seen.insert(name.clone()) {
                    reader.source_columns.push(name);
                }
            }
        }
        Ok(reader)
    }

    fn open(&mut self, key: &str) -> Result<Option<(Arc<str>, Open)>, SourceError> {
        let missing = || SourceError::Missing {
            manifest: self.delivery.manifest.clone().unwrap_or_else(|| self.bucket.place()),
            object: key.to_owned(),
        };
        let file = self.bucket.open(key)?.ok_or_else(missing)?;
        let object: Arc<str> = key.into();
        let length =
            file.metadata().map_err(|source| SourceError::Io { object: key.to_owned(), source })?.len();
        if length == 0 && self.delivery.keys.len() > 1 {
            // An update with fewer chunks can leave the surplus ones empty (AWS Data Exports, "overwrite").
            self.observations.note(format!("{key} is empty (0 bytes); the manifest lists other files"));
            return Ok(None);
        }
        let open = Open::new(Arc::clone(&object), self.delivery.encoding, file)?;
        Ok(Some((object, open)))
    }

    /// The next line items; None at the end of the last object.
    ///
    /// # Errors
    /// Whatever is wrong with the file, with its place; or a file that isn't the pinned one any more.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some((object, open, binding)) = &mut self.current else { continue };
            match open.next()? {
                Some((first_row, rows, cells)) => {
                    let bound = binding.bind(object, first_row, rows, &cells, &mut self.maps)?;
                    *self.object_rows.entry(object.to_string()).or_default() += rows as u64;
                    return Ok(Some(Batch {
                        object: Arc::clone(object),
                        first_row,
                        rows,
                        known: bound.known,
                        source: bound.source,
                        other: bound.other,
                    }));
                }
                None => self.close()?,
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, SourceError> {
        let Some(key) = self.delivery.keys.get(self.next_object).cloned() else { return Ok(false) };
        self.next_object += 1;
        self.object_rows.entry(key.clone()).or_default();
        if let Some((object, mut open)) = self.open(&key)? {
            let mut ignored = Observations::default();
            let headers = open.headers();
            let binding =
                Binding::new(&object, headers, &self.source_columns, self.wanted.other, &mut ignored)?;
            self.maps = MapReader::new(headers, self.wanted.other);
            if let Open::Parquet(file) = &mut open {
                let needed = binding.needed(file.headers.len());
                file.project(&needed)?;
            }
            self.current = Some((object, open, binding));
        }
        Ok(true)
    }

    /// Compares the bytes that were read with the pinned ones.
    fn close(&mut self) -> Result<(), SourceError> {
        let Some((object, open, _)) = self.current.take() else { return Ok(()) };
        let read = match open {
            Open::Csv(object, file) => Some(file.finish().map_err(|error| csv_error(&object, error))?.0),
            Open::Parquet(_) => hash_object(self.bucket, &object)?.map(|now| now.sha256),
        };
        let pinned = self.pin.data().iter().find(|pinned| *pinned.key == *object).map(|pinned| pinned.sha256);
        if read.is_none() || read != pinned {
            return Err(SourceError::Moved { object: object.to_string() });
        }
        Ok(())
    }
}

/// What the first line item says of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// The month of its bill.
    pub period: Option<BillingPeriod>,
    /// Its payer.
    pub payer: Option<AccountId>,
}

/// Reads the first line item of a delivery.
///
/// # Errors
/// Files that can't be opened, and whatever keeps their first line items from being read.
pub fn peek(
    bucket: &dyn Bucket,
    kind: Kind,
    encoding: Encoding,
    keys: &[String],
) -> Result<Peek, SourceError> {
    let columns = known().well_known();
    for key in keys {
        let Some(file) = bucket.open(key)? else { continue };
        if file.metadata().is_ok_and(|meta| meta.len() == 0) && keys.len() > 1 {
            continue;
        }
        let mut open = Open::new(key.as_str().into(), encoding, file)?;
        if is_focus(open.headers().iter().map(String::as_str)) {
            return Err(SourceError::Refused {
                place: bucket.place(),
                reasons: vec![format!("  {key}: {FOCUS}")],
            });
        }
        let binding = Binding::new(key, open.headers(), &[], false, &mut Observations::default())?;
        if let Open::Parquet(file) = &mut open {
            file.project(&binding.needed(file.headers.len()))?;
        }
        let Some((first, rows, cells)) = open.next()? else { continue };
        let mut maps = MapReader::new(open.headers(), false);
        let bound = binding.bind(key, first, rows, &cells, &mut maps)?.known;
        let period = bound[columns.period_start.index()].get(0);
        let payer = bound[columns.payer_account.index()].get(0);
        let month = Instant::parse(period).and_then(BillingPeriod::of);
        if kind == Kind::Files && month.is_none() {
            return Err(SourceError::Cell {
                object: key.clone(),
                row: first,
                column: "bill_billing_period_start_date".to_owned(),
                problem: format!(
                    "\"{}\" is not a timestamp, so the file's month isn't known",
                    excerpt(period)
                ),
            });
        }
        let payer =
            std::str::from_utf8(payer).ok().filter(|payer| !payer.is_empty()).map(AccountId::from_data);
        return Ok(Peek { period: month, payer });
    }
    Ok(Peek { period: None, payer: None })
}
