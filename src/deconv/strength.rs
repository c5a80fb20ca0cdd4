//! The choice of lambda: risks as functions of lambda, on power arrays that are computed once per stamp, and their minimum.
//!
//! In every rule the estimate at an observed frequency q is attenuated by `A_q = T_q / (T_q + lambda)`, with `T = num / reg`
//! (see [`super::tikhonov`]), and the risk is a sum over frequencies of `A^2 power + 2 A (noise - power)` times a weight
//! that does not depend on lambda; GCV alone is a ratio of two such sums.

/// What a risk is made of: one entry per amplitude of the observed half spectrum.
#[derive(Debug, Clone, Default)]
pub(super) struct RiskTerms {
    /// Signal gain `sum |H|^2 omega`.
    pub num: Vec<f32>,
    /// Regularisation per unit lambda.
    pub reg: Vec<f32>,
    /// Coefficient of A^2.
    pub square: Vec<f32>,
    /// Coefficient of A (for GCV: the multiplicity).
    pub linear: Vec<f32>,
}

/// Which functional of the terms is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Functional {
    /// `sum A^2 square + A linear`.
    Risk,
    /// `sum (1 - A)^2 square / (sum (1 - A) linear)^2`.
    Gcv,
}

/// The strength found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strength {
    pub lambda: f64,
    pub at_bound: bool,
}

const LANES: usize = 8;

impl RiskTerms {
    pub fn resize(&mut self, len: usize) {
        for v in [&mut self.num, &mut self.reg, &mut self.square, &mut self.linear] {
            v.resize(len, 0.0);
        }
    }

    /// The functional at `lambda`, over every frequency.
    pub fn evaluate(&self, functional: Functional, lambda: f64) -> f64 {
        match functional {
            Functional::Risk => self.fold(lambda, |a, _, square, linear| a * (a * square + linear), |_, _, _, _| 0.0).0,
            Functional::Gcv => {
                let (top, bottom) = self.fold(lambda, |_, b, square, _| b * b * square, |_, b, _, linear| b * linear);
                if bottom > 0.0 { top / (bottom * bottom) } else { f64::INFINITY }
            }
        }
    }

