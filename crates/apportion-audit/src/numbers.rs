//! Exact numbers: how a cell is read as one, hashed as one and summed.
//!
//! What comes in: the bytes of a cell of type double. What goes out: its digits and exponent, its canonical form,
//! and sums without any rounding. What it must never do: calculate with floats, round, or overflow silently.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

const MOST_DIGITS: usize = 128;
/// Sums are kept in units of 10^-18 as long as they fit, because a month has many millions of cells.
const PLACES: i32 = 18;
const UNIT: u128 = 1_000_000_000_000_000_000;

/// What a text is called that isn't a number at all.
pub(crate) const NOT_A_NUMBER: &str = "is not a number";

/// A decimal number: `digits` times ten to the `exponent`, the digits without zeros at either end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    negative: bool,
    digits: [u8; MOST_DIGITS],
    length: usize,
    exponent: i32,
}

impl Number {
    /// Reads `[+-]digits[.digits][e[+-]digits]`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let (negative, rest) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, text),
        };
        let (mut number, used) = Self::mantissa(negative, rest)?;
        let tail = &rest[used..];
        if let Some((mark, digits)) = tail.split_first() {
            if !matches!(mark, b'e' | b'E') {
                return Err(NOT_A_NUMBER);
            }
            number.exponent = number.exponent.saturating_add(read_exponent(digits)?);
        }
        number.strip_zeros();
        if number.length == 0 {
            return Ok(Self { negative: false, exponent: 0, ..number });
        }
        let leading = number.exponent.saturating_add(number.length as i32 - 1);
        if !(-60..=40).contains(&leading) {
            return Err("is a number too large or too small for a bill");
        }
        Ok(number)
    }

    /// The digits before the exponent mark, and how many bytes they took.
    fn mantissa(negative: bool, text: &[u8]) -> Result<(Self, usize), &'static str> {
        let mut number = Self { negative, digits: [0; MOST_DIGITS], length: 0, exponent: 0 };
        let (mut used, mut seen, mut after_point) = (0, 0usize, false);
        for &byte in text {
            match byte {
                b'0'..=b'9' => {
                    seen += 1;
                    if seen > MOST_DIGITS {
                        return Err("has more than 128 digits");
                    }
                    number.exponent -= i32::from(after_point);
                    // Leading zeros carry no value; keeping them out leaves room for none to be lost.
                    if byte != b'0' || number.length > 0 {
                        number.digits[number.length] = byte;
                        number.length += 1;
                    }
                }
                b'.' if !after_point => after_point = true,
                _ => break,
            }
            used += 1;
        }
        if seen == 0 { Err(NOT_A_NUMBER) } else { Ok((number, used)) }
    }

    fn strip_zeros(&mut self) {
        while self.length > 0 && self.digits[self.length - 1] == b'0' {
            self.length -= 1;
            self.exponent = self.exponent.saturating_add(1);
        }
    }

    /// Writes the canonical form that hashes see: `3e-2`, `72e1`, `-5e0`, `0`.
    pub(crate) fn write_canonical(&self, out: &mut Vec<u8>) {
        if self.length == 0 {
            out.push(b'0');
            return;
        }
        if self.negative {
            out.push(b'-');
        }
        out.extend_from_slice(&self.digits[..self.length]);
        out.push(b'e');
        out.extend_from_slice(self.exponent.to_string().as_bytes());
    }

    /// The value in units of 10^-18, where it is a whole number of them that fits.
    fn in_units(&self) -> Option<i128> {
        let shift = self.exponent + PLACES;
        if self.length == 0 {
            return Some(0);
        }
        if shift < 0 || self.length as i32 + shift > 38 {
            return None;
        }
        let mut value: i128 = 0;
        for digit in &self.digits[..self.length] {
            value = value * 10 + i128::from(digit - b'0');
        }
        let value = value.checked_mul(10i128.checked_pow(shift.unsigned_abs())?)?;
        Some(if self.negative { -value } else { value })
    }

    fn in_full(&self) -> BigDecimal {
        let digits = BigInt::parse_bytes(&self.digits[..self.length], 10).unwrap_or_default();
        BigDecimal::new(if self.negative { -digits } else { digits }, -i64::from(self.exponent))
    }
}

fn read_exponent(text: &[u8]) -> Result<i32, &'static str> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NOT_A_NUMBER);
    }
    let size =
        digits.iter().fold(0i32, |sum, digit| sum.saturating_mul(10).saturating_add(i32::from(digit - b'0')));
    // Far beyond any bill, and far enough from the type's limit for the sums above.
    let size = size.min(1_000_000);
    Ok(if negative { -size } else { size })
}

