//! A right delivery is clean; then one defect after another is planted, and each must be found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

#[path = "../../src/columns.rs"]
#[allow(dead_code)]
mod columns;
#[path = "../../src/headers.rs"]
#[allow(dead_code)]
mod headers;
#[path = "../../src/names.rs"]
mod names;
mod new_in_version_two;
mod shape;
mod world;

use apportion_audit::{AuditErrorKind, AuditRequest, FindingKind, audit};
use columns::ECO;
use serde_json::{Value, json};
use std::path::PathBuf;
use world::{
    BETA, Bug, ITEMS, PERIOD, SOURCE, World, cells, csv, delivered, eco, edit, gzip, kinds, members, put,
};

#[test]
fn a_right_delivery_is_clean() {
    let report = World::right().audit();
    assert_eq!(serde_json::to_string_pretty(&report.findings).unwrap(), "[]");
    assert!(report.is_clean());
    let period = &report.periods[0];
    assert_eq!((period.source_rows, period.unassigned_rows, period.withheld_rows), (8, 5, 2));
    assert_eq!(period.unblended_source["USD"], "4.06");
    assert_eq!(
        (period.customers[0].rows_found, period.customers[0].unblended_found["USD"].as_str()),
        (2, "1.75")
    );
    assert_eq!(report.zeros().money_unexplained, "0");
}

#[test]
fn a_splitter_that_lies_consistently_is_found() {
    use FindingKind::{
        CellsDiffer, ForeignAccount, ForeignCell, RowsMissing, RowsSurplus, SumsDiffer, UnassignedDiffers,
    };
    let check = |bug: Bug<'_>, wanted: &[FindingKind], rows: u64, money: &str, cells: u64| {
        let report = World::new(bug).audit();
        assert_eq!(kinds(&report), wanted.iter().copied().collect(), "{:#?}", report.findings);
        let zeros = report.zeros();
        assert_eq!((zeros.rows_unexplained, zeros.money_unexplained.as_str()), (rows, money));
        assert_eq!(zeros.cells_of_others, cells);
    };
    let of = |wanted: &'static str, change: fn(&mut Vec<Vec<String>>)| {
        move |id: &str, rows: &mut Vec<Vec<String>>| {
            if id == wanted {
                change(rows);
            }
        }
    };
    check(&of("acme", |rows| drop(rows.pop())), &[RowsMissing, SumsDiffer], 1, "0.25", 0);
    check(&of("acme", |rows| rows.push(rows[0].clone())), &[RowsSurplus, SumsDiffer], 1, "1.5", 0);
    let rounded = of("acme", |rows| rows[0][eco("line_item_unblended_cost")] = "1.49".into());
    check(&rounded, &[CellsDiffer, SumsDiffer], 0, "0.01", 0);
    let rewritten = of("acme", |rows| rows[0][eco("line_item_unblended_cost")] = "1.5".into());
    check(&rewritten, &[CellsDiffer], 0, "0", 0);
    let unmasked = of("acme", |rows| rows[0][eco("resource_tags_aws_created_by")] = format!("Root:{BETA}"));
    check(&unmasked, &[CellsDiffer, ForeignCell], 0, "0", 1);
    let foreign = of("acme", |rows| rows[0] = delivered(&ITEMS[3]));
    check(&foreign, &[CellsDiffer, ForeignAccount, SumsDiffer], 0, "0.5", 1);
    let payers = of("beta", |rows| rows.push(delivered(&ITEMS[5])));
    check(&payers, &[RowsSurplus, ForeignAccount, SumsDiffer], 1, "0.4", 1);
    let reason = of("unassigned", |rows| rows[4][SOURCE.len()] = "unknown_account".into());
    check(&reason, &[UnassignedDiffers], 0, "0", 0);
    check(&of("unassigned", |rows| drop(rows.remove(2))), &[UnassignedDiffers], 1, "0.4", 0);
    let unreadable = of("acme", |rows| rows[0][eco("line_item_unblended_cost")] = "1,5".into());
    check(&unreadable, &[CellsDiffer, SumsDiffer, FindingKind::CellUnreadable], 0, "1.5", 0);
}

