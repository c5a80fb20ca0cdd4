//! Joint deconvolution: the operators against analytic values and their own transposes, what comes back without noise, and what must
//! not cross between bands.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use num_complex::Complex64;
use rand::{RngExt, SeedableRng};
use stillair::image::Plane;
use stillair::joint::{
    Affine, Estimate, JointError, JointSettings, Model, Observation, band_fluxes, deconvolve, ownership,
};

const SIDE: usize = 64;
/// FWHM of the target, target pixels.
const TARGET: f64 = 2.0;
/// Standard deviation of a Gaussian over its FWHM.
const SIGMA: f64 = 0.424_660_900_144_009_5;

/// An observation to be made: pixels a side, target pixels per pixel, rotation, FWHM of the PSF in target pixels, shares of the bands.
struct Look {
    size: usize,
    scale: f64,
    turn: f64,
    fwhm: f64,
    shares: Vec<f64>,
}

impl Look {
    fn map(&self) -> Affine {
        let (sin, cos) = self.turn.sin_cos();
        let s = self.scale;
        let matrix = [[s * cos, -s * sin], [s * sin, s * cos]];
        let middle = (self.size as f64 - 1.0) / 2.0;
        let at = Affine { matrix, offset: (0.0, 0.0) }.apply(middle, middle);
        let centre = SIDE as f64 / 2.0 + 0.2;
        Affine { matrix, offset: (centre - at.0, centre - at.1) }
    }

    const OVERSAMPLE: usize = 3;

    fn psf(&self) -> Plane {
        let sigma = SIGMA * self.fwhm / self.scale * Self::OVERSAMPLE as f64;
        let side = 2 * (5.0 * sigma).ceil() as usize + 1;
        let middle = (side / 2) as f64;
        let mut psf = Plane::from_shape_fn((side, side), |(y, x)| {
            let r2 = (x as f64 - middle).powi(2) + (y as f64 - middle).powi(2);
            (-0.5 * r2 / sigma / sigma).exp() as f32
        });
        psf /= psf.sum();
        psf
    }

    /// What it sees of Gaussians (column, row, standard deviation, flux, band), all in target pixels.
    fn pixels(&self, sky: &[(f64, f64, f64, f64, usize)]) -> Plane {
        let map = self.map();
        Plane::from_shape_fn((self.size, self.size), |(row, column)| {
            let (u, v) = map.apply(column as f64, row as f64);
            sky.iter()
                .map(|(x, y, sigma, flux, band)| {
                    let variance = sigma * sigma + (SIGMA * self.fwhm).powi(2);
                    let r2 = (u - x).powi(2) + (v - y).powi(2);
                    self.shares[*band] * flux * map.area() * (-0.5 * r2 / variance).exp()
                        / (std::f64::consts::TAU * variance)
                })
                .sum::<f64>() as f32
        })
    }
}

fn observation<'a>(look: &Look, pixels: &'a Plane, weight: &'a Plane, psf: &'a Plane) -> Observation<'a> {
    Observation {
        pixels,
        weight,
        psf,
        oversample: Look::OVERSAMPLE,
        to_target: look.map(),
        shares: look.shares.clone(),
    }
}

fn noise(shape: (usize, usize), seed: u64) -> Plane {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    Plane::from_shape_simple_fn(shape, || rng.sample::<f32, _>(rand_distr::StandardNormal))
}

/// A ground-based camera of 0.2 against a space telescope of 0.1 arcsec, turned against each other.
fn looks(bands: usize) -> Vec<Look> {
    let mut looks: Vec<Look> = (0..bands)
        .map(|c| Look {
            size: 40,
            scale: 2.0,
            turn: 0.3 * c as f64,
            fwhm: 7.0 - 0.4 * c as f64,
            shares: (0..bands).map(|b| f64::from(u8::from(b == c))).collect(),
        })
        .collect();
    looks.push(Look { size: 80, scale: 1.0, turn: -0.7, fwhm: 1.9, shares: vec![1.0 / bands as f64; bands] });
    looks
}

