//! Lines as `push_row` writes them, found without taking them apart.
//!
//! What comes in: text that begins and ends with whole lines. What goes out: each line as it stands, and where one cell
//! of it is. What it must never do: take a line for good that the plain reader reads otherwise, or that its cells
//! would not make.

use super::{CsvError, CsvProblem, Limits, split_records};
use memchr::{memchr, memchr_iter, memchr2, memchr3};
use std::borrow::Cow;
use std::ops::Range;

/// Why a line isn't the one that its cells make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// The plain reader can't read it either.
    #[error("the record {0}")]
    Record(#[from] CsvProblem),
    /// The text ends before the line does.
    #[error("it doesn't end with a line feed")]
    NoLineEnd,
    /// There is a blank line, which readers skip.
    #[error("a line is blank")]
    Blank,
    /// A cell that isn't quoted as a whole holds a quote.
    #[error("there is a quote inside a cell that isn't quoted")]
    QuoteInside,
    /// A cell is quoted that would be the same without.
    #[error("a cell is quoted that needs no quotes")]
    NeedlessQuotes,
}

/// A line of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalLine<'a> {
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
    /// The cell that was asked for, as it stands; blank where none was.
    pub cell: &'a [u8],
}

/// The lines of a text, one by one.
#[derive(Debug)]
pub struct CanonicalLines<'a> {
    text: &'a [u8],
    width: usize,
    wanted: Option<usize>,
    limits: Limits,
}

impl<'a> CanonicalLines<'a> {
    /// Lines of `width` cells. `wanted` is the place of the cell that is to be told of each, from 0.
    pub fn new(text: &'a [u8], width: usize, wanted: Option<usize>) -> Self {
        Self { text, width, wanted, limits: Limits::default() }
    }

    /// The next line; None at the end.
    ///
    /// # Errors
    /// A line that isn't exactly as its cells make it. What follows is not to be asked for.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<CanonicalLine<'a>>, LineProblem> {
        let text = self.text;
        if text.is_empty() {
            return Ok(None);
        }
        let scanned = scan(text, self.wanted)?;
        let bytes = &text[..scanned.end];
        if bytes.is_empty() {
            return Err(LineProblem::Blank);
        }
        let (expected, found) = (self.width, scanned.commas + 1);
        if found != expected {
            return Err(CsvProblem::Ragged { expected, found }.into());
        }
        if bytes.len() > self.limits.field {
            check_limits(&text[..=scanned.end], &self.limits)?;
        }
        self.text = &text[scanned.end + 1..];
        Ok(Some(CanonicalLine { bytes, cell: &bytes[scanned.cell] }))
    }
}

