//! Drawing through Fourier space: everything is a continuous function until its pixels are read off.
//!
//! A [`Spectrum`] holds the continuous transform F(k) = int f(x) exp(-2 pi i k x) dx on a square lattice of wave vectors, cut at a
//! circle where the narrowest kernel has died out. Objects and kernels multiply; a position is a phase; the image is the inverse sum,
//! read at whole pixels (or fractions of one). Lengths are detector pixels, k is in cycles per pixel, the image is periodic with `period`.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner};
use rustfft::{Fft, FftPlanner};

use crate::image::Plane;

/// A lattice of wave vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Period of the image, pixels: the lattice step is 1 / period.
    pub period: usize,
    /// Samples per pixel of the finest image that can be read off.
    pub oversample: usize,
    /// Largest wave number kept, in lattice steps.
    pub radius: usize,
}

impl Grid {
    /// A lattice of period `period` that reaches to `cut` cycles per pixel and can be read `sampling` times per pixel.
    /// It is as fine as the cut asks for (no aliasing), at most 8 times.
    pub fn new(period: usize, cut: f64, sampling: usize) -> Self {
        let period = period.max(2).next_multiple_of(2);
        let sampling = sampling.max(1);
        let mut oversample = sampling;
        while 0.5 * (oversample as f64) < cut && oversample < 8 * sampling {
            oversample += sampling;
        }
        let highest = period * oversample / 2 - 1;
        Self { period, oversample, radius: ((cut * period as f64).ceil() as usize).clamp(1, highest) }
    }

    /// Samples along an axis of the finest image.
    fn side(&self) -> usize {
        self.period * self.oversample
    }

    fn width(&self) -> usize {
        2 * self.radius + 1
    }

    /// Wave number in cycles per pixel of a lattice step.
    fn k(&self, step: isize) -> f64 {
        step as f64 / self.period as f64
    }

    /// Largest |ky| step inside the circle at kx step `ix`.
    fn reach(&self, ix: usize) -> usize {
        ((self.radius * self.radius - ix * ix) as f64).sqrt() as usize
    }

    /// exp(-2 pi i k d) for ky steps -radius..=radius.
    fn phases(&self, d: f64) -> Vec<Complex32> {
        let r = self.radius as isize;
        (-r..=r)
            .map(|i| {
                let angle = -TAU * self.k(i) * d;
                Complex32::new(angle.cos() as f32, angle.sin() as f32)
            })
            .collect()
    }
}

/// A continuous transform on a [`Grid`]: kx >= 0 only (images are real), rows of kx, within each ky from -radius to radius.
#[derive(Debug, Clone)]
pub struct Spectrum {
    /// The lattice.
    pub grid: Grid,
    values: Vec<Complex32>,
}

impl Spectrum {
    /// The same value everywhere: the transform of a point of that flux at the origin.
    pub fn constant(grid: Grid, value: f32) -> Self {
        Self { grid, values: vec![Complex32::new(value, 0.0); (grid.radius + 1) * grid.width()] }
    }

    /// F at the origin: the flux.
    pub fn flux(&self) -> f64 {
        self.values.get(self.grid.radius).map_or(0.0, |v| f64::from(v.re))
    }

    /// Calls `f(kx, ky, value)` for every lattice point inside the circle, k in cycles per pixel.
    #[inline]
    pub fn for_each(&mut self, mut f: impl FnMut(f32, f32, &mut Complex32)) {
        let grid = self.grid;
        let r = grid.radius as isize;
        let ks: Vec<f32> = (-r..=r).map(|i| grid.k(i) as f32).collect();
        for (ix, row) in self.values.chunks_exact_mut(grid.width()).enumerate() {
            let reach = grid.reach(ix);
            let kx = grid.k(ix as isize) as f32;
            let range = grid.radius - reach..grid.radius + reach + 1;
            for (value, ky) in row[range.clone()].iter_mut().zip(&ks[range]) {
                f(kx, *ky, value);
            }
        }
    }

    /// Adds `f(kx, ky)` shifted to (dx, dy) pixels.
    #[inline]
    pub fn add_shifted(&mut self, dx: f64, dy: f64, mut f: impl FnMut(f32, f32) -> Complex32) {
        if dx == 0.0 && dy == 0.0 {
            self.for_each(|kx, ky, v| *v += f(kx, ky));
            return;
        }
        let grid = self.grid;
        let (px, py) = (grid.phases(dx), grid.phases(dy));
        let r = grid.radius as isize;
        let ks: Vec<f32> = (-r..=r).map(|i| grid.k(i) as f32).collect();
        for (ix, row) in self.values.chunks_exact_mut(grid.width()).enumerate() {
            let reach = grid.reach(ix);
            let (kx, phase) = (grid.k(ix as isize) as f32, px[grid.radius + ix]);
            let range = grid.radius - reach..grid.radius + reach + 1;
            for ((value, ky), p) in row[range.clone()].iter_mut().zip(&ks[range.clone()]).zip(&py[range]) {
                *value += f(kx, *ky) * (phase * p);
            }
        }
    }

