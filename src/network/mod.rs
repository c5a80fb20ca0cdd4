//! ONNX networks as plug-ins: a folder with `card.toml` and `model.onnx`.
//!
//! The card says what goes in and what comes out ([`Card`]); [`Runtime`] finds and loads ONNX Runtime; [`Network`] holds the file
//! to its card and runs it; [`check`] tells the maker of a network what to change. `models/README.md` describes the plug-in.

mod card;
mod check;
mod error;
mod graph;
mod normalise;
mod npy;
mod onnx_header;
mod planes;
mod runtime;
mod session;
mod settings;

use crate::image::Plane;

pub use card::{
    Card, DomainCard, InputCard, Normalisation, OutputCard, PlaneKind, Precision, ScalarKind, ShapeCard, Side,
    TargetCard, TargetWidth, ValidationBin, ValidationCard,
};
pub use check::{Finding, Listed, Report, Verdict, check, list};
pub use error::{NetworkError, ObjectError};
pub use runtime::Runtime;
pub use session::Network;
pub use settings::{Device, NetworkSettings};

/// The planes of one object that a card can ask for; all on the target grid, same square shape, axes (row = y, column = x).
#[derive(Debug, Clone, Default)]
pub struct NetworkInput {
    /// Tikhonov estimate, flux per target pixel.
    pub tikhonov: Plane,
    /// Effective PSF on the target grid, sum 1, centred on pixel n / 2.
    pub psf: Plane,
    /// Standard deviation per pixel of the noise in `tikhonov`.
    pub noise_sigma: f64,
    /// Standard deviation per pixel of the observed sky noise, in flux per target pixel.
    pub sky_sigma: f64,
    /// FWHM of the effective PSF, target pixels; 0 where unknown.
    pub psf_fwhm: f64,
    /// FWHM of the target PSF, target pixels; 0 where unknown.
    pub target_fwhm: f64,
    /// The estimates on either side of `tikhonov`, for networks that ask for them.
    pub companions: Option<Companions>,
    /// The observed image on the target grid, flux per target pixel, for networks that ask for it.
    pub observed: Option<Plane>,
}

/// Tikhonov estimates of the same stamp with [`crate::deconv::STRENGTH_RATIO`] times less and more smoothing.
#[derive(Debug, Clone, Default)]
pub struct Companions {
    /// The sharper, noisier one.
    pub sharper: Plane,
    /// Standard deviation per pixel of its noise.
    pub noise_sharper: f64,
    /// The smoother one.
    pub smoother: Plane,
    /// Standard deviation per pixel of its noise.
    pub noise_smoother: f64,
}