#[test]
fn a_broken_target_is_found() {
    use FindingKind::{
        FileHash, FileMissing, FileSize, FileUnexpectedKey, FormDiffers, GenerationDiffers, GzipBroken,
        HeaderDiffers, ManifestMissing, ManifestUnreadable, ProofMissing, ProofUnreadable, RaggedRow,
    };
    let check = |wanted: &[FindingKind], files: u64, break_it: &dyn Fn(&World)| {
        let world = World::right();
        break_it(&world);
        let report = world.audit();
        let found = kinds(&report);
        assert!(wanted.iter().all(|kind| found.contains(kind)), "{wanted:?}: {:#?}", report.findings);
        assert_eq!(report.zeros().files_not_as_manifest, files, "{wanted:?}: {:#?}", report.findings);
    };
    let remove = |path: PathBuf| std::fs::remove_file(path).unwrap();
    check(&[ManifestMissing], 0, &|world| remove(world.manifest()));
    check(&[ManifestUnreadable], 0, &|world| put(&world.manifest(), "{"));
    check(&[ManifestUnreadable], 0, &|world| put(&world.manifest(), "[]"));
    check(&[FileMissing], 1, &|world| remove(world.data()));
    check(&[ProofMissing], 0, &|world| remove(world.proof()));
    check(&[ProofUnreadable], 0, &|world| put(&world.proof(), b"\xff"));
    let generation = |world: &World| world.generation("acme");
    check(&[GenerationDiffers], 0, &|world| remove(generation(world)));
    check(&[GenerationDiffers], 0, &|world| edit(&generation(world), "/source_version", json!("0")));
    let bytes = |world: &World| std::fs::read(world.data()).unwrap();
    check(&[GzipBroken, FileSize, FileHash], 1, &|world| {
        let bytes = bytes(world);
        put(&world.data(), &bytes[..bytes.len() - 5]);
    });
    check(&[GzipBroken, FileSize], 1, &|world| put(&world.data(), [bytes(world), b"more".to_vec()].concat()));
    check(&[GzipBroken], 1, &|world| put(&world.data(), b""));
    let header: Vec<&str> = ECO.iter().map(|(name, _)| *name).collect();
    let rows = || vec![delivered(&ITEMS[0]), delivered(&ITEMS[1])];
    let mut swapped = header.clone();
    swapped.swap(0, 1);
    check(&[HeaderDiffers, FileHash], 1, &|world| put(&world.data(), gzip(&csv(&swapped, &rows()))));
    check(&[RaggedRow, FileHash], 1, &|world| {
        let mut rows = rows();
        rows[1].pop();
        put(&world.data(), gzip(&csv(&header, &rows)));
    });
    check(&[FormDiffers, FileHash], 1, &|world| put(&world.data(), gzip(&(csv(&header, &rows()) + "\n"))));
    check(&[FileUnexpectedKey], 1, &|world| put(&world.data().with_file_name("acme-00002.csv.gz"), b""));
    let keys = |world: &World, keys: Value| edit(&world.manifest(), "/reportKeys", keys);
    let key = |world: &World| world.data_key("acme");
    check(&[FileUnexpectedKey], 1, &|world| keys(world, json!([key(world), key(world)])));
    check(&[FileUnexpectedKey], 1, &|world| keys(world, json!([key(world), "../beta/x.csv.gz"])));
    check(&[FileUnexpectedKey], 1, &|world| keys(world, json!([key(world), "/etc/passwd"])));
}

/// One field of one document gets another value.
fn check(kind: FindingKind, path: fn(&World) -> PathBuf, pointer: &str, value: Value) {
    let world = World::right();
    edit(&path(&world), pointer, value);
    let found = kinds(&world.audit());
    assert!(found.contains(&kind), "{pointer}: {found:?}");
}

#[test]
fn every_field_of_a_manifest_is_compared() {
    for pointer in [
        "/assemblyId",
        "/account",
        "/columns/7/name",
        "/columns/8/type",
        "/charset",
        "/compression",
        "/contentType",
        "/reportId",
        "/reportName",
        "/billingPeriod/end",
        "/bucket",
        "/reportKeys",
        "/additionalArtifactKeys/0/name",
    ] {
        if pointer != "/assemblyId" && pointer != "/account" {
            check(FindingKind::ManifestDiffers, World::manifest, pointer, json!("x"));
        }
        check(FindingKind::ManifestDiffers, World::manifest, pointer, json!(7));
    }
    check(FindingKind::ForeignText, World::manifest, "/bucket", json!("x-333333333333-y"));
}

