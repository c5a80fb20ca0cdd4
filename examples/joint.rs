//! Joint deconvolution against each band alone, the published recipe and interpolation with Tikhonov, on simulated galaxies in r, i, z and a wide
//! sharp band. `cargo run --release --example joint [objects per SNR] [seed] [gap] [slope] [common]` prints the tables of `docs/joint.md`.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use num_complex::Complex64;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stillair::deconv::{DeconvSettings, LambdaRule, TikhonovInput, tikhonov};
use stillair::evaluate::score_image;
use stillair::fourier::gaussian_half_spectrum;
use stillair::image::Plane;
use stillair::joint::{Affine, JointSettings, Model, Observation, deconvolve};
use stillair::simulate::draw::{self, log_uniform, normal, uniform};
use stillair::simulate::grid::{Grid, Renderer, Spectrum, Window};
use stillair::simulate::psf::{self, Psf};
use stillair::simulate::scene::{Component, Scene};
use stillair::simulate::table::Shear;

/// Target pixels a side, of 0.1 arcsec.
const SIDE: usize = 64;
const TARGET: f64 = 2.0;
const SHARES: [f64; 3] = [0.3, 0.4, 0.3];
const APERTURE: f64 = 12.0;

/// One object: its scene in every band.
fn object(rng: &mut ChaCha8Rng) -> (Vec<Scene>, f64) {
    let star = rng.random_bool(0.1);
    let radius = log_uniform(rng, 1.2, 6.0);
    let scene = if star { Scene::star(1.0) } else { draw::galaxy(rng, radius).0 };
    let jitter = |rng: &mut ChaCha8Rng, c: [f64; 3]| c.map(|v| v * (0.15 * normal(rng)).exp());
    let (disc, bulge, knot) =
        (jitter(rng, [1.0, 1.2, 1.3]), jitter(rng, [0.5, 1.0, 1.6]), jitter(rng, [1.6, 1.0, 0.6]));
    let neighbour = rng.random_bool(0.4).then(|| {
        let (r, phi) = (uniform(rng, 9.0, 20.0), uniform(rng, 0.0, std::f64::consts::TAU));
        let size = log_uniform(rng, 1.0, 3.0);
        let flux = uniform(rng, 0.1, 0.8);
        let colour = jitter(rng, [1.0, 0.8, 0.7]);
        let shear = Shear::from_axis_ratio(uniform(rng, 0.4, 1.0), uniform(rng, 0.0, std::f64::consts::PI));
        let part = move |flux| Component::Sersic {
            flux,
            n: 1.0,
            half_light_radius: size,
            shear,
            dx: r * phi.cos(),
            dy: r * phi.sin(),
        };
        move |band: usize| part(flux * colour[band])
    });
    let half = scene.half_light_radius();
    let bands = (0..3)
        .map(|band| {
            let mut out = scene.clone();
            let mut first = true;
            for c in &mut out.components {
                let colour = match c {
                    Component::Knot { .. } => knot,
                    Component::Sersic { n, .. } if !first && *n >= 1.5 => bulge,
                    _ => disc,
                };
                first = false;
                match c {
                    Component::Point { flux, .. }
                    | Component::Knot { flux, .. }
                    | Component::Sersic { flux, .. }
                    | Component::Picture { flux, .. } => {
                        *flux *= colour[band];
                    }
                    Component::Arms { disc_flux, .. } => *disc_flux *= colour[band],
                }
            }
            out.components.extend(neighbour.as_ref().map(|n| n(band)));
            out
        })
        .collect();
    (bands, half)
}

/// An instrument: PSF without pixel, pixel in target pixels, samples of the PSF per pixel.
struct Instrument {
    psf: Psf,
    pixel: usize,
    oversample: usize,
}

impl Instrument {
    fn kernel(&self, grid: Grid) -> Spectrum {
        let mut spectrum = self.psf.spectrum(grid);
        let width = self.pixel as f64;
        spectrum.multiply_separable(|k| {
            let x = std::f64::consts::PI * k * width;
            if x.abs() < 1e-9 { 1.0 } else { x.sin() / x }
        });
        spectrum
    }

    /// Pixels of the object at the middle of the target grid, and the map to it.
    fn observe(&self, object: &Spectrum, kernel: &Spectrum, renderer: &mut Renderer) -> Plane {
        let middle = (SIDE / 2) as f64;
        let window = Window { nx: SIDE, ny: SIDE, sampling: 1, centre: (middle, middle) };
        let fine = renderer.draw(object, kernel, window);
        let p = self.pixel;
        Plane::from_shape_fn((SIDE / p, SIDE / p), |(y, x)| (p * p) as f32 * fine[(y * p, x * p)])
    }

