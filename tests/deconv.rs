//! The Tikhonov step against a dense linear solution, its adjoint, and what comes back without noise.

mod common;

use nalgebra::{DMatrix, DVector};
use num_complex::Complex64;
use stillair::deconv::{DeconvSettings, Deconvolver, LambdaRule, TikhonovInput, tikhonov};
use stillair::image::Plane;

const TAU: f64 = std::f64::consts::TAU;

fn moffat(size: usize, fwhm: f64) -> Plane {
    let beta: f64 = 3.0;
    let alpha = 0.5 * fwhm / (2f64.powf(1.0 / beta) - 1.0).sqrt();
    let c = (size / 2) as f64;
    let mut p = Plane::from_shape_fn((size, size), |(y, x)| {
        let r2 = (y as f64 - c).powi(2) + 0.9 * (x as f64 - c).powi(2) + 0.1 * (x as f64 - c) * (y as f64 - c);
        (1.0 + r2 / alpha / alpha).powf(-beta) as f32
    });
    p /= p.sum();
    p
}

fn noise(ny: usize, nx: usize, seed: u64) -> Plane {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    Plane::from_shape_simple_fn((ny, nx), || rng.sample::<f32, _>(rand_distr::StandardNormal))
}

/// K = H / G on the whole target grid by defining sums in f64, phase included.
fn transfer(psf: &Plane, side: usize, d: (f64, f64), fwhm: f64) -> Vec<Complex64> {
    let half = (psf.nrows() / 2) as f64;
    let sigma = fwhm / 2.354_820_045_030_949;
    let phase = |k: usize, d: f64| {
        if 2 * k == side {
            Complex64::new((TAU / 2.0 * d).cos(), 0.0)
        } else {
            let k = if 2 * k > side { k as f64 - side as f64 } else { k as f64 };
            Complex64::from_polar(1.0, -TAU * k * d / side as f64)
        }
    };
    // A sampled Gaussian's transform, from its samples.
    let g1 = |k: usize| {
        let s = |f: &dyn Fn(f64) -> f64| (-40..=40).map(|j| f(f64::from(j))).sum::<f64>();
        let e = |j: f64| (-0.5 * j * j / sigma / sigma).exp();
        s(&|j| e(j) * (TAU * k as f64 * j / side as f64).cos()) / s(&e)
    };
    let mut out = Vec::new();
    for ky in 0..side {
        for kx in 0..side {
            let mut h = Complex64::default();
            for ((y, x), v) in psf.indexed_iter() {
                let turn = (ky as f64 * (y as f64 - half) + kx as f64 * (x as f64 - half)) / side as f64;
                h += f64::from(*v) * Complex64::from_polar(1.0, -TAU * turn);
            }
            out.push(h * phase(ky, d.1) * phase(kx, d.0) / (g1(ky) * g1(kx)));
        }
    }
    out
}

