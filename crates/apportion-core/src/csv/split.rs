use super::scan::Scanner;
use memchr::{memchr, memchr3};

/// What a reader accepts before it calls the input hostile.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one field.
    pub field: usize,
    /// Bytes of one record.
    pub record: usize,
    /// Fields of one record.
    pub columns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { field: 1 << 20, record: 16 << 20, columns: 4096 }
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvProblem {
    /// The record has another number of fields than the header.
    #[error("has {found} fields where the header has {expected}")]
    Ragged {
        /// Fields of the header.
        expected: usize,
        /// Fields of the record.
        found: usize,
    },
    /// The file ends inside a quoted field.
    #[error("ends inside a quoted field")]
    UnclosedQuote,
    /// Something stands between a closing quote and the next comma or line end.
    #[error("has text behind a closing quote")]
    TextBehindQuote,
    /// A carriage return stands outside quotes without a line feed behind it.
    #[error("has a carriage return outside quotes that ends no line")]
    BareReturn,
    /// A field is longer than the limit.
    #[error("has a field of more than {0} bytes")]
    FieldTooLong(usize),
    /// A record is longer than the limit.
    #[error("is longer than {0} bytes")]
    RecordTooLong(usize),
    /// A record has more fields than the limit.
    #[error("has more than {0} fields")]
    TooManyFields(usize),
}

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvError {
    /// Which of the records of this call, from 0.
    pub record: usize,
    /// What is wrong with it.
    pub problem: CsvProblem,
}

/// What one call has split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Where the bytes end that belong to whole records (or blank lines) and are done with.
    pub consumed: usize,
    /// Records found.
    pub records: usize,
}

/// What ends a field, and where the next field or record begins.
enum FieldEnd {
    Comma(usize),
    Line(usize),
    NeedMore,
}

/// Splits the whole records of `bytes` from `start` on, at most `most` of them, and appends the bounds of their
/// fields. Quoted fields are unquoted in place. A record that isn't whole is left untouched, unless `at_end` says
/// that no more bytes will come.
///
/// `width` is the number of fields that each record must have; 0 takes the first record's. Bounds and what is
/// consumed count from the beginning of `bytes`, of which there are less than 4 GiB.
///
/// # Errors
/// A record that isn't RFC 4180, has another number of fields, or breaks a limit.
pub fn split_records(
    bytes: &mut [u8],
    start: usize,
    at_end: bool,
    width: usize,
    most: usize,
    limits: &Limits,
    bounds: &mut Vec<(u32, u32)>,
) -> Result<Split, CsvError> {
    let mut state = Splitter { bytes, at_end, limits, doubled: Vec::new() };
    let mut scanner = Scanner::new();
    let mut split = Split { consumed: start, records: 0 };
    let mut width = width;
    while split.records < most && split.consumed < state.bytes.len() {
        if let Some(length) = state.blank_line(split.consumed) {
            split.consumed += length;
            continue;
        }
        let before = bounds.len();
        if (1..=limits.columns).contains(&width)
            && let Some(end) = state.scanned(&mut scanner, split.consumed, width, bounds)
        {
            split.consumed = end;
            split.records += 1;
            continue;
        }
        let fail = |problem| CsvError { record: split.records, problem };
        match state.record(split.consumed, bounds).map_err(fail)? {
            Some(end) => {
                let found = bounds.len() - before;
                if width == 0 {
                    width = found;
                } else if found != width {
                    return Err(fail(CsvProblem::Ragged { expected: width, found }));
                }
                split.consumed = end;
                split.records += 1;
            }
            None => {
                bounds.truncate(before);
                break;
            }
        }
    }
    Ok(split)
}

struct Splitter<'a> {
    bytes: &'a mut [u8],
    at_end: bool,
    limits: &'a Limits,
    /// Fields of the present record with doubled quotes in them, by their place among its fields.
    doubled: Vec<usize>,
}

