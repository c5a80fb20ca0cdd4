//! Point spread functions: round kernels, sheared; sums and convolutions of them; telescopes.

use std::f64::consts::{PI, TAU};
use std::sync::{Arc, OnceLock};

use super::grid::{Grid, Renderer, Spectrum, Window, gaussian, sinc};
use super::optics::{Optics, Otf};
use super::special::{bessel_j0_fast, ln_gamma};
use super::table::{RadialTable, Shear};
use crate::image::Plane;

/// A PSF without the pixel's response, a continuous function of unit integral centred on the origin; lengths in detector pixels.
#[derive(Debug, Clone)]
pub enum Psf {
    /// A round kernel, sheared.
    Kernel {
        /// Its transform.
        table: Arc<RadialTable>,
        /// Length that makes the table's argument z = 2 pi k scale.
        scale: f64,
        /// Shape.
        shear: Shear,
    },
    /// A telescope.
    Telescope {
        /// The pupil.
        optics: Optics,
        /// Its OTF.
        otf: Otf,
    },
    /// Weighted sum; weights add to 1.
    Sum(Vec<(f64, Psf)>),
    /// Convolution of all.
    Convolution(Vec<Psf>),
}

impl Psf {
    /// A Gaussian of the given FWHM (before the shear, which keeps areas).
    pub fn gaussian(fwhm: f64, shear: Shear) -> Self {
        static TABLE: OnceLock<Arc<RadialTable>> = OnceLock::new();
        let table = TABLE.get_or_init(|| Arc::new(RadialTable::new(7.0, |z| (-0.5 * z * z).exp()))).clone();
        Self::Kernel { table, scale: fwhm / (8.0 * 2f64.ln()).sqrt(), shear }
    }

    /// A Moffat profile (1 + (r/a)^2)^-beta, beta > 1.
    pub fn moffat(fwhm: f64, beta: f64, shear: Shear) -> Self {
        Self::from_moffat_table(moffat_table(beta), fwhm, beta, shear)
    }

    /// A Moffat profile whose transform was tabulated before ([`moffat_table`] of the same beta).
    pub fn from_moffat_table(table: Arc<RadialTable>, fwhm: f64, beta: f64, shear: Shear) -> Self {
        Self::Kernel { table, scale: 0.5 * fwhm / (2f64.powf(1.0 / beta) - 1.0).sqrt(), shear }
    }

    /// A long exposure through Kolmogorov turbulence, exp(-(k/k0)^(5/3)); FWHM = 0.975865 lambda / r0 (Fried 1966; constant as in GalSim).
    pub fn kolmogorov(fwhm: f64, shear: Shear) -> Self {
        static TABLE: OnceLock<Arc<RadialTable>> = OnceLock::new();
        let table = TABLE.get_or_init(|| Arc::new(RadialTable::new(6.0, |z| (-z.powf(5.0 / 3.0)).exp()))).clone();
        // k0 = r0 / lambda / 3.44195^(3/5) cycles per pixel
        let k0 = 0.975_865 / fwhm / 3.441_95f64.powf(0.6);
        Self::Kernel { table, scale: 1.0 / (TAU * k0), shear }
    }

    /// The Airy pattern of a pupil with a central obscuration; `cutoff` = D / lambda, cycles per pixel.
    pub fn airy(cutoff: f64, obscuration: f64) -> Self {
        let optics = Optics { obscuration, ..Optics::perfect(1.0) };
        let table = Arc::new(RadialTable::new(TAU, |z| optics.contrast(z / TAU)));
        Self::Kernel { table, scale: 1.0 / cutoff, shear: Shear::default() }
    }

    /// A telescope; `cut` is the wave number (cycles per pixel) up to which it will be asked for.
    pub fn telescope(optics: Optics, cut: f64) -> Self {
        Self::Telescope { optics, otf: optics.otf(cut) }
    }

    /// Nearly the same PSF: kernels are `size` times as wide and sheared by a little more; telescopes stay.
    pub fn perturbed(&self, size: f64, by: Shear) -> Self {
        match self {
            Self::Kernel { table, scale, shear } => Self::Kernel {
                table: table.clone(),
                scale: scale * size,
                shear: Shear { g1: shear.g1 + by.g1, g2: shear.g2 + by.g2 },
            },
            Self::Telescope { .. } => self.clone(),
            Self::Sum(parts) => Self::Sum(parts.iter().map(|(w, p)| (*w, p.perturbed(size, by))).collect()),
            Self::Convolution(parts) => Self::Convolution(parts.iter().map(|p| p.perturbed(size, by)).collect()),
        }
    }

