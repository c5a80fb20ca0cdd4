//! Why an exposure failed: at which stage, on which object, of which kind.

use crate::failure::{Classify, FailureKind};

/// The stages an exposure goes through, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// FITS files to an exposure.
    Read,
    /// Background and its noise.
    Background,
    /// Sources, or a given catalogue.
    Detect,
    /// Stars to a PSF model.
    Psf,
    /// Cut-outs.
    Stamp,
    /// Tikhonov step.
    Tikhonov,
    /// ONNX network.
    Network,
    /// Amplitudes, shapes, residual tests.
    Renorm,
    /// Catalogue, stamps, pictures to disk.
    Archive,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Background,
        Self::Detect,
        Self::Psf,
        Self::Stamp,
        Self::Tikhonov,
        Self::Network,
        Self::Renorm,
        Self::Archive,
    ];

    /// Name in messages, metrics and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Background => "background",
            Self::Detect => "detect",
            Self::Psf => "psf",
            Self::Stamp => "stamp",
            Self::Tikhonov => "tikhonov",
            Self::Network => "network",
            Self::Renorm => "renorm",
            Self::Archive => "archive",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One exposure's failure: nothing of it was published, nothing else is touched.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{exposure}: stage {stage}: {reason}")]
pub struct Failure {
    /// Exposure (its id, or its file where reading failed).
    pub exposure: String,
    /// Where it failed.
    pub stage: Stage,
    /// What to do about it follows from this.
    pub kind: FailureKind,
    /// What was wrong, where, what to do.
    pub reason: String,
}

impl Failure {
    /// A stage's error as the exposure's failure.
    pub fn new<E: std::error::Error + Classify>(exposure: &str, stage: Stage, error: &E) -> Self {
        Self { exposure: exposure.to_string(), stage, kind: error.kind(), reason: error.to_string() }
    }
}

impl Failure {
    /// Whoever asked for the exposure has called it off.
    pub fn cancelled(exposure: &str, stage: Stage) -> Self {
        Self {
            exposure: exposure.to_string(),
            stage,
            kind: FailureKind::Transient,
            reason: "called off before it was finished".into(),
        }
    }
}

impl Classify for Failure {
    fn kind(&self) -> FailureKind {
        self.kind
    }
}
