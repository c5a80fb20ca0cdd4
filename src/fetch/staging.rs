//! A folder for the copies of one exposure's files; it goes when the exposure does.

use std::path::{Path, PathBuf};

use super::FetchError;

/// Begins the name of every staging folder.
const PREFIX: &str = "stillair-staging-";

/// A staging folder; removed when dropped.
#[derive(Debug)]
pub struct Staging {
    folder: tempfile::TempDir,
    /// Held as long as the folder is in use: the lock of a killed process is free again.
    _lock: std::fs::File,
}

impl Staging {
    /// A new folder below `parent`.
    pub fn new(parent: &Path) -> Result<Self, FetchError> {
        let failed = |source| FetchError::Folder { path: parent.to_path_buf(), source };
        std::fs::create_dir_all(parent).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).map_err(failed)?;
        let lock = std::fs::File::open(folder.path()).map_err(failed)?;
        lock.try_lock().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where a copy of something called `name` goes: its last part, without what a file name must not have. Layouts are recognised
    /// by names too, so that it is kept where it can be; two of one name get folders of their own.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        let last = name.rsplit('/').find(|part| !part.is_empty()).unwrap_or("file");
        let plain: String = last
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+') { c } else { '_' })
            .take(120)
            .collect();
        let plain = plain.trim_start_matches('.');
        let plain = if plain.is_empty() { "file" } else { plain };
        (0..)
            .map(|n: u32| self.folder.path().join(n.to_string()).join(plain))
            .find(|path| !path.exists())
            .unwrap_or_default()
    }

    /// Removes what killed processes left below `parent`; how many folders.
    pub fn sweep(parent: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(parent) else { return 0 };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .filter(|entry| std::fs::File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok()))
            .filter(|entry| std::fs::remove_dir_all(entry.path()).is_ok())
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_folders_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Staging::new(parent.path()).unwrap();
        std::fs::create_dir(parent.path().join(format!("{PREFIX}dead"))).unwrap();
        std::fs::create_dir(parent.path().join("other")).unwrap();
        assert_eq!(Staging::sweep(parent.path()), 1);
        assert!(alive.folder.path().exists() && parent.path().join("other").exists());
        let place = alive.place("a/../..//.x y.fits");
        assert!(place.starts_with(alive.folder.path()) && place.ends_with("x_y.fits"), "{}", place.display());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, b"1").unwrap();
        assert_ne!(alive.place(".x y.fits"), place);
    }
}
