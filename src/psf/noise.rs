//! What the pixels of bright stars say of the model's own error and of the sources' noise.

use super::fit::Fitter;
use super::star::{Agreement, Star, StarStatus, Weighting, agreement};
use crate::image::stats::median_in_place;

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

    /// Measures by how much the model is off the brighter stars, as a share of its value per pixel: the least error with which
    /// half of them are noise.
    pub(super) fn measure_misfit(&mut self, stars: &[Star]) {
        self.misfit = self.weighting.model_error;
        let bright = self.bright(stars);
        // Among a handful of candidates galaxies may be many: what is off them is no fault of the model.
        if bright.len() < 15 {
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

    /// Where the variance plane does not rise with the image although the gain is known: whether the stars' residuals do. A
    /// weight map holds the sky's noise alone; a variance plane without sources' noise may be right (simulations, coadds).
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
        self.weighting.poisson = if likelihood(poisson) > likelihood(0.0) + DECIDES { poisson } else { 0.0 };
    }
}

/// Difference of ln likelihood that decides for the sources' noise.
const DECIDES: f64 = 10.0;
