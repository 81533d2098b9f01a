use super::budget::Budget;
use super::credentials::{Chain, StaticKeys};
use crate::outcome::Kind;
use crate::storage::StorageError;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Requests under way at once, over all places.
const CONNECTIONS: usize = 32;
/// Tries that a whole run may make beyond the first, before successes have earned more.
const RUN_TRIES: u64 = 200;

/// How often it is looked whether somebody asked to stop.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// How much is borne of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Nothing heard for so long is a stall; then the request is given up and made anew.
    pub stall: Duration,
    /// Tries of one request in all.
    pub tries: u32,
    /// The pause before the second try; it doubles from try to try.
    pub pause: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), tries: 6, pause: Duration::from_millis(200) }
    }
}

/// Folders of the local disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// For copies of objects that are read, which have no name there and are gone with the process.
    pub copies: PathBuf,
    /// For what is remembered of versions from run to run; without one nothing is.
    pub cache: Option<PathBuf>,
}

/// What all places of a run share: the runtime, the connections, and how much may be tried again.
pub struct Network {
    handle: Handle,
    /// Until it is dropped.
    runtime: Option<Runtime>,
    pub(super) shared: Arc<Shared>,
    pub(super) folders: Folders,
    chains: Mutex<BTreeMap<ChainName, Arc<Chain>>>,
}

/// The profile and the region of credentials.
type ChainName = (Option<String>, Option<String>);

/// The part that requests need.
pub(super) struct Shared {
    pub(super) http: HttpClient,
    pub(super) weather: Weather,
    pub(super) budget: Budget,
    pub(super) connections: Semaphore,
    interrupted: Box<dyn Fn() -> bool + Send + Sync>,
    /// When that was first seen.
    since: OnceLock<Instant>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("weather", &self.weather).finish_non_exhaustive()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Network {
    /// The last one to know it may be a task of its own that fetched ahead; a runtime that waited there for its tasks would
    /// wait for itself.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    /// Whether somebody asked to stop.
    pub(super) fn is_interrupted(&self) -> bool {
        let is_interrupted = (self.interrupted)();
        if is_interrupted {
            self.since.get_or_init(Instant::now);
        }
        is_interrupted
    }

    /// Waits until somebody has asked to stop, and so long after that.
    pub(super) async fn until_interrupted(&self, grace: Duration) {
        while !self.is_interrupted() {
            tokio::time::sleep(LOOK).await;
        }
        if let Some(since) = self.since.get() {
            tokio::time::sleep_until(*since + grace).await;
        }
    }
}

impl Network {
    /// Starts the runtime; `interrupted` says whether to stop.
    ///
    /// # Errors
    /// A system without threads, or without certificates.
    pub fn new(
        weather: Weather,
        folders: Folders,
        interrupted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StorageError> {
        let wrong = |problem: String| StorageError::Remote {
            place: "the network".to_owned(),
            key: String::new(),
            doing: "starting",
            problem,
            kind: Kind::Failed,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        // Times are watched by `wire`, which knows how much is on its way. Redirects aren't followed: a region
        // that is wrong is told, and no other host is sent what was signed for this one.
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(weather.stall.min(Duration::from_secs(10)))
            .with_allow_http(true)
            .with_pool_max_idle_per_host(CONNECTIONS);
        let http = ReqwestConnector::default().connect(&options).map_err(|error| wrong(error.to_string()))?;
        let shared = Shared {
            http,
            weather,
            budget: Budget::new(RUN_TRIES),
            connections: Semaphore::new(CONNECTIONS),
            interrupted: Box::new(interrupted),
            since: OnceLock::new(),
        };
        let (handle, chains) = (runtime.handle().clone(), Mutex::default());
        Ok(Arc::new(Self { handle, runtime: Some(runtime), shared: Arc::new(shared), folders, chains }))
    }

    /// The credentials of a profile, which all places share that name it.
    pub(super) fn chain(
        &self,
        profile: Option<String>,
        region: Option<String>,
        keys: Option<StaticKeys>,
    ) -> Arc<Chain> {
        if keys.is_some() {
            return Arc::new(Chain::new(profile, region, keys));
        }
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Chain::new(profile.clone(), region.clone(), None));
        Arc::clone(chains.entry((profile.clone(), region.clone())).or_insert_with(new))
    }

    /// Waits for something on the network.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.handle.block_on(what)
    }

    /// Starts something on the network.
    pub(super) fn start(&self, what: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_let_go_of_a_network_may_be_a_task_of_its_own() {
        let network = Network::new(Weather::default(), Folders::default(), || false).unwrap();
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = std::sync::mpsc::channel();
        let last = Arc::clone(&network);
        network.start(async move {
            let _ = gate.await;
            drop(last);
            let _ = done.send(());
        });
        drop(network);
        open.send(()).unwrap();
        assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(()));
    }
}
