//! From the target grid to an observation's pixels, and its exact adjoint. Double precision throughout.
//!
//! The target images are taken for periodic and band-limited (the target Gaussian sees to that), so that their value between pixels is that of
//! the trigonometric interpolant. Where an observation's pixels fall on whole target pixels plus a common fraction, the fraction is a
//! phase and reading off is a look-up; else the interpolant is had on a grid twice as fine, and read with a Kaiser-Bessel kernel
//! whose transform is divided out beforehand (Fessler & Sutton 2003, IEEE TSP 51, 560; error some 1e-6 of the image).
//! Reading off is a sparse matrix either way, whose transpose is used as it stands.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use num_complex::Complex64;

use super::{Affine, JointError, Observation};
use crate::fourier::{Fft2, FftScratch, gaussian_half_spectrum, plan64};
use crate::image::Plane;

/// Pixels per axis of the Kaiser-Bessel kernel on the twice finer grid.
const TAPS: usize = 6;
/// Its shape for an oversampling of 2 (Beatty et al. 2005, eq. 5): pi sqrt(W^2 / 4 * 1.5^2 - 0.8).
const SHAPE: f64 = 13.855_8;
/// Error of a position that is neglected, target pixels.
const POSITION_TOLERANCE: f64 = 1e-3;
/// Where the target's transform is below this, its ratio is no longer taken.
const TARGET_FLOOR: f64 = 1e-5;

/// How values are read off the convolved image.
#[derive(Debug, Clone)]
enum Reading {
    /// At these elements of the grid.
    Whole(Vec<u32>),
    /// Between the pixels of the twice finer grid: first column and row of each pixel's taps, and the taps' weights along both axes.
    Between(Vec<([u32; 2], [[f64; TAPS]; 2])>),
}

/// One observation's part of the model.
#[derive(Debug, Clone)]
struct Operator {
    /// `H / G` times the pixel's area and what reading off asks for; half spectrum of the target grid.
    response: Vec<Complex64>,
    reading: Reading,
    /// Share of each band.
    shares: Vec<f64>,
    /// Usable observed pixels: index in the plane, value, weight.
    index: Vec<usize>,
    values: Vec<f64>,
    weights: Vec<f64>,
    shape: (usize, usize),
    area: f64,
}

/// All observations of an object: the linear model and the data, on a target grid of `side` pixels and `bands` images.
#[derive(Debug)]
pub struct Model {
    side: usize,
    bands: usize,
    operators: Vec<Operator>,
    fft: Arc<Fft2<f64>>,
    fine: Arc<Fft2<f64>>,
    scratch: FftScratch<f64>,
    spectrum: Vec<Complex64>,
    wide: Vec<Complex64>,
    plane: Vec<f64>,
    finer: Vec<f64>,
}

impl Model {
    /// The model of an object's observations; `target_fwhm` in target pixels.
    ///
    /// # Errors
    /// Sides and widths out of range, planes that do not belong together, PSFs that cannot be used.
    pub fn new(observations: &[Observation], side: usize, bands: usize, target_fwhm: f64) -> Result<Self, JointError> {
        if !(16..=512).contains(&side) || !side.is_multiple_of(2) {
            return Err(JointError::Grid(side));
        }
        if !(1.5..=8.0).contains(&target_fwhm) {
            return Err(JointError::TargetWidth(target_fwhm));
        }
        let (fft, fine) = (plan64(side, side)?, plan64(2 * side, 2 * side)?);
        let target = gaussian_half_spectrum(side, side, target_fwhm);
        let operators = observations
            .iter()
            .enumerate()
            .map(|(i, o)| {
                Operator::new(o, side, bands, &target).map_err(|what| JointError::Observation { observation: i, what })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            side,
            bands,
            operators,
            scratch: FftScratch::default(),
            spectrum: vec![Complex64::default(); fft.half_len()],
            wide: vec![Complex64::default(); fine.half_len()],
            plane: vec![0.0; side * side],
            finer: vec![0.0; 4 * side * side],
            fft,
            fine,
        })
    }

