//! Layered configuration: built-in defaults < TOML file < `STILLAIR__SECTION__KEY` environment.
//!
//! Each section is declared (with its defaults and units) by the module it configures; this room composes and reads them.

mod load;

pub use load::{Loaded, SettingsError, load, load_from};

/// Everything that can be configured; each section is declared by the module it configures.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is written, and where.
    pub output: OutputSettings,
}

/// What is written, and where.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSettings {
    /// Folder below which each exposure gets a folder of its own.
    pub directory: std::path::PathBuf,
    /// Whether stamp cubes are written.
    pub stamps: bool,
    /// Whether pictures are written.
    pub pictures: bool,
    /// Objects shown on the picture sheet.
    pub sheet_objects: usize,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self { directory: "out".into(), stamps: true, pictures: true, sheet_objects: 12 }
    }
}
