//! Image units, nanojansky and AB magnitudes.

/// AB magnitude of one nanojansky.
pub const NANOJANSKY_ZERO_POINT: f64 = 31.4;

/// Nanojansky per image unit for an image whose unit has AB magnitude `zero_point`.
pub fn nanojansky_per_unit(zero_point: f64) -> f64 {
    10f64.powf(0.4 * (NANOJANSKY_ZERO_POINT - zero_point))
}

/// AB magnitude and its error of a flux in units of magnitude `zero_point`; `None` where the flux is not positive.
pub fn ab_magnitude(flux: f64, flux_err: f64, zero_point: f64) -> Option<(f64, f64)> {
    (flux > 0.0 && flux.is_finite())
        .then(|| (zero_point - 2.5 * flux.log10(), 2.5 / std::f64::consts::LN_10 * flux_err / flux))
}
