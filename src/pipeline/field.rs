//! What is done once an exposure: sky, sources, PSF.

use super::{Failure, Stage, Timings};
use crate::catalog::Flags;
use crate::detect::{self, Background, CatalogPosition, Detection, Detections};
use crate::exposure::{Exposure, VarianceOrigin};
use crate::failure::FailureKind;
use crate::image::{MaskPlane, Plane};
use crate::psf::{self, PsfFit, PsfInput, PsfModel, PsfReport, PsfStar, Quality};
use crate::settings::Settings;

/// What the caller brings along instead of letting the pipeline find it.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Positions to measure at, with their identifiers; without them sources are found in the image.
    pub positions: Option<Vec<CatalogPosition>>,
    /// A PSF model; with it no star is looked at.
    pub psf: Option<PsfModel>,
    /// A PSF model to fall back on where too few stars are usable.
    pub psf_fallback: Option<PsfModel>,
    /// What tells these from others: an exposure done with another catalogue or PSF must be done again.
    pub fingerprint: Option<String>,
}

/// An exposure ready for its objects. All planes have the exposure's shape.
#[derive(Debug, Clone)]
pub struct Field {
    /// Image with the sky subtracted, image units.
    pub subtracted: Plane,
    /// Standard deviation of the sky noise per pixel, image units.
    pub sky_rms: Plane,
    /// Bits of [`crate::image::mask`].
    pub mask: MaskPlane,
    /// Median sky level that was subtracted, image units.
    pub sky_level: f64,
    /// Median standard deviation of the sky noise, image units.
    pub sky_sigma: f64,
    /// The sources, with the segmentation map.
    pub detections: Detections,
    /// The sources that `stars` counts, where they are others than those of `detections`: with given positions, stars are looked for
    /// in the whole image all the same, for a catalogue of galaxies holds none.
    pub star_sources: Option<Vec<Detection>>,
    /// The PSF in force.
    pub psf: PsfModel,
    /// Verdicts on the sources as PSF stars; empty where a PSF was given.
    pub stars: Vec<PsfStar>,
    /// What the PSF fit says of itself; `None` where a PSF was given.
    pub psf_report: Option<PsfReport>,
    /// FWHM of the PSF at the image's centre, detector pixels.
    pub psf_fwhm: f64,
    /// FWHM of the PSF over the image.
    pub widths: WidthMap,
    /// Target pixels per detector pixel.
    pub factor: usize,
    /// Flags that every row of this exposure carries.
    pub flags: Flags,
    /// What had to be assumed or left out, in sentences.
    pub notes: Vec<String>,
}

/// Subtracts the sky, finds the sources (or takes the given ones) and fits the PSF (or takes the given one).
pub fn prepare(
    exposure: &Exposure,
    given: &Given,
    settings: &Settings,
    timings: &mut Timings,
) -> Result<Field, Failure> {
    let id = exposure.id.as_str();
    let mut notes = exposure.notes.clone();
    let mut flags = Flags::empty();
    flags.set(Flags::NO_WCS, exposure.wcs.is_none());
    flags.set(Flags::NO_ZERO_POINT, exposure.zero_point.is_none());
    flags.set(Flags::VARIANCE_ESTIMATED, exposure.variance_origin == VarianceOrigin::Estimated);

    let background = timings.measure(Stage::Background, || {
        detect::background(&exposure.image, &exposure.mask, &settings.background)
            .map_err(|error| Failure::new(id, Stage::Background, &error))
    })?;
    let Background { level, rms, global_level, global_rms, .. } = background;
    let subtracted = &exposure.image - &level;
    drop(level);

    let detections = timings.measure(Stage::Detect, || {
        find(&subtracted, &rms, &exposure.mask, given.positions.as_deref(), settings, &mut notes)
            .map_err(|error| Failure::new(id, Stage::Detect, &error))
    })?;

    let in_image = match (&given.positions, &given.psf) {
        (Some(_), None) => Some(timings.measure(Stage::Detect, || {
            detect::detect(&subtracted, &rms, &exposure.mask, &settings.detect)
                .map_err(|error| Failure::new(id, Stage::Detect, &error))
        })?),
        _ => None,
    };
    let fit = timings.measure(Stage::Psf, || match &given.psf {
        Some(model) => Ok((model.clone(), Vec::new(), None)),
        None => {
            let input = PsfInput {
                image: &subtracted,
                variance: &exposure.variance,
                mask: &exposure.mask,
                detections: in_image.as_ref().unwrap_or(&detections),
                saturation: exposure.saturation.map(|level| level - global_level),
                gain: exposure.gain.or_else(|| psf::gain_from_sky(global_level, global_rms.powi(2))),
            };
            psf::fit_or(&input, &settings.psf, given.psf_fallback.as_ref())
                .map(|PsfFit { model, stars, report }| (model, stars, Some(report)))
                .map_err(|error| Failure::new(id, Stage::Psf, &error))
        }
    })?;
    let (model, stars, report) = fit;
    if let Some(report) = &report {
        notes.extend(report.notes.iter().cloned());
        flags.set(Flags::PSF_FALLBACK, report.fallback.is_some());
        flags.set(Flags::PSF_DEGRADED, report.quality != Quality::Good);
        if report.quality == Quality::Failed {
            notes.push("the reserved stars contradict the PSF model: treat every shape and flux with suspicion".into());
        }
    }
    let (ny, nx) = exposure.shape();
    let psf_fwhm = model.fwhm((nx as f64 - 1.0) / 2.0, (ny as f64 - 1.0) / 2.0);
    if !psf_fwhm.is_finite() {
        return Err(Failure {
            exposure: id.to_string(),
            stage: Stage::Psf,
            kind: FailureKind::BadInput,
            reason: "the PSF at the image's centre has no measurable width; give another with --psf".into(),
        });
    }
    Ok(Field {
        subtracted,
        sky_rms: rms,
        mask: exposure.mask.clone(),
        sky_level: global_level,
        sky_sigma: global_rms,
        detections,
        star_sources: in_image.map(|found| found.sources),
        widths: WidthMap::new(&model, exposure.shape(), psf_fwhm),
        psf: model,
        stars,
        psf_report: report,
        psf_fwhm,
        factor: settings.deconv.factor_for(psf_fwhm),
        flags,
        notes,
    })
}

