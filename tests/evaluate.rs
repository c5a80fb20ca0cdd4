//! Scores of images and catalogues: SSIM and NMSE against scikit-image, the rest against what was put in.

#![allow(clippy::expect_used, clippy::panic)]

mod common;

use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};
use stillair::catalog::Flags;
use stillair::evaluate::*;
use stillair::image::Plane;

#[derive(serde::Deserialize)]
struct Golden {
    rows: usize,
    columns: usize,
    centre: (f64, f64),
    fwhm: f64,
    output: Vec<f32>,
    truth: Vec<f32>,
    ssim: f64,
    ssim_windowed: f64,
    nmse_windowed: f64,
    flux_error: f64,
}

fn golden() -> (Plane, Plane, Golden) {
    let json = std::fs::read_to_string(common::golden("evaluate/ssim.json")).expect("golden values");
    let g: Golden = serde_json::from_str(&json).expect("golden JSON");
    let plane = |v: &[f32]| Plane::from_shape_vec((g.rows, g.columns), v.to_vec()).expect("plane");
    (plane(&g.output), plane(&g.truth), g)
}

#[test]
fn image_scores_agree_with_scikit_image() {
    let (output, truth, g) = golden();
    assert!((ssim(&output, &truth).expect("SSIM") - g.ssim).abs() < 1e-6);
    let score = score_image(&output, &truth, g.centre, g.fwhm).expect("scores");
    assert!((score.ssim - g.ssim_windowed).abs() < 1e-6, "{} against {}", score.ssim, g.ssim_windowed);
    assert!((score.nmse / g.nmse_windowed - 1.0).abs() < 1e-5, "{} against {}", score.nmse, g.nmse_windowed);
    assert!((score.flux_error / g.flux_error - 1.0).abs() < 1e-5);
}

#[test]
fn images_that_cannot_be_compared_are_refused() {
    let (output, truth, g) = golden();
    let zero = Plane::zeros(truth.dim());
    assert!(matches!(ssim(&output, &Plane::zeros((5, 5))), Err(ImageError::ShapeMismatch { .. })));
    assert!(matches!(ssim(&Plane::ones((10, 40)), &Plane::ones((10, 40))), Err(ImageError::TooSmall { .. })));
    assert!(matches!(ssim(&output, &zero), Err(ImageError::Empty { .. })));
    assert!(matches!(nmse(&output, &zero), Err(ImageError::Empty { .. })));
    assert!(matches!(nmse(&Plane::zeros((0, 0)), &Plane::zeros((0, 0))), Err(ImageError::Empty { .. })));
    assert!(matches!(score_image(&output, &truth, g.centre, 0.0), Err(ImageError::BadWindow { .. })));
    let mut nan = output.clone();
    nan[(3, 3)] = f32::NAN;
    assert!(matches!(ssim(&nan, &truth), Err(ImageError::Empty { .. })));
}

fn truth_row(x: f64, y: f64, snr: f64) -> TruthRow {
    TruthRow { x, y, flux: 10.0 * snr, snr, e: [0.1, -0.2], size: 8.0, has_shape: true }
}

fn perfect(t: &TruthRow) -> MeasuredRow {
    MeasuredRow {
        x: t.x,
        y: t.y,
        flux: t.flux,
        flux_err: 10.0,
        e: t.e,
        size: t.size,
        psf_e: [0.05, 0.02],
        flags: Flags::empty(),
        image: None,
        invented: None,
    }
}

#[test]
fn matches_are_one_to_one_and_closest_first() {
    let truth = [(0.0, 0.0), (1.0, 0.0), (50.0, 50.0), (f64::NAN, 1.0)];
    let measured = [(0.6, 0.0), (-1.5, 0.0), (49.0, 51.0), (1e300, 0.0)];
    let pairs = match_positions(&truth, &measured, 2.0);
    let indices: Vec<(usize, usize)> = pairs.iter().map(|p| (p.truth, p.measured)).collect();
    assert_eq!(indices, [(0, 1), (1, 0), (2, 2)]);
    assert!((pairs[1].distance - 0.4).abs() < 1e-12);
    assert!(match_positions(&truth, &measured, f64::NAN).is_empty());
    assert!(match_positions(&[], &measured, 2.0).is_empty());
}

#[test]
fn completeness_and_purity_count_what_was_put_in() {
    let truth: Vec<TruthRow> =
        (0..40).map(|i| truth_row(20.0 * f64::from(i), 5.0, if i < 20 { 7.0 } else { 50.0 })).collect();
    let mut measured: Vec<MeasuredRow> = truth.iter().skip(10).map(perfect).collect();
    measured.extend((0..10).map(|i| MeasuredRow { y: 500.0, ..perfect(&truth[i]) }));
    measured[0].flags = Flags::EDGE;
    let report = evaluate(&truth, &measured, &EvaluateSettings::default());
    assert_eq!((report.truth, report.measured, report.matched, report.excluded), (40, 40, 30, 1));
    assert_eq!((report.completeness, report.purity), (0.75, 0.75));
    assert_eq!(report.bins.len(), 5);
    assert_eq!((report.bins[0].truth, report.bins[0].matched, report.bins[0].completeness), (20, 10, 0.5));
    assert_eq!(report.bins[0].flux_bias.count, 9, "flagged rows are left out");
    assert_eq!((report.bins[2].truth, report.bins[2].completeness), (20, 1.0));
    assert!(report.bins[1].completeness.is_nan());
    assert_eq!(report.all.flux_bias.median, 0.0);
}

