//! The telescope: an annular pupil with low-order aberrations, as an optical transfer function (OTF).

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::FftPlanner;

use super::grid::Spectrum;

/// An annular pupil and its wave-front error. The aberrations are Noll's Zernike terms, root mean square in waves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optics {
    /// Cut-off frequency D / lambda, cycles per pixel.
    pub cutoff: f64,
    /// Radius of the central obscuration over the pupil's.
    pub obscuration: f64,
    /// Defocus, Z4 = sqrt(3) (2 rho^2 - 1).
    pub defocus: f64,
    /// Astigmatism along x / y, Z6 = sqrt(6) rho^2 cos 2 theta.
    pub astigmatism_0: f64,
    /// Astigmatism along the diagonals, Z5 = sqrt(6) rho^2 sin 2 theta.
    pub astigmatism_45: f64,
    /// Coma along x, Z8 = sqrt(8) (3 rho^3 - 2 rho) cos theta; the shift of the centroid that it brings is taken out.
    pub coma_x: f64,
    /// Coma along y, Z7.
    pub coma_y: f64,
}

/// Cut-offs up to this (cycles per pixel) are diffracted through the pupil's transform; beyond, the pupil is far larger than anything
/// the pixels resolve and rays with the perfect pupil's contrast loss are exact enough.
const DIFFRACTION_BELOW: f64 = 2.0;

/// The OTF on a square lattice, interpolated by cubics.
#[derive(Debug, Clone)]
pub struct Otf {
    /// Cycles per pixel of a lattice step.
    step: f64,
    /// Lattice points run from -reach to reach along both axes, row by row of kx.
    reach: usize,
    values: Arc<[Complex32]>,
}

impl Optics {
    /// A perfect circular pupil.
    pub fn perfect(cutoff: f64) -> Self {
        Self {
            cutoff,
            obscuration: 0.0,
            defocus: 0.0,
            astigmatism_0: 0.0,
            astigmatism_45: 0.0,
            coma_x: 0.0,
            coma_y: 0.0,
        }
    }

    /// Wave-front error in waves at pupil position (x, y) in pupil radii, before the tilt that takes coma's centroid shift out.
    fn wave(&self, x: f64, y: f64) -> f64 {
        let r2 = x * x + y * y;
        self.defocus * 3f64.sqrt() * (2.0 * r2 - 1.0)
            + 6f64.sqrt() * (self.astigmatism_0 * (x * x - y * y) + self.astigmatism_45 * 2.0 * x * y)
            + 8f64.sqrt() * (3.0 * r2 - 2.0) * (self.coma_x * x + self.coma_y * y)
    }

    /// Gradient of the wave-front error, waves per pupil radius.
    fn slope(&self, x: f64, y: f64) -> (f64, f64) {
        let r2 = x * x + y * y;
        let (s3, s6, s8) = (3f64.sqrt(), 6f64.sqrt(), 8f64.sqrt());
        let c = self.coma_x * x + self.coma_y * y;
        let gx = 4.0 * s3 * self.defocus * x
            + 2.0 * s6 * (self.astigmatism_0 * x + self.astigmatism_45 * y)
            + s8 * (6.0 * x * c + (3.0 * r2 - 2.0) * self.coma_x);
        let gy = 4.0 * s3 * self.defocus * y
            + 2.0 * s6 * (self.astigmatism_45 * x - self.astigmatism_0 * y)
            + s8 * (6.0 * y * c + (3.0 * r2 - 2.0) * self.coma_y);
        (gx, gy)
    }

    /// Mean slope over the pupil, by its closed form: only coma has one, sqrt(8) (3 (r^4 mean terms) ...) = sqrt(8) coma (6 <r^2> - 2).
    fn mean_slope(&self) -> (f64, f64) {
        // <x^2> = <r^2>/2, so <6 x (c . x)> = 3 <r^2> c; with <3 r^2 - 2> c the sum is (6 <r^2> - 2) c; <r^2> = (1 + eps^2) / 2
        let factor = 8f64.sqrt() * (3.0 * (1.0 + self.obscuration.powi(2)) - 2.0);
        (factor * self.coma_x, factor * self.coma_y)
    }

    /// The OTF out to `cut` cycles per pixel.
    pub fn otf(&self, cut: f64) -> Otf {
        if self.cutoff <= DIFFRACTION_BELOW { self.diffracted() } else { self.rays(cut) }
    }

