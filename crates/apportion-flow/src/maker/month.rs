//! One month's line items of usage.
//!
//! What comes in: the facts of the report and the month. What goes out: exactly as many line items as the month has,
//! clumped by account, resource and time as AWS's are, each handed on as soon as it is made. What it must never do:
//! keep line items, or know how they are written.

use super::MakeError;
use super::amount::{ONE, portion, times};
use super::cells::{EDP_PERCENT, PRIVATE_PERCENT, Scratch};
use super::columns::Column::{self, *};
use super::commit::{PLAN_SHARE, RESERVED_SHARE, Usage, plan_rate};
use super::draw::{Draw, share_out};
use super::row::Row;
use super::services::Measure;
use super::world::{Period, Slot, World};
use std::ops::Range;

/// Percent of EC2's resources that look for a commitment.
const COVERED_SHARE: u64 = PLAN_SHARE + RESERVED_SHARE;

/// Takes line items one by one; the row is reused.
pub(super) type Take<'a> = dyn FnMut(&Row) -> Result<(), MakeError> + 'a;

/// A month in the making.
pub(super) struct Month<'a> {
    pub(super) world: &'a World,
    pub(super) period: &'a Period,
    /// Whether this is the month's older version, which lacks some of the newer one's line items.
    pub(super) is_older: bool,
    pub(super) row: Row,
    pub(super) scratch: Scratch,
    take: &'a mut Take<'a>,
    /// Line items made so far, those that the older version lacks included.
    made: u64,
    /// Whether the fees of commitments are made, so that no more of them can be used.
    is_closed: bool,
    /// Commitments used so far.
    pub(super) used: Usage,
    /// On-demand cost of usage by account and service.
    pub(super) cost: Vec<i64>,
    /// Covered cost by slot, until it is negated.
    covered: Vec<i64>,
}

/// A resource that is about to get its line items.
pub(super) struct Resource {
    pub(super) account: usize,
    pub(super) sku: usize,
    /// How much of it there is: units of stock, or units or thousandths an hour.
    pub(super) base: i64,
    /// What the resource is for its whole life: its id and its tags.
    pub(super) ids: Draw,
    /// What differs from month to month.
    pub(super) draw: Draw,
}

impl<'a> Month<'a> {
    /// Begins a month.
    pub(super) fn new(world: &'a World, period: &'a Period, is_older: bool, take: &'a mut Take<'a>) -> Self {
        Self {
            world,
            period,
            is_older,
            row: Row::new(),
            scratch: Scratch::default(),
            take,
            made: 0,
            is_closed: false,
            used: Usage::new(&world.commitments, period.slots.len()),
            cost: vec![0; world.plan.accounts.len() * world.catalog.services.len()],
            covered: vec![0; period.slots.len()],
        }
    }

    /// Makes all line items.
    pub(super) fn run(mut self) -> Result<(), MakeError> {
        let special = self.specials_planned().min(self.period.rows / 3);
        let weights: Vec<u64> = self.world.plan.accounts.iter().map(|a| a.weight).collect();
        let budgets = share_out(self.period.rows - special, &weights);
        self.passes(&budgets)?;
        self.is_closed = true;
        self.specials()?;
        // Whatever the special ones left goes to the heaviest account.
        let heaviest = (0..budgets.len()).max_by_key(|a| (budgets[*a], *a)).unwrap_or(0);
        let left = self.left();
        self.visit(heaviest, 1_000_000, 1, left)
    }

    /// Line items still to make.
    pub(super) fn left(&self) -> u64 {
        self.period.rows - self.made
    }

    /// Goes round the accounts a few times, in another order each time, with part of their resources.
    fn passes(&mut self, budgets: &[u64]) -> Result<(), MakeError> {
        const PASSES: u64 = 4;
        let mut order: Vec<usize> = (0..budgets.len()).collect();
        for pass in 0..PASSES {
            let month = self.period.index as u64;
            order.sort_by_key(|a| (self.world.draw(&[30, month, pass, *a as u64]).next(), *a));
            for &account in &order {
                // An account with few line items is visited once, so that its resources live all month.
                let visits = (budgets[account] / 240).clamp(1, PASSES);
                if pass < visits {
                    let parts = share_out(budgets[account], &vec![1; visits as usize]);
                    self.visit(account, pass, visits, parts[pass as usize])?;
                }
            }
        }
        Ok(())
    }

    fn visit(&mut self, account: usize, first: u64, step: u64, mut left: u64) -> Result<(), MakeError> {
        let mut number = first;
        while left > 0 {
            left -= self.block(account, number, left)?;
            number += step;
        }
        Ok(())
    }