#[test]
fn biases_leakage_and_pulls_come_out_as_put_in() {
    let mut rng = <rand_chacha::ChaCha8Rng as rand_chacha::rand_core::SeedableRng>::seed_from_u64(12);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let (mut truth, mut measured) = (Vec::new(), Vec::new());
    for i in 0..2000 {
        let mut t = truth_row(10.0 * f64::from(i % 50), 10.0 * f64::from(i / 50), 50.0);
        t.e = [0.2 * normal(), 0.2 * normal()];
        t.has_shape = i % 10 != 0;
        let psf_e = [0.05 * normal(), 0.05 * normal()];
        let mut m = perfect(&t);
        m.psf_e = psf_e;
        m.e = [0.9 * t.e[0] + 0.3 * psf_e[0] + 0.01, 0.9 * t.e[1] + 0.3 * psf_e[1]];
        m.flux = 1.02 * t.flux + 20.0 * normal();
        m.flux_err = 20.0;
        m.size = 1.1 * t.size;
        m.x += 0.1 * normal();
        m.y += 0.1 * normal();
        if !t.has_shape {
            m.e = [9.0, 9.0];
        }
        m.image =
            Some(ImageScore { nmse: 0.1 + 0.001 * f64::from(i % 3), ssim: 0.9, ssim_object: 0.8, flux_error: 0.02 });
        truth.push(t);
        measured.push(m);
    }
    let report = evaluate(&truth, &measured, &EvaluateSettings::default());
    let bin = &report.bins[2];
    assert_eq!((bin.matched, bin.flux_bias.count, bin.e1_bias.count), (2000, 2000, 1800));
    assert!((bin.flux_bias.median - 0.02).abs() < 0.005, "{:?}", bin.flux_bias);
    assert!((bin.pulls.median - 0.5).abs() < 0.1 && (bin.pulls.scatter - 1.0).abs() < 0.08, "{:?}", bin.pulls);
    assert!(bin.pull_outliers < 0.001);
    assert!((bin.size_bias.median - 0.1).abs() < 1e-9);
    assert!((bin.centroid_rms - 0.1 * 2f64.sqrt()).abs() < 0.01, "{}", bin.centroid_rms);
    for (slope, expected, what) in
        [(bin.c_true, 0.9, "C_true"), (bin.c_psf, 0.3, "C_psf"), (bin.c_psf_of_error, 0.3, "C_psf of the error")]
    {
        assert!((slope.value - expected).abs() < 4.0 * slope.error, "{what}: {slope:?}");
        assert_eq!(slope.count, 1800);
    }
    assert!(bin.c_psf_of_error.error < 0.3 * bin.c_psf.error, "{:?} {:?}", bin.c_psf_of_error, bin.c_psf);
    assert!((bin.nmse.median - 0.101).abs() < 1e-9 && bin.ssim.median == 0.9);
    let text = render(&report);
    for word in ["completeness 1.000", "C_psf", "30-100", "NMSE", "2000/2000"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).expect("JSON");
    assert!((json["bins"][2]["c_true"]["value"].as_f64().expect("number") - bin.c_true.value).abs() < 1e-12);
}

#[test]
fn nothing_against_nothing_is_a_report_too() {
    let report = evaluate(&[], &[], &EvaluateSettings::default());
    assert_eq!((report.truth, report.matched), (0, 0));
    assert!(report.completeness.is_nan() && report.all.c_psf.value.is_nan());
    assert!(render(&report).contains("0 true objects"));
    serde_json::to_string(&report).expect("JSON");
}

#[test]
fn empty_positions() {
    let rows: Vec<BlankRow> = (0..100)
        .map(|i| BlankRow {
            flux: 3.0 + f64::from(i % 5) - 2.0,
            flux_err: 2.0,
            peak_snr: if i < 7 { 9.0 } else { 2.0 },
        })
        .collect();
    let report = evaluate_blanks(&rows, 5.0);
    assert_eq!((report.positions, report.flux.median, report.blobs), (100, 3.0, 0.07));
    assert!((report.mean - 3.0).abs() < 1e-12 && (report.mean_err - 0.142).abs() < 0.001, "{report:?}");
    assert!((report.pulls.median - 1.5).abs() < 1e-12);
    assert!(render_blanks(&report).contains("100 empty positions"));
    assert!(evaluate_blanks(&[], 5.0).mean.is_nan());
}

proptest! {
    /// An image is like itself, SSIM does not care about a common scale, and NMSE grows with the square of the error.
    #[test]
    fn scores_of_simple_errors(scale in 0.01f32..100.0, gain in 0.1f32..3.0) {
        let (output, truth, _) = golden();
        prop_assert!((ssim(&truth, &truth).expect("SSIM") - 1.0).abs() < 1e-9);
        let scaled = ssim(&(&output * scale), &(&truth * scale)).expect("SSIM");
        prop_assert!((scaled - ssim(&output, &truth).expect("SSIM")).abs() < 1e-4);
        let error = nmse(&(&truth * gain), &truth).expect("NMSE");
        prop_assert!((error - f64::from(gain - 1.0).powi(2)).abs() < 1e-5);
    }
}
