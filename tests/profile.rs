//! The profile fit and the debiasing: exact where the model is, honest where it is noisy, unmoved by neighbours, and never a panic.

#![allow(clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};
use stillair::deconv::{DebiasInput, DebiasSettings, Workspace, debias};
use stillair::exposure::{Exposure, VarianceOrigin};
use stillair::image::{MaskPlane, Plane};
use stillair::photometry::{
    PhotometryError, Profile, ProfileFitter, ProfileInput, ProfilePlace, ProfileSettings, ProfileShape, SHARES_MEAN,
};
use stillair::pipeline::{Given, Timings, catalog_header, deconvolve, prepare};
use stillair::psf::{Domain, NativeModel, PsfModel};
use stillair::settings::Settings;

const SIDE: usize = 48;
const PSF2: f64 = 2.6;

/// A Gaussian PSF on an odd square, unit sum.
fn psf() -> Plane {
    let plane = Plane::from_shape_fn((47, 47), |(y, x)| {
        (-0.5 * ((y as f64 - 23.0).powi(2) + (x as f64 - 23.0).powi(2)) / PSF2).exp() as f32
    });
    let sum = plane.sum();
    plane / sum
}

fn shape(size: f64, e1: f64, e2: f64) -> ProfileShape {
    ProfileShape { ln_size2: (size * size).ln(), e1, e2, dx: 0.1, dy: -0.15 }
}

fn galaxy(flux: f64, shape: ProfileShape) -> Profile {
    Profile {
        flux,
        flux_err: 0.0,
        noise_err: 0.0,
        point: 0.0,
        seen: None,
        sky: (0.0, 0.0),
        shape,
        shape_err: [0.0; 5],
        shares: SHARES_MEAN,
        steps: 0,
        converged: true,
    }
}

fn input<'a>(observed: &'a Plane, weight: &'a Plane, psf: &'a Plane) -> ProfileInput<'a> {
    ProfileInput {
        observed,
        weight,
        psf,
        factor: 1,
        centre: (24.0, 24.0),
        psf_fwhm: PSF2.sqrt() * 2.354_82,
        size2: 4.0,
        target2: 0.72,
        psf_err: (0.0, 0.0),
    }
}

/// What the detector shows of a galaxy, without noise.
fn drawn(profile: &Profile, psf: &Plane) -> Plane {
    let place = ProfilePlace { side: SIDE, psf, factor: 1, centre: (24.0, 24.0) };
    ProfileFitter::default().render(profile, &place).expect("drawn")
}

fn noisy(plane: &Plane, sigma: f32, seed: u64) -> Plane {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let normal = Normal::new(0.0f32, sigma).expect("normal");
    plane.mapv(|v| v + normal.sample(&mut rng))
}

/// Without noise the answer is the truth: flux, ellipticity, moments at the target PSF.
#[test]
fn a_profile_without_noise_comes_back() {
    let psf = psf();
    let truth = galaxy(5000.0, shape(2.0, 0.3, -0.2));
    let observed = drawn(&truth, &psf);
    assert!((f64::from(observed.sum()) / truth.flux - 1.0).abs() < 1e-4, "{}", observed.sum());
    let weight = Plane::from_elem((SIDE, SIDE), 1e4);
    let (found, model) =
        ProfileFitter::default().fit(&input(&observed, &weight, &psf), None, &ProfileSettings::default()).expect("fit");
    assert!((found.flux / truth.flux - 1.0).abs() < 2e-3, "{found:?}");
    assert!((found.shape.e1 - 0.3).abs() < 0.01 && (found.shape.e2 + 0.2).abs() < 0.01, "{found:?}");
    assert!((found.shape.dx - 0.1).abs() < 0.01 && (found.shape.dy + 0.15).abs() < 0.01, "{found:?}");
    assert!(found.point < 1e-6);
    let worst = (&model - &observed).iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(worst < 5e-3 * observed.iter().copied().fold(0.0, f32::max), "{worst}");
    let seen = found.seen.expect("moments");
    // The unit component alone would have these; narrow ones, which count more under a matched weight, are rounder at the target.
    let [xx, yy, xy] = seen.moments;
    assert!(((xx - yy) / (xx + yy) - 0.3 * (xx + yy - 1.44) / (xx + yy)).abs() < 0.03, "{seen:?}");
    assert!(xy < 0.0 && seen.half_light_radius > 1.0);
}

/// A point is found to be one, keeps its flux, and looks like the target PSF.
#[test]
fn a_point_stays_a_point() {
    let psf = psf();
    let mut star = galaxy(3000.0, shape(1.0, 0.0, 0.0));
    star.shares = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let weight = Plane::from_elem((SIDE, SIDE), 1.0);
    let observed = noisy(&drawn(&star, &psf), 1.0, 4);
    let (found, _) =
        ProfileFitter::default().fit(&input(&observed, &weight, &psf), None, &ProfileSettings::default()).expect("fit");
    assert!(found.point > 0.9, "{found:?}");
    assert!((found.flux - 3000.0).abs() < 4.0 * found.flux_err, "{found:?}");
    let [xx, yy, _] = found.seen.expect("moments").moments;
    assert!(((xx + yy) / 1.44 - 1.0).abs() < 0.05, "{xx} {yy}");
}

