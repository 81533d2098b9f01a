//! Reads the maps of CUR 2.0: a JSON object in a cell.
//!
//! What comes in: the cell's bytes. What goes out: key and text of each entry. What it must never do: reformat a
//! number (its text is what is delivered), or take a broken object for an empty one.

/// Calls `entry` for each key and value text of a JSON object; blank, `{}` and `null` have none.
pub(crate) fn read(text: &[u8], mut entry: impl FnMut(&[u8], &[u8])) -> Result<(), &'static str> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    if scanner.at == text.len() {
        return Ok(());
    }
    if scanner.takes(b"null") {
        return scanner.end();
    }
    scanner.expect(b'{')?;
    scanner.skip_space();
    if scanner.takes(b"}") {
        return scanner.end();
    }
    let (mut key, mut value) = (Vec::new(), Vec::new());
    loop {
        scanner.skip_space();
        key.clear();
        scanner.string(&mut key)?;
        scanner.skip_space();
        scanner.expect(b':')?;
        scanner.skip_space();
        value.clear();
        scanner.value(&mut value)?;
        entry(&key, &value);
        scanner.skip_space();
        if scanner.takes(b"}") {
            return scanner.end();
        }
        scanner.expect(b',')?;
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

const BROKEN: &str = "is not a JSON object";

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.takes(&[byte]) { Ok(()) } else { Err(BROKEN) }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(BROKEN) }
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        self.expect(b'"')?;
        loop {
            let byte = self.peek().ok_or(BROKEN)?;
            self.at += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.escape(out)?,
                0..=0x1f => return Err(BROKEN),
                _ => out.push(byte),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mark = self.peek().ok_or(BROKEN)?;
        self.at += 1;
        out.push(match mark {
            b'"' | b'\\' | b'/' => mark,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode(out),
            _ => return Err(BROKEN),
        });
        Ok(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut code = self.four_digits()?;
        if (0xd800..0xdc00).contains(&code) {
            if !self.takes(b"\\u") {
                return Err(BROKEN);
            }
            let low = self.four_digits()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(BROKEN);
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        let letter = char::from_u32(code).ok_or(BROKEN)?;
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(BROKEN)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, digit| {
            char::from(*digit).to_digit(16).map(|digit| code * 16 + digit).ok_or(BROKEN)
        })
    }

    /// The text of a value: a string's own, blank for null, and otherwise as it is written.
    fn value(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self.peek().ok_or(BROKEN)? {
            b'"' => self.string(out),
            b'{' | b'[' => self.nested(out),
            _ => {
                let rest = &self.text[self.at..];
                let length = rest
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
                    .count();
                self.at += length;
                match &rest[..length] {
                    b"null" => {}
                    word @ (b"true" | b"false") => out.extend_from_slice(word),
                    number if is_json_number(number) => out.extend_from_slice(number),
                    _ => return Err(BROKEN),
                }
                Ok(())
            }
        }
    }

    /// An object or list inside a map isn't a CUR's; its JSON text is passed on as it stands.
    fn nested(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let start = self.at;
        let mut depth = 0usize;
        let mut ignored = Vec::new();
        loop {
            match self.peek().ok_or(BROKEN)? {
                b'"' => {
                    ignored.clear();
                    self.string(&mut ignored)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                out.extend_from_slice(&self.text[start..self.at]);
                return Ok(());
            }
        }
    }
}

fn is_json_number(text: &[u8]) -> bool {
    text.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-')
        && text.iter().any(u8::is_ascii_digit)
        && text.iter().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut found = Vec::new();
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        read(text.as_bytes(), |key, value| found.push((lossy(key), lossy(value)))).map(|()| found)
    }

    #[test]
    fn values_keep_their_text() {
        let found = entries(
            r#" {"a":"x \"y\" \u00e4\ud83d\ude00\/", "b":1.50e1,"c":true,"d":null,"e":{"f":["}"]}} "#,
        );
        let texts: Vec<_> = found.unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(texts, ["x \"y\" ä😀/", "1.50e1", "true", "", r#"{"f":["}"]}"#]);
        for empty in ["", "{}", "null", " { } "] {
            assert_eq!(entries(empty).unwrap(), [], "{empty}");
        }
    }

    #[test]
    fn a_broken_object_is_not_an_empty_one() {
        for broken in [
            "{",
            "[]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1} x",
            "\"a\"",
            "{\"a\":\"\\ud800\"}",
            "{'a':1}",
            "nul",
        ] {
            assert!(entries(broken).is_err(), "{broken}");
        }
    }
}
