//! FFT plans: one normalisation, stated once.
//!
//! **Normalisation.** Forward transforms carry no factor, `F[k] = sum_j f[j] exp(-2 pi i j.k / N)`; inverse transforms carry
//! `1 / (ny nx)`, so that a round trip is the identity. This is numpy's default, and what the golden tests compare with.
//!
//! **Layout.** The spectrum of a real (ny, nx) plane is kept as its non-redundant half, *columns first*:
//! element `kx * ny + ky` holds frequency (ky, kx), `kx` in `0..=nx/2`, `ky` in `0..ny`.
//! The frequencies left out follow from `F[-ky, -kx] = conj F[ky, kx]`.

mod kernel;
mod plan;

pub use kernel::{embed_centred, gaussian_half_spectrum, half_multiplicity, laplacian_half_spectrum, shift_phases};
pub use plan::{Fft2, FftScratch, FourierError, plan, plan64};

/// A complex amplitude of a spectrum.
pub type Amplitude = num_complex::Complex32;
