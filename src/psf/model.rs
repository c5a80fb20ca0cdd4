//! The PSF model that the rest of the program sees, whatever it was made from.

use super::native::NativeModel;
use super::spatial::legendre_terms;
use super::tabulated::{Tabulated, Variation, psfex_terms};
use super::{Domain, PsfError, adaptive_moments, linalg};
use crate::image::Plane;

/// A PSF at a position: what evaluation returns.
#[derive(Debug, Clone)]
pub struct PsfStamp {
    /// The effective PSF (pixel response in), odd square, centred on the central pixel, sum 1; axes (row = y, column = x).
    pub image: Plane,
    /// Samples per detector pixel along each axis.
    pub oversample: usize,
}

/// One-sigma uncertainty of a model at a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PsfUncertainty {
    /// Of the size, dT / T.
    pub size: f64,
    /// Of each component of the distortion.
    pub ellipticity: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Native(Box<NativeModel>),
    Tabulated(Tabulated),
}

/// A spatially varying effective PSF.
#[derive(Debug, Clone, PartialEq)]
pub struct PsfModel {
    kind: Kind,
}

impl PsfModel {
    /// Wraps a fitted model.
    pub fn from_native(native: NativeModel) -> Self {
        Self { kind: Kind::Native(Box::new(native)) }
    }

    /// Wraps tabulated pixels; their number must match their size and variation.
    pub fn from_table(table: Tabulated) -> Result<Self, PsfError> {
        let count = match &table.variation {
            Variation::Polynomial { degree, .. } => super::term_count(*degree),
            Variation::Scattered(positions) => positions.len(),
        };
        let n = table.size.0 * table.size.1;
        if n == 0 || count == 0 || table.images.len() != n * count {
            return Err(PsfError::Model(format!(
                "{} pixels do not make {count} images of {} x {}",
                table.images.len(),
                table.size.0,
                table.size.1
            )));
        }
        if !(table.step > 0.0 && table.step.is_finite()) {
            return Err(PsfError::Model(format!("its sampling step is {}", table.step)));
        }
        if table.images.iter().any(|v| !v.is_finite()) {
            return Err(PsfError::Model("it holds NaN or infinite pixels".into()));
        }
        Ok(Self { kind: Kind::Tabulated(table) })
    }

    /// The fitted model, if it is one.
    pub fn native(&self) -> Option<&NativeModel> {
        match &self.kind {
            Kind::Native(n) => Some(n),
            Kind::Tabulated(_) => None,
        }
    }

    /// The effective PSF at 0-based detector position `(x, y)`, sampled `oversample` times finer than the detector's pixels
    /// on an odd square of `size` samples, centred on the central sample (adaptive centroid), unit sum.
    pub fn evaluate(&self, x: f64, y: f64, size: usize, oversample: usize) -> Result<PsfStamp, PsfError> {
        self.sample(x, y, size, oversample, true)
    }

    /// As [`Self::evaluate`], with the detector's pixel response left out: exactly for the parametric core, to second
    /// order in the pixel's size for tabulated pixels and the residual.
    pub fn evaluate_without_pixel(&self, x: f64, y: f64, size: usize, oversample: usize) -> Result<PsfStamp, PsfError> {
        self.sample(x, y, size, oversample, false)
    }

    fn sample(&self, x: f64, y: f64, size: usize, oversample: usize, pixel: bool) -> Result<PsfStamp, PsfError> {
        if size.is_multiple_of(2) || oversample == 0 {
            return Err(PsfError::Input(format!(
                "a PSF stamp needs an odd size and an oversampling of at least 1, not {size} and {oversample}"
            )));
        }
        if !(x.is_finite() && y.is_finite()) {
            return Err(PsfError::Input(format!("a PSF was asked for at pixel ({x}, {y})")));
        }
        let values = match &self.kind {
            Kind::Native(native) => {
                let centre = native.centre_offset(x, y);
                native.render(x, y, size, oversample, pixel, (-centre.0, -centre.1))
            }
            Kind::Tabulated(table) if pixel => table.render(x, y, size, oversample),
            Kind::Tabulated(table) => {
                // f - (1/24) laplacian f, the laplacian over one pixel.
                let wide = table.render(x, y, size + 2 * oversample, oversample);
                let (n, k) = (size + 2 * oversample, oversample);
                (0..size * size)
                    .map(|p| {
                        let at = (p / size + k) * n + p % size + k;
                        wide[at]
                            - (wide[at + k] + wide[at - k] + wide[at + k * n] + wide[at - k * n] - 4.0 * wide[at])
                                / 24.0
                    })
                    .collect()
            }
        };
        let sum: f64 = values.iter().sum();
        if !(sum.is_finite() && sum > 0.0) {
            return Err(PsfError::Model(format!("its sum at pixel ({x:.1}, {y:.1}) is {sum}")));
        }
        let image = Plane::from_shape_vec((size, size), values.iter().map(|v| (v / sum) as f32).collect())
            .map_err(|e| PsfError::Model(e.to_string()))?;
        Ok(PsfStamp { image, oversample })
    }

