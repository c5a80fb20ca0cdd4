//! The Tikhonov step in closed form, on the detector's grid or a finer one, and its forward model.
//!
//! Per observed frequency q with its `s^2` aliases k (frequencies of the target grid that decimation folds onto q):
//! `Y_q = sum_k K_k Z_k + noise`, penalty `lambda sum_k |L_k Z_k|^2`, `K = H / G`. With `V_k = |L_k G_k|^2` the minimiser is
//! `Z_k = G_k conj(H_k) omega_k Y_q / (num_q + lambda reg_q)`, `reg_q = min_k V_k`, `omega_k = reg_q / V_k`, `num_q = sum_k |H_k|^2 omega_k`.
//! Written so, the alias at frequency 0, where V = 0, needs no case of its own: `omega` is 1 for it and 0 for its companions.

use std::sync::Arc;

use super::strength::{Functional, RiskTerms, Strength};
use super::{DeconvError, DeconvSettings, Deconvolved, LambdaRule, STRENGTH_RATIO, cosine_taper};
use crate::fourier::{
    Amplitude, Fft2, FftScratch, embed_centred, gaussian_half_spectrum, laplacian_half_spectrum, plan, shift_phases,
};
use crate::image::Plane;

/// Below this the squared gain of a frequency counts as none in the projection risk (classical definition).
const GAIN_FLOOR: f32 = 1e-12;
/// Smallest value of the target Gaussian's transform that is told from 0.
const TARGET_FLOOR: f64 = 1e-15;
/// Smallest square of an object's half-light radius before the seeing, in units of its observed square: radii measured at low SNR scatter.
const LEAST_EXTENT: f64 = 0.1;
/// Where the target's transform is below this, the forward model no longer amplifies what the estimate holds.
const MODEL_FLOOR: f32 = 1e-5;

/// One stamp to deconvolve.
#[derive(Debug, Clone, Copy)]
pub struct TikhonovInput<'a> {
    /// Observed pixels, sky subtracted, finite everywhere; (n, n).
    pub observed: &'a Plane,
    /// Effective PSF sampled on the target grid: odd square, centred on the central sample, unit sum.
    pub psf: &'a Plane,
    /// Object's 0-based position in stamp pixels: column, row.
    pub centre: (f64, f64),
    /// White-noise standard deviation per observed pixel, image units.
    pub sigma: f64,
    /// Object's flux as detected, image units; used by `LambdaRule::Bayes` only.
    pub flux: f64,
    /// Object's half-light radius as observed, detector pixels; used by the rules that look at the object's area.
    pub half_light_radius: f64,
}

/// Deconvolves with a workspace of its own; [`Workspace`] serves many stamps for less.
pub fn tikhonov(input: &TikhonovInput, factor: usize, settings: &DeconvSettings) -> Result<Deconvolved, DeconvError> {
    Workspace::default().tikhonov(input, factor, settings)
}

/// `S(K z)`: what the detector would show of an estimate `z` (side n * factor, centred object) with the object at `centre`, (n, n).
pub fn forward_model(
    z: &Plane,
    psf: &Plane,
    centre: (f64, f64),
    factor: usize,
    target_fwhm: f64,
) -> Result<Plane, DeconvError> {
    Workspace::default().forward_model(z, psf, centre, factor, target_fwhm)
}

/// What one worker keeps between stamps: tables and buffers for each grid it has met.
#[derive(Debug, Default)]
pub struct Workspace {
    grids: Vec<Deconvolver>,
}

impl Workspace {
    /// The deconvolver of a grid, made if it is new.
    pub fn grid(&mut self, n: usize, factor: usize, target_fwhm: f64) -> Result<&mut Deconvolver, DeconvError> {
        let at = match self.grids.iter().position(|g| g.n == n && g.factor == factor && g.target_fwhm == target_fwhm) {
            Some(i) => i,
            None => {
                self.grids.push(Deconvolver::new(n, factor, target_fwhm)?);
                self.grids.len() - 1
            }
        };
        Ok(&mut self.grids[at])
    }

