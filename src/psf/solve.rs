//! The joint Gauss-Newton step: every star's information about the PSF, tied together by smooth functions of position.

use super::evidence::OrderPrior;
use super::linalg::Cholesky;
use super::native::NativeModel;
use super::spatial::{legendre_terms, term_count};
use super::star::{CORE, Information};

/// Removes a free per-star deviation of the shape with prior variances `nugget` from the information: what polynomials
/// cannot follow must not let the brightest stars dominate.
pub(super) fn with_nugget(info: &Information, nugget: &[f64; 3]) -> Option<Information> {
    let n = info.n;
    let mut a = vec![0.0; 9];
    for i in 0..3 {
        for j in 0..3 {
            a[i * 3 + j] = info.fisher[i * n + j];
        }
        a[i * 3 + i] += 1.0 / nugget[i].max(1e-12);
    }
    let factor = Cholesky::new(3, a)?;
    let mut half_score = [info.score[0], info.score[1], info.score[2]];
    factor.forward(&mut half_score);
    let mut coupling = vec![0.0; n * 3];
    for i in 0..n {
        let row = &mut coupling[i * 3..i * 3 + 3];
        row.copy_from_slice(&info.fisher[i * n..i * n + 3]);
        factor.forward(row);
    }
    let mut out = info.clone();
    for i in 0..n {
        let ci = &coupling[i * 3..i * 3 + 3];
        out.score[i] -= ci[0] * half_score[0] + ci[1] * half_score[1] + ci[2] * half_score[2];
        for j in 0..n {
            let cj = &coupling[j * 3..j * 3 + 3];
            out.fisher[i * n + j] -= ci[0] * cj[0] + ci[1] * cj[1] + ci[2] * cj[2];
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

/// Prior precision of the residual's coefficients: by spline function (within one term) and by polynomial term.
pub(super) struct ResidualPrior {
    /// `basis.len()` relative precisions.
    pub(super) function: Vec<f64>,
    /// One factor per polynomial term.
    pub(super) term: Vec<f64>,
    /// Projections of the functions on flux, centre and shape of the core (`basis.len()` each): the residual of every
    /// polynomial term is kept orthogonal to these, so that nothing is described twice.
    pub(super) tangent: Vec<Vec<f64>>,
}

/// Precision with which the residual is kept orthogonal to the core's tangent space.
const TANGENT_PRECISION: f64 = 1e6;

/// Solves for the step of all parameters; applies it to the model. Returns the shape coefficients' covariance.
pub(super) fn joint_step(
    model: &mut NativeModel,
    stars: &[((f64, f64), Information)],
    shape_prior: &[OrderPrior; 3],
    prior: Option<&ResidualPrior>,
) -> Option<[Vec<f64>; 3]> {
    let nt = term_count(model.order);
    let shape_n = 3 * nt;
    let (k, rt) = match (&model.residual, prior) {
        (Some(r), Some(_)) => (r.basis.len(), term_count(r.order)),
        _ => (0, 0),
    };
    let order = model.order.max(model.residual.as_ref().map_or(0, |r| r.order));
    let n = shape_n + 1 + k * rt;
    let mut a = vec![0.0f64; n * n];
    let mut b = vec![0.0f64; n];
    for ((x, y), info) in stars {
        let t = legendre_terms(&model.domain, order, *x, *y);
        let m = info.n;
        // Shape and exponent: row index q * nt + term.
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
        for i in 0..rt {
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
    for q in 0..3 {
        for (i, precision) in shape_prior[q].precisions(model.order).into_iter().enumerate() {
            let row = q * nt + i;
            a[row * n + row] += precision;
            if i > 0 {
                b[row] -= precision * model.core[q][i];
            }
        }
    }
    a[shape_n * n + shape_n] += 1.0 / (BETA_SIGMA * BETA_SIGMA);
    b[shape_n] -= (model.beta - BETA_CENTRE) / (BETA_SIGMA * BETA_SIGMA);
    if let (Some(p), Some(r)) = (prior, &model.residual) {
        // The residual takes over from the exponent, which is held.
        a[shape_n * n + shape_n] *= 1e8;
        b[shape_n] = 0.0;
        for i in 0..rt {
            let set = &r.coefficients[i * k..(i + 1) * k];
            for v in &p.tangent {
                let now = super::linalg::dot(v, set);
                for c in 0..k {
                    let row = shape_n + 1 + i * k + c;
                    b[row] -= TANGENT_PRECISION * v[c] * now;
                    let target = &mut a[row * n + shape_n + 1 + i * k..row * n + shape_n + 1 + i * k + k];
                    for (x, w) in target.iter_mut().zip(v) {
                        *x += TANGENT_PRECISION * v[c] * w;
                    }
                }
            }
            for c in 0..k {
                let row = shape_n + 1 + i * k + c;
                let precision = p.function[c] * p.term[i];
                a[row * n + row] += precision;
                b[row] -= precision * r.coefficients[i * k + c];
            }
        }
    }
    let factor = Cholesky::new(n, a)?;
    factor.solve(&mut b);
    // A full step, but never a wild one.
    let wild = b[0].abs().max(b[nt].abs()).max(b[2 * nt].abs()) / 0.25;
    let damp = 1.0 / wild.max(b[shape_n].abs() / 0.7).max(1.0);
    for q in 0..3 {
        for i in 0..nt {
            model.core[q][i] += damp * b[q * nt + i];
        }
    }
    model.beta = (model.beta + damp * b[shape_n]).clamp(1.3, 12.0);
    if let (Some(r), true) = (&mut model.residual, k > 0) {
        for (c, d) in r.coefficients.iter_mut().zip(&b[shape_n + 1..]) {
            *c += damp * d;
        }
    }
    let mut covariance = [vec![], vec![], vec![]];
    for (q, cov) in covariance.iter_mut().enumerate() {
        cov.resize(nt * nt, 0.0);
        let mut unit = vec![0.0; n];
        for i in 0..nt {
            unit.iter_mut().for_each(|u| *u = 0.0);
            unit[q * nt + i] = 1.0;
            factor.solve(&mut unit);
            cov[i * nt..(i + 1) * nt].copy_from_slice(&unit[q * nt..(q + 1) * nt]);
        }
    }
    Some(covariance)
}
