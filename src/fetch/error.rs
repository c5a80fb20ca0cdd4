//! What can go wrong between a URI and a file.

use std::path::PathBuf;

use crate::failure::{Classify, FailureKind};

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URI, or of a scheme that is not served.
    #[error("{uri}: {reason}")]
    Scheme {
        /// The URI.
        uri: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A place that the configuration does not allow.
    #[error("{uri}: not allowed: {reason}")]
    Forbidden {
        /// The URI.
        uri: String,
        /// What the configuration allows.
        reason: String,
    },
    /// `nats-object:` without NATS.
    #[error("{uri}: nats-object: URIs need a NATS server ([bus] url)")]
    NoBus {
        /// The URI.
        uri: String,
    },
    /// Larger than allowed.
    #[error("{uri}: {found}, more than the {limit} bytes allowed ([fetch] max_file_mib)")]
    TooLarge {
        /// The URI.
        uri: String,
        /// What was found.
        found: String,
        /// The limit, bytes.
        limit: u64,
    },
    /// Not the bytes that were announced.
    #[error("{uri}: {what} is {found}, the event says {expected}")]
    Mismatch {
        /// The URI.
        uri: String,
        /// "length" or "SHA-256".
        what: &'static str,
        /// As found.
        found: String,
        /// As announced.
        expected: String,
    },
    /// It is not there (yet).
    #[error("{uri}: not found: {reason}")]
    Missing {
        /// The URI.
        uri: String,
        /// What the other side said.
        reason: String,
    },
    /// The other side is at fault, or away.
    #[error("{uri}: {reason}")]
    Remote {
        /// The URI.
        uri: String,
        /// What happened.
        reason: String,
    },
    /// The local file system refused.
    #[error("{uri}: cannot {doing} {}: {source}", path.display())]
    Io {
        /// The URI.
        uri: String,
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder of the configuration cannot be used.
    #[error("[fetch] folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A task of ours ended unexpectedly.
    #[error("{uri}: {reason} (this is a fault of stillair)")]
    Task {
        /// The URI.
        uri: String,
        /// What happened.
        reason: String,
    },
}

impl Classify for FetchError {
    fn kind(&self) -> FailureKind {
        match self {
            // A file may come later than its event does: that is tried again, up to the limit of deliveries.
            Self::Missing { .. } | Self::Remote { .. } | Self::Io { .. } => FailureKind::Transient,
            Self::Task { .. } => FailureKind::Bug,
            _ => FailureKind::BadInput,
        }
    }
}
