//! Training stamps: a drawn object as the detector sees it, put through the Tikhonov step that runs in production, and its truth.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::draw::{self, Kind, log_uniform, normal, uniform};
use super::grid::{Grid, Renderer, Spectrum, Window};
use super::psf::{self, normalise, target_spectrum};
use super::scene::{Component, Scene};
use super::sersic;
use super::table::Shear;
use crate::deconv::{DeconvError, DeconvSettings, TikhonovInput, Workspace, observed_on_target};
use crate::image::Plane;
use ndarray::s;

/// What training stamps are drawn from (`[simulate.stamps]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StampSettings {
    /// Side of the observed stamp, detector pixels.
    pub size: usize,
    /// Target pixels per detector pixel along each axis, 1 to 4.
    pub factor: usize,
    /// Smallest FWHM of the effective PSF, detector pixels; log-uniform up to `psf_fwhm_max`.
    pub psf_fwhm_min: f64,
    /// Largest FWHM of the effective PSF, detector pixels.
    pub psf_fwhm_max: f64,
    /// Smallest half-light radius of galaxies, detector pixels; log-uniform up to `radius_max`.
    pub radius_min: f64,
    /// Largest half-light radius of galaxies, as a share of the stamp's side.
    pub radius_max_share: f64,
    /// Smallest SNR, log-uniform up to `snr_max`. SNR is that of a matched filter against the sky noise alone:
    /// sqrt(sum m^2) / sigma for the object m without noise on detector pixels and white sky noise sigma.
    pub snr_min: f64,
    /// Largest SNR.
    pub snr_max: f64,
    /// Share of blank stamps.
    pub blanks: f64,
    /// Share of stars.
    pub stars: f64,
    /// Share of stamps with something of a neighbour left in.
    pub neighbours: f64,
    /// Share of stamps whose object's own Poisson noise is felt.
    pub poisson: f64,
    /// Share of stamps deconvolved with a slightly wrong PSF.
    pub wrong_psf: f64,
    /// Standard deviation of the wrong PSF's relative width; its shear is off by half as much along each axis.
    pub wrong_psf_size: f64,
    /// FWHMs of the target PSF to draw from, target pixels; empty: that of the deconvolution's settings.
    pub target_fwhms: Vec<f64>,
}

impl Default for StampSettings {
    fn default() -> Self {
        Self {
            size: 64,
            factor: 1,
            psf_fwhm_min: 2.0,
            psf_fwhm_max: 8.0,
            radius_min: 0.2,
            radius_max_share: 0.095,
            snr_min: 3.0,
            snr_max: 1000.0,
            blanks: 0.08,
            stars: 0.10,
            neighbours: 0.25,
            poisson: 0.3,
            wrong_psf: 0.5,
            wrong_psf_size: 0.015,
            target_fwhms: Vec::new(),
        }
    }
}

impl StampSettings {
    /// Defaults for a target grid `factor` times finer: the finer grid is used where the PSF is undersampled, so its PSFs are narrower.
    pub fn for_factor(size: usize, factor: usize) -> Self {
        let base = Self { size, factor, ..Self::default() };
        if factor > 1 { Self { psf_fwhm_min: 1.3, psf_fwhm_max: 4.0, ..base } } else { base }
    }
}

/// One training example; planes of side n = size * factor on the target grid.
#[derive(Debug, Clone)]
pub struct TrainingStamp {
    /// Input: the Tikhonov estimate.
    pub tikhonov: Plane,
    /// The estimate with [`crate::deconv::STRENGTH_RATIO`] times less smoothing.
    pub sharper: Plane,
    /// The estimate with that much more smoothing.
    pub smoother: Plane,
    /// The observed image on the target grid, flux per target pixel, the object on pixel (n/2, n/2).
    pub observed: Plane,
    /// The object alone as the target Gaussian sees it, centred on pixel (n/2, n/2).
    pub truth: Plane,
    /// The PSF that the Tikhonov step was given, on the target grid, centred on pixel (n/2, n/2), unit sum.
    pub psf: Plane,
    /// Noise in `tikhonov`, standard deviation per target pixel.
    pub noise_sigma: f64,
    /// Noise in `sharper`.
    pub noise_sharper: f64,
    /// Noise in `smoother`.
    pub noise_smoother: f64,
    /// FWHM of the target Gaussian, target pixels.
    pub target_fwhm: f64,
    /// Sky noise, standard deviation, in flux per target pixel (sigma / factor^2).
    pub sky_sigma: f64,
    /// FWHM of the true effective PSF, detector pixels.
    pub psf_fwhm: f64,
    /// Matched-filter SNR against the sky; 0 for blanks.
    pub snr: f64,
    /// Flux of the object; 0 for blanks.
    pub flux: f64,
    /// Intrinsic half-light radius, detector pixels; 0 for stars and blanks.
    pub half_light_radius: f64,
    /// What it is.
    pub kind: Kind,
    /// Strength chosen.
    pub lambda: f64,
}

