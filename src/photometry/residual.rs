//! Whether a residual is noise.

use ndarray::Array2;

use super::{PhotometryError, same_shape, usable_weight};
use crate::image::Plane;

/// What a residual says about the model it is left from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidualTests {
    /// Chi-square per degree of freedom; NaN without one.
    pub chi2_reduced: f64,
    /// Correlation of the weighted residual r sqrt(w) between horizontally and vertically adjacent pixels:
    /// mean product of pairs / mean square. 0 for white noise, towards 1 for a smooth remainder; NaN without a pair.
    pub lag1: f64,
    /// `lag1` times the square root of the number of pairs: standard deviations for white noise.
    pub lag1_significance: f64,
    /// Usable pixels.
    pub pixels: usize,
}

/// Where a model shines: pixels above `share` of its highest pixel, and in any case that pixel.
pub fn footprint(model: &Plane, share: f64) -> Array2<bool> {
    let peak = model.iter().copied().filter(|v| v.is_finite()).fold(f32::NEG_INFINITY, f32::max);
    let level = f64::from(peak) * share;
    model.mapv(|v| peak > 0.0 && (f64::from(v) > level || v == peak))
}

/// Tests a residual (observed - model) on the usable pixels of `area`; `parameters` were fitted to it.
pub fn residual_tests(
    residual: &Plane,
    weight: &Plane,
    area: &Array2<bool>,
    parameters: usize,
) -> Result<ResidualTests, PhotometryError> {
    same_shape("weight", residual, weight)?;
    if area.dim() != residual.dim() {
        let (expected, got) = (residual.dim(), area.dim());
        return Err(PhotometryError::ShapeMismatch { what: "footprint", expected, got });
    }
    // NaN marks pixels that are out.
    let weighted = ndarray::Zip::from(residual).and(weight).and(area).map_collect(|&r, &w, &inside| {
        let w = usable_weight(r, w);
        if inside && w > 0.0 { f64::from(r) * w.sqrt() } else { f64::NAN }
    });
    let (mut chi2, mut pixels, mut products, mut pairs) = (0.0f64, 0usize, 0.0f64, 0usize);
    for ((y, x), &v) in weighted.indexed_iter() {
        if v.is_nan() {
            continue;
        }
        chi2 += v * v;
        pixels += 1;
        for next in [(y, x + 1), (y + 1, x)] {
            if let Some(&n) = weighted.get(next)
                && !n.is_nan()
            {
                products += v * n;
                pairs += 1;
            }
        }
    }
    let freedom = pixels.saturating_sub(parameters);
    let mean_square = chi2 / pixels as f64;
    let lag1 = if pairs > 0 && chi2 > 0.0 { products / pairs as f64 / mean_square } else { f64::NAN };
    Ok(ResidualTests {
        chi2_reduced: if freedom > 0 { chi2 / freedom as f64 } else { f64::NAN },
        lag1,
        lag1_significance: lag1 * (pairs as f64).sqrt(),
        pixels,
    })
}
