//! How strongly a quantity varies over the field: priors of polynomial coefficients by marginal likelihood (empirical Bayes;
//! MacKay 1992, Neural Computation 4, 415), so that an order is neither cut hard nor left to run free.

use super::linalg::Cholesky;
use super::spatial::term_count;

/// Prior of a quantity's polynomial: coefficients of total order o >= 1 have standard deviation `amplitude * decay^(o - 1)`; the
/// stars scatter about the polynomial with variance `nugget`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OrderPrior {
    pub(super) amplitude: f64,
    pub(super) decay: f64,
    pub(super) nugget: f64,
}

impl OrderPrior {
    /// Before anything is known.
    pub(super) fn wide() -> Self {
        Self { amplitude: 0.3, decay: 1.0, nugget: 2.5e-3 }
    }

    /// Prior precision of each term up to `order`; the constant is free.
    pub(super) fn precisions(&self, order: usize) -> Vec<f64> {
        let mut out = vec![1e-6];
        for o in 1..=order {
            let sigma = self.amplitude * self.decay.powi(o as i32 - 1);
            out.extend((0..=o).map(|_| 1.0 / (sigma * sigma)));
        }
        out
    }
}

/// One star's value of the quantity.
pub(super) struct Sample<'a> {
    /// Legendre terms at its position, at least up to the order asked for.
    pub(super) terms: &'a [f64],
    pub(super) value: f64,
    /// Variance of `value` from the pixel noise.
    pub(super) variance: f64,
}

const DECAYS: [f64; 4] = [1.0, 0.6, 0.35, 0.2];
/// Steps in ln amplitude and ln nugget.
const STEP: f64 = 0.7;
const AMPLITUDE: (f64, f64) = (1e-4, 1.0);
const NUGGET: (f64, f64) = (4e-6, 1e-2);

/// The prior that maximises the marginal likelihood of the samples for polynomials of total order `order`, and that ln likelihood.
pub(super) fn order_prior(samples: &[Sample<'_>], order: usize, start: OrderPrior) -> (OrderPrior, f64) {
    let mut best = (OrderPrior { decay: 0.6, ..start }, f64::NEG_INFINITY);
    // Coordinate ascent from the last known prior; the likelihood is smooth and has one maximum worth having.
    for step in [3.0 * STEP, STEP, 0.5 * STEP] {
        for _ in 0..2 {
            let before = best.1;
            let centre = best.0;
            for k in -2i32..=2 {
                let nugget = (centre.nugget * (f64::from(k) * step).exp()).clamp(NUGGET.0, NUGGET.1);
                try_nugget(samples, order, &[OrderPrior { nugget, ..best.0 }], &mut best);
            }
            let centre = best.0;
            let mut trials = Vec::new();
            for k in -2i32..=2 {
                let amplitude = (centre.amplitude * (f64::from(k) * step).exp()).clamp(AMPLITUDE.0, AMPLITUDE.1);
                trials.extend(DECAYS.iter().map(|&decay| OrderPrior { amplitude, decay, nugget: centre.nugget }));
            }
            try_nugget(samples, order, &trials, &mut best);
            if order == 0 || best.1 - before < 0.05 {
                break;
            }
        }
    }
    best
}

/// Tries priors that share one nugget.
fn try_nugget(samples: &[Sample<'_>], order: usize, trials: &[OrderPrior], best: &mut (OrderPrior, f64)) {
    let Some(first) = trials.first() else { return };
    let n = term_count(order);
    let mut normal = vec![0.0; n * n];
    let mut right = vec![0.0; n];
    let mut plain = 0.0;
    for s in samples {
        let v = s.variance + first.nugget;
        plain += v.ln() + s.value * s.value / v;
        for i in 0..n {
            let t = s.terms[i] / v;
            right[i] += t * s.value;
            for (a, u) in normal[i * n..i * n + i + 1].iter_mut().zip(s.terms) {
                *a += t * u;
            }
        }
    }
    for trial in trials {
        let precisions = trial.precisions(order);
        let mut matrix = normal.clone();
        for (i, p) in precisions.iter().enumerate() {
            matrix[i * n + i] += p;
        }
        let Some(factor) = Cholesky::new(n, matrix) else { continue };
        let mut half = right.clone();
        factor.forward(&mut half);
        let explained: f64 = half.iter().map(|v| v * v).sum();
        let ln_prior: f64 = precisions.iter().map(|p| p.ln()).sum();
        let evidence = -0.5 * (plain - explained + factor.ln_det() - ln_prior);
        if evidence > best.1 {
            *best = (*trial, evidence);
        }
        if order == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spatial::{Domain, legendre_terms};
    use super::*;

    /// Values of a polynomial of the given coefficients, with a deterministic scatter.
    fn evidence(coefficients: &[f64], scatter: f64, order: usize) -> (OrderPrior, f64) {
        let domain = Domain::image(100, 100);
        let terms: Vec<Vec<f64>> =
            (0..60u32).map(|k| legendre_terms(&domain, 4, f64::from(k * 37 % 100), f64::from(k * 61 % 100))).collect();
        let samples: Vec<Sample<'_>> = terms
            .iter()
            .enumerate()
            .map(|(k, t)| Sample {
                terms: t,
                value: t.iter().zip(coefficients).map(|(a, b)| a * b).sum::<f64>()
                    + scatter * ((k * 7919 % 13) as f64 - 6.0) / 3.7,
                variance: 1e-6,
            })
            .collect();
        order_prior(&samples, order, OrderPrior::wide())
    }

    #[test]
    fn a_slope_needs_order_one_and_no_more() {
        let slope = [0.5, 0.05, -0.03];
        let scores: Vec<f64> = (0..=4).map(|o| evidence(&slope, 0.01, o).1).collect();
        assert!(scores[1] > scores[0] + 10.0, "{scores:?}");
        assert!(scores[4] < scores[1] + 2.0, "{scores:?}");
        let (prior, _) = evidence(&slope, 0.01, 1);
        assert!(prior.amplitude > 0.015 && prior.amplitude < 0.15, "{prior:?}");
        assert!(prior.nugget > 3e-5 && prior.nugget < 4e-4, "{prior:?}");
    }
}
