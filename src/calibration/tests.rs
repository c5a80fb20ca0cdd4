use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;

/// Sources measured with a known law, noise included: F solves truth = law(F) exactly, then noise is added.
fn sources(law: &FluxLaw, count: usize, seed: u64) -> Vec<LawPoint> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|i| {
            let truth = 5.0 * 200f64.powf(rng.random::<f64>());
            let u: f64 = rng.random();
            let mut flux = truth;
            for _ in 0..100 {
                flux -= (law.apply(flux, u).flux - truth) / law.apply(flux, u).slope;
            }
            let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
            let sigma = (1.0 + 0.0004 * flux * flux).sqrt();
            let noise = sigma * normal();
            let extent = (u + 0.1 * normal() / (1.0 + 0.05 * truth)).clamp(0.0, 1.0);
            LawPoint { truth, flux: flux + noise, flux_err: sigma, extent, true_extent: u, group: i as u64 }
        })
        .collect()
}

fn law(c0: f64, c1: f64, c2: f64, offset: [f64; 2], factor: [f64; 2]) -> FluxLaw {
    FluxLaw { c0, c1, c2, size_offset: offset, size_factor: factor, covariance: [[0.0; TERMS]; TERMS] }
}

/// (flux, extent) at which laws are compared.
const PLACES: [(f64, f64); 6] = [(8.0, 0.2), (20.0, 0.8), (60.0, 0.5), (150.0, 0.9), (400.0, 0.2), (800.0, 0.8)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_law_that_was_put_in_comes_out_within_its_error(
        c0 in -0.5..0.5f64,
        c1 in 0.9..1.2f64,
        c2 in -5e-5..5e-5f64,
        offset in -1.0..1.0f64,
        factor in -0.05..0.1f64,
        seed in 0u64..1000,
    ) {
        let truth = law(c0, c1, c2, [0.0, offset], [factor, 0.0]);
        let (fit, _) = FluxLaw::fit(&sources(&truth, 2000, seed)).unwrap();
        for (flux, u) in PLACES {
            let (got, want) = (fit.apply(flux, u), truth.apply(flux, u));
            prop_assert!((got.flux - want.flux).abs() < 5.0 * got.law_err, "{} for {} +- {} at {flux}, {u}", got.flux, want.flux, got.law_err);
            // 2,000 sources fix the law to well below one source's error
            prop_assert!(got.law_err < 0.3 * (1.0 + 0.0004 * flux * flux).sqrt(), "{} at {flux}", got.law_err);
        }
    }
}

#[test]
fn the_covariance_says_how_far_off_the_law_is() {
    let truth = law(0.3, 1.05, 1e-5, [0.5, 0.5], [0.02, 0.01]);
    let mut squares = Vec::new();
    let mut chi2 = 0.0;
    let trials = 30;
    for seed in 0..trials {
        let (fit, _) = FluxLaw::fit(&sources(&truth, 800, 1000 + seed)).unwrap();
        for (flux, u) in PLACES {
            let got = fit.apply(flux, u);
            squares.push(((got.flux - truth.apply(flux, u).flux) / got.law_err).powi(2));
        }
        let covariance = nalgebra::DMatrix::from_fn(TERMS, TERMS, |i, j| fit.covariance[i][j]);
        let off = nalgebra::DVector::from_fn(TERMS, |i, _| fit.coefficients()[i] - truth.coefficients()[i]);
        chi2 += (off.transpose() * covariance.try_inverse().unwrap() * off)[(0, 0)];
    }
    let rms = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    assert!(rms > 0.75 && rms < 1.35, "errors are off by a factor {rms}");
    // 7 coefficients each, 30 times: 210 +- 20
    let per_term = chi2 / (TERMS as f64 * trials as f64);
    assert!(per_term > 0.6 && per_term < 1.7, "{per_term}");
}

#[test]
fn corrected_fluxes_are_right_at_every_true_flux_and_pulls_have_width_one() {
    let truth = law(0.5, 1.08, -1e-5, [1.0, 1.0], [0.03, 0.0]);
    let (fit, errors) = FluxLaw::fit(&sources(&truth, 4000, 5)).unwrap();
    let fresh = sources(&truth, 8000, 6);
    for (low, high, bias) in [(5.0, 10.0, 0.03), (10.0, 30.0, 0.02), (30.0, 100.0, 0.007), (100.0, 1000.0, 0.003)] {
        let within = || fresh.iter().filter(|p| p.truth >= low && p.truth < high);
        let lawful = |p: &LawPoint| fit.apply(p.flux, p.extent);
        let median = robust::median(within().map(|p| lawful(p).flux / p.truth - 1.0));
        assert!(median.abs() < bias, "{low}-{high}: {median}");
        let pull = robust::scatter(within().map(|p| {
            let l = lawful(p);
            (l.flux - p.truth) / errors.error(l.flux, p.flux_err * l.slope).hypot(l.law_err)
        }));
        assert!(pull > 0.9 && pull < 1.12, "{low}-{high}: {pull}");
    }
}

#[test]
fn sources_all_alike_in_size_get_a_law_without_it() {
    let truth = law(0.3, 1.05, 0.0, [0.0; 2], [0.0; 2]);
    let points: Vec<LawPoint> =
        sources(&truth, 600, 3).into_iter().map(|p| LawPoint { extent: 0.0, true_extent: 0.0, ..p }).collect();
    let (fit, _) = FluxLaw::fit(&points).unwrap();
    assert_eq!((fit.size_offset, fit.size_factor), ([0.0; 2], [0.0; 2]));
    assert!((fit.c1 - 1.05).abs() < 0.01, "{fit:?}");
    assert!(matches!(FluxLaw::fit(&points[..50]), Err(CalibrationError::TooFew { got: 50, .. })));
}

