//! The PSF room against GalSim, PSFEx files, and invariants.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;

use common::{golden, real_data};
use ndarray::Array2;
use proptest::prelude::*;
use stillair::catalog::Flags;
use stillair::detect::{Detection, Detections};
use stillair::fits::{read_psf, write_psf};
use stillair::image::{MaskPlane, Plane};
use stillair::psf::{self, Domain, NativeModel, PsfError, PsfInput, PsfModel, PsfSettings, StarStatus};

#[derive(serde::Deserialize)]
struct Case {
    beta: f64,
    fwhm: f64,
    g1: f64,
    g2: f64,
    image: Vec<f64>,
    fine: Vec<f64>,
}

fn moffat(beta: f64, fwhm: f64, g1: f64, g2: f64) -> PsfModel {
    let mut native = NativeModel::constant(Domain::image(200, 200), fwhm, beta);
    native.core[1][0] = g1;
    native.core[2][0] = g2;
    PsfModel::from_native(native)
}

#[test]
fn moffat_with_pixel_response_matches_galsim() {
    let text = std::fs::read_to_string(golden("psf/moffat.json")).expect("golden file");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("golden values");
    for c in cases {
        let model = moffat(c.beta, c.fwhm, c.g1, c.g2);
        for (size, oversample, truth) in [(15, 1, &c.image), (31, 2, &c.fine)] {
            let ours = model.evaluate(50.0, 60.0, size, oversample).expect("evaluates").image;
            let sum: f64 = truth.iter().sum();
            let peak = truth.iter().copied().fold(0.0, f64::max) / sum;
            for (a, b) in ours.iter().zip(truth) {
                assert!((f64::from(*a) - b / sum).abs() < 1e-3 * peak, "beta {} fwhm {} x{oversample}", c.beta, c.fwhm);
            }
        }
    }
}

/// A field of Moffat stars on a jittered grid, with unit-variance noise from a fixed hash.
fn field(n: usize, spacing: usize, flux: f64, angle: bool) -> (Plane, Plane, MaskPlane, Detections) {
    let model = moffat(3.0, 3.2, 0.03, 0.01);
    let mut image = Plane::zeros((n, n));
    let mut segmentation = Array2::<i32>::zeros((n, n));
    let mut sources = Vec::new();
    let mut seed = 12345u64;
    let mut uniform = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    for gy in (spacing / 2..n - spacing / 2).step_by(spacing) {
        for gx in (spacing / 2..n - spacing / 2).step_by(spacing) {
            let stamp = model.evaluate(0.0, 0.0, 31, 1).expect("evaluates").image;
            for j in 0..31usize {
                for i in 0..31usize {
                    let v = if angle { stamp[(i, 30 - j)] } else { stamp[(j, i)] };
                    image[(gy + j - 15, gx + i - 15)] += (flux * f64::from(v)) as f32;
                    if (i as i64 - 15).pow(2) + (j as i64 - 15).pow(2) < 25 {
                        segmentation[(gy + j - 15, gx + i - 15)] = sources.len() as i32 + 1;
                    }
                }
            }
            sources.push(Detection {
                id: sources.len() as i64 + 1,
                x: gx as f64,
                y: gy as f64,
                flux,
                flux_err: 7.0,
                peak: flux * 0.07,
                a: 1.6,
                b: 1.5,
                theta: 0.0,
                half_light_radius: 2.0,
                npix: 80,
                extent: (gx - 5, gx + 5, gy - 5, gy + 5),
                flags: Flags::empty(),
            });
        }
    }
    for v in &mut image {
        // Sum of uniforms: variance 1.
        *v += ((0..12).map(|_| uniform()).sum::<f64>() - 6.0) as f32;
    }
    (image, Plane::ones((n, n)), MaskPlane::zeros((n, n)), Detections { sources, segmentation })
}

