//! How large a flux's error really is: the fit's own error scaled, a share of the flux, and a floor.

use super::robust::scatter;

/// flux_err^2 = (k err)^2 + (share flux)^2 + floor^2.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorModel {
    /// Factor on the error of the amplitude fit.
    pub k: f64,
    /// Share of the flux: what different objects of the same flux scatter by, whatever their noise.
    pub share: f64,
    /// Floor, units of signal.
    pub floor: f64,
}

impl ErrorModel {
    /// The error alone, as it is.
    pub const NONE: Self = Self { k: 1.0, share: 0.0, floor: 0.0 };

    /// The error of a signal whose fit says `err`.
    pub fn error(&self, signal: f64, err: f64) -> f64 {
        ((self.k * err).powi(2) + (self.share * signal).powi(2) + self.floor.powi(2)).sqrt()
    }
}

/// One source of which the truth is known, units of signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// True signal.
    pub truth: f64,
    /// Corrected signal.
    pub signal: f64,
    /// Error of the corrected signal as the fit has it.
    pub err: f64,
}

/// Fewest sources of a bin.
const BIN: usize = 25;

/// Sources in order of their truth, in bins of equal count.
pub(super) fn bins<T: Clone>(points: &[T], truth: impl Fn(&T) -> f64, most: usize) -> Vec<Vec<T>> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| truth(a).total_cmp(&truth(b)));
    let count = (sorted.len() / BIN).clamp(1, most);
    let size = sorted.len().div_ceil(count).max(1);
    sorted.chunks(size).map(<[T]>::to_vec).collect()
}

/// The model with which pulls have a scatter (1.4826 MAD) as close to 1 as can be in all of ten bins of truth.
///
/// Minimises sum_bins (ln scatter)^2 over (k, share, floor), none negative, by a pattern search from coarse to fine.
pub fn fit(points: &[Deviation]) -> ErrorModel {
    let bins = bins(points, |p| p.truth, 10);
    let cost = |model: &ErrorModel| -> f64 {
        let per_bin = |bin: &Vec<Deviation>| {
            let s = scatter(bin.iter().map(|p| (p.signal - p.truth) / model.error(p.signal, p.err)));
            if s > 0.0 { s.ln().powi(2) } else { 100.0 }
        };
        // A term that the data do not ask for shall be zero.
        bins.iter().map(per_bin).sum::<f64>() + 1e-3 * (model.k.ln().powi(2) + model.share.powi(2))
    };
    let faint = points.iter().map(|p| p.err).filter(|e| *e > 0.0).fold(f64::INFINITY, f64::min);
    let faint = if faint.is_finite() { faint } else { 1.0 };
    let mut best = ErrorModel::NONE;
    let mut least = cost(&best);
    // share and floor may be zero: they step linearly, k by factors
    let mut step = (1.5f64, 0.02f64, faint);
    for _ in 0..60 {
        let mut better = false;
        let around = |m: ErrorModel| {
            [
                ErrorModel { k: m.k * step.0, ..m },
                ErrorModel { k: m.k / step.0, ..m },
                ErrorModel { share: m.share + step.1, ..m },
                ErrorModel { share: (m.share - step.1).max(0.0), ..m },
                ErrorModel { floor: m.floor + step.2, ..m },
                ErrorModel { floor: (m.floor - step.2).max(0.0), ..m },
                // k and the floor stand for one another where the fit's error hardly varies
                ErrorModel { k: m.k / step.0, floor: m.floor + step.2, ..m },
                ErrorModel { k: m.k / step.0, share: m.share + step.1, ..m },
            ]
        };
        for next in around(best) {
            let value = cost(&next);
            if value < least - 1e-12 {
                (best, least, better) = (next, value, true);
            }
        }
        if !better {
            step = (1.0 + 0.5 * (step.0 - 1.0), 0.5 * step.1, 0.5 * step.2);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn the_terms_that_were_put_in_come_out() {
        let truth = ErrorModel { k: 1.6, share: 0.03, floor: 0.0 };
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let points: Vec<Deviation> = (0..6000)
            .map(|i| {
                let signal = 5.0 * 200f64.powf(f64::from(i) / 6000.0);
                let err = 1.0 + 0.001 * signal;
                let noise: f64 = StandardNormal.sample(&mut rng);
                Deviation { truth: signal, signal: signal + truth.error(signal, err) * noise, err }
            })
            .collect();
        let model = fit(&points);
        // k and the floor are nearly the same thing here: what counts is the error
        for (signal, tolerance) in [(6.0, 0.06), (30.0, 0.06), (300.0, 0.06), (900.0, 0.06)] {
            let (got, want) = (model.error(signal, 1.0 + 0.001 * signal), truth.error(signal, 1.0 + 0.001 * signal));
            assert!((got / want - 1.0).abs() < tolerance, "{model:?}: {got} for {want} at {signal}");
        }
    }

    #[test]
    fn nothing_to_add_adds_nothing_much() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let points: Vec<Deviation> = (0..4000)
            .map(|i| {
                let truth = 5.0 * 200f64.powf(f64::from(i) / 4000.0);
                let noise: f64 = StandardNormal.sample(&mut rng);
                Deviation { truth, signal: truth + noise, err: 1.0 }
            })
            .collect();
        let model = fit(&points);
        assert!((model.error(10.0, 1.0) - 1.0).abs() < 0.05 && model.share < 2e-3, "{model:?}");
    }
}
