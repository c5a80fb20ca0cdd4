//! Amplitudes, apertures, moments, sizes and residual tests against GalSim, photutils and closed forms.

#![allow(clippy::expect_used, clippy::panic)]

mod common;

use ndarray::{Array2, Axis, s};
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};
use stillair::catalog::Flags;
use stillair::image::Plane;
use stillair::photometry::*;

/// Elliptical Gaussian, `m` = second moments (xx, yy, xy), sampled at pixel centres, unit sum over the infinite plane.
fn gaussian((ny, nx): (usize, usize), (x, y): (f64, f64), m: [f64; 3]) -> Plane {
    let det = m[0] * m[1] - m[2] * m[2];
    Plane::from_shape_fn((ny, nx), |(row, column)| {
        let (dx, dy) = (column as f64 - x, row as f64 - y);
        let rho2 = (m[1] * dx * dx + m[0] * dy * dy - 2.0 * m[2] * dx * dy) / det;
        ((-0.5 * rho2).exp() / (std::f64::consts::TAU * det.sqrt())) as f32
    })
}

fn noise((ny, nx): (usize, usize), sigma: f64, seed: u64) -> Plane {
    let mut rng = <rand_chacha::ChaCha8Rng as rand_chacha::rand_core::SeedableRng>::seed_from_u64(seed);
    Plane::from_shape_simple_fn((ny, nx), || {
        let v: f64 = StandardNormal.sample(&mut rng);
        (sigma * v) as f32
    })
}

#[derive(serde::Deserialize)]
struct Golden {
    name: String,
    noise: f64,
    x: f64,
    y: f64,
    sigma: f64,
    e1: f64,
    e2: f64,
    flux: f64,
    rho4: f64,
    aperture_radius: f64,
    aperture_flux: f64,
}

fn golden() -> Vec<(Plane, Golden)> {
    let mut file = fitsio::FitsFile::open(common::golden("photometry/moments.fits")).expect("FITS file");
    let hdu = file.primary_hdu().expect("primary HDU");
    let pixels: Vec<f32> = hdu.read_image(&mut file).expect("pixels");
    let json = std::fs::read_to_string(common::golden("photometry/moments.json")).expect("golden values");
    let values: Vec<Golden> = serde_json::from_str(&json).expect("golden JSON");
    let cube = ndarray::Array3::from_shape_vec((values.len(), 44, 44), pixels).expect("cube");
    values.into_iter().enumerate().map(|(i, g)| (cube.index_axis(Axis(0), i).to_owned(), g)).collect()
}

#[test]
fn adaptive_moments_agree_with_galsim_hsm() {
    for (image, g) in golden() {
        let m = adaptive_moments(&image, None, None, (21.5, 21.5), &MomentsSettings::default()).expect("moments");
        // HSM stops earlier in noise.
        let tolerance = if g.noise > 0.0 { 1e-3 } else { 5e-4 };
        let near = |ours: f64, theirs: f64, scale: f64, what: &str| {
            assert!((ours - theirs).abs() < tolerance * scale, "{} {what}: {ours} against {theirs}", g.name);
        };
        near(m.sigma(), g.sigma, g.sigma, "sigma");
        near(m.e1, g.e1, 1.0, "e1");
        near(m.e2, g.e2, 1.0, "e2");
        near(m.x, g.x, 2.0, "x");
        near(m.y, g.y, 2.0, "y");
        near(m.flux, g.flux, g.flux, "flux");
        near(m.rho4, g.rho4, g.rho4, "rho4");
        assert!(m.steps < 60, "{}: {} steps", g.name, m.steps);
        assert!(m.covariance[0][0].is_nan(), "no noise was given");
    }
}

