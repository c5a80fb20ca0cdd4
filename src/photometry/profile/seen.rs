//! Moments and size of a mixture as seen with the target PSF, in closed form: no pixels, so that nothing is undersampled.
//!
//! With the target's variance t^2, component k is a Gaussian of covariance `C_k = s_k D + t^2`. Adaptive moments M (Bernstein & Jarvis 2002,
//! section 3.1) are the fixed point `M = 2 sum_k a_k (M^-1 + C_k^-1)^-1 / sum_k a_k`, `a_k = pi_k det(M + C_k)^(-1/2)`.

use super::ProfileShape;
use super::prior::{COMPONENTS, SCALES};

/// How an object looks with the target PSF; lengths in detector pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenMoments {
    /// Adaptive moments ixx, iyy, ixy (the weight is the matched Gaussian; corrected for it).
    pub moments: [f64; 3],
    /// Their covariance.
    pub covariance: [[f64; 3]; 3],
    /// Radius that holds half of the light (circularised).
    pub half_light_radius: f64,
}

/// Steps of the fixed point.
const MOST_STEPS: usize = 300;
/// It has converged when no moment changes by more than this part of the size.
const TOLERANCE: f64 = 1e-9;

/// A symmetric 2 x 2 matrix: xx, yy, xy.
type Symmetric = [f64; 3];

fn det([xx, yy, xy]: Symmetric) -> f64 {
    xx * yy - xy * xy
}

fn inverse(m: Symmetric) -> Option<Symmetric> {
    let d = det(m);
    (m[0] > 0.0 && d > 0.0).then(|| [m[1] / d, m[0] / d, -m[2] / d])
}

fn covariances(shape: &ProfileShape, target2: f64) -> [Symmetric; COMPONENTS] {
    let size2 = shape.ln_size2.exp();
    SCALES.map(|s| {
        let a = s * size2;
        [a * (1.0 + shape.e1) + target2, a * (1.0 - shape.e1) + target2, a * shape.e2]
    })
}

/// Adaptive moments of the mixture; `None` where they do not exist (shares that add up to hardly any light under the weight).
pub(super) fn moments(shape: &ProfileShape, shares: &[f64; COMPONENTS], target2: f64) -> Option<Symmetric> {
    let parts = covariances(shape, target2);
    let mut m = parts[2];
    for _ in 0..MOST_STEPS {
        let (mut sum, mut second) = (0.0, [0.0; 3]);
        let back = inverse(m)?;
        for (share, c) in shares.iter().zip(&parts) {
            let both = det(std::array::from_fn(|i| m[i] + c[i]));
            let product = inverse(*c).and_then(|c| inverse(std::array::from_fn(|i| c[i] + back[i])))?;
            let a = share / both.sqrt();
            sum += a;
            for (s, p) in second.iter_mut().zip(product) {
                *s += a * p;
            }
        }
        if sum.is_nan() || sum <= 0.0 {
            return None;
        }
        let next = second.map(|s| 2.0 * s / sum);
        inverse(next)?;
        let change = next.iter().zip(&m).fold(0.0f64, |c, (a, b)| c.max((a - b).abs()));
        m = next;
        if change < TOLERANCE * (m[0] + m[1]) {
            return Some(m);
        }
    }
    Some(m)
}

/// Circularised half-light radius: each component counts by the geometric mean of its axes.
pub(super) fn half_light_radius(shape: &ProfileShape, shares: &[f64; COMPONENTS], target2: f64) -> Option<f64> {
    let sizes = covariances(shape, target2).map(|c| det(c).sqrt());
    let within = |r2: f64| -> f64 {
        shares.iter().zip(&sizes).map(|(share, s)| share * (1.0 - (-0.5 * r2 / s).exp())).sum::<f64>()
    };
    let widest = sizes.iter().copied().fold(0.0, f64::max);
    let (mut low, mut high) = (0.0, 50.0 * widest);
    if within(high).partial_cmp(&0.5) != Some(std::cmp::Ordering::Greater) {
        return None;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if within(middle) < 0.5 { low = middle } else { high = middle }
    }
    Some(high.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gaussian_is_its_own_moments() {
        let shape = ProfileShape { ln_size2: 4f64.ln(), e1: 0.3, e2: -0.2, dx: 0.0, dy: 0.0 };
        let m = moments(&shape, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 0.5).expect("moments");
        for (got, want) in m.iter().zip([4.0 * 1.3 + 0.5, 4.0 * 0.7 + 0.5, -0.8]) {
            assert!((got - want).abs() < 1e-6, "{m:?}");
        }
    }

    #[test]
    fn a_point_has_the_target_and_its_half_light_radius() {
        let shape = ProfileShape { ln_size2: 1.0, e1: 0.5, e2: 0.0, dx: 0.0, dy: 0.0 };
        let point = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let m = moments(&shape, &point, 0.7).expect("moments");
        // as near as the iteration goes
        assert!((m[0] - 0.7).abs() < 1e-6 && (m[1] - 0.7).abs() < 1e-6 && m[2].abs() < 1e-6, "{m:?}");
        let r = half_light_radius(&shape, &point, 0.7).expect("radius");
        assert!((r - (2.0 * 2f64.ln() * 0.7).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_mixture_agrees_with_the_moments_of_its_pixels() {
        let shape = ProfileShape { ln_size2: 9f64.ln(), e1: 0.25, e2: 0.1, dx: 0.0, dy: 0.0 };
        let shares = [0.1, 0.2, 0.4, 0.2, 0.08, 0.02];
        let parts = covariances(&shape, 2.0);
        let plane = crate::image::Plane::from_shape_fn((161, 161), |(y, x)| {
            let (dx, dy) = (x as f64 - 80.0, y as f64 - 80.0);
            shares
                .iter()
                .zip(&parts)
                .map(|(share, c)| {
                    let i = inverse(*c).expect("inverse");
                    let q = i[0] * dx * dx + i[1] * dy * dy + 2.0 * i[2] * dx * dy;
                    share * (-0.5 * q).exp() / det(*c).sqrt()
                })
                .sum::<f64>() as f32
        });
        let settings = crate::photometry::MomentsSettings { start_sigma: 3.0, ..Default::default() };
        let pixels =
            crate::photometry::adaptive_moments(&plane, None, None, (80.0, 80.0), &settings).expect("pixel moments");
        let m = moments(&shape, &shares, 2.0).expect("moments");
        assert!((m[0] / pixels.ixx - 1.0).abs() < 1e-3, "{m:?} {pixels:?}");
        assert!((m[1] / pixels.iyy - 1.0).abs() < 1e-3);
        assert!((m[2] / pixels.ixy - 1.0).abs() < 5e-3);
    }
}
