//! Images of the mixture and of its derivatives on the detector's grid, by way of the Fourier domain.

use std::f64::consts::PI;
use std::sync::Arc;

use super::prior::{COMPONENTS, SCALES, SHARES_MEAN, share_modes};
use super::{Profile, ProfilePlace, ProfileShape, SHAPE};
use crate::fourier::{Amplitude, Fft2, FftScratch, embed_centred, plan, shift_phases};
use crate::image::Plane;
use crate::photometry::PhotometryError;

/// Frequencies at which the PSF passes less than this of its sum are left out.
const LEAST_RESPONSE: f32 = 1e-5;

/// Fits profiles; keeps tables and buffers for each stamp size and oversampling it has met.
#[derive(Debug, Default)]
pub struct ProfileFitter {
    grids: Vec<Grid>,
}

/// Tables and buffers for stamps of n x n detector pixels and one oversampling of the PSF.
#[derive(Debug)]
pub(super) struct Grid {
    n: usize,
    factor: usize,
    fine: Arc<Fft2>,
    coarse: Arc<Fft2>,
    scratch: FftScratch,
    fine_plane: Vec<f32>,
    fine_spectrum: Vec<Amplitude>,
    coarse_spectra: Vec<Vec<Amplitude>>,
    phase_x: Vec<Amplitude>,
    phase_y: Vec<Amplitude>,
    /// What the PSF lets through.
    passed: Vec<Frequency>,
    centre: (f64, f64),
}

/// One frequency of the fine half spectrum.
#[derive(Debug, Clone, Copy)]
struct Frequency {
    kx: u32,
    ky: u32,
    /// Cycles per detector pixel.
    fx: f32,
    fy: f32,
    response: Amplitude,
    /// Where it falls on the coarse half spectrum, and where its mirror image does.
    onto: Option<u32>,
    mirror: Option<u32>,
}

/// The mixture of mean shares for unit flux, and its derivatives: modes of the shares, then ln size^2, e1, e2, dx, dy.
pub(super) struct Images {
    pub(super) total: Vec<f32>,
    pub(super) others: Vec<Vec<f32>>,
}

impl ProfileFitter {
    /// A fitted profile of unit flux as seen with the target PSF: side `side` * `factor`, flux per target pixel, the detected position on
    /// pixel `side` * `factor` / 2. `target2`: variance of the target Gaussian, detector pixels^2.
    ///
    /// # Errors
    /// An oversampling that is not 1 to 8.
    pub fn unit_image(
        &mut self,
        profile: &Profile,
        side: usize,
        factor: usize,
        target2: f64,
    ) -> Result<Plane, PhotometryError> {
        self.grid(side, factor)?.unit_image(&profile.shape, &profile.shares, target2)
    }

    /// The grid of a place, with its PSF.
    pub(super) fn load(&mut self, place: &ProfilePlace) -> Result<&mut Grid, PhotometryError> {
        let grid = self.grid(place.side, place.factor)?;
        grid.load(place.psf, place.centre)?;
        Ok(grid)
    }

    fn grid(&mut self, side: usize, factor: usize) -> Result<&mut Grid, PhotometryError> {
        let at = match self.grids.iter().position(|g| g.n == side && g.factor == factor) {
            Some(at) => at,
            None => {
                self.grids.push(Grid::new(side, factor)?);
                self.grids.len() - 1
            }
        };
        Ok(&mut self.grids[at])
    }
}

impl Grid {
    fn new(n: usize, factor: usize) -> Result<Self, PhotometryError> {
        if n == 0 || !(1..=8).contains(&factor) {
            return Err(PhotometryError::BadGeometry { what: "oversampling", value: factor as f64 });
        }
        let side = n * factor;
        let (fine, coarse) = (plan(side, side)?, plan(n, n)?);
        let count = 1 + share_modes().len() + SHAPE;
        Ok(Self {
            n,
            factor,
            scratch: FftScratch::default(),
            fine_plane: vec![0.0; side * side],
            fine_spectrum: vec![Amplitude::default(); fine.half_len()],
            coarse_spectra: vec![vec![Amplitude::default(); coarse.half_len()]; count],
            phase_x: vec![Amplitude::default(); side / 2 + 1],
            phase_y: vec![Amplitude::default(); side],
            passed: Vec::new(),
            centre: (0.0, 0.0),
            fine,
            coarse,
        })
    }

