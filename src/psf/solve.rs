//! The joint Gauss-Newton step: every star's information about the PSF, tied together by smooth functions of position.

use super::evidence::OrderPrior;
use super::linalg::Cholesky;
use super::native::NativeModel;
use super::spatial::{Domain, legendre_terms, term_count};
use super::star::{CORE, Information};

/// Removes a free per-star deviation of the shape, and of the modes behind it, with prior variances `nugget` (shape) and `modes`
/// from the information: what polynomials cannot follow must not let the brightest stars dominate.
pub(super) fn with_nugget(info: &Information, nugget: &[f64; 3], modes: &[f64]) -> Option<Information> {
    let n = info.n;
    let free: Vec<(usize, f64)> = nugget
        .iter()
        .copied()
        .enumerate()
        .chain(modes.iter().enumerate().map(|(k, v)| (CORE + k, *v)))
        .filter(|(_, v)| *v > 0.0)
        .collect();
    let f = free.len();
    let mut a = vec![0.0; f * f];
    for (i, (p, v)) in free.iter().enumerate() {
        for (j, (q, _)) in free.iter().enumerate() {
            a[i * f + j] = info.fisher[p * n + q];
        }
        a[i * f + i] += 1.0 / v.max(1e-12);
    }
    let factor = Cholesky::new(f, a)?;
    let mut half_score: Vec<f64> = free.iter().map(|(p, _)| info.score[*p]).collect();
    factor.forward(&mut half_score);
    let mut coupling = vec![0.0; n * f];
    for i in 0..n {
        let row = &mut coupling[i * f..(i + 1) * f];
        for (c, (p, _)) in row.iter_mut().zip(&free) {
            *c = info.fisher[i * n + p];
        }
        factor.forward(row);
    }
    let mut out = info.clone();
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
    for i in 0..n {
        let ci = &coupling[i * f..(i + 1) * f];
        out.score[i] -= product(ci, &half_score);
        for j in 0..n {
            out.fisher[i * n + j] -= product(ci, &coupling[j * f..(j + 1) * f]);
        }
    }
    Some(out)
}

/// A star's own estimate of its deviation from the model in ln scale, g1, g2 (exponent and residual held), and its covariance.
pub(super) fn own_shape(info: &Information) -> Option<([f64; 3], [[f64; 3]; 3])> {
    let n = info.n;
    let mut a = vec![0.0; 9];
    for i in 0..3 {
        for j in 0..3 {
            a[i * 3 + j] = info.fisher[i * n + j];
        }
    }
    let factor = Cholesky::new(3, a)?;
    let mut d = [info.score[0], info.score[1], info.score[2]];
    factor.solve(&mut d);
    let inv = factor.inverse();
    Some((d, [[inv[0], inv[1], inv[2]], [inv[3], inv[4], inv[5]], [inv[6], inv[7], inv[8]]]))
}

/// Prior of the Moffat exponent: its sigma about [`BETA_CENTRE`].
const BETA_SIGMA: f64 = 1.0;
pub(super) const BETA_CENTRE: f64 = 3.0;