fn entry() -> CalibrationEntry {
    CalibrationEntry {
        scope: Scope {
            instrument: Some("A".into()),
            band: Some("r".into()),
            network: Some("net".into()),
            network_sha: Some("12".into()),
            target_fwhm: 2.0,
            target_factor: 1,
            settings: BTreeMap::from([("stamp".to_string(), "ab".to_string())]),
        },
        validity: Validity { psf_fwhm: [3.5, 4.5], signal: [2.5, 900.0], snr: [5.0, 1000.0], flux: [1.0, 1e5] },
        law: law(0.5, 1.1, 0.0, [0.0; 2], [0.0; 2]),
        errors: ErrorModel { k: 1.5, share: 0.01, floor: 0.0 },
        drift: None,
        provenance: Provenance {
            flux_unit: "nJy".into(),
            injected: 100,
            fitted: 90,
            psf: "fitted".into(),
            exposures: Vec::new(),
        },
        bins: Vec::new(),
        shapes: Vec::new(),
        empty: None,
    }
}

fn calibration(entries: Vec<CalibrationEntry>) -> Calibration {
    Calibration { version: CALIBRATION_VERSION, software: "test".into(), seed: 1, entries }
}

#[test]
fn an_entry_is_found_for_its_own_scope_alone_and_the_reason_is_told() {
    let other_width = CalibrationEntry { validity: Validity { psf_fwhm: [4.0, 5.5], ..entry().validity }, ..entry() };
    let made = calibration(vec![entry(), other_width]);
    let scope = entry().scope;
    assert_eq!(made.find(&scope, 4.1).unwrap().validity.psf_fwhm, [3.5, 4.5]);
    assert_eq!(made.find(&scope, 4.45).unwrap().validity.psf_fwhm, [4.0, 5.5]);
    assert!(made.find(&scope, 6.0).unwrap_err().contains("6.00 px"));
    for (other, word) in [
        (Scope { band: Some("i".into()), ..scope.clone() }, "band i"),
        (Scope { instrument: None, ..scope.clone() }, "instrument unknown"),
        (Scope { network: None, network_sha: None, ..scope.clone() }, "network none"),
        (Scope { network_sha: Some("34".into()), ..scope.clone() }, "another ONNX file"),
        (Scope { target_fwhm: 2.5, ..scope.clone() }, "2.5 px"),
        (Scope { settings: BTreeMap::new(), ..scope.clone() }, "[stamp]"),
    ] {
        let reason = made.find(&other, 4.0).unwrap_err();
        assert!(reason.contains(word), "{reason}");
    }
    // a target in arcsec is not quite the same number of pixels in every exposure
    assert!(made.find(&Scope { target_fwhm: 2.002, ..scope }, 4.0).is_ok());
}

#[test]
fn fluxes_are_corrected_within_the_ranges_only() {
    let applied = AppliedCalibration::new(&entry(), "sha", 10.0);
    let unit = signal_unit(10.0, 4.0);
    assert!((unit - 10.0 * 1.505_384 * 4.0).abs() < 1e-3, "{unit}");
    let at = |signal: f64, fwhm: f64| applied.correct(signal * unit, unit, fwhm, f64::NAN, 2.0);
    let c = at(100.0, 4.0).unwrap();
    assert!((c.flux / unit - 110.5).abs() < 1e-9 && (c.factor - 1.105).abs() < 1e-12);
    // 1.5 times the error times the law's slope, and 1 % of the flux
    assert!((c.flux_err / unit - (1.65f64.powi(2) + 1.105f64.powi(2)).sqrt()).abs() < 1e-9);
    assert!(at(2.0, 4.0).is_none() && at(901.0, 4.0).is_none() && at(-5.0, 4.0).is_none());
    assert!(at(100.0, 3.4).is_none() && at(100.0, f64::NAN).is_none() && at(f64::NAN, 4.0).is_none());
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |entry: CalibrationEntry, word: &str| {
        let text = calibration(vec![entry]).check().unwrap_err().to_string();
        assert!(text.contains(word) && text.contains("entry 1"), "{text}");
    };
    assert!(calibration(vec![entry()]).check().is_ok());
    refused(CalibrationEntry { law: law(f64::NAN, 1.0, 0.0, [0.0; 2], [0.0; 2]), ..entry() }, "not finite");
    refused(CalibrationEntry { law: law(0.0, 1.0, -1e-3, [0.0; 2], [0.0; 2]), ..entry() }, "rise");
    refused(CalibrationEntry { errors: ErrorModel { k: 0.0, share: 0.0, floor: 0.0 }, ..entry() }, "k positive");
    let turned = Validity { signal: [9.0, 2.0], ..entry().validity };
    refused(CalibrationEntry { validity: turned, ..entry() }, "validity.signal");
    let mut negative = entry();
    negative.law.covariance[2][2] = -1.0;
    refused(negative, "negative variance");
    assert!(calibration(vec![]).check().unwrap_err().to_string().contains("entries"));
    let old = Calibration { version: 0, ..calibration(vec![entry()]) };
    assert!(old.check().unwrap_err().to_string().contains("make it again"));
}

#[test]
fn extents_lie_between_a_point_and_everything() {
    assert_eq!(extent(1.0, 2.0), 0.0);
    assert_eq!(extent(0.5, 2.0), 0.0);
    assert_eq!(extent(f64::NAN, 2.0), 0.0);
    assert_eq!(extent(-1.0, 2.0), 0.0);
    assert!((extent(2.0, 2.0) - 0.75).abs() < 1e-12 && extent(1e9, 2.0) <= 1.0);
}
