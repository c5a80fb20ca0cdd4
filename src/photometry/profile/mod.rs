//! Total flux of an object by a Bayesian profile fit to the observed pixels.
//!
//! The light before the seeing is a mixture of concentric elliptical Gaussians of one shape (multi-Gaussian expansion, Emsellem,
//! Monnet & Bacon 1994, A&A 285, 723; Hogg & Lang 2013, PASP 125, 719), widths in the fixed ratios [`SCALES`]:
//!
//! `y = S(H * sum_k F pi_k g_k(T, e1, e2, x, y)) + sky + noise`, `sum_k pi_k = 1`.
//!
//! The shares pi have a Gaussian prior with the mean and the covariance that galaxies have ([`SHARES_MEAN`]); ln T, e1, e2 and the centre
//! have Gaussian priors too. Linearised about the present shape, everything but the flux F and the sky is a small correction with a prior,
//! so that one ridge regression gives the step, and at the end the flux with a standard error that holds what the data cannot tell
//! of the object's profile. `docs/photometry.md` derives it.

mod grid;
mod prior;
mod seen;

use nalgebra::{DMatrix, DVector};

pub use grid::ProfileFitter;
pub use prior::{COMPONENTS, SCALES, SHARES_MEAN};
pub use seen::SeenMoments;

use self::grid::Images;
use self::prior::share_modes;
use super::{PhotometryError, same_shape, usable_weight};
use crate::image::Plane;

/// What is known of objects before they are looked at (`[profile]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileSettings {
    /// Median size before the seeing: standard deviation of the matched Gaussian along one axis, arcsec.
    pub size: f64,
    /// The same in units of the PSF's, where the pixel scale is not known.
    pub size_in_psf: f64,
    /// Scatter of the logarithm of the size's square.
    pub size_scatter: f64,
    /// Scatter of each component of the ellipticity.
    pub ellipticity: f64,
    /// Scatter of the true centre about the detected one, in units of the PSF's FWHM.
    pub shift: f64,
    /// Share of points (stars) among objects.
    pub points: f64,
    /// Most steps of the search for the shape.
    pub max_steps: usize,
    /// Rounds in which every object is fitted with the others' light taken off; 1 fits each as if it were alone.
    pub rounds: usize,
}

impl Default for ProfileSettings {
    fn default() -> Self {
        Self {
            size: 0.24,
            size_in_psf: 0.7,
            size_scatter: 1.3,
            ellipticity: 0.4,
            shift: 0.1,
            points: 0.1,
            max_steps: 8,
            rounds: 2,
        }
    }
}

/// One object to fit. Planes are (n, n), axes (row = y, column = x).
#[derive(Debug, Clone, Copy)]
pub struct ProfileInput<'a> {
    /// Observed pixels, sky and neighbours subtracted, image units.
    pub observed: &'a Plane,
    /// 1 / model variance; 0 where a pixel is not to be used.
    pub weight: &'a Plane,
    /// Effective PSF on the target grid: odd square, centred, unit sum.
    pub psf: &'a Plane,
    /// Samples of the PSF per detector pixel along each axis.
    pub factor: usize,
    /// Detected position in stamp pixels, 0-based: column, row.
    pub centre: (f64, f64),
    /// FWHM of the PSF, detector pixels.
    pub psf_fwhm: f64,
    /// Prior median of the square of the size, detector pixels^2.
    pub size2: f64,
    /// Variance of the target Gaussian along one axis, detector pixels^2.
    pub target2: f64,
    /// Uncertainty of the PSF: relative of its variance, and of each component of its ellipticity.
    pub psf_err: (f64, f64),
}

/// Where a profile is drawn.
#[derive(Debug, Clone, Copy)]
pub struct ProfilePlace<'a> {
    /// Side of the stamp, detector pixels.
    pub side: usize,
    /// Effective PSF on the target grid: odd square, centred, unit sum.
    pub psf: &'a Plane,
    /// Samples of the PSF per detector pixel along each axis.
    pub factor: usize,
    /// Detected position in stamp pixels, 0-based: column, row.
    pub centre: (f64, f64),
}

impl<'a> ProfileInput<'a> {
    fn place(&self) -> ProfilePlace<'a> {
        ProfilePlace { side: self.observed.nrows(), psf: self.psf, factor: self.factor, centre: self.centre }
    }
}

