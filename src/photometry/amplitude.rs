//! Maximum-likelihood amplitudes of models on observed pixels (CAE paper, eq. 2; several components by normal equations).

use nalgebra::{DMatrix, DVector};

use super::residual::{footprint, residual_tests};
use super::{PhotometryError, same_shape, usable_weight};
use crate::image::Plane;

/// Components whose correlation matrix has a smaller eigenvalue than this cannot be told apart.
const LEAST_EIGENVALUE: f64 = 1e-9;

/// A weighted linear fit.
#[derive(Debug, Clone, PartialEq)]
pub struct AmplitudeFit {
    /// One amplitude per component.
    pub amplitudes: Vec<f64>,
    /// Constant sky per pixel, image units; 0 where it was not fitted.
    pub sky: f64,
    /// Covariance of the amplitudes and, last, of the sky where it was fitted.
    pub covariance: DMatrix<f64>,
    /// Pixels used.
    pub pixels: usize,
}

impl AmplitudeFit {
    /// Standard deviation of a parameter (components in order, then the sky); NaN where it was not fitted.
    pub fn error(&self, parameter: usize) -> f64 {
        self.covariance.get((parameter, parameter)).map_or(f64::NAN, |v| v.max(0.0).sqrt())
    }
}

/// Fits `observed = sum_i amplitude_i model_i (+ sky)` with weights 1 / variance; all planes (rows, columns) alike.
///
/// For one component: alpha = sum w y m / sum w m^2, its variance 1 / sum w m^2.
pub fn fit_amplitudes(
    observed: &Plane,
    weight: &Plane,
    models: &[&Plane],
    free_sky: bool,
) -> Result<AmplitudeFit, PhotometryError> {
    if models.is_empty() {
        return Err(PhotometryError::NoModels);
    }
    same_shape("weight", observed, weight)?;
    for model in models {
        same_shape("model", observed, model)?;
    }
    let count = models.len() + usize::from(free_sky);
    let mut normal = DMatrix::<f64>::zeros(count, count);
    let mut right = DVector::<f64>::zeros(count);
    let mut row = vec![0.0f64; count];
    let mut pixels = 0usize;
    for ((index, &y), &w) in observed.indexed_iter().zip(weight) {
        let w = usable_weight(y, w);
        if w == 0.0 {
            continue;
        }
        pixels += 1;
        for (slot, model) in row.iter_mut().zip(models) {
            *slot = model.get(index).copied().map_or(0.0, f64::from);
        }
        if free_sky && let Some(slot) = row.last_mut() {
            *slot = 1.0;
        }
        for (i, &mi) in row.iter().enumerate() {
            right[i] += w * f64::from(y) * mi;
            for (j, &mj) in row.iter().enumerate().take(i + 1) {
                normal[(i, j)] += w * mi * mj;
            }
        }
    }
    if pixels == 0 {
        return Err(PhotometryError::NoUsablePixels { pixels: observed.len() });
    }
    normal.fill_upper_triangle_with_lower_triangle();
    // Scaled to a unit diagonal the matrix's conditioning does not depend on units.
    let scale: Vec<f64> = (0..count).map(|i| normal[(i, i)].sqrt()).collect();
    if let Some(component) = scale.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
        return Err(PhotometryError::EmptyModel { component });
    }
    let correlation = DMatrix::from_fn(count, count, |i, j| normal[(i, j)] / (scale[i] * scale[j]));
    let eigenvalue = correlation.symmetric_eigenvalues().min();
    let inverse = match correlation.cholesky() {
        Some(factor) if eigenvalue > LEAST_EIGENVALUE => factor.inverse(),
        _ => return Err(PhotometryError::Degenerate { eigenvalue }),
    };
    let covariance = DMatrix::from_fn(count, count, |i, j| inverse[(i, j)] / (scale[i] * scale[j]));
    let scaled = DVector::from_fn(count, |i, _| right[i] / scale[i]);
    let solution = inverse * scaled;
    let mut amplitudes: Vec<f64> = (0..count).map(|i| solution[i] / scale[i]).collect();
    let sky = if free_sky { amplitudes.pop().unwrap_or(0.0) } else { 0.0 };
    Ok(AmplitudeFit { amplitudes, sky, covariance, pixels })
}

/// How an output is renormalised on the observed pixels.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RenormaliseSettings {
    /// Whether a constant local sky is fitted with the amplitudes.
    pub free_sky: bool,
    /// The residual is tested where the fitted model is above this share of its peak.
    pub footprint_share: f64,
}

impl Default for RenormaliseSettings {
    fn default() -> Self {
        Self { free_sky: true, footprint_share: 0.01 }
    }
}

/// The result of [`renormalise`].
#[derive(Debug, Clone, PartialEq)]
pub struct Amplitude {
    /// Factor on the object's model; the object's flux is `alpha` times the sum of the deconvolved output.
    pub alpha: f64,
    /// Its standard deviation from the pixel noise, the other parameters free.
    pub alpha_err: f64,
    /// Amplitudes of the other components and their standard deviations.
    pub others: Vec<(f64, f64)>,
    /// Local sky per pixel, image units; 0 where it is not free.
    pub sky: f64,
    /// Its standard deviation; NaN where it is not free.
    pub sky_err: f64,
    /// Reduced chi-square in the object's footprint; NaN where the footprint holds no degree of freedom.
    pub chi2_reduced: f64,
    /// Correlation of the weighted residual between adjacent pixels of the footprint; 0 for noise, NaN without a pair.
    pub lag1: f64,
    /// `lag1` in standard deviations of what white noise gives.
    pub lag1_significance: f64,
    /// Usable pixels in the footprint.
    pub footprint_pixels: usize,
    /// Usable pixels in the fit.
    pub pixels: usize,
}

/// Amplitude of an object's model (its deconvolved output convolved back onto the observed grid: m = S(K * z)) on the
/// observed pixels, together with its neighbours' models, and tests of what is left.
///
/// `models[0]` is the object. All planes have the same shape (rows, columns).
pub fn renormalise(
    observed: &Plane,
    weight: &Plane,
    models: &[&Plane],
    settings: &RenormaliseSettings,
) -> Result<Amplitude, PhotometryError> {
    let Some(object) = models.first() else { return Err(PhotometryError::NoModels) };
    let fit = fit_amplitudes(observed, weight, models, settings.free_sky)?;
    let residual = residual(observed, models, &fit.amplitudes, fit.sky);
    let area = footprint(object, settings.footprint_share);
    let tests = residual_tests(&residual, weight, &area, 1 + usize::from(settings.free_sky))?;
    Ok(Amplitude {
        alpha: fit.amplitudes.first().copied().unwrap_or(f64::NAN),
        alpha_err: fit.error(0),
        others: fit.amplitudes.iter().enumerate().skip(1).map(|(i, &a)| (a, fit.error(i))).collect(),
        sky: fit.sky,
        sky_err: if settings.free_sky { fit.error(models.len()) } else { f64::NAN },
        chi2_reduced: tests.chi2_reduced,
        lag1: tests.lag1,
        lag1_significance: tests.lag1_significance,
        footprint_pixels: tests.pixels,
        pixels: fit.pixels,
    })
}

/// `observed - sum_i amplitude_i model_i - sky`; sums in f64.
fn residual(observed: &Plane, models: &[&Plane], amplitudes: &[f64], sky: f64) -> Plane {
    let mut sum = observed.mapv(|v| f64::from(v) - sky);
    for (model, amplitude) in models.iter().zip(amplitudes) {
        sum.zip_mut_with(model, |s, &m| *s -= amplitude * f64::from(m));
    }
    sum.mapv(|v| v as f32)
}
