//! Pictures of an exposure: objects before and after, the PSF over the field, the star selection, flux against truth.
//! Data in, [`Picture`] out; `archive` writes the files.

mod axes;
mod bands;
mod canvas;
mod colour;
mod evaluation;
mod flux;
mod panels;
mod psf_map;
mod sheet;
mod stars;

pub use bands::{BandRow, band_sheet};
pub use canvas::Picture;
pub use evaluation::{ScorePoint, ScoreTexts, TruthObject, score_picture, truth_sheet};
pub use flux::{FluxPoint, FluxTexts, flux_against_truth};
pub use panels::{PanelObject, object_panels};
pub use psf_map::{PsfMap, PsfPoint, StarPoint, StarStatus, psf_map};
pub use sheet::{SheetObject, SheetTexts, choose_objects, object_sheet};
pub use stars::{StarDiagram, StarDiagramPoint, star_selection};

use crate::failure::{Classify, FailureKind};

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Drawing failed.
    #[error("cannot draw the picture: {0}")]
    Draw(String),
    /// Encoding failed.
    #[error("cannot encode the picture as PNG: {0}")]
    Encode(String),
}

impl Classify for PictureError {
    fn kind(&self) -> FailureKind {
        FailureKind::Bug
    }
}

#[cfg(test)]
mod tests;