fn fit(parts: &(Plane, Plane, MaskPlane, Detections)) -> Result<psf::PsfFit, PsfError> {
    let input = PsfInput {
        image: &parts.0,
        variance: &parts.1,
        mask: &parts.2,
        detections: &parts.3,
        saturation: None,
        gain: None,
    };
    psf::fit(&input, &PsfSettings::default())
}

#[test]
fn recovers_a_moffat_and_keeps_reserved_stars_out() {
    let parts = field(420, 42, 3000.0, false);
    let fit = fit(&parts).expect("fits");
    assert!(fit.report.used >= 60, "{:?}", fit.report);
    assert!(fit.stars.iter().any(|s| s.status == StarStatus::Reserved));
    let truth = moffat(3.0, 3.2, 0.03, 0.01).evaluate(0.0, 0.0, 25, 1).expect("truth").image;
    let ours = fit.model.evaluate(200.0, 200.0, 25, 1).expect("evaluates").image;
    let difference: f64 = ours.iter().zip(&truth).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm: f64 = truth.iter().map(|v| f64::from(*v).powi(2)).sum();
    assert!((difference / norm).sqrt() < 0.01, "NRMSE {}", (difference / norm).sqrt());
    assert!(fit.report.chi2_reserved > 0.8 && fit.report.chi2_reserved < 1.2);
}

#[test]
fn a_turned_field_gives_a_turned_psf() {
    let upright = fit(&field(420, 42, 5000.0, false)).expect("fits");
    let turned = fit(&field(420, 42, 5000.0, true)).expect("fits");
    let (a, b) = (
        upright.model.distortion(200.0, 200.0).expect("moments"),
        turned.model.distortion(200.0, 200.0).expect("moments"),
    );
    // A quarter turn changes the sign of both components.
    assert!((a.0 + b.0).abs() < 0.01 && (a.1 + b.1).abs() < 0.01, "{a:?} {b:?}");
}

#[test]
fn a_shifted_field_gives_the_same_psf_elsewhere() {
    let parts = field(420, 42, 5000.0, false);
    let (dx, dy) = (9usize, 5usize);
    let shifted = |plane: &Plane| {
        let mut out = Plane::zeros((440, 440));
        out.slice_mut(ndarray::s![dy..dy + 420, dx..dx + 420]).assign(plane);
        out
    };
    let mut mask = MaskPlane::from_elem((440, 440), stillair::image::mask::NO_DATA);
    mask.slice_mut(ndarray::s![dy..dy + 420, dx..dx + 420]).fill(0);
    let mut segmentation = Array2::<i32>::zeros((440, 440));
    segmentation.slice_mut(ndarray::s![dy..dy + 420, dx..dx + 420]).assign(&parts.3.segmentation);
    let mut sources = parts.3.sources.clone();
    for s in &mut sources {
        s.x += dx as f64;
        s.y += dy as f64;
    }
    let moved = (shifted(&parts.0), Plane::ones((440, 440)), mask, Detections { sources, segmentation });
    let (here, there) = (fit(&parts).expect("fits"), fit(&moved).expect("fits"));
    let a = here.model.evaluate(200.0, 150.0, 25, 1).expect("evaluates").image;
    let b = there.model.evaluate(200.0 + dx as f64, 150.0 + dy as f64, 25, 1).expect("evaluates").image;
    let peak = a.iter().copied().fold(0.0, f32::max);
    assert!(a.iter().zip(&b).all(|(p, q)| (p - q).abs() < 3e-3 * peak));
}

#[test]
fn the_delivered_model_holds_the_reserved_stars_too() {
    let fit = fit(&field(420, 42, 3000.0, false)).expect("fits");
    assert!(fit.report.reserved >= 3);
    assert_eq!(fit.report.in_model, fit.report.used + fit.report.reserved);
}