/// Draws stamp number `index` of the run `seed`; the same whatever was drawn before. Sky noise is 1 per detector pixel.
pub fn training_stamp(
    settings: &StampSettings,
    deconv: &DeconvSettings,
    seed: u64,
    index: u64,
    renderer: &mut Renderer,
    workspace: &mut Workspace,
) -> Result<TrainingStamp, DeconvError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let (n, factor) = (settings.size, settings.factor);
    // a stream of its own: with one target the stamps are the same whether it is listed or not
    let mut targets = ChaCha8Rng::seed_from_u64(seed ^ 0x7461_7267_6574);
    targets.set_stream(index);
    let drawn = match settings.target_fwhms.len() {
        0 => deconv.target_fwhm,
        count => settings.target_fwhms.get(targets.random_range(0..count)).copied().unwrap_or(deconv.target_fwhm),
    };
    let deconv = &DeconvSettings { target_fwhm: drawn, ..deconv.clone() };
    let target_fwhm = deconv.target_fwhm / factor as f64;

    let width = log_uniform(&mut rng, settings.psf_fwhm_min, settings.psf_fwhm_max);
    let psf = draw::psf(&mut rng, width);
    let pick = rng.random::<f64>();
    let (scene, kind) = if pick < settings.blanks {
        (Scene::default(), Kind::Blank)
    } else if pick < settings.blanks + settings.stars {
        (Scene::star(1.0), Kind::Star)
    } else {
        let largest = (settings.radius_max_share * n as f64).max(1.01 * settings.radius_min);
        let radius = log_uniform(&mut rng, settings.radius_min, largest);
        draw::galaxy(&mut rng, radius)
    };
    let snr = log_uniform(&mut rng, settings.snr_min, settings.snr_max);
    let half = (n / 2) as f64;
    let centre = (half + uniform(&mut rng, -0.5, 0.5), half + uniform(&mut rng, -0.5, 0.5));

    // wings beyond the stamp must not come back in on the other side: twice the stamp is the period
    let target_cut = 1.75 / target_fwhm.max(0.25);
    let grid = Grid::new(2 * n, psf.cut(1e-5).max(target_cut), factor);
    let kernel = psf.effective_spectrum(grid);
    let on_detector = Window { nx: n, ny: n, sampling: 1, centre };
    let point = renderer.draw(&Spectrum::constant(grid, 1.0), &kernel, on_detector);
    let psf_power = power(&point);
    let object = scene.spectrum(grid);
    let side = n * factor;
    let middle = (side / 2) as f64;
    let on_target = Window { nx: side, ny: side, sampling: factor, centre: (middle, middle) };

    let mut truth = Plane::zeros((side, side));
    let mut observed = Plane::zeros((n, n));
    let mut flux = 0.0;
    if kind != Kind::Blank {
        observed = renderer.draw(&object, &kernel, on_detector);
        flux = snr / power(&observed).sqrt();
        observed.mapv_inplace(|v| v * flux as f32);
        truth = renderer.draw(&object, &target_spectrum(grid, target_fwhm), on_target);
        truth.mapv_inplace(|v| v * flux as f32);
    }
    // what detection would say of it; of a blank, that a peak of the noise looked like a faint star
    let seen = if kind == Kind::Blank { &point } else { &observed };
    let seen_radius = half_light_radius(seen, centre) * (1.0 + 0.3 * normal(&mut rng) / snr).clamp(0.5, 1.5);
    let seen_flux =
        if kind == Kind::Blank { 4.0 / psf_power.sqrt() } else { flux * (1.0 + normal(&mut rng) / snr).max(0.2) };

    if rng.random_bool(settings.neighbours.clamp(0.0, 1.0)) {
        let clutter = clutter(&mut rng, n, psf_power);
        observed += &renderer.draw(&clutter.spectrum(grid), &kernel, on_detector);
    }
    if rng.random_bool(settings.poisson.clamp(0.0, 1.0)) {
        let peak = observed.iter().copied().fold(1e-6f32, f32::max);
        // variance of the source's own noise at its peak, in units of the sky's
        let at_peak = log_uniform(&mut rng, 0.05, 20.0) as f32;
        observed.mapv_inplace(|v| v + (1.0 + at_peak * (v / peak).max(0.0)).sqrt() * normal(&mut rng) as f32);
    } else {
        observed.mapv_inplace(|v| v + normal(&mut rng) as f32);
    }
    // the sky is never subtracted perfectly
    let sky_error = (0.02 * normal(&mut rng)) as f32;
    observed += sky_error;

    let given = if rng.random_bool(settings.wrong_psf.clamp(0.0, 1.0)) {
        let size = 1.0 + settings.wrong_psf_size * normal(&mut rng);
        let e = 0.5 * settings.wrong_psf_size;
        psf.perturbed(size, Shear { g1: e * normal(&mut rng), g2: e * normal(&mut rng) }).effective_spectrum(grid)
    } else {
        kernel.clone()
    };
    let mut psf_plane = renderer.draw(&Spectrum::constant(grid, 1.0), &given, on_target);
    // the odd square about the centre is what the Tikhonov step takes; the first row and column are its outermost
    psf_plane.row_mut(0).fill(0.0);
    psf_plane.column_mut(0).fill(0.0);
    normalise(&mut psf_plane);
    let odd = psf_plane.slice(s![1.., 1..]).as_standard_layout().into_owned();
    let input = TikhonovInput {
        observed: &observed,
        psf: &odd,
        centre,
        sigma: 1.0,
        flux: seen_flux,
        half_light_radius: seen_radius,
    };
    let result = workspace.tikhonov(&input, factor, deconv)?;
    let (sharper, smoother) = workspace.companions(&input, factor, deconv, result.lambda)?;
    let per_target_pixel = (factor * factor) as f64;
    Ok(TrainingStamp {
        tikhonov: result.image,
        truth,
        psf: psf_plane,
        sharper: sharper.image,
        smoother: smoother.image,
        observed: observed_on_target(&observed, centre, factor, deconv.taper)?,
        noise_sigma: result.noise_sigma,
        noise_sharper: sharper.noise_sigma,
        noise_smoother: smoother.noise_sigma,
        target_fwhm: drawn,
        sky_sigma: 1.0 / per_target_pixel,
        psf_fwhm: psf::fwhm(&kernel),
        snr: if kind == Kind::Blank { 0.0 } else { snr },
        flux,
        half_light_radius: if kind == Kind::Blank { 0.0 } else { scene.half_light_radius() },
        kind,
        lambda: result.lambda,
    })
}

