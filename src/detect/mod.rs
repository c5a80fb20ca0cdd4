//! Background and sources: SExtractor's method through the SEP library.

mod background;
mod catalogue;
mod error;
mod find;
mod measure;
mod sep;
mod settings;

pub use background::{Background, background};
pub use catalogue::{CatalogDetections, CatalogPosition, from_catalog};
pub use error::DetectError;
pub use find::detect;
pub use settings::{BackgroundSettings, DetectKernel, DetectSettings};

use crate::catalog::Flags;

/// One source found in an exposure, or given by a survey's catalogue. Positions are 0-based pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Identifier in the output: 1-based order of detection, or the survey's own.
    pub id: i64,
    /// Column of the flux-weighted (windowed) centroid, 0-based.
    pub x: f64,
    /// Row of the flux-weighted (windowed) centroid, 0-based.
    pub y: f64,
    /// Total flux in an elliptical (Kron) aperture, image units; NaN where no pixel of the aperture is usable.
    pub flux: f64,
    /// Error of `flux` from the background noise, image units.
    pub flux_err: f64,
    /// Highest pixel above the background, image units.
    pub peak: f64,
    /// RMS extent along the major axis, pixels.
    pub a: f64,
    /// RMS extent along the minor axis, pixels.
    pub b: f64,
    /// Position angle of the major axis from +x towards +y, radians.
    pub theta: f64,
    /// Radius that holds half of `flux`, pixels.
    pub half_light_radius: f64,
    /// Pixels above the detection threshold.
    pub npix: usize,
    /// Isophotal bounding box, inclusive, 0-based: (x_min, x_max, y_min, y_max).
    pub extent: (usize, usize, usize, usize),
    /// What detection has to say about it.
    pub flags: Flags,
}

/// Sources and the segmentation map they come from.
#[derive(Debug, Clone)]
pub struct Detections {
    /// The sources, in order of the segmentation labels.
    pub sources: Vec<Detection>,
    /// 0 = sky, i + 1 = pixel of `sources[i]`; axes (row = y, column = x). With a given catalogue (see [`from_catalog`])
    /// -1 = pixel of an object that the catalogue does not hold.
    pub segmentation: ndarray::Array2<i32>,
}

fn same_shape(plane: &'static str, expected: (usize, usize), got: (usize, usize)) -> Result<(), DetectError> {
    if expected == got { Ok(()) } else { Err(DetectError::ShapeMismatch { plane, expected, got }) }
}
