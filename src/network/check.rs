//! `models list` and `models check`: what a folder of networks holds, and what the maker of one has to change.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::card::{Card, Normalisation, Side};
use super::error::{NetworkError, ObjectError};
use super::runtime::Runtime;
use super::session::{Network, open, read_model, verify_hash};
use super::settings::NetworkSettings;
use super::{Companions, NetworkInput, graph, npy, onnx_header};
use crate::image::Plane;

/// How close the stored example must be met, in units of the stamp's scale (about the object's peak).
const PARITY: f64 = 1e-4;

/// Outcome of one thing looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Works, but something is missing or odd.
    Warn,
    /// Must be changed.
    Fail,
}

/// One thing looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// Outcome.
    pub verdict: Verdict,
    /// What was found, and what to change.
    pub detail: String,
}

/// Everything looked at in one network's folder.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing must be changed.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|f| f.verdict != Verdict::Fail)
    }

    fn add(&mut self, what: &'static str, verdict: Verdict, detail: impl Into<String>) {
        self.findings.push(Finding { what, verdict, detail: detail.into() });
    }

    fn add_result(&mut self, what: &'static str, result: Result<String, String>) {
        match result {
            Ok(detail) => self.add(what, Verdict::Pass, detail),
            Err(detail) => self.add(what, Verdict::Fail, detail),
        }
    }
}

/// A network's name and its card, or why the card cannot be read.
pub type Listed = (String, Result<Card, NetworkError>);

/// The networks of a folder with their cards, by name; a card that cannot be read keeps its error.
pub fn list(folder: &Path) -> Result<Vec<Listed>, NetworkError> {
    let unreadable = |error: std::io::Error| NetworkError::Unreadable {
        path: folder.into(),
        reason: format!("{error}; set network.folder to the folder that holds one folder per network"),
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join("card.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, Card::read(&path))
        })
        .collect())
}

/// Looks at one network's folder: card, hash, opset, graph, shapes, batches, blank and star, stored example. Never stops at the first fault it can pass by.
pub fn check(folder: &Path, runtime: &Runtime, settings: &NetworkSettings) -> Report {
    let mut report = Report::default();
    let card = match Card::read(folder) {
        Ok(card) => card,
        Err(error) => {
            report.add("card", Verdict::Fail, error.to_string());
            return report;
        }
    };
    let named = folder.file_name().is_some_and(|name| name == card.name.as_str());
    if named {
        report.add("card", Verdict::Pass, format!("{}: {}", card.name, card.description));
    } else {
        let detail = format!("name = \"{}\" is not the folder's name: give both the same", card.name);
        report.add("card", Verdict::Warn, detail);
    }
    if card.validation.bins.is_empty() {
        report.add("validation figures", Verdict::Warn, "none in the card: add [[validation.bins]]");
    }

    let (path, bytes) = match read_model(folder, &card) {
        Ok(model) => model,
        Err(error) => {
            report.add("model file", Verdict::Fail, error.to_string());
            return report;
        }
    };
    match verify_hash(&path, &bytes, &card) {
        Ok(()) => report.add("sha256", Verdict::Pass, card.sha256.clone()),
        Err(error) => report.add("sha256", Verdict::Fail, error.to_string()),
    }
    report.add_result("opset", header(&bytes, &card));

    let (session, device) = match open(&path, &bytes, runtime, settings) {
        Ok(opened) => opened,
        Err(error) => {
            report.add("graph", Verdict::Fail, error.to_string());
            return report;
        }
    };
    let differences = graph::differences(&path, &card, &session);
    for difference in &differences {
        report.add("graph", Verdict::Fail, difference.to_string());
    }
    if !differences.is_empty() {
        return report;
    }
    report.add("graph", Verdict::Pass, "inputs, output, shapes and types are the card's");

    let mut network = Network::assemble(card, path, session, device, settings);
    for side in trial_sides(network.card()) {
        report.add_result("batches", batches(&mut network, side));
    }
    let side = trial_sides(network.card())[0];
    report.add_result("blank", blank(&mut network, side));
    report.add_result("star", star(&mut network, side));
    match example(&mut network, folder) {
        Some(result) => report.add_result("example", result),
        None => report.add(
            "example",
            Verdict::Warn,
            format!("none stored: put tikhonov.npy, noise_sigma.npy, sky_sigma.npy, expected.npy (and psf.npy, observed.npy if the network takes them) into {}", folder.join("example").display()),
        ),
    }
    report
}

