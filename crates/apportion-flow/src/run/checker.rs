use super::exports::Export;
use crate::check::{CheckError, Checked, Expected, check_file, check_parquet};
use crate::threads::Workers;
use crate::write::SpooledFile;
use apportion_core::columns::{Contract, ExportColumn, HeaderStyle};
use apportion_model::Format;
use std::collections::HashSet;
use std::sync::OnceLock;

/// What every file of one export must be.
struct CheckedExport {
    format: Format,
    header: HeaderStyle,
    /// Known from the beginning, or when the last row is.
    columns: OnceLock<Vec<ExportColumn>>,
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
            columns: columns_of(export.customer.contract),
            own: export.own_accounts(),
        });
        Self { exports: exports.collect(), unassigned_titles }
    }

    /// Says which columns an export turned out to have.
    pub(super) fn set_columns(&self, lane: usize, columns: Vec<ExportColumn>) {
        if let Some(export) = self.exports.get(lane) {
            // Those of contract eco are set, and the same.
            let _ = export.columns.set(columns);
        }
    }

    /// Checks a file; if its format can be checked in parts, on all of these threads. Its time is theirs.
    pub(super) fn check(
        &self,
        lane: usize,
        file: &SpooledFile,
        workers: &Workers,
    ) -> Result<Checked, CheckError> {
        workers.count(file.rows, file.bytes);
        let csv_gz = |titles, accounts| {
            workers.time(|| check_file(&file.path, &file.members, &expected(file, titles, accounts)))
        };
        let Some(export) = self.exports.get(lane) else {
            return csv_gz(self.unassigned_titles.clone(), None);
        };
        let accounts = export.own.as_ref();
        let columns = export.columns.get().map_or(&[][..], Vec::as_slice);
        match export.format {
            Format::Parquet => {
                check_parquet(&file.path, columns, &expected(file, Vec::new(), accounts), workers)
            }
            Format::CsvGz => {
                let titles = columns.iter().map(|column| column.title(export.header).to_owned());
                csv_gz(titles.collect(), accounts)
            }
        }
    }
}

/// The columns of a contract that are known before the first row.
fn columns_of(contract: Contract) -> OnceLock<Vec<ExportColumn>> {
    match contract {
        Contract::Eco => {
            contract.fixed().iter().map(|id| ExportColumn::known(*id)).collect::<Vec<_>>().into()
        }
        _ => OnceLock::new(),
    }
}

fn expected<'a>(
    file: &SpooledFile,
    header: Vec<String>,
    accounts: Option<&'a HashSet<Vec<u8>>>,
) -> Expected<'a> {
    Expected { header, rows: file.rows, rows_hash: Some(file.rows_hash), accounts }
}