    /// Uncertainty of a fitted model at a 0-based position: from the polynomials' covariance and the scatter between stars
    /// that they do not follow. `None` for given pixels.
    pub fn uncertainty(&self, x: f64, y: f64) -> Option<PsfUncertainty> {
        let native = self.native()?;
        let t = legendre_terms(&native.domain, native.order, x, y);
        let variance = |q: usize| -> f64 {
            let c = &native.covariance[q];
            let n = t.len();
            let form: f64 = if c.len() == n * n {
                (0..n).map(|i| t[i] * linalg::dot(&c[i * n..(i + 1) * n], &t)).sum()
            } else {
                0.0
            };
            form + native.scatter[q] * native.scatter[q]
        };
        // T ~ s^2, e ~ 2 g.
        Some(PsfUncertainty { size: 2.0 * variance(0).sqrt(), ellipticity: 2.0 * variance(1).max(variance(2)).sqrt() })
    }

    /// The model as a PSFEx-like table: its images at `step` pixels per sample, as polynomials of `degree` over `domain`.
    pub fn tabulate(&self, domain: &Domain, degree: usize, step: f64, side: usize) -> Result<Tabulated, PsfError> {
        let Kind::Native(native) = &self.kind else {
            return match &self.kind {
                Kind::Tabulated(t) => Ok(t.clone()),
                Kind::Native(_) => Err(PsfError::Model("not a table".into())),
            };
        };
        let nodes = degree + 2;
        let terms = super::term_count(degree);
        let n = side * side;
        let mut normal = vec![0.0; terms * terms];
        let mut right = vec![vec![0.0; n]; terms];
        for j in 0..nodes {
            for i in 0..nodes {
                // Chebyshev nodes keep the fit tight at the edges.
                let at = |k: usize| -(std::f64::consts::PI * (k as f64 + 0.5) / nodes as f64).cos();
                let (u, v) = (at(i), at(j));
                let (x, y) = (domain.centre.0 + u * domain.half.0, domain.centre.1 + v * domain.half.1);
                let centre = native.centre_offset(x, y);
                let mut image = native.render_step(x, y, side, step, (-centre.0, -centre.1));
                let sum: f64 = image.iter().sum::<f64>() * step * step;
                image.iter_mut().for_each(|p| *p /= sum);
                let t = psfex_terms(degree, u, v);
                for a in 0..terms {
                    for b in 0..terms {
                        normal[a * terms + b] += t[a] * t[b];
                    }
                    for (r, p) in right[a].iter_mut().zip(&image) {
                        *r += t[a] * p;
                    }
                }
            }
        }
        let factor = linalg::Cholesky::new(terms, normal)
            .ok_or_else(|| PsfError::Model("polynomial table is degenerate".into()))?;
        let mut images = vec![0.0; n * terms];
        let mut column = vec![0.0; terms];
        for p in 0..n {
            for (c, r) in column.iter_mut().zip(&right) {
                *c = r[p];
            }
            factor.solve(&mut column);
            for (a, c) in column.iter().enumerate() {
                images[a * n + p] = *c;
            }
        }
        Ok(Tabulated {
            step,
            size: (side, side),
            images,
            variation: Variation::Polynomial {
                degree,
                x: (domain.centre.0, domain.half.0),
                y: (domain.centre.1, domain.half.1),
            },
        })
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
