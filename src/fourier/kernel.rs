//! Kernels and phases that the deconvolution needs, on the grid and in the half-spectrum layout of [`super`].

use std::f64::consts::{PI, TAU};

use super::{Amplitude, FourierError};
use crate::image::Plane;

/// Gaussian FWHM / sigma = 2 sqrt(2 ln 2).
const FWHM_TO_SIGMA: f64 = 0.424_660_900_144_009_5;

/// Puts a kernel with odd sides on an (ny, nx) grid (row-major, overwritten) with its central pixel on element (0, 0).
/// What reaches beyond the grid is wrapped round, so that the sum is kept.
pub fn embed_centred(kernel: &Plane, grid: &mut [f32], ny: usize, nx: usize) -> Result<(), FourierError> {
    let (ky, kx) = kernel.dim();
    if ky % 2 == 0 || kx % 2 == 0 {
        return Err(FourierError::EvenKernel { ny: ky, nx: kx });
    }
    if grid.len() != ny * nx {
        return Err(FourierError::Size { ny, nx, what: "a plane", got: grid.len(), expected: ny * nx });
    }
    grid.fill(0.0);
    let (cy, cx) = (ky / 2, kx / 2);
    for (r, row) in kernel.rows().into_iter().enumerate() {
        let y = (r + ny - cy % ny) % ny;
        let line = &mut grid[y * nx..(y + 1) * nx];
        let (mut row, mut x) = (row, (nx - cx % nx) % nx);
        while !row.is_empty() {
            let (head, tail) = row.split_at(ndarray::Axis(0), row.len().min(nx - x));
            line[x..].iter_mut().zip(head).for_each(|(o, v)| *o += *v);
            (row, x) = (tail, 0);
        }
    }
    Ok(())
}

/// How often each amplitude of a half spectrum counts in a sum over the whole spectrum: 1 or 2.
pub fn half_multiplicity(ny: usize, nx: usize) -> impl Iterator<Item = f32> {
    (0..=nx / 2).flat_map(move |kx| {
        let single = kx == 0 || (nx.is_multiple_of(2) && kx == nx / 2);
        std::iter::repeat_n(if single { 1.0 } else { 2.0 }, ny)
    })
}

/// Phases of a shift by `d` pixels along an axis of `n`: `exp(-2 pi i k d / n)` for the first `out.len()` frequencies, `k` taken
/// with its sign (`k > n/2` is negative). At an even axis's Nyquist frequency, whose sign is undefined, the phase is its real part
/// `cos(pi d)`, which keeps real planes real.
pub fn shift_phases(n: usize, d: f64, out: &mut [Amplitude]) {
    let (sin, cos) = (-TAU * d / n as f64).sin_cos();
    let turn = num_complex::Complex64::new(cos, sin);
    let mut phase = num_complex::Complex64::new(1.0, 0.0);
    let half = out.len().min(n / 2 + 1);
    for (k, p) in out.iter_mut().take(half).enumerate() {
        *p = if 2 * k == n {
            Amplitude::new((PI * d).cos() as f32, 0.0)
        } else {
            Amplitude::new(phase.re as f32, phase.im as f32)
        };
        phase *= turn;
    }
    for k in half..out.len() {
        out[k] = out[n - k].conj();
    }
}

/// One-dimensional factor of a sampled, unit-sum Gaussian's transform: the samples wrapped round an axis of `n` pixels.
/// For a width of no pixels at all the Gaussian is a single pixel, and its transform 1.
fn gaussian_axis(n: usize, fwhm: f64) -> Vec<f64> {
    let sigma = fwhm * FWHM_TO_SIGMA;
    if sigma.is_nan() || sigma <= 1e-3 {
        return vec![1.0; n];
    }
    // The transform of a sampled Gaussian is the continuous one with its aliases added (Poisson summation): exact, and without
    // the rounding that a sum of samples would leave at high frequencies.
    let continuous = |nu: f64| (-2.0 * (PI * sigma * nu).powi(2)).exp();
    let aliases = (1.0 + 3.0 / sigma).ceil() as i64;
    let mut axis: Vec<f64> =
        (0..n).map(|k| (-aliases..=aliases).map(|m| continuous(k as f64 / n as f64 + m as f64)).sum()).collect();
    let sum = axis.first().copied().unwrap_or(1.0);
    axis.iter_mut().for_each(|v| *v /= sum);
    axis
}

