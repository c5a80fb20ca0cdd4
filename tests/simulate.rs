//! Simulation: profiles against GalSim, flux, noise, truth tables, the command itself.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;
use stillair::fits::{ExtraHdu, FitsFile, write_hdus};
use stillair::image::Plane;
use stillair::image::stats::median_and_sigma;
use stillair::simulate::grid::{Grid, Spectrum, Window};
use stillair::simulate::optics::Optics;
use stillair::simulate::{Psf, Renderer, Scene, Shear};
use stillair::sky::Cards;

#[derive(serde::Deserialize)]
struct Profiles {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    n: usize,
    centre: (f64, f64),
    pixel: bool,
    unit: f64,
    pixels: Vec<f64>,
    psf: String,
    #[serde(default)]
    fwhm: f64,
    #[serde(default)]
    beta: f64,
    #[serde(default)]
    psf_g1: f64,
    #[serde(default)]
    psf_g2: f64,
    #[serde(default)]
    cutoff: f64,
    #[serde(default)]
    obscuration: f64,
    #[serde(default)]
    defocus: f64,
    #[serde(default)]
    astig1: f64,
    #[serde(default)]
    astig2: f64,
    #[serde(default)]
    coma1: f64,
    #[serde(default)]
    coma2: f64,
    #[serde(default)]
    n_sersic: f64,
    #[serde(default)]
    hlr: f64,
    #[serde(default)]
    g1: f64,
    #[serde(default)]
    g2: f64,
}

impl Case {
    fn psf(&self) -> Psf {
        let shear = Shear { g1: self.psf_g1, g2: self.psf_g2 };
        match self.psf.as_str() {
            "moffat" => Psf::moffat(self.fwhm, self.beta, shear),
            "kolmogorov" => Psf::kolmogorov(self.fwhm, shear),
            "gaussian" => Psf::gaussian(self.fwhm, shear),
            "airy" => Psf::airy(self.cutoff, self.obscuration),
            "telescope" => {
                // Noll: Z5 (astig1) is the diagonal astigmatism, Z7 (coma1) the coma along y
                let optics = Optics {
                    cutoff: self.cutoff,
                    obscuration: self.obscuration,
                    defocus: self.defocus,
                    astigmatism_0: self.astig2,
                    astigmatism_45: self.astig1,
                    coma_x: self.coma2,
                    coma_y: self.coma1,
                };
                Psf::telescope(optics, 1.0)
            }
            other => panic!("unknown PSF {other}"),
        }
    }
}

