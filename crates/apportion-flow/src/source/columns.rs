use super::binding::snake;
use std::collections::BTreeMap;

/// A column of a delivery's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// The snake name.
    pub name: String,
    /// How many files have it with which type: `string`, `double`, `timestamp`, `integer`, `boolean`, `map`, `struct`.
    /// CSV knows only `string`.
    pub kinds: BTreeMap<&'static str, u32>,
    /// How many files have it.
    pub files: u32,
}

impl SourceColumn {
    /// Its type, or all it has: `double or string`.
    pub fn kind(&self) -> String {
        self.kinds.keys().copied().collect::<Vec<_>>().join(" or ")
    }
}

/// Gathers the columns of file after file.
#[derive(Debug, Default)]
pub(super) struct ColumnList {
    columns: BTreeMap<String, SourceColumn>,
    files: u32,
}

impl ColumnList {
    /// Takes up a file's headers with their types.
    pub(super) fn add<'a>(&mut self, columns: impl Iterator<Item = (&'a String, &'static str)>) {
        let mut of_file: BTreeMap<String, &'static str> = BTreeMap::new();
        for (header, kind) in columns {
            // Of two columns of one name the first decides.
            of_file.entry(snake(header)).or_insert(kind);
        }
        self.files += 1;
        for (name, kind) in of_file {
            let column = self.columns.entry(name.clone()).or_insert_with(|| SourceColumn {
                name,
                kinds: BTreeMap::new(),
                files: 0,
            });
            column.files += 1;
            *column.kinds.entry(kind).or_default() += 1;
        }
    }

    /// The number of files, and the columns by name.
    pub(super) fn finish(self) -> (u32, Vec<SourceColumn>) {
        (self.files, self.columns.into_values().collect())
    }
}
