//! Logarithmic spiral arms of an exponential disc, in Fourier space.
//!
//! A disc of scale length 1 times 1 + A Re[w(r) exp(i m (phi - ln r / tan p))] has m arms of pitch p.
//! The modulated part is one angular harmonic; its transform is (-i)^m exp(i m phi_k) times the Hankel transform of order m of
//! f(r) = exp(-r) w(r) exp(-i m ln r / tan p), with w(r) = 1 - exp(-(r/r0)^2): the arms fade out at the centre. It holds no net flux.

use std::sync::{Arc, OnceLock};

use num_complex::{Complex32, Complex64};

use super::special::bessel_j;

/// Pitch angles, degrees, for which there are tables.
pub const PITCHES: [f64; 5] = [10.0, 14.0, 18.0, 23.0, 29.0];
/// Largest number of arms (and of their harmonics).
pub const MAX_ARMS: u32 = 6;

/// Radius in scale lengths at which the arms set in.
const ONSET: f64 = 0.8;
/// Wave number (2 pi |k| h) up to which the transform is kept, and the number of table entries.
const Z_MAX: f64 = 30.0;
const ENTRIES: usize = 1024;
const TAPER_FROM: f64 = 24.0;

/// Hankel transform of order m of one harmonic, (-i)^m included, on a uniform grid of z; unit-flux disc.
#[derive(Debug)]
pub struct SpiralTable {
    values: Vec<Complex32>,
    arms: u32,
}

impl SpiralTable {
    /// Transform at the sheared wave vector (zx, zy) = 2 pi h k.
    ///
    /// The real part of the harmonic is what lies on the sky; its transform is
    /// (G(k) + conj(G(-k))) / 2 with G the transform of the complex harmonic.
    #[inline]
    pub fn at(&self, zx: f32, zy: f32, rotation: Complex32) -> Complex32 {
        let z = (zx * zx + zy * zy).sqrt();
        let t = z * ((ENTRIES - 1) as f32 / Z_MAX as f32);
        let i = t as usize;
        if i + 1 >= self.values.len() || z <= 1e-6 {
            return Complex32::new(0.0, 0.0);
        }
        let radial = self.values[i] + (self.values[i + 1] - self.values[i]) * (t - i as f32);
        let unit = Complex32::new(zx / z, zy / z);
        let turn = unit.powu(self.arms);
        let sign = if self.arms.is_multiple_of(2) { 1.0 } else { -1.0 };
        let here = radial * turn * rotation;
        // at -k the angle is turned by pi: exp(i m pi) = (-1)^m
        0.5 * (here + (here * sign).conj())
    }
}

/// The table of a pitch (index into [`PITCHES`]) and number of arms (1..=[`MAX_ARMS`]), computed once and shared.
pub fn table(pitch: usize, arms: u32) -> Arc<SpiralTable> {
    static SHARED: [OnceLock<Arc<SpiralTable>>; PITCHES.len() * (MAX_ARMS as usize + 1)] =
        [const { OnceLock::new() }; PITCHES.len() * (MAX_ARMS as usize + 1)];
    let (pitch, arms) = (pitch.min(PITCHES.len() - 1), arms.clamp(1, MAX_ARMS));
    SHARED[pitch * (MAX_ARMS as usize + 1) + arms as usize]
        .get_or_init(|| Arc::new(compute(PITCHES[pitch], arms)))
        .clone()
}

fn compute(pitch: f64, arms: u32) -> SpiralTable {
    // r on a uniform grid: with 2,000 steps of 0.01 up to 20 scale lengths the integrand is resolved for all z kept
    let step = 0.01;
    let order = f64::from(arms);
    let winding = order / pitch.to_radians().tan();
    let harmonic: Vec<Complex64> = (1..2000)
        .map(|i| {
            let r = step * f64::from(i);
            let weight = step * r * (-r).exp() * (1.0 - (-(r / ONSET).powi(2)).exp());
            Complex64::from_polar(weight, -winding * r.ln())
        })
        .collect();
    // J_m on the grid of products: z r = (Z_MAX / (ENTRIES - 1)) j * step * i; tabulated finely, linear in between
    let fine = 0.01;
    let bessel: Vec<f64> = (0..=(Z_MAX * 20.0 / fine) as usize + 1).map(|i| bessel_at(arms, fine * i as f64)).collect();
    let values = (0..ENTRIES)
        .map(|j| {
            let z = Z_MAX * j as f64 / (ENTRIES - 1) as f64;
            let mut sum = Complex64::new(0.0, 0.0);
            for (i, f) in harmonic.iter().enumerate() {
                let t = z * step * (i + 1) as f64 / fine;
                let k = t as usize;
                let (Some(a), Some(b)) = (bessel.get(k), bessel.get(k + 1)) else { break };
                sum += f * (a + (b - a) * (t - k as f64));
            }
            let taper = ((Z_MAX - z) / (Z_MAX - TAPER_FROM)).clamp(0.0, 1.0);
            let value = sum * Complex64::new(0.0, -1.0).powu(arms) * taper;
            Complex32::new(value.re as f32, value.im as f32)
        })
        .collect();
    SpiralTable { values, arms }
}

/// J_m, by the large-argument expansion where the exact sum would be long (the disc has faded to nothing there).
fn bessel_at(m: u32, x: f64) -> f64 {
    if x < 60.0 {
        return bessel_j(m, x);
    }
    let order = f64::from(m);
    let mu = 4.0 * order * order;
    let phase = x - (0.5 * order + 0.25) * std::f64::consts::PI;
    let (p, q) = (1.0 - (mu - 1.0) * (mu - 9.0) / (128.0 * x * x), (mu - 1.0) / (8.0 * x));
    (2.0 / (std::f64::consts::PI * x)).sqrt() * (p * phase.cos() - q * phase.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The harmonic summed on a real-space grid.
    #[test]
    fn transform_agrees_with_a_sum_over_the_plane() {
        let (pitch, arms) = (3, 2);
        let table = table(pitch, arms);
        let winding = f64::from(arms) / PITCHES[pitch].to_radians().tan();
        let (kx, ky) = (0.13, -0.07);
        let (h, mut sum) = (0.02, Complex64::new(0.0, 0.0));
        for iy in -700..=700 {
            for ix in -700..=700 {
                let (x, y) = (h * f64::from(ix), h * f64::from(iy));
                let r = x.hypot(y).max(1e-9);
                let wave = (f64::from(arms) * y.atan2(x) - winding * r.ln()).cos();
                let value = (-r).exp() * (1.0 - (-(r / ONSET).powi(2)).exp()) * wave;
                sum += Complex64::from_polar(value, -std::f64::consts::TAU * (kx * x + ky * y));
            }
        }
        let expected = sum * h * h / std::f64::consts::TAU;
        let z = std::f64::consts::TAU;
        let got = table.at((z * kx) as f32, (z * ky) as f32, Complex32::new(1.0, 0.0));
        assert!((f64::from(got.re) - expected.re).abs() < 1e-4, "{got} {expected}");
        assert!((f64::from(got.im) - expected.im).abs() < 1e-4, "{got} {expected}");
        assert!(expected.norm() > 0.01);
    }

    #[test]
    fn large_argument_expansion_meets_the_exact_function() {
        for m in 1..=MAX_ARMS {
            assert!((bessel_at(m, 60.0) - bessel_j(m, 60.0)).abs() < 1e-3, "m = {m}");
        }
    }
}