fn header(bytes: &[u8], card: &Card) -> Result<String, String> {
    let header = onnx_header::read(bytes).ok_or("the file is no ONNX model: export it again")?;
    let (opset, ir) = (header.opset, header.ir_version);
    if opset != card.opset {
        return Err(format!("the model has opset {opset}, the card says {}: change the card", card.opset));
    }
    let (least, largest) = (onnx_header::OPSET_MIN, onnx_header::OPSET_MAX);
    if !(least..=largest).contains(&opset) || ir > onnx_header::IR_MAX {
        return Err(format!(
            "opset {opset} and IR version {ir}: export with opset {least} to {largest} and IR version <= {}, which every supported runtime takes",
            onnx_header::IR_MAX
        ));
    }
    Ok(format!("opset {opset}, IR version {ir}"))
}

/// Sides to try, target pixels: the fixed one, or 64 and 128 rounded up to the card's multiple.
fn trial_sides(card: &Card) -> Vec<usize> {
    match card.shape.side {
        Side::Fixed(side) => vec![side],
        Side::Dynamic(_) => [64, 128].iter().map(|n: &usize| n.next_multiple_of(card.shape.multiple)).collect(),
    }
}

/// A faint round source on noise that a fixed recipe makes; `i` moves the noise.
fn trial_input(side: usize, flux: f64, i: usize) -> NetworkInput {
    let middle = (side / 2) as f64;
    let gaussian = |fwhm: f64| {
        let sigma = fwhm / (8.0 * std::f64::consts::LN_2).sqrt();
        Plane::from_shape_fn((side, side), |(y, x)| {
            let r2 = (y as f64 - middle).powi(2) + (x as f64 - middle).powi(2);
            ((-0.5 * r2 / sigma.powi(2)).exp() / (std::f64::consts::TAU * sigma.powi(2))) as f32
        })
    };
    let mut tikhonov = gaussian(2.0).mapv(|v| v * flux as f32);
    let mut observed = gaussian(4.0).mapv(|v| v * flux as f32);
    for (k, (pixel, seen)) in tikhonov.iter_mut().zip(&mut observed).enumerate() {
        // A hash as noise: even, of unit variance, the same everywhere.
        let mixed = (k as u32).wrapping_mul(2_654_435_761) ^ (i as u32).wrapping_mul(2_246_822_519);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(739_982_445);
        let noise = (f64::from(mixed ^ (mixed >> 12)) / f64::from(u32::MAX) - 0.5) as f32 * 12_f32.sqrt();
        *pixel += noise;
        *seen += noise;
    }
    // Half of the noise each way is near what the strengths on either side give.
    let blurred = |share: f32| {
        let mut plane = tikhonov.clone();
        plane.zip_mut_with(&gaussian(2.0), |v, g| *v = g * flux as f32 + share * (*v - g * flux as f32));
        plane
    };
    let companions =
        Companions { sharper: blurred(2.0), noise_sharper: 2.0, smoother: blurred(0.5), noise_smoother: 0.5 };
    NetworkInput {
        psf: gaussian(4.0),
        noise_sigma: 1.0,
        sky_sigma: 1.0,
        psf_fwhm: 4.0,
        target_fwhm: 2.0,
        companions: Some(companions),
        observed: Some(observed),
        tikhonov,
    }
}

