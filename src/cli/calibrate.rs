//! `stillair calibrate EXPOSURE…`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use super::work::{Overrides, contexts, exposures};
use crate::archive::{atomic, write_calibration};
use crate::calibration::{Calibration, CalibrationEntry, Estimate};
use crate::fits;
use crate::pipeline::calibrate::{InjectOptions, InjectionRun, calibrate, inject_exposure};
use crate::settings::Settings;

/// Inject simulated sources into exposures, run the pipeline over them, and write the calibration of fluxes and errors that follows
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// FITS files (plain, .fz, .gz); a file of several detectors gives several exposures
    #[arg(required = true, value_name = "EXPOSURE.fits")]
    exposures: Vec<PathBuf>,
    /// Calibration file to write: TOML, or JSON where the name ends in .json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Sources injected into each exposure; every galaxy goes in twice, the second time turned by 90 degrees
    #[arg(long, value_name = "N", default_value_t = 2000)]
    count: usize,
    /// Seed of the injected sources
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Share of stars among them
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    stars: f64,
    /// Least and largest signal-to-noise ratio injected
    #[arg(long, value_name = "FROM,TO", default_value = "5,1000")]
    snr: String,
    /// Median half-light radius of injected galaxies of SNR 30, arcsec (pixels where the pixel scale is unknown)
    #[arg(long, value_name = "ARCSEC", default_value_t = 0.45)]
    galaxies: f64,
    /// Least distance between sources injected together, pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 64.0)]
    spacing: f64,
    /// Empty positions measured in each exposure
    #[arg(long, value_name = "N", default_value_t = 400)]
    empty: usize,
    /// Write every injected source, its truth and what was measured, as CSV
    #[arg(long, value_name = "FILE")]
    injected: Option<PathBuf>,
    /// Use this PSF (.psf, FITS) instead of fitting one; FILE[CCDNAME] picks a row of merged PSFEx tables
    #[arg(long, value_name = "FILE")]
    psf: Option<String>,
    /// Network: the name of a folder below models/, or "none" for the Tikhonov image alone
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// FWHM of the target PSF, arcsec
    #[arg(long, value_name = "ARCSEC")]
    target_fwhm: Option<f64>,
    /// Pixel scale of the target grid, arcsec: the detector's, or a 2nd, 3rd or 4th part of it
    #[arg(long, value_name = "ARCSEC")]
    target_scale: Option<f64>,
}

impl CalibrateArgs {
    fn options(&self) -> Result<InjectOptions, CliError> {
        let usage = |text: String| Err(CliError::Usage(text));
        let ends: Vec<Option<f64>> = self.snr.split(',').map(|part| part.trim().parse().ok()).collect();
        let (low, high) = match ends.as_slice() {
            [Some(low), Some(high)] if *low > 0.0 && high > low && high.is_finite() => (*low, *high),
            _ => {
                return usage(format!(
                    "--snr {}: two positive numbers, the second the larger, such as 5,1000",
                    self.snr
                ));
            }
        };
        if !(0.0..=1.0).contains(&self.stars) {
            return usage(format!("--stars {}: a share between 0 and 1", self.stars));
        }
        if self.count < 100 {
            return usage(format!("--count {}: a law needs at least 100 sources", self.count));
        }
        for (option, value) in [("--galaxies", self.galaxies), ("--spacing", self.spacing)] {
            if !(value > 0.0 && value.is_finite()) {
                return usage(format!("{option} {value}: must be positive"));
            }
        }
        Ok(InjectOptions {
            count: self.count,
            seed: self.seed,
            stars: self.stars,
            snr: (low, high),
            half_light_radius: self.galaxies,
            spacing: self.spacing,
            empty: self.empty,
        })
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

/// Injects into every exposure, fits, writes and prints; an exposure that fails ends the command, for a calibration that leaves out
/// what did not work is not what was asked for.
pub fn run(args: &CalibrateArgs, settings: &Settings) -> Result<(), CliError> {
    let options = args.options()?;
    let overrides = Overrides {
        psf: args.psf.clone(),
        model: args.model.clone(),
        target_fwhm: args.target_fwhm,
        target_scale: args.target_scale,
        ..Overrides::default()
    };
    let settings = overrides.apply(settings)?;
    let mut handles = Vec::new();
    for file in &args.exposures {
        handles.extend(exposures(file, &settings).map_err(CliError::Failed)?);
    }
    let base = contexts(&settings, &overrides, None)?;
    let mut runs = Vec::new();
    for handle in &handles {
        let context = base.for_exposure(handle).map_err(failed)?;
        let exposure = fits::read(handle, &context.settings.read).map_err(failed)?;
        let bar = progress(options.count);
        let run = inject_exposure(&exposure, &context, &options, &mut |done| {
            bar.set_position(done.min(options.count) as u64);
        });
        bar.finish_and_clear();
        let run = run.map_err(failed)?;
        say!(
            "{}: {} sources in {} passes, PSF FWHM {:.2} px, sky noise {:.4} per pixel",
            handle.image.path.display(),
            run.injected.len(),
            run.used.passes,
            run.used.psf_fwhm,
            run.used.sky_sigma
        );
        runs.push(run);
    }
    if let Some(path) = &args.injected {
        write_injected(path, &runs)?;
        say!("injected sources: {}", path.display());
    }
    let calibration = calibrate(&runs, &options).map_err(failed)?;
    write_calibration(&args.out, &calibration).map_err(failed)?;
    print(&calibration);
    say!("calibration: {}", args.out.display());
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} sources, {elapsed_precise} elapsed");
    ProgressBar::new(count as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn write_injected(path: &Path, runs: &[InjectionRun]) -> Result<(), CliError> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "exposure",
        "source",
        "turned",
        "kind",
        "x",
        "y",
        "true_flux",
        "true_snr",
        "true_e1",
        "true_e2",
        "true_extent",
        "detected",
        "swallowed",
        "signal_unit",
        "flux",
        "flux_err",
        "snr",
        "half_light_radius_px",
        "e1",
        "e2",
        "psf_fwhm_px",
        "psf_e1",
        "psf_e2",
        "flux_observed",
        "chi2_reduced",
        "flags",
    ])
    .map_err(failed)?;
    for run in runs {
        for i in &run.injected {
            let row = &i.row;
            let mut record = vec![
                run.used.name.clone(),
                i.source.to_string(),
                u8::from(i.turned).to_string(),
                i.kind.name().to_string(),
            ];
            let numbers = [
                i.x + 1.0,
                i.y + 1.0,
                i.flux * run.flux_unit(),
                i.snr,
                i.e[0],
                i.e[1],
                i.extent,
                f64::from(u8::from(i.detected)),
                f64::from(u8::from(i.swallowed)),
                run.signal_unit(row),
                row.flux,
                row.flux_err,
                row.snr,
                run.half_light_radius(row),
                row.e1,
                row.e2,
                row.psf_fwhm / run.pixel(),
                row.psf_e1,
                row.psf_e2,
                row.flux_observed,
                row.chi2_reduced,
                f64::from(row.flags.bits()),
            ];
            record.extend(numbers.iter().map(f64::to_string));
            out.write_record(&record).map_err(failed)?;
        }
    }
    let bytes = out.into_inner().map_err(failed)?;
    atomic::write_file(path, &bytes).map_err(failed)
}

