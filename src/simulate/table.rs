//! Radial transforms as tables: every round profile is a function of |k| alone, looked up by its square.

use std::f64::consts::TAU;

/// A round profile's Fourier transform F(z), z = 2 pi |k| * scale, F(0) = 1.
///
/// Stored on a uniform grid of t = sqrt(z), which resolves both the flat top and the long tails, and linear in between;
/// the argument is q = z^2, so that a lookup costs two square roots.
#[derive(Debug, Clone)]
pub struct RadialTable {
    values: Vec<f32>,
    per_step: f32,
    /// Power-law slope beyond the table's end: F ~ z^-slope; infinite where F is negligible there.
    slope: f32,
}

/// Entries of a table.
const ENTRIES: usize = 4096;

impl RadialTable {
    /// Tabulates `f(z)` for z in 0..=z_max; beyond that the table goes on as the power law through its last points.
    pub fn new(z_max: f64, f: impl Fn(f64) -> f64) -> Self {
        let step = z_max.sqrt() / (ENTRIES - 1) as f64;
        let values: Vec<f32> = (0..ENTRIES).map(|i| f((step * i as f64).powi(2)) as f32).collect();
        let (near, far) = (f(0.7 * z_max), f(z_max));
        let slope = if far > 1e-9 && near > far { (near / far).ln() / (1.0f64 / 0.7).ln() } else { f64::INFINITY };
        Self { values, per_step: (1.0 / step) as f32, slope: slope as f32 }
    }

    /// Tabulates through `nodes` of F at z = step * i (cubic interpolation in between): for functions that cost more than a lookup.
    /// Beyond the last node the function must be negligible.
    pub fn from_nodes(step: f64, nodes: &[f64]) -> Self {
        let z_max = step * nodes.len().saturating_sub(3).max(1) as f64;
        // F is even in z, hence the mirrored node below zero
        Self::new(z_max, |z| cubic(nodes, z / step, true))
    }

    /// F at the square of z.
    #[inline]
    pub fn at_square(&self, q: f32) -> f32 {
        let t = q.sqrt().sqrt() * self.per_step;
        let i = t as usize;
        if i + 1 < self.values.len() {
            let (a, b) = (self.values[i], self.values[i + 1]);
            a + (b - a) * (t - i as f32)
        } else if self.slope.is_finite() {
            // t grows as the square root of z
            let last = (self.values.len() - 1) as f32;
            self.values[self.values.len() - 1] * (last / t).powf(2.0 * self.slope)
        } else {
            0.0
        }
    }
}

/// Catmull-Rom interpolation in a list at a fractional index; the list is mirrored at 0 if `even`, held constant at its ends otherwise.
pub fn cubic(values: &[f64], index: f64, even: bool) -> f64 {
    let i = index.floor();
    let u = index - i;
    let at = |j: f64| {
        let j = if even { j.abs() } else { j.max(0.0) };
        values.get(j as usize).or(values.last()).copied().unwrap_or(0.0)
    };
    let (a, b, c, d) = (at(i - 1.0), at(i), at(i + 1.0), at(i + 2.0));
    b + 0.5 * u * (c - a + u * (2.0 * a - 5.0 * b + 4.0 * c - d + u * (3.0 * (b - c) + d - a)))
}

/// An area-preserving shear, GalSim's reduced shear: axis ratio (1 - |g|) / (1 + |g|).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shear {
    /// Stretch along x (positive) or y (negative).
    pub g1: f64,
    /// Stretch along the diagonals.
    pub g2: f64,
}

impl Shear {
    /// A shear by its axis ratio q = b / a and the major axis' angle from +x towards +y, radians.
    pub fn from_axis_ratio(q: f64, angle: f64) -> Self {
        let g = (1.0 - q) / (1.0 + q);
        Self { g1: g * (2.0 * angle).cos(), g2: g * (2.0 * angle).sin() }
    }

    /// The symmetric matrix [[a, b], [b, d]] of determinant 1 that stretches the round profile, as (a, b, d).
    pub fn matrix(&self) -> (f64, f64, f64) {
        let norm = 1.0 / (1.0 - self.g1 * self.g1 - self.g2 * self.g2).max(1e-9).sqrt();
        ((1.0 + self.g1) * norm, self.g2 * norm, (1.0 - self.g1) * norm)
    }

    /// Coefficients (xx, xy, yy) of z^2 = xx kx^2 + xy kx ky + yy ky^2 for a profile of this scale; k in cycles per unit of `scale`.
    pub fn quadratic_form(&self, scale: f64) -> (f64, f64, f64) {
        let (a, b, d) = self.matrix();
        let s = (TAU * scale).powi(2);
        (s * (a * a + b * b), s * 2.0 * b * (a + d), s * (b * b + d * d))
    }

    /// Second moments (xx, yy, xy) of a profile whose round mean square radius is `r2`.
    pub fn moments(&self, r2: f64) -> (f64, f64, f64) {
        let (a, b, d) = self.matrix();
        let h = 0.5 * r2;
        (h * (a * a + b * b), h * (b * b + d * d), h * b * (a + d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_returns_its_function_and_goes_on_as_a_power_law() {
        let f = |z: f64| (1.0 + z * z).powf(-1.5);
        let table = RadialTable::new(60.0, f);
        for z in [0.0, 0.01, 0.3, 1.0, 7.0, 59.0, 120.0] {
            let got = f64::from(table.at_square((z * z) as f32));
            assert!((got - f(z)).abs() < 2e-6 + 2e-3 * f(z) * f64::from(z > 60.0), "z = {z}: {got} != {}", f(z));
        }
    }

    #[test]
    fn a_shear_keeps_area_and_gives_its_axis_ratio() {
        let shear = Shear::from_axis_ratio(0.5, 0.3);
        let (a, b, d) = shear.matrix();
        assert!((a * d - b * b - 1.0).abs() < 1e-12);
        let (xx, yy, xy) = shear.moments(2.0);
        let (t, s) = (xx + yy, ((xx - yy).powi(2) + 4.0 * xy * xy).sqrt());
        assert!((((t - s) / (t + s)).sqrt() - 0.5).abs() < 1e-12);
    }
}
