//! `stillair simulate`: exposures with truth, or training stamps.

use std::cell::RefCell;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::deconv::{DeconvSettings, Workspace};
use crate::simulate::{Layout, Renderer};

mod exposures;
mod galaxies;
mod stamps;

/// Make exposures with known truth, or stamps to train networks on
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// Folder to write into (made if it is not there)
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Whose files the exposures look like
    #[arg(long, value_enum, default_value_t = LayoutArg::Lsst, conflicts_with = "stamps")]
    pub layout: LayoutArg,
    /// The same seed gives the same bytes, however many threads there are; exposure k of several has the seed SEED + k
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Number of exposures
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with = "stamps")]
    pub count: usize,
    /// Size in pixels: NX,NY of an exposure (2048,2048 if not given), or the side of a stamp with --stamps (64)
    #[arg(long, value_name = "NX,NY")]
    pub size: Option<String>,
    /// Objects in an exposure, stars among them
    #[arg(long, value_name = "N", default_value_t = 3000, conflicts_with = "stamps")]
    pub objects: usize,
    /// Stars among them; without it a tenth of the objects, at least 150
    #[arg(long, value_name = "N", conflicts_with = "stamps")]
    pub stars: Option<usize>,
    /// Share of the pixels hit by cosmic rays that the mask knows of, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, conflicts_with = "stamps")]
    pub cosmic_rays_masked: f64,
    /// Also write every object as the target PSF would show it: SIZE detector pixels wide, HDU TRUTH_STAMPS of the truth file
    #[arg(long, value_name = "SIZE", conflicts_with = "stamps")]
    pub truth_stamps: Option<usize>,
    /// Write N training stamps (tikhonov.npy, sharper.npy, smoother.npy, observed.npy, truth.npy, psf.npy, table.csv) instead of exposures
    #[arg(long, value_name = "N")]
    pub stamps: Option<usize>,
    /// Target pixels per detector pixel, 1 to 4, of stamps and of truth stamps (training stamps: from 2 on the PSF's FWHM is 1.3-4 pixels
    /// instead of 2-8)
    #[arg(long, value_name = "FACTOR", conflicts_with = "target_scale")]
    pub target_scale_factor: Option<usize>,
    /// FWHM of the target PSF of truth stamps, arcsec, as `process` takes it [default: `deconv.target_fwhm` target pixels]
    #[arg(long, value_name = "ARCSEC", requires = "truth_stamps")]
    pub target_fwhm: Option<f64>,
    /// Pixel scale of truth stamps, arcsec: the detector's, or a 2nd, 3rd or 4th part of it
    #[arg(long, value_name = "ARCSEC", requires = "truth_stamps")]
    pub target_scale: Option<f64>,
    /// With --stamps: FWHMs of the target PSF to draw from, target pixels, comma-separated
    #[arg(long, value_name = "PIXELS", value_delimiter = ',', requires = "stamps")]
    pub target_fwhms: Vec<f64>,

    /// With --stamps: least and largest FWHM of the PSF, detector pixels
    #[arg(long, value_name = "LEAST,LARGEST", value_delimiter = ',', requires = "stamps")]
    pub psf_fwhms: Vec<f64>,
    /// Also list N positions where nothing is: HDU BLANKS of the truth file, and X.blanks.csv for `process --catalog`
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "stamps")]
    pub blanks: usize,
    /// Real galaxies among the objects: a FITS file of pictures GAL*, each with its PSF* of the same number, and their pixel scale (column
    /// pixel_scale_arcsec of its table CATALOG, or card PIXSCALE)
    #[arg(long, value_name = "FILE", conflicts_with = "stamps")]
    pub galaxies: Option<PathBuf>,
    /// Share of the galaxies that are real ones, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "galaxies")]
    pub galaxies_share: f64,
}

/// The target grid and PSF of truth stamps.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Target {
    /// Target pixels per detector pixel.
    factor: usize,
    /// FWHM of the target PSF, target pixels.
    fwhm: f64,
}

impl SimulateArgs {
    /// The target grid for detector pixels of `scale` arcsec, by the rules of `process`.
    fn target(&self, scale: f64, deconv: &DeconvSettings) -> Result<Target, CliError> {
        for (option, value) in [("--target-fwhm", self.target_fwhm), ("--target-scale", self.target_scale)] {
            if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
                return Err(CliError::Usage(format!("{option} must be a positive number of arcsec")));
            }
        }
        let factor = match (self.target_scale, self.target_scale_factor, self.target_fwhm) {
            (Some(target), _, _) => {
                let factor = scale / target;
                if (factor - factor.round()).abs() > 0.02 || !(1.0..=4.0).contains(&factor.round()) {
                    return Err(CliError::Usage(format!(
                        "--target-scale {target}: the detector's pixels are {scale} arcsec, so {scale:.4}, {:.4}, {:.4} or {:.4} can be had",
                        scale / 2.0,
                        scale / 3.0,
                        scale / 4.0
                    )));
                }
                factor.round() as usize
            }
            (None, Some(factor), _) => factor,
            // two target pixels or more per FWHM
            (None, None, Some(fwhm)) => ((2.0 * scale / fwhm).ceil() as usize).clamp(1, 4),
            (None, None, None) => 1,
        };
        let fwhm = self.target_fwhm.map_or(deconv.target_fwhm, |fwhm| fwhm / scale * factor as f64);
        Ok(Target { factor, fwhm })
    }
}

/// Names of layouts on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutArg {
    /// 0.2 arcsec/px, FWHM 0.8 arcsec, nJy; IMAGE, MASK, VARIANCE
    Lsst,
    /// 0.1 arcsec/px, FWHM 0.16 arcsec, ADU; .SCI, .RMS, .FLG
    Euclid,
    /// 0.26 arcsec/px, FWHM 1 arcsec, ADU; SCI, ERR, DQ
    Generic,
}

impl From<LayoutArg> for Layout {
    fn from(layout: LayoutArg) -> Self {
        match layout {
            LayoutArg::Lsst => Self::Lsst,
            LayoutArg::Euclid => Self::Euclid,
            LayoutArg::Generic => Self::Generic,
        }
    }
}

/// Runs the command; `deconv` is the configuration of the Tikhonov step that training stamps go through.
pub fn run(args: &SimulateArgs, deconv: &DeconvSettings) -> Result<(), CliError> {
    if let Some(factor) = args.target_scale_factor.filter(|f| !(1..=4).contains(f)) {
        return Err(CliError::Usage(format!("--target-scale-factor {factor}: it is 1, 2, 3 or 4")));
    }
    match args.stamps {
        Some(count) => stamps::run(args, count, deconv),
        None => exposures::run(args, deconv),
    }
}

fn make_folder(args: &SimulateArgs) -> Result<(), CliError> {
    std::fs::create_dir_all(&args.out)
        .map_err(|e| CliError::Failed(format!("cannot make the folder {}: {e}", args.out.display())))
}

/// A bar on a terminal; nothing elsewhere.
fn progress(length: usize, unit: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit} ({{per_sec}}, {{eta}} left)");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style)
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

thread_local! {
    static WORK: RefCell<(Renderer, Workspace)> = RefCell::new((Renderer::new(), Workspace::default()));
}
