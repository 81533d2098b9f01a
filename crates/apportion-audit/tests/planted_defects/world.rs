//! A tiny source, split and delivered by code that is written here by hand from the delivery format's page.

use crate::columns::{ADDITIVE, ColumnType, ECO, EXTENDED, GUARANTEED};
use crate::headers::{legacy_name, parts};
use crate::shape::{Column, MOMENT, MOMENT_MILLIS, Shape, Store, Table, kind_of};
use apportion_audit::{
    AuditReport, AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport, Contract,
    FindingKind, Gzip, HeaderStyle, audit,
};
use apportion_model::{AccountId, CustomerId, Format, ReportId, SourceName};
use flate2::{Compression, write::GzEncoder};
use hmac::{Hmac, Mac};
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
/// Header, snake name. `cost_category` is a map.
pub(crate) const SOURCE: [(&str, &str); 18] = [
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
    ("bill/InvoiceId", "bill_invoice_id"),
    ("resourceTags/user:Team", "resource_tags_user_team"),
    ("cost_category", "cost_category"),
    ("savingsPlan/SavingsPlanRate", "savings_plan_savings_plan_rate"),
    ("bill_payer_account_name", "bill_payer_account_name"),
];

/// A line item.
pub(crate) struct Item {
    account: &'static str,
    kind: &'static str,
    cost: &'static str,
    /// The cost's canonical form, and in hundredths.
    canonical: &'static str,
    cents: i64,
    resource: &'static str,
    creator: &'static str,
    parent: &'static str,
    invoice: &'static str,
    team: &'static str,
    /// Keys and values of a map.
    category: &'static [(&'static str, &'static str)],
    rate: &'static str,
}

const BLANK: Item = Item {
    account: "",
    kind: "Usage",
    cost: "0",
    canonical: "0",
    cents: 0,
    resource: "",
    creator: "",
    parent: "",
    invoice: "",
    team: "",
    category: &[],
    rate: "",
};

pub(crate) const ITEMS: [Item; 8] = [
    Item {
        account: ACME,
        cost: "1.50",
        canonical: "15e-1",
        cents: 150,
        resource: "arn:aws:ec2:eu:022222222222:i/1",
        creator: "Root:022222222222",
        invoice: "I-1",
        team: "red AccountId : 022222222222",
        category: &[("team", "x"), ("Owner", "arn:aws:iam::022222222222:user/b")],
        rate: "0.1",
        ..BLANK
    },
    Item {
        account: ACME,
        cost: "0.25",
        canonical: "25e-2",
        cents: 25,
        resource: "say \"hi\", there",
        creator: "Root:111111111111",
        rate: "0.1",
        ..BLANK
    },
    Item { account: ACME, kind: "Credit", cost: "-0.10", canonical: "-1e-1", cents: -10, ..BLANK },
    Item {
        account: BETA,
        cost: "2e0",
        canonical: "2e0",
        cents: 200,
        resource: "arn:aws:ec2:eu:999999999999:i/1",
        invoice: "I-2",
        team: "blue",
        category: &[("ours", "x")],
        ..BLANK
    },
    Item { account: BETA, cost: "", canonical: "", parent: "parent", ..BLANK },
    Item {
        account: PAYER,
        kind: "Tax",
        cost: "0.40",
        canonical: "4e-1",
        cents: 40,
        resource: "arn:aws:ec2:eu:022222222222:i/2",
        ..BLANK
    },
    Item { account: "333333333333", cost: "0.01", canonical: "1e-2", cents: 1, ..BLANK },
    BLANK,
];

/// Who each item goes to: the customer or the reason, and the owner of what is withheld.
pub(crate) fn routes(shape: &Shape) -> [(&'static str, &'static str); 8] {
    let split = if shape.contract == Contract::Eco { ("withheld_split_cost", "beta") } else { ("beta", "") };
    [
        ("acme", ""),
        ("acme", ""),
        ("withheld_type", "acme"),
        ("beta", ""),
        split,
        ("payer_tax", ""),
        ("unknown_account", ""),
        ("blank_account", ""),
    ]
}

