use apportion_model::{BillingPeriod, ObjectKey};
use std::collections::HashSet;

/// How a report's objects lie below its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Legacy CUR: `…/<yyyymmdd-yyyymmdd>/<report>-Manifest.json`, the data below that folder (or in Athena's place).
    DateFolder,
    /// Legacy CUR with Athena integration: `…/<report>/year=YYYY/month=M/<report>-Manifest.json`.
    Athena,
    /// Data Exports: `…/metadata/BILLING_PERIOD=yyyy-mm/<export>-Manifest.json`, the data below `data` beside it.
    DataExports,
}

/// Where a pointer manifest stands: the report's place and name, and the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    /// The folder of the manifest.
    folder: String,
    /// The report's place: what stands before the folders of its months.
    pub(super) root: String,
    pub(super) report: String,
    pub(super) period: BillingPeriod,
    pub(super) layout: Layout,
}

/// The folder and the last part of a key.
fn above(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

fn below(folder: &str, rest: &str) -> String {
    if folder.is_empty() { rest.to_owned() } else { format!("{folder}/{rest}") }
}

/// A date folder: its end is the first day of the next month (AWS), or the month's last day (AWS's own example).
fn date_folder(text: &str) -> Option<BillingPeriod> {
    BillingPeriod::parse(text).ok().or_else(|| {
        let (start, end) = text.split_once('-')?;
        let month = BillingPeriod::parse_month(&format!("{}-{}", start.get(..4)?, start.get(4..6)?)).ok()?;
        let (year, number, day) = month.end().plus(-1).date();
        let start_is_first = start.get(6..) == Some("01");
        (start_is_first && end == format!("{year:04}{number:02}{day:02}")).then_some(month)
    })
}

/// The month of a folder `BILLING_PERIOD=yyyy-mm`, in capitals or not.
fn billing_period_folder(text: &str) -> Option<BillingPeriod> {
    const START: &str = "BILLING_PERIOD=";
    let month = text.get(..START.len()).filter(|start| start.eq_ignore_ascii_case(START))?;
    BillingPeriod::parse_month(&text[month.len()..]).ok()
}

/// The month of two folders `year=YYYY` and `month=M`; the month may be padded.
fn year_and_month(year: &str, month: &str) -> Option<BillingPeriod> {
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| -> Option<u32> {
        (digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())?
    };
    let year = number(year.strip_prefix("year=")?, 4..=4)?;
    let month = number(month.strip_prefix("month=")?, 1..=2)?;
    BillingPeriod::new(i32::try_from(year).ok()?, month).ok()
}

impl Pointer {
    /// Where the manifest of this key stands; None if that is no place of a pointer.
    pub(super) fn of(key: &str) -> Option<Self> {
        let (folder, name) = above(key);
        let stem = name.strip_suffix(".json")?;
        let report = stem.strip_suffix("-Manifest").unwrap_or(stem).to_owned();
        let (parent, last) = above(folder);
        let pointer = |root: &str, period, layout| Self {
            folder: folder.to_owned(),
            root: root.to_owned(),
            report: report.clone(),
            period,
            layout,
        };
        if let Some(period) = date_folder(last) {
            return Some(pointer(parent, period, Layout::DateFolder));
        }
        let (root, in_metadata) = above(parent);
        if in_metadata == "metadata"
            && let Some(period) = billing_period_folder(last)
        {
            return Some(pointer(root, period, Layout::DataExports));
        }
        let period = year_and_month(in_metadata, last)?;
        // `P/R/R/year=…`: the inner folder is the report's table, the outer its place.
        let (place, table) = above(root);
        Some(pointer(if table == report { place } else { root }, period, Layout::Athena))
    }

    /// The export and month of a manifest in an execution's own folder: `metadata/BILLING_PERIOD=…/<execution>/`.
    pub(super) fn of_execution(key: &str) -> Option<Self> {
        let (folder, name) = above(key);
        let (period_folder, _) = above(folder);
        Self::of(&below(period_folder, name)).filter(|pointer| pointer.layout == Layout::DataExports)
    }

    /// The place of a data key in this source, found from the manifest's own place: what stands before it in the
    /// bucket depends on where the copy was made. Empty parts (`//`, or a `/` in front) are dropped: a folder can't
    /// have them.
    pub(super) fn resolve(&self, key: &str, there: &HashSet<&str>) -> Result<String, String> {
        let key = key.strip_prefix("s3://").unwrap_or(key);
        let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
        let resolved = match self.layout {
            Layout::DataExports => self.in_data(&parts)?,
            Layout::DateFolder => {
                match parts.iter().position(|part| date_folder(part) == Some(self.period)) {
                    Some(at) => below(&self.folder, &parts[at + 1..].join("/")),
                    None => self.in_months(&parts, there)?,
                }
            }
            Layout::Athena => self.in_months(&parts, there)?,
        };
        ObjectKey::check_relative(&resolved).map_err(|error| error.problem.to_owned())?;
        Ok(resolved)
    }

    fn in_data(&self, parts: &[&str]) -> Result<String, String> {
        let at = parts.iter().rposition(|part| *part == "data").ok_or("lies in no `data` folder")?;
        let rest = &parts[at + 1..];
        match rest.first().and_then(|folder| billing_period_folder(folder)) {
            Some(other) if other != self.period => {
                Err(format!("lies in the folder of {}", other.month_text()))
            }
            _ => Ok(below(&self.root, &format!("data/{}", rest.join("/")))),
        }
    }

    /// Below `year=YYYY/month=M`, in the report's table or right in its place.
    fn in_months(&self, parts: &[&str], there: &HashSet<&str>) -> Result<String, String> {
        let months = parts.windows(2).rposition(|pair| year_and_month(pair[0], pair[1]).is_some());
        let at = months.ok_or("lies in no folder of the manifest's billing period")?;
        if year_and_month(parts[at], parts[at + 1]) != Some(self.period) {
            return Err(format!("lies in the folder of another month than {}", self.period.month_text()));
        }
        let rest = parts[at + 2..].join("/");
        if self.layout == Layout::Athena {
            return Ok(below(&self.folder, &rest));
        }
        let month = self.period.month_text();
        let (year, month) = month.split_once('-').unwrap_or_default();
        let spellings = [
            format!("{}/{}/{rest}", parts[at], parts[at + 1]),
            format!("year={year}/month={}/{rest}", month.trim_start_matches('0')),
            format!("year={year}/month={month}/{rest}"),
        ];
        let candidates = spellings
            .iter()
            .flat_map(|key| [below(&self.root, &format!("{}/{key}", self.report)), below(&self.root, key)]);
        let candidates: Vec<String> = candidates.collect();
        // Which spelling the copy has is no question of what belongs to the delivery.
        let found = candidates.iter().find(|key| there.contains(key.as_str())).or(candidates.first());
        found.cloned().ok_or_else(|| "names nothing".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> HashSet<&'static str> {
        HashSet::new()
    }

    #[test]
    fn keys_are_found_from_the_manifests_own_place() {
        let legacy = Pointer::of("cur/R/20181101-20181201/R-Manifest.json").unwrap();
        for (key, found) in [
            ("elsewhere/R/20181101-20181201/343e/R-1.csv.gz", "cur/R/20181101-20181201/343e/R-1.csv.gz"),
            ("/x//R/20181101-20181201//R-1.csv.gz", "cur/R/20181101-20181201/R-1.csv.gz"),
            ("x/R/20181101-20181130/a:b/R-1.csv.gz", "cur/R/20181101-20181201/a:b/R-1.csv.gz"),
            ("x/R/R/year=2018/month=11/R-1.parquet", "cur/R/R/year=2018/month=11/R-1.parquet"),
        ] {
            assert_eq!(legacy.resolve(key, &none()).unwrap(), found);
        }
        let padded = HashSet::from(["cur/R/R/year=2018/month=06/R-1.parquet"]);
        let june = Pointer::of("cur/R/20180601-20180701/R-Manifest.json").unwrap();
        let key = "x/R/R/year=2018/month=6/R-1.parquet";
        assert_eq!(june.resolve(key, &padded).unwrap(), "cur/R/R/year=2018/month=06/R-1.parquet");
        assert_eq!(june.resolve(key, &none()).unwrap(), "cur/R/R/year=2018/month=6/R-1.parquet");
        let exports = Pointer::of("metadata/BILLING_PERIOD=2026-04/E-Manifest.json").unwrap();
        assert_eq!(
            exports
                .resolve(
                    "s3://b//P/E/data/billing_period=2026-04/2026-04-16T15:24:15.653Z-x/E-1.csv.gz",
                    &none()
                )
                .unwrap(),
            "data/billing_period=2026-04/2026-04-16T15:24:15.653Z-x/E-1.csv.gz"
        );
        for bad in
            ["R/20181101-20181201/../../x.csv.gz", "R/20181001-20181101/a.csv.gz", "R/year=2018/month=1/a"]
        {
            assert!(legacy.resolve(bad, &none()).is_err(), "{bad}");
        }
        for bad in
            ["s3://b/P/E/data/../../x.csv.gz", "s3://b/P/E/x.csv.gz", "b/data/BILLING_PERIOD=2026-05/x.csv"]
        {
            assert!(exports.resolve(bad, &none()).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_of_manifests() {
        let place = |key| Pointer::of(key).map(|found| (found.root, found.report, found.period.month_text()));
        let of = |root: &str, report: &str, month: &str| Some((root.into(), report.into(), month.into()));
        for (key, found) in [
            ("P/R/20180101-20180201/R-Manifest.json", of("P/R", "R", "2018-01")),
            ("20240101-20240131/R-Manifest.json", of("", "R", "2024-01")),
            ("P/R/R/year=2023/month=1/R-Manifest.json", of("P/R", "R", "2023-01")),
            ("year=2023/month=01/R-Manifest.json", of("", "R", "2023-01")),
            ("P/E/metadata/billing_period=2026-06/E-Manifest.json", of("P/E", "E", "2026-06")),
            ("P/R/20180101-20180201/343e/R-Manifest.json", None),
            ("P/E/metadata/BILLING_PERIOD=2026-06/x/E-Manifest.json", None),
            ("P/R/year=2023/month=13/R-Manifest.json", None),
            ("P/R/year=23/month=1/R-Manifest.json", None),
            ("R-Manifest.json", None),
        ] {
            assert_eq!(place(key), found, "{key}");
        }
        let execution = Pointer::of_execution("P/E/metadata/BILLING_PERIOD=2026-06/t-x/E-Manifest.json");
        assert_eq!(execution.unwrap().report, "E");
        assert_eq!(Pointer::of_execution("P/R/20180101-20180201/343e/R-Manifest.json"), None);
    }
}
