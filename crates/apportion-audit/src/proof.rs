//! The customer proof.
//!
//! What comes in: the proof as it is, the share it speaks of, and the files as they were read. What goes out: a
//! finding for every field that can be recomputed and differs. What it must never do: read another customer's part.

use crate::columns::ColumnType;
use crate::documents::{Fields, short};
use crate::expect::masker;
use crate::hashes::{Fingerprint, hex128};
use crate::masking::{Places, Sensitivity};
use crate::report::{FindingKind, Findings};
use crate::request::{AuditedAccount, AuditedAccounts};
use crate::target::{ExportContext, FileFound};
use crate::totals::{Stated, differences, read_stated};
use apportion_model::Format;
use serde_json::{Value, json};

/// The version of the delivery format that this crate audits.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// Checks a customer proof.
pub(crate) fn check_proof(
    context: &ExportContext<'_>,
    key: &str,
    value: &Value,
    assembly: &str,
    files: &[FileFound],
    findings: &mut Findings,
) {
    let mut fields = Fields::new(value);
    fields.text("proof", "apportion customer proof");
    fields.equals("format_version", &json!(FORMAT_VERSION));
    fields.text("report_id", context.export.report_id.as_str());
    fields.text("assembly_id", assembly);
    fields.text("billing_period", &context.period.to_string());
    fields.equals("rows", &json!(context.share.totals.rows()));
    check_settings(context, &mut fields);
    check_columns(context, &mut fields);
    check_representation(context, &mut fields);
    check_totals(context, &mut fields);
    check_version(context, key, &mut fields, findings);
    check_files(&mut fields, files, findings);
    fields.unknown();
    for difference in fields.differences {
        findings.add(FindingKind::ProofDiffers, key, difference);
    }
}

fn check_settings(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    let customer = context.customer;
    fields.text("customer", customer.id.as_str());
    let linked = context.export.linked_account.as_ref().map(|account| account.as_str());
    fields.equals("linked_account", &json!(linked));
    check_accounts(context, fields);
    let (export, csv) = (context.export, context.export.format == Format::CsvGz);
    fields.text("contract", customer.contract.as_str());
    fields.text("layout", export.layout.as_str());
    fields.text("format", export.format.as_str());
    fields.text("header", customer.header.as_str());
    fields.text("order", customer.order.as_str());
    fields.text("gzip", if csv { customer.gzip.as_str() } else { "none" });
    fields.text("level", if csv { customer.level.as_str() } else { "none" });
    fields.text("privacy", if customer.faithful { "faithful" } else { "mask" });
    fields.text("payer", if customer.payer_kept { "keep" } else { "mask" });
    fields.equals("withhold", &json!(customer.withhold));
    let key = context.request.mask_key.as_deref().filter(|_| !customer.faithful);
    fields.text("mask_key", &key.map_or_else(|| "none".into(), key_fingerprint));
}

/// What a proof says of the key, so that two deliveries can be compared and nothing of the key is told.
fn key_fingerprint(key: &[u8]) -> String {
    let mut digits = Fingerprint::of(&[b"apportion mask key fingerprint\0", key].concat()).sha256;
    digits.truncate(16);
    digits
}

/// The words for types in proofs.
pub(crate) fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "string",
        ColumnType::Double => "double",
        ColumnType::Timestamp => "timestamp",
    }
}

fn check_columns(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    let columns = context
        .columns
        .iter()
        .map(|column| json!({"name": column.name, "header": column.legacy, "type": type_name(column.kind)}));
    fields.list("columns", columns.collect());
}

/// What Parquet can't hold, column by column; other formats say nothing of it.
fn check_representation(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    let found = fields.take("representation");
    let stored = context.share.stored.as_ref().filter(|_| context.export.format == Format::Parquet);
    let mut expected =
        stored.map(|stored| stored.representation(&context.expected.registry)).unwrap_or_default();
    let list = match found {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => return fields.differ("representation", &"a list", found),
    };
    for entry in list {
        let name = entry.get("column").and_then(Value::as_str).unwrap_or_default();
        let wanted = expected.remove(name).map(
            |(difference, lost)| json!({"column": name, "difference": difference, "not_represented": lost}),
        );
        let wanted = wanted.unwrap_or(Value::Null);
        if wanted != *entry {
            fields.differ("representation", &short(&wanted), Some(entry));
        }
    }
    for (name, (difference, lost)) in expected {
        let wanted = format!("{name} with difference {difference:?} and {lost} not represented");
        fields.differ("representation", &wanted, None);
    }
}

