//! Line items as CSV text.
//!
//! What comes in: rows. What goes out: lines of a legacy file or of a CUR 2.0 file. What it must never do: encode a
//! cell that hasn't changed since the last line again.

use super::amount::{write_exponent, write_plain};
use super::columns::{ALL, BLANK_IN_CUR2, Column, Place};
use super::row::{Cell, Row};
use apportion_model::Day;
use memchr::{memchr, memchr3};

/// A field of a line.
#[derive(Debug)]
enum Field {
    /// A column's cell.
    Cell(Column),
    /// A JSON object of those cells that aren't blank, by their keys.
    Map(Vec<(String, Column)>),
    /// Nothing.
    Blank,
}

/// Makes lines of one month's files.
#[derive(Debug)]
pub(super) struct Lines {
    fields: Vec<Field>,
    names: Vec<String>,
    is_cur2: bool,
    stamp: u64,
    /// What lies between the fields that vary, and where each such stretch ends.
    fixed: Vec<u8>,
    cuts: Vec<(usize, usize)>,
    json: Vec<u8>,
    /// Where a text that must be quoted is put together.
    plain: Vec<u8>,
}

impl Lines {
    /// Lines with these columns under their slash names.
    pub(super) fn legacy(columns: &[Column]) -> Self {
        let names = columns.iter().map(|column| column.header().unwrap_or_default()).collect();
        Self::new(columns.iter().map(|column| Field::Cell(*column)).collect(), names, false)
    }

    /// Lines with CUR 2.0's columns, the same in every month, in the order of their names.
    pub(super) fn cur2() -> Self {
        let mut fields: Vec<(String, Field)> =
            BLANK_IN_CUR2.iter().map(|(name, _)| ((*name).to_string(), Field::Blank)).collect();
        fields.push(("tags".to_string(), Field::Map(Vec::new())));
        for &column in ALL {
            match column.place() {
                Place::Flat => fields.push((column.snake(), Field::Cell(column))),
                Place::Map(map, key) => match fields.iter_mut().find(|(name, _)| name == map) {
                    Some((_, Field::Map(keys))) => keys.push((key, column)),
                    _ => fields.push((map.to_string(), Field::Map(vec![(key, column)]))),
                },
            }
        }
        fields.sort_by(|left, right| left.0.cmp(&right.0));
        let (names, fields) = fields.into_iter().unzip();
        Self::new(fields, names, true)
    }

    fn new(fields: Vec<Field>, names: Vec<String>, is_cur2: bool) -> Self {
        let (fixed, cuts) = (Vec::new(), Vec::new());
        Self { fields, names, is_cur2, stamp: u64::MAX, fixed, cuts, json: Vec::new(), plain: Vec::new() }
    }

    /// The header's names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Appends the header.
    pub(super) fn header(&self, out: &mut Vec<u8>) {
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            quote(out, name.as_bytes());
        }
        out.push(b'\n');
    }

    /// Appends a line item.
    pub(super) fn line(&mut self, row: &Row, out: &mut Vec<u8>) {
        if row.stamp() != self.stamp {
            self.prepare(row);
        }
        let mut from = 0;
        let cuts = std::mem::take(&mut self.cuts);
        for &(end, field) in &cuts {
            out.extend_from_slice(&self.fixed[from..end]);
            self.field(field, row, out);
            from = end;
        }
        self.cuts = cuts;
        out.extend_from_slice(&self.fixed[from..]);
    }

    /// Encodes what stays the same until the stamp changes.
    fn prepare(&mut self, row: &Row) {
        let mut fixed = std::mem::take(&mut self.fixed);
        fixed.clear();
        self.cuts.clear();
        for index in 0..self.fields.len() {
            if index > 0 {
                fixed.push(b',');
            }
            let varies = match &self.fields[index] {
                Field::Cell(column) => column.varies(),
                Field::Map(keys) => keys.iter().any(|(_, column)| column.varies()),
                Field::Blank => false,
            };
            if varies {
                self.cuts.push((fixed.len(), index));
            } else {
                self.field(index, row, &mut fixed);
            }
        }
        fixed.push(b'\n');
        self.fixed = fixed;
        self.stamp = row.stamp();
    }

    fn field(&mut self, index: usize, row: &Row, out: &mut Vec<u8>) {
        match &self.fields[index] {
            Field::Blank => {}
            Field::Cell(column) => match row.cell(*column) {
                Cell::Text(start, end) => quote(out, row.text(start, end).as_bytes()),
                cell => write_cell(out, cell, self.is_cur2),
            },
            Field::Map(keys) => {
                self.json.clear();
                self.json.push(b'{');
                for (key, column) in keys {
                    write_entry(&mut self.json, key, row, row.cell(*column), &mut self.plain);
                }
                self.json.push(b'}');
                quote(out, &self.json);
            }
        }
    }
}

/// Writes a number or a time; CUR 2.0 has other forms of both.
pub(super) fn write_cell(out: &mut Vec<u8>, cell: Cell, is_cur2: bool) {
    match cell {
        Cell::Number(value) if is_cur2 => write_exponent(out, value),
        Cell::Number(value) => write_plain(out, value),
        Cell::Moment(seconds) => {
            write_moment(out, seconds);
            out.extend_from_slice(if is_cur2 { b".000Z" } else { b"Z" });
        }
        Cell::Span(start, end) => {
            write_moment(out, start);
            out.extend_from_slice(b"Z/");
            write_moment(out, end);
            out.push(b'Z');
        }
        Cell::Blank | Cell::Text(..) => {}
    }
}

fn write_entry(json: &mut Vec<u8>, key: &str, row: &Row, cell: Cell, plain: &mut Vec<u8>) {
    if cell == Cell::Blank {
        return;
    }
    if json.len() > 1 {
        json.push(b',');
    }
    json.push(b'"');
    json.extend_from_slice(key.as_bytes());
    json.extend_from_slice(b"\":");
    match cell {
        Cell::Text(start, end) => {
            json.push(b'"');
            for &byte in row.text(start, end).as_bytes() {
                if matches!(byte, b'"' | b'\\') {
                    json.push(b'\\');
                }
                json.push(byte);
            }
            json.push(b'"');
        }
        cell => {
            plain.clear();
            write_cell(plain, cell, false);
            json.extend_from_slice(plain);
        }
    }
}

/// `2026-10-31T23:00:00`, without a zone.
fn write_moment(out: &mut Vec<u8>, seconds: i64) {
    let (year, month, day) = Day::EPOCH.plus(seconds.div_euclid(86_400) as i32).date();
    let second = seconds.rem_euclid(86_400) as u32;
    let mut text = *b"0000-00-00T00:00:00";
    let year = year as u32;
    for (at, number) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, second / 3600),
        (14, second / 60 % 60),
        (17, second % 60),
    ] {
        text[at] = b'0' + (number / 10 % 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    out.extend_from_slice(&text);
}

/// Writes a text, in quotes only where it needs them.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    if memchr3(b'"', b',', b'\n', text).is_none() {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
