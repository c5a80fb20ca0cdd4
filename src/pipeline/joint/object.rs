//! One object in all bands.

use super::{BandPlan, JointExposure, SkySource};
use crate::catalog::Flags;
use crate::image::{PixelBox, Plane, mask};
use crate::joint::{self, Affine, BandFlux, JointError, JointSettings, Model, Observation};
use crate::photometry::{self, MomentsSettings, SkyMoments};
use crate::psf::PsfError;

/// The target grid: its scale and how it is turned.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Target pixel, arcsec.
    pub scale: f64,
    /// FWHM of the target PSF, target pixels.
    pub fwhm: f64,
    /// Exposure whose axes the grid has.
    pub reference: usize,
}

/// A band of an object.
#[derive(Debug, Clone)]
pub struct BandMeasure {
    /// Flux, common unit.
    pub flux: BandFlux,
    /// Sky as seen with the target PSF, common unit per target pixel.
    pub image: Plane,
}

/// An object's result.
#[derive(Debug, Clone)]
pub struct JointObject {
    /// Per band of the plan; `None` where no exposure of it could be used here.
    pub bands: Vec<Option<BandMeasure>>,
    /// Exposures used.
    pub used: Vec<usize>,
    /// Moments on the sky of all bands together; `None` where they did not converge.
    pub shape: Option<SkyMoments>,
    /// Signal-to-noise ratio of all bands together.
    pub snr: f64,
    /// Chi-square per pixel over all exposures.
    pub chi2_reduced: f64,
    /// Steps of the solver.
    pub steps: usize,
    /// Factor on the wide band's shares that its flux here asked for; NaN without a wide band.
    pub wide_scaling: f64,
    /// Row flags.
    pub flags: Flags,
    /// Side of the target grid, pixels.
    pub side: usize,
}

/// Why an object has no result; the others go on.
#[derive(Debug, thiserror::Error)]
pub enum ObjectFailure {
    /// No exposure has usable pixels there.
    #[error("no exposure has usable pixels at the object")]
    Nowhere,
    /// The joint deconvolution refused.
    #[error(transparent)]
    Joint(#[from] JointError),
}

/// Share of the pixels about the object that must be usable.
const LEAST_COVERED: f64 = 0.5;
/// Largest side of a PSF, own pixels.
const PSF_SIDE: usize = 63;

/// An exposure's part in an object.
struct Cut {
    at: usize,
    pixels: Plane,
    weight: Plane,
    psf: Plane,
    oversample: usize,
    to_target: Affine,
    flags: Flags,
}

/// Deconvolves the object `index`.
pub fn deconvolve_object(
    exposures: &[JointExposure],
    sources: &[SkySource],
    index: usize,
    plan: &BandPlan,
    target: &Target,
    settings: &JointSettings,
) -> Result<JointObject, ObjectFailure> {
    let Some(source) = sources.get(index) else { return Err(ObjectFailure::Nowhere) };
    let needed = 2.0 * (source.reach / target.scale + 6.0);
    let side = if needed <= settings.small as f64 { settings.small } else { settings.large };
    let mut flags = Flags::empty();
    flags.set(Flags::TRUNCATED, needed > settings.large as f64);
    let jacobian = target_jacobian(exposures, source, target).ok_or(ObjectFailure::Nowhere)?;
    let mut cuts = Vec::new();
    for (at, e) in exposures.iter().enumerate().filter(|(at, _)| plan.shares[*at].is_some()) {
        match cut(e, at, source, jacobian, side, target) {
            Ok(Some(c)) => cuts.push(c),
            Ok(None) => {}
            Err(_) => flags |= Flags::PSF_FALLBACK,
        }
    }
    // bands that are seen here by an exposure of their own
    let sees = |c: &Cut, band: usize| {
        plan.shares[c.at].as_ref().is_some_and(|s| s.iter().enumerate().all(|(i, a)| (i == band) == (*a != 0.0)))
    };
    let here: Vec<usize> = (0..plan.bands.len()).filter(|b| cuts.iter().any(|c| sees(c, *b))).collect();
    flags.set(Flags::BAND_MISSING, here.len() < plan.bands.len());
    if here.is_empty() {
        return Err(ObjectFailure::Nowhere);
    }
    // a wide band is of use only where every band that it sees is there
    cuts.retain(|c| {
        let shares = plan.shares[c.at].as_deref().unwrap_or_default();
        shares.iter().enumerate().all(|(b, a)| *a == 0.0 || here.contains(&b))
    });
    let observations: Vec<Observation> = cuts
        .iter()
        .map(|c| Observation {
            pixels: &c.pixels,
            weight: &c.weight,
            psf: &c.psf,
            oversample: c.oversample,
            to_target: c.to_target,
            shares: here.iter().map(|b| plan.shares[c.at].as_ref().map_or(0.0, |s| s[*b])).collect(),
        })
        .collect();
    let mut model = Model::new(&observations, side, here.len(), target.fwhm)?;
    let estimate = joint::deconvolve(&mut model, settings)?;
    flags.set(Flags::NOT_CONVERGED, !estimate.converged);
    cuts.iter().for_each(|c| flags |= c.flags);

    let middle = (side / 2) as f64;
    let radius = |s: &SkySource| {
        let r = if s.radius.is_finite() { s.radius / target.scale } else { target.fwhm };
        r.max(0.5 * target.fwhm)
    };
    let others: Vec<(f64, f64, f64)> = sources
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != index)
        .filter_map(|(_, s)| {
            let (u, v) = on_grid(source, s, jacobian)?;
            (u.abs() < side as f64 && v.abs() < side as f64).then_some((u + middle, v + middle, radius(s)))
        })
        .collect();
    flags.set(Flags::NEIGHBOUR, !others.is_empty());
    let reach = (source.reach / target.scale).max(4.0 * radius(source)).max(3.0 * target.fwhm) + target.fwhm;
    let own = joint::ownership(side, (middle, middle, radius(source)), &others, reach);
    let fluxes = joint::band_fluxes(&mut model, &estimate, &own)?;
    flags.set(Flags::FIT_FAILED, fluxes.iter().any(|f| !f.flux.is_finite()));
    flags.set(Flags::NEGATIVE, fluxes.iter().any(|f| f.flux < 0.0));