/// Shape of the light before the seeing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProfileShape {
    /// ln of the variance of the unit component along one axis (mean of the two), detector pixels^2.
    pub ln_size2: f64,
    /// Ellipticity (ixx - iyy) / (ixx + iyy).
    pub e1: f64,
    /// 2 ixy / (ixx + iyy).
    pub e2: f64,
    /// Centre relative to the detected position, detector pixels: column.
    pub dx: f64,
    /// As `dx`: row.
    pub dy: f64,
}

/// A fitted profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Total flux, image units: mean over both hypotheses, a galaxy and a point, by their probabilities.
    pub flux: f64,
    /// Its standard error: pixel noise, sky, what the data leave open of the profile and of the PSF, and the choice of hypothesis.
    pub flux_err: f64,
    /// Standard error of the flux for the mean profile: pixel noise and sky alone.
    pub noise_err: f64,
    /// Probability that the object is a point.
    pub point: f64,
    /// How it looks with the target PSF; `None` where its mixture has no moments.
    pub seen: Option<SeenMoments>,
    /// Local sky per pixel, image units, and its standard error.
    pub sky: (f64, f64),
    /// Shape.
    pub shape: ProfileShape,
    /// Standard errors of ln size^2, e1, e2, dx, dy: from the data and the priors.
    pub shape_err: [f64; 5],
    /// Share of the flux in each component; they add up to 1.
    pub shares: [f64; COMPONENTS],
    /// Steps taken.
    pub steps: usize,
    /// Whether the search ended of itself.
    pub converged: bool,
}

/// Parameters of the ridge regression besides flux and sky: three to five modes of the shares, then five of the shape.
const SHAPE: usize = 5;
/// The search ends when no parameter moves by more than this part of its own standard error.
const TOLERANCE: f64 = 0.02;
/// Largest ellipticity of a model.
const LARGEST_ELLIPTICITY: f64 = 0.9;

impl ProfileFitter {
    /// Fits one object; also returns what the detector would show of it, without the sky. `start` is where the search begins, if an
    /// earlier fit is known.
    ///
    /// # Errors
    /// Planes of different shapes, no usable pixel, or a PSF that shows nothing on the usable pixels.
    pub fn fit(
        &mut self,
        input: &ProfileInput,
        start: Option<&ProfileShape>,
        settings: &ProfileSettings,
    ) -> Result<(Profile, Plane), PhotometryError> {
        same_shape("weight", input.observed, input.weight)?;
        if input.observed.nrows() != input.observed.ncols() {
            let n = input.observed.nrows();
            return Err(PhotometryError::ShapeMismatch { what: "stamp", expected: (n, n), got: input.observed.dim() });
        }
        for (what, value) in [("PSF FWHM", input.psf_fwhm), ("prior size", input.size2)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(PhotometryError::BadGeometry { what, value });
            }
        }
        let grid = self.load(&input.place())?;
        let prior = ProfileShape { ln_size2: input.size2.ln(), e1: 0.0, e2: 0.0, dx: 0.0, dy: 0.0 };
        let shift = settings.shift * input.psf_fwhm;
        let scatter = [settings.size_scatter, settings.ellipticity, settings.ellipticity, shift, shift];
        let mut shape = start.copied().unwrap_or(prior);
        let mut scale: Option<f64> = None;
        let mut last: Option<Solution> = None;
        let mut converged = false;
        let mut steps = 0;
        for step in 1..=settings.max_steps.max(1) {
            steps = step;
            let images = grid.images(&shape)?;
            let flux_scale = match scale {
                Some(scale) => scale,
                None => {
                    let alone = regress(input, &images, 0, &[])?;
                    alone.flux().max(2.0 * alone.noise_err)
                }
            };
            let away = shape.minus(&prior);
            let solution = solve(input, &images, flux_scale, &away, &scatter)?;
            scale = Some(solution.flux().max(2.0 * solution.flux_err()));
            let delta = solution.shape_step(flux_scale);
            let errors = solution.shape_errors(flux_scale);
            let still = delta.iter().zip(errors).all(|(d, e)| d.abs() <= TOLERANCE * e);
            last = Some(solution);
            if still {
                converged = true;
                break;
            }
            if step < settings.max_steps {
                shape = shape.moved(delta, 0.3 * input.psf_fwhm);
            }
        }
        let Some(solution) = last else { return Err(PhotometryError::NoModels) };
        let used = scale.unwrap_or(1.0);
        let psf2 = (input.psf_fwhm * FWHM_TO_SIGMA).powi(2);
        let place = (shape.dx, shape.dy);
        let star = fit_point(grid, input, place, psf2, used, shift)?;
        let odds = (1.0 - settings.points) / settings.points * (solution.evidence - star.evidence).exp();
        let point = if odds.is_nan() { 0.0 } else { 1.0 / (1.0 + odds) };
        let flux = point * star.flux() + (1.0 - point) * solution.flux();
        let variance = |s: &Solution| s.covariance[(0, 0)].max(0.0) + (s.flux() - flux).powi(2);
        let mut shares = solution.shares(used);
        let seen = seen_moments(&solution, &shape, &shares, used, input.target2, point);
        if point > 0.5 {
            shares = std::array::from_fn(|k| if k == 0 { 1.0 } else { 0.0 });
        }
        let model = grid.mixture(&shape, &shares, flux)?;
        let profile = Profile {
            flux,
            flux_err: (point * variance(&star) + (1.0 - point) * variance(&solution)).sqrt(),
            noise_err: point * star.noise_err + (1.0 - point) * solution.noise_err,
            point,
            seen,
            sky: solution.sky(),
            shape,
            shape_err: solution.shape_errors(used),
            shares,
            steps,
            converged,
        };
        Ok((profile, model))
    }

    /// What the detector would show of a fitted profile, without the sky.
    ///
    /// # Errors
    /// A PSF or a centre that cannot be used.
    pub fn render(&mut self, profile: &Profile, place: &ProfilePlace) -> Result<Plane, PhotometryError> {
        self.load(place)?.mixture(&profile.shape, &profile.shares, profile.flux)
    }
}

