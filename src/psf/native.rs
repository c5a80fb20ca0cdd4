//! stillair's own model: core parameters and residual coefficients as functions of position.

use super::kriging::Kriging;
use super::profile::{FAR, Frame, ResidualBasis, Shape, moffat_fwhm_ratio, pixel_nodes};
use super::spatial::{Domain, legendre_terms, term_count};
use super::table::RadialTable;

/// Residual of the effective PSF against the core: spline coefficients, one set per polynomial term.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Residual {
    /// The basis.
    pub basis: ResidualBasis,
    /// Total order of its spatial variation.
    pub order: usize,
    /// `term_count(order)` sets of `basis.len()` coefficients, term after term.
    pub coefficients: Vec<f64>,
}

impl Residual {
    /// Coefficients at a position.
    pub(super) fn at(&self, terms: &[f64]) -> Vec<f64> {
        let k = self.basis.len();
        let mut c = vec![0.0; k];
        for (t, set) in terms.iter().zip(self.coefficients.chunks_exact(k.max(1))) {
            for (a, b) in c.iter_mut().zip(set) {
                *a += t * b;
            }
        }
        c
    }
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NativeModel {
    /// Area it was fitted on.
    pub domain: Domain,
    /// Moffat exponent of the core.
    pub beta: f64,
    /// Total order of the core's polynomials.
    pub order: usize,
    /// ln scale, g1, g2: `term_count(order)` coefficients each.
    pub core: [Vec<f64>; 3],
    /// Pixel residual, if it pays.
    pub residual: Option<Residual>,
    /// What polynomials cannot follow: smooth random fields of ln scale, g1, g2.
    pub smooth: Option<Kriging>,
    /// Prediction scatter of ln scale, g1, g2 that the fit found (1 sigma, per position).
    pub scatter: [f64; 3],
    /// Covariance of the polynomial coefficients of ln scale, g1, g2: `term_count(order)`^2 each, row-major.
    pub covariance: [Vec<f64>; 3],
}

impl NativeModel {
    /// A model that does not vary: a Moffat of this FWHM (of the core, pixels) and exponent.
    pub fn constant(domain: Domain, fwhm: f64, beta: f64) -> Self {
        let ln_scale = (fwhm / moffat_fwhm_ratio(beta)).ln();
        Self {
            domain,
            beta,
            order: 0,
            core: [vec![ln_scale], vec![0.0], vec![0.0]],
            residual: None,
            smooth: None,
            scatter: [0.0; 3],
            covariance: [vec![0.0], vec![0.0], vec![0.0]],
        }
    }

    /// Core shape at a position.
    pub fn shape(&self, x: f64, y: f64) -> Shape {
        let mut q = self.polynomial_shape(x, y);
        if let Some(k) = &self.smooth {
            let d = k.predict(x, y);
            for (a, b) in q.iter_mut().zip(d) {
                *a += b;
            }
        }
        Shape { ln_scale: q[0], g1: q[1], g2: q[2] }
    }

    pub(super) fn polynomial_shape(&self, x: f64, y: f64) -> [f64; 3] {
        let terms = legendre_terms(&self.domain, self.order, x, y);
        [0, 1, 2].map(|q: usize| self.core[q].iter().zip(&terms).map(|(c, t)| c * t).sum())
    }

    /// Residual coefficients at a position.
    pub(super) fn residual_at(&self, x: f64, y: f64) -> Option<(&ResidualBasis, Vec<f64>)> {
        self.residual.as_ref().map(|r| (&r.basis, r.at(&legendre_terms(&self.domain, r.order, x, y))))
    }

    /// Raises the core's polynomials to a higher (or cuts them to a lower) order; the new terms are 0.
    pub(super) fn set_order(&mut self, order: usize) {
        self.order = order;
        for c in &mut self.core {
            c.resize(term_count(order), 0.0);
        }
    }

    /// Adaptive centroid of the PSF at a position, relative to the core's centre, pixels.
    pub(super) fn centre_offset(&self, x: f64, y: f64) -> (f64, f64) {
        if self.residual.is_none() {
            return (0.0, 0.0);
        }
        let fwhm = self.shape(x, y).ln_scale.exp() * moffat_fwhm_ratio(self.beta);
        let half = ((2.0 * fwhm).ceil() as usize).clamp(4, 40);
        let side = 2 * half + 1;
        let values = self.render(x, y, side, 1, true, (0.0, 0.0));
        let c = half as f64;
        super::adaptive_moments(&values, None, side, (c, c), (0.45 * fwhm).max(0.7), 1e-4)
            .map_or((0.0, 0.0), |m| (m.centre.0 - c, m.centre.1 - c))
    }

    /// Values of the PSF on a square of `size` samples, `oversample` per pixel, centred (adaptive centroid) on the central sample; not normalised.
    /// With `pixel` false the pixel response is left out of the core and taken out of the residual to second order.
    pub(super) fn render(
        &self,
        x: f64,
        y: f64,
        size: usize,
        oversample: usize,
        pixel: bool,
        centre: (f64, f64),
    ) -> Vec<f64> {
        self.sample(x, y, size, 1.0 / oversample as f64, pixel, centre)
    }

    /// As [`Self::render`] with the pixel response, at any step in pixels.
    pub(super) fn render_step(&self, x: f64, y: f64, size: usize, step: f64, centre: (f64, f64)) -> Vec<f64> {
        self.sample(x, y, size, step, true, centre)
    }

    fn sample(&self, x: f64, y: f64, size: usize, step: f64, pixel: bool, centre: (f64, f64)) -> Vec<f64> {
        let frame = Frame::new(&self.shape(x, y), self.beta);
        let residual = self.residual_at(x, y);
        let half = (size / 2) as f64;
        let mut out = vec![0.0; size * size];
        let nodes = pixel_nodes(if pixel { frame.nodes } else { 1 });
        let reach2 = residual.as_ref().map_or(0.0, |(b, _)| b.reach().powi(2));
        let table = residual.as_ref().map(|(b, c)| RadialTable::new(b, &[c.as_slice()]));
        let h = 1.0;
        for j in 0..size {
            let uy = (j as f64 - half) * step - centre.1;
            for i in 0..size {
                let ux = (i as f64 - half) * step - centre.0;
                let (cx, cy) = frame.core_frame(ux, uy);
                let r2 = cx * cx + cy * cy;
                // Far from the centre the core is smooth on the scale of a pixel: one node does.
                let nodes = if r2 > FAR { pixel_nodes(1) } else { nodes };
                let mut v = 0.0;
                for &(oy, wy) in nodes {
                    for &(ox, wx) in nodes {
                        let (a, b) = frame.core_frame(ux + ox, uy + oy);
                        v += wx * wy * frame.power.at(1.0 + a * a + b * b).0;
                    }
                }
                if let Some(t) = &table
                    && r2 < reach2
                {
                    let mut r = t.value(cx, cy);
                    if !pixel {
                        let at = |dx: f64, dy: f64| {
                            let (a, b) = frame.core_frame(ux + dx, uy + dy);
                            t.value(a, b)
                        };
                        r -= (at(h, 0.0) + at(-h, 0.0) + at(0.0, h) + at(0.0, -h) - 4.0 * r) / 24.0;
                    }
                    v += r;
                }
                out[j * size + i] = v * frame.amplitude;
            }
        }
        out
    }
}