    /// Effective PSF, `oversample` samples per own pixel.
    fn psf_plane(&self, renderer: &mut Renderer) -> Plane {
        let sampling = (self.oversample / self.pixel).max(1);
        let side = SIDE * sampling - 1;
        let grid = Grid::new(2 * SIDE, self.psf.cut(1e-5), sampling);
        let centre = (side / 2) as f64;
        let window = Window { nx: side, ny: side, sampling, centre: (centre, centre) };
        let mut plane = renderer.draw(&Spectrum::constant(grid, 1.0), &self.kernel(grid), window);
        psf::normalise(&mut plane);
        plane
    }

    fn map(&self) -> Affine {
        let p = self.pixel as f64;
        Affine { matrix: [[p, 0.0], [0.0, p]], offset: (0.0, 0.0) }
    }
}

/// Cubic convolution (Keys 1981) of a coarse image onto the target grid, flux per target pixel.
fn interpolated(coarse: &Plane, pixel: usize) -> Plane {
    let weight = |t: f64| {
        let t = t.abs();
        if t < 1.0 {
            (1.5 * t - 2.5) * t * t + 1.0
        } else if t < 2.0 {
            ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
        } else {
            0.0
        }
    };
    let (ny, nx) = coarse.dim();
    let area = (pixel * pixel) as f64;
    Plane::from_shape_fn((SIDE, SIDE), |(y, x)| {
        let (u, v) = (x as f64 / pixel as f64, y as f64 / pixel as f64);
        let (i, j) = (u.floor() as isize, v.floor() as isize);
        let mut sum = 0.0;
        for dj in -1..=2 {
            for di in -1..=2 {
                let (r, c) = ((j + dj).clamp(0, ny as isize - 1), (i + di).clamp(0, nx as isize - 1));
                sum += f64::from(coarse[(r as usize, c as usize)])
                    * weight(u - (i + di) as f64)
                    * weight(v - (j + dj) as f64);
            }
        }
        (sum / area) as f32
    })
}

/// The published recipe: positivity, one step size per band from `max|H|^2`, 200 steps from the interpolated images; with exact
/// operators, which the public code lacks. Returns the images seen with the target PSF.
fn published(model: &mut Model, start: &[Plane], constants: &[f64], steps: usize) -> Vec<Plane> {
    let n = SIDE;
    let target = gaussian_half_spectrum(n, n, TARGET);
    let mut x: Vec<Vec<f64>> = start.iter().map(|p| p.iter().map(|v| f64::from(*v).max(0.0)).collect()).collect();
    let mut spectra = vec![vec![Complex64::default(); (n / 2 + 1) * n]; x.len()];
    let data = model.data().unwrap();
    let mut plane = vec![0.0; n * n];
    for _ in 0..steps {
        for (x, s) in x.iter().zip(&mut spectra) {
            model.transform(x, s).unwrap();
            s.iter_mut().zip(&target).for_each(|(s, g)| *s *= g);
        }
        let seen = model.normal(&spectra).unwrap();
        for (((x, s), d), c) in x.iter_mut().zip(&seen).zip(&data).zip(constants) {
            let slope: Vec<Complex64> = s.iter().zip(d).zip(&target).map(|((s, d), g)| (s - d) * g).collect();
            model.inverse(&slope, &mut plane).unwrap();
            x.iter_mut().zip(&plane).for_each(|(x, g)| *x = (*x - g / c).max(0.0));
        }
    }
    x.iter()
        .map(|x| {
            let mut s = vec![Complex64::default(); (n / 2 + 1) * n];
            model.transform(x, &mut s).unwrap();
            s.iter_mut().zip(&target).for_each(|(s, g)| *s *= g);
            model.inverse(&s, &mut plane).unwrap();
            Plane::from_shape_fn((n, n), |(y, x)| plane[y * n + x] as f32)
        })
        .collect()
}

