//! Several bands and instruments at once: one object's images in every band, at the target PSF, from all its observations.
//!
//! Observation `o` is `y_o = A_o sum_c a_oc x_c + noise`: `x_c` the sky in band `c` as seen with the target Gaussian, flux per target pixel on
//! an n x n grid; `a_oc` the share of band `c` in what `o` sees (one band, or several for a wide filter); `A_o` the convolution with
//! `H_o / G` followed by reading the result off at the observation's own pixels, wherever its rotation, scale and offset put them.
//! Nothing is interpolated on the way in, and adjoints are exact. `docs/joint.md` derives and measures what is done here.

mod error;
mod estimate;
mod geometry;
mod measure;
mod operator;
mod prior;
mod proximal;
mod sed;

pub use error::JointError;
pub use estimate::{Estimate, JointSettings, Observation, deconvolve};
pub use geometry::Affine;
pub use measure::{BandFlux, band_fluxes, detection_image, ownership};
pub use operator::Model;
pub use prior::RelativePrior;
pub use proximal::{accelerated, lipschitz};
pub use sed::{SedFit, wide_band_weights};
