use apportion_core::ledger::Unexplained;
use apportion_core::money::ExactSum;
use apportion_core::proof::{Amount, Bridge, BridgeKey, Part};
use serde::Serialize;
use std::collections::BTreeMap;

/// How an export stands against the newest delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportState {
    /// The newest delivery's export is live.
    Live,
    /// An earlier delivery's export is live: the customer failed, or wasn't chosen, in the last run.
    Behind,
    /// Nothing is live yet.
    Nothing,
    /// The settings have it, the newest delivery doesn't: they changed since.
    NotDelivered,
    /// The newest delivery has it, the settings don't.
    NotInSettings,
    /// The target can't be read.
    Unreadable,
    /// Something is wrong; the findings say what.
    Wrong,
    /// It isn't part of this run (`--customer`).
    NotChosen,
}

impl ExportState {
    /// The state in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Behind => "behind",
            Self::Nothing => "nothing live",
            Self::NotDelivered => "not delivered",
            Self::NotInSettings => "not in settings",
            Self::Unreadable => "unreadable",
            Self::Wrong => "WRONG",
            Self::NotChosen => "not chosen",
        }
    }

    /// Whether a delivery with these settings would mend it.
    pub fn is_behind(self) -> bool {
        matches!(
            self,
            Self::Behind | Self::Nothing | Self::NotDelivered | Self::NotInSettings | Self::Unreadable
        )
    }
}

/// One export as it was found.
#[derive(Debug, Clone, Serialize)]
pub struct ReconciledExport {
    /// Whose.
    pub customer: String,
    /// The export.
    pub report_id: String,
    /// How it stands.
    pub state: ExportState,
    /// The newest delivery's assembly id; blank where that has none.
    pub assembly_id: String,
    /// The assembly id that is live; blank if none is.
    pub live_assembly_id: String,
    /// What people should know of the state.
    pub detail: String,
}

/// One delivery: the newest of its source and month.
#[derive(Debug, Clone, Serialize)]
pub struct ReconciledDelivery {
    /// The source's name.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// Which delivery.
    pub delivery_id: String,
    /// Its master proof's key in the MSP's place.
    pub master_proof: String,
    /// Its exports.
    pub exports: Vec<ReconciledExport>,
}

/// Something that isn't as the proofs say.
#[derive(Debug, Clone, Serialize)]
pub struct ReconcileFinding {
    /// What sort: `master proof`, `balance`, `manifest`, `proof` or `file`.
    pub kind: &'static str,
    /// The source's name.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// Whose export; None for what is the MSP's.
    pub customer: Option<String>,
    /// Which object.
    pub object: String,
    /// What is wrong with it.
    pub detail: String,
}

/// One line of a bridge.
#[derive(Debug, Clone, Serialize)]
pub struct BridgeLine {
    /// `source`, `- <customer>`, `- withheld from <customer> (<reason>)`, `- nobody (<reason>)`, `= unexplained`; in a
    /// list by line item type, that type.
    pub line: String,
    /// Line items.
    pub rows: i128,
    /// Their unblended cost, exact.
    pub unblended_cost: String,
}

impl BridgeLine {
    pub(super) fn new(line: impl Into<String>, amount: &Amount) -> Self {
        Self { line: line.into(), rows: amount.rows, unblended_cost: amount.unblended_cost.to_string() }
    }
}

/// One bridge; fields that aren't told apart are None.
#[derive(Debug, Clone, Serialize)]
pub struct BridgeReport {
    /// The source's name.
    pub source: Option<String>,
    /// The line items' billing period.
    pub billing_period: Option<String>,
    /// The line item type.
    pub line_item_type: Option<String>,
    /// The invoice id.
    pub invoice_id: Option<String>,
    /// The currency.
    pub currency: String,
    /// From the source to what is unexplained.
    pub lines: Vec<BridgeLine>,
}

/// An invoice and the line items that carry its id.
#[derive(Debug, Clone, Serialize)]
pub struct InvoiceReport {
    /// The invoice id.
    pub invoice_id: String,
    /// The currency.
    pub currency: String,
    /// What AWS invoiced.
    pub invoiced: String,
    /// The exact sum of the line items' unblended cost: credits, tax and refunds included.
    pub unblended_cost: String,
    /// That sum minus what was invoiced, exact.
    pub difference: String,
    /// Whether the difference is less than half a cent.
    pub ties: bool,
    /// The line items by type.
    pub by_line_item_type: Vec<BridgeLine>,
    /// The line items by customer.
    pub bridge: Vec<BridgeLine>,
}

/// Those of the four zeros that can be told without reading data.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReconcileZeros {
    /// Line items that no part of a delivery explains.
    pub rows_unexplained: u64,
    /// Money that no part explains, by currency, exact; only what isn't zero.
    pub money_unexplained: BTreeMap<String, String>,
    /// Files that are missing or of another size.
    pub files_not_as_manifest: u64,
}

impl ReconcileZeros {
    pub(super) fn count(&mut self, line: &Unexplained) {
        self.rows_unexplained = self.rows_unexplained.saturating_add(line.rows.abs_diff(line.other_rows));
        let difference = ExactSum::parse(&line.unblended_difference).unwrap_or_default().abs();
        if !difference.is_zero() {
            let sum = self.money_unexplained.entry(line.key.currency.clone()).or_default();
            let mut total = ExactSum::parse(sum).unwrap_or_default();
            total.merge(&difference);
            *sum = total.to_string();
        }
    }
}

/// Everything that was compared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReconcileReport {
    /// Each delivery.
    pub deliveries: Vec<ReconciledDelivery>,
    /// The bridges from source to unexplained.
    pub bridges: Vec<BridgeReport>,
    /// The invoices that were asked for.
    pub invoices: Vec<InvoiceReport>,
    /// What isn't as the proofs say.
    pub findings: Vec<ReconcileFinding>,
    /// Three of the four zeros.
    pub zeros: ReconcileZeros,
}

impl ReconcileReport {
    /// Whether proofs, live exports and invoices tie; exports that are only behind don't count.
    pub fn ties(&self) -> bool {
        self.findings.is_empty() && self.invoices.iter().all(|invoice| invoice.ties)
    }

    /// Exports that a delivery with these settings would bring up to date.
    pub fn behind(&self) -> impl Iterator<Item = (&ReconciledDelivery, &ReconciledExport)> {
        self.deliveries
            .iter()
            .flat_map(|delivery| delivery.exports.iter().map(move |export| (delivery, export)))
            .filter(|(_, export)| export.state.is_behind())
    }
}

/// A bridge as lines.
pub(super) fn bridge_lines(bridge: &Bridge) -> Vec<BridgeLine> {
    let mut lines = vec![BridgeLine::new("source", &bridge.source)];
    lines.extend(bridge.parts.iter().map(|(part, amount)| {
        let line = match part {
            Part::Customer(customer) => format!("- {customer}"),
            Part::Withheld(customer, reason) => format!("- withheld from {customer} ({})", reason.as_str()),
            Part::Nobody(reason) => format!("- nobody ({})", reason.as_str()),
        };
        BridgeLine::new(line, amount)
    }));
    lines.push(BridgeLine::new("= unexplained", &bridge.unexplained()));
    lines
}

pub(super) fn report_bridge(key: &BridgeKey, bridge: &Bridge) -> BridgeReport {
    BridgeReport {
        source: key.source.as_ref().map(ToString::to_string),
        billing_period: key.billing_period.clone(),
        line_item_type: key.line_item_type.clone(),
        invoice_id: key.invoice_id.clone(),
        currency: key.currency.clone(),
        lines: bridge_lines(bridge),
    }
}
