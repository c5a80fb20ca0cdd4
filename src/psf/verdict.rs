//! Which candidates are stars, by the model fitted so far, and which of them are kept out of the fit.

use super::classify::{Extent, ambiguous};
use super::fit::Fitter;
use super::solve::own_shape;
use super::star::{Columns, Information, Rejection, Star, StarStatus};

impl Fitter<'_> {
    /// Tests every candidate near the locus (`window` in ln size) against the model: sharper, extended, misshapen, not
    /// noise, or too faint to be told from a galaxy. Sets its status.
    pub(super) fn classify(&mut self, stars: &mut [Star], window: (f64, f64), tolerance: f64) {
        let held = self.weighting.model_error;
        let tolerance = if self.used(stars) < TOLERANT_FROM { 1.0 } else { tolerance };
        // The bright stars at the field's edges, where the model is off most, are those it has to learn from.
        if self.misfit > held {
            self.weighting.model_error = tolerance * self.misfit;
        }
        let mut points = Vec::new();
        for (k, star) in stars.iter_mut().enumerate() {
            let ln_size = star.size.ln();
            if !self.listed && (ln_size < window.0 || ln_size > window.1) {
                let reason = if ln_size < window.0 { Rejection::TooSharp } else { Rejection::Extended };
                star.status = StarStatus::Rejected(reason);
                continue;
            }
            let saved = star.centre;
            let verdict = match self.information(star, Columns::Core) {
                None => {
                    (star.centre, star.flux, star.sky) = (saved, 0.0, 0.0);
                    Err(Rejection::Unmeasurable)
                }
                Some(info) => {
                    star.chi2 = info.chi2 / info.pixels.saturating_sub(4).max(1) as f64;
                    let verdict = self.judge(star, &info);
                    if matches!(verdict, Ok(()) | Err(Rejection::Extended))
                        && let Some((d, c)) = own_shape(&info)
                    {
                        points.push(Extent {
                            index: k,
                            extension: d[0],
                            sigma: self.error_of(0, c[0][0]),
                            snr: star.snr,
                        });
                    }
                    verdict
                }
            };
            star.status = match verdict {
                Ok(()) if star.reserved => StarStatus::Reserved,
                Ok(()) => StarStatus::Used,
                Err(reason) => StarStatus::Rejected(reason),
            };
        }
        self.weighting.model_error = held;
        let doubtful = if self.listed { Vec::new() } else { ambiguous(&points, self.settings.contamination) };
        for k in doubtful {
            if matches!(stars[k].status, StarStatus::Used | StarStatus::Reserved) {
                stars[k].status = StarStatus::Rejected(Rejection::Ambiguous);
            }
        }
    }

    /// Expected error of a star's deviation in shape parameter `q`, given its variance from the pixel noise.
    fn error_of(&self, q: usize, variance: f64) -> f64 {
        (variance * self.noise_scale.max(1.0) + self.nugget[q] + 1e-6).sqrt()
    }

    fn judge(&self, star: &Star, info: &Information) -> Result<(), Rejection> {
        if !(star.snr >= self.settings.min_snr) {
            return Err(Rejection::Faint);
        }
        if info.clipped_core > 0 {
            return Err(Rejection::ChiSquare);
        }
        let (d, c) = own_shape(info).ok_or(Rejection::Unmeasurable)?;
        let limit = 3.0;
        let z: Vec<f64> = (0..3).map(|q| d[q] / self.error_of(q, c[q][q])).collect();
        if z[0] < -limit {
            return Err(Rejection::TooSharp);
        }
        if z[0] > limit {
            return Err(Rejection::Extended);
        }
        if z[1] * z[1] + z[2] * z[2] > limit * limit + 3.0 {
            return Err(Rejection::Shape);
        }
        let dof = info.pixels.saturating_sub(4).max(1) as f64;
        if star.chi2 / self.noise_scale > 1.0 + (5.0 * (2.0 / dof).sqrt()).max(0.2) {
            return Err(Rejection::ChiSquare);
        }
        Ok(())
    }
}

/// Fewest stars with which a model that is off is forgiven.
const TOLERANT_FROM: usize = 30;
/// Fewest selected stars of which some are kept out.
const RESERVE_FROM: usize = 10;

/// So many stars are reserved, or a fifth where that is less, unless stars are scarce.
const LEAST_RESERVED: f64 = 8.0;
/// With fewer stars than this the reserved share stays as configured.
const SCARCE: usize = 35;

/// Keeps a share of the selected stars out of the fit, evenly in order of signal-to-noise, so that they represent the whole
/// range; the same stars for the same input. Called again, it makes up for reserved stars that were rejected since.
pub(super) fn reserve(stars: &mut [Star], fraction: f64) {
    let mut order: Vec<usize> = (0..stars.len()).filter(|&k| stars[k].status == StarStatus::Used).collect();
    let reserved = stars.iter().filter(|s| s.status == StarStatus::Reserved).count();
    let selected = order.len() + reserved;
    if selected < RESERVE_FROM || !(fraction > 0.0) {
        return;
    }
    order.sort_by(|&a, &b| stars[b].snr.total_cmp(&stars[a].snr).then(a.cmp(&b)));
    // Not many stars: a larger share, so that there is something to judge by; of a handful each is needed.
    let least = if selected < SCARCE { 0.0 } else { (LEAST_RESERVED / selected as f64).min(0.2) };
    let wanted = (fraction.max(least).min(0.5) * selected as f64).round() as usize;
    let share = wanted.saturating_sub(reserved) as f64 / order.len().max(1) as f64;
    for (rank, &k) in order.iter().enumerate() {
        let n = rank as f64;
        if ((n + 0.5) * share).floor() < ((n + 1.5) * share).floor() {
            stars[k].reserved = true;
            stars[k].status = StarStatus::Reserved;
        }
    }
}
