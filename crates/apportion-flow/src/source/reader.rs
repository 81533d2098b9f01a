use super::binding::{Binding, Rows, snake};
use super::columns::{ColumnList, SourceColumn};
use super::discover::{FOCUS, FoundDelivery};
use super::error::SourceError;
use super::loose::Cut;
use super::maps::MapReader;
use super::observations::Observations;
use super::parquet_file::ParquetFile;
use super::pin::{Pin, hash_object};
use crate::csv_gz::{CsvGz, CsvGzError, columns_of};
use crate::storage::{Bucket, Opened, Version};
use apportion_core::columns::known;
use apportion_core::csv::Limits;
use apportion_core::line_item::{Batch, Cells};
use apportion_core::manifest::{Encoding, Kind, is_focus};
use apportion_model::AccountId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which columns a reader hands out besides the known ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The source's own, for the unassigned line items.
    pub source: bool,
    /// All that aren't known, for contracts that deliver them.
    pub other: bool,
}

pub(super) enum Open {
    Csv(Arc<str>, Box<CsvGz<Opened>>),
    Parquet(Box<ParquetFile>),
}

impl Open {
    pub(super) fn new(object: Arc<str>, file: Opened) -> Result<Self, SourceError> {
        let encoding = Encoding::of_key(&object);
        if encoding == Encoding::Parquet {
            return Ok(Self::Parquet(Box::new(ParquetFile::open(object, file)?)));
        }
        if file.size().is_ok_and(|bytes| bytes == 0) {
            return Err(SourceError::Empty { object: object.to_string() });
        }
        let csv = match encoding {
            Encoding::CsvZip => CsvGz::open_zip(file),
            Encoding::CsvGz => CsvGz::open(file),
            _ => CsvGz::open_plain(file),
        };
        let csv = csv.map_err(|error| csv_error(&object, error))?;
        Ok(Self::Csv(object, Box::new(csv)))
    }

    /// A FOCUS export can't become a CUR.
    pub(super) fn refuse_focus(&self, bucket: &dyn Bucket) -> Result<(), SourceError> {
        if !is_focus(self.headers().iter().map(String::as_str)) {
            return Ok(());
        }
        let object = match self {
            Self::Csv(object, _) => object,
            Self::Parquet(file) => &file.object,
        };
        Err(SourceError::Refused { place: bucket.place(), reasons: vec![format!("  {object}: {FOCUS}")] })
    }

    /// Each column's header with its type.
    fn columns(&self) -> impl Iterator<Item = (&String, &'static str)> {
        let kinds = match self {
            Self::Csv(..) => &[][..],
            Self::Parquet(file) => &file.kinds,
        };
        let headers = self.headers().iter().enumerate();
        headers.map(|(place, header)| (header, kinds.get(place).copied().unwrap_or("string")))
    }

    pub(super) fn headers(&self) -> &[String] {
        match self {
            Self::Csv(_, file) => &file.headers,
            Self::Parquet(file) => &file.headers,
        }
    }

    /// Decompresses on another thread from here on, where that is a thread's work.
    pub(super) fn read_ahead(self) -> Result<Self, SourceError> {
        match self {
            Self::Csv(object, file) => {
                let file = file.read_ahead().map_err(|error| csv_error(&object, error))?;
                Ok(Self::Csv(object, Box::new(file)))
            }
            parquet @ Self::Parquet(_) => Ok(parquet),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<(u64, usize, Vec<Cells>)>, SourceError> {
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
        CsvGzError::Zip { rows, problem } => SourceError::Zip { object, rows, problem },
        CsvGzError::Record { row, problem } => SourceError::Record { object, row, problem },
        CsvGzError::Io(source) => SourceError::Io { object, source },
    }
}

/// What a read of a version that is gone says is no fault of the file's.
fn moved_or(version: &Version, object: &str, error: SourceError) -> SourceError {
    if version.is_gone() { SourceError::Moved { object: object.to_owned() } } else { error }
}

/// Reads the line items of a pinned delivery, object after object.
pub struct Reader<'a> {
    bucket: &'a dyn Bucket,
    delivery: &'a FoundDelivery,
    pin: &'a Pin,
    /// The snake names of all files' columns, in order of first appearance; empty if they aren't wanted.
    pub source_columns: Vec<String>,
    /// All files' columns, by name.
    pub columns: Vec<SourceColumn>,
    /// What was seen besides.
    pub observations: Observations,
    wanted: Wanted,
    cut: Cut,
    maps: MapReader,
    next_object: usize,
    current: Option<(Arc<str>, Open, Binding)>,
    /// The version of the object that was opened last.
    version: Version,
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
            columns: Vec::new(),
            cut: Cut::default(),
            observations: Observations::default(),
            wanted,
            maps: MapReader::default(),
            next_object: 0,
            current: None,
            version: Version::default(),
            object_rows: BTreeMap::new(),
        };
        let mut seen = BTreeSet::new();
        let mut list = ColumnList::default();
        for key in &delivery.keys {
            let Some((object, open)) = reader.open(key)? else { continue };
            open.refuse_focus(bucket)?;
            let headers = open.headers();
            list.add(open.columns());
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
        let (files, columns) = list.finish();
        reader.observations.drift(files, &columns);
        reader.columns = columns;
        Ok(reader)
    }

