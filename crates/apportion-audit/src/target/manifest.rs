//! The manifest of an export.
//!
//! What comes in: the manifest as it is. What goes out: which files to follow, and a finding for every field that
//! isn't what it must be. What it must never do: take the manifest's word for anything that can be recomputed.

use super::ExportContext;
use crate::columns::{ColumnType, ECO};
use crate::documents::{Fields, short};
use crate::names::snake;
use crate::report::{FindingKind, Findings};
use crate::request::AuditedAccounts;
use apportion_model::{AccountId, AssemblyId, ExportPlace, Format, Layout, ObjectKey};
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a consumer takes from the manifest.
pub(super) struct Manifest {
    pub(super) account: String,
    pub(super) assembly: String,
    pub(super) keys: Vec<String>,
    /// The assembly's folder, if account and assembly make a key that may be followed.
    pub(super) folder: Option<String>,
}

/// Checks every field, and returns what is to be followed.
pub(super) fn check_manifest(
    context: &ExportContext<'_>,
    key: &str,
    value: &Value,
    findings: &mut Findings,
) -> Manifest {
    let mut fields = Fields::new(value);
    let assembly = fields.any_text("assemblyId").unwrap_or_default().to_owned();
    let account = check_account(context, &mut fields);
    check_columns(&mut fields);
    fields.text("charset", "UTF-8");
    fields.text("compression", "GZIP");
    fields.text("contentType", "text/csv");
    fields.text("reportId", context.export.report_id.as_str());
    fields.text("reportName", context.export.report_id.as_str());
    let moment = |day: apportion_model::Day| format!("{}T000000.000Z", day.to_string().replace('-', ""));
    let (start, end) = (moment(context.period.start()), moment(context.period.end()));
    fields.equals("billingPeriod", &json!({"start": start, "end": end}));
    check_bucket(context, &mut fields);
    let keys = read_keys(&mut fields);
    let (account_id, assembly_id) = (AccountId::from_data(&account), AssemblyId::from_source(&assembly));
    let (period, report) = (context.period, &context.export.report_id);
    let place =
        ExportPlace { layout: Layout::Eco, account: &account_id, period, assembly: &assembly_id, report };
    let proof = ObjectKey::Proof(place).to_string();
    check_artifacts(&mut fields, &proof);
    fields.unknown();
    for difference in fields.differences {
        findings.add(FindingKind::ManifestDiffers, key, difference);
    }
    let wanted = |number: u32| ObjectKey::Data(place, Format::CsvGz, number).to_string();
    check_keys(&keys, wanted, findings);
    let folder = proof.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let folder = folder.filter(|folder| ObjectKey::check_relative(folder).is_ok());
    Manifest { account, assembly, keys, folder }
}

fn check_account(context: &ExportContext<'_>, fields: &mut Fields<'_>) -> String {
    let found = fields.any_text("account").unwrap_or_default().to_owned();
    let wanted = context.export.folder.as_ref().or(context.export.linked_account.as_ref());
    let payer = || context.expected.payers.contains(found.as_bytes());
    match wanted {
        Some(wanted) if wanted.as_str() != found => fields.differ("account", wanted, Some(&json!(found))),
        None if matches!(context.customer.accounts, AuditedAccounts::All) && !payer() => {
            fields.differ("account", &"a payer of the source", Some(&json!(found)));
        }
        _ => {}
    }
    found
}

/// A column is named either by its whole snake name, or by the two parts that the snake name is made of.
fn check_columns(fields: &mut Fields<'_>) {
    let found = fields.take("columns");
    let Some(columns) = found.and_then(Value::as_array) else {
        fields.differ("columns", &"a list of 244 columns", found);
        return;
    };
    if columns.len() != ECO.len() {
        fields.differ("columns", &"244 columns", Some(&json!(columns.len())));
    }
    for (number, ((name, kind), column)) in ECO.iter().zip(columns).enumerate() {
        let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or_default();
        let whole = text("name") == *name && name.starts_with(&snake_text(text("category")));
        let parts = snake_text(&format!("{}/{}", text("category"), text("name"))) == *name;
        let extra = column.as_object().is_none_or(|fields| fields.len() != 3);
        if !(whole || parts) || type_of(text("type")) != Some(*kind) || extra {
            let wanted = format!("{name} of type {kind:?}");
            fields.differences.push(format!("columns[{number}]: expected {wanted}, found {}", short(column)));
        }
    }
}