#[test]
fn moment_errors_are_the_scatter_of_noisy_images() {
    let (truth, sigma) = ([6.0, 4.0, 1.0], 1.0);
    let clean = gaussian((40, 40), (19.7, 20.2), truth).mapv_into(|v| v * 2000.0);
    let measured: Vec<Moments> = (0..400)
        .map(|seed| {
            let image = &clean + &noise((40, 40), sigma, seed);
            adaptive_moments(&image, None, Some(sigma), (20.0, 20.0), &MomentsSettings::default()).expect("moments")
        })
        .collect();
    let scatter = |f: &dyn Fn(&Moments) -> f64| {
        let mean = measured.iter().map(f).sum::<f64>() / 400.0;
        (measured.iter().map(|m| (f(m) - mean).powi(2)).sum::<f64>() / 399.0).sqrt()
    };
    let mean = |f: &dyn Fn(&Moments) -> f64| measured.iter().map(f).sum::<f64>() / 400.0;
    for (what, value, error) in [
        ("ixx", scatter(&|m| m.ixx), mean(&|m| m.covariance[0][0].sqrt())),
        ("iyy", scatter(&|m| m.iyy), mean(&|m| m.covariance[1][1].sqrt())),
        ("ixy", scatter(&|m| m.ixy), mean(&|m| m.covariance[2][2].sqrt())),
        ("e1", scatter(&|m| m.e1), mean(&|m| m.shape_errors().0)),
        ("e2", scatter(&|m| m.e2), mean(&|m| m.shape_errors().1)),
    ] {
        // 400 draws know a standard deviation to 3.5 per cent.
        assert!((value / error - 1.0).abs() < 0.12, "{what}: scatter {value}, error {error}");
    }
}

#[test]
fn moments_on_the_sky_follow_the_jacobian() {
    let image = gaussian((50, 50), (25.0, 25.0), [9.0, 4.0, 0.0]);
    let m = adaptive_moments(&image, None, Some(1e-5), (25.0, 25.0), &MomentsSettings::default()).expect("moments");
    // 0.2 arcsec pixels, east to the left, north up.
    let plain = m.on_sky([[-0.2, 0.0], [0.0, 0.2]]);
    assert!((plain.ixx - 0.36).abs() < 1e-3 && (plain.iyy - 0.16).abs() < 1e-3 && plain.ixy.abs() < 1e-6);
    assert!((plain.errors[3] - m.shape_errors().0).abs() < 1e-9);
    // Turned by 30 degrees: e turns by 60.
    let (sin, cos) = 30f64.to_radians().sin_cos();
    let turned = m.on_sky([[0.2 * cos, -0.2 * sin], [0.2 * sin, 0.2 * cos]]);
    let e = m.e1.hypot(m.e2);
    assert!((turned.e1 - e * 60f64.to_radians().cos()).abs() < 1e-6);
    assert!((turned.e2 - e * 60f64.to_radians().sin()).abs() < 1e-6);
    assert!(((turned.ixx + turned.iyy) - (plain.ixx + plain.iyy)).abs() < 1e-6);
}

#[test]
fn moments_of_nothing_fail_and_say_so() {
    let settings = MomentsSettings::default();
    for image in [Plane::zeros((30, 30)), Plane::from_elem((30, 30), -1.0), Plane::from_elem((30, 30), f32::NAN)] {
        let error = adaptive_moments(&image, None, None, (15.0, 15.0), &settings).expect_err("no object");
        assert_eq!(error.flag(), Flags::SHAPE_FAILED);
    }
    let flat = adaptive_moments(&Plane::from_elem((30, 30), 1.0), None, None, (15.0, 15.0), &settings);
    assert!(flat.is_err(), "a flat image has no shape: {flat:?}");
    let mut hot = Plane::zeros((30, 30));
    hot[(15, 15)] = 100.0;
    assert!(adaptive_moments(&hot, None, None, (15.0, 15.0), &settings).is_err(), "a single pixel has no shape");
    assert!(adaptive_moments(&hot, None, None, (f64::NAN, 15.0), &settings).is_err());
    assert!(adaptive_moments(&Plane::zeros((0, 0)), None, None, (0.0, 0.0), &settings).is_err());
}

#[test]
fn masked_pixels_do_not_enter_the_moments() {
    let clean = gaussian((50, 50), (25.0, 25.0), [6.0, 6.0, 0.0]);
    let mut image = clean.clone();
    let mut weight = Plane::ones((50, 50));
    for (y, x) in [(40, 25), (26, 31)] {
        image[(y, x)] = 50.0;
        weight[(y, x)] = 0.0;
    }
    let one = adaptive_moments(&clean, None, None, (25.0, 25.0), &MomentsSettings::default()).expect("moments");
    let two =
        adaptive_moments(&image, Some(&weight), None, (25.0, 25.0), &MomentsSettings::default()).expect("moments");
    assert!((one.ixx / two.ixx - 1.0).abs() < 0.02 && (one.x - two.x).abs() < 0.05);
}

