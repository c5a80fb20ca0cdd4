//! Adding simulated sources to an exposure, with whatever PSF the caller has: for calibration and for tests on real images.

use rand_chacha::ChaCha8Rng;

use super::draw::normal;
use super::exposure::paste;
use super::grid::{Grid, Renderer, Spectrum, Window};
use super::scene::Scene;
use crate::exposure::Exposure;
use crate::image::{PixelBox, Plane};
use crate::psf::PsfStamp;

/// A source to be added.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Column, 0-based.
    pub x: f64,
    /// Row, 0-based.
    pub y: f64,
    /// What it looks like, flux in image units.
    pub scene: Scene,
}

/// The transform of a sampled effective PSF (pixel response in), interpolated without loss between its samples.
/// Nothing is known beyond the samples' Nyquist frequency: `grid` should not reach further.
pub fn sampled_spectrum(psf: &PsfStamp, grid: Grid) -> Spectrum {
    let (ny, nx) = psf.image.dim();
    let per_sample = 1.0 / psf.oversample.max(1) as f64;
    let (cx, cy) = ((nx / 2) as f64, (ny / 2) as f64);
    let mut spectrum = Spectrum::constant(grid, 0.0);
    // one axis after the other: rows first
    let waves = |count: usize, centre: f64, k: f64| -> Vec<num_complex::Complex32> {
        (0..count)
            .map(|i| {
                let angle = -std::f64::consts::TAU * k * (i as f64 - centre) * per_sample;
                num_complex::Complex32::new(angle.cos() as f32, angle.sin() as f32)
            })
            .collect()
    };
    let step = 1.0 / grid.period as f64;
    let radius = grid.radius as isize;
    let along_y: Vec<_> = (-radius..=radius).map(|i| waves(ny, cy, i as f64 * step)).collect();
    let mut columns = Vec::new();
    let mut current = f32::NAN;
    spectrum.for_each(|kx, ky, value| {
        if kx != current {
            current = kx;
            let wave = waves(nx, cx, (f64::from(kx) / step).round() * step);
            columns = psf
                .image
                .rows()
                .into_iter()
                .map(|row| row.iter().zip(&wave).map(|(p, w)| w * *p).sum::<num_complex::Complex32>())
                .collect();
        }
        let iy = ((f64::from(ky) / step).round() as isize + radius) as usize;
        *value = columns.iter().zip(&along_y[iy]).map(|(c, w)| c * w).sum();
    });
    spectrum
}

/// Draws a source through a sampled PSF on an n x n stamp about it, without noise.
pub fn draw_source(source: &Source, psf: &PsfStamp, n: usize, renderer: &mut Renderer) -> (PixelBox, Plane) {
    let bounds = PixelBox::centred(source.x, source.y, n);
    let oversample = psf.oversample.max(1);
    let mut grid = Grid::new(n, 0.5 * oversample as f64, 1);
    // the stamp must hold the PSF, or its far side would come in again
    grid.period = grid.period.max(psf.image.dim().0.div_ceil(oversample)).next_multiple_of(2);
    let grid = Grid::new(grid.period, 0.5 * oversample as f64 - 1.0 / grid.period as f64, 1);
    let kernel = sampled_spectrum(psf, grid);
    let centre = (source.x - bounds.x0 as f64, source.y - bounds.y0 as f64);
    let pixels = renderer.draw(&source.scene.spectrum(grid), &kernel, Window { nx: n, ny: n, sampling: 1, centre });
    (bounds, pixels)
}

/// Adds a source's noiseless pixels to an exposure. With a known gain it brings its photon noise, and the variance plane the like.
pub fn add(exposure: &mut Exposure, bounds: &PixelBox, pixels: &Plane, rng: &mut ChaCha8Rng) {
    let Some(gain) = exposure.gain.filter(|g| *g > 0.0) else { return paste(&mut exposure.image, bounds, pixels) };
    let variance = pixels.mapv(|v| v.max(0.0) / gain as f32);
    let mut noisy = pixels.clone();
    noisy.zip_mut_with(&variance, |v, var| *v += var.sqrt() * normal(rng) as f32);
    paste(&mut exposure.variance, bounds, &variance);
    paste(&mut exposure.image, bounds, &noisy);
}

/// Adds sources to an exposure: `psf(x, y)` gives the effective PSF at a 0-based position; stamps are `n` pixels wide.
/// Returns what was added, noise excluded, in the order of the sources; see [`add`] for the noise.
pub fn inject(
    exposure: &mut Exposure,
    sources: &[Source],
    psf: impl Fn(f64, f64) -> PsfStamp,
    n: usize,
    rng: &mut ChaCha8Rng,
    renderer: &mut Renderer,
) -> Vec<(PixelBox, Plane)> {
    sources
        .iter()
        .map(|source| {
            let (bounds, pixels) = draw_source(source, &psf(source.x, source.y), n, renderer);
            add(exposure, &bounds, &pixels, rng);
            (bounds, pixels)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::psf::Psf;
    use super::super::table::Shear;
    use super::*;

    #[test]
    fn a_sampled_psf_draws_what_the_function_draws() {
        let psf = Psf::moffat(3.6, 3.0, Shear { g1: 0.05, g2: 0.02 });
        let mut renderer = Renderer::new();
        let scene = Scene::sersic(100.0, 1.0, 2.0, Shear::from_axis_ratio(0.6, 0.5));
        let source = Source { x: 50.3, y: 41.8, scene };
        for oversample in [1, 2] {
            let stamp = PsfStamp { image: psf.effective(&mut renderer, 61 * oversample, oversample), oversample };
            let (bounds, pixels) = draw_source(&source, &stamp, 64, &mut renderer);
            let grid = Grid::new(128, psf.cut(1e-6), 1);
            let centre = (source.x - bounds.x0 as f64, source.y - bounds.y0 as f64);
            let window = Window { nx: 64, ny: 64, sampling: 1, centre };
            let expected = renderer.draw(&source.scene.spectrum(grid), &psf.effective_spectrum(grid), window);
            let peak = expected.iter().copied().fold(0.0f32, f32::max);
            for (a, b) in pixels.iter().zip(&expected) {
                // the stamp's finite size and unit sum cost a little
                assert!((a - b).abs() < 5e-3 * peak, "oversample {oversample}: {a} {b} of {peak}");
            }
        }
    }
}
