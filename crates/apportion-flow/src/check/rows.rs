use super::file::CheckError;
use super::parquet::{BATCH_ROWS, push_cell};
use crate::csv_gz::{CsvGz, CsvGzError};
use crate::digest::{hex, sha256_of};
use crate::storage::Opened;
use apportion_core::line_item::Block;
use apportion_model::Format;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

/// A row of a delivered file.
pub trait Row {
    /// The cell of a column, by its place in the file; blank where there is none.
    fn cell(&self, place: usize) -> &[u8];
}

/// Who takes the rows of a delivered file.
pub trait TakesRows {
    /// The columns of the next rows, in the file's order, and what sort of file it is.
    fn columns(&mut self, names: &[String], format: Format);
    /// The next row.
    fn row(&mut self, row: &dyn Row);
}

struct CsvRow<'a>(&'a Block, usize);

impl Row for CsvRow<'_> {
    fn cell(&self, place: usize) -> &[u8] {
        self.0.get(self.1, place)
    }
}

/// The cells of a Parquet row as text, and where each ends.
#[derive(Default)]
struct ParquetRow {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Row for ParquetRow {
    fn cell(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(place).copied()).map(|(start, end)| start..end);
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }
}

/// Hands out every row of a delivered file, which must have the SHA-256 that its proof says. `names` are its columns'
/// names; without them, its header row is taken for them.
///
/// # Errors
/// A file that can't be decoded, or that isn't the one of the proof; then some of its rows may have been handed out.
pub fn each_row(
    name: &str,
    file: Opened,
    format: Format,
    sha256: &str,
    names: Option<&[String]>,
    taker: &mut dyn TakesRows,
) -> Result<u64, CheckError> {
    match format {
        Format::CsvGz => each_csv_row(name, file, sha256, names, taker),
        Format::Parquet => each_parquet_row(name, file, sha256, taker),
    }
}

fn compare_bytes(name: &str, found: [u8; 32], expected: &str) -> Result<(), CheckError> {
    let found = hex(&found);
    if found == expected {
        return Ok(());
    }
    Err(CheckError::Bytes { file: name.to_owned(), expected: expected.to_owned(), found })
}

fn each_csv_row(
    name: &str,
    file: Opened,
    sha256: &str,
    names: Option<&[String]>,
    taker: &mut dyn TakesRows,
) -> Result<u64, CheckError> {
    let wrong = |source| CheckError::Decode { file: name.to_owned(), source };
    let mut csv = CsvGz::open(file).map_err(wrong)?;
    taker.columns(names.unwrap_or(&csv.headers), Format::CsvGz);
    let mut rows = 0;
    while let Some((_, block)) = csv.next_block().map_err(wrong)? {
        for row in 0..block.rows() {
            taker.row(&CsvRow(&block, row));
        }
        rows += block.rows() as u64;
    }
    compare_bytes(name, csv.finish().map_err(wrong)?.0, sha256)?;
    Ok(rows)
}

fn each_parquet_row(
    name: &str,
    mut file: Opened,
    sha256: &str,
    taker: &mut dyn TakesRows,
) -> Result<u64, CheckError> {
    let wrong = |problem: String| CheckError::Parquet { file: name.to_owned(), problem };
    let (found, _) = sha256_of(&mut file)
        .map_err(|error| CheckError::Decode { file: name.to_owned(), source: CsvGzError::Io(error) })?;
    // First, so that the types of what follows are those that we write.
    compare_bytes(name, found, sha256)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| wrong(error.to_string()))?;
    let titles: Vec<String> = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
    taker.columns(&titles, Format::Parquet);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let (mut rows, mut cells) = (0, ParquetRow::default());
    for batch in reader {
        let batch = batch.map_err(|error| wrong(error.to_string()))?;
        for row in 0..batch.num_rows() {
            cells.text.clear();
            cells.ends.clear();
            for place in 0..titles.len() {
                push_cell(&batch, place, row, &mut cells.text);
                cells.ends.push(cells.text.len());
            }
            taker.row(&cells);
        }
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}
