//! Why there is no PSF.

use crate::failure::{Classify, FailureKind};

/// Why a PSF could not be fitted, read or evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PsfError {
    /// Planes or positions do not fit together.
    #[error("PSF fit: {0}")]
    Input(String),
    /// No usable star, and nothing to fall back on.
    #[error(
        "no PSF: {sources} sources, {candidates} star candidates, none usable ({reasons}); give a PSF with --psf or lower psf.min_snr"
    )]
    NoStars {
        /// Sources looked at.
        sources: usize,
        /// Candidates that survived flags, edges and masks.
        candidates: usize,
        /// Rejections by reason, as text.
        reasons: String,
    },
    /// The numbers of a model (fitted or read) cannot be used.
    #[error("PSF model unusable: {0}")]
    Model(String),
}

impl Classify for PsfError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}