/// Every batch size runs, and an object gets the same whatever else is in the call.
fn batches(network: &mut Network, side: usize) -> Result<String, String> {
    let sizes = network.batches(side);
    let largest = sizes.last().copied().unwrap_or(1);
    let inputs: Vec<NetworkInput> = (0..largest + 1).map(|i| trial_input(side, 300.0, i)).collect();
    let together = match network.run(&inputs) {
        Ok(together) => together,
        Err(error) if sizes.first() == Some(&1) && largest > 1 && network.run(&inputs[..1]).is_ok() => {
            return Err(format!(
                "side {side}: {error}; one stamp alone runs, so that a batch is baked into the graph (a Reshape or Expand with a constant): export with a dynamic batch, or set shape.batches = [1]"
            ));
        }
        Err(error) => return Err(format!("side {side}: {error}")),
    };
    let mut worst = 0.0_f64;
    for (i, input) in inputs.iter().enumerate().take(3) {
        let alone = network.run(std::slice::from_ref(input)).map_err(|error| error.to_string())?;
        match (together.get(i), alone.first()) {
            (Some(Ok(a)), Some(Ok(b))) => worst = worst.max(difference(a, b)),
            (Some(Err(error)), _) | (_, Some(Err(error))) => return Err(explained(error)),
            _ => return Err("an object got no answer".into()),
        }
    }
    // Units here are the noise per pixel; the trial source's peak is some tens.
    if worst > 1e-3 {
        return Err(format!(
            "side {side}: an object's output moves by {worst:.1e} noise sigmas with the others in its batch: export in evaluation mode (batch norm with its stored averages)"
        ));
    }
    Ok(format!("side {side}: batches {sizes:?} run; an object alone and in company differ by {worst:.1e} noise sigmas"))
}

/// An object's error with what to do about it.
fn explained(error: &ObjectError) -> String {
    match error {
        ObjectError::NotFinite(_) => format!(
            "{error}, of a finite input: look for a division by something that can be 0, a root or logarithm of something negative, an overflow of half precision, or weights that are NaN already (a diverged training)"
        ),
        other => other.to_string(),
    }
}

fn difference(a: &Plane, b: &Plane) -> f64 {
    a.iter().zip(b).fold(0.0, |worst, (&x, &y)| f64::max(worst, f64::from((x - y).abs())))
}

fn one(network: &mut Network, input: &NetworkInput) -> Result<Plane, String> {
    let outputs = network.run(std::slice::from_ref(input)).map_err(|error| error.to_string())?;
    outputs.into_iter().next().ok_or("no answer")?.map_err(|error| explained(&error))
}

/// Nothing goes in, nothing like a source comes out.
fn blank(network: &mut Network, side: usize) -> Result<String, String> {
    let mut empty = trial_input(side, 0.0, 0);
    empty.tikhonov.fill(0.0);
    if let Some(companions) = &mut empty.companions {
        companions.sharper.fill(0.0);
        companions.smoother.fill(0.0);
    }
    if let Some(observed) = &mut empty.observed {
        observed.fill(0.0);
    }
    let from_zero = one(network, &empty)?;
    let from_noise = one(network, &trial_input(side, 0.0, 1))?;
    let peak = |plane: &Plane| plane.iter().fold(0.0_f64, |m, &v| m.max(f64::from(v.abs())));
    let detail = format!(
        "largest pixel {:.2} from zeros and {:.2} from noise, in units of the noise per pixel",
        peak(&from_zero),
        peak(&from_noise)
    );
    let scaled = !matches!(network.card().normalisation, Normalisation::None);
    if scaled && peak(&from_noise) > 10.0 {
        return Err(format!("{detail}: it makes a source out of noise; train it with blank stamps among the others"));
    }
    Ok(detail)
}

/// A star keeps its flux and its place.
fn star(network: &mut Network, side: usize) -> Result<String, String> {
    let flux = 2000.0;
    let output = one(network, &trial_input(side, flux, 2))?;
    let mut brightest = ((0, 0), f32::NEG_INFINITY);
    for (place, &value) in output.indexed_iter() {
        if value > brightest.1 {
            brightest = (place, value);
        }
    }
    let (y, x) = brightest.0;
    let middle = side / 2;
    let near = |a: usize| a.abs_diff(middle) <= 1;
    let radius = 8.0_f64;
    let sum: f64 = output
        .indexed_iter()
        .filter(|((y, x), _)| (*y as f64 - middle as f64).hypot(*x as f64 - middle as f64) <= radius)
        .map(|(_, &v)| f64::from(v))
        .sum();
    let mut detail = String::new();
    let _ = write!(
        detail,
        "brightest pixel at row {y}, column {x} of ({side}, {side}); {:.3} of its flux kept",
        sum / flux
    );
    if !(near(y) && near(x)) {
        return Err(format!(
            "{detail}: it must stay on row and column {middle}; look at the order of the axes and the padding of even kernels"
        ));
    }
    if !(0.5..=2.0).contains(&(sum / flux)) {
        return Err(format!("{detail}: look at the normalisation in the card, in and out"));
    }
    Ok(detail)
}