pub(crate) fn cells(item: &Item) -> Vec<String> {
    let pairs = item.category.iter().map(|(key, value)| format!("{key:?}:{value:?}"));
    let category = pairs.collect::<Vec<_>>().join(",");
    let category = if category.is_empty() { String::new() } else { format!("{{{category}}}") };
    let Item { account, kind, cost, resource, creator, parent, invoice, team, rate, .. } = *item;
    [
        "id",
        MOMENT,
        PAYER,
        MOMENT,
        account,
        kind,
        MOMENT,
        "USD",
        cost,
        "AmazonEC2",
        resource,
        creator,
        parent,
        invoice,
        team,
        &category,
        rate,
        "MSP",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// All columns of an item that a customer receives, masked.
fn logical(item: &Item, customer: &str, shape: &Shape) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        SOURCE.iter().map(|(_, name)| (*name).to_owned()).zip(cells(item)).collect();
    all.remove("cost_category");
    for (key, value) in item.category {
        all.insert(format!("cost_category_{}", key.to_lowercase()), (*value).to_owned());
    }
    let own = if customer == "acme" { ACME } else { BETA };
    for id in [ACME, BETA, PAYER] {
        if id != own && !(id == PAYER && shape.payer_kept) {
            let mask = mask(customer, id, shape);
            all.values_mut().for_each(|cell| *cell = cell.replace(id, &mask));
        }
    }
    if !shape.payer_kept {
        all.insert("bill_payer_account_name".into(), String::new());
    }
    all
}

pub(crate) fn mask(customer: &str, id: &str, shape: &Shape) -> String {
    let Some(key) = shape.key else { return "0".repeat(12) };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{customer}\0{id}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    format!("{:012}", u64::from_be_bytes(bytes[..8].try_into().unwrap()) % 1_000_000_000_000)
}

/// The columns of a customer's export: name and legacy name.
fn columns_of(shape: &Shape, items: &[BTreeMap<String, String>]) -> Vec<(String, String)> {
    let fixed: Vec<&str> = match shape.contract {
        Contract::Eco => ECO.iter().map(|(name, _)| *name).collect(),
        Contract::EcoExtended => ECO.iter().chain(&EXTENDED).map(|(name, _)| *name).collect(),
        Contract::Source => GUARANTEED.iter().map(|(name, _)| *name).collect(),
    };
    let filled = items.iter().flatten().filter(|(_, cell)| !cell.is_empty()).map(|(name, _)| name.as_str());
    let more: BTreeSet<&str> = filled
        .filter(|name| !fixed.contains(name))
        .filter(|name| match shape.contract {
            Contract::Eco => false,
            Contract::EcoExtended => name.starts_with("resource_tags_") || name.starts_with("cost_category_"),
            Contract::Source => true,
        })
        .collect();
    let legacy = |name: &str| {
        let header = SOURCE.iter().find(|(_, known)| *known == name).map(|(header, _)| *header);
        let of_key = (name == "cost_category_owner").then_some("costCategory/Owner");
        legacy_name(name, header.or(of_key))
    };
    fixed.into_iter().chain(more).map(|name| (name.to_owned(), legacy(name))).collect()
}

/// What the customer receives of an item, in the columns of contract `eco`.
pub(crate) fn delivered(item: &Item) -> Vec<String> {
    let customer = if item.account == BETA { "beta" } else { "acme" };
    let all = logical(item, customer, &Shape::PLAIN);
    ECO.iter().map(|(name, _)| all.get(*name).cloned().unwrap_or_default()).collect()
}

pub(crate) fn eco(name: &str) -> usize {
    ECO.iter().position(|(column, _)| *column == name).unwrap()
}

pub(crate) fn item_hash(item: &Item) -> u128 {
    let mut sum = 0u128;
    for ((_, name), cell) in SOURCE.iter().zip(cells(item)) {
        let Some(place) = GUARANTEED.iter().position(|(column, _)| column == name) else { continue };
        let canonical = match GUARANTEED[place].1 {
            ColumnType::Timestamp => MOMENT_MILLIS.to_string(),
            ColumnType::Double => item.canonical.to_owned(),
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

pub(crate) fn totals(shape: &Shape, items: &[usize], reason: bool) -> Value {
    /// Rows, cents, whether a cost was seen, and the hash of the items.
    type Group = (u64, i64, bool, u128);
    let mut groups: BTreeMap<(&str, &str, &str), Group> = BTreeMap::new();
    for at in items {
        let (item, reason) = (&ITEMS[*at], if reason { routes(shape)[*at].0 } else { "" });
        let group = groups.entry((reason, item.kind, item.invoice)).or_default();
        *group = (
            group.0 + 1,
            group.1 + item.cents,
            group.2 || !item.cost.is_empty(),
            group.3.wrapping_add(item_hash(item)),
        );
    }
    let mut list = Vec::new();
    for ((reason, kind, invoice), (rows, cents, seen, hash)) in groups {
        let text =
            format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
        let sums = if seen { json!({ADDITIVE[2]: text}) } else { json!({}) };
        let mut entry = json!({"billing_period": PERIOD, "currency": "USD", "line_item_type": kind,
            "invoice_id": invoice, "rows": rows, "sums": sums, "items_hash": format!("{hash:032x}")});
        if !reason.is_empty() {
            entry["reason"] = json!(reason);
        }
        list.push(entry);
    }
    list.into()
}

pub(crate) fn routed(shape: &Shape, to: &str) -> Vec<usize> {
    (0..ITEMS.len()).filter(|item| routes(shape)[*item].0 == to).collect()
}

pub(crate) fn withheld(shape: &Shape, owner: &str) -> Vec<usize> {
    (0..ITEMS.len()).filter(|item| routes(shape)[*item].1 == owner).collect()
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
    pub(crate) shape: Shape,
    tables: BTreeMap<&'static str, Table>,
}

pub(crate) type Bug<'a> = &'a dyn Fn(&str, &mut Vec<Vec<String>>);

impl World {
    pub(crate) fn new(bug: Bug<'_>) -> Self {
        Self::shaped(Shape::PLAIN, bug)
    }

    pub(crate) fn shaped(shape: Shape, bug: Bug<'_>) -> Self {
        let mut world = Self { folder: tempfile::tempdir().unwrap(), shape, tables: BTreeMap::new() };
        let (version, objects) = world.write_source();
        for customer in ["acme", "beta"] {
            let table = world.deliver(customer, &version, bug);
            world.tables.insert(customer, table);
        }
        world.write_master(&version, objects, bug);
        world
    }

    pub(crate) fn right() -> Self {
        Self::new(&|_, _| {})
    }

    pub(crate) fn of(shape: Shape) -> Self {
        Self::shaped(shape, &|_, _| {})
    }

    /// Writes a customer's data file anew, changed, and lets its proof say of the file what it now is.
    pub(crate) fn rewrite(&self, customer: &str, change: impl FnOnce(&mut Table)) {
        let mut table = self.tables[customer].clone();
        change(&mut table);
        let bytes = table.bytes(&self.shape);
        put(&self.data_of(customer), &bytes);
        let key = self.data_key(customer);
        edit(&self.proof_of(customer), "/files/0", table.entry(&key, &self.shape, &bytes));
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    fn write_source(&self) -> (String, Vec<Value>) {
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

    fn deliver(&self, customer: &str, version: &str, bug: Bug<'_>) -> Table {
        let (shape, target) = (&self.shape, self.path(customer));
        let items = routed(shape, customer);
        let logical: Vec<_> = items.iter().map(|item| logical(&ITEMS[*item], customer, shape)).collect();
        let columns = columns_of(shape, &logical);
        let slash = shape.header == HeaderStyle::Slash && shape.format == Format::CsvGz;
        let column = |(name, legacy): &(String, String)| Column {
            header: if slash { legacy.clone() } else { name.clone() },
            kind: kind_of(name),
            store: Store::Right,
        };
        let mut table = Table { columns: columns.iter().map(column).collect(), ..Table::default() };
        let row = |item: &BTreeMap<String, String>| {
            columns.iter().map(|(name, _)| item.get(name).cloned().unwrap_or_default()).collect()
        };
        table.rows = logical.iter().map(row).collect();
        bug(customer, &mut table.rows);
        let bytes = table.bytes(shape);
        let (data, report) = (self.data_key(customer), shape.report(customer));
        put(&target.join(&data), &bytes);
        let file = table.entry(&data, shape, &bytes);
        put(&self.proof_of(customer), self.customer_proof(customer, version, &columns, file).to_string());
        let kind = |kind: ColumnType| match kind {
            ColumnType::Text => "String",
            ColumnType::Double => "OptionalBigDecimal",
            ColumnType::Timestamp => "DateTime",
        };
        let column = |(name, legacy): &(String, String)| {
            let (category, rest) = parts(legacy);
            json!({"category": category, "name": rest, "type": kind(kind_of(name))})
        };
        let (compression, content) =
            if shape.format == Format::CsvGz { ("GZIP", "text/csv") } else { ("Parquet", "Parquet") };
        let proof = self.proof_of(customer);
        let proof = proof.strip_prefix(&target).unwrap().to_str().unwrap();
        let manifest = json!({"assemblyId": assembly(customer), "account": account(customer),
            "columns": columns.iter().map(column).collect::<Vec<_>>(), "charset": "UTF-8",
            "compression": compression, "contentType": content, "reportId": report, "reportName": report,
            "billingPeriod": {"start": "20261001T000000.000Z", "end": "20261101T000000.000Z"}, "bucket": customer,
            "reportKeys": [data], "additionalArtifactKeys": [{"artifactType": "Proof", "name": proof}]});
        put(&self.manifest_of(customer), manifest.to_string());
        put(&self.own_manifest(customer), manifest.to_string());
        let generation = json!({"generation": 1_790_000_000_000u64, "source_version": version});
        put(&self.generation(customer), generation.to_string());
        table
    }

    fn customer_proof(
        &self,
        customer: &str,
        version: &str,
        columns: &[(String, String)],
        file: Value,
    ) -> Value {
        let shape = &self.shape;
        let items = routed(shape, customer);
        let kind = |kind: ColumnType| match kind {
            ColumnType::Text => "string",
            ColumnType::Double => "double",
            ColumnType::Timestamp => "timestamp",
        };
        let column = |(name, legacy): &(String, String)| json!({"name": name, "header": legacy, "type": kind(kind_of(name))});
        let gzip = match (shape.format, shape.gzip) {
            (Format::Parquet, _) => "none",
            (_, Gzip::Single) => "single",
            (_, Gzip::MultiMember) => "multi-member",
        };
        // The double next to 0.1 is 0.1000000000000000055511151231257827021181583404541015625, and acme has two.
        let difference = "0.000000000000000011102230246251565404236316680908203125";
        let loses = shape.format == Format::Parquet && shape.contract != Contract::Eco && customer == "acme";
        let representation = json!([{"column": "savings_plan_savings_plan_rate", "difference": difference,
            "not_represented": 0}]);
        let key = shape.key.map(|key| sha256(&[b"apportion mask key fingerprint\0", key].concat()));
        json!({"proof": "apportion customer proof", "format_version": 2, "customer": customer,
            "accounts": [{"id": account(customer), "from": null, "to": null}], "linked_account": null,
            "report_id": shape.report(customer), "assembly_id": assembly(customer), "billing_period": PERIOD,
            "contract": shape.contract, "layout": shape.layout, "format": shape.format, "header": shape.header,
            "order": shape.order, "gzip": gzip, "columns": columns.iter().map(column).collect::<Vec<_>>(),
            "privacy": "mask", "payer": if shape.payer_kept { "keep" } else { "mask" },
            "mask_key": key.map_or_else(|| "none".to_owned(), |key| key[..16].to_owned()),
            "withhold": ["Credit"], "source_version": version, "rows": items.len(), "files": [file],
            "totals": totals(shape, &items, false),
            "withheld": totals(shape, &withheld(shape, customer), true),
            "representation": if loses { representation } else { json!([]) }})
    }

    fn write_master(&self, version: &str, objects: Vec<Value>, bug: Bug<'_>) {
        let (place, shape) = (self.path("msp"), &self.shape);
        let unassigned: Vec<usize> =
            (0..8).filter(|item| !["acme", "beta"].contains(&routes(shape)[*item].0)).collect();
        let row = |item: &usize| {
            let (reason, owner) = routes(shape)[*item];
            [cells(&ITEMS[*item]), vec![reason.into(), owner.into()]].concat()
        };
        let mut rows: Vec<Vec<String>> = unassigned.iter().map(row).collect();
        bug("unassigned", &mut rows);
        let mut header: Vec<&str> = SOURCE.iter().map(|(_, name)| *name).collect();
        header.extend(["apportion_reason", "apportion_owner"]);
        let key = format!("unassigned/main/{PERIOD}/D/unassigned-00001.csv.gz");
        let bytes = gzip(&csv(&header, &rows));
        put(&place.join(&key), &bytes);
        let customer = |id: &str| {
            let below =
                |path: PathBuf| path.strip_prefix(self.path(id)).unwrap().to_str().unwrap().to_owned();
            json!({"customer": id, "report_id": shape.report(id), "assembly_id": assembly(id),
                "linked_account": null, "format": shape.format, "manifest": below(self.manifest_of(id)),
                "proof": below(self.proof_of(id)), "rows": routed(shape, id).len(),
                "totals": totals(shape, &routed(shape, id), false)})
        };
        let owner = |id: &str| json!({"customer": id, "totals": totals(shape, &withheld(shape, id), true)});
        let mut names: Vec<&str> = SOURCE.iter().map(|(_, name)| *name).collect();
        names.sort();
        let columns: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "type": "string", "files": 2})).collect();
        let proof = json!({"proof": "apportion master proof", "format_version": 2, "source": "main", "report": "rpt",
            "kind": "cur1-csv", "billing_period": PERIOD, "source_assembly_id": "20261101T000000Z",
            "source_version": version, "source_objects": objects, "delivery_id": "D",
            "source_totals": totals(shape, &(0..8).collect::<Vec<_>>(), false),
            "customers": [customer("acme"), customer("beta")], "withheld": [owner("acme"), owner("beta")],
            "payers": [PAYER], "columns": columns, "observations": [], "unassigned": {"rows": unassigned.len(),
            "totals": totals(shape, &[5, 6, 7], true), "files": [file_entry(&key, &bytes, &rows)]}});
        let proof_key = |id: &str| format!("proofs/main/{PERIOD}/{id}-MasterProof.json");
        put(&place.join(proof_key("D")), proof.to_string());
        let pointer = json!({"delivery_id": "D", "proof": proof_key("D"),
            "older": [{"delivery_id": "C", "proof": proof_key("C")}]});
        put(&place.join(format!("proofs/main/{PERIOD}-MasterPointer.json")), pointer.to_string());
    }

    pub(crate) fn request(&self) -> AuditRequest {
        let shape = self.shape;
        let customer = |id: &str| AuditedCustomer {
            id: CustomerId::new(id).unwrap(),
            accounts: AuditedAccounts::Listed(vec![AuditedAccount {
                id: AccountId::from_data(account(id)),
                from: None,
                to: None,
            }]),
            withhold: vec!["Credit".into()],
            payer_kept: shape.payer_kept,
            faithful: false,
            contract: shape.contract,
            header: shape.header,
            gzip: shape.gzip,
            order: shape.order,
            exports: vec![AuditedExport {
                report_id: ReportId::new(&shape.report(id)).unwrap(),
                target: self.path(id),
                layout: shape.layout,
                format: shape.format,
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
            period_may_be_elsewhere: false,
            locked: Vec::new(),
            customers: vec![customer("acme"), customer("beta")],
            msp_place: Some(self.path("msp")),
            mask_key: shape.key.map(<[u8]>::to_vec),
        }
    }

    pub(crate) fn audit(&self) -> AuditReport {
        audit(&self.request(), &|| false, &|_, _| {}).unwrap()
    }

    fn folder_key(&self, customer: &str) -> String {
        self.shape.folder(customer, account(customer), PERIOD, &assembly(customer))
    }

    pub(crate) fn data_key(&self, customer: &str) -> String {
        let (report, extension) = (self.shape.report(customer), self.shape.format.extension());
        format!("{}/{report}-00001.{extension}", self.folder_key(customer))
    }

    pub(crate) fn data_of(&self, customer: &str) -> PathBuf {
        self.path(customer).join(self.data_key(customer))
    }

    pub(crate) fn proof_of(&self, customer: &str) -> PathBuf {
        self.data_of(customer).with_file_name(format!("{}-Proof.json", self.shape.report(customer)))
    }

    pub(crate) fn own_manifest(&self, customer: &str) -> PathBuf {
        self.data_of(customer).with_file_name(format!("{}-Manifest.json", self.shape.report(customer)))
    }

    pub(crate) fn manifest_of(&self, customer: &str) -> PathBuf {
        let folder = self.shape.pointers(customer, PERIOD);
        self.path(customer).join(folder).join(format!("{}-Manifest.json", self.shape.report(customer)))
    }

    pub(crate) fn generation(&self, customer: &str) -> PathBuf {
        self.manifest_of(customer).with_file_name(format!(".{}-Generation.json", self.shape.report(customer)))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data_of("acme")
    }

    pub(crate) fn proof(&self) -> PathBuf {
        self.proof_of("acme")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.manifest_of("acme")
    }

    pub(crate) fn master(&self) -> PathBuf {
        self.path(&format!("msp/proofs/main/{PERIOD}/D-MasterProof.json"))
    }

    pub(crate) fn pointer(&self) -> PathBuf {
        self.path(&format!("msp/proofs/main/{PERIOD}-MasterPointer.json"))
    }
}

pub(crate) fn account(customer: &str) -> &'static str {
    if customer == "acme" { ACME } else { BETA }
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