    let together = joint::detection_image(&estimate, &fluxes);
    let (mut shape, mut snr) = (None, f64::NAN);
    if let Some((mut image, total)) = together {
        snr = total;
        image.iter_mut().zip(&own).filter(|(_, own)| !**own).for_each(|(v, _)| *v = 0.0);
        // white noise of the same power at the object's scale
        let noise = image.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() / total;
        let start =
            MomentsSettings { start_sigma: radius(source).max(0.5 * target.fwhm), ..MomentsSettings::default() };
        shape = photometry::adaptive_moments(&image, None, Some(noise), (middle, middle), &start)
            .ok()
            .map(|m| m.on_sky(jacobian));
    }
    flags.set(Flags::SHAPE_FAILED, shape.is_none());
    let pixels = model.pixels().max(1) as f64;
    let wide = cuts.iter().zip(&estimate.scaling).find(|(c, _)| exposures[c.at].wide && !sees_one(plan, c.at));
    let wide_scaling = wide.map_or(f64::NAN, |(_, s)| *s);
    let mut measured = fluxes.into_iter().zip(estimate.images);
    let bands = (0..plan.bands.len())
        .map(|b| here.contains(&b).then(|| measured.next()).flatten().map(|(flux, image)| BandMeasure { flux, image }))
        .collect();
    Ok(JointObject {
        bands,
        used: cuts.iter().map(|c| c.at).collect(),
        shape,
        snr,
        chi2_reduced: estimate.chi2.iter().sum::<f64>() / pixels,
        steps: estimate.steps,
        wide_scaling,
        flags,
        side,
    })
}

fn sees_one(plan: &BandPlan, at: usize) -> bool {
    plan.shares[at].as_ref().is_some_and(|s| s.iter().filter(|a| **a != 0.0).count() == 1)
}

/// d(east, north) / d(target pixel), arcsec: the reference's axes, or those of the first exposure that has the object.
fn target_jacobian(exposures: &[JointExposure], source: &SkySource, target: &Target) -> Option<[[f64; 2]; 2]> {
    let first = exposures.get(target.reference)?;
    let others = exposures.iter();
    std::iter::once(first).chain(others).find_map(|e| {
        let wcs = e.exposure.wcs.as_ref()?;
        let (x, y) = wcs.sky_to_pixel(source.ra, source.dec)?;
        let j = wcs.jacobian(x, y);
        let scale = target.scale / (j[0][0] * j[1][1] - j[0][1] * j[1][0]).abs().sqrt();
        scale.is_finite().then(|| j.map(|row| row.map(|v| v * scale)))
    })
}

/// Place of another source relative to the object, target pixels.
fn on_grid(object: &SkySource, other: &SkySource, jacobian: [[f64; 2]; 2]) -> Option<(f64, f64)> {
    let east = 3600.0 * (other.ra - object.ra) * object.dec.to_radians().cos();
    let north = 3600.0 * (other.dec - object.dec);
    let map = Affine { matrix: jacobian, offset: (0.0, 0.0) }.inverse()?;
    Some(map.apply(east, north))
}

