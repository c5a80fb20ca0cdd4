//! The images of an object in all bands.

use num_complex::Complex64;

use super::proximal::{self, Search};
use super::{Affine, JointError, Model, RelativePrior};
use crate::fourier::gaussian_half_spectrum;
use crate::image::Plane;

/// One observation of an object.
#[derive(Debug, Clone)]
pub struct Observation<'a> {
    /// Observed pixels, sky subtracted, in a flux unit common to all observations.
    pub pixels: &'a Plane,
    /// 1 / variance; 0 where a pixel is not to be used.
    pub weight: &'a Plane,
    /// Effective PSF (pixel response in) along the observation's own axes: odd square, centred on the central sample.
    pub psf: &'a Plane,
    /// Samples of `psf` per pixel of the observation.
    pub oversample: usize,
    /// From the observation's pixels to the target grid's.
    pub to_target: Affine,
    /// What it sees of each band: 1 for its own and 0 for the others, or the shares of a wide band.
    pub shares: Vec<f64>,
}

/// Settings of the joint deconvolution (`[joint]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JointSettings {
    /// FWHM of the target PSF, target pixels.
    pub target_fwhm: f64,
    /// Side of the target grid of a small object, target pixels; even.
    pub small: usize,
    /// Side of the target grid of a large object, target pixels; even.
    pub large: usize,
    /// Exponent of the prior's strengths, `2^(slope j)` at starlet scale j.
    pub slope: f64,
    /// Share of the relative images' variance that all bands have in common, 0 to below 1.
    pub common: f64,
    /// Times that the prior's amplitudes are taken from the images and the images made anew.
    pub passes: usize,
    /// How close to the posterior's maximum the search goes, in standard deviations of the data's chi-square / 2.
    pub gap: f64,
    /// Steps after which a search is given up; rows are flagged `NOT_CONVERGED`.
    pub most_steps: usize,
    /// Noise levels by which an image may fall below 0; 0 leaves it free.
    pub positivity: f64,
    /// Wide-band shares by name of the band; empty: from the exposures' own photometry.
    pub shares: std::collections::BTreeMap<String, f64>,
}

impl Default for JointSettings {
    fn default() -> Self {
        Self {
            target_fwhm: 2.0,
            small: 64,
            large: 128,
            slope: 1.5,
            common: 0.9,
            passes: 3,
            gap: 0.005,
            most_steps: 1000,
            positivity: 0.0,
            shares: std::collections::BTreeMap::new(),
        }
    }
}

impl JointSettings {
    fn check(&self) -> Result<(), JointError> {
        let checks = [
            ("common", self.common, (0.0..=0.999).contains(&self.common), "0 to 0.999"),
            ("slope", self.slope, (0.0..=4.0).contains(&self.slope), "0 to 4"),
            ("gap", self.gap, self.gap > 0.0 && self.gap.is_finite(), "positive"),
            ("passes", self.passes as f64, (1..=10).contains(&self.passes), "1 to 10"),
            ("positivity", self.positivity, self.positivity >= 0.0 && self.positivity.is_finite(), "0 or positive"),
        ];
        match checks.into_iter().find(|c| !c.2) {
            Some((name, value, _, needed)) => Err(JointError::Setting { name, value, needed }),
            None => Ok(()),
        }
    }
}

/// Smoothing of the first amplitudes, in target FWHM; the observed pixels have the seeing's width already.
const FIRST_SMOOTHING: f64 = 2.0;
/// Smoothing of the later amplitudes, in target FWHM.
const SMOOTHING: f64 = 1.5;
/// Least amplitude, in noise per target pixel of the band's own observations.
const LEAST_AMPLITUDE: f64 = 0.175;
/// How far a wide band's shares may be scaled to fit an object.
const SCALING: (f64, f64) = (0.7, 1.4);
/// Signal-to-noise ratio of a wide band above which they are.
const SCALING_SNR: f64 = 20.0;
/// Steps whose gain together tells what was missing before them.
const DELAY: usize = 6;

