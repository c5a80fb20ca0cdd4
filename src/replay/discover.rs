//! Finding the exposures of a folder or a manifest.

use std::path::{Path, PathBuf};

use crate::failure::{Classify, FailureKind};
use crate::fits::{ReadSettings, is_companion};

/// Endings of files that can hold an exposure.
const ENDINGS: [&str; 6] = [".fits", ".fit", ".fts", ".fits.fz", ".fits.gz", ".fit.gz"];

/// Part of the name of the simulator's truth tables, which are no exposures.
const TRUTH: &str = ".truth.";

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The folder or manifest cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Folder or manifest.
        path: PathBuf,
        /// Operating system's reason.
        reason: std::io::Error,
    },
    /// No exposure was found.
    #[error(
        "{0}: no exposures found; expected files ending in .fits, .fits.fz or .fits.gz, or a manifest with one path a line"
    )]
    Empty(PathBuf),
    /// A manifest names files that do not exist.
    #[error("manifest {manifest}, line {line}: {path} does not exist")]
    Missing {
        /// The manifest.
        manifest: PathBuf,
        /// 1-based line.
        line: usize,
        /// The path as resolved.
        path: PathBuf,
    },
}

impl Classify for ReplayError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}

/// The exposure files of a folder (searched through, sorted by name), of a manifest (one path a line, relative to the
/// manifest's folder; empty lines and lines starting with `#` are skipped), or the file itself if it is FITS.
pub fn discover(path: &Path, settings: &ReadSettings) -> Result<Vec<PathBuf>, ReplayError> {
    let files = if path.is_dir() {
        let mut found = Vec::new();
        walk(path, settings, &mut found)?;
        found.sort();
        found
    } else if is_exposure(path, settings) {
        vec![path.to_owned()]
    } else {
        manifest(path)?
    };
    if files.is_empty() { Err(ReplayError::Empty(path.to_owned())) } else { Ok(files) }
}

fn walk(folder: &Path, settings: &ReadSettings, found: &mut Vec<PathBuf>) -> Result<(), ReplayError> {
    let unreadable = |reason| ReplayError::Unreadable { path: folder.to_owned(), reason };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        // Links are not followed: a loop would never end.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            walk(&path, settings, found)?;
        } else if is_exposure(&path, settings) {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether the name looks like an exposure's: a FITS ending, and not the name of a noise plane, mask or truth table beside one.
fn is_exposure(path: &Path, settings: &ReadSettings) -> bool {
    let Some(name) = path.file_name().map(|n| n.to_string_lossy().to_lowercase()) else { return false };
    ENDINGS.iter().any(|ending| name.ends_with(ending)) && !name.contains(TRUTH) && !is_companion(path, settings)
}

fn manifest(path: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    let text =
        std::fs::read_to_string(path).map_err(|reason| ReplayError::Unreadable { path: path.to_owned(), reason })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let file = folder.join(line);
        if !file.is_file() {
            return Err(ReplayError::Missing { manifest: path.to_owned(), line: index + 1, path: file });
        }
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folders");
            std::fs::write(path, b"").expect("file");
        }
        folder
    }

    #[test]
    fn a_folder_gives_its_exposures_sorted_without_companions() {
        let folder =
            folder(&["b.fits", "a.fits.fz", "a.truth.fits", "notes.txt", "night/c_ooi_r.fits", "night/c_oow_r.fits"]);
        let found = discover(folder.path(), &ReadSettings::default()).expect("found");
        let names: Vec<String> =
            found.iter().map(|p| p.file_name().expect("name").to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["a.fits.fz", "b.fits", "c_ooi_r.fits"]);
    }

    #[test]
    fn a_manifest_names_the_line_of_a_missing_file() {
        let folder = folder(&["a.fits"]);
        let manifest = folder.path().join("night.txt");
        std::fs::write(&manifest, "# a night\na.fits\n\nmissing.fits\n").expect("manifest");
        let message = discover(&manifest, &ReadSettings::default()).expect_err("refused").to_string();
        assert!(message.contains("line 4") && message.contains("missing.fits"), "{message}");
    }

    #[test]
    fn an_empty_folder_is_said() {
        let folder = folder(&["readme.md"]);
        assert!(matches!(discover(folder.path(), &ReadSettings::default()), Err(ReplayError::Empty(_))));
    }
}