impl ProfileShape {
    fn minus(&self, other: &Self) -> [f64; SHAPE] {
        [self.ln_size2 - other.ln_size2, self.e1 - other.e1, self.e2 - other.e2, self.dx - other.dx, self.dy - other.dy]
    }

    /// A step, kept within what a linearisation can promise.
    fn moved(&self, [size, e1, e2, dx, dy]: [f64; SHAPE], longest: f64) -> Self {
        let (mut e1, mut e2) = (self.e1 + e1.clamp(-0.3, 0.3), self.e2 + e2.clamp(-0.3, 0.3));
        let e = e1.hypot(e2);
        if e > LARGEST_ELLIPTICITY {
            (e1, e2) = (e1 * LARGEST_ELLIPTICITY / e, e2 * LARGEST_ELLIPTICITY / e);
        }
        Self {
            ln_size2: self.ln_size2 + size.clamp(-1.0, 1.0),
            e1,
            e2,
            dx: self.dx + dx.clamp(-longest, longest),
            dy: self.dy + dy.clamp(-longest, longest),
        }
    }
}

/// Sigma of a Gaussian = FWHM * this.
const FWHM_TO_SIGMA: f64 = 0.424_660_900_144_009_5;

/// A point in the same place, the PSF's width and shape free within their uncertainty.
fn fit_point(
    grid: &mut grid::Grid,
    input: &ProfileInput,
    (dx, dy): (f64, f64),
    psf2: f64,
    flux: f64,
    shift: f64,
) -> Result<Solution, PhotometryError> {
    let longest = 0.3 * input.psf_fwhm;
    let (mut dx, mut dy) = (dx.clamp(-3.0 * shift, 3.0 * shift), dy.clamp(-3.0 * shift, 3.0 * shift));
    // A PSF that claims to be exact still has the noise of its pixels' interpolation.
    let (size, ellipticity) = (input.psf_err.0.max(1e-4), input.psf_err.1.max(1e-4));
    let mut step = 0;
    loop {
        let images = grid.point_images((dx, dy), psf2)?;
        let scatter = [size, ellipticity, ellipticity, shift, shift];
        let away = [0.0, 0.0, 0.0, dx, dy];
        let priors: Vec<(f64, f64)> =
            scatter.iter().zip(away).map(|(s, a)| (1.0 / (flux * s).powi(2), -a * flux)).collect();
        let solution = regress(input, &images, priors.len(), &priors)?;
        step += 1;
        if step == POINT_STEPS {
            return Ok(solution);
        }
        let [_, _, _, sx, sy] = solution.shape_step(flux);
        (dx, dy) = (dx + sx.clamp(-longest, longest), dy + sy.clamp(-longest, longest));
    }
}

/// Steps of the search for a point's place.
const POINT_STEPS: usize = 3;

