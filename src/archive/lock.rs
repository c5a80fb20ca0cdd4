//! One process at a time works in an exposure's folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::ArchiveError;

/// A lock on a folder, held until dropped; that of a process that dies is free again.
#[derive(Debug)]
pub struct FolderLock {
    _folder: File,
}

impl FolderLock {
    /// Locks a folder that exists; at once or not at all.
    pub fn take(folder: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(folder).map_err(|e| ArchiveError::io("open", folder, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _folder: file }),
            Err(TryLockError::WouldBlock) => Err(ArchiveError::Busy { path: folder.to_path_buf() }),
            Err(TryLockError::Error(error)) => Err(ArchiveError::io("lock", folder, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Classify, FailureKind};

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let second = FolderLock::take(folder.path()).unwrap_err();
        assert_eq!(second.kind(), FailureKind::Transient);
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }
}