impl Field {
    /// The source that a star's index means.
    pub fn star_source(&self, index: usize) -> Option<&Detection> {
        self.star_sources.as_ref().unwrap_or(&self.detections.sources).get(index)
    }
}

/// FWHM of the PSF on a coarse grid over the image: it is smooth, and costs more than a stamp's deconvolution to measure.
#[derive(Debug, Clone)]
pub struct WidthMap {
    step: (f64, f64),
    /// Detector pixels; axes (row = y, column = x).
    values: ndarray::Array2<f64>,
}

impl WidthMap {
    /// Points along each side.
    const POINTS: usize = 9;

    fn new(model: &PsfModel, (ny, nx): (usize, usize), fallback: f64) -> Self {
        let step = ((nx as f64 - 1.0) / (Self::POINTS - 1) as f64, (ny as f64 - 1.0) / (Self::POINTS - 1) as f64);
        let values = ndarray::Array2::from_shape_fn((Self::POINTS, Self::POINTS), |(j, i)| {
            let width = model.fwhm(i as f64 * step.0, j as f64 * step.1);
            if width.is_finite() { width } else { fallback }
        });
        Self { step, values }
    }

    /// Bilinear between the grid's points, detector pixels.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        let place = |v: f64, step: f64| {
            let v = (v / step).clamp(0.0, (Self::POINTS - 1) as f64);
            let low = (v.floor() as usize).min(Self::POINTS - 2);
            (low, v - low as f64)
        };
        let ((i, fx), (j, fy)) = (place(x, self.step.0), place(y, self.step.1));
        let value = |j: usize, i: usize| self.values.get((j, i)).copied().unwrap_or(f64::NAN);
        (value(j, i) * (1.0 - fx) + value(j, i + 1) * fx) * (1.0 - fy)
            + (value(j + 1, i) * (1.0 - fx) + value(j + 1, i + 1) * fx) * fy
    }
}

/// Sources found in the image, or measured at the given positions.
fn find(
    subtracted: &Plane,
    rms: &Plane,
    mask: &MaskPlane,
    positions: Option<&[CatalogPosition]>,
    settings: &Settings,
    notes: &mut Vec<String>,
) -> Result<Detections, detect::DetectError> {
    let Some(positions) = positions else {
        return detect::detect(subtracted, rms, mask, &settings.detect);
    };
    let found = detect::from_catalog(positions, subtracted, rms, mask, &settings.detect)?;
    if !found.outside.is_empty() {
        let ids: Vec<String> = found.outside.iter().take(5).map(|p| p.id.to_string()).collect();
        notes.push(format!(
            "{} of {} catalogue positions lie outside the image and were left out (first ids: {})",
            found.outside.len(),
            positions.len(),
            ids.join(", ")
        ));
    }
    if found.uncatalogued > 0 {
        notes.push(format!("{} objects in the image are not in the given catalogue", found.uncatalogued));
    }
    Ok(found.detections)
}