#[test]
fn aperture_flux_agrees_with_photutils() {
    for (image, g) in golden() {
        let weight = Plane::from_elem(image.dim(), 4.0);
        let a = aperture_flux(&image, &weight, (g.x, g.y), g.aperture_radius).expect("aperture");
        assert!((a.flux - g.aperture_flux).abs() < 1e-5 * g.aperture_flux, "{}: {}", g.name, a.flux);
        assert_eq!((a.mirrored, a.missing), (0.0, 0.0));
        let area = std::f64::consts::PI * g.aperture_radius.powi(2);
        assert!((a.flux_err / (0.5 * area.sqrt()) - 1.0).abs() < 0.03);
    }
}

#[test]
fn aperture_fills_bad_pixels_from_the_other_side() {
    let image = gaussian((41, 41), (20.0, 20.0), [5.0, 5.0, 0.0]);
    let weight = Plane::ones((41, 41));
    let whole = aperture_flux(&image, &weight, (20.0, 20.0), 7.0).expect("aperture");
    let (mut holed, mut holes) = (image.clone(), weight.clone());
    holed.slice_mut(s![18..20, 22..25]).fill(9.0e9);
    holes.slice_mut(s![18..20, 22..25]).fill(0.0);
    let filled = aperture_flux(&holed, &holes, (20.0, 20.0), 7.0).expect("aperture");
    assert!((filled.flux - whole.flux).abs() < 1e-6);
    assert!(filled.mirrored > 0.0 && filled.missing == 0.0 && filled.flux_err > whole.flux_err);
    let edge = aperture_flux(&image, &weight, (-2.0, 20.0), 4.0).expect("partly inside");
    assert!(edge.missing > 0.3);
    assert!(matches!(aperture_flux(&image, &weight, (-20.0, 20.0), 4.0), Err(PhotometryError::NoUsablePixels { .. })));
    assert!(aperture_flux(&image, &weight, (20.0, 20.0), f64::NAN).is_err());
    assert!(aperture_flux(&image, &weight, (f64::INFINITY, 20.0), 2.0).is_err());
}

#[test]
fn half_light_radius_of_known_profiles() {
    // A Gaussian: sqrt(2 ln 2) standard deviations, circularised; a pedestal must not matter.
    let m = [12.0, 6.0, 2.0];
    let image = gaussian((80, 80), (40.2, 39.6), m).mapv_into(|v| v * 500.0 + 3.0);
    let flat = image.mapv(|v| v - 3.0);
    let moments = adaptive_moments(&flat, None, None, (40.0, 40.0), &MomentsSettings::default()).expect("moments");
    let half = half_light_radius(&image, &moments, Some(0.01)).expect("radius");
    let expected = 1.17741 * (12.0f64 * 6.0 - 4.0).powf(0.25);
    assert!((half.radius / expected - 1.0).abs() < 0.01, "{} against {expected}", half.radius);
    assert!((half.background - 3.0).abs() < 1e-3 && (half.flux / 500.0 - 1.0).abs() < 0.01);
    // An exponential disc: 1.678 scale lengths.
    let scale = 3.0;
    let disc = Plane::from_shape_fn((120, 120), |(y, x)| {
        let mean: f64 = (0..25)
            .map(|i| {
                let (dx, dy) =
                    (x as f64 - 60.0 + (i % 5) as f64 * 0.2 - 0.4, y as f64 - 60.0 + (i / 5) as f64 * 0.2 - 0.4);
                (-dx.hypot(dy) / scale).exp()
            })
            .sum();
        (mean / 25.0) as f32
    });
    let moments = adaptive_moments(&disc, None, None, (60.0, 60.0), &MomentsSettings::default()).expect("moments");
    let half = half_light_radius(&disc, &moments, None).expect("radius");
    assert!((half.radius / (1.678 * scale) - 1.0).abs() < 0.03, "{}", half.radius);
    assert!(half.radius_err.is_nan());
    let nothing = half_light_radius(&Plane::zeros((120, 120)), &moments, None).expect_err("no light");
    assert_eq!(nothing.flag(), Flags::SHAPE_FAILED);
}