    /// Hands the row on.
    pub(super) fn emit(&mut self, may_lack: bool) -> Result<(), MakeError> {
        self.made += 1;
        if self.is_older && may_lack && self.made % 37 == 5 {
            return Ok(());
        }
        (self.take)(&self.row)
    }

    /// Hands the row on, if this isn't the older version.
    pub(super) fn emit_unless_older(&mut self) -> Result<(), MakeError> {
        self.made += 1;
        if self.is_older { Ok(()) } else { (self.take)(&self.row) }
    }

    /// One resource, or a few alike, for as much of the month as there are line items left. Returns how many it took.
    fn block(&mut self, account: usize, number: u64, left: u64) -> Result<u64, MakeError> {
        let world = self.world;
        let names = [40, account as u64, number];
        // Some resources live for a month, the others for the whole report.
        let is_short_lived = world.draw(&names).percent(35);
        let life = if is_short_lived { self.period.index as u64 + 1 } else { 0 };
        let mut draw = world.draw(&[41, account as u64, number, life]);
        let who = &world.plan.accounts[account];
        let region = who.regions[usize::from(draw.percent(25))];
        let with_new = self.period.index >= world.parts.news;
        let mut sku = world.catalog.choose(&mut draw, region, with_new);
        for _ in 1..who.scale {
            // Big accounts have big servers.
            sku = world.catalog.bigger(sku, world.catalog.choose(&mut draw, region, with_new));
        }
        let base = self.base(sku, who.scale, &mut draw);
        let choice = draw.below(100);
        let month = self.period.index as u64;
        let resource = Resource {
            account,
            sku,
            base,
            ids: draw,
            draw: world.draw(&[44, account as u64, number, month]),
        };
        if account == world.parts.kubernetes && choice.is_multiple_of(3) && left >= 5 {
            return self.kubernetes(resource, left);
        }
        let can_be_covered = world.catalog.is_server(sku) && !self.is_closed;
        match choice {
            _ if !can_be_covered => self.usage_block(resource, left),
            0..PLAN_SHARE if left >= 2 => self.covered_block(resource, choice, left),
            PLAN_SHARE..COVERED_SHARE => self.reserved_block(resource, left),
            _ => self.usage_block(resource, left),
        }
    }

    /// How much of something an account of this size has.
    fn base(&self, sku: usize, scale: i64, draw: &mut Draw) -> i64 {
        let (low, high) = match self.world.catalog.skus[sku].measure {
            Measure::Hours => return 1,
            Measure::Stock(low, high) | Measure::Count(low, high) | Measure::Volume(low, high) => (low, high),
        };
        // Most are small: the lower of two draws.
        let size = draw.between(low, high).min(draw.between(low, high));
        size * scale
    }

    /// The slots of a resource that has so many line items, from a random first one on.
    pub(super) fn stretch(&self, count: u64, draw: &mut Draw) -> Range<usize> {
        let all = self.period.slots.len();
        let count = (count as usize).min(all);
        let first = draw.below((all - count) as u64 + 1) as usize;
        first..first + count
    }

    /// Ten-billionths of a unit that a resource used in a slot.
    fn amount(&self, resource: &mut Resource, slot: Slot) -> i64 {
        const MOST: i64 = 900_000_000;
        let hours = slot.hours();
        let growth = 100 + 2 * self.period.index as i64;
        let busy = if slot.is_weekend { 60 } else { 100 };
        let amount = match self.world.catalog.skus[resource.sku].measure {
            Measure::Hours => {
                let account = &self.world.plan.accounts[resource.account];
                // Development sleeps at night and on the weekend.
                let hours = match (account.environment, slot.is_weekend) {
                    ("dev" | "sandbox", _) if hours == 1 => 1,
                    ("dev" | "sandbox", true) => 4,
                    ("dev" | "sandbox", false) => 11,
                    _ => hours,
                };
                return hours * ONE;
            }
            Measure::Stock(..) => {
                let stock = resource.base.min(MOST) * ONE;
                return portion(stock, hours * growth, self.period.hours() * 100);
            }
            Measure::Count(..) => {
                let count = resource.base * hours / 100 * busy / 100 * resource.draw.between(70, 130);
                return (count * growth / 100).clamp(1, MOST) * ONE;
            }
            Measure::Volume(..) => resource.base * hours * busy / 100 * resource.draw.between(70, 130) / 100,
        };
        // Thousandths of a unit, with the odd digits that gigabytes of bytes have.
        (amount * growth / 100).clamp(1, MOST) * (ONE / 1000) + resource.draw.between(0, 9_999_999)
    }

