//! How a PSF varies over a field: polynomials in position for size, shape and aberrations, and a little that no polynomial follows.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::draw::normal;
use super::optics::Optics;
use super::psf::{Psf, moffat_table};
use super::table::{RadialTable, Shear};

/// What makes the PSF.
#[derive(Debug, Clone)]
enum Maker {
    /// Kolmogorov-like seeing and an aberrated telescope far larger than the pixels resolve.
    SeeingAndTelescope { fwhm: f64, cutoff: f64 },
    /// A space telescope at its diffraction limit, with jitter and charge diffusion.
    Space { cutoff: f64, jitter: f64 },
    /// A Moffat profile.
    Moffat { fwhm: f64, beta: f64, table: Arc<RadialTable> },
}

/// A PSF that varies over an image.
#[derive(Debug, Clone)]
pub struct PsfField {
    maker: Maker,
    size: (usize, usize),
    /// Relative change of width, two components of shear, defocus, two of astigmatism, two of coma: each within about -1..=1.
    surfaces: [Surface; 8],
    /// Largest wave number that will be asked for, cycles per pixel.
    cut: f64,
}

/// A cubic polynomial in (u, v) in -1..=1, scaled to about 1, and a weak ripple.
#[derive(Debug, Clone)]
struct Surface {
    /// Coefficients of u^i v^j, i + j <= 3, j slowest; no constant.
    terms: [f64; 9],
    /// Phases of the ripple.
    ripple: (f64, f64),
}

/// (i, j) of each term.
const POWERS: [(i32, i32); 9] = [(1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 3)];
/// Amplitude of what no polynomial follows, relative to the polynomial's.
const RIPPLE: f64 = 0.08;

impl Surface {
    fn random(rng: &mut impl Rng) -> Self {
        let mut surface = Self { terms: [0.0; 9], ripple: (6.3 * rng.random::<f64>(), 6.3 * rng.random::<f64>()) };
        for (term, (i, j)) in surface.terms.iter_mut().zip(POWERS) {
            *term = normal(rng) / f64::from(1 + i + j);
        }
        // scaled so that its largest value over the field is 1
        let mut largest = 1e-9f64;
        for iu in -10..=10 {
            for iv in -10..=10 {
                largest = largest.max(surface.polynomial(0.1 * f64::from(iu), 0.1 * f64::from(iv)).abs());
            }
        }
        surface.terms.iter_mut().for_each(|t| *t /= largest);
        surface
    }

    fn polynomial(&self, u: f64, v: f64) -> f64 {
        self.terms.iter().zip(POWERS).map(|(t, (i, j))| t * u.powi(i) * v.powi(j)).sum()
    }

    fn at(&self, u: f64, v: f64) -> f64 {
        self.polynomial(u, v) + RIPPLE * (6.9 * u + self.ripple.0).sin() * (6.0 * v - self.ripple.1).cos()
    }
}

impl PsfField {
    fn new(maker: Maker, size: (usize, usize), cut: f64, rng: &mut impl Rng) -> Self {
        Self { maker, size, surfaces: std::array::from_fn(|_| Surface::random(rng)), cut }
    }

    /// Seen from the ground: seeing of `fwhm` pixels, telescope of cut-off D / lambda = `cutoff` cycles per pixel.
    pub fn ground(size: (usize, usize), fwhm: f64, cutoff: f64, rng: &mut impl Rng) -> Self {
        Self::new(Maker::SeeingAndTelescope { fwhm, cutoff }, size, (2.4 / fwhm).min(2.0), rng)
    }

    /// Seen from space; `jitter` is the FWHM in pixels of jitter and charge diffusion.
    pub fn space(size: (usize, usize), cutoff: f64, jitter: f64, rng: &mut impl Rng) -> Self {
        Self::new(Maker::Space { cutoff, jitter }, size, cutoff, rng)
    }

    /// A Moffat profile of `fwhm` pixels.
    pub fn moffat(size: (usize, usize), fwhm: f64, beta: f64, rng: &mut impl Rng) -> Self {
        Self::new(Maker::Moffat { fwhm, beta, table: moffat_table(beta) }, size, 2.0, rng)
    }

    /// The PSF (without the pixel's response) at 0-based position (x, y) of an image of `size` = (columns, rows).
    pub fn at(&self, x: f64, y: f64) -> Psf {
        let scaled = |p: f64, n: usize| 2.0 * (p + 0.5) / n.max(1) as f64 - 1.0;
        let (u, v) = (scaled(x, self.size.0), scaled(y, self.size.1));
        let [width, g1, g2, defocus, a0, a45, cx, cy] = self.surfaces.each_ref().map(|s| s.at(u, v));
        match &self.maker {
            Maker::SeeingAndTelescope { fwhm, cutoff } => {
                // waves that move rays by about a tenth of the seeing
                let wave = 0.05 * fwhm * cutoff;
                let optics = Optics {
                    cutoff: *cutoff,
                    obscuration: 0.6,
                    defocus: 0.5 * wave * defocus,
                    astigmatism_0: 0.4 * wave * a0,
                    astigmatism_45: 0.4 * wave * a45,
                    coma_x: 0.12 * wave * cx,
                    coma_y: 0.12 * wave * cy,
                };
                let seeing = Psf::kolmogorov(fwhm * (1.0 + 0.05 * width), Shear { g1: 0.03 * g1, g2: 0.03 * g2 });
                Psf::Convolution(vec![seeing, Psf::telescope(optics, self.cut)])
            }
            Maker::Space { cutoff, jitter } => {
                let optics = Optics {
                    cutoff: cutoff * (1.0 - 0.01 * width),
                    obscuration: 0.33,
                    defocus: 0.03 * defocus,
                    astigmatism_0: 0.02 + 0.02 * a0,
                    astigmatism_45: 0.02 * a45,
                    coma_x: 0.015 * cx,
                    coma_y: 0.015 * cy,
                };
                let shake = Psf::gaussian(*jitter, Shear { g1: 0.05 * g1, g2: 0.05 * g2 });
                Psf::Convolution(vec![shake, Psf::telescope(optics, self.cut)])
            }
            Maker::Moffat { fwhm, beta, table } => {
                let shear = Shear { g1: 0.03 * g1, g2: 0.03 * g2 };
                Psf::from_moffat_table(table.clone(), fwhm * (1.0 + 0.05 * width), *beta, shear)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::{Grid, Renderer};
    use super::super::psf::fwhm;
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn widths_are_those_of_the_surveys_and_vary_over_the_field() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let size = (1000, 800);
        for (field, low, high) in [
            (PsfField::ground(size, 3.9, 14.0, &mut rng), 3.7, 4.8),
            (PsfField::space(size, 0.78, 0.55, &mut rng), 1.4, 1.9),
            (PsfField::moffat(size, 3.5, 3.0, &mut rng), 3.3, 3.9),
        ] {
            let widths: Vec<f64> = [(10.0, 10.0), (500.0, 400.0), (990.0, 790.0)]
                .iter()
                .map(|(x, y)| {
                    let psf = field.at(*x, *y);
                    fwhm(&psf.effective_spectrum(Grid::new(64, psf.cut(1e-5), 1)))
                })
                .collect();
            assert!(widths.iter().all(|w| *w > low && *w < high), "{widths:?}");
            assert!((widths[0] - widths[2]).abs() > 1e-3 * widths[0], "{widths:?}");
            let plane = field.at(300.0, 200.0).effective(&mut Renderer::new(), 31, 1);
            assert!((plane.sum() - 1.0).abs() < 1e-5);
        }
    }
}
