//! Section `[fetch]` of the configuration.

use std::path::PathBuf;

/// Where pixels may be fetched from, and how much of them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSettings {
    /// Folders below which `file:` URIs may lie; symbolic links that lead out of them are refused.
    pub roots: Vec<PathBuf>,
    /// Hosts of `http:` and `https:` URIs: "host" (any port) or "host:port". Redirects are not followed.
    pub hosts: Vec<String>,
    /// Buckets of `s3:` URIs.
    pub buckets: Vec<String>,
    /// Largest file, MiB.
    pub max_file_mib: u64,
    /// S3 endpoint; empty: that of the provider, by region. Keys come from the usual `AWS_…` environment variables or the machine's role.
    pub s3_endpoint: String,
    /// S3 region.
    pub s3_region: String,
    /// Whether the S3 endpoint may be `http:`.
    pub s3_allow_http: bool,
    /// Folder for copies of remote files; empty: the system's temporary folder.
    pub staging: PathBuf,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            hosts: Vec::new(),
            buckets: Vec::new(),
            max_file_mib: 4096,
            s3_endpoint: String::new(),
            s3_region: "us-east-1".into(),
            s3_allow_http: false,
            staging: PathBuf::new(),
        }
    }
}

impl FetchSettings {
    /// Largest file, bytes.
    pub fn max_file_bytes(&self) -> u64 {
        self.max_file_mib.saturating_mul(1 << 20)
    }

    /// Folder for copies.
    pub fn staging_folder(&self) -> PathBuf {
        if self.staging.as_os_str().is_empty() { std::env::temp_dir() } else { self.staging.clone() }
    }
}
