//! Where a file keeps the cell of a column.
//!
//! What comes in: a file's snake names, and its rows. What goes out: the cell of any column, be it in columns of
//! its own or inside a CUR 2.0 map. What it must never do: change a cell.

use crate::columns::{ADDITIVE, GUARANTEED};
use crate::delivered::{FileColumns, Registry, TOO_MANY};
use crate::maps;
use crate::names::snake;
use csv::ByteRecord;
use std::collections::{HashMap, HashSet};

/// The maps of CUR 2.0.
pub(crate) const MAPS: [&str; 5] = ["product", "resource_tags", "cost_category", "discount", "tags"];
/// More keys than the maps of one file can have.
const MOST_KEYS: usize = 100_000;

/// Where to find one column's cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: always blank.
    Absent,
    /// In one column of the file.
    Column(usize),
    /// In the first of these that isn't blank.
    FirstOf(Vec<usize>),
    /// Under a key of a map.
    Key { map: usize, slot: usize },
    /// In the first place, or where that is blank in the second.
    Either(Box<Place>, Box<Place>),
}

/// One map column, with the values of the last row.
#[derive(Default)]
struct Map {
    columns: Vec<usize>,
    text: Vec<u8>,
    /// The slots of wanted columns by name.
    wanted: HashMap<Vec<u8>, usize>,
    /// The slot of each key that has come up, if it is wanted.
    keys: HashMap<Vec<u8>, Option<usize>>,
    /// Value and key by slot. Where several keys become one column, the first in byte order that isn't blank counts.
    values: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Map {
    fn set(&mut self, slot: usize, key: &[u8], value: &[u8]) {
        let (last, from) = &mut self.values[slot];
        if !value.is_empty() && (last.is_empty() || key < from.as_slice()) {
            *last = value.to_vec();
            *from = key.to_vec();
        }
    }

    fn new_slot(&mut self) -> usize {
        self.values.push(Default::default());
        self.values.len() - 1
    }
}

/// A key that came up for the first time, and is a column that nobody asked for by name.
pub(crate) struct NewKey {
    pub(crate) map: usize,
    pub(crate) key: Vec<u8>,
    /// The name of its column.
    pub(crate) name: Vec<u8>,
    pub(crate) place: Place,
}

/// The map columns of a file.
#[derive(Default)]
pub(crate) struct Maps {
    maps: Vec<Map>,
    /// The names of the file's own columns, which beat keys.
    own: HashSet<Vec<u8>>,
    /// Whether every key is wanted.
    every_key: bool,
    new_keys: Vec<NewKey>,
}

/// The map column that could not be read, and why.
pub(crate) struct MapFault {
    pub(crate) column: &'static str,
    pub(crate) cause: &'static str,
}

/// The name of a key's column: that of its slash name.
pub(crate) fn name_of_key(map: usize, key: &[u8]) -> Vec<u8> {
    snake(&[MAPS[map].as_bytes(), b"/", key].concat())
}

impl Maps {
    /// Takes up the next row; most rows repeat the map of the one before.
    pub(crate) fn read(&mut self, record: &ByteRecord) -> Result<(), MapFault> {
        for (index, column) in MAPS.into_iter().enumerate() {
            let map = &mut self.maps[index];
            if map.columns.is_empty() || (map.wanted.is_empty() && !self.every_key) {
                continue;
            }
            let text = first_of(record, &map.columns);
            if text == map.text {
                continue;
            }
            for (value, _) in &mut map.values {
                value.clear();
            }
            map.text.clear();
            map.text.extend_from_slice(text);
            maps::read(text, |key, value| self.entry(index, key, value))
                .map_err(|cause| MapFault { column, cause })?;
            if self.maps[index].keys.len() > MOST_KEYS {
                return Err(MapFault { column, cause: TOO_MANY });
            }
        }
        Ok(())
    }

    fn entry(&mut self, index: usize, key: &[u8], value: &[u8]) {
        let map = &mut self.maps[index];
        let slot = match map.keys.get(key) {
            Some(slot) => *slot,
            // What has no value has no column yet.
            None if value.is_empty() || map.keys.len() > MOST_KEYS => return,
            None => {
                let name = name_of_key(index, key);
                let own = self.own.contains(&name);
                let mut slot = map.wanted.get(&name).copied().filter(|_| !own);
                if slot.is_none() && self.every_key && !own {
                    let new = map.new_slot();
                    let place = Place::Key { map: index, slot: new };
                    self.new_keys.push(NewKey { map: index, key: key.to_vec(), name, place });
                    slot = Some(new);
                }
                map.keys.insert(key.to_vec(), slot);
                slot
            }
        };
        if let Some(slot) = slot {
            map.set(slot, key, value);
        }
    }

    fn slot(&mut self, map: usize, name: &[u8]) -> Place {
        let wanted = &mut self.maps[map];
        if let Some(slot) = wanted.wanted.get(name) {
            return Place::Key { map, slot: *slot };
        }
        let slot = wanted.new_slot();
        wanted.wanted.insert(name.to_vec(), slot);
        Place::Key { map, slot }
    }
}

fn first_of<'r>(record: &'r ByteRecord, columns: &[usize]) -> &'r [u8] {
    columns.iter().filter_map(|column| record.get(*column)).find(|cell| !cell.is_empty()).unwrap_or_default()
}

