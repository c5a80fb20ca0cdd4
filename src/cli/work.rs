//! What `process` and `replay` share: overrides on the command line, given catalogues and PSFs, the network's thread.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::CliError;
use crate::archive::{GivenCatalog, read_given_catalog};
use crate::fits::{self, ExposureHandle};
use crate::pipeline::{Asked, Context, Failure, Given, Inference, Stage, Watch, archive_name, given_positions};
use crate::psf::PsfModel;
use crate::settings::Settings;

/// Settings that the command line can change.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Folder for the outputs; each exposure gets a folder of its own below it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure the objects of this catalogue (FITS, Parquet, CSV; ra/dec or x/y) instead of detecting
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// Use this PSF (.psf, FITS) instead of fitting one; FILE[CCDNAME] picks a row of merged PSFEx tables
    #[arg(long, value_name = "FILE")]
    pub psf: Option<String>,
    /// Fit the PSF, and fall back on this one where too few stars are usable
    #[arg(long, value_name = "FILE", conflicts_with = "psf")]
    pub psf_fallback: Option<String>,
    /// Network: the name of a folder below models/, or "none" for the Tikhonov image alone
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// FWHM of the target PSF, arcsec
    #[arg(long, value_name = "ARCSEC")]
    pub target_fwhm: Option<f64>,
    /// Pixel scale of the target grid, arcsec: the detector's, or a 2nd, 3rd or 4th part of it
    #[arg(long, value_name = "ARCSEC")]
    pub target_scale: Option<f64>,
    /// Calibration file made by `stillair calibrate`, instead of [calibration] file
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

impl Overrides {
    /// The settings with those overrides that need no exposure.
    pub fn apply(&self, settings: &Settings) -> Result<Settings, CliError> {
        let mut settings = settings.clone();
        if let Some(out) = &self.out {
            settings.output.directory.clone_from(out);
        }
        if let Some(model) = &self.model {
            settings.network.name.clone_from(model);
        }
        if let Some(file) = &self.calibration {
            settings.calibration.load_other(file).map_err(|error| CliError::Config(error.to_string()))?;
        }
        for (option, value) in [("--target-fwhm", self.target_fwhm), ("--target-scale", self.target_scale)] {
            if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
                return Err(CliError::Usage(format!("{option} must be a positive number of arcsec")));
            }
        }
        Ok(settings)
    }

    /// The settings for an exposure of this pixel scale: the target grid and PSF in its pixels.
    fn for_scale(&self, settings: &Settings, pixel_scale: Option<f64>) -> Result<Settings, CliError> {
        let mut settings = settings.clone();
        if self.target_fwhm.is_none() && self.target_scale.is_none() {
            return Ok(settings);
        }
        let scale = pixel_scale.ok_or_else(|| {
            CliError::Failed(
                "--target-fwhm and --target-scale are in arcsec, but the exposure's pixel scale is unknown; \
                 set read.pixel_scale in the configuration"
                    .into(),
            )
        })?;
        if let Some(target) = self.target_scale {
            let factor = scale / target;
            if (factor - factor.round()).abs() > 0.02 || !(1.0..=4.0).contains(&factor.round()) {
                return Err(CliError::Usage(format!(
                    "--target-scale {target}: the exposure's pixels are {scale:.4} arcsec, so {scale:.4}, {:.4}, {:.4} or {:.4} can be had",
                    scale / 2.0,
                    scale / 3.0,
                    scale / 4.0
                )));
            }
            settings.deconv.factor = factor.round() as usize;
        }
        if let Some(target) = self.target_fwhm {
            // With the grid left to the rule, the narrower target decides: two target pixels or more per FWHM.
            if settings.deconv.factor == 0 {
                settings.deconv.factor = ((2.0 * scale / target).ceil() as usize).clamp(1, 4);
            }
            settings.deconv.target_fwhm = target / scale * settings.deconv.factor as f64;
        }
        Ok(settings)
    }
}

