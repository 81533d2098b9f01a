//! Small JSON objects of a target: manifests, proofs, pointers.
//!
//! What comes in: a place and a key below it. What goes out: the parsed object with its text, and differences from
//! what a field must be. What it must never do: follow a key out of its place, or trust a field.

use crate::error::AuditError;
use crate::place::{Place, PlaceErrorKind};
use apportion_model::ObjectKey;
use serde_json::Value;
use std::collections::HashSet;

const LARGEST: u64 = 512 << 20;
/// How many entries of one list are told apart; one that is missing moves all behind it.
const MOST_TOLD: usize = 3;

/// A JSON object and the text it was read from.
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) value: Value,
}

/// Why there is no document.
pub(crate) enum NoDocument {
    Missing,
    Unreadable(String),
}

impl Document {
    /// The document, or why there is none; an error is what keeps the place from being read.
    pub(crate) fn load(place: &dyn Place, key: &str) -> Result<Result<Self, NoDocument>, AuditError> {
        if let Err(cause) = ObjectKey::check_relative(key) {
            return Ok(Err(NoDocument::Unreadable(cause.to_string())));
        }
        Ok(match place.read(key, LARGEST) {
            Ok(None) => Err(NoDocument::Missing),
            Ok(Some(bytes)) => Self::parse(bytes).map_err(NoDocument::Unreadable),
            Err(cause) if !cause.is_obstacle() || cause.kind == PlaceErrorKind::Limit => {
                Err(NoDocument::Unreadable(cause.text))
            }
            Err(cause) => return Err(cause.into()),
        })
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|cause| cause.to_string())?;
        let value: Value = serde_json::from_str(&text).map_err(|cause| cause.to_string())?;
        if value.is_object() { Ok(Self { text, value }) } else { Err("is no JSON object".into()) }
    }
}

/// Compares an object's fields with what they must be, and remembers which were looked at.
pub(crate) struct Fields<'a> {
    value: &'a Value,
    looked_at: Vec<&'static str>,
    pub(crate) differences: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self { value, looked_at: Vec::new(), differences: Vec::new() }
    }

    /// The field as it is, if it is there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.looked_at.push(name);
        self.value.get(name)
    }

    /// The field must be exactly this.
    pub(crate) fn equals(&mut self, name: &'static str, expected: &Value) {
        let found = self.take(name);
        if found != Some(expected) {
            self.differ(name, expected, found);
        }
    }

    /// The field must be this text.
    pub(crate) fn text(&mut self, name: &'static str, expected: &str) {
        self.equals(name, &Value::from(expected));
    }

    /// The field must be exactly this list; each entry that differs is told.
    pub(crate) fn list(&mut self, name: &'static str, expected: Vec<Value>) {
        let found = self.take(name);
        let Some(list) = found.and_then(Value::as_array) else {
            return self.differ(name, &"a list", found);
        };
        if list.len() != expected.len() {
            let wanted = format!("{} entries", expected.len());
            self.differ(name, &wanted, Some(&Value::from(list.len())));
        }
        let mut told = 0;
        for (number, (wanted, found)) in expected.iter().zip(list).enumerate() {
            if wanted != found && told < MOST_TOLD {
                told += 1;
                self.differ(&format!("{name}[{number}]"), &short(wanted), Some(found));
            }
        }
    }

    /// The field must be some text.
    pub(crate) fn any_text(&mut self, name: &'static str) -> Option<&'a str> {
        let found = self.take(name);
        let text = found.and_then(Value::as_str).filter(|text| !text.is_empty());
        if text.is_none() {
            self.differ(name, &"a text", found);
        }
        text
    }

    pub(crate) fn differ(&mut self, name: &str, expected: &dyn std::fmt::Display, found: Option<&Value>) {
        let found = found.map_or_else(|| "nothing".into(), short);
        self.differences.push(format!("{name}: expected {expected}, found {found}"));
    }

    /// Fields that the delivery format doesn't name.
    pub(crate) fn unknown(&mut self) {
        if let Some(fields) = self.value.as_object() {
            for name in fields.keys().filter(|name| !self.looked_at.contains(&name.as_str())) {
                self.differences.push(format!("{name}: a field that the delivery format doesn't name"));
            }
        }
    }
}

/// A value as text, cut to a readable length.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 200 { text } else { text.chars().take(200).chain("…".chars()).collect() }
}

/// Ids of others that stand in a text as whole runs of digits. Shorter ids would be met by chance, in counts.
pub(crate) fn ids_in(text: &str, is_foreign: impl Fn(&[u8]) -> bool) -> Vec<String> {
    const SHORTEST: usize = 10;
    let bytes = text.as_bytes();
    let (mut found, mut seen, mut at) = (Vec::new(), HashSet::new(), 0);
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if length == 0 {
            at += 1;
            continue;
        }
        let end = at + length;
        // Digits beside letters are part of a hash or a name.
        let beside = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphabetic);
        let joined = (at > 0 && beside(bytes.get(at - 1))) || beside(bytes.get(end));
        if !joined && length >= SHORTEST && is_foreign(&bytes[at..end]) && seen.insert(&bytes[at..end]) {
            found.push(text[at..end].to_owned());
        }
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_compared_and_counted() {
        let value = json!({"a": "x", "b": 2, "c": true});
        let mut fields = Fields::new(&value);
        fields.text("a", "x");
        fields.equals("b", &json!(3));
        fields.any_text("d");
        fields.unknown();
        assert_eq!(
            fields.differences,
            [
                "b: expected 3, found 2",
                "d: expected a text, found nothing",
                "c: a field that the delivery format doesn't name"
            ]
        );
    }

    #[test]
    fn ids_are_whole_runs_of_digits() {
        let foreign = |id: &[u8]| id == b"222222222222" || id == b"7";
        assert_eq!(ids_in(r#"{"a":"x/222222222222/y","b":222222222222}"#, foreign), ["222222222222"]);
        assert_eq!(ids_in("1222222222222 a222222222222 222222222222f 7", foreign), Vec::<String>::new());
    }
}