/// Over noise, and over galaxies drawn from the priors, the flux's error is its scatter.
#[test]
fn flux_errors_are_the_scatter() {
    let psf = psf();
    let settings = ProfileSettings { points: 0.001, ..ProfileSettings::default() };
    let weight = Plane::from_elem((SIDE, SIDE), 1.0);
    let mut fitter = ProfileFitter::default();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
    let mut pulls = Vec::new();
    for seed in 0..120 {
        let (a, b) = (rng.random::<f64>() - 0.5, rng.random::<f64>() - 0.5);
        let truth = galaxy(600.0, shape(1.2 + 2.0 * rng.random::<f64>(), 0.8 * a, 0.8 * b));
        let observed = noisy(&drawn(&truth, &psf), 1.0, seed);
        let (found, _) = fitter.fit(&input(&observed, &weight, &psf), None, &settings).expect("fit");
        pulls.push((found.flux - truth.flux) / found.flux_err);
    }
    let mean = pulls.iter().sum::<f64>() / pulls.len() as f64;
    let std = (pulls.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / pulls.len() as f64).sqrt();
    // The galaxies all have the mean shares, of which the error does not know: it is somewhat larger than the scatter.
    assert!(mean.abs() < 0.35, "mean {mean}");
    assert!((0.5..1.15).contains(&std), "std {std}");
}

/// An empty place has no flux beyond its error, on average none at all.
#[test]
fn nothing_has_no_flux() {
    let psf = psf();
    let weight = Plane::from_elem((SIDE, SIDE), 1.0);
    let mut fitter = ProfileFitter::default();
    let count = 200;
    let pulls: Vec<f64> = (0..count)
        .map(|seed| {
            let observed = noisy(&Plane::zeros((SIDE, SIDE)), 1.0, 1000 + seed);
            let (found, _) =
                fitter.fit(&input(&observed, &weight, &psf), None, &ProfileSettings::default()).expect("fit");
            found.flux / found.flux_err
        })
        .collect();
    let mean = pulls.iter().sum::<f64>() / count as f64;
    assert!(mean.abs() < 0.25, "mean pull {mean}");
    assert!(pulls.iter().filter(|p| **p > 5.0).count() == 0);
}

