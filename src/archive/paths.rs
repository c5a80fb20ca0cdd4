//! Where the files of an exposure lie.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::atomic::remove_leftovers;
use super::{ArchiveError, FolderLock};

/// The output folder of one exposure, `OUT/<exposure>/`, and the names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposurePaths {
    folder: PathBuf,
}

impl ExposurePaths {
    /// The folder of the exposure `id` below `out`. Nothing is created yet.
    pub fn new(out: &Path, id: &str) -> Self {
        Self { folder: out.join(folder_name(id)) }
    }

    /// Creates the folder and removes what killed runs left unfinished in it and what an earlier run wrote: files of two runs side
    /// by side (stamps of a size that no object has any more) would be taken for one. The summary goes first: from then on the
    /// exposure is not done.
    pub fn prepare(&self) -> Result<(), ArchiveError> {
        fs::create_dir_all(&self.folder).map_err(|e| ArchiveError::io("create the folder", &self.folder, e))?;
        remove_leftovers(&self.folder);
        let one_a_run = [
            self.summary(),
            self.catalog_parquet(),
            self.catalog_fits(),
            self.sheet(),
            self.psf_map(),
            self.stars(),
            self.flux(),
            self.psf_model(),
        ];
        one_a_run.iter().try_for_each(|path| remove(path))?;
        let entries = fs::read_dir(&self.folder).map_err(|e| ArchiveError::io("read the folder", &self.folder, e))?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                name.starts_with("stamps_") && name.ends_with(".fits")
            })
            .try_for_each(|path| remove(&path))
    }

    /// Creates the folder and locks it against other processes.
    pub fn lock(&self) -> Result<FolderLock, ArchiveError> {
        fs::create_dir_all(&self.folder).map_err(|e| ArchiveError::io("create the folder", &self.folder, e))?;
        FolderLock::take(&self.folder)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Catalogue as Parquet.
    pub fn catalog_parquet(&self) -> PathBuf {
        self.folder.join("catalog.parquet")
    }

    /// Catalogue as FITS.
    pub fn catalog_fits(&self) -> PathBuf {
        self.folder.join("catalog.fits")
    }

    /// Stamps of `size` detector pixels.
    pub fn stamps(&self, size: usize) -> PathBuf {
        self.folder.join(format!("stamps_{size}.fits"))
    }

    /// Objects as observed, deconvolved and residual.
    pub fn sheet(&self) -> PathBuf {
        self.folder.join("sheet.png")
    }

    /// PSF over the field.
    pub fn psf_map(&self) -> PathBuf {
        self.folder.join("psf.png")
    }

    /// Star selection.
    pub fn stars(&self) -> PathBuf {
        self.folder.join("stars.png")
    }

    /// Flux against truth.
    pub fn flux(&self) -> PathBuf {
        self.folder.join("flux.png")
    }

    /// The PSF model.
    pub fn psf_model(&self) -> PathBuf {
        self.folder.join("model.psf")
    }

    /// The summary: written last, so that its presence says that all is there.
    pub fn summary(&self) -> PathBuf {
        self.folder.join("summary.json")
    }
}

/// Removes a file; that there is none is no error.
fn remove(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(ArchiveError::io("remove the old", path, e)),
        _ => Ok(()),
    }
}

/// A folder name for an exposure id: letters, digits, `.`, `_`, `+`, `-`. An id that had to be changed for that gets a piece of its
/// hash, so that no two ids share a folder and none climbs out of the output folder.
fn folder_name(id: &str) -> String {
    const LONGEST: usize = 120;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    if !id.is_empty() && id.len() <= LONGEST && !id.starts_with('.') && id.chars().all(plain) {
        return id.to_string();
    }
    let name: String = id.chars().map(|c| if plain(c) { c } else { '_' }).take(LONGEST).collect();
    let hash = hex::encode(Sha256::digest(id.as_bytes()));
    let name = name.trim_start_matches('.');
    format!("{}-{}", if name.is_empty() { "exposure" } else { name }, hash.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_its_folder() {
        let paths = ExposurePaths::new(Path::new("out"), "c4d_170815_r.1+2");
        assert_eq!(paths.catalog_fits(), Path::new("out/c4d_170815_r.1+2/catalog.fits"));
        assert_eq!(paths.stamps(64), Path::new("out/c4d_170815_r.1+2/stamps_64.fits"));
    }

    #[test]
    fn no_id_climbs_out_and_no_two_meet() {
        let folder = |id: &str| folder_name(id);
        for id in ["../../etc", "..", "", "/", "a/b", ".hidden", "a\0b", "\u{e9}t\u{e9}", &"x".repeat(500)] {
            let name = folder(id);
            assert!(
                !name.contains('/') && !name.starts_with('.') && name.len() < 140 && !name.is_empty(),
                "{id:?} -> {name}"
            );
        }
        assert_ne!(folder("a/b"), folder("a b"));
        assert_ne!(folder(&"x".repeat(300)), folder(&"x".repeat(301)));
    }
}