    /// Two sums over frequencies of functions of (A, 1 - A, square, linear). Sums run in f32 over short lanes, then in f64.
    #[inline(always)]
    fn fold(
        &self,
        lambda: f64,
        f: impl Fn(f32, f32, f32, f32) -> f32,
        g: impl Fn(f32, f32, f32, f32) -> f32,
    ) -> (f64, f64) {
        const RUN: usize = 32 * LANES;
        let lambda = lambda as f32;
        let (mut total_f, mut total_g) = (0.0, 0.0);
        let runs =
            self.num.chunks(RUN).zip(self.reg.chunks(RUN)).zip(self.square.chunks(RUN).zip(self.linear.chunks(RUN)));
        for ((num, reg), (square, linear)) in runs {
            let (mut sum_f, mut sum_g) = ([0.0f32; LANES], [0.0f32; LANES]);
            let (num_l, num_r) = num.as_chunks::<LANES>();
            let (reg_l, reg_r) = reg.as_chunks::<LANES>();
            let (square_l, square_r) = square.as_chunks::<LANES>();
            let (linear_l, linear_r) = linear.as_chunks::<LANES>();
            for ((n, r), (s, l)) in num_l.iter().zip(reg_l).zip(square_l.iter().zip(linear_l)) {
                for i in 0..LANES {
                    let damp = lambda * r[i];
                    let inverse = 1.0 / (n[i] + damp + f32::MIN_POSITIVE);
                    let (a, b) = (n[i] * inverse, damp * inverse);
                    sum_f[i] += f(a, b, s[i], l[i]);
                    sum_g[i] += g(a, b, s[i], l[i]);
                }
            }
            for ((n, r), (s, l)) in num_r.iter().zip(reg_r).zip(square_r.iter().zip(linear_r)) {
                let damp = lambda * r;
                let inverse = 1.0 / (n + damp + f32::MIN_POSITIVE);
                sum_f[0] += f(n * inverse, damp * inverse, *s, *l);
                sum_g[0] += g(n * inverse, damp * inverse, *s, *l);
            }
            total_f += sum_f.iter().map(|v| f64::from(*v)).sum::<f64>();
            total_g += sum_g.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
        (total_f, total_g)
    }

    /// The terms gathered into bins of T, eight to the octave: some hundred terms instead of thousands. A functional of lambda is
    /// a sum over T of smooth functions a decade wide, so that bins of 9 % are as good as the terms themselves.
    pub fn binned(&self) -> RiskTerms {
        // The upper bits of a positive float are its binary exponent and leading fraction: a logarithm for free.
        const SHIFT: u32 = 20;
        const LOWEST: f32 = 1e-12;
        const HIGHEST: f32 = 1e8;
        let base = LOWEST.to_bits() >> SHIFT;
        const BINS: usize = 1 + ((HIGHEST.to_bits() >> SHIFT) - (LOWEST.to_bits() >> SHIFT)) as usize;
        // Sums of `square`, `linear` and `square * T`, whose ratio to the first is where the bin lies.
        let mut bins = [[0.0f32; 4]; BINS];
        for ((n, r), (s, l)) in self.num.iter().zip(&self.reg).zip(self.square.iter().zip(&self.linear)) {
            let t = (n / (r + f32::MIN_POSITIVE)).clamp(LOWEST, HIGHEST);
            if let Some(bin) = bins.get_mut(((t.to_bits() >> SHIFT) - base) as usize) {
                for (b, v) in bin.iter_mut().zip([*s, *l, s * t, 0.0]) {
                    *b += v;
                }
            }
        }
        let mut out = RiskTerms::default();
        for v in [&mut out.num, &mut out.reg, &mut out.square, &mut out.linear] {
            v.reserve(BINS);
        }
        for (i, bin) in bins.iter().enumerate().filter(|(_, b)| b[0] != 0.0 || b[1] != 0.0) {
            let edge = |i: u32| f32::from_bits((i + base) << SHIFT);
            let (low, high) = (edge(i as u32), edge(i as u32 + 1));
            let centroid = bin[2] / bin[0];
            out.num.push(if centroid >= low && centroid < high { centroid } else { 0.5 * (low + high) });
            out.reg.push(1.0);
            out.square.push(bin[0]);
            out.linear.push(bin[1]);
        }
        out
    }

    /// The lambda in `[min, max]` where the functional is least: on the binned terms, a scan and then Brent's method in log lambda.
    pub fn minimise(&self, functional: Functional, min: f64, max: f64) -> Strength {
        const STEP: f64 = 0.7;
        let (lo, hi) = (min.max(1e-30).ln(), max.max(min.max(1e-30)).ln());
        let terms = self.binned();
        let value = |x: f64| terms.evaluate(functional, x.exp());
        let steps = ((hi - lo) / STEP).ceil().max(1.0) as usize;
        let step = (hi - lo) / steps as f64;
        let mut best = (f64::INFINITY, 0usize);
        for i in 0..=steps {
            let here = value(lo + step * i as f64);
            if here < best.0 {
                best = (here, i);
            }
        }
        let at = lo + step * best.1 as f64;
        let (a, b) = ((at - 1.5 * step).max(lo), (at + 1.5 * step).min(hi));
        let x = brent(a, at.clamp(a + 0.3 * (b - a), b - 0.3 * (b - a)), b, 0.01, value);
        let least = value(x);
        // Rounding makes the functional flat towards a bound that is its limit: the bound wins a tie.
        for (near, bound) in [(best.1 <= 1, lo), (best.1 + 1 >= steps, hi)] {
            if near && value(bound) <= least + 1e-6 * least.abs() {
                return Strength { lambda: bound.exp(), at_bound: true };
            }
        }
        Strength { lambda: x.exp(), at_bound: false }
    }
}

/// Minimum of `f` in `[a, b]` from the inner point `x`, to within `tol`: Brent (1973), parabolas guarded by golden sections.
fn brent(mut a: f64, x: f64, mut b: f64, tol: f64, f: impl Fn(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.381_966_011_250_105;
    let (mut x, mut w, mut v) = (x, x, x);
    let mut fx = f(x);
    let (mut fw, mut fv) = (fx, fx);
    let (mut d, mut e) = (0.0f64, 0.0f64);
    for _ in 0..40 {
        let middle = 0.5 * (a + b);
        if (x - middle).abs() <= 2.0 * tol - 0.5 * (b - a) {
            break;
        }
        let mut golden = true;
        if e.abs() > tol {
            let r = (x - w) * (fx - fv);
            let mut q = (x - v) * (fx - fw);
            let mut p = (x - v) * q - (x - w) * r;
            q = 2.0 * (q - r);
            if q > 0.0 {
                p = -p;
            }
            q = q.abs();
            if p.abs() < (0.5 * q * e).abs() && p > q * (a - x) && p < q * (b - x) {
                (e, d) = (d, p / q);
                let u = x + d;
                if u - a < 2.0 * tol || b - u < 2.0 * tol {
                    d = if x < middle { tol } else { -tol };
                }
                golden = false;
            }
        }
        if golden {
            e = if x < middle { b - x } else { a - x };
            d = GOLDEN * e;
        }
        let u = if d.abs() >= tol { x + d } else { x + tol.copysign(d) };
        let fu = f(u);
        if fu <= fx {
            if u < x {
                b = x
            } else {
                a = x
            }
            (v, fv, w, fw, x, fx) = (w, fw, x, fx, u, fu);
        } else {
            if u < x {
                a = u
            } else {
                b = u
            }
            if fu <= fw || w == x {
                (v, fv, w, fw) = (w, fw, u, fu);
            } else if fu <= fv || v == x || v == w {
                (v, fv) = (u, fu);
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brent_finds_a_minimum_off_centre() {
        let x = brent(-3.0, 0.5, 4.0, 1e-3, |x| (x - 2.25).powi(2) + 0.1 * (x - 2.25).powi(4));
        assert!((x - 2.25).abs() < 3e-3, "{x}");
        assert!(brent(0.0, 1.0, 3.0, 1e-2, |x| x) < 0.03);
    }

    #[test]
    fn a_single_frequency_has_the_wiener_strength() {
        // One frequency with T = 1: the risk A^2 p + 2 A (n - p) is least at A = 1 - n/p, lambda = n / (p - n).
        let mut terms = RiskTerms::default();
        terms.resize(1);
        (terms.num[0], terms.reg[0], terms.square[0], terms.linear[0]) = (1.0, 1.0, 5.0, 2.0 * (1.0 - 5.0));
        let found = terms.minimise(Functional::Risk, 1e-8, 1e4);
        assert!((found.lambda - 0.25).abs() < 0.01 && !found.at_bound, "{found:?}");
        terms.linear[0] = 2.0 * (5.0 - 4.0);
        assert!(terms.minimise(Functional::Risk, 1e-8, 1e4).at_bound);
        terms.linear[0] = -10.0;
        let found = terms.minimise(Functional::Risk, 1e-6, 1e4);
        assert!(found.at_bound && (found.lambda / 1e-6 - 1.0).abs() < 1e-9, "{found:?}");
    }
}
