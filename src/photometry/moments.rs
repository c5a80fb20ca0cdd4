//! Adaptive second moments: the elliptical Gaussian that fits the image best, as in HSM
//! (Bernstein & Jarvis 2002, section 3.1; Hirata & Seljak 2003).

use super::{PhotometryError, same_shape, usable_weight};
use crate::image::Plane;

/// How the moments are searched for.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MomentsSettings {
    /// Standard deviation of the first weight, pixels.
    pub start_sigma: f64,
    /// Most steps.
    pub max_steps: usize,
    /// Relative change of the moments (and shift of the centre in units of the size) below which the search ends.
    pub tolerance: f64,
    /// The weight ends where its exponent exceeds this: squared distance in standard deviations.
    pub cut: f64,
    /// Farthest that the centre may move from where it started, pixels.
    pub max_shift: f64,
}

impl Default for MomentsSettings {
    fn default() -> Self {
        Self { start_sigma: 2.5, max_steps: 200, tolerance: 1e-6, cut: 25.0, max_shift: 8.0 }
    }
}

/// Adaptive moments on the pixel grid (x = column, y = row).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Centre, column, 0-based pixels.
    pub x: f64,
    /// Centre, row, 0-based pixels.
    pub y: f64,
    /// Second moments of the matched Gaussian (corrected for the weight), pixels^2.
    pub ixx: f64,
    /// As `ixx`, along y.
    pub iyy: f64,
    /// Mixed moment, pixels^2.
    pub ixy: f64,
    /// (ixx - iyy) / (ixx + iyy).
    pub e1: f64,
    /// 2 ixy / (ixx + iyy).
    pub e2: f64,
    /// Covariance of (ixx, iyy, ixy) from the pixel noise, pixels^4; NaN without a noise.
    pub covariance: [[f64; 3]; 3],
    /// Flux of the matched Gaussian, image units.
    pub flux: f64,
    /// Kurtosis-like fourth moment <r^4> under the weight; 2 for a Gaussian.
    pub rho4: f64,
    /// Steps taken.
    pub steps: usize,
}

/// Adaptive moments on the sky (first axis east, second north).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkyMoments {
    /// Second moment along east, arcsec^2.
    pub ixx: f64,
    /// Second moment along north, arcsec^2.
    pub iyy: f64,
    /// Mixed moment, arcsec^2.
    pub ixy: f64,
    /// (ixx - iyy) / (ixx + iyy).
    pub e1: f64,
    /// 2 ixy / (ixx + iyy).
    pub e2: f64,
    /// Standard deviations of ixx, iyy, ixy (arcsec^2), e1, e2; NaN without a noise.
    pub errors: [f64; 5],
}

impl Moments {
    /// Size: the fourth root of the moments' determinant, pixels (HSM's `moments_sigma`).
    pub fn sigma(&self) -> f64 {
        (self.ixx * self.iyy - self.ixy * self.ixy).max(0.0).powf(0.25)
    }

    /// Standard deviations of e1 and e2.
    pub fn shape_errors(&self) -> (f64, f64) {
        shape_errors([self.ixx, self.iyy, self.ixy], &self.covariance)
    }

    /// Moments J M J^T on the sky through the local Jacobian [[d xi/dx, d xi/dy], [d eta/dx, d eta/dy]] in arcsec per
    /// pixel of the grid the moments were measured on, xi towards east, eta towards north.
    pub fn on_sky(&self, jacobian: [[f64; 2]; 2]) -> SkyMoments {
        let [[a, b], [c, d]] = jacobian;
        // (ixx, iyy, ixy) -> sky is linear; its rows also carry the covariance.
        let map = [[a * a, b * b, 2.0 * a * b], [c * c, d * d, 2.0 * c * d], [a * c, b * d, a * d + b * c]];
        let moments = [self.ixx, self.iyy, self.ixy];
        let [ixx, iyy, ixy] = map.map(|row| row.iter().zip(&moments).map(|(m, v)| m * v).sum::<f64>());
        let mut covariance = [[0.0f64; 3]; 3];
        for (i, out) in covariance.iter_mut().enumerate() {
            for (j, slot) in out.iter_mut().enumerate() {
                for (k, mk) in map[i].iter().enumerate() {
                    for (l, ml) in map[j].iter().enumerate() {
                        *slot += mk * self.covariance[k][l] * ml;
                    }
                }
            }
        }
        let (e1_err, e2_err) = shape_errors([ixx, iyy, ixy], &covariance);
        let size = ixx + iyy;
        let root = |i: usize| covariance[i][i].sqrt();
        SkyMoments {
            ixx,
            iyy,
            ixy,
            e1: (ixx - iyy) / size,
            e2: 2.0 * ixy / size,
            errors: [root(0), root(1), root(2), e1_err, e2_err],
        }
    }
}

