//! One star's pixels, and the linearised fit of one star.

use super::profile::{Frame, ResidualBasis, Shape};
use super::table::RadialTable;

/// What besides the core's parameters a star is linearised in.
#[derive(Clone, Copy)]
pub(super) enum Columns<'a> {
    /// Nothing.
    Core,
    /// Every coefficient of the residual's basis.
    Basis,
    /// The strengths of some functions in that basis.
    Modes(&'a RadialTable),
}

/// What became of a source in the star selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum StarStatus {
    /// In the fit.
    Used,
    /// Kept out of the fit to score it.
    Reserved,
    /// Not a usable star.
    Rejected(Rejection),
}

/// Why a source is no PSF star.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Rejection {
    /// Signal-to-noise ratio below the limit.
    Faint,
    /// Saturated or beyond the linear range.
    Saturated,
    /// Too near the image's edge.
    Edge,
    /// Unusable pixels in its core, or too many in its stamp.
    BadPixels,
    /// A neighbour too near or too bright.
    Crowded,
    /// Moments or fit did not converge.
    Unmeasurable,
    /// Sharper than the PSF: cosmic ray or hot pixel.
    TooSharp,
    /// More extended than the PSF: a galaxy or blend.
    Extended,
    /// Too faint to be told from a small galaxy.
    Ambiguous,
    /// Shape unlike the PSF at its position.
    Shape,
    /// Residuals against the PSF are not noise.
    ChiSquare,
    /// Taken out by the given list.
    NotListed,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Faint,
        Self::Saturated,
        Self::Edge,
        Self::BadPixels,
        Self::Crowded,
        Self::Unmeasurable,
        Self::TooSharp,
        Self::Extended,
        Self::Ambiguous,
        Self::Shape,
        Self::ChiSquare,
        Self::NotListed,
    ];

    /// Word in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faint => "faint",
            Self::Saturated => "saturated",
            Self::Edge => "edge",
            Self::BadPixels => "bad_pixels",
            Self::Crowded => "crowded",
            Self::Unmeasurable => "unmeasurable",
            Self::TooSharp => "too_sharp",
            Self::Extended => "extended",
            Self::Ambiguous => "ambiguous",
            Self::Shape => "shape",
            Self::ChiSquare => "chi_square",
            Self::NotListed => "not_listed",
        }
    }
}

/// A star candidate's stamp and its current fit.
#[derive(Debug, Clone)]
pub(super) struct Star {
    /// Index into the sources.
    pub(super) source: usize,
    /// 0-based detector column and row of the stamp's central pixel.
    pub(super) origin: (isize, isize),
    /// Half side: the stamp is 2 * half + 1 pixels wide.
    pub(super) half: usize,
    pub(super) pixels: Vec<f32>,
    /// Variance without the source's own Poisson noise; infinite where the pixel is not used.
    pub(super) variance: Vec<f32>,
    /// Fitted flux, image units.
    pub(super) flux: f64,
    /// Fitted centre relative to `origin`, pixels.
    pub(super) centre: (f64, f64),
    /// Fitted residual sky, image units per pixel.
    pub(super) sky: f64,
    /// Fitted residual sky in units of the pixel noise, and its error.
    pub(super) sky_in_sigma: (f64, f64),
    /// Signal-to-noise ratio of the fitted flux.
    pub(super) snr: f64,
    /// Reduced chi-square against the model.
    pub(super) chi2: f64,
    /// Adaptive size T measured before there was a model, square pixels.
    pub(super) size: f64,
    /// Adaptive distortion measured before there was a model.
    pub(super) distortion: (f64, f64),
    pub(super) status: StarStatus,
    /// Chosen to be kept out of the fit, if it passes as a star.
    pub(super) reserved: bool,
}

impl Star {
    pub(super) fn position(&self) -> (f64, f64) {
        (self.origin.0 as f64 + self.centre.0, self.origin.1 as f64 + self.centre.1)
    }

    pub(super) fn side(&self) -> usize {
        2 * self.half + 1
    }
}

/// Columns of a star's linearised model before the residual's coefficients.
pub(super) const NUISANCE: usize = 4; // flux, x, y, sky
/// ln scale, shear 1, shear 2, beta.
pub(super) const CORE: usize = 4;
const HEAD: usize = NUISANCE + CORE;

