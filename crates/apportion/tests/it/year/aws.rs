//! AWS in fast motion: every day the month so far, now and then an older month anew.

use crate::harness::{gzip, set_time, write};
use crate::random_report::Draw;
use apportion_model::Day;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const REPORT: &str = "cur/hourly";
const PAYER: &str = "999900001111";
const HEADER: &str = "identity/LineItemId,bill/InvoiceId,bill/PayerAccountId,bill/BillType,bill/BillingPeriodStartDate,\
bill/BillingPeriodEndDate,lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,\
lineItem/ProductCode,lineItem/UsageType,lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedCost,\
lineItem/LineItemDescription,resourceTags/user:Team";

const PRODUCTS: [&str; 4] = ["AmazonEC2", "AmazonS3", "AWSSupport", "AmazonRDS"];

/// The day the year begins.
fn start() -> Day {
    Day::from_date(2025, 1, 1).unwrap()
}

/// The month of a day of the year, as `2025-01`.
pub fn month_of(day: i32) -> String {
    let (year, month, _) = start().plus(day).date();
    format!("{year:04}-{month:02}")
}

/// The day as `2025-01-31`.
pub fn date(day: i32) -> String {
    start().plus(day).to_string()
}

/// `20250101-20250201` of `2025-01`.
pub fn period_of(month: &str) -> String {
    apportion_model::BillingPeriod::parse_month(month).unwrap().to_string()
}

#[derive(Clone)]
struct LineItem {
    account: String,
    kind: &'static str,
    date: String,
    product: &'static str,
    cost: String,
    team: String,
}

#[derive(Default)]
struct Month {
    items: Vec<LineItem>,
    invoiced: bool,
    versions: u32,
    /// The version that the MSP locked.
    locked: Option<u32>,
}

/// What AWS knows.
pub struct Aws {
    accounts: Vec<String>,
    months: BTreeMap<String, Month>,
}

impl Aws {
    pub fn new(accounts: Vec<String>) -> Self {
        Self { accounts, months: BTreeMap::new() }
    }

    /// The month so far grows; on the 4th the month before gets its invoice. Returns the months that changed.
    pub fn pass_a_day(&mut self, day: i32, draw: &mut Draw) -> BTreeSet<String> {
        let month = month_of(day);
        let mut changed = BTreeSet::from([month.clone()]);
        for _ in 0..draw.within(8..20) {
            let item = self.line_item(day, draw);
            self.months.entry(month.clone()).or_default().items.push(item);
        }
        if date(day).ends_with("-04") && day > 10 {
            let before = month_of(day - 10);
            self.months.get_mut(&before).unwrap().invoiced = true;
            changed.insert(before);
        }
        changed
    }

    fn line_item(&self, day: i32, draw: &mut Draw) -> LineItem {
        let payers = draw.percent(6);
        let kind = *draw.pick(&["Usage", "Usage", "Usage", "DiscountedUsage", "Tax", "Credit", "Fee"]);
        let sign = if kind == "Credit" { "-" } else { "" };
        LineItem {
            account: if payers { PAYER.to_owned() } else { draw.pick(&self.accounts).clone() },
            kind,
            date: date(day),
            product: PRODUCTS[draw.below(PRODUCTS.len())],
            cost: format!("{sign}{}.{:010}", draw.below(40), draw.below(1_000_000_000)),
            team: if draw.percent(50) {
                draw.pick(&["red", "blue", "a, \"quoted\" one"]).to_string()
            } else {
                String::new()
            },
        }
    }