    /// Adds a separable function (x(k) along x, y(k) along y) shifted to (dx, dy) pixels: a point, or a round Gaussian.
    pub fn add_separable(&mut self, dx: f64, dy: f64, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
        let grid = self.grid;
        let r = grid.radius as isize;
        let weigh = |phases: Vec<Complex32>, f: &dyn Fn(f64) -> f64| -> Vec<Complex32> {
            phases.into_iter().zip(-r..=r).map(|(p, i)| p * f(grid.k(i)) as f32).collect()
        };
        let (fx, fy) = (weigh(grid.phases(dx), &x), weigh(grid.phases(dy), &y));
        for (ix, row) in self.values.chunks_exact_mut(grid.width()).enumerate() {
            let reach = grid.reach(ix);
            let here = fx[grid.radius + ix];
            let range = grid.radius - reach..grid.radius + reach + 1;
            for (value, p) in row[range.clone()].iter_mut().zip(&fy[range]) {
                *value += here * p;
            }
        }
    }

    /// Multiplies by another transform on the same lattice: a convolution on the sky.
    pub fn multiply(&mut self, other: &Self) {
        debug_assert_eq!(self.grid, other.grid);
        for (a, b) in self.values.iter_mut().zip(&other.values) {
            *a *= b;
        }
    }

    /// Adds `weight` times another transform on the same lattice.
    pub fn add(&mut self, weight: f32, other: &Self) {
        debug_assert_eq!(self.grid, other.grid);
        for (a, b) in self.values.iter_mut().zip(&other.values) {
            *a += b * weight;
        }
    }

    /// Multiplies by the response of a square pixel of side 1.
    pub fn multiply_pixel(&mut self) {
        self.multiply_separable(sinc);
    }

    /// Multiplies by f(kx) f(ky), k in cycles per pixel.
    pub fn multiply_separable(&mut self, f: impl Fn(f64) -> f64) {
        let grid = self.grid;
        let r = grid.radius as isize;
        let factor: Vec<f32> = (-r..=r).map(|i| f(grid.k(i)) as f32).collect();
        for (ix, row) in self.values.chunks_exact_mut(grid.width()).enumerate() {
            let here = factor[grid.radius + ix];
            for (value, p) in row.iter_mut().zip(&factor) {
                *value *= here * p;
            }
        }
    }

    /// Mean real part in rings of the lattice's step, k = 0, 1, ..: the transform of the azimuthally averaged image.
    pub fn rings(&self) -> Vec<f64> {
        let grid = self.grid;
        let mut sums = vec![(0.0, 0usize); grid.radius + 2];
        for (ix, row) in self.values.chunks_exact(grid.width()).enumerate() {
            let reach = grid.reach(ix) as isize;
            for iy in -reach..=reach {
                // each point's weight is shared by the two rings it lies between
                let k = ((ix * ix) as f64 + (iy * iy) as f64).sqrt();
                if let Some(s) = sums.get_mut(k.round() as usize) {
                    s.0 += f64::from(row[(grid.radius as isize + iy) as usize].re);
                    s.1 += 1;
                }
            }
        }
        sums.iter().map(|(s, n)| if *n > 0 { s / *n as f64 } else { 0.0 }).collect()
    }
}

/// sin(pi k) / (pi k): the transform of a pixel of side 1.
pub fn sinc(k: f64) -> f64 {
    let x = std::f64::consts::PI * k;
    if x.abs() < 1e-6 { 1.0 } else { x.sin() / x }
}

/// Transform of a round Gaussian of FWHM `fwhm` along one axis.
pub fn gaussian(fwhm: f64) -> impl Fn(f64) -> f64 {
    let a = std::f64::consts::PI.powi(2) * fwhm * fwhm / (4.0 * 2f64.ln());
    move |k| (-a * k * k).exp()
}

/// What is read off a spectrum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Columns.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// Samples per detector pixel along each axis; must divide the grid's oversampling.
    pub sampling: usize,
    /// Where the spectrum's origin falls, column and row in samples of this window.
    pub centre: (f64, f64),
}

