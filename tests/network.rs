//! The network room against tiny ONNX files (tests/golden/network/make_networks.py) and the shipped network.

#![allow(clippy::expect_used)]

mod common;

use std::path::{Path, PathBuf};

use common::golden;
use ndarray::Array2;
use stillair::failure::{Classify, FailureKind};
use stillair::network::{
    Card, Device, Network, NetworkError, NetworkInput, NetworkSettings, ObjectError, Report, Runtime, Verdict, check,
};

/// ONNX Runtime, or `None` (said on standard error) where `make setup` was not run.
fn runtime() -> Option<Runtime> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runtime");
    let given = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from).unwrap_or(path);
    match Runtime::load(&given) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

fn settings() -> NetworkSettings {
    NetworkSettings { threads: 1, ..NetworkSettings::default() }
}

fn load(name: &str, runtime: &Runtime) -> Result<Network, NetworkError> {
    Network::load(&golden("network").join(name), runtime, &settings())
}

/// Reproducible noise with a round source, sides of `side`.
fn input(side: usize, seed: u32, peak: f32) -> NetworkInput {
    let middle = side as f32 / 2.0;
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let tikhonov = Array2::from_shape_fn((side, side), |(y, x)| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let r2 = (y as f32 - middle).powi(2) + (x as f32 - middle).powi(2);
        peak * (-r2 / 4.0).exp() + noise
    });
    NetworkInput {
        psf: Array2::from_elem((side, side), 0.5),
        tikhonov,
        noise_sigma: 0.3,
        sky_sigma: 0.2,
        ..NetworkInput::default()
    }
}

/// [1 2 1]/4 along both axes with zeros beyond the border, by hand.
fn smoothed(image: &Array2<f32>) -> Array2<f32> {
    let at = |y: isize, x: isize| {
        let inside = usize::try_from(y).ok().zip(usize::try_from(x).ok()).and_then(|place| image.get(place));
        inside.map_or(0.0, |&v| f64::from(v))
    };
    Array2::from_shape_fn(image.dim(), |(y, x)| {
        let mut sum = 0.0;
        for (i, a) in [1.0, 2.0, 1.0].iter().enumerate() {
            for (j, b) in [1.0, 2.0, 1.0].iter().enumerate() {
                sum += a * b / 16.0 * at(y as isize + i as isize - 1, x as isize + j as isize - 1);
            }
        }
        sum as f32
    })
}

fn largest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).fold(0.0, |worst, (x, y)| worst.max((x - y).abs()))
}

fn error_of(name: &str, runtime: &Runtime) -> String {
    let error = load(name, runtime).expect_err("must be refused");
    assert_eq!(error.kind(), FailureKind::BadInput);
    error.to_string()
}

#[test]
fn output_is_what_the_graph_says_in_the_units_of_the_input() {
    let Some(runtime) = runtime() else { return };
    let mut network = load("smooth", &runtime).unwrap();
    assert_eq!(network.device(), Device::Cpu);
    let inputs: Vec<NetworkInput> =
        [(24, 1, 30.0), (24, 2, 0.0), (40, 3, 5000.0)].map(|(n, seed, peak)| input(n, seed, peak)).into();
    let outputs = network.run(&inputs).unwrap();
    for (output, input) in outputs.iter().zip(&inputs) {
        let expected = smoothed(&input.tikhonov);
        let peak = input.tikhonov.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        assert!(largest_difference(output.as_ref().unwrap(), &expected) < 1e-5 * peak);
    }
}

#[test]
fn an_object_gets_the_same_whatever_else_is_in_the_batch() {
    let Some(runtime) = runtime() else { return };
    let mut network = load("smooth", &runtime).unwrap();
    let inputs: Vec<NetworkInput> = (0..11).map(|i| input(24, i, 10.0 * i as f32)).collect();
    let together = network.run(&inputs).unwrap();
    let again = network.run(&inputs).unwrap();
    for (i, one) in inputs.iter().enumerate() {
        let alone = network.run(std::slice::from_ref(one)).unwrap().remove(0).unwrap();
        assert_eq!(together[i].as_ref().unwrap(), &alone, "object {i}");
        assert_eq!(again[i].as_ref().unwrap(), &alone, "object {i}, second run");
    }
}

