//! What can go wrong on the bus.

use std::path::PathBuf;

use crate::failure::{Classify, FailureKind};

/// Why the bus does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The configuration does not allow a connection.
    #[error("{0}")]
    Settings(String),
    /// A secret's file cannot be read.
    #[error("[bus] {key} {}: {source}", path.display())]
    SecretFile {
        /// Key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No connection.
    #[error("cannot connect to NATS at {url}: {reason}")]
    Connect {
        /// Server, without credentials.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A stream or consumer is missing or cannot be made.
    #[error("{what} {name}: {reason}")]
    Provision {
        /// "stream" or "consumer".
        what: &'static str,
        /// Its name.
        name: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// The server did not answer as it should.
    #[error("{doing}: {reason}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// What happened.
        reason: String,
    },
    /// The spool's file system refused.
    #[error("spool: cannot {doing} {}: {source}", path.display())]
    Spool {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Rows cannot be made into messages.
    #[error("rows as Arrow IPC: {0}")]
    Rows(String),
    /// The server's messages are too small for even one row.
    #[error("rows as Arrow IPC: {0}; raise max_payload of the NATS server")]
    Payload(String),
    /// No such dead letter.
    #[error("{0}")]
    NotFound(String),
}

impl BusError {
    /// The server did not answer as it should.
    pub fn server(doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Server { doing, reason: reason.to_string() }
    }
}

impl Classify for BusError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings(_) | Self::SecretFile { .. } | Self::NotFound(_) => FailureKind::BadInput,
            Self::Rows(_) => FailureKind::Bug,
            Self::Payload(_)
            | Self::Connect { .. }
            | Self::Provision { .. }
            | Self::Server { .. }
            | Self::Spool { .. } => FailureKind::Transient,
        }
    }
}
