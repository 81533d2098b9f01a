use apportion_core::line_item::excerpt;
use std::collections::BTreeSet;

/// What was seen besides the line items, and should be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observations {
    unknown: BTreeSet<String>,
    absent: BTreeSet<String>,
    merged: BTreeSet<String>,
    other: BTreeSet<String>,
}

impl Observations {
    pub(super) fn unknown_column(&mut self, header: &str) {
        self.unknown.insert(excerpt(header.as_bytes()));
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
            texts.push(format!("unknown columns, in no customer's contract: {}", list(&self.unknown)));
        }
        texts.extend(self.merged.iter().chain(&self.other).cloned());
        texts
    }
}