    /// The same PSF `factor` times as large; a telescope's wave-front error in waves stays.
    pub fn scaled(&self, factor: f64) -> Self {
        match self {
            Self::Kernel { table, scale, shear } => {
                Self::Kernel { table: table.clone(), scale: scale * factor, shear: *shear }
            }
            Self::Telescope { optics, otf } => Self::Telescope {
                optics: Optics { cutoff: optics.cutoff / factor, ..*optics },
                otf: otf.scaled(factor),
            },
            Self::Sum(parts) => Self::Sum(parts.iter().map(|(w, p)| (*w, p.scaled(factor))).collect()),
            Self::Convolution(parts) => Self::Convolution(parts.iter().map(|p| p.scaled(factor)).collect()),
        }
    }

    /// Upper bound of |F| at wave number k, cycles per pixel.
    fn bound(&self, k: f64) -> f64 {
        match self {
            Self::Kernel { table, scale, shear } => {
                let g = shear.g1.hypot(shear.g2).min(0.99);
                let narrow = ((1.0 - g) / (1.0 + g)).sqrt();
                f64::from(table.at_square((TAU * k * scale * narrow).powi(2) as f32)).abs()
            }
            Self::Telescope { optics, .. } => optics.contrast(k),
            Self::Sum(parts) => parts.iter().map(|(w, p)| w.abs() * p.bound(k)).sum(),
            Self::Convolution(parts) => parts.iter().map(|p| p.bound(k)).product(),
        }
    }

    /// Wave number (cycles per pixel) beyond which the transform of the effective PSF stays below `threshold`, at most 2.
    pub fn cut(&self, threshold: f64) -> f64 {
        let mut k = 0.04;
        while k < 2.0 && self.bound(k) * sinc(k.min(0.7)).abs() > threshold {
            k += 0.02;
        }
        k
    }

    /// The transform, without the pixel's response.
    pub fn spectrum(&self, grid: Grid) -> Spectrum {
        let mut spectrum = Spectrum::constant(grid, 1.0);
        self.multiply(&mut spectrum);
        spectrum
    }

    /// The transform of the effective PSF: the pixel's response is in, exactly.
    pub fn effective_spectrum(&self, grid: Grid) -> Spectrum {
        let mut spectrum = self.spectrum(grid);
        spectrum.multiply_pixel();
        spectrum
    }

    fn multiply(&self, spectrum: &mut Spectrum) {
        match self {
            Self::Kernel { table, scale, shear } => {
                let (xx, xy, yy) = shear.quadratic_form(*scale);
                let (xx, xy, yy) = (xx as f32, xy as f32, yy as f32);
                spectrum.for_each(|kx, ky, v| {
                    *v *= table.at_square((xx * kx * kx + xy * kx * ky + yy * ky * ky).max(0.0));
                });
            }
            Self::Telescope { otf, .. } => otf.multiply(spectrum),
            Self::Sum(parts) => {
                let mut sum = Spectrum::constant(spectrum.grid, 0.0);
                for (weight, part) in parts {
                    sum.add(*weight as f32, &part.spectrum(spectrum.grid));
                }
                spectrum.multiply(&sum);
            }
            Self::Convolution(parts) => {
                for part in parts {
                    part.multiply(spectrum);
                }
            }
        }
    }

    /// The effective PSF sampled `oversample` times finer than the detector's pixels on an odd square of `size` samples,
    /// centred on the central sample, unit sum.
    pub fn effective(&self, renderer: &mut Renderer, size: usize, oversample: usize) -> Plane {
        let oversample = oversample.max(1);
        let pixels = size.div_ceil(oversample);
        let grid = Grid::new(2 * pixels, self.cut(1e-5), oversample);
        let spectrum = self.effective_spectrum(grid);
        let centre = (size / 2) as f64;
        let window = Window { nx: size, ny: size, sampling: oversample, centre: (centre, centre) };
        let mut plane = renderer.draw(&Spectrum::constant(grid, 1.0), &spectrum, window);
        normalise(&mut plane);
        plane
    }
}

/// Scales a plane to unit sum; a plane without flux stays as it is.
pub fn normalise(plane: &mut Plane) {
    let sum: f64 = plane.iter().map(|v| f64::from(*v)).sum();
    if sum > 0.0 {
        plane.mapv_inplace(|v| (f64::from(v) / sum) as f32);
    }
}

