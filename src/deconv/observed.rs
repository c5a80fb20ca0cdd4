//! The observed stamp on the target grid, not deconvolved: for networks that are given the observed image itself.

use super::{DeconvError, cosine_taper};
use crate::fourier::{Amplitude, FftScratch, plan, shift_phases};
use crate::image::Plane;

/// The observed pixels, tapered as for the Tikhonov step and resampled by their transform to a grid `factor` times finer with the
/// object on its central pixel; flux per target pixel, so that sums are kept. Side n * factor.
///
/// `centre`: the object's 0-based column and row in the stamp. On the finer grid the frequencies beyond the detector's are 0, and
/// so is the detector's Nyquist frequency, whose phase is not known.
pub fn observed_on_target(
    observed: &Plane,
    centre: (f64, f64),
    factor: usize,
    taper: f64,
) -> Result<Plane, DeconvError> {
    let (n, columns) = observed.dim();
    if n != columns {
        return Err(DeconvError::Shape { ny: n, nx: columns, what: "a square one is needed".into() });
    }
    if !(1..=4).contains(&factor) {
        return Err(DeconvError::Factor(factor));
    }
    if !centre.0.is_finite() || !centre.1.is_finite() {
        return Err(DeconvError::Centre(centre.0, centre.1));
    }
    let bad = observed.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        return Err(DeconvError::NotFinite(bad));
    }
    let profile = cosine_taper(n, (taper.clamp(0.0, 0.5) * n as f64).round() as usize);
    let mut pixels = Vec::with_capacity(n * n);
    for (row, ty) in observed.rows().into_iter().zip(&profile) {
        pixels.extend(row.iter().zip(&profile).map(|(v, tx)| v * tx * ty));
    }
    let (coarse, side) = (plan(n, n)?, n * factor);
    let mut scratch = FftScratch::default();
    let mut spectrum = vec![Amplitude::default(); coarse.half_len()];
    coarse.forward(&pixels, &mut spectrum, &mut scratch)?;

    let middle = (n / 2) as f64;
    let (mut phase_x, mut phase_y) = (vec![Amplitude::default(); n / 2 + 1], vec![Amplitude::default(); n]);
    shift_phases(n, middle - centre.0, &mut phase_x);
    shift_phases(n, middle - centre.1, &mut phase_y);
    let fine = plan(side, side)?;
    let mut finer = vec![Amplitude::default(); fine.half_len()];
    for (kx, (column, px)) in spectrum.chunks_exact(n).zip(&phase_x).enumerate() {
        for (ky, (y, py)) in column.iter().zip(&phase_y).enumerate() {
            if factor > 1 && (2 * kx == n || 2 * ky == n) {
                continue;
            }
            let row = if 2 * ky > n { side - (n - ky) } else { ky };
            if let Some(out) = finer.get_mut(kx * side + row) {
                *out = y * px * py;
            }
        }
    }
    let mut plane = Plane::zeros((side, side));
    if let Some(pixels) = plane.as_slice_mut() {
        fine.inverse(&finer, pixels, &mut scratch)?;
    }
    Ok(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Gaussian of sigma 2 detector pixels, sampled `factor` times finer than those.
    fn gaussian(side: usize, factor: usize, centre: (f64, f64)) -> Plane {
        let s = 2.0 * factor as f64;
        Plane::from_shape_fn((side, side), |(y, x)| {
            let r2 = (x as f64 - centre.0).powi(2) + (y as f64 - centre.1).powi(2);
            ((-0.5 * r2 / (s * s)).exp() / (std::f64::consts::TAU * s * s)) as f32
        })
    }

    #[test]
    fn the_object_comes_to_the_middle_of_the_finer_grid_with_its_flux() {
        let observed = gaussian(40, 1, (19.3, 20.4));
        for factor in 1..=3 {
            let side = 40 * factor;
            let got = observed_on_target(&observed, (19.3, 20.4), factor, 0.0).expect("a plane");
            let middle = (side / 2) as f64;
            let expected = gaussian(side, factor, (middle, middle));
            let worst = got.iter().zip(&expected).fold(0.0_f32, |w, (a, b)| w.max((a - b).abs()));
            assert!(worst < 2e-5 * expected[[side / 2, side / 2]].max(1e-3) * 10.0, "factor {factor}: {worst}");
            assert!((got.sum() - observed.sum()).abs() < 1e-5);
        }
    }

    #[test]
    fn what_cannot_be_resampled_is_an_error() {
        let plane = Plane::zeros((8, 8));
        assert_eq!(observed_on_target(&plane, (4.0, 4.0), 5, 0.0), Err(DeconvError::Factor(5)));
        assert!(observed_on_target(&plane, (f64::NAN, 4.0), 1, 0.0).is_err());
        assert!(observed_on_target(&Plane::zeros((8, 6)), (4.0, 4.0), 1, 0.0).is_err());
        let mut bad = plane;
        bad[[1, 1]] = f32::INFINITY;
        assert_eq!(observed_on_target(&bad, (4.0, 4.0), 1, 0.0), Err(DeconvError::NotFinite(1)));
    }
}
