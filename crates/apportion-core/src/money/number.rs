use num_bigint::BigInt;

/// Decimal exponents that the leading digit of a number in a CUR can have.
const LEADING: std::ops::RangeInclusive<i64> = -60..=40;
/// Digits that a number in a CUR can have.
const MOST_DIGITS: usize = 128;
/// Digits that fit an i128 whatever they are.
const SMALL_DIGITS: usize = 38;
/// Characters of a number that the quick way reads: with so few, no exponent can be out of range.
const PLAIN_BYTES: usize = 40;

/// A number of a CUR: digits times a power of ten, exactly as written, in lowest terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Number {
    /// At most 38 digits.
    Small {
        /// The digits without trailing zeros, with their sign.
        digits: i128,
        /// The power of ten of the last digit.
        exponent: i32,
    },
    /// More digits than that.
    Large {
        /// The digits without trailing zeros, with their sign.
        digits: Box<BigInt>,
        /// The power of ten of the last digit.
        exponent: i32,
    },
}

/// Why a text is not a number that can be summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberProblem {
    /// It isn't decimal notation.
    #[error("is not a number")]
    NotANumber,
    /// It is too large, too small or too long to be an amount in a CUR.
    #[error("is beyond the numbers that are summed exactly (exponents -60 to +40, 128 digits)")]
    OutOfRange,
}

impl Number {
    /// Zero.
    pub const ZERO: Self = Self::Small { digits: 0, exponent: 0 };

    /// Reads a cell. A blank cell is no number, and no error.
    ///
    /// # Errors
    /// Text that isn't a decimal number, or one outside exponents -60 to +40 or 128 digits.
    pub fn parse(cell: &[u8]) -> Result<Option<Self>, NumberProblem> {
        match Self::plain(cell) {
            Some(number) => Ok(Some(number)),
            None => Self::parse_any(cell),
        }
    }

    /// What nearly every cell is: an optional `-`, digits that fit 64 bits, and at most one point. None for any
    /// other text, be it a number or not.
    #[inline]
    fn plain(cell: &[u8]) -> Option<Self> {
        let (negative, unsigned) = match cell.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, cell),
        };
        if unsigned.len() > PLAIN_BYTES {
            return None;
        }
        let mut magnitude = 0u64;
        let mut point = None;
        for (at, byte) in unsigned.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                if magnitude > (u64::MAX - 9) / 10 {
                    return None;
                }
                magnitude = magnitude * 10 + u64::from(digit);
            } else if *byte == b'.' && point.is_none() {
                point = Some(at);
            } else {
                return None;
            }
        }
        if unsigned.len() == usize::from(point.is_some()) {
            return None;
        }
        if magnitude == 0 {
            return Some(Self::ZERO);
        }
        let mut exponent = point.map_or(0, |at| at as i32 + 1 - unsigned.len() as i32);
        while magnitude.is_multiple_of(10) {
            magnitude /= 10;
            exponent += 1;
        }
        let digits = i128::from(magnitude);
        Some(Self::Small { digits: if negative { -digits } else { digits }, exponent })
    }

    pub(crate) fn parse_any(cell: &[u8]) -> Result<Option<Self>, NumberProblem> {
        if cell.is_empty() {
            return Ok(None);
        }
        let (negative, unsigned) = match cell.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, cell),
        };
        let parts = Parts::of(unsigned)?;
        if parts.whole.len() + parts.fraction.len() > MOST_DIGITS {
            return Err(NumberProblem::OutOfRange);
        }
        let digits = parts.significant();
        let exponent = parts.last_exponent()?;
        if digits.is_empty() {
            return Ok(Some(Self::ZERO));
        }
        let leading = exponent.saturating_add(digits.len() as i64 - 1);
        if !LEADING.contains(&leading) {
            return Err(NumberProblem::OutOfRange);
        }
        let exponent = exponent as i32;
        if digits.len() <= SMALL_DIGITS {
            let magnitude = digits.bytes().fold(0i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
            return Ok(Some(Self::Small { digits: if negative { -magnitude } else { magnitude }, exponent }));
        }
        let text: Vec<u8> = digits.bytes().collect();
        let magnitude = BigInt::parse_bytes(&text, 10).ok_or(NumberProblem::NotANumber)?;
        Ok(Some(Self::Large { digits: Box::new(if negative { -magnitude } else { magnitude }), exponent }))
    }

    /// The digits, and the power of ten of the last of them.
    pub(super) fn to_parts(&self) -> (BigInt, i32) {
        match self {
            Self::Small { digits, exponent } => (BigInt::from(*digits), *exponent),
            Self::Large { digits, exponent } => (digits.as_ref().clone(), *exponent),
        }
    }

    /// Appends the form that a line item's hash takes: sign, digits, `e`, exponent; `0` for zero.
    pub fn push_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Small { digits: 0, .. } => out.push(b'0'),
            Self::Small { digits, exponent } => {
                if *digits < 0 {
                    out.push(b'-');
                }
                push_integer(out, digits.unsigned_abs());
                push_exponent(out, *exponent);
            }
            Self::Large { digits, exponent } => {
                out.extend_from_slice(digits.to_string().as_bytes());
                push_exponent(out, *exponent);
            }
        }
    }
}