    fn load(&mut self, psf: &Plane, centre: (f64, f64)) -> Result<(), PhotometryError> {
        for (what, value) in [("centre x", centre.0), ("centre y", centre.1)] {
            if !(value.is_finite() && value.abs() < 1e6) {
                return Err(PhotometryError::BadGeometry { what, value });
            }
        }
        let (n, side) = (self.n, self.n * self.factor);
        self.centre = centre;
        embed_centred(psf, &mut self.fine_plane, side, side)?;
        self.fine.forward(&self.fine_plane, &mut self.fine_spectrum, &mut self.scratch)?;
        let sum = self.fine_spectrum.first().map_or(0.0, |h| h.re);
        if !(sum.is_finite() && sum > 0.0) {
            return Err(PhotometryError::BadGeometry { what: "PSF sum", value: f64::from(sum) });
        }
        self.passed.clear();
        let floor = (LEAST_RESPONSE * sum).powi(2);
        for (kx, column) in self.fine_spectrum.chunks_exact(side).enumerate() {
            for (ky, response) in column.iter().enumerate() {
                // The sign of the Nyquist frequency is undefined: it cannot be shifted.
                let nyquist = 2 * kx == side || 2 * ky == side;
                if nyquist || response.norm_sqr() < floor {
                    continue;
                }
                let signed = if 2 * ky > side { ky as f64 - side as f64 } else { ky as f64 };
                let index = |qx: usize, qy: usize| (qx <= n / 2).then_some((qx * n + qy) as u32);
                let (mx, my) = ((side - kx) % n, (side - ky) % n);
                self.passed.push(Frequency {
                    kx: kx as u32,
                    ky: ky as u32,
                    fx: (kx as f64 / n as f64) as f32,
                    fy: (signed / n as f64) as f32,
                    response: *response,
                    onto: index(kx % n, ky % n),
                    // Of the column kx = 0 both halves are kept.
                    mirror: if kx == 0 { None } else { index(mx, my) },
                });
            }
        }
        Ok(())
    }

    fn place(&mut self, shape: &ProfileShape) {
        let (side, s) = (self.n * self.factor, self.factor as f64);
        shift_phases(side, s * (self.centre.0 + shape.dx), &mut self.phase_x);
        shift_phases(side, s * (self.centre.1 + shape.dy), &mut self.phase_y);
        for spectrum in &mut self.coarse_spectra {
            spectrum.fill(Amplitude::default());
        }
    }

    /// Everything a regression needs about a shape.
    pub(super) fn images(&mut self, shape: &ProfileShape) -> Result<Images, PhotometryError> {
        self.place(shape);
        let modes: Vec<[f32; COMPONENTS]> = share_modes().iter().map(|(_, m)| m.map(|v| v as f32)).collect();
        let mean = SHARES_MEAN.map(|v| v as f32);
        let scaled: [f32; COMPONENTS] = std::array::from_fn(|k| (SHARES_MEAN[k] * SCALES[k]) as f32);
        let area = shape.ln_size2.exp() as f32;
        let (e1, e2) = (shape.e1 as f32, shape.e2 as f32);
        let fall = (-2.0 * PI * PI) as f32;
        let turn = (-2.0 * PI) as f32;
        let mut values = vec![Amplitude::default(); 1 + modes.len() + SHAPE];
        for f in &self.passed {
            let base = f.response * self.phase_x[f.kx as usize] * self.phase_y[f.ky as usize];
            let (xx, yy, xy) = (f.fx * f.fx, f.fy * f.fy, f.fx * f.fy);
            let q = area * ((1.0 + e1) * xx + 2.0 * e2 * xy + (1.0 - e1) * yy);
            let parts = components(q);
            let dot = |w: &[f32; COMPONENTS]| w.iter().zip(&parts).map(|(w, p)| w * p).sum::<f32>();
            let (total, steep) = (dot(&mean), fall * dot(&scaled));
            let (head, shaped) = values.split_at_mut(1 + modes.len());
            if let Some((first, rest)) = head.split_first_mut() {
                *first = base * total;
                for (out, mode) in rest.iter_mut().zip(&modes) {
                    *out = base * dot(mode);
                }
            }
            let along = Amplitude::new(0.0, turn * total) * base;
            let shape_values = [
                base * (steep * q),
                base * (steep * area * (xx - yy)),
                base * (steep * area * 2.0 * xy),
                along * f.fx,
                along * f.fy,
            ];
            shaped.copy_from_slice(&shape_values);
            for (spectrum, value) in self.coarse_spectra.iter_mut().zip(&values) {
                add(spectrum, f, *value);
            }
        }
        self.planes(values.len())
    }

    /// A point of unit flux and its derivatives: the PSF's variance (per relative change), its e1 and e2, dx, dy.
    pub(super) fn point_images(&mut self, (dx, dy): (f64, f64), psf2: f64) -> Result<Images, PhotometryError> {
        self.place(&ProfileShape { ln_size2: 0.0, e1: 0.0, e2: 0.0, dx, dy });
        let steep = (-2.0 * PI * PI * psf2) as f32;
        let turn = (-2.0 * PI) as f32;
        for f in &self.passed {
            let base = f.response * self.phase_x[f.kx as usize] * self.phase_y[f.ky as usize];
            let (xx, yy, xy) = (f.fx * f.fx, f.fy * f.fy, f.fx * f.fy);
            let along = Amplitude::new(0.0, turn) * base;
            let values = [
                base,
                base * (steep * (xx + yy)),
                base * (steep * (xx - yy)),
                base * (steep * 2.0 * xy),
                along * f.fx,
                along * f.fy,
            ];
            for (spectrum, value) in self.coarse_spectra.iter_mut().zip(values) {
                add(spectrum, f, value);
            }
        }
        self.planes(1 + SHAPE)
    }

