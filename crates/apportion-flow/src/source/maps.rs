use super::error::SourceError;
use apportion_core::columns::{ColumnId, known};
use apportion_core::line_item::{Cells, Texts};
use apportion_core::map::read_map;
use std::collections::HashMap;
use std::sync::Arc;

/// Distinct map texts that are remembered before all are forgotten: they repeat by product, so few are alive.
const REMEMBERED: usize = 16_384;

/// A map of CUR 2.0 in a file, and the known columns that are keys of it.
pub(super) struct MapColumn {
    name: &'static str,
    /// The file's column.
    pub(super) place: usize,
    /// Key and column, for columns that the file doesn't have of its own.
    keys: HashMap<&'static str, ColumnId>,
}

impl MapColumn {
    /// The maps among a file's columns.
    pub(super) fn of(names: &[String], bound: &[Vec<usize>]) -> Vec<Self> {
        ["product", "resource_tags", "cost_category", "discount"]
            .into_iter()
            .filter_map(|map| {
                let place = names.iter().position(|name| name == map)?;
                let prefix = known()
                    .all()
                    .filter(|(id, _)| bound[id.index()].is_empty())
                    .filter_map(|(id, column)| Some((column.name.strip_prefix(map)?.strip_prefix('_')?, id)))
                    .collect();
                Some(Self { name: map, place, keys: prefix })
            })
            .collect()
    }
}

/// The columns that a map fills, with their texts.
type Pairs = Arc<[(ColumnId, String)]>;

/// Reads each distinct map text once.
#[derive(Default)]
pub(super) struct MapReader {
    seen: HashMap<(usize, Box<[u8]>), Pairs>,
}

impl MapReader {
    /// Fills the known columns that are keys of a map.
    pub(super) fn expand(
        &mut self,
        object: &str,
        first_row: u64,
        rows: usize,
        map: &MapColumn,
        file: &[Cells],
        bound: &mut [Cells],
    ) -> Result<(), SourceError> {
        let cells = &file[map.place];
        if cells.is_blank() {
            return Ok(());
        }
        let mut codes = Vec::with_capacity(rows);
        let mut distinct: HashMap<&[u8], u32> = HashMap::new();
        let mut maps: Vec<Pairs> = Vec::new();
        for row in 0..rows {
            let cell = cells.get(row);
            let code = match distinct.get(cell) {
                Some(code) => *code,
                None => {
                    let pairs = self.read(map, cell).map_err(|problem| SourceError::Cell {
                        object: object.to_owned(),
                        row: first_row + row as u64,
                        column: map.name.to_owned(),
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
        let codes: Arc<[u32]> = codes.into();
        let mut columns: HashMap<ColumnId, Texts> = HashMap::new();
        for (code, pairs) in maps.iter().enumerate() {
            for (column, text) in pairs.iter() {
                let texts = columns.entry(*column).or_default();
                if texts.len() > code {
                    continue; // A key that stands twice in one map: the first counts.
                }
                while texts.len() < code {
                    texts.push(&[]);
                }
                texts.push(text.as_bytes());
            }
        }
        for (column, texts) in columns {
            bound[column.index()] = Cells::Coded { codes: Arc::clone(&codes), texts: Arc::new(texts) };
        }
        Ok(())
    }

    fn read(&mut self, map: &MapColumn, cell: &[u8]) -> Result<Pairs, String> {
        let key = (map.place, Box::from(cell));
        if let Some(pairs) = self.seen.get(&key) {
            return Ok(Arc::clone(pairs));
        }
        let pairs: Pairs = read_map(cell)?
            .into_iter()
            .filter_map(|(key, text)| Some((*map.keys.get(key.as_str())?, text)))
            .collect();
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(key, Arc::clone(&pairs));
        Ok(pairs)
    }
}
