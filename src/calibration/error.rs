//! Why there is no calibration.

use crate::failure::{Classify, FailureKind};

/// Why a law could not be fitted, or a calibration not be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CalibrationError {
    /// Not enough sources.
    #[error(
        "{got} usable sources for {what}, at least {needed} are needed; inject more (--count) or give more exposures"
    )]
    TooFew {
        /// For what.
        what: &'static str,
        /// How many are needed.
        needed: usize,
        /// How many there were.
        got: usize,
    },
    /// The equations do not determine the coefficients.
    #[error("{what} is not determined by the sources: they are too much alike; inject more (--count)")]
    Degenerate {
        /// What.
        what: &'static str,
    },
    /// What the file says cannot be.
    #[error("{0}")]
    Unusable(String),
}

impl Classify for CalibrationError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}
