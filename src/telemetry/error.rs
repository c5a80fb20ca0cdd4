//! What can go wrong when the daemon is to be seen.

use crate::failure::{Classify, FailureKind};

/// Why metrics, logs or traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A metric is declared twice or wrongly.
    #[error("metrics: {0} (this is a fault of stillair)")]
    Metric(#[from] prometheus::Error),
    /// The log filter does not read as one.
    #[error(
        "log filter \"{filter}\": {reason}; write error, warn, info, debug, trace or a list such as info,stillair::bus=debug"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else already takes the log.
    #[error("the log is already taken: {0} (this is a fault of stillair)")]
    AlreadyInstalled(String),
    /// The collector's address cannot be used.
    #[error(
        "otlp_endpoint in [telemetry]: {0}; write it as http://HOST:4318/v1/traces, or leave it empty for no traces"
    )]
    Endpoint(String),
    /// The thread that sends traces cannot start.
    #[error("cannot start the thread that sends traces: {0}")]
    Thread(std::io::Error),
}

impl Classify for TelemetryError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Metric(_) | Self::AlreadyInstalled(_) => FailureKind::Bug,
            Self::Filter { .. } | Self::Endpoint(_) => FailureKind::BadInput,
            Self::Thread(_) => FailureKind::Transient,
        }
    }
}