/// An object in all bands.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Sky as seen with the target PSF, flux per target pixel; (side, side) each, in the order of the bands.
    pub images: Vec<Plane>,
    /// Model of each observation at its usable pixels.
    pub models: Vec<Vec<f64>>,
    /// Chi-square of each observation about its model.
    pub chi2: Vec<f64>,
    /// By how much the shares of each observation of several bands were scaled; 1 for the others.
    pub scaling: Vec<f64>,
    /// Steps of all passes.
    pub steps: usize,
    /// What the last search left between the images' log posterior and its maximum.
    pub gap: f64,
    /// Whether every search came as close as asked.
    pub converged: bool,
}

/// Estimates the images of the model's bands.
///
/// The posterior's maximum under the prior of [`RelativePrior`] is found by conjugate gradients on the prior's own white noise. A search
/// ends where what it was short of the maximum some steps ago, which is at least what those steps gained (Strakos & Tichy 2002, ETNA 13, 56),
/// has fallen below `gap` standard deviations (`sqrt(pixels / 2)`) of the data's own scatter. With `positivity` an accelerated proximal
/// gradient follows, whose bound of the gap is rigorous. The amplitudes come from the observed light first, then from the images.
///
/// # Errors
/// Settings out of range, a band without an observation of its own, no usable pixel.
pub fn deconvolve(model: &mut Model, settings: &JointSettings) -> Result<Estimate, JointError> {
    settings.check()?;
    let (n, bands) = (model.side(), model.bands());
    if model.pixels() == 0 || bands == 0 {
        return Err(JointError::NoData);
    }
    let mut light = Vec::with_capacity(bands);
    let mut floor = Vec::with_capacity(bands);
    for band in 0..bands {
        if !(0..model.observations()).any(|o| model.sees_alone(o, band) && model.usable(o) > 0) {
            return Err(JointError::Unseen(band));
        }
        let coarsest = (0..model.observations())
            .filter(|o| model.sees_alone(*o, band))
            .map(|o| model.area(o).sqrt())
            .fold(1.0, f64::max);
        let (seen, noise) = model.seen(band, (FIRST_SMOOTHING * settings.target_fwhm).max(2.0 * coarsest))?;
        light.push(seen);
        floor.push(LEAST_AMPLITUDE * noise);
    }
    let mut prior = RelativePrior::new(n, settings.slope, settings.common, amplitudes(&light, &floor));
    let smooth = gaussian_half_spectrum(n, n, SMOOTHING * settings.target_fwhm);
    let allowed = settings.gap * (0.5 * model.pixels() as f64).sqrt();
    let mut scaling = vec![1.0; model.observations()];
    let mut v = vec![vec![Complex64::default(); smooth.len()]; prior.planes()];
    let mut total = Search { steps: 0, gap: f64::INFINITY, converged: true };
    let mut images = Vec::new();
    for pass in 0..settings.passes {
        let search = conjugate_gradients(model, &prior, &mut v, allowed, settings.most_steps)?;
        total.steps += search.steps;
        (total.gap, total.converged) = (search.gap, total.converged && search.converged);
        images = prior.images(&v, model)?;
        if pass + 1 == settings.passes {
            break;
        }
        for (image, light) in images.iter().zip(&mut light) {
            let smoothed: Vec<Complex64> = image.iter().zip(&smooth).map(|(x, g)| x * g).collect();
            model.inverse(&smoothed, light)?;
        }
        prior.set_amplitude(amplitudes(&light, &floor));
        scale_wide(model, &images, &mut scaling)?;
    }
    let mut planes: Vec<Vec<f64>> = Vec::with_capacity(bands);
    for image in &images {
        let mut plane = vec![0.0; n * n];
        model.inverse(image, &mut plane)?;
        planes.push(plane);
    }
    if settings.positivity > 0.0 {
        let below: Vec<f64> = floor.iter().map(|f| settings.positivity * f / LEAST_AMPLITUDE).collect();
        let search = positive(model, &prior, &mut planes, &below, allowed, settings.most_steps)?;
        total = Search { steps: total.steps + search.steps, converged: total.converged && search.converged, ..search };
        for (image, plane) in images.iter_mut().zip(&planes) {
            model.transform(plane, image)?;
        }
    }
    let models = model.forward(&images)?;
    let chi2 = models
        .iter()
        .enumerate()
        .map(|(o, m)| m.iter().zip(model.values(o)).zip(model.weights(o)).map(|((m, y), w)| w * (y - m).powi(2)).sum())
        .collect();
    let images = planes
        .into_iter()
        .map(|p| Plane::from_shape_fn((n, n), |(y, x)| p.get(y * n + x).copied().unwrap_or(0.0) as f32))
        .collect();
    Ok(Estimate { images, models, chi2, scaling, steps: total.steps, gap: total.gap, converged: total.converged })
}

