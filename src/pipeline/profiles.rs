//! Total fluxes of all objects of a field, each with the light of the others taken off.
//!
//! Every object is fitted by itself first; then, in further rounds, with the models of all others subtracted (Jacobi iteration of the
//! blends' normal equations). Memory: two planes of the field's size, and a few numbers an object.

use std::cell::RefCell;

use rayon::prelude::*;

use super::{Failure, Field, Stage, Timings};
use crate::exposure::Exposure;
use crate::image::{PixelBox, Plane};
use crate::photometry::{self, Profile, ProfileFitter, ProfileInput, ProfilePlace};
use crate::settings::Settings;
use crate::stamp::{self, Scene, Stamp, StampError, StampInput};

/// Objects in memory at a time.
const CHUNK: usize = 256;
/// A model is drawn into the scene where its flux is above this many standard errors: fainter ones are mostly noise.
const DRAWN_ABOVE: f64 = 3.0;
/// Light of others, in units of the sky noise per pixel, below which a stamp is as good as alone.
const ALONE_BELOW: f64 = 0.02;

thread_local! {
    static FITTER: RefCell<ProfileFitter> = RefCell::new(ProfileFitter::default());
}

/// Profiles of a field's objects.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// One per source; `None` where no fit was possible.
    fits: Vec<Option<Profile>>,
    /// Light of all fitted objects, without sky, image units.
    scene: Option<Plane>,
    /// Total light of the PSF over what its model holds, minus one.
    pub light_beyond: f64,
}

/// A fitted object on its way into the scene.
struct Fitted {
    profile: Profile,
    model: Plane,
    bounds: PixelBox,
}

impl Profiles {
    /// The profile of a source.
    pub fn get(&self, index: usize) -> Option<&Profile> {
        self.fits.get(index).and_then(Option::as_ref)
    }

    /// Cuts the stamp of a source with the light of the others taken off.
    pub fn cut(
        &self,
        field: &Field,
        gain: Option<f64>,
        index: usize,
        psf: &Plane,
        settings: &Settings,
    ) -> Result<Stamp, StampError> {
        let input = StampInput {
            image: &field.subtracted,
            mask: &field.mask,
            sky_rms: &field.sky_rms,
            gain,
            detections: &field.detections,
        };
        let Some(all) = &self.scene else { return stamp::cut(&input, index, &settings.stamp) };
        let own =
            field.detections.sources.get(index).zip(self.get(index).filter(|p| drawn(p))).and_then(|(source, p)| {
                let (bounds, centre) = stamp::frame(source, &settings.stamp);
                let place = ProfilePlace { side: bounds.nx, psf, factor: field.factor, centre };
                FITTER.with_borrow_mut(|fitter| fitter.render(p, &place)).ok()
            });
        stamp::cut_apart(&input, index, &settings.stamp, Some(Scene { all, own: own.as_ref() }))
    }
}

/// A profile of unit flux on the target grid of a stamp of `side` detector pixels.
pub fn unit_image(profile: &Profile, side: usize, factor: usize, target_fwhm: f64) -> Option<Plane> {
    let target2 = (target_fwhm * FWHM_TO_SIGMA / factor as f64).powi(2);
    FITTER.with_borrow_mut(|fitter| fitter.unit_image(profile, side, factor, target2)).ok()
}

/// Whether a profile is part of the scene.
fn drawn(profile: &Profile) -> bool {
    profile.flux > DRAWN_ABOVE * profile.flux_err
}

/// Share of a point's light that lies beyond the fitted PSF, in the middle of the field.
pub fn light_beyond(field: &Field) -> f64 {
    let (ny, nx) = field.subtracted.dim();
    let middle = ((nx as f64 - 1.0) / 2.0, (ny as f64 - 1.0) / 2.0);
    // Odd, and wide enough for the rings in which the wings are measured.
    let side = 2 * (4.0 * field.psf_fwhm * OVERSAMPLE as f64).ceil().min(200.0) as usize + 1;
    field
        .psf
        .evaluate(middle.0, middle.1, side, OVERSAMPLE)
        .map_or(0.0, |psf| photometry::light_beyond(&psf.image, OVERSAMPLE, field.psf_fwhm))
}

