//! `stillair models list|check`.

use super::CliError;
use crate::network::{self, NetworkSettings, Runtime, Verdict};

/// `stillair models …`
#[derive(Debug, clap::Subcommand)]
pub enum ModelsCommand {
    /// List the networks of the folder of networks
    List,
    /// Check a network against its card and say what to change
    Check {
        /// Name of the network's folder; without it every network is checked
        name: Option<String>,
    },
}

/// Runs the command.
pub fn run(command: &ModelsCommand, settings: &NetworkSettings) -> Result<(), CliError> {
    match command {
        ModelsCommand::List => list(settings),
        ModelsCommand::Check { name } => check(name.as_deref(), settings),
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

fn list(settings: &NetworkSettings) -> Result<(), CliError> {
    let networks = network::list(&settings.folder).map_err(failed)?;
    if networks.is_empty() {
        say!("no networks in {} (network.folder)", settings.folder.display());
    }
    for (name, card) in networks {
        let mark = if name == settings.name { "*" } else { " " };
        match card {
            Ok(card) => {
                let [low, high] = card.domain.psf_fwhm;
                say!("{mark} {name:<16} {}", card.description);
                say!(
                    "  {:16} PSF FWHM {low}-{high} target px, SNR {}-{}, {}, sha256 {}",
                    "",
                    card.domain.snr[0],
                    card.domain.snr[1],
                    card.licence,
                    card.sha256.get(..12).unwrap_or_default()
                );
            }
            Err(error) => say!("{mark} {name:<16} UNUSABLE: {error}"),
        }
    }
    say!("* in use (network.name)");
    Ok(())
}

fn check(name: Option<&str>, settings: &NetworkSettings) -> Result<(), CliError> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => network::list(&settings.folder).map_err(failed)?.into_iter().map(|(name, _)| name).collect(),
    };
    if names.is_empty() {
        return Err(CliError::Failed(format!("no networks in {} (network.folder)", settings.folder.display())));
    }
    let runtime = Runtime::load(&settings.runtime).map_err(failed)?;
    say!("ONNX Runtime: {}", runtime.path().display());
    let mut faulty = Vec::new();
    for name in names {
        let report = network::check(&settings.folder.join(&name), &runtime, settings);
        say!("{name}");
        for finding in &report.findings {
            let verdict = match finding.verdict {
                Verdict::Pass => "ok  ",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            say!("  {verdict}  {:<18} {}", finding.what, finding.detail);
        }
        if !report.passed() {
            faulty.push(name);
        }
    }
    if faulty.is_empty() { Ok(()) } else { Err(CliError::Failed(format!("to be changed: {}", faulty.join(", ")))) }
}