    /// Side of the target grid.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Number of observations.
    pub fn observations(&self) -> usize {
        self.operators.len()
    }

    /// Usable pixels of all observations.
    pub fn pixels(&self) -> usize {
        self.operators.iter().map(|o| o.values.len()).sum()
    }

    /// Usable pixels of one observation.
    pub fn usable(&self, observation: usize) -> usize {
        self.operators.get(observation).map_or(0, |o| o.values.len())
    }

    /// Shares of the bands in an observation.
    pub fn shares(&self, observation: usize) -> &[f64] {
        self.operators.get(observation).map_or(&[], |o| &o.shares)
    }

    /// Sets the shares of the bands in an observation.
    pub fn set_shares(&mut self, observation: usize, shares: Vec<f64>) {
        if let Some(o) = self.operators.get_mut(observation)
            && shares.len() == self.bands
        {
            o.shares = shares;
        }
    }

    /// Whether one observation sees one band alone.
    pub fn sees_alone(&self, observation: usize, band: usize) -> bool {
        let shares = self.shares(observation);
        shares.iter().enumerate().all(|(c, a)| (c == band) == (*a != 0.0))
    }

    /// Values of an observation's usable pixels.
    pub fn values(&self, observation: usize) -> &[f64] {
        self.operators.get(observation).map_or(&[], |o| &o.values)
    }

    /// Weights (1 / variance) of an observation's usable pixels.
    pub fn weights(&self, observation: usize) -> &[f64] {
        self.operators.get(observation).map_or(&[], |o| &o.weights)
    }

    /// Target pixels covered by one pixel of an observation.
    pub fn area(&self, observation: usize) -> f64 {
        self.operators.get(observation).map_or(f64::NAN, |o| o.area)
    }

    /// Values of usable pixels as a plane of the observation's shape; NaN elsewhere.
    pub fn plane_of(&self, observation: usize, values: &[f64]) -> Plane {
        let Some(o) = self.operators.get(observation) else { return Plane::zeros((0, 0)) };
        let mut out = Plane::from_elem(o.shape, f32::NAN);
        if let Some(flat) = out.as_slice_mut() {
            for (i, v) in o.index.iter().zip(values) {
                flat[*i] = *v as f32;
            }
        }
        out
    }

    /// Half spectrum of a target plane (row-major).
    pub fn transform(&mut self, plane: &[f64], spectrum: &mut [Complex64]) -> Result<(), JointError> {
        Ok(self.fft.forward(plane, spectrum, &mut self.scratch)?)
    }

    /// Target plane of a half spectrum.
    pub fn inverse(&mut self, spectrum: &[Complex64], plane: &mut [f64]) -> Result<(), JointError> {
        Ok(self.fft.inverse(spectrum, plane, &mut self.scratch)?)
    }

    /// `A_o x` for one image given as a half spectrum, at the usable pixels.
    pub fn observe(&mut self, observation: usize, image: &[Complex64]) -> Result<Vec<f64>, JointError> {
        let Some(o) = self.operators.get(observation) else { return Err(JointError::NoData) };
        for ((s, x), r) in self.spectrum.iter_mut().zip(image).zip(&o.response) {
            *s = x * r;
        }
        match &o.reading {
            Reading::Whole(at) => {
                self.fft.inverse(&self.spectrum, &mut self.plane, &mut self.scratch)?;
                Ok(at.iter().map(|i| self.plane[*i as usize]).collect())
            }
            Reading::Between(taps) => {
                let n = self.side;
                self.wide.fill(Complex64::default());
                for kx in 0..n / 2 {
                    let (from, to) =
                        (&self.spectrum[kx * n..(kx + 1) * n], &mut self.wide[2 * kx * n..2 * (kx + 1) * n]);
                    to[..n / 2].copy_from_slice(&from[..n / 2]);
                    to[2 * n - n / 2 + 1..].copy_from_slice(&from[n / 2 + 1..]);
                }
                self.fine.inverse(&self.wide, &mut self.finer, &mut self.scratch)?;
                let m = 2 * n;
                let read = |(first, weights): &([u32; 2], [[f64; TAPS]; 2])| {
                    let mut sum = 0.0;
                    for (j, wy) in weights[1].iter().enumerate() {
                        let line = ((first[1] as usize + j) % m) * m;
                        let row: f64 = weights[0]
                            .iter()
                            .enumerate()
                            .map(|(i, wx)| wx * self.finer[line + (first[0] as usize + i) % m])
                            .sum();
                        sum += wy * row;
                    }
                    // the finer grid's inverse transform divides by four times as many pixels
                    4.0 * sum
                };
                Ok(taps.iter().map(read).collect())
            }
        }
    }

