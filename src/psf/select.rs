//! From detections to star candidates: what flags, masks, neighbours, moments and the size locus say before there is a model.

use super::moments::adaptive_moments;
use super::star::{Rejection, Star, StarStatus};
use super::{PsfInput, PsfSettings};
use crate::catalog::Flags;
use crate::image::mask;

/// Smallest half side of a stamp, pixels: the wings of an undersampled PSF reach far beyond a few FWHM.
const SMALLEST_HALF: usize = 12;

/// Every source's verdict so far, and the measured candidates.
pub(super) struct Candidates {
    /// One per source.
    pub(super) verdicts: Vec<StarStatus>,
    pub(super) stars: Vec<Star>,
    /// Slope of the variance plane with the image: source noise found in it, image units squared per image unit.
    pub(super) variance_slope: f64,
}

/// Measures every source that flags, edge and masks allow.
pub(super) fn candidates(input: &PsfInput<'_>, settings: &PsfSettings, listed: Option<&[(f64, f64)]>) -> Candidates {
    let sources = &input.detections.sources;
    let mut verdicts = vec![StarStatus::Rejected(Rejection::Faint); sources.len()];
    let mut stars = Vec::new();
    let fwhm = width_guess(input, settings);
    let half = ((settings.fit_radius_fwhm * fwhm).ceil() as usize).clamp(SMALLEST_HALF, 40);
    let slope = variance_slope(input);
    for (index, s) in sources.iter().enumerate() {
        if listed.is_some_and(|l| !l.iter().any(|p| (p.0 - s.x).powi(2) + (p.1 - s.y).powi(2) < 4.0)) {
            verdicts[index] = StarStatus::Rejected(Rejection::NotListed);
            continue;
        }
        if !(s.flux > 0.5 * settings.min_snr * s.flux_err && s.flux.is_finite() && s.x.is_finite() && s.y.is_finite()) {
            continue;
        }
        // Extended beyond doubt: not worth measuring.
        if s.a.max(s.b) > 3.0 * fwhm {
            verdicts[index] = StarStatus::Rejected(Rejection::Extended);
            continue;
        }
        match cut(input, settings, index, fwhm, half, slope) {
            Ok(star) => {
                verdicts[index] = star.status;
                stars.push(star);
            }
            Err(reason) => verdicts[index] = StarStatus::Rejected(reason),
        }
    }
    Candidates { verdicts, stars, variance_slope: slope }
}

/// A first idea of the FWHM: twice the 20th percentile of the half-light radii of the clean, significant sources.
fn width_guess(input: &PsfInput<'_>, settings: &PsfSettings) -> f64 {
    let pick = |limit: f64| -> Vec<f64> {
        let clean = Flags::EDGE | Flags::SATURATED | Flags::BAD_PIXELS;
        let mut r: Vec<f64> = input
            .detections
            .sources
            .iter()
            .filter(|s| {
                s.flux > limit * s.flux_err && s.half_light_radius > 0.5 && !s.flags.intersects(clean) && s.npix >= 5
            })
            .map(|s| s.half_light_radius)
            .collect();
        r.sort_by(f64::total_cmp);
        r
    };
    let mut radii = pick(2.0 * settings.min_snr);
    if radii.len() < 10 {
        radii = pick(5.0);
    }
    if radii.is_empty() { 3.0 } else { (1.8 * radii[radii.len() / 5]).clamp(1.2, 15.0) }
}

/// Slope of variance against image over bright unmasked pixels, 0 where it is not significant.
fn variance_slope(input: &PsfInput<'_>) -> f64 {
    // Pairs of bright pixels' (image, variance minus the median variance of faint pixels).
    let mut faint: Vec<f32> = Vec::new();
    let mut bright = Vec::new();
    for (k, ((&i, &v), &m)) in input.image.iter().zip(input.variance).zip(input.mask).enumerate() {
        if m & mask::UNUSABLE != 0 || !(v > 0.0 && v.is_finite()) {
            continue;
        }
        if k % 97 == 0 {
            faint.push(v);
        }
        if i * i > 400.0 * v {
            bright.push((f64::from(i), f64::from(v)));
        }
    }
    let Some(floor) = crate::image::stats::median_in_place(&mut faint) else { return 0.0 };
    if bright.len() < 10 {
        return 0.0;
    }
    let mut slopes: Vec<f32> = bright.iter().map(|(i, v)| ((v - floor) / i) as f32).collect();
    let Some((slope, scatter)) = crate::image::stats::median_and_sigma(&slopes.clone()) else { return 0.0 };
    let _ = crate::image::stats::median_in_place(&mut slopes);
    if slope > 0.0
        && slope > 3.0 * scatter / (bright.len() as f64).sqrt()
        && slope * bright.iter().map(|b| b.0).fold(0.0, f64::max) > 0.1 * floor
    {
        slope
    } else {
        0.0
    }
}