/// All accounts that bear on the period must be there, and none that the settings don't have.
fn check_accounts(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    let found = fields.take("accounts");
    let AuditedAccounts::Listed(accounts) = &context.customer.accounts else {
        if found != Some(&json!("all")) {
            fields.differ("accounts", &"\"all\"", found);
        }
        return;
    };
    let Some(list) = found.and_then(Value::as_array) else {
        fields.differ("accounts", &"a list", found);
        return;
    };
    let entry = |account: &AuditedAccount| {
        let day = |day: Option<apportion_model::Day>| day.map(|day| day.to_string());
        json!({"id": account.id.as_str(), "from": day(account.from), "to": day(account.to)})
    };
    for stranger in list.iter().filter(|found| !accounts.iter().any(|account| entry(account) == **found)) {
        fields.differ("accounts", &"accounts of the settings", Some(stranger));
    }
    for missing in accounts.iter().filter(|a| a.touches(context.period) && !list.contains(&entry(a))) {
        fields.differ("accounts", &short(&entry(missing)), None);
    }
}

fn check_totals(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    let groups = &context.expected.groups;
    let mut masker = masker(context.customer, context.period, context.request.mask_key.as_deref());
    let mut places = Places::new();
    // Many line items stand behind a text here, so no account is read as their payer.
    let mut read = |text: &str| {
        let mut out = Vec::new();
        masker.write(&mut places, Sensitivity::Text, text.as_bytes(), &[], &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    let expected = context.share.totals.stated_as(groups, None, &mut read);
    let found = fields.take("totals");
    compare_totals("totals", &expected, found, false, &mut fields.differences);
    let first = context.customer.exports.first().map(|export| &export.report_id);
    let mut expected = Stated::new();
    if first == Some(&context.export.report_id)
        && let Some(customer) = context.expected.customers.get(context.customer_number)
    {
        for (reason, totals) in &customer.withheld {
            expected.extend(totals.stated_as(groups, Some(reason), &mut read));
        }
    }
    let found = fields.take("withheld");
    if !(expected.is_empty() && found.is_none_or(Value::is_null)) {
        compare_totals("withheld", &expected, found, true, &mut fields.differences);
    }
}

/// Compares totals, telling each difference under the field's name.
pub(crate) fn compare_totals(
    name: &str,
    expected: &Stated,
    found: Option<&Value>,
    reasons: bool,
    out: &mut Vec<String>,
) {
    match found.ok_or_else(|| "is missing".to_owned()).and_then(|list| read_stated(list, reasons)) {
        Ok(found) => {
            out.extend(differences(expected, &found).into_iter().map(|what| format!("{name}: {what}")))
        }
        Err(cause) => out.push(format!("{name}: {cause}")),
    }
}

fn check_version(context: &ExportContext<'_>, key: &str, fields: &mut Fields<'_>, findings: &mut Findings) {
    let expected = &context.expected.source_version;
    let found = fields.any_text("source_version");
    if found.is_some_and(|found| found != expected) {
        let found = found.unwrap_or_default();
        let detail = format!("delivered from source_version {found}, the source is now {expected}");
        findings.add(FindingKind::SourceChanged, key, detail);
    }
}

/// The files as the proof states them against the files as they are.
fn check_files(fields: &mut Fields<'_>, files: &[FileFound], findings: &mut Findings) {
    let found = fields.take("files");
    let Some(list) = found.and_then(Value::as_array) else {
        fields.differ("files", &"a list", found);
        return;
    };
    compare_files(list, files, &mut fields.differences, findings);
}

/// Compares stated files with read ones: weights and hashes are findings of the file, all else of the document.
pub(crate) fn compare_files(
    list: &[Value],
    files: &[FileFound],
    out: &mut Vec<String>,
    findings: &mut Findings,
) {
    if list.len() != files.len() {
        out.push(format!("files: expected {}, found {}", files.len(), list.len()));
    }
    for (number, file) in files.iter().enumerate() {
        let Some(stated) = list.get(number) else { continue };
        let mut fields = Fields::new(stated);
        fields.text("key", &file.key);
        fields.equals("rows", &json!(file.rows));
        fields.text("rows_hash", &hex128(file.rows_hash));
        let (bytes, sha256) = (fields.take("bytes"), fields.take("sha256"));
        fields.unknown();
        out.extend(fields.differences.into_iter().map(|what| format!("files[{number}].{what}")));
        let Some(fingerprint) = &file.fingerprint else { continue };
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".into(), short);
        if bytes != Some(&json!(fingerprint.bytes)) {
            let detail = format!("{} bytes, its proof says {}", fingerprint.bytes, text(bytes));
            findings.add(FindingKind::FileSize, &file.key, detail);
        }
        if sha256 != Some(&json!(fingerprint.sha256)) {
            let detail = format!("SHA-256 {}, its proof says {}", fingerprint.sha256, text(sha256));
            findings.add(FindingKind::FileHash, &file.key, detail);
        }
    }
}
