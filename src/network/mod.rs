//! ONNX networks as plug-ins: a folder with `card.toml` and `model.onnx`.

use crate::image::Plane;

/// The planes of one object that a card can ask for; all on the target grid, same square shape, axes (row = y, column = x).
#[derive(Debug, Clone)]
pub struct NetworkInput {
    /// Tikhonov estimate, flux per target pixel.
    pub tikhonov: Plane,
    /// Effective PSF on the target grid, sum 1, centred on pixel n / 2.
    pub psf: Plane,
    /// Standard deviation per pixel of the noise in `tikhonov`.
    pub noise_sigma: f64,
    /// Standard deviation per pixel of the observed sky noise, in flux per target pixel.
    pub sky_sigma: f64,
}