/// Moments and size at the target PSF, averaged over both hypotheses; their covariance from that of shares and shape.
fn seen_moments(
    solution: &Solution,
    shape: &ProfileShape,
    shares: &[f64; COMPONENTS],
    scale: f64,
    target2: f64,
    point: f64,
) -> Option<SeenMoments> {
    let galaxy = seen::moments(shape, shares, target2)?;
    let radius = seen::half_light_radius(shape, shares, target2)?;
    let modes = share_modes();
    let count = modes.len() + 3;
    let errors: Vec<f64> = (0..count)
        .map(|i| solution.covariance.get((i + 2, i + 2)).map_or(0.0, |v| v.max(0.0).sqrt() / scale))
        .collect();
    // Derivatives by differences over a tenth of each parameter's own error.
    let gradient: Vec<[f64; 3]> = errors
        .iter()
        .enumerate()
        .map(|(i, error)| {
            let step = (0.1 * error).max(1e-6);
            let moved = |sign: f64| -> [f64; 3] {
                let (mut shape, mut shares) = (*shape, *shares);
                match modes.get(i) {
                    Some((_, mode)) => shares.iter_mut().zip(mode).for_each(|(s, m)| *s += sign * step * m),
                    None => {
                        let mut delta = [0.0; SHAPE];
                        if let Some(slot) = delta.get_mut(i - modes.len()) {
                            *slot = sign * step;
                        }
                        shape = shape.moved(delta, 1.0);
                    }
                }
                seen::moments(&shape, &shares, target2).unwrap_or(galaxy)
            };
            let (up, down) = (moved(1.0), moved(-1.0));
            std::array::from_fn(|k| (up[k] - down[k]) / (2.0 * step))
        })
        .collect();
    let mut covariance = [[0.0; 3]; 3];
    for (i, gi) in gradient.iter().enumerate() {
        for (j, gj) in gradient.iter().enumerate() {
            let c = solution.covariance.get((i + 2, j + 2)).copied().unwrap_or(0.0) / (scale * scale);
            for (a, row) in covariance.iter_mut().enumerate() {
                for (b, slot) in row.iter_mut().enumerate() {
                    *slot += gi[a] * c * gj[b];
                }
            }
        }
    }
    let star = [target2, target2, 0.0];
    let mean: [f64; 3] = std::array::from_fn(|k| point * star[k] + (1.0 - point) * galaxy[k]);
    for (a, row) in covariance.iter_mut().enumerate() {
        for (b, slot) in row.iter_mut().enumerate() {
            let apart = point * (1.0 - point) * (galaxy[a] - star[a]) * (galaxy[b] - star[b]);
            *slot = (1.0 - point) * *slot + apart;
        }
    }
    let star_radius = (2.0 * std::f64::consts::LN_2 * target2).sqrt();
    Some(SeenMoments { moments: mean, covariance, half_light_radius: point * star_radius + (1.0 - point) * radius })
}

/// Result of one regression: flux, sky, modes of the shares (times the flux), shape (times the flux).
struct Solution {
    values: DVector<f64>,
    covariance: DMatrix<f64>,
    /// Standard error of the flux with everything but the sky fixed.
    noise_err: f64,
    /// ln of the probability of the data (Laplace), up to what all hypotheses share.
    evidence: f64,
}

impl Solution {
    fn flux(&self) -> f64 {
        self.values[0]
    }

    fn flux_err(&self) -> f64 {
        self.covariance[(0, 0)].max(0.0).sqrt()
    }

    fn sky(&self) -> (f64, f64) {
        (self.values[1], self.covariance[(1, 1)].max(0.0).sqrt())
    }

    fn first_of_shape(&self) -> usize {
        self.values.len().saturating_sub(SHAPE)
    }

    fn shape_step(&self, scale: f64) -> [f64; SHAPE] {
        let first = self.first_of_shape();
        std::array::from_fn(|i| self.values.get(first + i).copied().unwrap_or(0.0) / scale)
    }

    fn shape_errors(&self, scale: f64) -> [f64; SHAPE] {
        let first = self.first_of_shape();
        std::array::from_fn(|i| {
            self.covariance.get((first + i, first + i)).map_or(f64::NAN, |v| v.max(0.0).sqrt() / scale)
        })
    }

    fn shares(&self, scale: f64) -> [f64; COMPONENTS] {
        let mut shares = SHARES_MEAN;
        let modes = self.values.iter().skip(2).take(self.first_of_shape().saturating_sub(2));
        for ((_, mode), value) in share_modes().iter().zip(modes) {
            for (share, part) in shares.iter_mut().zip(mode) {
                *share += value / scale * part;
            }
        }
        // The modes add up to nothing only to rounding.
        let sum: f64 = shares.iter().sum();
        shares.map(|s| s / sum)
    }
}

