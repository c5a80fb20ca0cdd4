//! What can go wrong with an exposure, and with the service.

use crate::bus::BusError;
use crate::failure::{Classify, FailureKind};
use crate::pipeline::Failure;

/// Why the service cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A task of ours died.
    #[error("a worker ended unexpectedly ({0}); this is a bug, please report it with the log")]
    Worker(String),
    /// The bus cannot be used as configured.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What to do about an exposure that failed follows from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// May go away: tried again.
    Transient,
    /// The input is at fault: given up.
    BadInput,
    /// We are at fault: given up.
    Bug,
    /// It took too long: given up.
    Deadline,
    /// It was tried too often: given up.
    Deliveries,
    /// The service stops: handed back at once.
    Stopping,
}

impl TroubleKind {
    /// Name in events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient | Self::Stopping => "transient",
            Self::BadInput => "bad_input",
            Self::Bug => "bug",
            Self::Deadline => "deadline",
            Self::Deliveries => "deliveries",
        }
    }
}

/// Why an exposure has no catalogue.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("stage {stage}: {reason}")]
pub struct Trouble {
    /// Stage.
    pub stage: &'static str,
    /// What to do about it.
    pub kind: TroubleKind,
    /// What was wrong, where, what to do.
    pub reason: String,
}

impl Trouble {
    /// A stage's error as an exposure's trouble.
    pub fn new<E: std::error::Error + Classify>(stage: &'static str, error: &E) -> Self {
        Self { stage, kind: error.kind().into(), reason: error.to_string() }
    }
}

impl From<FailureKind> for TroubleKind {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Transient => Self::Transient,
            FailureKind::BadInput => Self::BadInput,
            FailureKind::Bug => Self::Bug,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { stage: failure.stage.name(), kind: failure.kind.into(), reason: failure.reason }
    }
}
