//! Where a file keeps the cell of a column.
//!
//! What comes in: a file's snake names, and its rows. What goes out: the cell of any column, be it in columns of
//! its own or inside a CUR 2.0 map. What it must never do: change a cell.

use crate::columns::{ADDITIVE, ECO, GUARANTEED};
use crate::maps;
use crate::names::snake;
use csv::ByteRecord;
use std::collections::HashMap;

/// The maps of CUR 2.0; a column that isn't in the file is looked for in the one whose name it begins with.
const MAPS: [&str; 4] = ["product", "resource_tags", "cost_category", "discount"];

/// Keys that are remembered before all are forgotten.
const MOST_KEYS: usize = 65_536;

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
    /// Column name to value.
    slots: HashMap<Vec<u8>, usize>,
    /// Key to the value of the column that it names, if anybody wants that.
    keys: HashMap<Vec<u8>, Option<usize>>,
    values: Vec<Vec<u8>>,
}

/// The map columns of a file.
#[derive(Default)]
pub(crate) struct Maps {
    maps: Vec<Map>,
}

/// The map column that could not be read, and why.
pub(crate) struct MapFault {
    pub(crate) column: &'static str,
    pub(crate) cause: &'static str,
}

impl Maps {
    /// Takes up the next row; most rows repeat the map of the one before.
    pub(crate) fn read(&mut self, record: &ByteRecord) -> Result<(), MapFault> {
        for (index, map) in self.maps.iter_mut().enumerate() {
            if map.columns.is_empty() || map.slots.is_empty() {
                continue;
            }
            let text = first_of(record, &map.columns);
            if text == map.text {
                continue;
            }
            map.values.iter_mut().for_each(Vec::clear);
            map.text.clear();
            map.text.extend_from_slice(text);
            let (slots, keys, values) = (&map.slots, &mut map.keys, &mut map.values);
            if keys.len() > MOST_KEYS {
                keys.clear();
            }
            maps::read(text, |key, value| {
                let slot = match keys.get(key) {
                    Some(slot) => *slot,
                    None => {
                        let slot = slots.get(&snake(&[MAPS[index].as_bytes(), b"/", key].concat())).copied();
                        keys.insert(key.to_vec(), slot);
                        slot
                    }
                };
                // Of several keys of one column the first that isn't blank counts.
                if let Some(slot) = slot.filter(|slot| values[*slot].is_empty()) {
                    values[slot].extend_from_slice(value);
                }
            })
            .map_err(|cause| MapFault { column: MAPS[index], cause })?;
        }
        Ok(())
    }

    fn slot(&mut self, map: usize, name: &[u8]) -> Place {
        let map_columns = &mut self.maps[map];
        let next = map_columns.values.len();
        let slot = *map_columns.slots.entry(name.to_vec()).or_insert(next);
        if slot == next {
            map_columns.values.push(Vec::new());
        }
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
        Place::Key { map, slot } => &maps.maps[*map].values[*slot],
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
    pub(crate) eco: Vec<Place>,
    pub(crate) split_parent: Place,
    /// The source's own columns, for the files of unassigned line items.
    pub(crate) all: Vec<Place>,
    pub(crate) maps: Maps,
}

impl FilePlan {
    /// `names` are the file's, `all` those of every file of the delivery.
    pub(crate) fn new(names: &[Vec<u8>], all: &[Vec<u8>]) -> Self {
        let mut finder = Finder::new(names);
        Self {
            guaranteed: GUARANTEED.iter().map(|(name, _)| finder.place(name.as_bytes())).collect(),
            additive: ADDITIVE.iter().map(|name| finder.place(name.as_bytes())).collect(),
            eco: ECO.iter().map(|(name, _)| finder.place(name.as_bytes())).collect(),
            split_parent: finder.place(b"split_line_item_parent_resource_id"),
            all: all.iter().map(|name| finder.place(name)).collect(),
            maps: finder.maps,
        }
    }
}

struct Finder<'a> {
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
        let maps = Maps { maps: MAPS.iter().map(map).collect() };
        Self { columns, maps }
    }

    fn place(&mut self, name: &[u8]) -> Place {
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
        FilePlan::new(&bytes(names), &bytes(wanted))
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
