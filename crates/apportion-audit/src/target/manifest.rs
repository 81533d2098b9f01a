//! The manifest of an export.
//!
//! What comes in: the manifest as it is. What goes out: which files to follow, and a finding for every field that
//! isn't what it must be. What it must never do: take the manifest's word for anything that can be recomputed.

use super::ExportContext;
use crate::columns::ColumnType;
use crate::delivered::ExportColumn;
use crate::documents::Fields;
use crate::headers::parts;
use crate::report::{FindingKind, Findings};
use crate::request::AuditedAccounts;
use apportion_model::{AccountId, AssemblyId, ExportPlace, Format, ObjectKey};
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a consumer takes from the manifest.
pub(super) struct Manifest {
    pub(super) account: AccountId,
    pub(super) assembly: AssemblyId,
    pub(super) keys: Vec<NamedKey>,
}

/// A file as the manifest names it.
pub(super) struct NamedKey {
    /// Its key in the target; as the manifest has it, where that leads out of the target.
    pub(super) key: String,
    /// Whether the manifest's key doesn't begin with what stands before all keys of the target.
    pub(super) is_outside: bool,
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
    check_columns(context.columns, &mut fields);
    let (compression, content) = match context.export.format {
        Format::CsvGz => ("GZIP", "text/csv"),
        Format::Parquet => ("Parquet", "Parquet"),
    };
    fields.text("charset", "UTF-8");
    fields.text("compression", compression);
    fields.text("contentType", content);
    fields.text("reportId", context.export.report_id.as_str());
    fields.text("reportName", context.export.report_id.as_str());
    let moment = |day: apportion_model::Day| format!("{}T000000.000Z", day.to_string().replace('-', ""));
    let (start, end) = (moment(context.period.start()), moment(context.period.end()));
    fields.equals("billingPeriod", &json!({"start": start, "end": end}));
    check_bucket(context, &mut fields);
    let prefix = context.export.target.prefix();
    let keys = read_keys(&prefix, &mut fields);
    let manifest = Manifest {
        account: AccountId::from_data(&account),
        assembly: AssemblyId::from_source(&assembly),
        keys,
    };
    let place = manifest.place(context);
    check_artifacts(&mut fields, &format!("{prefix}{}", ObjectKey::Proof(place)));
    fields.unknown();
    for difference in fields.differences {
        findings.add(FindingKind::ManifestDiffers, key, difference);
    }
    let wanted = |number: u32| ObjectKey::Data(place, context.export.format, number).to_string();
    check_keys(&manifest.keys, wanted, findings);
    manifest
}

impl Manifest {
    /// Where the export's objects lie by the manifest's word.
    pub(super) fn place<'a>(&'a self, context: &ExportContext<'a>) -> ExportPlace<'a> {
        ExportPlace {
            layout: context.export.layout,
            account: &self.account,
            period: context.period,
            assembly: &self.assembly,
            report: &context.export.report_id,
        }
    }

    /// The assembly's folder, if account and assembly make a key that may be followed.
    pub(super) fn folder(&self, context: &ExportContext<'_>) -> Option<String> {
        let folder = self.place(context).to_string();
        ObjectKey::check_relative(&folder).is_ok().then_some(folder)
    }
}

fn check_account(context: &ExportContext<'_>, fields: &mut Fields<'_>) -> String {
    let found = fields.any_text("account").unwrap_or_default().to_owned();
    let first = match &context.customer.accounts {
        AuditedAccounts::All => None,
        AuditedAccounts::Listed(accounts) => accounts.first().map(|account| &account.id),
    };
    let wanted = context.export.linked_account.as_ref().or(context.export.folder.as_ref()).or(first);
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

/// Category and name of the legacy name, and the type, of each column in the export's order.
fn check_columns(columns: &[ExportColumn], fields: &mut Fields<'_>) {
    let wanted = columns.iter().map(|column| {
        let (category, name) = parts(&column.legacy);
        let kind = match column.kind {
            ColumnType::Text => "String",
            ColumnType::Double => "OptionalBigDecimal",
            ColumnType::Timestamp => "DateTime",
        };
        json!({"category": category, "name": name, "type": kind})
    });
    fields.list("columns", wanted.collect());
}

fn check_bucket(context: &ExportContext<'_>, fields: &mut Fields<'_>) {
    match context.export.target.bucket() {
        Some(name) => fields.text("bucket", &name),
        None => {
            fields.any_text("bucket");
        }
    }
}

/// Manifests name keys from the bucket's root.
fn read_keys(prefix: &str, fields: &mut Fields<'_>) -> Vec<NamedKey> {
    let found = fields.take("reportKeys");
    let Some(list) = found.and_then(Value::as_array) else {
        fields.differ("reportKeys", &"a list of keys", found);
        return Vec::new();
    };
    let mut keys = Vec::new();
    for key in list {
        match key.as_str() {
            Some(key) => keys.push(match key.strip_prefix(prefix) {
                Some(own) => NamedKey { key: own.to_owned(), is_outside: false },
                None => NamedKey { key: key.to_owned(), is_outside: true },
            }),
            None => fields.differ("reportKeys", &"texts", Some(key)),
        }
    }
    keys
}

fn check_artifacts(fields: &mut Fields<'_>, proof: &str) {
    fields.equals("additionalArtifactKeys", &json!([{"artifactType": "Proof", "name": proof}]));
}

/// Keys of its own assembly, in order, each once.
fn check_keys(keys: &[NamedKey], wanted: impl Fn(u32) -> String, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for (number, NamedKey { key, is_outside }) in (1u32..).zip(keys) {
        let expected = wanted(number);
        if *is_outside {
            let detail = "doesn't begin with the target's own prefix; its readers look for it outside";
            findings.add(FindingKind::FileUnexpectedKey, key, detail);
        } else if let Err(cause) = ObjectKey::check_relative(key) {
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
    fn columns_are_compared_one_by_one() {
        let column = |name: &str, legacy: &str, kind| ExportColumn {
            name: name.into(),
            legacy: legacy.into(),
            kind,
            filled: true,
        };
        let columns = [
            column("line_item_usage_amount", "lineItem/UsageAmount", ColumnType::Double),
            column("resource_tags_user_a_b", "resourceTags/user:a/b", ColumnType::Text),
        ];
        let good = [
            json!({"category": "lineItem", "name": "UsageAmount", "type": "OptionalBigDecimal"}),
            json!({"category": "resourceTags", "name": "user:a/b", "type": "String"}),
        ];
        let check = |found: &[Value]| {
            let value = json!({"columns": found});
            let mut fields = Fields::new(&value);
            check_columns(&columns, &mut fields);
            fields.differences.len()
        };
        assert_eq!(check(&good), 0);
        assert_eq!(check(&[good[1].clone(), good[0].clone()]), 2);
        assert_eq!(check(&good[..1]), 1);
        assert_eq!(check(&[&good[..], &good[..1]].concat()), 1);
    }

    #[test]
    fn keys_outside_the_assembly_are_found() {
        let mut findings = Findings::default();
        let keys = ["p/a/1", "p/a/2", "p/a/2", "p/../x", "p/b/5", "a/6"];
        let manifest = json!({"reportKeys": keys});
        let keys = read_keys("p/", &mut Fields::new(&manifest));
        check_keys(&keys, |number| format!("a/{number}"), &mut findings);
        assert_eq!(findings.count(), 4);
        let found: Vec<_> = keys.iter().map(|named| (named.key.as_str(), named.is_outside)).collect();
        assert_eq!(found[0], ("a/1", false));
        assert_eq!(found[5], ("a/6", true));
    }
}
