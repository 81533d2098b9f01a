//! Reconcile: the newest master proofs against themselves, against what is live in the targets, and against AWS's
//! invoices, without reading a data file.
//!
//! What comes in: the MSP's place, and where customers' exports lie. What goes out: the bridge from the source over
//! customers and unassigned line items to nothing unexplained, and what isn't as the proofs say. What it must never
//! do: open a data file, take a sum from anywhere but a proof, or stop at the first thing that is wrong.

mod live;
mod report;

pub use report::{
    BridgeLine, BridgeReport, ExportState, InvoiceReport, ReconcileFinding, ReconcileReport, ReconcileZeros,
    ReconciledDelivery, ReconciledExport,
};

use crate::outcome::Kind;
use crate::storage::{Bucket, DocumentError, StorageError, Targets, delivered_periods, read_document};
use apportion_core::ledger::Unexplained;
use apportion_core::mask::MaskKey;
use apportion_core::money::ExactSum;
use apportion_core::proof::{
    Books, Bridge, BridgeBy, Bridges, InvoiceTie, MASTER_PROOF, MasterEntry, MasterPointer, MasterProof,
    invoice_ids,
};
use apportion_core::route::Accounts;
use apportion_model::{BillingPeriod, CustomerId, ObjectKey, ReportId, SourceName};
use live::Looking;
use report::{bridge_lines, report_bridge};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be reconciled.
#[derive(Clone)]
pub struct ReconcileRequest {
    /// The MSP's place.
    pub msp: Arc<dyn Bucket>,
    /// The sources of the settings.
    pub sources: Vec<SourceName>,
    /// The exports that the settings have.
    pub exports: Vec<ConfiguredExport>,
    /// Where exports lie.
    pub targets: Targets,
    /// The mask key: customer proofs tell currencies, types and invoice ids masked.
    pub mask_key: Option<MaskKey>,
    /// Only this customer's exports are looked at; None: all. The bridge is always whole.
    pub only: Option<CustomerId>,
    /// Which months; None: all that were delivered.
    pub periods: Option<Vec<BillingPeriod>>,
    /// By what the bridge is told apart.
    pub by: BridgeBy,
    /// Invoices to tie to.
    pub invoices: Vec<Invoice>,
}

/// An export that the settings have.
#[derive(Debug, Clone)]
pub struct ConfiguredExport {
    /// Of which source.
    pub source: SourceName,
    /// Whose.
    pub customer: CustomerId,
    /// The export.
    pub report: ReportId,
    /// The customer's accounts, with their dates.
    pub accounts: Accounts,
}

/// What AWS says an invoice amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// The invoice id.
    pub id: String,
    /// The amount.
    pub amount: ExactSum,
    /// The currency; None: the only one that its line items have.
    pub currency: Option<String>,
}

/// Why nothing can be reconciled.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The MSP's place has nothing, or can't be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// No line item has that invoice id.
    #[error(
        "no line item has invoice id {id:?}; there are: {}. An id is blank until AWS has issued the invoice",
        list(there)
    )]
    UnknownInvoice {
        /// What was asked for.
        id: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Amounts of two currencies have no sum, or the line items have another one.
    #[error(
        "the line items of invoice {id} are in {}; write --invoice '{id}=AMOUNT CURRENCY' with one of these",
        list(currencies)
    )]
    Currency {
        /// The invoice.
        id: String,
        /// Its line items' currencies.
        currencies: Vec<String>,
    },
    /// Somebody asked to stop.
    #[error("interrupted; nothing was changed")]
    Interrupted,
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ if names.len() > 40 => format!("{} and {} more", names[..40].join(", "), names.len() - 40),
        _ => names.join(", "),
    }
}

impl ReconcileError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Document(error) => error.kind(),
            Self::UnknownInvoice { .. } => Kind::NotFound,
            Self::Currency { .. } => Kind::Usage,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

impl From<StorageError> for ReconcileError {
    fn from(error: StorageError) -> Self {
        Self::Document(error.into())
    }
}

/// One delivery whose books could be read.
struct Opened {
    source: SourceName,
    books: Books,
}

/// Compares master proofs, live exports and invoices.
///
/// # Errors
/// An MSP's place without master proofs, an invoice id that no line item has. What doesn't tie is in the report.
pub fn reconcile(
    request: &ReconcileRequest,
    interrupted: &dyn Fn() -> bool,
) -> Result<ReconcileReport, ReconcileError> {
    let msp = request.msp.as_ref();
    let mut report = ReconcileReport::default();
    let mut opened = Vec::new();
    for (source, period) in delivered_periods(msp, &request.sources, request.periods.as_deref())? {
        if interrupted() {
            return Err(ReconcileError::Interrupted);
        }
        let books = reconcile_delivery(request, &source, period, &mut report)?;
        opened.extend(books.map(|books| Opened { source, books }));
    }
    let mut bridges = Bridges::new(request.by);
    for Opened { source, books } in &opened {
        bridges.add(source, books, |_| true);
    }
    report.bridges = bridges.iter().map(|(key, bridge)| report_bridge(key, bridge)).collect();
    for invoice in &request.invoices {
        report.invoices.push(tie(invoice, &opened)?);
    }
    Ok(report)
}