fn snake_text(text: &str) -> String {
    String::from_utf8_lossy(&snake(text.as_bytes())).into_owned()
}

/// The types that legacy manifests and the Eco schema write.
fn type_of(text: &str) -> Option<ColumnType> {
    match text {
        "string" | "String" | "OptionalString" | "Interval" => Some(ColumnType::Text),
        "double" | "Double" | "Decimal" | "BigDecimal" | "OptionalBigDecimal" => Some(ColumnType::Double),
        "timestamp" | "Timestamp" | "DateTime" | "OptionalDateTime" => Some(ColumnType::Timestamp),
        _ => None,
    }
}

fn check_bucket(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    let target = &context.customer.target;
    let own = target.file_name().map(|name| name.to_string_lossy().into_owned());
    // A path such as `.` has no name of its own.
    let name = own.or_else(|| {
        let whole = target.canonicalize().ok()?;
        whole.file_name().map(|name| name.to_string_lossy().into_owned())
    });
    match name {
        Some(name) => fields.text("bucket", &name),
        None => {
            fields.any_text("bucket");
        }
    }
}

fn read_keys(fields: &mut Fields<'_>) -> Vec<String> {
    let found = fields.take("reportKeys");
    let Some(list) = found.and_then(Value::as_array) else {
        fields.differ("reportKeys", &"a list of keys", found);
        return Vec::new();
    };
    let mut keys = Vec::new();
    for key in list {
        match key.as_str() {
            Some(key) => keys.push(key.to_owned()),
            None => fields.differ("reportKeys", &"texts", Some(key)),
        }
    }
    keys
}

fn check_artifacts(fields: &mut Fields<'_>, proof: &str) {
    fields.equals("additionalArtifactKeys", &json!([{"artifactType": "Proof", "name": proof}]));
}

/// Keys of its own assembly, in order, each once.
fn check_keys(keys: &[String], wanted: impl Fn(u32) -> String, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for (number, key) in (1u32..).zip(keys) {
        let expected = wanted(number);
        if let Err(cause) = ObjectKey::check_relative(key) {
            findings.add(FindingKind::FileUnexpectedKey, key, cause.to_string());
        } else if !seen.insert(key) {
            findings.add(FindingKind::FileUnexpectedKey, key, "named twice: its rows would count twice");
        } else if *key != expected {
            findings.add(FindingKind::FileUnexpectedKey, key, format!("expected {expected}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_be_named_whole_or_in_parts() {
        let column = |(name, kind): &(&str, ColumnType)| {
            let kind = match kind {
                ColumnType::Text => "string",
                ColumnType::Double => "double",
                ColumnType::Timestamp => "timestamp",
            };
            json!({"category": name.split('_').next(), "name": name, "type": kind})
        };
        let mut columns: Vec<Value> = ECO.iter().map(column).collect();
        columns[22] = json!({"category": "lineItem", "name": "UsageAccountId", "type": "String"});
        let check = |columns: &[Value]| {
            let value = json!({"columns": columns});
            let mut fields = Fields::new(&value);
            check_columns(&mut fields);
            fields.differences
        };
        assert_eq!(check(&columns), Vec::<String>::new());
        columns.swap(3, 4);
        assert_eq!(check(&columns).len(), 2);
        assert_eq!(check(&columns[..243]).len(), 3);
    }

    #[test]
    fn keys_outside_the_assembly_are_found() {
        let mut findings = Findings::default();
        let keys = ["a/1", "a/2", "a/2", "../x", "b/5"].map(str::to_owned);
        check_keys(&keys, |number| format!("a/{number}"), &mut findings);
        assert_eq!(findings.count(), 3);
    }
}
