//! What can go wrong in detection.

use crate::failure::{Classify, FailureKind};

/// Errors of background estimation and source detection.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DetectError {
    /// An image without pixels.
    #[error("the image has no pixels ({rows} rows x {columns} columns)")]
    EmptyImage {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// Two planes that must have the same shape do not.
    #[error("the {plane} plane has shape {got:?} (rows, columns) but the image has {expected:?}")]
    ShapeMismatch {
        /// Which plane.
        plane: &'static str,
        /// Shape of the image.
        expected: (usize, usize),
        /// Shape of the plane.
        got: (usize, usize),
    },
    /// No pixel is left to work on.
    #[error(
        "none of the {pixels} pixels is usable: all are masked or not finite; check the mask plane and its bit names"
    )]
    AllMasked {
        /// Pixels in the image.
        pixels: usize,
    },
    /// The noise is zero or not finite on every usable pixel.
    #[error(
        "the noise is not positive on any usable pixel: a constant image, or an rms plane of zeros; there is nothing to measure a threshold in"
    )]
    NoNoise,
    /// A setting outside its range.
    #[error("setting {name} = {value}: {why}")]
    BadSetting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        why: &'static str,
    },
    /// More pixels above the threshold, or more peaks in one isophote, than the C core can hold.
    #[error(
        "source extraction overflowed ({what}): is the sky subtracted? Raise detect.threshold, or detect.min_area in a very crowded field"
    )]
    Overflow {
        /// What SEP said.
        what: String,
    },
    /// SEP refused its input: a mistake in stillair.
    #[error("SEP failed in {step}: {message}")]
    Sep {
        /// SEP function.
        step: &'static str,
        /// What it said.
        message: String,
    },
}

impl Classify for DetectError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Sep { .. } => FailureKind::Bug,
            _ => FailureKind::BadInput,
        }
    }
}
