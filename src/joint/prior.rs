//! What is expected of the images before they are seen.
//!
//! The images are written as `x_c = M_c u_c`: `M_c(p)`, the amplitude, is how bright band `c` is about pixel `p`, and the relative image
//! `u_c` has a Gaussian prior in the starlet domain, `sum_j |Phi_j u|^2 / s_j^2` with `s_j = 2^(slope j)`: detail is the weaker the finer it is.
//! A share `rho` of the relative images' variance is common to all bands. So the light that only a wide sharp band resolves is divided among the
//! bands in proportion to what each of them shows at that very place, and where a band shows nothing it gets nothing; the images of noise
//! are damped to the noise's own amplitude, with no sign preferred, so that the empty sky stays empty on average.

use num_complex::Complex64;

use super::{JointError, Model};

/// Starlet scales of the prior; what is coarser is left to the data.
const SCALES: usize = 3;

/// The prior of an object's images, as an operator from unit white noise to images: `C + 1` planes (one common to the bands) to `C`.
#[derive(Debug, Clone)]
pub struct RelativePrior {
    side: usize,
    /// Power of the relative image, half spectrum; its mean over the whole spectrum is 1.
    power: Vec<f64>,
    root: Vec<f64>,
    /// How often an amplitude counts in a sum over the whole spectrum, over the number of pixels.
    multiplicity: Vec<f64>,
    common: f64,
    /// Amplitude of each band, row by row.
    amplitude: Vec<Vec<f64>>,
}

/// Transform of the B3 spline with holes at `k / n` cycles per pixel.
fn b3(k: f64, step: f64) -> f64 {
    let turn = std::f64::consts::TAU * k * step;
    0.375 + 0.5 * turn.cos() + 0.125 * (2.0 * turn).cos()
}

impl RelativePrior {
    /// For a grid of `side` pixels; `slope` of the scales' strengths, `common` share of the variance that all bands have together.
    pub fn new(side: usize, slope: f64, common: f64, amplitude: Vec<Vec<f64>>) -> Self {
        let n = side as f64;
        let mut power = Vec::with_capacity((side / 2 + 1) * side);
        let mut multiplicity = Vec::with_capacity(power.capacity());
        for kx in 0..=side / 2 {
            for ky in 0..side {
                let (mut smooth, mut penalty, mut step, mut strength) = (1.0, 0.0, 1.0, 1.0f64);
                for _ in 0..SCALES {
                    let next = smooth * b3(kx as f64 / n, step) * b3(ky as f64 / n, step);
                    penalty += (smooth - next).powi(2) / (strength * strength);
                    smooth = next;
                    step *= 2.0;
                    strength *= 2f64.powf(slope);
                }
                penalty += smooth * smooth / (strength * strength);
                power.push(1.0 / penalty);
                multiplicity.push(if kx == 0 || 2 * kx == side { 1.0 } else { 2.0 });
            }
        }
        let pixels = n * n;
        let mean: f64 = power.iter().zip(&multiplicity).map(|(p, m)| p * m).sum::<f64>() / pixels;
        power.iter_mut().for_each(|p| *p /= mean);
        multiplicity.iter_mut().for_each(|m| *m /= pixels);
        Self { side, root: power.iter().map(|p| p.sqrt()).collect(), power, multiplicity, common, amplitude }
    }

    /// Changes the amplitudes.
    pub fn set_amplitude(&mut self, amplitude: Vec<Vec<f64>>) {
        self.amplitude = amplitude;
    }

    /// Amplitudes of the bands, row by row.
    pub fn amplitude(&self) -> &[Vec<f64>] {
        &self.amplitude
    }

    /// Planes that the prior's noise has.
    pub fn planes(&self) -> usize {
        self.amplitude.len() + 1
    }

    /// Product of two sets of planes given as half spectra.
    pub fn dot(&self, a: &[Vec<Complex64>], b: &[Vec<Complex64>]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| {
                let terms = a.iter().zip(b).zip(&self.multiplicity);
                terms.map(|((a, b), m)| m * (a.re * b.re + a.im * b.im)).sum::<f64>()
            })
            .sum()
    }

    /// Images of white noise `v` (common plane first): half spectra in, half spectra out.
    pub fn images(&self, v: &[Vec<Complex64>], model: &mut Model) -> Result<Vec<Vec<Complex64>>, JointError> {
        let (own, common) = ((1.0 - self.common).sqrt(), self.common.sqrt());
        let mut plane = vec![0.0; self.side * self.side];
        let mut out = Vec::with_capacity(self.amplitude.len());
        let Some((shared, each)) = v.split_first() else { return Ok(out) };
        for (band, amplitude) in each.iter().zip(&self.amplitude) {
            let mut spectrum: Vec<Complex64> =
                shared.iter().zip(band).zip(&self.root).map(|((s, b), p)| (s * common + b * own) * p).collect();
            model.inverse(&spectrum, &mut plane)?;
            plane.iter_mut().zip(amplitude).for_each(|(v, m)| *v *= m);
            model.transform(&plane, &mut spectrum)?;
            out.push(spectrum);
        }
        Ok(out)
    }

    /// The transpose of [`Self::images`].
    pub fn images_adjoint(&self, x: &[Vec<Complex64>], model: &mut Model) -> Result<Vec<Vec<Complex64>>, JointError> {
        let (own, common) = ((1.0 - self.common).sqrt(), self.common.sqrt());
        let mut plane = vec![0.0; self.side * self.side];
        let mut out = vec![vec![Complex64::default(); self.root.len()]; self.planes()];
        let Some((shared, each)) = out.split_first_mut() else { return Ok(out) };
        for ((band, amplitude), x) in each.iter_mut().zip(&self.amplitude).zip(x) {
            model.inverse(x, &mut plane)?;
            plane.iter_mut().zip(amplitude).for_each(|(v, m)| *v *= m);
            model.transform(&plane, band)?;
            for ((b, s), p) in band.iter_mut().zip(shared.iter_mut()).zip(&self.root) {
                *b *= p;
                *s += *b * common;
                *b *= own;
            }
        }
        Ok(out)
    }

    /// Gradient of half the prior's quadratic form at relative images `u` (half spectra): `R^-1 u / power`, `R` the bands' correlation.
    pub fn precision(&self, u: &[Vec<Complex64>]) -> Vec<Vec<Complex64>> {
        // (own I + common 1 1^T)^-1 = (I - common / (own + C common) 1 1^T) / own
        let (own, count) = ((1.0 - self.common).max(1e-6), self.amplitude.len() as f64);
        let off = self.common / (own + count * self.common);
        let mut sum = vec![Complex64::default(); self.power.len()];
        for band in u {
            sum.iter_mut().zip(band).for_each(|(s, b)| *s += b);
        }
        u.iter()
            .map(|band| {
                let terms = band.iter().zip(&sum).zip(&self.power);
                terms.map(|((b, s), p)| (b - s * off) / (own * p)).collect()
            })
            .collect()
    }

    /// Least and largest eigenvalue of that quadratic form.
    pub fn precision_range(&self) -> (f64, f64) {
        let (own, count) = ((1.0 - self.common).max(1e-6), self.amplitude.len() as f64);
        let (low, high) = self.power.iter().fold((f64::INFINITY, 0.0f64), |(l, h), p| (l.min(*p), h.max(*p)));
        (1.0 / (high * (own + count * self.common)), 1.0 / (low * own))
    }
}
