//! `stillair psf fit | eval | show`.

use std::path::{Path, PathBuf};

use ndarray::Array3;

use super::CliError;
use super::work::exposures;
use crate::detect;
use crate::fits::{self, ExtraHdu};
use crate::psf::{self, PsfInput, PsfModel, PsfReport};
use crate::settings::Settings;
use crate::sky::Cards;

/// Subcommands of `stillair psf`.
#[derive(Debug, clap::Subcommand)]
pub enum PsfCommand {
    /// Fit the PSF of an exposure; writes a PSFEx-readable .psf with the model and the stars' verdicts
    Fit(FitArgs),
    /// Evaluate a PSF at positions; writes a cube of unit-sum stamps
    Eval(EvalArgs),
    /// Describe a PSF file
    Show(ShowArgs),
}

/// Arguments of `psf fit`.
#[derive(Debug, clap::Args)]
pub struct FitArgs {
    /// Exposure (FITS)
    #[arg(value_name = "EXPOSURE.fits")]
    exposure: PathBuf,
    /// File to write
    #[arg(long, value_name = "X.psf")]
    out: PathBuf,
    /// PSF to fall back on where too few stars are usable
    #[arg(long, value_name = "FILE")]
    psf: Option<String>,
    /// Use only these stars (FITS table or CSV with x, y, 1-based): the nearest source within 2 pixels of each
    #[arg(long, value_name = "POSITIONS")]
    stars: Option<String>,
}

/// Arguments of `psf eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// PSF file; FILE[CCDNAME] picks a row of a merged PSFEx table
    #[arg(value_name = "X.psf")]
    psf: String,
    /// Positions: FITS table or CSV with columns x, y (1-based); FILE[HDU] picks the table
    #[arg(long, value_name = "POSITIONS")]
    at: String,
    /// Cube to write
    #[arg(long, value_name = "CUBE.fits")]
    out: PathBuf,
    /// Samples per detector pixel
    #[arg(long, default_value_t = 1)]
    oversample: usize,
    /// Side of the stamps in samples, odd [default: 41 pixels' worth]
    #[arg(long)]
    size: Option<usize>,
    /// Leave the detector's pixel response out
    #[arg(long)]
    without_pixel: bool,
}

/// Arguments of `psf show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// PSF file; FILE[CCDNAME] picks a row of a merged PSFEx table
    #[arg(value_name = "X.psf")]
    psf: String,
    /// Position, FITS pixels (1-based), as X,Y [default: the middle of the model's area]
    #[arg(long, value_name = "X,Y")]
    at: Option<String>,
}