    /// See [`Deconvolver::tikhonov`].
    pub fn tikhonov(
        &mut self,
        input: &TikhonovInput,
        factor: usize,
        settings: &DeconvSettings,
    ) -> Result<Deconvolved, DeconvError> {
        let n = square(input.observed)?;
        self.grid(n, factor, settings.target_fwhm)?.tikhonov(input, settings)
    }

    /// The estimates of the same stamp with `STRENGTH_RATIO` times less and more smoothing than `lambda`: (sharper, smoother).
    pub fn companions(
        &mut self,
        input: &TikhonovInput,
        factor: usize,
        settings: &DeconvSettings,
        lambda: f64,
    ) -> Result<(Deconvolved, Deconvolved), DeconvError> {
        let mut at = |lambda| {
            self.tikhonov(input, factor, &DeconvSettings { lambda: LambdaRule::Fixed { lambda }, ..settings.clone() })
        };
        Ok((at(lambda / STRENGTH_RATIO)?, at(lambda * STRENGTH_RATIO)?))
    }

    /// See [`Deconvolver::forward_model`].
    pub fn forward_model(
        &mut self,
        z: &Plane,
        psf: &Plane,
        centre: (f64, f64),
        factor: usize,
        target_fwhm: f64,
    ) -> Result<Plane, DeconvError> {
        let side = square(z)?;
        let n = side / factor.max(1);
        self.grid(n, factor, target_fwhm)?.forward_model(z, psf, centre)
    }
}

/// Tables and buffers for stamps of n x n detector pixels and one target grid.
#[derive(Debug)]
pub struct Deconvolver {
    n: usize,
    factor: usize,
    target_fwhm: f64,
    fine: Arc<Fft2>,
    coarse: Arc<Fft2>,
    scratch: FftScratch,
    /// G on the fine half spectrum.
    target: Vec<f32>,
    /// 1 / G^2 on the fine half spectrum.
    target_gain: Vec<f32>,
    /// reg / V on the fine half spectrum; empty for factor 1, where it is 1.
    omega: Vec<f32>,
    /// (G omega)^2 on the fine half spectrum; G^2 for factor 1.
    spread: Vec<f32>,
    taper: (f64, Vec<f32>),
    phase_x: Vec<Amplitude>,
    phase_y: Vec<Amplitude>,
    grid: Vec<f32>,
    /// H with the object's phase; later the estimate's spectrum.
    response: Vec<Amplitude>,
    observed: Vec<Amplitude>,
    /// Spectrum of the forward model and its adjoint.
    model: Vec<Amplitude>,
    /// sum_k |K_k|^2 on the coarse half spectrum.
    gain: Vec<f32>,
    /// sum_k |H_k|^2 (G_k omega_k)^2 on the coarse half spectrum: the output's share of the noise at q, times the denominator squared.
    noise: Vec<f32>,
    /// |H|^2 of the alias nearest to frequency 0 on the coarse half spectrum; for factor 1 it is `terms.num`.
    main: Vec<f32>,
    /// One column of the observed spectrum, divided.
    column: Vec<Amplitude>,
    /// num, reg and the risk's coefficients on the coarse half spectrum.
    terms: RiskTerms,
}

