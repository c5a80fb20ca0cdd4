//! The Tikhonov step in closed form, on the detector's grid or a finer one, and its forward model.
//!
//! Per observed frequency q with its `s^2` aliases k (frequencies of the target grid that decimation folds onto q):
//! `Y_q = sum_k K_k Z_k + noise`, penalty `lambda sum_k |L_k Z_k|^2`, `K = H / G`. With `V_k = |L_k G_k|^2` the minimiser is
//! `Z_k = G_k conj(H_k) omega_k Y_q / (num_q + lambda reg_q)`, `reg_q = min_k V_k`, `omega_k = reg_q / V_k`, `num_q = sum_k |H_k|^2 omega_k`.
//! Written so, the alias at frequency 0, where V = 0, needs no case of its own: `omega` is 1 for it and 0 for its companions.

use std::sync::Arc;

use super::strength::{Functional, RiskTerms, Strength};
use super::{DeconvError, DeconvSettings, Deconvolved, LambdaRule, cosine_taper};
use crate::fourier::{
    Amplitude, Fft2, FftScratch, embed_centred, gaussian_half_spectrum, half_multiplicity, laplacian_half_spectrum,
    plan, shift_phases,
};
use crate::image::Plane;

/// Below this the squared gain of a frequency counts as none in the projection risk (classical definition).
const GAIN_FLOOR: f32 = 1e-12;
/// Smallest value of the target Gaussian's transform that is told from 0.
const TARGET_FLOOR: f64 = 1e-15;
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
    /// V = |L G|^2 on the fine half spectrum.
    penalty: Vec<f32>,
    /// reg / V on the fine half spectrum; empty for factor 1, where it is 1.
    omega: Vec<f32>,
    /// For each fine amplitude, the coarse one it folds onto and whether that is to be conjugated; empty for factor 1.
    folds: Vec<(u32, bool)>,
    fine_multiplicity: Vec<f32>,
    coarse_multiplicity: Vec<f32>,
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
        let mut made = Self {
            n,
            factor,
            target_fwhm,
            scratch: FftScratch::default(),
            target: g.iter().map(|v| *v as f32).collect(),
            penalty: penalty.iter().map(|v| *v as f32).collect(),
            omega: Vec::new(),
            folds: Vec::new(),
            fine_multiplicity: half_multiplicity(side, side).collect(),
            coarse_multiplicity: half_multiplicity(n, n).collect(),
            taper: (f64::NAN, Vec::new()),
            phase_x: vec![Amplitude::default(); side / 2 + 1],
            phase_y: vec![Amplitude::default(); side],
            grid: vec![0.0; side * side],
            response: vec![Amplitude::default(); fine_len],
            observed: vec![Amplitude::default(); coarse_len],
            model: Vec::new(),
            gain: vec![0.0; coarse_len],
            terms: RiskTerms::default(),
            fine,
            coarse,
        };
        made.terms.resize(coarse_len);
        if factor == 1 {
            made.terms.reg.copy_from_slice(&made.penalty);
        } else {
            let mut reg = vec![f64::INFINITY; coarse_len];
            made.each_alias(|q, k| reg[q] = reg[q].min(penalty[k]));
            for (out, v) in made.terms.reg.iter_mut().zip(&reg) {
                *out = *v as f32;
            }
            made.folds = made.fold_table();
            made.omega = made
                .folds
                .iter()
                .zip(&penalty)
                .map(|((q, _), v)| if *v > 0.0 { (reg[*q as usize] / v) as f32 } else { 1.0 })
                .collect();
        }
        Ok(made)
    }

    /// Side of the target grid, pixels.
    pub fn side(&self) -> usize {
        self.n * self.factor
    }

    /// Calls `f(q, k)` for every amplitude q of the coarse half spectrum and every fine amplitude k that folds onto it
    /// (by its stored partner where k itself lies in the half that is not kept).
    fn each_alias(&self, mut f: impl FnMut(usize, usize)) {
        let (n, side) = (self.n, self.side());
        for qx in 0..=n / 2 {
            for qy in 0..n {
                for mx in 0..self.factor {
                    for my in 0..self.factor {
                        let (kx, ky) = (qx + mx * n, qy + my * n);
                        let (kx, ky) = if kx <= side / 2 { (kx, ky) } else { (side - kx, (side - ky) % side) };
                        f(qx * n + qy, kx * side + ky);
                    }
                }
            }
        }
    }

    fn fold_table(&self) -> Vec<(u32, bool)> {
        let (n, side) = (self.n, self.side());
        let mut table = Vec::with_capacity(self.fine.half_len());
        for kx in 0..=side / 2 {
            for ky in 0..side {
                let (qx, qy) = (kx % n, ky % n);
                table.push(if qx <= n / 2 {
                    ((qx * n + qy) as u32, false)
                } else {
                    (((n - qx) * n + (n - qy) % n) as u32, true)
                });
            }
        }
        table
    }

    /// Loads H, with the phase that moves the object from `centre` to the middle of the target grid, into `self.response`.
    fn load_response(&mut self, psf: &Plane, centre: (f64, f64)) -> Result<(), DeconvError> {
        let sum: f64 = psf.iter().map(|v| f64::from(*v)).sum();
        if !sum.is_finite() || sum <= 0.0 {
            return Err(DeconvError::Psf(sum));
        }
        if !centre.0.is_finite() || !centre.1.is_finite() {
            return Err(DeconvError::Centre(centre.0, centre.1));
        }
        let side = self.side();
        embed_centred(psf, &mut self.grid, side, side)?;
        self.fine.forward(&self.grid, &mut self.response, &mut self.scratch)?;
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

    /// `num` of the terms, and the squared gain `sum |K|^2` of each observed frequency if it is asked for.
    fn load_gains(&mut self, with_gain: bool) {
        let (response, omega, target) = (&self.response, &self.omega, &self.target);
        if self.factor == 1 {
            for (num, h) in self.terms.num.iter_mut().zip(response) {
                *num = h.norm_sqr();
            }
            if with_gain {
                for ((gain, num), g) in self.gain.iter_mut().zip(&self.terms.num).zip(target) {
                    *gain = num / (g * g);
                }
            }
            return;
        }
        let mut num = std::mem::take(&mut self.terms.num);
        let mut gain = std::mem::take(&mut self.gain);
        num.fill(0.0);
        gain.fill(0.0);
        self.each_alias(|q, k| {
            let power = response[k].norm_sqr();
            num[q] += power * omega[k];
            gain[q] += power / (target[k] * target[k]);
        });
        self.terms.num = num;
        self.gain = gain;
    }

    /// Tikhonov estimate of one stamp with the strength the settings ask for.
    pub fn tikhonov(&mut self, input: &TikhonovInput, settings: &DeconvSettings) -> Result<Deconvolved, DeconvError> {
        let n = self.n;
        if input.observed.dim() != (n, n) {
            let (ny, nx) = input.observed.dim();
            return Err(DeconvError::Shape { ny, nx, what: format!("({n}, {n}) were planned for") });
        }
        let bad = input.observed.iter().filter(|v| !v.is_finite()).count();
        if bad > 0 {
            return Err(DeconvError::NotFinite(bad));
        }
        self.load_response(input.psf, input.centre)?;
        self.transform_observed(input.observed, settings.taper)?;
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
        let n = self.n;
        // Y / (num + lambda reg), once per observed frequency; the denominators are kept for the noise.
        let inverse = &mut self.terms.square;
        for (((inverse, y), num), reg) in
            inverse.iter_mut().zip(&mut self.observed).zip(&self.terms.num).zip(&self.terms.reg)
        {
            *inverse = 1.0 / (num + lambda * reg).max(f32::MIN_POSITIVE);
            *y *= *inverse;
        }
        let mut total = 0.0f64;
        if self.factor == 1 {
            let columns =
                self.response.chunks_exact_mut(n).zip(self.observed.chunks_exact(n)).zip(self.target.chunks_exact(n));
            for (((column, y), g), (inv, m)) in
                columns.zip(inverse.chunks_exact(n).zip(self.fine_multiplicity.chunks_exact(n)))
            {
                let mut sum = 0.0f32;
                for ((h, y), (g, inv)) in column.iter_mut().zip(y).zip(g.iter().zip(inv)) {
                    let f = h.conj() * g;
                    sum += f.norm_sqr() * inv * inv;
                    *h = f * y;
                }
                total += f64::from(sum * m.first().copied().unwrap_or(1.0));
            }
            return total;
        }
        for (k, h) in self.response.iter_mut().enumerate() {
            let (q, conjugate) = self.folds[k];
            let q = q as usize;
            let y = if conjugate { self.observed[q].conj() } else { self.observed[q] };
            let f = h.conj() * (self.target[k] * self.omega[k]);
            total += f64::from(self.fine_multiplicity[k] * f.norm_sqr() * inverse[q] * inverse[q]);
            *h = f * y;
        }
        total
    }

    fn choose(&mut self, input: &TikhonovInput, settings: &DeconvSettings) -> Result<Strength, DeconvError> {
        if let LambdaRule::Fixed { lambda } = settings.lambda {
            if !lambda.is_finite() || lambda < 0.0 {
                return Err(DeconvError::Lambda(lambda));
            }
            self.load_gains(false);
            return Ok(Strength { lambda, at_bound: false });
        }
        if !input.sigma.is_finite() || input.sigma <= 0.0 {
            return Err(DeconvError::Noise(input.sigma));
        }
        let n2 = (self.n * self.n) as f64;
        // Powers are divided by the noise's, so that f32 serves whatever the image's unit; sums of unitary amplitudes.
        let unit = (1.0 / (n2 * input.sigma * input.sigma)) as f32;
        let mut functional = Functional::Risk;
        let projection = !matches!(settings.lambda, LambdaRule::SurePrediction | LambdaRule::Gcv);
        self.load_gains(projection);
        match settings.lambda {
            LambdaRule::Gcv => {
                functional = Functional::Gcv;
                let terms = self.terms.square.iter_mut().zip(&mut self.terms.linear);
                for (((square, linear), y), m) in terms.zip(&self.observed).zip(&self.coarse_multiplicity) {
                    *square = m * y.norm_sqr() * unit;
                    *linear = *m;
                }
            }
            LambdaRule::SurePrediction => {
                let terms = self.terms.square.iter_mut().zip(&mut self.terms.linear);
                for (((square, linear), y), m) in terms.zip(&self.observed).zip(&self.coarse_multiplicity) {
                    let power = y.norm_sqr() * unit;
                    *square = m * power;
                    *linear = 2.0 * m * (1.0 - power);
                }
            }
            LambdaRule::SureProjection | LambdaRule::Fixed { .. } => {
                let terms = self.terms.square.iter_mut().zip(&mut self.terms.linear);
                for (((square, linear), y), (m, gain)) in
                    terms.zip(&self.observed).zip(self.coarse_multiplicity.iter().zip(&self.gain))
                {
                    let weight = if *gain >= GAIN_FLOOR { m / gain } else { 0.0 };
                    let power = y.norm_sqr() * unit;
                    *square = weight * power;
                    *linear = 2.0 * weight * (1.0 - power);
                }
            }
            LambdaRule::Bayes { radii } => self.object_terms(input, radii, unit, false),
            LambdaRule::SureObject { radii } => self.object_terms(input, radii, unit, true),
        }
        Ok(self.terms.minimise(functional, settings.lambda_min, settings.lambda_max))
    }

    /// Terms of the risk within the object's area. The expected power of its light is that of an exponential disc of the given
    /// flux and size seen through the PSF; with `from_data`, the unbiased `|Y|^2 - sigma^2` replaces it where it stands above the noise.
    fn object_terms(&mut self, input: &TikhonovInput, radii: f64, unit: f32, from_data: bool) {
        let n = self.n;
        let side = self.side();
        let radius = input.half_light_radius.max(1.0);
        let area = std::f64::consts::PI * (radii.max(0.1) * radius).powi(2);
        let noise = (area / (n * n) as f64).min(1.0) as f32;
        let psf_radius = self.psf_radius();
        let intrinsic = (radius * radius - psf_radius * psf_radius).max(0.1 * radius * radius).sqrt();
        // 1.67835 scale lengths hold half of an exponential disc's light; its transform is (1 + (2 pi nu r0)^2)^(-3/2).
        let scale = std::f64::consts::TAU * intrinsic / (1.678_346_99 * n as f64);
        let nu2: Vec<f32> = (0..n).map(|k| (if 2 * k > n { n - k } else { k } as f64 * scale).powi(2) as f32).collect();
        let flux2 = (input.flux * input.flux) as f32 * unit;
        for qx in 0..=n / 2 {
            for qy in 0..n {
                let q = qx * n + qy;
                let (m, gain) = (self.coarse_multiplicity[q], self.gain[q]);
                // The main alias holds nearly all of the PSF's power on a finer grid.
                let fine_y = if 2 * qy > n { side - n + qy } else { qy };
                let psf_power = self.response[qx * side + fine_y].norm_sqr();
                let spread = 1.0 + nu2[qx] + nu2[qy];
                let mut signal = flux2 * psf_power / (spread * spread * spread);
                if from_data {
                    let trust = signal / (signal + 1.0);
                    signal += trust * (self.observed[q].norm_sqr() * unit - 1.0 - signal);
                }
                let weight = if gain >= GAIN_FLOOR { m / gain } else { 0.0 };
                self.terms.square[q] = weight * (signal + noise);
                self.terms.linear[q] = -2.0 * weight * signal;
            }
        }
    }

    /// Half-light radius of the PSF in detector pixels, as that of the Gaussian whose transform falls to 1/2 at the same frequency.
    fn psf_radius(&self) -> f64 {
        let side = self.side();
        let mut sum = 0.0;
        for axis in 0..2 {
            let at = |k: usize| f64::from(self.response[if axis == 0 { k } else { k * side }].norm());
            let mut k = 0;
            while k + 1 <= self.n / 2 && at(k + 1) > 0.5 {
                k += 1;
            }
            let part = if k + 1 <= self.n / 2 { (at(k) - 0.5) / (at(k) - at(k + 1)) } else { 0.0 };
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