    fn diffracted(&self) -> Otf {
        /// Pupil samples across its diameter, and the side of the transform that holds its autocorrelation.
        const ACROSS: usize = 44;
        const SIDE: usize = 96;
        let radius = 0.5 * ACROSS as f64;
        let tilt = self.mean_slope();
        let mut pupil = vec![Complex64::default(); SIDE * SIDE];
        let middle = 0.5 * (ACROSS - 1) as f64;
        for ix in 0..ACROSS {
            for iy in 0..ACROSS {
                let (x, y) = ((ix as f64 - middle) / radius, (iy as f64 - middle) / radius);
                let r = x.hypot(y);
                // edge samples count by the share of them that lies inside
                let outer = (0.5 + (1.0 - r) * radius).clamp(0.0, 1.0);
                let inner = (0.5 + (r - self.obscuration) * radius).clamp(0.0, 1.0);
                let open = if self.obscuration > 0.0 { outer * inner } else { outer };
                if open > 0.0 {
                    let phase = TAU * (self.wave(x, y) - tilt.0 * x - tilt.1 * y);
                    pupil[ix * SIDE + iy] = Complex64::from_polar(open, phase);
                }
            }
        }
        // for unequal arguments the autocorrelation of edge samples is right with this norm; at the origin itself, where it counts
        // w^2 for w, the value is 1 by definition
        let norm = pupil.iter().map(|v| v.norm()).sum::<f64>() * (SIDE * SIDE) as f64;
        let mut planner = FftPlanner::<f64>::new();
        let (forward, inverse) = (planner.plan_fft_forward(SIDE), planner.plan_fft_inverse(SIDE));
        let both = |data: &mut Vec<Complex64>, fft: &dyn rustfft::Fft<f64>| {
            fft.process(data);
            transpose(data, SIDE);
            fft.process(data);
            transpose(data, SIDE);
        };
        both(&mut pupil, forward.as_ref());
        for v in &mut pupil {
            *v = Complex64::new(v.norm_sqr(), 0.0);
        }
        both(&mut pupil, inverse.as_ref());
        pupil[0] = Complex64::new(norm, 0.0);
        let reach = ACROSS + 1;
        let wrap = |i: isize| i.rem_euclid(SIDE as isize) as usize;
        let mut values = Vec::with_capacity((2 * reach + 1).pow(2));
        for ix in -(reach as isize)..=reach as isize {
            for iy in -(reach as isize)..=reach as isize {
                let v = pupil[wrap(ix) * SIDE + wrap(iy)] / norm;
                values.push(Complex32::new(v.re as f32, v.im as f32));
            }
        }
        Otf { step: self.cutoff / ACROSS as f64, reach, values: values.into() }
    }

    fn rays(&self, cut: f64) -> Otf {
        const RINGS: usize = 7;
        const SPOKES: usize = 24;
        let steps = 8;
        let step = cut / steps as f64;
        let reach = steps + 3;
        let tilt = self.mean_slope();
        // a slope of one wave per pupil radius sends a ray 2 lambda / D aside
        let to_pixels = 2.0 / self.cutoff;
        let inner2 = self.obscuration.powi(2);
        let mut shifts = Vec::with_capacity(RINGS * SPOKES);
        for ring in 0..RINGS {
            // rings of equal area
            let r = (inner2 + (1.0 - inner2) * (ring as f64 + 0.5) / RINGS as f64).sqrt();
            for spoke in 0..SPOKES {
                let angle = TAU * (spoke as f64 + 0.5 * (ring % 2) as f64) / SPOKES as f64;
                let (gx, gy) = self.slope(r * angle.cos(), r * angle.sin());
                shifts.push(((gx - tilt.0) * to_pixels, (gy - tilt.1) * to_pixels));
            }
        }
        let reach_i = reach as isize;
        let width = 2 * reach + 1;
        let mut values = vec![Complex32::default(); width * width];
        // exp(i k s) is a power of exp(i step s): one sine and cosine per ray and axis
        let mut sums = vec![Complex64::default(); (reach + 1) * width];
        let mut powers = vec![Complex64::default(); width];
        for (x, y) in &shifts {
            let unit_x = Complex64::cis(TAU * step * x);
            let unit_y = Complex64::cis(TAU * step * y);
            let mut power = unit_y.powi(-(reach as i32));
            for p in &mut powers {
                *p = power;
                power *= unit_y;
            }
            let mut along_x = Complex64::new(1.0, 0.0);
            for row in sums.chunks_exact_mut(width) {
                for (sum, p) in row.iter_mut().zip(&powers) {
                    *sum += along_x * p;
                }
                along_x *= unit_x;
            }
        }
        for ix in 0..=reach_i {
            for iy in -reach_i..=reach_i {
                let k = step * ((ix * ix + iy * iy) as f64).sqrt();
                let v = sums[ix as usize * width + (reach_i + iy) as usize] / shifts.len() as f64 * self.contrast(k);
                let v = Complex32::new(v.re as f32, v.im as f32);
                values[(reach_i + ix) as usize * width + (reach_i + iy) as usize] = v;
                values[(reach_i - ix) as usize * width + (reach_i - iy) as usize] = v.conj();
            }
        }
        Otf { step, reach, values: values.into() }
    }

    /// Modulation transfer of the perfect annular pupil at wave number k, cycles per pixel: the overlap of two shifted annuli.
    pub fn contrast(&self, k: f64) -> f64 {
        let d = 2.0 * k.abs() / self.cutoff;
        let e = self.obscuration;
        let area = overlap(1.0, 1.0, d) - 2.0 * overlap(1.0, e, d) + overlap(e, e, d);
        (area / (PI * (1.0 - e * e))).max(0.0)
    }
}

