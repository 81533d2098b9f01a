//! Everything that holds for the whole report: who, what, which commitments, and who plays which part in a story.
//!
//! What comes in: a request. What goes out: constant facts that every month is made from, and the slots of a month.
//! What it must never do: hold anything that grows with the number of line items.

use super::catalog::Catalog;
use super::columns::{ALL, Column};
use super::commit::{Commitments, Scale};
use super::draw::{Draw, share_out};
use super::plan::Plan;
use super::{MakeError, MakeRequest};
use apportion_model::BillingPeriod;

const DAY: i64 = 86_400;

/// A stretch of time that a line item of usage covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Seconds since 1970.
    pub(super) start: i64,
    /// Its end, exclusive.
    pub(super) end: i64,
    /// Saturday or Sunday.
    pub(super) is_weekend: bool,
}

impl Slot {
    /// Its hours.
    pub(super) fn hours(self) -> i64 {
        (self.end - self.start) / 3600
    }
}

/// One month of the report.
#[derive(Debug)]
pub(super) struct Period {
    /// Which month.
    pub(super) period: BillingPeriod,
    /// Its number.
    pub(super) index: usize,
    /// Its line items.
    pub(super) rows: u64,
    /// Begin, in seconds since 1970.
    pub(super) start: i64,
    /// End.
    pub(super) end: i64,
    /// Its days or hours.
    pub(super) slots: Vec<Slot>,
}

impl Period {
    /// Its hours.
    pub(super) fn hours(&self) -> i64 {
        (self.end - self.start) / 3600
    }
}

/// Accounts and months that play a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// Costs far more for three days: account, month and first day of the three, counted from 0.
    pub(super) spike: (usize, usize, usize),
    /// Has an idle load balancer and an idle volume.
    pub(super) idle: usize,
    /// The customer whose tag for the cost centre changes its spelling, and the month it does.
    pub(super) drift: (usize, usize),
    /// Runs Kubernetes with split cost allocation.
    pub(super) kubernetes: usize,
    /// Has credits that nearly cancel its usage.
    pub(super) credit: usize,
    /// The customer with a private rate for CloudFront.
    pub(super) private_rate: usize,
    /// Buys on the Marketplace.
    pub(super) marketplace: usize,
    /// Has a flat-rate plan.
    pub(super) flat_rate: usize,
    /// The customer that begins to tag projects, and the month.
    pub(super) project: (usize, usize),
    /// The month the private pricing agreement begins, and with it net columns and discounts.
    pub(super) agreement: usize,
    /// The month new services come up.
    pub(super) news: usize,
    /// The month that is delivered twice.
    pub(super) restated: usize,
}

/// The facts.
#[derive(Debug)]
pub(super) struct World {
    /// The seed.
    pub(super) seed: u64,
    /// Who.
    pub(super) plan: Plan,
    /// What.
    pub(super) catalog: Catalog,
    /// Reservations and Savings Plans.
    pub(super) commitments: Commitments,
    /// Who plays which part.
    pub(super) parts: Parts,
    /// The months.
    pub(super) periods: Vec<Period>,
}

impl World {
    /// The facts of a request.
    pub(super) fn new(request: &MakeRequest) -> Result<Self, MakeError> {
        let plan =
            Plan::new(request.accounts, request.customers, request.first, request.months, request.seed)?;
        let catalog = Catalog::new(request.seed);
        let months = request.months as usize;
        // The bill grows a little from month to month.
        let weights: Vec<u64> = (0..months as u64).map(|m| 100 + 2 * m + m % 3).collect();
        let rows = share_out(request.rows, &weights);
        // Whole days until an account has enough line items to fill hours.
        let is_hourly = request.rows / months as u64 / u64::from(request.accounts) > 8_000;
        let mut period = request.first;
        let mut periods = Vec::with_capacity(months);
        for (index, rows) in rows.into_iter().enumerate() {
            periods.push(month(period, index, rows, is_hourly));
            period = period.next();
        }
        let scale = Scale {
            rows: request.rows / months as u64,
            slots: if is_hourly { 720 } else { 30 },
            span: (periods[0].start, periods[months - 1].end),
            months,
            seed: request.seed,
        };
        let commitments = Commitments::new(scale, &plan, &catalog);
        let parts = parts(&plan, months);
        Ok(Self { seed: request.seed, plan, catalog, commitments, parts, periods })
    }

    /// The columns that a month's legacy files have.
    pub(super) fn columns_of(&self, month: usize) -> Vec<Column> {
        use Column::{DBundled, PProvider, TCostCenterNew, TProject};
        ALL.iter()
            .copied()
            .filter(|column| match column.info().group {
                "name" => false,
                // No line item has a value in it, so a legacy file doesn't have the column.
                _ if *column == DBundled => false,
                "discount" => month >= self.parts.agreement,
                _ if column.info().name.starts_with("Net") => month >= self.parts.agreement,
                _ => match column {
                    PProvider => month >= self.parts.news,
                    TProject => month >= self.parts.project.1,
                    TCostCenterNew => month >= self.parts.drift.1,
                    _ => true,
                },
            })
            .collect()
    }

    /// A stream of choices of this report.
    pub(super) fn draw(&self, names: &[u64]) -> Draw {
        Draw::new(self.seed, names)
    }
}

fn month(period: BillingPeriod, index: usize, rows: u64, is_hourly: bool) -> Period {
    let start = i64::from(period.start().number()) * DAY;
    let end = i64::from(period.end().number()) * DAY;
    let step = if is_hourly { 3600 } else { DAY };
    let slots = (0..(end - start) / step)
        .map(|number| {
            let begin = start + number * step;
            // 1970-01-01 was a Thursday.
            let weekday = (begin / DAY + 3) % 7;
            Slot { start: begin, end: begin + step, is_weekend: weekday >= 5 }
        })
        .collect();
    Period { period, index, rows, start, end, slots }
}

fn parts(plan: &Plan, months: usize) -> Parts {
    let latest = months - 1;
    let count = plan.customers.len();
    Parts {
        spike: (plan.account_of(1, 0), months.saturating_sub(2), 11),
        idle: plan.account_of(3, 0),
        drift: (4 % count, (months * 2 / 3).min(latest)),
        kubernetes: plan.account_of(5, 0),
        credit: plan.account_of(6, 0),
        private_rate: 7 % count,
        marketplace: plan.account_of(8, 0),
        flat_rate: plan.account_of(9, 0),
        project: (10 % count, (months / 3).min(latest)),
        agreement: 3.min(latest),
        news: (months / 2).min(latest),
        restated: latest.saturating_sub(2),
    }
}
