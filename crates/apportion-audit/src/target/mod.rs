//! One export, followed as its consumer would.
//!
//! What comes in: an export's target, and the share it must hold. What goes out: the figures of the export, and a
//! finding for every defect. What it must never do: end the audit because a target is broken, or read a file that
//! the manifest doesn't name.

mod csv_file;
mod export_rows;
mod files;
mod manifest;
mod members;
mod parquet_file;

pub(crate) use files::{FileCheck, FileColumn, FileFound, read_file};

use crate::delivered::ExportColumn;
use crate::documents::{Document, NoDocument, ids_in};
use crate::error::AuditError;
use crate::expect::{Expected, masker};
use crate::hashes::hex128;
use crate::numbers::Sum;
use crate::proof::check_proof;
use crate::report::{CustomerAudit, FindingKind, Findings, ZeroCounts};
use crate::request::{AuditRequest, AuditedAccounts, AuditedCustomer, AuditedExport, Gzip, RowOrder};
use crate::share::Share;
use apportion_model::{BillingPeriod, Format, ObjectKey};
use export_rows::ExportRows;
use manifest::{Manifest, NamedKey, check_manifest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What is audited, and against what.
#[derive(Clone, Copy)]
pub(crate) struct ExportContext<'a> {
    pub(crate) request: &'a AuditRequest,
    pub(crate) period: BillingPeriod,
    pub(crate) expected: &'a Expected,
    pub(crate) customer_number: usize,
    pub(crate) customer: &'a AuditedCustomer,
    pub(crate) export: &'a AuditedExport,
    pub(crate) share: &'a Share,
    /// The columns that the export must have.
    pub(crate) columns: &'a [ExportColumn],
    /// Whether a master proof says that the export was delivered.
    pub(crate) in_master: bool,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    pub(crate) progress: &'a dyn Fn(&str, u64),
}

impl ExportContext<'_> {
    fn listed(&self, by: impl Fn(&AuditedCustomer) -> bool) -> HashSet<Vec<u8>> {
        let mut listed = HashSet::new();
        for customer in self.request.customers.iter().filter(|customer| by(customer)) {
            if let AuditedAccounts::Listed(accounts) = &customer.accounts {
                listed.extend(accounts.iter().map(|account| account.id.as_str().as_bytes().to_vec()));
            }
        }
        listed
    }

    /// The accounts that other customers' lists have.
    fn accounts_of_others(&self) -> HashSet<Vec<u8>> {
        self.listed(|customer| customer.id != self.customer.id)
    }

    /// The ids that must not stand in the customer's manifest or proof.
    fn foreign_in_text(&self) -> HashSet<Vec<u8>> {
        if matches!(self.customer.accounts, AuditedAccounts::All) {
            return HashSet::new();
        }
        let mut foreign = self.accounts_of_others();
        foreign.extend(self.expected.accounts.iter().cloned());
        for own in self.listed(|customer| customer.id == self.customer.id) {
            foreign.remove(&own);
        }
        if let Some(folder) = &self.export.folder {
            foreign.remove(folder.as_str().as_bytes());
        }
        foreign
    }

    /// A column's exact sums as a reader of the export's format sees them.
    fn sums(&self, column: &str) -> BTreeMap<String, Sum> {
        match (self.export.format, &self.share.stored) {
            (Format::Parquet, Some(stored)) => stored.per_currency(&self.expected.registry, column),
            _ => self.share.totals.per_currency(&self.expected.groups, column),
        }
    }

    /// The usage accounts that a row of the export can have.
    fn allowed_accounts(&self) -> HashSet<Vec<u8>> {
        let mut allowed = self.share.accounts.clone();
        if let Some(linked) = &self.export.linked_account {
            allowed.insert(linked.as_str().as_bytes().to_vec());
        } else if let AuditedAccounts::Listed(accounts) = &self.customer.accounts {
            let touching = accounts.iter().filter(|account| account.touches(self.period));
            allowed.extend(touching.map(|account| account.id.as_str().as_bytes().to_vec()));
        }
        allowed
    }
}

/// Audits one export; only the caller's wish to stop ends it early.
pub(crate) fn audit_export(
    context: &ExportContext<'_>,
    findings: &mut Findings,
    zeros: &mut ZeroCounts,
) -> Result<CustomerAudit, AuditError> {
    let before = findings.count();
    let (layout, report) = (context.export.layout, &context.export.report_id);
    let key = ObjectKey::Manifest { layout, period: context.period, report }.to_string();
    let manifest = load_manifest(context, &key, findings)?;
    let mut rows = ExportRows::new(context, masker(context.customer, context.period, key_of(context)));
    let mut files = Vec::new();
    if let Some((document, manifest)) = &manifest {
        search(context, &key, document, findings, zeros);
        for file_key in &manifest.keys {
            files.push(follow(context, file_key, &mut rows, findings)?);
        }
        look_beside(context, manifest, findings)?;
        check_documents(context, manifest, document, &files, findings, zeros)?;
    }
    let expects = manifest.is_some() || context.share.totals.rows() > 0;
    let object = if expects { key.as_str() } else { "" };
    let figures = compare(context, object, &rows, findings, zeros);
    zeros.cells += rows.cells_of_others;
    Ok(CustomerAudit {
        assembly_id: manifest.as_ref().map(|(_, manifest)| manifest.assembly.to_string()),
        proof: manifest.as_ref().map(|(_, m)| ObjectKey::Proof(m.place(context)).to_string()),
        files: manifest.as_ref().map_or(0, |(_, manifest)| manifest.keys.len() as u64),
        findings: findings.count() - before,
        ..figures
    })
}

