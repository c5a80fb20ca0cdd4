//! The light of a PSF beyond the radius up to which it is known.
//!
//! A PSF fitted to stars ends where they sink into the noise, and is normalised to what lies inside. The rest (0.7 % beyond four FWHM for
//! a Kolmogorov PSF) is missing from every flux measured with it. Far out a PSF falls as `(r^2 + a^2)^-beta` (Moffat 1969, A&A 3, 455):
//! a and beta are taken from the rings between [`INNER`] and [`OUTER`] FWHM, where stars are well above the sky, and continued outwards.

use crate::image::Plane;

/// Rings from here, in FWHM ...
const INNER: f64 = 1.3;
/// ... to here.
const OUTER: f64 = 2.8;
/// Smallest exponent beta: with 1 the light would have no end. Turbulence has 11/6, diffraction 3/2.
const LEAST_BETA: f64 = 1.4;
/// More light than this beyond the known radius is not believed.
const LARGEST_SHARE: f64 = 0.05;

/// Factor by which the total light exceeds what the PSF plane holds, minus one. `psf`: square, odd, centred, unit sum, `oversample`
/// samples per detector pixel; `fwhm` in detector pixels. 0 where the plane is too small or its wings cannot be followed.
pub fn light_beyond(psf: &Plane, oversample: usize, fwhm: f64) -> f64 {
    let half = psf.nrows() / 2;
    let unit = fwhm * oversample as f64;
    if !(unit.is_finite() && unit > 0.0) || (half as f64) < OUTER * unit + 1.0 {
        return 0.0;
    }
    let count = 12;
    let edge = |i: usize| unit * (INNER + (OUTER - INNER) * i as f64 / count as f64);
    // (mean of r^2, mean brightness) of each ring.
    let mut rings = vec![(0.0f64, 0.0f64, 0usize); count];
    let (mut inside, mut total) = (0.0f64, 0.0f64);
    for ((y, x), v) in psf.indexed_iter() {
        let r2 = (y as f64 - half as f64).powi(2) + (x as f64 - half as f64).powi(2);
        let (r, v) = (r2.sqrt(), f64::from(*v));
        total += v;
        if r < edge(count) {
            inside += v;
            let place = (r - edge(0)) / (edge(1) - edge(0));
            if place >= 0.0
                && let Some(ring) = rings.get_mut(place as usize)
            {
                *ring = (ring.0 + r2, ring.1 + v, ring.2 + 1);
            }
        }
    }
    let rings: Vec<(f64, f64)> = rings
        .into_iter()
        .filter(|(_, v, n)| *n > 0 && *v > 0.0)
        .map(|(r2, v, n)| (r2 / n as f64, (v / n as f64).ln()))
        .collect();
    if rings.len() < count / 2 {
        return 0.0;
    }
    // ln I = c - beta ln(r^2 + a^2): linear for each a.
    let outer2 = edge(count).powi(2);
    let mut best: Option<(f64, f64)> = None;
    for step in 0..=40 {
        let a2 = (unit * 0.05 * f64::from(step)).powi(2);
        let points: Vec<(f64, f64)> = rings.iter().map(|(r2, ln)| ((r2 + a2).ln(), *ln)).collect();
        let n = points.len() as f64;
        let mean = points.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0 / n, s.1 + p.1 / n));
        let (mut xx, mut xy) = (0.0, 0.0);
        for p in &points {
            xx += (p.0 - mean.0).powi(2);
            xy += (p.0 - mean.0) * (p.1 - mean.1);
        }
        let beta = -xy / xx;
        if !(beta.is_finite() && beta > LEAST_BETA) {
            continue;
        }
        let left: f64 = points.iter().map(|p| (p.1 - mean.1 + beta * (p.0 - mean.0)).powi(2)).sum();
        let level = (mean.1 + beta * (mean.0 - (outer2 + a2).ln())).exp();
        let beyond = std::f64::consts::PI * level * (outer2 + a2) / (beta - 1.0);
        if best.is_none_or(|(least, _)| left < least) {
            best = Some((left, beyond));
        }
    }
    let Some((_, beyond)) = best else { return 0.0 };
    ((inside + beyond) / total - 1.0).clamp(0.0, LARGEST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moffat(beta: f64, fwhm: f64, size: usize) -> (Plane, f64) {
        let a2 = (0.5 * fwhm).powi(2) / ((1.0 / beta).exp2() - 1.0);
        let half = (size / 2) as f64;
        let plane = Plane::from_shape_fn((size, size), |(y, x)| {
            let r2 = (y as f64 - half).powi(2) + (x as f64 - half).powi(2);
            ((beta - 1.0) / (std::f64::consts::PI * a2) * (1.0 + r2 / a2).powf(-beta)) as f32
        });
        let sum = f64::from(plane.sum());
        (plane.mapv(|v| (f64::from(v) / sum) as f32), 1.0 / sum - 1.0)
    }

    #[test]
    fn the_missing_light_of_a_moffat_is_found() {
        for (beta, fwhm, tolerance) in [(2.0, 3.8, 3e-3), (3.0, 3.7, 5e-4), (4.765, 4.0, 2e-4)] {
            let (plane, missing) = moffat(beta, fwhm, 63);
            let found = light_beyond(&plane, 1, fwhm);
            assert!((found - missing).abs() < tolerance, "beta {beta}: {found} for {missing}");
        }
    }

    #[test]
    fn a_plane_too_small_or_without_wings_misses_nothing() {
        let (plane, _) = moffat(3.0, 3.7, 11);
        assert_eq!(light_beyond(&plane, 1, 3.7), 0.0);
        assert_eq!(light_beyond(&Plane::zeros((63, 63)), 1, 3.7), 0.0);
        assert_eq!(light_beyond(&plane, 1, f64::NAN), 0.0);
    }
}