#[test]
fn half_light_error_is_the_scatter_of_noisy_images() {
    let clean = gaussian((64, 64), (32.0, 32.0), [9.0, 9.0, 0.0]).mapv_into(|v| v * 5000.0);
    let moments = adaptive_moments(&clean, None, None, (32.0, 32.0), &MomentsSettings::default()).expect("moments");
    let all: Vec<HalfLight> = (0..200)
        .map(|seed| half_light_radius(&(&clean + &noise((64, 64), 2.0, seed)), &moments, Some(2.0)).expect("radius"))
        .collect();
    let mean = all.iter().map(|h| h.radius).sum::<f64>() / 200.0;
    let scatter = (all.iter().map(|h| (h.radius - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
    let error = all.iter().map(|h| h.radius_err).sum::<f64>() / 200.0;
    // The reach follows the radius, and the background is fitted: neither is in the error.
    assert!(scatter / error > 0.7 && scatter / error < 1.6, "scatter {scatter}, error {error}");
    assert!((mean / (3.0 * 1.17741) - 1.0).abs() < 0.02, "{mean}");
}

#[test]
fn amplitude_errors_are_the_scatter_of_noisy_images() {
    let models = [gaussian((48, 48), (22.0, 24.0), [6.0, 6.0, 0.0]), gaussian((48, 48), (27.0, 24.0), [8.0, 5.0, 1.0])];
    let variance = Plane::from_shape_fn((48, 48), |(_, x)| 1.0 + 0.05 * x as f32);
    let weight = variance.mapv(|v| 1.0 / v);
    let clean = &models[0] * 300.0 + &models[1] * 500.0 + 2.0;
    let fits: Vec<Amplitude> = (0..300)
        .map(|seed| {
            let mut image = noise((48, 48), 1.0, seed);
            image.zip_mut_with(&variance, |n, v| *n *= v.sqrt());
            image += &clean;
            renormalise(&image, &weight, &[&models[0], &models[1]], &RenormaliseSettings::default()).expect("fit")
        })
        .collect();
    let pull = |value: &dyn Fn(&Amplitude) -> f64, error: &dyn Fn(&Amplitude) -> f64, truth: f64| {
        let pulls: Vec<f64> = fits.iter().map(|f| (value(f) - truth) / error(f)).collect();
        let mean = pulls.iter().sum::<f64>() / 300.0;
        let std = (pulls.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 299.0).sqrt();
        assert!(mean.abs() < 0.25 && (std - 1.0).abs() < 0.15, "pull {mean} +- {std}");
    };
    pull(&|f| f.alpha, &|f| f.alpha_err, 300.0);
    pull(&|f| f.others[0].0, &|f| f.others[0].1, 500.0);
    pull(&|f| f.sky, &|f| f.sky_err, 2.0);
    let chi2 = fits.iter().map(|f| f.chi2_reduced).sum::<f64>() / 300.0;
    let lag1 = fits.iter().map(|f| f.lag1).sum::<f64>() / 300.0;
    assert!((chi2 - 1.0).abs() < 0.05, "{chi2}");
    assert!(lag1.abs() < 0.05, "{lag1}");
}

#[test]
fn a_wrong_model_shows_in_the_residual() {
    let truth = gaussian((48, 48), (24.0, 24.0), [9.0, 9.0, 0.0]).mapv_into(|v| v * 5000.0);
    let image = &truth + &noise((48, 48), 1.0, 3);
    let weight = Plane::ones((48, 48));
    let settings = RenormaliseSettings::default();
    let right = renormalise(&image, &weight, &[&truth], &settings).expect("fit");
    let wrong_model = gaussian((48, 48), (24.0, 24.0), [5.0, 5.0, 0.0]);
    let wrong = renormalise(&image, &weight, &[&wrong_model], &settings).expect("fit");
    assert!((right.chi2_reduced - 1.0).abs() < 0.3 && right.lag1_significance.abs() < 3.5);
    assert!(wrong.chi2_reduced > 5.0 && wrong.lag1 > 0.5 && wrong.lag1_significance > 10.0, "{wrong:?}");
}

#[test]
fn degenerate_fits_are_refused() {
    let model = gaussian((20, 20), (10.0, 10.0), [3.0, 3.0, 0.0]);
    let weight = Plane::ones((20, 20));
    let fail = |weight: &Plane, models: &[&Plane], sky: bool| {
        let error = fit_amplitudes(&model, weight, models, sky).expect_err("nothing to fit");
        assert_eq!(error.flag(), Flags::FIT_FAILED);
        error
    };
    assert!(matches!(fail(&Plane::zeros((20, 20)), &[&model], true), PhotometryError::NoUsablePixels { pixels: 400 }));
    assert!(matches!(
        fail(&Plane::from_elem((20, 20), f32::NAN), &[&model], false),
        PhotometryError::NoUsablePixels { .. }
    ));
    assert!(matches!(fail(&weight, &[&Plane::zeros((20, 20))], false), PhotometryError::EmptyModel { component: 0 }));
    assert!(matches!(fail(&weight, &[&model, &(&model * 3.0)], false), PhotometryError::Degenerate { .. }));
    assert!(matches!(fail(&weight, &[&Plane::ones((20, 20))], true), PhotometryError::Degenerate { .. }));
    assert!(matches!(
        fail(&weight, &[&Plane::from_elem((20, 20), f32::NAN)], false),
        PhotometryError::EmptyModel { .. }
    ));
    assert!(matches!(fail(&weight, &[], false), PhotometryError::NoModels));
    assert!(matches!(fail(&Plane::ones((20, 19)), &[&model], false), PhotometryError::ShapeMismatch { .. }));
    // One usable pixel cannot tell an amplitude from a sky.
    let mut one = Plane::zeros((20, 20));
    one[(10, 10)] = 1.0;
    assert!(matches!(fail(&one, &[&model], true), PhotometryError::Degenerate { .. }));
}

#[test]
fn structures_that_the_data_do_not_hold_are_rejected() {
    let shape = (48, 48);
    let spot = |x: f64, y: f64| gaussian(shape, (x, y), [4.0, 4.0, 0.0]).mapv_into(|v| v * 400.0);
    let (real, invented) = (spot(15.0, 24.0), spot(33.0, 24.0));
    let scale = &real + &invented;
    let identity = |p: &Plane| p.clone();
    let weight = Plane::ones(shape);
    let data = &real + &noise(shape, 1.0, 5);
    let residual = &data - &scale;
    let settings = StructureSettings::default();
    let verdict = false_structure(&scale, Some(0.5), &residual, &weight, &identity, &settings).expect("verdict");
    assert_eq!((verdict.structures, verdict.rejected, verdict.untested), (2, 1, 0));
    assert!((verdict.score - 0.5).abs() < 0.05, "{}", verdict.score);
    let honest = false_structure(&real, Some(0.5), &(&data - &real), &weight, &identity, &settings).expect("verdict");
    assert_eq!((honest.structures, honest.rejected, honest.score), (1, 0, 0.0));
    // The same invention below the noise cannot be tested, and none is no fault.
    let deep = Plane::from_elem(shape, 1e-6);
    let faint = false_structure(&scale, Some(0.5), &residual, &deep, &identity, &settings).expect("verdict");
    assert_eq!((faint.rejected, faint.untested), (0, 2));
    let none = false_structure(&Plane::zeros(shape), None, &residual, &weight, &identity, &settings).expect("verdict");
    assert_eq!((none.structures, none.score), (0, 0.0));
}

#[test]
fn zero_points() {
    assert!((nanojansky_per_unit(31.4) - 1.0).abs() < 1e-12);
    assert!((nanojansky_per_unit(28.9) - 10.0).abs() < 1e-9);
    let (mag, err) = ab_magnitude(100.0, 5.0, 27.0).expect("positive flux");
    assert!((mag - 22.0).abs() < 1e-12 && (err - 1.085_736_2 * 0.05).abs() < 1e-6);
    assert_eq!(ab_magnitude(-1.0, 5.0, 27.0), None);
    assert_eq!(ab_magnitude(f64::NAN, 5.0, 27.0), None);
    // 1 uJy = 23.9 mag AB.
    let (mag, _) = ab_magnitude(1000.0, 1.0, NANOJANSKY_ZERO_POINT).expect("positive flux");
    assert!((mag - 23.9).abs() < 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A perfect model gets its amplitude back exactly, however faint against the noise, with any mask that leaves something.
    #[test]
    fn a_perfect_model_is_exact(
        alpha in -1e4f64..1e4, sky in -50f64..50.0, sigma in 0.01f32..1e3, x in 10.0f64..22.0, hole in 0usize..500,
    ) {
        let model = gaussian((32, 32), (x, 15.0), [6.0, 5.0, 0.5]);
        let neighbour = gaussian((32, 32), (x + 4.0, 18.0), [5.0, 5.0, 0.0]);
        let mut weight = Plane::from_elem((32, 32), 1.0 / (sigma * sigma));
        for (i, w) in weight.iter_mut().enumerate() {
            if (i * 7919) % 1024 < hole {
                *w = 0.0;
            }
        }
        let image = model.mapv(|v| (alpha * f64::from(v) + sky) as f32) + &neighbour * 77.0;
        let fit = fit_amplitudes(&image, &weight, &[&model, &neighbour], true).expect("fit");
        // f32 pixels: rounding of the image limits the answer.
        let slack = 1e-6 * (alpha.abs() + 1e3 * (sky.abs() + 10.0));
        prop_assert!((fit.amplitudes[0] - alpha).abs() < slack, "{} against {alpha}", fit.amplitudes[0]);
        prop_assert!((fit.amplitudes[1] - 77.0).abs() < slack);
        prop_assert!((fit.sky - sky).abs() < 1e-5 * (sky.abs() + alpha.abs() + 10.0));
    }

    /// Image units, model units and weights scale as they must.
    #[test]
    fn amplitudes_scale(k in 1e-3f32..1e3, q in 1e-3f32..1e3) {
        let model = gaussian((24, 24), (12.0, 11.0), [4.0, 4.0, 0.0]);
        let image = &model * 10.0 + &noise((24, 24), 0.1, 9);
        let weight = Plane::from_elem((24, 24), 100.0);
        let one = fit_amplitudes(&image, &weight, &[&model], true).expect("fit");
        let two = fit_amplitudes(&(&image * k), &(&weight / (k * k)), &[&(&model * q)], true).expect("fit");
        let factor = f64::from(k) / f64::from(q);
        prop_assert!((two.amplitudes[0] / (one.amplitudes[0] * factor) - 1.0).abs() < 1e-4);
        prop_assert!((two.error(0) / (one.error(0) * factor) - 1.0).abs() < 1e-4);
    }

    /// Moments move with the object, do not change with its flux, and turn with it.
    #[test]
    fn moments_are_equivariant(
        dx in -3.0f64..3.0, dy in -3.0f64..3.0, flux in 1e-3f32..1e5, a in 3.0f64..12.0, q in 0.3f64..1.0, t in 0.0f64..3.1,
    ) {
        let (s, c) = t.sin_cos();
        let b = (a * q * q).max(1.5);
        let m = [a * c * c + b * s * s, a * s * s + b * c * c, (a - b) * s * c];
        let image = gaussian((60, 60), (30.0 + dx, 30.0 + dy), m).mapv_into(|v| v * flux);
        let found = adaptive_moments(&image, None, None, (30.0, 30.0), &MomentsSettings::default()).expect("moments");
        prop_assert!((found.x - 30.0 - dx).abs() < 1e-3 && (found.y - 30.0 - dy).abs() < 1e-3);
        prop_assert!((found.ixx - m[0]).abs() < 2e-3 * a && (found.iyy - m[1]).abs() < 2e-3 * a);
        prop_assert!((found.ixy - m[2]).abs() < 2e-3 * a);
        prop_assert!((found.flux / f64::from(flux) - 1.0).abs() < 2e-3);
    }

    /// The overlaps of a circle with all pixels add up to its area.
    #[test]
    fn overlaps_add_up(x in -0.5f64..0.5, y in -0.5f64..0.5, r in 0.1f64..9.0) {
        let overlaps = Array2::from_shape_fn((21, 21), |(j, i)| circle_overlap(i as f64 - 10.0 - x, j as f64 - 10.0 - y, r));
        prop_assert!((overlaps.sum() - std::f64::consts::PI * r * r).abs() < 1e-9 * (1.0 + r * r));
        prop_assert!(overlaps.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