    /// Half spectrum of `A_o^T r`.
    pub fn observe_adjoint(
        &mut self,
        observation: usize,
        residual: &[f64],
        spectrum: &mut [Complex64],
    ) -> Result<(), JointError> {
        let Some(o) = self.operators.get(observation) else { return Err(JointError::NoData) };
        match &o.reading {
            Reading::Whole(at) => {
                self.plane.fill(0.0);
                for (i, r) in at.iter().zip(residual) {
                    self.plane[*i as usize] += r;
                }
                self.fft.forward(&self.plane, spectrum, &mut self.scratch)?;
            }
            Reading::Between(taps) => {
                let n = self.side;
                let m = 2 * n;
                self.finer.fill(0.0);
                for ((first, weights), r) in taps.iter().zip(residual) {
                    for (j, wy) in weights[1].iter().enumerate() {
                        let line = ((first[1] as usize + j) % m) * m;
                        for (i, wx) in weights[0].iter().enumerate() {
                            self.finer[line + (first[0] as usize + i) % m] += r * wx * wy;
                        }
                    }
                }
                self.fine.forward(&self.finer, &mut self.wide, &mut self.scratch)?;
                spectrum.fill(Complex64::default());
                for kx in 0..n / 2 {
                    let (to, from) = (&mut spectrum[kx * n..(kx + 1) * n], &self.wide[2 * kx * n..2 * (kx + 1) * n]);
                    to[..n / 2].copy_from_slice(&from[..n / 2]);
                    to[n / 2 + 1..].copy_from_slice(&from[2 * n - n / 2 + 1..]);
                }
            }
        }
        for (s, r) in spectrum.iter_mut().zip(&o.response) {
            *s *= r.conj();
        }
        Ok(())
    }

    /// Model of every observation from the bands' half spectra.
    pub fn forward(&mut self, images: &[Vec<Complex64>]) -> Result<Vec<Vec<f64>>, JointError> {
        let mut mixed = vec![Complex64::default(); self.fft.half_len()];
        let mut out = Vec::with_capacity(self.operators.len());
        for o in 0..self.operators.len() {
            mixed.fill(Complex64::default());
            for (c, image) in images.iter().enumerate() {
                let share = self.shares(o).get(c).copied().unwrap_or(0.0);
                if share != 0.0 {
                    mixed.iter_mut().zip(image).for_each(|(m, v)| *m += v * share);
                }
            }
            out.push(self.observe(o, &mixed)?);
        }
        Ok(out)
    }

    /// Half spectra of the bands' adjoints.
    pub fn adjoint(&mut self, residuals: &[Vec<f64>]) -> Result<Vec<Vec<Complex64>>, JointError> {
        let length = self.fft.half_len();
        let mut out = vec![vec![Complex64::default(); length]; self.bands];
        let mut back = vec![Complex64::default(); length];
        for (o, residual) in residuals.iter().enumerate() {
            self.observe_adjoint(o, residual, &mut back)?;
            for (c, image) in out.iter_mut().enumerate() {
                let share = self.shares(o).get(c).copied().unwrap_or(0.0);
                if share != 0.0 {
                    image.iter_mut().zip(&back).for_each(|(m, v)| *m += v * share);
                }
            }
        }
        Ok(out)
    }

