//! Training stamps as NumPy files.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use super::{CliError, SimulateArgs, WORK, failed, make_folder, progress};
use crate::archive::atomic::AtomicFile;
use crate::archive::npy::NpyWriter;
use crate::deconv::DeconvSettings;
use crate::image::Plane;
use crate::simulate::stamps::{StampSettings, TrainingStamp, training_stamp};

/// Stamps drawn in one go, before they are written.
const BATCH: usize = 512;

pub(super) fn run(args: &SimulateArgs, count: usize, deconv: &DeconvSettings) -> Result<(), CliError> {
    let size = match &args.size {
        None => 64,
        Some(text) => text.parse().map_err(|_| {
            CliError::Usage(format!("--size {text}: with --stamps it is one whole number, the stamp's side in pixels"))
        })?,
    };
    if count == 0 {
        return Err(CliError::Usage("--stamps 0: nothing to do, give at least 1".into()));
    }
    if !(16..=512).contains(&size) || size % 2 == 1 {
        return Err(CliError::Usage(format!("--size {size}: stamps have an even side of 16 to 512 pixels")));
    }
    let factor = args.target_scale_factor.unwrap_or(1);
    make_folder(args)?;
    let mut settings = StampSettings::for_factor(size, factor);
    settings.target_fwhms.clone_from(&args.target_fwhms);
    if let Some(wrong) = args.target_fwhms.iter().find(|t| !(0.5..=16.0).contains(*t)) {
        return Err(CliError::Usage(format!("--target-fwhms {wrong}: FWHMs are 0.5 to 16 target pixels")));
    }
    if let [least, largest, ..] = args.psf_fwhms.as_slice() {
        if args.psf_fwhms.len() != 2 || !(*least >= 1.0 && largest >= least && *largest <= 0.25 * size as f64) {
            return Err(CliError::Usage(format!(
                "--psf-fwhms {least},{largest}: LEAST,LARGEST with 1 <= LEAST <= LARGEST <= a quarter of the stamp's side"
            )));
        }
        (settings.psf_fwhm_min, settings.psf_fwhm_max) = (*least, *largest);
    }
    let shape = [count, size * factor, size * factor];
    let create = |name: &str| NpyWriter::create(&args.out.join(name), &shape).map_err(failed);
    let mut writers = Vec::with_capacity(PLANES.len());
    for (name, _) in PLANES {
        writers.push(create(name)?);
    }
    let mut table = String::from(TABLE_HEAD);
    let bar = progress(count, "stamps");
    let started = Instant::now();
    for first in (0..count).step_by(BATCH) {
        let drawn: Vec<Result<TrainingStamp, _>> = (first..count.min(first + BATCH))
            .into_par_iter()
            .map(|i| {
                WORK.with_borrow_mut(|(renderer, workspace)| {
                    training_stamp(&settings, deconv, args.seed, i as u64, renderer, workspace)
                })
            })
            .collect();
        for (i, stamp) in (first..).zip(drawn) {
            let stamp = stamp.map_err(|e| CliError::Failed(format!("stamp {i} of seed {}: {e}", args.seed)))?;
            for (writer, (_, plane)) in writers.iter_mut().zip(PLANES) {
                writer.append(plane(&stamp).as_slice().unwrap_or_default()).map_err(failed)?;
            }
            table_row(&mut table, &stamp, args.seed, i, factor);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    for writer in writers {
        writer.finish().map_err(failed)?;
    }
    write_text(&args.out.join("table.csv"), &table)?;
    let seconds = started.elapsed().as_secs_f64();
    say!(
        "{count} stamps of {0} x {0} target pixels in {1}: {seconds:.1} s, {2:.0} a second",
        size * factor,
        args.out.display(),
        count as f64 / seconds
    );
    Ok(())
}

fn write_text(path: &Path, text: &str) -> Result<(), CliError> {
    let mut file = AtomicFile::create(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.commit().map_err(failed)
}

/// A plane of a stamp.
type PlaneOf = fn(&TrainingStamp) -> &Plane;

/// The files, one plane of every stamp each.
const PLANES: [(&str, PlaneOf); 6] = [
    ("tikhonov.npy", |s| &s.tikhonov),
    ("sharper.npy", |s| &s.sharper),
    ("smoother.npy", |s| &s.smoother),
    ("observed.npy", |s| &s.observed),
    ("truth.npy", |s| &s.truth),
    ("psf.npy", |s| &s.psf),
];

/// Columns of table.csv; see [`TrainingStamp`] for units.
const TABLE_HEAD: &str = "index,noise_sigma,sky_sigma,psf_fwhm,snr,flux,half_light_radius,kind,lambda,seed,noise_sharper,noise_smoother,target_fwhm,factor\n";

fn table_row(table: &mut String, s: &TrainingStamp, seed: u64, index: usize, factor: usize) {
    // writing to a String cannot fail
    let _ = writeln!(
        table,
        "{index},{},{},{:.4},{:.4},{:.4},{:.4},{},{:.6e},{seed},{},{},{},{factor}",
        s.noise_sigma,
        s.sky_sigma,
        s.psf_fwhm,
        s.snr,
        s.flux,
        s.half_light_radius,
        s.kind.name(),
        s.lambda,
        s.noise_sharper,
        s.noise_smoother,
        s.target_fwhm
    );
}