fn key_of<'a>(context: &ExportContext<'a>) -> Option<&'a [u8]> {
    context.request.mask_key.as_deref()
}

/// The manifest, or none with a finding, unless nothing was to be delivered.
fn load_manifest(
    context: &ExportContext<'_>,
    key: &str,
    findings: &mut Findings,
) -> Result<Option<(Document, Manifest)>, AuditError> {
    match Document::load(context.export.target.as_ref(), key)? {
        Ok(document) => {
            let manifest = check_manifest(context, key, &document.value, findings);
            return Ok(Some((document, manifest)));
        }
        Err(NoDocument::Missing) => {
            let rows = context.share.totals.rows();
            if rows > 0 || context.in_master {
                findings.add(
                    FindingKind::ManifestMissing,
                    key,
                    format!("no manifest for {rows} expected rows"),
                );
            }
        }
        Err(NoDocument::Unreadable(cause)) => findings.add(FindingKind::ManifestUnreadable, key, cause),
    }
    Ok(None)
}

/// Reads one file that the manifest names.
fn follow(
    context: &ExportContext<'_>,
    named: &NamedKey,
    rows: &mut ExportRows<'_>,
    findings: &mut Findings,
) -> Result<FileFound, AuditError> {
    let key = named.key.as_str();
    if named.is_outside || ObjectKey::check_relative(key).is_err() {
        // Already a finding of the manifest; nothing outside the target is ever opened.
        return Ok(FileFound::unread(key));
    }
    let columns = rows.columns.clone();
    let check = FileCheck {
        place: context.export.target.as_ref(),
        key,
        format: context.export.format,
        columns: &columns,
        exact_form: true,
        single_member: context.customer.gzip == Gzip::Single,
        interrupted: context.interrupted,
        progress: context.progress,
    };
    read_file(&check, findings, &mut |row, record, findings| rows.row(key, row, record, findings))
}

/// A consumer that lists the folder instead would count other data files, too.
fn look_beside(
    context: &ExportContext<'_>,
    manifest: &Manifest,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    let Some(folder) = manifest.folder(context) else { return Ok(()) };
    let below = format!("{folder}/");
    let named: HashSet<&str> = manifest.keys.iter().map(|named| named.key.as_str()).collect();
    for key in context.export.target.list(&below)? {
        let name = key.strip_prefix(&below).unwrap_or(&key);
        let is_data = name.ends_with(".csv.gz") || name.ends_with(".parquet");
        if is_data && !name.contains('/') && !named.contains(key.as_str()) {
            let detail = "a data file in the assembly's folder that the manifest doesn't name";
            findings.add(FindingKind::FileUnexpectedKey, &key, detail);
        }
    }
    Ok(())
}

fn search(
    context: &ExportContext<'_>,
    key: &str,
    document: &Document,
    findings: &mut Findings,
    zeros: &mut ZeroCounts,
) {
    let foreign = context.foreign_in_text();
    for id in ids_in(&readable(document), |id| foreign.contains(id)) {
        zeros.cells += 1;
        findings.add(FindingKind::ForeignText, key, format!("shows {id}, an account of somebody else"));
    }
}

/// A document without the keys of its totals. Those are compared text by text with what the customer may read, and
/// like any text can hold digits outside the places where accounts stand.
fn readable(document: &Document) -> String {
    let mut value = document.value.clone();
    let lists = ["totals", "withheld"].map(|name| value.get_mut(name).map(Value::take));
    let mut entries: Vec<Value> = lists
        .into_iter()
        .flatten()
        .flat_map(|list| match list {
            Value::Array(entries) => entries,
            other => vec![other],
        })
        .collect();
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        for name in ["currency", "line_item_type", "invoice_id"] {
            entry.remove(name);
        }
    }
    format!("{value} {}", Value::from(entries))
}

