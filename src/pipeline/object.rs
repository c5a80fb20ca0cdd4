//! What is done for every object: stamp, Tikhonov step, amplitude, shape, residual tests.

use std::time::{Duration, Instant};

use ndarray::{Array2, s};

use super::Field;
use super::profiles::{Profiles, unit_image};
use crate::catalog::Flags;
use crate::deconv::{DebiasInput, DeconvError, Deconvolved, TikhonovInput, Workspace, debias, observed_on_target};
use crate::image::Plane;
use crate::network::{Companions, NetworkInput};
use crate::photometry::{self, Amplitude, FalseStructure, HalfLight, Moments, MomentsSettings, Profile};
use crate::psf::PsfError;
use crate::settings::Settings;
use crate::stamp::{self, Stamp, StampError};

/// Sigma of a Gaussian = FWHM * this.
const FWHM_TO_SIGMA: f64 = 0.424_660_900_144_009_5;

/// Factors by which an output may be brought to the total flux.
const SCALES: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// Why an object got no stamp or no deconvolved image; the exposure goes on.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No stamp.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// No PSF at its place.
    #[error(transparent)]
    Psf(#[from] PsfError),
    /// No deconvolution.
    #[error(transparent)]
    Deconv(#[from] DeconvError),
}

/// An object up to the network. Planes on the target grid have side n * factor.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its cut-out.
    pub stamp: Stamp,
    /// Effective PSF on the target grid, odd side, centred, sum 1.
    pub psf: Plane,
    /// FWHM of the PSF at the object, detector pixels.
    pub psf_fwhm: f64,
    /// Moments of the PSF at the object, on the target grid.
    pub psf_moments: Option<Moments>,
    /// The Tikhonov step's result.
    pub deconvolved: Deconvolved,
    /// The sharper and the smoother estimate beside it, where the network wants them.
    pub companions: Option<(Deconvolved, Deconvolved)>,
    /// The observed image on the target grid, where the network wants it.
    pub observed: Option<Plane>,
    /// Total flux from the profile fit; `None` where it failed.
    pub total: Option<TotalFlux>,
    /// The profile fit; `None` where it failed.
    pub profile: Option<Profile>,
    /// Time that cutting took on its core.
    pub cutting: Duration,
    /// Time that all of it took on its core.
    pub preparing: Duration,
}

/// Total flux of an object, image units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TotalFlux {
    /// Flux, with the light beyond the PSF model's reach.
    pub flux: f64,
    /// Its standard error: pixel noise, sky, the profile's freedom, and the width of the PSF.
    pub flux_err: f64,
}

impl TotalFlux {
    /// From a fitted profile. `light_beyond` is the PSF's light that its model does not hold, `psf_sigma` its width in detector pixels, and
    /// `psf_size_err` the relative uncertainty of its width's square: a point's amplitude follows that by half, and the less the
    /// larger the object (the fit of a point holds it already).
    fn of(profile: &Profile, light_beyond: f64, psf_sigma: f64, psf_size_err: f64) -> Self {
        let flux = profile.flux * (1.0 + light_beyond);
        let (psf2, size2) = (psf_sigma * psf_sigma, profile.shape.ln_size2.exp());
        let from_psf = 0.5 * psf_size_err * psf2 / (psf2 + size2) * (1.0 - profile.point) * flux;
        Self { flux, flux_err: (profile.flux_err * (1.0 + light_beyond)).hypot(from_psf) }
    }
}

/// An object's final planes and numbers.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Final image at the target PSF, scaled to the observed pixels, target grid.
    pub image: Plane,
    /// Observed minus re-convolved final image minus the fitted sky, detector grid.
    pub residual: Plane,
    /// The amplitude fit; `None` where it failed.
    pub amplitude: Option<Amplitude>,
    /// Total flux from the profile fit, image units; amplitude times the output's sum where that failed, NaN where both did.
    pub flux: f64,
    /// Its standard error.
    pub flux_err: f64,
    /// Signal-to-noise ratio: flux over the standard error that pixel noise and sky alone leave for this profile; NaN where all failed.
    pub snr: f64,
    /// Moments of the final image, target pixels; `None` where they did not converge.
    pub moments: Option<Moments>,
    /// Half-light radius of the final image, target pixels.
    pub half_light: Option<HalfLight>,
    /// Small-scale structure that the data reject.
    pub structure: Option<FalseStructure>,
    /// Flags from measuring.
    pub flags: Flags,
}

