//! Real galaxies as objects of a simulated sky: a picture from space, cleaned of its noise and of its telescope.
//!
//! A picture becomes a continuous function by its transform: the discrete transform of its pixels over that of its PSF, times a low pass
//! that ends where the telescope passed too little to be divided by. That function *is* the sky of the simulation, drawn through the
//! exposure's PSF and through the target Gaussian alike, so that the truth is exact whatever noise or telescope is left in it. What the
//! low pass takes away must not matter to the target: for HST's ACS it ends near 8 cycles per arcsec, where a Gaussian of FWHM 0.15 arcsec
//! passes less than 1 %. Pictures are shrunk, never enlarged, for the same reason.

use num_complex::Complex32;
use rustfft::FftPlanner;

use crate::deconv::starlet;
use crate::image::Plane;
use crate::image::stats::{MAD_TO_SIGMA, median_in_place};

/// Lattice samples per 1 / side of the picture, at least: the transform of what has an edge there is resolved, and cubic
/// interpolation in it leaves no ghost above a thousandth.
const PADDING: usize = 4;
/// Azimuthal mean of the telescope's transfer function at which the low pass ends.
const LEAST_TRANSFER: f64 = 0.1;
/// Share of its end at which the low pass begins.
const TAPER: f64 = 0.7;
/// Starlet coefficients below this many standard deviations of their noise are noise.
const SIGNIFICANCE: f64 = 3.0;
/// Starlet scales that are cleaned.
const SCALES: usize = 4;

/// Why a picture cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SkyImageError {
    /// Too small, or not finite.
    #[error(
        "a picture of {rows} x {columns} pixels, or one with pixels that are not finite: at least 16 x 16 finite ones are needed"
    )]
    Picture {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// Nothing stands out of the noise.
    #[error("nothing stands out of the picture's noise")]
    Empty,
    /// The PSF has no flux.
    #[error("the picture's PSF has no flux, or pixels that are not finite")]
    Psf,
}

/// A picture of a galaxy as a continuous function of unit flux; lengths in the picture's pixels, the origin is the centre of its light.
#[derive(Debug, Clone, PartialEq)]
pub struct SkyImage {
    /// Transform on a lattice of `side` points along each axis, row by row of ky, both from 0 and wrapped.
    values: Vec<Complex32>,
    side: usize,
    /// Wave number at which the low pass ends, cycles per pixel of the picture.
    cut: f64,
    /// Radius of the circle about the centre that holds half of the light.
    pub half_light_radius: f64,
    /// Radius that holds all of it.
    pub radius: f64,
    /// Second moments (xx, yy, xy) about the centre.
    pub moments: (f64, f64, f64),
}

impl SkyImage {
    /// From a picture and its PSF, both with the pixel's response in, on pixels of the same size; the PSF is centred on its middle
    /// pixel.
    pub fn new(picture: &Plane, psf: &Plane) -> Result<Self, SkyImageError> {
        let (rows, columns) = picture.dim();
        if rows.min(columns) < 16 || picture.iter().any(|v| !v.is_finite()) {
            return Err(SkyImageError::Picture { rows, columns });
        }
        let psf_sum: f64 = psf.iter().map(|v| f64::from(*v)).sum();
        if !(psf_sum > 0.0 && psf_sum.is_finite()) {
            return Err(SkyImageError::Psf);
        }
        let clean = cleaned(picture)?;
        let light = Light::of(&clean).ok_or(SkyImageError::Empty)?;
        let side = (PADDING * rows.max(columns)).max(2 * psf.nrows().max(psf.ncols())).next_power_of_two();
        let mut values = transform(&clean, light.centre, 1.0 / light.flux, side);
        let middle = ((psf.ncols() / 2) as f64, (psf.nrows() / 2) as f64);
        let telescope = transform(psf, middle, 1.0 / psf_sum, side);
        let cut = cut_of(&telescope, side);
        for (row, line) in values.chunks_exact_mut(side).enumerate() {
            for (column, value) in line.iter_mut().enumerate() {
                let k = wave_number(column, side).hypot(wave_number(row, side));
                let h = telescope.get(row * side + column).copied().unwrap_or_default();
                // the mean transfer function decides the cut; where a single direction passes less, it is divided by no less than half
                let floor = (0.5 * LEAST_TRANSFER) as f32;
                let h = if h.norm() < floor { Complex32::new(floor, 0.0) } else { h };
                *value = *value / h * low_pass(k, cut) as f32;
            }
        }
        Ok(Self {
            values,
            side,
            cut,
            half_light_radius: light.half_light_radius,
            radius: light.radius,
            moments: light.moments,
        })
    }

