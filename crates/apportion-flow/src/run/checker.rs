use super::exports::Export;
use crate::check::{CheckError, Checked, Expected, check_file, check_parquet};
use crate::write::SpooledFile;
use apportion_core::columns::{ExportColumn, HeaderStyle};
use apportion_model::Format;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What every file of one export must be.
struct CheckedExport {
    format: Format,
    header: HeaderStyle,
    columns: Vec<ExportColumn>,
    /// The accounts that may stand in it; None for any.
    own: Option<HashSet<Vec<u8>>>,
}

/// Knows what every lane's files must be.
pub(super) struct Checker {
    exports: Vec<CheckedExport>,
    unassigned_titles: Vec<String>,
}

impl Checker {
    pub(super) fn new(exports: &[Export<'_>], unassigned_titles: Vec<String>) -> Self {
        let exports = exports.iter().map(|export| CheckedExport {
            format: export.format,
            header: export.customer.header,
            columns: export.customer.contract.fixed().iter().map(|id| ExportColumn::known(*id)).collect(),
            own: export.own_accounts(),
        });
        Self { exports: exports.collect(), unassigned_titles }
    }

    /// Says which columns an export turned out to have.
    pub(super) fn set_columns(&mut self, lane: usize, columns: &[ExportColumn]) {
        if let Some(export) = self.exports.get_mut(lane) {
            columns.clone_into(&mut export.columns);
        }
    }

    pub(super) fn check(&self, lane: usize, file: &SpooledFile) -> Result<Checked, CheckError> {
        self.check_on(lane, file, 1)
    }

    /// Checks a file on so many threads, if its format can be.
    pub(super) fn check_on(
        &self,
        lane: usize,
        file: &SpooledFile,
        threads: usize,
    ) -> Result<Checked, CheckError> {
        let Some(export) = self.exports.get(lane) else {
            return check_file(&file.path, &expected(file, self.unassigned_titles.clone(), None));
        };
        let accounts = export.own.as_ref();
        match export.format {
            Format::Parquet => {
                check_parquet(&file.path, &export.columns, &expected(file, Vec::new(), accounts), threads)
            }
            Format::CsvGz => {
                let titles = export.columns.iter().map(|column| column.title(export.header).to_owned());
                check_file(&file.path, &expected(file, titles.collect(), accounts))
            }
        }
    }

    /// Checks files on several threads; the results are in the files' order.
    pub(super) fn check_all(
        &self,
        files: &[(usize, SpooledFile)],
        threads: usize,
    ) -> Vec<Result<Checked, CheckError>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(files.len()));
        let work = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some((lane, file)) = files.get(place) else { return };
                let checked = self.check(*lane, file);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((place, checked));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(files.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, checked)| checked).collect()
    }
}

fn expected<'a>(
    file: &SpooledFile,
    header: Vec<String>,
    accounts: Option<&'a HashSet<Vec<u8>>>,
) -> Expected<'a> {
    Expected { header, rows: file.rows, rows_hash: Some(file.rows_hash), accounts }
}
