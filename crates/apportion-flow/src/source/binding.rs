use super::error::SourceError;
use super::maps::{MapColumn, MapReader, is_map};
use super::observations::Observations;
use apportion_core::columns::{ColumnId, known, slash_name, snake_name};
use apportion_core::line_item::{Cells, OtherColumn, Texts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How the columns of one file become the known ones. Made per file: one part's column 1 is not the next's.
pub(super) struct Binding {
    /// For each known column, the file's columns that hold it; more than one where several headers became one name.
    known: Vec<Vec<usize>>,
    /// For each column of the delivery's list, the file's columns that hold it.
    source: Vec<Vec<usize>>,
    /// The file's columns that aren't known, in its order; empty where nobody wants them.
    other: Vec<(Arc<str>, Arc<str>, usize)>,
    /// Names that several of the file's columns have.
    merged: Vec<Merged>,
    /// CUR 2.0's maps that this file has.
    maps: Vec<MapColumn>,
    /// The flat `product_comment`, which stands in for a `comments` key that isn't there.
    comment_fallback: Option<(ColumnId, ColumnId)>,
}

/// Several columns of a file that are one.
struct Merged {
    name: String,
    /// Each with its header.
    places: Vec<(usize, String)>,
}

/// Which rows of an object a batch is.
pub(super) struct Rows {
    pub(super) first: u64,
    pub(super) count: usize,
    /// Where they are behind the first, where they aren't consecutive.
    pub(super) offsets: Option<Arc<[u32]>>,
}

/// A batch's columns.
pub(super) struct Bound {
    pub(super) known: Vec<Cells>,
    pub(super) source: Vec<Cells>,
    pub(super) other: Vec<OtherColumn>,
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
        with_other: bool,
        observations: &mut Observations,
    ) -> Result<Self, SourceError> {
        let table = known();
        let mut bound = vec![Vec::new(); table.count()];
        let names: Vec<String> = headers.iter().map(|header| snake(header)).collect();
        for (place, name) in names.iter().enumerate() {
            match table.find(name) {
                Some(id) => bound[id.index()].push(place),
                None if is_map(name) => {}
                None if is_tag(name) => observations.tag_column(&headers[place]),
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
        let merged = merged(headers, &names);
        for one in &merged {
            let together: Vec<&str> = one.places.iter().map(|(_, header)| header.as_str()).collect();
            observations.merged_columns(&one.name, &together);
        }
        let places_of = |name: &String| (0..names.len()).filter(|place| names[*place] == *name).collect();
        let fallback = table
            .find(COMMENTS.0)
            .zip(table.find(COMMENTS.1))
            .filter(|(wanted, flat)| bound[wanted.index()].is_empty() && !bound[flat.index()].is_empty());
        Ok(Self {
            other: if with_other { other_columns(headers, &names) } else { Vec::new() },
            merged,
            maps: MapColumn::of(&names),
            known: bound,
            source: source_columns.iter().map(places_of).collect(),
            comment_fallback: fallback,
        })
    }

    /// The file's columns that are needed at all.
    pub(super) fn needed(&self, width: usize) -> Vec<bool> {
        let mut needed = vec![false; width];
        let maps = self.maps.iter().flat_map(|map| &map.places);
        let other = self.other.iter().map(|(_, _, place)| place);
        for place in self.known.iter().flatten().chain(self.source.iter().flatten()).chain(maps).chain(other)
        {
            needed[*place] = true;
        }
        needed
    }

    /// The file's columns that hold a known one.
    pub(super) fn places_of(&self, column: ColumnId) -> &[usize] {
        self.known.get(column.index()).map_or(&[], Vec::as_slice)
    }

    /// The billing period's start of each row.
    pub(super) fn period_starts(&self, rows: usize, file: &[Cells]) -> Cells {
        gather(self.places_of(known().well_known().period_start), rows, file)
    }

    /// Counts the rows in which columns that are one hold different values.
    pub(super) fn count_clashes(&self, rows: usize, file: &[Cells], observations: &mut Observations) {
        for one in &self.merged {
            let mut clashes: BTreeMap<(usize, usize), u64> = BTreeMap::new();
            for row in 0..rows {
                let cell = |place: usize| file[one.places[place].0].get(row);
                let mut filled = (0..one.places.len()).filter(|place| !cell(*place).is_empty());
                let Some(first) = filled.next() else { continue };
                if let Some(other) = filled.find(|place| cell(*place) != cell(first)) {
                    *clashes.entry((first, other)).or_default() += 1;
                }
            }
            for ((first, other), rows) in clashes {
                observations.clash(&one.name, &one.places[first].1, &one.places[other].1, rows);
            }
        }
    }

    /// The wanted columns, from the file's.
    pub(super) fn bind(
        &self,
        object: &str,
        rows: &Rows,
        file: &[Cells],
        maps: &mut MapReader,
    ) -> Result<Bound, SourceError> {
        let count = rows.count;
        let mut bound: Vec<Cells> = self.known.iter().map(|places| gather(places, count, file)).collect();
        let mut other: Vec<OtherColumn> = self
            .other
            .iter()
            .filter(|(_, _, place)| !file[*place].is_blank())
            .map(|(name, header, place)| OtherColumn {
                name: Arc::clone(name),
                header: Arc::clone(header),
                cells: file[*place].clone(),
            })
            .collect();
        for map in &self.maps {
            let cells = gather(&map.places, count, file);
            maps.expand(object, rows, map, &cells, &mut bound, &mut other)?;
        }
        if let Some((wanted, flat)) = self.comment_fallback {
            bound[wanted.index()] =
                first_filled(count, &[bound[wanted.index()].clone(), bound[flat.index()].clone()]);
        }
        let source = self.source.iter().map(|places| gather(places, count, file)).collect();
        Ok(Bound { known: bound, source, other })
    }
}

fn is_tag(name: &str) -> bool {
    ["resource_tags_", "cost_category_"].iter().any(|start| name.starts_with(start))
}

fn merged(headers: &[String], names: &[String]) -> Vec<Merged> {
    let mut by_name: BTreeMap<&String, Vec<(usize, String)>> = BTreeMap::new();
    for (place, name) in names.iter().enumerate() {
        by_name.entry(name).or_default().push((place, headers[place].clone()));
    }
    let several = by_name.into_iter().filter(|(_, places)| places.len() > 1);
    several.map(|(name, places)| Merged { name: name.clone(), places }).collect()
}

/// The columns that are neither known nor a map. One without a name can't be a column of anybody's.
fn other_columns(headers: &[String], names: &[String]) -> Vec<(Arc<str>, Arc<str>, usize)> {
    let unknown = |name: &String| !name.is_empty() && known().find(name).is_none() && !is_map(name);
    (0..names.len())
        .filter(|place| unknown(&names[*place]))
        .map(|place| (names[place].as_str().into(), slash_name(&headers[place]).into(), place))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str]) -> Cells {
        let mut column = Texts::default();
        texts.iter().for_each(|text| column.push(text.as_bytes()));
        Cells::Plain(Arc::new(column))
    }

    /// Name, header and cells of all columns beyond the known ones.
    fn others(file: &[(&str, [&str; 2])]) -> Vec<(String, String, Vec<String>)> {
        let required = known().well_known().required().map(|id| known().get(id).name.clone());
        let headers: Vec<String> =
            required.into_iter().chain(file.iter().map(|(header, _)| (*header).to_owned())).collect();
        let mut columns = vec![Cells::Blank; 6];
        columns.extend(file.iter().map(|(_, texts)| cells(texts)));
        let binding = Binding::new("o", &headers, &[], true, &mut Observations::default()).unwrap();
        let mut maps = MapReader::new(&headers, true);
        let bound =
            binding.bind("o", &Rows { first: 1, count: 2, offsets: None }, &columns, &mut maps).unwrap();
        let text = |cells: &Cells, row| String::from_utf8(cells.get(row).to_vec()).unwrap();
        let told = |column: OtherColumn| {
            assert_eq!(snake_name(column.header.as_bytes()), column.name.as_bytes(), "{}", column.header);
            assert!(known().find(&column.name).is_none(), "{}", column.name);
            let texts = (0..2).map(|row| text(&column.cells, row)).collect();
            (column.name.to_string(), column.header.to_string(), texts)
        };
        bound.other.into_iter().map(told).collect()
    }

    #[test]
    fn what_is_not_known_is_handed_out_by_name() {
        let found = others(&[
            ("resourceTags/user:CostCentre", ["a", "b"]),
            ("resource_tags_user_cost_centre", ["", "c"]),
            ("bill/BillType", ["Anniversary", ""]),
            ("", ["no", "name"]),
            ("discount", ["{\"edp_discount\":1,\"x y\":2}", "{}"]),
            (
                "resource_tags",
                ["{\"user_z\":\"1\",\"user_a\":\"\"}", "{\"user_a\":\"2\",\"user_cost_centre\":\"3\"}"],
            ),
            ("tags", ["{\"userAttribute/Team\":\"x\"}", ""]),
        ]);
        let expected = [
            ("resource_tags_user_cost_centre", "resourceTags/user:CostCentre", ["a", "b"]),
            ("resource_tags_user_cost_centre", "resourceTags/user_cost_centre", ["", "c"]),
            ("resource_tags_user_a", "resourceTags/user_a", ["", "2"]),
            ("resource_tags_user_z", "resourceTags/user_z", ["1", ""]),
            ("discount_x_y", "discount/x y", ["2", ""]),
            ("tags_user_attribute_team", "tags/userAttribute/Team", ["x", ""]),
        ];
        let expected = expected
            .map(|(name, header, texts)| (name.into(), header.into(), texts.map(str::to_owned).to_vec()));
        assert_eq!(found, expected);
    }
}
