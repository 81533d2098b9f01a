//! The line items that aren't usage of a resource: fees, commitments, discounts, credits, refunds, taxes; and those
//! that tell a story.
//!
//! What comes in: a month whose usage is made, with its costs and the commitments used. What goes out: the rest of
//! the month's line items. What it must never do: make more of them than the month has room for.

use super::MakeError;
use super::amount::{ONE, portion, rate_text, times};
use super::cells::{EDP_PERCENT, PRIVATE_PERCENT, set_time};
use super::columns::Column::{self, *};
use super::commit::{Payment, hours_at};
use super::month::{Month, Resource};
use std::fmt::Write;

/// A cent.
const CENT: i64 = ONE / 100;

/// What a line item that no resource stands behind says of itself.
struct Fee<'a> {
    account: Option<usize>,
    bill: &'a str,
    kind: &'a str,
    code: &'a str,
    name: &'a str,
    description: &'a str,
    cost: i64,
}

const SUPPORT: &[(Column, &str)] = &[
    (PServiceCode, "AWSSupportEnterprise"),
    (PFamily, "AWS Support"),
    (PAccountAssistance, "Assigned Support Concierge"),
    (PArchitecturalReview, "Infrastructure event management, well-architected review"),
    (PArchitectureSupport, "Consultative review and guidance based on applications"),
    (PBestPractices, "Access to full set of checks"),
    (PCaseSeverity, "Mission critical 15 minutes"),
    (PCustomerService, "24x7 access to customer service, documentation, whitepapers and forums"),
    (PLaunchSupport, "Infrastructure event management (included)"),
    (POperationsSupport, "Operations review, recommendations, and reporting"),
    (PProactiveGuidance, "Designated Technical Account Manager"),
    (PCaseManagement, "AWS Support API"),
    (PTechnicalSupport, "24x7 access to Sr. Cloud Support Engineers via email, online chat, and phone"),
    (PThirdParty, "Interoperability and configuration guidance, and troubleshooting"),
    (PTraining, "Access to online self-paced labs"),
    (PWhoCanOpen, "Unlimited contacts/Unlimited cases (IAM supported)"),
    (PIncludedServices, "Enterprise Support"),
];

