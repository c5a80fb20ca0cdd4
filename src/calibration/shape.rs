//! Shape bias and PSF leakage from rotated pairs.
//!
//! e_out = (1 + m) e_true + c + alpha e_PSF. A galaxy and the same galaxy turned by 90 degrees at the same place have opposite true
//! ellipticities: half the difference of what is measured holds m alone, half the sum c and alpha alone, and neither holds the
//! galaxy's own shape as noise (Nakajima & Bernstein 2007; Massey et al. 2007).

use super::robust::{self, Equation, scatter};

/// What a pair gave. Ellipticities are distortions (Qxx - Qyy) / (Qxx + Qyy), 2 Qxy / (Qxx + Qyy), of the image as seen with the target PSF.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// True SNR.
    pub snr: f64,
    /// True ellipticity of the first.
    pub truth: [f64; 2],
    /// Measured ellipticity of the first.
    pub first: [f64; 2],
    /// Measured ellipticity of the second, turned by 90 degrees.
    pub second: [f64; 2],
    /// Ellipticity of the PSF.
    pub psf: [f64; 2],
}

/// A value and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Value.
    pub value: f64,
    /// Standard error.
    pub error: f64,
}

/// Shape bias of galaxies of one range of SNR.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeBias {
    /// Range of true SNR.
    pub snr: [f64; 2],
    /// Pairs.
    pub pairs: usize,
    /// Multiplicative bias of e1.
    pub m1: Estimate,
    /// Multiplicative bias of e2.
    pub m2: Estimate,
    /// Additive bias of e1.
    pub c1: Estimate,
    /// Additive bias of e2.
    pub c2: Estimate,
    /// PSF leakage: part of the PSF's ellipticity found in the output's.
    pub leakage: Estimate,
}

/// Fewest pairs of a range.
const LEAST: usize = 15;

/// The bias of the pairs of SNR `range`; `None` where there are too few, or their shapes do not differ.
pub fn fit(pairs: &[Pair], range: [f64; 2]) -> Option<ShapeBias> {
    let within: Vec<&Pair> = pairs
        .iter()
        .filter(|p| p.snr >= range[0] && p.snr < range[1])
        .filter(|p| [p.truth, p.first, p.second, p.psf].iter().flatten().all(|v| v.is_finite()))
        .collect();
    if within.len() < LEAST {
        return None;
    }
    let half_difference = |p: &Pair, i: usize| 0.5 * (p.first[i] - p.second[i]);
    let half_sum = |p: &Pair, i: usize| 0.5 * (p.first[i] + p.second[i]);
    let multiplicative = |i: usize| -> Option<Estimate> {
        let sigma = scatter(within.iter().map(|p| half_difference(p, i) - p.truth[i])).max(1e-9);
        let equations: Vec<Equation> = within
            .iter()
            .enumerate()
            .map(|(n, p)| Equation {
                x: vec![p.truth[i]],
                z: vec![p.truth[i]],
                y: half_difference(p, i),
                sigma,
                group: n as u64,
            })
            .collect();
        let fit = robust::solve(&equations).ok()?;
        Some(Estimate { value: fit.coefficients[0] - 1.0, error: fit.covariance[(0, 0)].max(0.0).sqrt() })
    };
    let (m1, m2) = (multiplicative(0)?, multiplicative(1)?);
    let sigma = scatter(within.iter().flat_map(|p| [half_sum(p, 0), half_sum(p, 1)])).max(1e-9);
    let equations: Vec<Equation> = within
        .iter()
        .enumerate()
        .flat_map(|(n, p)| {
            [0usize, 1].map(|i| {
                let x = vec![f64::from(u8::from(i == 0)), f64::from(u8::from(i == 1)), p.psf[i]];
                Equation { z: x.clone(), x, y: half_sum(p, i), sigma, group: n as u64 }
            })
        })
        .collect();
    let fit = robust::solve(&equations).ok()?;
    let additive = |j: usize| Estimate { value: fit.coefficients[j], error: fit.covariance[(j, j)].max(0.0).sqrt() };
    Some(ShapeBias { snr: range, pairs: within.len(), m1, m2, c1: additive(0), c2: additive(1), leakage: additive(2) })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn bias_and_leakage_that_were_put_in_come_out_within_their_errors() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let pairs: Vec<Pair> = (0..2000)
            .map(|_| {
                let truth = [0.3 * normal(), 0.3 * normal()];
                let psf = [0.03 * normal(), 0.03 * normal()];
                let mut measured = |sign: f64| {
                    [
                        1.02 * sign * truth[0] + 0.001 + 0.1 * psf[0] + 0.02 * normal(),
                        0.97 * sign * truth[1] - 0.002 + 0.1 * psf[1] + 0.02 * normal(),
                    ]
                };
                Pair { snr: 50.0, truth, first: measured(1.0), second: measured(-1.0), psf }
            })
            .collect();
        let bias = fit(&pairs, [30.0, 100.0]).unwrap();
        for (got, want) in [(bias.m1, 0.02), (bias.m2, -0.03), (bias.c1, 0.001), (bias.c2, -0.002), (bias.leakage, 0.1)]
        {
            assert!((got.value - want).abs() < 4.0 * got.error, "{got:?} for {want}: {bias:?}");
        }
        // shape noise is gone: 2000 pairs with noise 0.02 on e
        assert!(bias.m1.error < 3e-3 && bias.leakage.error < 0.02 && bias.c1.error < 6e-4, "{bias:?}");
        assert_eq!(fit(&pairs, [1.0, 2.0]), None);
    }
}