#[test]
fn every_field_of_a_customer_proof_is_compared() {
    use FindingKind::{ProofDiffers, SourceChanged};
    for pointer in [
        "/proof",
        "/format_version",
        "/customer",
        "/accounts/0/id",
        "/accounts",
        "/linked_account",
        "/header",
        "/order",
        "/gzip",
        "/columns",
        "/columns/7/name",
        "/columns/8/header",
        "/columns/9/type",
        "/representation",
        "/report_id",
        "/assembly_id",
        "/billing_period",
        "/contract",
        "/layout",
        "/format",
        "/privacy",
        "/payer",
        "/mask_key",
        "/withhold",
        "/rows",
        "/files",
        "/files/0/key",
        "/files/0/rows",
        "/files/0/rows_hash",
        "/totals",
        "/totals/0/rows",
        "/totals/0/invoice_id",
        "/totals/0/items_hash",
        "/totals/0/sums",
        "/totals/0/sums/line_item_unblended_cost",
        "/withheld",
        "/withheld/0/reason",
    ] {
        check(ProofDiffers, World::proof, pointer, json!("faithful"));
    }
    check(SourceChanged, World::proof, "/source_version", json!("0"));
    check(FindingKind::FileSize, World::proof, "/files/0/bytes", json!(1));
    check(FindingKind::FileHash, World::proof, "/files/0/sha256", json!("0"));
    check(FindingKind::ForeignText, World::proof, "/order", json!(format!("by {BETA}")));
}

#[test]
fn every_field_of_a_master_proof_is_compared() {
    use FindingKind::{MasterDiffers, MasterMissing, SourceChanged};
    for pointer in [
        "/proof",
        "/format_version",
        "/source",
        "/report",
        "/kind",
        "/billing_period",
        "/source_assembly_id",
        "/source_objects/1/rows",
        "/delivery_id",
        "/source_totals/0/rows",
        "/customers/0/rows",
        "/customers/1/customer",
        "/customers/1/assembly_id",
        "/customers/0/totals/0/items_hash",
        "/withheld/0/totals/0/rows",
        "/withheld/0/customer",
        "/customers/0/format",
        "/customers/0/manifest",
        "/customers/1/proof",
        "/customers/0/totals/0/invoice_id",
        "/payers",
        "/payers/0",
        "/columns/3/name",
        "/columns/3/files",
        "/unassigned/rows",
        "/unassigned/totals/0/reason",
        "/unassigned/files/0/rows_hash",
    ] {
        check(MasterDiffers, World::master, pointer, json!("x"));
    }
    check(SourceChanged, World::master, "/source_version", json!("0"));
    for gone in ["", "/D-MasterProof.json"] {
        let world = World::right();
        let name = if gone.is_empty() { "-MasterPointer.json" } else { gone };
        std::fs::remove_file(world.path(&format!("msp/proofs/main/{PERIOD}{name}"))).unwrap();
        assert!(kinds(&world.audit()).contains(&MasterMissing));
    }
}

#[test]
fn a_changed_source_is_found_and_a_broken_one_refused() {
    let world = World::right();
    let second = world.path(&format!("source/cur/rpt/{PERIOD}/a/rpt-2.csv.gz"));
    let header: Vec<&str> = SOURCE.iter().map(|(header, _)| *header).collect();
    let good = csv(&header, &ITEMS[4..].iter().map(cells).collect::<Vec<_>>());
    put(&second, members(&good));
    let found = kinds(&world.audit());
    assert!(found.contains(&FindingKind::SourceChanged) && found.contains(&FindingKind::GenerationDiffers));
    let refused = |bytes: Vec<u8>| {
        put(&second, bytes);
        audit(&world.request(), &|| false, &|_, _| {}).unwrap_err()
    };
    for bad in ["garbage", "0.40x"] {
        let error = refused(gzip(&good.replace("0.40", bad)));
        assert_eq!(error.kind(), AuditErrorKind::BadInput);
        assert!(
            error.to_string().contains("rpt-2.csv.gz, row 2, column line_item_unblended_cost"),
            "{error}"
        );
    }
    assert_eq!(refused(gzip("a,b\n")).kind(), AuditErrorKind::BadInput);
    std::fs::remove_file(&second).unwrap();
    let missing = audit(&world.request(), &|| false, &|_, _| {}).unwrap_err();
    assert_eq!(missing.kind(), AuditErrorKind::SourceNotReady);
    let request = AuditRequest { report: Some("other".into()), ..world.request() };
    assert_eq!(audit(&request, &|| false, &|_, _| {}).unwrap_err().kind(), AuditErrorKind::NotFound);
    let other = json!({"assemblyId": "x", "reportKeys": ["x/more-1.csv.gz"],
        "billingPeriod": {"start": "20261001T000000.000Z", "end": "20261101T000000.000Z"}});
    put(&world.path(&format!("source/x/{PERIOD}/more-Manifest.json")), other.to_string());
    let ambiguous = audit(&world.request(), &|| false, &|_, _| {}).unwrap_err();
    assert_eq!(ambiguous.kind(), AuditErrorKind::Ambiguous);
    let stopped = audit(&World::right().request(), &|| true, &|_, _| {}).unwrap_err();
    assert_eq!(stopped.kind(), AuditErrorKind::Interrupted);
}
