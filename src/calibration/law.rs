//! The quadratic flux-bias law, F_true = c0 + c1 F + c2 F^2, its first two terms with a part that depends on the object's size.

use super::CalibrationError;
use super::errors::{self, Deviation, ErrorModel};
use super::robust::{self, Equation, scatter};

/// Number of coefficients: c0, c1, c2 and those of the size.
pub const TERMS: usize = 7;

/// Noise-equivalent area of a Gaussian PSF over the square of its FWHM: 4 pi sigma^2 = 2.266 FWHM^2 (King 1983).
const NOISE_AREA: f64 = 2.266_180_070_913_597;

/// The unit of signal: the error of a point source's flux against the sky noise, `sky_sigma` image units per pixel and a Gaussian PSF
/// of `psf_fwhm` detector pixels. Fluxes in this unit have the same bias in exposures of any depth, since how much is
/// smoothed away depends on the noise.
pub fn signal_unit(sky_sigma: f64, psf_fwhm: f64) -> f64 {
    sky_sigma * (NOISE_AREA.sqrt() * psf_fwhm)
}

/// How extended an object is, 0 (a point) to 1: 1 - (r_target / r)^2 for the half-light radius r of its image at the target PSF and that
/// of the target PSF itself. A missing or impossible radius counts as a point's.
pub fn extent(half_light_radius: f64, target_fwhm: f64) -> f64 {
    let ratio = 0.5 * target_fwhm / half_light_radius;
    if ratio.is_finite() && ratio > 0.0 { (1.0 - ratio * ratio).clamp(0.0, 1.0) } else { 0.0 }
}

/// F_true = c0 + a1 u + a2 u^2 + (c1 + b1 u + b2 u^2) F + c2 F^2, u the [`extent`], F in units of [`signal_unit`]. Smoothing takes more
/// from an extended object than from a point of the same flux, and the more the fainter it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FluxLaw {
    /// Constant, units of signal.
    pub c0: f64,
    /// Factor.
    pub c1: f64,
    /// Quadratic term, per unit of signal.
    pub c2: f64,
    /// a1, a2: what the extent and its square add to c0, units of signal.
    pub size_offset: [f64; 2],
    /// b1, b2: what they add to c1.
    pub size_factor: [f64; 2],
    /// Covariance of (c0, c1, c2, a1, a2, b1, b2), row by row.
    pub covariance: [[f64; TERMS]; TERMS],
}

/// A source of which the truth is known, units of signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LawPoint {
    /// True flux.
    pub truth: f64,
    /// Measured flux.
    pub flux: f64,
    /// Its error as the fit has it.
    pub flux_err: f64,
    /// Measured extent.
    pub extent: f64,
    /// True extent.
    pub true_extent: f64,
    /// Sources of the same group share noise.
    pub group: u64,
}

/// A flux with the law applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lawful {
    /// Corrected flux.
    pub flux: f64,
    /// d flux / d measured flux.
    pub slope: f64,
    /// Error from the law's covariance alone.
    pub law_err: f64,
}

fn regressors(flux: f64, u: f64) -> [f64; TERMS] {
    [1.0, flux, flux * flux, u, u * u, flux * u, flux * u * u]
}

impl FluxLaw {
    /// F_true = F.
    pub const IDENTITY: Self = Self {
        c0: 0.0,
        c1: 1.0,
        c2: 0.0,
        size_offset: [0.0; 2],
        size_factor: [0.0; 2],
        covariance: [[0.0; TERMS]; TERMS],
    };

    /// c0, c1, c2, a1, a2, b1, b2.
    pub fn coefficients(&self) -> [f64; TERMS] {
        let ([a1, a2], [b1, b2]) = (self.size_offset, self.size_factor);
        [self.c0, self.c1, self.c2, a1, a2, b1, b2]
    }

    /// The law at a measured flux (units of signal) and extent.
    pub fn apply(&self, flux: f64, extent: f64) -> Lawful {
        let x = regressors(flux, extent);
        let corrected = self.coefficients().iter().zip(&x).map(|(c, x)| c * x).sum();
        let slope =
            self.c1 + 2.0 * self.c2 * flux + self.size_factor[0] * extent + self.size_factor[1] * extent * extent;
        let variance: f64 = self
            .covariance
            .iter()
            .zip(&x)
            .map(|(row, a)| a * row.iter().zip(&x).map(|(c, b)| c * b).sum::<f64>())
            .sum();
        Lawful { flux: corrected, slope, law_err: variance.max(0.0).sqrt() }
    }

