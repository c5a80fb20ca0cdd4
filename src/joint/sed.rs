//! What a wide band sees of each narrow one, from the exposures' own photometry.

/// Shares of a wide band.
#[derive(Debug, Clone, PartialEq)]
pub struct SedFit {
    /// One share per band; they add to about 1 where all zero points are right and the bands cover the wide one.
    pub shares: Vec<f64>,
    /// Objects used.
    pub objects: usize,
    /// Relative scatter (1.4826 MAD) of the wide fluxes about the fit.
    pub scatter: f64,
}

/// Strength of the expectation that all shares are alike, in relative units per object.
const EXPECTATION: f64 = 0.3;
/// Part of a flux that is never believed.
const SYSTEMATIC: f64 = 0.03;

/// Fits `wide = sum_c share_c band_c`, shares not negative, over objects given as (fluxes in the bands, flux in the wide band, its error), all in
/// one unit. The shares are held near equal ones where colours do not tell them apart. `None` without an object of positive flux in every band.
pub fn wide_band_weights(objects: &[(Vec<f64>, f64, f64)], bands: usize) -> Option<SedFit> {
    let usable: Vec<&(Vec<f64>, f64, f64)> = objects
        .iter()
        .filter(|(f, w, e)| {
            f.len() == bands && f.iter().all(|v| *v > 0.0 && v.is_finite()) && *w > 0.0 && e.is_finite()
        })
        .collect();
    if usable.is_empty() || bands == 0 {
        return None;
    }
    let mut ratios: Vec<f64> = usable.iter().map(|(f, w, _)| w * bands as f64 / f.iter().sum::<f64>()).collect();
    let level = median(&mut ratios)?;
    let expected = level / bands as f64;
    let mut free = vec![true; bands];
    let mut shares = vec![expected; bands];
    let mut weights = vec![1.0; usable.len()];
    for round in 0..8 {
        let count = free.iter().filter(|f| **f).count();
        let which: Vec<usize> = (0..bands).filter(|c| free[*c]).collect();
        let mut normal = nalgebra::DMatrix::<f64>::identity(count, count) / (EXPECTATION * expected).powi(2);
        let mut right = nalgebra::DVector::<f64>::from_element(count, expected / (EXPECTATION * expected).powi(2));
        for ((f, wide, error), robust) in usable.iter().zip(&weights) {
            let variance = error * error + (SYSTEMATIC * wide).powi(2);
            for (i, a) in which.iter().enumerate() {
                right[i] += robust * f[*a] * wide / variance;
                for (j, b) in which.iter().enumerate() {
                    normal[(i, j)] += robust * f[*a] * f[*b] / variance;
                }
            }
        }
        let solved = normal.cholesky()?.solve(&right);
        shares.fill(0.0);
        for (i, c) in which.iter().enumerate() {
            shares[*c] = solved[i];
        }
        let negative = (0..bands).find(|c| shares[*c] < 0.0);
        if let Some(c) = negative {
            (free[c], shares[c]) = (false, 0.0);
            continue;
        }
        // Tukey's weights: neighbours in the wider apertures are outliers
        let mut off = relative(&usable, &shares);
        let scatter = median(&mut off.iter().map(|v| v.abs()).collect::<Vec<_>>())? * 1.4826 + 1e-3;
        for (w, o) in weights.iter_mut().zip(&mut off) {
            let t = (*o / (5.0 * scatter)).powi(2);
            *w = if t < 1.0 { (1.0 - t).powi(2) } else { 0.0 };
        }
        if round >= 5 {
            break;
        }
    }
    let scatter = median(&mut relative(&usable, &shares).iter().map(|v| v.abs()).collect::<Vec<_>>())? * 1.4826;
    Some(SedFit { shares, objects: usable.len(), scatter })
}

fn relative(objects: &[&(Vec<f64>, f64, f64)], shares: &[f64]) -> Vec<f64> {
    objects
        .iter()
        .map(|(f, w, _)| w / f.iter().zip(shares).map(|(f, s)| f * s).sum::<f64>().max(1e-300) - 1.0)
        .collect()
}

fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_from_colours_and_outliers_do_not_matter() {
        let truth = [0.5, 0.35, 0.15];
        let mut objects = Vec::new();
        for i in 0..60 {
            let t = f64::from(i) / 60.0;
            let f = vec![100.0 * (1.0 + t), 100.0 * (1.5 - 0.8 * t * t), 80.0 + 60.0 * (7.0 * t).sin().abs()];
            let wide: f64 = f.iter().zip(truth).map(|(f, s)| f * s).sum();
            objects.push((f, if i % 15 == 7 { 3.0 * wide } else { wide }, 0.5));
        }
        let fit = wide_band_weights(&objects, 3).unwrap();
        for (got, want) in fit.shares.iter().zip(truth) {
            assert!((got - want).abs() < 0.02, "{:?}", fit.shares);
        }
        assert!(fit.scatter < 0.01);
        assert!(wide_band_weights(&[(vec![1.0, -1.0], 1.0, 0.1)], 2).is_none());
    }
}
