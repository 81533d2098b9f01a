//! A tiny source, split and delivered by code that is written here by hand from the delivery format's page.

use crate::columns::{ADDITIVE, ColumnType, ECO, GUARANTEED};
use apportion_audit::{
    AuditReport, AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport, FindingKind,
    audit,
};
use apportion_model::{AccountId, CustomerId, ReportId, SourceName};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use twox_hash::XxHash3_128;

pub(crate) const PERIOD: &str = "20261001-20261101";
pub(crate) const ACME: &str = "111111111111";
pub(crate) const BETA: &str = "022222222222";
pub(crate) const PAYER: &str = "999999999999";
/// Header, snake name.
pub(crate) const SOURCE: [(&str, &str); 13] = [
    ("identity/LineItemId", "identity_line_item_id"),
    ("identity/TimeInterval", "identity_time_interval"),
    ("bill/PayerAccountId", "bill_payer_account_id"),
    ("bill/BillingPeriodStartDate", "bill_billing_period_start_date"),
    ("lineItem/UsageAccountId", "line_item_usage_account_id"),
    ("lineItem/LineItemType", "line_item_line_item_type"),
    ("lineItem/UsageStartDate", "line_item_usage_start_date"),
    ("lineItem/CurrencyCode", "line_item_currency_code"),
    ("lineItem/UnblendedCost", "line_item_unblended_cost"),
    ("lineItem/ProductCode", "line_item_product_code"),
    ("lineItem/ResourceId", "line_item_resource_id"),
    ("resourceTags/aws:createdBy", "resource_tags_aws_created_by"),
    ("splitLineItem/ParentResourceId", "split_line_item_parent_resource_id"),
];