/// What is left of neighbours: faint ones that nobody saw, and the residuals of ones that were subtracted a little wrong.
fn clutter(rng: &mut ChaCha8Rng, n: usize, psf_power: f64) -> Scene {
    let mut scene = Scene::default();
    let star_flux = 1.0 / psf_power.sqrt();
    for _ in 0..rng.random_range(1..=3) {
        // anywhere, but not on the object
        let (mut dx, mut dy) = (0.0f64, 0.0f64);
        let reach = 0.55 * n as f64;
        let clear = 0.11 * n as f64;
        for _ in 0..20 {
            dx = uniform(rng, -reach, reach);
            dy = uniform(rng, -reach, reach);
            if dx.hypot(dy) > clear {
                break;
            }
        }
        let radius = log_uniform(rng, 0.2, 0.05 * n as f64);
        let index = sersic::shared_index(uniform(rng, 0.8, 3.0));
        let shear = Shear::from_axis_ratio(uniform(rng, 0.3, 1.0), std::f64::consts::PI * rng.random::<f64>());
        let part = |flux: f64, scale: f64, x: f64, y: f64| Component::Sersic {
            flux,
            n: index,
            half_light_radius: radius * scale,
            shear,
            dx: dx + x,
            dy: dy + y,
        };
        // a larger object needs more flux for the same significance; star_flux alone would make it invisible
        let unit = star_flux * (1.0 + 0.3 * radius);
        if rng.random_bool(0.5) {
            scene.components.push(part(unit * log_uniform(rng, 0.7, 5.0), 1.0, 0.0, 0.0));
        } else {
            let flux = unit * log_uniform(rng, 10.0, 300.0);
            let (size, share) = (1.0 + 0.08 * normal(rng), 1.0 + 0.03 * normal(rng));
            scene.components.push(part(flux, 1.0, 0.0, 0.0));
            let (x, y) = (0.05 * normal(rng), 0.05 * normal(rng));
            scene.components.push(part(-flux * share, size.max(0.5), x, y));
        }
    }
    scene
}