/// Common area of two discs of radii a >= b at distance d.
fn overlap(a: f64, b: f64, d: f64) -> f64 {
    if b <= 0.0 || d >= a + b {
        return 0.0;
    }
    if d <= a - b {
        return PI * b * b;
    }
    let alpha = ((d * d + a * a - b * b) / (2.0 * d * a)).clamp(-1.0, 1.0).acos();
    let beta = ((d * d + b * b - a * a) / (2.0 * d * b)).clamp(-1.0, 1.0).acos();
    a * a * (alpha - alpha.sin() * alpha.cos()) + b * b * (beta - beta.sin() * beta.cos())
}

fn transpose(data: &mut [Complex64], side: usize) {
    for i in 0..side {
        for j in 0..i {
            data.swap(i * side + j, j * side + i);
        }
    }
}

impl Otf {
    /// The OTF of the same image `factor` times as large.
    pub fn scaled(&self, factor: f64) -> Self {
        Self { step: self.step / factor, ..self.clone() }
    }

    /// Multiplies a spectrum by the OTF.
    pub fn multiply(&self, spectrum: &mut Spectrum) {
        let radius = spectrum.grid.radius as isize;
        let per = 1.0 / (spectrum.grid.period as f64 * self.step);
        let width = 2 * self.reach + 1;
        // first along ky for every row of the table, then along kx for every point
        let columns = 2 * radius as usize + 1;
        let along: Vec<Taps> = (-radius..=radius).map(|i| Taps::at(i as f64 * per, self.reach)).collect();
        let mut rows = vec![Complex32::default(); width * columns];
        for (row, out) in self.values.chunks_exact(width).zip(rows.chunks_exact_mut(columns)) {
            for (o, taps) in out.iter_mut().zip(&along) {
                *o = taps.apply(|t| row[t]);
            }
        }
        let step = 1.0 / spectrum.grid.period as f32;
        let r = radius as f32;
        spectrum.for_each(|kx, ky, v| {
            let ix = (kx / step + r).round() as usize;
            let iy = (ky / step + r).round() as usize;
            *v *= along[ix].apply(|t| rows[t * columns + iy]);
        });
    }
}

/// Four neighbours and their Catmull-Rom weights; none beyond the table.
#[derive(Debug, Clone, Copy)]
struct Taps {
    first: usize,
    weights: [f32; 4],
}

impl Taps {
    fn at(position: f64, reach: usize) -> Self {
        let floor = position.floor();
        let u = (position - floor) as f32;
        let first = floor as isize - 1 + reach as isize;
        if first < 0 || first + 4 > 2 * reach as isize + 1 {
            return Self { first: 0, weights: [0.0; 4] };
        }
        let (u2, u3) = (u * u, u * u * u);
        let weights = [
            0.5 * (-u + 2.0 * u2 - u3),
            0.5 * (2.0 - 5.0 * u2 + 3.0 * u3),
            0.5 * (u + 4.0 * u2 - 3.0 * u3),
            0.5 * (u3 - u2),
        ];
        Self { first: first as usize, weights }
    }

    #[inline]
    fn apply(&self, at: impl Fn(usize) -> Complex32) -> Complex32 {
        let f = self.first;
        at(f) * self.weights[0]
            + at(f + 1) * self.weights[1]
            + at(f + 2) * self.weights[2]
            + at(f + 3) * self.weights[3]
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::Grid;
    use super::*;

    #[test]
    fn the_pupil_transform_gives_the_known_contrast_of_an_annulus() {
        let optics = Optics { obscuration: 0.3, ..Optics::perfect(0.8) };
        let mut spectrum = Spectrum::constant(Grid::new(64, 0.9, 1), 1.0);
        optics.otf(0.9).multiply(&mut spectrum);
        spectrum.for_each(|kx, ky, v| {
            let expected = optics.contrast(f64::from(kx.hypot(ky)));
            assert!((f64::from(v.re) - expected).abs() < 6e-3, "{kx} {ky}: {v} {expected}");
            assert!(v.im.abs() < 1e-5);
        });
    }

    #[test]
    fn coma_does_not_move_the_centroid() {
        for cutoff in [0.8, 14.0] {
            let optics = Optics { coma_x: 0.1 * cutoff / 0.8, obscuration: 0.4, ..Optics::perfect(cutoff) };
            let otf = optics.otf(0.5);
            let mut spectrum = Spectrum::constant(Grid::new(256, 0.02, 1), 1.0);
            otf.multiply(&mut spectrum);
            let mut slope = 0.0f32;
            spectrum.for_each(|kx, ky, v| {
                if ky == 0.0 && kx > 0.0 && kx < 0.005 {
                    slope = v.im / kx / TAU as f32;
                }
            });
            assert!(slope.abs() < 0.06, "centroid at {slope} px for cut-off {cutoff}");
        }
    }
}
