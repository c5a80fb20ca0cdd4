//! Sersic profiles in Fourier space.
//!
//! I(r) = exp(-b_n r^(1/n)), r in half-light radii. Its Hankel transform is taken on a logarithmic grid: directly (J_0) where
//! the wave is long, and by turning the path of integration onto the imaginary axis (K_0, nothing oscillates) where it is short:
//!
//! F(z) = (2/pi) int s K_0(z s) exp(-b s^(1/n) cos(pi/2n)) sin(b s^(1/n) sin(pi/2n)) ds / int r I(r) dr,   n >= 1.

use std::f64::consts::PI;
use std::sync::{Arc, OnceLock};

use super::special::{bessel_j, bessel_k0, gamma_p, ln_gamma};
use super::table::{RadialTable, cubic};

/// Smallest and largest Sersic index.
pub const INDEX_RANGE: (f64, f64) = (0.5, 4.5);

/// Steps per unit of n at which tables are shared.
const PER_UNIT: f64 = 10.0;

/// The exact b_n: half the light lies within r = 1, P(2n, b_n) = 1/2 (Newton from Ciotti & Bertin 1999, eq. 18).
pub fn b_n(n: f64) -> f64 {
    let mut b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n);
    for _ in 0..20 {
        let slope = ((2.0 * n - 1.0) * b.ln() - b - ln_gamma(2.0 * n)).exp();
        let step = (gamma_p(2.0 * n, b) - 0.5) / slope;
        b -= step;
        if step.abs() < 1e-15 * b {
            break;
        }
    }
    b
}

/// Mean square radius in squared half-light radii: Gamma(4n) / (Gamma(2n) b^(2n)).
pub fn mean_square_radius(n: f64) -> f64 {
    (ln_gamma(4.0 * n) - ln_gamma(2.0 * n) - 2.0 * n * b_n(n).ln()).exp()
}

/// Share of the light within r half-light radii.
pub fn enclosed(n: f64, b: f64, r: f64) -> f64 {
    gamma_p(2.0 * n, b * r.max(0.0).powf(1.0 / n))
}

/// Radius in half-light radii at which the surface brightness of a unit-flux profile of half-light radius 1 falls to `level`;
/// 0 where it never reaches that level.
pub fn radius_of_brightness(n: f64, level: f64) -> f64 {
    let b = b_n(n);
    let ln_centre = 2.0 * n * b.ln() - ln_gamma(2.0 * n) - (2.0 * PI * n).ln();
    ((ln_centre - level.max(f64::MIN_POSITIVE).ln()).max(0.0) / b).powf(n)
}

/// The nearest index at which tables are shared (a tenth), within [`INDEX_RANGE`].
pub fn shared_index(n: f64) -> f64 {
    ((n * PER_UNIT).round() / PER_UNIT).clamp(INDEX_RANGE.0, INDEX_RANGE.1)
}

/// Transform of the unit-flux profile, z in units of 1 / half-light radius. Indices that are a multiple of 0.1 are computed once and shared.
pub fn transform(n: f64) -> Arc<RadialTable> {
    static SHARED: [OnceLock<Arc<RadialTable>>; 64] = [const { OnceLock::new() }; 64];
    let n = n.clamp(INDEX_RANGE.0, INDEX_RANGE.1);
    let slot = n * PER_UNIT;
    match SHARED.get(slot.round() as usize) {
        Some(cell) if (slot - slot.round()).abs() < 1e-9 => cell.get_or_init(|| Arc::new(compute(n))).clone(),
        _ => Arc::new(compute(n)),
    }
}

/// Step of the logarithmic grids.
const STEP: f64 = 0.005;
/// Every how many steps of radius there is one of wave number.
const COARSE: usize = 8;
/// Wave numbers run from exp(LN_Z.0) to exp(LN_Z.1).
const LN_Z: (f64, f64) = (-4.6, 4.8);
/// Radii, likewise.
const LN_R: (f64, f64) = (-11.5, 7.6);

/// J_0 (or K_0) on the logarithmic grid of products z r; both are looked up by the sum of two indices.
fn on_products(f: impl Fn(f64) -> f64, zero_beyond: f64) -> Vec<f64> {
    let steps = ((LN_Z.1 - LN_Z.0 + LN_R.1 - LN_R.0) / STEP).ceil() as usize + 2;
    let at = |i: usize| (LN_Z.0 + LN_R.0 + STEP * i as f64).exp();
    (0..steps).map(|i| if at(i) > zero_beyond { 0.0 } else { f(at(i)) }).collect()
}

