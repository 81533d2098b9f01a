use super::ExactSum;
use num_bigint::BigInt;
use num_traits::{Signed, Zero};

/// A part of a whole in millionths, rounded up, at most 1: what is above a limit exactly, is above it here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(u32);

/// A text that is not a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a percentage; write \"10%\" or \"0.5%\", from 0% to 100%, with at most 4 digits after the point"
)]
pub struct FractionError(String);

impl Fraction {
    const WHOLE: u32 = 1_000_000;
    /// Digits after the point of a percentage that a millionth has.
    const PLACES: usize = 4;

    /// From a whole number of percent, at most 100.
    pub const fn percent(percent: u8) -> Self {
        Self(if percent > 100 { Self::WHOLE } else { percent as u32 * (Self::WHOLE / 100) })
    }

    /// Reads `10%` or `0.5%`.
    ///
    /// # Errors
    /// Anything but a number from 0 to 100 with at most 4 digits after the point, and a percent sign.
    pub fn parse(text: &str) -> Result<Self, FractionError> {
        let wrong = || FractionError(text.to_owned());
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (whole, places) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(places) || whole.len() > 3 || places.len() > Self::PLACES {
            return Err(wrong());
        }
        let millionths: u32 = format!("{whole}{places:0<4}").parse().map_err(|_| wrong())?;
        if millionths <= Self::WHOLE { Ok(Self(millionths)) } else { Err(wrong()) }
    }

    /// How much of a number of things a part of them is. Something of nothing is all of it.
    pub fn of_count(part: u64, whole: u64) -> Self {
        Self::of(&BigInt::from(part), &BigInt::from(whole))
    }

    /// How much of an amount another is, without their signs. Something of nothing is all of it.
    pub fn of_amount(part: &ExactSum, whole: &ExactSum) -> Self {
        Self::of(&part.units().abs(), &whole.units().abs())
    }

    fn of(part: &BigInt, whole: &BigInt) -> Self {
        if part.is_zero() {
            return Self(0);
        }
        if part >= whole {
            return Self(Self::WHOLE);
        }
        let millionths: BigInt = (part * Self::WHOLE + whole - 1) / whole;
        Self(u32::try_from(millionths).unwrap_or(Self::WHOLE))
    }
}

/// A percentage: `10%`, `0.5%`.
impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, places) = (self.0 / (Self::WHOLE / 100), self.0 % (Self::WHOLE / 100));
        let places = format!("{places:04}");
        match places.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            places => write!(f, "{whole}.{places}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Number;

    fn amount(text: &str) -> ExactSum {
        let mut sum = ExactSum::default();
        sum.add(&Number::parse(text.as_bytes()).unwrap().unwrap());
        sum
    }

    #[test]
    fn percentages_are_read_and_written() {
        for (text, written) in
            [("10%", "10%"), ("0.5 %", "0.5%"), ("100%", "100%"), ("0%", "0%"), ("007.0001%", "7.0001%")]
        {
            assert_eq!(Fraction::parse(text).unwrap().to_string(), written);
        }
        for bad in ["", "%", "10", "-1%", "100.0001%", "1.%", ".5%", "1.00001%", "ten%", "1000%", "1e1%"] {
            assert!(Fraction::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Fraction::percent(10), Fraction::parse("10%").unwrap());
    }

    #[test]
    fn what_is_a_hair_above_a_limit_is_above_it() {
        let limit = Fraction::percent(10);
        assert!(Fraction::of_count(10, 100) == limit && Fraction::of_count(0, 0) < limit);
        assert!(Fraction::of_count(1_000_001, 10_000_000) > limit);
        assert!(Fraction::of_amount(&amount("0.1"), &amount("-1")) == limit);
        assert!(Fraction::of_amount(&amount("-0.1000000000000000000001"), &amount("1")) > limit);
        assert_eq!(Fraction::of_amount(&amount("5"), &amount("0")), Fraction::percent(100));
        assert_eq!(Fraction::of_amount(&amount("5"), &amount("4")), Fraction::percent(100));
        assert_eq!(Fraction::of_amount(&amount("0"), &amount("0")), Fraction::default());
    }
}