/// Transform of a round Gaussian of FWHM `fwhm` pixels, sampled at pixel centres, unit sum, centred on element (0, 0): real and positive.
pub fn gaussian_half_spectrum(ny: usize, nx: usize, fwhm: f64) -> Vec<f64> {
    let (gy, gx) = (gaussian_axis(ny, fwhm), gaussian_axis(nx, fwhm));
    gx.iter().take(nx / 2 + 1).flat_map(|x| gy.iter().map(move |y| x * y)).collect()
}

/// Transform of the Laplacian [[0,-1,0],[-1,4,-1],[0,-1,0]]: `4 - 2 cos(2 pi kx/nx) - 2 cos(2 pi ky/ny)`, real, 0 at frequency 0.
pub fn laplacian_half_spectrum(ny: usize, nx: usize) -> Vec<f64> {
    let axis = |n: usize| (0..n).map(move |k| 4.0 * (PI * k as f64 / n as f64).sin().powi(2));
    let ly: Vec<f64> = axis(ny).collect();
    axis(nx).take(nx / 2 + 1).flat_map(|x| ly.iter().map(move |y| x + y).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fourier::{FftScratch, plan};

    fn transform(plane: &[f32], ny: usize, nx: usize) -> Vec<Amplitude> {
        let fft = plan(ny, nx).unwrap();
        let mut spectrum = vec![Amplitude::default(); fft.half_len()];
        fft.forward(plane, &mut spectrum, &mut FftScratch::default()).unwrap();
        spectrum
    }

    #[test]
    fn laplacian_is_the_transform_of_its_stencil() {
        let (ny, nx) = (7, 10);
        let stencil = ndarray::arr2(&[[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]]);
        let mut grid = vec![0.0; ny * nx];
        embed_centred(&stencil, &mut grid, ny, nx).unwrap();
        for (a, b) in transform(&grid, ny, nx).iter().zip(laplacian_half_spectrum(ny, nx)) {
            assert!((f64::from(a.re) - b).abs() < 1e-5 && a.im.abs() < 1e-5);
        }
    }

    #[test]
    fn gaussian_is_the_transform_of_its_samples() {
        let (ny, nx, fwhm) = (24, 31, 2.0);
        let sigma = fwhm * FWHM_TO_SIGMA;
        let mut kernel = Plane::from_shape_fn((21, 21), |(y, x)| {
            let r2 = (y as f64 - 10.0).powi(2) + (x as f64 - 10.0).powi(2);
            (-0.5 * r2 / sigma / sigma).exp() as f32
        });
        kernel /= kernel.sum();
        let mut grid = vec![0.0; ny * nx];
        embed_centred(&kernel, &mut grid, ny, nx).unwrap();
        for (a, b) in transform(&grid, ny, nx).iter().zip(gaussian_half_spectrum(ny, nx, fwhm)) {
            assert!((f64::from(a.re) - b).abs() < 1e-6 && a.im.abs() < 1e-6);
        }
    }

    #[test]
    fn embedding_wraps_a_kernel_larger_than_the_grid_and_refuses_even_ones() {
        let kernel = Plane::from_elem((9, 9), 1.0 / 81.0);
        let mut grid = vec![0.0; 4 * 5];
        embed_centred(&kernel, &mut grid, 4, 5).unwrap();
        assert!((grid.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(embed_centred(&Plane::zeros((4, 5)), &mut grid, 4, 5).is_err());
    }

    #[test]
    fn whole_pixel_shift_by_phase_moves_the_pixels() {
        let (ny, nx) = (8, 8);
        let plane: Vec<f32> = (0..64).map(|i| ((i * 37) % 23) as f32).collect();
        let fft = plan(ny, nx).unwrap();
        let mut spectrum = transform(&plane, ny, nx);
        let (mut py, mut px) = (vec![Amplitude::default(); ny], vec![Amplitude::default(); nx / 2 + 1]);
        shift_phases(ny, 3.0, &mut py);
        shift_phases(nx, -2.0, &mut px);
        for (i, a) in spectrum.iter_mut().enumerate() {
            *a = *a * px[i / ny] * py[i % ny];
        }
        let mut out = vec![0.0; 64];
        fft.inverse(&spectrum, &mut out, &mut FftScratch::default()).unwrap();
        for y in 0..8 {
            for x in 0..8 {
                let from = plane[((y + 8 - 3) % 8) * 8 + (x + 2) % 8];
                assert!((out[y * 8 + x] - from).abs() < 1e-4);
            }
        }
    }
}
