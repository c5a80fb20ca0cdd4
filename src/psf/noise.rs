//! What the pixels of bright stars say of the model's own error and of the sources' noise.

use super::fit::Fitter;
use super::star::{Agreement, Star, StarStatus, Weighting, agreement};
use crate::image::stats::{median_and_sigma, median_in_place};

impl Fitter<'_> {
    /// The brighter third of the used stars.
    fn bright<'s>(&self, stars: &'s [Star]) -> Vec<&'s Star> {
        let mut bright: Vec<&Star> = stars.iter().filter(|s| s.status == StarStatus::Used).collect();
        bright.sort_by(|a, b| b.snr.total_cmp(&a.snr));
        bright.truncate(bright.len().div_ceil(3));
        bright
    }

    fn agreements(&self, stars: &[&Star], weighting: &Weighting) -> Vec<Agreement> {
        stars
            .iter()
            .filter_map(|s| {
                let position = s.position();
                let residual = self.model.residual_at(position.0, position.1);
                agreement(s, &self.local(&self.model, position, &residual), weighting)
            })
            .collect()
    }

    /// Scales the stars' variance by what their stamps' outskirts show: clipping, weights and tests all assume that it is right.
    pub(super) fn rescale_noise(&mut self, stars: &mut [Star]) {
        let mut deviations: Vec<f32> = Vec::new();
        for star in stars.iter().filter(|s| s.status == StarStatus::Used) {
            let side = star.side();
            let sky = star.sky as f32;
            let outside = (0.75 * star.half as f64).powi(2);
            deviations.extend((0..side * side).filter_map(|p| {
                let (dx, dy) = ((p % side) as f64 - star.half as f64, (p / side) as f64 - star.half as f64);
                let v = star.variance[p];
                (dx * dx + dy * dy > outside && v.is_finite()).then(|| (star.pixels[p] - sky) / v.sqrt())
            }));
        }
        if deviations.len() < RESCALE_FROM {
            return;
        }
        let Some((_, sigma)) = median_and_sigma(&deviations) else { return };
        let scale = sigma * sigma;
        if !(0.1..10.0).contains(&scale) || (scale - 1.0).abs() < 0.03 {
            return;
        }
        for star in stars.iter_mut() {
            star.variance.iter_mut().for_each(|v| *v *= scale as f32);
            star.snr /= sigma;
        }
        if (scale - 1.0).abs() > 0.1 {
            self.notes.push(format!(
                "the variance plane was scaled by {scale:.2}: so much does the sky around the stars scatter"
            ));
        }
    }

    /// Measures by how much the model is off the brighter stars, as a share of its value per pixel: the least error with which
    /// half of them are noise.
    pub(super) fn measure_misfit(&mut self, stars: &[Star]) {
        self.misfit = self.weighting.model_error;
        let bright = self.bright(stars);
        // Among a handful of candidates galaxies may be many: what is off them is no fault of the model.
        if bright.len() < MISFIT_FROM {
            return;
        }
        for _ in 0..10 {
            let weighting = Weighting { model_error: self.misfit, ..self.weighting };
            let mut chi: Vec<f32> = self.agreements(&bright, &weighting).iter().map(|a| a.chi2 as f32).collect();
            match median_in_place(&mut chi) {
                Some(median) if median / self.noise_scale.min(1.2) > 1.08 => self.misfit *= 1.35,
                _ => return,
            }
        }
    }

    /// Where the variance plane does not rise with the image although the gain is known: whether the stars' residuals do. A weight
    /// map holds the sky's noise alone; a variance plane without sources' noise may be right (simulations).
    pub(super) fn choose_poisson(&mut self, stars: &[Star]) {
        let Some(poisson) = self.poisson_of_gain else { return };
        let bright = self.bright(stars);
        if bright.len() < 3 {
            return;
        }
        let likelihood = |poisson: f64| -> f64 {
            [0.003, 0.01, 0.03, 0.06]
                .into_iter()
                .map(|model_error| {
                    let weighting = Weighting { poisson, model_error, ..self.weighting };
                    self.agreements(&bright, &weighting).iter().map(|a| a.ln_likelihood).sum::<f64>()
                })
                .fold(f64::NEG_INFINITY, f64::max)
        };
        self.weighting.poisson = if likelihood(poisson) > likelihood(0.0) { poisson } else { 0.0 };
    }
}

/// Fewest sky pixels that can tell the noise.
const RESCALE_FROM: usize = 1000;
/// Fewest bright stars that can tell the model's error.
const MISFIT_FROM: usize = 10;

/// Electrons per image unit from the sky's own photon noise, where no gain is known: sky / variance, exact where the detector's
/// noise is small against the sky's, too small otherwise. `None` where the sky has been subtracted.
pub fn gain_from_sky(sky: f64, variance: f64) -> Option<f64> {
    (variance > 0.0 && sky > SKY_LEFT * variance.sqrt()).then(|| sky / variance)
}

/// A level of fewer standard deviations per pixel is a residual, no sky.
const SKY_LEFT: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sky_of_photons_tells_the_gain() {
        // 10 000 electrons at 2 e-/ADU: 5000 ADU, variance 2500 ADU^2.
        assert_eq!(gain_from_sky(5000.0, 2500.0), Some(2.0));
        assert_eq!(gain_from_sky(3.0, 100.0), None);
    }
}
