//! Bad input through the whole program: an exit code, a message that names the file and the remedy, no panic, nothing else lost.

#![allow(clippy::expect_used, clippy::panic)]

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use program::{Outputs, processed, simulated, stillair, stillair_with, text};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use stillair::catalog::Flags;
use stillair::exposure::Exposure;
use stillair::fits::{ExtraHdu, ReadSettings, WriteLayout, list_exposures, read, write_exposure, write_hdus};
use stillair::image::mask;
use stillair::sky::Cards;

/// A simulated exposure and its folder.
struct Bench {
    folder: tempfile::TempDir,
    good: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let good = simulated(folder.path(), "generic", 7);
        Self { folder, good }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn exposure(&self) -> Exposure {
        let settings = ReadSettings::default();
        let handles = list_exposures(&self.good, &settings).expect("listed");
        read(&handles[0], &settings).expect("read")
    }

    /// Writes the simulated exposure, changed, as SCI, ERR, DQ.
    fn write(&self, name: &str, change: impl FnOnce(&mut Exposure)) -> PathBuf {
        let mut exposure = self.exposure();
        change(&mut exposure);
        let path = self.path(name);
        write_exposure(&path, &exposure, WriteLayout::Generic, &[]).expect("written");
        path
    }

    /// Processes without a network.
    fn process(&self, exposures: &[&Path], options: &[&str]) -> program::Run {
        self.process_with(&[], exposures, options)
    }

    fn process_with(&self, settings: &[(&str, &str)], exposures: &[&Path], options: &[&str]) -> program::Run {
        let out = self.path("out");
        let mut arguments = vec!["process", "--model", "none", "--out", text(&out)];
        arguments.extend(exposures.iter().map(|path| text(path)));
        arguments.extend(options);
        stillair_with(settings, &arguments)
    }
}

fn noise(shape: (usize, usize), level: f64, sigma: f64) -> Array2<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let normal = Normal::new(level, sigma).expect("a width");
    Array2::from_shape_simple_fn(shape, || normal.sample(&mut rng) as f32)
}

fn crop(exposure: &mut Exposure, rows: usize, columns: usize) {
    let area = s![100..100 + rows, 100..100 + columns];
    exposure.image = exposure.image.slice(area).to_owned();
    exposure.variance = exposure.variance.slice(area).to_owned();
    exposure.mask = exposure.mask.slice(area).to_owned();
}

