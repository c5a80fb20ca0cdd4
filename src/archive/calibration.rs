//! Calibration files: TOML (or JSON, by the name's ending), checked when read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::atomic::write_file;
use crate::calibration::Calibration;

/// Which calibration is used (`[calibration]`).
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationSettings {
    /// Calibration file made by `stillair calibrate`; empty: fluxes stay as measured and rows are flagged `UNCALIBRATED`.
    pub file: PathBuf,
    /// SHA-256 that the file must have; empty: any.
    pub sha256: String,
    /// The file, once read.
    #[serde(skip)]
    pub loaded: Option<Arc<LoadedCalibration>>,
}

/// A calibration and the hash of the file that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedCalibration {
    /// SHA-256 of the file.
    pub sha256: String,
    /// What it holds.
    pub calibration: Calibration,
}

impl CalibrationSettings {
    /// Reads the file, if one is named.
    pub fn load(&mut self) -> Result<(), ArchiveError> {
        self.loaded = None;
        if self.file.as_os_str().is_empty() {
            return Ok(());
        }
        let loaded = read_calibration(&self.file)?;
        if !self.sha256.is_empty() && !self.sha256.eq_ignore_ascii_case(&loaded.sha256) {
            let what = format!(
                "has SHA-256 {}, not the {} that [calibration] sha256 asks for; correct one of the two",
                loaded.sha256, self.sha256
            );
            return Err(ArchiveError::content(&self.file, what));
        }
        self.loaded = Some(Arc::new(loaded));
        Ok(())
    }

    /// Names another file and reads it.
    pub fn load_other(&mut self, file: &Path) -> Result<(), ArchiveError> {
        self.file = file.to_path_buf();
        self.sha256.clear();
        self.load()
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

/// Reads and checks a calibration file.
pub fn read_calibration(path: &Path) -> Result<LoadedCalibration, ArchiveError> {
    let bytes = fs::read(path).map_err(|error| ArchiveError::io("read", path, error))?;
    let unusable = |what: String| ArchiveError::content(path, format!("no usable calibration: {what}"));
    let calibration: Calibration = if is_json(path) {
        serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?
    } else {
        let text = str::from_utf8(&bytes).map_err(|_| unusable("not a text file".into()))?;
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            unusable(line.map_or_else(String::new, |n| format!("line {n}: ")) + error.message())
        })?
    };
    calibration.check().map_err(|error| unusable(error.to_string()))?;
    Ok(LoadedCalibration { sha256: hex::encode(Sha256::digest(&bytes)), calibration })
}

/// Writes a calibration file, atomically.
pub fn write_calibration(path: &Path, calibration: &Calibration) -> Result<(), ArchiveError> {
    let misuse = |what: String| ArchiveError::Misuse { path: path.to_path_buf(), what };
    let text = if is_json(path) {
        serde_json::to_string_pretty(calibration).map_err(|error| misuse(error.to_string()))? + "\n"
    } else {
        let head =
            "# Flux and error calibration by injected sources, made by `stillair calibrate` (docs/calibration.md).\n";
        head.to_string() + &toml::to_string(calibration).map_err(|error| misuse(error.to_string()))?
    };
    write_file(path, text.as_bytes())
}
