//! The fit: candidates, a constant model, rising order with outlier rejection, classification of every candidate with
//! the fitted PSF itself, residual, random field, validation.

use super::evidence::{OrderPrior, Sample, order_prior};
use super::kriging::{Kriging, fit_field};
use super::native::NativeModel;
use super::select::{Candidates, candidates, size_locus};
use super::solve::{BETA_CENTRE, Joint, own_shape, with_nugget};
use super::spatial::{Domain, term_count};
use super::star::{Columns, Information, LocalModel, Rejection, Star, StarStatus, Weighting, linearise};
use super::verdict::reserve;
use super::{PsfError, PsfInput, PsfModel, PsfSettings};

/// State of a running fit.
pub(super) struct Fitter<'a> {
    pub(super) settings: &'a PsfSettings,
    pub(super) model: NativeModel,
    pub(super) weighting: Weighting,
    /// Variance of ln scale, g1, g2 between stars that the model does not follow.
    pub(super) nugget: [f64; 3],
    /// How ln scale, g1, g2 vary over the field.
    pub(super) shape_prior: [OrderPrior; 3],
    /// Median reduced chi-square of used stars: by how much the noise plane is off.
    pub(super) noise_scale: f64,
    pub(super) notes: Vec<String>,
    /// Poisson noise by the gain, image units squared per image unit, where the variance plane shows none.
    pub(super) poisson_of_gain: Option<f64>,
    /// By how much the model is off the brighter stars, as a share of its value per pixel.
    pub(super) misfit: f64,
    /// The stars were listed: no selection by size.
    pub(super) listed: bool,
    /// The fallback taken, in words.
    pub(super) fallback: Option<String>,
}