/// Regression with the priors: precision 1 / (F s)^2 for a parameter of prior scatter s, times the flux F.
fn solve(
    input: &ProfileInput,
    images: &Images,
    flux: f64,
    away: &[f64; SHAPE],
    scatter: &[f64; SHAPE],
) -> Result<Solution, PhotometryError> {
    let modes = share_modes();
    let priors: Vec<(f64, f64)> = modes
        .iter()
        .map(|(variance, _)| (1.0 / (flux * flux * variance), 0.0))
        .chain(scatter.iter().zip(away).map(|(s, a)| (1.0 / (flux * s).powi(2), -a * flux)))
        .collect();
    regress(input, images, modes.len() + SHAPE, &priors)
}

/// `observed = F total + sky + sum_i p_i image_i` with p_i ~ N(mean_i, 1 / precision_i) for the first `count` images.
fn regress(
    input: &ProfileInput,
    images: &Images,
    count: usize,
    priors: &[(f64, f64)],
) -> Result<Solution, PhotometryError> {
    let size = count + 2;
    let mut normal = vec![0.0f64; size * size];
    let mut right = vec![0.0f64; size];
    let mut row = vec![0.0f64; size];
    let (mut used, mut squares) = (0usize, 0.0f64);
    for (p, (&y, &w)) in input.observed.iter().zip(input.weight).enumerate() {
        let w = usable_weight(y, w);
        if w == 0.0 {
            continue;
        }
        used += 1;
        squares += w * f64::from(y).powi(2);
        row[0] = f64::from(images.total[p]);
        row[1] = 1.0;
        for (slot, image) in row.iter_mut().skip(2).zip(&images.others) {
            *slot = f64::from(image[p]);
        }
        for (i, line) in normal.chunks_exact_mut(size).enumerate() {
            let wi = w * row[i];
            right[i] += wi * f64::from(y);
            for (slot, m) in line.iter_mut().zip(&row).take(i + 1) {
                *slot += wi * m;
            }
        }
    }
    if used == 0 {
        return Err(PhotometryError::NoUsablePixels { pixels: input.observed.len() });
    }
    let mut matrix = DMatrix::from_fn(size, size, |i, j| normal[i.max(j) * size + i.min(j)]);
    let mut right = DVector::from_vec(right);
    let alone = matrix[(0, 0)] - matrix[(0, 1)].powi(2) / matrix[(1, 1)];
    if !(alone.is_finite() && alone > 1e-12 * matrix[(0, 0)] && alone > 0.0) {
        return Err(PhotometryError::EmptyModel { component: 0 });
    }
    for (i, (precision, mean)) in priors.iter().take(count).enumerate() {
        matrix[(i + 2, i + 2)] += precision;
        right[i + 2] += precision * mean;
    }
    // Scaled to a unit diagonal the matrix's conditioning does not depend on units.
    let scale: Vec<f64> =
        (0..size).map(|i| matrix[(i, i)].sqrt()).map(|s| if s > 0.0 && s.is_finite() { s } else { 1.0 }).collect();
    let scaled = DMatrix::from_fn(size, size, |i, j| matrix[(i, j)] / (scale[i] * scale[j]));
    let Some(factor) = scaled.cholesky() else { return Err(PhotometryError::Degenerate { eigenvalue: 0.0 }) };
    let ln_det: f64 = factor.l_dirty().diagonal().iter().map(|d| 2.0 * d.ln()).sum::<f64>()
        + scale.iter().map(|s| 2.0 * s.ln()).sum::<f64>();
    let inverse = factor.inverse();
    let covariance = DMatrix::from_fn(size, size, |i, j| inverse[(i, j)] / (scale[i] * scale[j]));
    let values = &covariance * &right;
    if !values.iter().all(|v| v.is_finite()) {
        return Err(PhotometryError::Degenerate { eigenvalue: 0.0 });
    }
    let (mut ln_priors, mut prior_squares) = (0.0, 0.0);
    for (precision, mean) in priors.iter().take(count) {
        ln_priors += precision.ln();
        prior_squares += precision * mean * mean;
    }
    let misfit = squares + prior_squares - values.dot(&right);
    let evidence = 0.5 * (ln_priors - ln_det - misfit);
    Ok(Solution { values, covariance, noise_err: 1.0 / alone.sqrt(), evidence })
}