    /// `A^T W A` of the bands' half spectra.
    pub fn normal(&mut self, images: &[Vec<Complex64>]) -> Result<Vec<Vec<Complex64>>, JointError> {
        let mut seen = self.forward(images)?;
        for (values, o) in seen.iter_mut().zip(&self.operators) {
            values.iter_mut().zip(&o.weights).for_each(|(v, w)| *v *= w);
        }
        self.adjoint(&seen)
    }

    /// `A^T W y`, half spectra of the bands.
    pub fn data(&mut self) -> Result<Vec<Vec<Complex64>>, JointError> {
        let weighted: Vec<Vec<f64>> =
            self.operators.iter().map(|o| o.values.iter().zip(&o.weights).map(|(y, w)| y * w).collect()).collect();
        self.adjoint(&weighted)
    }

    /// Weighted mean of a band's own observed surface brightness on the target grid, smoothed with a Gaussian of `fwhm` target pixels: what is
    /// seen of the band before anything is deconvolved. And the noise per target pixel that its observations would have unsmoothed.
    pub fn seen(&mut self, band: usize, fwhm: f64) -> Result<(Vec<f64>, f64), JointError> {
        let n = self.side;
        let length = self.fft.half_len();
        let (mut light, mut weight) = (vec![Complex64::default(); length], vec![Complex64::default(); length]);
        let mut information = 0.0;
        let mut back = vec![Complex64::default(); length];
        for o in 0..self.operators.len() {
            if !self.sees_alone(o, band) {
                continue;
            }
            let at = &self.operators[o];
            let count = at.values.len().max(1) as f64;
            information += at.area * at.area * at.weights.iter().sum::<f64>() / count;
            let (area, share) = (at.area, self.shares(o).get(band).copied().unwrap_or(1.0));
            let weighted: Vec<f64> = at.values.iter().zip(&at.weights).map(|(y, w)| y * w * area / share).collect();
            let weights: Vec<f64> = at.weights.iter().map(|w| w * area * area).collect();
            // reading off alone, without the response
            for (values, sum) in [(weighted, &mut light), (weights, &mut weight)] {
                self.scatter(o, &values, &mut back)?;
                sum.iter_mut().zip(&back).for_each(|(s, b)| *s += b);
            }
        }
        let smooth = gaussian_half_spectrum(n, n, fwhm);
        let mut planes = [vec![0.0; n * n], vec![0.0; n * n]];
        for (plane, mut spectrum) in planes.iter_mut().zip([light, weight]) {
            spectrum.iter_mut().zip(&smooth).for_each(|(s, g)| *s *= g);
            self.inverse(&spectrum, plane)?;
        }
        let [light, weight] = planes;
        let least = 1e-3 * weight.iter().copied().fold(0.0, f64::max);
        let mean = light.iter().zip(&weight).map(|(l, w)| if *w > least { l / w } else { 0.0 }).collect();
        let noise = if information > 0.0 { information.sqrt().recip() } else { f64::INFINITY };
        Ok((mean, noise))
    }

    /// Half spectrum of values put on the target pixels nearest to their positions.
    fn scatter(&mut self, observation: usize, values: &[f64], spectrum: &mut [Complex64]) -> Result<(), JointError> {
        let Some(o) = self.operators.get(observation) else { return Err(JointError::NoData) };
        self.plane.fill(0.0);
        match &o.reading {
            Reading::Whole(at) => at.iter().zip(values).for_each(|(i, v)| self.plane[*i as usize] += v),
            Reading::Between(taps) => {
                let n = self.side;
                for ((first, _), v) in taps.iter().zip(values) {
                    let near = |f: u32| ((f as usize + TAPS / 2) / 2) % n;
                    self.plane[near(first[1]) * n + near(first[0])] += v;
                }
            }
        }
        Ok(self.fft.forward(&self.plane, spectrum, &mut self.scratch)?)
    }
}

