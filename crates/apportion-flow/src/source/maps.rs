use super::binding::{Rows, snake};
use super::error::SourceError;
use apportion_core::columns::{ColumnId, known};
use apportion_core::csv::Limits;
use apportion_core::line_item::{Cells, OtherColumn, Texts, row_in_object};
use apportion_core::map::read_map;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Distinct map texts that are remembered before all are forgotten: they repeat by product, so few are alive.
const REMEMBERED: usize = 16_384;

/// The maps of CUR 2.0, each with the category of slash names that its keys belong to.
const MAPS: [(&str, &str); 5] = [
    ("product", "product"),
    ("resource_tags", "resourceTags"),
    ("cost_category", "costCategory"),
    ("discount", "discount"),
    ("tags", "tags"),
];

/// Whether a column is one of the maps.
pub(super) fn is_map(name: &str) -> bool {
    MAPS.iter().any(|(map, _)| *map == name)
}

/// A map of CUR 2.0 in a file.
pub(super) struct MapColumn {
    /// Its place among [`MAPS`].
    map: usize,
    /// The file's columns of that name: usually one.
    pub(super) places: Vec<usize>,
}

impl MapColumn {
    /// The maps among a file's columns.
    pub(super) fn of(names: &[String]) -> Vec<Self> {
        let places = |map: &str| (0..names.len()).filter(|place| names[*place] == map).collect::<Vec<_>>();
        (0..MAPS.len())
            .map(|map| Self { map, places: places(MAPS[map].0) })
            .filter(|column| !column.places.is_empty())
            .collect()
    }
}

/// What a key of a map fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Target {
    Known(ColumnId),
    /// A place among [`MapReader::others`].
    Other(usize),
}

/// A key that isn't a known column.
struct OtherKey {
    key: String,
    name: Arc<str>,
    header: Arc<str>,
}

/// The columns that a map fills, with their texts; none is blank, and none is there twice.
type Pairs = Arc<[(Target, String)]>;

/// Reads each distinct map text of a file once.
#[derive(Default)]
pub(super) struct MapReader {
    /// The snake names of the file's own columns, which beat a key of that name.
    own: HashSet<String>,
    with_other: bool,
    /// By map: what each key fills, if anything.
    targets: [HashMap<String, Option<Target>>; MAPS.len()],
    others: Vec<OtherKey>,
    seen: HashMap<(usize, Box<[u8]>), Pairs>,
}

impl MapReader {
    /// A reader for a file with these headers.
    pub(super) fn new(headers: &[String], with_other: bool) -> Self {
        let own = headers.iter().map(|header| snake(header)).collect();
        Self { own, with_other, ..Self::default() }
    }

    /// Fills the known columns that are keys of a map, and adds the others if they are wanted.
    pub(super) fn expand(
        &mut self,
        object: &str,
        rows: &Rows,
        map: &MapColumn,
        cells: &Cells,
        bound: &mut [Cells],
        other: &mut Vec<OtherColumn>,
    ) -> Result<(), SourceError> {
        if cells.is_blank() {
            return Ok(());
        }
        let mut codes = Vec::with_capacity(rows.count);
        let mut distinct: HashMap<&[u8], u32> = HashMap::new();
        let mut maps: Vec<Pairs> = Vec::new();
        for row in 0..rows.count {
            let cell = cells.get(row);
            let code = match distinct.get(cell) {
                Some(code) => *code,
                None => {
                    let pairs = self.read(map.map, cell).map_err(|problem| SourceError::Cell {
                        object: object.to_owned(),
                        row: row_in_object(rows.first, rows.offsets.as_deref(), row),
                        column: MAPS[map.map].0.to_owned(),
                        problem: format!("the text isn't a map: {problem}"),
                    })?;
                    let code = maps.len() as u32;
                    maps.push(pairs);
                    distinct.insert(cell, code);
                    code
                }
            };
            codes.push(code);
        }
        self.check_keys(object)?;
        self.fill(&maps, codes.into(), bound, other);
        Ok(())
    }

    fn fill(&self, maps: &[Pairs], codes: Arc<[u32]>, bound: &mut [Cells], other: &mut Vec<OtherColumn>) {
        let mut columns: HashMap<Target, Texts> = HashMap::new();
        for (code, pairs) in maps.iter().enumerate() {
            for (target, text) in pairs.iter() {
                let texts = columns.entry(*target).or_default();
                while texts.len() < code {
                    texts.push(&[]);
                }
                texts.push(text.as_bytes());
            }
        }
        let mut others: BTreeMap<&str, (usize, Texts)> = BTreeMap::new();
        let coded = |texts| Cells::Coded { codes: Arc::clone(&codes), texts: Arc::new(texts) };
        for (target, texts) in columns {
            match target {
                Target::Known(column) => bound[column.index()] = coded(texts),
                Target::Other(place) => {
                    others.insert(&self.others[place].key, (place, texts));
                }
            }
        }
        other.extend(others.into_values().map(|(place, texts)| OtherColumn {
            name: Arc::clone(&self.others[place].name),
            header: Arc::clone(&self.others[place].header),
            cells: coded(texts),
        }));
    }

    fn read(&mut self, map: usize, cell: &[u8]) -> Result<Pairs, String> {
        let key = (map, Box::from(cell));
        if let Some(pairs) = self.seen.get(&key) {
            return Ok(Arc::clone(pairs));
        }
        let mut pairs: Vec<(Target, String)> = Vec::new();
        let mut entries = read_map(cell)?;
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (key, text) in entries {
            // Of several keys that are one column, the first in byte order that isn't blank counts.
            if !text.is_empty()
                && let Some(target) = self.target(map, key)
                && !pairs.iter().any(|(filled, _)| *filled == target)
            {
                pairs.push((target, text));
            }
        }
        let pairs: Pairs = pairs.into();
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(key, Arc::clone(&pairs));
        Ok(pairs)
    }

    /// What a key fills: the column whose name its slash name becomes.
    fn target(&mut self, map: usize, key: String) -> Option<Target> {
        if let Some(target) = self.targets[map].get(&key) {
            return *target;
        }
        let header = format!("{}/{key}", MAPS[map].1);
        let name = snake(&header);
        let target = if self.own.contains(&name) {
            None
        } else if let Some(column) = known().find(&name) {
            Some(Target::Known(column))
        } else if self.with_other {
            self.others.push(OtherKey { key: key.clone(), name: name.into(), header: header.into() });
            Some(Target::Other(self.others.len() - 1))
        } else {
            None
        };
        if self.targets[map].len() >= REMEMBERED && !self.with_other {
            self.targets[map].clear();
        }
        self.targets[map].insert(key, target);
        target
    }

    /// More keys than any organisation has tags are no cost report.
    fn check_keys(&self, object: &str) -> Result<(), SourceError> {
        let limit = Limits::default().columns;
        let columns = self.others.len();
        if columns <= limit {
            return Ok(());
        }
        Err(SourceError::TooManyColumns { object: object.to_owned(), columns, limit })
    }
}
