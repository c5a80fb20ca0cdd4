//! What the parametric core leaves over: a super-resolved residual whose strength and spatial order the data choose.
//!
//! Each polynomial term's coefficients have a Gaussian prior of one strength per total order; the strengths maximise the
//! marginal likelihood (MacKay 1992, Neural Computation 4, 415) in the eigenbasis of the stars' summed information, where
//! terms and coefficients separate. An order whose evidence does not pay is left out.

use super::fit::Fitter;
use super::native::Residual;
use super::profile::{Frame, ResidualBasis, Shape, moffat_fwhm_ratio};
use super::solve::{ResidualPrior, joint_step, with_nugget};
use super::spatial::{legendre_terms, term_count};
use super::star::{CORE, Information, Star};

/// Knot spacing in units of the core's t, and its smallest value in pixels.
const STEP: f64 = 0.35;
const STEP_PIXELS: f64 = 0.5;
/// ln evidence that an order must bring.
const PAYS: f64 = 3.0;

impl Fitter<'_> {
    /// The basis that suits the present core and stamps.
    fn residual_basis(&self, half: usize) -> ResidualBasis {
        let scale = self.model.core[0].first().copied().unwrap_or(0.0).exp();
        let fwhm = scale * moffat_fwhm_ratio(self.model.beta);
        let step = STEP.max(STEP_PIXELS / scale);
        let r = (half as f64).min(3.5 * fwhm + 2.0) / scale;
        let radial = ((((1.0 + r * r).sqrt() - 1.0) / step).ceil() as usize + 2).clamp(4, 32);
        ResidualBasis {
            step,
            radial,
            m_max: self.settings.residual_m_max.min(8),
            envelope: (0.75 * self.model.beta).clamp(1.0, 3.5),
        }
    }

    /// Relative prior precision of each function: finer angular structure is less likely.
    fn function_prior(basis: &ResidualBasis) -> Vec<f64> {
        let a = basis.angular();
        (0..basis.len())
            .map(|k| {
                let m = ((k % a) as f64 / 2.0).ceil();
                1.0 + 0.25 * m * m
            })
            .collect()
    }

    /// Projections of the basis on flux, centre (2), ln scale and shear (2) of a round core of the present mean size.
    fn tangent(&self, basis: &ResidualBasis) -> Vec<Vec<f64>> {
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

    /// Adds the residual to the model if it pays; a few joint steps with the core.
    pub(super) fn fit_residual(&mut self, stars: &mut [Star], iterations: usize) -> Option<()> {
        let half = stars.iter().map(|s| s.half).max()?;
        let fresh = self.model.residual.is_none();
        if fresh {
            let basis = self.residual_basis(half);
            let order = 0;
            self.model.residual =
                Some(Residual { basis, order, coefficients: vec![0.0; basis.len() * term_count(order)] });
        }
        for iteration in 0..iterations {
            // Fluxes and centres follow the changed model first, without clipping.
            let clip = std::mem::replace(&mut self.weighting.clip, 0.0);
            self.informations(stars, false);
            self.weighting.clip = clip;
            let infos = self.informations(stars, true);
            let located: Vec<((f64, f64), Information)> =
                infos.iter().map(|(k, i)| (stars[*k].position(), i.clone())).collect();
            // Higher orders wait until the lower ones explain what is theirs.
            let reached = self.model.residual.as_ref().map_or(0, |r| r.order);
            let max_order =
                if fresh && iteration == 0 { 0 } else { self.settings.residual_order.min(4).min(reached + 2) };
            self.choose_residual_prior(&located, max_order);
            let Some(prior) = self.residual_prior.take() else {
                self.model.residual = None;
                return None;
            };
            let nugget = self.nugget;
            let located: Vec<((f64, f64), Information)> =
                located.into_iter().filter_map(|(p, i)| Some((p, with_nugget(&i, &nugget)?))).collect();
            let done = joint_step(&mut self.model, &located, &self.shape_prior, Some(&prior));
            self.residual_prior = Some(prior);
            self.model.covariance = done?;
        }
        Some(())
    }

    /// Prior strength per order by evidence; cuts the model's residual to the orders that pay, `None` prior if none does.
    fn choose_residual_prior(&mut self, located: &[((f64, f64), Information)], max_order: usize) {
        let Some(residual) = &self.model.residual else { return };
        let basis = residual.basis;
        let k = basis.len();
        let function = Self::function_prior(&basis);
        let mut mean = nalgebra::DMatrix::<f64>::zeros(k, k);
        let terms = term_count(max_order);
        let mut square = vec![0.0; terms];
        let mut data = vec![vec![0.0; k]; terms];
        let mut total = 0.0;
        for ((x, y), info) in located {
            // The shape of each star is free here: what it can absorb is no evidence for a residual.
            let Some(info) = with_nugget(info, &[0.05; 3]) else { continue };
            let t = legendre_terms(&self.model.domain, max_order, *x, *y);
            let weight = info.fisher[CORE * info.n + CORE].max(0.0);
            total += weight;
            for (i, v) in t.iter().enumerate() {
                // The data of a term speak relative to that term's absence, all others as they are.
                let own = residual.coefficients.get(i * k..(i + 1) * k);
                let score: Vec<f64> = (0..k)
                    .map(|c| {
                        let row = &info.fisher[(CORE + c) * info.n + CORE..(CORE + c + 1) * info.n];
                        info.score[CORE + c] + own.map_or(0.0, |o| v * super::linalg::dot(row, o))
                    })
                    .collect();
                square[i] += weight * v * v;
                for c in 0..k {
                    data[i][c] += v * score[c] / function[c].sqrt();
                }
            }
            for c in 0..k {
                for d in 0..k {
                    mean[(c, d)] += info.fisher[(CORE + c) * info.n + CORE + d] / (function[c] * function[d]).sqrt();
                }
            }
        }
        if !(total > 0.0) {
            self.residual_prior = None;
            return;
        }
        let eigen = nalgebra::SymmetricEigen::new(mean);
        let mut strengths = Vec::new();
        let mut kept = None;
        for order in 0..=max_order {
            let range = if order == 0 { 0..1 } else { term_count(order - 1)..term_count(order) };
            let mut best = (0.0, f64::INFINITY);
            for step in 0..24 {
                let sigma = 0.7 * 0.72f64.powi(step);
                let precision = 1.0 / (sigma * sigma);
                let mut evidence = 0.0;
                for i in range.clone() {
                    let d = eigen.eigenvectors.tr_mul(&nalgebra::DVector::from_column_slice(&data[i]));
                    for (b, e) in d.iter().zip(eigen.eigenvalues.iter()) {
                        let e = e.max(0.0) * square[i] / total;
                        evidence += 0.5 * b * b / (e + precision) - 0.5 * (1.0 + e / precision).ln();
                    }
                }
                if evidence > best.0 {
                    best = (evidence, precision);
                }
            }
            if best.0 > PAYS {
                kept = Some(order);
            }
            strengths.extend(range.map(|_| best.1.min(1e12)));
        }
        match kept {
            None => self.residual_prior = None,
            Some(order) => {
                let terms = term_count(order);
                strengths.truncate(terms);
                if let Some(r) = &mut self.model.residual {
                    r.order = order;
                    r.coefficients.resize(terms * k, 0.0);
                }
                self.residual_prior = Some(ResidualPrior { tangent: self.tangent(&basis), function, term: strengths });
            }
        }
    }
}
