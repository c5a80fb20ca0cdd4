//! How well a model predicts stars that it has not seen.

use super::moments::adaptive_moments;
use super::{NativeModel, PsfSettings, PsfStar, Rejection, Star, StarStatus};
use crate::image::stats::median_in_place;

/// Verdict on a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Reserved stars are predicted within the "good" thresholds.
    Good,
    /// Outside "good", or a fallback, or too few reserved stars to tell.
    Degraded,
    /// Outside the "failed" thresholds.
    Failed,
}

impl Quality {
    /// Word in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// Weighted mean and scatter of a residual over stars.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Residuals {
    /// Weighted mean.
    pub mean: f64,
    /// Error of the mean.
    pub mean_error: f64,
    /// Weighted rms about the mean (noise of the stars included).
    pub rms: f64,
}

/// rho statistics in one bin of separation (Rowe 2010, MNRAS 404, 350; Jarvis et al. 2016, MNRAS 460, 2245, eq. 3-7):
/// xi_+ of de de, e de, (e dT/T)(e dT/T), de (e dT/T), e (e dT/T); e: distortion of the model, d: star minus model.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RhoBin {
    /// Mean separation, pixels.
    pub separation: f64,
    /// Pairs.
    pub pairs: usize,
    /// rho_1 .. rho_5.
    pub rho: [f64; 5],
}

/// What the fit has to say about itself.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PsfReport {
    /// Sources looked at.
    pub sources: usize,
    /// Stars in the model that was validated.
    pub used: usize,
    /// Stars kept out of it to score it.
    pub reserved: usize,
    /// Stars in the model that is delivered: after the validation the reserved ones too.
    pub in_model: usize,
    /// Sources rejected, by reason.
    pub rejected: Vec<(String, usize)>,
    /// Total order of the spatial polynomial.
    pub order: usize,
    /// Order of the residual's variation; `None` without a residual.
    pub residual_order: Option<usize>,
    /// Whether a random field follows what the polynomial cannot.
    pub smooth: bool,
    /// FWHM of the azimuthally averaged effective PSF at the centre of the area, pixels.
    pub fwhm: f64,
    /// Distortion of the effective PSF at the centre of the area.
    pub e1: f64,
    /// See `e1`.
    pub e2: f64,
    /// Median reduced chi-square of the used stars.
    pub chi2_used: f64,
    /// Median reduced chi-square of the reserved stars; NaN if none.
    pub chi2_reserved: f64,
    /// (T_star - T_model) / T_model of the reserved stars, adaptive moments.
    pub size_residual: Residuals,
    /// e1_star - e1_model of the reserved stars.
    pub e1_residual: Residuals,
    /// e2_star - e2_model of the reserved stars.
    pub e2_residual: Residuals,
    /// rho statistics of the reserved stars (of all where fewer than 30 are reserved).
    pub rho: Vec<RhoBin>,
    /// Verdict by the thresholds of [`PsfSettings`].
    pub quality: Quality,
    /// Which fallback was taken, if any, in words.
    pub fallback: Option<String>,
    /// What the fit had to assume or leave out, in sentences.
    pub notes: Vec<String>,
}

/// What reserved stars cannot show, since they lie where the others do and passed the same tests: a model that knows only a part
/// of the image, or that most bright stars contradict. In sentences; empty if there is nothing to say.
pub(super) fn doubts(stars: &[PsfStar], (rows, columns): (usize, usize), settings: &PsfSettings) -> Vec<String> {
    let mut doubts = Vec::new();
    let kept: Vec<&PsfStar> = stars.iter().filter(|s| !matches!(s.status, StarStatus::Rejected(_))).collect();
    let span = |of: fn(&PsfStar) -> f64| {
        let (low, high) = kept
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), star| (low.min(of(star)), high.max(of(star))));
        (high - low).max(0.0)
    };
    let covered = span(|s| s.x) * span(|s| s.y) / (rows * columns).max(1) as f64;
    if kept.len() > 1 && covered < settings.min_coverage {
        doubts.push(format!(
            "the stars cover {:.0} % of the image: beyond them the PSF model is extrapolated",
            100.0 * covered
        ));
    }
    let unlike = stars.iter().filter(|s| s.status == StarStatus::Rejected(Rejection::ChiSquare)).count();
    if unlike > kept.len() {
        doubts.push(format!(
            "{unlike} star-like sources were rejected because their residuals are not noise, more than the {} kept: the PSF may vary \
             more than the model follows, or the noise lacks the sources' own",
            kept.len()
        ));
    }
    doubts
}