/// Runs a subcommand.
pub fn run(command: &PsfCommand, settings: &Settings) -> Result<(), CliError> {
    match command {
        PsfCommand::Fit(args) => fit(args, settings),
        PsfCommand::Eval(args) => eval(args),
        PsfCommand::Show(args) => show(args),
    }
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

fn load(spec: &str) -> Result<PsfModel, CliError> {
    let (path, row) = fits::split_spec(spec);
    fits::read_psf(Path::new(path), row).map_err(|e| failed(&e))
}

fn fit(args: &FitArgs, settings: &Settings) -> Result<(), CliError> {
    let handles = exposures(&args.exposure, settings).map_err(CliError::Failed)?;
    let [handle] = handles.as_slice() else {
        return Err(CliError::Usage(format!(
            "{} holds {} exposures; give a file of one",
            args.exposure.display(),
            handles.len()
        )));
    };
    let exposure = fits::read(handle, &settings.read).map_err(|e| failed(&e))?;
    let background =
        detect::background(&exposure.image, &exposure.mask, &settings.background).map_err(|e| failed(&e))?;
    let image = &exposure.image - &background.level;
    let detections =
        detect::detect(&image, &background.rms, &exposure.mask, &settings.detect).map_err(|e| failed(&e))?;
    let given = args.psf.as_deref().map(load).transpose()?;
    let listed = args.stars.as_deref().map(fits::read_positions).transpose().map_err(|e| failed(&e))?;
    let input = PsfInput {
        image: &image,
        variance: &exposure.variance,
        mask: &exposure.mask,
        detections: &detections,
        saturation: exposure.saturation.map(|level| level - background.global_level),
        gain: exposure.gain.or_else(|| psf::gain_from_sky(background.global_level, background.global_rms.powi(2))),
    };
    let fit = psf::fit_listed(&input, &settings.psf, given.as_ref(), listed.as_deref()).map_err(|e| failed(&e))?;
    fits::write_psf(&args.out, &fit.model, &fit.stars, Some(&fit.report)).map_err(|e| failed(&e))?;
    print_report(&fit.report);
    say!("wrote {}", args.out.display());
    Ok(())
}

fn print_report(r: &PsfReport) {
    say!("PSF quality      {}", r.quality.name());
    if let Some(fallback) = &r.fallback {
        say!("fallback         {fallback}");
    }
    say!(
        "stars            {} used, {} reserved, of {} sources; {} in the model",
        r.used,
        r.reserved,
        r.sources,
        r.in_model
    );
    let reasons: Vec<String> = r.rejected.iter().map(|(name, n)| format!("{n} {name}")).collect();
    say!("rejected         {}", reasons.join(", "));
    let residual = r.residual_order.map_or("none".to_string(), |o| format!("order {o}"));
    say!(
        "model            order {}, residual {residual}, random field {}",
        r.order,
        if r.smooth { "yes" } else { "no" }
    );
    say!("FWHM, e1, e2     {:.3} px, {:+.4}, {:+.4} (centre)", r.fwhm, r.e1, r.e2);
    say!("chi2             used {:.3}, reserved {:.3}", r.chi2_used, r.chi2_reserved);
    for (name, v) in [("dT/T", &r.size_residual), ("de1", &r.e1_residual), ("de2", &r.e2_residual)] {
        say!("reserved {name:<7} mean {:+.5} +- {:.5}, rms {:.5}", v.mean, v.mean_error, v.rms);
    }
    for b in &r.rho {
        let rho: Vec<String> = b.rho.iter().map(|v| format!("{v:+.1e}")).collect();
        say!("rho1-5 at {:6.0} px ({} pairs)  {}", b.separation, b.pairs, rho.join(" "));
    }
    for note in &r.notes {
        say!("note             {note}");
    }
}

fn eval(args: &EvalArgs) -> Result<(), CliError> {
    if args.oversample == 0 || args.oversample > 16 {
        return Err(CliError::Usage(format!("--oversample {}: 1 to 16", args.oversample)));
    }
    let size = args.size.unwrap_or((41 * args.oversample) | 1);
    if size.is_multiple_of(2) || size > 2001 {
        return Err(CliError::Usage(format!("--size {size}: an odd number up to 2001")));
    }
    let model = load(&args.psf)?;
    let positions = fits::read_positions(&args.at).map_err(|e| failed(&e))?;
    let mut cube = Array3::<f32>::from_elem((positions.len(), size, size), f32::NAN);
    let mut missing = 0;
    for ((x, y), mut plane) in positions.iter().zip(cube.outer_iter_mut()) {
        let stamp = if args.without_pixel {
            model.evaluate_without_pixel(*x, *y, size, args.oversample)
        } else {
            model.evaluate(*x, *y, size, args.oversample)
        };
        match stamp {
            Ok(stamp) => plane.assign(&stamp.image),
            Err(error) => {
                missing += 1;
                eprintln!("stillair: position ({:.2}, {:.2}): {error}", x + 1.0, y + 1.0);
            }
        }
    }
    let mut cards = Cards::default();
    cards.push("OVERSAMP", args.oversample as i64, "samples per detector pixel");
    cards.push("PIXRESP", !args.without_pixel, "whether the pixel response is in");
    let hdus = [ExtraHdu::Cube { name: "PSF".into(), cube, cards }];
    fits::write_hdus(&args.out, &Cards::default(), &hdus).map_err(|e| failed(&e))?;
    say!("wrote {} PSFs of {size} x {size} to {}", positions.len() - missing, args.out.display());
    if missing > 0 {
        return Err(CliError::Failed(format!(
            "{missing} of {} positions have no PSF (NaN in the cube)",
            positions.len()
        )));
    }
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), CliError> {
    let model = load(&args.psf)?;
    let (x, y) = match &args.at {
        None => model.native().map_or((0.0, 0.0), |n| n.domain.centre),
        Some(text) => {
            let parsed = text
                .split_once(',')
                .and_then(|(a, b)| Some((a.trim().parse::<f64>().ok()? - 1.0, b.trim().parse::<f64>().ok()? - 1.0)));
            parsed.ok_or_else(|| CliError::Usage(format!("--at {text}: give X,Y")))?
        }
    };
    match model.native() {
        Some(n) => {
            say!("model            stillair, Moffat core beta {:.3}, order {}", n.beta, n.order);
            say!(
                "residual         {}",
                n.residual.as_ref().map_or("none".into(), |r| format!(
                    "order {}, {} functions",
                    r.order,
                    r.basis.len()
                ))
            );
            say!("random field     {}", if n.smooth.is_some() { "yes" } else { "no" });
        }
        None => say!("model            tabulated pixels"),
    }
    say!("at               {:.2}, {:.2}", x + 1.0, y + 1.0);
    say!("FWHM             {:.4} px", model.fwhm(x, y));
    match model.distortion(x, y) {
        Some((e1, e2)) => say!("e1, e2           {e1:+.5}, {e2:+.5}"),
        None => say!("e1, e2           moments do not converge"),
    }
    if let Some(u) = model.uncertainty(x, y) {
        say!("uncertainty      dT/T {:.5}, e {:.5}", u.size, u.ellipticity);
    }
    let (path, _) = fits::split_spec(&args.psf);
    if let Some(counts) = star_counts(Path::new(path)) {
        say!("stars            {counts}");
    }
    Ok(())
}

/// How many stars of each status a `.psf` written by stillair lists.
fn star_counts(path: &Path) -> Option<String> {
    let mut file = fits::FitsFile::open(path, 1 << 31).ok()?;
    let index = file.find("STARS")?.index;
    let status = file.read_table(index).ok()?.strings("status").ok()?;
    let count = |word: &str| status.iter().filter(|s| s.trim() == word).count();
    Some(format!("{} used, {} reserved, {} rejected", count("used"), count("reserved"), count("rejected")))
}
