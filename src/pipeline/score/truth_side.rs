//! The truth of a field, opened: positions, fluxes, and what every object looks like with the target PSF.

use std::path::{Path, PathBuf};

use super::ScoreError;
use super::sky_map::SkyMap;
use crate::archive::{ArchiveError, Cube, StampCubes, TruthTable, read_truth};
use crate::evaluate::{fwhm_of_area, upsampled};
use crate::image::Plane;
use crate::photometry::{self, Moments, MomentsSettings};

/// Name of the cube of true stamps, in the order of the table TRUTH.
const TRUTH_STAMPS: &str = "TRUTH_STAMPS";
/// Images are measured on pixels of which the target PSF's FWHM has this many.
const PIXELS_PER_FWHM: f64 = 4.0;
/// Sigma of a Gaussian = FWHM * this.
const FWHM_TO_SIGMA: f64 = 0.424_660_900_144_009_5;

/// The truth of a field.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) path: PathBuf,
    pub(super) table: TruthTable,
    stamps: Option<(StampCubes, Cube)>,
    pub(super) sky: Option<SkyMap>,
    /// nJy per image unit; 1 where there is no zero point.
    pub(super) nanojansky: f64,
}

/// An object as the target PSF shows it.
#[derive(Debug, Clone)]
pub(super) struct TrueStamp {
    /// Pixels, nJy (image units without a zero point).
    pub(super) image: Plane,
    /// The object's position: column, row.
    pub(super) centre: (f64, f64),
    /// FWHM of the circle with the area above half of the maximum, pixels.
    pub(super) fwhm: f64,
    /// Adaptive moments, pixels; `None` where they do not converge.
    pub(super) moments: Option<Moments>,
}

impl Truth {
    pub(super) fn open(path: &Path, output: &Path) -> Result<Self, ScoreError> {
        let table = read_truth(path)?.ok_or_else(|| ScoreError::NoTruth {
            output: output.to_path_buf(),
            what: format!("no table TRUTH in {} and none beside it", path.display()),
        })?;
        let path = crate::archive::truth_file(path).unwrap_or_else(|| path.to_path_buf());
        let stamps = Self::stamps(&path, &table)?;
        let places: Vec<_> = table.objects.iter().map(|o| ((o.ra, o.dec), (o.x, o.y))).collect();
        let nanojansky = table.zero_point.map_or(1.0, photometry::nanojansky_per_unit);
        Ok(Self { path, sky: SkyMap::fit(&places), table, stamps, nanojansky })
    }

    fn stamps(path: &Path, table: &TruthTable) -> Result<Option<(StampCubes, Cube)>, ScoreError> {
        let Ok(file) = StampCubes::open(path) else { return Ok(None) };
        let Some(cube) = file.cube(TRUTH_STAMPS).cloned() else { return Ok(None) };
        if cube.shape.0 != table.objects.len() {
            let what = format!("{} stamps of {} true objects", cube.shape.0, table.objects.len());
            return Err(ScoreError::Archive(ArchiveError::content(path, what)));
        }
        Ok(Some((file, cube)))
    }

    /// The cube of true stamps.
    pub(super) fn cube(&self) -> Option<&Cube> {
        self.stamps.as_ref().map(|(_, cube)| cube)
    }

    /// FWHM of the target PSF in pixels of the true stamps.
    pub(super) fn target_fwhm_pixels(&self) -> Option<f64> {
        let cube = self.cube()?;
        Some(cube.target_fwhm()? / cube.pixel_scale()?)
    }

    /// Detector pixel, arcsec.
    pub(super) fn detector_scale(&self) -> Option<f64> {
        self.table.pixel_scale
    }

    /// What the true fluxes are multiplied with to be nJy.
    pub(super) fn flux_unit(&self) -> f64 {
        self.table.to_catalog("nJy", self.nanojansky)
    }

    /// The stamp of object `index`; `None` where the truth has no stamps.
    pub(super) fn stamp(&mut self, index: usize) -> Result<Option<TrueStamp>, ScoreError> {
        let target = self.target_fwhm_pixels().unwrap_or(2.0);
        let nanojansky = self.nanojansky;
        let Some((file, cube)) = &mut self.stamps else { return Ok(None) };
        let mut image = file.plane(cube, index)?;
        let unit = cube.to_nanojansky().unwrap_or(nanojansky) as f32;
        image.mapv_inplace(|v| v * unit);
        let (ny, nx) = image.dim();
        let centre = ((nx / 2) as f64, (ny / 2) as f64);
        let (fine, factor) = finer(&image, target);
        let fwhm = fwhm_of_area(&fine).map_or(f64::NAN, |fwhm| fwhm / factor);
        let moments = fine_moments(&fine, factor, centre, target);
        Ok(Some(TrueStamp { image, centre, fwhm, moments }))
    }
}

/// Adaptive moments, pixels, of the continuous image that the pixels are samples of: on pixels as coarse as a target PSF of two pixels'
/// width the moments of the samples are others, and run away for a star. `target`: FWHM of the target PSF, pixels.
pub(super) fn moments(image: &Plane, centre: (f64, f64), target: f64) -> Option<Moments> {
    let (fine, factor) = finer(image, target);
    fine_moments(&fine, factor, centre, target)
}

/// The image on pixels of which the target PSF's FWHM has four, and how many times smaller they are.
fn finer(image: &Plane, target: f64) -> (Plane, f64) {
    let factor = (PIXELS_PER_FWHM / target).ceil().clamp(1.0, 8.0) as usize;
    upsampled(image, factor).map_or_else(|_| (image.clone(), 1.0), |fine| (fine, factor as f64))
}

fn fine_moments(fine: &Plane, factor: f64, centre: (f64, f64), target: f64) -> Option<Moments> {
    let sigma = factor * target * FWHM_TO_SIGMA;
    let start = MomentsSettings { start_sigma: 1.5 * sigma, max_shift: 8.0 * factor, ..MomentsSettings::default() };
    let centre = (factor * centre.0, factor * centre.1);
    let m = photometry::adaptive_moments(fine, None, None, centre, &start).ok()?;
    let area = factor * factor;
    Some(Moments {
        x: m.x / factor,
        y: m.y / factor,
        ixx: m.ixx / area,
        iyy: m.iyy / area,
        ixy: m.ixy / area,
        covariance: m.covariance.map(|row| row.map(|v| v / (area * area))),
        flux: m.flux / area,
        ..m
    })
}