fn percent(estimate: &Estimate) -> String {
    format!("{:+7.2} +- {:.2} %", 100.0 * estimate.value, 100.0 * estimate.error)
}

fn plain(estimate: &Estimate) -> String {
    format!("{:+.4} +- {:.4}", estimate.value, estimate.error)
}

fn print(calibration: &Calibration) {
    for entry in &calibration.entries {
        for line in lines(entry) {
            say!("{line}");
        }
    }
}

fn lines(entry: &CalibrationEntry) -> Vec<String> {
    let scope = &entry.scope;
    let name = |v: &Option<String>| v.clone().unwrap_or_else(|| "unknown".into());
    let [narrow, wide] = entry.validity.psf_fwhm;
    let law = &entry.law;
    let error = |i: usize| law.covariance[i][i].sqrt();
    let mut out = vec![
        String::new(),
        format!(
            "{}, band {}, network {}, PSF {narrow:.2} to {wide:.2} px: {} of {} sources used",
            name(&scope.instrument),
            name(&scope.band),
            scope.network.as_deref().unwrap_or("none"),
            entry.provenance.fitted,
            entry.provenance.injected
        ),
        format!(
            "  law      c0 {:+.3} +- {:.3}  c1 {:.5} +- {:.5}  c2 {:+.2e} +- {:.1e}",
            law.c0,
            error(0),
            law.c1,
            error(1),
            law.c2,
            error(2)
        ),
        format!(
            "  by size  offset {:+.2} u {:+.2} u^2, factor {:+.4} u {:+.4} u^2",
            law.size_offset[0], law.size_offset[1], law.size_factor[0], law.size_factor[1]
        ),
        format!(
            "  errors   {:.3} times the fit's, {:.2} % of the flux, floor {:.3}; signals {:.1} to {:.0}",
            entry.errors.k,
            100.0 * entry.errors.share,
            entry.errors.floor,
            entry.validity.signal[0],
            entry.validity.signal[1]
        ),
        "  SNR          found  used   bias as measured     with the law         pull std before, after".into(),
    ];
    for bin in &entry.bins {
        out.push(format!(
            "  {:<11} {:5.1} % {:5}   {:<19}  {:<19}  {:.2}  {:.2}",
            format!("{}-{}", bin.snr[0], bin.snr[1]),
            100.0 * bin.completeness,
            bin.used,
            percent(&bin.bias_before),
            percent(&bin.bias),
            bin.pull_before,
            bin.pull
        ));
    }
    for shape in &entry.shapes {
        out.push(format!(
            "  shapes {:<9} {} pairs: m1 {}  m2 {}  c1 {}  c2 {}  leakage {}",
            format!("{}-{}", shape.snr[0], shape.snr[1]),
            shape.pairs,
            plain(&shape.m1),
            plain(&shape.m2),
            plain(&shape.c1),
            plain(&shape.c2),
            plain(&shape.leakage)
        ));
    }
    if let Some(empty) = &entry.empty {
        out.push(format!(
            "  empty    {} positions: mean {} of a point source's error, mean pull {:+.3}, pull std {:.2}, above 5 sigma {:.2} %",
            empty.count,
            plain(&empty.mean),
            empty.pull_mean,
            empty.pull_scatter,
            100.0 * empty.above_5_sigma
        ));
    }
    if let Some(drift) = &entry.drift {
        out.push(format!(
            "  drift    (flux - flux_observed) / flux of {} bright objects: {:+.4} +- {:.4}",
            drift.objects, drift.median, drift.error
        ));
    }
    out
}