    /// The transform at (kx, ky) cycles per pixel of the picture: cubic interpolation on the lattice.
    #[inline]
    pub fn at(&self, kx: f32, ky: f32) -> Complex32 {
        if f64::from(kx * kx + ky * ky) >= self.cut * self.cut {
            return Complex32::default();
        }
        let (column, wx) = weights(kx, self.side);
        let (row, wy) = weights(ky, self.side);
        let mut sum = Complex32::default();
        for (j, b) in wy.into_iter().enumerate() {
            let line = ((row + j) & (self.side - 1)) * self.side;
            let mut along = Complex32::default();
            for (i, a) in wx.into_iter().enumerate() {
                along += self.values[line + ((column + i) & (self.side - 1))] * a;
            }
            sum += along * b;
        }
        sum
    }

    /// Wave number above which the function holds nothing, cycles per pixel of the picture.
    pub fn cut(&self) -> f64 {
        self.cut
    }
}

/// First of four lattice points about a wave number (wrapped), and their Catmull-Rom weights.
#[inline]
fn weights(k: f32, side: usize) -> (usize, [f32; 4]) {
    let index = k * side as f32;
    let floor = index.floor();
    let u = index - floor;
    let first = (floor as isize - 1).rem_euclid(side as isize) as usize;
    let (u2, u3) = (u * u, u * u * u);
    let w = [
        0.5 * (-u + 2.0 * u2 - u3),
        0.5 * (2.0 - 5.0 * u2 + 3.0 * u3),
        0.5 * (u + 4.0 * u2 - 3.0 * u3),
        0.5 * (-u2 + u3),
    ];
    (first, w)
}

/// Cycles per pixel of a wrapped lattice index.
fn wave_number(index: usize, side: usize) -> f64 {
    let i = if index > side / 2 { index as f64 - side as f64 } else { index as f64 };
    i / side as f64
}

/// 1 up to `TAPER` of the cut, 0 from the cut on, a raised cosine in between.
fn low_pass(k: f64, cut: f64) -> f64 {
    let t = ((k / cut - TAPER) / (1.0 - TAPER)).clamp(0.0, 1.0);
    0.5 + 0.5 * (std::f64::consts::PI * t).cos()
}

/// Wave number at which the telescope's azimuthal mean falls below [`LEAST_TRANSFER`], cycles per pixel.
fn cut_of(telescope: &[Complex32], side: usize) -> f64 {
    let mut rings = vec![(0.0f64, 0usize); side / 2 + 1];
    for (row, line) in telescope.chunks_exact(side).enumerate() {
        for (column, value) in line.iter().enumerate() {
            let k = wave_number(column, side).hypot(wave_number(row, side)) * side as f64;
            if let Some(ring) = rings.get_mut(k.round() as usize) {
                ring.0 += f64::from(value.norm());
                ring.1 += 1;
            }
        }
    }
    let below = rings.iter().position(|(sum, n)| *n > 0 && sum / (*n as f64) < LEAST_TRANSFER);
    below.unwrap_or(side / 2).max(4) as f64 / side as f64
}

