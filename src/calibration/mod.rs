//! Calibration of fluxes and their errors, and what injection says of shapes: laws, their fit, their use. Numbers only; files are read
//! and written by `archive`, sources injected by `pipeline`.

mod applied;
mod error;
mod errors;
mod law;
pub mod robust;
mod shape;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use applied::{AppliedCalibration, Corrected};
pub use error::CalibrationError;
pub use errors::{Deviation, ErrorModel};
pub use law::{FluxLaw, LawPoint, Lawful, TERMS, extent, signal_unit};
pub use shape::{Estimate, Pair, ShapeBias, fit as fit_shapes};

/// Version of the calibration file's layout.
pub const CALIBRATION_VERSION: u32 = 1;

/// A calibration file: one entry per instrument, band, network, target and range of PSF widths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// See [`CALIBRATION_VERSION`].
    pub version: u32,
    /// The program that made it.
    pub software: String,
    /// Seed of the injected sources.
    pub seed: u64,
    /// The laws.
    pub entries: Vec<CalibrationEntry>,
}

/// What an entry holds for: an exposure that differs in any of it is not calibrated by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Instrument; left out where the exposures do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<String>,
    /// Band; left out where the exposures do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<String>,
    /// Network; left out for the Tikhonov image alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// SHA-256 of its ONNX file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_sha: Option<String>,
    /// FWHM of the target PSF, target pixels.
    pub target_fwhm: f64,
    /// Target pixels per detector pixel.
    pub target_factor: usize,
    /// SHA-256 of each section of the configuration that decides what is measured, as TOML.
    pub settings: BTreeMap<String, String>,
}

/// The ranges that were covered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    /// FWHM of the PSF, detector pixels.
    pub psf_fwhm: [f64; 2],
    /// Measured flux in units of [`signal_unit`].
    pub signal: [f64; 2],
    /// Matched-filter SNR of the injected sources against the sky noise.
    pub snr: [f64; 2],
    /// True fluxes in the catalogue's unit (`flux_unit` of the provenance).
    pub flux: [f64; 2],
}

/// An exposure that was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsedExposure {
    /// Its name.
    pub name: String,
    /// FWHM of its PSF at the centre, detector pixels.
    pub psf_fwhm: f64,
    /// Standard deviation of its sky noise per pixel, image units.
    pub sky_sigma: f64,
    /// Sources injected into it, in all passes.
    pub injected: usize,
    /// Passes.
    pub passes: usize,
}

/// Where an entry comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Unit of the fluxes named here.
    pub flux_unit: String,
    /// Injected sources.
    pub injected: usize,
    /// Those that the law was fitted to: unblended, no bad pixels, measured.
    pub fitted: usize,
    /// Where the PSF came from: `fitted` or `given`.
    pub psf: String,
    /// The exposures.
    pub exposures: Vec<UsedExposure>,
}

/// Injected sources of one range of SNR: what came of them, before and after the law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FluxBin {
    /// Range of true SNR.
    pub snr: [f64; 2],
    /// Injected.
    pub injected: usize,
    /// Share that detection found.
    pub completeness: f64,
    /// Sources in the following numbers.
    pub used: usize,
    /// Median of (flux - truth) / truth as measured.
    pub bias_before: Estimate,
    /// The same with the law.
    pub bias: Estimate,
    /// Scatter (1.4826 MAD) of the pulls as measured.
    pub pull_before: f64,
    /// The same with law and error model.
    pub pull: f64,
}

/// Positions at which there is nothing, measured like sources.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmptyPositions {
    /// Positions.
    pub count: usize,
    /// Mean flux, units of signal: of the error of a point source.
    pub mean: Estimate,
    /// Mean of flux / flux_err.
    pub pull_mean: f64,
    /// Scatter (1.4826 MAD) of flux / flux_err.
    pub pull_scatter: f64,
    /// Share with flux > 5 flux_err.
    pub above_5_sigma: f64,
}

/// What is watched after the calibration: (flux - flux_observed) / flux of bright isolated objects.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftReference {
    /// Its median over the objects of the exposures used, calibrated fluxes.
    pub median: f64,
    /// Standard error of that median.
    pub error: f64,
    /// Objects.
    pub objects: usize,
    /// Least SNR of an object that counts.
    pub min_snr: f64,
}

/// One law and everything that goes with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationEntry {
    /// What it holds for.
    pub scope: Scope,
    /// Ranges that were covered.
    pub validity: Validity,
    /// The law of fluxes.
    pub law: FluxLaw,
    /// Errors about the law.
    pub errors: ErrorModel,
    /// What to watch; left out where there were too few bright objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftReference>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// How it does on the sources it was fitted to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<FluxBin>,
    /// Shape bias; measured and reported, not applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<ShapeBias>,
    /// Empty positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<EmptyPositions>,
}

