use crate::NameError;
use serde::{Deserialize, Serialize};
use std::fmt;

const DAY_MILLIS: i64 = 86_400_000;

/// A UTC calendar day, counted from 1970-01-01. Written `yyyy-mm-dd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(i32);

impl Day {
    /// 1970-01-01.
    pub const EPOCH: Self = Self(0);

    /// The day of a proleptic Gregorian date, if there is such a date between the years 1 and 9999.
    pub fn from_date(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month)
        {
            return None;
        }
        // Howard Hinnant's days_from_civil: a year that begins in March puts the leap day at its end.
        let shifted = i64::from(if month <= 2 { year - 1 } else { year });
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let month_from_march = i64::from((month + 9) % 12);
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        i32::try_from(era * 146_097 + day_of_era - 719_468).ok().map(Self)
    }

    /// Year, month 1 to 12 and day 1 to 31.
    pub fn date(self) -> (i32, u32, u32) {
        let days = i64::from(self.0) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year as i32, month as u32, day as u32)
    }

    /// Days since 1970-01-01.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The day that many days later.
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Reads `yyyy-mm-dd`.
    ///
    /// # Errors
    /// Anything else, or a date that doesn't exist.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse_date(text.as_bytes())
            .filter(|_| text.len() == 10)
            .ok_or_else(|| NameError::new(text, "a date, written yyyy-mm-dd"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl TryFrom<String> for Day {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

/// A moment in UTC, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The UTC day the moment lies in.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_MILLIS) as i32)
    }

    /// Reads every form of timestamp that has been seen in a CUR: `2018-11-01T00:00:00Z` (AWS's own),
    /// with `.000Z` (CUR 2.0), `2023-06-01 00:00:00`, with `.000` (after Athena) and with `+00:00` (nise).
    /// Without a zone it is UTC. Fractions finer than a millisecond are refused unless they are zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let day = parse_date(text)?;
        let rest = text.get(10..)?;
        let Some((separator, clock)) = rest.split_first() else {
            return Some(Self(i64::from(day.0) * DAY_MILLIS));
        };
        if !matches!(separator, b'T' | b' ') || clock.len() < 8 || clock[2] != b':' || clock[5] != b':' {
            return None;
        }
        let (hour, minute, second) = (digits(&clock[0..2])?, digits(&clock[3..5])?, digits(&clock[6..8])?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (millis, zone) = parse_fraction(&clock[8..])?;
        let clock_millis = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
        Some(Self(i64::from(day.0) * DAY_MILLIS + clock_millis - parse_zone(zone)?))
    }

    /// Writes `yyyy-mm-ddThh:mm:ssZ`, with `.mmm` before the `Z` only where the milliseconds aren't zero.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let (year, month, day) = self.day().date();
        let in_day = self.0.rem_euclid(DAY_MILLIS);
        let (seconds, millis) = (in_day / 1000, in_day % 1000);
        write_padded(out, i64::from(year), 4);
        for (mark, number) in [
            (b'-', i64::from(month)),
            (b'-', i64::from(day)),
            (b'T', seconds / 3600),
            (b':', seconds / 60 % 60),
            (b':', seconds % 60),
        ] {
            out.push(mark);
            write_padded(out, number, 2);
        }
        if millis != 0 {
            out.push(b'.');
            write_padded(out, millis, 3);
        }
        out.push(b'Z');
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn write_padded(out: &mut Vec<u8>, mut number: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

pub(crate) fn days_in(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

fn parse_date(text: &[u8]) -> Option<Day> {
    let date = text.get(..10)?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&date[0..4])?).ok()?;
    Day::from_date(year, digits(&date[5..7])? as u32, digits(&date[8..10])? as u32)
}

/// Milliseconds of a `.fraction`, and what follows it.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', fraction)) = text.split_first() else {
        return Some((0, text));
    };
    let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    if length == 0 || fraction[..length].iter().skip(3).any(|b| *b != b'0') {
        return None;
    }
    let millis = (0..3)
        .fold(0, |sum, place| sum * 10 + fraction[..length].get(place).map_or(0, |b| i64::from(b - b'0')));
    Some((millis, &fraction[length..]))
}

/// Milliseconds that a zone lies ahead of UTC.
fn parse_zone(zone: &[u8]) -> Option<i64> {
    let sign = match zone.first() {
        None => return Some(0),
        Some(b'Z') if zone.len() == 1 => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let (hours, minutes) = match zone.len() {
        3 => (digits(&zone[1..3])?, 0),
        5 => (digits(&zone[1..3])?, digits(&zone[3..5])?),
        6 if zone[3] == b':' => (digits(&zone[1..3])?, digits(&zone[4..6])?),
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        let first = Day::from_date(1800, 1, 1).unwrap();
        let mut expected = (1800, 1, 1);
        for offset in 0..146_097 {
            let day = first.plus(offset);
            assert_eq!(day.date(), expected);
            assert_eq!(Day::from_date(expected.0, expected.1, expected.2), Some(day));
            let (year, month, date) = expected;
            expected = if date < days_in(year, month) {
                (year, month, date + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
    }

    #[test]
    fn every_form_seen_in_a_cur_is_one_moment() {
        let moment = Instant::parse(b"2018-11-01T01:02:03Z").unwrap();
        for form in [
            "2018-11-01T01:02:03.000Z",
            "2018-11-01 01:02:03",
            "2018-11-01 01:02:03.000",
            "2018-11-01 01:02:03+00:00",
            "2018-11-01T03:02:03+02:00",
            "2018-10-31T20:02:03-0500",
            "2018-11-01T01:02:03.000000",
        ] {
            assert_eq!(Instant::parse(form.as_bytes()), Some(moment), "{form}");
        }
        assert_eq!(moment.to_string(), "2018-11-01T01:02:03Z");
        assert_eq!(
            Instant::parse(b"2018-11-01T00:00:00.25Z").unwrap().to_string(),
            "2018-11-01T00:00:00.250Z"
        );
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for bad in [
            "",
            "2018-11",
            "2018-13-01",
            "2018-02-30",
            "2018-11-01T24:00:00Z",
            "2018-11-01T00:00",
            "x018-11-01",
            "2018-11-01T00:00:00X",
            "2018-11-01T00:00:00.Z",
            "2018-11-01T00:00:00.0001Z",
            "2018-11-01T00:00:00+1",
        ] {
            assert_eq!(Instant::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
