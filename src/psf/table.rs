//! Sets of residual coefficients summed into fine radial tables, for fast evaluation.

use super::profile::ResidualBasis;

/// Functions in the residual's basis, each tabulated in t for every angular frequency and interpolated linearly.
pub(super) struct RadialTable {
    angular: usize,
    sets: usize,
    per_step: f64,
    cells: usize,
    /// [cell][angular][set].
    values: Vec<f64>,
}

impl RadialTable {
    /// Samples per knot.
    const FINE: usize = 8;

    /// Tables of `sets`, each `basis.len()` coefficients.
    pub(super) fn new(basis: &ResidualBasis, sets: &[&[f64]]) -> Self {
        let angular = basis.angular();
        let count = sets.len();
        let cells = basis.radial * Self::FINE;
        let mut values = vec![0.0; (cells + 2) * angular * count];
        for k in 0..cells {
            let t = 1.0 + k as f64 / Self::FINE as f64 * basis.step;
            let Some(v) = basis.at((t * t - 1.0).max(0.0).sqrt(), 0.0, 1.0) else { continue };
            for (q, &b) in v.radial.iter().enumerate() {
                let n = v.first + q;
                if n >= basis.radial {
                    continue;
                }
                for a in 0..angular {
                    for (s, set) in sets.iter().enumerate() {
                        values[(k * angular + a) * count + s] += b * set[n * angular + a];
                    }
                }
            }
        }
        Self { angular, sets: count, per_step: Self::FINE as f64 / basis.step, cells, values }
    }

    /// Number of functions.
    pub(super) fn len(&self) -> usize {
        self.sets
    }

    /// Values of all functions at a core-frame point, per unit amplitude of the core, into `out`; false where they are all 0.
    #[inline]
    pub(super) fn values(&self, x: f64, y: f64, out: &mut [f64]) -> bool {
        let t = (1.0 + x * x + y * y).sqrt();
        let u = (t - 1.0) * self.per_step;
        let k = u as usize;
        if k >= self.cells {
            out.fill(0.0);
            return false;
        }
        let f = u - k as f64;
        let row = self.angular * self.sets;
        let (lo, hi) = (&self.values[k * row..(k + 1) * row], &self.values[(k + 1) * row..(k + 2) * row]);
        let (zx, zy) = (x / t, y / t);
        let (mut re, mut im) = (1.0, 0.0);
        out.fill(0.0);
        for a in 0..self.angular {
            let w = if a == 0 {
                1.0
            } else if a % 2 == 1 {
                (re, im) = (re * zx - im * zy, re * zy + im * zx);
                re
            } else {
                im
            };
            let (wl, wh) = (w * (1.0 - f), w * f);
            let at = a * self.sets..(a + 1) * self.sets;
            for ((o, l), h) in out.iter_mut().zip(&lo[at.clone()]).zip(&hi[at]) {
                *o += wl * l + wh * h;
            }
        }
        true
    }

    /// Value of the first function.
    #[inline]
    pub(super) fn value(&self, x: f64, y: f64) -> f64 {
        let mut out = [0.0];
        self.values(x, y, &mut out[..self.sets.min(1)]);
        out[0]
    }
}
