//! A network held to its card, and its runs in batches of fixed shapes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::ArrayView2;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;
use sha2::{Digest, Sha256};

use super::card::{Card, PlaneKind, ScalarKind};
use super::error::{NetworkError, ObjectError};
use super::planes::{Filtered, filtered};
use super::runtime::Runtime;
use super::settings::{Device, NetworkSettings};
use super::{Companions, NetworkInput, graph, normalise, onnx_header};
use crate::image::Plane;

/// Largest batch on the processor unless the settings say otherwise, stamps of [`BATCH_SIDE`] squared.
const BATCH_CPU: usize = 4;
/// The same on a GPU.
const BATCH_CUDA: usize = 32;
/// Side that batch limits are counted in, target pixels.
const BATCH_SIDE: usize = 64;

/// A network ready to run. One thread owns it (`run` takes `&mut self`).
#[derive(Debug)]
pub struct Network {
    card: Card,
    path: PathBuf,
    session: Session,
    device: Device,
    pixels_max: usize,
    scalar_ranks: BTreeMap<String, usize>,
}

impl Network {
    /// Loads the network of a folder: reads the card, checks the file's hash, holds the graph to the card.
    ///
    /// Errors say which input or output, what was expected, what was found and what to do.
    pub fn load(folder: &Path, runtime: &Runtime, settings: &NetworkSettings) -> Result<Self, NetworkError> {
        let card = Card::read(folder)?;
        let (path, bytes) = read_model(folder, &card)?;
        verify_hash(&path, &bytes, &card)?;
        let (session, device) = open(&path, &bytes, runtime, settings)?;
        if let Some(difference) = graph::differences(&path, &card, &session).into_iter().next() {
            return Err(difference);
        }
        Ok(Self::assemble(card, path, session, device, settings))
    }

