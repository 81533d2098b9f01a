use super::{ACCESS_KEY, SECRET_KEY};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// An S3 that others wrote (s3s-fs), over folders, in this process; it ends when it is dropped.
pub struct FileS3 {
    url: String,
    runtime: Option<Runtime>,
    _folder: tempfile::TempDir,
}

impl Drop for FileS3 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl FileS3 {
    /// Starts a server with these buckets, whose keys are those of the test S3.
    pub fn start(buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        buckets.iter().for_each(|bucket| std::fs::create_dir(folder.path().join(bucket)).unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // Who goes away in the middle is no failure of the server's.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, runtime: Some(runtime), _folder: folder }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}