impl Deconvolver {
    /// For stamps of `n` x `n` detector pixels, a target grid `factor` times finer and a target FWHM in target pixels.
    pub fn new(n: usize, factor: usize, target_fwhm: f64) -> Result<Self, DeconvError> {
        if !(1..=4).contains(&factor) {
            return Err(DeconvError::Factor(factor));
        }
        if !target_fwhm.is_finite() || target_fwhm < 0.0 {
            return Err(DeconvError::TargetWidth(target_fwhm));
        }
        let side = n * factor;
        let (fine, coarse) = (plan(side, side)?, plan(n, n)?);
        let g: Vec<f64> =
            gaussian_half_spectrum(side, side, target_fwhm).into_iter().map(|v| v.max(TARGET_FLOOR)).collect();
        let penalty: Vec<f64> =
            laplacian_half_spectrum(side, side).iter().zip(&g).map(|(l, g)| (l * g).powi(2)).collect();
        let (coarse_len, fine_len) = (coarse.half_len(), fine.half_len());
        // What an alias's own penalty is compared with: the least among those that share an observed frequency.
        let mut reg = vec![f64::INFINITY; coarse_len];
        let folded = |k: usize| {
            let (qx, qy) = (k / side % n, k % side % n);
            if qx <= n / 2 { qx * n + qy } else { (n - qx) * n + (n - qy) % n }
        };
        for (k, v) in penalty.iter().enumerate() {
            let q = folded(k);
            reg[q] = reg[q].min(*v);
            // In the columns that hold both halves, the partner folds onto the partner.
            let (qx, qy) = (q / n, q % n);
            if qx == 0 || 2 * qx == n {
                let partner = qx * n + (n - qy) % n;
                reg[partner] = reg[partner].min(*v);
            }
        }
        let omega: Vec<f64> =
            penalty.iter().enumerate().map(|(k, v)| if *v > 0.0 { reg[folded(k)] / v } else { 1.0 }).collect();
        let f32s = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let mut terms = RiskTerms::default();
        terms.resize(coarse_len);
        terms.reg = f32s(&reg);
        Ok(Self {
            n,
            factor,
            target_fwhm,
            scratch: FftScratch::default(),
            target: f32s(&g),
            target_gain: g.iter().map(|v| (1.0 / (v * v)) as f32).collect(),
            spread: g.iter().zip(&omega).map(|(g, o)| (g * o).powi(2) as f32).collect(),
            omega: if factor == 1 { Vec::new() } else { f32s(&omega) },
            taper: (f64::NAN, Vec::new()),
            phase_x: vec![Amplitude::default(); side / 2 + 1],
            phase_y: vec![Amplitude::default(); side],
            grid: vec![0.0; side * side],
            response: vec![Amplitude::default(); fine_len],
            observed: vec![Amplitude::default(); coarse_len],
            model: Vec::new(),
            gain: vec![0.0; coarse_len],
            noise: vec![0.0; coarse_len],
            main: vec![0.0; coarse_len],
            column: vec![Amplitude::default(); n],
            terms,
            fine,
            coarse,
        })
    }

    /// Side of the target grid, pixels.
    pub fn side(&self) -> usize {
        self.n * self.factor
    }

    /// Loads H, with the phase that moves the object from `centre` to the middle of the target grid, into `self.response`.
    fn load_response(&mut self, psf: &Plane, centre: (f64, f64)) -> Result<(), DeconvError> {
        if !centre.0.is_finite() || !centre.1.is_finite() {
            return Err(DeconvError::Centre(centre.0, centre.1));
        }
        let side = self.side();
        embed_centred(psf, &mut self.grid, side, side)?;
        self.fine.forward(&self.grid, &mut self.response, &mut self.scratch)?;
        // Frequency 0 is the sum of the samples; a NaN anywhere is a NaN there.
        let sum = self.response.first().map_or(0.0, |h| f64::from(h.re));
        if !sum.is_finite() || sum <= 0.0 {
            return Err(DeconvError::Psf(sum));
        }
        let middle = (self.n / 2) as f64;
        shift_phases(side, self.factor as f64 * (centre.0 - middle), &mut self.phase_x);
        shift_phases(side, self.factor as f64 * (centre.1 - middle), &mut self.phase_y);
        for (column, px) in self.response.chunks_exact_mut(side).zip(&self.phase_x) {
            for (h, py) in column.iter_mut().zip(&self.phase_y) {
                *h *= px * py;
            }
        }
        Ok(())
    }

    /// Transforms the tapered observed pixels onto the coarse half spectrum.
    fn transform_observed(&mut self, observed: &Plane, taper: f64) -> Result<(), DeconvError> {
        let n = self.n;
        if self.taper.0 != taper {
            self.taper = (taper, cosine_taper(n, (taper.clamp(0.0, 0.5) * n as f64).round() as usize));
        }
        let profile = &self.taper.1;
        let grid = &mut self.grid[..n * n];
        for ((line, row), ty) in grid.chunks_exact_mut(n).zip(observed.rows()).zip(profile) {
            for ((out, v), tx) in line.iter_mut().zip(row).zip(profile) {
                *out = v * tx * ty;
            }
        }
        self.coarse.forward(grid, &mut self.observed, &mut self.scratch)?;
        Ok(())
    }

