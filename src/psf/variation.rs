//! How the residual varies over the field: the few modes in which stars differ, each a polynomial of position whose strength
//! per order the data choose.
//!
//! The modes are the principal components of the stars' own residuals, found by expectation-maximisation (factor analysis with
//! known noise; Rubin & Thayer 1982, Psychometrika 47, 69) in the best measured directions of the basis. A mode's field has
//! the prior of `evidence`; core and modes are then solved together.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use super::evidence::{OrderPrior, Sample, order_prior};
use super::fit::Fitter;
use super::linalg::Cholesky;
use super::residual::FREE_SHAPE;
use super::solve::{Joint, with_nugget};
use super::spatial::{legendre_terms, term_count};
use super::star::{CORE, Columns, Information, Star};
use super::table::RadialTable;

/// Best measured directions in which principal components are looked for.
const DIRECTIONS: usize = 48;
/// Most modes.
const MODES: usize = 16;
/// Squared signal-to-noise ratio, summed over the stars, that a mode must have.
const MODE_PAYS: f64 = 40.0;
const EM_STEPS: usize = 8;
/// Scatter of a mode's strength over the stars: about that of ln scale, so that one range of priors serves both.
const UNIT: f64 = 0.1;

/// Modes of the residual whose strengths are polynomials of position.
struct ModeFields {
    /// Total order of the polynomials.
    order: usize,
    /// Prior of each mode's field.
    priors: Vec<OrderPrior>,
    /// Present coefficients: term after term, each `priors.len()` strengths.
    coefficients: Vec<f64>,
}

