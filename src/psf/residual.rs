//! What the parametric core leaves over in all stars: a super-resolved residual whose strength the data choose.
//!
//! Its coefficients have a Gaussian prior whose strength maximises the marginal likelihood (MacKay 1992, Neural Computation 4,
//! 415) in the eigenbasis of the stars' summed information. How it varies over the field is the subject of `variation`.

use super::fit::Fitter;
use super::native::Residual;
use super::profile::{Frame, ResidualBasis, Shape};
use super::solve::{Joint, with_nugget};
use super::star::{CORE, Columns, Star, StarStatus};

/// Knot spacing in units of the core's t, and its smallest value in pixels.
const STEP: f64 = 0.35;
const STEP_PIXELS: f64 = 0.5;
/// ln evidence that a residual must bring.
const PAYS: f64 = 3.0;
/// Variance of a star's shape where it is to be free.
pub(super) const FREE_SHAPE: f64 = 0.05;
/// Precision with which the residual is kept orthogonal to the core's tangent space.
const TANGENT_PRECISION: f64 = 1e6;
/// Stars that decide on the mean residual.
const WITNESSES: usize = 200;

impl Fitter<'_> {
    /// The basis that suits the present core and stamps.
    fn residual_basis(&self, half: usize) -> ResidualBasis {
        let scale = self.model.core[0].first().copied().unwrap_or(0.0).exp();
        let step = STEP.max(STEP_PIXELS / scale);
        let r = (half as f64 + 1.0) / scale;
        let radial = ((((1.0 + r * r).sqrt() - 1.0) / step).ceil() as usize + 2).clamp(4, 32);
        ResidualBasis {
            step,
            radial,
            m_max: self.settings.residual_m_max.min(8),
            envelope: (0.75 * self.model.beta).clamp(1.0, 3.5),
        }
    }

    /// Relative prior precision of each function: finer angular structure is less likely.
    pub(super) fn function_prior(basis: &ResidualBasis) -> Vec<f64> {
        let a = basis.angular();
        (0..basis.len())
            .map(|k| {
                let m = ((k % a) as f64 / 2.0).ceil();
                1.0 + 0.25 * m * m
            })
            .collect()
    }

    /// Projections of the basis on flux, centre (2), ln scale and shear (2) of a round core of the present mean size.
    pub(super) fn tangent(&self, basis: &ResidualBasis) -> Vec<Vec<f64>> {
        let shape = Shape { ln_scale: self.model.core[0].first().copied().unwrap_or(0.0), g1: 0.0, g2: 0.0 };
        let frame = Frame::new(&shape, self.model.beta);
        let reach = basis.reach() * shape.ln_scale.exp();
        let step = 0.25 * shape.ln_scale.exp().min(2.0);
        let half = (reach / step).ceil() as i64;
        let angular = basis.angular();
        let mut sums = vec![vec![0.0; basis.len()]; 6];
        let mut norms = [0.0; 6];
        for j in -half..=half {
            for i in -half..=half {
                let (ux, uy) = (i as f64 * step, j as f64 * step);
                let core = frame.core(ux, uy);
                let (x, y) = frame.core_frame(ux, uy);
                let modes =
                    [core.value, core.grad.0, core.grad.1, core.radial + 2.0 * core.value, core.plus, core.cross];
                for (norm, m) in norms.iter_mut().zip(&modes) {
                    *norm += m * m;
                }
                let Some(v) = basis.at(x, y, frame.amplitude) else { continue };
                for (sum, m) in sums.iter_mut().zip(&modes) {
                    for (q, r) in v.radial.iter().enumerate() {
                        let n = v.first + q;
                        if n < basis.radial {
                            for (s, a) in sum[n * angular..(n + 1) * angular].iter_mut().zip(&v.angular) {
                                *s += m * r * a;
                            }
                        }
                    }
                }
            }
        }
        for (sum, norm) in sums.iter_mut().zip(&norms) {
            sum.iter_mut().for_each(|s| *s /= norm.max(1e-300));
        }
        sums
    }

    /// Fits the residual that all stars share, if its evidence pays; false (and no residual) where it does not.
    pub(super) fn fit_mean_residual(&mut self, stars: &mut [Star]) -> bool {
        let Some(half) = stars.iter().map(|s| s.half).max() else { return false };
        if self.model.residual.is_none() {
            let basis = self.residual_basis(half);
            self.model.residual = Some(Residual { basis, order: 0, coefficients: vec![0.0; basis.len()] });
        }
        // Fluxes and centres follow the changed model first, without clipping.
        let clip = std::mem::replace(&mut self.weighting.clip, 0.0);
        self.informations(stars, Columns::Core);
        self.weighting.clip = clip;
        let Some(Residual { basis, coefficients, .. }) = &self.model.residual else { return false };
        let (basis, k) = (*basis, basis.len());
        let now = coefficients[..k].to_vec();
        let function = Self::function_prior(&basis);
        let mut free = nalgebra::DMatrix::<f64>::zeros(k, k);
        let mut score = vec![0.0; k];
        let mut joint = Joint::new(&self.model, k, 0);
        for index in self.witnesses(stars) {
            let Some(info) = self.information(&mut stars[index], Columns::Basis) else { continue };
            if let Some(info) = with_nugget(&info, &self.nugget, &[]) {
                joint.add(&self.model.domain, stars[index].position(), &info);
            }
            // The shape of each star is free here: what it can absorb is no evidence for a residual.
            let Some(info) = with_nugget(&info, &[FREE_SHAPE; 3], &[]) else { continue };
            for c in 0..k {
                let row = &info.fisher[(CORE + c) * info.n + CORE..(CORE + c + 1) * info.n];
                score[c] += (info.score[CORE + c] + super::linalg::dot(row, &now)) / function[c].sqrt();
                for (d, f) in row.iter().enumerate().take(c + 1) {
                    free[(c, d)] += f / (function[c] * function[d]).sqrt();
                }
            }
        }
        let Some(precision) = strength(free, &score) else {
            self.model.residual = None;
            return false;
        };
        for (c, f) in function.iter().enumerate() {
            joint.strength_prior(0, c, precision * f, now[c]);
        }
        // The residual is kept orthogonal to the core's tangent space, so that nothing is described twice.
        for v in self.tangent(&basis) {
            joint.forbid(&v, TANGENT_PRECISION, &now);
        }
        let Some((covariance, step)) = joint.solve(&mut self.model, &self.shape_prior) else { return false };
        self.model.covariance = covariance;
        if let Some(r) = &mut self.model.residual {
            r.coefficients.iter_mut().zip(&step).for_each(|(c, d)| *c += d);
        }
        true
    }

    /// The used stars that say most, at most [`WITNESSES`]: more would cost more than they tell.
    pub(super) fn witnesses(&self, stars: &[Star]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..stars.len()).filter(|&k| stars[k].status == StarStatus::Used).collect();
        order.sort_by(|&a, &b| stars[b].snr.total_cmp(&stars[a].snr).then(a.cmp(&b)));
        order.truncate(WITNESSES);
        order
    }
}

/// Prior precision of the (relative) coefficients that maximises the marginal likelihood; `None` if no residual is likelier.
fn strength(mut fisher: nalgebra::DMatrix<f64>, score: &[f64]) -> Option<f64> {
    fisher.fill_upper_triangle_with_lower_triangle();
    let eigen = nalgebra::SymmetricEigen::new(fisher);
    let rotated = eigen.eigenvectors.tr_mul(&nalgebra::DVector::from_column_slice(score));
    let mut best = (PAYS, None);
    for step in 0..24 {
        let sigma = 0.7 * 0.72f64.powi(step);
        let precision = 1.0 / (sigma * sigma);
        let evidence: f64 = rotated
            .iter()
            .zip(eigen.eigenvalues.iter())
            .map(|(b, e)| 0.5 * b * b / (e.max(0.0) + precision) - 0.5 * (1.0 + e.max(0.0) / precision).ln())
            .sum();
        if evidence > best.0 {
            best = (evidence, Some(precision));
        }
    }
    best.1
}
