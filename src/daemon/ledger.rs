//! Which catalogues have been published: `OUT/.stillair/published/NAME` holds the id they were published under.
//!
//! The bus forgets what it has seen after its window for duplicates; an exposure that comes again after that is not said twice.

use std::path::{Path, PathBuf};

use crate::archive::{ArchiveError, atomic};

fn place(archive: &Path, folder: &Path) -> PathBuf {
    archive.join(".stillair/published").join(folder.file_name().unwrap_or_default())
}

/// Whether the exposure in `folder` has been published under this id.
pub(super) fn published(archive: &Path, folder: &Path, id: &str) -> bool {
    std::fs::read_to_string(place(archive, folder)).is_ok_and(|text| text == id)
}

/// Notes that it has.
pub(super) fn note(archive: &Path, folder: &Path, id: &str) -> Result<(), ArchiveError> {
    let path = place(archive, folder);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| ArchiveError::io("create the folder", parent, e))?;
    }
    atomic::write_file(&path, id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_id_is_another_publication() {
        let archive = tempfile::tempdir().unwrap();
        let folder = archive.path().join("a-1");
        assert!(!published(archive.path(), &folder, "x"));
        note(archive.path(), &folder, "x").unwrap();
        assert!(published(archive.path(), &folder, "x"));
        assert!(!published(archive.path(), &folder, "y"));
    }
}
