use super::error::SourceError;
use super::maps::{MapColumn, MapReader};
use super::observations::Observations;
use apportion_core::columns::{ColumnId, known, snake_name};
use apportion_core::line_item::{Cells, Texts};
use std::sync::Arc;

/// How the columns of one file become the known ones. Made per file: one part's column 1 is not the next's.
pub(super) struct Binding {
    /// For each known column, the file's columns that hold it; more than one where several headers became one name.
    known: Vec<Vec<usize>>,
    /// For each column of the delivery's list, the file's columns that hold it.
    source: Vec<Vec<usize>>,
    /// CUR 2.0's maps that this file has, with the known columns to take from them.
    maps: Vec<MapColumn>,
    /// The flat `product_comment`, which stands in for a `comments` key that isn't there.
    comment_fallback: Option<(ColumnId, ColumnId)>,
}

/// What a column is called where CUR 2.0 and the Eco schema disagree by one letter.
const COMMENTS: (&str, &str) = ("product_comments", "product_comment");

impl Binding {
    /// Binds a file's headers.
    ///
    /// # Errors
    /// A required column that isn't there.
    pub(super) fn new(
        object: &str,
        headers: &[String],
        source_columns: &[String],
        observations: &mut Observations,
    ) -> Result<Self, SourceError> {
        let table = known();
        let mut bound = vec![Vec::new(); table.count()];
        let names: Vec<String> = headers.iter().map(|header| snake(header)).collect();
        for (place, name) in names.iter().enumerate() {
            match table.find(name) {
                Some(id) => bound[id.index()].push(place),
                None if is_map(name) => {}
                None => observations.unknown_column(&headers[place]),
            }
        }
        let missing: Vec<String> = table
            .well_known()
            .required()
            .iter()
            .filter(|id| bound[id.index()].is_empty())
            .map(|id| table.get(*id).name.clone())
            .collect();
        if !missing.is_empty() {
            return Err(SourceError::ColumnsMissing { object: object.to_owned(), columns: missing });
        }
        for id in table.guaranteed() {
            if bound[id.index()].is_empty() {
                observations.absent_column(&table.get(*id).name);
            }
        }
        for (id, column) in table.all().filter(|(id, _)| bound[id.index()].len() > 1) {
            let together: Vec<&str> =
                bound[id.index()].iter().map(|place| headers[*place].as_str()).collect();
            observations.merged_columns(&column.name, &together);
        }
        let places_of = |name: &String| (0..names.len()).filter(|place| names[*place] == *name).collect();
        let fallback = table
            .find(COMMENTS.0)
            .zip(table.find(COMMENTS.1))
            .filter(|(wanted, flat)| bound[wanted.index()].is_empty() && !bound[flat.index()].is_empty());
        Ok(Self {
            maps: MapColumn::of(&names, &bound),
            known: bound,
            source: source_columns.iter().map(places_of).collect(),
            comment_fallback: fallback,
        })
    }

    /// The file's columns that are needed at all.
    pub(super) fn needed(&self, width: usize) -> Vec<bool> {
        let mut needed = vec![false; width];
        let maps = self.maps.iter().map(|map| &map.place);
        for place in self.known.iter().flatten().chain(self.source.iter().flatten()).chain(maps) {
            needed[*place] = true;
        }
        needed
    }

    /// The known columns and the delivery's own, from the file's.
    pub(super) fn bind(
        &self,
        object: &str,
        first_row: u64,
        rows: usize,
        file: &[Cells],
        maps: &mut MapReader,
    ) -> Result<(Vec<Cells>, Vec<Cells>), SourceError> {
        let mut bound: Vec<Cells> = self.known.iter().map(|places| gather(places, rows, file)).collect();
        for map in &self.maps {
            maps.expand(object, first_row, rows, map, file, &mut bound)?;
        }
        if let Some((wanted, flat)) = self.comment_fallback {
            bound[wanted.index()] =
                first_filled(rows, &[bound[wanted.index()].clone(), bound[flat.index()].clone()]);
        }
        let source = self.source.iter().map(|places| gather(places, rows, file)).collect();
        Ok((bound, source))
    }
}

fn gather(places: &[usize], rows: usize, file: &[Cells]) -> Cells {
    match places {
        [] => Cells::Blank,
        [one] => file[*one].clone(),
        several => first_filled(rows, &several.iter().map(|place| file[*place].clone()).collect::<Vec<_>>()),
    }
}

/// Of several columns, each row's first cell that isn't blank.
fn first_filled(rows: usize, columns: &[Cells]) -> Cells {
    if let Some((first, rest)) = columns.split_first()
        && rest.iter().all(Cells::is_blank)
    {
        return first.clone();
    }
    let mut texts = Texts::default();
    for row in 0..rows {
        texts.push(
            columns.iter().map(|cells| cells.get(row)).find(|cell| !cell.is_empty()).unwrap_or_default(),
        );
    }
    Cells::Plain(Arc::new(texts))
}

/// The snake name of a header; for another spelling of a known column, that column's name.
pub(super) fn snake(header: &str) -> String {
    let name = String::from_utf8_lossy(&snake_name(header.as_bytes())).into_owned();
    known().find(&name).map_or(name, |id| known().get(id).name.clone())
}

pub(super) fn is_map(name: &str) -> bool {
    matches!(name, "product" | "resource_tags" | "cost_category" | "discount" | "tags")
}