#[test]
fn a_psfex_table_means_what_galsim_makes_of_it() {
    #[derive(serde::Deserialize)]
    struct Drawn {
        x: f64,
        y: f64,
        image: Vec<f64>,
    }
    let model = read_psf(&golden("psf/psfex.psf"), None).expect("reads");
    let text = std::fs::read_to_string(golden("psf/psfex.json")).expect("golden file");
    for drawn in serde_json::from_str::<Vec<Drawn>>(&text).expect("golden values") {
        let ours = model.evaluate(drawn.x - 1.0, drawn.y - 1.0, 17, 1).expect("evaluates").image;
        for (a, b) in ours.iter().zip(&drawn.image) {
            assert!((f64::from(*a) - b).abs() < 2e-6, "{a} {b} at {}, {}", drawn.x, drawn.y);
        }
    }
}

/// Orders fall with the number of stars: never more terms than the settings allow.
#[test]
fn the_order_falls_with_the_number_of_stars() {
    let settings = PsfSettings::default();
    for (n, spacing) in [(420, 42), (260, 42), (180, 42), (140, 48)] {
        let parts = field(n, spacing, 3000.0, false);
        let fit = fit(&parts).expect("fits");
        let terms = psf::term_count(fit.report.order) as f64;
        assert!(
            fit.report.order == 0 || settings.stars_per_term * terms <= (fit.report.used + fit.report.reserved) as f64,
            "{} stars, order {}",
            fit.report.used,
            fit.report.order
        );
    }
}

#[test]
fn few_stars_fall_back_and_say_so() {
    let parts = field(100, 48, 3000.0, false);
    assert!(parts.3.sources.len() <= 4);
    let fit = fit(&parts).expect("a constant PSF");
    assert_eq!(fit.report.order, 0);
    assert!(fit.report.fallback.is_some());
    assert_ne!(fit.report.quality, psf::Quality::Good);
}

#[test]
fn nothing_to_fit_is_an_error_with_the_reason() {
    let mut parts = field(100, 48, 3000.0, false);
    parts.3.sources.clear();
    parts.3.segmentation.fill(0);
    let error = fit(&parts).expect_err("no stars");
    assert!(matches!(error, PsfError::NoStars { .. }));
    assert!(error.to_string().contains("--psf"));
}

#[test]
fn a_written_psf_comes_back_whole_and_as_psfex() {
    let fit = fit(&field(420, 42, 3000.0, false)).expect("fits");
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.psf");
    write_psf(&path, &fit.model, &fit.stars, Some(&fit.report)).expect("writes");
    let back = read_psf(&path, None).expect("reads");
    let (a, b) =
        (fit.model.evaluate(100.0, 50.0, 25, 1).expect("ours"), back.evaluate(100.0, 50.0, 25, 1).expect("read"));
    assert!(a.image.iter().zip(&b.image).all(|(p, q)| (p - q).abs() < 1e-6));
    // The PSFEx table alone, at the step of a written file, tells the same to 1e-3 of the peak.
    let domain = fit.model.native().expect("native").domain;
    let table = PsfModel::from_table(fit.model.tabulate(&domain, 2, 0.5, 81).expect("table")).expect("model");
    let c = table.evaluate(100.0, 50.0, 25, 1).expect("table");
    let peak = a.image.iter().copied().fold(0.0, f32::max);
    assert!(a.image.iter().zip(&c.image).all(|(p, q)| (p - q).abs() < 1e-3 * peak));
}

#[test]
fn legacy_survey_rows_are_read() {
    let Some(path) = real_data("decam_legacy/testcase4_c4d_170316_062107_ooi_z_ls9-psfex.fits") else { return };
    let model = read_psf(&path, None).expect("reads");
    let fwhm = model.fwhm(1000.0, 1000.0);
    assert!(fwhm > 2.0 && fwhm < 10.0, "{fwhm}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn unit_flux_anywhere(x in -50.0..300.0f64, y in -50.0..300.0f64, fwhm in 1.3..8.0f64, beta in 2.0..6.0f64, over in 1usize..4) {
        let stamp = moffat(beta, fwhm, 0.05, -0.05).evaluate(x, y, 41, over).expect("evaluates");
        let sum: f64 = stamp.image.iter().map(|v| f64::from(*v)).sum();
        prop_assert!((sum - 1.0).abs() < 1e-4);
    }
}
