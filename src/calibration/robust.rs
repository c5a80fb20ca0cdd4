//! Robust linear fits, with instruments where the regressors carry noise.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};

use super::CalibrationError;
use crate::image::stats::MAD_TO_SIGMA;

/// Residuals beyond this many standard deviations count with their sign and this much (Huber 1964): close to a median, so that
/// a tail on one side moves the fit little.
const HUBER: f64 = 1.0;
/// Smallest singular value, relative to the largest, of equations that determine their solution.
const LEAST_SINGULAR: f64 = 1e-9;
/// Steps of the reweighted fit.
const MAX_STEPS: usize = 100;

/// A linear fit.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearFit {
    /// One per regressor.
    pub coefficients: Vec<f64>,
    /// Their covariance, from the residuals' own scatter (sandwich), residuals of one group taken to be correlated.
    pub covariance: DMatrix<f64>,
}

/// One equation `y = sum_j c_j x_j + noise of standard deviation sigma`.
#[derive(Debug, Clone, PartialEq)]
pub struct Equation {
    /// Regressors.
    pub x: Vec<f64>,
    /// Instruments, as many: functions of what is known without noise. The same as `x` where that is.
    pub z: Vec<f64>,
    /// Left side.
    pub y: f64,
    /// Its standard deviation about the line: a function of what is known without noise, or the weights are biased.
    pub sigma: f64,
    /// Equations of one group share noise.
    pub group: u64,
}

/// Solves sum_i z_i psi((y_i - x_i c) / sigma_i) / sigma_i = 0 for c, psi Huber's: the instrumental-variable estimator (Sargan 1958),
/// made robust. Noise in x does not bias it, as it would a regression on x.
pub fn solve(equations: &[Equation]) -> Result<LinearFit, CalibrationError> {
    let count = equations.first().map_or(0, |e| e.x.len());
    if equations.len() < 2 * count.max(1) {
        return Err(CalibrationError::TooFew { what: "a linear fit", needed: 2 * count.max(1), got: equations.len() });
    }
    // Columns of unit size: the conditioning must not depend on units.
    let size = |column: usize, of: fn(&Equation) -> &Vec<f64>| -> f64 {
        let sum: f64 = equations.iter().map(|e| (of(e)[column] / e.sigma).powi(2)).sum();
        if sum > 0.0 { sum.sqrt() } else { 1.0 }
    };
    let x_size: Vec<f64> = (0..count).map(|j| size(j, |e| &e.x)).collect();
    let z_size: Vec<f64> = (0..count).map(|j| size(j, |e| &e.z)).collect();
    let degenerate = || CalibrationError::Degenerate { what: "a linear fit" };
    let mut solution = DVector::<f64>::zeros(count);
    let residual = |solution: &DVector<f64>, e: &Equation| -> f64 {
        let line: f64 = e.x.iter().zip(&x_size).zip(solution.iter()).map(|((x, s), c)| x / s * c).sum();
        (e.y - line) / e.sigma
    };
    let mut weights = vec![1.0f64; equations.len()];
    for step in 0..MAX_STEPS {
        let mut left = DMatrix::<f64>::zeros(count, count);
        let mut right = DVector::<f64>::zeros(count);
        for (e, w) in equations.iter().zip(&weights) {
            let w = w / (e.sigma * e.sigma);
            for i in 0..count {
                let z = w * e.z[i] / z_size[i];
                right[i] += z * e.y;
                for j in 0..count {
                    left[(i, j)] += z * e.x[j] / x_size[j];
                }
            }
        }
        let singular = left.clone().singular_values();
        if !(singular.min() > LEAST_SINGULAR * singular.max()) {
            return Err(degenerate());
        }
        let next = left.lu().solve(&right).filter(|s| s.iter().all(|v| v.is_finite())).ok_or_else(degenerate)?;
        let change = (&next - &solution).amax() / next.amax().max(f64::MIN_POSITIVE);
        solution = next;
        for (e, w) in equations.iter().zip(&mut weights) {
            *w = (HUBER / residual(&solution, e).abs().max(f64::MIN_POSITIVE)).min(1.0);
        }
        if step > 0 && change < 1e-10 {
            break;
        }
    }
    // Sandwich: A^-1 B A^-T.
    let mut slope = DMatrix::<f64>::zeros(count, count);
    let mut groups: BTreeMap<u64, DVector<f64>> = BTreeMap::new();
    for e in equations {
        let r = residual(&solution, e);
        let score = groups.entry(e.group).or_insert_with(|| DVector::zeros(count));
        let psi = r.clamp(-HUBER, HUBER);
        let linear = f64::from(u8::from(r.abs() < HUBER));
        for i in 0..count {
            let z = e.z[i] / z_size[i] / e.sigma;
            score[i] += z * psi;
            for j in 0..count {
                slope[(i, j)] += linear * z * e.x[j] / x_size[j] / e.sigma;
            }
        }
    }
    let mut spread = DMatrix::<f64>::zeros(count, count);
    for score in groups.values() {
        spread += score * score.transpose();
    }
    let free = groups.len() as f64 / (groups.len() as f64 - count as f64).max(1.0);
    let inverse = slope.try_inverse().ok_or_else(degenerate)?;
    let scaled = &inverse * spread * inverse.transpose() * free;
    let covariance = DMatrix::from_fn(count, count, |i, j| scaled[(i, j)] / (x_size[i] * x_size[j]));
    let coefficients = solution.iter().zip(&x_size).map(|(c, s)| c / s).collect();
    Ok(LinearFit { coefficients, covariance })
}

