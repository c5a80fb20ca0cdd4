//! From detections to star candidates: what flags, masks, neighbours, moments and the size locus say before there is a model.

use super::moments::adaptive_moments;
use super::star::{Rejection, Star, StarStatus};
use super::{PsfInput, PsfSettings};
use crate::catalog::Flags;
use crate::image::mask;

/// Every source's verdict so far, and the measured candidates.
pub(super) struct Candidates {
    /// One per source.
    pub(super) verdicts: Vec<StarStatus>,
    pub(super) stars: Vec<Star>,
    /// Slope of the variance plane with the image: source noise found in it, image units squared per image unit.
    pub(super) variance_slope: f64,
}

/// Measures every source that flags, edge and masks allow.
pub(super) fn candidates(input: &PsfInput<'_>, settings: &PsfSettings) -> Candidates {
    let sources = &input.detections.sources;
    let mut verdicts = vec![StarStatus::Rejected(Rejection::Faint); sources.len()];
    let mut stars = Vec::new();
    let fwhm = width_guess(input, settings);
    let half = ((4.0 * fwhm).ceil() as usize).clamp(8, 40);
    let slope = variance_slope(input);
    for (index, s) in sources.iter().enumerate() {
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

/// The star locus in ln T: (centre, width). The smallest dense peak of the sizes of round, bright candidates.
pub(super) fn size_locus(stars: &[Star]) -> Option<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for floor in [40.0, 20.0, 0.0] {
        points = stars
            .iter()
            .filter(|s| s.snr > floor && s.status == StarStatus::Used && s.distortion.0.hypot(s.distortion.1) < 0.4)
            .map(|s| (s.size.ln(), (s.snr / 10.0).max(1.2).ln()))
            .collect();
        if points.len() >= 20 {
            break;
        }
    }
    if points.is_empty() {
        return None;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bandwidth = 0.06;
    let density =
        |x: f64| -> f64 { points.iter().map(|(p, w)| w * (-0.5 * ((p - x) / bandwidth).powi(2)).exp()).sum() };
    let (low, high) = (points[0].0 - 0.2, points[points.len() - 1].0 + 0.2);
    let count = (((high - low) / (0.3 * bandwidth)).ceil() as usize).clamp(3, 4000);
    let grid: Vec<(f64, f64)> = (0..count)
        .map(|k| {
            let x = low + (high - low) * k as f64 / (count - 1) as f64;
            (x, density(x))
        })
        .collect();
    let highest = grid.iter().map(|g| g.1).fold(0.0, f64::max);
    let peak = (1..count - 1)
        .find(|&k| grid[k].1 >= grid[k - 1].1 && grid[k].1 > grid[k + 1].1 && grid[k].1 > 0.45 * highest)?;
    let mode = grid[peak].0;
    // Width from the lower side, where there are no galaxies.
    let mut below: Vec<f32> =
        points.iter().filter(|p| p.0 <= mode && p.0 > mode - 0.6).map(|p| (mode - p.0) as f32).collect();
    let width = crate::image::stats::median_in_place(&mut below).unwrap_or(0.05) * crate::image::stats::MAD_TO_SIGMA;
    Some((mode, width.clamp(0.02, 0.12)))
}
