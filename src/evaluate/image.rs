//! One output image against its truth.

use ndarray::{Array2, Zip};

use crate::failure::{Classify, FailureKind};
use crate::image::Plane;

/// Half the side of the SSIM filter, pixels: a Gaussian of standard deviation 1.5 cut at 3.5 standard deviations.
const SSIM_RADIUS: usize = 5;
const SSIM_SIGMA: f64 = 1.5;

/// Why an image cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImageError {
    /// Output and truth differ in shape.
    #[error("the output has shape {output:?} (rows, columns), the truth {truth:?}")]
    ShapeMismatch {
        /// Shape of the output.
        output: (usize, usize),
        /// Shape of the truth.
        truth: (usize, usize),
    },
    /// SSIM needs a whole filter.
    #[error("an image of shape {shape:?} is smaller than the 11 x 11 pixels of the SSIM filter")]
    TooSmall {
        /// Its shape.
        shape: (usize, usize),
    },
    /// The truth is zero everywhere (in the window) or constant, or an image holds values that are not finite.
    #[error("{what}: nothing to compare with")]
    Empty {
        /// What is wrong.
        what: &'static str,
    },
    /// The window's width is not usable.
    #[error("a window of FWHM {fwhm} pixels is not usable: it must be positive and finite")]
    BadWindow {
        /// Its FWHM.
        fwhm: f64,
    },
}

impl Classify for ImageError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}

/// Scores of one output image.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ImageScore {
    /// |x - t|^2 / |t|^2 under the window.
    pub nmse: f64,
    /// Structural similarity of the images under the window, mean over the whole image: as empty as it is, as near to 1.
    pub ssim: f64,
    /// The same, mean weighted by the window: that of the object, whatever the size of the stamp.
    pub ssim_object: f64,
    /// |sum x - sum t| / |sum t| over the whole images.
    pub flux_error: f64,
}

/// NMSE and SSIM of an output under a round Gaussian window of `fwhm` pixels (the object's own) about `centre`
/// (column, row; 0-based), and the flux error.
pub fn score_image(output: &Plane, truth: &Plane, centre: (f64, f64), fwhm: f64) -> Result<ImageScore, ImageError> {
    same_shape(output, truth)?;
    let window = gaussian_window(truth.dim(), centre, fwhm)?;
    let weighted = |p: &Plane| Zip::from(p).and(&window).map_collect(|&v, &w| (f64::from(v) * w) as f32);
    let (x, t) = (weighted(output), weighted(truth));
    let total = |p: &Plane| p.iter().map(|&v| f64::from(v)).sum::<f64>();
    let flux = total(truth);
    if flux == 0.0 {
        return Err(ImageError::Empty { what: "the truth has no flux" });
    }
    let map = ssim_map(&x, &t)?;
    let (rows, columns) = map.dim();
    let inner = window.slice(ndarray::s![SSIM_RADIUS..SSIM_RADIUS + rows, SSIM_RADIUS..SSIM_RADIUS + columns]);
    let ssim_object = (&map * &inner).sum() / inner.sum();
    let ssim = map.sum() / map.len() as f64;
    Ok(ImageScore { nmse: nmse(&x, &t)?, ssim, ssim_object, flux_error: (total(output) - flux).abs() / flux.abs() })
}

/// Round Gaussian of `fwhm` pixels and height 1 about `centre` (column, row; 0-based).
pub fn gaussian_window(shape: (usize, usize), centre: (f64, f64), fwhm: f64) -> Result<Array2<f64>, ImageError> {
    if !(fwhm > 0.0 && fwhm.is_finite() && centre.0.is_finite() && centre.1.is_finite()) {
        return Err(ImageError::BadWindow { fwhm });
    }
    let variance = fwhm * fwhm / (8.0 * std::f64::consts::LN_2);
    Ok(Array2::from_shape_fn(shape, |(row, column)| {
        let r2 = (column as f64 - centre.0).powi(2) + (row as f64 - centre.1).powi(2);
        (-0.5 * r2 / variance).exp()
    }))
}

