use crate::{Day, Instant, NameError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One calendar month of a bill. Written `yyyymmdd-yyyymmdd`, the end exclusive, as AWS's own folders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BillingPeriod {
    year: i32,
    month: u32,
}

impl BillingPeriod {
    /// # Errors
    /// A month outside 1 to 12, or a year outside 1970 to 9998.
    pub fn new(year: i32, month: u32) -> Result<Self, NameError> {
        if (1970..=9998).contains(&year) && (1..=12).contains(&month) {
            Ok(Self { year, month })
        } else {
            Err(NameError::new(&format!("{year}-{month}"), "a month"))
        }
    }

    /// Reads a folder's name, `20181101-20181201`.
    ///
    /// # Errors
    /// Anything that isn't the first of a month and the first of the next.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong =
            || NameError::new(text, "a billing period, written yyyymmdd-yyyymmdd with an exclusive end");
        let number = |range| text.get(range).and_then(|t: &str| t.parse().ok());
        if text.len() != 17 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(wrong());
        }
        let year: u32 = number(0..4).ok_or_else(wrong)?;
        let period = Self::new(year as i32, number(4..6).ok_or_else(wrong)?).map_err(|_| wrong())?;
        if period.to_string() == text { Ok(period) } else { Err(wrong()) }
    }

    /// Reads a month as a person writes it (`2018-11`), or a folder's name.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse_month(text: &str) -> Result<Self, NameError> {
        if let Ok(period) = Self::parse(text) {
            return Ok(period);
        }
        let wrong = || NameError::new(text, "a month, written yyyy-mm");
        let (year, month) =
            text.split_once('-').filter(|(y, m)| y.len() == 4 && m.len() == 2).ok_or_else(wrong)?;
        Self::new(year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?)
            .map_err(|_| wrong())
    }

    /// The month a moment lies in, if it is one that a bill can have.
    pub fn of(moment: Instant) -> Option<Self> {
        let (year, month, _) = moment.day().date();
        Self::new(year, month).ok()
    }

    /// The first day.
    pub fn start(self) -> Day {
        Day::from_date(self.year, self.month, 1).unwrap_or(Day::EPOCH)
    }

    /// The first day of the next month.
    pub fn end(self) -> Day {
        self.next().start()
    }

    /// The month before.
    pub fn previous(self) -> Self {
        if self.month == 1 {
            Self { year: self.year - 1, month: 12 }
        } else {
            Self { month: self.month - 1, ..self }
        }
    }

    /// The month after.
    pub fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { year: self.year, month: self.month + 1 }
        }
    }

    /// `2018-11`, as people and CUR 2.0's folders write it.
    pub fn month_text(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }
}

impl fmt::Display for BillingPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.next();
        write!(f, "{:04}{:02}01-{:04}{:02}01", self.year, self.month, next.year, next.month)
    }
}

impl TryFrom<String> for BillingPeriod {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<BillingPeriod> for String {
    fn from(period: BillingPeriod) -> Self {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_exclusive_and_december_ends_in_january() {
        let december = BillingPeriod::parse("20181201-20190101").unwrap();
        assert_eq!(december.end().to_string(), "2019-01-01");
        assert_eq!(december.month_text(), "2018-12");
        assert_eq!(december.next().previous(), december);
        for bad in
            ["20181201-20181231", "20181202-20190101", "20181301-20190101", "2018-12", "+0181201-20190101"]
        {
            assert!(BillingPeriod::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(BillingPeriod::parse_month("2018-12").unwrap(), december);
    }
}
