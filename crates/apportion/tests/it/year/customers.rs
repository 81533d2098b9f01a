//! Twelve customers with thirty accounts, some of which move.

use super::aws::date;
use crate::random_report::Draw;

struct Owned {
    id: String,
    from: Option<i32>,
    to: Option<i32>,
}

struct Customer {
    id: String,
    accounts: Vec<Owned>,
    /// What stands in its settings besides.
    more: &'static str,
    deliver: &'static str,
}

/// The MSP's customers.
pub struct Customers(Vec<Customer>);

/// What the customers after the first few have.
const PLAIN: (&str, &str) = ("", "");
/// Every sort of output is somebody's.
const SORTS: [(&str, &str); 7] = [
    PLAIN,
    ("", "contract = \"eco-extended\"\nformats = [\"csv.gz\", \"parquet\"]\n"),
    ("sharing = \"account\"\n", ""),
    ("", "layout = \"aws\"\ncontract = \"source\"\n"),
    ("withhold = [\"Tax\"]\n", "gzip = \"single\"\n"),
    ("payer = \"mask\"\n", "order = \"source\"\n"),
    ("", "formats = [\"parquet\"]\n"),
];

impl Customers {
    pub fn new(draw: &mut Draw) -> Self {
        let mut number = 0;
        let customers = (0..12).map(|place| {
            let (more, deliver) = SORTS.get(place).copied().unwrap_or(PLAIN);
            let accounts = (0..draw.within(1..5)).map(|_| {
                number += 1;
                Owned { id: format!("{:012}", 100_000_000 + number), from: None, to: None }
            });
            Customer { id: format!("c{place:02}"), accounts: accounts.collect(), more, deliver }
        });
        Self(customers.collect())
    }

    /// All accounts, and one that nobody owns.
    pub fn all_accounts(&self) -> Vec<String> {
        let owned = self.0.iter().flat_map(|customer| &customer.accounts).map(|account| account.id.clone());
        owned.chain(["777777777777".to_owned()]).collect()
    }

    /// The id of some customer whose target is its own.
    pub fn one(&self, draw: &mut Draw) -> String {
        draw.pick(&self.0).id.clone()
    }

    /// An account changes hands on a day.
    pub fn move_one(&mut self, day: i32, draw: &mut Draw) {
        let (from, to) = (draw.below(self.0.len()), draw.below(self.0.len()));
        let Some(account) = self.0[from].accounts.iter_mut().find(|account| account.to.is_none()) else {
            return;
        };
        if from == to || account.from.is_some_and(|from| from >= day) {
            return;
        }
        account.to = Some(day);
        let moved = Owned { id: account.id.clone(), from: Some(day), to: None };
        self.0[to].accounts.push(moved);
    }

    /// The settings file.
    pub fn settings(&self) -> String {
        let mut text = "[[source]]\nurl = \"source\"\n\n[msp]\nurl = \"msp\"\n".to_owned();
        for customer in &self.0 {
            let day = |name: &str, day: Option<i32>| {
                day.map(|day| format!(", {name} = \"{}\"", date(day))).unwrap_or_default()
            };
            let accounts: Vec<String> = customer
                .accounts
                .iter()
                .map(|account| {
                    format!(
                        "{{ id = \"{}\"{}{} }}",
                        account.id,
                        day("from", account.from),
                        day("to", account.to)
                    )
                })
                .collect();
            text.push_str(&format!(
                "\n[[customer]]\nid = \"{0}\"\naccounts = [{1}]\n{2}[customer.deliver]\nurl = \"targets/{0}\"\n{3}",
                customer.id,
                accounts.join(", "),
                customer.more,
                customer.deliver
            ));
        }
        text
    }
}