/// What a network wants beside the Tikhonov estimate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// The sharper and the smoother estimate.
    pub companions: bool,
    /// The observed image on the target grid.
    pub observed: bool,
}

/// Cuts, evaluates the PSF and deconvolves one source; `wanted`: what the network takes besides.
pub fn prepare_object(
    field: &Field,
    gain: Option<f64>,
    index: usize,
    profiles: &Profiles,
    wanted: Wanted,
    settings: &Settings,
    workspace: &mut Workspace,
) -> Result<Prepared, ObjectError> {
    let Some(source) = field.detections.sources.get(index) else {
        let count = field.detections.sources.len();
        return Err(StampError::NoSuchSource { index, count }.into());
    };
    let (x, y) = (source.x, source.y);
    let n = stamp::side_for(source, &settings.stamp);
    let psf = field.psf.evaluate(x, y, n * field.factor - 1, field.factor)?.image;
    let began = Instant::now();
    let stamp = profiles.cut(field, gain, index, &psf, settings)?;
    let cutting = began.elapsed();
    let psf_fwhm = field.widths.at(x, y);
    let middle = (psf.nrows() / 2) as f64;
    let moments_start = MomentsSettings {
        start_sigma: (psf_fwhm * field.factor as f64 * FWHM_TO_SIGMA).max(0.7),
        ..MomentsSettings::default()
    };
    let psf_moments = photometry::adaptive_moments(&psf, None, None, (middle, middle), &moments_start).ok();
    let input = TikhonovInput {
        observed: &stamp.observed,
        psf: &psf,
        centre: stamp.centre,
        sigma: stamp.sigma,
        flux: source.flux,
        half_light_radius: source.half_light_radius,
    };
    let deconvolved = workspace.tikhonov(&input, field.factor, &settings.deconv)?;
    let companions = wanted
        .companions
        .then(|| workspace.companions(&input, field.factor, &settings.deconv, deconvolved.lambda))
        .transpose()?;
    let observed = wanted
        .observed
        .then(|| observed_on_target(&stamp.observed, stamp.centre, field.factor, settings.deconv.taper))
        .transpose()?;
    let psf_size_err = field.psf.uncertainty(x, y).map_or(0.0, |u| u.size);
    let total =
        profiles.get(index).map(|p| TotalFlux::of(p, profiles.light_beyond, psf_fwhm * FWHM_TO_SIGMA, psf_size_err));
    let profile = profiles.get(index).cloned();
    Ok(Prepared {
        stamp,
        psf,
        psf_fwhm,
        psf_moments,
        deconvolved,
        companions,
        observed,
        total,
        profile,
        cutting,
        preparing: began.elapsed(),
    })
}

/// The PSF as networks and stamp files have it: side n * factor, centred on pixel n * factor / 2.
pub fn centred_psf(psf: &Plane, side: usize) -> Plane {
    let mut grid = Array2::zeros((side, side));
    let half = psf.nrows() / 2;
    let corner = (side / 2).saturating_sub(half);
    let length = psf.nrows().min(side - corner);
    grid.slice_mut(s![corner..corner + length, corner..corner + length]).assign(&psf.slice(s![..length, ..length]));
    grid
}

/// What a network is given of an object.
pub fn network_input(prepared: &Prepared, factor: usize, target_fwhm: f64) -> NetworkInput {
    let side = prepared.deconvolved.image.nrows();
    NetworkInput {
        tikhonov: prepared.deconvolved.image.clone(),
        psf: centred_psf(&prepared.psf, side),
        noise_sigma: prepared.deconvolved.noise_sigma,
        sky_sigma: prepared.stamp.sigma / (factor * factor) as f64,
        psf_fwhm: prepared.psf_fwhm * factor as f64,
        target_fwhm,
        companions: prepared.companions.as_ref().map(|(sharper, smoother)| Companions {
            sharper: sharper.image.clone(),
            noise_sharper: sharper.noise_sigma,
            smoother: smoother.image.clone(),
            noise_smoother: smoother.noise_sigma,
        }),
        observed: prepared.observed.clone(),
    }
}

/// Radii, target pixels, within which an object's output counts in full and beyond which not at all.
pub fn window(prepared: &Prepared, factor: usize) -> (f64, f64) {
    let inner = prepared.stamp.reach * factor as f64;
    (inner, inner + (0.5 * inner).max(1.0))
}

