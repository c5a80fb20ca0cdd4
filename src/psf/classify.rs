//! Stars or small galaxies: the posterior probability of each candidate, with the galaxies' sizes and the ratio of
//! stars to galaxies at each brightness learnt from the field itself (empirical Bayes by expectation-maximisation).

/// A candidate's extension over the PSF.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Index into the candidates.
    pub(super) index: usize,
    /// Deviation of ln scale from the PSF.
    pub(super) extension: f64,
    /// Its error.
    pub(super) sigma: f64,
    pub(super) snr: f64,
}

fn normal(d: f64, sigma: f64) -> f64 {
    (-0.5 * (d / sigma).powi(2)).exp() / (sigma * (2.0 * std::f64::consts::PI).sqrt())
}

/// Width, relative to its extension, of the kernel with which a known galaxy stands for the population.
const KERNEL: f64 = 0.25;

/// Density of galaxies at an observed extension: known galaxies, widened by the candidate's error, plus a few made-up
/// ones spread evenly over 0..1, so that the absence of examples proves nothing.
fn galaxy_density(known: &[f64], d: f64, sigma: f64) -> f64 {
    const MADE_UP: usize = 4;
    let made_up = (0..MADE_UP).map(|k| (k as f64 + 0.5) / MADE_UP as f64);
    let sum: f64 = known.iter().copied().chain(made_up).map(|k| normal(d - k, sigma.hypot(KERNEL * k))).sum();
    sum / (known.len() + MADE_UP) as f64
}

/// So many candidates may stay if each is more likely a star than not: no PSF at all would be worse than a galaxy in it.
const LEAST: usize = 12;
/// Fewest candidates from which the two populations can be learnt at all.
const LEARNT_FROM: usize = 25;

/// Indices of candidates to leave out so that the expected share of galaxies among the rest stays below `contamination`.
pub(super) fn ambiguous(points: &[Extent], contamination: f64) -> Vec<usize> {
    // Galaxies that nobody would take for stars.
    let mut known: Vec<f64> =
        points.iter().filter(|p| p.sigma < 0.04 && p.extension > 3.5 * p.sigma).map(|p| p.extension).collect();
    known.sort_by(f64::total_cmp);
    let stride = known.len().div_ceil(150).max(1);
    let known: Vec<f64> = known.into_iter().step_by(stride).collect();
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[b].snr.total_cmp(&points[a].snr).then(a.cmp(&b)));
    let mut posterior = vec![1.0f64; points.len()];
    const BIN: usize = 60;
    for bin in order.chunks(BIN) {
        let likelihoods: Vec<(f64, f64)> = bin
            .iter()
            .map(|&k| {
                (
                    normal(points[k].extension, points[k].sigma),
                    galaxy_density(&known, points[k].extension, points[k].sigma),
                )
            })
            .collect();
        let mut share = 0.5;
        for _ in 0..30 {
            let sum: f64 =
                likelihoods.iter().map(|(s, g)| share * s / (share * s + (1.0 - share) * g).max(1e-300)).sum();
            // A pseudo-count on either side.
            share = (sum + 0.5) / (bin.len() as f64 + 1.0);
        }
        for (&k, (s, g)) in bin.iter().zip(&likelihoods) {
            posterior[k] = share * s / (share * s + (1.0 - share) * g).max(1e-300);
        }
    }
    let mut candidates: Vec<usize> =
        (0..points.len()).filter(|&k| points[k].extension < 3.0 * points[k].sigma).collect();
    candidates.sort_by(|&a, &b| posterior[b].total_cmp(&posterior[a]).then(a.cmp(&b)));
    let mut expected = 0.0;
    let mut out = Vec::new();
    for (n, &k) in candidates.iter().enumerate() {
        expected += 1.0 - posterior[k];
        let likely = points.len() >= LEARNT_FROM && n < LEAST && posterior[k] > 0.5;
        if expected > contamination * (n + 1) as f64 && posterior[k] < 0.99 && !likely {
            out.push(points[k].index);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bright_stars_stay_and_faint_doubtful_ones_go() {
        let mut points = Vec::new();
        for k in 0..100 {
            // Bright: 50 stars at 0, 50 galaxies at 0.1..1; faint: all near 0 within their large errors.
            let galaxy = k % 2 == 1;
            points.push(Extent {
                index: k,
                extension: if galaxy { 0.1 + 0.009 * k as f64 } else { 0.0 },
                sigma: 0.01,
                snr: 300.0 - k as f64,
            });
        }
        for k in 100..160 {
            points.push(Extent { index: k, extension: 0.15 * ((k % 7) as f64 - 1.0) / 2.0, sigma: 0.2, snr: 20.0 });
        }
        let out = ambiguous(&points, 0.005);
        assert!(out.iter().all(|&k| k >= 100));
        assert!(out.len() > 20, "{}", out.len());
    }
}
