//! One line item as the ledger sees it.
//!
//! What comes in: a row and where its cells are. What goes out: its exact numbers and its hash over the guaranteed
//! columns, before any masking. What it must never do: take a text for a number, or a number for a text.

use crate::cells::{FilePlan, cell};
use crate::columns::{ADDITIVE, ColumnType, GUARANTEED, is_guaranteed};
use crate::hashes::{cell_hash, item_hash};
use crate::numbers::{NOT_A_NUMBER, Number};
use apportion_model::Instant;
use csv::ByteRecord;

/// What is computed of one line item before its route is followed.
pub(crate) struct LineItem {
    /// In the order of the additive columns.
    pub(crate) numbers: Vec<Option<Number>>,
    pub(crate) item_hash: u128,
    /// For each guaranteed column its place among the additive ones.
    additive_of: Vec<Option<usize>>,
    canonical: Vec<u8>,
    /// Per guaranteed timestamp column: the last text and its canonical form, as they repeat for hours of rows.
    moments: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A cell that the delivery format refuses.
pub(crate) struct Fault {
    pub(crate) column: &'static str,
    pub(crate) cause: String,
}

impl Fault {
    pub(crate) fn new(column: &'static str, cause: &str) -> Self {
        Self { column, cause: cause.into() }
    }

    pub(crate) fn cell(column: &'static str, text: &[u8]) -> Self {
        Self { column, cause: format!("{:?} is no moment", shortened(text)) }
    }
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned()
}

fn number(column: &'static str, text: &[u8]) -> Result<Number, Fault> {
    Number::parse(text).map_err(|cause| Fault { column, cause: format!("{:?} {cause}", shortened(text)) })
}

impl Default for LineItem {
    fn default() -> Self {
        let additive = |name: &str| ADDITIVE.iter().position(|additive| *additive == name);
        Self {
            numbers: vec![None; ADDITIVE.len()],
            item_hash: 0,
            additive_of: GUARANTEED.iter().map(|(name, _)| additive(name)).collect(),
            canonical: Vec::new(),
            moments: vec![Default::default(); GUARANTEED.len()],
        }
    }
}

impl LineItem {
    /// Takes up the next row.
    pub(crate) fn read(&mut self, plan: &FilePlan, record: &ByteRecord) -> Result<(), Fault> {
        self.read_numbers(plan, record)?;
        self.hash(plan, record)
    }

    fn read_numbers(&mut self, plan: &FilePlan, record: &ByteRecord) -> Result<(), Fault> {
        for (index, place) in plan.additive.iter().enumerate() {
            self.numbers[index] = match cell(place, record, &plan.maps) {
                b"" => None,
                text => match Number::parse(text) {
                    Ok(number) => Some(number),
                    // Writers that aren't AWS misplace texts there: delivered as they are, they add nothing.
                    Err(NOT_A_NUMBER) if !is_guaranteed(ADDITIVE[index]) => None,
                    Err(cause) => {
                        let cause = format!("{:?} {cause}", shortened(text));
                        return Err(Fault { column: ADDITIVE[index], cause });
                    }
                },
            };
        }
        Ok(())
    }

    fn hash(&mut self, plan: &FilePlan, record: &ByteRecord) -> Result<(), Fault> {
        let mut sum = 0u128;
        for (index, (name, kind)) in GUARANTEED.iter().enumerate() {
            let text = cell(&plan.guaranteed[index], record, &plan.maps);
            if text.is_empty() {
                continue;
            }
            let canonical = match kind {
                ColumnType::Text => text,
                ColumnType::Timestamp => canonical_moment(&mut self.moments[index], text),
                ColumnType::Double => {
                    self.canonical.clear();
                    match self.additive_of[index].and_then(|place| self.numbers[place]) {
                        Some(number) => number.write_canonical(&mut self.canonical),
                        None => number(name, text)?.write_canonical(&mut self.canonical),
                    }
                    &self.canonical
                }
            };
            sum = sum.wrapping_add(cell_hash(index, canonical));
        }
        self.item_hash = item_hash(sum);
        Ok(())
    }
}

/// Milliseconds since 1970, or the bytes as they are where they are no moment.
fn canonical_moment<'t>(last: &'t mut (Vec<u8>, Vec<u8>), text: &[u8]) -> &'t [u8] {
    if last.0 != text {
        let form =
            Instant::parse(text).map_or_else(|| text.to_vec(), |at| at.millis().to_string().into_bytes());
        *last = (text.to_vec(), form);
    }
    &last.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_hashed_as_milliseconds() {
        let mut last = Default::default();
        assert_eq!(canonical_moment(&mut last, b"1970-01-01 00:00:01"), b"1000");
        assert_eq!(canonical_moment(&mut last, b"1970-01-01T00:00:01.000Z"), b"1000");
        assert_eq!(canonical_moment(&mut last, b"soon"), b"soon");
    }
}