/// The transform of a Moffat profile of scale a = 1.
///
/// (1 + r^2)^-beta is a mixture of Gaussians, int t^(beta-1) exp(-t (1 + r^2)) dt / Gamma(beta), so that
/// F(z) = int t^(beta-2) exp(-t - z^2 / 4t) dt / Gamma(beta - 1): taken by the trapezoid rule in ln t.
pub fn moffat_table(beta: f64) -> Arc<RadialTable> {
    let beta = beta.max(1.05);
    let (h, from) = (0.2, -15.0);
    let norm = (-ln_gamma(beta - 1.0)).exp() * h;
    let weights: Vec<(f64, f64)> = (0..95)
        .map(|i| from + h * f64::from(i))
        .map(|s| (s.exp(), ((beta - 1.0) * s - s.exp()).exp() * norm))
        .filter(|(_, w)| *w > 1e-12)
        .collect();
    let value = |z: f64| weights.iter().map(|(t, w)| w * (-0.25 * z * z / t).exp()).sum::<f64>();
    let scale = 1.0 / value(0.0);
    let step = 0.1;
    let nodes: Vec<f64> = (0..200).map(|i| scale * value(step * f64::from(i))).collect();
    Arc::new(RadialTable::from_nodes(step, &nodes))
}

/// Full width at half maximum of the azimuthally averaged image of a kernel, pixels: the averaged profile is the Hankel sum of
/// the transform's rings.
pub fn fwhm(spectrum: &Spectrum) -> f64 {
    let rings = spectrum.rings();
    let step = 1.0 / spectrum.grid.period as f64;
    // a ring's weight is its area; the origin stands for the disc inside half a step
    let profile = |r: f64| -> f64 {
        rings
            .iter()
            .enumerate()
            .map(|(i, f)| f * bessel_j0_fast(TAU * step * i as f64 * r) * if i == 0 { 0.125 } else { i as f64 })
            .sum::<f64>()
    };
    let half = 0.5 * profile(0.0);
    let (mut low, mut high) = (0.0, 0.25);
    while profile(high) > half && high < 0.25 * spectrum.grid.period as f64 {
        low = high;
        high += 0.25;
    }
    for _ in 0..16 {
        let mid = 0.5 * (low + high);
        if profile(mid) > half { low = mid } else { high = mid }
    }
    low + high
}

/// Surface brightness of a unit-flux Gaussian of the given FWHM at its centre, per square pixel.
pub fn gaussian_peak(fwhm: f64) -> f64 {
    4.0 * 2f64.ln() / (PI * fwhm * fwhm)
}

/// The transform of the round Gaussian target PSF (no pixel response), FWHM in detector pixels.
pub fn target_spectrum(grid: Grid, fwhm: f64) -> Spectrum {
    let mut spectrum = Spectrum::constant(grid, 1.0);
    spectrum.multiply_separable(gaussian(fwhm));
    spectrum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_is_the_width_asked_for() {
        let round = Shear::default();
        for (psf, name) in [
            (Psf::gaussian(4.0, round), "gaussian"),
            (Psf::moffat(4.0, 2.5, round), "moffat"),
            (Psf::kolmogorov(4.0, round), "kolmogorov"),
        ] {
            let got = fwhm(&psf.spectrum(Grid::new(96, psf.cut(1e-5), 1)));
            assert!((got - 4.0).abs() < 0.02, "{name}: {got}");
        }
    }

    #[test]
    fn the_effective_psf_has_unit_sum_and_a_central_peak() {
        let psf = Psf::Sum(vec![
            (0.7, Psf::moffat(3.0, 3.0, Shear { g1: 0.05, g2: -0.02 })),
            (0.3, Psf::moffat(6.0, 2.5, Shear::default())),
        ]);
        for oversample in [1, 2, 3] {
            let plane = psf.effective(&mut Renderer::new(), 41, oversample);
            assert!((plane.sum() - 1.0).abs() < 1e-5);
            let peak = plane.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at);
            assert_eq!(peak, Some((20, 20)));
        }
    }

    #[test]
    fn airy_is_a_telescope_without_aberrations() {
        let mut renderer = Renderer::new();
        let a = Psf::airy(0.6, 0.3).effective(&mut renderer, 21, 1);
        let b =
            Psf::telescope(Optics { obscuration: 0.3, ..Optics::perfect(0.6) }, 1.0).effective(&mut renderer, 21, 1);
        let peak = a[[10, 10]];
        for (x, y) in a.iter().zip(&b) {
            assert!((x - y).abs() < 0.01 * peak);
        }
    }
}
