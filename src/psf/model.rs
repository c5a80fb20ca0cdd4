//! The PSF model that the rest of the program sees, whatever it was made from.

use super::native::NativeModel;
use super::{PsfError, adaptive_moments};
use crate::image::Plane;

/// A PSF at a position: what evaluation returns.
#[derive(Debug, Clone)]
pub struct PsfStamp {
    /// The effective PSF (pixel response in), odd square, centred on the central pixel, sum 1; axes (row = y, column = x).
    pub image: Plane,
    /// Samples per detector pixel along each axis.
    pub oversample: usize,
}

/// A spatially varying effective PSF.
#[derive(Debug, Clone, PartialEq)]
pub struct PsfModel {
    native: NativeModel,
}

impl PsfModel {
    /// Wraps a fitted model.
    pub fn from_native(native: NativeModel) -> Self {
        Self { native }
    }

    /// The fitted model.
    pub fn native(&self) -> &NativeModel {
        &self.native
    }

    /// The effective PSF at 0-based detector position `(x, y)`, sampled `oversample` times finer than the detector's pixels
    /// on an odd square of `size` samples, centred on the central sample (adaptive centroid), unit sum.
    pub fn evaluate(&self, x: f64, y: f64, size: usize, oversample: usize) -> Result<PsfStamp, PsfError> {
        self.sample(x, y, size, oversample, true)
    }

    /// As [`Self::evaluate`], with the detector's pixel response left out.
    pub fn evaluate_without_pixel(&self, x: f64, y: f64, size: usize, oversample: usize) -> Result<PsfStamp, PsfError> {
        self.sample(x, y, size, oversample, false)
    }

    fn sample(&self, x: f64, y: f64, size: usize, oversample: usize, pixel: bool) -> Result<PsfStamp, PsfError> {
        if size % 2 == 0 || oversample == 0 {
            return Err(PsfError::Input(format!(
                "a PSF stamp needs an odd size and an oversampling of at least 1, not {size} and {oversample}"
            )));
        }
        let centre = self.native.centre_offset(x, y);
        let values = self.native.render(x, y, size, oversample, pixel, (-centre.0, -centre.1));
        let sum: f64 = values.iter().sum();
        if !(sum.is_finite() && sum > 0.0) {
            return Err(PsfError::Model(format!("its sum at pixel ({x:.1}, {y:.1}) is {sum}")));
        }
        let image = Plane::from_shape_vec((size, size), values.iter().map(|v| (v / sum) as f32).collect())
            .map_err(|e| PsfError::Model(e.to_string()))?;
        Ok(PsfStamp { image, oversample })
    }

    /// Full width at half maximum at a 0-based position, detector pixels: twice the radius at which the azimuthal mean of
    /// the effective PSF falls to half its central value. NaN if the model has no such radius.
    pub fn fwhm(&self, x: f64, y: f64) -> f64 {
        let oversample = 4usize;
        let mut size = 41usize;
        loop {
            let Ok(stamp) = self.evaluate(x, y, size, oversample) else { return f64::NAN };
            if let Some(w) = fwhm_of(&stamp.image) {
                return w / oversample as f64;
            }
            if size > 500 {
                return f64::NAN;
            }
            size = 2 * size + 1;
        }
    }

    /// Distortion (e1, e2) of the effective PSF at a position by adaptive moments.
    pub fn distortion(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let width = self.fwhm(x, y);
        let size = 2 * ((3.0 * width).ceil() as usize).clamp(6, 100) + 1;
        let stamp = self.evaluate(x, y, size, 1).ok()?;
        let values: Vec<f64> = stamp.image.iter().map(|v| f64::from(*v)).collect();
        let c = (size / 2) as f64;
        adaptive_moments(&values, None, size, (c, c), (0.42 * width).max(0.7), 1e-6).map(|m| m.distortion())
    }
}

/// FWHM in samples of the azimuthal mean about the central sample of an odd square.
fn fwhm_of(image: &Plane) -> Option<f64> {
    let n = image.nrows();
    let c = (n / 2) as f64;
    let at = |x: f64, y: f64| -> f64 {
        let (i, j) = (x.floor(), y.floor());
        let (fx, fy) = (x - i, y - j);
        let (i, j) = (i as usize, j as usize);
        let v = |a: usize, b: usize| f64::from(image.get((b, a)).copied().unwrap_or(0.0));
        (v(i, j) * (1.0 - fx) + v(i + 1, j) * fx) * (1.0 - fy) + (v(i, j + 1) * (1.0 - fx) + v(i + 1, j + 1) * fx) * fy
    };
    let mean = |r: f64| -> f64 {
        const ANGLES: usize = 32;
        (0..ANGLES)
            .map(|k| {
                let phi = std::f64::consts::TAU * k as f64 / ANGLES as f64;
                at(c + r * phi.cos(), c + r * phi.sin())
            })
            .sum::<f64>()
            / ANGLES as f64
    };
    let half = 0.5 * f64::from(*image.get((n / 2, n / 2))?);
    let step = 0.5;
    let mut last = 2.0 * half;
    let mut r = step;
    while r < c - 1.0 {
        let v = mean(r);
        if v <= half {
            return Some(2.0 * (r - step * (half - v) / (last - v)));
        }
        last = v;
        r += step;
    }
    None
}