    /// Powers of the response, gathered over the aliases of each observed frequency: `num`, `gain`, `noise` and `main`.
    fn load_powers(&mut self) {
        let (n, side, s) = (self.n, self.side(), self.factor);
        if s == 1 {
            let tables = self.target_gain.iter().zip(&self.spread);
            let out = self.terms.num.iter_mut().zip(&mut self.gain).zip(&mut self.noise);
            for (((num, gain), noise), (h, (t, w))) in out.zip(self.response.iter().zip(tables)) {
                let power = h.norm_sqr();
                (*num, *gain, *noise) = (power, power * t, power * w);
            }
            return;
        }
        let (response, omega, target_gain, spread) = (&self.response, &self.omega, &self.target_gain, &self.spread);
        for qx in 0..=n / 2 {
            let of = qx * n..(qx + 1) * n;
            let num = &mut self.terms.num[of.clone()];
            let (gain, noise, main) = (&mut self.gain[of.clone()], &mut self.noise[of.clone()], &mut self.main[of]);
            num.fill(0.0);
            gain.fill(0.0);
            noise.fill(0.0);
            let mut add = |qy: usize, k: usize, is_main: bool| {
                let power = response[k].norm_sqr();
                num[qy] += power * omega[k];
                gain[qy] += power * target_gain[k];
                noise[qy] += power * spread[k];
                if is_main {
                    main[qy] = power;
                }
            };
            for mx in 0..s {
                let kx = qx + mx * n;
                for my in 0..s {
                    if kx <= side / 2 {
                        let first = kx * side + my * n;
                        for qy in 0..n {
                            add(qy, first + qy, mx == 0 && (if 2 * qy > n { my + 1 == s } else { my == 0 }));
                        }
                    } else {
                        // The half that is not kept: the partner at (-kx, -ky) has the same power.
                        let first = (side - kx) * side;
                        add(0, first + (side - my * n) % side, false);
                        for qy in 1..n {
                            add(qy, first + side - my * n - qy, false);
                        }
                    }
                }
            }
        }
    }

    /// Tikhonov estimate of one stamp with the strength the settings ask for.
    pub fn tikhonov(&mut self, input: &TikhonovInput, settings: &DeconvSettings) -> Result<Deconvolved, DeconvError> {
        let n = self.n;
        if input.observed.dim() != (n, n) {
            let (ny, nx) = input.observed.dim();
            return Err(DeconvError::Shape { ny, nx, what: format!("({n}, {n}) were planned for") });
        }
        self.load_response(input.psf, input.centre)?;
        self.transform_observed(input.observed, settings.taper)?;
        if !self.observed.first().is_some_and(|y| y.re.is_finite()) {
            return Err(DeconvError::NotFinite(input.observed.iter().filter(|v| !v.is_finite()).count()));
        }
        self.load_powers();
        let strength = self.choose(input, settings)?;
        let noise_gain = self.filter(strength.lambda as f32);
        let side = self.side();
        let mut image = Plane::zeros((side, side));
        if let Some(pixels) = image.as_slice_mut() {
            self.fine.inverse(&self.response, pixels, &mut self.scratch)?;
        }
        Ok(Deconvolved {
            image,
            lambda: strength.lambda,
            lambda_at_bound: strength.at_bound,
            noise_sigma: input.sigma * noise_gain.sqrt() / (self.factor * side) as f64,
        })
    }

