//! `deliver` over HTTP, against a server that dies on it, lies to it, is slow, or shows it the door: killed processes,
//! weather, sessions that end, secrets in what libraries say, and long ways.
//!
//! How many there are is said by `APPORTION_CASES`: the figures of the promises with 2000, a tenth of them with 200.

mod far;
mod kills;
mod secrets;
mod tokens;
mod weather;

use crate::crash::{LiveAssemblies, consume_msps_tree, consume_tree};
use crate::harness::{Tree, code, copy, stderr, temp, tree};
use crate::random_report::Report;
use crate::s3::{BUCKETS, in_buckets, left, left_in, make_of, started};
use crate::servers::{keys, network_in};
use crate::small_report::{renew, report};
use crate::written_report::request;
use apportion_flow::run::{DeliverRequest, Target};
use apportion_flow::storage::{Bucket, Network, ObjectBucket, PlaceUrl, StoreOptions, Weather};
use apportion_testkit::s3::TestS3;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Weather in which nothing happens that isn't put up with.
const GOOD: Weather = Weather { stall: Duration::from_secs(20), tries: 6, pause: Duration::from_millis(2) };

/// An older delivery that is live, a newer source that lies ready, and what one run makes of it that nothing happens to.
struct Scene {
    /// The source, and with folders what a run leaves.
    place: tempfile::TempDir,
    /// Each bucket that is written to, at the beginning.
    start: tempfile::TempDir,
    /// Settings with buckets.
    settings: PathBuf,
    report: Report,
    wanted: Vec<Tree>,
    old: Vec<LiveAssemblies>,
    new: Vec<LiveAssemblies>,
}

impl Scene {
    fn new(rows: usize, more: impl Fn(&str) -> String) -> Self {
        let (place, start) = (temp(), temp());
        let file = make_of(place.path(), rows);
        let deliver = || {
            let out = crate::harness::run("deliver", &file, &[], &[]);
            assert_eq!(code(&out), 0, "{}", stderr(&out));
        };
        deliver();
        for (name, _) in &BUCKETS[1..] {
            copy(&place.path().join(name), &start.path().join(name));
        }
        renew(place.path(), 2, rows);
        deliver();
        let live = |place: &Path| -> Vec<LiveAssemblies> {
            BUCKETS[2..].iter().map(|(name, _)| consume_tree(&tree(&place.join(name)))).collect()
        };
        let (old, new) = (live(start.path()), live(place.path()));
        assert!(
            old.iter().flatten().zip(new.iter().flatten()).all(|(old, new)| old.0 == new.0 && old != new)
        );
        let (settings, wanted) = (in_buckets(&file, more), left(place.path()));
        Self { place, start, settings, report: report(1, 0), wanted, old, new }
    }

    /// A server at the beginning.
    fn started(&self) -> TestS3 {
        let server = started(&self.place.path().join("source"));
        self.reset(&server);
        server
    }

    /// Everything is as at the beginning again, and nothing goes wrong any more.
    fn reset(&self, server: &TestS3) {
        server.clear_plan();
        for (name, _) in &BUCKETS[1..] {
            server.remove_all(name);
            server.put_folder(name, "", &self.start.path().join(name));
        }
        server.forget_calls();
    }

    /// Everybody can follow what is live, and it's the older delivery or the newer one.
    fn check_live(&self, server: &TestS3, when: &str) {
        consume_msps_tree(&server.tree("msp-place"));
        for (((name, _), old), new) in BUCKETS[2..].iter().zip(&self.old).zip(&self.new) {
            let live = consume_tree(&server.tree(name));
            assert_eq!(live.len(), old.len(), "{when}");
            for ((now, old), new) in live.iter().zip(old).zip(new) {
                assert!(now == old || now == new, "{when}: {} is at {}", now.0, now.1);
            }
        }
    }

    /// The newer delivery is live everywhere.
    fn check_live_is_newest(&self, server: &TestS3, when: &str) {
        for ((name, _), new) in BUCKETS[2..].iter().zip(&self.new) {
            assert_eq!(consume_tree(&server.tree(name)), *new, "{when}: {name}");
        }
    }

    /// Every byte is as a run leaves it that nothing happens to.
    fn check_done(&self, server: &TestS3, when: &str) {
        for ((name, _), (found, due)) in BUCKETS[1..].iter().zip(left_in(server).iter().zip(&self.wanted)) {
            let keys = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(found), keys(due), "{when}: {name}");
            let differs = found.iter().find(|(key, bytes)| **bytes != due[*key]);
            assert!(differs.is_none(), "{when}: {name}: {:?}", differs.map(|(key, _)| key));
        }
    }

    /// A run in this process; `more` changes how a bucket is reached.
    fn request(
        &self,
        server: &TestS3,
        network: &Arc<Network>,
        spool: &Path,
        more: impl Fn(&str, &mut StoreOptions),
    ) -> DeliverRequest {
        let open = |place: usize| -> Arc<dyn Bucket> {
            let (name, owner) = BUCKETS[place];
            Arc::new(opened(server.url(), network, name, owner, |options| more(name, options)))
        };
        let mut request = request(&self.report, self.place.path());
        request.sources[0].bucket = open(0);
        request.msp = Some(open(1));
        for (place, customer) in request.customers.iter_mut().enumerate() {
            customer.target = Target::One(open(2 + place));
        }
        spool.clone_into(&mut request.spool.folder);
        request
    }
}

/// A bucket of the server's.
fn opened(
    url_of_server: &str,
    network: &Arc<Network>,
    name: &str,
    owner: &str,
    more: impl Fn(&mut StoreOptions),
) -> ObjectBucket {
    let url: PlaceUrl = format!("s3://{name}").parse().unwrap();
    let mut options = StoreOptions {
        endpoint_url: Some(url_of_server.to_owned()),
        owner: Some(owner.parse().unwrap()),
        keys: Some(keys()),
        region: Some("eu-central-1".to_owned()),
        ..StoreOptions::default()
    };
    more(&mut options);
    ObjectBucket::s3(network, &url, &options).unwrap()
}

/// What one of several threads works with.
struct Lane {
    server: Arc<TestS3>,
    spool: PathBuf,
    /// A run in good weather.
    good: DeliverRequest,
}

/// Does so many things in so many lanes, each with a server at the beginning of the scene and a spool of its own.
fn in_lanes(scene: &Scene, lanes: usize, count: u64, work: impl Fn(u64, &Lane) + Sync) {
    let (next, spools) = (AtomicU64::new(0), temp());
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (next, work, spool) = (&next, &work, spools.path().join(lane.to_string()));
            scope.spawn(move || {
                let server = Arc::new(scene.started());
                let good = scene.request(&server, &network_in(GOOD), &spool, |_, _| {});
                let lane = Lane { server, spool, good };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    scene.reset(&lane.server);
                    work(number, &lane);
                }
            });
        }
    });
}

/// A network without patience: what hangs is soon given up.
fn hasty() -> Arc<Network> {
    network_in(Weather { stall: Duration::from_millis(40), tries: 6, pause: Duration::from_millis(1) })
}