/// The cell in a place of a row that [`Maps::read`] has taken up.
pub(crate) fn cell<'r>(place: &Place, record: &'r ByteRecord, maps: &'r Maps) -> &'r [u8] {
    match place {
        Place::Absent => b"",
        Place::Column(column) => record.get(*column).unwrap_or_default(),
        Place::FirstOf(columns) => first_of(record, columns),
        Place::Key { map, slot } => &maps.maps[*map].values[*slot].0,
        Place::Either(first, second) => match cell(first, record, maps) {
            b"" => cell(second, record, maps),
            found => found,
        },
    }
}

/// All places that an audit needs of one file.
pub(crate) struct FilePlan {
    pub(crate) guaranteed: Vec<Place>,
    pub(crate) additive: Vec<Place>,
    /// All columns that an export may have.
    pub(crate) delivered: FileColumns,
    pub(crate) split_parent: Place,
    /// The source's own columns, for the files of unassigned line items.
    pub(crate) all: Vec<Place>,
    pub(crate) maps: Maps,
}

impl FilePlan {
    /// `names` are the file's, made of its `headers`; `all` those of every file of the delivery. With `wide`, all
    /// columns and keys that the file has are wanted.
    pub(crate) fn new(
        headers: &[Vec<u8>],
        names: &[Vec<u8>],
        all: &[Vec<u8>],
        wide: bool,
        registry: &mut Registry,
    ) -> Result<Self, &'static str> {
        let mut finder = Finder::new(names);
        finder.maps.every_key = wide;
        Ok(Self {
            guaranteed: GUARANTEED.iter().map(|(name, _)| finder.place(name.as_bytes())).collect(),
            additive: ADDITIVE.iter().map(|name| finder.place(name.as_bytes())).collect(),
            delivered: FileColumns::new(headers, names, &mut finder, wide, registry)?,
            split_parent: finder.place(b"split_line_item_parent_resource_id"),
            all: all.iter().map(|name| finder.place(name)).collect(),
            maps: finder.maps,
        })
    }

    /// Takes up the next row, and the keys that it is the first to have.
    pub(crate) fn read(&mut self, record: &ByteRecord, registry: &mut Registry) -> Result<(), MapFault> {
        self.maps.read(record)?;
        for new in std::mem::take(&mut self.maps.new_keys) {
            let column = MAPS[new.map];
            self.delivered.add_key(new, registry).map_err(|cause| MapFault { column, cause })?;
        }
        Ok(())
    }
}

/// Finds the places of columns by name.
pub(crate) struct Finder<'a> {
    columns: HashMap<&'a [u8], Vec<usize>>,
    maps: Maps,
}

impl<'a> Finder<'a> {
    fn new(names: &'a [Vec<u8>]) -> Self {
        let mut columns: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (column, name) in names.iter().enumerate() {
            columns.entry(name).or_default().push(column);
        }
        let map = |name: &&str| Map {
            columns: columns.get(name.as_bytes()).cloned().unwrap_or_default(),
            ..Map::default()
        };
        let maps = Maps {
            maps: MAPS.iter().map(map).collect(),
            own: names.iter().cloned().collect(),
            ..Maps::default()
        };
        Self { columns, maps }
    }

    pub(crate) fn place(&mut self, name: &[u8]) -> Place {
        let place = self.own_place(name).unwrap_or_else(|| self.map_place(name));
        if name != b"product_comments" {
            return place;
        }
        match self.own_place(b"product_comment") {
            Some(flat) => Place::Either(Box::new(place), Box::new(flat)),
            None => place,
        }
    }

    fn own_place(&self, name: &[u8]) -> Option<Place> {
        match self.columns.get(name)?.as_slice() {
            [column] => Some(Place::Column(*column)),
            columns => Some(Place::FirstOf(columns.to_vec())),
        }
    }

    fn map_place(&mut self, name: &[u8]) -> Place {
        for (index, map) in MAPS.iter().enumerate() {
            let key = name.strip_prefix(map.as_bytes()).and_then(|rest| rest.strip_prefix(b"_"));
            if key.is_some() && !self.maps.maps[index].columns.is_empty() {
                return self.maps.slot(index, name);
            }
        }
        Place::Absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(names: &[&str], wanted: &[&str]) -> FilePlan {
        let bytes = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
        let names = bytes(names);
        FilePlan::new(&names, &names, &bytes(wanted), false, &mut Registry::default()).unwrap()
    }

    #[test]
    fn a_column_of_its_own_beats_the_map() {
        let names = ["product", "product_region", "resource_tags", "a", "a", "product_comment"];
        let wanted =
            ["product_region", "product_sku", "resource_tags_user_x", "a", "product_comments", "discount_y"];
        let mut plan = plan(&names, &wanted);
        let cells = |plan: &mut FilePlan, row: &[&str]| {
            let record = ByteRecord::from(row);
            assert!(plan.maps.read(&record).is_ok());
            let text = |place| String::from_utf8_lossy(cell(place, &record, &plan.maps)).into_owned();
            plan.all.iter().map(text).collect::<Vec<_>>()
        };
        let product = r#"{"region":"eu","sku":"S"}"#;
        assert_eq!(
            cells(&mut plan, &[product, "", r#"{"user_x":1}"#, "", "second", "flat"]),
            ["", "S", "1", "second", "flat", ""]
        );
        assert_eq!(
            cells(&mut plan, &[r#"{"comments":"c"}"#, "r", "", "first", "second", "flat"]),
            ["r", "", "", "first", "c", ""]
        );
        assert_eq!(cells(&mut plan, &[product, "", "", "", "", ""]), ["", "S", "", "", "", ""]);
    }
}