/// Normalised mean squared error |x - t|^2 / |t|^2.
pub fn nmse(output: &Plane, truth: &Plane) -> Result<f64, ImageError> {
    same_shape(output, truth)?;
    let (mut error, mut power) = (0.0f64, 0.0f64);
    for (&x, &t) in output.iter().zip(truth) {
        error += (f64::from(x) - f64::from(t)).powi(2);
        power += f64::from(t).powi(2);
    }
    if !(power > 0.0 && power.is_finite()) {
        return Err(ImageError::Empty { what: "the truth is zero or not finite" });
    }
    Ok(error / power)
}

/// Structural similarity (Wang et al. 2004): Gaussian filter of 1.5 pixels on 11 x 11, population covariances,
/// K1 = 0.01, K2 = 0.03, the range that of the truth; mean over the pixels whose filter lies within the image.
pub fn ssim(output: &Plane, truth: &Plane) -> Result<f64, ImageError> {
    let map = ssim_map(output, truth)?;
    Ok(map.sum() / map.len() as f64)
}

/// Structural similarity at the pixels whose filter lies within the image: shape (rows - 10, columns - 10).
fn ssim_map(output: &Plane, truth: &Plane) -> Result<Array2<f64>, ImageError> {
    same_shape(output, truth)?;
    let shape = truth.dim();
    if shape.0.min(shape.1) < 2 * SSIM_RADIUS + 1 {
        return Err(ImageError::TooSmall { shape });
    }
    if output.iter().chain(truth).any(|v| !v.is_finite()) {
        return Err(ImageError::Empty { what: "an image holds values that are not finite" });
    }
    let (low, high) =
        truth.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v.into()), h.max(v.into())));
    if high <= low {
        return Err(ImageError::Empty { what: "the truth is constant" });
    }
    let range = high - low;
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let wide = |p: &Plane| p.mapv(f64::from);
    let (x, t) = (wide(output), wide(truth));
    let (mean_x, mean_t) = (smooth(&x), smooth(&t));
    let (xx, tt, xt) = (smooth(&(&x * &x)), smooth(&(&t * &t)), smooth(&(&x * &t)));
    let mut map = Array2::zeros(mean_x.dim());
    for (((((out, &ux), &ut), &xx), &tt), &xt) in map.iter_mut().zip(&mean_x).zip(&mean_t).zip(&xx).zip(&tt).zip(&xt) {
        let (vx, vt, cov) = (xx - ux * ux, tt - ut * ut, xt - ux * ut);
        *out = ((2.0 * ux * ut + c1) * (2.0 * cov + c2)) / ((ux * ux + ut * ut + c1) * (vx + vt + c2));
    }
    Ok(map)
}

/// Gaussian filter at the pixels whose neighbourhood lies within the image: shape (rows - 10, columns - 10).
fn smooth(image: &Array2<f64>) -> Array2<f64> {
    let taps: Vec<f64> =
        (0..=2 * SSIM_RADIUS).map(|i| (-0.5 * ((i as f64 - SSIM_RADIUS as f64) / SSIM_SIGMA).powi(2)).exp()).collect();
    let norm: f64 = taps.iter().sum();
    let (ny, nx) = image.dim();
    let along = |length: usize| length - 2 * SSIM_RADIUS;
    let rows = Array2::from_shape_fn((ny, along(nx)), |(y, x)| {
        taps.iter().enumerate().map(|(k, tap)| tap * image[(y, x + k)]).sum::<f64>() / norm
    });
    Array2::from_shape_fn((along(ny), along(nx)), |(y, x)| {
        taps.iter().enumerate().map(|(k, tap)| tap * rows[(y + k, x)]).sum::<f64>() / norm
    })
}

fn same_shape(output: &Plane, truth: &Plane) -> Result<(), ImageError> {
    if output.dim() == truth.dim() {
        Ok(())
    } else {
        Err(ImageError::ShapeMismatch { output: output.dim(), truth: truth.dim() })
    }
}