/// Standard deviations of e1 and e2 from those of the moments (ixx, iyy, ixy), to first order.
fn shape_errors([ixx, iyy, ixy]: [f64; 3], covariance: &[[f64; 3]; 3]) -> (f64, f64) {
    let size = ixx + iyy;
    let propagate = |g: [f64; 3]| {
        let mut variance = 0.0;
        for (gi, row) in g.iter().zip(covariance) {
            for (gj, c) in g.iter().zip(row) {
                variance += gi * c * gj;
            }
        }
        variance.sqrt()
    };
    let s2 = size * size;
    (propagate([2.0 * iyy / s2, -2.0 * ixx / s2, 0.0]), propagate([-2.0 * ixy / s2, -2.0 * ixy / s2, 2.0 / size]))
}

/// What a pass over the pixels under one weight gives; moments in pixel coordinates about the weight's centre.
struct Sums {
    total: f64,
    first: [f64; 2],
    /// xx, yy, xy.
    second: [f64; 3],
    fourth: f64,
}

#[derive(Clone, Copy)]
struct Gaussian {
    x: f64,
    y: f64,
    /// xx, yy, xy.
    m: [f64; 3],
}

impl Gaussian {
    /// Inverse of the moments; `None` if they are not positive definite.
    fn inverse(&self) -> Option<[f64; 3]> {
        invert(self.m)
    }

    /// Calls `visit(row, column, dx, dy, squared distance in standard deviations)` for each pixel within the cut.
    fn visit(&self, (ny, nx): (usize, usize), cut: f64, mut visit: impl FnMut(usize, usize, f64, f64, f64)) {
        let Some([p, q, s]) = self.inverse() else { return };
        let reach = |variance: f64| (cut * variance).sqrt();
        let range = |centre: f64, reach: f64, n: usize| {
            let first = (centre - reach).ceil().max(0.0) as usize;
            let last = ((centre + reach).floor() + 1.0).clamp(0.0, n as f64) as usize;
            first..last
        };
        for row in range(self.y, reach(self.m[1]), ny) {
            let dy = row as f64 - self.y;
            for column in range(self.x, reach(self.m[0]), nx) {
                let dx = column as f64 - self.x;
                let rho2 = p * dx * dx + q * dy * dy + 2.0 * s * dx * dy;
                if rho2 < cut {
                    visit(row, column, dx, dy, rho2);
                }
            }
        }
    }
}

fn invert([xx, yy, xy]: [f64; 3]) -> Option<[f64; 3]> {
    let det = xx * yy - xy * xy;
    (xx > 0.0 && yy > 0.0 && det > 1e-12 * xx * yy && det.is_finite()).then(|| [yy / det, xx / det, -xy / det])
}

/// Adaptive moments of `image` from a start at `(x, y)` (0-based pixels).
///
/// Where a weight plane (1 / variance) is given, pixels of weight 0 are left out (the rest count alike, as in HSM), and
/// the noise is propagated from it; else from `noise_sigma` (standard deviation per pixel of white noise), if given.
/// For noise that is correlated between pixels pass the white noise of the same power at the object's scale.
pub fn adaptive_moments(
    image: &Plane,
    weight: Option<&Plane>,
    noise_sigma: Option<f64>,
    (x, y): (f64, f64),
    settings: &MomentsSettings,
) -> Result<Moments, PhotometryError> {
    if let Some(weight) = weight {
        same_shape("weight", image, weight)?;
    }
    let start_variance = settings.start_sigma * settings.start_sigma;
    if !(start_variance > 0.0 && start_variance.is_finite()) {
        return Err(PhotometryError::BadGeometry { what: "start_sigma", value: settings.start_sigma });
    }
    for (what, value) in [("start x", x), ("start y", y)] {
        if !(value.is_finite() && value > -1e6 && value < 1e6) {
            return Err(PhotometryError::BadGeometry { what, value });
        }
    }
    let (ny, nx) = image.dim();
    let largest = (nx * nx + ny * ny) as f64;
    let mut g = Gaussian { x, y, m: [start_variance, start_variance, 0.0] };
    let mut damping = 1.0;
    let mut last_change = f64::INFINITY;
    let fail = |reason, steps| Err(PhotometryError::MomentsFailed { reason, steps });
    for step in 1..=settings.max_steps {
        let sums = sum(image, weight, &g, settings.cut);
        if sums.total.is_nan() || sums.total <= 0.0 {
            return fail("no flux under the weight", step);
        }
        let [bx, by] = sums.first.map(|v| v / sums.total);
        let seen = sums.second.map(|v| v / sums.total);
        let target = matched(&g, seen, [bx, by]);
        let shift = [2.0 * bx, 2.0 * by];
        let scale = g.m[0] + g.m[1];
        let change = (target.iter().zip(&g.m).map(|(t, m)| (t - m).abs()).fold(0.0, f64::max) / scale)
            .max((shift[0].abs() + shift[1].abs()) / scale.sqrt());
        if change < settings.tolerance {
            // Also what a flat image converges to: the size of the stamp itself.
            if scale > 2.0 * (0.25 * nx.min(ny) as f64).powi(2) {
                return fail("object is larger than a quarter of the stamp", step);
            }
            return Ok(finish(image, weight, noise_sigma, &g, &sums, step, settings.cut));
        }
        // A step that does not shrink overshoots: go half as far from then on.
        if change > 0.95 * last_change && step > 5 {
            damping = (damping * 0.5f64).max(0.05);
        }
        last_change = change;
        // Never move the centre by more than half the weight's size, nor the moments by more than a factor of 4, at once.
        let limit = 0.5 * scale.sqrt();
        let length = shift[0].hypot(shift[1]);
        let shorten = damping * if length > limit { limit / length } else { 1.0 };
        g.x += shorten * shift[0];
        g.y += shorten * shift[1];
        let ratio = (target[0] + target[1]) / scale;
        let rein = if ratio > 4.0 { 4.0 / ratio } else { 1.0 };
        for (m, t) in g.m.iter_mut().zip(target) {
            *m += damping * (t * rein - *m);
        }
        if g.inverse().is_none() || g.m[0] + g.m[1] > largest {
            return fail("moments ran away", step);
        }
        if g.m[0] + g.m[1] < 0.02 {
            return fail("object is smaller than a pixel", step);
        }
        if (g.x - x).hypot(g.y - y) > settings.max_shift {
            return fail("centre ran away", step);
        }
    }
    fail("too many steps", settings.max_steps)
}

