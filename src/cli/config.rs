//! `stillair config show|check`.

use std::path::{Path, PathBuf};

use super::CliError;
use crate::settings;

/// `stillair config …`
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print every setting in force as TOML, and the layers it comes from
    Show,
    /// Write the JSON schemas of the events into a folder
    Schema {
        /// The folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
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
        ConfigCommand::Schema { out } => {
            let failed = |path: &Path, error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
            std::fs::create_dir_all(out).map_err(|error| failed(out, error))?;
            for (kind, schema) in crate::event::schemas() {
                let path = out.join(format!("{kind}.schema.json"));
                let mut text = serde_json::to_string_pretty(&schema)
                    .map_err(|error| CliError::Failed(format!("{kind}: {error}")))?;
                text.push('\n');
                std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
                say!("{}", path.display());
            }
            Ok(())
        }
        ConfigCommand::Check { file: given } => {
            let loaded = settings::load(given.as_deref().or(file))?;
            say!("configuration is valid; layers: {}", loaded.layers.join(" < "));
            Ok(())
        }
    }
}