fn model(looks: &[Look], pixels: &[Plane], weights: &[Plane], bands: usize) -> Model {
    let psfs: Vec<Plane> = looks.iter().map(Look::psf).collect();
    let observations: Vec<Observation> = looks
        .iter()
        .zip(pixels)
        .zip(weights.iter().zip(&psfs))
        .map(|((l, p), (w, f))| observation(l, p, w, f))
        .collect();
    Model::new(&observations, SIDE, bands, TARGET).unwrap()
}

fn solve(
    looks: &[Look],
    pixels: &[Plane],
    sigmas: &[f64],
    bands: usize,
    settings: &JointSettings,
) -> (Model, Estimate) {
    let weights: Vec<Plane> =
        pixels.iter().zip(sigmas).map(|(p, s)| Plane::from_elem(p.dim(), (1.0 / (s * s)) as f32)).collect();
    let mut model = model(looks, pixels, &weights, bands);
    let estimate = deconvolve(&mut model, settings).unwrap();
    (model, estimate)
}

/// Sum of an image within `radius` of a place.
fn within(image: &Plane, (x, y): (f64, f64), radius: f64) -> f64 {
    let inside = |r: usize, c: usize| (c as f64 - x).hypot(r as f64 - y) <= radius;
    image.indexed_iter().filter(|((r, c), _)| inside(*r, *c)).map(|(_, v)| f64::from(*v)).sum()
}

/// Noise-free pixels and the noise that gives each observation this matched-filter SNR.
fn observe(looks: &[Look], sky: &[(f64, f64, f64, f64, usize)], snr: f64) -> (Vec<Plane>, Vec<f64>) {
    let pixels: Vec<Plane> = looks.iter().map(|l| l.pixels(sky)).collect();
    let sigmas = pixels.iter().map(|p| p.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() / snr).collect();
    (pixels, sigmas)
}

#[test]
fn adjoints_are_exact_transposes() {
    let bands = 3;
    let mut looks = looks(bands);
    // whole-pixel maps too: a flip with a fraction, and a factor of 2
    looks.push(Look {
        size: 32,
        scale: 2.0,
        turn: std::f64::consts::FRAC_PI_2,
        fwhm: 6.0,
        shares: vec![0.0, 1.0, 0.0],
    });
    looks.push(Look { size: 30, scale: 2.0, turn: 0.0, fwhm: 6.0, shares: vec![0.5, 0.0, 0.5] });
    let pixels: Vec<Plane> = looks.iter().enumerate().map(|(i, l)| noise((l.size, l.size), i as u64)).collect();
    let weights: Vec<Plane> = looks.iter().map(|l| Plane::ones((l.size, l.size))).collect();
    let mut model = model(&looks, &pixels, &weights, bands);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let mut random = |count: usize| -> Vec<f64> { (0..count).map(|_| rng.random::<f64>() - 0.5).collect() };
    let x: Vec<Vec<f64>> = (0..bands).map(|_| random(SIDE * SIDE)).collect();
    let y: Vec<Vec<f64>> = (0..looks.len()).map(|o| random(model.usable(o))).collect();
    let mut spectra = vec![vec![Complex64::default(); (SIDE / 2 + 1) * SIDE]; bands];
    for (x, s) in x.iter().zip(&mut spectra) {
        model.transform(x, s).unwrap();
    }
    let seen = model.forward(&spectra).unwrap();
    let back = model.adjoint(&y).unwrap();
    let mut right = 0.0;
    for (x, s) in x.iter().zip(&back) {
        let mut plane = vec![0.0; SIDE * SIDE];
        model.inverse(s, &mut plane).unwrap();
        right += x.iter().zip(&plane).map(|(a, b)| a * b).sum::<f64>();
    }
    let left: f64 = seen.iter().flatten().zip(y.iter().flatten()).map(|(a, b)| a * b).sum();
    let size = |v: &[Vec<f64>]| v.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
    assert!((left - right).abs() < 1e-10 * size(&seen) * size(&y), "{left} {right}");
    assert!(seen.iter().all(|s| size(std::slice::from_ref(s)) > 0.1));
}