    /// Turns `self.response` from H into the estimate's spectrum; returns `sum_k |F_k|^2` of the filter.
    fn filter(&mut self, lambda: f32) -> f64 {
        let (n, side) = (self.n, self.side());
        let mut total = 0.0f64;
        let inverse = &mut self.terms.square;
        let columns = inverse.chunks_exact_mut(n).zip(self.terms.num.chunks_exact(n));
        let tables = self.terms.reg.chunks_exact(n).zip(self.noise.chunks_exact(n));
        for (qx, ((inverse, num), (reg, noise))) in columns.zip(tables).enumerate() {
            for ((inverse, num), reg) in inverse.iter_mut().zip(num).zip(reg) {
                *inverse = 1.0 / (num + lambda * reg).max(f32::MIN_POSITIVE);
            }
            total += multiplicity(qx, n) * sum_of(inverse, noise, |i, v| i * i * v);
        }
        if self.factor == 1 {
            let known = self.observed.iter().zip(&self.target).zip(inverse.iter());
            for (h, ((y, g), inverse)) in self.response.iter_mut().zip(known) {
                *h = h.conj() * (y * (g * inverse));
            }
            return total;
        }
        for (kx, response) in self.response.chunks_exact_mut(side).enumerate() {
            let qx = kx % n;
            if qx <= n / 2 {
                let of = qx * n..(qx + 1) * n;
                for ((out, y), i) in self.column.iter_mut().zip(&self.observed[of.clone()]).zip(&inverse[of]) {
                    *out = y * i;
                }
            } else {
                let first = (n - qx) * n;
                for (qy, out) in self.column.iter_mut().enumerate() {
                    let q = first + (n - qy) % n;
                    *out = self.observed[q].conj() * inverse[q];
                }
            }
            let of = kx * side..(kx + 1) * side;
            let tables = self.target[of.clone()].chunks_exact(n).zip(self.omega[of].chunks_exact(n));
            for (response, (g, omega)) in response.chunks_exact_mut(n).zip(tables) {
                for ((h, y), (g, o)) in response.iter_mut().zip(&self.column).zip(g.iter().zip(omega)) {
                    *h = h.conj() * (y * (g * o));
                }
            }
        }
        total
    }

    fn choose(&mut self, input: &TikhonovInput, settings: &DeconvSettings) -> Result<Strength, DeconvError> {
        if let LambdaRule::Fixed { lambda } = settings.lambda {
            if !lambda.is_finite() || lambda < 0.0 {
                return Err(DeconvError::Lambda(lambda));
            }
            return Ok(Strength { lambda, at_bound: false });
        }
        if !input.sigma.is_finite() || input.sigma <= 0.0 {
            return Err(DeconvError::Noise(input.sigma));
        }
        let n2 = (self.n * self.n) as f64;
        // Powers are divided by the noise's, so that f32 serves whatever the image's unit; sums of unitary amplitudes.
        let unit = (1.0 / (n2 * input.sigma * input.sigma)) as f32;
        let mut functional = Functional::Risk;
        match settings.lambda {
            LambdaRule::Gcv => {
                functional = Functional::Gcv;
                self.each_column(|m, _, _, _, y, square, linear| {
                    for ((s, l), y) in square.iter_mut().zip(linear).zip(y) {
                        (*s, *l) = (m * y.norm_sqr() * unit, m);
                    }
                });
            }
            LambdaRule::SurePrediction | LambdaRule::Fixed { .. } => {
                self.each_column(|m, _, _, _, y, square, linear| {
                    for ((s, l), y) in square.iter_mut().zip(linear).zip(y) {
                        let power = y.norm_sqr() * unit;
                        (*s, *l) = (m * power, 2.0 * m * (1.0 - power));
                    }
                });
            }
            LambdaRule::SureProjection => {
                self.each_column(|m, _, gain, _, y, square, linear| {
                    for (((s, l), y), gain) in square.iter_mut().zip(linear).zip(y).zip(gain) {
                        let weight = risk_weight(m, *gain);
                        let power = y.norm_sqr() * unit;
                        (*s, *l) = (weight * power, 2.0 * weight * (1.0 - power));
                    }
                });
            }
            LambdaRule::Bayes { radii } => self.object_terms(input, radii, unit, false),
            LambdaRule::SureObject { radii } => self.object_terms(input, radii, unit, true),
        }
        Ok(self.terms.minimise(functional, settings.lambda_min, settings.lambda_max))
    }

