use super::{MasterProof, ReasonTotals};
use crate::ledger::{LedgerKey, ToldError, ToldTotals, Totals, Unexplained};
use crate::money::ExactSum;
use crate::route::Reason;
use apportion_model::{AccountId, CustomerId, ReportId, SourceName};
use std::collections::{BTreeMap, BTreeSet};

/// Where line items of a delivery went, as its master proof tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Into a customer's share.
    Customer(CustomerId),
    /// Withheld from a customer.
    Withheld(CustomerId, Reason),
    /// Nobody's.
    Nobody(Reason),
}

/// The books of one delivery: the source on one side, and every part of it on the other.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// What came in.
    pub source: ToldTotals,
    /// Where it went.
    pub parts: BTreeMap<Part, ToldTotals>,
    /// Exports that hold a share once more, in a further format, and tell other totals than the share's first export.
    pub copies_that_differ: Vec<(ReportId, Vec<Unexplained>)>,
}

impl Books {
    /// Reads the books from a master proof. A share counts once, however many formats it is delivered in.
    ///
    /// # Errors
    /// Totals that no proof of ours tells.
    pub fn read(proof: &MasterProof) -> Result<Self, ToldError> {
        let mut books = Self { source: ToldTotals::read(&proof.source_totals)?, ..Self::default() };
        let mut shares: BTreeMap<(&CustomerId, Option<&AccountId>), ToldTotals> = BTreeMap::new();
        for export in &proof.customers {
            let totals = ToldTotals::read(&export.totals)?;
            let share = (&export.customer, export.linked_account.as_ref());
            if let Some(first) = shares.get(&share) {
                let differences = first.differences(&totals);
                if !differences.is_empty() {
                    books.copies_that_differ.push((export.report_id.clone(), differences));
                }
            } else {
                books.parts.entry(Part::Customer(export.customer.clone())).or_default().merge(&totals);
                shares.insert(share, totals);
            }
        }
        for withheld in &proof.withheld {
            for ReasonTotals { reason, totals } in &withheld.totals {
                let part = Part::Withheld(withheld.customer.clone(), *reason);
                books.parts.entry(part).or_default().add(totals)?;
            }
        }
        for ReasonTotals { reason, totals } in &proof.unassigned.totals {
            books.parts.entry(Part::Nobody(*reason)).or_default().add(totals)?;
        }
        Ok(books)
    }

    /// Where source and parts differ; empty where every line item is accounted for.
    pub fn unexplained(&self) -> Vec<Unexplained> {
        let mut parts = ToldTotals::default();
        self.parts.values().for_each(|part| parts.merge(part));
        self.source.differences(&parts)
    }

    /// Line items in nobody's share.
    pub fn unassigned_rows(&self) -> u64 {
        let unassigned = self.parts.iter().filter(|(part, _)| !matches!(part, Part::Customer(_)));
        unassigned.fold(0, |sum, (_, totals)| sum.saturating_add(totals.rows()))
    }
}

/// By what a bridge is told apart. The currency always is: amounts of two currencies have no sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BridgeBy {
    /// The source.
    pub source: bool,
    /// The line items' billing period.
    pub period: bool,
    /// The line item type.
    pub line_item_type: bool,
    /// The invoice id.
    pub invoice: bool,
}

/// One bridge of several: the fields that aren't told apart are None.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeKey {
    /// The source.
    pub source: Option<SourceName>,
    /// The line items' billing period.
    pub billing_period: Option<String>,
    /// The currency.
    pub currency: String,
    /// The line item type.
    pub line_item_type: Option<String>,
    /// The invoice id; blank until the invoice is issued.
    pub invoice_id: Option<String>,
}

/// Line items and what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub rows: i128,
    /// Their unblended cost, exact.
    pub unblended_cost: ExactSum,
}

impl Amount {
    fn add(&mut self, totals: &Totals) {
        self.rows += i128::from(totals.rows());
        self.unblended_cost.merge(totals.unblended_cost());
    }

