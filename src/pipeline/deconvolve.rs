//! Every object of a field, chunk by chunk: stamps and Tikhonov steps over all cores, one network call, measurements over all cores.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::crop::{cropped, embedded, network_side};
use super::object::{
    Measured, ObjectError, Prepared, Wanted, measure, network_input, prepare_object, window, windowed,
};
use super::profiles::fit_profiles;
use super::row::{RowContext, add_measured, add_prepared, detected_row};
use super::{Failure, Field, Inference, Stage, Timings};
use crate::archive::ArchiveError;
use crate::catalog::{Catalog, CatalogHeader, CatalogRow, Flags};
use crate::deconv::Workspace;
use crate::exposure::Exposure;
use crate::image::Plane;
use crate::settings::Settings;

/// Objects in memory at a time.
const CHUNK: usize = 256;

thread_local! {
    /// Transform plans and buffers, one set a worker.
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace::default());
}

/// A finished object, as the archive and the pictures see it.
#[derive(Debug, Clone, Copy)]
pub struct ObjectView<'a> {
    /// Index into the field's sources and the catalogue's rows.
    pub index: usize,
    /// Stamp, PSF, Tikhonov image.
    pub prepared: &'a Prepared,
    /// Final image, residual, numbers.
    pub measured: &'a Measured,
    /// Its row.
    pub row: &'a CatalogRow,
}

/// Deconvolves and measures every source of a field. `sink` is given each finished object in order, and its planes are gone
/// after that. An object that fails has its row, with flags and missing values; only the network as a whole or the sink can
/// fail the exposure.
pub fn deconvolve(
    exposure: &Exposure,
    field: &Field,
    header: CatalogHeader,
    inference: Option<&Inference>,
    settings: &Settings,
    timings: &mut Timings,
    sink: &mut dyn FnMut(ObjectView<'_>) -> Result<(), ArchiveError>,
) -> Result<Catalog, Failure> {
    let start = Instant::now();
    let profiles = fit_profiles(field, exposure, settings, timings)?;
    timings.add(Stage::Renorm, start.elapsed());
    let context = RowContext::new(&header, inference.map(Inference::identity));
    let wanted = inference.map_or(Wanted::default(), |i| Wanted {
        companions: i.card().wants_companions(),
        observed: i.card().wants_observed(),
    });
    let mut rows = Vec::with_capacity(field.detections.sources.len());
    let sources: Vec<usize> = (0..field.detections.sources.len()).collect();
    for chunk in sources.chunks(CHUNK) {
        timings.watch().check(&exposure.id, Stage::Stamp)?;
        timings.watch().begins(Stage::Tikhonov);
        let start = Instant::now();
        let prepared: Vec<Result<Prepared, ObjectError>> = chunk
            .par_iter()
            .map(|&index| {
                WORKSPACE.with_borrow_mut(|work| {
                    prepare_object(field, exposure.gain, index, &profiles, wanted, settings, work)
                })
            })
            .collect();
        // Both happen in the same pass: the wall-clock time is shared out as the cores spent theirs.
        let core_time =
            |of: fn(&Prepared) -> Duration| prepared.iter().flatten().map(of).sum::<Duration>().as_secs_f64();
        let cutting = core_time(|p| p.cutting) / core_time(|p| p.preparing).max(f64::MIN_POSITIVE);
        let wall = start.elapsed();
        timings.add(Stage::Stamp, wall.mul_f64(cutting.clamp(0.0, 1.0)));
        timings.add(Stage::Tikhonov, wall.mul_f64(1.0 - cutting.clamp(0.0, 1.0)));

        let outputs =
            timings.measure(Stage::Network, || network_outputs(exposure, field, &prepared, inference, settings))?;

        let start = Instant::now();
        let measured: Vec<Option<Result<Measured, ObjectError>>> = prepared
            .par_iter()
            .zip(&outputs)
            .map(|(prepared, output)| {
                let prepared = prepared.as_ref().ok()?;
                let image = output.as_ref().unwrap_or(&prepared.deconvolved.image);
                let image = windowed(image, prepared, field.factor);
                Some(WORKSPACE.with_borrow_mut(|work| measure(prepared, &image, field.factor, settings, work)))
            })
            .collect();
        timings.add(Stage::Renorm, start.elapsed());

        let start = Instant::now();
        for (((&index, prepared), output), measured) in chunk.iter().zip(&prepared).zip(&outputs).zip(&measured) {
            let mut row = detected_row(exposure, field, index, &context);
            match (prepared, measured) {
                (Ok(prepared), Some(Ok(measured))) => {
                    add_prepared(&mut row, prepared, &context);
                    add_measured(&mut row, measured, output.is_some(), &context);
                    if let Some(inference) = inference {
                        let width = prepared.psf_fwhm * field.factor as f64;
                        if inference.card().outside_domain(width, row.snr) {
                            row.flags |= Flags::OUTSIDE_DOMAIN;
                        }
                    }
                    sink(ObjectView { index, prepared, measured, row: &row })
                        .map_err(|error| Failure::new(&exposure.id, Stage::Archive, &error))?;
                }
                (Err(error), _) | (_, Some(Err(error))) => {
                    tracing::warn!(exposure = exposure.id, object = row.id, %error, "object not deconvolved");
                    row.flags |= Flags::FIT_FAILED | Flags::NETWORK_SKIPPED;
                }
                (Ok(_), None) => row.flags |= Flags::FIT_FAILED | Flags::NETWORK_SKIPPED,
            }
            rows.push(row);
        }
        timings.add(Stage::Archive, start.elapsed());
    }
    Ok(Catalog { header, rows })
}

/// One output per object; `None` where the network did not run or refused the object.
fn network_outputs(
    exposure: &Exposure,
    field: &Field,
    prepared: &[Result<Prepared, ObjectError>],
    inference: Option<&Inference>,
    settings: &Settings,
) -> Result<Vec<Option<Plane>>, Failure> {
    let Some(inference) = inference else { return Ok(prepared.iter().map(|_| None).collect()) };
    let card = inference.card();
    let inputs = prepared
        .iter()
        .flatten()
        .map(|p| {
            let side = network_side(p.deconvolved.image.nrows(), window(p, field.factor).1, card);
            cropped(network_input(p, field.factor, settings.deconv.target_fwhm), side)
        })
        .collect();
    let answers = inference.run(inputs).map_err(|error| Failure::new(&exposure.id, Stage::Network, &error))?;
    let mut answers = answers.into_iter();
    Ok(prepared
        .iter()
        .map(|p| {
            let answer = p.as_ref().ok().and_then(|_| answers.next())?;
            let full = p.as_ref().ok()?.deconvolved.image.nrows();
            answer
                .inspect_err(|error| tracing::warn!(exposure = exposure.id, %error, "network refused an object"))
                .ok()
                .map(|output| embedded(output, full))
        })
        .collect())
}
