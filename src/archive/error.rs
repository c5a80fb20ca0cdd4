//! What can go wrong on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Classify, FailureKind};

/// Why a catalogue, stamp file or picture could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused.
    #[error("cannot {doing} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was being done ("write", "read", "create the folder").
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process works on the exposure.
    #[error("{}: another process is at work in this folder; wait for it, or choose another with --out", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The Parquet encoder or decoder refused.
    #[error("{}: Parquet: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: parquet::errors::ParquetError,
    },
    /// Columns could not be put together.
    #[error("{}: Arrow: {source}", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: arrow::error::ArrowError,
    },
    /// A FITS file could not be read.
    #[error(transparent)]
    Fits(#[from] crate::fits::FitsError),
    /// The file is readable but is not what it should be.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The caller asked for something that cannot be written.
    #[error("{}: {what} (this is a fault of stillair)", path.display())]
    Misuse {
        /// The file.
        path: PathBuf,
        /// What was asked.
        what: String,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (free some space, then run again)",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (choose a folder this user may write to with --out)"
        }
        _ => "",
    }
}

impl ArchiveError {
    /// Wraps a file system error.
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_path_buf(), source }
    }

    /// The file's content is not what it should be.
    pub fn content(path: &Path, what: impl Into<String>) -> Self {
        Self::Content { path: path.to_path_buf(), what: what.into() }
    }
}

impl Classify for ArchiveError {
    fn kind(&self) -> FailureKind {
        use io::ErrorKind as K;
        match self {
            Self::Io { source, .. } => match source.kind() {
                K::NotFound
                | K::PermissionDenied
                | K::ReadOnlyFilesystem
                | K::NotADirectory
                | K::IsADirectory
                | K::AlreadyExists
                | K::InvalidFilename
                | K::InvalidData
                | K::UnexpectedEof => FailureKind::BadInput,
                // a full disk, a quota, a network file system out of breath, an interrupted call
                _ => FailureKind::Transient,
            },
            Self::Busy { .. } => FailureKind::Transient,
            Self::Fits(source) => source.kind(),
            Self::Parquet { .. } | Self::Content { .. } => FailureKind::BadInput,
            Self::Arrow { .. } | Self::Misuse { .. } => FailureKind::Bug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_may_go_away_and_says_what_to_do() {
        let full = ArchiveError::io("write", Path::new("out/a.fits"), io::ErrorKind::StorageFull.into());
        assert_eq!(full.kind(), FailureKind::Transient);
        assert!(full.to_string().contains("out/a.fits") && full.to_string().contains("free some space"), "{full}");
        let denied = ArchiveError::io("write", Path::new("out/a.fits"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.kind(), FailureKind::BadInput);
    }
}
