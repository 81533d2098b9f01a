//! Whatever the libraries below would tell a subscriber at TRACE, and whatever errors and `Debug` say: no secret is in it.
//! The program installs neither subscriber nor logger; who builds it into something else may.
//!
//! A subscriber is the whole process's. So the test runs itself once more for each case, with one, and reads what was told.

use super::{GOOD, Scene, hasty, opened};
use crate::harness::{say, temp, write};
use crate::s3::{BUCKETS, ROWS};
use crate::servers::network_in;
use crate::small_report::report;
use crate::written_report::request;
use apportion_core::mask::MaskKey;
use apportion_flow::run::{Target, Unwatched, deliver};
use apportion_flow::storage::{Bucket, Secret, StoreOptions};
use apportion_testkit::s3::{
    ACCESS_KEY, Call, Fault, MACHINE_ROLE, Operation, PASSING, Role, SECRET_KEY, TestS3, seeded,
};
use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Interest, LevelFilter, Metadata, Subscriber};

/// Its name, by which it runs itself.
const TEST: &str = "wire::secrets::no_library_tells_a_secret_at_trace";
/// Says to the one that is run where the case lies.
const CASE: &str = "WIRE_TRACED";
const MASK_KEY: &str = "marked-mask-key-of-the-msp-00000";
const CONTAINER_TOKEN: &str = "marked-container-token";

/// Writes down all that it is told.
#[derive(Clone)]
struct Everything(Arc<Mutex<File>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?} {value:#?}");
    }
}

impl Everything {
    fn tell(&self, what: &str, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(format!("{what} {} {}", metadata.target(), metadata.name()));
        record(&mut fields);
        self.line(&fields.0);
    }

    fn line(&self, text: &str) {
        let _ = writeln!(self.0.lock().unwrap(), "{text}");
    }
}

impl Subscriber for Everything {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.tell("span", span.metadata(), |fields| span.record(fields));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Fields("record".to_owned());
        values.record(&mut fields);
        self.line(&fields.0);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        self.tell("event", event.metadata(), |fields| event.record(fields));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.line(&format!("log {} {}", record.target(), record.args()));
    }
    fn flush(&self) {}
}

fn arn(bucket: &str) -> String {
    format!("arn:aws:iam::111111111111:role/{bucket}")
}

fn external_id(bucket: &str) -> String {
    format!("marked-external-id-{bucket}")
}