    /// On-demand usage of one resource.
    fn usage_block(&mut self, mut resource: Resource, left: u64) -> Result<u64, MakeError> {
        let slots = self.stretch(left, &mut resource.draw);
        self.usage_cells(&mut resource, "Usage");
        self.usage_slots(&mut resource, slots.clone())?;
        Ok(slots.len() as u64)
    }

    /// The line items of on-demand usage whose cells are set.
    pub(super) fn usage_slots(
        &mut self,
        resource: &mut Resource,
        slots: Range<usize>,
    ) -> Result<(), MakeError> {
        for number in slots {
            let slot = self.period.slots[number];
            let mut amount = self.amount(resource, slot);
            if self.is_older && self.made % 29 == 3 {
                amount -= amount / 16;
            }
            self.row.span(slot.start, slot.end);
            let cost = self.on_demand_numbers(resource.account, resource.sku, amount);
            self.add_cost(resource.account, resource.sku, cost);
            self.emit(true)?;
        }
        Ok(())
    }

    /// Adds to what discounts, credits and taxes are made from.
    fn add_cost(&mut self, account: usize, sku: usize, cost: i64) {
        let services = self.world.catalog.services.len();
        self.cost[account * services + self.world.catalog.skus[sku].service] += cost;
    }

    /// Amount and cost at the on-demand rate; returns the unblended cost.
    fn on_demand_numbers(&mut self, account: usize, sku: usize, amount: i64) -> i64 {
        let rate = self.world.catalog.skus[sku].rate;
        let cost = times(rate, amount);
        self.amount_numbers(sku, amount);
        self.row.number(UnblendedCost, cost);
        self.row.number(BlendedCost, cost);
        self.row.number(PublicCost, cost);
        if self.period.index >= self.world.parts.agreement {
            let discount = -portion(cost, EDP_PERCENT, 100);
            self.row.number(DEdp, discount);
            let mut total = discount;
            let has_private_rate =
                self.world.plan.accounts[account].owner == Some(self.world.parts.private_rate);
            if has_private_rate && self.world.catalog.skus[sku].code == "AmazonCloudFront" {
                let private = -portion(cost, PRIVATE_PERCENT, 100);
                self.row.number(DPrivate, private);
                total += private;
            }
            self.row.number(DTotal, total);
            self.row.number(NetUnblendedCost, cost + total);
        }
        cost
    }

    /// Amount, and the normalized amount of an instance.
    fn amount_numbers(&mut self, sku: usize, amount: i64) {
        self.row.number(UsageAmount, amount);
        if let Some(instance) = self.world.catalog.skus[sku].instance {
            self.row.number(NormalizedUsageAmount, times(amount, instance.factor * (ONE / 10)));
        }
    }

    /// A few servers alike, covered by a Savings Plan, and what negates them; else on-demand usage.
    fn covered_block(&mut self, mut resource: Resource, choice: u64, left: u64) -> Result<u64, MakeError> {
        let world = self.world;
        let siblings = (1 + resource.draw.below(3)).min(left - 1);
        let slots = self.stretch(left / (siblings + 1), &mut resource.draw);
        let number = usize::from(choice % 5 >= 3);
        let plan = &world.commitments.plans[number];
        let hours = self.period.slots[0].hours();
        let effective = times(plan_rate(world.catalog.skus[resource.sku].rate), hours * ONE);
        let limit = times(plan.commitment, hours * ONE);
        if self.period.index < plan.since
            || !self.used.take_commitment(number, effective * siblings as i64, limit, slots.clone())
        {
            return self.usage_block(resource, left);
        }
        self.covered[slots.clone()].fill(0);
        for _ in 0..siblings {
            self.usage_cells(&mut resource, "SavingsPlanCoveredUsage");
            self.plan_cells(number, resource.sku);
            for at in slots.clone() {
                let slot = self.period.slots[at];
                self.row.span(slot.start, slot.end);
                let cost = self.on_demand_numbers(resource.account, resource.sku, hours * ONE);
                self.row.number(SEffective, effective);
                self.plain_net(cost, SNetEffective, effective);
                self.covered[at] += cost;
                self.emit(false)?;
            }
        }
        self.negation_cells(&resource, number);
        for at in slots.clone() {
            let slot = self.period.slots[at];
            self.row.span(slot.start, slot.end);
            let cost = -self.covered[at];
            self.row.number(UsageAmount, -hours * ONE * siblings as i64);
            self.row.number(UnblendedCost, cost);
            self.row.number(BlendedCost, cost);
            self.row.number(PublicCost, 0);
            self.plain_net(cost, SNetEffective, 0);
            self.emit(false)?;
        }
        Ok(slots.len() as u64 * (siblings + 1))
    }