/// Plans and work space of the inverse transforms; one per thread.
pub struct Renderer {
    complex: FftPlanner<f32>,
    real: RealFftPlanner<f32>,
    columns: HashMap<usize, Arc<dyn Fft<f32>>>,
    rows: HashMap<usize, Arc<dyn ComplexToReal<f32>>>,
    column: Vec<Complex32>,
    half: Vec<Complex32>,
    scratch: Vec<Complex32>,
    line: Vec<f32>,
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer").finish_non_exhaustive()
    }
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer {
    /// Without plans yet.
    pub fn new() -> Self {
        Self {
            complex: FftPlanner::new(),
            real: RealFftPlanner::new(),
            columns: HashMap::new(),
            rows: HashMap::new(),
            column: Vec::new(),
            half: Vec::new(),
            scratch: Vec::new(),
            line: Vec::new(),
        }
    }

    /// The image of `object` * `kernel`, flux per sample of the window. The two may have different cuts; their lattice must be the same.
    pub fn draw(&mut self, object: &Spectrum, kernel: &Spectrum, window: Window) -> Plane {
        let grid = object.grid;
        debug_assert_eq!((grid.period, grid.oversample), (kernel.grid.period, kernel.grid.oversample));
        debug_assert_eq!(grid.oversample % window.sampling, 0);
        let side = grid.side();
        let radius = grid.radius.min(kernel.grid.radius);
        let stride = grid.oversample / window.sampling;
        let sampling = window.sampling as f64;
        let (px, py) = (grid.phases(window.centre.0 / sampling), grid.phases(window.centre.1 / sampling));
        let column_fft = self.columns.entry(side).or_insert_with(|| self.complex.plan_fft_inverse(side)).clone();
        let row_fft = self.rows.entry(side).or_insert_with(|| self.real.plan_fft_inverse(side)).clone();
        let need = column_fft.get_inplace_scratch_len().max(row_fft.get_scratch_len());
        self.scratch.resize(need.max(self.scratch.len()), Complex32::default());
        let bins = side / 2 + 1;
        self.half.clear();
        self.half.resize(window.ny * bins, Complex32::default());
        let zero = Complex32::default();
        for ix in 0..=radius {
            self.column.clear();
            self.column.resize(side, zero);
            let reach = ((radius * radius - ix * ix) as f64).sqrt() as usize;
            let a = &object.values[ix * grid.width()..(ix + 1) * grid.width()];
            let b = &kernel.values[ix * kernel.grid.width()..(ix + 1) * kernel.grid.width()];
            let phase = px[grid.radius + ix];
            for iy in -(reach as isize)..=reach as isize {
                let ia = (grid.radius as isize + iy) as usize;
                let ib = (kernel.grid.radius as isize + iy) as usize;
                let to = if iy < 0 { (side as isize + iy) as usize } else { iy as usize };
                self.column[to] = a[ia] * b[ib] * (phase * py[ia]);
            }
            column_fft.process_with_scratch(&mut self.column, &mut self.scratch);
            for row in 0..window.ny {
                self.half[row * bins + ix] = self.column[(row * stride) % side];
            }
        }
        let scale = 1.0 / (grid.period as f64 * sampling).powi(2);
        let mut image = Plane::zeros((window.ny, window.nx));
        self.line.resize(side, 0.0);
        for (bins, mut out) in self.half.chunks_exact_mut(bins).zip(image.rows_mut()) {
            // round-off only: a real image has a real mean per row
            bins[0].im = 0.0;
            let done =
                row_fft.process_with_scratch(bins, &mut self.line, &mut self.scratch[..row_fft.get_scratch_len()]);
            debug_assert!(done.is_ok());
            for (column, value) in out.iter_mut().enumerate() {
                *value = self.line[(column * stride) % side] * scale as f32;
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gaussian_lies_where_it_is_put_and_keeps_its_flux() {
        let grid = Grid::new(48, 1.0, 1);
        let object = Spectrum::constant(grid, 7.0);
        let mut kernel = Spectrum::constant(grid, 1.0);
        kernel.multiply_separable(gaussian(3.0));
        let window = Window { nx: 40, ny: 32, sampling: 1, centre: (20.3, 15.8) };
        let image = Renderer::new().draw(&object, &kernel, window);
        let sigma = 3.0 / (8.0 * 2f64.ln()).sqrt();
        for ((y, x), v) in image.indexed_iter() {
            let r2 = (x as f64 - 20.3).powi(2) + (y as f64 - 15.8).powi(2);
            let expected = 7.0 * (-0.5 * r2 / (sigma * sigma)).exp() / (TAU * sigma * sigma);
            assert!((f64::from(*v) - expected).abs() < 2e-6, "{x} {y}: {v} {expected}");
        }
        assert!((f64::from(image.sum()) - 7.0).abs() < 1e-4);
    }

    #[test]
    fn finer_sampling_reads_the_same_function() {
        let grid = Grid::new(32, 0.9, 2);
        let object = Spectrum::constant(grid, 1.0);
        let mut kernel = Spectrum::constant(grid, 1.0);
        kernel.multiply_separable(gaussian(4.0));
        let mut renderer = Renderer::new();
        let coarse = renderer.draw(&object, &kernel, Window { nx: 32, ny: 32, sampling: 1, centre: (16.0, 16.0) });
        let fine = renderer.draw(&object, &kernel, Window { nx: 64, ny: 64, sampling: 2, centre: (32.0, 32.0) });
        for ((y, x), v) in coarse.indexed_iter() {
            assert!((4.0 * fine[[2 * y, 2 * x]] - v).abs() < 1e-7);
        }
    }
}
