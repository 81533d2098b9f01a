use super::Number;
use num_bigint::BigInt;
use num_traits::{Signed, Zero};
use std::sync::LazyLock;

/// The power of ten that differences are counted in: finer than the last digit of any double and any number.
const EXPONENT: i32 = -1130;
/// Powers of ten up to the largest that a number with a digit at 10^40 is counted by. Working one out takes longer than
/// everything else that is done with a cell.
static POWERS: LazyLock<Vec<BigInt>> = LazyLock::new(|| {
    std::iter::successors(Some(BigInt::from(1)), |power| Some(power * 10u8)).take(1172).collect()
});

/// The exact sum of (stored double - the number it was made of), over many cells.
///
/// A double is a whole number times a power of two, so its value has finitely many decimals and the difference is exact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepresentationDifference(BigInt);

impl RepresentationDifference {
    /// Adds so many cells of one text: the stored double, which must be finite, and the text's number.
    pub fn add(&mut self, stored: f64, number: &Number, cells: u64) {
        let (digits, exponent) = number.to_parts();
        self.0 += (units_of(stored) - digits * ten_to(exponent - EXPONENT)) * cells;
    }

    /// Reads a sum back as it is written: plain notation. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let places = i32::try_from(fraction.len()).ok().filter(|places| *places <= -EXPONENT)?;
        let digits = format!("{whole}{fraction}");
        if whole.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let units = BigInt::parse_bytes(digits.as_bytes(), 10)? * ten_to(-EXPONENT - places);
        Some(Self(if negative { -units } else { units }))
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Subtracts another sum.
    pub fn subtract(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    /// Whether the sum is zero.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// The exact value of a finite double, in units of 10^EXPONENT.
fn units_of(stored: f64) -> BigInt {
    let bits = stored.to_bits();
    let raw_exponent = ((bits >> 52) & 0x7FF) as i32;
    let fraction = bits & ((1 << 52) - 1);
    // Subnormal doubles have no hidden bit.
    let (mantissa, exponent) =
        if raw_exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, raw_exponent - 1075) };
    let value = BigInt::from(mantissa);
    // 2^k divides 10^k, and so the unit.
    let units = if exponent >= 0 {
        (value << exponent.unsigned_abs()) * ten_to(-EXPONENT)
    } else {
        value * (ten_to(-EXPONENT) >> exponent.unsigned_abs())
    };
    if bits >> 63 == 1 { -units } else { units }
}

fn ten_to(exponent: i32) -> BigInt {
    let exponent = exponent.max(0).unsigned_abs();
    POWERS.get(exponent as usize).cloned().unwrap_or_else(|| BigInt::from(10).pow(exponent))
}

/// Plain notation without trailing zeros.
impl std::fmt::Display for RepresentationDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let places = EXPONENT.unsigned_abs() as usize;
        let digits = format!("{:0>1$}", self.0.magnitude().to_string(), places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.0.is_negative() { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(texts: &[&str]) -> String {
        let mut sum = RepresentationDifference::default();
        for text in texts {
            sum.add(text.parse().unwrap(), &Number::parse(text.as_bytes()).unwrap().unwrap(), 1);
        }
        sum.to_string()
    }

    #[test]
    fn what_a_double_adds_is_told_to_the_last_digit() {
        assert_eq!(difference(&["0.5", "-3", "1e20", "0"]), "0");
        assert_eq!(difference(&["0.1"]), "0.0000000000000000055511151231257827021181583404541015625");
        assert_eq!(difference(&["-0.1"]), "-0.0000000000000000055511151231257827021181583404541015625");
        assert_eq!(difference(&["0.1", "-0.1"]), "0");
        // 10^23 lies half-way between two doubles.
        assert_eq!(difference(&["1e23"]), "-8388608");
        assert!(difference(&["1e-60"]).len() > 100);
        // The smallest and largest doubles, which no number of a CUR comes near to.
        let exact = |stored| {
            let mut sum = RepresentationDifference::default();
            sum.add(stored, &Number::parse(b"0").unwrap().unwrap(), 1);
            sum.to_string()
        };
        assert_eq!(exact(f64::from_bits(1)).len(), 2 + 1074);
        assert!(exact(f64::MAX).starts_with("17976931348623157"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0", "0.5", "-12.25", "1e-60", "1e23", "0.1", "-0.1"] {
            let text = difference(&[text]);
            let read = RepresentationDifference::parse(&text).unwrap();
            assert_eq!(read.to_string(), text);
            let mut rest = read.clone();
            rest.merge(&read);
            rest.subtract(&read);
            assert_eq!(rest, read);
        }
        for bad in ["", "-", ".5", "1e5", "1.2.3", "+1", "--1"] {
            assert!(RepresentationDifference::parse(bad).is_none(), "{bad}");
        }
    }
}
