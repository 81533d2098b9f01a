//! The line items of a tiny source, and what the delivery format makes of them, written by hand from its page.

use crate::columns::{ADDITIVE, ColumnType, ECO, EXTENDED, GUARANTEED};
use crate::headers::legacy_name;
use crate::shape::{MOMENT, MOMENT_MILLIS, Shape};
use apportion_audit::Contract;
use flate2::{Compression, write::GzEncoder};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
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
pub(crate) fn logical(item: &Item, customer: &str, shape: &Shape) -> BTreeMap<String, String> {
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
pub(crate) fn columns_of(shape: &Shape, items: &[BTreeMap<String, String>]) -> Vec<(String, String)> {
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
        let line: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        XxHash3_128::oneshot(line.join(",").as_bytes())
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

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

pub(crate) fn csv(header: &[&str], rows: &[Vec<String>]) -> String {
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