    /// Net columns of what no discount applies to.
    pub(super) fn plain_net(&mut self, cost: i64, column: Column, value: i64) {
        if self.period.index >= self.world.parts.agreement {
            self.row.number(NetUnblendedCost, cost);
            self.row.number(column, value);
            self.row.blank(DEdp);
            self.row.blank(DPrivate);
            self.row.blank(DTotal);
        }
    }

    /// A server that a reservation covers; else on-demand usage.
    fn reserved_block(&mut self, mut resource: Resource, left: u64) -> Result<u64, MakeError> {
        let world = self.world;
        let slots = self.stretch(left, &mut resource.draw);
        let number = resource.draw.below(world.commitments.reservations.len() as u64) as usize;
        let found = &world.commitments.reservations[number];
        if self.period.index < found.since || !self.used.take_instance(number, found.count, slots.clone()) {
            return self.usage_block(resource, left);
        }
        resource.sku = found.sku;
        self.usage_cells(&mut resource, "DiscountedUsage");
        self.reserved_cells(number);
        for at in slots.clone() {
            let slot = self.period.slots[at];
            self.row.span(slot.start, slot.end);
            let amount = slot.hours() * ONE;
            self.on_demand_numbers(resource.account, resource.sku, amount);
            let (recurring, amortized) = (times(found.recurring, amount), times(found.amortized, amount));
            self.row.number(UnblendedCost, 0);
            self.row.number(BlendedCost, 0);
            self.row.number(RRecurring, recurring);
            self.row.number(RAmortized, amortized);
            self.row.number(REffective, recurring + amortized);
            self.plain_net(0, RNetRecurring, recurring);
            self.plain_net(0, RNetAmortized, amortized);
            self.plain_net(0, RNetEffective, recurring + amortized);
            self.used.recurring[number] += recurring;
            self.used.amortized[number] += amortized;
            self.emit(false)?;
        }
        Ok(slots.len() as u64)
    }

    /// A node and the split line items of two pods on it.
    fn kubernetes(&mut self, mut resource: Resource, left: u64) -> Result<u64, MakeError> {
        let region = self.world.plan.accounts[resource.account].regions[0];
        resource.sku = self.world.catalog.instance("m5.2xlarge", region);
        resource.base = 1;
        let slots = self.stretch(left / 5, &mut resource.draw);
        self.usage_cells(&mut resource, "Usage");
        self.usage_slots(&mut resource, slots.clone())?;
        let node = self.scratch.resource.clone();
        let sku = &self.world.catalog.skus[resource.sku];
        for part in 0..4i64 {
            let (is_memory, ratio) = (part % 2 == 1, if part < 2 { 45 } else { 30 });
            self.pod_cells(&mut resource, &node, is_memory, part / 2);
            for at in slots.clone() {
                let slot = self.period.slots[at];
                let hours = slot.hours();
                // A processor hour is priced as nine gigabyte hours, so memory is the smaller part of a node.
                let whole = portion(times(sku.rate, hours * ONE), if is_memory { 31 } else { 69 }, 100);
                let size = if is_memory { 32 } else { 8 } * hours * ONE;
                self.row.span(slot.start, slot.end);
                self.pod_numbers(whole, size, ratio, &mut resource.draw);
                self.emit(false)?;
            }
        }
        Ok(slots.len() as u64 * 5)
    }

    fn pod_numbers(&mut self, whole: i64, size: i64, ratio: i64, draw: &mut Draw) {
        let cost = portion(whole, ratio, 100);
        // A quarter of the node is nobody's; it is shared out by what the pods use.
        let unused = portion(whole, ratio * 25, 7_500);
        let used = portion(size, ratio, 100);
        self.row.number(UsageAmount, used);
        self.row.number(UnblendedCost, 0);
        self.row.number(BlendedCost, 0);
        self.row.number(XRatio, ratio * (ONE / 100));
        self.row.number(XUsage, used);
        self.row.number(XActual, portion(used, draw.between(20, 95), 100));
        self.row.number(XReserved, used);
        self.row.number(XCost, cost);
        self.row.number(XUnused, unused);
        self.row.number(XPublicCost, cost);
        self.row.number(XPublicUnused, unused);
        if self.period.index >= self.world.parts.agreement {
            self.row.number(NetUnblendedCost, 0);
            self.row.number(XNetCost, cost);
            self.row.number(XNetUnused, unused);
        }
    }
}
