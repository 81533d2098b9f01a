//! The MSP's own place: pointer, master proof and unassigned line items.
//!
//! What comes in: the place, and what the delivery must have become. What goes out: a finding for every field and
//! file that isn't what it must be. What it must never do: take one part of the place as proof of another.

use crate::columns::ColumnType;
use crate::documents::{Document, Fields, NoDocument, short};
use crate::error::AuditError;
use crate::expect::Expected;
use crate::hashes::hex128;
use crate::numbers::{Number, Sum};
use crate::place::Place;
use crate::proof::{FORMAT_VERSION, compare_files, compare_totals};
use crate::report::{CustomerAudit, FindingKind, Findings, ZeroCounts};
use crate::request::AuditRequest;
use crate::source::Delivery;
use crate::target::{FileCheck, FileColumn, FileFound, UNBLENDED, compare_sums, read_file};
use crate::totals::{Stated, Totals};
use apportion_model::{AssemblyId, Format, ObjectKey};
use csv::ByteRecord;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// A master proof that could be read.
pub(crate) struct Master {
    key: String,
    delivery_id: String,
    document: Document,
}

/// What the master proof is compared with.
#[derive(Clone, Copy)]
pub(crate) struct MasterContext<'a> {
    pub(crate) request: &'a AuditRequest,
    pub(crate) delivery: &'a Delivery,
    pub(crate) expected: &'a Expected,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    pub(crate) progress: &'a dyn Fn(&str, u64),
}

impl Master {
    /// Follows the pointer; each obstacle is a finding.
    pub(crate) fn load(
        context: &MasterContext<'_>,
        place: &dyn Place,
        findings: &mut Findings,
    ) -> Result<Option<Self>, AuditError> {
        let (source, period) = (&context.request.source_name, context.delivery.period);
        let pointer_key = ObjectKey::MasterPointer { source, period }.to_string();
        let Some(pointer) = load(place, &pointer_key, findings)? else { return Ok(None) };
        let mut fields = Fields::new(&pointer.value);
        let delivery_id = fields.any_text("delivery_id").unwrap_or_default().to_owned();
        let delivery = AssemblyId::from_source(&delivery_id);
        let wanted = ObjectKey::MasterProof { source, period, delivery: &delivery }.to_string();
        fields.text("proof", &wanted);
        check_older(context, &delivery_id, &mut fields);
        fields.unknown();
        let key = pointer.value.get("proof").and_then(Value::as_str).unwrap_or(&wanted).to_owned();
        for difference in fields.differences {
            findings.add(FindingKind::MasterDiffers, &pointer_key, difference);
        }
        let document = load(place, &key, findings)?;
        Ok(document.map(|document| Self { key, delivery_id, document }))
    }

    /// Whether the proof says that an export was delivered.
    pub(crate) fn names(&self, report_id: &str) -> bool {
        self.customers().iter().any(|entry| entry.get("report_id").and_then(Value::as_str) == Some(report_id))
    }