/// The exposures of a file.
pub fn exposures(file: &Path, settings: &Settings) -> Result<Vec<ExposureHandle>, String> {
    fits::list_exposures(file, &settings.read).map_err(|error| error.to_string())
}

/// What all exposures of a command share.
#[derive(Debug, Clone)]
pub struct Base {
    settings: Settings,
    overrides: Overrides,
    inference: Option<Inference>,
    catalog: Option<GivenCatalog>,
    psf: Option<PsfModel>,
    psf_fallback: Option<PsfModel>,
    fingerprint: Option<String>,
    truth: Option<PathBuf>,
}

/// Loads the network and what was given; errors are those of the command as a whole.
pub fn contexts(settings: &Settings, overrides: &Overrides, truth: Option<&Path>) -> Result<Base, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let catalog = match &overrides.catalog {
        Some(file) => Some(read_given_catalog(file, &settings.catalog).map_err(|error| failed(&error))?),
        None => None,
    };
    let load = |spec: &String| {
        let (path, row) = fits::split_spec(spec);
        fits::read_psf(Path::new(path), row).map_err(|error| failed(&error))
    };
    let psf = overrides.psf.as_ref().map(load).transpose()?;
    let psf_fallback = overrides.psf_fallback.as_ref().map(load).transpose()?;
    let inference = Inference::start(&settings.network).map_err(|error| failed(&error))?;
    Ok(Base {
        settings: settings.clone(),
        overrides: overrides.clone(),
        inference,
        catalog,
        psf,
        psf_fallback,
        fingerprint: fingerprint(overrides),
        truth: truth.map(Path::to_path_buf),
    })
}

/// SHA-256 of the files given on the command line, by what they were given as; `None` where none was.
fn fingerprint(overrides: &Overrides) -> Option<String> {
    let hash = |path: &Path| std::fs::read(path).map(|bytes| hex::encode(Sha256::digest(bytes))).unwrap_or_default();
    let psf = |option: &str, spec: &String| {
        let (path, row) = fits::split_spec(spec);
        format!("{option} {} {}", hash(Path::new(path)), row.unwrap_or_default())
    };
    let parts: Vec<String> = [
        overrides.catalog.as_deref().map(|file| format!("catalog {}", hash(file))),
        overrides.psf.as_ref().map(|spec| psf("psf", spec)),
        overrides.psf_fallback.as_ref().map(|spec| psf("psf_fallback", spec)),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// Why an exposure could not be started or finished.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The pipeline failed.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Command line and exposure do not fit together.
    #[error(transparent)]
    Cli(#[from] CliError),
}

impl Base {
    /// The context for one exposure: target grid in its pixels, given positions through its WCS.
    pub fn for_exposure(&self, handle: &ExposureHandle) -> Result<Context, WorkError> {
        let arcsec = self.overrides.target_fwhm.is_some() || self.overrides.target_scale.is_some();
        let mut given = Given {
            positions: None,
            psf: self.psf.clone(),
            psf_fallback: self.psf_fallback.clone(),
            fingerprint: self.fingerprint.clone(),
        };
        let mut settings = self.settings.clone();
        if arcsec || self.catalog.is_some() {
            let exposure = fits::read(handle, &settings.read)
                .map_err(|error| Failure::new(&archive_name(handle), Stage::Read, &error))?;
            settings = self.overrides.for_scale(&settings, exposure.pixel_scale())?;
            if let Some(catalog) = &self.catalog {
                let positions = given_positions(catalog, exposure.wcs.as_ref());
                given.positions = Some(positions.map_err(|error| CliError::Failed(error.to_string()))?);
            }
        }
        Ok(Context {
            settings,
            inference: self.inference.clone(),
            given,
            truth: self.truth.clone(),
            asked: Asked::default(),
            watch: Watch::default(),
        })
    }
}
