//! `stillair process EXPOSURE…`

use std::path::PathBuf;

use super::work::{Overrides, contexts, exposures};
use super::{CliError, report};
use crate::pipeline;
use crate::settings::Settings;

/// Run the whole pipeline on exposures: FITS in, deconvolved catalogue, stamps and pictures out
#[derive(Debug, clap::Args)]
pub struct ProcessArgs {
    /// FITS files (plain, .fz, .gz); a file of several detectors gives several exposures
    #[arg(required = true, value_name = "EXPOSURE.fits")]
    exposures: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Truth table to compare with; without it X.truth.fits beside X.fits if there is one
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

/// Processes each exposure in turn; all are tried, and the command fails if any did.
pub fn run(args: &ProcessArgs, settings: &Settings) -> Result<(), CliError> {
    let settings = args.overrides.apply(settings)?;
    let mut failures = Vec::new();
    let mut handles = Vec::new();
    let mut unopened = 0;
    for file in &args.exposures {
        match exposures(file, &settings) {
            Ok(found) => handles.extend(found),
            Err(reason) => {
                eprintln!("stillair: {reason}");
                failures.push(file.display().to_string());
                unopened += 1;
            }
        }
    }
    if handles.is_empty() {
        return Err(CliError::Failed("no exposure could be opened".into()));
    }
    let base = contexts(&settings, &args.overrides, args.truth.as_deref())?;
    for handle in &handles {
        say!("{}", handle.image.path.display());
        let outcome = base.for_exposure(handle).and_then(|context| Ok(pipeline::run(handle, &context)?));
        match outcome {
            Ok(done) => report::print_done(&done),
            Err(error) => {
                // Later stages know the exposure's id alone, which need not be its file's name.
                let (file, reason) = (handle.image.path.display().to_string(), error.to_string());
                let place = if reason.contains(&file) { String::new() } else { format!("{file}: ") };
                eprintln!("stillair: {place}{reason}");
                failures.push(pipeline::archive_name(handle));
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(CliError::Failed(format!(
            "{} of {} exposures failed: {}",
            failures.len(),
            handles.len() + unopened,
            failures.join(", ")
        )))
    }
}
