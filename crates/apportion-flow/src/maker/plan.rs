//! Who is in the report: customers, their accounts, the payer, and nobody's accounts.
//!
//! What comes in: how many of each, the months and the seed. What goes out: ids, names, owners and weights, the same
//! for the same numbers. What it must never do: write a byte, or need more than the accounts' own memory.

use super::draw::{Draw, share_out};
use super::{MadeAccount, MadeCustomer, MakeError};
use apportion_model::{AccountId, BillingPeriod, CustomerId, Day};

const NAMES: &[(&str, &str)] = &[
    ("acme", "Acme GmbH"),
    ("borealis", "Borealis Health AB"),
    ("cobalt", "Cobalt Labs, Inc."),
    ("dunes", "Dunes Travel BV"),
    ("ember", "Ember Games Ltd"),
    ("fjord", "Fjord Shipping AS"),
    ("granite", "Granite Insurance plc"),
    ("harbor", "Harbor Foods, Inc."),
    ("iris", "Iris Imaging SA"),
    ("juniper-mill", "Juniper Mill Papers"),
    ("kestrel", "Kestrel Mobility GmbH"),
    ("lumen", "Lümen Energie SE"),
    ("meridian", "Meridian Bank NV"),
    ("northwind", "Northwind Retail"),
    ("opal", "Opal Media \"Studio\" KG"),
    ("pinewood", "Pinewood Schools"),
];

const ENVIRONMENTS: &[&str] = &["prod", "dev", "staging", "shared", "data", "sandbox"];

/// An account as the line items need it.
#[derive(Debug)]
pub(super) struct Account {
    /// 12 digits.
    pub(super) id: String,
    /// As CUR 2.0 names it.
    pub(super) name: String,
    /// The number of the customer that owns it first, if any does.
    pub(super) owner: Option<usize>,
    /// Part of the line items.
    pub(super) weight: u64,
    /// `prod`, `dev` and so on.
    pub(super) environment: &'static str,
    /// Numbers of the two regions it uses.
    pub(super) regions: [usize; 2],
    /// Whether it is billed in the European Union.
    pub(super) is_eu: bool,
    /// How big its resources are.
    pub(super) scale: i64,
    /// `created_by` of who makes its resources.
    pub(super) makers: [String; 3],
    /// Its customer's tag value for a cost centre.
    pub(super) cost_center: String,
}

/// An account that changes hands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    /// Which account.
    pub(super) account: usize,
    /// From the first of these customers to the second.
    pub(super) customers: (usize, usize),
    /// The first day it belongs to the second.
    pub(super) day: Day,
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Plan {
    /// The customers' and nobody's accounts, and the payer's at the end.
    pub(super) accounts: Vec<Account>,
    /// As the caller sees them.
    pub(super) customers: Vec<MadeCustomer>,
    /// Where an account moves.
    pub(super) moved: Option<Move>,
}

impl Plan {
    /// The plan of these numbers.
    pub(super) fn new(
        accounts: u32,
        customers: u32,
        first: BillingPeriod,
        months: u32,
        seed: u64,
    ) -> Result<Self, MakeError> {
        if customers == 0 || accounts < customers || months == 0 {
            return Err(MakeError::Request(
                "at least one customer, one account for each and one month are needed",
            ));
        }
        if accounts > 1_000_000 {
            return Err(MakeError::Request("at most a million accounts"));
        }
        let nobody = if accounts >= customers + 3 { (accounts / 28).max(1) } else { 0 };
        let weights: Vec<u64> = (0..u64::from(customers)).map(|c| 1_000_000 / (c + 3)).collect();
        let extra = share_out(u64::from(accounts - nobody - customers), &weights);
        let mut plan = Self { accounts: Vec::new(), customers: Vec::new(), moved: None };
        for (customer, more) in extra.iter().enumerate() {
            plan.add_customer(customer, *more as usize + 1, seed)?;
        }
        for _ in 0..nobody {
            let number = plan.accounts.len();
            plan.accounts.push(account(seed, number, None, format!("legacy-{number}")));
        }
        plan.weigh(seed);
        let payer = plan.accounts.len();
        plan.accounts.push(account(seed, payer, None, "msp-billing".to_string()));
        plan.accounts[payer].weight = plan.accounts.iter().map(|a| a.weight).sum::<u64>() / 60;
        plan.accounts[payer].scale = 1;
        plan.accounts[payer].environment = "shared";
        plan.move_one(first, months);
        Ok(plan)
    }

    /// The payer's number.
    pub(super) fn payer(&self) -> usize {
        self.accounts.len() - 1
    }

    /// The number of a customer's account, the first one first.
    pub(super) fn account_of(&self, customer: usize, place: usize) -> usize {
        let customer = customer % self.customers.len();
        let mut own = (0..self.accounts.len()).filter(|a| self.accounts[*a].owner == Some(customer));
        let first = own.next().unwrap_or(0);
        own.nth(place.wrapping_sub(1)).filter(|_| place > 0).unwrap_or(first)
    }

