//! Two-dimensional real transforms: real rows, a transpose, one batched transform of all columns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftNum, FftPlanner};

use crate::failure::{Classify, FailureKind};

/// What can go wrong with a transform.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum FourierError {
    /// A plane or spectrum does not have the plan's size.
    #[error("Fourier transform of ({ny}, {nx}) pixels was given {what} of {got} values where {expected} are needed")]
    Size {
        /// Rows of the plan.
        ny: usize,
        /// Columns of the plan.
        nx: usize,
        /// Which argument.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length needed.
        expected: usize,
    },
    /// A plan without pixels was asked for.
    #[error("Fourier transform of an empty plane ({ny}, {nx})")]
    Empty {
        /// Rows asked for.
        ny: usize,
        /// Columns asked for.
        nx: usize,
    },
    /// A kernel that has no central pixel.
    #[error("a kernel must have odd sides to have a central pixel, got ({ny}, {nx})")]
    EvenKernel {
        /// Rows of the kernel.
        ny: usize,
        /// Columns of the kernel.
        nx: usize,
    },
}

impl Classify for FourierError {
    fn kind(&self) -> FailureKind {
        FailureKind::Bug
    }
}

/// Plan for planes of one size; shared freely between threads, each of which brings its own [`FftScratch`].
#[derive(Clone)]
pub struct Fft2<T: FftNum = f32> {
    ny: usize,
    nx: usize,
    rows_forward: Arc<dyn RealToComplex<T>>,
    rows_inverse: Arc<dyn ComplexToReal<T>>,
    columns_forward: Arc<dyn Fft<T>>,
    columns_inverse: Arc<dyn Fft<T>>,
}

impl<T: FftNum> std::fmt::Debug for Fft2<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fft2").field("ny", &self.ny).field("nx", &self.nx).finish_non_exhaustive()
    }
}

/// Working memory of one thread; grows to the largest plan it has served.
#[derive(Debug, Clone, Default)]
pub struct FftScratch<T = f32> {
    row: Vec<T>,
    half: Vec<Complex<T>>,
    columns: Vec<Complex<T>>,
    inner: Vec<Complex<T>>,
}

/// Plans by their number of rows and columns.
type Plans<T> = OnceLock<Mutex<HashMap<(usize, usize), Arc<Fft2<T>>>>>;

/// The plan for planes of `ny` rows and `nx` columns, made once per process and size.
pub fn plan(ny: usize, nx: usize) -> Result<Arc<Fft2>, FourierError> {
    static PLANS: Plans<f32> = OnceLock::new();
    cached(&PLANS, ny, nx)
}

/// As [`plan`], in double precision.
pub fn plan64(ny: usize, nx: usize) -> Result<Arc<Fft2<f64>>, FourierError> {
    static PLANS: Plans<f64> = OnceLock::new();
    cached(&PLANS, ny, nx)
}

fn cached<T: FftNum>(plans: &Plans<T>, ny: usize, nx: usize) -> Result<Arc<Fft2<T>>, FourierError> {
    let mut plans = plans.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = plans.get(&(ny, nx)) {
        return Ok(found.clone());
    }
    let made = Arc::new(Fft2::new(ny, nx)?);
    plans.insert((ny, nx), made.clone());
    Ok(made)
}

