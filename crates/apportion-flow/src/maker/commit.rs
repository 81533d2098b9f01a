//! Commitments: reservations and Savings Plans, and how much of them a month has used.
//!
//! What comes in: the plan of accounts, the catalog and how busy the report is. What goes out: who owns what at which
//! rate, and whether a run of usage still fits. What it must never do: let a commitment cover more than it has, so
//! that what is used and what is not always sum to what is paid.

use super::amount::{ONE, times};
use super::catalog::Catalog;
use super::draw::Draw;
use super::plan::Plan;
use super::services::REGIONS;

/// How a commitment is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payment {
    /// Hourly.
    No,
    /// Half at once.
    Partial,
    /// All at once.
    All,
}

impl Payment {
    /// As AWS writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::No => "No Upfront",
            Self::Partial => "Partial Upfront",
            Self::All => "All Upfront",
        }
    }
}

/// Reserved instances.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Who bought them.
    pub(super) owner: usize,
    /// What they cover.
    pub(super) sku: usize,
    /// How many.
    pub(super) count: i64,
    /// How they are paid.
    pub(super) payment: Payment,
    /// `1yr` or `3yr`.
    pub(super) years: i64,
    /// Per instance and hour.
    pub(super) recurring: i64,
    /// Upfront fee per instance.
    pub(super) upfront: i64,
    /// Upfront fee per instance and hour of its life.
    pub(super) amortized: i64,
    /// Begin and end, in seconds since 1970.
    pub(super) life: (i64, i64),
    /// The month it begins in, 0 where it was there before.
    pub(super) since: usize,
    /// Its ARN.
    pub(super) arn: String,
    /// Its subscription.
    pub(super) subscription: String,
}

/// A Savings Plan; the payer owns them all.
#[derive(Debug)]
pub(super) struct SavingsPlan {
    /// Dollars per hour.
    pub(super) commitment: i64,
    /// How it is paid.
    pub(super) payment: Payment,
    /// Begin and end, in seconds since 1970.
    pub(super) life: (i64, i64),
    /// The month it begins in.
    pub(super) since: usize,
    /// Its ARN.
    pub(super) arn: String,
}

/// All commitments.
#[derive(Debug)]
pub(super) struct Commitments {
    /// Reservations.
    pub(super) reservations: Vec<Reservation>,
    /// Savings Plans.
    pub(super) plans: Vec<SavingsPlan>,
}

/// How busy the report is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Line items of an average month.
    pub(super) rows: u64,
    /// Slots of time in a month.
    pub(super) slots: u64,
    /// Begin of the first month and end of the last, in seconds since 1970.
    pub(super) span: (i64, i64),
    /// Months.
    pub(super) months: usize,
    /// The seed.
    pub(super) seed: u64,
}

/// Percent of EC2's resources that look for a Savings Plan, and behind them those that are reserved.
pub(super) const PLAN_SHARE: u64 = 30;
/// See [`PLAN_SHARE`].
pub(super) const RESERVED_SHARE: u64 = 20;
/// The reservation that is bought while the report runs.
const BOUGHT: usize = 4;
const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

/// What a Savings Plan makes of a rate.
pub(super) fn plan_rate(rate: i64) -> i64 {
    rate * 66 / 100 / 10_000 * 10_000
}

impl Commitments {
    /// The commitments of a report.
    pub(super) fn new(scale: Scale, plan: &Plan, catalog: &Catalog) -> Self {
        let servers = scale.rows * catalog.ec2_share() / 1000;
        let reserved = servers * RESERVED_SHARE * 85 / 10_000 / scale.slots;
        let covered = servers * PLAN_SHARE * 60 / 10_000 / scale.slots;
        Self {
            reservations: reservations(scale, plan, catalog, reserved),
            plans: plans(scale, plan, catalog, covered),
        }
    }
}