#[test]
fn the_batch_limit_counts_pixels() {
    let Some(runtime) = runtime() else { return };
    let with = |batch_max| {
        Network::load(&golden("network/smooth"), &runtime, &NetworkSettings { batch_max, ..settings() }).unwrap()
    };
    assert_eq!(with(4).batches(64), [1, 4]);
    assert_eq!(with(4).batches(128), [1], "as many pixels in one stamp of 128 as in four of 64");
    assert_eq!(with(3).batches(64), [1]);
    assert_eq!(with(0).batches(64), [1, 4]);
    assert_eq!(with(1).batches(4096), [1], "one stamp runs whatever the limit");
}

#[test]
fn nan_output_is_the_fault_of_that_object_alone() {
    let Some(runtime) = runtime() else { return };
    let mut network = load("nan_above_three", &runtime).unwrap();
    let mut inputs: Vec<NetworkInput> = (0..6).map(|i| input(24, i, 1.0)).collect();
    inputs[2].tikhonov[[5, 5]] = 4.0;
    let outputs = network.run(&inputs).unwrap();
    for (i, output) in outputs.iter().enumerate() {
        match (i, output) {
            (2, Err(ObjectError::NotFinite(pixels))) => assert_eq!(*pixels, 24 * 24),
            (2, other) => panic!("object 2 gave {other:?}"),
            (_, output) => assert_eq!(output.as_ref().unwrap(), &inputs[i].tikhonov),
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_one_by_one() {
    let Some(runtime) = runtime() else { return };
    let mut network = load("smooth", &runtime).unwrap();
    let mut inputs: Vec<NetworkInput> = (0..4).map(|i| input(24, i, 5.0)).collect();
    inputs[0].tikhonov = Array2::zeros((24, 20));
    inputs[1].tikhonov[[0, 0]] = f32::NAN;
    inputs[2].tikhonov.fill(0.0);
    inputs[2].noise_sigma = 0.0;
    let outputs = network.run(&inputs).unwrap();
    assert!(matches!(outputs[0], Err(ObjectError::Shape { ny: 24, nx: 20, .. })));
    assert!(matches!(outputs[1], Err(ObjectError::Input(_))));
    assert!(matches!(outputs[2], Err(ObjectError::Input(_))));
    assert!(outputs[3].is_ok());
    assert!(network.run(&[]).unwrap().is_empty());
}

#[test]
fn every_plane_and_scalar_arrives_where_the_card_says() {
    let Some(runtime) = runtime() else { return };
    let mut network = load("every_input", &runtime).unwrap();
    let one = input(16, 1, 3.0);
    let output = network.run(std::slice::from_ref(&one)).unwrap().remove(0).unwrap();
    // Scale is the noise: the PSF is not scaled on the way in, but everything is on the way out.
    let scale = one.noise_sigma as f32;
    let expected = one.tikhonov.mapv(|v| v + 0.5 * scale + 2.0 * (0.3 + 0.2));
    assert!(largest_difference(&output, &expected) < 1e-5);
}

#[test]
fn faults_are_named_with_what_was_expected_found_and_to_do() {
    let Some(runtime) = runtime() else { return };
    let hash = error_of("wrong_hash", &runtime);
    assert!(hash.contains("sha256") && hash.contains(&"0".repeat(64)), "{hash}");
    let side = error_of("fixed_side", &runtime);
    assert!(side.contains("shape of input image") && side.contains("24") && side.contains("32"), "{side}");
    let name = error_of("wrong_name", &runtime);
    assert!(name.contains("input image") && name.contains("picture") && name.contains("card"), "{name}");
    let channels = error_of("wrong_channels", &runtime);
    assert!(channels.contains("(dynamic, 1, dynamic, dynamic)") && channels.contains("2"), "{channels}");
    let kind = error_of("wrong_type", &runtime);
    assert!(kind.contains("type of input image") && kind.contains("f32"), "{kind}");
    let opset = error_of("opset_too_new", &runtime);
    assert!(opset.contains("opset 99") && opset.contains("<= 21"), "{opset}");
    let missing = error_of("no_such_network", &runtime);
    assert!(missing.contains("no_such_network") && missing.contains("card.toml"), "{missing}");
}

#[test]
fn a_second_library_in_one_process_is_refused() {
    let Some(first) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("other.so");
    std::fs::write(&copy, "not read").unwrap();
    let error = Runtime::load(&copy).expect_err("must be refused").to_string();
    assert!(error.contains("already loaded") && error.contains("other.so"), "{error}");
    assert_eq!(Runtime::load(Path::new("")).unwrap().path(), first.path());
}

#[test]
fn a_missing_runtime_is_an_error_with_path_and_remedy() {
    let error = Runtime::load(Path::new("/nonexistent/libonnxruntime.so")).expect_err("must be refused");
    let text = error.to_string();
    assert!(text.contains("/nonexistent/libonnxruntime.so") && text.contains("make setup"), "{text}");
    assert_eq!(error.kind(), FailureKind::BadInput);
}

#[test]
fn a_cuda_device_that_is_not_there_is_an_error_and_auto_says_cpu() {
    let Some(runtime) = runtime() else { return };
    let folder = golden("network").join("smooth");
    let with = |device| NetworkSettings { device, ..settings() };
    match Network::load(&folder, &runtime, &with(Device::Cuda)) {
        Ok(network) => assert_eq!(network.device(), Device::Cuda),
        Err(error) => assert!(error.to_string().contains("network.device = \"cuda\""), "{error}"),
    }
    let network = Network::load(&folder, &runtime, &with(Device::Auto)).unwrap();
    assert_ne!(network.device(), Device::Auto);
}

fn findings(report: &Report, what: &str) -> Vec<Verdict> {
    report.findings.iter().filter(|f| f.what == what).map(|f| f.verdict).collect()
}

#[test]
fn check_passes_a_sound_network_and_names_the_fault_of_others() {
    let Some(runtime) = runtime() else { return };
    let look = |name: &str| check(&golden("network").join(name), &runtime, &settings());
    let sound = look("smooth");
    assert!(sound.passed(), "{sound:#?}");
    assert_eq!(findings(&sound, "example"), [Verdict::Pass]);
    for (name, what) in [
        ("wrong_hash", "sha256"),
        ("wrong_channels", "graph"),
        ("opset_too_new", "opset"),
        ("nan_above_three", "batches"),
        ("leaks_across_batch", "batches"),
    ] {
        let report = look(name);
        assert!(!report.passed(), "{name}");
        assert!(findings(&report, what).contains(&Verdict::Fail), "{name}: {report:#?}");
    }
    for (name, what, remedies) in [
        ("wrong_channels", "graph", ["2 channels", "[[inputs]]"]),
        ("unknown_plane", "card", ["tikhonow", "inverse-psf-smoothed"]),
        ("fixed_batch", "graph", ["fixed at 1", "dynamic_axes"]),
        ("baked_batch", "batches", ["one stamp alone runs", "shape.batches = [1]"]),
        ("border_not_in_card", "batches", ["loses 1 pixels", "shape.border = 1"]),
        ("always_nan", "batches", ["NaN", "division"]),
        ("opset_22", "opset", ["opset 22", "opset 7 to 21"]),
    ] {
        let report = look(name);
        let failed = |f: &&stillair::network::Finding| f.what == what && f.verdict == Verdict::Fail;
        let said = report.findings.iter().find(failed).map_or("", |f| f.detail.as_str());
        assert!(remedies.iter().all(|remedy| said.contains(remedy)), "{name}: {report:#?}");
    }
}

#[test]
fn a_border_is_filled_with_sky() {
    let Some(runtime) = runtime() else { return };
    let mut network = load("border", &runtime).unwrap();
    let inputs: Vec<NetworkInput> = (0..5).map(|i| input(24, i, 30.0)).collect();
    for (output, input) in network.run(&inputs).unwrap().iter().zip(&inputs) {
        // A valid convolution of what zeros surround is one padded with zeros.
        assert!(largest_difference(output.as_ref().unwrap(), &smoothed(&input.tikhonov)) < 3e-4);
    }
}

/// Against numpy (tests/golden/network/make_networks.py): the filters, the scale and the order of the planes.
#[test]
fn planes_made_of_the_observed_image_are_those_of_numpy() {
    let Some(runtime) = runtime() else { return };
    let report = check(&golden("network/observed_planes"), &runtime, &settings());
    assert_eq!(findings(&report, "example"), [Verdict::Pass], "{report:#?}");
    let mut network = load("observed_planes", &runtime).unwrap();
    let without = NetworkInput { observed: None, ..input(32, 1, 3.0) };
    assert!(matches!(network.run(&[without]).unwrap().remove(0), Err(ObjectError::Input(_))));
    let other_side = NetworkInput { observed: Some(Array2::zeros((16, 16))), ..input(32, 1, 3.0) };
    let error = network.run(&[other_side]).unwrap().remove(0);
    assert!(matches!(error, Err(ObjectError::Shape { plane: "observed", .. })));
}

#[test]
fn check_finds_an_example_that_is_missed() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("smooth");
    std::fs::create_dir_all(copy.join("example")).unwrap();
    for file in ["card.toml", "model.onnx", "example/tikhonov.npy", "example/noise_sigma.npy", "example/sky_sigma.npy"]
    {
        std::fs::copy(golden("network/smooth").join(file), copy.join(file)).unwrap();
    }
    std::fs::copy(copy.join("example/tikhonov.npy"), copy.join("example/expected.npy")).unwrap();
    let report = check(&copy, &runtime, &settings());
    assert_eq!(findings(&report, "example"), [Verdict::Fail], "{report:#?}");
}

#[test]
fn cards_with_unknown_keys_or_nonsense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(golden("network/smooth/card.toml")).unwrap();
    let refuse = |text: &str| {
        std::fs::write(folder.path().join("card.toml"), text).unwrap();
        Card::read(folder.path()).expect_err("must be refused").to_string()
    };
    let unknown = refuse(&text.replace("opset =", "opsett ="));
    assert!(unknown.contains("opsett"), "{unknown}");
    assert!(refuse(&text.replace("batches = [1, 4]", "batches = [4, 1]")).contains("smallest first"));
    assert!(refuse(&text.replace("planes = [\"tikhonov\"]", "planes = []")).contains("planes or a scalar"));
    assert!(refuse(&text.replace("smooth = 3", "smooth = 4")).contains("smooth odd"));
    assert!(refuse(&text.replace("planes = [\"tikhonov\"]", "planes = [\"flat\"]")).contains("flat"));
}

#[test]
fn the_domain_is_that_of_the_card() {
    let card = Card::read(&golden("network/smooth")).unwrap();
    assert!(!card.outside_domain(4.0, 50.0));
    assert!(card.outside_domain(1.9, 50.0) && card.outside_domain(4.0, 2.0) && card.outside_domain(f64::NAN, 50.0));
}

#[test]
fn the_shipped_network_passes_its_check() {
    let Some(runtime) = runtime() else { return };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/xdense");
    let report = check(&folder, &runtime, &settings());
    let wrong: Vec<_> = report.findings.iter().filter(|f| f.verdict != Verdict::Pass).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(findings(&report, "example"), [Verdict::Pass]);
}