#[test]
fn agrees_with_a_dense_solution() {
    for (n, s, centre) in
        [(8, 1, (4.0, 3.0)), (7, 1, (3.2, 2.6)), (6, 2, (3.3, 2.9)), (5, 2, (2.1, 2.0)), (4, 3, (1.8, 2.25))]
    {
        let side = n * s;
        let fwhm = 1.8;
        let psf = moffat(2 * s + 1, 2.2 * s as f64);
        let d = (s as f64 * (centre.0 - (n / 2) as f64), s as f64 * (centre.1 - (n / 2) as f64));
        let k = transfer(&psf, side, d, fwhm);
        let kernel: Vec<f64> = (0..side * side)
            .map(|j| {
                let (y, x) = (j / side, j % side);
                let sum: Complex64 = (0..side * side)
                    .map(|i| {
                        k[i] * Complex64::from_polar(
                            1.0,
                            TAU * ((i / side * y + i % side * x) % side) as f64 / side as f64,
                        )
                    })
                    .sum();
                assert!(sum.im.abs() < 1e-6 * sum.norm().max(1.0));
                sum.re / (side * side) as f64
            })
            .collect();
        let wrap = |a: usize, b: usize| (a + side - b) % side;
        let model = DMatrix::from_fn(n * n, side * side, |i, j| {
            let (dy, dx) = (wrap(i / n * s, j / side), wrap(i % n * s, j % side));
            (s * s) as f64 * kernel[dy * side + dx]
        });
        let laplacian = DMatrix::from_fn(side * side, side * side, |i, j| {
            let (dy, dx) = (wrap(i / side, j / side), wrap(i % side, j % side));
            let near = |v: usize| v == 1 || v == side - 1;
            match (dy, dx) {
                (0, 0) => 4.0,
                (0, v) | (v, 0) if near(v) => -1.0,
                _ => 0.0,
            }
        });
        let observed = noise(n, n, 11) * 3.0 + 1.0;
        let y = DVector::from_iterator(n * n, observed.iter().map(|v| f64::from(*v)));
        for lambda in [1e-3, 0.3] {
            // The Fourier form weights the two terms by their own grids' sizes: |.|^2 on n^2 against lambda / s^2 on (n s)^2 pixels.
            let normal = model.transpose() * &model + laplacian.transpose() * &laplacian * (lambda * (s * s) as f64);
            let dense = normal.lu().solve(&(model.transpose() * &y)).expect("regular");
            let settings = DeconvSettings {
                target_fwhm: fwhm,
                taper: 0.0,
                lambda: LambdaRule::Fixed { lambda },
                ..Default::default()
            };
            let input =
                TikhonovInput { observed: &observed, psf: &psf, centre, sigma: 1.0, flux: 1.0, half_light_radius: 1.0 };
            let got = tikhonov(&input, s, &settings).unwrap();
            let scale = dense.amax();
            for (a, b) in got.image.iter().zip(dense.iter()) {
                assert!((f64::from(*a) - b).abs() < 2e-4 * scale, "n {n} s {s} lambda {lambda}: {a} for {b}");
            }
        }
    }
}

#[test]
fn adjoint_is_exact_to_rounding() {
    for s in 1..=4 {
        let mut grid = Deconvolver::new(16, s, 2.0).unwrap();
        let psf = moffat(8 * s + 1, 3.0 * s as f64);
        let (z, r) = (noise(16 * s, 16 * s, 1), noise(16, 16, 2));
        let dot = |a: &Plane, b: &Plane| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let norm = |a: &Plane| dot(a, a).sqrt();
        let forward = grid.forward_model(&z, &psf, (8.3, 7.6)).unwrap();
        let back = grid.adjoint(&r, &psf, (8.3, 7.6)).unwrap();
        assert!((dot(&forward, &r) - dot(&z, &back)).abs() < 1e-6 * norm(&forward) * norm(&r), "factor {s}");
    }
}

/// A round Gaussian of flux 1 centred at fine pixel `c` of a grid `side` wide.
fn blob(side: usize, c: (f64, f64), sigma: f64) -> Plane {
    let mut p = Plane::from_shape_fn((side, side), |(y, x)| {
        (-0.5 * ((x as f64 - c.0).powi(2) + (y as f64 - c.1).powi(2)) / sigma / sigma).exp() as f32
    });
    p /= p.sum();
    p
}

#[test]
fn without_noise_the_sky_comes_back_centred() {
    // Sky: a Gaussian wider than the target. The target view of it lies exactly on the middle pixel.
    for (s, centre) in [(1, (31.3, 33.4)), (2, (32.25, 31.6)), (3, (32.1, 31.9)), (4, (31.8, 32.3))] {
        let n = 64;
        let psf = moffat(16 * s + 1, 3.2 * s as f64);
        let mut grid = Deconvolver::new(n, s, 2.0).unwrap();
        let truth = blob(n * s, ((n * s / 2) as f64, (n * s / 2) as f64), 2.5 * s as f64);
        let observed = grid.forward_model(&truth, &psf, centre).unwrap() * 1000.0;
        let settings = DeconvSettings { taper: 0.0, lambda: LambdaRule::Fixed { lambda: 1e-7 }, ..Default::default() };
        let input =
            TikhonovInput { observed: &observed, psf: &psf, centre, sigma: 1.0, flux: 1000.0, half_light_radius: 4.0 };
        let got = grid.tikhonov(&input, &settings).unwrap().image;
        let worst = got.iter().zip(&truth).map(|(a, b)| (a - 1000.0 * b).abs()).fold(0.0, f32::max);
        let peak = 1000.0 * truth[[n * s / 2, n * s / 2]];
        assert!(worst < 2e-3 * peak, "factor {s}: {worst} of {peak}");
        assert!((got.sum() - 1000.0).abs() < 1.0, "factor {s}: flux {}", got.sum());
        // The observed centre really is where it was asked for.
        let moment = |f: &dyn Fn(usize, usize) -> f64| {
            observed.indexed_iter().map(|((y, x), v)| f64::from(*v) * f(y, x)).sum::<f64>() / f64::from(observed.sum())
        };
        assert!(
            (moment(&|_, x| x as f64) - centre.0).abs() < 0.02 && (moment(&|y, _| y as f64) - centre.1).abs() < 0.02
        );
    }
}