#[test]
fn each_bad_file_says_what_is_wrong_and_the_good_one_is_processed() {
    let bench = Bench::new();
    let bytes = std::fs::read(&bench.good).expect("read");
    let raw = |name: &str, bytes: &[u8]| {
        let path = bench.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let table_only = bench.path("bare.fits");
    write_hdus(&table_only, &Cards::new(), &[]).expect("written");
    let cube = bench.path("cube.fits");
    let planes = ndarray::Array3::<f32>::ones((3, 64, 64));
    write_hdus(&cube, &Cards::new(), &[ExtraHdu::Cube { name: "SCI".into(), cube: planes, cards: Cards::new() }])
        .expect("written");
    // Of each: what is told of it.
    let cases: Vec<(PathBuf, &[&str])> = vec![
        (bench.path("nowhere.fits"), &["cannot open"]),
        (raw("empty.fits", b""), &["not a FITS file", "begins with SIMPLE"]),
        (raw("words.fits", b"no exposure"), &["not a FITS file", "begins with SIMPLE"]),
        (raw("half.fits", &bytes[..bytes.len() / 2]), &["HDU 2 (ERR)", "truncated", "fetch the file again"]),
        (raw("header.fits", &bytes[..4000]), &["header.fits"]),
        (table_only, &["image", "[read]"]),
        (cube, &["an image of 3 axes", "split a cube"]),
        (bench.write("nan.fits", |e| e.image.fill(f32::NAN)), &["HDU 1 (SCI)", "every pixel is NaN", "holds data"]),
        (bench.write("tiny.fits", |e| crop(e, 16, 16)), &["16 x 16 pixels", "larger cut-out"]),
        (bench.write("line.fits", |e| crop(e, 1, 300)), &["300 x 1 pixels", "larger cut-out"]),
        (
            bench.write("saturated.fits", |e| {
                e.image.fill(70_000.0);
                e.mask.fill(mask::SATURATED);
            }),
            &["none of the 262144 pixels is usable", "check the mask plane"],
        ),
        (bench.write("constant.fits", |e| e.image.fill(100.0)), &["a constant image"]),
        (
            bench.write("blank.fits", |e| {
                e.image = noise(e.image.dim(), 100.0, 5.0);
                e.variance.fill(25.0);
                e.mask.fill(0);
            }),
            &["no PSF: 0 sources", "nothing was found", "--psf"],
        ),
        (
            bench.write("shape.fits", |e| e.variance = e.variance.slice(s![..100, ..]).to_owned()),
            &["HDU 2 (ERR): 512 x 100 pixels, but the image is 512 x 512", "[read]"],
        ),
    ];
    for (path, told) in &cases {
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        let run = bench.process(&[path], &[]).exit(1).tells(told);
        let line = run.err.lines().find(|line| line.contains(told[0])).unwrap_or_default();
        assert!(line.contains(text(path)), "{name} is not named where it is said what is wrong:\n{}", run.err);
        assert!(!bench.path("out").join(name.trim_end_matches(".fits")).join("summary.json").exists());
    }
    // All of them and the good one: it is processed, and the tally is right.
    let mut all: Vec<&Path> = cases.iter().map(|(path, _)| path.as_path()).collect();
    all.insert(5, &bench.good);
    let tally = format!("{} of {} exposures failed", cases.len(), cases.len() + 1);
    let run = bench.process(&all, &[]).exit(1).tells(&[&tally]);
    for (_, told) in &cases {
        assert!(run.err.contains(told[0]));
    }
    assert!(Outputs::read(bench.path("out/generic-7")).rows().len() > 80);
}

#[test]
fn unusable_noise_planes_are_replaced_and_said() {
    let bench = Bench::new();
    let out = bench.path("out");
    let count = |path: &Path| processed(path, &out, &["--model", "none"]).1.rows().len();
    let zero = bench.write("zero.fits", |e| e.variance.fill(0.0));
    let exposure = bench.exposure();
    let plane = |name: &str, plane: Array2<f32>| ExtraHdu::Plane { name: name.into(), plane, cards: Cards::new() };
    let bare = bench.path("bare.fits");
    write_hdus(&bare, &Cards::new(), &[plane("SCI", exposure.image.clone())]).expect("written");
    let negative = bench.path("negative.fits");
    let planes = [plane("SCI", exposure.image.clone()), plane("VAR", exposure.variance.mapv(|v| -v))];
    write_hdus(&negative, &Cards::new(), &planes).expect("written");
    // The image itself in the variance's place: nothing like the scatter of the pixels.
    let wrong = bench.path("wrong.fits");
    let planes = [plane("SCI", exposure.image.clone()), plane("VAR", exposure.image.mapv(|v| v.abs() * 1e4))];
    write_hdus(&wrong, &Cards::new(), &planes).expect("written");
    // As many objects as in a file whose noise is sound, and as in one without noise and mask planes.
    let (good, bare) = (count(&bench.good), count(&bare));
    let cases = [(zero, "unusable", good), (negative, "unusable", bare), (wrong, "scatter", bare)];
    for (path, note, expected) in cases {
        let (run, outputs) = processed(&path, &out, &["--model", "none"]);
        run.prints(&["note", note]);
        assert!(outputs.all_flagged(Flags::VARIANCE_ESTIMATED), "{}: {note}", path.display());
        let objects = outputs.rows().len();
        assert!(objects.abs_diff(expected) <= expected / 10, "{objects} objects of {expected}: {}", path.display());
    }
}

#[test]
fn oblong_and_small_images_are_processed() {
    let bench = Bench::new();
    let out = bench.path("out");
    for (rows, columns) in [(300, 90), (40, 400), (64, 64)] {
        let path = bench.write(&format!("{rows}x{columns}.fits"), |e| crop(e, rows, columns));
        let (_, outputs) = processed(&path, &out, &["--model", "none"]);
        let header = &outputs.catalog.header;
        assert_eq!((header.rows, header.columns), (rows, columns));
        assert!(outputs.all_flagged(Flags::PSF_DEGRADED), "few stars must be flagged");
        let inside = |row: &stillair::catalog::CatalogRow| {
            (0.5..=columns as f64 + 0.5).contains(&row.x) && (0.5..=rows as f64 + 0.5).contains(&row.y)
        };
        assert!(outputs.rows().iter().all(inside));
    }
}

#[test]
fn a_field_without_sources_gives_an_empty_catalogue_where_the_psf_is_given() {
    let bench = Bench::new();
    let out = bench.path("out");
    let (_, good) = processed(&bench.good, &out, &["--model", "none"]);
    let psf = good.folder.join("model.psf");
    let blank = bench.write("blank.fits", |e| {
        e.image = noise(e.image.dim(), 100.0, 5.0);
        e.variance.fill(25.0);
        e.mask.fill(0);
    });
    let (run, outputs) = processed(&blank, &out, &["--model", "none", "--psf", text(&psf)]);
    run.prints(&["objects     0 ("]);
    assert!(outputs.rows().is_empty());
}

#[test]
fn wrong_names_in_the_configuration_and_in_catalogues() {
    let bench = Bench::new();
    let good = bench.good.as_path();
    bench.process_with(&[("STILLAIR__READ__IMAGE_HDU", "SCIENCE_2")], &[good], &[]).exit(1).tells(&[
        text(good),
        "no HDU named SCIENCE_2",
        "HDU 1 (SCI)",
        "[read]",
    ]);
    bench.process_with(&[("STILLAIR__READ__VARIANCE_HDU", "VAR")], &[good], &[]).exit(1).tells(&[
        text(good),
        "no HDU named VAR",
        "HDU 2 (ERR)",
    ]);
    let csv = bench.path("objects.csv");
    let given = ["--catalog", text(&csv)];
    bench.process(&[good], &given).exit(1).tells(&[text(&csv), "No such file"]);
    std::fs::write(&csv, "right,down\n3,4\n").expect("written");
    bench.process(&[good], &given).exit(1).tells(&[text(&csv), "right, down", "ra/dec", "[catalog]"]);
    // Every position outside: nothing to measure, which is no failure.
    std::fs::write(&csv, "id,x,y\n1,-40,3\n2,4000,3\n3,10,nan\n").expect("written");
    let (run, outputs) = processed(good, &bench.path("out"), &[["--model", "none"], given].concat());
    run.prints(&["catalogue positions lie outside the image and were left out"]);
    assert!(outputs.rows().is_empty());
    let psf = bench.path("x.psf");
    std::fs::write(&psf, b"no psf").expect("written");
    bench.process(&[good], &["--psf", text(&psf)]).exit(1).tells(&[text(&psf), "not a FITS file"]);
}

#[test]
fn networks_that_cannot_be_used() {
    let bench = Bench::new();
    let models = bench.path("models");
    std::fs::create_dir_all(models.join("stillnet")).expect("folder");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/stillnet");
    std::fs::copy(shipped.join("card.toml"), models.join("stillnet/card.toml")).expect("copied");
    let mut model = std::fs::read(shipped.join("model.onnx")).expect("read");
    model.push(0);
    std::fs::write(models.join("stillnet/model.onnx"), model).expect("written");
    let out = bench.path("out");
    let arguments = ["process", text(&bench.good), "--out", text(&out)];
    let run =
        |settings: &[(&str, &str)], more: &[&str]| stillair_with(settings, &[arguments.as_slice(), more].concat());

    run(&[("STILLAIR__NETWORK__RUNTIME", "/nonexistent")], &[]).exit(1).tells(&[
        "ONNX Runtime",
        "/nonexistent",
        "make setup",
    ]);
    run(&[], &["--model", "nosuch"]).exit(1).tells(&["models/nosuch", "card.toml", "models/README.md"]);
    if program::has_runtime() {
        let folder = [("STILLAIR__NETWORK__FOLDER", text(&models))];
        run(&folder, &[]).exit(1).tells(&[text(&models), "model.onnx", "sha256", "restore it"]);
        stillair_with(&folder, &["models", "check"]).exit(1).prints(&["FAIL"]);
    }
    assert!(!out.exists(), "nothing is written before the network is there");
    // None of it is needed where no network runs.
    let none = [("STILLAIR__NETWORK__RUNTIME", "/nonexistent"), ("STILLAIR__NETWORK__FOLDER", "/nonexistent")];
    run(&none, &["--model", "none"]).exit(0);
}

#[test]
fn configuration_and_usage_have_their_exit_codes() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("stillair.toml");
    std::fs::write(&config, "[psf]\nmin_srn = 3\n").expect("written");
    for command in [["config", "check"].as_slice(), &["config", "show"], &["process", "x.fits"], &["replay", "x"]] {
        let run = stillair(&[["--config", text(&config)].as_slice(), command].concat());
        run.exit(64).tells(&[text(&config), "line 2", "unknown key \"min_srn\"", "did you mean \"min_snr\""]);
    }
    let unknown = [("STILLAIR__NETWORK__DEVISE", "cpu")];
    stillair_with(&unknown, &["process", "x.fits"]).exit(64).tells(&["STILLAIR__NETWORK__DEVISE", "\"device\""]);
    stillair(&["--config", "/nowhere.toml", "config", "show"]).exit(64).tells(&["/nowhere.toml", "--config"]);
    std::fs::write(&config, "[psf]\nmin_snr = 30\n").expect("written");
    stillair(&["--config", text(&config), "config", "show"]).exit(0).prints(&["min_snr = 30", "layer: file"]);

    stillair::<&str>(&[]).exit(2);
    for bad in [
        ["process"].as_slice(),
        &["nonsense"],
        &["process", "x.fits", "--no-such-option"],
        &["process", "x.fits", "--target-fwhm", "0"],
        &["process", "x.fits", "--target-scale=nan"],
        &["process", "x.fits", "--psf", "a.psf", "--psf-fallback", "b.psf"],
        &["simulate", "--out", "x", "--size", "512"],
        &["simulate", "--out", "x", "--layout", "hubble"],
        &["--log", "a=b=c", "flags"],
    ] {
        let run = stillair(bad).exit(2);
        assert!(!run.err.is_empty(), "{bad:?}");
    }
    stillair(&["replay", text(folder.path())]).exit(1).tells(&["no exposures found", ".fits"]);
    stillair(&["--help"]).exit(0).prints(&["process", "replay", "simulate"]);
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_stillair"))
        .args(["config", "show"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("stillair starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("stillair ends");
    assert!(ended.status.success(), "{:?}", ended.status);
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}