/// The exposure's pixels about the object; `None` where it does not have it, an error where it has no PSF there.
fn cut(
    e: &JointExposure,
    at: usize,
    source: &SkySource,
    jacobian: [[f64; 2]; 2],
    side: usize,
    target: &Target,
) -> Result<Option<Cut>, PsfError> {
    let Some(wcs) = &e.exposure.wcs else { return Ok(None) };
    let Some((x, y)) = wcs.sky_to_pixel(source.ra, source.dec) else { return Ok(None) };
    let (ny, nx) = e.exposure.shape();
    let own = wcs.jacobian(x, y);
    // own pixel -> sky -> target pixel
    let Some(to_target) = Affine { matrix: jacobian, offset: (0.0, 0.0) }.inverse() else { return Ok(None) };
    let [[a, b], [c, d]] = to_target.matrix;
    let matrix = [
        [a * own[0][0] + b * own[1][0], a * own[0][1] + b * own[1][1]],
        [c * own[0][0] + d * own[1][0], c * own[0][1] + d * own[1][1]],
    ];
    let ratio = (matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]).abs().sqrt();
    if !(ratio.is_finite() && ratio > 0.05) {
        return Ok(None);
    }
    // the grid's corners, wherever the rotation puts them
    let size = ((side as f64 * std::f64::consts::SQRT_2 / ratio).ceil() as usize + 3).min(4 * side);
    let bounds = PixelBox::centred(x, y, size);
    let Some((x0, x1, y0, y1)) = bounds.clip(nx, ny) else { return Ok(None) };
    let (mut pixels, mut weight) = (Plane::zeros((y1 - y0, x1 - x0)), Plane::zeros((y1 - y0, x1 - x0)));
    let (mut near, mut usable, mut saturated) = (0usize, 0usize, false);
    let reach = source.radius / target.scale / ratio;
    let reach = if reach.is_finite() { reach.clamp(2.0, 10.0) } else { 2.0 };
    let unit = e.unit;
    let light = |column: usize, row: usize| {
        // the surroundings without the pixel itself: a weight must not know its own pixel's noise
        let (mut sum, mut count) = (0.0, 0);
        for r in row.saturating_sub(1)..(row + 2).min(ny) {
            for c in column.saturating_sub(1)..(column + 2).min(nx) {
                if (r, c) != (row, column) && e.field.mask[(r, c)] & mask::UNUSABLE == 0 {
                    sum += f64::from(e.field.subtracted[(r, c)]);
                    count += 1;
                }
            }
        }
        if count > 0 { (sum / f64::from(count)).max(0.0) } else { 0.0 }
    };
    for row in y0..y1 {
        for column in x0..x1 {
            let bits = e.field.mask[(row, column)];
            let rms = f64::from(e.field.sky_rms[(row, column)]);
            let value = e.field.subtracted[(row, column)];
            let good = bits & mask::UNUSABLE == 0 && value.is_finite() && rms.is_finite() && rms > 0.0;
            if (column as f64 - x).hypot(row as f64 - y) <= reach {
                near += 1;
                usable += usize::from(good);
                saturated |= bits & mask::SATURATED != 0;
            }
            if good {
                let at = (row - y0, column - x0);
                pixels[at] = (f64::from(value) * unit) as f32;
                let shot = e.exposure.gain.filter(|g| *g > 0.0).map_or(0.0, |g| light(column, row) / g);
                weight[at] = (1.0 / (unit * unit * (rms * rms + shot))) as f32;
            }
        }
    }
    let expected = std::f64::consts::PI * reach * reach;
    if near == 0 || (usable as f64) < LEAST_COVERED * (near as f64).max(0.8 * expected) {
        return Ok(None);
    }
    let oversample = ((1.5 * ratio).ceil() as usize).clamp(2, 8);
    let own_side = ((10.0 * e.field.psf_fwhm).ceil() as usize).clamp(15, PSF_SIDE);
    let psf = e.field.psf.evaluate(x, y, own_side * oversample / 2 * 2 + 1, oversample)?.image;
    let middle = (side / 2) as f64;
    let corner = (x0 as f64 - x, y0 as f64 - y);
    let offset = (
        middle + matrix[0][0] * corner.0 + matrix[0][1] * corner.1,
        middle + matrix[1][0] * corner.0 + matrix[1][1] * corner.1,
    );
    let mut flags =
        e.field.flags & (Flags::PSF_DEGRADED | Flags::PSF_FALLBACK | Flags::VARIANCE_ESTIMATED | Flags::NO_ZERO_POINT);
    flags.set(Flags::SATURATED, saturated);
    flags.set(Flags::BAD_PIXELS, usable < near);
    let within = |v: f64, n: usize| v - reach >= -0.5 && v + reach <= n as f64 - 0.5;
    flags.set(Flags::EDGE, !within(x, nx) || !within(y, ny));
    Ok(Some(Cut { at, pixels, weight, psf, oversample, to_target: Affine { matrix, offset }, flags }))
}
