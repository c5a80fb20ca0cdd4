//! The scale of a stamp, from what is known without the truth; `models/training/stillair_training/normalise.py` computes the same.

use ndarray::s;

use super::NetworkInput;
use super::card::Normalisation;
use crate::image::Plane;

/// The scale by which a stamp's images are divided; positive and finite, or `None`.
pub(super) fn scale(rule: Normalisation, input: &NetworkInput) -> Option<f64> {
    let scale = match rule {
        Normalisation::CentralPeak { side, smooth, floor_sigmas } => {
            central_peak(&input.tikhonov, side, smooth).max(floor_sigmas * input.noise_sigma)
        }
        Normalisation::Maximum { floor_sigmas } => {
            let maximum = input.tikhonov.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
            maximum.max(floor_sigmas * input.noise_sigma)
        }
        Normalisation::ObservedMaximum { floor_sigmas } => {
            let observed = input.observed.as_ref()?;
            let maximum = observed.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
            maximum.max(floor_sigmas * input.sky_sigma)
        }
        Normalisation::NoiseSigma => input.noise_sigma,
        Normalisation::None => 1.0,
    };
    (scale.is_finite() && scale > 0.0).then_some(scale)
}

/// Largest mean over `smooth` x `smooth` pixels whose central pixel lies in rows and columns n/2 - side/2 .. n/2 + side/2 - 1.
/// Where the image is too small for that, the pixels that exist count.
fn central_peak(image: &Plane, side: usize, smooth: usize) -> f64 {
    let margin = smooth / 2;
    let range = |n: usize| (n / 2).saturating_sub(side / 2)..(n / 2 + side / 2).min(n);
    let (ny, nx) = image.dim();
    let mut peak = f64::NEG_INFINITY;
    for y in range(ny) {
        for x in range(nx) {
            let window = image.slice(s![
                y.saturating_sub(margin)..(y + margin + 1).min(ny),
                x.saturating_sub(margin)..(x + margin + 1).min(nx)
            ]);
            let sum: f64 = window.iter().map(|&v| f64::from(v)).sum();
            peak = peak.max(sum / window.len() as f64);
        }
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Normalisation = Normalisation::CentralPeak { side: 16, smooth: 3, floor_sigmas: 5.0 };

    fn input(tikhonov: Plane, noise_sigma: f64) -> NetworkInput {
        NetworkInput {
            psf: Plane::zeros(tikhonov.dim()),
            tikhonov,
            noise_sigma,
            sky_sigma: 1.0,
            ..NetworkInput::default()
        }
    }

    #[test]
    fn central_peak_is_the_largest_mean_in_the_box() {
        let mut image = Plane::zeros((64, 64));
        image[[40 - 1, 24]] = 9.0; // centre of the window may lie on row 39, column 24
        image[[5, 5]] = 1e6; // outside the box: does not count
        assert_eq!(scale(RULE, &input(image.clone(), 0.01)), Some(1.0));
        // The floor takes over for a blank.
        assert_eq!(scale(RULE, &input(image, 2.0)), Some(10.0));
    }

    #[test]
    fn a_neighbour_just_outside_the_box_counts_through_the_mean_only() {
        let mut image = Plane::zeros((64, 64));
        image[[41, 32]] = 9.0; // row 40 is outside the box, row 41 is outside every window
        assert_eq!(scale(RULE, &input(image.clone(), 1e-3)), Some(5e-3));
        image[[40, 32]] = 9.0;
        assert_eq!(scale(RULE, &input(image, 1e-3)), Some(1.0));
    }

    #[test]
    fn no_scale_for_nan_or_nothing() {
        assert_eq!(scale(RULE, &input(Plane::zeros((64, 64)), 0.0)), None);
        assert_eq!(scale(Normalisation::NoiseSigma, &input(Plane::zeros((8, 8)), f64::NAN)), None);
        assert_eq!(scale(Normalisation::None, &input(Plane::zeros((8, 8)), 1.0)), Some(1.0));
    }
}