/// Median of the finite values; NaN without any.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    let n = finite.len();
    match (finite.get(n / 2), n % 2) {
        (Some(&v), 1) => v,
        (Some(&v), _) => 0.5 * (v + finite.get(n / 2 - 1).copied().unwrap_or(v)),
        (None, _) => f64::NAN,
    }
}

/// 1.4826 times the median absolute deviation from the median; NaN without finite values.
pub fn scatter(values: impl IntoIterator<Item = f64>) -> f64 {
    let finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    let middle = median(finite.iter().copied());
    median(finite.iter().map(|v| (v - middle).abs())) * MAD_TO_SIGMA
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn noise_in_the_regressor_does_not_bias_and_outliers_do_little() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let equations: Vec<Equation> = (0..20_000)
            .map(|i| {
                let truth = 1.0 + 2.0 * normal();
                // slope 0.5; as much noise in x as there is signal; one in ten far off, to one side
                let x = truth + 2.0 * normal();
                let y = 0.3 + 0.5 * truth + 0.2 * normal() + if i % 10 == 0 { 20.0 } else { 0.0 };
                Equation { x: vec![1.0, x], z: vec![1.0, truth], y, sigma: 1.0, group: i }
            })
            .collect();
        let fit = solve(&equations).unwrap();
        let error = fit.covariance[(1, 1)].sqrt();
        assert!((fit.coefficients[1] - 0.5).abs() < 4.0 * error + 0.01, "{:?} +- {error}", fit.coefficients);
        assert!((fit.coefficients[0] - 0.3).abs() < 0.25, "{:?}", fit.coefficients);
        let naive: Vec<Equation> = equations.iter().map(|e| Equation { z: e.x.clone(), ..e.clone() }).collect();
        assert!((solve(&naive).unwrap().coefficients[1] - 0.25).abs() < 0.05);
    }

    #[test]
    fn what_cannot_be_solved_says_so() {
        let same = Equation { x: vec![1.0, 2.0], z: vec![1.0, 2.0], y: 1.0, sigma: 1.0, group: 0 };
        assert!(matches!(solve(&vec![same.clone(); 10]), Err(CalibrationError::Degenerate { .. })));
        assert!(matches!(solve(&[same]), Err(CalibrationError::TooFew { .. })));
        assert!(matches!(solve(&[]), Err(CalibrationError::TooFew { .. })));
    }

    #[test]
    fn median_and_scatter() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert!(median([]).is_nan() && scatter([]).is_nan());
        assert!((scatter([1.0, 2.0, 3.0]) - MAD_TO_SIGMA).abs() < 1e-12);
    }
}