impl Fitter<'_> {
    pub(super) fn local<'m>(
        &self,
        model: &'m NativeModel,
        position: (f64, f64),
        residual: &'m Option<(&'m super::profile::ResidualBasis, Vec<f64>)>,
    ) -> LocalModel<'m> {
        LocalModel {
            shape: model.shape(position.0, position.1),
            beta: model.beta,
            residual: residual.as_ref().map(|(b, c)| (*b, c.as_slice())),
        }
    }

    /// Linearises one star about the current model.
    pub(super) fn information(&self, star: &mut Star, columns: Columns<'_>) -> Option<Information> {
        let position = star.position();
        let residual = self.model.residual_at(position.0, position.1);
        let local = self.local(&self.model, position, &residual);
        linearise(star, &local, &self.weighting, columns)
    }

    /// Linearises every used star; those that fail are rejected.
    pub(super) fn informations(&self, stars: &mut [Star], columns: Columns<'_>) -> Vec<(usize, Information)> {
        let mut out = Vec::new();
        for (k, star) in stars.iter_mut().enumerate() {
            if star.status != StarStatus::Used {
                continue;
            }
            match self.information(star, columns) {
                Some(info) => {
                    star.chi2 = info.chi2 / info.pixels.saturating_sub(4).max(1) as f64;
                    out.push((k, info));
                }
                None => star.status = StarStatus::Rejected(Rejection::Unmeasurable),
            }
        }
        out
    }

    /// One joint step of core polynomials and exponent.
    pub(super) fn core_step(&mut self, stars: &mut [Star]) -> Option<Vec<(usize, Information)>> {
        let infos = self.informations(stars, Columns::Core);
        if infos.is_empty() {
            return None;
        }
        let mut joint = Joint::new(&self.model, 0, 0);
        for (k, info) in &infos {
            if let Some(info) = with_nugget(info, &self.nugget, &[]) {
                joint.add(&self.model.domain, stars[*k].position(), &info);
            }
        }
        (self.model.covariance, _) = joint.solve(&mut self.model, &self.shape_prior)?;
        Some(infos)
    }

    /// Re-estimates the scatter between stars that the model does not follow, and the noise scale.
    pub(super) fn update_scatter(&mut self, infos: &[(usize, Information)]) {
        let mut chi: Vec<f32> =
            infos.iter().map(|(_, i)| (i.chi2 / i.pixels.saturating_sub(4).max(1) as f64) as f32).collect();
        self.noise_scale = crate::image::stats::median_in_place(&mut chi).unwrap_or(1.0).clamp(0.3, 10.0);
        let own: Vec<([f64; 3], [[f64; 3]; 3])> = infos.iter().filter_map(|(_, i)| own_shape(i)).collect();
        for q in 0..3 {
            // Root of sum of clipped d^2 / (s^2 + N) = expected, by bisection in ln N.
            let excess = |n: f64| -> f64 {
                let mut v: Vec<f32> =
                    own.iter().map(|(d, c)| (d[q].abs() / (c[q][q] * self.noise_scale + n).sqrt()) as f32).collect();
                // Weighted towards stars that can tell: the better half.
                v.truncate(v.len());
                crate::image::stats::median_in_place(&mut v).unwrap_or(0.0) * crate::image::stats::MAD_TO_SIGMA
            };
            let (mut low, mut high) = (1e-8f64.ln(), 0.01f64.ln());
            for _ in 0..25 {
                let mid = 0.5 * (low + high);
                if excess(mid.exp()) > 1.0 { low = mid } else { high = mid }
            }
            self.nugget[q] = (0.5 * (low + high)).exp().max(4e-6);
        }
    }

    /// Learns the residual sky's mean and scatter from the fainter half of the used stars (a bright star's wings pass for
    /// sky while the model lacks them), so that afterwards the wings can be told from the sky.
    fn learn_sky(&mut self, stars: &[Star]) {
        let mut used: Vec<&Star> = stars.iter().filter(|s| s.status == StarStatus::Used).collect();
        if used.len() < 8 {
            return;
        }
        used.sort_by(|a, b| a.snr.total_cmp(&b.snr));
        used.truncate(used.len().div_ceil(2).max(8));
        let mut skies: Vec<f32> = used.iter().map(|s| s.sky_in_sigma.0 as f32).collect();
        let mut errors: Vec<f32> = used.iter().map(|s| s.sky_in_sigma.1 as f32).collect();
        let Some((mean, scatter)) = crate::image::stats::median_and_sigma(&skies) else { return };
        skies.clear();
        let error = crate::image::stats::median_in_place(&mut errors).unwrap_or(0.1);
        let own = (scatter * scatter - 1.2 * error * error).max(0.0).sqrt();
        self.weighting.sky_prior = (mean, own.clamp(0.02, 1.0));
    }

    /// Chooses the order, and how strongly each parameter varies, by the marginal likelihood of the stars' own shapes.
    pub(super) fn choose_order(&mut self, stars: &mut [Star]) {
        let infos = self.informations(stars, Columns::Core);
        let allowed = order_allowed(self.settings, infos.len());
        /// Terms at the star, its own ln scale, g1, g2, their variances.
        type Shape = (Vec<f64>, [f64; 3], [f64; 3]);
        let shapes: Vec<Shape> = infos
            .iter()
            .filter_map(|(k, info)| {
                let (d, c) = own_shape(info)?;
                let (x, y) = stars[*k].position();
                let now = self.model.polynomial_shape(x, y);
                let noise = [0, 1, 2].map(|q: usize| c[q][q] * self.noise_scale.max(1.0) + 1e-6);
                // A star far off is no witness of the variation.
                (0..3).all(|q| d[q] * d[q] < OUTLIER * OUTLIER * (noise[q] + self.nugget[q])).then_some(())?;
                Some((
                    super::spatial::legendre_terms(&self.model.domain, allowed, x, y),
                    [0, 1, 2].map(|q: usize| now[q] + d[q]),
                    noise,
                ))
            })
            .collect();
        let mut best: Option<(usize, [OrderPrior; 3], f64)> = None;
        for order in 0..=allowed {
            let mut priors = self.shape_prior;
            let mut total = 0.0;
            for (q, prior) in priors.iter_mut().enumerate() {
                let mean = shapes.iter().map(|s| s.1[q]).sum::<f64>() / shapes.len().max(1) as f64;
                let samples: Vec<Sample<'_>> = shapes
                    .iter()
                    .map(|(terms, value, variance)| Sample { terms, value: value[q] - mean, variance: variance[q] })
                    .collect();
                let (found, evidence) = order_prior(&samples, order, *prior);
                *prior = found;
                total += evidence;
            }
            if best.is_none_or(|b| total > b.2 + 1.0) {
                best = Some((order, priors, total));
            }
        }
        if let Some((order, priors, _)) = best {
            self.model.set_order(order);
            self.shape_prior = priors;
        }
    }

    /// Random fields on top of the polynomial.
    pub(super) fn fit_smooth(&mut self, stars: &mut [Star]) {
        self.model.smooth = None;
        let infos = self.informations(stars, Columns::Core);
        /// Position, deviation of the core's three parameters, their variances.
        type OwnShape = ((f64, f64), [f64; 3], [f64; 3]);
        let mut rows: Vec<OwnShape> = Vec::new();
        for (k, info) in &infos {
            if let Some((d, c)) = own_shape(info) {
                rows.push((
                    stars[*k].position(),
                    d,
                    [c[0][0], c[1][1], c[2][2]].map(|v| v * self.noise_scale.max(1.0) + 1e-6),
                ));
            }
        }
        if rows.len() < 40 {
            return;
        }
        // The most informative stars suffice.
        rows.sort_by(|a, b| a.2[0].total_cmp(&b.2[0]));
        rows.truncate(250);
        let positions: Vec<(f64, f64)> = rows.iter().map(|r| r.0).collect();
        let extent = self.model.domain.half.0.min(self.model.domain.half.1);
        let lengths = [0.15 * extent, 0.25 * extent, 0.4 * extent];
        let mut smooth = Kriging {
            length: [1.0; 3],
            amplitude: [0.0; 3],
            positions: positions.clone(),
            weights: [vec![], vec![], vec![]],
        };
        for q in 0..3 {
            let d: Vec<f64> = rows.iter().map(|r| r.1[q]).collect();
            let noise: Vec<f64> = rows.iter().map(|r| r.2[q]).collect();
            let (amplitude, length, weights) = fit_field(&positions, &d, &noise, &lengths, 3.0);
            smooth.amplitude[q] = amplitude;
            smooth.length[q] = length;
            smooth.weights[q] = weights;
        }
        if smooth.amplitude.iter().any(|a| *a > 0.0) {
            self.model.smooth = Some(smooth);
        }
    }
}

