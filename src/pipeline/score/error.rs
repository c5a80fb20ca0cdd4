//! Why outputs cannot be scored.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::evaluate::ImageError;
use crate::failure::{Classify, FailureKind};

/// Why outputs cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no truth.
    #[error("{output}: no truth: {what}; give the file that `stillair simulate` wrote with --truth FILE")]
    NoTruth {
        /// The output.
        output: PathBuf,
        /// Where it was looked for.
        what: String,
    },
    /// Output and truth are of different fields.
    #[error(
        "{output}: {matched} of {measured} rows lie within {radius} pixels of one of the {truth} true objects of {file}: the truth of \
         another field, or positions that count from another pixel (--first-pixel)?"
    )]
    NoMatch {
        /// The output.
        output: PathBuf,
        /// The truth file.
        file: PathBuf,
        /// Rows that matched.
        matched: usize,
        /// Rows.
        measured: usize,
        /// True objects.
        truth: usize,
        /// Matching radius, pixels.
        radius: f64,
    },
    /// The truth's stamps are drawn for another target.
    #[error(
        "{file}: its stamps are drawn for a target of {truth_what}, {output} has {output_what}: simulate the truth again with \
         --target-fwhm and --target-scale of the output, or process at the truth's"
    )]
    OtherTarget {
        /// The truth file.
        file: PathBuf,
        /// The output.
        output: PathBuf,
        /// What the truth's is.
        truth_what: String,
        /// What the output's is.
        output_what: String,
    },
    /// What was asked for is not in a file.
    #[error("{file}: {what}")]
    Missing {
        /// The file.
        file: PathBuf,
        /// What is missing, and what there is.
        what: String,
    },
    /// An image cannot be compared.
    #[error("{file}, object {id}: {source}")]
    Image {
        /// The stamp file.
        file: PathBuf,
        /// The object.
        id: i64,
        /// Why.
        source: ImageError,
    },
}

impl Classify for ScoreError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Archive(error) => error.kind(),
            _ => FailureKind::BadInput,
        }
    }
}