impl Calibration {
    /// What no file may hold, whatever its syntax.
    pub fn check(&self) -> Result<(), CalibrationError> {
        let unusable = |text: String| Err(CalibrationError::Unusable(text));
        if self.version != CALIBRATION_VERSION {
            return unusable(format!(
                "version {} of the layout, this program reads {CALIBRATION_VERSION}; make it again with `stillair calibrate`",
                self.version
            ));
        }
        if self.entries.is_empty() {
            return unusable("it holds no [[entries]]".into());
        }
        for (i, entry) in self.entries.iter().enumerate() {
            let law = &entry.law;
            if !law.coefficients().iter().chain(law.covariance.iter().flatten()).all(|v| v.is_finite()) {
                return unusable(format!("entry {}: law holds a number that is not finite", i + 1));
            }
            if law.covariance.iter().enumerate().any(|(j, row)| row[j] < 0.0) {
                return unusable(format!("entry {}: law.covariance has a negative variance", i + 1));
            }
            let ErrorModel { k, share, floor } = entry.errors;
            if !(k > 0.0 && k.is_finite() && share >= 0.0 && share.is_finite() && floor >= 0.0 && floor.is_finite()) {
                return unusable(format!(
                    "entry {}: errors must be finite, k positive, share and floor not negative",
                    i + 1
                ));
            }
            for (name, [low, high]) in [("psf_fwhm", entry.validity.psf_fwhm), ("signal", entry.validity.signal)] {
                if !(low.is_finite() && high.is_finite() && low < high) {
                    return unusable(format!("entry {}: validity.{name} = [{low}, {high}] is no range", i + 1));
                }
            }
            // A law that falls somewhere in its range would give two fluxes for one.
            let [low, high] = entry.validity.signal;
            for u in [0.0, 0.25, 0.5, 0.75, 1.0] {
                if ![low, 0.5 * (low + high), high].iter().all(|f| law.apply(*f, u).slope > 0.0) {
                    return unusable(format!("entry {}: the law does not rise over validity.signal", i + 1));
                }
            }
        }
        Ok(())
    }

    /// The entry for an exposure of this scope whose PSF is `psf_fwhm` detector pixels wide: the one whose range's middle is nearest.
    /// Otherwise why there is none, by what comes closest.
    pub fn find(&self, scope: &Scope, psf_fwhm: f64) -> Result<&CalibrationEntry, String> {
        let mut nearest: Option<(usize, String)> = None;
        let mut best: Option<(f64, &CalibrationEntry)> = None;
        for entry in &self.entries {
            let [low, high] = entry.validity.psf_fwhm;
            let mut differences = entry.scope.differences(scope);
            if differences.is_empty() && psf_fwhm >= low && psf_fwhm <= high {
                let distance = (0.5 * (low + high) - psf_fwhm).abs();
                if best.is_none_or(|(d, _)| distance < d) {
                    best = Some((distance, entry));
                }
                continue;
            }
            if differences.is_empty() {
                differences.push(format!("PSF of {psf_fwhm:.2} px, calibrated for {low:.2} to {high:.2} px"));
            }
            if nearest.as_ref().is_none_or(|(count, _)| differences.len() < *count) {
                nearest = Some((differences.len(), differences.join("; ")));
            }
        }
        best.map(|(_, entry)| entry).ok_or_else(|| nearest.map(|(_, text)| text).unwrap_or_default())
    }
}

impl Scope {
    /// In what another scope differs from this one, in words.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let name = |v: &Option<String>| v.clone().unwrap_or_else(|| "unknown".into());
        let network = |v: &Option<String>| v.clone().unwrap_or_else(|| "none".into());
        let mut found = Vec::new();
        for (what, ours, theirs) in
            [("instrument", &self.instrument, &other.instrument), ("band", &self.band, &other.band)]
        {
            if ours != theirs {
                found.push(format!("{what} {}, calibrated for {}", name(theirs), name(ours)));
            }
        }
        if self.network != other.network {
            found.push(format!("network {}, calibrated for {}", network(&other.network), network(&self.network)));
        } else if self.network_sha != other.network_sha {
            found.push(format!("network {} with another ONNX file", network(&other.network)));
        }
        // Pixel scales of one instrument differ a little from exposure to exposure, and so does a target given in arcsec.
        if (self.target_fwhm - other.target_fwhm).abs() > 0.01 * self.target_fwhm.abs()
            || self.target_factor != other.target_factor
        {
            found.push(format!(
                "target of {} px on a grid {} times finer, calibrated for {} px on {}",
                other.target_fwhm, other.target_factor, self.target_fwhm, self.target_factor
            ));
        }
        let sections: Vec<&str> = self
            .settings
            .iter()
            .filter(|(section, hash)| other.settings.get(*section) != Some(hash))
            .map(|(section, _)| section.as_str())
            .collect();
        if !sections.is_empty() {
            found.push(format!("other settings in [{}]", sections.join("], [")));
        }
        found
    }
}

#[cfg(test)]
mod tests;
