//! `stillair joint MANIFEST.toml | EXPOSURE…`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::CliError;
use crate::archive::{GivenCatalog, read_given_catalog};
use crate::fits;
use crate::photometry::nanojansky_per_unit;
use crate::pipeline::joint::{self, JointExposure, JointPaths, Results, Target};
use crate::pipeline::{Given, Timings, prepare};
use crate::settings::Settings;

/// Deconvolve a field's objects in several bands at once: exposures of any instruments in, one row per object out
#[derive(Debug, clap::Args)]
pub struct JointArgs {
    /// A manifest (.toml) or FITS files; each needs a WCS
    #[arg(required = true, value_name = "MANIFEST.toml|EXPOSURE.fits")]
    inputs: Vec<PathBuf>,
    /// Folder for the outputs (default: "joint" below the output directory)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Deconvolve the objects of this catalogue (FITS, Parquet, CSV; ra and dec) instead of those found
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Band that sees several of the others at once; several times for several
    #[arg(long, value_name = "BAND")]
    wide: Vec<String>,
    /// FWHM of the target PSF, arcsec (default: two target pixels)
    #[arg(long, value_name = "ARCSEC")]
    target_fwhm: Option<f64>,
    /// Target pixel, arcsec (default: the smallest pixel among the exposures)
    #[arg(long, value_name = "ARCSEC")]
    target_scale: Option<f64>,
}

/// What a manifest says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// The exposures.
    exposure: Vec<Entry>,
    /// Shares of the bands in the wide band, by band.
    #[serde(default)]
    shares: BTreeMap<String, f64>,
}

/// One exposure of a manifest.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// FITS file, relative to the manifest.
    file: PathBuf,
    /// Band, where the file does not say.
    band: Option<String>,
    /// Whether it sees several of the other bands at once.
    #[serde(default)]
    wide: bool,
    /// PSF file (.psf, FITS), relative to the manifest; fitted where there is none.
    psf: Option<PathBuf>,
    /// AB magnitude of one image unit, where the file's is missing or wrong.
    zero_point: Option<f64>,
}

/// Runs the command.
pub fn run(args: &JointArgs, settings: &Settings) -> Result<(), CliError> {
    for (option, value) in [("--target-fwhm", args.target_fwhm), ("--target-scale", args.target_scale)] {
        if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
            return Err(CliError::Usage(format!("{option} must be a positive number of arcsec")));
        }
    }
    let began = Instant::now();
    let (entries, shares) = entries(args, settings)?;
    let catalog = args.catalog.as_ref().map(|file| read_given_catalog(file, &settings.catalog)).transpose();
    let catalog = catalog.map_err(|e| CliError::Failed(e.to_string()))?;
    let mut notes = Vec::new();
    let mut exposures = Vec::new();
    for entry in &entries {
        match load(entry, &args.wide, settings) {
            Ok(found) => exposures.extend(found),
            Err(reason) => {
                eprintln!("stillair: left out: {reason}");
                notes.push(format!("left out: {reason}"));
            }
        }
    }
    if exposures.is_empty() {
        return Err(CliError::Failed("no exposure could be used".into()));
    }
    if let Some(band) = args.wide.iter().find(|w| exposures.iter().all(|e| e.band != **w)) {
        let bands: Vec<&str> = exposures.iter().map(|e| e.band.as_str()).collect();
        return Err(CliError::Usage(format!("--wide {band}: the exposures are of the bands {}", bands.join(", "))));
    }
    let calibrated = one_unit(&mut exposures, &mut notes)?;
    let sources = match &catalog {
        Some(given) => joint::sources_at(&positions(given)?, &exposures),
        None => joint::sources(&exposures),
    };
    if sources.is_empty() {
        return Err(CliError::Failed("no object was found in any exposure".into()));
    }
    let mut plan = joint::plan(&exposures, &sources, &shares);
    plan.notes.splice(0..0, notes);
    let reference = (0..exposures.len())
        .filter(|i| plan.shares[*i].is_some())
        .min_by(|a, b| exposures[*a].fwhm().total_cmp(&exposures[*b].fwhm()))
        .ok_or_else(|| CliError::Failed(format!("no exposure can be used: {}", plan.notes.join("; "))))?;
    let smallest = exposures.iter().map(JointExposure::scale).filter(|s| s.is_finite()).fold(f64::INFINITY, f64::min);
    let scale = args.target_scale.unwrap_or(smallest);
    let fwhm = args.target_fwhm.map_or(settings.joint.target_fwhm, |f| f / scale);
    if !(1.5..=8.0).contains(&fwhm) {
        return Err(CliError::Usage(format!(
            "a target PSF of {:.3} arcsec is {fwhm:.2} target pixels of {scale:.3} arcsec: 1.5 to 8 are supported; set --target-fwhm or --target-scale",
            fwhm * scale
        )));
    }
    let target = Target { scale, fwhm, reference };
    let prepared = began.elapsed().as_secs_f64();
    say!("{} exposures, {} objects, bands {}", exposures.len(), sources.len(), plan.bands.join(" "));
    for note in &plan.notes {
        say!("  {note}");
    }
    let start = Instant::now();
    let objects = joint::run(&exposures, &sources, &plan, &target, &settings.joint);
    let solved = start.elapsed().as_secs_f64();
    let folder = args.out.clone().unwrap_or_else(|| settings.output.directory.join("joint"));
    let paths = JointPaths::new(&folder);
    let results = Results {
        exposures: &exposures,
        sources: &sources,
        plan: &plan,
        target: &target,
        objects: &objects,
        calibrated,
    };
    let mut more = serde_json::Map::new();
    more.insert("seconds_prepare".into(), prepared.into());
    more.insert("seconds_joint".into(), solved.into());
    let shown = if settings.output.pictures { settings.output.sheet_objects } else { 0 };
    joint::write(&paths, &results, shown, more).map_err(|e| CliError::Failed(e.to_string()))?;
    let failed = objects.iter().filter(|o| o.is_err()).count();
    say!(
        "{} objects in {solved:.1} s ({:.0} ms each), {failed} without a result; {}",
        objects.len(),
        1e3 * solved / objects.len() as f64,
        folder.display()
    );
    if failed == objects.len() {
        let first = objects.iter().find_map(|o| o.as_ref().err()).map(ToString::to_string).unwrap_or_default();
        return Err(CliError::Failed(format!("no object has a result; the first: {first}")));
    }
    Ok(())
}