    /// Takes another amount away.
    pub fn subtract(&mut self, other: &Self) {
        self.rows -= other.rows;
        self.unblended_cost.subtract(&other.unblended_cost);
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        self.rows == 0 && self.unblended_cost.is_zero()
    }
}

/// Source, minus every part, leaves what is unexplained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// What came in.
    pub source: Amount,
    /// What went where.
    pub parts: BTreeMap<Part, Amount>,
}

impl Bridge {
    /// What no part explains.
    pub fn unexplained(&self) -> Amount {
        let mut left = self.source.clone();
        self.parts.values().for_each(|part| left.subtract(part));
        left
    }
}

/// Bridges of several deliveries, told apart as it is wished.
#[derive(Debug, Clone, Default)]
pub struct Bridges {
    by: BridgeBy,
    bridges: BTreeMap<BridgeKey, Bridge>,
}

impl Bridges {
    /// None yet.
    pub fn new(by: BridgeBy) -> Self {
        Self { by, bridges: BTreeMap::new() }
    }

    /// Adds the line items of one delivery whose key is chosen.
    pub fn add(&mut self, source: &SourceName, books: &Books, chosen: impl Fn(&LedgerKey) -> bool) {
        for (key, totals) in books.source.by_key().filter(|(key, _)| chosen(key)) {
            self.bridge(source, key).source.add(totals);
        }
        for (part, told) in &books.parts {
            for (key, totals) in told.by_key().filter(|(key, _)| chosen(key)) {
                self.bridge(source, key).parts.entry(part.clone()).or_default().add(totals);
            }
        }
    }

    fn bridge(&mut self, source: &SourceName, key: &LedgerKey) -> &mut Bridge {
        let by = self.by;
        let key = BridgeKey {
            source: by.source.then(|| source.clone()),
            billing_period: by.period.then(|| key.billing_period.clone()),
            currency: key.currency.clone(),
            line_item_type: by.line_item_type.then(|| key.line_item_type.clone()),
            invoice_id: by.invoice.then(|| key.invoice_id.clone()),
        };
        self.bridges.entry(key).or_default()
    }

    /// Each bridge.
    pub fn iter(&self) -> impl Iterator<Item = (&BridgeKey, &Bridge)> {
        self.bridges.iter()
    }
}

/// An amount that somebody claims an invoice has, in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceTie {
    /// The sum of the unblended cost of the invoice's line items, credits, tax and refunds included.
    pub ours: ExactSum,
    /// Ours minus the invoice's.
    pub difference: ExactSum,
}

impl InvoiceTie {
    /// Compares.
    pub fn new(ours: ExactSum, invoiced: &ExactSum) -> Self {
        let mut difference = ours.clone();
        difference.subtract(invoiced);
        Self { ours, difference }
    }

    /// Whether the amounts are the same, but for the rounding of an invoice to cents: less than half a cent.
    pub fn ties(&self) -> bool {
        ExactSum::parse("0.005").is_some_and(|half_a_cent| self.difference.abs() < half_a_cent)
    }
}

/// The invoice ids of some books, blank ones left out.
pub fn invoice_ids<'a>(books: impl IntoIterator<Item = &'a Books>) -> BTreeSet<&'a str> {
    let keys = books.into_iter().flat_map(|books| books.source.by_key().map(|(key, _)| key));
    keys.map(|key| key.invoice_id.as_str()).filter(|id| !id.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_ties_within_less_than_half_a_cent() {
        let tie = |ours: &str, invoiced: &str| {
            InvoiceTie::new(ExactSum::parse(ours).unwrap(), &ExactSum::parse(invoiced).unwrap())
        };
        assert!(tie("10.0049999999", "10").ties());
        assert!(tie("9.9950000001", "10").ties());
        assert!(tie("-0.004", "0").ties());
        assert!(!tie("10.005", "10").ties());
        assert!(!tie("9.995", "10").ties());
        assert_eq!(tie("9.9949", "10.00").difference.to_string(), "-0.0051");
    }
}