impl<T: FftNum> Fft2<T> {
    /// A plan for planes of `ny` rows and `nx` columns; [`plan`] hands out cached ones.
    pub fn new(ny: usize, nx: usize) -> Result<Self, FourierError> {
        if ny == 0 || nx == 0 {
            return Err(FourierError::Empty { ny, nx });
        }
        let mut real = RealFftPlanner::<T>::new();
        let mut complex = FftPlanner::<T>::new();
        Ok(Self {
            ny,
            nx,
            rows_forward: real.plan_fft_forward(nx),
            rows_inverse: real.plan_fft_inverse(nx),
            columns_forward: complex.plan_fft_forward(ny),
            columns_inverse: complex.plan_fft_inverse(ny),
        })
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.ny, self.nx)
    }

    /// Number of amplitudes of a half spectrum, `(nx / 2 + 1) * ny`.
    pub fn half_len(&self) -> usize {
        (self.nx / 2 + 1) * self.ny
    }

    fn check(&self, what: &'static str, got: usize, expected: usize) -> Result<(), FourierError> {
        if got == expected { Ok(()) } else { Err(FourierError::Size { ny: self.ny, nx: self.nx, what, got, expected }) }
    }

    fn prepare(&self, scratch: &mut FftScratch<T>) {
        let half = self.nx / 2 + 1;
        scratch.row.resize(self.nx, T::zero());
        scratch.half.resize(half * self.ny, Complex::new(T::zero(), T::zero()));
        let inner = self
            .rows_forward
            .get_scratch_len()
            .max(self.rows_inverse.get_scratch_len())
            .max(self.columns_forward.get_inplace_scratch_len())
            .max(self.columns_inverse.get_inplace_scratch_len());
        scratch.inner.resize(inner, Complex::new(T::zero(), T::zero()));
    }

    /// Half spectrum of a real plane (row-major, `ny * nx` values).
    pub fn forward(
        &self,
        plane: &[T],
        spectrum: &mut [Complex<T>],
        scratch: &mut FftScratch<T>,
    ) -> Result<(), FourierError> {
        self.check("a plane", plane.len(), self.ny * self.nx)?;
        self.check("a spectrum", spectrum.len(), self.half_len())?;
        self.prepare(scratch);
        let half = self.nx / 2 + 1;
        let inner_len = self.rows_forward.get_scratch_len();
        for (row, out) in plane.chunks_exact(self.nx).zip(scratch.half.chunks_exact_mut(half)) {
            scratch.row.copy_from_slice(row);
            // The lengths were made to fit above, which is the only way this can fail.
            let _ = self.rows_forward.process_with_scratch(&mut scratch.row, out, &mut scratch.inner[..inner_len]);
        }
        transpose(&scratch.half, spectrum, self.ny, half);
        self.columns_forward.process_with_scratch(spectrum, &mut scratch.inner);
        Ok(())
    }

    /// Real plane of a half spectrum, `1 / (ny nx)` included.
    pub fn inverse(
        &self,
        spectrum: &[Complex<T>],
        plane: &mut [T],
        scratch: &mut FftScratch<T>,
    ) -> Result<(), FourierError> {
        self.check("a plane", plane.len(), self.ny * self.nx)?;
        self.check("a spectrum", spectrum.len(), self.half_len())?;
        self.prepare(scratch);
        let half = self.nx / 2 + 1;
        scratch.columns.clear();
        scratch.columns.extend_from_slice(spectrum);
        self.columns_inverse.process_with_scratch(&mut scratch.columns, &mut scratch.inner);
        transpose(&scratch.columns, &mut scratch.half, half, self.ny);
        let inner_len = self.rows_inverse.get_scratch_len();
        let pixels = T::from_usize(self.ny * self.nx).unwrap_or_else(T::one);
        let norm = T::one() / pixels;
        for (row, out) in scratch.half.chunks_exact_mut(half).zip(plane.chunks_exact_mut(self.nx)) {
            // Rounding leaves a trace of imaginary part where a real plane has none; the row transform insists on none.
            if let Some(dc) = row.first_mut() {
                dc.im = T::zero();
            }
            if self.nx.is_multiple_of(2)
                && let Some(nyquist) = row.last_mut()
            {
                nyquist.im = T::zero();
            }
            let _ = self.rows_inverse.process_with_scratch(row, out, &mut scratch.inner[..inner_len]);
            for v in out.iter_mut() {
                *v = *v * norm;
            }
        }
        Ok(())
    }
}

/// `to[c * rows + r] = from[r * columns + c]`, by blocks that stay in the first-level cache.
fn transpose<T: Copy>(from: &[T], to: &mut [T], rows: usize, columns: usize) {
    const BLOCK: usize = 8;
    for c0 in (0..columns).step_by(BLOCK) {
        let c1 = (c0 + BLOCK).min(columns);
        for r0 in (0..rows).step_by(BLOCK) {
            let r1 = (r0 + BLOCK).min(rows);
            for c in c0..c1 {
                let line = &mut to[c * rows + r0..c * rows + r1];
                for (v, r) in line.iter_mut().zip(r0..) {
                    *v = from[r * columns + c];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Amplitude;
    use super::*;
    use proptest::prelude::*;

    fn plane(ny: usize, nx: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
        (0..ny * nx)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect()
    }

    proptest! {
        #[test]
        fn round_trip_and_parseval(ny in 1usize..40, nx in 1usize..40, seed in any::<u32>()) {
            let fft = plan(ny, nx).unwrap();
            let f = plane(ny, nx, seed);
            let mut spectrum = vec![Amplitude::default(); fft.half_len()];
            let mut scratch = FftScratch::default();
            fft.forward(&f, &mut spectrum, &mut scratch).unwrap();
            let power: f64 = spectrum.iter().zip(super::super::half_multiplicity(ny, nx)).map(|(a, m)| f64::from(a.norm_sqr() * m)).sum();
            let energy: f64 = f.iter().map(|v| f64::from(*v).powi(2)).sum();
            prop_assert!((power / (ny * nx) as f64 - energy).abs() < 1e-5 * energy);
            let mut back = vec![0.0; ny * nx];
            fft.inverse(&spectrum, &mut back, &mut scratch).unwrap();
            for (a, b) in f.iter().zip(&back) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn matches_the_defining_sum() {
        let (ny, nx) = (6, 5);
        let fft = Fft2::new(ny, nx).unwrap();
        let f = plane(ny, nx, 3);
        let mut spectrum = vec![Amplitude::default(); fft.half_len()];
        fft.forward(&f, &mut spectrum, &mut FftScratch::default()).unwrap();
        for kx in 0..=nx / 2 {
            for ky in 0..ny {
                let mut sum = num_complex::Complex64::default();
                for (j, v) in f.iter().enumerate() {
                    let turn = (j % nx * kx) as f64 / nx as f64 + (j / nx * ky) as f64 / ny as f64;
                    sum += f64::from(*v) * num_complex::Complex64::from_polar(1.0, -std::f64::consts::TAU * turn);
                }
                let got = spectrum[kx * ny + ky];
                assert!((f64::from(got.re) - sum.re).abs() < 1e-5 && (f64::from(got.im) - sum.im).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn wrong_sizes_are_errors() {
        assert!(matches!(Fft2::<f32>::new(0, 4), Err(FourierError::Empty { .. })));
        let fft = Fft2::new(4, 4).unwrap();
        let mut spectrum = vec![Amplitude::default(); fft.half_len()];
        let got = fft.forward(&[0.0; 15], &mut spectrum, &mut FftScratch::default());
        assert!(matches!(got, Err(FourierError::Size { got: 15, expected: 16, .. })));
    }
}
