//! A line item as a customer must receive it.
//!
//! What comes in: a file's columns and maps, and its rows. What goes out: which columns a contract has, and one hash
//! per row and form that doesn't depend on which columns the share turns out to have. What it must never do: keep a
//! row, because a share's columns are known only after its last.

use crate::cells::{Finder, MAPS, Maps, NewKey, Place, cell};
use crate::columns::{ColumnType, ECO, EXTENDED, GUARANTEED, fixed};
use crate::headers::legacy_name;
use crate::masking::{Masker, Places, Sensitivity};
use crate::request::Contract;
use crate::stored::StoredCells;
use csv::ByteRecord;
use std::collections::{BTreeSet, HashMap};
use twox_hash::XxHash3_128;

/// More columns than all files of a report have; each share remembers four bytes of each.
const MOST_COLUMNS: usize = 20_000;
/// What is wrong with a report of more.
pub(crate) const TOO_MANY: &str = "more columns and keys than a report has";
/// No header that matters.
const NO_HEADER: u32 = 0;

/// The names of all columns of a delivery, numbered as they come, and the headers they were found under.
pub(crate) struct Registry {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    headers: Vec<String>,
    header_numbers: HashMap<String, u32>,
}

impl Default for Registry {
    fn default() -> Self {
        let (names, numbers, header_numbers) = Default::default();
        Self { names, numbers, headers: vec![String::new()], header_numbers }
    }
}

impl Registry {
    fn number(&mut self, name: &str) -> Result<u32, &'static str> {
        numbered(&mut self.names, &mut self.numbers, name)
    }

    fn header(&mut self, header: &[u8]) -> Result<u32, &'static str> {
        numbered(&mut self.headers, &mut self.header_numbers, &String::from_utf8_lossy(header))
    }

    /// How many columns there are by now.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name of a column by its number.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }
}

fn numbered(
    list: &mut Vec<String>,
    numbers: &mut HashMap<String, u32>,
    text: &str,
) -> Result<u32, &'static str> {
    if let Some(number) = numbers.get(text) {
        return Ok(*number);
    }
    let number = u32::try_from(list.len()).ok().filter(|number| (*number as usize) < MOST_COLUMNS);
    let number = number.ok_or(TOO_MANY)?;
    list.push(text.to_owned());
    numbers.insert(text.to_owned(), number);
    Ok(number)
}

/// Which columns have had a cell that isn't blank, and the header of the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Vec<u32>);

impl Seen {
    /// Marks the columns of a row.
    pub(crate) fn mark(&mut self, marks: &[(u32, u32)], columns: usize) {
        if self.0.len() < columns {
            self.0.resize(columns, u32::MAX);
        }
        for (column, header) in marks {
            let first = &mut self.0[*column as usize];
            if *first == u32::MAX {
                *first = *header;
            }
        }
    }

    fn first_header(&self, column: u32) -> Option<u32> {
        self.0.get(column as usize).copied().filter(|header| *header != u32::MAX)
    }
}

/// One column of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportColumn {
    pub(crate) name: String,
    /// The legacy name.
    pub(crate) legacy: String,
    pub(crate) kind: ColumnType,
    /// Whether it has a cell that isn't blank.
    pub(crate) filled: bool,
}

/// The columns that an export of the contract has, in their order.
pub(crate) fn export_columns(contract: Contract, seen: &Seen, registry: &Registry) -> Vec<ExportColumn> {
    let column = |name: &str| {
        let first = registry.numbers.get(name).and_then(|number| seen.first_header(*number));
        let header = first.and_then(|header| registry.headers.get(header as usize));
        ExportColumn {
            name: name.to_owned(),
            legacy: legacy_name(name, header.map(String::as_str)),
            kind: kind_of(name),
            filled: first.is_some(),
        }
    };
    let fixed: Vec<&str> = match contract {
        Contract::Eco => ECO.iter().map(|(name, _)| *name).collect(),
        Contract::EcoExtended => ECO.iter().chain(&EXTENDED).map(|(name, _)| *name).collect(),
        Contract::Source => GUARANTEED.iter().map(|(name, _)| *name).collect(),
    };
    let seen_names = (0u32..).zip(&registry.names).filter(|(number, _)| seen.first_header(*number).is_some());
    let more: BTreeSet<&str> = seen_names
        .map(|(_, name)| name.as_str())
        .filter(|name| has(contract, name) && !fixed.contains(name))
        .collect();
    fixed.into_iter().chain(more).map(column).collect()
}

fn kind_of(name: &str) -> ColumnType {
    fixed(name).map_or(ColumnType::Text, |(kind, _)| kind)
}

/// Whether a contract delivers a column, if it has a cell that isn't blank.
fn has(contract: Contract, name: &str) -> bool {
    match (contract, fixed(name)) {
        (Contract::Source, _) => true,
        (Contract::Eco, known) => known.is_some_and(|(_, eco)| eco),
        (Contract::EcoExtended, Some(_)) => true,
        (Contract::EcoExtended, None) => {
            ["resource_tags_", "cost_category_", "discount_"].iter().any(|prefix| name.starts_with(prefix))
        }
    }
}

/// What stands for a column's name in the bytes that a row's hash is taken of.
pub(crate) fn tag(name: &[u8]) -> [u8; 16] {
    XxHash3_128::oneshot(name).to_le_bytes()
}

/// One column as a file has it.
struct Entry {
    name: String,
    number: u32,
    tag: [u8; 16],
    kind: ColumnType,
    sensitivity: Sensitivity,
    eco: bool,
    extended: bool,
    /// A column of its own, or for known columns their place in a map, and the header.
    flat: Vec<(Place, u32)>,
    /// Under keys of maps, in their byte order.
    keyed: Vec<(Vec<u8>, Place, u32)>,
}

