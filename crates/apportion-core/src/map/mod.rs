//! CUR 2.0's maps: `product`, `resource_tags`, `cost_category` and `discount` as JSON text in one cell.
//!
//! What comes in: the text of a cell. What goes out: its keys and values. What it must never do: take a text
//! that isn't a JSON object for an empty one.

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
    use super::read_map;

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
}