    /// Some older month comes anew: an amount differs, a line item is gone, or a late one has come.
    pub fn restate(&mut self, day: i32, draw: &mut Draw) -> BTreeSet<String> {
        let names: Vec<String> = self.months.keys().cloned().collect();
        let recent = &names[names.len().saturating_sub(4)..];
        let name = draw.pick(recent).clone();
        let late = LineItem { date: format!("{name}-02"), ..self.line_item(day, draw) };
        let Some(month) = self.months.get_mut(&name) else { return BTreeSet::new() };
        let at = draw.below(month.items.len());
        match draw.below(3) {
            0 => month.items[at].cost = format!("{}.{:04}", draw.below(9), draw.below(10_000)),
            1 if month.items.len() > 3 => drop(month.items.remove(at)),
            _ => month.items.push(late),
        }
        BTreeSet::from([name])
    }

    /// Writes the months that changed, each as a new assembly; the manifest last.
    pub fn write(&mut self, source: &Path, changed: &BTreeSet<String>, day: i32) {
        for name in changed {
            let Some(month) = self.months.get_mut(name) else { continue };
            month.versions += 1;
            let (period, assembly) = (period_of(name), format!("v{:04}", month.versions));
            let folder = source.join(REPORT).join(&period);
            let parts = month.items.chunks(month.items.len().div_ceil(2).max(1));
            let mut keys = Vec::new();
            for (number, part) in (1..).zip(parts) {
                let key = format!("{assembly}/hourly-{number:05}.csv.gz");
                write(&folder.join(&key), &gzip(text(name, month.invoiced, part).as_bytes()));
                keys.push(format!("{REPORT}/{period}/{key}"));
            }
            let bounds: Vec<String> = period.split('-').map(|day| format!("{day}T000000.000Z")).collect();
            let manifest = json!({
                "assemblyId": assembly, "account": PAYER, "columns": [], "charset": "UTF-8", "compression": "GZIP",
                "contentType": "text/csv", "reportName": "hourly", "bucket": "msp-cur", "reportKeys": keys,
                "billingPeriod": { "start": bounds[0], "end": bounds[1] }, "additionalArtifactKeys": [],
            });
            let path = folder.join("hourly-Manifest.json");
            write(&path, manifest.to_string().as_bytes());
            set_time(&path, 1_735_700_000 + 86_400 * day as u64);
            // AWS keeps older assemblies; here the disk is small.
            let _ = std::fs::remove_dir_all(folder.join(format!("v{:04}", month.versions - 1)));
        }
    }

    /// On the 20th, the month before last.
    pub fn month_to_close(&self, day: i32) -> Option<String> {
        let name = (date(day).ends_with("-20") && day > 60).then(|| month_of(day - 55))?;
        self.months.get(&name).filter(|month| month.locked.is_none()).map(|_| name)
    }

    pub fn lock(&mut self, name: &str) {
        let month = self.months.get_mut(name).unwrap();
        month.locked = Some(month.versions);
    }

    pub fn is_locked(&self, name: &str) -> bool {
        self.months.get(name).is_some_and(|month| month.locked.is_some())
    }

    /// Locked months of which AWS has delivered another version since.
    pub fn changed_since_locked(&self) -> BTreeSet<String> {
        let moved =
            self.months.iter().filter(|(_, month)| month.locked.is_some_and(|at| at != month.versions));
        moved.map(|(name, _)| name.clone()).collect()
    }
}

fn text(name: &str, invoiced: bool, items: &[LineItem]) -> String {
    let period = apportion_model::BillingPeriod::parse_month(name).unwrap();
    let invoice = if invoiced { format!("INV{}", name.replace('-', "")) } else { String::new() };
    let mut text = format!("{HEADER}\n");
    for (number, item) in items.iter().enumerate() {
        let LineItem { account, kind, date, product, cost, team } = item;
        let team = crate::harness::csv_cell(team);
        text.push_str(&format!(
            "id{number},{invoice},{PAYER},Anniversary,{}T00:00:00Z,{}T00:00:00Z,{account},{kind},{date}T00:00:00Z,\
             {date}T01:00:00Z,{product},BoxUsage,1,USD,{cost},an hour,{team}\n",
            period.start(),
            period.end(),
        ));
    }
    text
}