/// One delivery: its pointer, its master proof, and the exports that it names. Its books, if they can be read.
fn reconcile_delivery(
    request: &ReconcileRequest,
    source: &SourceName,
    period: BillingPeriod,
    report: &mut ReconcileReport,
) -> Result<Option<Books>, ReconcileError> {
    let msp = request.msp.as_ref();
    let mut findings = Findings { source, period, customer: None, list: &mut report.findings };
    let key = ObjectKey::MasterPointer { source, period }.to_string();
    let pointer: MasterPointer = match read_document(msp, &key) {
        Ok(document) => document.value,
        Err(error) => return findings.or_stop(&key, error),
    };
    let proof: MasterProof = match read_document(msp, &pointer.newest.proof) {
        Ok(document) => document.value,
        Err(error) => return findings.or_stop(&pointer.newest.proof, error),
    };
    check_identity(&proof, &pointer.newest, &mut findings);
    let books = match Books::read(&proof) {
        Ok(books) => Some(books),
        Err(error) => {
            findings.say("master proof", &pointer.newest.proof, error.to_string());
            None
        }
    };
    if let Some(books) = &books {
        check_books(&proof, &pointer.newest.proof, books, &mut findings, &mut report.zeros);
    }
    check_unassigned_files(msp, &proof, &mut findings, &mut report.zeros)?;
    let mut looking = Looking {
        request,
        pointer: &pointer,
        proof: &proof,
        findings: &mut findings,
        zeros: &mut report.zeros,
        older: BTreeMap::new(),
    };
    let exports = looking.exports();
    report.deliveries.push(ReconciledDelivery {
        source: source.to_string(),
        billing_period: period.to_string(),
        delivery_id: pointer.newest.delivery_id.to_string(),
        master_proof: pointer.newest.proof.clone(),
        exports,
    });
    Ok(books)
}

/// Findings about one delivery.
struct Findings<'a> {
    source: &'a SourceName,
    period: BillingPeriod,
    customer: Option<CustomerId>,
    list: &'a mut Vec<ReconcileFinding>,
}

impl Findings<'_> {
    fn say(&mut self, kind: &'static str, object: &str, detail: impl Into<String>) {
        self.list.push(ReconcileFinding {
            kind,
            source: self.source.to_string(),
            billing_period: self.period.to_string(),
            customer: self.customer.as_ref().map(ToString::to_string),
            object: object.to_owned(),
            detail: detail.into(),
        });
    }

    /// A document of the MSP's place that is gone or spoilt is a finding; a place that can't be read ends the run.
    fn or_stop<T>(&mut self, key: &str, error: DocumentError) -> Result<Option<T>, ReconcileError> {
        match error {
            DocumentError::Storage(_) => Err(error.into()),
            error => {
                self.say("master proof", key, error.to_string());
                Ok(None)
            }
        }
    }
}

/// The master proof is the one that its pointer and its place say it is.
fn check_identity(proof: &MasterProof, entry: &MasterEntry, findings: &mut Findings<'_>) {
    let due = ObjectKey::MasterProof {
        source: findings.source,
        period: findings.period,
        delivery: &entry.delivery_id,
    };
    if proof.proof != MASTER_PROOF
        || proof.delivery_id != entry.delivery_id
        || proof.source != *findings.source
        || proof.billing_period != findings.period
        || due.to_string() != entry.proof
    {
        let told = format!(
            "it is the {} of source {}, period {}, delivery {}",
            proof.proof, proof.source, proof.billing_period, proof.delivery_id
        );
        findings.say("master proof", &entry.proof, told);
    }
}

fn describe(line: &Unexplained) -> String {
    let key = &line.key;
    let mut text = format!(
        "{} {:?} in {:?}, invoice {:?}: {} rows against {}, unblended cost differs by {}",
        key.billing_period,
        key.line_item_type,
        key.currency,
        key.invoice_id,
        line.rows,
        line.other_rows,
        line.unblended_difference
    );
    if !line.columns.is_empty() {
        text.push_str(&format!("; sums that differ: {}", line.columns.join(", ")));
    }
    if line.items_differ {
        text.push_str("; items_hash differs");
    }
    text
}

