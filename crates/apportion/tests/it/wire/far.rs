//! Stores that are far away, and many of them: while answers take their time the split goes on, and 2,000 customers' buckets
//! take no more connections than one's.

use super::{GOOD, opened};
use crate::harness::{code, number_of, program, say, stderr, temp, tree};
use crate::servers::network_in;
use apportion_flow::storage::{Body, Bucket};
use apportion_testkit::s3::TestS3;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MSP: &str = "999900001111";
/// Requests under way at once.
const CONNECTIONS: usize = 32;

/// A made month, with settings for folders and for buckets.
struct Month {
    place: tempfile::TempDir,
    folders: PathBuf,
    buckets: PathBuf,
    /// The customers, whose buckets are called after them.
    customers: Vec<String>,
}

impl Month {
    fn make(rows: u64, customers: u64) -> Self {
        let place = temp();
        let out = place.path().join("made");
        let said = |number: u64| number.to_string();
        let made =
            program(&["demo", "make", "--months", "1", "--first", "2026-10", "--out", out.to_str().unwrap()])
                .args([
                    "--rows",
                    &said(rows),
                    "--customers",
                    &said(customers),
                    "--accounts",
                    &said(customers + 2),
                ])
                .output()
                .unwrap();
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        let (folders, buckets) = (out.join("apportion.toml"), out.join("buckets.toml"));
        let text = std::fs::read_to_string(&folders).unwrap();
        let ids = text.lines().filter_map(|line| line.strip_prefix("url = \"targets/")?.strip_suffix('"'));
        let customers = ids.map(str::to_owned).collect();
        let text = text.replace("url = \"source\"", "url = \"s3://source\"");
        let text = text
            .replace("url = \"msp\"", "url = \"s3://msp-place\"")
            .replace("url = \"targets/", "url = \"s3://t-");
        std::fs::write(&buckets, text).unwrap();
        Self { place, folders, buckets, customers }
    }

    fn server(&self) -> TestS3 {
        let targets: Vec<String> = self.customers.iter().map(|id| format!("t-{id}")).collect();
        let mut buckets: Vec<(&str, &str)> = targets.iter().map(|name| (name.as_str(), MSP)).collect();
        buckets.extend([("source", MSP), ("msp-place", MSP)]);
        let server = TestS3::start(&buckets);
        server.put_folder("source", "", &self.place.path().join("made/source"));
        server
    }

    /// Delivers, and says how long that took and how much memory at most, in KiB.
    fn deliver(&self, settings: &Path, server: Option<&TestS3>) -> (Duration, u64) {
        let mut command = program(&["deliver", "--threads", "1", "--config", settings.to_str().unwrap()]);
        command.arg("--spool").arg(self.place.path().join("spool"));
        if let Some(server) = server {
            command.env_clear().envs(server.environment());
        }
        let began = Instant::now();
        let (out, memory) = with_peak(command, self.place.path());
        let took = began.elapsed();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        (took, memory)
    }

    /// The same bytes as a run's, fetched and put by nobody who does anything else: as many at once as a run would.
    fn network_alone(&self, server: &TestS3) -> Duration {
        let network = network_in(GOOD);
        let open = |name: &str| opened(server.url(), &network, name, MSP, |_| {});
        let left = |folder: &str| tree(&self.place.path().join("made").join(folder));
        let mut puts: Vec<(String, String, Vec<u8>)> = Vec::new();
        puts.extend(left("msp").into_iter().map(|(key, bytes)| ("msp-place".to_owned(), key, bytes)));
        for id in &self.customers {
            let tree = left(&format!("targets/{id}"));
            puts.extend(tree.into_iter().map(|(key, bytes)| (format!("t-{id}"), key, bytes)));
        }
        let began = Instant::now();
        let source = open("source");
        for object in source.list().unwrap() {
            source.open(&object.key).unwrap().unwrap().read_to_end(&mut Vec::new()).unwrap();
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while let Some((bucket, key, bytes)) = puts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        open(bucket).put_new(&format!("alone/{key}"), Body::Bytes(bytes)).unwrap();
                    }
                });
            }
        });
        began.elapsed()
    }
}