    /// Calls `f(multiplicity, qx, gain, main, observed, square, linear)` for every column of the observed half spectrum.
    fn each_column(&mut self, mut f: impl FnMut(f32, usize, &[f32], &[f32], &[Amplitude], &mut [f32], &mut [f32])) {
        let n = self.n;
        let main = if self.factor == 1 { &self.terms.num } else { &self.main };
        let powers = self.gain.chunks_exact(n).zip(main.chunks_exact(n)).zip(self.observed.chunks_exact(n));
        let out = self.terms.square.chunks_exact_mut(n).zip(self.terms.linear.chunks_exact_mut(n));
        for (qx, (((gain, main), observed), (square, linear))) in powers.zip(out).enumerate() {
            f(multiplicity(qx, n) as f32, qx, gain, main, observed, square, linear);
        }
    }

    /// Terms of the risk within the object's area. The expected power of its light is that of an exponential disc of the given
    /// flux and size seen through the PSF; with `from_data`, the unbiased `|Y|^2 - sigma^2` replaces it where it stands above the noise.
    /// On a finer grid the alias nearest to frequency 0 stands for all of them.
    fn object_terms(&mut self, input: &TikhonovInput, radii: f64, unit: f32, from_data: bool) {
        let n = self.n;
        let radius = input.half_light_radius.max(1.0);
        let area = std::f64::consts::PI * (radii.max(0.1) * radius).powi(2);
        let noise = (area / (n * n) as f64).min(1.0) as f32;
        let psf_radius = self.psf_radius();
        let intrinsic = (radius * radius - psf_radius * psf_radius).max(LEAST_EXTENT * radius * radius).sqrt();
        // 1.67835 scale lengths hold half of an exponential disc's light; its transform is (1 + (2 pi nu r0)^2)^(-3/2).
        let scale = std::f64::consts::TAU * intrinsic / (1.678_346_99 * n as f64);
        let nu2: Vec<f32> = (0..n).map(|k| (if 2 * k > n { n - k } else { k } as f64 * scale).powi(2) as f32).collect();
        let flux2 = if input.flux.is_finite() { (input.flux * input.flux * f64::from(unit)) as f32 } else { 0.0 };
        let trust = if from_data { 1.0 } else { 0.0 };
        self.each_column(|m, qx, gain, main, observed, square, linear| {
            let across = 1.0 + nu2[qx];
            let known = gain.iter().zip(main).zip(observed.iter().zip(&nu2));
            for ((s, l), ((gain, main), (y, along))) in square.iter_mut().zip(linear).zip(known) {
                let spread = across + along;
                let expected = flux2 * main / (spread * spread * spread);
                let from_data = y.norm_sqr() * unit - 1.0 - expected;
                let signal = expected + trust * expected / (expected + 1.0) * from_data;
                let weight = risk_weight(m, *gain);
                (*s, *l) = (weight * (signal + noise), -2.0 * weight * signal);
            }
        });
    }

    /// Half-light radius of the PSF in detector pixels, as that of the Gaussian whose transform falls to 1/2 at the same frequency.
    fn psf_radius(&self) -> f64 {
        let side = self.side();
        let mut sum = 0.0;
        for axis in 0..2 {
            let at = |k: usize| f64::from(self.response[if axis == 0 { k } else { k * side }].norm());
            let mut k = 0;
            while k < self.n / 2 && at(k + 1) > 0.5 {
                k += 1;
            }
            let part = if k < self.n / 2 { (at(k) - 0.5) / (at(k) - at(k + 1)) } else { 0.0 };
            // sqrt(2 ln 2) in both, so that its square is 2 ln 2.
            sum += 2.0 * std::f64::consts::LN_2 * self.n as f64 / (std::f64::consts::TAU * (k as f64 + part).max(0.5));
        }
        0.5 * sum
    }

    /// `S(K z)` on the observed grid: see [`forward_model`].
    pub fn forward_model(&mut self, z: &Plane, psf: &Plane, centre: (f64, f64)) -> Result<Plane, DeconvError> {
        let side = self.side();
        if z.dim() != (side, side) {
            let (ny, nx) = z.dim();
            return Err(DeconvError::Shape { ny, nx, what: format!("({side}, {side}) were planned for") });
        }
        self.load_response(psf, centre)?;
        for (out, v) in self.grid.iter_mut().zip(z) {
            *out = *v;
        }
        let mut spectrum = std::mem::take(&mut self.model);
        spectrum.resize(self.fine.half_len(), Amplitude::default());
        let done = self.fine.forward(&self.grid, &mut spectrum, &mut self.scratch);
        for ((a, h), g) in spectrum.iter_mut().zip(&self.response).zip(&self.target) {
            *a *= h * model_inverse(*g);
        }
        let done = done.and_then(|()| self.fine.inverse(&spectrum, &mut self.grid, &mut self.scratch));
        self.model = spectrum;
        done?;
        let s = self.factor;
        let scale = (s * s) as f32;
        Ok(Plane::from_shape_fn((self.n, self.n), |(y, x)| scale * self.grid[(y * s) * side + x * s]))
    }