impl Operator {
    fn new(o: &Observation, side: usize, bands: usize, target: &[f64]) -> Result<Self, String> {
        let (ny, nx) = o.pixels.dim();
        if o.weight.dim() != (ny, nx) {
            return Err(format!("weights of shape {:?} for pixels of shape {:?}", o.weight.dim(), (ny, nx)));
        }
        if o.shares.len() != bands || o.shares.iter().any(|a| !a.is_finite() || *a < 0.0) {
            return Err(format!(
                "shares {:?}: one that is finite and not negative is needed for each of {bands} bands",
                o.shares
            ));
        }
        let (py, px) = o.psf.dim();
        if py != px || py % 2 == 0 || o.oversample == 0 {
            return Err(format!(
                "PSF of shape {:?}, {} times oversampled: an odd square is needed",
                (py, px),
                o.oversample
            ));
        }
        let sum: f64 = o.psf.iter().map(|v| f64::from(*v)).sum();
        if !(sum.is_finite() && sum > 0.0) {
            return Err(format!("PSF of sum {sum}: it must be finite and positive"));
        }
        let area = o.to_target.area();
        if !(area.is_finite() && area > 1e-6) {
            return Err(format!("its pixels cover {area} target pixels"));
        }
        let whole = o.to_target.whole((ny, nx), POSITION_TOLERANCE);
        let fraction =
            whole.map_or((0.0, 0.0), |(_, offset)| (offset.0 - offset.0.floor(), offset.1 - offset.1.floor()));
        let (mut index, mut values, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let (mut at, mut between) = (Vec::new(), Vec::new());
        let inside = |v: f64| v >= -0.5 && v < side as f64 - 0.5;
        for (i, (y, w)) in o.pixels.iter().zip(o.weight).enumerate() {
            let (column, row) = (i % nx, i / nx);
            let (u, v) = o.to_target.apply(column as f64, row as f64);
            let usable = w.is_finite() && *w > 0.0 && y.is_finite();
            if !usable || !inside(u) || !inside(v) {
                continue;
            }
            match whole {
                Some(([[a, b], [c, d]], offset)) => {
                    let n = side as i64;
                    let (x, y) = (column as i64, row as i64);
                    let u = (a * x + b * y + offset.0.floor() as i64).rem_euclid(n);
                    let v = (c * x + d * y + offset.1.floor() as i64).rem_euclid(n);
                    at.push((v * n + u) as u32);
                }
                None => {
                    let (x, wx) = taps(2.0 * u, 2 * side);
                    let (y, wy) = taps(2.0 * v, 2 * side);
                    between.push(([x, y], [wx, wy]));
                }
            }
            index.push(i);
            values.push(f64::from(*y));
            weights.push(f64::from(*w));
        }
        let reading = if whole.is_some() { Reading::Whole(at) } else { Reading::Between(between) };
        let mut response = psf_spectrum(o.psf, o.oversample, &o.to_target, side);
        for kx in 0..=side / 2 {
            for ky in 0..side {
                let r = &mut response[kx * side + ky];
                // the Nyquist frequencies, whose sign is undefined, hold nothing of a target image
                if 2 * kx == side || 2 * ky == side {
                    *r = Complex64::default();
                    continue;
                }
                let g = target[kx * side + ky];
                *r *= area / sum * g / (g * g + TARGET_FLOOR * TARGET_FLOOR);
                let (fx, fy) = (kx as f64 / side as f64, signed(ky, side) / side as f64);
                if whole.is_some() {
                    *r *= Complex64::from_polar(1.0, TAU * (fx * fraction.0 + fy * fraction.1));
                } else {
                    *r /= kernel_transform(0.5 * fx) * kernel_transform(0.5 * fy);
                }
            }
        }
        Ok(Self { response, reading, shares: o.shares.clone(), index, values, weights, shape: (ny, nx), area })
    }
}

/// Frequency with its sign.
fn signed(k: usize, n: usize) -> f64 {
    if 2 * k > n { k as f64 - n as f64 } else { k as f64 }
}

/// Transform of a PSF, sampled `oversample` times finer than its own pixels, at the target grid's frequencies: the defining sum, so that any
/// rotation and scale is exact. Half spectrum.
fn psf_spectrum(psf: &Plane, oversample: usize, to_target: &Affine, side: usize) -> Vec<Complex64> {
    let half = (psf.nrows() / 2) as f64;
    let step = 1.0 / oversample as f64;
    let [[a, b], [c, d]] = to_target.matrix;
    let n = side as f64;
    let mut out = vec![Complex64::default(); (side / 2 + 1) * side];
    let peak = psf.iter().copied().fold(0.0f32, f32::max);
    let columns = side / 2 + 1;
    let powers = |turn: f64, from: i64, count: usize, into: &mut Vec<Complex64>| {
        into.clear();
        let unit = Complex64::from_polar(1.0, -TAU * turn / n);
        let mut p = Complex64::from_polar(1.0, -TAU * turn * from as f64 / n);
        for _ in 0..count {
            into.push(p);
            p *= unit;
        }
    };
    let (mut px, mut py) = (Vec::with_capacity(columns), Vec::with_capacity(side));
    let separable = b.abs().max(c.abs()) < 1e-12;
    if separable {
        // rows first: (row of the PSF, kx), then columns
        let mut rows = vec![vec![Complex64::default(); columns]; psf.nrows()];
        for x in 0..psf.ncols() {
            powers(a * (x as f64 - half) * step, 0, columns, &mut px);
            for (y, row) in rows.iter_mut().enumerate() {
                let v = f64::from(psf[(y, x)]);
                row.iter_mut().zip(&px).for_each(|(r, p)| *r += p * v);
            }
        }
        for (y, row) in rows.iter().enumerate() {
            powers(d * (y as f64 - half) * step, -(side as i64 / 2), side, &mut py);
            for (kx, r) in row.iter().enumerate() {
                let line = &mut out[kx * side..(kx + 1) * side];
                line.iter_mut().zip(&py).for_each(|(o, p)| *o += r * p);
            }
        }
    } else {
        for ((y, x), v) in psf.indexed_iter() {
            if v.abs() < 1e-6 * peak {
                continue;
            }
            let (x, y) = ((x as f64 - half) * step, (y as f64 - half) * step);
            powers(a * x + b * y, 0, columns, &mut px);
            powers(c * x + d * y, -(side as i64 / 2), side, &mut py);
            let v = f64::from(*v);
            for (kx, p) in px.iter().enumerate() {
                let p = p * v;
                let line = &mut out[kx * side..(kx + 1) * side];
                line.iter_mut().zip(&py).for_each(|(o, q)| *o += p * q);
            }
        }
    }
    // ky ran from -n/2; put it in the transform's order, and leave out what the samples cannot tell.
    let limit = 0.5 * oversample as f64;
    for kx in 0..columns {
        out[kx * side..(kx + 1) * side].rotate_left(side / 2);
        for ky in 0..side {
            let (fx, fy) = (kx as f64 / n, signed(ky, side) / n);
            let own = (a * fx + c * fy, b * fx + d * fy);
            if own.0.abs() > limit || own.1.abs() > limit {
                out[kx * side + ky] = Complex64::default();
            }
        }
    }
    out
}

/// Modified Bessel function of the first kind, order 0.
fn bessel_i0(x: f64) -> f64 {
    let q = 0.25 * x * x;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > 1e-17 * sum {
        term *= q / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// First tap (wrapped round `n`) and the weights of the Kaiser-Bessel kernel at position `u`.
fn taps(u: f64, n: usize) -> (u32, [f64; TAPS]) {
    let width = TAPS as f64;
    let first = (u - 0.5 * width).ceil();
    let weights = std::array::from_fn(|i| {
        let t = 2.0 * (u - first - i as f64) / width;
        let inside = 1.0 - t * t;
        if inside <= 0.0 { 0.0 } else { bessel_i0(SHAPE * inside.sqrt()) / bessel_i0(SHAPE) }
    });
    ((first as i64).rem_euclid(n as i64) as u32, weights)
}

/// Transform of that kernel at `f` cycles per pixel of the finer grid, |f| <= 1/4.
fn kernel_transform(f: f64) -> f64 {
    let z = (SHAPE * SHAPE - (PI * TAPS as f64 * f).powi(2)).max(1e-12).sqrt();
    TAPS as f64 * z.sinh() / (z * bessel_i0(SHAPE))
}