impl Fitter<'_> {
    /// Fits the residual's variation on top of its mean; leaves the mean alone where the stars show none.
    pub(super) fn fit_variation(&mut self, stars: &mut [Star]) -> Option<()> {
        let modes = self.find_modes(stars)?;
        let order = self.mode_order(self.used(stars));
        let basis = self.model.residual.as_ref()?.basis;
        let sets: Vec<&[f64]> = modes.iter().map(Vec::as_slice).collect();
        let table = RadialTable::new(&basis, &sets);
        let (k, terms) = (modes.len(), term_count(order));
        let mut fields = ModeFields {
            order,
            priors: vec![OrderPrior { amplitude: 0.5 * UNIT, decay: 0.6, nugget: 0.1 * UNIT * UNIT }; k],
            coefficients: vec![0.0; terms * k],
        };
        // The mean stays; the variation is found anew.
        let mean = self.model.residual.as_ref()?.coefficients[..basis.len()].to_vec();
        for iteration in 0..3 {
            let infos = self.informations(stars, Columns::Modes(&table));
            if iteration < 2 {
                self.mode_priors(stars, &infos, &mut fields);
            }
            let nuggets: Vec<f64> = fields.priors.iter().map(|p| p.nugget).collect();
            let mut joint = Joint::new(&self.model, k, order);
            for (s, info) in &infos {
                if let Some(info) = with_nugget(info, &self.nugget, &nuggets) {
                    joint.add(&self.model.domain, stars[*s].position(), &info);
                }
            }
            for (c, prior) in fields.priors.iter().enumerate() {
                for (i, precision) in prior.precisions(order).into_iter().enumerate() {
                    // The mean has a residual of its own: what is left of it is small.
                    let precision = if i == 0 { 1.0 / (UNIT * UNIT) } else { precision };
                    joint.strength_prior(i, c, precision, fields.coefficients[i * k + c]);
                }
            }
            let step;
            (self.model.covariance, step) = joint.solve(&mut self.model, &self.shape_prior)?;
            fields.coefficients.iter_mut().zip(&step).for_each(|(c, d)| *c += d);
            let residual = self.model.residual.as_mut()?;
            residual.order = order;
            residual.coefficients = vec![0.0; terms * basis.len()];
            residual.coefficients[..basis.len()].copy_from_slice(&mean);
            for (set, strengths) in
                residual.coefficients.chunks_exact_mut(basis.len()).zip(fields.coefficients.chunks_exact(k))
            {
                for (mode, a) in modes.iter().zip(strengths) {
                    for (c, m) in set.iter_mut().zip(mode) {
                        *c += a * m;
                    }
                }
            }
        }
        Some(())
    }

    /// Order of the modes' polynomials that so many stars carry with priors on every order.
    fn mode_order(&self, stars: usize) -> usize {
        let mut order = self.settings.residual_order;
        while order > 0 && stars < 2 * term_count(order) {
            order -= 1;
        }
        order
    }

    /// Strength per order and scatter of each mode, from the stars' own strengths.
    fn mode_priors(&self, stars: &[Star], infos: &[(usize, Information)], fields: &mut ModeFields) {
        let k = fields.priors.len();
        /// Terms at the star, its own strengths, their variances.
        type Own = (Vec<f64>, Vec<f64>, Vec<f64>);
        let own: Vec<Own> = infos
            .iter()
            .filter_map(|(s, info)| {
                let info = with_nugget(info, &[FREE_SHAPE; 3], &[])?;
                let mut a = vec![0.0; k * k];
                for c in 0..k {
                    for d in 0..k {
                        a[c * k + d] = info.fisher[(CORE + c) * info.n + CORE + d];
                    }
                    // Modes that a faint star cannot tell apart: a wide prior keeps the matrix regular.
                    a[c * k + c] += 1e-2;
                }
                let factor = Cholesky::new(k, a)?;
                let mut step = info.score[CORE..CORE + k].to_vec();
                factor.solve(&mut step);
                let inverse = factor.inverse();
                let (x, y) = stars[*s].position();
                let terms = legendre_terms(&self.model.domain, fields.order, x, y);
                let value = (0..k)
                    .map(|c| {
                        step[c]
                            + terms
                                .iter()
                                .zip(fields.coefficients.iter().skip(c).step_by(k))
                                .map(|(t, a)| t * a)
                                .sum::<f64>()
                    })
                    .collect();
                let variance = (0..k).map(|c| inverse[c * k + c] * self.noise_scale.max(1.0)).collect();
                Some((terms, value, variance))
            })
            .collect();
        for (c, prior) in fields.priors.iter_mut().enumerate() {
            let samples: Vec<Sample<'_>> = own
                .iter()
                .map(|(terms, value, variance)| Sample { terms, value: value[c], variance: variance[c] })
                .collect();
            *prior = order_prior(&samples, fields.order, *prior).0;
        }
    }

    /// Principal components of the stars' residuals about their mean, as coefficients of the basis, each of scatter [`UNIT`]
    /// over the stars; `None` where the stars show none.
    fn find_modes(&mut self, stars: &mut [Star]) -> Option<Vec<Vec<f64>>> {
        let residual = self.model.residual.as_mut()?;
        let basis = residual.basis;
        let size = basis.len();
        // The stars' differences are seen against the mean alone.
        residual.order = 0;
        residual.coefficients.truncate(size);
        let directions = self.directions(stars)?;
        let sets: Vec<&[f64]> = directions.iter().map(Vec::as_slice).collect();
        let table = RadialTable::new(&basis, &sets);
        let q = directions.len();
        let infos = self.informations(stars, Columns::Modes(&table));
        let seen: Vec<(DMatrix<f64>, DVector<f64>)> = infos
            .iter()
            .filter_map(|(_, info)| {
                let info = with_nugget(info, &[FREE_SHAPE; 3], &[])?;
                let f = DMatrix::from_fn(q, q, |i, j| info.fisher[(CORE + i) * info.n + CORE + j]);
                Some((f, DVector::from_column_slice(&info.score[CORE..CORE + q])))
            })
            .collect();
        if seen.len() < 8 {
            return None;
        }
        let mut sigma = DMatrix::<f64>::identity(q, q) * 0.01;
        for _ in 0..EM_STEPS {
            let precision = sigma.clone().cholesky()?.inverse();
            let mut next = DMatrix::<f64>::identity(q, q) * 1e-8;
            for (f, b) in &seen {
                let Some(factor) = (f + &precision).cholesky() else { continue };
                let mean = factor.solve(b);
                next += factor.inverse();
                next.ger(1.0, &mean, &mean, 1.0);
            }
            sigma = next / seen.len() as f64;
        }
        let mean_fisher = seen.iter().fold(DMatrix::zeros(q, q), |a, (f, _)| a + f);
        let eigen = SymmetricEigen::new(sigma);
        let mut order: Vec<usize> = (0..q).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let mut modes = Vec::new();
        for k in order.into_iter().take(MODES) {
            let v = eigen.eigenvectors.column(k);
            let variance = eigen.eigenvalues[k];
            let signal = variance * (v.transpose() * &mean_fisher * v)[(0, 0)];
            if signal < MODE_PAYS {
                continue;
            }
            let mut mode = vec![0.0; size];
            for (d, w) in directions.iter().zip(v.iter()) {
                for (m, x) in mode.iter_mut().zip(d) {
                    *m += variance.sqrt() / UNIT * w * x;
                }
            }
            modes.push(mode);
        }
        (!modes.is_empty()).then_some(modes)
    }

    /// The directions of the basis that the stars measure best, orthogonal to the core's tangent space.
    fn directions(&self, stars: &mut [Star]) -> Option<Vec<Vec<f64>>> {
        let basis = self.model.residual.as_ref()?.basis;
        let k = basis.len();
        let function = Self::function_prior(&basis);
        let mut fisher = DMatrix::<f64>::zeros(k, k);
        // Where the information lies hardly differs between stars: a few tell.
        for index in self.witnesses(stars).into_iter().step_by(8) {
            let Some(info) = self
                .information(&mut stars[index], Columns::Basis)
                .and_then(|info| with_nugget(&info, &[FREE_SHAPE; 3], &[]))
            else {
                continue;
            };
            let scale = 1.0 / info.fisher[CORE * info.n + CORE].max(1e-30);
            for c in 0..k {
                for d in 0..=c {
                    fisher[(c, d)] +=
                        scale * info.fisher[(CORE + c) * info.n + CORE + d] / (function[c] * function[d]).sqrt();
                }
            }
        }
        fisher.fill_upper_triangle_with_lower_triangle();
        // Out of the tangent space: P F P with P = 1 - T (T^t T)^-1 T^t.
        let tangent = self.tangent(&basis);
        let t = DMatrix::from_fn(k, tangent.len(), |i, j| tangent[j][i] / function[i].sqrt());
        let gram = (t.transpose() * &t).try_inverse()?;
        let projector = DMatrix::identity(k, k) - &t * gram * t.transpose();
        let eigen = SymmetricEigen::new(&projector * fisher * &projector);
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        Some(
            order
                .into_iter()
                .take(DIRECTIONS.min(k))
                .map(|n| eigen.eigenvectors.column(n).iter().zip(&function).map(|(v, f)| v / f.sqrt()).collect())
                .collect(),
        )
    }
}
