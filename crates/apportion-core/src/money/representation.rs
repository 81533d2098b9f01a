use super::Number;
use num_bigint::BigInt;
use num_traits::{Signed, Zero};
use std::collections::BTreeMap;
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
        let (mantissa, power) = double_parts(stored);
        let (digits, exponent) = number.to_parts();
        self.0 += (units_of_double(mantissa, power) - digits * ten_to(exponent - EXPONENT)) * cells;
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

/// Differences on their way to a sum. Cells are counted by the power that they are whole multiples of, because long
/// numbers are worked with only once for each such power.
#[derive(Debug, Clone, Default)]
pub struct DifferenceSum {
    /// By power of two.
    doubles: BTreeMap<i32, i128>,
    /// By power of ten.
    numbers: BTreeMap<i32, i128>,
    /// What doesn't fit there.
    rest: RepresentationDifference,
}

impl DifferenceSum {
    /// Adds so many cells of one text: the stored double, which must be finite, and the text's number.
    pub fn add(&mut self, stored: f64, number: &Number, cells: u64) {
        let (mantissa, exponent) = double_parts(stored);
        if !count(self.doubles.entry(exponent).or_default(), mantissa, cells) {
            self.rest.0 += units_of_double(mantissa, exponent) * cells;
        }
        match number {
            Number::Small { digits, exponent }
                if count(self.numbers.entry(*exponent).or_default(), *digits, cells) => {}
            _ => {
                let (digits, exponent) = number.to_parts();
                self.rest.0 -= digits * ten_to(exponent - EXPONENT) * cells;
            }
        }
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        for (exponent, mantissas) in &other.doubles {
            if !count(self.doubles.entry(*exponent).or_default(), *mantissas, 1) {
                self.rest.0 += units_of_double(*mantissas, *exponent);
            }
        }
        for (exponent, digits) in &other.numbers {
            if !count(self.numbers.entry(*exponent).or_default(), *digits, 1) {
                self.rest.0 -= BigInt::from(*digits) * ten_to(exponent - EXPONENT);
            }
        }
        self.rest.merge(&other.rest);
    }

    /// The sum.
    pub fn total(&self) -> RepresentationDifference {
        let doubles = self.doubles.iter().map(|(exponent, mantissas)| units_of_double(*mantissas, *exponent));
        let numbers =
            self.numbers.iter().map(|(exponent, digits)| BigInt::from(*digits) * ten_to(exponent - EXPONENT));
        let total = &self.rest.0 + doubles.sum::<BigInt>() - numbers.sum::<BigInt>();
        RepresentationDifference(total)
    }
}

/// Adds so many times a value, if the sum can hold that.
fn count(sum: &mut i128, value: i128, cells: u64) -> bool {
    let Some(more) = value.checked_mul(i128::from(cells)).and_then(|value| sum.checked_add(value)) else {
        return false;
    };
    *sum = more;
    true
}

/// A finite double as a whole number and the power of two that it is times.
fn double_parts(stored: f64) -> (i128, i32) {
    let bits = stored.to_bits();
    let raw_exponent = ((bits >> 52) & 0x7FF) as i32;
    let fraction = bits & ((1 << 52) - 1);
    // Subnormal doubles have no hidden bit.
    let (mantissa, exponent) =
        if raw_exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, raw_exponent - 1075) };
    let mantissa = i128::from(mantissa);
    (if bits >> 63 == 1 { -mantissa } else { mantissa }, exponent)
}

/// So many times a power of two, in units of 10^EXPONENT.
fn units_of_double(mantissa: i128, exponent: i32) -> BigInt {
    let value = BigInt::from(mantissa);
    // 2^k divides 10^k, and so the unit.
    if exponent >= 0 {
        (value << exponent.unsigned_abs()) * ten_to(-EXPONENT)
    } else {
        value * (ten_to(-EXPONENT) >> exponent.unsigned_abs())
    }
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

    fn sum_of(texts: &[&str]) -> DifferenceSum {
        let mut sum = DifferenceSum::default();
        for text in texts {
            sum.add(text.parse().unwrap(), &Number::parse(text.as_bytes()).unwrap().unwrap(), 1);
        }
        sum
    }

    fn difference(texts: &[&str]) -> String {
        sum_of(texts).total().to_string()
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
            let mut sum = DifferenceSum::default();
            sum.add(stored, &Number::parse(b"0").unwrap().unwrap(), 1);
            sum.total().to_string()
        };
        assert_eq!(exact(f64::from_bits(1)).len(), 2 + 1074);
        assert!(exact(f64::MAX).starts_with("17976931348623157"));
    }

    #[test]
    fn sums_beyond_what_fits_are_no_less_exact() {
        let long = "123456789012345678901234567890123456789e1";
        let widest = "99999999999999999999999999999999999999";
        for texts in [&[long, long][..], &[widest, widest, "0.1"], &["1e40", "-1e40", "3e-60"]] {
            let (one, number) =
                (sum_of(texts), |text: &str| Number::parse(text.as_bytes()).unwrap().unwrap());
            let mut many = DifferenceSum::default();
            for text in texts {
                many.add(text.parse().unwrap(), &number(text), u64::MAX);
                many.merge(&sum_of(&[text]));
                many.add(text.parse().unwrap(), &number(text), 1);
            }
            // 2^64 + 1 times the sum of one of each.
            let mut due = one.total();
            due.0 *= (BigInt::from(1) << 64) + 1;
            assert_eq!(many.total(), due, "{texts:?}");
        }
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