/// An exact sum, and whether any number went into it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    seen: bool,
    units: i128,
    wide: Option<Box<BigDecimal>>,
}

impl Sum {
    /// Whether there was a number at all, be it zero.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen
    }

    /// Adds one number.
    pub(crate) fn add(&mut self, number: &Number) {
        self.seen = true;
        match number.in_units() {
            Some(units) => self.add_units(units),
            None => self.add_wide(number.in_full()),
        }
    }

    /// Adds another sum.
    pub(crate) fn plus(&mut self, other: &Self) {
        self.seen |= other.seen;
        self.add_units(other.units);
        if let Some(wide) = &other.wide {
            self.add_wide((**wide).clone());
        }
    }

    fn add_units(&mut self, units: i128) {
        match self.units.checked_add(units) {
            Some(sum) => self.units = sum,
            None => self.add_wide(BigDecimal::new(BigInt::from(units), i64::from(PLACES))),
        }
    }

    fn add_wide(&mut self, value: BigDecimal) {
        match &mut self.wide {
            Some(wide) => **wide += value,
            None => self.wide = Some(Box::new(value)),
        }
    }

    /// The exact value.
    pub(crate) fn in_full(&self) -> BigDecimal {
        let units = BigDecimal::new(BigInt::from(self.units), i64::from(PLACES));
        self.wide.as_deref().map_or(units.clone(), |wide| &units + wide)
    }

    /// How far two sums lie apart, without a sign.
    pub(crate) fn apart(&self, other: &Self) -> Self {
        let difference = (self.in_full() - other.in_full()).abs();
        Self { seen: self.seen || other.seen, units: 0, wide: Some(Box::new(difference)) }
    }

    /// Plain notation without trailing zeros.
    pub(crate) fn to_text(&self) -> String {
        if self.wide.is_some() {
            return self.in_full().normalized().to_plain_string();
        }
        let size = self.units.unsigned_abs();
        let (whole, part) = (size / UNIT, size % UNIT);
        let sign = if self.units < 0 { "-" } else { "" };
        if part == 0 {
            return format!("{sign}{whole}");
        }
        let part = format!("{part:018}");
        format!("{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        Number::parse(text.as_bytes()).unwrap().write_canonical(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn sum(numbers: &[&str]) -> String {
        let mut sum = Sum::default();
        numbers.iter().for_each(|text| sum.add(&Number::parse(text.as_bytes()).unwrap()));
        sum.to_text()
    }

    #[test]
    fn one_value_has_one_canonical_form() {
        for (text, form) in [
            ("0.0300", "3e-2"),
            ("720.0", "72e1"),
            ("0", "0"),
            ("-0.000", "0"),
            ("0e99999999999", "0"),
            ("-7.0E-10", "-7e-10"),
            ("+.5", "5e-1"),
            ("5.", "5e0"),
            ("1e+40", "1e40"),
            ("1e-60", "1e-60"),
            ("00012.3400e2", "1234e0"),
        ] {
            assert_eq!(canonical(text), form, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "1.2.3", "1,5", " 1", "1 ", "NaN", "inf", "0x1", "1e41",
            "1e-61", "--1",
        ] {
            assert!(Number::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Number::parse(&[b'1'; 129]).is_err());
        assert!(Number::parse(&[b'0'; 128]).is_ok());
    }

    #[test]
    fn sums_are_exact_at_any_size() {
        assert_eq!(sum(&["0.1", "0.2", "-0.3"]), "0");
        assert_eq!(sum(&["100", "20.50"]), "120.5");
        assert_eq!(sum(&["1e40", "1e-60", "-1e40"]), format!("0.{}1", "0".repeat(59)));
        assert_eq!(sum(&["-0.0000000000000000001"]), "-0.0000000000000000001");
        let most = "99999999999999999999";
        assert_eq!(sum(&[most, most]), "199999999999999999998");
        assert_eq!(sum(&["1e40"]), format!("1{}", "0".repeat(40)));
    }

    #[test]
    fn a_distance_has_no_sign() {
        let (mut a, mut b) = (Sum::default(), Sum::default());
        a.add(&Number::parse(b"1.5").unwrap());
        b.add(&Number::parse(b"4").unwrap());
        assert_eq!(a.apart(&b).to_text(), "2.5");
        assert_eq!(a.apart(&a).to_text(), "0");
    }
}