    fn add_customer(&mut self, number: usize, size: usize, seed: u64) -> Result<(), MakeError> {
        let (short, long) = NAMES[number % NAMES.len()];
        let round = number / NAMES.len() + 1;
        let (id, name) = if round == 1 {
            (short.to_string(), long.to_string())
        } else {
            (format!("{short}-{round}"), format!("{long} {round}"))
        };
        let mut own = Vec::with_capacity(size);
        for place in 0..size {
            let index = self.accounts.len();
            let environment = ENVIRONMENTS[place % ENVIRONMENTS.len()];
            let made = account(seed, index, Some(number), format!("{id}-{environment}-{}", place + 1));
            own.push(MadeAccount { id: AccountId::from_data(&made.id), from: None, to: None });
            self.accounts.push(Account { environment, ..made });
        }
        let id = CustomerId::new(&id).map_err(|_| MakeError::Request("customer names"))?;
        self.customers.push(MadeCustomer { id, name, accounts: own, sharing_account: number % 6 == 4 });
        Ok(())
    }

    /// Zipf-like: the heaviest account has about a twelfth of a hundred accounts' line items.
    fn weigh(&mut self, seed: u64) {
        let mut order: Vec<usize> = (0..self.accounts.len()).collect();
        order.sort_by_key(|account| (Draw::new(seed, &[10, *account as u64]).next(), *account));
        for (rank, account) in order.into_iter().enumerate() {
            let found = &mut self.accounts[account];
            found.weight = 1_000_000_000 / (rank as u64 + 4);
            found.scale = if rank < 12 {
                4
            } else if rank < 40 {
                2
            } else {
                1
            };
            if found.owner.is_none() {
                found.weight /= 5;
            }
        }
    }

    fn move_one(&mut self, first: BillingPeriod, months: u32) {
        if self.customers.len() < 2 {
            return;
        }
        let Some(from) = (0..self.customers.len()).find(|c| self.customers[*c].accounts.len() > 1) else {
            return;
        };
        let to = if from == 0 { 1 } else { 0 };
        let period = (0..months / 2).fold(first, |period, _| period.next());
        let day = period.start().plus(15);
        let Some(last) = self.customers[from].accounts.last_mut() else { return };
        last.to = Some(day);
        let id = last.id.clone();
        let Some(account) = self.accounts.iter().position(|a| a.id == id.as_str()) else { return };
        self.customers[to].accounts.push(MadeAccount { id, from: Some(day), to: None });
        self.moved = Some(Move { account, customers: (from, to), day });
    }
}

/// The id of an account: a walk through all numbers of 12 digits that meets none twice. The first begins with 0.
fn account_id(seed: u64, number: usize) -> String {
    const ALL: u64 = 1_000_000_000_000;
    // Odd and not a multiple of five, so it has no divisor in common with ALL.
    const STEP: u64 = 381_966_011_213;
    let start = 11_000_000_000 + Draw::new(seed, &[11]).below(79_000_000_000);
    let id = (u128::from(start) + u128::from(STEP) * number as u128) % u128::from(ALL);
    format!("{id:012}")
}

fn account(seed: u64, number: usize, owner: Option<usize>, name: String) -> Account {
    let customer = owner.map_or(u64::MAX, |c| c as u64);
    let is_eu = owner.is_none_or(|c| c % 2 == 0 || c % 5 == 3);
    let mut draw = Draw::new(seed, &[12, number as u64]);
    let regions = match (is_eu, draw.below(4)) {
        (true, 0) => [2, 1],
        (true, _) => [1, 2],
        (false, 0) => [3, 0],
        (false, 1) => [0, 4],
        (false, _) => [0, 3],
    };
    let mut makers = [String::new(), String::new(), String::new()];
    const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const SESSIONS: &[&str] = &["deploy-pipeline", "terraform-cloud", "anna.lindt", "j.okafor", "i-0f3a"];
    const USERS: &[&str] = &["ci-bot", "m.sato", "backup"];
    makers[0].push_str("AssumedRole:AROA");
    draw.letters(&mut makers[0], UPPER, 17);
    makers[0].push(':');
    makers[0].push_str(draw.pick::<&str>(SESSIONS));
    makers[1].push_str("IAMUser:AIDA");
    draw.letters(&mut makers[1], UPPER, 17);
    makers[1].push(':');
    makers[1].push_str(draw.pick::<&str>(USERS));
    let id = account_id(seed, number);
    makers[2].push_str("Root:");
    makers[2].push_str(&id);
    let cost_center = format!("CC-{}", 1000 + Draw::new(seed, &[13, customer]).below(9000));
    Account { id, name, owner, weight: 0, environment: "prod", regions, is_eu, scale: 1, makers, cost_center }
}