fn amplitudes(light: &[Vec<f64>], floor: &[f64]) -> Vec<Vec<f64>> {
    light.iter().zip(floor).map(|(light, f)| light.iter().map(|v| v.hypot(*f)).collect()).collect()
}

/// Minimises half of `|v|^2 + |A B v - y|^2_W`, `B` the prior's operator, from a start.
fn conjugate_gradients(
    model: &mut Model,
    prior: &RelativePrior,
    v: &mut [Vec<Complex64>],
    allowed: f64,
    most_steps: usize,
) -> Result<Search, JointError> {
    let curve = |q: &[Vec<Complex64>], model: &mut Model| -> Result<Vec<Vec<Complex64>>, JointError> {
        let images = prior.images(q, model)?;
        let back = model.normal(&images)?;
        let mut out = prior.images_adjoint(&back, model)?;
        add(&mut out, 1.0, q);
        Ok(out)
    };
    let data = model.data()?;
    let mut residual = prior.images_adjoint(&data, model)?;
    let at_start = curve(v, model)?;
    add(&mut residual, -1.0, &at_start);
    let mut power = prior.dot(&residual, &residual);
    let mut direction = residual.clone();
    let mut search = Search { steps: 0, gap: 0.5 * power, converged: 0.5 * power <= allowed };
    let mut gains = [f64::INFINITY; DELAY];
    while !search.converged && search.steps < most_steps {
        search.steps += 1;
        let along = curve(&direction, model)?;
        let step = power / prior.dot(&direction, &along);
        if !step.is_finite() {
            break;
        }
        add(v, step, &direction);
        add(&mut residual, -step, &along);
        let next = prior.dot(&residual, &residual);
        let ratio = next / power;
        for (d, r) in direction.iter_mut().zip(&residual) {
            d.iter_mut().zip(r).for_each(|(d, r)| *d = r + *d * ratio);
        }
        gains[search.steps % DELAY] = 0.5 * step * power;
        power = next;
        // half the residual's square is a bound, since the curvature is at least 1; the steps' own gains are closer
        search.gap = gains.iter().sum::<f64>().min(0.5 * power);
        search.converged = search.gap <= allowed;
    }
    Ok(search)
}

fn add(to: &mut [Vec<Complex64>], factor: f64, what: &[Vec<Complex64>]) {
    for (to, what) in to.iter_mut().zip(what) {
        to.iter_mut().zip(what).for_each(|(t, w)| *t += w * factor);
    }
}

