//! Split: one route for every line item, and the books of both sides.
//!
//! What comes in: batches of line items. What goes out: for each export the rows that are its own, for the MSP the
//! rows that are nobody's, and a ledger. What it must never do: look at a cell to decide anything but the route,
//! or book a row on the way out before it has been handed over.

mod watch;

pub use watch::{Straddle, Watch};

use crate::outcome::Kind;
use crate::plant::{Plant, strikes};
use crate::timings::{Meter, Stage};
use apportion_core::columns::known;
use apportion_core::ledger::{Destination, Facts, FactsReader, Ledger, LedgerError};
use apportion_core::line_item::Batch;
use apportion_core::route::{DateError, Reason, Route, Router};
use apportion_model::{AccountId, BillingPeriod};
use std::collections::HashMap;

/// Why a batch can't be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// A date that isn't one.
    #[error(transparent)]
    Date(#[from] DateError),
    /// A number that isn't one, or can't be summed exactly.
    #[error("{0}. Nothing was published; fetch the file again, or ask who wrote it")]
    Number(#[from] LedgerError),
}

impl SplitError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Date(_) | Self::Number(_) => Kind::Limit,
        }
    }
}

/// The export or exports of one customer, by their places in the run's list.
#[derive(Debug, Clone)]
pub enum Lanes {
    /// `sharing = "organization"`.
    One(u32),
    /// `sharing = "account"`.
    ByAccount(HashMap<AccountId, u32>),
}

/// A line item that is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnassignedRow {
    /// Its row in the batch.
    pub row: u32,
    /// Why.
    pub reason: Reason,
    /// Whose it would have been, as a place in the list of customers; only for what is withheld.
    pub owner: Option<u32>,
}

/// Splits batches.
pub struct Splitter {
    router: Router,
    lanes: Vec<Lanes>,
    keys: FactsReader,
    ledger: Ledger,
    watch: Watch,
    facts: Facts,
    periods: Vec<BillingPeriod>,
    routes: Vec<Route>,
    selections: Vec<Vec<u32>>,
    unassigned: Vec<UnassignedRow>,
    meter: Meter,
}

impl Splitter {
    /// A splitter for one delivery.
    pub fn new(router: Router, lanes: Vec<Lanes>, exports: usize, watch: Watch, meter: Meter) -> Self {
        Self {
            router,
            lanes,
            keys: FactsReader::default(),
            ledger: Ledger::default(),
            watch,
            facts: Facts::default(),
            periods: Vec::new(),
            routes: Vec::new(),
            selections: vec![Vec::new(); exports],
            unassigned: Vec::new(),
            meter,
        }
    }

    /// Routes a batch and books it on the source's side.
    ///
    /// # Errors
    /// A cell that must be read and can't be.
    pub fn split(&mut self, batch: &Batch) -> Result<(), SplitError> {
        let meter = self.meter.clone();
        meter.time(Stage::Split, || self.router.periods(batch, &mut self.periods))?;
        meter.time(Stage::Ledger, || self.keys.read(batch, &self.periods, &mut self.facts))?;
        meter.time(Stage::Split, || self.router.route(batch, &self.periods, &mut self.routes))?;
        meter.time(Stage::Ledger, || self.ledger.book_source(&self.facts));
        meter.time(Stage::Split, || {
            self.watch.look(batch, &self.routes);
            self.select(batch);
        });
        meter.count(Stage::Split, batch.rows as u64, 0);
        meter.count(Stage::Ledger, batch.rows as u64, 0);
        Ok(())
    }

    fn select(&mut self, batch: &Batch) {
        self.selections.iter_mut().for_each(Vec::clear);
        self.unassigned.clear();
        let accounts = batch.column(known().well_known().usage_account);
        for (row, route) in (0u32..).zip(&self.routes) {
            match *route {
                Route::Unassigned { reason, owner } => {
                    self.unassigned.push(UnassignedRow { row, reason, owner })
                }
                Route::Share { customer } => {
                    let lane = match self.lanes.get(customer as usize) {
                        Some(Lanes::One(lane)) => Some(*lane),
                        Some(Lanes::ByAccount(lanes)) => std::str::from_utf8(accounts.get(row as usize))
                            .ok()
                            .and_then(|account| lanes.get(&AccountId::from_data(account)).copied()),
                        None => None,
                    };
                    // A listed account always has a lane; were it not so, the ledger would not balance.
                    if let Some(selection) = lane.and_then(|lane| self.selections.get_mut(lane as usize)) {
                        selection.push(row);
                    }
                }
            }
        }
        self.planted_bugs();
    }

    /// The bugs that tests plant; nothing in a build without debug assertions.
    fn planted_bugs(&mut self) {
        let filled = self.selections.iter().position(|rows| rows.len() > 1);
        let Some(lane) = filled else { return };
        if strikes(Plant::SplitDrop) {
            self.selections[lane].pop();
        } else if strikes(Plant::SplitDouble) {
            let row = self.selections[lane][0];
            self.selections[lane].push(row);
        } else if self.selections.len() > 1 && strikes(Plant::SplitStray) {
            let other = (lane + 1) % self.selections.len();
            if let Some(row) = self.selections[lane].pop() {
                self.selections[other].push(row);
            }
        }
    }

    /// The rows of a share in the last batch.
    pub fn rows_of(&self, share: usize) -> &[u32] {
        self.selections.get(share).map_or(&[], Vec::as_slice)
    }

    /// The last batch's rows that are nobody's.
    pub fn unassigned(&self) -> &[UnassignedRow] {
        &self.unassigned
    }

    /// Books the last batch's rows of an export as handed over: of its share, or of a copy of it in a further format.
    pub fn book_export(&mut self, share: usize, destination: Destination) {
        let totals = self.ledger.destination(destination);
        for row in self.selections.get(share).into_iter().flatten() {
            totals.add(&self.facts, *row as usize);
        }
    }

    /// Books the last batch's rows that are nobody's as handed over.
    pub fn book_unassigned(&mut self) {
        let same =
            |one: &UnassignedRow, next: &UnassignedRow| (one.reason, one.owner) == (next.reason, next.owner);
        for rows in self.unassigned.chunk_by(same) {
            let Some(UnassignedRow { reason, owner, .. }) = rows.first().copied() else { continue };
            let totals = self.ledger.destination(match owner {
                Some(owner) => Destination::Withheld(reason, owner),
                None => Destination::Nobody(reason),
            });
            rows.iter().for_each(|unassigned| totals.add(&self.facts, unassigned.row as usize));
        }
    }

    /// The books, their keys, and what was noticed.
    pub fn finish(self) -> (Ledger, FactsReader, Watch) {
        (self.ledger, self.keys, self.watch)
    }
}
