//! CUR 2.0's maps: `product`, `resource_tags`, `cost_category`, `discount` and `tags` as JSON text in one cell.
//!
//! What comes in: the text of a cell, or the entries of a Parquet map. What goes out: its keys and values, or its
//! text. What it must never do: take a text that isn't a JSON object for an empty one.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Reads a map. Blank, `{}` and `null` are empty. A number or boolean gives its JSON text, null gives blank.
///
/// # Errors
/// What is wrong with the text: not a JSON object, or a value that is a list or an object.
pub fn read_map(cell: &[u8]) -> Result<Vec<(String, String)>, String> {
    if cell.is_empty() || cell == b"null" {
        return Ok(Vec::new());
    }
    let mut reader = serde_json::Deserializer::from_slice(cell);
    let pairs = reader.deserialize_map(Pairs).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(pairs)
}

/// Writes a map's text entry by entry: keys in the order given, no spaces, as CUR 2.0's CSV has it.
#[derive(Debug)]
pub struct MapText<'a> {
    out: &'a mut Vec<u8>,
    filled: bool,
}

impl<'a> MapText<'a> {
    /// A map that is appended to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, filled: false }
    }

    /// A key with a text.
    pub fn text(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        push_json(self.out, value);
    }

    /// A key with a number or boolean, whose text is JSON.
    pub fn bare(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(value);
    }

    /// Ends the map.
    pub fn finish(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &[u8]) {
        if std::mem::replace(&mut self.filled, true) {
            self.out.push(b',');
        }
        push_json(self.out, key);
        self.out.push(b':');
    }
}

/// A JSON string; bytes that are no UTF-8 become the replacement character.
fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    // Strings have no keys that could fail, and a Vec takes everything.
    let _ = serde_json::to_writer(out, text.as_ref());
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(serde::de::Error::custom(format!("the value of key {key:?} is not a text")));
                }
            };
            pairs.push((key, text));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::{MapText, read_map};

    #[test]
    fn forms_of_maps() {
        for empty in ["", "{}", "null", " { } "] {
            assert_eq!(read_map(empty.as_bytes()), Ok(vec![]), "{empty:?}");
        }
        let pairs = read_map(br#"{"product_name":"AWS \"X\", Inc.","vcpu":2,"n":null,"b":true}"#).unwrap();
        let expected = [("product_name", "AWS \"X\", Inc."), ("vcpu", "2"), ("n", ""), ("b", "true")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        for bad in ["{", "[]", "x", "{\"a\":{}}", "{} x", "\"a\"", "{\"a\":[1]}"] {
            assert!(read_map(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut text = b"before ".to_vec();
        let mut map = MapText::new(&mut text);
        map.text("b \"ä\"".as_bytes(), b"x\n\\");
        map.text(b"a", b"");
        map.bare(b"n", b"-0.5");
        map.finish();
        let written = &text[7..];
        assert_eq!(std::str::from_utf8(written).unwrap(), r#"{"b \"ä\"":"x\n\\","a":"","n":-0.5}"#);
        let expected = [("b \"ä\"", "x\n\\"), ("a", ""), ("n", "-0.5")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read_map(written).unwrap(), expected);
        let mut empty = Vec::new();
        MapText::new(&mut empty).finish();
        assert_eq!(empty, b"{}");
    }
}
