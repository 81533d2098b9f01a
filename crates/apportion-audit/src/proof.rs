//! The customer proof.
//!
//! What comes in: the proof as it is, the share it speaks of, and the files as they were read. What goes out: a
//! finding for every field that can be recomputed and differs. What it must never do: read another customer's part.

use crate::documents::{Fields, short};
use crate::hashes::hex128;
use crate::report::{FindingKind, Findings};
use crate::request::{AuditedAccount, AuditedAccounts};
use crate::target::{ExportContext, FileFound};
use crate::totals::{Stated, differences, read_stated};
use serde_json::{Value, json};

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
    fields.equals("format_version", &json!(1));
    fields.text("report_id", context.export.report_id.as_str());
    fields.text("assembly_id", assembly);
    fields.text("billing_period", &context.period.to_string());
    fields.equals("rows", &json!(context.share.totals.rows()));
    check_settings(context, &mut fields);
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
    fields.text("contract", "eco");
    fields.text("layout", "eco");
    fields.text("format", "csv.gz");
    fields.any_text("order");
    fields.any_text("gzip");
    let privacy = fields.any_text("privacy");
    if privacy.is_some_and(|privacy| (privacy == "faithful") != customer.faithful) {
        let expected = if customer.faithful { "faithful" } else { "anything but faithful" };
        fields.differ("privacy", &expected, privacy.map(Value::from).as_ref());
    }
    fields.text("payer", if customer.payer_kept { "keep" } else { "mask" });
    fields.equals("withhold", &json!(customer.withhold));
    let mask_key = fields.any_text("mask_key");
    if mask_key.is_some_and(|found| (found == "none") != context.request.mask_key.is_none()) {
        let expected = if context.request.mask_key.is_none() { "none" } else { "a fingerprint" };
        fields.differ("mask_key", &expected, mask_key.map(Value::from).as_ref());
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
    let expected = context.share.totals.stated(groups, None);
    let found = fields.take("totals");
    compare_totals("totals", &expected, found, false, &mut fields.differences);
    let first = context.customer.exports.first().map(|export| &export.report_id);
    let mut expected = Stated::new();
    if first == Some(&context.export.report_id)
        && let Some(customer) = context.expected.customers.get(context.customer_number)
    {
        for (reason, totals) in &customer.withheld {
            expected.extend(totals.stated(groups, Some(reason)));
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
