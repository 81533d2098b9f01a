use super::columns::SourceColumn;
use apportion_core::line_item::excerpt;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen besides the line items, and should be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observations {
    unknown: BTreeSet<String>,
    tags: BTreeSet<String>,
    absent: BTreeSet<String>,
    merged: BTreeSet<String>,
    /// Rows by column and the two headers whose cells differ in them.
    clashes: BTreeMap<[String; 3], u64>,
    drift: Vec<String>,
    other: BTreeSet<String>,
}

impl Observations {
    pub(super) fn unknown_column(&mut self, header: &str) {
        self.unknown.insert(excerpt(header.as_bytes()));
    }

    /// A tag's or cost category's column, which contracts with more than the known columns deliver.
    pub(super) fn tag_column(&mut self, header: &str) {
        self.tags.insert(excerpt(header.as_bytes()));
    }

    /// Rows in which two headers of one column hold different values.
    pub(super) fn clash(&mut self, column: &str, first: &str, other: &str, rows: u64) {
        *self.clashes.entry([column, first, other].map(str::to_owned)).or_default() += rows;
    }

    /// What differs between the files of the delivery.
    pub(super) fn drift(&mut self, files: u32, columns: &[SourceColumn]) {
        let list = |one: &dyn Fn(&SourceColumn) -> Option<String>| {
            columns.iter().filter_map(one).collect::<Vec<_>>().join(", ")
        };
        let partly = list(&|column| {
            (column.files < files).then(|| format!("{} ({} of {files})", column.name, column.files))
        });
        let mixed = list(&|column| {
            (column.kinds.len() > 1).then(|| {
                let kinds = column.kinds.iter().map(|(kind, files)| format!("{kind} in {files}"));
                format!("{} ({})", column.name, kinds.collect::<Vec<_>>().join(", "))
            })
        });
        if !partly.is_empty() {
            self.drift.push(format!("columns that only some files have: {partly}"));
        }
        if !mixed.is_empty() {
            self.drift.push(format!("columns of different types from file to file, read as text: {mixed}"));
        }
    }

    pub(super) fn absent_column(&mut self, name: &str) {
        self.absent.insert(name.to_owned());
    }

    pub(super) fn merged_columns(&mut self, name: &str, headers: &[&str]) {
        self.merged.insert(format!(
            "headers {} are one column, {name}: the first that isn't blank counts",
            headers.join(" and ")
        ));
    }

    /// Adds something else worth telling; the same text counts once.
    pub fn note(&mut self, text: String) {
        self.other.insert(text);
    }

    /// One sentence each.
    pub fn texts(&self) -> Vec<String> {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut texts = Vec::new();
        if !self.absent.is_empty() {
            texts.push(format!(
                "guaranteed columns that a file doesn't have (counted as blank): {}",
                list(&self.absent)
            ));
        }
        if !self.unknown.is_empty() {
            texts.push(format!("unknown columns, in contract source only: {}", list(&self.unknown)));
        }
        if !self.tags.is_empty() {
            texts.push(format!(
                "columns of tags and cost categories, in contracts eco-extended and source only: {}",
                list(&self.tags)
            ));
        }
        texts.extend(self.drift.iter().cloned());
        texts.extend(self.clashes.iter().map(|([column, first, other], rows)| {
            format!("in {rows} rows headers {first} and {other} hold different values of {column}: the first counts")
        }));
        texts.extend(self.merged.iter().chain(&self.other).cloned());
        texts
    }
}
