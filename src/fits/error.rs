//! Why a FITS file could not be read or written: which file, which HDU, what was wrong, what to do.

use crate::failure::{Classify, FailureKind};

/// A failed read or write. The message names the file and the HDU and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FitsError {
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// File.
        path: String,
        /// What was tried (`open`, `read`, `create`, `write`).
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The bytes are not FITS.
    #[error(
        "{path}: not a FITS file ({reason}); give a file that begins with SIMPLE, plain, tile-compressed or gzipped"
    )]
    NotFits {
        /// File.
        path: String,
        /// What the parser met.
        reason: String,
    },
    /// The file ends before the data its header promises.
    #[error(
        "{path}, {hdu}: the file is truncated: the header promises {promised} bytes of data, \
         the file of {length} bytes ends before; fetch the file again"
    )]
    Truncated {
        /// File.
        path: String,
        /// HDU, as [`hdu_label`] names it.
        hdu: String,
        /// Bytes of data the header promises.
        promised: u64,
        /// Bytes of the whole file.
        length: u64,
    },
    /// A wanted HDU is not there.
    #[error("{path}: no {wanted}; the file holds {present}; name the HDU in [read] of the configuration")]
    MissingHdu {
        /// File.
        path: String,
        /// What was looked for.
        wanted: String,
        /// The HDUs there are.
        present: String,
    },
    /// A wanted table column is not there.
    #[error("{path}, {hdu}: no column {wanted}; the table holds {present}")]
    MissingColumn {
        /// File.
        path: String,
        /// HDU.
        hdu: String,
        /// Column looked for.
        wanted: String,
        /// Columns there are.
        present: String,
    },
    /// An image that cannot be used: wrong dimensions, too large, too small, all NaN.
    #[error("{path}, {hdu}: {problem}; {remedy}")]
    Unusable {
        /// File.
        path: String,
        /// HDU.
        hdu: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A plane whose shape is not the image's.
    #[error(
        "{path}, {hdu}: {nx} x {ny} pixels, but the image is {image_nx} x {image_ny}; \
         give the plane that belongs to this image, or name it in [read] of the configuration"
    )]
    ShapeMismatch {
        /// File.
        path: String,
        /// HDU.
        hdu: String,
        /// Columns of the plane.
        nx: usize,
        /// Rows of the plane.
        ny: usize,
        /// Columns of the image.
        image_nx: usize,
        /// Rows of the image.
        image_ny: usize,
    },
    /// The data cannot be decoded.
    #[error("{path}, {hdu}: cannot be decoded ({reason}); the file is corrupt or not standard FITS")]
    Corrupt {
        /// File.
        path: String,
        /// HDU.
        hdu: String,
        /// What the parser met.
        reason: String,
    },
    /// What was to be written cannot be held by FITS.
    #[error("{path}: cannot be written: {reason}")]
    Unwritable {
        /// File.
        path: String,
        /// Why.
        reason: String,
    },
    /// A `[read]` setting that contradicts itself.
    #[error("[read] {key}: {problem}")]
    Setting {
        /// Key of the setting.
        key: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

impl Classify for FitsError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound
                | std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::InvalidInput
                | std::io::ErrorKind::IsADirectory
                | std::io::ErrorKind::NotADirectory => FailureKind::BadInput,
                _ => FailureKind::Transient,
            },
            _ => FailureKind::BadInput,
        }
    }
}

/// An HDU as messages name it: `HDU 2 (VARIANCE)`; the primary is HDU 0.
pub fn hdu_label(index: usize, name: &str) -> String {
    if name.is_empty() { format!("HDU {index}") } else { format!("HDU {index} ({name})") }
}