/// Sum of squares.
pub fn power(plane: &Plane) -> f64 {
    plane.iter().map(|v| f64::from(*v).powi(2)).sum()
}

/// Radius of the circle about `centre` that holds half of a noise-free image, pixels (rings of half a pixel, linear in between).
fn half_light_radius(plane: &Plane, centre: (f64, f64)) -> f64 {
    const PER_PIXEL: f64 = 2.0;
    let (ny, nx) = plane.dim();
    let mut rings = vec![0.0f64; (PER_PIXEL * (ny + nx) as f64) as usize + 2];
    for ((y, x), v) in plane.indexed_iter() {
        let r = (x as f64 - centre.0).hypot(y as f64 - centre.1);
        if let Some(ring) = rings.get_mut((r * PER_PIXEL) as usize) {
            *ring += f64::from(*v);
        }
    }
    let half = 0.5 * rings.iter().sum::<f64>();
    let mut within = 0.0;
    for (i, ring) in rings.iter().enumerate() {
        if within + ring >= half && *ring > 0.0 {
            return (i as f64 + (half - within) / ring) / PER_PIXEL;
        }
        within += ring;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_some(count: u64, settings: &StampSettings) -> Vec<TrainingStamp> {
        let (mut renderer, mut workspace) = (Renderer::new(), Workspace::default());
        let deconv = DeconvSettings::default();
        (0..count)
            .map(|i| training_stamp(settings, &deconv, 7, i, &mut renderer, &mut workspace).expect("a stamp"))
            .collect()
    }

    #[test]
    fn stamps_do_not_depend_on_what_was_drawn_before() {
        let settings = StampSettings::default();
        let all = draw_some(5, &settings);
        let again = training_stamp(
            &settings,
            &DeconvSettings::default(),
            7,
            4,
            &mut Renderer::new(),
            &mut Workspace::default(),
        )
        .expect("a stamp");
        assert_eq!(all[4].tikhonov, again.tikhonov);
        assert_eq!(all[4].truth, again.truth);
        assert_ne!(all[3].truth, again.truth);
    }

    #[test]
    fn planes_are_consistent_for_every_factor() {
        for factor in [1, 2] {
            let settings = StampSettings { neighbours: 0.0, ..StampSettings::for_factor(32, factor) };
            for stamp in draw_some(24, &settings) {
                let side = 32 * factor;
                assert_eq!(stamp.tikhonov.dim(), (side, side));
                assert_eq!(stamp.psf.dim(), (side, side));
                assert!((stamp.psf.sum() - 1.0).abs() < 1e-4);
                let total = f64::from(stamp.truth.sum());
                if stamp.kind == Kind::Blank {
                    assert_eq!(total, 0.0);
                } else {
                    assert!(
                        total > 0.75 * stamp.flux && total < 1.01 * stamp.flux,
                        "{:?} {total} {}",
                        stamp.kind,
                        stamp.flux
                    );
                }
                assert!(stamp.tikhonov.iter().all(|v| v.is_finite()) && stamp.noise_sigma > 0.0);
                assert!(stamp.psf_fwhm > 0.9 && stamp.psf_fwhm < 10.0, "{}", stamp.psf_fwhm);
            }
        }
    }

    /// At high SNR the Tikhonov estimate must lie on its truth: same place, nearly the same flux.
    #[test]
    fn estimate_lies_on_its_truth_when_the_noise_is_low() {
        let settings = StampSettings {
            snr_min: 900.0,
            neighbours: 0.0,
            poisson: 0.0,
            wrong_psf: 0.0,
            blanks: 0.0,
            ..StampSettings::default()
        };
        for stamp in draw_some(16, &settings) {
            let dot: f64 = stamp.tikhonov.iter().zip(&stamp.truth).map(|(a, b)| f64::from(a * b)).sum();
            let cosine = dot / (power(&stamp.tikhonov) * power(&stamp.truth)).sqrt();
            assert!(cosine > 0.65, "{:?} fwhm {}: {cosine}", stamp.kind, stamp.psf_fwhm);
        }
    }
}