/// A deconvolved image within the object's reach, falling to 0 over half of that again. Beyond it there is only noise, or what a
/// network left of it, which would count in the flux with the weight of the whole stamp.
pub fn windowed(image: &Plane, prepared: &Prepared, factor: usize) -> Plane {
    let centre = (image.nrows() / 2) as f64;
    let (inner, outer) = window(prepared, factor);
    let width = outer - inner;
    let mut inside = image.clone();
    for ((j, i), value) in inside.indexed_iter_mut() {
        let out = ((i as f64 - centre).hypot(j as f64 - centre) - inner) / width;
        let weight = 0.5 + 0.5 * (std::f64::consts::PI * out.clamp(0.0, 1.0)).cos();
        *value = (weight * f64::from(*value)) as f32;
    }
    inside
}

/// Refits the amplitude of a deconvolved image to the observed pixels, measures it and tests what is left.
pub fn measure(
    prepared: &Prepared,
    output: &Plane,
    factor: usize,
    settings: &Settings,
    workspace: &mut Workspace,
) -> Result<Measured, ObjectError> {
    let Prepared { stamp, psf, deconvolved, .. } = prepared;
    let target_fwhm = settings.deconv.target_fwhm;
    let model = workspace.forward_model(output, psf, stamp.centre, factor, target_fwhm)?;
    let mut flags = Flags::empty();
    let amplitude = photometry::renormalise(&stamp.observed, &stamp.weight, &[&model], &settings.renorm)
        .inspect_err(|error| flags |= error.flag())
        .ok();
    let (alpha, alpha_err, sky) =
        amplitude.as_ref().map_or((1.0, f64::NAN, 0.0), |fit| (fit.alpha, fit.alpha_err, fit.sky));
    let mut image = output.mapv(|v| (f64::from(v) * alpha) as f32);
    // Wings that fell to the window have the profile's shape; what remains of a difference to the total flux, the output's.
    let unit =
        prepared.profile.as_ref().and_then(|profile| unit_image(profile, stamp.observed.nrows(), factor, target_fwhm));
    let complete = |image: &mut Plane, with_wings: bool| {
        let (Some(unit), Some(total)) = (&unit, &prepared.total) else { return };
        let sum = |plane: &Plane| plane.iter().map(|&v| f64::from(v)).sum::<f64>();
        let mut wings = Plane::zeros(image.dim());
        if with_wings {
            wings = unit - &windowed(unit, prepared, factor);
            wings.mapv_inplace(|v| (f64::from(v) * total.flux) as f32);
        }
        let scale = (total.flux - sum(&wings)) / sum(image);
        if SCALES.contains(&scale) {
            image.mapv_inplace(|v| (f64::from(v) * scale) as f32);
            *image += &wings;
        } else {
            // The output has hardly any flux of its own, or of the other sign: the profile is all there is to add.
            let missing = (total.flux - sum(image)) as f32;
            image.scaled_add(missing, unit);
        }
    };
    let without_sky = stamp.observed.mapv(|v| (f64::from(v) - sky) as f32);
    // What is tested for structure that nobody saw is the network's own output: a profile has none.
    let mut left = without_sky.clone();
    left.scaled_add(-alpha as f32, &model);
    let structure = false_structure(&image, prepared, &left, factor, settings, workspace);
    if let Some(structure) = &structure {
        flags.set(Flags::FALSE_STRUCTURE, structure.score > settings.quality.false_structure);
    }
    complete(&mut image, true);
    if settings.debias.steps > 0 && alpha > settings.debias.min_snr * alpha_err {
        let input = DebiasInput {
            image: &image,
            observed: &without_sky,
            weight: &stamp.weight,
            psf,
            centre: stamp.centre,
            factor,
            target_fwhm,
            noise_sigma: deconvolved.noise_sigma,
        };
        image = debias(&input, &settings.debias, workspace)?;
        complete(&mut image, false);
    }
    let model = workspace.forward_model(&image, psf, stamp.centre, factor, target_fwhm)?;
    // The amplitude is that of the network's output; the tests are those of what is given out.
    let amplitude =
        amplitude.map(|fit| match photometry::renormalise(&without_sky, &stamp.weight, &[&model], &settings.renorm) {
            Ok(tests) => Amplitude { alpha, alpha_err, sky, sky_err: fit.sky_err, ..tests },
            Err(_) => fit,
        });
    let residual = without_sky - &model;
    let sum: f64 = output.iter().map(|&v| f64::from(v)).sum();
    let (flux, flux_err) = match (&prepared.total, &amplitude) {
        (Some(total), _) => (total.flux, total.flux_err),
        (None, Some(_)) => (alpha * sum, alpha_err * sum.abs()),
        (None, None) => (f64::NAN, f64::NAN),
    };
    let snr = match (&prepared.profile, &amplitude) {
        (Some(profile), _) => profile.flux / profile.noise_err,
        (None, Some(fit)) => fit.alpha / fit.alpha_err,
        (None, None) => f64::NAN,
    };
    flags.set(Flags::NEGATIVE, flux < 0.0);

    let (moments, half_light) = match prepared.profile.as_ref().and_then(|p| as_seen(p, image.nrows(), factor)) {
        Some((moments, half_light)) => (Some(moments), Some(half_light)),
        None => {
            // Without a profile, the pixels; the noise of the Tikhonov step bounds that of the network's output from above.
            let centre = (image.nrows() / 2) as f64;
            let start_sigma = (target_fwhm * FWHM_TO_SIGMA).max(0.7) * 1.5;
            let start = MomentsSettings { start_sigma, ..MomentsSettings::default() };
            let noise = Some(deconvolved.noise_sigma * alpha.abs());
            let moments = photometry::adaptive_moments(&image, None, noise, (centre, centre), &start)
                .inspect_err(|error| flags |= error.flag())
                .ok();
            let half_light = moments.as_ref().and_then(|m| photometry::half_light_radius(&image, m, noise).ok());
            (moments, half_light)
        }
    };
    if half_light.is_none() {
        flags |= Flags::SHAPE_FAILED;
    }
    if let Some(fit) = &amplitude {
        let unlike = fit.chi2_reduced > settings.quality.chi2_reduced
            || fit.lag1_significance > settings.quality.lag1_significance;
        flags.set(Flags::RESIDUAL_STRUCTURE, unlike);
    }
    Ok(Measured { image, residual, amplitude, flux, flux_err, snr, moments, half_light, structure, flags })
}