/// sum of v exp(-2 pi i k (x - centre)) * `scale` on a wrapped lattice of `side` points along each axis.
fn transform(plane: &Plane, centre: (f64, f64), scale: f64, side: usize) -> Vec<Complex32> {
    let mut values = vec![Complex32::default(); side * side];
    for ((row, column), v) in plane.indexed_iter() {
        if let Some(slot) = values.get_mut((row % side) * side + column % side) {
            *slot += Complex32::new((f64::from(*v) * scale) as f32, 0.0);
        }
    }
    let fft = FftPlanner::<f32>::new().plan_fft_forward(side);
    fft.process(&mut values);
    let mut turned = vec![Complex32::default(); side * side];
    for row in 0..side {
        for column in 0..side {
            turned[column * side + row] = values[row * side + column];
        }
    }
    fft.process(&mut turned);
    let phase = |index: usize, c: f64| {
        let angle = std::f64::consts::TAU * wave_number(index, side) * c;
        Complex32::new(angle.cos() as f32, angle.sin() as f32)
    };
    let along_x: Vec<Complex32> = (0..side).map(|i| phase(i, centre.0)).collect();
    let along_y: Vec<Complex32> = (0..side).map(|i| phase(i, centre.1)).collect();
    for (row, py) in along_y.iter().enumerate() {
        for (column, px) in along_x.iter().enumerate() {
            values[row * side + column] = turned[column * side + row] * px * py;
        }
    }
    values
}

/// Median and standard deviation (by the median absolute deviation) of the outermost pixels, two wide.
fn border(plane: &Plane) -> (f64, f64) {
    let (ny, nx) = plane.dim();
    let outer = |(j, i): (usize, usize)| j < 2 || i < 2 || j + 2 >= ny || i + 2 >= nx;
    let mut values: Vec<f32> = plane.indexed_iter().filter(|(at, _)| outer(*at)).map(|(_, v)| *v).collect();
    let median = median_in_place(&mut values).unwrap_or(0.0);
    let mut off: Vec<f32> = values.iter().map(|v| (f64::from(*v) - median).abs() as f32).collect();
    (median, MAD_TO_SIGMA * median_in_place(&mut off).unwrap_or(0.0))
}

/// Sky off, starlet coefficients below the noise of their scale taken out, and the picture brought smoothly to nothing at its sides.
fn cleaned(picture: &Plane) -> Result<Plane, SkyImageError> {
    let (ny, nx) = picture.dim();
    let (sky, _) = border(picture);
    let image = picture.mapv(|v| v - sky as f32);
    let parts = starlet::transform(&image, SCALES).map_err(|_| SkyImageError::Empty)?;
    let mut clean = parts.smooth.clone();
    for (scale, detail) in parts.details.iter().enumerate() {
        let (_, sigma) = border(detail);
        // a lone coefficient of the finest scale is noise more often than not
        let level = (SIGNIFICANCE + f64::from(u8::from(scale == 0))) * sigma;
        clean.zip_mut_with(detail, |c, d| *c += if f64::from(d.abs()) > level { *d } else { 0.0 });
    }
    let edge = |position: usize, n: usize| {
        let distance = position.min(n - 1 - position) as f64;
        let t = (distance / (0.15 * n as f64)).min(1.0);
        0.5 - 0.5 * (std::f64::consts::PI * t).cos()
    };
    for ((j, i), v) in clean.indexed_iter_mut() {
        *v *= (edge(j, ny) * edge(i, nx)) as f32;
    }
    Ok(clean)
}

/// Sums over a picture.
struct Light {
    flux: f64,
    centre: (f64, f64),
    half_light_radius: f64,
    radius: f64,
    moments: (f64, f64, f64),
}