/// The stored example is met; `None` where there is none.
fn example(network: &mut Network, folder: &Path) -> Option<Result<String, String>> {
    let folder = folder.join("example");
    if !folder.is_dir() {
        return None;
    }
    Some(example_in(network, &folder))
}

fn example_in(network: &mut Network, folder: &Path) -> Result<String, String> {
    let read = |name: &str| npy::read(&folder.join(name)).map_err(|error| error.to_string());
    let (tikhonov, expected) = (read("tikhonov.npy")?, read("expected.npy")?);
    let (noise, sky) = (read("noise_sigma.npy")?, read("sky_sigma.npy")?);
    let optional = |name: &str| folder.join(name).is_file().then(|| read(name)).transpose();
    let psf = optional("psf.npy")?;
    let (sharper, smoother) = (optional("sharper.npy")?, optional("smoother.npy")?);
    let numbers = optional("numbers.npy")?;
    let observed = optional("observed.npy")?;
    if network.card().wants_observed() && observed.is_none() {
        return Err("observed.npy is missing: this network takes it".into());
    }
    if network.card().wants_companions() && (sharper.is_none() || smoother.is_none() || numbers.is_none()) {
        return Err("sharper.npy, smoother.npy or numbers.npy is missing: this network takes them".into());
    }
    let &[count, side, width] = tikhonov.shape.as_slice() else {
        return Err(format!("tikhonov.npy has shape {:?}, expected (N, n, n)", tikhonov.shape));
    };
    if side != width || expected.shape != tikhonov.shape || noise.values.len() != count || sky.values.len() != count {
        return Err(format!(
            "shapes do not belong together: tikhonov {:?}, expected {:?}, noise_sigma {:?}, sky_sigma {:?}",
            tikhonov.shape, expected.shape, noise.shape, sky.shape
        ));
    }
    let plane = |array: &npy::Array, i: usize| -> Result<Plane, String> {
        let pixels = array.values.iter().skip(i * side * side).take(side * side).map(|&v| v as f32).collect();
        Plane::from_shape_vec((side, side), pixels).map_err(|error| error.to_string())
    };
    let mut inputs = Vec::with_capacity(count);
    for (i, (&noise_sigma, &sky_sigma)) in noise.values.iter().zip(&sky.values).enumerate() {
        let psf = psf.as_ref().map_or_else(|| Ok(Plane::zeros((side, side))), |array| plane(array, i))?;
        let number = |k: usize| numbers.as_ref().and_then(|n| n.values.get(4 * i + k)).copied().unwrap_or(f64::NAN);
        let companions = match (&sharper, &smoother) {
            (Some(sharper), Some(smoother)) => Some(Companions {
                sharper: plane(sharper, i)?,
                noise_sharper: number(0),
                smoother: plane(smoother, i)?,
                noise_smoother: number(1),
            }),
            _ => None,
        };
        let (psf_fwhm, target_fwhm) = (number(2), number(3));
        let tikhonov = plane(&tikhonov, i)?;
        let observed = observed.as_ref().map(|array| plane(array, i)).transpose()?;
        inputs.push(NetworkInput {
            tikhonov,
            psf,
            noise_sigma,
            sky_sigma,
            psf_fwhm,
            target_fwhm,
            companions,
            observed,
        });
    }
    let outputs = network.run(&inputs).map_err(|error| error.to_string())?;
    let mut worst = 0.0_f64;
    for (i, (output, input)) in outputs.iter().zip(&inputs).enumerate() {
        let output = output.as_ref().map_err(|error| format!("object {i}: {error}"))?;
        let scale = super::normalise::scale(network.card().normalisation, input).unwrap_or(1.0);
        worst = worst.max(difference(output, &plane(&expected, i)?) / scale);
    }
    if worst < PARITY {
        Ok(format!("{count} stored stamps are met within {worst:.1e} of their scale"))
    } else {
        Err(format!(
            "stored outputs are missed by {worst:.1e} of the scale (allowed {PARITY:.0e}): look at the normalisation and the order of the planes, or store the example again if the model changed"
        ))
    }
}