/// One star measured against the model.
struct Scored {
    position: (f64, f64),
    weight: f64,
    dt: f64,
    de: (f64, f64),
    e: (f64, f64),
    reserved: bool,
}

fn score(star: &Star, model: &NativeModel) -> Option<Scored> {
    let (x, y) = star.position();
    let side = star.side();
    let truth: Vec<f64> = model.render(x, y, side, 1, true, star.centre).iter().map(|v| v * star.flux).collect();
    let data: Vec<f64> = (0..side * side)
        .map(|p| if star.variance[p].is_finite() { f64::from(star.pixels[p]) - star.sky } else { truth[p] })
        .collect();
    let centre = (star.half as f64 + star.centre.0, star.half as f64 + star.centre.1);
    let sigma = (0.5 * star.size).sqrt().max(0.7);
    let m = adaptive_moments(&truth, None, side, centre, sigma, 1e-5)?;
    let d = adaptive_moments(&data, None, side, centre, sigma, 1e-5)?;
    let (em, ed) = (m.distortion(), d.distortion());
    let noise = 2.5 / star.snr;
    Some(Scored {
        position: (x, y),
        weight: 1.0 / (noise * noise + 1e-4),
        dt: d.size() / m.size() - 1.0,
        de: (ed.0 - em.0, ed.1 - em.1),
        e: em,
        reserved: star.status == StarStatus::Reserved,
    })
}

fn residuals(scored: &[&Scored], value: impl Fn(&Scored) -> f64) -> Residuals {
    // Stars four sigma out (blends that slipped through) do not speak for the model.
    let mut kept: Vec<&&Scored> = scored.iter().collect();
    let mut out = Residuals::default();
    for _ in 0..3 {
        let w: f64 = kept.iter().map(|s| s.weight).sum();
        if !(w > 0.0) {
            return Residuals { mean: f64::NAN, mean_error: f64::NAN, rms: f64::NAN };
        }
        let mean = kept.iter().map(|s| s.weight * value(s)).sum::<f64>() / w;
        let rms = (kept.iter().map(|s| s.weight * (value(s) - mean).powi(2)).sum::<f64>() / w).sqrt();
        let effective = w * w / kept.iter().map(|s| s.weight * s.weight).sum::<f64>();
        out = Residuals { mean, mean_error: rms / (effective - 1.0).max(1.0).sqrt(), rms };
        // Normalised deviation: weight^-1/2 is the star's own expected error.
        kept.retain(|s| (value(s) - mean).powi(2) * s.weight < 16.0 * 1.5);
        if kept.is_empty() {
            break;
        }
    }
    out
}

fn rho_statistics(scored: &[&Scored], extent: f64) -> Vec<RhoBin> {
    const BINS: usize = 6;
    let (low, high) = ((0.02 * extent).ln(), extent.ln());
    let mut sums = [[0.0f64; 8]; BINS];
    let mut pairs = [0usize; BINS];
    for (i, a) in scored.iter().enumerate() {
        for b in &scored[..i] {
            let r = (a.position.0 - b.position.0).hypot(a.position.1 - b.position.1);
            let k = ((r.max(1e-3).ln() - low) / (high - low) * BINS as f64).floor();
            if !(0.0..BINS as f64).contains(&k) {
                continue;
            }
            let k = k as usize;
            let w = a.weight * b.weight;
            let product = |p: (f64, f64), q: (f64, f64)| w * (p.0 * q.0 + p.1 * q.1);
            let (ta, tb) = ((a.e.0 * a.dt, a.e.1 * a.dt), (b.e.0 * b.dt, b.e.1 * b.dt));
            let s = &mut sums[k];
            s[0] += w;
            s[1] += w * r;
            s[2] += product(a.de, b.de);
            s[3] += 0.5 * (product(a.e, b.de) + product(a.de, b.e));
            s[4] += product(ta, tb);
            s[5] += 0.5 * (product(a.de, tb) + product(ta, b.de));
            s[6] += 0.5 * (product(a.e, tb) + product(ta, b.e));
            pairs[k] += 1;
        }
    }
    (0..BINS)
        .filter(|&k| pairs[k] > 0)
        .map(|k| {
            let s = &sums[k];
            RhoBin { separation: s[1] / s[0], pairs: pairs[k], rho: [s[2], s[3], s[4], s[5], s[6]].map(|v| v / s[0]) }
        })
        .collect()
}

