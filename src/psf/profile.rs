//! The PSF at one position: an elliptical Moffat core averaged over the pixel, plus a residual in a polar spline basis
//! that is stretched and sheared with the core.
//!
//! Core frame: u' = S(g)^-1 (u - c) / s with S(g) = [[1 + g1, g2], [g2, 1 - g1]] / sqrt(1 - |g|^2) (GalSim's shear),
//! core intensity I(u) = (beta - 1) / (pi s^2) (1 + |u'|^2)^-beta (Moffat 1969, A&A 3, 455), averaged over the pixel's
//! square by Gauss-Legendre nodes. Residual (already of the effective, pixel-averaged PSF):
//! k t^(-2 b) sum_na c_na B_n(t - 1) A_a(u' / t), t = sqrt(1 + |u'|^2), B_n uniform cubic B-splines, A = Re, Im of z^m:
//! regular at the centre, linear in radius far out, and falling with the core.

use super::power::Power;

/// Size and ellipticity of the core.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// ln of the Moffat scale radius in pixels.
    pub ln_scale: f64,
    /// Reduced shear along the axes, |g| < 1.
    pub g1: f64,
    /// Reduced shear along the diagonals.
    pub g2: f64,
}

/// Ratio FWHM / scale radius of a Moffat profile.
pub(super) fn moffat_fwhm_ratio(beta: f64) -> f64 {
    2.0 * ((1.0 / beta).exp2() - 1.0).sqrt()
}

/// Gauss-Legendre nodes and weights on a unit interval centred on 0.
pub(super) fn pixel_nodes(count: usize) -> &'static [(f64, f64)] {
    match count {
        0 | 1 => &[(0.0, 1.0)],
        2 => &[(-0.288_675_134_594_812_9, 0.5), (0.288_675_134_594_812_9, 0.5)],
        3 => &[(-0.387_298_334_620_741_7, 5.0 / 18.0), (0.0, 8.0 / 18.0), (0.387_298_334_620_741_7, 5.0 / 18.0)],
        _ => &[
            (-0.430_568_155_797_026_3, 0.173_927_422_568_726_93),
            (-0.169_990_521_792_428_13, 0.326_072_577_431_273_07),
            (0.169_990_521_792_428_13, 0.326_072_577_431_273_07),
            (0.430_568_155_797_026_3, 0.173_927_422_568_726_93),
        ],
    }
}

/// Nodes per axis that average a core of this FWHM (pixels) over a pixel to better than 1e-4 of its peak.
pub(super) fn node_count(fwhm: f64) -> usize {
    if fwhm > 2.6 {
        2
    } else if fwhm > 1.3 {
        3
    } else {
        4
    }
}

/// Squared core-frame radius beyond which the core is smooth on the scale of a pixel: one node does.
pub(super) const FAR: f64 = 10.0;

/// Linear map from pixel offsets to the core frame, and the core's amplitude.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) a11: f64,
    pub(super) a12: f64,
    pub(super) a22: f64,
    /// Moffat exponent.
    pub(super) beta: f64,
    /// (beta - 1) / (pi s^2).
    pub(super) amplitude: f64,
    /// Pixel nodes per axis.
    pub(super) nodes: usize,
    /// The Moffat profile.
    pub(super) power: Power,
}

/// Pixel-averaged core and its derivatives, per unit flux.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoreValue {
    pub(super) value: f64,
    /// d/dux', d/duy' in the core frame.
    pub(super) grad: (f64, f64),
    /// x' I_x' + y' I_y'.
    pub(super) radial: f64,
    /// x' I_x' - y' I_y'.
    pub(super) plus: f64,
    /// y' I_x' + x' I_y'.
    pub(super) cross: f64,
    /// d/d beta.
    pub(super) beta: f64,
}

impl Frame {
    pub(super) fn new(shape: &Shape, beta: f64) -> Self {
        let scale = shape.ln_scale.exp();
        let norm = 1.0 / (scale * (1.0 - shape.g1 * shape.g1 - shape.g2 * shape.g2).max(1e-4).sqrt());
        Self {
            a11: (1.0 - shape.g1) * norm,
            a12: -shape.g2 * norm,
            a22: (1.0 + shape.g1) * norm,
            beta,
            amplitude: (beta - 1.0) / (std::f64::consts::PI * scale * scale),
            nodes: node_count(scale * moffat_fwhm_ratio(beta)),
            power: Power::new(beta),
        }
    }

    /// Pixel offset to core frame.
    #[inline]
    pub(super) fn core_frame(&self, ux: f64, uy: f64) -> (f64, f64) {
        (self.a11 * ux + self.a12 * uy, self.a12 * ux + self.a22 * uy)
    }

    /// Core averaged over the pixel centred at offset (ux, uy), with derivatives.
    pub(super) fn core(&self, ux: f64, uy: f64) -> CoreValue {
        let mut out = CoreValue::default();
        let (x, y) = self.core_frame(ux, uy);
        // Far out the core is smooth on the scale of a pixel.
        let nodes = pixel_nodes(if x * x + y * y > FAR { 1 } else { self.nodes });
        for &(oy, wy) in nodes {
            for &(ox, wx) in nodes {
                let (x, y) = self.core_frame(ux + ox, uy + oy);
                let q = 1.0 + x * x + y * y;
                let (power, ln_q) = self.power.at(q);
                let v = wx * wy * self.amplitude * power;
                let d = -2.0 * self.beta * v / q;
                out.value += v;
                out.grad.0 += d * x;
                out.grad.1 += d * y;
                out.radial += d * (x * x + y * y);
                out.plus += d * (x * x - y * y);
                out.cross += d * 2.0 * x * y;
                out.beta += v * (1.0 / (self.beta - 1.0) - ln_q);
            }
        }
        out
    }
}