fn compute(n: f64) -> RadialTable {
    static J0: OnceLock<Vec<f64>> = OnceLock::new();
    static K0: OnceLock<Vec<f64>> = OnceLock::new();
    let b = b_n(n);
    let norm = (n.ln() + ln_gamma(2.0 * n) - 2.0 * n * b.ln()).exp();
    let steps = ((LN_R.1 - LN_R.0) / STEP) as usize;
    // both integrands are per d(ln r), hence the square of the radius
    let (half_turn, per) = (PI / (2.0 * n), 1.0 / n);
    let radius = |i: usize| (LN_R.0 + STEP * i as f64).exp();
    let direct: Vec<f64> = (0..steps).map(|i| radius(i).powi(2) * (-b * radius(i).powf(per)).exp()).collect();
    let turned: Vec<f64> = if n < 1.0 {
        Vec::new()
    } else {
        (0..steps)
            .map(|i| {
                let u = b * radius(i).powf(per);
                radius(i).powi(2) * (-u * half_turn.cos()).exp() * (u * half_turn.sin()).sin() * 2.0 / PI
            })
            .collect()
    };
    let j0 = J0.get_or_init(|| on_products(|x| if x < 1e-4 { 1.0 } else { bessel_j(0, x) }, 600.0));
    let k0 = K0.get_or_init(|| on_products(bessel_k0, 100.0));
    let count = ((LN_Z.1 - LN_Z.0) / (STEP * COARSE as f64)) as usize + 1;
    let nodes: Vec<f64> = (0..count)
        .map(|iz| {
            let short = LN_Z.0 + STEP * (iz * COARSE) as f64 > 0.0;
            let (kernel, weights) = if short && n >= 1.0 { (k0, &turned) } else { (j0, &direct) };
            let sum: f64 = weights.iter().zip(kernel.iter().skip(iz * COARSE)).map(|(w, k)| w * k).sum();
            sum * STEP / norm
        })
        .collect();
    let r2 = mean_square_radius(n);
    let first = LN_Z.0.exp();
    // below n = 1 the direct sum ends in round-off long before the last node; the transform is negligible there
    let z_max = if n < 1.0 { 40.0 } else { 110.0 };
    RadialTable::new(z_max, |z| {
        if z <= first * 1.05 {
            1.0 - 0.25 * r2 * z * z
        } else {
            cubic(&nodes, (z.ln() - LN_Z.0) / (STEP * COARSE as f64), false)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_light_lies_within_the_half_light_radius() {
        // n = 1: (1 + b) exp(-b) = 1/2
        assert!((b_n(1.0) - 1.678_346_990_016_661).abs() < 1e-12);
        assert!((b_n(0.5) - 2f64.ln()).abs() < 1e-12);
        for n in [0.5, 1.0, 2.5, 4.0] {
            assert!((enclosed(n, b_n(n), 1.0) - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn gaussian_and_exponential_have_their_closed_transforms() {
        let (gaussian, exponential) = (transform(0.5), transform(1.0));
        let (s2, h) = (1.0 / (2.0 * 2f64.ln()), 1.0 / b_n(1.0));
        for z in [0.0, 0.005, 0.05, 0.5, 0.95, 1.05, 3.0, 10.0, 30.0] {
            let q = (z * z) as f32;
            let g = (-0.5 * z * z * s2).exp();
            assert!((f64::from(gaussian.at_square(q)) - g).abs() < 1e-5, "gaussian at {z}");
            let e = (1.0 + z * z * h * h).powf(-1.5);
            assert!((f64::from(exponential.at_square(q)) - e).abs() < 1e-5, "exponential at {z}");
        }
    }

    /// The two ways of integrating must meet where one takes over from the other.
    #[test]
    fn transform_is_smooth_where_the_method_changes() {
        for n in [1.0, 1.3, 2.0, 3.0, 4.0] {
            let table = transform(n);
            let f = |z: f64| f64::from(table.at_square((z * z) as f32));
            let (a, b, c, d) = (f(0.90), f(0.97), f(1.03), f(1.10));
            let expected = 0.5 * (a * (b / a).powf(2.0) + d * (c / d).powf(2.0));
            assert!((0.5 * (b + c) - expected).abs() < 2e-3, "n = {n}: {a} {b} {c} {d}");
        }
    }
}