impl Entry {
    fn cell<'r>(&self, record: &'r ByteRecord, maps: &'r Maps) -> (&'r [u8], u32) {
        for (place, header) in &self.flat {
            match cell(place, record, maps) {
                b"" => {}
                found => return (found, *header),
            }
        }
        for (_, place, header) in &self.keyed {
            match cell(place, record, maps) {
                b"" => {}
                found => return (found, *header),
            }
        }
        (b"", NO_HEADER)
    }
}

/// All columns of a file that an export may have, in the byte order of their names.
#[derive(Default)]
pub(crate) struct FileColumns {
    entries: Vec<Entry>,
}

impl FileColumns {
    /// With `wide`, columns outside the fixed lists are wanted, too.
    pub(crate) fn new(
        headers: &[Vec<u8>],
        names: &[Vec<u8>],
        finder: &mut Finder<'_>,
        wide: bool,
        registry: &mut Registry,
    ) -> Result<Self, &'static str> {
        let mut columns = Self::default();
        for (name, _) in ECO.iter().chain(EXTENDED.iter().filter(|_| wide)) {
            let place = finder.place(name.as_bytes());
            if place != Place::Absent {
                // A known column has a legacy name, so its header doesn't matter.
                columns.entry(name, registry)?.flat.push((place, NO_HEADER));
            }
        }
        let others = names.iter().zip(headers).enumerate().filter(|_| wide);
        for (at, (name, header)) in others {
            let name = String::from_utf8_lossy(name);
            if fixed(&name).is_none() && !MAPS.contains(&name.as_ref()) && !name.is_empty() {
                let header = registry.header(header)?;
                columns.entry(&name, registry)?.flat.push((Place::Column(at), header));
            }
        }
        Ok(columns)
    }

    fn entry(&mut self, name: &str, registry: &mut Registry) -> Result<&mut Entry, &'static str> {
        let at = match self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            Ok(at) => at,
            Err(at) => {
                let kind = kind_of(name);
                let entry = Entry {
                    number: registry.number(name)?,
                    tag: tag(name.as_bytes()),
                    kind,
                    sensitivity: Sensitivity::of(name, kind),
                    eco: has(Contract::Eco, name),
                    extended: has(Contract::EcoExtended, name),
                    flat: Vec::new(),
                    keyed: Vec::new(),
                    name: name.to_owned(),
                };
                self.entries.insert(at, entry);
                at
            }
        };
        Ok(&mut self.entries[at])
    }

    /// A key that a map has: a column of its own, told by its slash name.
    pub(crate) fn add_key(&mut self, new: NewKey, registry: &mut Registry) -> Result<(), &'static str> {
        let name = String::from_utf8_lossy(&new.name).into_owned();
        if MAPS.contains(&name.as_str()) {
            return Ok(());
        }
        let header = registry.header(&[category(new.map).as_bytes(), b"/", &new.key].concat())?;
        let entry = self.entry(&name, registry)?;
        let at = entry.keyed.partition_point(|(other, ..)| *other < new.key);
        entry.keyed.insert(at, (new.key, new.place, header));
        Ok(())
    }
}

/// The category of the slash names of a map's keys.
fn category(map: usize) -> &'static str {
    ["product", "resourceTags", "costCategory", "discount", "tags"][map]
}

/// One row in the forms that exports have.
#[derive(Default)]
pub(crate) struct Row {
    text: Vec<u8>,
    masked: Vec<u8>,
    /// Columns with a cell that isn't blank, and its header.
    pub(crate) marks: Vec<(u32, u32)>,
    /// The cells as Parquet stores them.
    pub(crate) stored: StoredCells,
    pub(crate) hash: u128,
}

/// Whose row it is.
pub(crate) struct Recipient<'a> {
    pub(crate) contract: Contract,
    pub(crate) masker: &'a mut Masker,
    pub(crate) places: &'a mut Places,
    pub(crate) payer: &'a [u8],
    pub(crate) parquet: bool,
}

impl Row {
    /// Forgets the row before.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
        self.stored.clear();
    }

    /// Takes up a line item; each form's hash covers the names and cells that aren't blank.
    pub(crate) fn take(
        &mut self,
        columns: &FileColumns,
        record: &ByteRecord,
        maps: &Maps,
        to: &mut Recipient<'_>,
    ) {
        self.clear();
        for entry in &columns.entries {
            let delivered = match to.contract {
                Contract::Eco => entry.eco,
                Contract::EcoExtended => entry.extended,
                Contract::Source => true,
            };
            let (found, header) = if delivered { entry.cell(record, maps) } else { (&b""[..], NO_HEADER) };
            if found.is_empty() {
                continue;
            }
            self.masked.clear();
            to.masker.write(to.places, entry.sensitivity, found, to.payer, &mut self.masked);
            if self.masked.is_empty() {
                continue;
            }
            self.marks.push((entry.number, header));
            add_cell(&mut self.text, &entry.tag, &self.masked);
            if to.parquet {
                self.stored.add(entry.number, entry.kind, &entry.tag, &self.masked);
            }
        }
        self.hash = XxHash3_128::oneshot(&self.text);
        self.stored.finish();
    }
}

/// Adds a cell that isn't blank to the bytes that a row's hash is taken of; cells come in the order of their names.
pub(crate) fn add_cell(bytes: &mut Vec<u8>, tag: &[u8; 16], cell: &[u8]) {
    bytes.extend_from_slice(tag);
    bytes.extend_from_slice(&(cell.len() as u64).to_le_bytes());
    bytes.extend_from_slice(cell);
}