    fn open(&mut self, key: &str) -> Result<Option<(Arc<str>, Open)>, SourceError> {
        let missing = || SourceError::Missing {
            manifest: self.delivery.manifest.clone().unwrap_or_else(|| self.bucket.place()),
            object: key.to_owned(),
        };
        let file = self.bucket.open(key)?.ok_or_else(missing)?;
        let object: Arc<str> = key.into();
        let length = file.size().map_err(|source| SourceError::Io { object: key.to_owned(), source })?;
        if length == 0 && self.delivery.keys.len() > 1 {
            // An update with fewer chunks can leave the surplus ones empty (AWS Data Exports, "overwrite").
            self.observations.note(format!("{key} is empty (0 bytes); the manifest lists other files"));
            return Ok(None);
        }
        self.version = file.version();
        let open =
            Open::new(Arc::clone(&object), file).map_err(|error| moved_or(&self.version, key, error))?;
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
            let next = open.next().map_err(|error| moved_or(&self.version, object, error))?;
            let Some((first, count, mut cells)) = next else {
                self.close()?;
                continue;
            };
            let mut rows = Rows { first, count, offsets: None };
            if self.delivery.kind == Kind::Files {
                let starts = binding.period_starts(count, &cells);
                let own = self.cut.rows_of(self.delivery.period, object, first, count, &starts)?;
                if own.is_empty() {
                    continue;
                }
                if own.len() < count {
                    cells = cells.iter().map(|cells| cells.select(&own)).collect();
                    rows = Rows { first, count: own.len(), offsets: Some(own.into()) };
                }
            }
            binding.count_clashes(rows.count, &cells, &mut self.observations);
            let bound = binding.bind(object, &rows, &cells, &mut self.maps)?;
            *self.object_rows.entry(object.to_string()).or_default() += rows.count as u64;
            return Ok(Some(Batch {
                object: Arc::clone(object),
                first_row: rows.first,
                rows: rows.count,
                offsets: rows.offsets,
                known: bound.known,
                source: bound.source,
                other: bound.other,
            }));
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
            self.current = Some((object, open.read_ahead()?, binding));
        }
        Ok(true)
    }

    /// Compares the bytes that were read with the pinned ones.
    fn close(&mut self) -> Result<(), SourceError> {
        let Some((object, open, _)) = self.current.take() else { return Ok(()) };
        let read = match open {
            // Of an archive only the text's part went by.
            Open::Csv(object, file) if Encoding::of_key(&object) != Encoding::CsvZip => {
                Some(file.finish().map_err(|error| csv_error(&object, error))?.0)
            }
            Open::Csv(..) | Open::Parquet(_) => hash_object(self.bucket, &object)?.map(|now| now.sha256),
        };
        let pinned = self.pin.data().iter().find(|pinned| *pinned.key == *object).map(|pinned| pinned.sha256);
        if read.is_none() || read != pinned {
            // What was remembered of this version may be what is wrong: then it isn't any more.
            let _ = hash_object(self.bucket, &object);
            return Err(SourceError::Moved { object: object.to_string() });
        }
        Ok(())
    }
}

/// Reads the payer of a delivery's first line item; None if that names none.
///
/// # Errors
/// Files that can't be opened, and whatever keeps their first line items from being read.
pub fn payer_of(bucket: &dyn Bucket, delivery: &FoundDelivery) -> Result<Option<AccountId>, SourceError> {
    let columns = known().well_known();
    for key in &delivery.keys {
        let Some(file) = bucket.open(key)? else { continue };
        if file.size().is_ok_and(|bytes| bytes == 0) && delivery.keys.len() > 1 {
            continue;
        }
        let mut open = Open::new(key.as_str().into(), file)?;
        open.refuse_focus(bucket)?;
        let binding = Binding::new(key, open.headers(), &[], false, &mut Observations::default())?;
        let payers = binding.places_of(columns.payer_account).to_vec();
        if let Open::Parquet(file) = &mut open {
            let mut needed = vec![false; file.headers.len()];
            let starts = binding.places_of(columns.period_start);
            payers.iter().chain(starts).for_each(|place| needed[*place] = true);
            file.project(&needed)?;
        }
        let mut cut = Cut::default();
        while let Some((first, rows, cells)) = open.next()? {
            let row = if delivery.kind == Kind::Files {
                let starts = binding.period_starts(rows, &cells);
                cut.rows_of(delivery.period, key, first, rows, &starts)?.first().copied()
            } else {
                Some(0)
            };
            let Some(row) = row else { continue };
            let payer = payers.iter().map(|place| cells[*place].get(row as usize));
            let payer = payer.filter_map(|cell| std::str::from_utf8(cell).ok()).find(|cell| !cell.is_empty());
            return Ok(payer.map(AccountId::from_data));
        }
    }
    Ok(None)
}