/// A line item: account, type, cost, the cost's canonical form, cost in hundredths, resource, creator, split parent.
pub(crate) type Item =
    (&'static str, &'static str, &'static str, &'static str, i64, &'static str, &'static str, &'static str);
pub(crate) const ITEMS: [Item; 8] = [
    (ACME, "Usage", "1.50", "15e-1", 150, "arn:aws:ec2:eu:022222222222:i/1", "Root:022222222222", ""),
    (ACME, "Usage", "0.25", "25e-2", 25, "say \"hi\", there", "Root:111111111111", ""),
    (ACME, "Credit", "-0.10", "-1e-1", -10, "", "", ""),
    (BETA, "Usage", "2e0", "2e0", 200, "arn:aws:ec2:eu:999999999999:i/1", "", ""),
    (BETA, "Usage", "", "", 0, "", "", "parent"),
    (PAYER, "Tax", "0.40", "4e-1", 40, "arn:aws:ec2:eu:022222222222:i/2", "", ""),
    ("333333333333", "Usage", "0.01", "1e-2", 1, "", "", ""),
    ("", "Usage", "0", "0", 0, "", "", ""),
];
/// Who each item goes to: the customer or the reason, and the owner of what is withheld.
pub(crate) const ROUTES: [(&str, &str); 8] = [
    ("acme", ""),
    ("acme", ""),
    ("withheld_type", "acme"),
    ("beta", ""),
    ("withheld_split_cost", "beta"),
    ("payer_tax", ""),
    ("unknown_account", ""),
    ("blank_account", ""),
];

pub(crate) fn cells(item: &Item) -> Vec<String> {
    let (account, kind, cost, _, _, resource, creator, parent) = *item;
    let day = "2026-10-01T00:00:00Z";
    ["id", day, PAYER, day, account, kind, day, "USD", cost, "AmazonEC2", resource, creator, parent]
        .map(str::to_owned)
        .to_vec()
}

/// The item as its customer receives it: the payer kept, BETA foreign to acme, masked without a key.
pub(crate) fn delivered(item: &Item) -> Vec<String> {
    let source = cells(item);
    let mut row: Vec<String> = ECO
        .iter()
        .map(|(name, _)| {
            let at = SOURCE.iter().position(|(_, snake)| snake == name);
            at.map_or_else(String::new, |at| source[at].clone())
        })
        .collect();
    if item.0 == ACME {
        for name in ["line_item_resource_id", "resource_tags_aws_created_by"] {
            let cell = &mut row[eco(name)];
            *cell = cell.replace(BETA, "000000000000");
        }
    }
    row
}

pub(crate) fn eco(name: &str) -> usize {
    ECO.iter().position(|(column, _)| *column == name).unwrap()
}

pub(crate) fn item_hash(item: &Item) -> u128 {
    let mut sum = 0u128;
    for ((_, name), cell) in SOURCE.iter().zip(cells(item)) {
        let Some(place) = GUARANTEED.iter().position(|(column, _)| column == name) else { continue };
        let canonical = match GUARANTEED[place].1 {
            ColumnType::Timestamp => "1790812800000".to_owned(),
            ColumnType::Double => item.3.to_owned(),
            ColumnType::Text => cell,
        };
        if !canonical.is_empty() {
            sum = sum.wrapping_add(XxHash3_128::oneshot_with_seed(place as u64, canonical.as_bytes()));
        }
    }
    XxHash3_128::oneshot_with_seed(28, &sum.to_le_bytes())
}

pub(crate) fn rows_hash(rows: &[Vec<String>]) -> String {
    let hash = |row: &Vec<String>| {
        let bytes: Vec<u8> = row.iter().flat_map(|cell| [cell.as_bytes(), &[0xff]].concat()).collect();
        XxHash3_128::oneshot(&bytes)
    };
    format!("{:032x}", rows.iter().map(hash).fold(0u128, u128::wrapping_add))
}

pub(crate) fn totals(items: &[usize], reason: bool) -> Value {
    let mut groups: BTreeMap<(&str, &str), (u64, i64, bool, u128)> = BTreeMap::new();
    for item in items {
        let reason = if reason { ROUTES[*item].0 } else { "" };
        let group = groups.entry((reason, ITEMS[*item].1)).or_default();
        *group = (
            group.0 + 1,
            group.1 + ITEMS[*item].4,
            group.2 || !ITEMS[*item].2.is_empty(),
            group.3.wrapping_add(item_hash(&ITEMS[*item])),
        );
    }
    let entry = |((reason, kind), (rows, cents, seen, hash)): ((&str, &str), (u64, i64, bool, u128))| {
        let text =
            format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
        let sums = if seen { json!({ADDITIVE[2]: text}) } else { json!({}) };
        let mut entry = json!({"billing_period": PERIOD, "currency": "USD", "line_item_type": kind, "rows": rows,
            "sums": sums, "items_hash": format!("{hash:032x}")});
        if !reason.is_empty() {
            entry["reason"] = json!(reason);
        }
        entry
    };
    groups.into_iter().map(entry).collect()
}

pub(crate) fn routed(to: &str) -> Vec<usize> {
    (0..ITEMS.len()).filter(|item| ROUTES[*item].0 == to).collect()
}

pub(crate) fn withheld(owner: &str) -> Vec<usize> {
    (0..ITEMS.len()).filter(|item| ROUTES[*item].1 == owner).collect()
}

pub(crate) fn csv(header: &[&str], rows: &[Vec<String>]) -> String {
    let quoted = |cell: &str| {
        if cell.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    };
    let mut text = header.join(",") + "\n";
    for row in rows {
        text += &(row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Two members, so that a reader that stops after the first is found out.
pub(crate) fn members(text: &str) -> Vec<u8> {
    let half = text.find('\n').unwrap() + 1;
    [gzip(&text[..half]), gzip(&text[half..])].concat()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn file_entry(key: &str, bytes: &[u8], rows: &[Vec<String>]) -> Value {
    json!({"key": key, "bytes": bytes.len(), "sha256": sha256(bytes), "rows": rows.len(), "rows_hash": rows_hash(rows)})
}

/// A whole world in a folder; `bug` changes what the splitter delivers, and the proofs of files agree with it.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

pub(crate) type Bug<'a> = &'a dyn Fn(&str, &mut Vec<Vec<String>>);

impl World {
    pub(crate) fn new(bug: Bug<'_>) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let (version, objects) = world.write_source();
        world.deliver("acme", ACME, &version, bug);
        world.deliver("beta", BETA, &version, bug);
        world.write_master(&version, objects, bug);
        world
    }

    pub(crate) fn right() -> Self {
        Self::new(&|_, _| {})
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    pub(crate) fn write_source(&self) -> (String, Vec<Value>) {
        let header: Vec<&str> = SOURCE.iter().map(|(header, _)| *header).collect();
        let rows: Vec<Vec<String>> = ITEMS.iter().map(cells).collect();
        let manifest = json!({"assemblyId": "20261101T000000Z", "account": PAYER, "columns": [],
            "billingPeriod": {"start": "20261001T000000.000Z", "end": "20261101T000000.000Z"}, "reportName": "rpt",
            "reportKeys": [format!("other/rpt/{PERIOD}/a/rpt-1.csv.gz"), format!("other/rpt/{PERIOD}/a/rpt-2.csv.gz")]});
        let parts = [
            ("rpt-Manifest.json", manifest.to_string().into_bytes(), 0),
            ("a/rpt-1.csv.gz", members(&csv(&header, &rows[..4])), 4),
            ("a/rpt-2.csv.gz", gzip(&csv(&header, &rows[4..])), 4),
        ];
        let (mut lines, mut objects) = (String::new(), Vec::new());
        for (name, bytes, rows) in parts {
            let key = format!("cur/rpt/{PERIOD}/{name}");
            put(&self.path("source").join(&key), &bytes);
            lines += &format!("{key}\t{}\t{}\n", bytes.len(), sha256(&bytes));
            objects.push(json!({"key": key, "bytes": bytes.len(), "sha256": sha256(&bytes), "rows": rows}));
        }
        (sha256(lines.as_bytes()), objects)
    }

    pub(crate) fn deliver(&self, customer: &str, account: &str, version: &str, bug: Bug<'_>) {
        let target = self.path(customer);
        let items = routed(customer);
        let mut rows: Vec<_> = items.iter().map(|item| delivered(&ITEMS[*item])).collect();
        bug(customer, &mut rows);
        let assembly = assembly(customer);
        let folder = format!("RawCURReports/cur/{account}/{PERIOD}/{assembly}");
        let (data, proof) =
            (format!("{folder}/{customer}-00001.csv.gz"), format!("{folder}/{customer}-Proof.json"));
        let header: Vec<&str> = ECO.iter().map(|(name, _)| *name).collect();
        let bytes = members(&csv(&header, &rows));
        put(&target.join(&data), &bytes);
        let proof_text = json!({"proof": "apportion customer proof", "format_version": 1, "customer": customer,
            "accounts": [{"id": account, "from": null, "to": null}], "linked_account": null, "report_id": customer,
            "assembly_id": assembly, "billing_period": PERIOD, "contract": "eco", "layout": "eco", "format": "csv.gz",
            "order": "source", "gzip": "multi", "privacy": "masked", "payer": "keep", "mask_key": "none",
            "withhold": ["Credit"], "source_version": version, "rows": items.len(),
            "files": [file_entry(&data, &bytes, &rows)], "totals": totals(&items, false),
            "withheld": totals(&withheld(customer), true)});
        put(&target.join(&proof), proof_text.to_string());
        let kind = |kind: ColumnType| match kind {
            ColumnType::Text => "string",
            ColumnType::Double => "double",
            ColumnType::Timestamp => "timestamp",
        };
        let columns: Vec<Value> = ECO
            .iter()
            .map(|(name, column)| json!({"category": name.split('_').next(), "name": name, "type": kind(*column)}))
            .collect();
        let manifest = json!({"assemblyId": assembly, "account": account, "columns": columns, "charset": "UTF-8",
            "compression": "GZIP", "contentType": "text/csv", "reportId": customer, "reportName": customer,
            "billingPeriod": {"start": "20261001T000000.000Z", "end": "20261101T000000.000Z"}, "bucket": customer,
            "reportKeys": [data], "additionalArtifactKeys": [{"artifactType": "Proof", "name": proof}]});
        put(&target.join(format!("manifests/{PERIOD}/{customer}-Manifest.json")), manifest.to_string());
        let generation = json!({"generation": 1_790_000_000_000u64, "source_version": version});
        put(&target.join(format!("manifests/{PERIOD}/.{customer}-Generation.json")), generation.to_string());
    }

    pub(crate) fn write_master(&self, version: &str, objects: Vec<Value>, bug: Bug<'_>) {
        let place = self.path("msp");
        let nobody: Vec<usize> = (5..8).collect();
        let mut rows: Vec<Vec<String>> = [2, 4, 5, 6, 7]
            .into_iter()
            .map(|item: usize| {
                [cells(&ITEMS[item]), vec![ROUTES[item].0.into(), ROUTES[item].1.into()]].concat()
            })
            .collect();
        bug("unassigned", &mut rows);
        let mut header: Vec<&str> = SOURCE.iter().map(|(_, name)| *name).collect();
        header.extend(["apportion_reason", "apportion_owner"]);
        let key = format!("unassigned/main/{PERIOD}/D/unassigned-00001.csv.gz");
        let bytes = gzip(&csv(&header, &rows));
        put(&place.join(&key), &bytes);
        let customer = |id: &str| {
            json!({"customer": id, "report_id": id, "assembly_id": assembly(id), "linked_account": null,
                "rows": routed(id).len(), "totals": totals(&routed(id), false)})
        };
        let owner = |id: &str| json!({"customer": id, "totals": totals(&withheld(id), true)});
        let proof = json!({"proof": "apportion master proof", "format_version": 1, "source": "main", "report": "rpt",
            "kind": "cur1-csv", "billing_period": PERIOD, "source_assembly_id": "20261101T000000Z",
            "source_version": version, "source_objects": objects, "delivery_id": "D",
            "source_totals": totals(&(0..8).collect::<Vec<_>>(), false), "customers": [customer("acme"), customer("beta")],
            "withheld": [owner("acme"), owner("beta")], "observations": [],
            "unassigned": {"rows": 5, "totals": totals(&nobody, true), "files": [file_entry(&key, &bytes, &rows)]}});
        let proof_key = format!("proofs/main/{PERIOD}/D-MasterProof.json");
        put(&place.join(&proof_key), proof.to_string());
        let pointer = json!({"delivery_id": "D", "proof": proof_key});
        put(&place.join(format!("proofs/main/{PERIOD}-MasterPointer.json")), pointer.to_string());
    }

    pub(crate) fn request(&self) -> AuditRequest {
        let customer = |id: &str, account: &str| AuditedCustomer {
            id: CustomerId::new(id).unwrap(),
            accounts: AuditedAccounts::Listed(vec![AuditedAccount {
                id: AccountId::from_data(account),
                from: None,
                to: None,
            }]),
            withhold: vec!["Credit".into()],
            payer_kept: true,
            faithful: false,
            target: self.path(id),
            exports: vec![AuditedExport {
                report_id: ReportId::new(id).unwrap(),
                linked_account: None,
                folder: None,
            }],
            audited: true,
        };
        AuditRequest {
            source: self.path("source"),
            source_name: SourceName::unnamed(),
            source_in_report_ids: false,
            report: None,
            files: false,
            periods: None,
            customers: vec![customer("acme", ACME), customer("beta", BETA)],
            msp_place: Some(self.path("msp")),
            mask_key: None,
        }
    }

    pub(crate) fn audit(&self) -> AuditReport {
        audit(&self.request(), &|| false, &|_, _| {}).unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        let assembly = assembly("acme");
        self.path(&format!("acme/RawCURReports/cur/{ACME}/{PERIOD}/{assembly}/acme-00001.csv.gz"))
    }

    pub(crate) fn proof(&self) -> PathBuf {
        self.data().with_file_name("acme-Proof.json")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.path(&format!("acme/manifests/{PERIOD}/acme-Manifest.json"))
    }

    pub(crate) fn master(&self) -> PathBuf {
        self.path(&format!("msp/proofs/main/{PERIOD}/D-MasterProof.json"))
    }
}

pub(crate) fn assembly(customer: &str) -> String {
    let letter = &customer[..1];
    [8, 4, 4, 4, 12].map(|length| letter.repeat(length)).join("-")
}

pub(crate) fn edit(path: &Path, pointer: &str, value: Value) {
    let mut document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    *document.pointer_mut(pointer).unwrap() = value;
    std::fs::write(path, document.to_string()).unwrap();
}

pub(crate) fn kinds(report: &AuditReport) -> BTreeSet<FindingKind> {
    assert!(!report.is_clean());
    report.findings.iter().map(|finding| finding.kind).collect()
}
