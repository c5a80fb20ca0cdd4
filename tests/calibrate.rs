//! Calibration as a user makes and uses it: sources injected into a simulated exposure, the law applied to another one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use program::{Outputs, stillair, text};
use stillair::archive::{ArchiveError, read_calibration, write_calibration};
use stillair::calibration::Calibration;
use stillair::catalog::Flags;

/// Small exposures with room between the objects.
fn sparse(folder: &Path, seed: u64) -> PathBuf {
    let seed = seed.to_string();
    let size = ["simulate", "--out", text(folder), "--layout", "generic", "--size", "512,512"];
    stillair(&[size.as_slice(), &["--objects", "90", "--stars", "45", "--seed", &seed]].concat()).exit(0);
    folder.join(format!("generic-{seed}.fits"))
}

fn process(exposure: &Path, out: &Path, options: &[&str]) -> Outputs {
    let arguments = ["process", text(exposure), "--out", text(out), "--model", "none"];
    stillair(&[arguments.as_slice(), options].concat()).exit(0);
    let name = exposure.file_stem().unwrap().to_string_lossy().into_owned();
    Outputs::read(out.join(name))
}

#[test]
fn a_law_made_on_one_exposure_corrects_another_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (sparse(folder.path(), 31), sparse(folder.path(), 32));
    let (file, csv) = (folder.path().join("calibration.toml"), folder.path().join("injected.csv"));
    let calibrate = |out: &Path| {
        let arguments = ["calibrate", text(&first), "--out", text(out), "--count", "160", "--empty", "20"];
        let more = ["--spacing", "48", "--model", "none", "--injected", text(&csv)];
        stillair(&[arguments.as_slice(), &more].concat()).exit(0)
    };
    calibrate(&file).prints(&["law", "errors", "found"]);
    let made = read_calibration(&file).unwrap();
    let entry = &made.calibration.entries[0];
    assert_eq!(made.calibration.entries.len(), 1);
    assert_eq!((entry.scope.band.as_deref(), &entry.scope.network), (Some("r"), &None));
    assert!(entry.provenance.injected >= 160 && entry.provenance.fitted > 100, "{:?}", entry.provenance);
    assert!(entry.provenance.exposures[0].passes >= 2 && entry.provenance.exposures[0].passes.is_multiple_of(2));
    let [low, high] = entry.validity.psf_fwhm;
    assert!(low < 3.7 && high > 3.7 && high < 6.0, "{low} {high}");
    // every source is there twice, the galaxies turned, and all were measured
    let table = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(table.lines().count(), 1 + entry.provenance.injected);
    let turned = |line: &str| line.split(',').nth(2) == Some("1");
    assert_eq!(table.lines().filter(|line| turned(line)).count() * 2, entry.provenance.injected);

    // the same input gives the same bytes
    let again = folder.path().join("again.toml");
    calibrate(&again);
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&again).unwrap());

    let plain = process(&second, &folder.path().join("plain"), &[]);
    let lawful = process(&second, &folder.path().join("lawful"), &["--calibration", text(&file)]);
    assert!(plain.all_flagged(Flags::UNCALIBRATED) && plain.catalog.header.calibration.is_none());
    let applied = lawful.catalog.header.calibration.as_ref().expect("a calibration in force");
    assert_eq!(applied.sha256, made.sha256);
    let mut corrected = 0;
    for (a, b) in plain.rows().iter().zip(lawful.rows()) {
        assert_eq!((a.id, a.amplitude.to_bits(), a.ixx.to_bits()), (b.id, b.amplitude.to_bits(), b.ixx.to_bits()));
        if b.flags.contains(Flags::UNCALIBRATED) {
            assert!(a.flux.to_bits() == b.flux.to_bits() && (b.bias_correction - 1.0).abs() < f64::EPSILON);
        } else {
            corrected += 1;
            assert!((b.flux / a.flux / b.bias_correction - 1.0).abs() < 1e-9, "{} {}", a.flux, b.flux);
            let shift = -2.5 * b.bias_correction.log10();
            assert!((b.mag - a.mag - shift).abs() < 1e-6 || b.mag.is_nan());
        }
    }
    assert!(corrected * 2 > lawful.rows().len(), "{corrected} of {} rows", lawful.rows().len());

    // A catalogue made without the law is not taken for one made with it, and the law holds for what it was made for alone.
    let hash = |outputs: &Outputs| outputs.catalog.header.config_hash.clone();
    assert_ne!(hash(&plain), hash(&lawful));
    let wider = ["--calibration", text(&file), "--target-fwhm", "0.7"];
    let other = process(&second, &folder.path().join("wider"), &wider);
    assert!(other.all_flagged(Flags::UNCALIBRATED) && other.catalog.header.calibration.is_none());
    let notes = other.catalog.header.notes.join("\n");
    assert!(notes.contains("fluxes are as measured") && notes.contains("target of"), "{notes}");
}

