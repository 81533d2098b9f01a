//! Thousands of deaths, faults and schedules: the product's own `deliver` in a world of stores in memory. After each
//! write somebody reads everything that is live as a consumer would; in the end everything is, byte by byte, what one
//! run makes that nothing happens to.
//!
//! How many there are is said by `APPORTION_CASES`: the figures of the promises with 2000, a tenth of them with 200.

mod crash;
mod faults;
mod model;
mod source;
mod writers;

use crate::harness::{number_of, temp, tree};
use crate::random_report::Report;
use crate::small_report::{ONE, TWO, form, report};
use crate::written_report::{KEY, TIME, customer, write_report};
use apportion_core::mask::MaskKey;
use apportion_flow::run::{
    DeliverReport, DeliverRequest, RunError, SourceRequest, SpoolRequest, State as Outcome, Target,
    Unwatched, deliver,
};
use apportion_flow::storage::Operator;
use apportion_model::SourceName;
use apportion_testkit::world::{Books, Live, Operation, Plan, Process, Reader, State, Step, Watch, World};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The buckets that a delivery writes to: the customers', then the MSP's.
const WRITTEN: [&str; 3] = ["t0", "t1", "msp"];
/// The bucket of the source that a run reads, unless it's given another.
const SOURCE: &str = "source";
/// The source's versions, the oldest first: the first is live when a test begins.
const VERSIONS: [&str; 3] = ["source0", "source1", "source2"];
/// The newest of them.
const NEWEST: usize = 2;
/// Line items of a version, in two files.
const ROWS: usize = 24;

/// Bucket and key of each object, with its hash.
type Digest = BTreeMap<(String, String), [u8; 32]>;

/// The figure of a promise, or its tenth where only a tenth is asked for.
pub fn figure(full: u64) -> u64 {
    full * number_of("APPORTION_CASES", 200) / 2000
}

/// Does so many things on two threads, each of which has a spool of its own.
fn spread(count: u64, work: impl Fn(u64, &Path) + Sync) {
    let place = temp();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (next, work, spool) = (&next, &work, place.path().join(thread.to_string()));
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if number >= count {
                        return;
                    }
                    work(number, &spool);
                }
            });
        }
    });
}

/// A world at its beginning, and what becomes of it when nothing goes wrong.
struct Scene {
    report: Report,
    reader: Reader,
    /// The oldest version is live; the newest is the source.
    start: State,
    /// What is written by one run of each version from there; of the oldest, what is live at the beginning.
    wanted: Vec<Digest>,
    /// Which version a source version is.
    order: BTreeMap<String, usize>,
    /// What each version adds up to.
    books: Vec<Books>,
    /// What a run of the newest version asks of the stores.
    steps: Vec<Step>,
}

