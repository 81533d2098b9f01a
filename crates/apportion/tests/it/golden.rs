//! The bytes of delivered objects: data files by their SHA-256, a manifest and a proof as they are, but for ids that
//! hang on the source's bytes. Whoever changes one raises `FORMAT_VERSION` and blesses these files with
//! `APPORTION_BLESS=1`. The same bytes come with one thread and with three, and with rows parked on disk.

use crate::random_report::Party;
use crate::read_back::is_data;
use crate::support::{HEADER, Place, row};
use crate::written_report::customer;
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::mask::MaskKey;
use apportion_core::proof::FORMAT_VERSION;
use apportion_flow::run::{DeliverRequest, SourceRequest, SpoolRequest, Unwatched, deliver};
use apportion_flow::storage::Folder;
use apportion_flow::write::{Gzip, Order};
use apportion_model::{Format, Layout, SourceName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Every combination that decides bytes, called after itself.
fn parties() -> Vec<Party> {
    let mut parties = Vec::new();
    for contract in Contract::ALL {
        for gzip in Gzip::ALL {
            for order in [Order::Sorted, Order::Source] {
                let number = parties.len();
                let id = format!("{}-{}-{}", contract.as_str(), gzip.as_str(), order.as_str());
                let formats =
                    if gzip == Gzip::MultiMember { Format::ALL.to_vec() } else { vec![Format::CsvGz] };
                let layout = Layout::ALL[number % 2];
                let header = HeaderStyle::ALL[number / 2 % 2];
                let account = format!("0111222233{number:02}");
                let party = Party::plain(&id, &[&account], &id);
                parties.push(Party { contract, layout, formats, header, gzip, order, ..party });
            }
        }
    }
    parties
}

/// Enough line items for several windows of each customer; for several members and for a second file of one of some.
fn lay_out(place: &Place, parties: &[Party]) {
    let more = "savingsPlan/SavingsPlanARN,splitLineItem/SplitCost,resourceTags/user:CostCenter,\
                resourceTags/user:costCenter,costCategory/Team,discount/Odd,vendor/Margin,product/servicecode";
    let mut parts = [(); 2].map(|()| format!("{HEADER},{more}\n"));
    let mut number = 0u32;
    for (place, party) in parties.iter().enumerate() {
        let rows = if place % 4 == 2 { 17_000 } else { 4_700 };
        for _ in 0..rows {
            number += 1;
            let cost = format!("{}.{:010}", number % 13, u64::from(number) * 7_919 % 10_000_000_000);
            let part = &mut parts[(number % 2) as usize];
            part.push_str(&row(number, &party.accounts[0].id, 1 + number % 28, &cost));
            let tag = if number.is_multiple_of(3) { "" } else { "blue" };
            writeln!(
                part,
                ",arn:aws:savingsplans::9999{:08}:savingsplan/{number},0.{number},{tag},green{},\"t, {}\",{},{},AmazonEC2",
                number % 7,
                number % 5,
                number % 11,
                if place % 2 == 0 { "n/a" } else { "" },
                number % 17,
            )
            .unwrap();
        }
    }
    parts
        .iter_mut()
        .for_each(|part| part.push_str(&format!("{},,,,,,,,\n", row(0, "777788889999", 1, "1.5"))));
    place.report("golden", &[parts[0].as_bytes(), parts[1].as_bytes()]);
}

/// Delivers in this process.
fn delivered(
    place: &Place,
    parties: &[Party],
    run: &str,
    threads: usize,
    memory: u64,
) -> BTreeMap<String, Vec<u8>> {
    let request = DeliverRequest {
        sources: vec![SourceRequest {
            bucket: Arc::new(Folder::new(place.at("source"))),
            name: SourceName::unnamed(),
            named: false,
            report: None,
            object: None,
            kind: Default::default(),
        }],
        periods: None,
        customers: parties.iter().map(|party| customer(party, &place.at(run))).collect(),
        only: None,
        msp: Some(Arc::new(Folder::new(place.at(&format!("{run}/msp"))))),
        mask_key: MaskKey::new(b"0123456789abcdef"),
        spool: SpoolRequest { folder: place.at(&format!("{run}/spool")), limit: 1 << 30 },
        threads,
        memory,
        dry_run: false,
        operator: None,
    };
    deliver(&request, &Unwatched).unwrap();
    place.tree(run)
}

/// Each data file by its own name, size and SHA-256.
fn hashes(tree: &BTreeMap<String, Vec<u8>>) -> String {
    let mut text = format!("format version {FORMAT_VERSION}\n");
    for (path, bytes) in tree.iter().filter(|(path, _)| is_data(path)) {
        let name = path.rsplit('/').next().unwrap();
        writeln!(text, "{} {} {name}", sha256(bytes), bytes.len()).unwrap();
    }
    text
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Manifest and proof of one export, without what hangs on the source's bytes: how those are compressed is no matter
/// of ours.
fn documents(tree: &BTreeMap<String, Vec<u8>>, report: &str) -> String {
    let named = |ending: &str| {
        let ending = format!("/{report}-{ending}.json");
        let (_, bytes) = tree.iter().find(|(path, _)| path.ends_with(&ending)).unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    };
    let (manifest, proof) = (named("Manifest"), named("Proof"));
    let told: Value = serde_json::from_str(&proof).unwrap();
    let text = format!("{manifest}\n{proof}");
    let text = text.replace(told["assembly_id"].as_str().unwrap(), "ASSEMBLY");
    text.replace(told["source_version"].as_str().unwrap(), "SOURCE-VERSION")
}

fn golden(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name);
    if std::env::var_os("APPORTION_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), found);
}

#[test]
fn delivered_bytes_are_the_golden_ones() {
    let place = Place::new();
    let parties = parties();
    lay_out(&place, &parties);
    let one = delivered(&place, &parties, "one", 1, 4 << 30);
    let found = hashes(&one);
    assert_eq!(found, hashes(&delivered(&place, &parties, "three", 3, 4 << 30)), "three threads");
    assert_eq!(found, hashes(&delivered(&place, &parties, "parked", 2, 0)), "rows parked on disk");
    golden("golden.sha256", &found);
    golden("golden.export.json", &documents(&one, "source-multi-member-sorted-parquet"));
}
