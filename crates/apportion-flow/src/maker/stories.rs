//! What a reader will find in the data.
//!
//! What comes in: the facts of the report. What goes out: a title and a text each, with customer, account, resource
//! and day. What it must never do: tell of anything that isn't in the line items.

use super::Story;
use super::amount::price_text;
use super::cells::resource_id;
use super::special::{idle_resources, spike_cost, spike_resource};
use super::world::World;
use apportion_model::{Day, Instant};

/// The stories of a report.
pub(super) fn stories(world: &World) -> Vec<Story> {
    let mut list =
        vec![spike(world), idle(world), expiring(world), drift(world), credit(world), restated(world)];
    list.extend(moved(world));
    list.push(shared(world));
    list
}

fn owner(world: &World, account: usize) -> String {
    world.plan.accounts[account].owner.map_or("nobody".to_string(), |owner| name(world, owner))
}

fn name(world: &World, customer: usize) -> String {
    let found = &world.plan.customers[customer];
    format!("{} ({})", found.name, found.id)
}

fn day(seconds: i64) -> Day {
    Instant::from_millis(seconds * 1000).day()
}

fn spike(world: &World) -> Story {
    let (account, month, first) = world.parts.spike;
    let start = day(world.periods[month].start).plus(first as i32);
    let resource = spike_resource(world, 0);
    let mut id = String::new();
    resource_id(world, account, resource.sku, &mut resource.ids.clone(), &mut id);
    Story {
        title: "Cost spike".to_string(),
        text: format!(
            "{}: account {} ran six p4d.24xlarge from {start} to {} for ${} in three days, {id} first.",
            owner(world, account),
            world.plan.accounts[account].id,
            start.plus(2),
            price_text(spike_cost(world)),
        ),
    }
}

fn idle(world: &World) -> Story {
    let mut ids = [String::new(), String::new()];
    for (resource, id) in idle_resources(world).iter().zip(&mut ids) {
        resource_id(world, resource.account, resource.sku, &mut resource.ids.clone(), id);
    }
    Story {
        title: "Idle resources".to_string(),
        text: format!(
            "{}: account {} pays every day for the load balancer {}, which has no traffic, and for the volume {} of \
             2,000 GB, which is attached to nothing.",
            owner(world, world.parts.idle),
            world.plan.accounts[world.parts.idle].id,
            ids[0],
            ids[1],
        ),
    }
}

fn expiring(world: &World) -> Story {
    let plan = &world.commitments.plans[0];
    Story {
        title: "Savings Plan about to expire".to_string(),
        text: format!(
            "The payer's plan {} of ${} an hour ends on {}, 20 days after the last month.",
            plan.arn,
            price_text(plan.commitment),
            day(plan.life.1),
        ),
    }
}

fn drift(world: &World) -> Story {
    let (customer, month) = world.parts.drift;
    Story {
        title: "Tag drift".to_string(),
        text: format!(
            "{}: from {} on the tag user:CostCenter is spelled user:cost-center.",
            name(world, customer),
            world.periods[month].period.start(),
        ),
    }
}

fn credit(world: &World) -> Story {
    Story {
        title: "Credits nearly cancel usage".to_string(),
        text: format!(
            "{}: account {} has credits for all but the last digits of what it used.",
            owner(world, world.parts.credit),
            world.plan.accounts[world.parts.credit].id,
        ),
    }
}

fn restated(world: &World) -> Story {
    Story {
        title: "Restated month".to_string(),
        text: format!(
            "{} was delivered twice; the second version has late usage, changed amounts and refunds that the first \
             lacks.",
            world.periods[world.parts.restated].period.month_text(),
        ),
    }
}

fn moved(world: &World) -> Option<Story> {
    let found = world.plan.moved?;
    Some(Story {
        title: "Account that moved".to_string(),
        text: format!(
            "Account {} belongs to {} until {} and to {} from that day on.",
            world.plan.accounts[found.account].id,
            name(world, found.customers.0),
            found.day,
            name(world, found.customers.1),
        ),
    })
}

fn shared(world: &World) -> Story {
    let found = &world.commitments.reservations[4];
    Story {
        title: "Reservations used by others".to_string(),
        text: format!(
            "{}: account {} owns {}; whoever has a fitting instance uses what it leaves.",
            owner(world, found.owner),
            world.plan.accounts[found.owner].id,
            found.arn,
        ),
    }
}