fn aperture(p: &Plane) -> f64 {
    let c = (SIDE / 2) as f64;
    let inside = |y: usize, x: usize| (x as f64 - c).hypot(y as f64 - c) <= APERTURE;
    p.indexed_iter().filter(|((y, x), _)| inside(*y, *x)).map(|(_, v)| f64::from(*v)).sum()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[derive(Default)]
struct Score {
    nmse: [Vec<f64>; 3],
    ssim: [Vec<f64>; 3],
    flux: [Vec<f64>; 3],
    blank: [Vec<f64>; 3],
    seconds: f64,
    steps: usize,
}

fn add_noise(p: &Plane, sigma: f64, rng: &mut impl Rng) -> Plane {
    p.mapv(|v| v + sigma as f32 * rng.sample::<f32, _>(rand_distr::StandardNormal))
}

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|a| a.parse::<f64>().ok());
    let (count, seed) = (args.next().unwrap_or(60.0) as usize, args.next().unwrap_or(7.0) as u64);
    let default = JointSettings::default();
    let gap = args.next().unwrap_or(default.gap);
    let (slope, common) = (args.next().unwrap_or(default.slope), args.next().unwrap_or(default.common));
    let round = Shear::default();
    let ground =
        |fwhm: f64| Instrument { psf: Psf::moffat(fwhm, 3.0, Shear { g1: 0.02, g2: -0.01 }), pixel: 2, oversample: 2 };
    let vis = Psf::Convolution(vec![Psf::airy(0.755, 0.3), Psf::gaussian(0.6, round)]);
    let instruments = [ground(7.5), ground(7.0), ground(6.7), Instrument { psf: vis, pixel: 1, oversample: 2 }];
    let mut renderer = Renderer::new();
    let psfs: Vec<Plane> = instruments.iter().map(|i| i.psf_plane(&mut renderer)).collect();
    // the recipe's constants: largest |H|^2, 1 for unit-sum PSFs, times the pixels' areas
    let grid = Grid::new(2 * SIDE, 0.9, 1);
    let kernels: Vec<Spectrum> = instruments.iter().map(|i| i.kernel(grid)).collect();
    let target = psf::target_spectrum(grid, TARGET);
    let middle = (SIDE / 2) as f64;
    let window = Window { nx: SIDE, ny: SIDE, sampling: 1, centre: (middle, middle) };
    println!(
        "| SNR in r | method | NMSE r / i / z | SSIM r / i / z | median abs. flux error r / i / z | blank flux / noise | ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for snr in [10.0, 30.0, 100.0, 300.0] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed + snr as u64);
        let names = [
            "joint",
            "joint, positive",
            "a: each band alone",
            "b: published, 200 steps",
            "c: interpolation, Tikhonov 9e-3",
            "Tikhonov on the data's grid, SURE",
        ];
        let mut scores: Vec<Score> = names.iter().map(|_| Score::default()).collect();
        for item in 0..count {
            let (scenes, half) = object(&mut rng);
            let mut spectra: Vec<Spectrum> = scenes.iter().map(|s| s.spectrum(grid)).collect();
            let truths: Vec<Plane> = spectra.iter().map(|s| renderer.draw(s, &target, window)).collect();
            let mut wide = Spectrum::constant(grid, 0.0);
            spectra.iter().zip(SHARES).for_each(|(s, a)| wide.add(a as f32, s));
            spectra.push(wide);
            let clean: Vec<Plane> = instruments
                .iter()
                .zip(&kernels)
                .zip(&spectra)
                .map(|((i, k), s)| i.observe(s, k, &mut renderer))
                .collect();
            let power = |p: &Plane| p.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let base = power(&clean[0]) / snr;
            let sigmas = [base, base, 1.3 * base, power(&clean[3]) / (1.5 * snr)];
            let fwhm = (4.0 * half * half + TARGET * TARGET).sqrt();
            for blank in [false, true] {
                if blank && item % 2 == 1 {
                    continue;
                }
                let seen: Vec<Plane> = clean
                    .iter()
                    .zip(sigmas)
                    .map(|(p, s)| add_noise(&if blank { p * 0.0 } else { p.clone() }, s, &mut rng))
                    .collect();
                let weights: Vec<Plane> =
                    seen.iter().zip(sigmas).map(|(p, s)| Plane::from_elem(p.dim(), (1.0 / (s * s)) as f32)).collect();
                let observation = |o: usize, shares: Vec<f64>| Observation {
                    pixels: &seen[o],
                    weight: &weights[o],
                    psf: &psfs[o],
                    oversample: instruments[o].oversample,
                    to_target: instruments[o].map(),
                    shares,
                };
                let all = || -> Vec<Observation> {
                    (0..4)
                        .map(|o| {
                            observation(
                                o,
                                if o < 3 {
                                    (0..3).map(|c| f64::from(u8::from(c == o))).collect()
                                } else {
                                    SHARES.to_vec()
                                },
                            )
                        })
                        .collect()
                };
                for (name, score) in names.iter().zip(&mut scores) {
                    let began = Instant::now();
                    let settings = JointSettings { gap, slope, common, ..JointSettings::default() };
                    let images: Vec<Plane> = match *name {
                        "joint" | "joint, positive" => {
                            let positivity = if *name == "joint" { 0.0 } else { 0.5 };
                            if positivity > 0.0 && item >= 12 {
                                continue;
                            }
                            let mut model = Model::new(&all(), SIDE, 3, TARGET).unwrap();
                            let done = deconvolve(&mut model, &JointSettings { positivity, ..settings }).unwrap();
                            score.steps += done.steps;
                            done.images
                        }
                        "a: each band alone" => (0..3)
                            .flat_map(|o| {
                                let mut model = Model::new(&[observation(o, vec![1.0])], SIDE, 1, TARGET).unwrap();
                                deconvolve(&mut model, &settings).unwrap().images
                            })
                            .collect(),
                        "b: published, 200 steps" => {
                            let mut model = Model::new(&all(), SIDE, 3, TARGET).unwrap();
                            let start: Vec<Plane> = (0..3).map(|c| interpolated(&seen[c], 2)).collect();
                            let constants: Vec<f64> = (0..3)
                                .map(|c| 4.0 / sigmas[c].powi(2) + 2.0 * SHARES[c].powi(2) / sigmas[3].powi(2))
                                .collect();
                            published(&mut model, &start, &constants, 200)
                        }
                        other => (0..3)
                            .map(|c| {
                                let on_data = other.starts_with("Tik");
                                let observed = if on_data { seen[c].clone() } else { interpolated(&seen[c], 2) };
                                let (factor, at) = if on_data { (2, middle / 2.0) } else { (1, middle) };
                                let sigma = if on_data { sigmas[c] } else { sigmas[c] / 4.0 };
                                let lambda = if on_data {
                                    LambdaRule::SureObject { radii: 1.0 }
                                } else {
                                    LambdaRule::Fixed { lambda: 9e-3 }
                                };
                                let deconv = DeconvSettings {
                                    target_fwhm: TARGET,
                                    lambda,
                                    taper: 0.0,
                                    ..DeconvSettings::default()
                                };
                                let flux = f64::from(observed.sum());
                                let radius = (half * half + 12.0).sqrt() / factor as f64;
                                let input = TikhonovInput {
                                    observed: &observed,
                                    psf: &psfs[c],
                                    centre: (at, at),
                                    sigma,
                                    flux,
                                    half_light_radius: radius,
                                };
                                tikhonov(&input, factor, &deconv).unwrap().image
                            })
                            .collect(),
                    };
                    score.seconds += began.elapsed().as_secs_f64();
                    for c in 0..3 {
                        if blank {
                            let noise = sigmas[c] * (std::f64::consts::PI * APERTURE * APERTURE / 4.0).sqrt();
                            score.blank[c].push(aperture(&images[c]) / noise);
                        } else {
                            let got = score_image(&images[c], &truths[c], (middle, middle), fwhm).unwrap();
                            score.nmse[c].push(got.nmse);
                            score.ssim[c].push(got.ssim);
                            score.flux[c].push((aperture(&images[c]) / aperture(&truths[c]) - 1.0).abs());
                        }
                    }
                }
            }
        }
        for (name, score) in names.iter().zip(&mut scores) {
            let runs = (score.nmse[0].len() + score.blank[0].len()).max(1) as f64;
            let three = |v: &mut [Vec<f64>; 3], digits: usize| {
                v.iter_mut().map(|v| format!("{:.*}", digits, median(v))).collect::<Vec<_>>().join(" / ")
            };
            let blank: Vec<f64> = score.blank.iter().flatten().copied().collect();
            let mean = blank.iter().sum::<f64>() / blank.len().max(1) as f64;
            let scatter = (blank.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / blank.len().max(1) as f64).sqrt();
            println!(
                "| {snr} | {name} | {} | {} | {} | {mean:.2} +- {scatter:.2} | {:.1} |{}",
                three(&mut score.nmse, 4),
                three(&mut score.ssim, 3),
                three(&mut score.flux, 3),
                1e3 * score.seconds / runs,
                if score.steps > 0 {
                    format!(" <!-- {:.0} steps -->", score.steps as f64 / runs)
                } else {
                    String::new()
                }
            );
        }
    }
}