/// Moments and half-light radius of a fitted profile as seen with the target PSF, in target pixels.
fn as_seen(profile: &Profile, side: usize, factor: usize) -> Option<(Moments, HalfLight)> {
    let seen = profile.seen.as_ref()?;
    let (scale, middle) = (factor as f64, (side / 2) as f64);
    let [ixx, iyy, ixy] = seen.moments.map(|m| m * scale * scale);
    let size = ixx + iyy;
    let moments = Moments {
        x: middle + profile.shape.dx * scale,
        y: middle + profile.shape.dy * scale,
        ixx,
        iyy,
        ixy,
        e1: (ixx - iyy) / size,
        e2: 2.0 * ixy / size,
        covariance: seen.covariance.map(|row| row.map(|v| v * scale.powi(4))),
        flux: profile.flux,
        rho4: f64::NAN,
        steps: profile.steps,
    };
    let half_light = HalfLight {
        radius: seen.half_light_radius * scale,
        radius_err: f64::NAN,
        flux: profile.flux,
        reach: f64::NAN,
        background: 0.0,
    };
    Some((moments, half_light))
}

/// Third starlet scale of the output, tested patch by patch against the residual; `None` where it cannot be computed.
fn false_structure(
    image: &Plane,
    prepared: &Prepared,
    residual: &Plane,
    factor: usize,
    settings: &Settings,
    workspace: &mut Workspace,
) -> Option<FalseStructure> {
    const SCALE: usize = 3;
    let scales = crate::deconv::starlet::transform(image, SCALE).ok()?;
    let third = scales.details.get(SCALE - 1)?;
    // A network's output is nearly free of noise outside the object: its own scatter there says nothing. The noise of the step
    // before it is the least that a structure must stand out from.
    let noise = crate::deconv::starlet::noise_levels(SCALE).ok()?.last()? * prepared.deconvolved.noise_sigma;
    let workspace = std::cell::RefCell::new(workspace);
    let reconvolve = |plane: &Plane| {
        workspace
            .borrow_mut()
            .forward_model(plane, &prepared.psf, prepared.stamp.centre, factor, settings.deconv.target_fwhm)
            .unwrap_or_else(|_| Plane::zeros(residual.dim()))
    };
    photometry::false_structure(third, Some(noise), residual, &prepared.stamp.weight, &reconvolve, &settings.structure)
        .ok()
}