/// The proof and the assembly's own manifest beside the data, and the generation beside the manifest.
fn check_documents(
    context: &ExportContext<'_>,
    manifest: &Manifest,
    pointer: &Document,
    files: &[FileFound],
    findings: &mut Findings,
    zeros: &mut ZeroCounts,
) -> Result<(), AuditError> {
    let target = context.export.target.as_ref();
    let place = manifest.place(context);
    let key = ObjectKey::Proof(place).to_string();
    match Document::load(target, &key)? {
        Ok(proof) => {
            search(context, &key, &proof, findings, zeros);
            check_proof(context, &key, &proof.value, manifest.assembly.as_str(), files, findings);
        }
        Err(NoDocument::Missing) => findings.add(FindingKind::ProofMissing, &key, "no customer proof"),
        Err(NoDocument::Unreadable(cause)) => findings.add(FindingKind::ProofUnreadable, &key, cause),
    }
    let key = ObjectKey::AssemblyManifest(place).to_string();
    match Document::load(target, &key)? {
        Ok(own) if own.text == pointer.text => {}
        Ok(own) => {
            search(context, &key, &own, findings, zeros);
            let detail = "isn't the same bytes as the manifest that points to it";
            findings.add(FindingKind::ManifestDiffers, &key, detail);
        }
        Err(NoDocument::Missing) => {
            findings.add(FindingKind::ManifestMissing, &key, "the assembly's own manifest is missing");
        }
        Err(NoDocument::Unreadable(cause)) => findings.add(FindingKind::ManifestUnreadable, &key, cause),
    }
    let (layout, period, report) = (place.layout, context.period, &context.export.report_id);
    let key = ObjectKey::Generation { layout, period, report }.to_string();
    match Document::load(target, &key)? {
        Ok(generation) => check_generation(context, &key, &generation.value, findings),
        Err(NoDocument::Missing) => findings.add(FindingKind::GenerationDiffers, &key, "is missing"),
        Err(NoDocument::Unreadable(cause)) => findings.add(FindingKind::GenerationDiffers, &key, cause),
    }
    Ok(())
}

fn check_generation(context: &ExportContext<'_>, key: &str, value: &Value, findings: &mut Findings) {
    let expected = &context.expected.source_version;
    let found = value.get("source_version").and_then(Value::as_str);
    if found != Some(expected) {
        let detail = format!("source_version: expected {expected}, found {}", found.unwrap_or("none"));
        findings.add(FindingKind::GenerationDiffers, key, detail);
    }
    if !value.get("generation").is_some_and(|at| at.is_i64() || at.is_u64()) {
        findings.add(FindingKind::GenerationDiffers, key, "generation: expected milliseconds, found none");
    }
}

/// Compares what the consumer read with what it should have been.
fn compare(
    context: &ExportContext<'_>,
    key: &str,
    rows: &ExportRows<'_>,
    findings: &mut Findings,
    zeros: &mut ZeroCounts,
) -> CustomerAudit {
    let share = context.share;
    let (format, expected, found) = (context.export.format, share.totals.rows(), rows.rows);
    let rows_hash = share.rows_hash(format);
    let sums = |column: &str| context.sums(column);
    zeros.rows += expected.abs_diff(found);
    let detail = format!("rows expected {expected}, found {found}");
    if found < expected {
        findings.add(FindingKind::RowsMissing, key, detail);
    } else if found > expected {
        findings.add(FindingKind::RowsSurplus, key, detail);
    } else if rows_hash != rows.rows_hash {
        let (wanted, read) = (hex128(rows_hash), hex128(rows.rows_hash));
        let detail = format!("{found} rows as expected, but their hash expected {wanted}, found {read}");
        findings.add(FindingKind::CellsDiffer, key, detail);
    } else if context.customer.order == RowOrder::Source && share.order(format) != rows.order {
        let detail = "the right rows, but not in the source's order";
        findings.add(FindingKind::OrderDiffers, key, detail);
    }
    for column in rows.summed_columns() {
        let (wanted, read) = (sums(column), rows.per_currency(column));
        let apart = compare_sums(column, &wanted, &read, |detail| {
            // Where nothing could be read, missing rows say it all.
            if found > 0 {
                findings.add(FindingKind::SumsDiffer, key, detail);
            }
        });
        if column == UNBLENDED {
            zeros.money.plus(&apart);
        }
    }
    CustomerAudit {
        customer: context.customer.id.to_string(),
        report_id: context.export.report_id.to_string(),
        assembly_id: None,
        proof: None,
        rows_expected: expected,
        rows_found: found,
        rows_hash_expected: hex128(rows_hash),
        rows_hash_found: hex128(rows.rows_hash),
        unblended_expected: texts(&sums(UNBLENDED)),
        unblended_found: texts(&rows.per_currency(UNBLENDED)),
        files: 0,
        findings: 0,
    }
}

/// The column that money is counted by.
pub(crate) const UNBLENDED: &str = "line_item_unblended_cost";

/// Sums as text.
pub(crate) fn texts(sums: &BTreeMap<String, Sum>) -> BTreeMap<String, String> {
    sums.iter().map(|(currency, sum)| (currency.clone(), sum.to_text())).collect()
}

/// Tells each currency whose sums differ, and by how much they do altogether.
pub(crate) fn compare_sums(
    column: &str,
    expected: &BTreeMap<String, Sum>,
    found: &BTreeMap<String, Sum>,
    mut tell: impl FnMut(String),
) -> Sum {
    let (mut apart, none) = (Sum::default(), Sum::default());
    let currencies: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for currency in currencies {
        let wanted = expected.get(currency).unwrap_or(&none);
        let read = found.get(currency).unwrap_or(&none);
        let (wanted_text, read_text) = (wanted.to_text(), read.to_text());
        if wanted_text != read_text {
            tell(format!("sum of {column} in {currency:?}: expected {wanted_text}, found {read_text}"));
            apart.plus(&wanted.apart(read));
        }
    }
    apart
}
