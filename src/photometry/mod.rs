//! Amplitudes, apertures, moments, sizes, residual tests and zero points of one object's planes.
//!
//! Plain functions on planes with axes (row = y, column = x). A weight plane is 1 / variance in image units^-2; pixels of
//! weight 0 (or a weight that is not finite) are not used.

mod amplitude;
mod aperture;
mod error;
mod growth;
mod moments;
mod profile;
mod residual;
mod structure;
mod wings;
mod zero_point;

pub use amplitude::{Amplitude, AmplitudeFit, RenormaliseSettings, fit_amplitudes, renormalise};
pub use aperture::{Aperture, aperture_flux, circle_overlap};
pub use error::PhotometryError;
pub use growth::{HalfLight, half_light_radius};
pub use moments::{Moments, MomentsSettings, SkyMoments, adaptive_moments};
pub use profile::{
    COMPONENTS, Profile, ProfileFitter, ProfileInput, ProfilePlace, ProfileSettings, ProfileShape, SCALES, SHARES_MEAN,
    SeenMoments,
};
pub use residual::{ResidualTests, footprint, residual_tests};
pub use structure::{FalseStructure, StructureSettings, false_structure};
pub use wings::light_beyond;
pub use zero_point::{NANOJANSKY_ZERO_POINT, ab_magnitude, nanojansky_per_unit};

use crate::image::Plane;

/// Weight of a pixel: 0 where it is negative or not finite, or where the pixel's value is not finite.
fn usable_weight(value: f32, weight: f32) -> f64 {
    if weight > 0.0 && weight.is_finite() && value.is_finite() { f64::from(weight) } else { 0.0 }
}

fn same_shape(what: &'static str, expected: &Plane, got: &Plane) -> Result<(), PhotometryError> {
    if expected.dim() == got.dim() {
        Ok(())
    } else {
        Err(PhotometryError::ShapeMismatch { what, expected: expected.dim(), got: got.dim() })
    }
}