/// The bytes of a cell that stands quoted or not.
pub fn unquoted(cell: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = cell.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(cell);
    };
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(quote) = memchr(b'"', rest) {
        plain.extend_from_slice(&rest[..=quote]);
        rest = rest.get(quote + 2..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

struct Scanned {
    /// Where the line feed stands.
    end: usize,
    /// Commas outside quotes.
    commas: usize,
    /// The cell that was asked for.
    cell: Range<usize>,
}

/// Goes over the text's first line.
fn scan(text: &[u8], wanted: Option<usize>) -> Result<Scanned, LineProblem> {
    let (mut at, mut commas, mut cell) = (0, 0, 0..0);
    loop {
        // What is outside quotes reaches from here to the next quote or the end of the line.
        let length = memchr3(b'\n', b'"', b'\r', &text[at..]).ok_or(LineProblem::NoLineEnd)?;
        let found = at + length;
        let plain = &text[at..found];
        let counted = commas_in(plain);
        if let Some(place) = wanted.filter(|place| (commas..=commas + counted).contains(place))
            && let Some(start) = start_of(plain, place - commas, at)
        {
            cell = start..cell_end(text, start)?;
        }
        commas += counted;
        match text[found] {
            b'\n' => return Ok(Scanned { end: found, commas, cell }),
            b'\r' => return Err(CsvProblem::BareReturn.into()),
            _ if found > 0 && (length == 0 || text[found - 1] != b',') => {
                return Err(LineProblem::QuoteInside);
            }
            _ => at = behind_quotes(text, found)?,
        }
        match text.get(at) {
            Some(b'\n') => return Ok(Scanned { end: at, commas, cell }),
            Some(b',') => {}
            Some(_) => return Err(CsvProblem::TextBehindQuote.into()),
            None => return Err(LineProblem::NoLineEnd),
        }
    }
}

/// Where the cell behind so many commas of a plain stretch begins. The stretch begins at `at`: the line's start, or what
/// stands behind a closing quote, where no cell begins.
fn start_of(plain: &[u8], behind: usize, at: usize) -> Option<usize> {
    match behind.checked_sub(1) {
        None => (at == 0).then_some(0),
        Some(nth) => memchr_iter(b',', plain).nth(nth).map(|comma| at + comma + 1),
    }
}

/// Where a cell ends that begins at `start`.
fn cell_end(text: &[u8], start: usize) -> Result<usize, LineProblem> {
    if text.get(start) == Some(&b'"') {
        return behind_quotes(text, start);
    }
    memchr2(b',', b'\n', &text[start..]).map(|length| start + length).ok_or(LineProblem::NoLineEnd)
}

/// Where a quoted cell ends, which needs its quotes.
fn behind_quotes(text: &[u8], quote: usize) -> Result<usize, LineProblem> {
    let mut from = quote + 1;
    let mut needed = false;
    loop {
        let length = memchr(b'"', &text[from..]).ok_or(CsvProblem::UnclosedQuote)?;
        let end = from + length;
        needed = needed || memchr3(b',', b'\n', b'\r', &text[from..end]).is_some();
        if text.get(end + 1) != Some(&b'"') {
            return if needed { Ok(end + 1) } else { Err(LineProblem::NeedlessQuotes) };
        }
        needed = true;
        from = end + 2;
    }
}

/// Counts in bytes that can't overflow, and says so: only then the compiler makes vectors of it in every build.
#[inline]
fn commas_in(text: &[u8]) -> usize {
    let count = |part: &[u8]| part.iter().fold(0u8, |sum, byte| sum.wrapping_add(u8::from(*byte == b',')));
    text.chunks(128).map(|part| usize::from(count(part))).sum()
}

/// A line that is long enough to break a limit is left to the plain reader.
#[cold]
fn check_limits(line: &[u8], limits: &Limits) -> Result<(), LineProblem> {
    let mut bounds = Vec::new();
    match split_records(&mut line.to_vec(), 0, true, 0, 1, limits, &mut bounds) {
        Ok(_) => Ok(()),
        Err(CsvError { problem, .. }) => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::push_row;
    use proptest::prelude::*;

    type Rows = Vec<Vec<Vec<u8>>>;
    /// A line and the cell that was asked for.
    type Line = (Vec<u8>, Vec<u8>);

    /// The lines, each with the cell at a place.
    fn lines(text: &[u8], width: usize, wanted: Option<usize>) -> Result<Vec<Line>, LineProblem> {
        let mut lines = CanonicalLines::new(text, width, wanted);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line()? {
            all.push((line.bytes.to_vec(), unquoted(line.cell).into_owned()));
        }
        Ok(all)
    }

    fn plain(text: &[u8], width: usize) -> Result<Rows, CsvError> {
        let mut bytes = text.to_vec();
        let mut bounds = Vec::new();
        let split = split_records(&mut bytes, 0, true, width, usize::MAX, &Limits::default(), &mut bounds)?;
        assert_eq!(split.consumed, text.len());
        let cell = |(from, to): &(u32, u32)| bytes[*from as usize..*to as usize].to_vec();
        Ok(bounds.chunks(width).map(|record| record.iter().map(cell).collect()).collect())
    }

    fn encoded(row: &[Vec<u8>]) -> Vec<u8> {
        let mut line = Vec::new();
        push_row(&mut line, row.iter().map(Vec::as_slice));
        line
    }

    fn text_of(rows: &Rows) -> Vec<u8> {
        rows.iter().flat_map(|row| [encoded(row), b"\n".to_vec()].concat()).collect()
    }

    #[test]
    fn each_defect_is_told() {
        let ragged = |found| LineProblem::Record(CsvProblem::Ragged { expected: 2, found });
        for (text, problem) in [
            ("a,b\n1\n", ragged(1)),
            ("1,2,3\n", ragged(3)),
            ("1,\"2,\",3\n", ragged(3)),
            ("1,2", LineProblem::NoLineEnd),
            ("1,\"2,\"", LineProblem::NoLineEnd),
            ("\n", LineProblem::Blank),
            ("1,2\n\n1,2\n", LineProblem::Blank),
            ("1,2\r\n", LineProblem::Record(CsvProblem::BareReturn)),
            ("1\r,2\n", LineProblem::Record(CsvProblem::BareReturn)),
            ("1,2\"\n", LineProblem::QuoteInside),
            ("1\",\",2\n", LineProblem::QuoteInside),
            ("1,\"2\"\n", LineProblem::NeedlessQuotes),
            ("\"\",2\n", LineProblem::NeedlessQuotes),
            ("1,\"2,\n", LineProblem::Record(CsvProblem::UnclosedQuote)),
            ("1,\"2,\"3\n", LineProblem::Record(CsvProblem::TextBehindQuote)),
            ("1,\"2,\"\r\n", LineProblem::Record(CsvProblem::TextBehindQuote)),
        ] {
            assert_eq!(lines(text.as_bytes(), 2, Some(1)).unwrap_err(), problem, "{text:?}");
        }
        assert_eq!(lines(b"\n", 1, None).unwrap_err(), LineProblem::Blank);
        assert_eq!(lines(b"", 2, None), Ok(vec![]));
    }

    #[test]
    fn limits_are_the_plain_readers() {
        let cell = vec![b'x'; Limits::default().field + 1];
        let text = [&cell[..], b",\n"].concat();
        let problem = CsvProblem::FieldTooLong(Limits::default().field);
        assert_eq!(lines(&text, 2, None).unwrap_err(), LineProblem::Record(problem));
        let text = [&cell[..1 << 19], b",", &cell[1 << 19..], b"\n"].concat();
        assert_eq!(lines(&text, 2, Some(0)).unwrap()[0].1, &cell[..1 << 19]);
        let text = [&cell[1..], b","].concat().repeat(17);
        let found = lines(&[&text[..], b"\n"].concat(), 18, None).unwrap_err();
        assert_eq!(found, LineProblem::Record(CsvProblem::RecordTooLong(Limits::default().record)));
    }

    fn cells() -> impl Strategy<Value = Rows> {
        let cell = prop_oneof![
            4 => "[a-c\",\n\r 0-9]{0,6}",
            1 => "[a-c, ]{120,270}",
            1 => "[\",]{0,9}",
        ];
        prop::collection::vec(prop::collection::vec(cell.prop_map(String::into_bytes), 4), 0..6)
    }

    proptest! {
        #[test]
        fn what_cells_make_is_canonical(rows in cells(), wanted in 0usize..4) {
            let found = lines(&text_of(&rows), 4, Some(wanted));
            let expected: Vec<_> = rows.iter().map(|row| (encoded(row), row[wanted].clone())).collect();
            prop_assert_eq!(found, Ok(expected));
        }

        /// Whatever is taken for good, the plain reader reads as the same rows, and their cells make the same lines.
        #[test]
        fn nothing_else_is(
            rows in cells(),
            wanted in 0usize..4,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, prop::sample::select(b"\",\n\ra".to_vec())), 1..4),
        ) {
            let mut text = text_of(&rows);
            for (at, kind, byte) in changes {
                let at = at.index(text.len() + 1);
                match kind {
                    0 => text.insert(at, byte),
                    1 if at < text.len() => text[at] = byte,
                    _ if at < text.len() => drop(text.remove(at)),
                    _ => text.truncate(at),
                }
            }
            let read = plain(&text, 4);
            match lines(&text, 4, Some(wanted)) {
                Ok(found) => {
                    let read = read.unwrap();
                    let expected: Vec<_> = read.iter().map(|row| (encoded(row), row[wanted].clone())).collect();
                    prop_assert_eq!(found, expected);
                }
                // And what is refused is not what the cells make.
                Err(problem) => {
                    if let Ok(read) = read {
                        prop_assert!(text_of(&read) != text, "{problem}");
                    }
                }
            }
        }
    }
}
