//! What goes wrong in a joint deconvolution.

use crate::failure::{Classify, FailureKind};
use crate::fourier::FourierError;

/// Why the observations of an object cannot be joined.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum JointError {
    /// The grid cannot be used.
    #[error("target grid of {0} pixels a side: even sides of 16 to 512 are supported")]
    Grid(usize),
    /// The target PSF has no usable width.
    #[error("target PSF of FWHM {0} target pixels: 1.5 to 8 are supported; set joint.target_fwhm")]
    TargetWidth(f64),
    /// A setting that cannot be used.
    #[error("joint.{name} = {value}: {needed}")]
    Setting {
        /// Name within `[joint]`.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        needed: &'static str,
    },
    /// Nothing to work on.
    #[error("no observation of the object has a usable pixel on its target grid")]
    NoData,
    /// A band that no observation sees on its own.
    #[error("band {0} is seen by no observation of its own: a wide band alone cannot be divided among bands")]
    Unseen(usize),
    /// Planes that do not belong together.
    #[error("observation {observation}: {what}")]
    Observation {
        /// Its index.
        observation: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A transform was misused.
    #[error(transparent)]
    Fourier(#[from] FourierError),
}

impl Classify for JointError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Fourier(e) => e.kind(),
            _ => FailureKind::BadInput,
        }
    }
}
