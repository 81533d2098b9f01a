//! Stores to test against: our own in this process, moto where a Python has it, and s3s-fs where it is installed.

use crate::support::skip;
use apportion_flow::storage::{Folders, Network, Secret, StaticKeys, Weather};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The keys of the test S3's, which moto takes, too.
pub fn keys() -> StaticKeys {
    let secret = Secret::new(apportion_testkit::s3::SECRET_KEY);
    StaticKeys { key_id: apportion_testkit::s3::ACCESS_KEY.to_owned(), secret, token: None }
}

/// A network that is soon out of patience.
pub fn network() -> Arc<Network> {
    network_in(Weather { stall: Duration::from_secs(2), tries: 6, pause: Duration::from_millis(4) })
}

/// A network in some weather.
pub fn network_in(weather: Weather) -> Arc<Network> {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    let folders = Folders { copies: folder.path().to_owned(), cache: None };
    Network::new(weather, folders, || false).unwrap()
}

/// A moto of our own.
pub struct Moto {
    child: Child,
    url: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    /// Starts moto with these buckets; None, and a line that says so, where no Python has it.
    pub fn start(buckets: &[&str]) -> Option<Self> {
        let Ok(python) = std::env::var("APPORTION_SERVERS_PYTHON") else {
            skip("servers", "APPORTION_SERVERS_PYTHON names no Python with moto");
            return None;
        };
        let script = "import sys\n\
            from moto.server import ThreadedMotoServer\n\
            import boto3, threading\n\
            server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\n\
            server.start()\n\
            host, port = server.get_host_and_port()\n\
            url = f'http://{host}:{port}'\n\
            client = boto3.client('s3', endpoint_url=url, region_name='us-east-1', aws_access_key_id='a', aws_secret_access_key='b')\n\
            [client.create_bucket(Bucket=name) for name in sys.argv[1:]]\n\
            print(url, flush=True)\n\
            threading.Event().wait()\n";
        let mut child = Command::new(python)
            .arg("-c")
            .arg(script)
            .args(buckets)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.ok().filter(|line| line.starts_with("http"))).unwrap();
        Some(Self { child, url })
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A s3s-fs of our own, over folders; its keys are those of the test S3.
pub struct S3sFs {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for S3sFs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl S3sFs {
    /// Starts it with these buckets; None, and a line that says so, where nobody names the program.
    pub fn start(buckets: &[&str]) -> Option<Self> {
        let Ok(program) = std::env::var("APPORTION_S3S_FS") else {
            skip("s3s-fs", "APPORTION_S3S_FS names no s3s-fs");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        buckets.iter().for_each(|bucket| std::fs::create_dir(folder.path().join(bucket)).unwrap());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let keys = keys();
        let child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--access-key", &keys.key_id, "--secret-key", apportion_testkit::s3::SECRET_KEY])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, url: format!("http://{address}"), _folder: folder };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed().as_secs() < 60, "s3s-fs doesn't answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}
