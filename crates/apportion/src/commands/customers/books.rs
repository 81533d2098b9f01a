use anyhow::{Context, bail};
use apportion_core::columns::Contract;
use apportion_core::money::{ExactSum, Number};
use apportion_core::route::{Accounts, OwnedAccount};
use apportion_flow::run::{Customer, DeliverReport, PeriodReport, Sharing, Target};
use apportion_model::{AccountId, CustomerId, Day};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Rows, and their unblended cost by currency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) rows: u64,
    pub(super) cost: BTreeMap<String, ExactSum>,
}

impl Amounts {
    fn of(rows: u64, cost: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let sum_of = |text: &String| {
            let number = Number::parse(text.as_bytes()).with_context(|| format!("the sum {text:?}"))?;
            let mut sum = ExactSum::default();
            sum.add(&number.unwrap_or(Number::ZERO));
            anyhow::Ok(sum)
        };
        let cost = cost.iter().map(|(currency, text)| Ok((currency.clone(), sum_of(text)?)));
        Ok(Self { rows, cost: cost.collect::<anyhow::Result<_>>()? })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (currency, sum) in &other.cost {
            self.cost.entry(currency.clone()).or_default().merge(sum);
        }
    }

    /// The cost by currency, exact.
    pub(super) fn cost_text(&self) -> BTreeMap<String, String> {
        self.cost.iter().map(|(currency, sum)| (currency.clone(), sum.to_string())).collect()
    }
}

/// Whose line items a line of the table counts. Customers come first, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) nobody: bool,
    /// Blank for what nobody owns.
    pub(super) customer: String,
    /// Why the line items are in nobody's share; blank for a share.
    pub(super) reason: String,
}

/// The books of one month under one set of customers.
#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    pub(super) billing_period: String,
    pub(super) source_name: String,
    pub(super) report: String,
    pub(super) source_assembly_id: String,
    pub(super) source: Amounts,
    pub(super) lines: BTreeMap<Line, Amounts>,
    /// For each account whose owners change, the share of each owner in it.
    pub(super) accounts: BTreeMap<String, BTreeMap<String, Amounts>>,
    pub(super) observations: Vec<String>,
}

/// What the ids of pieces begin with: nothing that a customer, a file or a sentence would hold.
const PIECE: &str = "apportion-change-";
/// What `accounts = "all"` is counted under.
const ALL: &str = "all";

/// A customer's claims, as they are compared: whose, since when, until when.
pub(super) type Claim = (String, Option<Day>, Option<Day>);

/// The claims on each account.
pub(super) fn claims_of(customers: &[Customer]) -> BTreeMap<String, BTreeSet<Claim>> {
    let mut claims: BTreeMap<String, BTreeSet<Claim>> = BTreeMap::new();
    for customer in customers {
        let id = customer.routed.id.to_string();
        match &customer.routed.accounts {
            Accounts::All => {
                claims.entry(ALL.to_owned()).or_default().insert((id, None, None));
            }
            Accounts::Listed(list) => {
                for OwnedAccount { id: account, from, to } in list {
                    claims.entry(account.to_string()).or_default().insert((id.clone(), *from, *to));
                }
            }
        }
    }
    claims
}

/// A customer, or a customer's part in one account whose owners change.
#[derive(Debug, Clone)]
struct Piece {
    customer: String,
    account: Option<String>,
}

/// Customers taken apart: each account whose owners change counts for itself, the others of a customer together. A
/// plan for the pieces routes every line item as one for the customers does, and says besides what moves.
pub(super) struct Pieces {
    pub(super) customers: Vec<Customer>,
    known: HashMap<String, Piece>,
}

impl Pieces {
    /// `pattern` lends what a customer needs besides accounts, where there is no customer yet.
    pub(super) fn new(
        customers: &[Customer],
        changing: &BTreeSet<String>,
        pattern: &Customer,
    ) -> anyhow::Result<Self> {
        let mut pieces = Self { customers: Vec::new(), known: HashMap::new() };
        for customer in customers {
            let Accounts::Listed(list) = &customer.routed.accounts else {
                let account = changing.contains(ALL).then(|| ALL.to_owned());
                pieces.push(customer, account, Accounts::All)?;
                continue;
            };
            let mut by_account: BTreeMap<Option<String>, Vec<OwnedAccount>> = BTreeMap::new();
            for owned in list {
                let account = Some(owned.id.to_string()).filter(|account| changing.contains(account));
                by_account.entry(account).or_default().push(owned.clone());
            }
            for (account, list) in by_account {
                pieces.push(customer, account, Accounts::Listed(list))?;
            }
        }
        if pieces.customers.is_empty() {
            // A plan needs a customer; no line item has this account.
            let nobody = OwnedAccount { id: AccountId::from_data("(none)"), from: None, to: None };
            pieces.push(pattern, None, Accounts::Listed(vec![nobody]))?;
        }
        Ok(pieces)
    }

    fn push(&mut self, of: &Customer, account: Option<String>, accounts: Accounts) -> anyhow::Result<()> {
        let id = format!("{PIECE}{}", self.customers.len());
        let mut piece = of.clone();
        piece.routed.id = CustomerId::new(&id)?;
        piece.routed.accounts = accounts;
        piece.sharing = Sharing::Organization;
        // One export each is enough to count by, and of the cheapest sort.
        piece.formats.truncate(1);
        piece.contract = Contract::Eco;
        if let Target::ByAccount(targets) = &piece.target
            && let Some(target) = targets.values().next()
        {
            piece.target = Target::One(Arc::clone(target));
        }
        self.known.insert(id, Piece { customer: of.routed.id.to_string(), account });
        self.customers.push(piece);
        Ok(())
    }

    fn piece(&self, id: &str) -> anyhow::Result<&Piece> {
        self.known.get(id).with_context(|| format!("the plan names {id}, which it wasn't asked for"))
    }

    /// What a plan for the pieces says of the customers.
    pub(super) fn books(&self, report: &DeliverReport) -> anyhow::Result<Vec<Books>> {
        report.periods.iter().map(|period| self.books_of(period)).collect()
    }

    fn books_of(&self, period: &PeriodReport) -> anyhow::Result<Books> {
        let mut books = Books {
            billing_period: period.billing_period.clone(),
            source_name: period.source.clone(),
            report: period.report.clone(),
            source_assembly_id: period.source_assembly_id.clone(),
            source: Amounts::of(period.source_rows, &period.source_unblended_cost)?,
            // What is said of a piece isn't true of its customer.
            observations: period.observations.iter().filter(|text| !text.contains(PIECE)).cloned().collect(),
            ..Books::default()
        };
        for share in &period.customers {
            if let Some(error) = &share.error {
                bail!("{error}");
            }
            let piece = self.piece(&share.customer)?;
            let amounts = Amounts::of(share.rows, &share.unblended_cost)?;
            if let Some(account) = &piece.account {
                let owners = books.accounts.entry(account.clone()).or_default();
                owners.entry(piece.customer.clone()).or_default().merge(&amounts);
            }
            let line = Line { nobody: false, customer: piece.customer.clone(), reason: String::new() };
            books.lines.entry(line).or_default().merge(&amounts);
        }
        for unassigned in &period.unassigned {
            let customer = match &unassigned.owner {
                Some(owner) => self.piece(owner)?.customer.clone(),
                None => String::new(),
            };
            let line =
                Line { nobody: unassigned.owner.is_none(), customer, reason: unassigned.reason.clone() };
            let amounts = Amounts::of(unassigned.rows, &unassigned.unblended_cost)?;
            books.lines.entry(line).or_default().merge(&amounts);
        }
        Ok(books)
    }
}