/// A calibration small enough to read.
fn written(folder: &Path) -> (PathBuf, Calibration) {
    let text = r#"
version = 1
software = "by hand"
seed = 3
[[entries]]
scope = { instrument = "A", band = "r", target_fwhm = 2.0, target_factor = 1, settings = { stamp = "12" } }
validity = { psf_fwhm = [3.0, 4.0], signal = [2.5, 900.0], snr = [5.0, 1000.0], flux = [1.0, 2.0] }
errors = { k = 1.5, share = 0.01, floor = 0.0 }
provenance = { flux_unit = "nJy", injected = 9, fitted = 8, psf = "fitted", exposures = [] }
[entries.law]
c0 = 0.1
c1 = 1.02
c2 = 0.0
size_offset = [0.0, 0.0]
size_factor = [0.1, 0.0]
covariance = [[0.0,0.0,0.0,0.0,0.0,0.0,0.0],[0.0,1e-6,0.0,0.0,0.0,0.0,0.0],[0.0,0.0,0.0,0.0,0.0,0.0,0.0],[0.0,0.0,0.0,0.0,0.0,0.0,0.0],[0.0,0.0,0.0,0.0,0.0,0.0,0.0],[0.0,0.0,0.0,0.0,0.0,0.0,0.0],[0.0,0.0,0.0,0.0,0.0,0.0,0.0]]
"#;
    let path = folder.join("hand.toml");
    std::fs::write(&path, text).unwrap();
    let calibration = read_calibration(&path).unwrap().calibration;
    (path, calibration)
}

#[test]
fn files_come_back_as_they_were_in_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let (_, calibration) = written(folder.path());
    for name in ["a.toml", "a.json", "no-ending"] {
        let path = folder.path().join(name);
        write_calibration(&path, &calibration).unwrap();
        assert_eq!(read_calibration(&path).unwrap().calibration, calibration, "{name}");
    }
}

#[test]
fn bad_files_are_refused_with_the_place_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path());
    let good = std::fs::read_to_string(&path).unwrap();
    let refused = |text: String, words: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let error = read_calibration(&path).unwrap_err();
        assert!(matches!(error, ArchiveError::Content { .. }), "{error}");
        for word in words.iter().chain(&["hand.toml"]) {
            assert!(error.to_string().contains(word), "{error} lacks {word}");
        }
        // the program says so before it does anything
        let run = stillair(&["process", "nowhere.fits", "--calibration", path.to_str().unwrap()]);
        run.exit(64).tells(&["hand.toml"]);
    };
    refused(good.replace("seed = 3", "seed = 3\nsedd = 4"), &["sedd", "line 5"]);
    refused(good.replace("c1 = 1.02", "c1 = nan"), &["not finite"]);
    refused(good.replace("c1 = 1.02", "c1 = -1.0"), &["rise"]);
    refused(good.replace("version = 1", "version = 7"), &["version 7"]);
    refused(good.replace("k = 1.5", "k = -1.5"), &["k positive"]);
    refused("not TOML at all [".into(), &["line 1"]);
    let error = read_calibration(&folder.path().join("nowhere.toml")).unwrap_err();
    assert!(matches!(error, ArchiveError::Io { .. }), "{error}");
}

#[test]
fn bad_arguments_say_what_to_do() {
    for (arguments, word) in [
        (["--snr", "9,3"], "--snr"),
        (["--stars", "1.5"], "--stars"),
        (["--count", "7"], "--count"),
        (["--spacing", "0"], "--spacing"),
    ] {
        let all = [["calibrate", "nowhere.fits", "--out", "x.toml"].as_slice(), &arguments].concat();
        stillair(&all).exit(2).tells(&[word]);
    }
    stillair(&["calibrate", "nowhere.fits", "--out", "x.toml"]).exit(1).tells(&["nowhere.fits"]);
}