#[test]
fn rotated_and_scaled_observations_are_those_of_the_sky() {
    // A Gaussian seen through Gaussians has a closed form at any rotation and scale.
    let (x, y, sigma) = (34.3, 30.6, 2.6);
    let intrinsic = (sigma * sigma - (SIGMA * TARGET).powi(2)).sqrt();
    let mut target = vec![0.0; SIDE * SIDE];
    for (i, v) in target.iter_mut().enumerate() {
        let r2 = ((i % SIDE) as f64 - x).powi(2) + ((i / SIDE) as f64 - y).powi(2);
        *v = 50.0 * (-0.5 * r2 / sigma / sigma).exp() / (std::f64::consts::TAU * sigma * sigma);
    }
    for (scale, turn, fwhm) in [(2.0, 0.4, 6.0), (1.0, -1.1, 2.2), (1.3, 2.0, 4.0), (2.0, 0.0, 6.0), (1.0, 0.0, 2.5)] {
        let look = Look { size: 24, scale, turn, fwhm, shares: vec![1.0] };
        let want = look.pixels(&[(x, y, intrinsic, 50.0, 0)]);
        let weights = Plane::ones(want.dim());
        let mut model = model(&[look], std::slice::from_ref(&want), &[weights], 1);
        let mut spectrum = vec![Complex64::default(); (SIDE / 2 + 1) * SIDE];
        model.transform(&target, &mut spectrum).unwrap();
        let got = model.observe(0, &spectrum).unwrap();
        let peak = f64::from(want.iter().copied().fold(0.0f32, f32::max));
        let worst = got.iter().zip(model.values(0)).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        assert!(worst < 3e-5 * peak, "scale {scale} turn {turn}: {worst} of {peak}");
    }
}

#[test]
fn without_noise_the_bands_come_back() {
    // A disc and a redder bulge, off its centre.
    let sky = [
        (32.4, 31.8, 3.0, 900.0, 0),
        (32.4, 31.8, 3.0, 500.0, 1),
        (33.1, 32.3, 1.4, 100.0, 0),
        (33.1, 32.3, 1.4, 600.0, 1),
    ];
    let looks = looks(2);
    let (pixels, sigmas) = observe(&looks, &sky, 3000.0);
    let (mut model, estimate) = solve(&looks, &pixels, &sigmas, 2, &JointSettings::default());
    assert!(estimate.converged);
    for band in 0..2 {
        let mut truth = Plane::zeros((SIDE, SIDE));
        for (x, y, sigma, flux, _) in sky.iter().filter(|s| s.4 == band) {
            let variance = sigma * sigma + (SIGMA * TARGET).powi(2);
            for ((r, c), v) in truth.indexed_iter_mut() {
                let r2 = (c as f64 - x).powi(2) + (r as f64 - y).powi(2);
                *v += (flux * (-0.5 * r2 / variance).exp() / (std::f64::consts::TAU * variance)) as f32;
            }
        }
        let square = |p: &Plane| p.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let nmse = square(&(&estimate.images[band] - &truth)) / square(&truth);
        assert!(nmse < 5e-4, "band {band}: {nmse}");
    }
    let own = ownership(SIDE, (32.4, 31.8, 5.0), &[], 30.0);
    let fluxes = band_fluxes(&mut model, &estimate, &own).unwrap();
    for (got, want) in fluxes.iter().zip([1000.0, 1100.0]) {
        assert!((got.flux / want - 1.0).abs() < 3e-3, "{got:?} for {want}");
    }
}

#[test]
fn no_flux_crosses_between_bands() {
    // One Gaussian in each band, apart by little more than the seeing; the sharp band shows them all alike.
    let places = [(24.0, 25.0), (40.0, 27.0), (31.0, 41.0)];
    let fluxes = [1000.0, 800.0, 1300.0];
    let sky: Vec<_> = places.iter().zip(fluxes).enumerate().map(|(c, (p, f))| (p.0, p.1, 1.5, f, c)).collect();
    let looks = looks(3);
    for snr in [300.0, 1000.0] {
        let (pixels, sigmas) = observe(&looks, &sky, snr);
        let (_, estimate) = solve(&looks, &pixels, &sigmas, 3, &JointSettings::default());
        for (band, image) in estimate.images.iter().enumerate() {
            for (at, (place, flux)) in places.iter().zip(fluxes).enumerate() {
                let got = within(image, *place, 6.0);
                let want = if at == band { flux } else { 0.0 };
                assert!((got - want).abs() < 5e-3 * flux, "SNR {snr}: band {band} at source {at}: {got} for {want}");
            }
        }
    }
}

