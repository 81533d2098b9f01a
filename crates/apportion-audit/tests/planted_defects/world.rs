//! A tiny source, split and delivered by code that is written here by hand from the delivery format's page.

use crate::columns::ColumnType;
use crate::headers::parts;
use crate::items::{
    ACME, BETA, ITEMS, PAYER, PERIOD, SOURCE, cells, columns_of, csv, file_entry, gzip, logical, members,
    put, routed, routes, sha256, totals, withheld,
};
use crate::shape::{Column, Shape, Store, Table, kind_of};
use apportion_audit::{
    AuditReport, AuditRequest, AuditedAccount, AuditedAccounts, AuditedCustomer, AuditedExport, Contract,
    FindingKind, Folder, Gzip, HeaderStyle, Level, audit,
};
use apportion_model::{AccountId, CustomerId, Format, ReportId, SourceName};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        json!({"proof": "apportion customer proof", "format_version": 3, "customer": customer,
            "accounts": [{"id": account(customer), "from": null, "to": null}], "linked_account": null,
            "report_id": shape.report(customer), "assembly_id": assembly(customer), "billing_period": PERIOD,
            "contract": shape.contract, "layout": shape.layout, "format": shape.format, "header": shape.header,
            "order": shape.order, "gzip": gzip, "level": if gzip == "none" { "none" } else { "default" }, "columns": columns.iter().map(column).collect::<Vec<_>>(),
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
        let proof = json!({"proof": "apportion master proof", "format_version": 3, "source": "main", "report": "rpt",
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
            level: Level::Default,
            order: shape.order,
            exports: vec![AuditedExport {
                report_id: ReportId::new(&shape.report(id)).unwrap(),
                target: Arc::new(Folder::new(self.path(id))),
                layout: shape.layout,
                format: shape.format,
                linked_account: None,
                folder: None,
            }],
            audited: true,
        };
        AuditRequest {
            source: Arc::new(Folder::new(self.path("source"))),
            source_object: None,
            source_name: SourceName::unnamed(),
            source_in_report_ids: false,
            report: None,
            files: false,
            periods: None,
            period_may_be_elsewhere: false,
            locked: Vec::new(),
            customers: vec![customer("acme"), customer("beta")],
            msp_place: Some(Arc::new(Folder::new(self.path("msp")))),
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
