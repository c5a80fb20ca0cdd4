//! From measurements in pixels and image units to a catalogue row.

use std::sync::Arc;

use super::object::{Measured, Prepared};
use super::{Field, NetworkIdentity};
use crate::calibration::AppliedCalibration;
use crate::catalog::{CatalogHeader, CatalogRow, Flags};
use crate::exposure::Exposure;
use crate::photometry;

/// What is the same for every row of an exposure.
#[derive(Debug, Clone)]
pub struct RowContext {
    /// nJy per image unit, or 1 without a zero point.
    flux_unit: f64,
    /// AB magnitude of one image unit, if known.
    zero_point: Option<f64>,
    /// arcsec per detector pixel, or 1 where unknown.
    pixel: f64,
    /// Target pixels per detector pixel.
    factor: f64,
    band: Option<Arc<str>>,
    network: Option<Arc<str>>,
    network_sha: Option<Arc<str>>,
    /// The law that fluxes are corrected with; `None`: they stay as measured.
    calibration: Option<AppliedCalibration>,
    /// FWHM of the target PSF, target pixels.
    target_fwhm: f64,
}

impl RowContext {
    /// From the catalogue's header and the network in use.
    pub fn new(header: &CatalogHeader, network: Option<&NetworkIdentity>) -> Self {
        Self {
            flux_unit: header.zero_point.map_or(1.0, photometry::nanojansky_per_unit),
            zero_point: header.zero_point,
            pixel: header.pixel_scale.unwrap_or(1.0),
            factor: header.target_factor as f64,
            band: header.band.as_deref().map(Arc::from),
            network: network.map(|n| Arc::from(n.name.as_str())),
            network_sha: network.map(|n| Arc::from(n.sha256.as_str())),
            calibration: header.calibration.clone(),
            target_fwhm: header.target_fwhm_pixels,
        }
    }
}

/// The part of a row that detection knows: identity, position, observed flux.
pub fn detected_row(exposure: &Exposure, field: &Field, index: usize, context: &RowContext) -> CatalogRow {
    let Some(source) = field.detections.sources.get(index) else { return CatalogRow::empty(0) };
    let mut row = CatalogRow::empty(source.id);
    if let Some((ra, dec)) = exposure.wcs.as_ref().map(|wcs| wcs.pixel_to_sky(source.x, source.y)) {
        (row.ra, row.dec) = (ra, dec);
    }
    (row.x, row.y) = (source.x + 1.0, source.y + 1.0);
    row.band.clone_from(&context.band);
    row.flux_observed = source.flux * context.flux_unit;
    row.flux_observed_err = source.flux_err * context.flux_unit;
    row.flags = source.flags | field.flags;
    row
}

/// Completes a row with the object's stamp and PSF.
pub fn add_prepared(row: &mut CatalogRow, prepared: &Prepared, context: &RowContext) {
    row.stamp_size = i32::try_from(prepared.stamp.observed.nrows()).ok();
    row.flags |= prepared.stamp.flags;
    row.flags.set(Flags::LAMBDA_AT_BOUND, prepared.deconvolved.lambda_at_bound);
    row.lambda = prepared.deconvolved.lambda;
    row.psf_fwhm = prepared.psf_fwhm * context.pixel;
    if let Some(moments) = &prepared.psf_moments {
        (row.psf_e1, row.psf_e2) = (moments.e1, moments.e2);
    }
}

/// Completes a row with the amplitude, calibrated flux, shape and tests of the final image.
pub fn add_measured(row: &mut CatalogRow, measured: &Measured, network_ran: bool, context: &RowContext) {
    row.flags |= measured.flags;
    row.flags.set(Flags::NETWORK_SKIPPED, !network_ran);
    let (mut flux, mut flux_err) = (measured.flux, measured.flux_err);
    row.snr = measured.snr;
    row.bias_correction = 1.0;
    // A law made with a network says nothing of an object that the network refused.
    let corrected = context.calibration.as_ref().filter(|_| network_ran == context.network.is_some()).and_then(|law| {
        let half_light = measured.half_light.as_ref().map_or(f64::NAN, |half| half.radius);
        law.correct(flux, flux_err, row.psf_fwhm / context.pixel, half_light, context.target_fwhm)
    });
    row.flags.set(Flags::UNCALIBRATED, corrected.is_none());
    if let Some(corrected) = corrected {
        (flux, flux_err) = (corrected.flux, corrected.flux_err);
        row.bias_correction = corrected.factor;
    }
    row.flux = flux * context.flux_unit;
    row.flux_err = flux_err * context.flux_unit;
    if let (Some(zero_point), true) = (context.zero_point, flux.is_finite())
        && let Some((mag, err)) = photometry::ab_magnitude(flux, flux_err, zero_point)
    {
        (row.mag, row.mag_err) = (mag, err);
    }
    if let Some(fit) = &measured.amplitude {
        (row.amplitude, row.amplitude_err) = (fit.alpha, fit.alpha_err);
        row.chi2_reduced = fit.chi2_reduced;
        row.residual_correlation = fit.lag1;
    }
    let scale = context.pixel / context.factor;
    if let Some(moments) = &measured.moments {
        let area = scale * scale;
        (row.ixx, row.iyy, row.ixy) = (moments.ixx * area, moments.iyy * area, moments.ixy * area);
        (row.e1, row.e2) = (moments.e1, moments.e2);
        (row.e1_err, row.e2_err) = moments.shape_errors();
    }
    if let Some(half) = &measured.half_light {
        row.half_light_radius = half.radius * scale;
    }
    if let Some(structure) = &measured.structure {
        row.false_structure = structure.score;
    }
    if network_ran {
        row.network.clone_from(&context.network);
        row.network_sha.clone_from(&context.network_sha);
    }
}
