//! Where manifests stand and where their data lie.
//!
//! What comes in: keys of a source. What goes out: which manifest points to which month of which report, and the place
//! of each data object it names. What it must never do: follow a key out of the source.

use apportion_model::BillingPeriod;
use std::collections::BTreeSet;

/// A manifest in the place where it points to a delivery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    pub(super) report: String,
    /// What stands before the folders of the months.
    pub(super) root: String,
    pub(super) shape: Shape,
    pub(super) period: BillingPeriod,
    pub(super) key: String,
}

/// How the months of a report lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    Dates,
    YearMonth,
    Exports,
}

/// Only a manifest directly in the period's folder points to a delivery.
pub(super) fn pointer(key: &str) -> Option<Pointer> {
    let parts: Vec<&str> = key.split('/').collect();
    let (name, folders) = parts.split_last()?;
    let stem = name.strip_suffix(".json").filter(|_| is_manifest_name(name))?;
    let report = stem.strip_suffix("-Manifest").unwrap_or(stem).to_owned();
    let (last, above) = folders.split_last()?;
    let made = |shape, period, root: &[&str]| {
        Some(Pointer { report: report.clone(), root: root.join("/"), shape, period, key: key.into() })
    };
    if let Some(period) = dates(last) {
        return made(Shape::Dates, period, above);
    }
    let (before, above) = above.split_last()?;
    if *before == "metadata" {
        return made(Shape::Exports, partition(last)?, above);
    }
    let period = year_month(before, last)?;
    match above.split_last() {
        Some((table, place)) if *table == report => made(Shape::YearMonth, period, place),
        _ => made(Shape::YearMonth, period, above),
    }
}

fn is_manifest_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.contains("manifest") && !lower.contains("redshift") && !lower.starts_with('.')
}

/// `yyyymmdd-yyyymmdd`: to the first of the next month, or to the last of this one.
fn dates(text: &str) -> Option<BillingPeriod> {
    if let Ok(period) = BillingPeriod::parse(text) {
        return Some(period);
    }
    let month = text.get(..6).filter(|_| text.len() == 17 && text.get(6..9) == Some("01-"))?;
    let period = BillingPeriod::parse_month(&format!("{}-{}", &month[..4], &month[4..])).ok()?;
    let (year, number, day) = period.end().plus(-1).date();
    (text[9..] == format!("{year:04}{number:02}{day:02}")).then_some(period)
}

fn partition(text: &str) -> Option<BillingPeriod> {
    let (name, month) = text.split_once('=')?;
    if !name.eq_ignore_ascii_case("billing_period") || month.len() != 7 {
        return None;
    }
    BillingPeriod::parse_month(month).ok()
}

fn year_month(year: &str, month: &str) -> Option<BillingPeriod> {
    let (year, month) = (year.strip_prefix("year=")?, month.strip_prefix("month=")?);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if year.len() != 4 || !(1..=2).contains(&month.len()) || !digits(year) || !digits(month) {
        return None;
    }
    BillingPeriod::parse_month(&format!("{year}-{month:0>2}")).ok()
}

impl Pointer {
    /// The place of a data object, from the manifest's own.
    pub(super) fn locate(&self, key: &str, files: &BTreeSet<String>) -> Result<String, String> {
        let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| matches!(*part, "." | "..") || part.contains(['\\', '\0'])) {
            return Err(format!("names {key:?}, which would leave the source"));
        }
        let folder = self.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let at_month =
            || (1..parts.len()).rev().find(|at| year_month(parts[at - 1], parts[*at]) == Some(self.period));
        let elsewhere = || format!("names {key:?}, which lies in no folder of {}", self.period.month_text());
        match self.shape {
            Shape::Exports => {
                let at = parts.iter().rposition(|part| *part == "data").ok_or_else(elsewhere)?;
                let rest = &parts[at + 1..];
                if rest.first().and_then(|part| partition(part)).is_some_and(|month| month != self.period) {
                    return Err(elsewhere());
                }
                Ok(joined(&[&self.root, "data", &rest.join("/")]))
            }
            Shape::YearMonth => {
                let at = at_month().ok_or_else(elsewhere)?;
                Ok(joined(&[folder, &parts[at + 1..].join("/")]))
            }
            Shape::Dates => {
                if let Some(at) = parts.iter().position(|part| dates(part) == Some(self.period)) {
                    return Ok(joined(&[folder, &parts[at + 1..].join("/")]));
                }
                let at = at_month().ok_or_else(elsewhere)?;
                Ok(self.in_table(&parts[at - 1..], files))
            }
        }
    }

    /// Athena's table stands in the report's place or is it; its month may have been padded by a copy.
    fn in_table(&self, parts: &[&str], files: &BTreeSet<String>) -> String {
        let rest = parts[2..].join("/");
        let (year, month) =
            (self.period.month_text()[..4].to_owned(), self.period.month_text()[5..].to_owned());
        let short = month.trim_start_matches('0');
        let mut found = Vec::new();
        for month_folder in [parts[1].to_owned(), format!("month={short}"), format!("month={month}")] {
            for table in [self.report.as_str(), ""] {
                found.push(joined(&[&self.root, table, &format!("year={year}"), &month_folder, &rest]));
            }
        }
        found.iter().find(|key| files.contains(*key)).unwrap_or(&found[0]).clone()
    }
}

fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_manifests_in_a_period_folder_are_pointers() {
        let place = |key| pointer(key).map(|p| (p.root, p.report, p.shape, p.period.month_text()));
        let of = |root: &str, report: &str, shape, month: &str| {
            Some((root.to_owned(), report.to_owned(), shape, month.to_owned()))
        };
        for (key, found) in [
            ("cur/r/20181101-20181201/r-Manifest.json", of("cur/r", "r", Shape::Dates, "2018-11")),
            ("cur/r/20181101-20181130/r-Manifest.json", of("cur/r", "r", Shape::Dates, "2018-11")),
            ("metadata/BILLING_PERIOD=2026-04/x-Manifest.json", of("", "x", Shape::Exports, "2026-04")),
            ("e/metadata/billing_period=2026-04/x-Manifest.json", of("e", "x", Shape::Exports, "2026-04")),
            ("p/r/r/year=2018/month=6/r-Manifest.json", of("p/r", "r", Shape::YearMonth, "2018-06")),
            ("p/q/year=2018/month=06/r-Manifest.json", of("p/q", "r", Shape::YearMonth, "2018-06")),
            ("cur/r/20181101-20181201/343e/r-Manifest.json", None),
            ("cur/r/20181101-20181131/r-Manifest.json", None),
            ("data/BILLING_PERIOD=2026-04/x-Manifest.json", None),
            ("metadata/BILLING_PERIOD=2026-04/run/x-Manifest.json", None),
            ("r-Manifest.json", None),
            ("cur/r/20181101-20181201/r.json", None),
            ("cur/r/20181101-20181201/r-RedshiftManifest.json", None),
        ] {
            assert_eq!(place(key), found, "{key}");
        }
    }

    #[test]
    fn data_are_found_from_the_manifest() {
        let none = BTreeSet::new();
        let legacy = pointer("cur/r/20180601-20180701/r-Manifest.json").unwrap();
        let find = |key| legacy.locate(key, &none);
        assert_eq!(
            find("/b//r/20180601-20180701//a/1.csv.zip").unwrap(),
            "cur/r/20180601-20180701/a/1.csv.zip"
        );
        assert_eq!(find("b/r/r/year=2018/month=6/1.parquet").unwrap(), "cur/r/r/year=2018/month=6/1.parquet");
        let padded = BTreeSet::from(["cur/r/r/year=2018/month=06/1.parquet".to_owned()]);
        let found = legacy.locate("b/r/r/year=2018/month=6/1.parquet", &padded).unwrap();
        assert_eq!(found, "cur/r/r/year=2018/month=06/1.parquet");
        for bad in
            ["r/20180601-20180701/../x.csv", "r/20180501-20180601/x.csv", "r/year=2018/month=7/x.parquet"]
        {
            assert!(find(bad).is_err(), "{bad}");
        }
        let exports = pointer("e/metadata/BILLING_PERIOD=2026-04/x-Manifest.json").unwrap();
        let found = exports.locate("s3://b/p/data/billing_period=2026-04/a:b/1.csv.gz", &none).unwrap();
        assert_eq!(found, "e/data/billing_period=2026-04/a:b/1.csv.gz");
        assert!(exports.locate("s3://b/p/data/BILLING_PERIOD=2026-05/1.csv.gz", &none).is_err());
    }
}