/// Every profile that GalSim also has, to 1e-3 of the image's maximum (the aberrated pupil to 3e-3).
#[test]
fn profiles_agree_with_galsim() {
    let text = std::fs::read_to_string(common::golden("simulate/profiles.json")).expect("golden file");
    let profiles: Profiles = serde_json::from_str(&text).expect("golden JSON");
    assert_eq!(profiles.cases.len(), 9);
    for case in &profiles.cases {
        let psf = case.psf();
        let grid = Grid::new(6 * case.n, psf.cut(1e-6), 1);
        let kernel = if case.pixel { psf.effective_spectrum(grid) } else { psf.spectrum(grid) };
        let object = if case.n_sersic > 0.0 {
            Scene::sersic(1.0, case.n_sersic, case.hlr, Shear { g1: case.g1, g2: case.g2 }).spectrum(grid)
        } else {
            Spectrum::constant(grid, 1.0)
        };
        // GalSim leaves in the shift of the centroid that coma brings, 2 / cutoff pixels per wave of mean slope; we take it out
        let slope = 8f64.sqrt() * (3.0 * (1.0 + case.obscuration.powi(2)) - 2.0);
        let shift = |coma: f64| if coma == 0.0 { 0.0 } else { -slope * coma * 2.0 / case.cutoff };
        let centre = (case.centre.0 + shift(case.coma2), case.centre.1 + shift(case.coma1));
        let window = Window { nx: case.n, ny: case.n, sampling: 1, centre };
        let image = Renderer::new().draw(&object, &kernel, window);
        let peak = 1e5 * case.unit;
        let worst = image
            .iter()
            .zip(&case.pixels)
            .map(|(ours, theirs)| (f64::from(*ours) - theirs * case.unit).abs() / peak)
            .fold(0.0, f64::max);
        eprintln!("{}: largest difference {worst:.1e} of the peak", case.name);
        let bar = if case.psf == "telescope" { 3e-3 } else { 1e-3 };
        assert!(worst < bar, "{}: {worst:.2e} of the peak", case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the profile, the PSF and the place: a large stamp holds the flux, and finer sampling holds the same.
    #[test]
    fn flux_is_kept(
        n in 0.5f64..3.0, radius in 0.3f64..3.0, q in 0.2f64..1.0, angle in 0.0f64..3.1,
        fwhm in 2.0f64..6.0, beta in 2.5f64..5.0, x in -0.5f64..0.5, y in -0.5f64..0.5, flux in 0.1f64..1e4,
    ) {
        let scene = Scene::sersic(flux, n, radius, Shear::from_axis_ratio(q, angle));
        let psf = Psf::moffat(fwhm, beta, Shear { g1: 0.05, g2: -0.03 });
        let grid = Grid::new(160, psf.cut(1e-5).max(0.9), 2);
        let (object, kernel) = (scene.spectrum(grid), psf.effective_spectrum(grid));
        let mut renderer = Renderer::new();
        for sampling in [1, 2] {
            let side = 160 * sampling;
            let centre = (sampling as f64 * (80.0 + x), sampling as f64 * (80.0 + y));
            let image = renderer.draw(&object, &kernel, Window { nx: side, ny: side, sampling, centre });
            let sum: f64 = image.iter().map(|v| f64::from(*v)).sum();
            prop_assert!((sum / flux - 1.0).abs() < 1e-4, "sampling {sampling}: {sum} of {flux}");
        }
    }
}

fn stillair(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stillair")).args(arguments).output().expect("stillair runs")
}

/// A small exposure of 60 objects in a folder; its path.
fn exposure(folder: &Path, layout: &str) -> PathBuf {
    let out = folder.to_str().expect("a path");
    let done = stillair(&[
        "simulate",
        "--out",
        out,
        "--layout",
        layout,
        "--seed",
        "5",
        "--size",
        "512,400",
        "--objects",
        "60",
        "--stars",
        "40",
        "--truth-stamps",
        "32",
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder.join(format!("{layout}-5.fits"))
}

fn hdu_index(file: &FitsFile, name: &str) -> usize {
    file.find(name).unwrap_or_else(|| panic!("no HDU {name}")).index
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().expect("folder");
    for (name, threads) in [("a", "1"), ("b", "3")] {
        let out = folder.path().join(name);
        for what in [&["--stamps", "20", "--size", "32"][..], &["--size", "128,96", "--objects", "30"][..]] {
            let done = Command::new(env!("CARGO_BIN_EXE_stillair"))
                .args(["simulate", "--seed", "9", "--out"])
                .arg(&out)
                .args(what)
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .expect("stillair runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }
    let stamps = ["tikhonov.npy", "sharper.npy", "smoother.npy", "observed.npy", "truth.npy", "psf.npy", "table.csv"];
    let files: Vec<&str> = stamps.into_iter().chain(["lsst-9.fits", "lsst-9.truth.fits"]).collect();
    for file in &files {
        let read = |name: &str| std::fs::read(folder.path().join(name).join(file)).expect("a file");
        assert!(read("a") == read("b"), "{file} differs");
    }
    let names: Vec<_> =
        std::fs::read_dir(folder.path().join("a")).expect("folder").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(names.len(), files.len(), "nothing else is left behind: {names:?}");
}

/// Noise, apertures and truth stamps of every layout against its truth table; the files as astropy sees them.
#[test]
fn exposures_agree_with_their_truth() {
    for (layout, image_hdu) in [("lsst", "IMAGE"), ("euclid", "1-1.E.SCI"), ("generic", "SCI")] {
        let folder = tempfile::tempdir().expect("folder");
        let path = exposure(folder.path(), layout);
        let truth_path = path.with_extension("truth.fits");
        let mut file = FitsFile::open(&path, 1 << 30).expect("exposure");
        let image = file.read_plane(hdu_index(&file, image_hdu), 1 << 30).expect("image");
        assert_eq!(image.dim(), (400, 512));
        let mut truth = FitsFile::open(&truth_path, 1 << 30).expect("truth");
        let table = truth.read_table(hdu_index(&truth, "TRUTH")).expect("table");
        let sigma = table.cards.real("SKYSIGMA").expect("sky noise");
        // neighbouring pixels see the same sky, whatever its gradient
        let steps: Vec<f32> = image
            .rows()
            .into_iter()
            .flat_map(|r| r.windows(2).into_iter().map(|w| w[1] - w[0]).collect::<Vec<_>>())
            .collect();
        let scatter = median_and_sigma(&steps).expect("pixels").1 / 2f64.sqrt();
        assert!(scatter > 0.97 * sigma && scatter < 1.10 * sigma, "{layout}: noise {scatter}, stated {sigma}");
        let column = |name: &str| table.numbers(name).expect(name);
        let (x, y, flux, snr) = (column("x"), column("y"), column("flux_image"), column("snr"));
        let (star, saturated) = (column("star"), column("saturated"));
        assert_eq!(star.iter().filter(|s| **s == 1.0).count(), 40);
        let mut ratios = Vec::new();
        for i in 0..x.len() {
            let (cx, cy) = (x[i] - 1.0, y[i] - 1.0);
            let alone =
                (0..x.len()).all(|j| j == i || snr[j] < 0.02 * snr[i] || (x[j] - x[i]).hypot(y[j] - y[i]) > 35.0);
            let inside = cx > 15.0 && cy > 15.0 && cx < 496.0 && cy < 384.0;
            if star[i] == 1.0 && snr[i] > 150.0 && saturated[i] == 0.0 && alone && inside {
                let within = |low: f64, high: f64| -> Vec<f32> {
                    image
                        .indexed_iter()
                        .filter(|((row, col), _)| {
                            let r = (*col as f64 - cx).hypot(*row as f64 - cy);
                            r >= low && r < high
                        })
                        .map(|(_, v)| *v)
                        .collect()
                };
                let (sky, _) = median_and_sigma(&within(16.0, 26.0)).expect("a ring of sky");
                let sum: f64 = within(0.0, 14.0).iter().map(|v| f64::from(*v) - sky).sum();
                ratios.push((sum / flux[i]) as f32);
            }
        }
        assert!(ratios.len() >= 3, "{layout}: only {} stars to measure", ratios.len());
        let (ratio, _) = median_and_sigma(&ratios).expect("ratios");
        assert!((ratio - 1.0).abs() < 0.08, "{layout}: apertures hold {ratio} of the flux");
        if let Some(python) = python() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_simulated.py");
            let done =
                Command::new(python).arg(script).arg(&path).arg(&truth_path).arg(image_hdu).output().expect("python");
            assert!(done.status.success(), "{layout}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

/// A Python with astropy: `$STILLAIR_PYTHON`, else the repository's `.venv`; `None` (said on standard error) without one.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let found = std::env::var_os("STILLAIR_PYTHON").map(PathBuf::from).or_else(|| own.exists().then_some(own));
    if found.is_none() {
        eprintln!("SKIPPED: no Python: set STILLAIR_PYTHON to one with astropy, or run `make setup`");
    }
    found
}

#[test]
fn bad_arguments_are_told_apart_and_end_with_2() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("out");
    let out = out.to_str().expect("a path");
    for (arguments, says) in [
        (&["--size", "2048"][..], "two whole numbers"),
        (&["--size", "10,10"], "64 to 16384"),
        (&["--count", "0"], "at least 1"),
        (&["--objects", "5", "--stars", "9"], "raise --objects"),
        (&["--cosmic-rays-masked", "1.5"], "between 0 and 1"),
        (&["--truth-stamps", "33"], "even side"),
        (&["--layout", "hubble"], "possible values"),
        (&["--truth-stamps", "32", "--target-scale", "0.07"], "can be had"),
        (&["--truth-stamps", "32", "--target-fwhm", "0"], "positive"),
        (&["--target-fwhm", "0.4"], "--truth-stamps"),
        (&["--galaxies", "nothing.fits", "--galaxies-share", "2"], "between 0 and 1"),
        (&["--stamps", "0"], "at least 1"),
        (&["--stamps", "5", "--size", "64,64"], "one whole number"),
        (&["--stamps", "5", "--size", "31"], "even side"),
        (&["--stamps", "5", "--target-scale-factor", "5"], "1, 2, 3 or 4"),
        (&["--stamps", "5", "--objects", "7"], "cannot be used with"),
    ] {
        let done = stillair(&[&["simulate", "--out", out][..], arguments].concat());
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
        assert!(!Path::new(out).exists(), "{arguments:?} left a folder behind");
    }
}

/// Pictures with their telescope: Gaussians in noise, so that what should come out is known.
fn pictures(path: &Path) {
    let mut rng = <rand_chacha::ChaCha8Rng as rand_chacha::rand_core::SeedableRng>::seed_from_u64(2);
    let gaussian = |side: usize, sigma: f64| {
        let middle = (side / 2) as f64;
        Plane::from_shape_fn((side, side), |(j, i)| {
            let r2 = (i as f64 - middle).powi(2) + (j as f64 - middle).powi(2);
            ((-0.5 * r2 / (sigma * sigma)).exp() / (std::f64::consts::TAU * sigma * sigma)) as f32
        })
    };
    let mut hdus = Vec::new();
    for (k, flux) in [100.0f32, 60.0, 0.05].into_iter().enumerate() {
        let mut picture = gaussian(48, 4.0 + k as f64) * flux;
        picture.mapv_inplace(|v| {
            let noise: f64 = rand_distr::Distribution::sample(&rand_distr::StandardNormal, &mut rng);
            v + 0.002 * noise as f32
        });
        hdus.push(ExtraHdu::Plane { name: format!("GAL{k:03}"), plane: picture, cards: Cards::new() });
        hdus.push(ExtraHdu::Plane { name: format!("PSF{k:03}"), plane: gaussian(31, 1.4), cards: Cards::new() });
    }
    let mut cards = Cards::new();
    cards.push("PIXSCALE", 0.03, "[arcsec]");
    write_hdus(path, &cards, &hdus).expect("pictures");
}

#[test]
fn real_galaxies_and_empty_positions_are_in_the_truth() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("pictures.fits");
    pictures(&file);
    let (file, out) = (file.to_str().expect("a path"), folder.path().to_str().expect("a path"));
    let common = ["simulate", "--out", out, "--size", "384,320", "--objects", "40", "--stars", "8", "--seed", "3"];
    let target = ["--truth-stamps", "64", "--target-fwhm", "0.15", "--target-scale", "0.1"];
    let done =
        stillair(&[&common[..], &target, &["--galaxies", file, "--galaxies-share", "0.7", "--blanks", "5"]].concat());
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("1 of 3 pictures are left out"), "{said}");
    let mut truth = FitsFile::open(&folder.path().join("lsst-3.truth.fits"), 1 << 30).expect("truth");
    let table = truth.read_table(hdu_index(&truth, "TRUTH")).expect("table");
    let kinds = table.strings("kind").expect("kinds");
    let real = kinds.iter().filter(|k| k.as_str() == "picture").count();
    assert!(real > 12 && real < 32, "{kinds:?}");
    let index = hdu_index(&truth, "TRUTH_STAMPS");
    let cards = truth.cards(index).expect("cards");
    assert!((cards.real("TGTFWHM").expect("a target") - 0.15).abs() < 1e-9);
    assert!((cards.real("PIXSCALE").expect("a scale") - 0.1).abs() < 1e-9);
    let blanks = truth.read_table(hdu_index(&truth, "BLANKS")).expect("blanks");
    assert_eq!(blanks.rows(), 5);
    let csv = std::fs::read_to_string(folder.path().join("lsst-3.blanks.csv")).expect("a catalogue of blanks");
    assert_eq!(csv.lines().count(), 6);
    // image and truth show the same objects: flux of what stands alone, by the truth's stamps
    let flux = table.numbers("flux_image").expect("fluxes");
    let mut stamps = stillair::archive::StampCubes::open(&folder.path().join("lsst-3.truth.fits")).expect("stamps");
    let cube = stamps.cube("TRUTH_STAMPS").expect("a cube").clone();
    assert_eq!(cube.shape, (40, 128, 128));
    for (i, (kind, flux)) in kinds.iter().zip(&flux).enumerate().filter(|(_, (k, _))| k.as_str() == "picture") {
        let stamp = stamps.plane(&cube, i).expect("a stamp");
        let sum: f64 = stamp.iter().map(|v| f64::from(*v)).sum();
        assert!((sum / flux - 1.0).abs() < 0.02, "{kind} {i}: {sum} of {flux}");
        let least = stamp.iter().copied().fold(0.0f32, f32::min);
        let most = stamp.iter().copied().fold(0.0f32, f32::max);
        assert!(least > -0.03 * most, "{kind} {i}: {least} beside {most}");
    }
}
