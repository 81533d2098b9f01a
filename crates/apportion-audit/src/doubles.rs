//! Numbers as Parquet stores them: the nearest double, and how far it lies from the number.
//!
//! What comes in: the text of a cell of type double. What goes out: the double's bits, its shortest text, and the
//! exact sum of (stored double - number). What it must never do: calculate with floats; only bits are taken apart.

use crate::numbers::{Number, Sum};
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use std::collections::BTreeMap;

/// The nearest double to a number's text, or none where the text is no number.
pub(crate) fn nearest(text: &[u8]) -> Option<(f64, Number)> {
    let number = Number::parse(text).ok()?;
    let double: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    double.is_finite().then_some((double, number))
}

/// The shortest decimal that reads back as the same double, in plain notation.
pub(crate) fn shortest(double: f64) -> String {
    if double == 0.0 { "0".into() } else { format!("{double}") }
}

/// What Parquet can't hold of one column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Representation {
    /// Per binary exponent the sum of the mantissas. A number of a bill has one of some 340 exponents, and 2^74
    /// mantissas fit.
    stored: BTreeMap<i32, i128>,
    numbers: Sum,
    /// Cells that became null, or in a string column lost bytes.
    pub(crate) not_represented: u64,
}

impl Representation {
    /// Adds one cell that is stored as a double.
    pub(crate) fn add(&mut self, double: f64, number: &Number) {
        let (mantissa, exponent) = parts(double);
        let sum = self.stored.entry(exponent).or_default();
        *sum = sum.wrapping_add(i128::from(mantissa));
        self.numbers.add(number);
    }

    /// The exact sum of (stored double - number).
    pub(crate) fn difference(&self) -> String {
        let exact = |(exponent, mantissas): (&i32, &i128)| {
            let mantissas = BigInt::from(*mantissas);
            if *exponent >= 0 {
                return BigDecimal::new(mantissas << exponent.unsigned_abs(), 0);
            }
            // m / 2^k is m * 5^k / 10^k.
            BigDecimal::new(mantissas * BigInt::from(5).pow(exponent.unsigned_abs()), -i64::from(*exponent))
        };
        let stored: BigDecimal = self.stored.iter().map(exact).sum();
        let difference = (stored - self.numbers.in_full()).normalized();
        difference.to_plain_string()
    }
}

/// A finite double as mantissa times a power of two.
fn parts(double: f64) -> (i64, i32) {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = double.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, (bits & FRACTION) as i64);
    let (mantissa, exponent) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    (if bits >> 63 == 1 { -mantissa } else { mantissa }, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(texts: &[&str]) -> String {
        let mut sum = Representation::default();
        for text in texts {
            let (double, number) = nearest(text.as_bytes()).unwrap();
            sum.add(double, &number);
        }
        sum.difference()
    }

    #[test]
    fn a_doubles_exact_value_comes_from_its_bits() {
        assert_eq!(difference(&["0.5", "-3", "1e22", "0", "-0"]), "0");
        // 0.1 is stored as 0.1000000000000000055511151231257827021181583404541015625.
        let tenth = "0.0000000000000000055511151231257827021181583404541015625";
        assert_eq!(difference(&["0.1"]), tenth);
        assert_eq!(difference(&["-0.1"]), format!("-{tenth}"));
        assert_eq!(difference(&["0.1", "-0.1"]), "0");
        assert_eq!(difference(&["9007199254740993"]), "-1");
        assert_eq!(difference(&["1e23"]), "-8388608");
    }

    #[test]
    fn the_shortest_text_reads_back() {
        for (text, shortest_text) in [
            ("0.10", "0.1"),
            ("-0.0", "0"),
            ("1e-7", "0.0000001"),
            ("+.5", "0.5"),
            ("5.", "5"),
            ("1E22", "10000000000000000000000"),
            ("0.1000000000000000055511151231257827", "0.1"),
        ] {
            assert_eq!(shortest(nearest(text.as_bytes()).unwrap().0), shortest_text, "{text}");
        }
        assert!(nearest(b"NaN").is_none() && nearest(b"1e99").is_none() && nearest(b"").is_none());
    }
}