/// A run with its ears open, in a process of its own: the case says where the server is, and whether roles are taken.
fn traced(case: &Path) {
    let said = std::fs::read_to_string(case.join("case")).unwrap();
    let [url, how, weather] = *said.lines().collect::<Vec<_>>() else { panic!("{said}") };
    let everything = Everything(Arc::new(Mutex::new(File::create(case.join("told")).unwrap())));
    tracing_core::dispatcher::set_global_default(tracing_core::Dispatch::new(everything.clone())).unwrap();
    log::set_logger(Box::leak(Box::new(everything.clone()))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let network = if weather == "good" { network_in(GOOD) } else { hasty() };
    let open = |name: &str, owner: &str| {
        let more = |options: &mut StoreOptions| {
            // By AWS's own chain.
            options.keys = None;
            options.endpoint_url = Some(url.to_owned());
            if how == "roles" {
                options.role_arn = Some(arn(name));
                options.external_id = Some(Secret::new(external_id(name)));
            }
            everything.line(&format!("{options:?} {options:#?}"));
        };
        let bucket = opened(url, &network, name, owner, more);
        everything.line(&format!("{bucket:?} {network:?} {network:#?}"));
        Arc::new(bucket) as Arc<dyn Bucket>
    };
    let buckets = BUCKETS.map(|(name, owner)| open(name, owner));
    let mut request = request(&report(1, 0), case);
    request.sources[0].bucket = Arc::clone(&buckets[0]);
    request.msp = Some(Arc::clone(&buckets[1]));
    request.mask_key = MaskKey::new(MASK_KEY.as_bytes());
    for (customer, bucket) in request.customers.iter_mut().zip(&buckets[2..]) {
        customer.target = Target::One(Arc::clone(bucket));
    }
    let done = deliver(&request, &Unwatched);
    everything.line(&format!("{done:?} {:?}", request.mask_key));
    if let Err(error) = &done {
        everything.line(&error.to_string());
    }
    for bucket in &buckets {
        let listed = bucket.list();
        everything.line(&format!("{listed:?}"));
        for object in listed.unwrap_or_default() {
            everything.line(&format!("{:?}", bucket.info(&object.key)));
            let mut bytes = Vec::new();
            match bucket.open(&object.key) {
                Ok(Some(mut opened)) => everything.line(&format!("{:?}", opened.read_to_end(&mut bytes))),
                other => everything.line(&format!("{:?}", other.err())),
            }
        }
    }
    std::fs::write(case.join("done"), format!("{}", done.is_ok())).unwrap();
}

/// The text as it is, in hex, in base64 wherever it begins in it, and as the numbers of its bytes.
fn forms_of(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = secret.bytes().take(7).map(|byte| byte.to_string()).collect();
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex, numbers.join(", "), escaped];
    for before in 0..3 {
        let text = base64(&[&b"..."[..before], secret.as_bytes()].concat());
        // What hangs on what stands before and behind.
        forms.push(text[4..text.len() - 4].to_owned());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let number = (0..3).fold(0, |sum, place| sum << 8 | usize::from(*three.get(place).unwrap_or(&0)));
        (0..4).map(move |place| char::from(DIGITS[number >> (18 - 6 * place) & 63])).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

/// Everything that must not be told.
fn secrets() -> Vec<String> {
    let mut all =
        vec![SECRET_KEY, MASK_KEY, CONTAINER_TOKEN, "marked-session-secret-", "marked-session-token-"];
    all.push("marked-");
    let ids = BUCKETS.map(|(bucket, _)| external_id(bucket));
    all.into_iter().map(str::to_owned).chain(ids).collect()
}

/// What a line tells of secrets.
fn found_in(text: &str) -> Vec<String> {
    let forms: Vec<String> =
        secrets().iter().flat_map(|secret| forms_of(secret)).filter(|form| form.len() > 5).collect();
    let lines = text.lines().filter(|line| forms.iter().any(|form| line.contains(form)));
    lines.map(|line| line.chars().take(2000).collect()).collect()
}

fn environment(server: &TestS3, name: &str) -> Vec<(&'static str, String)> {
    match name {
        "container" => {
            let mut all = server.environment_of_container();
            all.push(("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN.to_owned()));
            all
        }
        _ => server.environment(),
    }
}

#[test]
fn no_library_tells_a_secret_at_trace() {
    if let Ok(case) = std::env::var(CASE) {
        return traced(&PathBuf::from(case));
    }
    // What is looked for is found.
    assert_eq!(found_in(&format!("x {} y", base64(b"..marked-mask-key-of-the-msp-00000"))).len(), 1);
    let scene = Scene::new(ROWS, |_| String::new());
    let server = scene.started();
    for (bucket, _) in BUCKETS {
        let (arn, external_id) = (arn(bucket), Some(external_id(bucket)));
        server.add_role(Role { arn, external_id, bucket: bucket.to_owned(), seconds: 3600 });
    }
    let bucket = BUCKETS[0].0.to_owned();
    server.add_role(Role { arn: MACHINE_ROLE.to_owned(), external_id: None, bucket, seconds: 3600 });
    let lasting = [Fault::Stall, Fault::Expired, Fault::Denied, Fault::Skewed, Fault::Redirected];
    let faults = std::iter::once(None).chain(PASSING.iter().chain(&lasting).copied().map(Some));
    let (mut cases, mut bytes, mut targets) = (0, 0, std::collections::BTreeMap::new());
    for (number, fault) in faults.enumerate() {
        for (kind, how) in [("environment", "plain"), ("environment", "roles"), ("container", "roles")] {
            scene.reset(&server);
            if let Some(fault) = fault {
                let strikes = seeded(number as u64, 30, &[fault]);
                server.plan(move |call: &Call| {
                    // For a session one waits a minute.
                    let is_long = fault == Fault::Stall && call.operation == Operation::AssumeRole;
                    strikes(call).filter(|_| call.number % 50 > 5 && !is_long)
                });
            }
            let case = temp();
            let weather = if fault.is_none() { "good" } else { "bad" };
            write(&case.path().join("case"), format!("{}\n{how}\n{weather}\n", server.url()).as_bytes());
            let out = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", TEST, "--nocapture"])
                .env_clear()
                .envs(environment(&server, kind))
                .env(CASE, case.path())
                .output()
                .unwrap();
            let when = format!("{fault:?}, {kind}, {how}");
            assert!(out.status.success(), "{when}: {}", String::from_utf8_lossy(&out.stderr));
            let mut told = std::fs::read_to_string(case.path().join("told")).unwrap();
            assert!(told.contains("event ") && told.contains("log "), "{when}: nothing was told");
            if fault.is_none() {
                assert_eq!(std::fs::read_to_string(case.path().join("done")).unwrap(), "true", "{told}");
            }
            for line in told.lines().filter(|line| line.starts_with("event ") || line.starts_with("log ")) {
                *targets.entry(line.split(' ').nth(1).unwrap_or_default().to_owned()).or_insert(0) += 1;
            }
            told.push_str(&String::from_utf8_lossy(&out.stdout));
            told.push_str(&String::from_utf8_lossy(&out.stderr));
            let found = found_in(&told);
            assert!(
                found.is_empty(),
                "{when}: {} lines with a secret: {:#?}",
                found.len(),
                &found[..found.len().min(4)]
            );
            (cases, bytes) = (cases + 1, bytes + told.len());
        }
    }
    assert!(!ACCESS_KEY.contains("marked-"));
    say(&format!("secrets: {cases} runs at TRACE, {bytes} bytes from {} targets, no mark", targets.len()));
}