impl Splitter<'_> {
    /// The length of a blank line at `start`, which is no record.
    fn blank_line(&self, start: usize) -> Option<usize> {
        match self.bytes.get(start..start + 2) {
            Some([b'\r', b'\n']) => Some(2),
            _ => (self.bytes.get(start) == Some(&b'\n')).then_some(1),
        }
    }

    /// One record as the scanner finds it, and where the next begins; None, and nothing done, where it can't tell.
    fn scanned(
        &mut self,
        scanner: &mut Scanner,
        start: usize,
        width: usize,
        bounds: &mut Vec<(u32, u32)>,
    ) -> Option<usize> {
        self.doubled.clear();
        let before = bounds.len();
        bounds.resize(before + width, (0, 0));
        let slots = bounds.get_mut(before..)?;
        let end = scanner.record(self.bytes, start, self.limits, slots, &mut self.doubled);
        match end {
            Some(_) => self.undouble(slots),
            None => {
                bounds.truncate(before);
                *scanner = Scanner::new();
            }
        }
        end
    }

    /// One record: its fields' bounds, and where the next begins. None where the bytes end before it does.
    fn record(&mut self, start: usize, bounds: &mut Vec<(u32, u32)>) -> Result<Option<usize>, CsvProblem> {
        self.doubled.clear();
        let first = bounds.len();
        let mut position = start;
        loop {
            if bounds.len() - first >= self.limits.columns {
                return Err(CsvProblem::TooManyFields(self.limits.columns));
            }
            let (from, to, end) = match self.bytes.get(position) {
                Some(b'"') => self.quoted(position, bounds.len() - first)?,
                Some(b',') => (position, position, FieldEnd::Comma(position + 1)),
                _ => self.unquoted(position)?,
            };
            if to.saturating_sub(from) > self.limits.field {
                return Err(CsvProblem::FieldTooLong(self.limits.field));
            }
            if to.saturating_sub(start) > self.limits.record {
                return Err(CsvProblem::RecordTooLong(self.limits.record));
            }
            bounds.push((from as u32, to as u32));
            match end {
                FieldEnd::Comma(next) => position = next,
                FieldEnd::Line(next) => {
                    self.undouble(bounds.get_mut(first..).unwrap_or_default());
                    return Ok(Some(next));
                }
                FieldEnd::NeedMore => return Ok(None),
            }
        }
    }

    fn unquoted(&self, from: usize) -> Result<(usize, usize, FieldEnd), CsvProblem> {
        let rest = self.bytes.get(from..).unwrap_or_default();
        let length = memchr3(b',', b'\n', b'\r', rest).unwrap_or(rest.len());
        Ok((from, from + length, self.field_end(from + length, CsvProblem::BareReturn)?))
    }

    fn quoted(&mut self, quote: usize, place: usize) -> Result<(usize, usize, FieldEnd), CsvProblem> {
        let from = quote + 1;
        let mut at = from;
        let mut doubled = false;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let Some(found) = memchr(b'"', rest) else {
                if self.at_end {
                    return Err(CsvProblem::UnclosedQuote);
                }
                return Ok((from, self.bytes.len(), FieldEnd::NeedMore));
            };
            at += found;
            match self.bytes.get(at + 1) {
                Some(b'"') => {
                    doubled = true;
                    at += 2;
                }
                None if !self.at_end => return Ok((from, at, FieldEnd::NeedMore)),
                _ => {
                    if doubled {
                        self.doubled.push(place);
                    }
                    return Ok((from, at, self.field_end(at + 1, CsvProblem::TextBehindQuote)?));
                }
            }
        }
    }

    /// What stands behind a field.
    fn field_end(&self, at: usize, otherwise: CsvProblem) -> Result<FieldEnd, CsvProblem> {
        match (self.bytes.get(at), self.bytes.get(at + 1)) {
            (Some(b','), _) => Ok(FieldEnd::Comma(at + 1)),
            (Some(b'\n'), _) => Ok(FieldEnd::Line(at + 1)),
            (Some(b'\r'), Some(b'\n')) => Ok(FieldEnd::Line(at + 2)),
            (Some(b'\r'), None) | (None, _) if !self.at_end => Ok(FieldEnd::NeedMore),
            (Some(b'\r'), None) => Ok(FieldEnd::Line(at + 1)),
            (None, _) => Ok(FieldEnd::Line(at)),
            _ => Err(otherwise),
        }
    }

    /// Turns `""` into `"` in the fields of a record that is whole.
    fn undouble(&mut self, bounds: &mut [(u32, u32)]) {
        for place in self.doubled.drain(..) {
            let Some((from, to)) = bounds.get_mut(place) else { continue };
            let mut write = *from as usize;
            let mut read = write;
            while read < *to as usize {
                let byte = self.bytes[read];
                self.bytes[write] = byte;
                write += 1;
                read += if byte == b'"' { 2 } else { 1 };
            }
            *to = write as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::push_cell;
    use proptest::prelude::*;

    fn read(text: &[u8], cut: usize) -> Result<Vec<Vec<Vec<u8>>>, CsvError> {
        let mut rows = Vec::new();
        let mut start = 0;
        let mut bytes = text.to_vec();
        let mut width = 0;
        for (seen, at_end) in [(cut.min(text.len()), false), (text.len(), true)] {
            let mut bounds = Vec::new();
            let limits = Limits::default();
            let split =
                split_records(&mut bytes[..seen], start, at_end, width, usize::MAX, &limits, &mut bounds)?;
            if let Some(fields) = bounds.len().checked_div(split.records) {
                width = fields;
                for record in bounds.chunks(width) {
                    rows.push(record.iter().map(|(a, b)| bytes[*a as usize..*b as usize].to_vec()).collect());
                }
            }
            start = split.consumed;
        }
        assert_eq!(start, text.len());
        Ok(rows)
    }

    #[test]
    fn forms_of_records() {
        for (text, rows) in [
            ("a,b,\n", vec![vec!["a", "b", ""]]),
            ("a,b", vec![vec!["a", "b"]]),
            ("a,\"\"\r\n,\r\n", vec![vec!["a", ""], vec!["", ""]]),
            ("\"a \"\"q\"\", b\",c\n\n1,2\n", vec![vec!["a \"q\", b", "c"], vec!["1", "2"]]),
            ("\"x\ny\",\"\"\"\"\n", vec![vec!["x\ny", "\""]]),
            ("a\"b,c\n", vec![vec!["a\"b", "c"]]),
            ("", vec![]),
        ] {
            for cut in 0..=text.len() {
                let expected: Vec<Vec<Vec<u8>>> = rows
                    .iter()
                    .map(|row| row.iter().map(|cell| cell.as_bytes().to_vec()).collect())
                    .collect();
                assert_eq!(read(text.as_bytes(), cut).unwrap(), expected, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn broken_records_are_refused_with_their_number() {
        for (text, record, problem) in [
            ("a,b\n1\n", 1, CsvProblem::Ragged { expected: 2, found: 1 }),
            ("a,b\n1,2,3\n", 1, CsvProblem::Ragged { expected: 2, found: 3 }),
            ("a,\"b\n", 0, CsvProblem::UnclosedQuote),
            ("\"a\"b,c\n", 0, CsvProblem::TextBehindQuote),
            ("a\rb,c\n", 0, CsvProblem::BareReturn),
        ] {
            let error = read(text.as_bytes(), text.len()).unwrap_err();
            assert_eq!((error.record, error.problem), (record, problem), "{text:?}");
        }
    }

    /// Bounds, bytes and outcome of a text cut anywhere, with the scanner and without: a header of unknown width is
    /// never scanned.
    fn both_ways(text: &[u8], cut: usize, width: usize, limits: &Limits) {
        for (seen, at_end) in [(cut.min(text.len()), false), (text.len(), true)] {
            let (mut bytes, mut bounds) = (text[..seen].to_vec(), Vec::new());
            let found = split_records(&mut bytes, 0, at_end, width, usize::MAX, limits, &mut bounds);
            let (mut own, mut own_bounds) = (text[..seen].to_vec(), Vec::new());
            let mut state = Splitter { bytes: &mut own, at_end, limits, doubled: Vec::new() };
            let mut split = Split { consumed: 0, records: 0 };
            let expected = loop {
                if let Some(length) = state.blank_line(split.consumed) {
                    split.consumed += length;
                    continue;
                }
                if split.consumed >= seen {
                    break Ok(split);
                }
                let before = own_bounds.len();
                match state.record(split.consumed, &mut own_bounds) {
                    Err(problem) => break Err(CsvError { record: split.records, problem }),
                    Ok(None) => {
                        own_bounds.truncate(before);
                        break Ok(split);
                    }
                    Ok(Some(_)) if own_bounds.len() - before != width => {
                        let found = own_bounds.len() - before;
                        let problem = CsvProblem::Ragged { expected: width, found };
                        break Err(CsvError { record: split.records, problem });
                    }
                    Ok(Some(end)) => split = Split { consumed: end, records: split.records + 1 },
                }
            };
            assert_eq!(found, expected);
            assert_eq!((bytes, bounds), (own, own_bounds));
        }
    }

    /// Pieces that meet at the scanner's borders of 64 bytes.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => prop::sample::select(vec![",", "\n", "\r\n", "\"", "\"\"", "\r", "a", "b,c\n", ",,,,,,,"])
                .prop_map(|text| text.as_bytes().to_vec()),
            2 => (0usize..150).prop_map(|length| vec![b'x'; length]),
            2 => "\"(x|,|\n|\"\"){0,40}\"".prop_map(String::into_bytes),
            2 => (0usize..150).prop_map(|length| vec![b','; length]),
        ]
    }

    /// Records of three fields, mostly whole ones.
    fn row() -> impl Strategy<Value = Vec<u8>> {
        let cell = prop_oneof![
            4 => "[a-c 0-9]{0,9}",
            2 => "[a-z]{50,140}",
            2 => "\"([a-c,\n]|\"\"){0,70}\"",
            1 => "[a-c\"\r\n]{0,3}",
        ];
        let end = prop::sample::select(vec!["\n", "\n", "\r\n", "\n\n"]);
        (prop::collection::vec(cell, 3), end).prop_map(|(cells, end)| (cells.join(",") + end).into_bytes())
    }

    proptest! {
        #[test]
        fn scanning_changes_nothing(
            pieces in prop::collection::vec(piece(), 1..12), cut in 0usize..400, width in 1usize..9,
        ) {
            both_ways(&pieces.concat(), cut, width, &Limits::default());
            both_ways(&pieces.concat(), cut, width, &Limits { field: 70, record: 200, columns: 8 });
        }

        #[test]
        fn scanning_whole_records_changes_nothing(rows in prop::collection::vec(row(), 1..9), cut in 0usize..900) {
            both_ways(&rows.concat(), cut, 3, &Limits::default());
            both_ways(&rows.concat(), cut, 3, &Limits { field: 130, record: 300, columns: 3 });
        }

        #[test]
        fn agrees_with_the_csv_crate_and_comes_back(
            rows in prop::collection::vec(prop::collection::vec("[a-c\",\n\r 0-9]{0,6}", 3), 1..6), cut in 0usize..100,
        ) {
            let mut text = Vec::new();
            for row in &rows {
                for (index, cell) in row.iter().enumerate() {
                    if index > 0 { text.push(b','); }
                    push_cell(&mut text, cell.as_bytes());
                }
                text.push(b'\n');
            }
            let expected: Vec<Vec<Vec<u8>>> = rows.iter().map(|r| r.iter().map(|c| c.as_bytes().to_vec()).collect()).collect();
            prop_assert_eq!(&read(&text, cut).unwrap(), &expected);
            let mut other = csv::ReaderBuilder::new().has_headers(false).from_reader(&text[..]);
            let theirs: Vec<Vec<Vec<u8>>> =
                other.byte_records().map(|r| r.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
            prop_assert_eq!(theirs, expected);
        }
    }
}