impl Scene {
    fn new() -> Arc<Self> {
        let report = report(1, 0);
        let own = |accounts: &[&str]| accounts.iter().map(|account| (*account).to_owned()).collect();
        let mut accounts = BTreeMap::from([("customer0".to_owned(), own(&[ONE]))]);
        accounts.extend(TWO.map(|account| (format!("customer1-{account}"), own(&[account]))));
        let reader = Reader { accounts, msp: "msp".to_owned() };
        let mut scene = Self {
            report,
            reader,
            start: State::default(),
            wanted: Vec::new(),
            order: BTreeMap::new(),
            books: Vec::new(),
            steps: Vec::new(),
        };
        (0..VERSIONS.len()).for_each(|version| scene.write_version(version));
        let spool = temp();
        for (version, bucket) in VERSIONS.iter().enumerate() {
            let steps = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&steps);
            let watch: Box<Watch> = Box::new(move |_, step| {
                seen.lock().unwrap().push(step.clone());
                Ok(())
            });
            let world = Arc::new(World::new(scene.start.clone(), watch));
            let process = world.begin(0, Plan::Nothing);
            let done = scene.run(&process, bucket, spool.path());
            assert!(is_clean(&done), "{done:?}");
            let state = world.state();
            let live = scene.live(&state).unwrap();
            assert_eq!(live.len(), 4, "{live:?}");
            assert!(live.iter().all(|one| one.source_version == live[0].source_version), "{live:?}");
            scene.order.insert(live[0].source_version.clone(), version);
            scene.wanted.push(state.digest(&WRITTEN));
            scene.steps = steps.lock().unwrap().clone();
            if version == 0 {
                scene.start = state;
            }
        }
        scene.start.copy(VERSIONS[NEWEST], SOURCE, None);
        let scene = Arc::new(scene);
        assert_eq!(scene.order.len(), VERSIONS.len());
        scene
    }

    /// Writes a version of the source, as AWS overwrites them: under the same keys.
    fn write_version(&mut self, version: usize) {
        let place = temp();
        write_report(&report(version as u64 + 1, ROWS), &form(ROWS), place.path());
        let mut books = Books::default();
        for (key, mut bytes) in tree(place.path()) {
            let modified = (TIME + 3600 * version as u64) as i64 * 1000;
            if key.ends_with(".json") {
                let text = String::from_utf8(bytes).unwrap();
                let named =
                    text.replace("\"assemblyId\":\"a1b2\"", &format!("\"assemblyId\":\"a1b2-{version}\""));
                assert_ne!(text, named);
                bytes = named.into_bytes();
            } else {
                books.add(&Books::of(&bytes).unwrap());
            }
            self.start.put_at(VERSIONS[version], &key, bytes, modified);
        }
        assert_eq!(books.rows, ROWS as u64);
        self.books.push(books);
    }

    /// Delivers from a bucket, with stores as the process sees them.
    fn run(&self, process: &Arc<Process>, source: &str, spool: &Path) -> Result<DeliverReport, RunError> {
        self.run_by(1, Some(operator(0)), process, source, spool)
    }

    /// The same by so many threads: with more than one, operations come from several of them.
    fn run_by(
        &self,
        threads: usize,
        operator: Option<Operator>,
        process: &Arc<Process>,
        source: &str,
        spool: &Path,
    ) -> Result<DeliverReport, RunError> {
        let customers = self.report.parties.iter().map(|party| {
            let target = Target::One(process.bucket(&party.target));
            apportion_flow::run::Customer { target, ..customer(party, Path::new("")) }
        });
        let request = DeliverRequest {
            sources: vec![SourceRequest {
                bucket: process.bucket(source),
                name: SourceName::unnamed(),
                named: false,
                report: None,
                object: None,
                kind: Default::default(),
            }],
            periods: None,
            customers: customers.collect(),
            only: None,
            msp: Some(process.bucket("msp")),
            mask_key: MaskKey::new(KEY.as_bytes()),
            spool: SpoolRequest { folder: spool.to_owned(), limit: 1 << 30 },
            threads,
            memory: 512 << 20,
            dry_run: false,
            operator,
        };
        let done = deliver(&request, &Unwatched);
        process.end();
        done
    }

    /// A run to which nothing happens.
    fn run_plainly(&self, world: &Arc<World>, spool: &Path) -> Result<DeliverReport, RunError> {
        self.run(&world.begin(usize::MAX, Plan::Nothing), SOURCE, spool)
    }

    /// Everything that is live.
    fn live(&self, state: &State) -> Result<Vec<Live>, String> {
        let read = WRITTEN.iter().map(|bucket| self.reader.read(state, bucket));
        Ok(read.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Reads what is live in a bucket after each write to it; nothing goes missing there, or goes back in time.
    fn watch(self: &Arc<Self>) -> Box<Watch> {
        let scene = Arc::clone(self);
        let newest: Mutex<BTreeMap<(String, String), i64>> = Mutex::default();
        Box::new(move |state, step| {
            if !step.wrote || !WRITTEN.contains(&step.bucket.as_str()) {
                return Ok(());
            }
            let live = scene.reader.read(state, &step.bucket)?;
            if live.len() != if step.bucket == "t1" { 2 } else { 1 } {
                return Err(format!("only {} live in {}", live.len(), step.bucket));
            }
            let mut newest = newest.lock().unwrap();
            let mut goes_back = |key: &str, order: i64| {
                let newest = newest.entry((step.bucket.clone(), key.to_owned())).or_insert(order);
                let back = order < *newest;
                *newest = order.max(*newest);
                back
            };
            for one in live {
                let order = scene.order.get(&one.source_version);
                let order = order.ok_or_else(|| format!("{}: a version that never was", one.key))?;
                if goes_back(&one.key, *order as i64) {
                    return Err(format!("{}: went back to version {order}", one.key));
                }
            }
            if step.key.ends_with("-Generation.json")
                && let Some(object) = state.get(&step.bucket, &step.key)
            {
                let told: serde_json::Value = serde_json::from_slice(object.content.bytes()).unwrap();
                if goes_back(&step.key, told["generation"].as_i64().unwrap()) {
                    return Err(format!("{}: went back to {told}", step.key));
                }
            }
            Ok(())
        })
    }

    /// Everything is live of one version, and nothing of its source is missing, to the last cent.
    fn check_whole(&self, state: &State, version: usize) -> Result<(), String> {
        let mut books = Books::default();
        for one in self.live(state)? {
            if self.order.get(&one.source_version) != Some(&version) {
                return Err(format!("{}: {} isn't of version {version}", one.bucket, one.key));
            }
            books.add(&one.books);
        }
        if books == self.books[version] {
            return Ok(());
        }
        Err(format!("{:?} became {books:?}", self.books[version]))
    }

    /// A plain run brings everything to where one run would have brought it.
    fn recover(&self, world: &Arc<World>, spool: &Path, when: &dyn std::fmt::Debug) {
        let done = self.run_plainly(world, spool);
        assert!(is_clean(&done), "{when:?}: {done:?}");
        assert_eq!(world.broken(), [""; 0], "{when:?}");
        let state = world.state();
        self.check_whole(&state, NEWEST).unwrap_or_else(|problem| panic!("{when:?}: {problem}"));
        same(&self.wanted[NEWEST], &state.digest(&WRITTEN), when);
    }
}

/// Who runs something, at a time by which leases are over or not.
fn operator(now: i64) -> Operator {
    let name = "somebody".to_owned();
    Operator { machine: name.clone(), name, wait: false, clock: Arc::new(move || now) }
}

/// Whether everything was delivered, or was there already.
pub fn is_clean(done: &Result<DeliverReport, RunError>) -> bool {
    let Ok(report) = done else { return false };
    let fine = |state| matches!(state, Outcome::Delivered | Outcome::Unchanged);
    report.refused_periods.is_empty()
        && report.periods.len() == 1
        && report.periods[0].customers.iter().all(|customer| fine(customer.state))
}

fn same(wanted: &Digest, found: &Digest, when: &dyn std::fmt::Debug) {
    let keys = |one: &Digest, other: &Digest| -> Vec<String> {
        let differs = one.iter().filter(|(place, hash)| other.get(*place) != Some(hash));
        differs.map(|((bucket, key), _)| format!("{bucket}/{key}")).collect()
    };
    let (missing, more) = (keys(wanted, found), keys(found, wanted));
    assert!(wanted == found, "{when:?}: not as they should be: {missing:?}; there: {more:?}");
}

/// Whether a step writes when all goes well.
fn writes(step: &Step) -> bool {
    matches!(step.operation, Operation::PutNew | Operation::Swap | Operation::Delete)
}