/// Cuts and measures one source.
pub(super) fn cut(
    input: &PsfInput<'_>,
    settings: &PsfSettings,
    index: usize,
    fwhm: f64,
    half: usize,
    slope: f64,
) -> Result<Star, Rejection> {
    let s = &input.detections.sources[index];
    let (ny, nx) = input.image.dim();
    let (cx, cy) = (s.x.round() as isize, s.y.round() as isize);
    let margin = (1.5 * fwhm).ceil() as isize;
    if cx < margin
        || cy < margin
        || cx + margin >= nx as isize
        || cy + margin >= ny as isize
        || s.flags.contains(Flags::EDGE)
    {
        return Err(Rejection::Edge);
    }
    if s.flags.contains(Flags::SATURATED)
        || input.saturation.is_some_and(|level| s.peak > settings.linear_fraction * level)
    {
        return Err(Rejection::Saturated);
    }
    let side = 2 * half + 1;
    let own = index as i32 + 1;
    let mut pixels = vec![0.0f32; side * side];
    let mut variance = vec![f32::INFINITY; side * side];
    let mut foreign = vec![false; side * side];
    let core2 = (0.7 * fwhm).max(1.0).powi(2);
    let (mut bad_core, mut bad) = (0usize, 0usize);
    let grow = (0.5 * fwhm).round().clamp(1.0, 4.0) as isize;
    for j in 0..side {
        for i in 0..side {
            let (x, y) = (cx + i as isize - half as isize, cy + j as isize - half as isize);
            let p = j * side + i;
            if x < 0 || y < 0 || x >= nx as isize || y >= ny as isize {
                bad += 1;
                continue;
            }
            let at = (y as usize, x as usize);
            let (v, value, bits) = (input.variance[at], input.image[at], input.mask[at]);
            let d2 = (x as f64 - s.x).powi(2) + (y as f64 - s.y).powi(2);
            if bits & mask::UNUSABLE != 0 || !(v.is_finite() && v > 0.0 && value.is_finite()) {
                bad += 1;
                if d2 < core2 {
                    bad_core += 1;
                    if bits & mask::SATURATED != 0 {
                        return Err(Rejection::Saturated);
                    }
                }
                continue;
            }
            pixels[p] = value;
            let clean = (v - (slope * f64::from(value.max(0.0))) as f32).max(0.2 * v);
            variance[p] = clean;
            let label = input.detections.segmentation[at];
            if label != 0 && label != own {
                foreign[p] = true;
            }
        }
    }
    if bad_core > 0 || bad as f64 > 0.3 * (side * side) as f64 {
        return Err(if bad_core > 0 { Rejection::BadPixels } else { Rejection::Edge });
    }
    // Neighbours' pixels, grown, carry no weight.
    let (mut near, mut near_masked, mut core_masked) = (0usize, 0usize, 0usize);
    for j in 0..side as isize {
        for i in 0..side as isize {
            let hit = (-grow..=grow).any(|b| {
                (-grow..=grow).any(|a| {
                    let (x, y) = (i + a, j + b);
                    a * a + b * b <= grow * grow
                        && x >= 0
                        && y >= 0
                        && x < side as isize
                        && y < side as isize
                        && foreign[(y * side as isize + x) as usize]
                })
            });
            let d2 = ((i - half as isize) as f64).powi(2) + ((j - half as isize) as f64).powi(2);
            if d2 < (1.5 * fwhm).powi(2) {
                near += 1;
                near_masked += usize::from(hit);
                core_masked += usize::from(hit && d2 < core2);
            }
            if hit {
                variance[(j * side as isize + i) as usize] = f32::INFINITY;
            }
        }
    }
    if core_masked > 0 || near_masked as f64 > 0.3 * near as f64 {
        return Err(Rejection::Crowded);
    }
    let values: Vec<f64> = pixels.iter().map(|v| f64::from(*v)).collect();
    let usable: Vec<bool> = variance.iter().map(|v| v.is_finite()).collect();
    let start = (s.x - cx as f64 + half as f64, s.y - cy as f64 + half as f64);
    let Some(m) = adaptive_moments(&values, Some(&usable), side, start, (0.45 * fwhm).max(0.7), 2e-3) else {
        return Err(Rejection::Unmeasurable);
    };
    // Noise of a matched Gaussian flux: sqrt(4 pi det^1/2) sigma.
    let mut core_variance: Vec<f32> = variance.iter().copied().filter(|v| v.is_finite()).collect();
    let sigma2 = crate::image::stats::median_in_place(&mut core_variance).unwrap_or(1.0);
    let (xx, yy, xy) = m.covariance;
    let noise = (4.0 * std::f64::consts::PI * (xx * yy - xy * xy).max(1e-3).sqrt() * sigma2).sqrt();
    let snr = m.flux / noise;
    let status = if snr < settings.min_snr * 0.8 { StarStatus::Rejected(Rejection::Faint) } else { StarStatus::Used };
    Ok(Star {
        source: index,
        origin: (cx, cy),
        half,
        pixels,
        variance,
        flux: 0.0,
        centre: (m.centre.0 - half as f64, m.centre.1 - half as f64),
        sky: 0.0,
        sky_in_sigma: (0.0, 1.0),
        snr,
        chi2: 0.0,
        size: m.size(),
        distortion: m.distortion(),
        status,
        reserved: false,
    })
}