#[test]
fn propagated_noise_is_the_scatter_of_the_output() {
    for s in [1, 2] {
        let psf = moffat(16 * s + 1, 3.5 * s as f64);
        let observed = noise(64, 64, 5) * 7.0;
        let settings = DeconvSettings { taper: 0.0, lambda: LambdaRule::Fixed { lambda: 0.03 }, ..Default::default() };
        let input = TikhonovInput {
            observed: &observed,
            psf: &psf,
            centre: (32.2, 31.7),
            sigma: 7.0,
            flux: 1.0,
            half_light_radius: 3.0,
        };
        let got = tikhonov(&input, s, &settings).unwrap();
        let rms = (got.image.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / got.image.len() as f64).sqrt();
        assert!((rms / got.noise_sigma - 1.0).abs() < 0.05, "factor {s}: {rms} for {}", got.noise_sigma);
    }
}

#[test]
fn strengths_are_those_of_numpy_and_near_the_brute_force_optimum() {
    let text = std::fs::read_to_string(common::golden("deconv/sure.json")).expect("golden file");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let number = |v: &serde_json::Value| v.as_f64().expect("number");
    let numbers = |v: &serde_json::Value| v.as_array().expect("array").iter().map(number).collect::<Vec<f64>>();
    let n = number(&golden["n"]) as usize;
    let observed =
        Plane::from_shape_vec((n, n), numbers(&golden["observed"]).into_iter().map(|v| v as f32).collect()).unwrap();
    let centre = numbers(&golden["centre"]);
    for factor in [1, 2] {
        let alpha = 0.5 * number(&golden["psf_fwhm"]) * factor as f64 / (2f64.powf(1.0 / 3.0) - 1.0).sqrt();
        let half = 5.0 * factor as f64;
        let mut psf = Plane::from_shape_fn((10 * factor + 1, 10 * factor + 1), |(y, x)| {
            (1.0 + ((y as f64 - half).powi(2) + (x as f64 - half).powi(2)) / alpha / alpha).powi(-3) as f32
        });
        psf /= psf.sum();
        let want = &golden[format!("factor_{factor}")];
        let input = TikhonovInput {
            observed: &observed,
            psf: &psf,
            centre: (centre[0], centre[1]),
            sigma: number(&golden["sigma"]),
            flux: number(&golden["flux"]),
            half_light_radius: number(&golden["radius"]),
        };
        for (name, lambda) in [
            ("prediction", LambdaRule::SurePrediction),
            ("projection", LambdaRule::SureProjection),
            ("gcv", LambdaRule::Gcv),
            ("object", LambdaRule::SureObject { radii: 1.0 }),
        ] {
            let settings = DeconvSettings {
                target_fwhm: number(&golden["target_fwhm"]),
                taper: 0.0,
                lambda,
                ..Default::default()
            };
            let got = tikhonov(&input, factor, &settings).unwrap();
            let ratio = got.lambda / number(&want[name]);
            assert!((ratio - 1.0).abs() < 0.04, "factor {factor}, {name}: {} is {ratio} of numpy's", got.lambda);
            assert!(!got.lambda_at_bound);
            if name == "prediction" {
                // The risk itself, by brute force over noise realisations, is as good as least at the strength chosen.
                let risks = numbers(&want["brute_force_risk"]);
                let best = risks.iter().copied().fold(f64::INFINITY, f64::min);
                let at = numbers(&want["lambda"]).iter().position(|l| *l >= got.lambda).unwrap();
                assert!(risks[at - 1].min(risks[at]) < 1.1 * best, "{} for {best}", risks[at - 1]);
            }
        }
    }
}
