//! From a URI to a file on this machine: allowed places only, of bounded size, with the right checksum.
//!
//! `file:` is read where it lies; `s3:`, `http:`, `https:` (through `object_store`) and `nats-object:` are copied into a staging
//! folder that is gone when the exposure is.

mod error;
mod local;
mod locate;
mod remote;
mod settings;
mod staging;
mod transfer;

use std::path::{Path, PathBuf};

pub use error::FetchError;
pub use locate::{Location, locate};
pub use settings::FetchSettings;
pub use staging::Staging;

/// What is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where it lies.
    pub uri: &'a str,
    /// Length, bytes, if it is known.
    pub size: Option<u64>,
    /// `sha256:HEX`, if it is known.
    pub checksum: Option<&'a str>,
}

/// Fetches files within the limits of its settings. Clones share connections.
#[derive(Debug, Clone)]
pub struct Fetcher {
    settings: FetchSettings,
    roots: Vec<PathBuf>,
    nats: Option<async_nats::jetstream::Context>,
}

impl Fetcher {
    /// A fetcher. `more_roots` are folders that `file:` URIs may point into besides those configured; `nats` serves `nats-object:`.
    pub fn new(
        settings: &FetchSettings,
        more_roots: &[PathBuf],
        nats: Option<async_nats::jetstream::Context>,
    ) -> Result<Self, FetchError> {
        // An HTTPS or S3 client needs a crypto provider; that another was installed before is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let roots = settings.roots.iter().chain(more_roots).map(|root| local::root(root)).collect::<Result<_, _>>()?;
        Ok(Self { settings: settings.clone(), roots, nats })
    }

    /// Brings a file here and checks it; its path. Copies go into `staging`, under the name that the URI ends in.
    pub async fn fetch(&self, wanted: Wanted<'_>, staging: &Staging) -> Result<PathBuf, FetchError> {
        let check = transfer::Check::new(wanted, self.settings.max_file_bytes())?;
        match locate(wanted.uri)? {
            Location::File(path) => {
                let path = local::allowed(wanted.uri, &path, &self.roots)?;
                let (uri, file) = (wanted.uri.to_string(), path.clone());
                let checked = tokio::task::spawn_blocking(move || local::verify(&uri, &file, check)).await;
                checked.map_err(|error| FetchError::Task { uri: wanted.uri.into(), reason: error.to_string() })??;
                Ok(path)
            }
            Location::S3 { bucket, key } => {
                remote::allowed_bucket(wanted.uri, &bucket, &self.settings)?;
                let store = remote::s3(wanted.uri, &bucket, &self.settings)?;
                let target = staging.place(&key);
                remote::copy(wanted.uri, store.as_ref(), &key, check, &target).await?;
                Ok(target)
            }
            Location::Http { base, host, path } => {
                remote::allowed_host(wanted.uri, &host, &self.settings)?;
                let store = remote::http(wanted.uri, &base)?;
                let target = staging.place(&path);
                remote::copy(wanted.uri, store.as_ref(), &path, check, &target).await?;
                Ok(target)
            }
            Location::NatsObject { bucket, name } => {
                let context = self.nats.as_ref().ok_or_else(|| FetchError::NoBus { uri: wanted.uri.into() })?;
                let target = staging.place(&name);
                remote::copy_nats(wanted.uri, context, &bucket, &name, check, &target).await?;
                Ok(target)
            }
        }
    }

    /// Whether an S3 bucket can be reached for writing: puts a file there. `uri` is `s3://bucket/key`.
    pub async fn put(&self, uri: &str, file: &Path) -> Result<(), FetchError> {
        let Location::S3 { bucket, key } = locate(uri)? else {
            return Err(FetchError::Scheme { uri: uri.into(), reason: "only s3: URIs can be written to".into() });
        };
        let store = remote::s3(uri, &bucket, &self.settings)?;
        remote::put(uri, store.as_ref(), &key, file).await
    }
}
