//! `stillair replay DIR|MANIFEST`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::stream::{Rate, check_options, from_stream, publish};
use super::work::{Base, Overrides, contexts, exposures};
use super::{CliError, report};
use crate::pipeline;
use crate::replay::{self, Progress};
use crate::settings::Settings;

/// Process archived exposures, several at a time; what an earlier run finished is skipped
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Folder (searched through), manifest (one path a line), or a single FITS file
    #[arg(value_name = "DIR|MANIFEST")]
    source: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Exposures processed at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Process again what is done already
    #[arg(long)]
    force: bool,
    /// Publish an event for each exposure on this NATS server instead of processing it: a rehearsal for `serve`
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Events a second with --to, as N/s, N/min or N/h
    #[arg(long, value_name = "N/s", requires = "to")]
    rate: Option<Rate>,
    /// Process the events that a NATS stream still holds ([bus] in the configuration, or the URL given)
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with = "to")]
    from_stream: Option<String>,
}

/// Processes them all; the command fails if any exposure did, after all were tried.
pub fn run(args: &ReplayArgs, settings: &Settings) -> Result<(), CliError> {
    let settings = args.overrides.apply(settings)?;
    check_options(args.source.as_deref(), args.from_stream.is_some())?;
    if let Some(url) = &args.from_stream {
        return from_stream(Some(url.as_str()).filter(|url| !url.is_empty()), &settings);
    }
    let source = args.source.as_deref().unwrap_or(Path::new("."));
    let files = replay::discover(source, &settings.read).map_err(|error| CliError::Failed(error.to_string()))?;
    if let Some(url) = &args.to {
        return publish(&files, url, args.rate, &settings);
    }
    clashes(&files)?;
    let base = contexts(&settings, &args.overrides, None)?;
    let bar = progress_bar(files.len());
    let tally = replay::run(
        &files,
        args.jobs,
        |file| one(file, &base, &settings, args.force),
        |file, progress| {
            let line = match progress {
                Progress::Done(text) => format!("done     {}: {text}", file.display()),
                Progress::Skipped => format!("skipped  {}: done by an earlier run", file.display()),
                Progress::Failed(reason) => format!("FAILED   {}: {reason}", file.display()),
            };
            if bar.is_hidden() {
                say!("{line}");
            } else {
                bar.println(line);
            }
            bar.inc(1);
        },
    );
    bar.finish_and_clear();
    say!("{} done, {} skipped, {} failed of {}", tally.done, tally.skipped, tally.failed.len(), files.len());
    if tally.failed.is_empty() {
        Ok(())
    } else {
        Err(CliError::Failed(format!("{} of {} files failed", tally.failed.len(), files.len())))
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(files: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} files, {elapsed_precise} elapsed, {eta_precise} left");
    ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Every exposure of one file.
fn one(file: &Path, base: &Base, settings: &Settings, force: bool) -> Progress {
    let handles = match exposures(file, settings) {
        Ok(handles) => handles,
        Err(reason) => return Progress::Failed(reason),
    };
    let (mut lines, mut failures, mut skipped) = (Vec::new(), Vec::new(), 0);
    for handle in &handles {
        let outcome = base.for_exposure(handle).and_then(|context| {
            if !force && pipeline::is_done(handle, &context) {
                return Ok(None);
            }
            Ok(Some(pipeline::run(handle, &context)?))
        });
        match outcome {
            Ok(Some(done)) => lines.push(report::one_line(&done)),
            Ok(None) => skipped += 1,
            Err(error) => failures.push(error.to_string()),
        }
    }
    if !failures.is_empty() {
        Progress::Failed(failures.join("; "))
    } else if skipped == handles.len() {
        Progress::Skipped
    } else {
        Progress::Done(lines.join("; "))
    }
}

/// Two files of the same name would write into the same folder: said before anything is done.
fn clashes(files: &[PathBuf]) -> Result<(), CliError> {
    let mut names: Vec<(&std::ffi::OsStr, &PathBuf)> =
        files.iter().filter_map(|file| Some((file.file_name()?, file))).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(CliError::Failed(format!(
            "{} and {} have the same name and would write into the same folder; replay their folders one by one with different --out",
            pair[0].1.display(),
            pair[1].1.display()
        ))),
        None => Ok(()),
    }
}
