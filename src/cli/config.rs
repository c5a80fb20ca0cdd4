//! `stillair config show|check`.

use std::path::{Path, PathBuf};

use super::CliError;
use crate::settings;

/// `stillair config …`
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print every setting in force as TOML, and the layers it comes from
    Show,
    /// Check a configuration file (or the one in force) and say what is wrong with it
    Check {
        /// File to check; without it the one in force
        file: Option<PathBuf>,
    },
}

/// Runs the command; `file` is the one given by `--config`.
pub fn run(command: &ConfigCommand, file: Option<&Path>) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show => {
            let loaded = settings::load(file)?;
            for layer in &loaded.layers {
                say!("# layer: {layer}");
            }
            let text = toml::to_string_pretty(&loaded.settings)
                .map_err(|error| CliError::Failed(format!("settings cannot be written as TOML: {error}")))?;
            say_text!("{text}");
            Ok(())
        }
        ConfigCommand::Check { file: given } => {
            let loaded = settings::load(given.as_deref().or(file))?;
            say!("configuration is valid; layers: {}", loaded.layers.join(" < "));
            Ok(())
        }
    }
}