/// Source = customers + withheld + nobody's, to the last digit, and every count is the sum of its parts.
fn check_books(
    proof: &MasterProof,
    key: &str,
    books: &Books,
    findings: &mut Findings<'_>,
    zeros: &mut ReconcileZeros,
) {
    for line in books.unexplained() {
        zeros.count(&line);
        findings.say("balance", key, format!("source against its parts: {}", describe(&line)));
    }
    for (report, lines) in &books.copies_that_differ {
        for line in lines {
            let told = format!(
                "{report} holds another share than the same share's first format: {}",
                describe(line)
            );
            findings.say("balance", key, told);
        }
    }
    let mut count = |what: &str, told: u64, counted: u64| {
        if told != counted {
            findings.say("balance", key, format!("{what}: {told} rows, and its parts {counted}"));
        }
    };
    for export in &proof.customers {
        let counted = export.totals.iter().fold(0u64, |sum, totals| sum.saturating_add(totals.rows));
        count(&format!("export {}", export.report_id), export.rows, counted);
    }
    count("unassigned", proof.unassigned.rows, books.unassigned_rows());
    let rows = |files: &[apportion_core::proof::ProofFile]| {
        files.iter().fold(0u64, |sum, file| sum.saturating_add(file.rows))
    };
    count("source objects", rows(&proof.source_objects), books.source.rows());
    count("the files of unassigned", rows(&proof.unassigned.files), books.unassigned_rows());
}

/// The unassigned line items lie in the MSP's place, in files of the size that the proof says.
fn check_unassigned_files(
    msp: &dyn Bucket,
    proof: &MasterProof,
    findings: &mut Findings<'_>,
    zeros: &mut ReconcileZeros,
) -> Result<(), ReconcileError> {
    for file in &proof.unassigned.files {
        if let Some(problem) = file_problem(msp, &file.key, file.bytes)? {
            zeros.files_not_as_manifest += 1;
            findings.say("file", &file.key, problem);
        }
    }
    Ok(())
}

/// What is wrong with a file as far as it can be told without reading it.
fn file_problem(place: &dyn Bucket, key: &str, bytes: u64) -> Result<Option<String>, StorageError> {
    if let Err(error) = ObjectKey::check_relative(key) {
        return Ok(Some(error.to_string()));
    }
    Ok(match place.info(key)? {
        None => Some("isn't there".to_owned()),
        Some(info) if info.bytes != bytes => {
            Some(format!("has {} bytes where the proof says {bytes}", info.bytes))
        }
        Some(_) => None,
    })
}

/// Ties one invoice to the line items that carry its id, over all sources and months that were read.
fn tie(invoice: &Invoice, opened: &[Opened]) -> Result<InvoiceReport, ReconcileError> {
    let Invoice { id, amount, currency } = invoice;
    let by = BridgeBy { line_item_type: true, ..BridgeBy::default() };
    let (mut by_type, mut whole) = (Bridges::new(by), Bridges::new(BridgeBy::default()));
    for Opened { source, books } in opened {
        by_type.add(source, books, |key| key.invoice_id == *id);
        whole.add(source, books, |key| key.invoice_id == *id);
    }
    let found: Vec<(&str, &Bridge)> =
        whole.iter().map(|(key, bridge)| (key.currency.as_str(), bridge)).collect();
    if found.is_empty() {
        let there: BTreeSet<&str> = invoice_ids(opened.iter().map(|opened| &opened.books));
        let there = there.into_iter().map(str::to_owned).collect();
        return Err(ReconcileError::UnknownInvoice { id: id.clone(), there });
    }
    let chosen = match (currency, found.as_slice()) {
        (None, [one]) => Some(*one),
        (None, _) => None,
        (Some(currency), found) => found.iter().find(|(found, _)| found == currency).copied(),
    };
    let Some((currency, bridge)) = chosen else {
        let currencies = found.iter().map(|(currency, _)| (*currency).to_owned()).collect();
        return Err(ReconcileError::Currency { id: id.clone(), currencies });
    };
    let tie = InvoiceTie::new(bridge.source.unblended_cost.clone(), amount);
    let types = by_type.iter().filter(|(key, _)| key.currency == currency);
    Ok(InvoiceReport {
        invoice_id: id.clone(),
        currency: currency.to_owned(),
        invoiced: amount.to_string(),
        unblended_cost: tie.ours.to_string(),
        difference: tie.difference.to_string(),
        ties: tie.ties(),
        by_line_item_type: types
            .map(|(key, bridge)| {
                BridgeLine::new(key.line_item_type.clone().unwrap_or_default(), &bridge.source)
            })
            .collect(),
        bridge: bridge_lines(bridge),
    })
}