#[test]
fn bad_input_is_refused_and_nothing_panics() {
    let psf = psf();
    let observed = Plane::from_elem((SIDE, SIDE), 1.0);
    let settings = ProfileSettings::default();
    let mut fitter = ProfileFitter::default();
    let none = Plane::zeros((SIDE, SIDE));
    let good = Plane::from_elem((SIDE, SIDE), 1.0);
    let mut fit = |input: &ProfileInput| fitter.fit(input, None, &settings);
    assert!(matches!(fit(&input(&observed, &none, &psf)), Err(PhotometryError::NoUsablePixels { .. })));
    let nan = Plane::from_elem((SIDE, SIDE), f32::NAN);
    assert!(matches!(fit(&input(&nan, &good, &psf)), Err(PhotometryError::NoUsablePixels { .. })));
    assert!(fit(&input(&observed, &nan, &psf)).is_err());
    assert!(fit(&input(&observed, &good, &Plane::zeros((47, 47)))).is_err());
    assert!(fit(&input(&observed, &good, &Plane::zeros((46, 46)))).is_err());
    assert!(fit(&input(&observed, &Plane::zeros((3, 3)), &psf)).is_err());
    let far = ProfileInput { centre: (f64::NAN, 1.0), ..input(&observed, &good, &psf) };
    assert!(fit(&far).is_err());
    let wide = ProfileInput { psf_fwhm: 0.0, ..input(&observed, &good, &psf) };
    assert!(fit(&wide).is_err());
    // A hole in the sky has a negative flux, and an honest one.
    let hole = drawn(&galaxy(-2000.0, shape(2.0, 0.0, 0.0)), &psf);
    let (found, _) = fit(&input(&hole, &good, &psf)).expect("fit");
    assert!(found.flux < 0.0 && found.flux_err.is_finite(), "{found:?}");
    // One pixel alone.
    let mut one = none.clone();
    one[(24, 24)] = 1.0;
    if let Ok((found, _)) = fit(&input(&observed, &one, &psf)) {
        assert!(found.flux.is_finite());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Scaling the image scales flux and error, whatever the unit.
    #[test]
    fn fluxes_scale(k in 1e-3f32..1e3, seed in 0u64..1000) {
        let psf = psf();
        let observed = noisy(&drawn(&galaxy(900.0, shape(1.8, 0.2, 0.1)), &psf), 1.0, seed);
        let weight = Plane::from_elem((SIDE, SIDE), 1.0);
        let mut fitter = ProfileFitter::default();
        let settings = ProfileSettings::default();
        let (one, _) = fitter.fit(&input(&observed, &weight, &psf), None, &settings).expect("fit");
        let (two, _) = fitter.fit(&input(&(&observed * k), &(&weight / (k * k)), &psf), None, &settings).expect("fit");
        prop_assert!((two.flux / (one.flux * f64::from(k)) - 1.0).abs() < 1e-3, "{} {}", one.flux, two.flux);
        prop_assert!((two.flux_err / (one.flux_err * f64::from(k)) - 1.0).abs() < 1e-3);
    }
}

/// An exposure of stars through a Moffat PSF: (x, y, flux) each.
fn exposure(objects: &[(f64, f64, f64)], psf: &PsfModel, seed: u64) -> Exposure {
    let (ny, nx) = (160, 160);
    let mut image = Plane::zeros((ny, nx));
    for (x, y, flux) in objects {
        let stamp = psf.evaluate(*x, *y, 97, 1).expect("PSF").image;
        let (cx, cy) = (*x as usize, *y as usize);
        for ((j, i), v) in stamp.indexed_iter() {
            let (row, column) = ((cy + j).wrapping_sub(48), (cx + i).wrapping_sub(48));
            if let Some(slot) = image.get_mut((row, column)) {
                *slot += (flux * f64::from(*v)) as f32;
            }
        }
    }
    Exposure {
        id: "pair".into(),
        image: noisy(&image, 1.0, seed),
        variance: Plane::from_elem((ny, nx), 1.0),
        mask: MaskPlane::zeros((ny, nx)),
        wcs: None,
        zero_point: None,
        gain: None,
        saturation: None,
        band: None,
        exposure_time: None,
        instrument: None,
        variance_origin: VarianceOrigin::Variance,
        background_subtracted: Some(true),
        layout: "simple".into(),
        pixel_scale_hint: None,
        notes: Vec::new(),
    }
}

/// A neighbour ten times as bright moves a flux by less than its error.
#[test]
fn a_neighbour_does_not_move_the_flux() {
    let psf = PsfModel::from_native(NativeModel::constant(Domain::image(160, 160), 3.6, 4.765));
    let given = Given { psf: Some(psf.clone()), ..Given::default() };
    let settings = Settings::default();
    let flux_at = |objects: &[(f64, f64, f64)]| {
        let exposure = exposure(objects, &psf, 77);
        let mut timings = Timings::default();
        let field = prepare(&exposure, &given, &settings, &mut timings).expect("field");
        let header = catalog_header(&exposure, &field, "pair", None, &given, &settings);
        let catalog =
            deconvolve(&exposure, &field, header, None, &settings, &mut timings, &mut |_| Ok(())).expect("catalogue");
        let row = catalog
            .rows
            .iter()
            .min_by(|a, b| (a.x - 71.0).hypot(a.y - 81.0).total_cmp(&(b.x - 71.0).hypot(b.y - 81.0)))
            .expect("a row")
            .clone();
        assert!((row.x - 71.0).hypot(row.y - 81.0) < 1.5, "{row:?}");
        (row.flux, row.flux_err)
    };
    let object = (70.0, 80.0, 900.0);
    let (alone, error) = flux_at(&[object]);
    assert!((alone - 900.0).abs() < 4.0 * error, "{alone} +- {error}");
    for distance in [26.0, 18.0, 13.0] {
        let (beside, error) = flux_at(&[object, (70.0 + distance, 80.0, 9000.0)]);
        assert!((beside - alone).abs() < error, "at {distance} pixels: {beside} for {alone} +- {error}");
    }
}

/// Structure that an output lost comes back, what is right stays, and no step is no change.
#[test]
fn debiasing_follows_the_data() {
    let psf = psf();
    let factor = 1;
    let truth = Plane::from_shape_fn((SIDE, SIDE), |(y, x)| {
        let spot =
            |cx: f64, cy: f64, s: f64| (-0.5 * ((x as f64 - cx).powi(2) + (y as f64 - cy).powi(2)) / (s * s)).exp();
        (30.0 * spot(24.0, 24.0, 4.0) + 60.0 * spot(29.0, 25.0, 1.1)) as f32
    });
    let mut workspace = Workspace::default();
    let observed = workspace.forward_model(&truth, &psf, (24.0, 24.0), factor, 2.0).expect("model");
    let weight = Plane::from_elem((SIDE, SIDE), 1.0);
    let run = |image: &Plane, steps: usize, workspace: &mut Workspace| {
        let input = DebiasInput {
            image,
            observed: &observed,
            weight: &weight,
            psf: &psf,
            centre: (24.0, 24.0),
            factor,
            target_fwhm: 2.0,
            noise_sigma: 0.05,
        };
        debias(&input, &DebiasSettings { steps, ..DebiasSettings::default() }, workspace).expect("debiased")
    };
    let distance = |a: &Plane| (a - &truth).iter().map(|v| v * v).sum::<f32>().sqrt();
    let lost = truth.mapv(|v| 0.8 * v.min(45.0));
    assert_eq!(run(&lost, 0, &mut workspace), lost);
    let back = run(&lost, 30, &mut workspace);
    assert!(distance(&back) < 0.6 * distance(&lost), "{} {}", distance(&back), distance(&lost));
    let right = run(&truth, 10, &mut workspace);
    assert!(distance(&right) < 1e-2 * truth.iter().map(|v| v * v).sum::<f32>().sqrt());
}