/// Scores a model on its stars.
pub(super) fn report(
    model: &NativeModel,
    stars: &[Star],
    verdicts: &[StarStatus],
    settings: &PsfSettings,
    fwhm: f64,
    shape: (f64, f64),
    notes: Vec<String>,
) -> PsfReport {
    let all: Vec<Scored> = stars
        .iter()
        .filter(|s| matches!(s.status, StarStatus::Used | StarStatus::Reserved))
        .filter_map(|s| score(s, model))
        .collect();
    let kept: Vec<&Scored> = all.iter().filter(|s| s.reserved).collect();
    let everyone: Vec<&Scored> = all.iter().collect();
    let chi = |status: StarStatus| -> f64 {
        let mut v: Vec<f32> = stars.iter().filter(|s| s.status == status).map(|s| s.chi2 as f32).collect();
        median_in_place(&mut v).unwrap_or(f64::NAN)
    };
    let count = |status: StarStatus| verdicts.iter().filter(|v| **v == status).count();
    let (size, e1, e2) = (residuals(&kept, |s| s.dt), residuals(&kept, |s| s.de.0), residuals(&kept, |s| s.de.1));
    let chi2_reserved = chi(StarStatus::Reserved);
    let extent = 2.0 * model.domain.half.0.max(model.domain.half.1);
    let mut out = PsfReport {
        sources: verdicts.len(),
        used: count(StarStatus::Used),
        reserved: count(StarStatus::Reserved),
        in_model: count(StarStatus::Used),
        rejected: Rejection::ALL
            .iter()
            .map(|r| (r.name().to_owned(), count(StarStatus::Rejected(*r))))
            .filter(|r| r.1 > 0)
            .collect(),
        order: model.order,
        residual_order: model.residual.as_ref().map(|r| r.order),
        smooth: model.smooth.is_some(),
        fwhm,
        e1: shape.0,
        e2: shape.1,
        chi2_used: chi(StarStatus::Used),
        chi2_reserved,
        size_residual: size,
        e1_residual: e1,
        e2_residual: e2,
        rho: rho_statistics(if kept.len() >= 30 { &kept } else { &everyone }, extent),
        quality: Quality::Degraded,
        fallback: None,
        notes,
    };
    // A mean is outside a threshold only where its own error does not explain it.
    let beyond = |r: &Residuals, limit: f64| r.mean.abs() - 2.0 * r.mean_error > limit;
    let failed = beyond(&size, settings.failed_size_residual)
        || beyond(&e1, settings.failed_ellipticity_residual)
        || beyond(&e2, settings.failed_ellipticity_residual)
        || chi2_reserved > settings.failed_chi2;
    let good = !beyond(&size, settings.good_size_residual)
        && !beyond(&e1, settings.good_ellipticity_residual)
        && !beyond(&e2, settings.good_ellipticity_residual)
        && chi2_reserved <= settings.good_chi2;
    out.quality = if kept.len() < 3 {
        out.notes.push(format!("only {} reserved stars: the model could not be validated", kept.len()));
        if out.chi2_used > settings.failed_chi2 { Quality::Failed } else { Quality::Degraded }
    } else if failed {
        Quality::Failed
    } else if good {
        Quality::Good
    } else {
        Quality::Degraded
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(x: f64, y: f64, status: StarStatus) -> PsfStar {
        PsfStar { source: 0, x, y, snr: 100.0, chi2: 1.0, status }
    }

    #[test]
    fn stars_in_a_corner_or_outnumbered_raise_doubts() {
        let settings = PsfSettings::default();
        let corners = [(10.0, 10.0), (990.0, 10.0), (10.0, 990.0), (990.0, 990.0)];
        let spread: Vec<PsfStar> = corners.iter().map(|&(x, y)| star(x, y, StarStatus::Used)).collect();
        assert!(doubts(&spread, (1000, 1000), &settings).is_empty());
        let corner: Vec<PsfStar> = corners.iter().map(|&(x, y)| star(0.3 * x, 0.3 * y, StarStatus::Used)).collect();
        assert_eq!(doubts(&corner, (1000, 1000), &settings).len(), 1);
        let mut outnumbered = spread;
        outnumbered.extend((0..5).map(|i| star(f64::from(i), 1.0, StarStatus::Rejected(Rejection::ChiSquare))));
        assert_eq!(doubts(&outnumbered, (1000, 1000), &settings).len(), 1);
    }
}
