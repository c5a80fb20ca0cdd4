//! Planes made of the observed image and the PSF on the target grid, for networks that do not begin with the Tikhonov image.
//! `models/training/stillair_training/planes.py` computes the same.
//!
//! O and H: transforms of the observed image and of the PSF centred on pixel 0.

use crate::fourier::{Amplitude, FftScratch, FourierError, plan};
use crate::image::Plane;

/// |H| below which the inverse filter no longer grows.
const FLOOR: f32 = 0.1;
/// Standard deviation of the Gaussian that smooths the inverse-filtered image, target pixels: 1 arcsec at 0.2 arcsec a pixel.
const SMOOTHING: f64 = 5.0;

/// Planes made of the observed image and the PSF.
#[derive(Debug, Clone)]
pub(super) struct Filtered {
    /// `O conj(H)`: the observed image correlated with the PSF.
    pub correlated: Plane,
    /// `O conj(H) / max(|H|, 0.1)^2`: the inverse filter, falling to 0 where the PSF lets nothing through.
    pub inverse: Plane,
    /// That, smoothed with a round Gaussian of standard deviation 5 target pixels.
    pub smoothed: Plane,
}

/// Filters one object's observed image; both planes square, of the same side, the PSF centred on n / 2.
pub(super) fn filtered(observed: &Plane, psf: &Plane) -> Result<Filtered, FourierError> {
    let n = observed.nrows();
    let fft = plan(n, n)?;
    let mut scratch = FftScratch::default();
    let mut transform = |plane: &mut dyn Iterator<Item = f32>| -> Result<Vec<Amplitude>, FourierError> {
        let pixels: Vec<f32> = plane.collect();
        let mut spectrum = vec![Amplitude::default(); fft.half_len()];
        fft.forward(&pixels, &mut spectrum, &mut scratch)?;
        Ok(spectrum)
    };
    let o = transform(&mut observed.iter().copied())?;
    let half = n / 2;
    let centred = |k: usize| (k + half) % n;
    let h = transform(
        &mut (0..n).flat_map(|y| (0..n).map(move |x| psf.get((centred(y), centred(x))).copied().unwrap_or(0.0))),
    )?;
    let correlated: Vec<Amplitude> = o.iter().zip(&h).map(|(o, h)| o * h.conj()).collect();
    let inverse: Vec<Amplitude> = correlated.iter().zip(&h).map(|(c, h)| c / h.norm().max(FLOOR).powi(2)).collect();
    let nu2 = |k: usize| (k.min(n - k) as f64 / n as f64).powi(2);
    let gain = |k: usize| {
        let f2 = nu2(k / n) + nu2(k % n);
        (-2.0 * (std::f64::consts::PI * SMOOTHING).powi(2) * f2).exp() as f32
    };
    let smoothed: Vec<Amplitude> = inverse.iter().enumerate().map(|(k, v)| v * gain(k)).collect();
    let mut back = |spectrum: &[Amplitude]| -> Result<Plane, FourierError> {
        let mut plane = Plane::zeros((n, n));
        if let Some(pixels) = plane.as_slice_mut() {
            fft.inverse(spectrum, pixels, &mut scratch)?;
        }
        Ok(plane)
    };
    Ok(Filtered { correlated: back(&correlated)?, inverse: back(&inverse)?, smoothed: back(&smoothed)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(side: usize, sigma: f64) -> Plane {
        let middle = (side / 2) as f64;
        Plane::from_shape_fn((side, side), |(y, x)| {
            let r2 = (x as f64 - middle).powi(2) + (y as f64 - middle).powi(2);
            ((-0.5 * r2 / (sigma * sigma)).exp() / (std::f64::consts::TAU * sigma * sigma)) as f32
        })
    }

    fn worst(a: &Plane, b: &Plane) -> f32 {
        a.iter().zip(b).fold(0.0_f32, |w, (a, b)| w.max((a - b).abs()))
    }

    /// The same closed forms as models/training/tests: variances add and subtract.
    #[test]
    fn filters_repeat_and_undo_the_seeing() {
        let (n, psf) = (64, gaussian(64, 0.6));
        let sum = psf.sum();
        let planes = filtered(&gaussian(n, 4.36_f64.sqrt()), &psf.mapv(|v| v / sum)).expect("planes");
        assert!(worst(&planes.correlated, &gaussian(n, 4.72_f64.sqrt())) < 2e-4);
        assert!(worst(&planes.inverse, &gaussian(n, 2.0)) < 2e-4);
        assert!(worst(&planes.smoothed, &gaussian(n, 29.0_f64.sqrt())) < 2e-4);
    }

    /// Where the PSF lets nothing through, nothing is made of noise.
    #[test]
    fn the_inverse_filter_is_bounded() {
        let mut point = Plane::zeros((32, 32));
        point[[16, 16]] = 1.0;
        let planes = filtered(&point, &gaussian(32, 4.0)).expect("planes");
        let power: f32 = planes.inverse.iter().map(|v| v * v).sum();
        assert!(power < 1.0 / (FLOOR * FLOOR), "{power}");
    }
}
