//! AWS delivers a month anew between the moment its manifest is found and the moment it is pinned: the keys of one
//! manifest must never be read as those of the other.

use crate::support::{Place, gzip, manifest, small_csv};
use crate::watched::{Done, Watched};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::route::{Accounts, RoutedCustomer};
use apportion_flow::run::{
    Customer, DeliverRequest, Sharing, SourceRequest, SpoolRequest, Target, Unwatched, deliver,
};
use apportion_flow::storage::{Bucket, Folder};
use apportion_flow::write::{Gzip, Level, Order};
use apportion_model::{CustomerId, Format, Layout, SourceName};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const REPORT: &str = "cur/rpt/20250301-20250401";

/// A folder whose manifest is another right after it was read for the first time.
fn redelivering(place: &Place) -> Arc<Watched> {
    let (root, done) = (place.at("source"), AtomicBool::new(false));
    Watched::with(Folder::new(&root), move |what, key| {
        let is_first = what == Done::Read && key.ends_with("-Manifest.json");
        if is_first && !done.swap(true, Ordering::Relaxed) {
            let new = manifest("a2", &["rpt-1.csv.gz"]).to_string();
            fs::write(root.join(REPORT).join("rpt-Manifest.json"), new).unwrap();
        }
    })
}

/// A source of that name.
pub fn source(name: &str, named: bool, bucket: Arc<dyn Bucket>) -> SourceRequest {
    let name = SourceName::new(name).unwrap();
    SourceRequest { bucket, name, named, report: None, object: None, kind: Default::default() }
}

/// One customer who receives every account, in a folder that is called after the payer.
pub fn all_of(place: &Place, sources: Vec<SourceRequest>) -> DeliverRequest {
    DeliverRequest {
        sources,
        periods: None,
        customers: vec![Customer {
            routed: RoutedCustomer {
                id: CustomerId::new("all").unwrap(),
                accounts: Accounts::All,
                withhold: Vec::new(),
                carries_split_cost: false,
            },
            name: "All".to_owned(),
            sharing: Sharing::Organization,
            target: Target::One(Arc::new(Folder::new(place.at("target")))),
            layout: Layout::Eco,
            formats: vec![Format::CsvGz],
            header: HeaderStyle::Snake,
            gzip: Gzip::MultiMember,
            level: Level::Default,
            folder: None,
            contract: Contract::Eco,
            order: Order::Sorted,
            payer_kept: true,
            faithful: false,
        }],
        only: None,
        msp: None,
        mask_key: None,
        spool: SpoolRequest { folder: place.at("spool"), limit: 1 << 30 },
        threads: 1,
        memory: 512 << 20,
        dry_run: false,
        operator: None,
    }
}

#[test]
fn the_newest_delivery_is_read_with_its_own_keys() {
    let place = Place::new();
    // Both deliveries' files are there, as in a report that makes a new version of each.
    place.report("a1", &[small_csv(30).as_bytes()]);
    place.write(&format!("source/{REPORT}/a2/rpt-1.csv.gz"), gzip(small_csv(50).as_bytes()));
    let request = all_of(&place, vec![source("main", false, redelivering(&place))]);
    let report = deliver(&request, &Unwatched).unwrap();
    let period = &report.periods[0];
    assert_eq!((period.source_rows, period.source_assembly_id.as_str()), (50, "a2"));
}

#[test]
fn data_that_are_newer_than_their_manifest_are_told() {
    let place = Place::new();
    place.two_customers();
    place.report("a1", &[small_csv(30).as_bytes(), small_csv(20).as_bytes()]);
    let folder = place.at("source").join(REPORT);
    crate::harness::set_time(&folder.join("rpt-Manifest.json"), 2_000_000_000);
    let newer = "is newer than the manifest, which AWS writes last";
    assert!(!place.run(&["plan"]).expect(0).err.contains(newer));
    crate::harness::set_time(&folder.join("rpt-Manifest.json"), 1_000_000_000);
    for what in ["plan", "deliver"] {
        let said = place.run(&[what]).expect(0).err;
        assert!(said.contains(newer) && said.contains(".csv.gz"), "{said}");
    }
}
