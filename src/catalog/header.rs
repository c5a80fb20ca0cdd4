//! What a catalogue says of its exposure as a whole.

use serde::{Deserialize, Serialize};

use super::{CatalogRow, Units};
use crate::calibration::AppliedCalibration;

/// Version of the catalogue's layout: raised when a column or header entry changes its meaning.
pub const CATALOG_VERSION: u32 = 1;

/// AB magnitude of 1 nJy, as the surveys round it (3631 Jy gives 31.40006).
pub const NJY_ZERO_POINT: f64 = 31.4;

/// The PSF model of an exposure in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PsfSummary {
    /// Full width at half maximum at the image's centre, detector pixels.
    pub fwhm_pixels: Option<f64>,
    /// The same in arcsec, where the pixel scale is known.
    pub fwhm_arcsec: Option<f64>,
    /// Ellipticity at the image's centre, along the pixel axes.
    pub e1: Option<f64>,
    /// Ellipticity at the image's centre, along the diagonals.
    pub e2: Option<f64>,
    /// Order of the polynomial over the field.
    pub order: Option<u32>,
    /// Stars the model was fitted to.
    pub stars_used: usize,
    /// Stars kept out of the fit to test it.
    pub stars_reserved: usize,
    /// Stars in the model that was delivered: those used and, once they had tested it, those reserved.
    pub stars_in_model: usize,
    /// Candidates left out, with a reason each.
    pub stars_rejected: usize,
    /// Reserved stars: median of (size of star - size of model) / size of model, size = trace of the second moments.
    pub reserved_size_residual: Option<f64>,
    /// Reserved stars: scatter of that size residual.
    pub reserved_size_scatter: Option<f64>,
    /// Reserved stars: median of e1 of star - e1 of model.
    pub reserved_e1_residual: Option<f64>,
    /// Reserved stars: median of e2 of star - e2 of model.
    pub reserved_e2_residual: Option<f64>,
    /// Reserved stars: scatter of the larger of the two ellipticity residuals.
    pub reserved_e_scatter: Option<f64>,
    /// Largest |rho_1| over the bins of separation (correlation of the ellipticity residuals; Jarvis et al. 2016).
    pub rho1: Option<f64>,
    /// Largest |rho_2| (ellipticity with its residual).
    pub rho2: Option<f64>,
    /// Reserved stars: median reduced chi-square.
    pub reserved_chi2: Option<f64>,
    /// Verdict on the model (`good`, `degraded`, `unverified` ...), as the PSF room gives it.
    pub quality: String,
    /// Which fallback was taken and why; `None` if the model is what was asked for.
    pub fallback: Option<String>,
}

/// What a catalogue says of its exposure. Goes into the Parquet file metadata (as JSON) and the FITS header (as cards).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatalogHeader {
    /// Version of the layout, see [`CATALOG_VERSION`].
    pub catalog_version: u32,
    /// Name of the exposure.
    pub exposure: String,
    /// Input file or URI.
    pub source: Option<String>,
    /// Layout it was read as.
    pub layout: Option<String>,
    /// Instrument.
    pub instrument: Option<String>,
    /// Band (filter).
    pub band: Option<String>,
    /// Exposure time, seconds.
    pub exposure_time: Option<f64>,
    /// Image columns.
    pub columns: usize,
    /// Image rows.
    pub rows: usize,
    /// AB magnitude of one image unit of flux; `None`: unknown, fluxes are in image units.
    pub zero_point: Option<f64>,
    /// Detector pixel scale, arcsec; `None`: unknown, sizes are in pixels.
    pub pixel_scale: Option<f64>,
    /// Units of the columns that depend on the two.
    pub units: Units,
    /// FWHM of the target PSF (a round Gaussian), target pixels.
    pub target_fwhm_pixels: f64,
    /// FWHM of the target PSF, arcsec, where the pixel scale is known.
    pub target_fwhm_arcsec: Option<f64>,
    /// Target pixels per detector pixel along each axis.
    pub target_factor: usize,
    /// The PSF model.
    pub psf: PsfSummary,
    /// Network that was used.
    pub network: Option<String>,
    /// SHA-256 of its ONNX file.
    pub network_sha: Option<String>,
    /// Device and runtime the network ran on.
    pub inference: Option<String>,
    /// Version of stillair.
    pub software: String,
    /// SHA-256 of the configuration that was in force.
    pub config_hash: Option<String>,
    /// The calibration that fluxes were corrected with; `None`: they are as measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<AppliedCalibration>,
    /// What had to be assumed or left out, in sentences.
    pub notes: Vec<String>,
}

impl CatalogHeader {
    /// A header for an exposure; everything else is to be filled in.
    pub fn new(exposure: impl Into<String>) -> Self {
        Self {
            catalog_version: CATALOG_VERSION,
            exposure: exposure.into(),
            target_factor: 1,
            software: concat!("stillair ", env!("CARGO_PKG_VERSION")).into(),
            ..Self::default()
        }
    }

    /// What a flux in image units is multiplied with to be in `units.flux`: nJy per image unit where a zero point is known, else 1.
    /// AB magnitudes: 0 mag = 3631 Jy, so that 1 nJy has magnitude [`NJY_ZERO_POINT`].
    pub fn flux_scale(&self) -> f64 {
        self.zero_point.map_or(1.0, |zp| 10_f64.powf(0.4 * (NJY_ZERO_POINT - zp)))
    }

    /// AB magnitude of one unit of the written fluxes: [`NJY_ZERO_POINT`] where a zero point is known.
    pub fn flux_unit_zero_point(&self) -> Option<f64> {
        self.zero_point.map(|_| NJY_ZERO_POINT)
    }
}

/// The deconvolved catalogue of one exposure.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// What is said of the exposure.
    pub header: CatalogHeader,
    /// The objects, in order of their source index.
    pub rows: Vec<CatalogRow>,
}
