use super::Number;
use num_bigint::BigInt;
use num_traits::Zero;

/// The power of ten that the fast part counts in.
const FAST_EXPONENT: i32 = -18;
/// The power of ten that the wide part counts in: finer than the last digit of any number that is accepted.
const WIDE_EXPONENT: i32 = -190;

/// Characters that the text of a sum can have: no sum of a bill comes near it.
const MOST_CHARACTERS: usize = 400;

/// A sum of numbers that is exactly their sum, whatever their order.
///
/// Nearly all amounts of a bill are multiples of 10^-18 and fit an i128 together; what doesn't goes to a number
/// without bounds. There is no rounding and no overflow to report.
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    /// In units of 10^-18.
    fast: i128,
    /// In units of 10^-190.
    wide: Option<Box<BigInt>>,
}

impl ExactSum {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, number: &Number) {
        match number.units() {
            Some(units) => self.add_units(units),
            None => self.add_wide(number),
        }
    }

    /// Adds what [`Number::units`] says.
    #[inline]
    pub(crate) fn add_units(&mut self, units: i128) {
        match self.fast.checked_add(units) {
            Some(sum) => self.fast = sum,
            None => self.add_wide(&Number::Small { digits: units, exponent: FAST_EXPONENT }),
        }
    }

    #[cold]
    fn add_wide(&mut self, number: &Number) {
        let (digits, exponent) = number.to_parts();
        let units = digits * ten_to(exponent - WIDE_EXPONENT);
        *self.wide.get_or_insert_default().as_mut() += units;
    }

    /// Reads a sum as it is written: plain notation, of any size that a sum of a bill's numbers can have. None for
    /// any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let places = i32::try_from(fraction.len()).ok()?;
        if whole.is_empty()
            || text.len() > MOST_CHARACTERS
            || places > -WIDE_EXPONENT
            || !is_digits(whole)
            || !is_digits(fraction)
            || unsigned.ends_with('.')
        {
            return None;
        }
        let digits = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
        let units = digits * ten_to(-places - WIDE_EXPONENT);
        Some(Self { fast: 0, wide: Some(Box::new(if text.starts_with('-') { -units } else { units })) })
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add_units(other.fast);
        if let Some(wide) = &other.wide {
            *self.wide.get_or_insert_default().as_mut() += wide.as_ref();
        }
    }

    /// Subtracts another sum.
    pub fn subtract(&mut self, other: &Self) {
        let negated = Self { fast: 0, wide: Some(Box::new(-other.units())) };
        self.merge(&negated);
    }

    /// Whether the sum is zero.
    pub fn is_zero(&self) -> bool {
        match &self.wide {
            None => self.fast == 0,
            Some(_) => self.units().is_zero(),
        }
    }

    /// The sum's magnitude.
    pub fn abs(&self) -> Self {
        let units = self.units();
        if units < BigInt::zero() { Self { fast: 0, wide: Some(Box::new(-units)) } } else { self.clone() }
    }

    pub(super) fn units(&self) -> BigInt {
        let fast = BigInt::from(self.fast) * ten_to(FAST_EXPONENT - WIDE_EXPONENT);
        match &self.wide {
            Some(wide) => fast + wide.as_ref(),
            None => fast,
        }
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        match (&self.wide, &other.wide) {
            (None, None) => self.fast == other.fast,
            _ => self.units() == other.units(),
        }
    }
}

impl Eq for ExactSum {}

/// Compares by value.
impl Ord for ExactSum {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.units().cmp(&other.units())
    }
}

impl PartialOrd for ExactSum {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Plain notation without trailing zeros: `-12.5`, `0`.
impl std::fmt::Display for ExactSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = self.units();
        if units.is_zero() {
            return f.write_str("0");
        }
        let places = WIDE_EXPONENT.unsigned_abs() as usize;
        let digits = format!("{:0>1$}", units.magnitude().to_string(), places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let fraction = fraction.trim_end_matches('0');
        if units < BigInt::zero() {
            f.write_str("-")?;
        }
        f.write_str(whole)?;
        if fraction.is_empty() { Ok(()) } else { write!(f, ".{fraction}") }
    }
}

fn ten_to(power: i32) -> BigInt {
    num_traits::pow(BigInt::from(10), usize::try_from(power).unwrap_or(0))
}

impl Number {
    /// The number in units of 10^-18, if that is a whole i128.
    #[inline]
    pub(crate) fn units(&self) -> Option<i128> {
        let Self::Small { digits, exponent } = self else { return None };
        let power = usize::try_from(exponent - FAST_EXPONENT).ok()?;
        let factor = *POWERS.get(power)?;
        // Two numbers of 64 bits can't overflow, and checking 128 bits is slow.
        match (i64::try_from(*digits), i64::try_from(factor)) {
            (Ok(digits), Ok(factor)) => Some(i128::from(digits) * i128::from(factor)),
            _ => digits.checked_mul(factor),
        }
    }
}

/// Powers of ten that an i128 holds.
const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(texts: &[&str]) -> ExactSum {
        let mut total = ExactSum::default();
        for text in texts {
            total.add(&Number::parse(text.as_bytes()).unwrap().unwrap());
        }
        total
    }

    #[test]
    fn small_huge_and_fine_amounts_add_up_exactly() {
        assert_eq!(sum(&["0.1", "0.2"]).to_string(), "0.3");
        assert_eq!(sum(&["9e40", "1e-60", "-9e40"]).to_string(), format!("0.{}1", "0".repeat(59)));
        assert_eq!(sum(&["-7.0E-10", "0.0000000007"]).to_string(), "0");
        assert!(sum(&["1e-60", "-1e-60"]).is_zero());
        assert_eq!(sum(&["99999999999999999999", "1"]).to_string(), "100000000000000000000");
        assert_eq!(sum(&["-0.05"]).abs().to_string(), "0.05");
        let mut difference = sum(&["5", "1e-30"]);
        difference.subtract(&sum(&["5"]));
        assert_eq!(difference, sum(&["1e-30"]));
    }

    #[test]
    fn a_sum_is_read_as_it_is_written() {
        for text in ["0", "-0.05", "12.5", &format!("-{}.{}", "9".repeat(60), "1".repeat(190))] {
            assert_eq!(ExactSum::parse(text).unwrap().to_string(), *text);
        }
        assert_eq!(ExactSum::parse("007.50"), Some(sum(&["7.5"])));
        let (long, fine) = ("1".repeat(401), format!("0.{}", "1".repeat(191)));
        for bad in
            ["", "-", ".5", "5.", "1e3", "+1", "1,000", " 1", "--1", "1.-1", long.as_str(), fine.as_str()]
        {
            assert_eq!(ExactSum::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn order_and_grouping_do_not_matter(
            amounts in prop::collection::vec((any::<i64>(), -60i32..20), 0..20), cut in 0usize..20,
        ) {
            let numbers: Vec<Number> = amounts
                .iter()
                .map(|(digits, exponent)| Number::Small { digits: i128::from(*digits), exponent: *exponent })
                .collect();
            let mut forward = ExactSum::default();
            numbers.iter().for_each(|number| forward.add(number));
            let (first, second) = numbers.split_at(cut.min(numbers.len()));
            let mut left = ExactSum::default();
            second.iter().rev().for_each(|number| left.add(number));
            let mut right = ExactSum::default();
            first.iter().for_each(|number| right.add(number));
            left.merge(&right);
            prop_assert_eq!(forward.to_string(), left.to_string());
            prop_assert_eq!(&forward, &left);
            prop_assert_eq!(ExactSum::parse(&forward.to_string()), Some(forward));
        }
    }
}
