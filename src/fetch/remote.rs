//! S3, web servers, the JetStream object store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::http::HttpBuilder;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::transfer::Check;
use super::{FetchError, FetchSettings};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a transfer may stand still.
const STALLED: Duration = Duration::from_secs(60);

/// A client that does not follow redirects: they could lead to hosts that are not allowed.
#[derive(Debug)]
struct NoRedirects;

impl HttpConnector for NoRedirects {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(STALLED)
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP client", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}

fn retries() -> object_store::RetryConfig {
    object_store::RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(30), ..Default::default() }
}

pub(super) fn allowed_bucket(uri: &str, bucket: &str, settings: &FetchSettings) -> Result<(), FetchError> {
    if settings.buckets.iter().any(|allowed| allowed == bucket) {
        return Ok(());
    }
    let reason = format!("bucket {bucket} is not among [fetch] buckets = {:?}", settings.buckets);
    Err(FetchError::Forbidden { uri: uri.into(), reason })
}

pub(super) fn allowed_host(uri: &str, host: &str, settings: &FetchSettings) -> Result<(), FetchError> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if settings.hosts.iter().any(|allowed| allowed == host || allowed == name) {
        return Ok(());
    }
    let reason = format!("host {host} is not among [fetch] hosts = {:?}", settings.hosts);
    Err(FetchError::Forbidden { uri: uri.into(), reason })
}

/// A bucket. Keys come from the environment or the machine's role.
pub(super) fn s3(uri: &str, bucket: &str, settings: &FetchSettings) -> Result<Arc<dyn ObjectStore>, FetchError> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_region(&settings.s3_region)
        .with_retry(retries())
        .with_http_connector(NoRedirects)
        .with_allow_http(settings.s3_allow_http);
    if !settings.s3_endpoint.is_empty() {
        builder = builder.with_endpoint(&settings.s3_endpoint);
    }
    let store = builder.build().map_err(|error| failed(uri, &error))?;
    Ok(Arc::new(store))
}

pub(super) fn http(uri: &str, base: &str) -> Result<Arc<dyn ObjectStore>, FetchError> {
    let store = HttpBuilder::new()
        .with_url(base)
        .with_retry(retries())
        .with_http_connector(NoRedirects)
        .build()
        .map_err(|error| failed(uri, &error))?;
    Ok(Arc::new(store))
}

fn failed(uri: &str, error: &object_store::Error) -> FetchError {
    use object_store::Error;
    let (uri, reason) = (uri.to_string(), error.to_string());
    match error {
        Error::NotFound { .. } => FetchError::Missing { uri, reason },
        Error::InvalidPath { .. } | Error::NotSupported { .. } => FetchError::Scheme { uri, reason },
        _ => FetchError::Remote { uri, reason },
    }
}

/// Copies an object to `target`.
pub(super) async fn copy(
    uri: &str,
    store: &dyn ObjectStore,
    key: &str,
    mut check: Check,
    target: &Path,
) -> Result<(), FetchError> {
    let path = object_store::path::Path::parse(key)
        .map_err(|error| FetchError::Scheme { uri: uri.into(), reason: error.to_string() })?;
    let object = store.get(&path).await.map_err(|error| failed(uri, &error))?;
    check.announced(object.meta.size)?;
    let mut out = create(uri, target).await?;
    let mut chunks = object.into_stream();
    while let Some(chunk) = next_chunk(uri, chunks.next()).await? {
        let chunk = chunk.map_err(|error| failed(uri, &error))?;
        check.take(&chunk)?;
        write(uri, target, &mut out, &chunk).await?;
    }
    close(uri, target, out).await?;
    check.finish()
}

/// Copies an object of a JetStream object store to `target`.
pub(super) async fn copy_nats(
    uri: &str,
    context: &async_nats::jetstream::Context,
    bucket: &str,
    name: &str,
    mut check: Check,
    target: &Path,
) -> Result<(), FetchError> {
    let remote = |reason: String| FetchError::Remote { uri: uri.to_string(), reason };
    let store = context
        .get_object_store(bucket)
        .await
        .map_err(|error| FetchError::Missing { uri: uri.into(), reason: format!("bucket {bucket}: {error}") })?;
    let mut object = store
        .get(name)
        .await
        .map_err(|error| FetchError::Missing { uri: uri.into(), reason: format!("object {name}: {error}") })?;
    check.announced(object.info().size as u64)?;
    let mut out = create(uri, target).await?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = tokio::time::timeout(STALLED, object.read(&mut buffer))
            .await
            .map_err(|_| remote("the transfer stands still".into()))?
            .map_err(|error| remote(error.to_string()))?;
        let chunk = buffer.get(..read).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        check.take(chunk)?;
        write(uri, target, &mut out, chunk).await?;
    }
    close(uri, target, out).await?;
    check.finish()
}

/// Puts a local file; S3 shows it whole or not at all.
pub(super) async fn put(uri: &str, store: &dyn ObjectStore, key: &str, file: &Path) -> Result<(), FetchError> {
    const PART: usize = 16 << 20;
    let io = |doing| move |source| FetchError::Io { uri: uri.to_string(), doing, path: file.to_path_buf(), source };
    let path = object_store::path::Path::parse(key)
        .map_err(|error| FetchError::Scheme { uri: uri.into(), reason: error.to_string() })?;
    let mut input = File::open(file).await.map_err(io("open"))?;
    let length = input.metadata().await.map_err(io("read"))?.len();
    if length <= PART as u64 {
        let mut bytes = Vec::with_capacity(length as usize);
        input.read_to_end(&mut bytes).await.map_err(io("read"))?;
        store.put(&path, PutPayload::from(bytes)).await.map_err(|error| failed(uri, &error))?;
        return Ok(());
    }
    let mut upload = store.put_multipart(&path).await.map_err(|error| failed(uri, &error))?;
    loop {
        let mut part = Vec::with_capacity(PART);
        (&mut input).take(PART as u64).read_to_end(&mut part).await.map_err(io("read"))?;
        if part.is_empty() {
            break;
        }
        if let Err(error) = upload.put_part(PutPayload::from(part)).await {
            // What was put so far is thrown away by the store in time, if this fails too.
            let _ = upload.abort().await;
            return Err(failed(uri, &error));
        }
    }
    upload.complete().await.map_err(|error| failed(uri, &error))?;
    Ok(())
}

async fn next_chunk<T>(uri: &str, chunk: impl Future<Output = Option<T>>) -> Result<Option<T>, FetchError> {
    tokio::time::timeout(STALLED, chunk)
        .await
        .map_err(|_| FetchError::Remote { uri: uri.into(), reason: "the transfer stands still".into() })
}

async fn create(uri: &str, target: &Path) -> Result<File, FetchError> {
    let io = |source| FetchError::Io { uri: uri.to_string(), doing: "create", path: target.to_path_buf(), source };
    if let Some(folder) = target.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(io)?;
    }
    File::create(target).await.map_err(io)
}

async fn write(uri: &str, target: &Path, out: &mut File, bytes: &[u8]) -> Result<(), FetchError> {
    let io = |source| FetchError::Io { uri: uri.to_string(), doing: "write", path: target.to_path_buf(), source };
    out.write_all(bytes).await.map_err(io)
}

async fn close(uri: &str, target: &Path, mut out: File) -> Result<(), FetchError> {
    let io = |source| FetchError::Io { uri: uri.to_string(), doing: "write", path: target.to_path_buf(), source };
    out.flush().await.map_err(io)
}
