//! A law in force for one exposure.

use serde::{Deserialize, Serialize};

use super::{CalibrationEntry, ErrorModel, FluxLaw, Validity, extent, signal_unit};

/// The law that an exposure's fluxes are corrected with, as its catalogue's header keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppliedCalibration {
    /// SHA-256 of the calibration file.
    pub sha256: String,
    /// The law.
    pub law: FluxLaw,
    /// Errors about it.
    pub errors: ErrorModel,
    /// Ranges in which it holds.
    pub validity: Validity,
    /// The exposure's sky noise per pixel, image units.
    pub sky_sigma: f64,
    /// What (flux - flux_observed) / flux was when the law was made; `None` where that is not known.
    pub drift_reference: Option<f64>,
    /// Least SNR of the objects that are compared with it.
    pub drift_min_snr: Option<f64>,
}

/// A corrected flux, in the unit of the flux given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corrected {
    /// Flux.
    pub flux: f64,
    /// Its error: the fit's, scaled, with the scatter and the law's own error.
    pub flux_err: f64,
    /// Corrected over measured flux.
    pub factor: f64,
}

impl AppliedCalibration {
    /// An entry for an exposure of this sky noise (image units per pixel).
    pub fn new(entry: &CalibrationEntry, sha256: &str, sky_sigma: f64) -> Self {
        Self {
            sha256: sha256.to_string(),
            law: entry.law.clone(),
            errors: entry.errors,
            validity: entry.validity,
            sky_sigma,
            drift_reference: entry.drift.map(|d| d.median),
            drift_min_snr: entry.drift.map(|d| d.min_snr),
        }
    }

    /// Corrects a flux and its error (image units) of an object whose observed PSF has a FWHM of `psf_fwhm` detector pixels, and whose
    /// image at the target PSF has the half-light radius given (same unit as `target_fwhm`; NaN where it is not known).
    /// `None` outside the ranges in which the law holds.
    pub fn correct(
        &self,
        flux: f64,
        flux_err: f64,
        psf_fwhm: f64,
        half_light_radius: f64,
        target_fwhm: f64,
    ) -> Option<Corrected> {
        let unit = signal_unit(self.sky_sigma, psf_fwhm);
        let signal = flux / unit;
        let within = |range: [f64; 2], value: f64| value >= range[0] && value <= range[1];
        if !(unit > 0.0 && within(self.validity.psf_fwhm, psf_fwhm) && within(self.validity.signal, signal)) {
            return None;
        }
        let lawful = self.law.apply(signal, extent(half_light_radius, target_fwhm));
        let err = self.errors.error(lawful.flux, flux_err / unit * lawful.slope.abs());
        let flux_err = err.hypot(lawful.law_err) * unit;
        (lawful.flux.is_finite() && flux_err.is_finite()).then(|| Corrected {
            flux: lawful.flux * unit,
            flux_err,
            factor: lawful.flux / signal,
        })
    }
}