/// A bright candidate in the space where stars crowd: ln T, e1, e2; and its weight.
struct Point {
    ln_size: f64,
    e: (f64, f64),
    weight: f64,
}

/// The star locus in ln T: (centre, width). Stars have one size and one shape, galaxies many: the locus is the smallest
/// dense knot of bright candidates in (ln T, e1, e2).
pub(super) fn size_locus(stars: &[Star]) -> Option<(f64, f64)> {
    const SMALLEST: f64 = 0.85; // square pixels: sharper things are single pixels
    const BRIGHTEST: usize = 300;
    let mut bright: Vec<&Star> = stars
        .iter()
        .filter(|s| s.status == StarStatus::Used && s.size > SMALLEST && s.distortion.0.hypot(s.distortion.1) < 0.4)
        .collect();
    bright.sort_by(|a, b| b.snr.total_cmp(&a.snr).then(a.source.cmp(&b.source)));
    bright.truncate(BRIGHTEST);
    let mut points: Vec<Point> = bright
        .iter()
        .map(|s| Point { ln_size: s.size.ln(), e: s.distortion, weight: s.snr.clamp(1.0, 500.0).powf(0.75) })
        .collect();
    points.sort_by(|a, b| a.ln_size.total_cmp(&b.ln_size));
    let (width_t, width_e) = (0.08, 0.08);
    let density: Vec<f64> = points
        .iter()
        .map(|p| {
            points
                .iter()
                .map(|q| {
                    let d = ((p.ln_size - q.ln_size) / width_t).powi(2)
                        + ((p.e.0 - q.e.0) / width_e).powi(2)
                        + ((p.e.1 - q.e.1) / width_e).powi(2);
                    if d < 20.0 { q.weight * (-0.5 * d).exp() } else { 0.0 }
                })
                .sum()
        })
        .collect();
    let highest = density.iter().copied().fold(0.0, f64::max);
    let peak = (0..points.len()).find(|&k| {
        density[k] > 0.45 * highest
            && points
                .iter()
                .zip(&density)
                .all(|(q, d)| (q.ln_size - points[k].ln_size).abs() > 0.12 || *d <= density[k])
    })?;
    let mode = points[peak].ln_size;
    // Width from the lower side, where there are no galaxies.
    let mut below: Vec<f32> =
        points.iter().map(|p| p.ln_size).filter(|v| *v <= mode && *v > mode - 0.5).map(|v| (mode - v) as f32).collect();
    let width = crate::image::stats::median_in_place(&mut below).unwrap_or(0.05) * crate::image::stats::MAD_TO_SIGMA;
    Some((mode, width.clamp(0.02, 0.12)))
}