/// The same objective over the relative images, with the images bounded from below.
fn positive(
    model: &mut Model,
    prior: &RelativePrior,
    planes: &mut [Vec<f64>],
    below: &[f64],
    allowed: f64,
    most_steps: usize,
) -> Result<Search, JointError> {
    let n2 = model.side() * model.side();
    let half = (model.side() / 2 + 1) * model.side();
    let amplitude = prior.amplitude().to_vec();
    // half spectra of M u, or of u itself
    let spectra = |u: &[f64], times: bool, model: &mut Model| -> Result<Vec<Vec<Complex64>>, JointError> {
        let mut out = Vec::with_capacity(amplitude.len());
        for (u, m) in u.chunks_exact(n2).zip(&amplitude) {
            let plane: Vec<f64> = u.iter().zip(m).map(|(u, m)| if times { u * m } else { *u }).collect();
            let mut spectrum = vec![Complex64::default(); half];
            model.transform(&plane, &mut spectrum)?;
            out.push(spectrum);
        }
        Ok(out)
    };
    let back = |spectra: &[Vec<Complex64>], times: bool, model: &mut Model| -> Result<Vec<f64>, JointError> {
        let mut out = vec![0.0; n2 * amplitude.len()];
        for ((s, out), m) in spectra.iter().zip(out.chunks_exact_mut(n2)).zip(&amplitude) {
            model.inverse(s, out)?;
            if times {
                out.iter_mut().zip(m).for_each(|(o, m)| *o *= m);
            }
        }
        Ok(out)
    };
    let curve = |u: &[f64], model: &mut Model| -> Result<Vec<f64>, JointError> {
        let seen = spectra(u, true, model)?;
        let seen = model.normal(&seen)?;
        let mut out = back(&seen, true, model)?;
        let relative = spectra(u, false, model)?;
        let held = back(&prior.precision(&relative), false, model)?;
        out.iter_mut().zip(&held).for_each(|(o, h)| *o += h);
        Ok(out)
    };
    let length = n2 * amplitude.len();
    let largest = proximal::lipschitz(length, |u| curve(u, model))?;
    let data = model.data()?;
    let data = back(&data, true, model)?;
    let start: Vec<f64> = planes
        .iter()
        .zip(&amplitude)
        .flat_map(|(p, m)| p.iter().zip(m).map(|(p, m)| p / m).collect::<Vec<_>>())
        .collect();
    let lower: Vec<f64> =
        amplitude.iter().zip(below).flat_map(|(m, b)| m.iter().map(|m| -b / m).collect::<Vec<_>>()).collect();
    let convexity = prior.precision_range().0;
    let (u, search) = proximal::accelerated(start, &lower, (convexity, largest), allowed, most_steps, |u| {
        let mut slope = curve(u, model)?;
        slope.iter_mut().zip(&data).for_each(|(s, d)| *s -= d);
        Ok(slope)
    })?;
    for ((plane, u), m) in planes.iter_mut().zip(u.chunks_exact(n2)).zip(&amplitude) {
        plane.iter_mut().zip(u).zip(m).for_each(|((p, u), m)| *p = u * m);
    }
    Ok(search)
}

/// Scales the shares of every observation of several bands so that its model has the flux it shows: an object's spectrum within the
/// bands is its own.
fn scale_wide(model: &mut Model, images: &[Vec<Complex64>], scaling: &mut [f64]) -> Result<(), JointError> {
    let models = model.forward(images)?;
    for (o, (m, scale)) in models.iter().zip(scaling).enumerate() {
        let shares = model.shares(o).to_vec();
        if shares.iter().filter(|a| **a != 0.0).count() < 2 {
            continue;
        }
        let (mut top, mut bottom) = (0.0, 0.0);
        for ((m, y), w) in m.iter().zip(model.values(o)).zip(model.weights(o)) {
            top += w * y * m;
            bottom += w * m * m;
        }
        if bottom.sqrt() < SCALING_SNR {
            continue;
        }
        let wanted = (*scale * top / bottom).clamp(SCALING.0, SCALING.1);
        model.set_shares(o, shares.iter().map(|a| a * wanted / *scale).collect());
        *scale = wanted;
    }
    Ok(())
}
