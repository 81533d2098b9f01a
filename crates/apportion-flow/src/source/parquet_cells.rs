use super::parquet_numbers::Repeated;
use apportion_core::line_item::{Cells, Texts};
use apportion_core::map::MapText;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, StringArray};
use arrow_schema::DataType;
use std::sync::Arc;

/// A value that can't be a cell.
pub(super) struct CellProblem {
    /// Its row in the batch.
    pub(super) row: usize,
    pub(super) text: String,
}

/// A column's type as a schema names it; None for one that isn't read.
pub(super) fn kind_of(kind: &DataType) -> Option<&'static str> {
    Some(match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary | DataType::Null => {
            "string"
        }
        DataType::Boolean => "boolean",
        DataType::Float32 | DataType::Float64 => "double",
        DataType::Date32 | DataType::Timestamp(..) => "timestamp",
        integer if integer.is_integer() => "integer",
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(pair) => {
                kind_of(pair.get(1)?.data_type()).filter(|kind| !matches!(*kind, "map" | "struct"))?;
                "map"
            }
            _ => return None,
        },
        DataType::Struct(fields) => {
            let flat = |kind| matches!(kind_of(kind), Some(kind) if kind != "map" && kind != "struct");
            if !fields.iter().all(|field| flat(field.data_type())) {
                return None;
            }
            "struct"
        }
        _ => return None,
    })
}

/// Every value as the text that CSV would have: docs/delivery-format.md, section 1.
pub(super) fn texts_of(array: &ArrayRef) -> Result<Texts, CellProblem> {
    match array.data_type() {
        DataType::Utf8 => Ok(strings(array.as_string::<i32>())),
        DataType::LargeUtf8 => Ok(each(array, |row| array.as_string::<i64>().value(row).as_bytes())),
        DataType::Binary => Ok(each(array, |row| array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Ok(each(array, |row| array.as_binary::<i64>().value(row))),
        DataType::Boolean => {
            Ok(each(array, |row| if array.as_boolean().value(row) { &b"true"[..] } else { &b"false"[..] }))
        }
        DataType::Float32 => numbers::<Float32Type>(array, |value| (value.is_finite(), value == 0f32)),
        DataType::Int8 => numbers::<Int8Type>(array, |_| (true, false)),
        DataType::Int16 => numbers::<Int16Type>(array, |_| (true, false)),
        DataType::Int32 => numbers::<Int32Type>(array, |_| (true, false)),
        DataType::Int64 => numbers::<Int64Type>(array, |_| (true, false)),
        DataType::UInt8 => numbers::<UInt8Type>(array, |_| (true, false)),
        DataType::UInt16 => numbers::<UInt16Type>(array, |_| (true, false)),
        DataType::UInt32 => numbers::<UInt32Type>(array, |_| (true, false)),
        DataType::UInt64 => numbers::<UInt64Type>(array, |_| (true, false)),
        DataType::Float64 | DataType::Date32 | DataType::Timestamp(..) => repeated(array),
        DataType::Null => Ok(each(array, |_| &[])),
        DataType::Map(..) => map_texts(array),
        DataType::Struct(_) => struct_texts(array),
        other => Err(CellProblem { row: 0, text: format!("the column has type {other}, which no CUR has") }),
    }
}

/// Whether a value's text is JSON as it is.
fn is_bare(kind: &DataType) -> bool {
    matches!(kind_of(kind), Some("double" | "integer" | "boolean"))
}

/// A map's text is a JSON object, as CUR 2.0 has it in CSV; a key whose value is null isn't there.
fn map_texts(array: &ArrayRef) -> Result<Texts, CellProblem> {
    let maps = array.as_map();
    let (keys, values) = (texts_of(maps.keys())?, maps.values());
    let bare = is_bare(values.data_type());
    let offsets = maps.value_offsets();
    let row_of = |entry: usize| offsets.partition_point(|offset| *offset as usize <= entry).saturating_sub(1);
    let value_texts =
        texts_of(values).map_err(|problem| CellProblem { row: row_of(problem.row), ..problem })?;
    let mut texts = Texts::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(&[]);
            continue;
        }
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        texts.push_with(|bytes| {
            let mut map = MapText::new(bytes);
            for entry in (start..end).filter(|entry| !values.is_null(*entry)) {
                let (key, value) = (keys.get(entry), value_texts.get(entry));
                if bare { map.bare(key, value) } else { map.text(key, value) }
            }
            map.finish();
        });
    }
    Ok(texts)
}

