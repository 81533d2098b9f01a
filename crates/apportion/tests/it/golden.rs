//! The bytes of data files, held by their SHA-256: whoever changes one raises `FORMAT_VERSION` and blesses this file
//! with `APPORTION_BLESS=1`. The same bytes come with one thread and with three, and with rows parked on disk.

use crate::support::{Place, row, small_csv};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::proof::FORMAT_VERSION;
use apportion_core::route::{Accounts, OwnedAccount, RoutedCustomer};
use apportion_flow::run::{
    Customer, DeliverRequest, Sharing, SourceRequest, SpoolRequest, Target, Unwatched, deliver,
};
use apportion_flow::storage::Folder;
use apportion_flow::write::{Gzip, Order};
use apportion_model::{AccountId, CustomerId, Format, Layout, SourceName};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

const ACCOUNTS: [&str; 3] = ["011122223333", "444455556666", "777788889999"];

/// Enough line items for several windows of the first customer.
fn lay_out(place: &Place) {
    let header = small_csv(0);
    let mut parts = [header.clone(), header];
    for number in 0..36_000u32 {
        let account = ACCOUNTS[if number % 10 < 7 { 0 } else { (number % 3) as usize }];
        let cost = format!("{}.{:010}", number % 13, u64::from(number) * 7_919 % 10_000_000_000);
        let part = &mut parts[(number % 2) as usize];
        part.push_str(&row(number, account, 1 + number % 28, &cost));
        part.push('\n');
    }
    place.report("golden", &[parts[0].as_bytes(), parts[1].as_bytes()]);
}

fn customer(place: &Place, id: &str, accounts: &[&str], order: Order, run: &str) -> Customer {
    let listed = accounts.iter().map(|id| OwnedAccount {
        id: AccountId::from_settings(id).unwrap(),
        from: None,
        to: None,
    });
    Customer {
        routed: RoutedCustomer {
            id: CustomerId::new(id).unwrap(),
            accounts: Accounts::Listed(listed.collect()),
            withhold: Vec::new(),
            carries_split_cost: false,
        },
        name: id.to_owned(),
        sharing: Sharing::Organization,
        target: Target::One(Arc::new(Folder::new(place.at(&format!("{run}/{id}"))))),
        layout: Layout::Eco,
        formats: vec![Format::CsvGz],
        header: HeaderStyle::Snake,
        gzip: Gzip::MultiMember,
        folder: None,
        contract: Contract::Eco,
        order,
        payer_kept: true,
        faithful: false,
    }
}

/// Delivers in this process and tells each data file by report id, number and SHA-256.
fn hashes(place: &Place, run: &str, threads: usize, memory: u64) -> String {
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
        customers: vec![
            customer(place, "sorted", &ACCOUNTS[..1], Order::Sorted, run),
            customer(place, "source", &ACCOUNTS[1..2], Order::Source, run),
        ],
        only: None,
        msp: Some(Arc::new(Folder::new(place.at(&format!("{run}/msp"))))),
        mask_key: None,
        spool: SpoolRequest { folder: place.at(&format!("{run}/spool")), limit: 1 << 30 },
        threads,
        memory,
        dry_run: false,
    };
    deliver(&request, &Unwatched).unwrap();
    let mut text = format!("format version {FORMAT_VERSION}\n");
    for (path, bytes) in place.tree(run) {
        if path.ends_with(".csv.gz") {
            let name = path.rsplit('/').next().unwrap();
            writeln!(text, "{} {} {name}", sha256(&bytes), bytes.len()).unwrap();
        }
    }
    text
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn delivered_bytes_are_the_golden_ones() {
    let place = Place::new();
    lay_out(&place);
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden.sha256");
    let found = hashes(&place, "one", 1, 4 << 30);
    assert_eq!(found, hashes(&place, "three", 3, 4 << 30), "three threads");
    assert_eq!(found, hashes(&place, "parked", 2, 0), "rows parked on disk");
    if std::env::var_os("APPORTION_BLESS").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), found);
}
