//! The Tikhonov step against the time of the transforms that it cannot do without: observed and PSF forward, estimate back.
//!
//! `cargo bench --bench tikhonov`. Arguments of each case are (side of the stamp in detector pixels, target pixels per detector pixel).

use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use stillair::deconv::{DeconvSettings, LambdaRule, TikhonovInput, Workspace};
use stillair::fourier::{Amplitude, FftScratch, plan};
use stillair::image::Plane;

const CASES: [(usize, usize); 4] = [(64, 1), (64, 2), (128, 1), (128, 2)];

fn main() {
    divan::main();
}

struct Sample {
    observed: Plane,
    psf: Plane,
    sigma: f64,
}

/// A round Moffat galaxy of SNR about 50 and a Moffat PSF of FWHM 4 detector pixels on a plane of 1/2 the stamp's width.
fn sample(n: usize, factor: usize) -> Sample {
    let moffat = |size: usize, fwhm: f64, beta: f64, cx: f64, cy: f64| {
        let alpha = 0.5 * fwhm / (2f64.powf(1.0 / beta) - 1.0).sqrt();
        let mut p = Plane::from_shape_fn((size, size), |(y, x)| {
            (1.0 + ((y as f64 - cy).powi(2) + (x as f64 - cx).powi(2)) / alpha / alpha).powf(-beta) as f32
        });
        p /= p.sum();
        p
    };
    let psf_side = n / 2 * factor + 1;
    let psf = moffat(psf_side, 4.0 * factor as f64, 3.0, (psf_side / 2) as f64, (psf_side / 2) as f64);
    let mut observed = moffat(n, 7.0, 2.5, n as f64 / 2.0 + 0.3, n as f64 / 2.0 - 0.2);
    let sigma = observed.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() / 50.0;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    observed.mapv_inplace(|v| v + sigma as f32 * rng.sample::<f32, _>(rand_distr::StandardNormal));
    Sample { observed, psf, sigma }
}

/// Two forward transforms and one inverse.
#[divan::bench(args = CASES)]
fn ffts(bencher: Bencher, (n, factor): (usize, usize)) {
    let side = n * factor;
    let (Ok(fine), Ok(coarse)) = (plan(side, side), plan(n, n)) else { return };
    let s = sample(n, factor);
    let observed: Vec<f32> = s.observed.iter().copied().collect();
    let psf: Vec<f32> = (0..side * side).map(|i| 1.0 / (1.0 + i as f32)).collect();
    let mut a = vec![Amplitude::default(); coarse.half_len()];
    let mut b = vec![Amplitude::default(); fine.half_len()];
    let mut out = vec![0.0; side * side];
    let mut scratch = FftScratch::default();
    bencher.bench_local(|| {
        let done = coarse
            .forward(black_box(&observed), &mut a, &mut scratch)
            .and_then(|()| fine.forward(black_box(&psf), &mut b, &mut scratch))
            .and_then(|()| fine.inverse(&b, &mut out, &mut scratch));
        (done, out.first().copied())
    });
}

fn step(bencher: Bencher, (n, factor): (usize, usize), lambda: LambdaRule) {
    let s = sample(n, factor);
    let settings = DeconvSettings { lambda, ..Default::default() };
    let mut work = Workspace::default();
    let input = TikhonovInput {
        observed: &s.observed,
        psf: &s.psf,
        centre: (n as f64 / 2.0 + 0.3, n as f64 / 2.0 - 0.2),
        sigma: s.sigma,
        flux: 1.0,
        half_light_radius: 5.0,
    };
    bencher.bench_local(|| work.tikhonov(black_box(&input), factor, &settings));
}

/// Strength given.
#[divan::bench(args = CASES)]
fn fixed(bencher: Bencher, case: (usize, usize)) {
    step(bencher, case, LambdaRule::Fixed { lambda: 9e-3 });
}

/// Strength by SURE inside the object's area, the default.
#[divan::bench(args = CASES)]
fn sure_object(bencher: Bencher, case: (usize, usize)) {
    step(bencher, case, DeconvSettings::default().lambda);
}

/// Strength by SURE of the prediction.
#[divan::bench(args = CASES)]
fn sure_prediction(bencher: Bencher, case: (usize, usize)) {
    step(bencher, case, LambdaRule::SurePrediction);
}