impl Light {
    fn of(plane: &Plane) -> Option<Self> {
        let flux: f64 = plane.iter().map(|v| f64::from(*v)).sum();
        let peak = plane.iter().copied().fold(0.0f32, f32::max);
        if !(flux > 0.0 && peak > 0.0) {
            return None;
        }
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            plane.indexed_iter().map(|((j, i), v)| f64::from(*v) * f(i as f64, j as f64)).sum::<f64>() / flux
        };
        let centre = (mean(&|x, _| x), mean(&|_, y| y));
        let moments = (
            mean(&|x, _| (x - centre.0).powi(2)),
            mean(&|_, y| (y - centre.1).powi(2)),
            mean(&|x, y| (x - centre.0) * (y - centre.1)),
        );
        let inside = |p: f64, n: usize| p > 0.0 && p < n as f64 - 1.0;
        if !(inside(centre.0, plane.ncols()) && inside(centre.1, plane.nrows())) {
            return None;
        }
        let mut by_radius: Vec<(f64, f64)> = plane
            .indexed_iter()
            .map(|((j, i), v)| ((i as f64 - centre.0).hypot(j as f64 - centre.1), f64::from(*v)))
            .collect();
        by_radius.sort_by(|a, b| a.0.total_cmp(&b.0));
        let radius_of = |share: f64| {
            let mut within = 0.0;
            by_radius.iter().find(|(_, v)| {
                within += v;
                within >= share * flux
            })
        };
        let radius = by_radius.last().map_or(0.0, |r| r.0);
        Some(Self { flux, centre, half_light_radius: radius_of(0.5)?.0.max(0.5), radius, moments })
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::{Grid, Renderer, Spectrum, Window, gaussian};
    use super::super::scene::{Component, Scene};
    use super::*;
    use std::sync::Arc;

    fn gaussian_plane(side: usize, x: f64, y: f64, sx: f64, sy: f64) -> Plane {
        Plane::from_shape_fn((side, side), |(j, i)| {
            let r = ((i as f64 - x) / sx).powi(2) + ((j as f64 - y) / sy).powi(2);
            ((-0.5 * r).exp() / (std::f64::consts::TAU * sx * sy)) as f32
        })
    }

    /// A Gaussian galaxy seen with a Gaussian telescope is the narrower Gaussian again: drawn with a target, its width is known.
    #[test]
    fn the_telescope_is_taken_out() {
        let picture = gaussian_plane(64, 31.3, 32.4, 5.0, 3.5);
        let psf = gaussian_plane(31, 15.0, 15.0, 1.4, 1.4);
        let sky = Arc::new(SkyImage::new(&picture, &psf).unwrap());
        assert!((f64::from(sky.at(0.0, 0.0).re) - 1.0).abs() < 1e-3);
        // two picture pixels are one here
        let scene = Scene {
            components: vec![Component::Picture {
                flux: 3.0,
                picture: sky,
                scale: 0.5,
                angle: 0.0,
                mirrored: false,
                dx: 0.0,
                dy: 0.0,
            }],
        };
        let grid = Grid::new(48, 1.2, 2);
        let target = 2.5;
        let mut kernel = Spectrum::constant(grid, 1.0);
        kernel.multiply_separable(gaussian(target));
        let window = Window { nx: 48, ny: 48, sampling: 1, centre: (24.0, 24.0) };
        let image = Renderer::new().draw(&scene.spectrum(grid), &kernel, window);
        let t2 = target * target / (8.0 * 2f64.ln());
        let width = |s: f64| ((s * s - 1.96) * 0.25 + t2).sqrt();
        let expected = gaussian_plane(48, 24.0, 24.0, width(5.0), width(3.5));
        for (a, b) in image.iter().zip(&expected) {
            assert!((a - 3.0 * b).abs() < 2e-3 * 3.0 * expected[(24, 24)], "{a} {}", 3.0 * b);
        }
        assert!((image.sum() - 3.0).abs() < 1e-2);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let psf = gaussian_plane(31, 15.0, 15.0, 1.4, 1.4);
        assert!(matches!(SkyImage::new(&Plane::zeros((8, 40)), &psf), Err(SkyImageError::Picture { .. })));
        assert!(matches!(SkyImage::new(&Plane::zeros((40, 40)), &psf), Err(SkyImageError::Empty)));
        let good = gaussian_plane(32, 16.0, 16.0, 3.0, 3.0);
        assert!(matches!(SkyImage::new(&good, &Plane::zeros((9, 9))), Err(SkyImageError::Psf)));
        let mut nan = good;
        nan[(3, 3)] = f32::NAN;
        assert!(matches!(SkyImage::new(&nan, &psf), Err(SkyImageError::Picture { .. })));
    }
}