/// Runs a program, and looks meanwhile how much memory it takes.
fn with_peak(mut command: std::process::Command, place: &Path) -> (std::process::Output, u64) {
    use std::process::Stdio;
    let [said, wrong] = ["said", "wrong"].map(|name| place.join(name));
    command.stdout(std::fs::File::create(&said).unwrap()).stderr(std::fs::File::create(&wrong).unwrap());
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let most = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = most.and_then(|most| most.trim().parse().ok()).unwrap_or(0).max(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let [stdout, stderr] = [said, wrong].map(|path| std::fs::read(path).unwrap());
    (std::process::Output { status: ended, stdout, stderr }, peak)
}

/// What is under way at the server, in steps of a run's time, for people who look for what waits for what
/// (`APPORTION_TIMELINE=1`).
fn timeline(server: &TestS3) -> String {
    let mut times = server.times();
    times.sort_by_key(|(_, came, _)| *came);
    let start = times.first().map_or(0, |(_, came, _)| *came);
    let end = times.iter().map(|(_, _, answered)| *answered).max().unwrap_or(0);
    let step = ((end - start) / 60).max(1);
    let mut text = String::new();
    for number in 0..60 {
        let (from, to) = (start + number * step, start + (number + 1) * step);
        let now: Vec<_> = times.iter().filter(|(_, came, answered)| *came < to && *answered > from).collect();
        let spent: u64 = now.iter().map(|(_, came, answered)| (*answered).min(to) - (*came).max(from)).sum();
        let first =
            now.first().map(|(call, _, _)| format!("{:?} {}/{}", call.operation, call.bucket, call.key));
        text.push_str(&format!(
            "{:6} ms {:3} {}\n",
            (from - start) / 1000,
            spent / step,
            first.unwrap_or_default()
        ));
    }
    text
}

/// Some forty answers in a row are waited for, from the lease to the pointer, however small the month is. Of 4 million line items
/// (16 seconds of one thread's) the throughput was 0.97 of the slower of the two at 5 ms, and 0.80 at 50 ms.
#[test]
fn a_long_way_costs_little() {
    let rows = number_of(
        "APPORTION_FAR_ROWS",
        if number_of("APPORTION_CASES", 200) < 2000 { 100_000 } else { 1_000_000 },
    );
    let month = Month::make(rows, 40);
    let (split, _) = month.deliver(&month.folders, None);
    for delay in [5, 50].map(Duration::from_millis) {
        let server = month.server();
        server.delay(delay);
        let (took, memory) = month.deliver(&month.buckets, Some(&server));
        let (under_way, connections) = server.most_at_once();
        if number_of("APPORTION_TIMELINE", 0) > 0 {
            say(&timeline(&server));
        }
        let calls = server.calls().len();
        let network = month.network_alone(&server);
        let slower = split.max(network);
        let text = format!(
            "far: {rows} line items for 40 customers, {delay:?} a call: {took:.1?} against {network:.1?} of the network \
             alone and {split:.1?} of the split alone, ratio {:.2}; {calls} calls, {under_way} at once, {connections} \
             connections, {} MiB",
            slower.as_secs_f64() / took.as_secs_f64(),
            memory >> 10
        );
        say(&text);
        assert!(under_way <= CONNECTIONS, "{text}");
        // Generous: other tests run at the same time.
        assert!(took < slower.mul_f64(1.0 / 0.6) + delay * 80 + Duration::from_secs(1), "{text}");
    }
}

#[test]
fn two_thousand_customers_take_no_more_connections_than_one() {
    let customers = if number_of("APPORTION_CASES", 200) < 2000 { 200 } else { 2000 };
    let few = Month::make(20 * customers, 20);
    let (_, memory_of_few) = few.deliver(&few.buckets, Some(&few.server()));
    let month = Month::make(20 * customers, customers);
    let server = month.server();
    server.delay(Duration::from_millis(5));
    let (took, memory) = month.deliver(&month.buckets, Some(&server));
    let (under_way, connections) = server.most_at_once();
    let more = memory.saturating_sub(memory_of_few);
    say(&format!(
        "far: {customers} customers with a bucket each: {took:.1?}, {} calls, {under_way} at once, {connections} \
         connections, {} MiB of memory, {} with 20 customers",
        server.calls().len(),
        memory >> 10,
        memory_of_few >> 10
    ));
    // Besides those that have a request, some may be open that have none.
    assert!(under_way <= CONNECTIONS && connections <= 2 * CONNECTIONS, "{under_way}, {connections}");
    // What an export's lane has in hand, in folders as in buckets.
    assert!(more < (32 << 10) + customers / 100 * (14 << 10), "{more} KiB more");
    let live = month
        .customers
        .iter()
        .filter(|id| server.tree(&format!("t-{id}")).keys().any(|key| key.starts_with("manifests/")));
    assert_eq!(live.count() as u64, customers);
}