/// A struct's text is that of a map of its fields.
fn struct_texts(array: &ArrayRef) -> Result<Texts, CellProblem> {
    let group = array.as_struct();
    let mut columns = Vec::with_capacity(group.num_columns());
    for (field, cells) in group.fields().iter().zip(group.columns()) {
        columns.push((field.name(), is_bare(field.data_type()), cells, texts_of(cells)?));
    }
    let mut texts = Texts::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(&[]);
            continue;
        }
        texts.push_with(|bytes| {
            let mut map = MapText::new(bytes);
            for (name, bare, _, cells) in columns.iter().filter(|(_, _, cells, _)| !cells.is_null(row)) {
                let (key, value) = (name.as_bytes(), cells.get(row));
                if *bare { map.bare(key, value) } else { map.text(key, value) }
            }
            map.finish();
        });
    }
    Ok(texts)
}

/// Strings as they lie in memory.
fn strings(array: &StringArray) -> Texts {
    let offsets = array.value_offsets();
    // A null could have bytes, though no reader leaves it any.
    let is_blank = |row: usize| offsets.get(row) == offsets.get(row + 1);
    if array.nulls().is_some_and(|nulls| (0..array.len()).any(|row| nulls.is_null(row) && !is_blank(row))) {
        let mut texts = Texts::default();
        array.iter().for_each(|text| texts.push(text.unwrap_or_default().as_bytes()));
        return texts;
    }
    let (first, rest) = offsets.split_first().unwrap_or((&0, &[]));
    let end = rest.last().unwrap_or(first);
    let bytes = array.value_data().get(*first as usize..*end as usize).unwrap_or_default().to_vec();
    Texts::from_ends(bytes, rest.iter().map(|end| (end - first) as u32).collect())
}

/// The text of each value of a part of a map or struct.
fn repeated(array: &ArrayRef) -> Result<Texts, CellProblem> {
    match Repeated::default().cells_of(array).unwrap_or(Ok(Cells::Blank))? {
        Cells::Plain(texts) => Ok(Arc::unwrap_or_clone(texts)),
        cells => {
            let mut texts = Texts::default();
            (0..array.len()).for_each(|row| texts.push(cells.get(row)));
            Ok(texts)
        }
    }
}

fn each<'a>(array: &ArrayRef, value: impl Fn(usize) -> &'a [u8]) -> Texts {
    let mut texts = Texts::default();
    for row in 0..array.len() {
        texts.push(if array.is_null(row) { &[] } else { value(row) });
    }
    texts
}

/// `Display` of a float is its shortest round-trip decimal, in plain notation; only `-0` needs care.
fn numbers<T>(array: &ArrayRef, look: impl Fn(T::Native) -> (bool, bool)) -> Result<Texts, CellProblem>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    use std::io::Write;
    let values = array.as_primitive::<T>();
    let mut texts = Texts::default();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(&[]);
            continue;
        }
        let value = values.value(row);
        match look(value) {
            (false, _) => return Err(CellProblem { row, text: format!("{value} is not a finite number") }),
            (_, true) => texts.push(b"0"),
            _ => texts.push_with(|bytes| {
                // Writing to a Vec can't fail.
                let _ = write!(bytes, "{value}");
            }),
        }
    }
    Ok(texts)
}