/// How a star's pixels are weighted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighting {
    /// Share of the model's value added to the noise in quadrature.
    pub(super) model_error: f64,
    /// Image units squared per image unit: the model's Poisson noise (0: none).
    pub(super) poisson: f64,
    /// Pixels further than this many sigma above the model are left out (0: none).
    pub(super) clip: f64,
    /// Prior mean and sigma of a star's residual sky in units of the pixel noise.
    pub(super) sky_prior: (f64, f64),
}

/// Gauss-Newton information of one star about the PSF's parameters, its own flux, centre and sky marginalised.
#[derive(Debug, Clone)]
pub(super) struct Information {
    /// Number of PSF parameters: core, then residual coefficients.
    pub(super) n: usize,
    /// Fisher matrix, row-major.
    pub(super) fisher: Vec<f64>,
    /// Score: fisher^-1 score is the star's own Gauss-Newton step.
    pub(super) score: Vec<f64>,
    /// chi-square at the current parameters with the star's own parameters refitted.
    pub(super) chi2: f64,
    /// Pixels used.
    pub(super) pixels: usize,
    /// Pixels clipped within one scale radius x 2 of the centre.
    pub(super) clipped_core: usize,
}

/// The model at a star's position.
pub(super) struct LocalModel<'a> {
    pub(super) shape: Shape,
    pub(super) beta: f64,
    pub(super) residual: Option<(&'a ResidualBasis, &'a [f64])>,
}

/// Linearises the star's model, refits flux, centre and sky (a full Gauss-Newton step on these), and returns the
/// information about the core's parameters and, as `columns` says, about the residual.
pub(super) fn linearise(
    star: &mut Star,
    model: &LocalModel<'_>,
    weighting: &Weighting,
    columns: Columns<'_>,
) -> Option<Information> {
    // A new star's own parameters settle in a few steps; a known one needs a single pass, whose step serves the next.
    let steps = if star.flux > 0.0 { 1 } else { 3 };
    let mut info = None;
    for step in 0..steps {
        let (i, own) = accumulate(star, model, weighting, if step + 1 == steps { columns } else { Columns::Core })?;
        star.flux += own[0];
        star.centre.0 += own[1].clamp(-0.5, 0.5);
        star.centre.1 += own[2].clamp(-0.5, 0.5);
        star.sky += own[3];
        if !(star.flux.is_finite() && star.flux > 0.0 && star.centre.0.abs() < 3.0 && star.centre.1.abs() < 3.0) {
            return None;
        }
        info = Some(i);
    }
    info
}