/// Runs selection and fit; the caller validates. Falls back, in this order, to a lower order, a constant, the given
/// model, a Moffat of the median star; an error only where none of these is possible.
pub(super) fn run<'a>(
    input: &PsfInput<'_>,
    settings: &'a PsfSettings,
    given: Option<&PsfModel>,
    listed: Option<&[(f64, f64)]>,
) -> Result<(Fitter<'a>, Candidates, Option<PsfModel>), PsfError> {
    let (ny, nx) = input.image.dim();
    let mut found = candidates(input, settings, listed);
    let domain = Domain::image(nx, ny);
    let mut fitter = Fitter {
        settings,
        model: NativeModel::constant(domain, 3.0, BETA_CENTRE),
        weighting: Weighting {
            model_error: settings.model_error,
            poisson: found.variance_slope,
            clip: 0.0,
            sky_prior: (0.0, 1.0),
        },
        nugget: [2.5e-3; 3],
        shape_prior: [OrderPrior::wide(); 3],
        noise_scale: 1.0,
        notes: Vec::new(),
        misfit: settings.model_error,
        poisson_of_gain: input.gain.filter(|g| *g > 0.0 && found.variance_slope == 0.0).map(|g| 1.0 / g),
        fallback: None,
        listed: listed.is_some(),
    };
    let fitted = fitter.fit_stars(&mut found.stars);
    for s in &found.stars {
        found.verdicts[s.source] = s.status;
    }
    let used = found.stars.iter().filter(|s| s.status == StarStatus::Used).count();
    if fitted && used >= settings.min_stars.max(1) {
        let order = fitter.model.order;
        let allowed = order_allowed(settings, used);
        if allowed == 0 && settings.max_order > 0 {
            fitter.fallback = Some(format!("constant PSF: {used} stars do not carry a variation over the field"));
        } else if allowed < settings.max_order && order == allowed {
            fitter.notes.push(format!("PSF order lowered to {order}: {used} stars carry no more"));
        }
        return Ok((fitter, found, None));
    }
    let reason = format!("{used} usable stars of at least {} needed", settings.min_stars);
    if let Some(model) = given {
        fitter.fallback = Some(format!("given PSF: {reason}"));
        return Ok((fitter, found, Some(model.clone())));
    }
    if fitter.fit_median_star(&mut found.stars, domain) {
        fitter.fallback = Some(format!("Moffat of the median star: {reason}"));
        for s in &found.stars {
            found.verdicts[s.source] = s.status;
        }
        return Ok((fitter, found, None));
    }
    Err(no_stars(&found))
}