/// Moments of the Gaussian that shows `seen` under the weight: S^-1 = seen^-1 - M^-1 (exact for a Gaussian image), or
/// the slower 2 seen where that is not a Gaussian. Both leave M alone exactly where seen = M / 2.
fn matched(g: &Gaussian, seen: [f64; 3], first: [f64; 2]) -> [f64; 3] {
    let central = [seen[0] - first[0] * first[0], seen[1] - first[1] * first[1], seen[2] - first[0] * first[1]];
    let fast = invert(central).zip(g.inverse()).and_then(|(s, m)| invert([s[0] - m[0], s[1] - m[1], s[2] - m[2]]));
    match fast {
        Some(next) if next[0] + next[1] < 9.0 * (g.m[0] + g.m[1]) => next,
        _ => central.map(|v| 2.0 * v),
    }
}

fn sum(image: &Plane, weight: Option<&Plane>, g: &Gaussian, cut: f64) -> Sums {
    let mut s = Sums { total: 0.0, first: [0.0; 2], second: [0.0; 3], fourth: 0.0 };
    g.visit(image.dim(), cut, |row, column, dx, dy, rho2| {
        let v = image[(row, column)];
        if !v.is_finite() || weight.is_some_and(|w| usable_weight(v, w[(row, column)]) == 0.0) {
            return;
        }
        let k = (-0.5 * rho2).exp() * f64::from(v);
        s.total += k;
        s.first[0] += k * dx;
        s.first[1] += k * dy;
        s.second[0] += k * dx * dx;
        s.second[1] += k * dy * dy;
        s.second[2] += k * dx * dy;
        s.fourth += k * rho2 * rho2;
    });
    s
}

/// Noise of the converged moments to first order: with sums over w I equal to A, a matched Gaussian answers a
/// perturbation n of the image by dM = (4 / A) sum w n (r r^T - M / 2).
fn finish(
    image: &Plane,
    weight: Option<&Plane>,
    noise_sigma: Option<f64>,
    g: &Gaussian,
    sums: &Sums,
    steps: usize,
    cut: f64,
) -> Moments {
    let [ixx, iyy, ixy] = g.m;
    let mut covariance = [[0.0f64; 3]; 3];
    let white = noise_sigma.filter(|s| s.is_finite() && *s >= 0.0).map(|s| s * s);
    g.visit(image.dim(), cut, |row, column, dx, dy, rho2| {
        let v = image[(row, column)];
        let variance = match (weight, white) {
            (Some(w), _) => match usable_weight(v, w[(row, column)]) {
                0.0 => return,
                w => 1.0 / w,
            },
            (None, Some(variance)) => variance,
            (None, None) => f64::NAN,
        };
        let k = 4.0 / sums.total * (-0.5 * rho2).exp();
        let response = [k * (dx * dx - 0.5 * ixx), k * (dy * dy - 0.5 * iyy), k * (dx * dy - 0.5 * ixy)];
        for (ri, out) in response.iter().zip(covariance.iter_mut()) {
            for (rj, slot) in response.iter().zip(out.iter_mut()) {
                *slot += variance * ri * rj;
            }
        }
    });
    let size = ixx + iyy;
    Moments {
        x: g.x,
        y: g.y,
        ixx,
        iyy,
        ixy,
        e1: (ixx - iyy) / size,
        e2: 2.0 * ixy / size,
        covariance,
        flux: 2.0 * sums.total,
        rho4: sums.fourth / sums.total,
        steps,
    }
}
