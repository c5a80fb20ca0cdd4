//! Objects that the caller brings along.

use crate::archive::GivenCatalog;
use crate::detect::CatalogPosition;
use crate::failure::{Classify, FailureKind};
use crate::sky::Wcs;

/// Why a given catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// Places on the sky, and no way from there to pixels.
    #[error(
        "the catalogue gives ra and dec only, but the exposure has no usable WCS; add columns x and y (FITS pixels)"
    )]
    NoWcs,
}

impl Classify for GivenError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}

/// Pixel positions of a given catalogue: through the WCS, else its own. The sky is preferred: a survey's pixel columns may belong to
/// another image.
pub fn given_positions(catalog: &GivenCatalog, wcs: Option<&Wcs>) -> Result<Vec<CatalogPosition>, GivenError> {
    catalog
        .objects
        .iter()
        .map(|object| {
            let through_wcs = object.sky.and_then(|(ra, dec)| wcs?.sky_to_pixel(ra, dec));
            let (x, y) = match (through_wcs, object.pixel, object.sky) {
                (Some(position), _, _) | (None, Some(position), _) => position,
                // A place on the sky that the projection does not reach lies outside the image.
                (None, None, Some(_)) if wcs.is_some() => (f64::NAN, f64::NAN),
                _ => return Err(GivenError::NoWcs),
            };
            Ok(CatalogPosition { id: object.id, x, y })
        })
        .collect()
}