/// Normal equations of the core's polynomials, the exponent, and `k` strengths of residual functions that are themselves
/// polynomials of position. Unknowns: shape (row q * terms + term), exponent, then term after term the `k` strengths.
pub(super) struct Joint {
    nt: usize,
    k: usize,
    rt: usize,
    order: usize,
    n: usize,
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Joint {
    /// For the model's order, and `k` functions whose strengths have polynomials of total order `mode_order`.
    pub(super) fn new(model: &NativeModel, k: usize, mode_order: usize) -> Self {
        let nt = term_count(model.order);
        let rt = if k > 0 { term_count(mode_order) } else { 0 };
        let n = 3 * nt + 1 + k * rt;
        Self { nt, k, rt, order: model.order.max(mode_order), n, a: vec![0.0; n * n], b: vec![0.0; n] }
    }

    /// Adds a star's information; its residual part must be about the same `k` functions.
    pub(super) fn add(&mut self, domain: &Domain, (x, y): (f64, f64), info: &Information) {
        let t = legendre_terms(domain, self.order, x, y);
        let (m, n, nt, k) = (info.n, self.n, self.nt, self.k);
        let shape_n = 3 * nt;
        let (a, b) = (&mut self.a, &mut self.b);
        for q in 0..3 {
            for i in 0..nt {
                let row = q * nt + i;
                b[row] += t[i] * info.score[q];
                for p in 0..=q {
                    let f = info.fisher[q * m + p] * t[i];
                    for j in 0..nt {
                        a[row * n + p * nt + j] += f * t[j];
                    }
                }
            }
        }
        b[shape_n] += info.score[3];
        for q in 0..3 {
            for i in 0..nt {
                a[shape_n * n + q * nt + i] += info.fisher[3 * m + q] * t[i];
            }
        }
        a[shape_n * n + shape_n] += info.fisher[3 * m + 3];
        for i in 0..self.rt {
            for c in 0..k {
                let row = shape_n + 1 + i * k + c;
                let source = &info.fisher[(CORE + c) * m..(CORE + c + 1) * m];
                b[row] += t[i] * info.score[CORE + c];
                let target = &mut a[row * n..(row + 1) * n];
                for q in 0..3 {
                    let f = source[q] * t[i];
                    for j in 0..nt {
                        target[q * nt + j] += f * t[j];
                    }
                }
                target[shape_n] += source[3] * t[i];
                for (j, tj) in t.iter().enumerate().take(i + 1) {
                    let f = t[i] * tj;
                    let start = shape_n + 1 + j * k;
                    for (x, s) in target[start..start + k].iter_mut().zip(&source[CORE..]) {
                        *x += f * s;
                    }
                }
            }
        }
    }

    /// Adds the prior of function `c`'s strength in term `i`: precision, and its present value.
    pub(super) fn strength_prior(&mut self, i: usize, c: usize, precision: f64, now: f64) {
        let row = 3 * self.nt + 1 + i * self.k + c;
        self.a[row * self.n + row] += precision;
        self.b[row] -= precision * now;
    }

    /// Keeps the direction `v` of the first term's strengths at 0, with this precision; `now`: their present values.
    pub(super) fn forbid(&mut self, v: &[f64], precision: f64, now: &[f64]) {
        let start = 3 * self.nt + 1;
        let along = super::linalg::dot(v, now);
        for (c, vc) in v.iter().enumerate() {
            let row = start + c;
            self.b[row] -= precision * vc * along;
            for (x, w) in self.a[row * self.n + start..row * self.n + start + self.k].iter_mut().zip(v) {
                *x += precision * vc * w;
            }
        }
    }

    /// Solves, applies the step to the model's core, and returns the shape coefficients' covariance and the step of the strengths.
    pub(super) fn solve(
        mut self,
        model: &mut NativeModel,
        shape_prior: &[OrderPrior; 3],
    ) -> Option<([Vec<f64>; 3], Vec<f64>)> {
        let (n, nt) = (self.n, self.nt);
        let shape_n = 3 * nt;
        for (q, prior) in shape_prior.iter().enumerate() {
            for (i, precision) in prior.precisions(model.order).into_iter().enumerate() {
                let row = q * nt + i;
                self.a[row * n + row] += precision;
                if i > 0 {
                    self.b[row] -= precision * model.core[q][i];
                }
            }
        }
        let beta = &mut self.a[shape_n * n + shape_n];
        *beta += 1.0 / (BETA_SIGMA * BETA_SIGMA);
        self.b[shape_n] -= (model.beta - BETA_CENTRE) / (BETA_SIGMA * BETA_SIGMA);
        if model.residual.is_some() {
            // The residual takes over from the exponent, which is held.
            *beta = 1e8 * (1.0 + *beta);
            self.b[shape_n] = 0.0;
        }
        let factor = Cholesky::new(n, self.a)?;
        let mut b = self.b;
        factor.solve(&mut b);
        // A full step, but never a wild one.
        let wild = b[0].abs().max(b[nt].abs()).max(b[2 * nt].abs()) / 0.25;
        let damp = 1.0 / wild.max(b[shape_n].abs() / 0.7).max(1.0);
        b.iter_mut().for_each(|v| *v *= damp);
        for q in 0..3 {
            for i in 0..nt {
                model.core[q][i] += b[q * nt + i];
            }
        }
        model.beta = (model.beta + b[shape_n]).clamp(1.3, 12.0);
        let mut covariance = [vec![], vec![], vec![]];
        let mut unit = vec![0.0; n];
        for (q, cov) in covariance.iter_mut().enumerate() {
            cov.resize(nt * nt, 0.0);
            for i in 0..nt {
                unit.iter_mut().for_each(|u| *u = 0.0);
                unit[q * nt + i] = 1.0;
                factor.solve(&mut unit);
                cov[i * nt..(i + 1) * nt].copy_from_slice(&unit[q * nt..(q + 1) * nt]);
            }
        }
        Some((covariance, b.split_off(shape_n + 1)))
    }
}