    fn unit_image(
        &mut self,
        shape: &ProfileShape,
        shares: &[f64; COMPONENTS],
        target2: f64,
    ) -> Result<Plane, PhotometryError> {
        let (side, s) = (self.n * self.factor, self.factor as f64);
        let middle = (side / 2) as f64;
        shift_phases(side, middle + s * shape.dx, &mut self.phase_x);
        shift_phases(side, middle + s * shape.dy, &mut self.phase_y);
        let (area, target) = (shape.ln_size2.exp(), -2.0 * PI * PI * target2);
        for (kx, (column, px)) in self.fine_spectrum.chunks_exact_mut(side).zip(&self.phase_x).enumerate() {
            let fx = kx as f64 / self.n as f64;
            for (ky, (slot, py)) in column.iter_mut().zip(&self.phase_y).enumerate() {
                let fy = (if 2 * ky > side { ky as f64 - side as f64 } else { ky as f64 }) / self.n as f64;
                let q = area * ((1.0 + shape.e1) * fx * fx + 2.0 * shape.e2 * fx * fy + (1.0 - shape.e1) * fy * fy);
                let sum: f64 = shares.iter().zip(components(q as f32)).map(|(w, p)| w * f64::from(p)).sum();
                *slot = px * py * ((sum * (target * (fx * fx + fy * fy)).exp()) as f32);
            }
        }
        let mut plane = Plane::zeros((side, side));
        if let Some(pixels) = plane.as_slice_mut() {
            self.fine.inverse(&self.fine_spectrum, pixels, &mut self.scratch)?;
        }
        Ok(plane)
    }

    /// The first `count` coarse spectra as planes.
    fn planes(&mut self, count: usize) -> Result<Images, PhotometryError> {
        let mut planes = Vec::with_capacity(count);
        for spectrum in self.coarse_spectra.iter().take(count) {
            let mut plane = vec![0.0f32; self.n * self.n];
            self.coarse.inverse(spectrum, &mut plane, &mut self.scratch)?;
            planes.push(plane);
        }
        let others = planes.split_off(1);
        Ok(Images { total: planes.pop().unwrap_or_default(), others })
    }

    /// `flux` times the mixture of these shares.
    pub(super) fn mixture(
        &mut self,
        shape: &ProfileShape,
        shares: &[f64; COMPONENTS],
        flux: f64,
    ) -> Result<Plane, PhotometryError> {
        self.place(shape);
        let weights = shares.map(|s| (s * flux) as f32);
        let area = shape.ln_size2.exp() as f32;
        let (e1, e2) = (shape.e1 as f32, shape.e2 as f32);
        let n = self.n;
        let Some(spectrum) = self.coarse_spectra.first_mut() else { return Ok(Plane::zeros((n, n))) };
        for f in &self.passed {
            let q = area * ((1.0 + e1) * f.fx * f.fx + 2.0 * e2 * f.fx * f.fy + (1.0 - e1) * f.fy * f.fy);
            let sum: f32 = weights.iter().zip(components(q)).map(|(w, p)| w * p).sum();
            let base = f.response * self.phase_x[f.kx as usize] * self.phase_y[f.ky as usize];
            add(spectrum, f, base * sum);
        }
        let mut plane = Plane::zeros((n, n));
        if let Some(pixels) = plane.as_slice_mut() {
            self.coarse.inverse(spectrum, pixels, &mut self.scratch)?;
        }
        Ok(plane)
    }
}

/// Adds a fine frequency to the coarse one that decimation folds it onto, and its mirror image likewise.
fn add(spectrum: &mut [Amplitude], f: &Frequency, value: Amplitude) {
    if let Some(slot) = f.onto.and_then(|at| spectrum.get_mut(at as usize)) {
        *slot += value;
    }
    if let Some(slot) = f.mirror.and_then(|at| spectrum.get_mut(at as usize)) {
        *slot += value.conj();
    }
}

/// Transform of each component: exp(-2 pi^2 s_k q); the scales are products of one another, so that one exponential does.
fn components(q: f32) -> [f32; COMPONENTS] {
    let fifth = (-0.4 * (PI * PI) as f32 * q).exp();
    let unit = fifth * fifth * fifth * fifth * fifth;
    let three = unit * unit * unit;
    let nine = three * three * three;
    [1.0, fifth, unit, three, nine, nine * nine * nine]
}