/// The polar spline basis of the residual.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResidualBasis {
    /// Knot spacing in t.
    pub step: f64,
    /// Number of radial splines.
    pub radial: usize,
    /// Highest angular frequency.
    pub m_max: usize,
    /// Envelope exponent b: the residual falls as t^(-2 b).
    pub envelope: f64,
}

/// Most angular functions (1 + 2 m_max).
pub(super) const MAX_ANGULAR: usize = 17;

/// Non-zero part of the basis at a point: `4 * angular` values from index `first`.
pub(super) struct BasisValue {
    /// First radial spline that is not zero here.
    pub(super) first: usize,
    /// B_n for n = first .. first + 4, times amplitude and envelope.
    pub(super) radial: [f64; 4],
    /// d radial / dt.
    pub(super) radial_dt: [f64; 4],
    pub(super) angular: [f64; MAX_ANGULAR],
    /// d angular / dx', d angular / dy' at fixed amplitude.
    pub(super) angular_dx: [f64; MAX_ANGULAR],
    pub(super) angular_dy: [f64; MAX_ANGULAR],
    /// dt/dx', dt/dy'.
    pub(super) dt: (f64, f64),
}

impl ResidualBasis {
    /// Angular functions.
    pub fn angular(&self) -> usize {
        1 + 2 * self.m_max
    }

    /// Number of basis functions.
    pub fn len(&self) -> usize {
        self.radial * self.angular()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.radial == 0
    }

    /// Radius in the core frame beyond which the residual is zero.
    pub fn reach(&self) -> f64 {
        let t = 1.0 + self.step * self.radial as f64;
        (t * t - 1.0).sqrt()
    }

    /// Basis at a core-frame point; `None` outside its reach.
    pub(super) fn at(&self, x: f64, y: f64, amplitude: f64) -> Option<BasisValue> {
        let t = (1.0 + x * x + y * y).sqrt();
        let tau = (t - 1.0) / self.step;
        if tau >= self.radial as f64 {
            return None;
        }
        let cell = tau as usize;
        let f = tau - cell as f64;
        // Splines are counted from the one whose support ends in the first cell; the last three that would reach beyond are left out.
        let (g, f2, f3) = (1.0 - f, f * f, f * f * f);
        let b = [
            g * g * g / 6.0,
            (3.0 * f3 - 6.0 * f2 + 4.0) / 6.0,
            (-3.0 * f3 + 3.0 * f2 + 3.0 * f + 1.0) / 6.0,
            f3 / 6.0,
        ];
        let db = [-0.5 * g * g, 1.5 * f2 - 2.0 * f, -1.5 * f2 + f + 0.5, 0.5 * f2];
        let env = amplitude * t.powf(-2.0 * self.envelope);
        let denv = -2.0 * self.envelope * env / t;
        let mut radial = [0.0; 4];
        let mut radial_dt = [0.0; 4];
        for k in 0..4 {
            if cell + k < self.radial {
                radial[k] = env * b[k];
                radial_dt[k] = denv * b[k] + env * db[k] / self.step;
            }
        }
        let mut out = BasisValue {
            first: cell,
            radial,
            radial_dt,
            angular: [0.0; MAX_ANGULAR],
            angular_dx: [0.0; MAX_ANGULAR],
            angular_dy: [0.0; MAX_ANGULAR],
            dt: (x / t, y / t),
        };
        let (zx, zy) = (x / t, y / t);
        // d z / dx' and d z / dy' with z = (x' + i y') / t.
        let (zx_dx, zx_dy) = ((1.0 - zx * zx) / t, -zx * zy / t);
        let (zy_dx, zy_dy) = (zx_dy, (1.0 - zy * zy) / t);
        out.angular[0] = 1.0;
        let (mut re, mut im) = (1.0, 0.0);
        for m in 1..=self.m_max {
            let mf = m as f64;
            // d(z^m) = m z^(m-1) dz, with z^(m-1) = (re, im) before the update.
            out.angular_dx[2 * m - 1] = mf * (re * zx_dx - im * zy_dx);
            out.angular_dx[2 * m] = mf * (re * zy_dx + im * zx_dx);
            out.angular_dy[2 * m - 1] = mf * (re * zx_dy - im * zy_dy);
            out.angular_dy[2 * m] = mf * (re * zy_dy + im * zx_dy);
            (re, im) = (re * zx - im * zy, re * zy + im * zx);
            out.angular[2 * m - 1] = re;
            out.angular[2 * m] = im;
        }
        Some(out)
    }

    /// Residual and its core-frame gradient for the coefficients `c`.
    pub(super) fn value(&self, v: &BasisValue, c: &[f64]) -> (f64, f64, f64) {
        let a = self.angular();
        let (mut f, mut ft, mut fx, mut fy) = (0.0, 0.0, 0.0, 0.0);
        for k in 0..4 {
            let n = v.first + k;
            if n >= self.radial {
                break;
            }
            let row = &c[n * a..(n + 1) * a];
            let (mut s, mut sx, mut sy) = (0.0, 0.0, 0.0);
            for (i, ci) in row.iter().enumerate() {
                s += ci * v.angular[i];
                sx += ci * v.angular_dx[i];
                sy += ci * v.angular_dy[i];
            }
            f += v.radial[k] * s;
            ft += v.radial_dt[k] * s;
            fx += v.radial[k] * sx;
            fy += v.radial[k] * sy;
        }
        (f, fx + ft * v.dt.0, fy + ft * v.dt.1)
    }
}