fn reservations(scale: Scale, plan: &Plan, catalog: &Catalog, concurrent: u64) -> Vec<Reservation> {
    // The last two are a customer's own; others use what it leaves idle.
    let buyer = plan.account_of(2, 0);
    let payer = plan.payer();
    let bought = 2.min(scale.months - 1);
    [
        (payer, "m5.xlarge", 1, Payment::No, 3, 0),
        (payer, "m5.2xlarge", 0, Payment::All, 3, 0),
        (payer, "r5.2xlarge", 1, Payment::Partial, 3, 0),
        (payer, "c5.xlarge", 2, Payment::No, 3, 0),
        (buyer, "m5.large", 0, Payment::Partial, 3, bought),
        (buyer, "c5.4xlarge", 1, Payment::No, 3, 0),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (owner, name, region, payment, years, since))| {
        let sku = catalog.instance(name, region);
        let discounted = catalog.skus[sku].rate / 100 * if payment == Payment::No { 56 } else { 52 };
        let (recurring, amortized) = match payment {
            Payment::No => (discounted, 0),
            Payment::Partial => (discounted / 2, discounted / 2),
            Payment::All => (0, discounted),
        };
        // Rates of a reservation have few digits, so that hours times rate is exact.
        let grain = 1_000_000;
        let (recurring, amortized) = (recurring / grain * grain, amortized / grain * grain);
        let mut draw = Draw::new(scale.seed, &[20, number as u64]);
        let id = draw.new_uuid();
        let start = if number == BOUGHT {
            month_start(scale, since)
        } else {
            scale.span.0 - 40 * DAY - draw.between(0, 99) * DAY
        };
        Reservation {
            owner,
            sku,
            count: (concurrent / 6).max(1) as i64,
            payment,
            years,
            recurring,
            upfront: amortized * years * 8760,
            amortized,
            life: (start, start + years * YEAR),
            since,
            arn: format!(
                "arn:aws:ec2:{}:{}:reserved-instances/{id}",
                REGIONS[region].code, plan.accounts[owner].id
            ),
            subscription: (4_000_000_000 + draw.below(999_999_999)).to_string(),
        }
    })
    .collect()
}

fn plans(scale: Scale, plan: &Plan, catalog: &Catalog, concurrent: u64) -> Vec<SavingsPlan> {
    let rate = catalog.mean_server_rate();
    let total = plan_rate(rate).saturating_mul(concurrent as i64).max(2 * ONE);
    let bought = 1.min(scale.months - 1);
    let expiring = scale.span.1 + 20 * DAY;
    let begun = month_start(scale, bought);
    [(60, Payment::No, expiring - 3 * YEAR, 0), (40, Payment::Partial, begun, bought)]
        .into_iter()
        .enumerate()
        .map(|(number, (share, payment, start, since))| {
            let id = Draw::new(scale.seed, &[21, number as u64]).new_uuid();
            SavingsPlan {
                commitment: total / 100 * share / 10_000_000 * 10_000_000,
                payment,
                life: (start, start + 3 * YEAR),
                since,
                arn: format!("arn:aws:savingsplans::{}:savingsplan/{id}", plan.accounts[plan.payer()].id),
            }
        })
        .collect()
}

fn month_start(scale: Scale, month: usize) -> i64 {
    let mut period = apportion_model::Instant::from_millis(scale.span.0 * 1000);
    for _ in 0..month {
        if let Some(found) = apportion_model::BillingPeriod::of(period) {
            period = apportion_model::Instant::from_millis(i64::from(found.end().number()) * DAY * 1000);
        }
    }
    period.millis() / 1000
}

/// What one month has used.
#[derive(Debug)]
pub(super) struct Usage {
    /// Instances in use, by reservation and slot.
    pub(super) instances: Vec<Vec<i64>>,
    /// Recurring fee used, by reservation.
    pub(super) recurring: Vec<i64>,
    /// Amortized upfront fee used, by reservation.
    pub(super) amortized: Vec<i64>,
    /// Commitment used, by plan and slot.
    pub(super) spent: Vec<Vec<i64>>,
}

impl Usage {
    /// Nothing used yet.
    pub(super) fn new(commitments: &Commitments, slots: usize) -> Self {
        let reservations = commitments.reservations.len();
        Self {
            instances: vec![vec![0; slots]; reservations],
            recurring: vec![0; reservations],
            amortized: vec![0; reservations],
            spent: vec![vec![0; slots]; commitments.plans.len()],
        }
    }

    /// Takes an instance of a reservation for these slots, if one is free in all of them.
    pub(super) fn take_instance(&mut self, number: usize, count: i64, slots: std::ops::Range<usize>) -> bool {
        let used = &mut self.instances[number][slots];
        let free = used.iter().all(|found| *found < count);
        if free {
            used.iter_mut().for_each(|found| *found += 1);
        }
        free
    }

    /// Takes so much of a plan in each of these slots, if all of them have it.
    pub(super) fn take_commitment(
        &mut self,
        number: usize,
        each: i64,
        limit: i64,
        slots: std::ops::Range<usize>,
    ) -> bool {
        let spent = &mut self.spent[number][slots];
        let fits = spent.iter().all(|found| found.saturating_add(each) <= limit);
        if fits {
            spent.iter_mut().for_each(|found| *found += each);
        }
        fits
    }
}

/// So many hours at a rate.
pub(super) fn hours_at(rate: i64, hours: i64) -> i64 {
    times(rate, hours * ONE)
}