fn accumulate(
    star: &mut Star,
    model: &LocalModel<'_>,
    weighting: &Weighting,
    columns: Columns<'_>,
) -> Option<(Information, [f64; NUISANCE])> {
    let frame = Frame::new(&model.shape, model.beta);
    let basis = model.residual.map(|(b, _)| *b);
    let extra = match columns {
        Columns::Core => 0,
        Columns::Basis => basis.map_or(0, |b| b.len()),
        Columns::Modes(table) => table.len(),
    };
    let angular = basis.map_or(0, |b| b.angular());
    let n = HEAD + extra;
    let mut matrix = vec![0.0f64; n * n];
    let mut right = vec![0.0f64; n];
    let mut chi2 = 0.0;
    let (mut pixels, mut clipped_core) = (0usize, 0usize);
    let side = star.side();
    let half = star.half as f64;
    let flux = star.flux;
    let mut block = vec![0.0f64; 4 * angular.max(1)];
    let mut modes = vec![0.0f64; extra];
    let (mut noise, mut matched) = (0.0, 0.0);
    let first_pass = flux <= 0.0;
    for j in 0..side {
        let uy = j as f64 - half - star.centre.1;
        for i in 0..side {
            let p = j * side + i;
            let base = f64::from(star.variance[p]);
            if !base.is_finite() {
                continue;
            }
            let ux = i as f64 - half - star.centre.0;
            let core = frame.core(ux, uy);
            let (x, y) = frame.core_frame(ux, uy);
            let at = basis.as_ref().and_then(|b| b.at(x, y, frame.amplitude));
            let (mut value, mut gx, mut gy) = (core.value, core.grad.0, core.grad.1);
            let (mut radial, mut plus, mut cross) = (core.radial, core.plus, core.cross);
            if let (Some((b, c)), Some(v)) = (model.residual, &at) {
                let (f, fx, fy) = b.value(v, c);
                value += f;
                gx += fx;
                gy += fy;
                radial += x * fx + y * fy;
                plus += x * fx - y * fy;
                cross += y * fx + x * fy;
            }
            let r = f64::from(star.pixels[p]) - star.sky - flux * value;
            let expected = (flux * value).max(0.0);
            let variance = base + weighting.poisson * expected + (weighting.model_error * expected).powi(2);
            if weighting.clip > 0.0 {
                let loose = variance + (0.05 * expected).powi(2);
                if r * r > weighting.clip * weighting.clip * loose {
                    if x * x + y * y < 1.0 {
                        clipped_core += 1;
                    }
                    continue;
                }
            }
            let w = 1.0 / variance;
            pixels += 1;
            noise += base;
            matched += value * value / (base + weighting.poisson * expected);
            chi2 += w * r * r;
            let scale = if first_pass { 1.0 } else { flux };
            let head = [
                value,
                -scale * (frame.a11 * gx + frame.a12 * gy),
                -scale * (frame.a12 * gx + frame.a22 * gy),
                1.0,
                -scale * (radial + 2.0 * value),
                -scale * plus,
                -scale * cross,
                scale * core.beta,
            ];
            for a in 0..HEAD {
                let wa = w * head[a];
                right[a] += wa * r;
                let row = &mut matrix[a * n..a * n + a + 1];
                for (m, h) in row.iter_mut().zip(&head) {
                    *m += wa * h;
                }
            }
            if let Columns::Modes(table) = columns {
                let modes = &mut modes[..extra];
                if table.values(x, y, modes) {
                    let factor = scale * frame.amplitude;
                    modes.iter_mut().for_each(|m| *m *= factor);
                    for k in 0..extra {
                        let wk = w * modes[k];
                        right[HEAD + k] += wk * r;
                        let row = &mut matrix[(HEAD + k) * n..(HEAD + k) * n + HEAD + k + 1];
                        for (m, h) in row[..HEAD].iter_mut().zip(&head) {
                            *m += wk * h;
                        }
                        for (m, h) in row[HEAD..].iter_mut().zip(&modes[..k + 1]) {
                            *m += wk * h;
                        }
                    }
                }
            } else if extra > 0
                && let (Some(b), Some(v)) = (basis.as_ref(), &at)
            {
                let count = (b.radial - v.first).min(4) * angular;
                for (k, value) in block.iter_mut().enumerate().take(count) {
                    *value = scale * v.radial[k / angular] * v.angular[k % angular];
                }
                let start = HEAD + v.first * angular;
                for k in 0..count {
                    let wk = w * block[k];
                    right[start + k] += wk * r;
                    let row = &mut matrix[(start + k) * n..(start + k) * n + start + k + 1];
                    for (m, h) in row[..HEAD].iter_mut().zip(&head) {
                        *m += wk * h;
                    }
                    for (m, h) in row[start..].iter_mut().zip(&block[..k + 1]) {
                        *m += wk * h;
                    }
                }
            }
        }
    }
    if pixels < 12 {
        return None;
    }
    let unit = (noise / pixels as f64).sqrt();
    let sky_prior = weighting.sky_prior.1 * unit;
    matrix[3 * n + 3] += 1.0 / (sky_prior * sky_prior);
    right[3] -= (star.sky - weighting.sky_prior.0 * unit) / (sky_prior * sky_prior);
    if first_pass {
        // No flux yet: flux and sky alone.
        let (a, b, c) = (matrix[0], matrix[3 * n], matrix[3 * n + 3]);
        let det = a * c - b * b;
        if !(det > 0.0) {
            return None;
        }
        let own = [(c * right[0] - b * right[3]) / det, 0.0, 0.0, (a * right[3] - b * right[0]) / det];
        return Some((Information { n: 0, fisher: vec![], score: vec![], chi2, pixels, clipped_core }, own));
    }
    star.snr = flux * matched.sqrt();
    star.sky_in_sigma = (star.sky / unit, 1.0 / (matrix[3 * n + 3].sqrt() * unit));
    eliminate(n, &mut matrix, &mut right, chi2, pixels, clipped_core)
}

