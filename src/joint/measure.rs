//! Fluxes of an object in every band, and the image its shape is measured on.

use num_complex::Complex64;

use super::{Estimate, JointError, Model};
use crate::image::Plane;

/// A band's flux.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandFlux {
    /// Flux: amplitude times the sum of the object's part of the image; NaN where it could not be fitted.
    pub flux: f64,
    /// Its standard error.
    pub flux_err: f64,
    /// Factor that brings the object's image to the observed pixels.
    pub amplitude: f64,
    /// Chi-square per pixel of the band's own observations about the model with this amplitude.
    pub chi2_reduced: f64,
    /// Pixels used.
    pub pixels: usize,
}

/// Which target pixels are the object's: those nearer to it than to any other source, distances in units of `radius`, and no farther than
/// `reach`. Sources are (column, row, radius) in target pixels.
pub fn ownership(side: usize, own: (f64, f64, f64), others: &[(f64, f64, f64)], reach: f64) -> Vec<bool> {
    let scaled = |s: &(f64, f64, f64), x: f64, y: f64| (x - s.0).hypot(y - s.1) / s.2.max(0.5);
    (0..side * side)
        .map(|i| {
            let (x, y) = ((i % side) as f64, (i / side) as f64);
            let here = scaled(&own, x, y);
            (x - own.0).hypot(y - own.1) <= reach && others.iter().all(|o| scaled(o, x, y) >= here)
        })
        .collect()
}

/// Maximum-likelihood amplitude of the object in each band, on the pixels of the band's own observations, together with that of everything
/// else in the stamp: two-parameter weighted least squares.
pub fn band_fluxes(model: &mut Model, estimate: &Estimate, own: &[bool]) -> Result<Vec<BandFlux>, JointError> {
    let n = model.side();
    let mut out = Vec::with_capacity(model.bands());
    for (band, image) in estimate.images.iter().enumerate() {
        let mut spectra = [vec![Complex64::default(); (n / 2 + 1) * n], vec![Complex64::default(); (n / 2 + 1) * n]];
        let mut sum = 0.0;
        for (mine, spectrum) in [true, false].into_iter().zip(&mut spectra) {
            let plane: Vec<f64> =
                image.iter().zip(own).map(|(v, o)| if *o == mine { f64::from(*v) } else { 0.0 }).collect();
            if mine {
                sum = plane.iter().sum();
            }
            model.transform(&plane, spectrum)?;
        }
        let (mut mm, mut mo, mut oo, mut ym, mut yo, mut yy, mut pixels) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0);
        for o in 0..model.observations() {
            if !model.sees_alone(o, band) {
                continue;
            }
            let share = model.shares(o).get(band).copied().unwrap_or(1.0);
            let mine = model.observe(o, &spectra[0])?;
            let other = model.observe(o, &spectra[1])?;
            for (((m, r), y), w) in mine.iter().zip(&other).zip(model.values(o)).zip(model.weights(o)) {
                let (m, r) = (m * share, r * share);
                mm += w * m * m;
                mo += w * m * r;
                oo += w * r * r;
                ym += w * y * m;
                yo += w * y * r;
                yy += w * y * y;
                pixels += 1;
            }
        }
        let det = mm * oo - mo * mo;
        // what is elsewhere may be nothing, or not to be told from the object
        let (a, b, variance) = if oo > 0.0 && det > 1e-6 * mm * oo {
            ((ym * oo - yo * mo) / det, (yo * mm - ym * mo) / det, oo / det)
        } else {
            (ym / mm, 0.0, 1.0 / mm)
        };
        let chi2 = yy - 2.0 * (a * ym + b * yo) + a * a * mm + 2.0 * a * b * mo + b * b * oo;
        let fitted = a.is_finite() && variance.is_finite() && pixels > 0;
        out.push(if fitted {
            BandFlux {
                flux: a * sum,
                flux_err: variance.sqrt() * sum.abs(),
                amplitude: a,
                chi2_reduced: chi2 / (pixels as f64 - 2.0).max(1.0),
                pixels,
            }
        } else {
            BandFlux { flux: f64::NAN, flux_err: f64::NAN, amplitude: f64::NAN, chi2_reduced: f64::NAN, pixels }
        });
    }
    Ok(out)
}

/// Sum of the bands' images, each weighted with its flux over its variance, scaled to weights that add to 1; and its signal-to-noise ratio.
pub fn detection_image(estimate: &Estimate, fluxes: &[BandFlux]) -> Option<(Plane, f64)> {
    let weights: Vec<f64> = fluxes
        .iter()
        .map(|f| if f.flux > 0.0 && f.flux_err > 0.0 { f.flux / f.flux_err.powi(2) } else { 0.0 })
        .collect();
    let total: f64 = weights.iter().sum();
    let snr =
        fluxes.iter().filter(|f| f.flux > 0.0 && f.flux_err > 0.0).map(|f| (f.flux / f.flux_err).powi(2)).sum::<f64>();
    let first = estimate.images.first()?;
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let mut out = Plane::zeros(first.dim());
    for (image, w) in estimate.images.iter().zip(&weights) {
        out.scaled_add((w / total) as f32, image);
    }
    Some((out, snr.sqrt()))
}