/// Fits every source of a field.
pub fn fit_profiles(
    field: &Field,
    exposure: &Exposure,
    settings: &Settings,
    timings: &Timings,
) -> Result<Profiles, Failure> {
    let (gain, pixel_scale) = (exposure.gain, exposure.pixel_scale());
    let count = field.detections.sources.len();
    let (ny, nx) = field.subtracted.dim();
    let mut profiles = Profiles { fits: vec![None; count], scene: None, light_beyond: light_beyond(field) };
    let indices: Vec<usize> = (0..count).collect();
    for _ in 0..settings.profile.rounds.max(1) {
        let mut next = Plane::zeros((ny, nx));
        let mut fits = Vec::with_capacity(count);
        for chunk in indices.chunks(CHUNK) {
            timings.watch().check(&exposure.id, Stage::Renorm)?;
            let fitted: Vec<Option<Fitted>> =
                chunk.par_iter().map(|&index| fit_one(field, gain, pixel_scale, index, &profiles, settings)).collect();
            for fitted in fitted {
                if let Some(Fitted { profile, model, bounds }) = &fitted
                    && drawn(profile)
                {
                    paste(&mut next, bounds, model);
                }
                fits.push(fitted.map(|f| f.profile));
            }
        }
        profiles.fits = fits;
        profiles.scene = Some(next);
    }
    Ok(profiles)
}

/// Samples per pixel of the PSF whose wings are measured.
const OVERSAMPLE: usize = 2;

fn fit_one(
    field: &Field,
    gain: Option<f64>,
    pixel_scale: Option<f64>,
    index: usize,
    profiles: &Profiles,
    settings: &Settings,
) -> Option<Fitted> {
    let source = field.detections.sources.get(index)?;
    let (bounds, centre) = stamp::frame(source, &settings.stamp);
    let side = bounds.nx;
    let psf = field.psf.evaluate(source.x, source.y, side * field.factor - 1, field.factor).ok()?.image;
    let stamp = profiles.cut(field, gain, index, &psf, settings).ok()?;
    let before = profiles.get(index);
    let place = ProfilePlace { side, psf: &psf, factor: field.factor, centre };
    if let (Some(profile), Some(light)) = (before, stamp.others)
        && light < ALONE_BELOW * stamp.sigma
    {
        let model = FITTER.with_borrow_mut(|fitter| fitter.render(profile, &place)).ok()?;
        return Some(Fitted { profile: profile.clone(), model, bounds });
    }
    let psf_fwhm = field.widths.at(source.x, source.y);
    let prior = match pixel_scale {
        Some(scale) if scale > 0.0 => settings.profile.size / scale,
        _ => settings.profile.size_in_psf * psf_fwhm * FWHM_TO_SIGMA,
    };
    let input = ProfileInput {
        observed: &stamp.observed,
        weight: &stamp.weight,
        psf: &psf,
        factor: field.factor,
        centre,
        psf_fwhm,
        size2: prior * prior,
        target2: (settings.deconv.target_fwhm * FWHM_TO_SIGMA / field.factor as f64).powi(2),
        psf_err: field.psf.uncertainty(source.x, source.y).map_or((0.0, 0.0), |u| (u.size, u.ellipticity)),
    };
    let start = before.map(|p| &p.shape);
    let (profile, model) = FITTER.with_borrow_mut(|fitter| fitter.fit(&input, start, &settings.profile)).ok()?;
    Some(Fitted { profile, model, bounds })
}

/// Sigma of a Gaussian = FWHM * this.
const FWHM_TO_SIGMA: f64 = 0.424_660_900_144_009_5;

/// Adds a stamp to a plane, where they overlap.
fn paste(plane: &mut Plane, bounds: &PixelBox, stamp: &Plane) {
    let (ny, nx) = plane.dim();
    let Some((x0, x1, y0, y1)) = bounds.clip(nx, ny) else { return };
    let (sx, sy) = ((x0 as isize - bounds.x0) as usize, (y0 as isize - bounds.y0) as usize);
    let mut to = plane.slice_mut(ndarray::s![y0..y1, x0..x1]);
    to += &stamp.slice(ndarray::s![sy..sy + y1 - y0, sx..sx + x1 - x0]);
}
