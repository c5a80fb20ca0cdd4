//! What can go wrong when an object is measured.

use crate::catalog::Flags;
use crate::failure::{Classify, FailureKind};

/// Errors of amplitude fits, apertures, moments and sizes. [`PhotometryError::flag`] says which row flag each becomes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PhotometryError {
    /// Two planes that must have the same shape do not.
    #[error("the {what} plane has shape {got:?} (rows, columns), expected {expected:?}")]
    ShapeMismatch {
        /// Which plane.
        what: &'static str,
        /// Expected shape.
        expected: (usize, usize),
        /// Its shape.
        got: (usize, usize),
    },
    /// No component was given.
    #[error("no model component was given: nothing to fit")]
    NoModels,
    /// Every pixel has zero weight.
    #[error("none of the {pixels} pixels has a positive weight")]
    NoUsablePixels {
        /// Pixels in the plane.
        pixels: usize,
    },
    /// A component is zero (or not finite) on every usable pixel.
    #[error("model component {component} has no flux on the usable pixels")]
    EmptyModel {
        /// Index of the component.
        component: usize,
    },
    /// Components (or a component and the sky) cannot be told apart on the usable pixels.
    #[error(
        "the model components cannot be told apart: smallest eigenvalue of their correlation matrix {eigenvalue:e}"
    )]
    Degenerate {
        /// Smallest eigenvalue.
        eigenvalue: f64,
    },
    /// A position or radius outside its range.
    #[error("{what} = {value} is not usable")]
    BadGeometry {
        /// What.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A transform was misused.
    #[error(transparent)]
    Fourier(#[from] crate::fourier::FourierError),
    /// The adaptive moments did not converge.
    #[error("moments did not converge: {reason} after {steps} steps")]
    MomentsFailed {
        /// Why.
        reason: &'static str,
        /// Steps taken.
        steps: usize,
    },
    /// The growth curve has no half.
    #[error("no half-light radius: {reason}")]
    NoHalfLight {
        /// Why.
        reason: &'static str,
    },
}

impl PhotometryError {
    /// The row flag that this error sets.
    pub fn flag(&self) -> Flags {
        match self {
            Self::MomentsFailed { .. } | Self::NoHalfLight { .. } => Flags::SHAPE_FAILED,
            _ => Flags::FIT_FAILED,
        }
    }
}

impl Classify for PhotometryError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Fourier(e) => e.kind(),
            Self::ShapeMismatch { .. } | Self::NoModels => FailureKind::Bug,
            _ => FailureKind::BadInput,
        }
    }
}