#[test]
fn an_empty_sky_stays_empty_on_average() {
    let bands = 2;
    let looks = looks(bands);
    let sigmas = [4.0, 4.0, 1.0];
    let (mut sum, mut square, count) = (0.0, 0.0, 24);
    for seed in 0..count {
        let pixels: Vec<Plane> = looks
            .iter()
            .zip(sigmas)
            .enumerate()
            .map(|(i, (l, s))| noise((l.size, l.size), 100 * seed + i as u64) * s as f32)
            .collect();
        let (_, estimate) = solve(&looks, &pixels, &sigmas, bands, &JointSettings::default());
        let flux = within(&estimate.images[0], (32.0, 32.0), 8.0);
        sum += flux;
        square += flux * flux;
    }
    let mean = sum / count as f64;
    let scatter = (square / count as f64 - mean * mean).sqrt();
    // In the same aperture, plain noise of the band would scatter by 4 * sqrt(pi 8^2 / 4) = 28.
    assert!(mean.abs() < 3.0 * scatter / (count as f64).sqrt() && scatter < 28.0, "{mean} +- {scatter}");
}

#[test]
fn positivity_keeps_its_bound_and_the_fit() {
    let sky = [(32.0, 32.0, 2.0, 700.0, 0), (32.0, 32.0, 2.0, 700.0, 1)];
    let looks = looks(2);
    let (mut pixels, sigmas) = observe(&looks, &sky, 30.0);
    for (i, (p, s)) in pixels.iter_mut().zip(&sigmas).enumerate() {
        *p += &(noise(p.dim(), i as u64) * *s as f32);
    }
    let free = JointSettings::default();
    let held = JointSettings { positivity: 0.2, most_steps: 3000, gap: 0.3, ..free.clone() };
    let (_, open) = solve(&looks, &pixels, &sigmas, 2, &free);
    let (_, bound) = solve(&looks, &pixels, &sigmas, 2, &held);
    let least = |e: &Estimate| e.images[0].iter().copied().fold(0.0f32, f32::min);
    assert!(least(&bound) > 0.8 * least(&open), "{} {}", least(&bound), least(&open));
    let per_pixel = |e: &Estimate| e.chi2.iter().sum::<f64>() / e.models.iter().map(Vec::len).sum::<usize>() as f64;
    assert!(per_pixel(&open) < 1.05 && per_pixel(&bound) < 1.1, "{} {}", per_pixel(&open), per_pixel(&bound));
    assert!(bound.converged, "gap {} after {}", bound.gap, bound.steps);
}

#[test]
fn a_wide_band_alone_cannot_be_divided_and_masked_bands_are_told() {
    let looks = looks(2);
    let sky = [(32.0, 32.0, 2.0, 700.0, 0), (32.0, 32.0, 2.0, 700.0, 1)];
    let (pixels, _) = observe(&looks, &sky, 30.0);
    let mut weights: Vec<Plane> = pixels.iter().map(|p| Plane::ones(p.dim())).collect();
    weights[1].fill(0.0);
    let mut masked = model(&looks, &pixels, &weights, 2);
    assert_eq!(deconvolve(&mut masked, &JointSettings::default()).unwrap_err(), JointError::Unseen(1));
    weights.iter_mut().for_each(|w| w.fill(0.0));
    let mut empty = model(&looks, &pixels, &weights, 2);
    assert_eq!(deconvolve(&mut empty, &JointSettings::default()).unwrap_err(), JointError::NoData);
    let bad = JointSettings { common: 1.5, ..JointSettings::default() };
    let ones: Vec<Plane> = pixels.iter().map(|p| Plane::ones(p.dim())).collect();
    let mut fine = model(&looks, &pixels, &ones, 2);
    assert!(matches!(deconvolve(&mut fine, &bad), Err(JointError::Setting { name: "common", .. })));
    let psf = Plane::zeros((4, 4));
    let wrong = observation(&looks[0], &pixels[0], &ones[0], &psf);
    assert!(matches!(Model::new(&[wrong], SIDE, 2, TARGET), Err(JointError::Observation { observation: 0, .. })));
}