/// Highest order that so many stars carry.
fn order_allowed(settings: &PsfSettings, stars: usize) -> usize {
    let mut order = settings.max_order;
    while order > 0 && (stars as f64) < settings.stars_per_term * term_count(order) as f64 {
        order -= 1;
    }
    order
}

impl Fitter<'_> {
    /// The whole fit on measured candidates; false where no model came out.
    pub(super) fn fit_stars(&mut self, stars: &mut [Star]) -> bool {
        let Some((mode, width)) = size_locus(stars) else { return false };
        // The first model: the round, bright candidates of the locus.
        let window = (3.0 * width).clamp(0.1, 0.3);
        let min_snr = self.settings.min_snr;
        for s in stars.iter_mut() {
            let near = self.listed || (s.size.ln() - mode).abs() < window && s.distortion.0.hypot(s.distortion.1) < 0.4;
            s.status = if near && s.snr > min_snr {
                StarStatus::Used
            } else if s.snr <= min_snr {
                StarStatus::Rejected(Rejection::Faint)
            } else if s.size.ln() < mode {
                StarStatus::Rejected(Rejection::TooSharp)
            } else {
                StarStatus::Rejected(Rejection::Extended)
            };
        }
        self.start_from(mode);
        for _ in 0..4 {
            if self.core_step(stars).is_none() {
                return false;
            }
        }
        // The PSF may vary strongly: with a constant model, the bright stars away from the locus's middle would be taken for
        // outliers before the order could rise, and those that are left would confirm it. A handful of candidates, though,
        // may be galaxies that an order would fit as well.
        if stars.iter().filter(|s| s.status == StarStatus::Used).count() >= EARLY_ORDER_FROM {
            self.choose_order(stars);
            for _ in 0..2 {
                if self.core_step(stars).is_none() {
                    return false;
                }
            }
        }
        self.weighting.clip = 6.0;
        // The bare core may be off by this much.
        let floor = self.settings.model_error.max(if self.settings.residual { 0.03 } else { 0.0 });
        self.weighting.model_error = floor;
        for round in 0..4 {
            match self.core_step(stars) {
                Some(infos) => self.update_scatter(&infos),
                None => return false,
            }
            if round == 0 {
                self.rescale_noise(stars);
            }
            self.choose_poisson(stars);
            self.measure_misfit(stars);
            self.classify(stars, (mode - 0.6, mode + 1.0), TOLERANCE[0]);
            if round == 2 {
                self.learn_sky(stars);
            }
            if round == 1 {
                reserve(stars, self.settings.reserved_fraction);
            }
            self.choose_order(stars);
        }
        for _ in 0..2 {
            if self.core_step(stars).is_none() {
                return false;
            }
        }
        if self.settings.residual && self.used(stars) >= 8 {
            let pays = self.fit_mean_residual(stars);
            self.weighting.model_error = self.settings.model_error;
            if pays {
                self.core_step(stars);
                self.measure_misfit(stars);
            }
            self.reclassify(stars, (mode - 0.6, mode + 1.0), TOLERANCE[1]);
            if pays {
                for round in 0..2 {
                    self.fit_mean_residual(stars);
                    self.core_step(stars);
                    self.fit_variation(stars);
                    self.measure_misfit(stars);
                    self.choose_order(stars);
                    self.learn_sky(stars);
                    if round == 0 {
                        self.reclassify(stars, (mode - 0.6, mode + 1.0), TOLERANCE[2]);
                    }
                }
                self.reclassify(stars, (mode - 0.6, mode + 1.0), TOLERANCE[3]);
                reserve(stars, self.settings.reserved_fraction);
                self.fit_variation(stars);
            } else {
                reserve(stars, self.settings.reserved_fraction);
                self.core_step(stars);
            }
        }
        if self.settings.smooth_residual {
            self.fit_smooth(stars);
        }
        self.model.scatter = self.nugget.map(f64::sqrt);
        if self.poisson_of_gain.is_some_and(|p| p == self.weighting.poisson) {
            self.notes.push("the variance lacks the sources' own noise: it was taken from the gain".into());
        }
        true
    }

    /// The model of every star, once the reserved ones have judged the model made without them: to leave a fifth of the stars out of
    /// what is used afterwards would be waste. The stars keep their verdicts. `None` where nothing was reserved or the step fails.
    pub(super) fn with_reserved(&mut self, stars: &[Star]) -> Option<NativeModel> {
        let mut all = stars.to_vec();
        let mut reserved = 0;
        for star in &mut all {
            if star.status == StarStatus::Reserved {
                star.status = StarStatus::Used;
                reserved += 1;
            }
        }
        if reserved == 0 {
            return None;
        }
        let judged = self.model.clone();
        let mut refit = || {
            self.model.smooth = None;
            if self.model.residual.is_some() {
                self.fit_mean_residual(&mut all);
                self.core_step(&mut all)?;
                self.fit_variation(&mut all);
            } else {
                self.core_step(&mut all)?;
                self.core_step(&mut all)?;
            }
            if self.settings.smooth_residual {
                self.fit_smooth(&mut all);
            }
            self.model.scatter = self.nugget.map(f64::sqrt);
            Some(())
        };
        let done = refit();
        let model = std::mem::replace(&mut self.model, judged);
        done.map(|()| model)
    }

    pub(super) fn used(&self, stars: &[Star]) -> usize {
        stars.iter().filter(|s| s.status == StarStatus::Used).count()
    }

    /// Scatter, then every candidate's class, with the present model.
    fn reclassify(&mut self, stars: &mut [Star], window: (f64, f64), tolerance: f64) {
        let infos = self.informations(stars, Columns::Core);
        self.update_scatter(&infos);
        self.classify(stars, window, tolerance);
    }

    /// Starts from a constant Moffat whose adaptive size is `exp(ln_size)`.
    fn start_from(&mut self, ln_size: f64) {
        let fwhm = 2.355 * (0.5 * ln_size.exp()).sqrt();
        // The measured size holds the pixel; the fit finds the rest.
        self.model = NativeModel::constant(self.model.domain, (fwhm * fwhm - 0.6).max(0.6).sqrt(), BETA_CENTRE);
    }

    /// A constant Moffat from the candidate of median size among the best measured ones.
    fn fit_median_star(&mut self, stars: &mut [Star], domain: Domain) -> bool {
        let mut order: Vec<usize> =
            (0..stars.len()).filter(|&k| stars[k].distortion.0.hypot(stars[k].distortion.1) < 0.4).collect();
        order.sort_by(|&a, &b| stars[b].snr.total_cmp(&stars[a].snr).then(a.cmp(&b)));
        order.truncate(9);
        order.sort_by(|&a, &b| stars[a].size.total_cmp(&stars[b].size).then(a.cmp(&b)));
        // The lower median: blends and galaxies are larger than stars, never smaller.
        let Some(&chosen) = order.get(order.len().saturating_sub(1) / 2) else { return false };
        for s in stars.iter_mut() {
            if s.status == StarStatus::Used || s.status == StarStatus::Reserved {
                s.status = StarStatus::Rejected(Rejection::Shape);
            }
        }
        let ln_size = stars[chosen].size.ln();
        self.model.domain = domain;
        self.start_from(ln_size);
        self.weighting.clip = 0.0;
        let star = &mut stars[chosen];
        (star.status, star.flux, star.sky) = (StarStatus::Used, 0.0, 0.0);
        for _ in 0..5 {
            if self.core_step(stars).is_none() {
                // Not even that converges: a round Moffat of the measured size.
                self.start_from(ln_size);
                stars[chosen].status = StarStatus::Used;
                break;
            }
        }
        true
    }
}

/// How many times its measured misfit a model may be off a star: with the core alone, with the mean residual, with the residual's
/// variation, in the end.
const TOLERANCE: [f64; 4] = [2.0, 3.0, 2.0, 1.5];
/// Deviation, in sigma, beyond which a star has no say in how the PSF varies.
const OUTLIER: f64 = 5.0;

/// Fewest candidates on the locus with which the order may rise before outliers are rejected.
const EARLY_ORDER_FROM: usize = 20;

pub(super) fn no_stars(found: &Candidates) -> PsfError {
    let mut reasons = Vec::new();
    for r in Rejection::ALL {
        let n = found.verdicts.iter().filter(|v| **v == StarStatus::Rejected(r)).count();
        if n > 0 {
            reasons.push(format!("{} {}", n, r.name()));
        }
    }
    if reasons.is_empty() {
        reasons.push("nothing was found above the detection threshold".into());
    }
    PsfError::NoStars { sources: found.verdicts.len(), candidates: found.stars.len(), reasons: reasons.join(", ") }
}