/// Schur complement on the first four columns.
#[allow(clippy::too_many_arguments)]
fn eliminate(
    n: usize,
    matrix: &mut [f64],
    right: &mut [f64],
    chi2: f64,
    pixels: usize,
    clipped_core: usize,
) -> Option<(Information, [f64; NUISANCE])> {
    let mut own_matrix = vec![0.0; NUISANCE * NUISANCE];
    for a in 0..NUISANCE {
        own_matrix[a * NUISANCE..a * NUISANCE + a + 1].copy_from_slice(&matrix[a * n..a * n + a + 1]);
    }
    let factor = super::linalg::Cholesky::new(NUISANCE, own_matrix)?;
    let mut own = [right[0], right[1], right[2], right[3]];
    let mut half_own = own;
    factor.forward(&mut half_own);
    let chi2 = chi2 - half_own.iter().map(|v| v * v).sum::<f64>();
    let m = n - NUISANCE;
    // Rows L^-1 C of the coupling.
    let mut coupling = vec![0.0; m * NUISANCE];
    for a in 0..m {
        let row = &mut coupling[a * NUISANCE..(a + 1) * NUISANCE];
        row.copy_from_slice(&matrix[(a + NUISANCE) * n..(a + NUISANCE) * n + NUISANCE]);
        factor.forward(row);
    }
    let mut fisher = vec![0.0; m * m];
    let mut score = vec![0.0; m];
    for a in 0..m {
        let ca = &coupling[a * NUISANCE..(a + 1) * NUISANCE];
        score[a] = right[a + NUISANCE] - ca.iter().zip(&half_own).map(|(x, y)| x * y).sum::<f64>();
        for b in 0..=a {
            let cb = &coupling[b * NUISANCE..(b + 1) * NUISANCE];
            let v = matrix[(a + NUISANCE) * n + b + NUISANCE]
                - (ca[0] * cb[0] + ca[1] * cb[1] + ca[2] * cb[2] + ca[3] * cb[3]);
            fisher[a * m + b] = v;
            fisher[b * m + a] = v;
        }
    }
    factor.solve(&mut own);
    Some((Information { n: m, fisher, score, chi2, pixels, clipped_core }, own))
}

/// How well a star's core agrees with the model, its own parameters held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// Mean chi-square per pixel.
    pub(super) chi2: f64,
    /// Gaussian ln likelihood of the pixels, those beyond 5 sigma held there.
    pub(super) ln_likelihood: f64,
}

/// Agreement within two FWHM or so of the star's centre; `None` where fewer than 9 pixels are usable.
pub(super) fn agreement(star: &Star, model: &LocalModel<'_>, weighting: &Weighting) -> Option<Agreement> {
    let frame = Frame::new(&model.shape, model.beta);
    let table = model.residual.map(|(b, c)| (RadialTable::new(b, &[c]), frame.amplitude));
    let side = star.side();
    let half = star.half as f64;
    let (mut chi2, mut ln_likelihood, mut count) = (0.0, 0.0, 0usize);
    for p in 0..side * side {
        let base = f64::from(star.variance[p]);
        if !base.is_finite() {
            continue;
        }
        let (ux, uy) = ((p % side) as f64 - half - star.centre.0, (p / side) as f64 - half - star.centre.1);
        let (x, y) = frame.core_frame(ux, uy);
        if x * x + y * y > CORE_AREA {
            continue;
        }
        let value = frame.core(ux, uy).value + table.as_ref().map_or(0.0, |(t, a)| a * t.value(x, y));
        let expected = (star.flux * value).max(0.0);
        let r = f64::from(star.pixels[p]) - star.sky - star.flux * value;
        let variance = base + weighting.poisson * expected + (weighting.model_error * expected).powi(2);
        chi2 += r * r / variance;
        ln_likelihood -= 0.5 * (variance.ln() + (r * r / variance).min(25.0));
        count += 1;
    }
    (count >= 9).then(|| Agreement { chi2: chi2 / count as f64, ln_likelihood })
}

/// Squared core-frame radius of the area where a model's error shows.
const CORE_AREA: f64 = 6.0;
