//! AWS delivers a month anew between the moment its manifest is found and the moment it is pinned: the keys of one
//! manifest must never be read as those of the other.

use crate::support::{Place, gzip, manifest, small_csv};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::route::{Accounts, RoutedCustomer};
use apportion_flow::run::{
    Customer, DeliverRequest, Sharing, SourceRequest, SpoolRequest, Target, Unwatched, deliver,
};
use apportion_flow::storage::{Body, Bucket, Folder, ObjectInfo, Put, StorageError, Swap};
use apportion_flow::write::{Gzip, Order};
use apportion_model::{CustomerId, Format, Layout, SourceName};
use std::fs::{self, File};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const REPORT: &str = "cur/rpt/20250301-20250401";

/// A folder whose manifest is another right after it was read for the first time.
struct Redelivering {
    folder: Folder,
    done: AtomicBool,
}

impl Bucket for Redelivering {
    fn place(&self) -> String {
        self.folder.place()
    }
    fn bucket_name(&self) -> String {
        self.folder.bucket_name()
    }
    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        self.folder.list()
    }
    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError> {
        self.folder.info(key)
    }
    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let read = self.folder.read(key, limit);
        if key.ends_with("-Manifest.json") && !self.done.swap(true, Ordering::Relaxed) {
            let new = manifest("a2", &["rpt-1.csv.gz"]).to_string();
            fs::write(self.folder.root().join(REPORT).join("rpt-Manifest.json"), new).unwrap();
        }
        read
    }
    fn open(&self, key: &str) -> Result<Option<File>, StorageError> {
        self.folder.open(key)
    }
    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        self.folder.put_new(key, body)
    }
    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError> {
        self.folder.swap(key, seen, new)
    }
}

#[test]
fn the_newest_delivery_is_read_with_its_own_keys() {
    let place = Place::new();
    // Both deliveries' files are there, as in a report that makes a new version of each.
    place.report("a1", &[small_csv(30).as_bytes()]);
    place.write(&format!("source/{REPORT}/a2/rpt-1.csv.gz"), gzip(small_csv(50).as_bytes()));
    let request = DeliverRequest {
        sources: vec![SourceRequest {
            bucket: Arc::new(Redelivering {
                folder: Folder::new(place.at("source")),
                done: AtomicBool::new(false),
            }),
            name: SourceName::unnamed(),
            named: false,
            report: None,
            object: None,
        }],
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
    };
    let report = deliver(&request, &Unwatched).unwrap();
    let period = &report.periods[0];
    assert_eq!((period.source_rows, period.source_assembly_id.as_str()), (50, "a2"));
}