/// What is to be read, and the shares given.
fn entries(args: &JointArgs, settings: &Settings) -> Result<(Vec<Entry>, BTreeMap<String, f64>), CliError> {
    let mut shares = settings.joint.shares.clone();
    let mut all = Vec::new();
    for input in &args.inputs {
        if input.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")) {
            let text = std::fs::read_to_string(input)
                .map_err(|e| CliError::Failed(format!("cannot read {}: {e}", input.display())))?;
            let manifest: Manifest =
                toml::from_str(&text).map_err(|e| CliError::Usage(format!("{}: {e}", input.display())))?;
            let folder = input.parent().unwrap_or(Path::new("."));
            shares.extend(manifest.shares);
            all.extend(manifest.exposure.into_iter().map(|e| Entry {
                file: folder.join(&e.file),
                psf: e.psf.as_ref().map(|p| folder.join(p)),
                ..e
            }));
        } else {
            all.push(Entry { file: input.clone(), ..Entry::default() });
        }
    }
    if let Some((band, share)) = shares.iter().find(|(_, s)| !(s.is_finite() && **s >= 0.0)) {
        return Err(CliError::Usage(format!("share {share} of band {band}: it must be finite and not negative")));
    }
    Ok((all, shares))
}

/// Reads a file's exposures, finds their sources and PSF.
fn load(entry: &Entry, wide: &[String], settings: &Settings) -> Result<Vec<JointExposure>, String> {
    let handles = fits::list_exposures(&entry.file, &settings.read).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    for handle in handles {
        let mut exposure = fits::read(&handle, &settings.read).map_err(|e| e.to_string())?;
        exposure.zero_point = entry.zero_point.or(exposure.zero_point);
        exposure.band = entry.band.clone().or(exposure.band);
        let name = entry.file.display();
        if exposure.wcs.is_none() {
            return Err(format!("{name}: no usable WCS: it cannot be laid upon the others"));
        }
        let Some(band) = exposure.band.clone() else {
            return Err(format!("{name}: its band is unknown; give it with band in a manifest"));
        };
        let psf = match &entry.psf {
            Some(file) => Some(fits::read_psf(file, None).map_err(|e| e.to_string())?),
            None => None,
        };
        let given = Given { psf, ..Given::default() };
        let field =
            prepare(&exposure, &given, settings, &mut Timings::default()).map_err(|e| format!("{name}: {e}"))?;
        let wide = entry.wide || wide.contains(&band);
        out.push(JointExposure { exposure, field, band, wide, unit: f64::NAN });
    }
    Ok(out)
}

/// One flux unit for all: nJy where zero points are known, the image's own where no exposure has one.
fn one_unit(exposures: &mut Vec<JointExposure>, notes: &mut Vec<String>) -> Result<bool, CliError> {
    let known = exposures.iter().filter(|e| e.exposure.zero_point.is_some()).count();
    if known == 0 {
        notes.push(
            "no exposure has a zero point: fluxes are in image units, which are taken for the same in all".into(),
        );
        exposures.iter_mut().for_each(|e| e.unit = 1.0);
        return Ok(false);
    }
    exposures.retain_mut(|e| match e.exposure.zero_point {
        Some(zero_point) => {
            e.unit = nanojansky_per_unit(zero_point);
            e.unit.is_finite() && e.unit > 0.0
        }
        None => {
            notes.push(format!(
                "left out: {}: no zero point, while others have one; give it with zero_point in a manifest",
                e.exposure.id
            ));
            false
        }
    });
    Ok(true)
}

fn positions(catalog: &GivenCatalog) -> Result<Vec<(i64, f64, f64)>, CliError> {
    catalog
        .objects
        .iter()
        .map(|o| {
            let (ra, dec) = o.sky.ok_or_else(|| {
                CliError::Failed("the catalogue gives pixels only: several exposures need ra and dec".into())
            })?;
            Ok((o.id, ra, dec))
        })
        .collect()
}