    /// A bound on the squared norm of the forward model `s^2 S K`: `s^2 max |K|^2`, sharp for factor 1 and for PSFs that hold no aliases.
    pub fn largest_gain(&mut self, psf: &Plane, centre: (f64, f64)) -> Result<f32, DeconvError> {
        self.load_response(psf, centre)?;
        let gains = self.response.iter().zip(&self.target).map(|(h, g)| h.norm_sqr() * model_inverse(*g).powi(2));
        // Decimation lets s^2 aliases meet; they never add up to more than s^2 of the largest.
        Ok(gains.fold(0.0f32, f32::max).max(f32::MIN_POSITIVE) * (self.factor * self.factor) as f32)
    }

    /// The adjoint of [`Deconvolver::forward_model`]: takes a plane of observed pixels, (n, n), to the target grid, such that
    /// `<r, S(K z)> = <adjoint(r), z>`.
    pub fn adjoint(&mut self, r: &Plane, psf: &Plane, centre: (f64, f64)) -> Result<Plane, DeconvError> {
        let (n, side) = (self.n, self.side());
        if r.dim() != (n, n) {
            let (ny, nx) = r.dim();
            return Err(DeconvError::Shape { ny, nx, what: format!("({n}, {n}) were planned for") });
        }
        self.load_response(psf, centre)?;
        let scale = (self.factor * self.factor) as f32;
        self.grid.fill(0.0);
        for (i, v) in r.iter().enumerate() {
            self.grid[(i / n * side + i % n) * self.factor] = *v * scale;
        }
        let mut spectrum = std::mem::take(&mut self.model);
        spectrum.resize(self.fine.half_len(), Amplitude::default());
        let done = self.fine.forward(&self.grid, &mut spectrum, &mut self.scratch);
        for ((a, h), g) in spectrum.iter_mut().zip(&self.response).zip(&self.target) {
            *a *= h.conj() * model_inverse(*g);
        }
        let mut out = Plane::zeros((side, side));
        let done = done.and_then(|()| match out.as_slice_mut() {
            Some(pixels) => self.fine.inverse(&spectrum, pixels, &mut self.scratch),
            None => Ok(()),
        });
        self.model = spectrum;
        done?;
        Ok(out)
    }
}

/// How often the amplitudes of a half spectrum's column count in a sum over the whole spectrum.
fn multiplicity(qx: usize, n: usize) -> f64 {
    if qx == 0 || 2 * qx == n { 1.0 } else { 2.0 }
}

/// Weight of an observed frequency in the target image's risk: 1 / sum |K|^2, and none where nothing came through.
fn risk_weight(m: f32, gain: f32) -> f32 {
    if gain >= GAIN_FLOOR { m / gain } else { 0.0 }
}

/// Sum of `f(a, b)`; in f32 over lanes, so that the processor can take several at a time.
fn sum_of(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(*a, *b);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(f(*a, *b))).sum();
    rest + lanes.iter().map(|v| f64::from(*v)).sum::<f64>()
}

/// `1 / G` as the forward model takes it: amplification ends where the target holds nothing.
fn model_inverse(g: f32) -> f32 {
    g / (g * g + MODEL_FLOOR * MODEL_FLOOR)
}

fn square(plane: &Plane) -> Result<usize, DeconvError> {
    match plane.dim() {
        (ny, nx) if ny == nx && ny > 0 => Ok(ny),
        (ny, nx) => Err(DeconvError::Shape { ny, nx, what: "a square one is needed".into() }),
    }
}