    pub(super) fn assemble(
        card: Card,
        path: PathBuf,
        session: Session,
        device: Device,
        settings: &NetworkSettings,
    ) -> Self {
        let batch_max = match (settings.batch_max, device) {
            (0, Device::Cuda) => BATCH_CUDA,
            (0, _) => BATCH_CPU,
            (given, _) => given,
        };
        let scalar_ranks = card
            .inputs
            .iter()
            .filter(|input| input.scalar.is_some())
            .map(|input| (input.name.clone(), graph::rank(&session, &input.name)))
            .collect();
        Self { card, path, session, device, pixels_max: batch_max * BATCH_SIDE * BATCH_SIDE, scalar_ranks }
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Where it runs: `Cpu` or `Cuda`, never `Auto`.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Batch sizes in use for stamps of this side (target pixels), smallest first: the card's, as far as the memory allows.
    pub fn batches(&self, side: usize) -> Vec<usize> {
        let card = &self.card.shape.batches;
        let mut batches: Vec<usize> = card.iter().copied().filter(|b| b * side * side <= self.pixels_max).collect();
        if batches.is_empty() {
            // The smallest must do, whatever the limit.
            batches.extend(card.first());
        }
        batches
    }

    /// Runs every batch size once on blank stamps of this side (target pixels), so that the first real batch costs no more than the next.
    pub fn warm_up(&mut self, side: usize) -> Result<(), NetworkError> {
        for batch in self.batches(side) {
            let blank = NetworkInput {
                tikhonov: Plane::zeros((side, side)),
                psf: Plane::zeros((side, side)),
                noise_sigma: 1.0,
                sky_sigma: 1.0,
                psf_fwhm: 4.0,
                target_fwhm: 2.0,
                companions: Some(Companions {
                    sharper: Plane::zeros((side, side)),
                    noise_sharper: 1.0,
                    smoother: Plane::zeros((side, side)),
                    noise_smoother: 1.0,
                }),
                observed: Some(Plane::zeros((side, side))),
            };
            let objects: Vec<(&NetworkInput, f64)> = (0..batch).map(|_| (&blank, 1.0)).collect();
            self.run_batch(&objects, batch, side)?;
        }
        Ok(())
    }

    /// Runs every object: one result per input, in the same order; sky as seen with the target PSF, flux per target pixel, shape as the input's.
    ///
    /// An object whose planes do not fit, or whose output is not finite, has its own error and no influence on the others.
    /// The outer error is of the batch as a whole (out of memory, the device is gone). What an object gets does not depend
    /// on which others are in the call: batches are filled up with blank stamps to the card's batch sizes.
    pub fn run(&mut self, inputs: &[NetworkInput]) -> Result<Vec<Result<Plane, ObjectError>>, NetworkError> {
        let mut by_side: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
        let mut results: Vec<Result<Plane, ObjectError>> = Vec::with_capacity(inputs.len());
        for (i, input) in inputs.iter().enumerate() {
            match self.admit(input) {
                Ok(scale) => {
                    by_side.entry(input.tikhonov.nrows()).or_default().push((i, scale));
                    // Replaced below; an object that no batch answered for would say so.
                    results.push(Err(ObjectError::Input("it was not run")));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        for (side, members) in by_side {
            let batches = self.batches(side);
            let mut rest = members.as_slice();
            while !rest.is_empty() {
                let batch = batch_for(&batches, rest.len());
                let (now, later) = rest.split_at(rest.len().min(batch));
                rest = later;
                let objects: Vec<(&NetworkInput, f64)> =
                    now.iter().filter_map(|&(i, scale)| inputs.get(i).map(|input| (input, scale))).collect();
                let outputs = self.run_batch(&objects, batch, side)?;
                for (&(i, _), output) in now.iter().zip(outputs) {
                    if let Some(place) = results.get_mut(i) {
                        *place = output;
                    }
                }
            }
        }
        Ok(results)
    }

    /// The scale of an object that can be run.
    fn admit(&self, input: &NetworkInput) -> Result<f64, ObjectError> {
        let wants_psf =
            self.card.wants_filtered() || self.card.inputs.iter().any(|i| i.planes.contains(&PlaneKind::Psf));
        let (ny, nx) = input.tikhonov.dim();
        if ny != nx || !self.card.takes_side(ny) {
            return Err(ObjectError::Shape { plane: "tikhonov", ny, nx, expected: self.card.sides() });
        }
        if wants_psf && input.psf.dim() != (ny, nx) {
            let (py, px) = input.psf.dim();
            let expected = format!("({ny}, {nx}) as the Tikhonov plane");
            return Err(ObjectError::Shape { plane: "psf", ny: py, nx: px, expected });
        }
        if input.tikhonov.iter().any(|v| !v.is_finite()) {
            return Err(ObjectError::Input("the Tikhonov plane holds NaN or infinities"));
        }
        if wants_psf && input.psf.iter().any(|v| !v.is_finite()) {
            return Err(ObjectError::Input("the PSF plane holds NaN or infinities"));
        }
        if !(input.noise_sigma.is_finite() && input.sky_sigma.is_finite()) {
            return Err(ObjectError::Input("the noise level is NaN or infinite"));
        }
        if self.card.wants_companions() {
            let Some(companions) = &input.companions else {
                return Err(ObjectError::Input("the sharper and smoother Tikhonov planes are missing"));
            };
            for (plane, name) in [(&companions.sharper, "sharper"), (&companions.smoother, "smoother")] {
                if plane.dim() != (ny, nx) {
                    let (py, px) = plane.dim();
                    let expected = format!("({ny}, {nx}) as the Tikhonov plane");
                    return Err(ObjectError::Shape { plane: name, ny: py, nx: px, expected });
                }
                if plane.iter().any(|v| !v.is_finite()) {
                    return Err(ObjectError::Input("a companion of the Tikhonov plane holds NaN or infinities"));
                }
            }
        }
        if self.card.wants_observed() {
            let Some(observed) = &input.observed else {
                return Err(ObjectError::Input("the observed plane is missing"));
            };
            if observed.dim() != (ny, nx) {
                let (py, px) = observed.dim();
                let expected = format!("({ny}, {nx}) as the Tikhonov plane");
                return Err(ObjectError::Shape { plane: "observed", ny: py, nx: px, expected });
            }
            if observed.iter().any(|v| !v.is_finite()) {
                return Err(ObjectError::Input("the observed plane holds NaN or infinities"));
            }
        }
        let scalars = self.card.inputs.iter().filter_map(|i| i.scalar);
        if scalars.map(|kind| scalar(kind, input, 1.0)).any(|value| !value.is_finite()) {
            return Err(ObjectError::Input("a number that the network takes is NaN or infinite"));
        }
        normalise::scale(self.card.normalisation, input)
            .ok_or(ObjectError::Input("the stamp has no positive scale (blank, and no noise level given)"))
    }

    /// One batch, filled up with zeros; one result per object given.
    fn run_batch(
        &mut self,
        objects: &[(&NetworkInput, f64)],
        batch: usize,
        side: usize,
    ) -> Result<Vec<Result<Plane, ObjectError>>, NetworkError> {
        let name = self.card.name.clone();
        let fail = |reason: String| NetworkError::Run { network: name.clone(), batch, side, reason };
        let pixels = side * side;
        let border = self.card.shape.border;
        let wide = side + 2 * border;
        let of_psf: Vec<Option<Filtered>> = objects
            .iter()
            .map(|(object, _)| match &object.observed {
                Some(observed) if self.card.wants_filtered() => {
                    filtered(observed, &object.psf).map(Some).map_err(|error| fail(error.to_string()))
                }
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let buffers: Vec<(&str, Vec<usize>, Vec<f32>)> = self
            .card
            .inputs
            .iter()
            .map(|input| match input.scalar {
                Some(kind) => {
                    let mut values: Vec<f32> = objects.iter().map(|(o, scale)| scalar(kind, o, *scale)).collect();
                    values.resize(batch, 1.0);
                    let one_by_one = self.scalar_ranks.get(&input.name) == Some(&2);
                    let shape = if one_by_one { vec![batch, 1] } else { vec![batch] };
                    (input.name.as_str(), shape, values)
                }
                None => {
                    let channels = input.planes.len();
                    let mut values = Vec::with_capacity(batch * channels * wide * wide);
                    for ((object, scale), made) in objects.iter().zip(&of_psf) {
                        for plane in &input.planes {
                            let start = values.len();
                            push_plane(&mut values, *plane, object, made.as_ref(), *scale, pixels);
                            widen(&mut values, start, side, border);
                        }
                    }
                    values.resize(batch * channels * wide * wide, 0.0);
                    (input.name.as_str(), vec![batch, channels, wide, wide], values)
                }
            })
            .collect();
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(buffers.len());
        for (input, shape, data) in &buffers {
            let tensor =
                TensorRef::from_array_view((shape.clone(), data.as_slice())).map_err(|e| fail(e.to_string()))?;
            values.push((input, tensor.into()));
        }
        let outputs = self.session.run(values).map_err(|error| fail(error.to_string()))?;
        let output = outputs.get(&self.card.output.name).ok_or_else(|| fail("its output is missing".into()))?;
        let (shape, data) = output.try_extract_tensor::<f32>().map_err(|error| fail(error.to_string()))?;
        if data.len() != batch * pixels {
            return Err(fail(format!(
                "output of shape {shape:?}, expected ({batch}, 1, {side}, {side}){}",
                border_hint(shape, wide)
            )));
        }
        Ok(objects
            .iter()
            .zip(data.chunks_exact(pixels))
            .map(|((_, scale), chunk)| {
                let bad = chunk.iter().filter(|v| !v.is_finite()).count();
                if bad > 0 {
                    return Err(ObjectError::NotFinite(bad));
                }
                let plane = ArrayView2::from_shape((side, side), chunk).map_err(|_| ObjectError::NotFinite(pixels))?;
                Ok(plane.mapv(|v| (f64::from(v) * scale) as f32))
            })
            .collect())
    }

    /// The model file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The largest batch that can be filled, or else the smallest that holds all of the rest.
fn batch_for(batches: &[usize], rest: usize) -> usize {
    let full = batches.iter().rev().find(|&&b| b <= rest);
    let padded = batches.iter().find(|&&b| b >= rest);
    match (full, padded) {
        // Filling up to the next size costs less than splitting where most of it is used.
        (_, Some(&b)) if 4 * rest >= 3 * b => b,
        (Some(&b), _) | (None, Some(&b)) => b,
        (None, None) => rest.max(1),
    }
}

fn scalar(kind: ScalarKind, object: &NetworkInput, scale: f64) -> f32 {
    let companion = |of: fn(&Companions) -> f64| object.companions.as_ref().map_or(f64::NAN, of);
    let value = match kind {
        ScalarKind::NoiseSigma => object.noise_sigma / scale,
        ScalarKind::SkySigma => object.sky_sigma / scale,
        ScalarKind::NoiseSharper => companion(|c| c.noise_sharper) / scale,
        ScalarKind::NoiseSmoother => companion(|c| c.noise_smoother) / scale,
        ScalarKind::PsfFwhm => object.psf_fwhm,
        ScalarKind::TargetFwhm => object.target_fwhm,
    };
    value as f32
}

/// What the card must say where an output is smaller than the input by as many pixels on every side.
fn border_hint(shape: &[i64], wide: usize) -> String {
    match shape {
        &[_, _, rows, columns] if rows == columns => match usize::try_from(rows) {
            Ok(rows) if rows < wide && (wide - rows).is_multiple_of(2) => {
                format!(": it loses {0} pixels on every side; set shape.border = {0} in the card", (wide - rows) / 2)
            }
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// Puts `border` zeros on every side of the plane that begins at `start`.
fn widen(values: &mut Vec<f32>, start: usize, side: usize, border: usize) {
    if border == 0 || side == 0 {
        return;
    }
    let wide = side + 2 * border;
    let plane = values.split_off(start);
    values.resize(start + border * wide, 0.0);
    for row in plane.chunks_exact(side) {
        values.resize(values.len() + border, 0.0);
        values.extend_from_slice(row);
        values.resize(values.len() + border, 0.0);
    }
    values.resize(start + wide * wide, 0.0);
}

fn push_plane(
    values: &mut Vec<f32>,
    kind: PlaneKind,
    object: &NetworkInput,
    made: Option<&Filtered>,
    scale: f64,
    pixels: usize,
) {
    let mut scaled = |plane: Option<&Plane>| match plane {
        Some(plane) => values.extend(plane.iter().map(|&v| (f64::from(v) / scale) as f32)),
        None => values.extend(std::iter::repeat_n(0.0, pixels)),
    };
    match kind {
        PlaneKind::Tikhonov => scaled(Some(&object.tikhonov)),
        PlaneKind::TikhonovSharper => scaled(object.companions.as_ref().map(|c| &c.sharper)),
        PlaneKind::TikhonovSmoother => scaled(object.companions.as_ref().map(|c| &c.smoother)),
        PlaneKind::Observed => scaled(object.observed.as_ref()),
        PlaneKind::PsfCorrelated => scaled(made.map(|m| &m.correlated)),
        PlaneKind::InversePsf => scaled(made.map(|m| &m.inverse)),
        PlaneKind::InversePsfSmoothed => scaled(made.map(|m| &m.smoothed)),
        PlaneKind::Psf => values.extend(object.psf.iter()),
        PlaneKind::NoiseSigma => {
            values.extend(std::iter::repeat_n((object.noise_sigma / scale) as f32, pixels));
        }
        PlaneKind::SkySigma => values.extend(std::iter::repeat_n((object.sky_sigma / scale) as f32, pixels)),
    }
}

/// Path and bytes of a card's model file.
pub(super) fn read_model(folder: &Path, card: &Card) -> Result<(PathBuf, Vec<u8>), NetworkError> {
    let path = folder.join(&card.file);
    match std::fs::read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) => Err(NetworkError::Unreadable {
            path,
            reason: format!("{error}; the card's `file` must name the model file beside it"),
        }),
    }
}

/// Whether the bytes are those the card speaks of.
pub(super) fn verify_hash(path: &Path, bytes: &[u8], card: &Card) -> Result<(), NetworkError> {
    let found = hex::encode(Sha256::digest(bytes));
    if found.eq_ignore_ascii_case(&card.sha256) {
        return Ok(());
    }
    Err(NetworkError::Hash { path: path.into(), expected: card.sha256.to_lowercase(), found })
}

/// Opens a session on the device asked for; returns the device in use.
pub(super) fn open(
    path: &Path,
    bytes: &[u8],
    runtime: &Runtime,
    settings: &NetworkSettings,
) -> Result<(Session, Device), NetworkError> {
    match settings.device {
        Device::Cpu => commit(path, bytes, builder(path, runtime, settings)?).map(|session| (session, Device::Cpu)),
        Device::Cuda => with_cuda(builder(path, runtime, settings)?)
            .map_err(|reason| NetworkError::Device { device: settings.device.to_string(), reason })
            .and_then(|builder| commit(path, bytes, builder))
            .map(|session| (session, Device::Cuda)),
        Device::Auto => match with_cuda(builder(path, runtime, settings)?) {
            Ok(builder) => commit(path, bytes, builder).map(|session| (session, Device::Cuda)),
            Err(reason) => {
                tracing::warn!(%reason, "no GPU for the network: it runs on the processor");
                commit(path, bytes, builder(path, runtime, settings)?).map(|session| (session, Device::Cpu))
            }
        },
    }
}

fn refused(path: &Path, error: impl std::fmt::Display) -> NetworkError {
    NetworkError::Refused { path: path.into(), reason: error.to_string() }
}

fn builder(path: &Path, runtime: &Runtime, settings: &NetworkSettings) -> Result<SessionBuilder, NetworkError> {
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        given => given,
    };
    let build = || -> Result<SessionBuilder, String> {
        Session::builder(&runtime.environment)
            .map_err(|e| e.to_string())?
            // Not Level3: runtimes up to 1.22 do not know it.
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| e.to_string())?
            .with_intra_threads(threads)
            .map_err(|e| e.to_string())?
            // Idle threads sleep: the cores belong to the other stages between batches.
            .with_intra_op_spinning(false)
            .map_err(|e| e.to_string())?
            .with_deterministic_compute(true)
            .map_err(|e| e.to_string())?
            // The arena keeps no more than the few fixed batch shapes ask for.
            .with_execution_providers([ort::ep::CPU::default().with_arena_allocator(true).build()])
            .map_err(|e| e.to_string())
    };
    build().map_err(|reason| refused(path, reason))
}

/// The builder with the CUDA provider, or why it cannot be had (a silent fall-back would be worse).
fn with_cuda(builder: SessionBuilder) -> Result<SessionBuilder, String> {
    builder
        .with_execution_providers([ort::ep::CUDA::default()
            .with_arena_extend_strategy(ort::ep::ArenaExtendStrategy::SameAsRequested)
            .with_tf32(false)
            .build()
            .error_on_failure()])
        .map_err(|error| error.to_string())
}

fn commit(path: &Path, bytes: &[u8], mut builder: SessionBuilder) -> Result<Session, NetworkError> {
    builder.commit_from_memory(bytes).map_err(|error| {
        let hint = match onnx_header::read(bytes) {
            None => " (the file is no ONNX model)".to_owned(),
            Some(header) if header.ir_version > onnx_header::IR_MAX || header.opset > onnx_header::OPSET_MAX => {
                format!(
                    " (it has IR version {} and opset {}: export with opset <= {} and IR version <= {})",
                    header.ir_version,
                    header.opset,
                    onnx_header::OPSET_MAX,
                    onnx_header::IR_MAX
                )
            }
            Some(_) => String::new(),
        };
        refused(path, format!("{error}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::{batch_for, widen};

    #[test]
    fn a_border_is_zeros_all_round() {
        let mut values = vec![9.0, 1.0, 2.0, 3.0, 4.0];
        widen(&mut values, 1, 2, 1);
        let plane = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(values[0], 9.0);
        assert_eq!(values[1..], plane);
    }

    #[test]
    fn batches_are_filled_or_filled_up() {
        let batches = [1, 8, 32];
        assert_eq!(batch_for(&batches, 100), 32);
        assert_eq!(batch_for(&batches, 30), 32, "nearly full");
        assert_eq!(batch_for(&batches, 20), 8);
        assert_eq!(batch_for(&batches, 7), 8);
        assert_eq!(batch_for(&batches, 3), 1);
        assert_eq!(batch_for(&[16], 3), 16, "one size alone");
    }
}
