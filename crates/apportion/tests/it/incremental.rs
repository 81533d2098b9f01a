//! The second day: what hasn't changed is hashed once, decoded never, and nothing is written for it.

use crate::redelivered::{all_of, source};
use crate::support::{MANIFEST, PERIOD_FOLDER, Place, gzip, manifest, same_tree, small_csv};
use crate::watched::{Done, Watched};
use apportion_flow::run::{DeliverRequest, State, Target, Unwatched, deliver};
use apportion_flow::storage::Folder;
use apportion_model::AccountId;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn is_data(key: &str) -> bool {
    key.ends_with(".csv.gz")
}

/// How often each data file was opened.
fn opens(bucket: &Watched) -> BTreeMap<String, usize> {
    let mut opens = BTreeMap::new();
    for key in bucket.keys(Done::Open).into_iter().filter(|key| is_data(key)) {
        *opens.entry(key).or_default() += 1;
    }
    opens
}

/// A request with everything watched: the sources, the target and the MSP's place, in this order.
fn watched(place: &Place, folders: &[&str]) -> (DeliverRequest, Vec<Arc<Watched>>) {
    let mut all: Vec<Arc<Watched>> =
        folders.iter().map(|folder| Watched::new(Folder::new(place.at(folder)))).collect();
    let sources = folders.iter().zip(&all).map(|(name, bucket)| source(name, true, bucket.clone()));
    let mut request = all_of(place, sources.collect());
    for folder in ["target", "msp"] {
        all.push(Watched::new(Folder::new(place.at(folder))));
    }
    request.customers[0].target = Target::One(all[folders.len()].clone());
    request.msp = Some(all[folders.len() + 1].clone());
    (request, all)
}

fn again(request: &DeliverRequest, all: &[Arc<Watched>]) -> State {
    all.iter().for_each(|bucket| bucket.forget());
    let report = deliver(request, &Unwatched).unwrap();
    report.periods[0].customers[0].state
}

#[test]
fn an_unchanged_delivery_is_hashed_once_and_not_decoded() {
    let place = Place::new();
    place.report("a1", &[small_csv(30).as_bytes(), small_csv(20).as_bytes()]);
    let (request, all) = watched(&place, &["source"]);
    assert_eq!(again(&request, &all), State::Delivered);
    assert!(opens(&all[0]).values().all(|times| *times > 1), "decoded: {:?}", opens(&all[0]));
    assert_eq!(again(&request, &all), State::Unchanged);
    assert_eq!(opens(&all[0]).into_values().collect::<Vec<_>>(), [1, 1]);
    for bucket in &all {
        assert!(bucket.keys(Done::Put).is_empty() && bucket.keys(Done::Swap).is_empty());
    }
    // Nor is anything that was delivered read again.
    assert!(opens(&all[1]).is_empty() && opens(&all[2]).is_empty());
    // A changed one is redone.
    place.report("a2", &[small_csv(31).as_bytes()]);
    assert_eq!(again(&request, &all), State::Delivered);
}

#[test]
fn of_several_sources_the_payers_are_known_from_the_proofs() {
    let place = Place::new();
    place.report("a1", &[small_csv(30).as_bytes()]);
    let other = small_csv(12).replace("999900001111", "999900002222");
    place.write(&format!("other/{PERIOD_FOLDER}/b1/rpt-1.csv.gz"), gzip(other.as_bytes()));
    place.write(&format!("other/{MANIFEST}"), manifest("b1", &["rpt-1.csv.gz"]).to_string());
    let (request, all) = watched(&place, &["source", "other"]);
    assert_eq!(again(&request, &all), State::Delivered);
    assert_eq!(again(&request, &all), State::Unchanged);
    assert_eq!((opens(&all[0]).into_values().sum(), opens(&all[1]).into_values().sum()), (1usize, 1usize));
    // A source that turns out to hold the other's payer is refused as before.
    place.write(&format!("other/{PERIOD_FOLDER}/b2/rpt-1.csv.gz"), gzip(small_csv(12).as_bytes()));
    place.write(&format!("other/{MANIFEST}"), manifest("b2", &["rpt-1.csv.gz"]).to_string());
    let error = deliver(&request, &Unwatched).unwrap_err().to_string();
    assert!(error.contains("999900001111"), "{error}");
}

#[test]
fn a_month_that_is_locked_while_it_is_read_stays() {
    let place = Place::new();
    place.report("a1", &[small_csv(30).as_bytes()]);
    let (mut request, all) = watched(&place, &["main"]);
    // So that nobody opens a file between the pin and the reader.
    request.customers[0].folder = Some(AccountId::from_data("999900001111"));
    let state = place.at("msp/states/main/20250301-20250401-State.json");
    let (msp, opened) = (place.at("msp/proofs/main"), AtomicBool::new(false));
    // The pin opens a file first; when the reader does, somebody locks the month.
    let source_bucket = Watched::with(Folder::new(place.at("source")), move |what, key| {
        if what == Done::Open && is_data(key) && opened.swap(true, Ordering::Relaxed) && msp.is_dir() {
            let pointer = fs::read(msp.join("20250301-20250401-MasterPointer.json")).unwrap();
            let pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
            let lock = serde_json::json!({
                "state": "locked",
                "reason": "closed just now",
                "delivery_id": pointer["delivery_id"],
                "source_version": "that of the first delivery",
            });
            fs::create_dir_all(state.parent().unwrap()).unwrap();
            fs::write(&state, lock.to_string()).unwrap();
        }
    });
    request.sources = vec![source("main", false, Arc::new(Folder::new(place.at("source"))))];
    assert_eq!(again(&request, &all), State::Delivered);
    place.report("a2", &[small_csv(31).as_bytes()]);
    request.sources = vec![source("main", false, source_bucket)];
    let live = |place: &Place| {
        let mut tree = place.tree("target/manifests");
        tree.extend(place.tree("msp/proofs/main").into_iter().filter(|(key, _)| key.contains("Pointer")));
        tree
    };
    let before = live(&place);
    assert_eq!(again(&request, &all), State::Waiting);
    same_tree(&before, &live(&place));
}
