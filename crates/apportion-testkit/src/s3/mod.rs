//! An S3 of our own, in this process: signatures are checked, with the headers that must be signed; buckets have
//! owners; PUT and GET heed their conditions and checksums; listings come in pages. It fails on cue, operation by
//! operation, and remembers every call. On the same port is an STS that evaluates trust policies and external ids.
//!
//! What comes in: HTTP. What goes out: what S3 would say, or a fault. What it must never do: be more lenient than S3
//! where a client's mistake would show.

mod faults;
mod front;
mod gauge;
mod keys;
mod machine;
mod objects;
mod sts;

pub use faults::{Fault, Operation, PASSING, seeded};
pub use front::Call;
pub use keys::Role;
pub use machine::MACHINE_ROLE;

use faults::Plan;
use front::Front;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use keys::Keys;
use objects::Objects;
use s3s::service::S3ServiceBuilder;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The access key that may do everything.
pub const ACCESS_KEY: &str = "AKIATESTKITTESTKIT00";
/// Its secret. Tests look for it in everything that is printed.
pub const SECRET_KEY: &str = "marked-secret-key-of-the-testkit";

/// A server with buckets; it ends when it is dropped.
pub struct TestS3 {
    front: Arc<Front>,
    url: String,
    /// Never waited for: what hangs on purpose must not hang the test.
    runtime: Option<Runtime>,
}

impl Drop for TestS3 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl TestS3 {
    /// Starts a server with these buckets, each with its owner's account id.
    pub fn start(buckets: &[(&str, &str)]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (objects, keys) = (Objects::new(buckets), Keys::new(ACCESS_KEY, SECRET_KEY));
        let mut builder = S3ServiceBuilder::new(objects.clone());
        builder.set_auth(keys.clone());
        let front = Arc::new(Front::new(objects, keys, builder.build()));
        let serving = Arc::clone(&front);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let front = Arc::clone(&serving);
                tokio::spawn(async move {
                    let connected = Arc::clone(&front);
                    let _connection = connected.connections.enter();
                    let service = service_fn(move |request| {
                        let front = Arc::clone(&front);
                        async move { front.answer(request).await }
                    });
                    // A connection that is broken on purpose ends with an error.
                    let _ = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Ok::<(), Infallible>(())
        });
        Self { front, url, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The variables of the environment with which a program finds it and may do everything.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The variables with which a program finds it as a container would, whose role is [`MACHINE_ROLE`].
    pub fn environment_of_container(&self) -> Vec<(&'static str, String)> {
        self.environment_with(vec![(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("{}{}", self.url, machine::CONTAINER),
        )])
    }

    /// The variables with which a program finds it as an instance would, whose role is [`MACHINE_ROLE`].
    pub fn environment_of_instance(&self) -> Vec<(&'static str, String)> {
        self.environment_with(vec![
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.url.clone()),
            ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ])
    }

    /// The variables with which a program finds it, with other credentials than those that may do everything.
    pub fn environment_with(&self, more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let is_key = |name: &str| name.starts_with("AWS_ACCESS_KEY") || name.starts_with("AWS_SECRET");
        let mut all = self.environment();
        all.retain(|(name, _)| !is_key(name) && !more.iter().any(|(other, _)| other == name));
        all.extend(more);
        all
    }

    /// Which fault strikes which call; none, at first.
    pub fn plan(&self, plan: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        self.front.set_plan(Plan(Box::new(plan)));
    }

    /// From here on nothing goes wrong.
    pub fn clear_plan(&self) {
        self.plan(|_| None);
    }

    /// Every call so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.front.calls()
    }

    /// Forgets the calls.
    pub fn forget_calls(&self) {
        self.front.forget_calls();
    }

    /// From here on every answer takes so much longer, as over a long way.
    pub fn delay(&self, time: Duration) {
        self.front.set_delay(time);
    }

    /// The most calls that were under way at once, and the most connections that were open at once, so far.
    pub fn most_at_once(&self) -> (usize, usize) {
        (self.front.under_way.most(), self.front.connections.most())
    }

    /// When each call came and when it was answered, in microseconds since the server began; from when
    /// [`TestS3::forget_calls`] was last called, in no order.
    pub fn times(&self) -> Vec<(Call, u64, u64)> {
        self.front.times()
    }

    /// A role that can be taken.
    pub fn add_role(&self, role: Role) {
        self.front.keys.add_role(role);
    }

    /// A role that nobody can take any more.
    pub fn remove_role(&self, arn: &str) {
        self.front.keys.remove_role(arn);
    }

    /// Every session that was given out so far is over.
    pub fn expire_sessions(&self) {
        self.front.keys.expire_sessions();
    }

    /// A bucket belongs to somebody else from here on, and is empty, as if it had been deleted and made again.
    pub fn recreate(&self, bucket: &str, owner: &str) {
        self.front.objects.recreate(bucket, owner);
    }

    /// From here on no condition of a write to a bucket is heeded, as in stores that are too weak.
    pub fn weaken(&self, bucket: &str) {
        self.front.objects.weaken(bucket);
    }

    /// Every object of a bucket with its bytes.
    pub fn tree(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        self.front.objects.tree(bucket)
    }

    /// Puts an object, past every check and fault.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        self.front.objects.put(bucket, key, bytes.into(), None);
    }

    /// Deletes an object, past every check and fault.
    pub fn remove(&self, bucket: &str, key: &str) {
        self.front.objects.remove(bucket, key);
    }

    /// Deletes every object of a bucket, past every check and fault.
    pub fn remove_all(&self, bucket: &str) {
        self.tree(bucket).keys().for_each(|key| self.remove(bucket, key));
    }

    /// Puts every file of a folder with its time, below a prefix (blank, or with a slash at its end).
    pub fn put_folder(&self, bucket: &str, prefix: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                self.put_folder(bucket, &format!("{prefix}{name}/"), &path);
            } else {
                let (bytes, meta) = (std::fs::read(&path).unwrap(), path.metadata().unwrap());
                self.front.objects.put(bucket, &format!("{prefix}{name}"), bytes, meta.modified().ok());
            }
        }
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn uploads_left(&self, bucket: &str) -> usize {
        self.front.objects.uploads_left(bucket)
    }
}
