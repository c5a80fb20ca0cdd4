//! One field in several bands: exposures in, joint images and a catalogue of one row per object out.
//!
//! [`sources`] makes one list of objects of all exposures, [`plan`] decides what each exposure may be used for (bands, wide bands' shares,
//! contradictory zero points), [`object`] does one object; [`run`] does them all on every core. An exposure that cannot be used is left
//! out and named; the others go on.

mod object;
mod output;
mod plan;
mod sources;

use rayon::prelude::*;

use super::Field;
use crate::exposure::Exposure;
use crate::joint::JointSettings;

pub use object::{BandMeasure, JointObject, ObjectFailure, Target};
pub use output::{JointPaths, Results, write};
pub use plan::{BandPlan, plan};
pub use sources::{SkySource, sources, sources_at};

/// An exposure with what was found in it.
#[derive(Debug)]
pub struct JointExposure {
    /// Its pixels and calibration; it has a WCS.
    pub exposure: Exposure,
    /// Sky, sources, PSF.
    pub field: Field,
    /// Band, as the catalogue's columns name it.
    pub band: String,
    /// Whether it sees several of the other bands at once.
    pub wide: bool,
    /// nJy (or the common unit) per image unit.
    pub unit: f64,
}

impl JointExposure {
    /// Pixel scale at the image's centre, arcsec.
    pub fn scale(&self) -> f64 {
        self.exposure.pixel_scale().unwrap_or(f64::NAN)
    }

    /// FWHM of the PSF, arcsec.
    pub fn fwhm(&self) -> f64 {
        self.field.psf_fwhm * self.scale()
    }
}

/// Every object of the plan, in the order of the sources.
pub fn run(
    exposures: &[JointExposure],
    sources: &[SkySource],
    plan: &BandPlan,
    target: &Target,
    settings: &JointSettings,
) -> Vec<Result<JointObject, ObjectFailure>> {
    sources
        .par_iter()
        .enumerate()
        .map(|(i, _)| object::deconvolve_object(exposures, sources, i, plan, target, settings))
        .collect()
}