    /// Fits the law and the errors about it to sources that were put in, detected or not: a choice by detection would favour those that
    /// noise has made brighter.
    ///
    /// The noise of the measured flux would bias a regression on it; the truth is known without noise and serves as the
    /// instrument ([`robust::solve`]), so that corrected fluxes are right at every true flux. Weights come from the scatter as a function
    /// of the truth.
    pub fn fit(points: &[LawPoint]) -> Result<(Self, ErrorModel), CalibrationError> {
        /// Ten or so for each coefficient.
        const LEAST: usize = 80;
        let usable: Vec<LawPoint> = points
            .iter()
            .filter(|p| {
                [p.truth, p.flux, p.flux_err, p.extent, p.true_extent].iter().all(|v| v.is_finite())
                    && p.flux_err > 0.0
                    && p.truth > 0.0
            })
            .copied()
            .collect();
        if usable.len() < LEAST {
            return Err(CalibrationError::TooFew { what: "the flux-bias law", needed: LEAST, got: usable.len() });
        }
        let mut law = Self::IDENTITY;
        // The weights need the scatter about the law, the law needs weights.
        for _ in 0..3 {
            let level = Scatter::of(&usable, &law);
            let equations: Vec<Equation> = usable
                .iter()
                .map(|p| Equation {
                    x: regressors(p.flux, p.extent).to_vec(),
                    z: regressors(p.truth, p.true_extent).to_vec(),
                    y: p.truth,
                    sigma: level.at(p.truth),
                    group: p.group,
                })
                .collect();
            law = solve(equations)?;
        }
        let deviations: Vec<Deviation> = usable
            .iter()
            .map(|p| {
                let lawful = law.apply(p.flux, p.extent);
                Deviation { truth: p.truth, signal: lawful.flux, err: p.flux_err * lawful.slope.abs() }
            })
            .collect();
        let errors = errors::fit(&deviations);
        Ok((law, errors))
    }
}

/// Fewest sources for a law with terms in the size: with fewer, what they would mend is less than what their errors cost.
const LEAST_WITH_SIZE: usize = 40 * TERMS;

/// The law of these equations; without terms in the size where there are few sources, or all have the same.
fn solve(mut equations: Vec<Equation>) -> Result<FluxLaw, CalibrationError> {
    let whole = (equations.len() >= LEAST_WITH_SIZE).then(|| robust::solve(&equations));
    let fit = match whole {
        None | Some(Err(CalibrationError::Degenerate { .. })) => {
            for e in &mut equations {
                e.x.truncate(3);
                e.z.truncate(3);
            }
            robust::solve(&equations)?
        }
        Some(other) => other?,
    };
    let c = |i: usize| fit.coefficients.get(i).copied().unwrap_or(0.0);
    Ok(FluxLaw {
        c0: c(0),
        c1: c(1),
        c2: c(2),
        size_offset: [c(3), c(4)],
        size_factor: [c(5), c(6)],
        covariance: std::array::from_fn(|i| {
            std::array::from_fn(|j| fit.covariance.get((i, j)).copied().unwrap_or(0.0))
        }),
    })
}

/// Scatter about a law as a function of the true flux: medians in bins, straight lines between them in logarithms.
struct Scatter(Vec<(f64, f64)>);

impl Scatter {
    fn of(points: &[LawPoint], law: &FluxLaw) -> Self {
        let knots = errors::bins(points, |p| p.truth, 12)
            .iter()
            .filter_map(|bin| {
                let spread = scatter(bin.iter().map(|p| law.apply(p.flux, p.extent).flux - p.truth));
                let middle = robust::median(bin.iter().map(|p| p.truth));
                (spread > 0.0 && middle > 0.0).then(|| (middle.ln(), spread.ln()))
            })
            .collect();
        Self(knots)
    }

    fn at(&self, truth: f64) -> f64 {
        let at = truth.ln();
        let after = self.0.partition_point(|(x, _)| *x < at);
        let value = match (after.checked_sub(1).and_then(|i| self.0.get(i)), self.0.get(after)) {
            (Some((x0, y0)), Some((x1, y1))) if x1 > x0 => y0 + (y1 - y0) * (at - x0) / (x1 - x0),
            (_, Some((_, y))) | (Some((_, y)), _) => *y,
            (None, None) => 0.0,
        };
        value.exp()
    }
}
