//! Gaussian-process interpolation of what is left of the core's parameters after the polynomial (kriging;
//! Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", eq. 2.25 and 5.8).

use super::linalg::{Cholesky, dot};

/// Random fields of ln scale, g1, g2 over the detector with a squared-exponential covariance.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Kriging {
    /// Correlation length of each field, pixels.
    pub length: [f64; 3],
    /// Standard deviation of each field; 0: not used.
    pub amplitude: [f64; 3],
    /// Star positions, 0-based pixels.
    pub positions: Vec<(f64, f64)>,
    /// Weight of each star for each field: K_y^-1 d.
    pub weights: [Vec<f64>; 3],
}

impl Kriging {
    /// Fields at a position.
    pub fn predict(&self, x: f64, y: f64) -> [f64; 3] {
        let mut out = [0.0; 3];
        for (q, value) in out.iter_mut().enumerate() {
            if self.amplitude[q] > 0.0 {
                let s = -0.5 / (self.length[q] * self.length[q]);
                let a2 = self.amplitude[q] * self.amplitude[q];
                *value = a2
                    * self
                        .positions
                        .iter()
                        .zip(&self.weights[q])
                        .map(|(p, w)| {
                            let e = s * ((p.0 - x).powi(2) + (p.1 - y).powi(2));
                            if e > -12.0 { w * e.exp() } else { 0.0 }
                        })
                        .sum::<f64>();
            }
        }
        out
    }
}

/// One field: data `d` with variances `noise` at the positions. Chooses amplitude and length by the marginal likelihood;
/// returns (amplitude, length, weights), amplitude 0 where a random field does not beat plain noise by `margin` in ln likelihood.
pub(super) fn fit_field(
    positions: &[(f64, f64)],
    d: &[f64],
    noise: &[f64],
    lengths: &[f64],
    margin: f64,
) -> (f64, f64, Vec<f64>) {
    let n = d.len();
    let plain = -0.5 * d.iter().zip(noise).map(|(v, s)| v * v / s + s.ln()).sum::<f64>();
    let mut best = (plain + margin, 0.0, lengths.first().copied().unwrap_or(1.0), vec![0.0; n]);
    let mut typical: Vec<f64> = noise.to_vec();
    typical.sort_by(f64::total_cmp);
    let base = typical.get(n / 4).copied().unwrap_or(1.0).sqrt();
    for &length in lengths {
        let mut kernel = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let r2 = (positions[i].0 - positions[j].0).powi(2) + (positions[i].1 - positions[j].1).powi(2);
                kernel[i * n + j] = (-0.5 * r2 / (length * length)).exp();
            }
        }
        for factor in [0.25, 0.5, 1.0, 2.0] {
            let a2 = (base * factor).powi(2);
            let mut m: Vec<f64> = kernel.iter().map(|k| a2 * k).collect();
            for i in 0..n {
                m[i * n + i] += noise[i];
            }
            let Some(c) = Cholesky::new(n, m) else { continue };
            let mut w = d.to_vec();
            c.solve(&mut w);
            let evidence = -0.5 * dot(d, &w) - 0.5 * c.ln_det();
            if evidence > best.0 {
                best = (evidence, a2.sqrt(), length, w);
            }
        }
    }
    (best.1, best.2, best.3)
}