fn push_exponent(out: &mut Vec<u8>, exponent: i32) {
    out.push(b'e');
    if exponent < 0 {
        out.push(b'-');
    }
    push_integer(out, u128::from(exponent.unsigned_abs()));
}

fn push_integer(out: &mut Vec<u8>, number: u128) {
    let mut buffer = [0u8; 40];
    let mut at = buffer.len();
    let mut wide = number;
    // 128-bit division is slow: leave it as soon as the rest fits 64 bits.
    while wide > u128::from(u64::MAX) {
        at -= 1;
        buffer[at] = b'0' + (wide % 10) as u8;
        wide /= 10;
    }
    let mut rest = wide as u64;
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

/// The text of an unsigned number, taken apart.
struct Parts<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: &'a [u8],
    has_exponent: bool,
}

/// Digits between the leading and the trailing zeros, across the point.
struct Significant<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
}

impl Significant<'_> {
    fn len(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied()
    }
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Result<Self, NumberProblem> {
        let digits = |from: usize| {
            text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let whole = digits(0);
        let mut at = whole;
        let mut fraction = 0..0;
        if text.get(at) == Some(&b'.') {
            fraction = at + 1..at + 1 + digits(at + 1);
            at = fraction.end;
        }
        if whole == 0 && fraction.is_empty() {
            return Err(NumberProblem::NotANumber);
        }
        let has_exponent = matches!(text.get(at), Some(b'e' | b'E'));
        let exponent = if has_exponent { text.get(at + 1..).unwrap_or_default() } else { &[] };
        if !has_exponent && at != text.len() {
            return Err(NumberProblem::NotANumber);
        }
        Ok(Self { whole: &text[..whole], fraction: &text[fraction], exponent, has_exponent })
    }

    fn significant(&self) -> Significant<'a> {
        let mut whole = trim_start(self.whole);
        let mut fraction = trim_end(self.fraction);
        if whole.is_empty() {
            fraction = trim_start(fraction);
        }
        if fraction.is_empty() {
            whole = trim_end(whole);
        }
        Significant { whole, fraction }
    }

    /// The power of ten of the last significant digit.
    fn last_exponent(&self) -> Result<i64, NumberProblem> {
        let fraction = trim_end(self.fraction);
        let own = if fraction.is_empty() {
            (self.whole.len() - trim_end(self.whole).len()) as i64
        } else {
            -(fraction.len() as i64)
        };
        if !self.has_exponent {
            return Ok(own);
        }
        let (negative, digits) = match self.exponent.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, self.exponent),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(NumberProblem::NotANumber);
        }
        // A zero may have any exponent; for anything else one that saturates is out of range.
        let written = digits
            .iter()
            .fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
        Ok(own.saturating_add(if negative { -written } else { written }))
    }
}

fn trim_start(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|digit| **digit == b'0').count()..]
}

fn trim_end(digits: &[u8]) -> &[u8] {
    &digits[..digits.len() - digits.iter().rev().take_while(|digit| **digit == b'0').count()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        Number::parse(text.as_bytes()).unwrap().unwrap().push_canonical(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_value_has_one_form() {
        for (text, form) in [
            ("0", "0"),
            ("-0.000", "0"),
            ("0E-10", "0"),
            ("0e-99999999999999999999", "0"),
            ("0.0300000000", "3e-2"),
            ("720.0", "72e1"),
            ("+7.", "7e0"),
            (".5", "5e-1"),
            ("-7.0E-10", "-7e-10"),
            ("1.20e+2", "12e1"),
            ("100", "1e2"),
            ("0100.0010", "100001e-3"),
            ("1e-60", "1e-60"),
            ("9e40", "9e40"),
            (
                "123456789012345678901234567890123456789012.5",
                "1234567890123456789012345678901234567890125e-1",
            ),
        ] {
            // The last one has more than 41 digits before the point, so it is out of range.
            if text.len() > 40 {
                assert_eq!(Number::parse(text.as_bytes()), Err(NumberProblem::OutOfRange));
            } else {
                assert_eq!(canonical(text), form, "{text}");
            }
        }
        assert_eq!(
            canonical("1.2345678901234567890123456789012345678901234567"),
            "12345678901234567890123456789012345678901234567e-46"
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(Number::parse(b""), Ok(None));
        for bad in [
            "-", "+", ".", "1.2.3", "1,5", "abc", "1e", "1e+", "0x10", "1 ", " 1", "NaN", "inf", "--1",
            "1e5x", "0e",
        ] {
            assert_eq!(Number::parse(bad.as_bytes()), Err(NumberProblem::NotANumber), "{bad:?}");
        }
        for far in ["1e-61", "1e41", "1e999999999", "1e-9999999999", "9".repeat(42).as_str()] {
            assert_eq!(Number::parse(far.as_bytes()), Err(NumberProblem::OutOfRange), "{far:?}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_reads_what_the_other_reads(text in "[-+]?[0-9]{0,12}0{0,6}\\.?0{0,6}[0-9]{0,14}[.eE0x-]?") {
            if let Some(number) = Number::plain(text.as_bytes()) {
                prop_assert_eq!(Number::parse_any(text.as_bytes()), Ok(Some(number)));
            }
        }
    }
}