    fn customers(&self) -> &[Value] {
        self.document.value.get("customers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Compares everything that can be recomputed, the unassigned files included.
    pub(crate) fn check(
        &self,
        context: &MasterContext<'_>,
        place: &dyn Place,
        audited: &[CustomerAudit],
        findings: &mut Findings,
        zeros: &mut ZeroCounts,
    ) -> Result<(), AuditError> {
        let (delivery, expected) = (context.delivery, context.expected);
        let mut fields = Fields::new(&self.document.value);
        fields.text("proof", "apportion master proof");
        fields.equals("format_version", &json!(FORMAT_VERSION));
        fields.text("source", context.request.source_name.as_str());
        fields.text("report", &delivery.report);
        match delivery.kind {
            Some(kind) => fields.text("kind", kind),
            None => drop(fields.any_text("kind")),
        }
        fields.text("billing_period", &delivery.period.to_string());
        match &delivery.assembly {
            Some(assembly) => fields.text("source_assembly_id", assembly),
            None => drop(fields.take("source_assembly_id")),
        }
        fields.text("delivery_id", &self.delivery_id);
        self.check_source(expected, &mut fields, findings);
        let found = fields.take("source_totals");
        let source_totals = expected.source_totals.stated(&expected.groups, None);
        compare_totals("source_totals", &source_totals, found, false, &mut fields.differences);
        fields.take("customers");
        self.check_customers(context, audited, &mut fields.differences);
        check_withheld(context, fields.take("withheld"), &mut fields.differences);
        let unassigned = fields.take("unassigned").unwrap_or(&Value::Null);
        let files =
            self.check_unassigned(context, place, unassigned, &mut fields.differences, findings, zeros);
        check_columns(expected, &mut fields);
        fields.take("observations");
        fields.unknown();
        for difference in fields.differences {
            findings.add(FindingKind::MasterDiffers, &self.key, difference);
        }
        files
    }

    fn check_source(&self, expected: &Expected, fields: &mut Fields<'_>, findings: &mut Findings) {
        let found = fields.any_text("source_version").unwrap_or_default();
        if found != expected.source_version {
            let now = &expected.source_version;
            let detail = format!("delivered from source_version {found}, the source is now {now}");
            findings.add(FindingKind::SourceChanged, &self.key, detail);
        }
        let objects: Vec<Value> = expected
            .objects
            .iter()
            .map(|object| {
                let (bytes, sha256) = (object.fingerprint.bytes, &object.fingerprint.sha256);
                json!({"key": object.key, "bytes": bytes, "sha256": sha256, "rows": object.rows})
            })
            .collect();
        fields.equals("source_objects", &Value::from(objects));
    }

    fn check_customers(&self, context: &MasterContext<'_>, audited: &[CustomerAudit], out: &mut Vec<String>) {
        let expected = context.expected;
        let mut known = 0;
        for (customer, settings) in expected.customers.iter().zip(&context.request.customers) {
            let entries: Vec<&Value> = self
                .customers()
                .iter()
                .filter(|entry| entry.get("customer").and_then(Value::as_str) == Some(settings.id.as_str()))
                .collect();
            known += entries.len();
            if settings.exports.is_empty() {
                let rows: u64 = customer.shares.iter().map(|share| share.totals.rows()).sum();
                let found = entries.iter().filter_map(|entry| entry.get("rows").and_then(Value::as_u64));
                let found: u64 = found.fold(0, u64::saturating_add);
                if rows != found {
                    out.push(format!("customers: {}: rows expected {rows}, found {found}", settings.id));
                }
                continue;
            }
            if entries.len() > settings.exports.len() {
                let (wanted, found) = (settings.exports.len(), entries.len());
                out.push(format!("customers: {}: {found} entries for {wanted} exports", settings.id));
            }
            for export in &settings.exports {
                let report = export.report_id.as_str();
                let linked = export.linked_account.as_ref();
                let share = customer.shares.iter().find(|share| share.linked_account.as_ref() == linked);
                let Some(share) = share else { continue };
                let entry = entries.iter().find(|entry| entry.get("report_id") == Some(&json!(report)));
                let Some(entry) = entry else {
                    if share.totals.rows() > 0 {
                        let rows = share.totals.rows();
                        out.push(format!("customers: {report}: missing, expected {rows} rows"));
                    }
                    continue;
                };
                let mut fields = Fields::new(entry);
                fields.take("customer");
                fields.take("report_id");
                fields.equals("linked_account", &json!(linked.map(|account| account.as_str())));
                fields.equals("rows", &json!(share.totals.rows()));
                fields.text("format", export.format.as_str());
                let (layout, period) = (export.layout, context.delivery.period);
                let manifest = ObjectKey::Manifest { layout, period, report: &export.report_id };
                fields.text("manifest", &manifest.to_string());
                check_live(report, audited, &mut fields);
                let stated = share.totals.stated(&expected.groups, None);
                let found = fields.take("totals");
                compare_totals("totals", &stated, found, false, &mut fields.differences);
                fields.unknown();
                out.extend(fields.differences.into_iter().map(|what| format!("customers: {report}: {what}")));
            }
        }
        if known != self.customers().len() {
            let strangers = self.customers().len() - known;
            out.push(format!("customers: {strangers} entries of customers that the settings don't have"));
        }
    }

    /// The unassigned line items as the proof states them, and as their files are.
    fn check_unassigned(
        &self,
        context: &MasterContext<'_>,
        place: &dyn Place,
        stated: &Value,
        out: &mut Vec<String>,
        findings: &mut Findings,
        zeros: &mut ZeroCounts,
    ) -> Result<(), AuditError> {
        let expected = context.expected;
        let mut fields = Fields::new(stated);
        fields.equals("rows", &json!(expected.unassigned));
        let found = fields.take("totals");
        // The format leaves open whether withheld line items are repeated here; either way all must be there.
        let (whole, nobody) = (unassigned_totals(expected, true), unassigned_totals(expected, false));
        let mut as_whole = Vec::new();
        compare_totals("totals", &whole, found, true, &mut as_whole);
        if !as_whole.is_empty() {
            let mut as_nobody = Vec::new();
            compare_totals("totals", &nobody, found, true, &mut as_nobody);
            let fewer = if as_nobody.len() < as_whole.len() { as_nobody } else { as_whole };
            fields.differences.extend(fewer);
        }
        let list = fields.take("files").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if list.is_empty() {
            fields.differ("files", &"at least one", None);
        }
        fields.unknown();
        out.extend(fields.differences.into_iter().map(|what| format!("unassigned.{what}")));
        self.read_unassigned(context, place, list, out, findings, zeros)
    }

    fn read_unassigned(
        &self,
        context: &MasterContext<'_>,
        place: &dyn Place,
        list: &[Value],
        out: &mut Vec<String>,
        findings: &mut Findings,
        zeros: &mut ZeroCounts,
    ) -> Result<(), AuditError> {
        let expected = context.expected;
        let own = expected.unassigned_columns.iter().map(Vec::as_slice);
        let header: Vec<&[u8]> = own.chain([&b"apportion_reason"[..], b"apportion_owner"]).collect();
        let column = |name: &&[u8]| FileColumn {
            header: name.to_vec(),
            name: name.to_vec(),
            kind: ColumnType::Text,
            filled: true,
        };
        let columns: Vec<FileColumn> = header.iter().map(column).collect();
        let (mut files, mut money) = (Vec::new(), Unblended::new(&header));
        let delivery = AssemblyId::from_source(&self.delivery_id);
        let (source, period) = (&context.request.source_name, context.delivery.period);
        for (number, stated) in (1u32..).zip(list) {
            let wanted = ObjectKey::Unassigned { source, period, delivery: &delivery, number }.to_string();
            let key = stated.get("key").and_then(Value::as_str).unwrap_or(&wanted);
            if key != wanted {
                findings.add(FindingKind::FileUnexpectedKey, key, format!("expected {wanted}"));
            }
            if ObjectKey::check_relative(key).is_err() {
                files.push(FileFound::unread(key));
                continue;
            }
            let check = FileCheck {
                place,
                key,
                format: Format::CsvGz,
                columns: &columns,
                exact_form: false,
                single_member: false,
                interrupted: context.interrupted,
                progress: context.progress,
            };
            files.push(read_file(&check, findings, &mut |_, record, _| money.add(record))?);
        }
        compare_files(list, &files, out, findings);
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let hash = files.iter().fold(0u128, |sum, file| sum.wrapping_add(file.rows_hash));
        let folder = format!("unassigned/{source}/{period}/{delivery}");
        zeros.rows += expected.unassigned.abs_diff(rows);
        if rows != expected.unassigned {
            let detail = format!("rows expected {}, found {rows}", expected.unassigned);
            findings.add(FindingKind::UnassignedDiffers, &folder, detail);
        } else if hash != expected.unassigned_hash {
            let (wanted, read) = (hex128(expected.unassigned_hash), hex128(hash));
            let detail = format!("{rows} rows as expected, but rows_hash expected {wanted}, found {read}");
            findings.add(FindingKind::UnassignedDiffers, &folder, detail);
        }
        let apart = compare_sums(UNBLENDED, &unassigned_money(expected), &money.sums, |detail| {
            findings.add(FindingKind::UnassignedDiffers, &folder, detail);
        });
        zeros.money.plus(&apart);
        Ok(())
    }
}

fn load(place: &dyn Place, key: &str, findings: &mut Findings) -> Result<Option<Document>, AuditError> {
    match Document::load(place, key)? {
        Ok(document) => return Ok(Some(document)),
        Err(NoDocument::Missing) => findings.add(FindingKind::MasterMissing, key, "is missing"),
        Err(NoDocument::Unreadable(cause)) => findings.add(FindingKind::MasterUnreadable, key, cause),
    }
    Ok(None)
}

/// Assembly and proof must be those that the export's manifest leads to, if that was read.
fn check_live(report: &str, audited: &[CustomerAudit], fields: &mut Fields<'_>) {
    let live = audited.iter().find(|customer| customer.report_id == report);
    for (name, wanted) in [
        ("assembly_id", live.and_then(|customer| customer.assembly_id.as_ref())),
        ("proof", live.and_then(|customer| customer.proof.as_ref())),
    ] {
        match wanted {
            Some(wanted) => fields.text(name, wanted),
            None => drop(fields.any_text(name)),
        }
    }
}

/// The source's columns by name, and its payers.
fn check_columns(expected: &Expected, fields: &mut Fields<'_>) {
    // The page leaves open what a column's type in the files is called; it is some text.
    let columns = expected.source_columns.iter().map(|(name, files)| {
        let name = String::from_utf8_lossy(name);
        json!({"name": name, "files": files})
    });
    let found = fields.take("columns").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let without_type = |entry: &Value| {
        let mut entry = entry.clone();
        let kind = entry.as_object_mut().and_then(|fields| fields.remove("type"));
        (kind.as_ref().and_then(Value::as_str).is_some_and(|kind| !kind.is_empty()), entry)
    };
    let (expected_columns, found): (Vec<_>, Vec<_>) =
        (columns.map(|column| (true, column)).collect(), found.iter().map(without_type).collect());
    if expected_columns != found {
        let at = expected_columns.iter().zip(&found).position(|(wanted, found)| wanted != found);
        let at = at.unwrap_or(expected_columns.len().min(found.len()));
        let wanted = expected_columns.get(at).map_or_else(|| "no more".into(), |(_, wanted)| short(wanted));
        fields.differ(&format!("columns[{at}]"), &wanted, found.get(at).map(|(_, found)| found));
    }
    let mut payers: Vec<_> = expected.payers.iter().map(|id| String::from_utf8_lossy(id)).collect();
    payers.sort();
    fields.equals("payers", &json!(payers));
}

/// The deliveries before this one: each with its proof, none twice.
fn check_older(context: &MasterContext<'_>, delivery_id: &str, fields: &mut Fields<'_>) {
    let (source, period) = (&context.request.source_name, context.delivery.period);
    let found = fields.take("older");
    let Some(list) = found.and_then(Value::as_array) else {
        return fields.differ("older", &"a list", found);
    };
    let mut seen = HashSet::from([delivery_id]);
    for entry in list {
        let id = entry.get("delivery_id").and_then(Value::as_str).unwrap_or_default();
        let delivery = AssemblyId::from_source(id);
        let proof = ObjectKey::MasterProof { source, period, delivery: &delivery }.to_string();
        if *entry != json!({"delivery_id": id, "proof": proof}) || !seen.insert(id) {
            fields.differ("older", &"other deliveries with their proofs, each once", Some(entry));
        }
    }
}

/// Withheld totals per customer; their entries may be grouped under `totals` or stand by themselves.
fn check_withheld(context: &MasterContext<'_>, found: Option<&Value>, out: &mut Vec<String>) {
    let list = match found {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => {
            out.push("withheld: is not a list".into());
            return;
        }
    };
    let mut by_customer: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in list {
        let customer = entry.get("customer").and_then(Value::as_str).unwrap_or_default().to_owned();
        let entries = by_customer.entry(customer).or_default();
        match (entry.get("totals").and_then(Value::as_array), entry.as_object()) {
            (Some(totals), _) => entries.extend(totals.iter().cloned()),
            (None, Some(fields)) => {
                let mut fields = fields.clone();
                fields.remove("customer");
                entries.push(Value::Object(fields));
            }
            (None, None) => entries.push(entry.clone()),
        }
    }
    for (customer, settings) in context.expected.customers.iter().zip(&context.request.customers) {
        let found = Value::Array(by_customer.remove(settings.id.as_str()).unwrap_or_default());
        let expected = stated(&customer.withheld, context.expected);
        compare_totals(&format!("withheld: {}", settings.id), &expected, Some(&found), true, out);
    }
    for stranger in by_customer.keys() {
        out.push(format!("withheld: {stranger:?} is no customer of the settings"));
    }
}

fn stated(by_reason: &BTreeMap<&'static str, Totals>, expected: &Expected) -> Stated {
    let mut all = Stated::new();
    for (reason, totals) in by_reason {
        all.extend(totals.stated(&expected.groups, Some(reason)));
    }
    all
}

/// The totals of what is nobody's, and of what is withheld, too.
fn unassigned_totals(expected: &Expected, withheld: bool) -> Stated {
    let mut by_reason = expected.nobody.clone();
    for customer in expected.customers.iter().filter(|_| withheld) {
        for (reason, totals) in &customer.withheld {
            by_reason.entry(reason).or_default().plus(totals);
        }
    }
    stated(&by_reason, expected)
}

fn unassigned_money(expected: &Expected) -> BTreeMap<String, Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let withheld = expected.customers.iter().flat_map(|customer| customer.withheld.values());
    for totals in expected.nobody.values().chain(withheld) {
        for (currency, sum) in totals.per_currency(&expected.groups, UNBLENDED) {
            sums.entry(currency).or_default().plus(&sum);
        }
    }
    sums
}

/// Unblended cost of the unassigned rows as they are read.
struct Unblended {
    cost: Option<usize>,
    currency: Option<usize>,
    sums: BTreeMap<String, Sum>,
}

impl Unblended {
    fn new(header: &[&[u8]]) -> Self {
        let place = |name: &str| header.iter().position(|column| *column == name.as_bytes());
        Self { cost: place(UNBLENDED), currency: place("line_item_currency_code"), sums: BTreeMap::new() }
    }

    fn add(&mut self, record: &ByteRecord) {
        let text = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default();
        // A cell that is no number shows in the hash; here it adds nothing.
        if let Ok(number) = Number::parse(text(self.cost)) {
            let currency = String::from_utf8_lossy(text(self.currency)).into_owned();
            self.sums.entry(currency).or_default().add(&number);
        }
    }
}