impl Month<'_> {
    /// About how many line items of this kind a month has.
    pub(super) fn specials_planned(&self) -> u64 {
        let slots = self.period.slots.len() as u64;
        let hours = self.world.commitments.plans.len() as u64 + 2;
        let accounts = self.world.plan.accounts.len() as u64;
        60 + hours * slots + self.spike_slots() as u64 * 6 + (accounts * 6).min(self.period.rows / 12)
    }

    fn spike_slots(&self) -> usize {
        if self.period.index == self.world.parts.spike.1 { 3 * self.period.slots.len() / 30 } else { 0 }
    }

    /// Makes them.
    pub(super) fn specials(&mut self) -> Result<(), MakeError> {
        self.reservation_fees()?;
        self.plan_upfront()?;
        self.idle()?;
        self.spike()?;
        self.payers_own()?;
        self.customers_own()?;
        self.credits()?;
        self.refunds()?;
        self.by_service()?;
        self.plan_fees()
    }

    /// Hands the row on if the month has room.
    fn emit_special(&mut self) -> Result<(), MakeError> {
        if self.left() == 0 { Ok(()) } else { self.emit(false) }
    }

    fn fee(&mut self, fee: &Fee<'_>) -> Result<(), MakeError> {
        self.fee_cells(fee);
        self.emit_special()
    }

    fn fee_cells(&mut self, fee: &Fee<'_>) {
        let names = [70, self.period.index as u64, self.left(), fee.account.unwrap_or(0) as u64];
        let mut draw = self.world.draw(&names);
        self.account_cells(fee.account, fee.bill, &mut draw);
        let row = &mut self.row;
        row.set(LineItemType, fee.kind);
        row.set(ProductCode, fee.code);
        row.set(PProductName, fee.name);
        row.set(Description, fee.description);
        row.number(UsageAmount, ONE);
        row.number(UnblendedCost, fee.cost);
        row.number(BlendedCost, fee.cost);
        self.plain_net(fee.cost, NetUnblendedCost, fee.cost);
    }

    /// RIFee for every reservation, and Fee for the one that is bought in this month.
    fn reservation_fees(&mut self) -> Result<(), MakeError> {
        let world = self.world;
        for (number, found) in world.commitments.reservations.iter().enumerate() {
            if self.period.index < found.since {
                continue;
            }
            let sku = &world.catalog.skus[found.sku];
            let name = sku.instance.map_or("", |instance| instance.name);
            let hours = found.count * self.period.hours();
            let recurring = hours_at(found.recurring, hours);
            let text = format!(
                "${} hourly fee per Linux/UNIX (Amazon VPC), {name} instance",
                rate_text(found.recurring)
            );
            self.fee_cells(&Fee {
                account: Some(found.owner),
                bill: "Anniversary",
                kind: "RIFee",
                code: sku.code,
                name: "Amazon Elastic Compute Cloud",
                description: &text,
                cost: recurring,
            });
            self.reservation_cells(number, hours);
            // As in real files, the month's fee ends a second before the month does.
            self.row.span(self.period.start, self.period.end - 1);
            self.emit_special()?;
            let is_bought = found.life.0 == self.period.start;
            if is_bought && found.upfront > 0 {
                let text = format!(
                    "Sign up charge for subscription: {}, planId: {}",
                    found.subscription,
                    7_000 + number
                );
                self.fee_cells(&Fee {
                    account: Some(found.owner),
                    bill: "Purchase",
                    kind: "Fee",
                    code: sku.code,
                    name: "Amazon Elastic Compute Cloud",
                    description: &text,
                    cost: hours_at(found.upfront, found.count),
                });
                self.row.set(UsageType, &sku.usage_type.replace("BoxUsage", "HeavyUsage"));
                self.row.set(RArn, &found.arn);
                self.row.set(RSubscription, &found.subscription);
                self.row.number(UsageAmount, found.count * ONE);
                self.emit_special()?;
            }
        }
        Ok(())
    }

    fn reservation_cells(&mut self, number: usize, hours: i64) {
        let found = &self.world.commitments.reservations[number];
        let sku = &self.world.catalog.skus[found.sku];
        let factor = sku.instance.map_or(10, |instance| instance.factor);
        let amortized = hours_at(found.amortized, hours);
        let used: i64 = self.used.instances[number]
            .iter()
            .zip(&self.period.slots)
            .map(|(count, slot)| count * slot.hours())
            .sum();
        let unused_recurring = hours_at(found.recurring, hours) - self.used.recurring[number];
        let unused_amortized = amortized - self.used.amortized[number];
        let each = self.period.hours();
        let row = &mut self.row;
        row.set(UsageType, &sku.usage_type.replace("BoxUsage", "HeavyUsage"));
        row.set(Operation, sku.operation);
        row.number(UsageAmount, hours * ONE);
        row.number(NormalizationFactor, factor * (ONE / 10));
        row.number(NormalizedUsageAmount, hours * factor * (ONE / 10));
        row.set(UnblendedRate, &rate_text(found.recurring));
        row.set(PRegion, sku.region.code);
        row.set(PRegionCode, sku.region.code);
        row.set(PSku, &sku.id);
        row.set(Term, "Reserved");
        row.set(LeaseLength, "3yr");
        row.set(OfferingClass, "standard");
        row.set(PurchaseOption, found.payment.as_str());
        row.set(RArn, &found.arn);
        row.set(RSubscription, &found.subscription);
        row.set(RModification, "Original");
        row.set(RNumber, &found.count.to_string());
        row.set(RUnits, &rate_text(each * ONE));
        row.set(RNormalizedUnits, &rate_text(each * factor * (ONE / 10)));
        row.set(RTotalUnits, &rate_text(hours * ONE));
        row.set(RTotalNormalized, &rate_text(hours * factor * (ONE / 10)));
        set_time(row, RStartTime, found.life.0);
        set_time(row, REndTime, found.life.1 - 1);
        row.number(RAmortizedFee, amortized);
        row.number(RUnused, (hours - used) * ONE);
        row.number(RUnusedNormalized, (hours - used) * factor * (ONE / 10));
        row.number(RUnusedRecurring, unused_recurring);
        row.number(RUnusedAmortized, unused_amortized);
        row.number(RUpfront, hours_at(found.upfront, found.count));
        if self.period.index >= self.world.parts.agreement {
            row.number(RNetAmortizedFee, amortized);
            row.number(RNetUnusedRecurring, unused_recurring);
            row.number(RNetUnusedAmortized, unused_amortized);
            row.number(RNetUpfront, hours_at(found.upfront, found.count));
        }
    }

    fn plan_upfront(&mut self) -> Result<(), MakeError> {
        let world = self.world;
        for (number, plan) in world.commitments.plans.iter().enumerate() {
            if plan.payment == Payment::No || plan.since != self.period.index {
                continue;
            }
            let hours = (plan.life.1 - plan.life.0) / 3600;
            self.fee_cells(&Fee {
                account: Some(world.plan.payer()),
                bill: "Purchase",
                kind: "SavingsPlanUpfrontFee",
                code: "ComputeSavingsPlans",
                name: "Savings Plans for AWS Compute usage",
                description: "3 year Partial Upfront Compute Savings Plan",
                cost: hours_at(plan.commitment / 2, hours),
            });
            self.row.set(UsageType, "ComputeSP:3yrPartialUpfront");
            self.plan_cells(number, usize::MAX);
            self.emit_special()?;
        }
        Ok(())
    }

    /// The hourly (or daily) fee of each plan, with what was used of it.
    fn plan_fees(&mut self) -> Result<(), MakeError> {
        let world = self.world;
        for (number, plan) in world.commitments.plans.iter().enumerate() {
            if self.period.index < plan.since {
                continue;
            }
            let (usage, description) = if plan.payment == Payment::No {
                ("ComputeSP:3yrNoUpfront", "3 year No Upfront Compute Savings Plan")
            } else {
                ("ComputeSP:3yrPartialUpfront", "3 year Partial Upfront Compute Savings Plan")
            };
            let share = if plan.payment == Payment::No { plan.commitment } else { plan.commitment / 2 };
            self.fee_cells(&Fee {
                account: Some(world.plan.payer()),
                bill: "Anniversary",
                kind: "SavingsPlanRecurringFee",
                code: "ComputeSavingsPlans",
                name: "Savings Plans for AWS Compute usage",
                description,
                cost: 0,
            });
            self.row.set(UsageType, usage);
            self.row.set(UnblendedRate, &rate_text(share));
            self.row.set(Unit, "Hrs");
            self.plan_cells(number, usize::MAX);
            let month = self.period.hours();
            self.row.number(SRecurring, hours_at(share, month));
            self.row.number(SAmortized, hours_at(plan.commitment - share, month));
            if self.period.index >= world.parts.agreement {
                self.row.number(SNetRecurring, hours_at(share, month));
                self.row.number(SNetAmortized, hours_at(plan.commitment - share, month));
            }
            for at in 0..self.period.slots.len() {
                let slot = self.period.slots[at];
                let cost = hours_at(share, slot.hours());
                self.row.span(slot.start, slot.end);
                self.row.number(UsageAmount, slot.hours() * ONE);
                self.row.number(UnblendedCost, cost);
                self.row.number(BlendedCost, cost);
                self.row.number(STotal, hours_at(plan.commitment, slot.hours()));
                self.row.number(SUsed, self.used.spent[number][at]);
                self.plain_net(cost, NetUnblendedCost, cost);
                self.emit_special()?;
            }
        }
        Ok(())
    }

    /// A load balancer and a volume that cost every day and that nothing ever uses.
    fn idle(&mut self) -> Result<(), MakeError> {
        for mut resource in idle_resources(self.world) {
            self.usage_cells(&mut resource, "Usage");
            let slots = self.period.slots.len().min(self.left() as usize);
            self.usage_slots(&mut resource, 0..slots)?;
        }
        Ok(())
    }

    /// Six machines for machine learning, for three days.
    fn spike(&mut self) -> Result<(), MakeError> {
        let slots = self.spike_slots();
        let per_day = self.period.slots.len() / ((self.period.end - self.period.start) / 86_400) as usize;
        let first = self.world.parts.spike.2 * per_day;
        for number in 0..if slots == 0 { 0 } else { 6 } {
            let mut resource = spike_resource(self.world, number);
            self.usage_cells(&mut resource, "Usage");
            let room = (3 * per_day).min(self.left() as usize);
            self.usage_slots(&mut resource, first..first + room)?;
        }
        Ok(())
    }

    fn payers_own(&mut self) -> Result<(), MakeError> {
        let payer = Some(self.world.plan.payer());
        let total: i64 = self.cost.iter().sum();
        let support = portion(total, 3, 100) / CENT * CENT;
        let fee = |kind, code, name, description, cost| Fee {
            account: payer,
            bill: "Anniversary",
            kind,
            code,
            name,
            description,
            cost,
        };
        let text = "AWS Support (Enterprise), 3% of monthly AWS usage";
        self.fee_cells(&fee("Fee", "AWSSupportEnterprise", "AWS Support (Enterprise)", text, support));
        for (column, value) in SUPPORT {
            self.row.set(*column, value);
        }
        self.row.set(UsageType, "Dollar");
        self.emit_special()?;
        let text = "Domain registration, example.com renewal, 1 year";
        self.fee(&fee("Fee", "AmazonRegistrar", "Amazon Registrar", text, 13 * ONE))?;
        let text = "AWS Partner Network, solution provider credit";
        self.fee(&fee(
            "Credit",
            "AmazonEC2",
            "Amazon Elastic Compute Cloud",
            text,
            -portion(total, 1, 200) / CENT * CENT,
        ))?;
        self.tax(payer, "AWSSupportEnterprise", "AWS Support (Enterprise)", support)?;
        if self.period.index >= self.world.parts.agreement {
            self.discount(payer, "EdpDiscount", "AWSSupportEnterprise", -portion(support, EDP_PERCENT, 100))?;
        }
        // AWS itself writes a few line items that name no account at all.
        let text = "Billing adjustment, rounding of consolidated usage";
        let adjustment =
            Fee { account: None, ..fee("Fee", "AWSBillingAdjustment", "AWS Billing", text, -3 * CENT) };
        self.fee(&adjustment)?;
        self.tax(None, "AWSBillingAdjustment", "AWS Billing", ONE)
    }

    fn customers_own(&mut self) -> Result<(), MakeError> {
        let parts = self.world.parts;
        let services = self.world.catalog.services.len();
        self.fee_cells(&Fee {
            account: Some(parts.marketplace),
            bill: "Purchase",
            kind: "Fee",
            code: "3x9kq2m7vd8f1p5r6t4w0zabc",
            name: "Harvest Observability, Enterprise",
            description: "AWS Marketplace software usage|eu-central-1|Harvest Observability, Enterprise, 50 hosts",
            cost: 1_250 * ONE,
        });
        self.row.set(BillingEntity, "AWS Marketplace");
        self.row.set(LegalEntity, "Harvest Software, Inc.");
        self.row.set(UsageType, "MP:host_count-Units");
        self.emit_special()?;
        self.fee_cells(&Fee {
            account: Some(parts.flat_rate),
            bill: "Anniversary",
            kind: "FlatRateSubscription",
            code: "AmazonCloudFront",
            name: "Amazon CloudFront",
            description: "CloudFront Business flat-rate pricing plan, per month",
            cost: 200 * ONE,
        });
        self.row.set(UsageType, "Global-BusinessPlan-Monthly");
        self.row.set(PServiceCode, "AmazonCloudFront");
        self.emit_special()?;
        let front = self.world.catalog.service("AmazonCloudFront");
        let cost = self.cost[parts.flat_rate * services + front];
        let bundled = -(portion(cost, 3, 100) + 125 * CENT);
        self.discount(Some(parts.flat_rate), "BundledDiscount", "AmazonCloudFront", bundled)?;
        let first = self.world.plan.account_of(parts.private_rate, 0);
        for account in 0..self.world.plan.accounts.len() {
            let cost = self.cost[account * services + front];
            let is_theirs = self.world.plan.accounts[account].owner == Some(parts.private_rate);
            if is_theirs && (cost > 0 || account == first) {
                let cost = -portion(cost, PRIVATE_PERCENT, 100);
                self.discount(Some(account), "PrivateRateDiscount", "AmazonCloudFront", cost)?;
            }
        }
        Ok(())
    }

    fn discount(
        &mut self,
        account: Option<usize>,
        kind: &str,
        code: &str,
        cost: i64,
    ) -> Result<(), MakeError> {
        let name = self
            .world
            .catalog
            .services
            .iter()
            .find(|(found, _)| *found == code)
            .map_or(code, |(_, name)| name);
        let mut text = String::new();
        let _ = match kind {
            "EdpDiscount" => write!(text, "Enterprise Discount Program Discount, {code}"),
            "PrivateRateDiscount" => write!(text, "Discount for private pricing, {code} data transfer"),
            _ => write!(text, "Bundled discount: {code} with flat-rate plan"),
        };
        self.fee_cells(&Fee { account, bill: "Anniversary", kind, code, name, description: &text, cost });
        self.row.blank(BlendedCost);
        self.emit_special()
    }

    fn tax(&mut self, account: Option<usize>, code: &str, name: &str, on: i64) -> Result<(), MakeError> {
        let is_eu = account.is_none_or(|found| self.world.plan.accounts[found].is_eu);
        let cost = portion(on, if is_eu { 1_900 } else { 625 }, 10_000);
        let cents = (cost + CENT / 2) / CENT * CENT;
        let text = format!("Tax for product code {code}");
        self.fee_cells(&Fee {
            account,
            bill: "Anniversary",
            kind: "Tax",
            code,
            name,
            description: &text,
            cost: cents,
        });
        self.row.set(TaxType, if is_eu { "VAT" } else { "USSalesTax" });
        self.emit_special()
    }

    /// Credits that nearly cancel what one account used.
    fn credits(&mut self) -> Result<(), MakeError> {
        let account = self.world.parts.credit;
        let services = self.world.catalog.services.len();
        for (service, (code, name)) in self.world.catalog.services.iter().enumerate() {
            let cost = self.cost[account * services + service];
            if cost > 0 {
                // What is left is real, and so small that only exact sums see it.
                let credit = -(cost - (cost % 97).min(7));
                self.fee(&Fee {
                    account: Some(account),
                    bill: "Anniversary",
                    kind: "Credit",
                    code,
                    name,
                    description: "AWS Activate, credit for startups",
                    cost: credit,
                })?;
            }
        }
        Ok(())
    }

    /// Refunds of the month before; the older version of a month doesn't have them yet.
    fn refunds(&mut self) -> Result<(), MakeError> {
        let payer = self.world.plan.payer();
        let account = self.world.plan.account_of(self.period.index, 0);
        for (account, cents) in [(account, 3_742), (payer, 915)] {
            self.fee_cells(&Fee {
                account: Some(account),
                bill: "Refund",
                kind: "Refund",
                code: "AmazonRDS",
                name: "Amazon Relational Database Service",
                description: "Refund for service disruption, eu-central-1, previous month",
                cost: -cents * CENT,
            });
            self.row.span(self.period.start - 3 * 86_400, self.period.start - 2 * 86_400);
            if self.left() > 0 {
                // Always lacking in the older version: that is what "restated" looks like from outside.
                self.emit_unless_older()?;
            }
        }
        Ok(())
    }

    /// Taxes and the agreement's discount, by account and service, as far as there is room.
    fn by_service(&mut self) -> Result<(), MakeError> {
        let world = self.world;
        let services = world.catalog.services.len();
        let accounts = world.plan.accounts.len();
        let has_agreement = self.period.index >= world.parts.agreement;
        let keep = (world.commitments.plans.len() * self.period.slots.len()) as u64;
        let mut room =
            self.left().saturating_sub(keep).min((accounts as u64 * 6).min(self.period.rows / 12).max(2));
        // Service by service, so that every account gets its turn before the room is used up.
        for (service, (code, name)) in world.catalog.services.iter().enumerate() {
            for account in 0..accounts {
                let cost = self.cost[account * services + service];
                if cost < ONE / 2 || room == 0 {
                    continue;
                }
                self.tax(Some(account), code, name, cost)?;
                room -= 1;
                if has_agreement && room > 0 {
                    self.discount(Some(account), "EdpDiscount", code, -portion(cost, EDP_PERCENT, 100))?;
                    room -= 1;
                }
            }
        }
        Ok(())
    }
}

/// The idle load balancer and the idle volume.
pub(super) fn idle_resources(world: &super::world::World) -> [Resource; 2] {
    let account = world.parts.idle;
    let region = world.plan.accounts[account].regions[0];
    [("LoadBalancerUsage", 1, 0), ("EBS:VolumeUsage.io2", 2_000, 1)].map(|(usage, base, number)| Resource {
        account,
        sku: world.catalog.usage(usage, region),
        base,
        ids: world.draw(&[60, number]),
        draw: world.draw(&[61, number]),
    })
}

/// One of the spike's machines.
pub(super) fn spike_resource(world: &super::world::World, number: u64) -> Resource {
    let account = world.parts.spike.0;
    let region = world.plan.accounts[account].regions[0];
    Resource {
        account,
        sku: world.catalog.instance("p4d.24xlarge", region),
        base: 1,
        ids: world.draw(&[62, number]),
        draw: world.draw(&[63, number]),
    }
}

/// The cost of one of the spike's machines for three days.
pub(super) fn spike_cost(world: &super::world::World) -> i64 {
    times(world.catalog.skus[spike_resource(world, 0).sku].rate, 6 * 72 * ONE)
}
