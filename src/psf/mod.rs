//! Point spread function: stars in, a spatially varying model out.

mod classify;
mod error;
mod evidence;
mod fit;
mod kriging;
mod linalg;
mod model;
mod moments;
mod native;
mod noise;
mod power;
mod profile;
mod residual;
mod select;
mod settings;
mod solve;
mod spatial;
mod star;
mod table;
mod tabulated;
mod validate;
mod variation;
mod verdict;

pub use error::PsfError;
pub use kriging::Kriging;
pub use model::{PsfModel, PsfStamp, PsfUncertainty};
pub use moments::{Moments, adaptive_moments};
pub use native::{NativeModel, Residual};
pub use noise::gain_from_sky;
pub use profile::{ResidualBasis, Shape};
pub use settings::PsfSettings;
pub use spatial::{Domain, legendre_terms, term_count};
pub use star::{Rejection, StarStatus};
pub use tabulated::{Tabulated, Variation, psfex_terms};
pub use validate::{PsfReport, Quality, Residuals, RhoBin};

use star::Star;

use crate::detect::Detections;
use crate::image::{MaskPlane, Plane};

/// What the PSF fit sees of an exposure. All planes have the same shape (rows, columns).
#[derive(Debug, Clone, Copy)]
pub struct PsfInput<'a> {
    /// Background-subtracted image, image units.
    pub image: &'a Plane,
    /// Variance per pixel (sources' Poisson noise possibly included), image units squared.
    pub variance: &'a Plane,
    /// Bits of [`crate::image::mask`].
    pub mask: &'a MaskPlane,
    /// Sources found in the image.
    pub detections: &'a Detections,
    /// Saturation level in image units, if known.
    pub saturation: Option<f64>,
    /// Electrons per image unit, if known.
    pub gain: Option<f64>,
}

/// One source's part in the fit.
#[derive(Debug, Clone, PartialEq)]
pub struct PsfStar {
    /// Index into the sources.
    pub source: usize,
    /// Column, 0-based pixels.
    pub x: f64,
    /// Row, 0-based pixels.
    pub y: f64,
    /// Signal-to-noise ratio (fitted where a fit was made).
    pub snr: f64,
    /// Reduced chi-square against the model; NaN where none was made.
    pub chi2: f64,
    /// What became of it.
    pub status: StarStatus,
}

/// A fit's outcome.
#[derive(Debug, Clone)]
pub struct PsfFit {
    /// The model.
    pub model: PsfModel,
    /// Every source, in the order of the detections.
    pub stars: Vec<PsfStar>,
    /// Numbers, validation, verdict.
    pub report: PsfReport,
}

/// Fits the PSF of an exposure: selection, order, residual and validation as `settings` say.
pub fn fit(input: &PsfInput<'_>, settings: &PsfSettings) -> Result<PsfFit, PsfError> {
    fit_or(input, settings, None)
}

/// As [`fit`], with a model to fall back on where too few stars are usable.
pub fn fit_or(input: &PsfInput<'_>, settings: &PsfSettings, given: Option<&PsfModel>) -> Result<PsfFit, PsfError> {
    fit_listed(input, settings, given, None)
}

/// As [`fit_or`], with the selection overridden: only sources within 2 pixels of a listed 0-based position are looked at,
/// and those of them that can be measured are stars.
pub fn fit_listed(
    input: &PsfInput<'_>,
    settings: &PsfSettings,
    given: Option<&PsfModel>,
    listed: Option<&[(f64, f64)]>,
) -> Result<PsfFit, PsfError> {
    let shape = input.image.dim();
    if input.variance.dim() != shape || input.mask.dim() != shape || input.detections.segmentation.dim() != shape {
        return Err(PsfError::Input(format!(
            "planes differ in shape: image {:?}, variance {:?}, mask {:?}, segmentation {:?}",
            shape,
            input.variance.dim(),
            input.mask.dim(),
            input.detections.segmentation.dim()
        )));
    }
    let (mut fitter, found, given) = fit::run(input, settings, given, listed)?;
    let mut stars: Vec<PsfStar> = found
        .verdicts
        .iter()
        .zip(&input.detections.sources)
        .enumerate()
        .map(|(source, (status, s))| PsfStar {
            source,
            x: s.x,
            y: s.y,
            snr: s.flux / s.flux_err,
            chi2: f64::NAN,
            status: *status,
        })
        .collect();
    for s in &found.stars {
        let (x, y) = s.position();
        if let Some(row) = stars.get_mut(s.source) {
            *row = PsfStar { source: s.source, x, y, snr: s.snr, chi2: s.chi2, status: s.status };
        }
    }
    let fitted = given.is_none();
    let judged = given.unwrap_or_else(|| PsfModel::from_native(fitter.model.clone()));
    let (cx, cy) = fitter.model.domain.centre;
    let fwhm = judged.fwhm(cx, cy);
    let e = judged.distortion(cx, cy).unwrap_or((f64::NAN, f64::NAN));
    let notes = std::mem::take(&mut fitter.notes);
    let mut report = validate::report(&fitter.model, &found.stars, &found.verdicts, settings, fwhm, e, notes);
    report.fallback = fitter.fallback.clone();
    // A model that its own reserved stars contradict is not made better by them.
    let complete = if fitted && report.quality != Quality::Failed { fitter.with_reserved(&found.stars) } else { None };
    report.in_model = report.used + if complete.is_some() { report.reserved } else { 0 };
    let model = complete.map_or(judged, PsfModel::from_native);
    let doubts = validate::doubts(&stars, shape, settings);
    if (report.fallback.is_some() || !doubts.is_empty()) && report.quality == Quality::Good {
        report.quality = Quality::Degraded;
    }
    report.notes.extend(doubts);
    Ok(PsfFit { model, stars, report })
}
