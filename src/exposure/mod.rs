//! One exposure as the pipeline sees it, whatever layout it was read from.

use crate::image::{MaskPlane, Plane};
use crate::sky::Wcs;

/// Where an exposure's variance plane came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VarianceOrigin {
    /// A variance plane, possibly with the sources' own Poisson noise in it.
    Variance,
    /// The square of an RMS / error plane.
    Rms,
    /// The inverse of a weight plane.
    Weight,
    /// Estimated from the image's own background scatter: no noise plane was given, or it was unusable.
    Estimated,
}

/// A detector image with its noise, mask and calibration. All planes have the same shape (rows, columns).
#[derive(Debug, Clone)]
pub struct Exposure {
    /// Name in outputs: from the header or event if given, else the file stem.
    pub id: String,
    /// Pixels in image units (ADU, electrons, nJy ...); NaN never occurs: such pixels are 0 and masked `NO_DATA`.
    pub image: Plane,
    /// Noise variance per pixel in image units squared; finite and positive where the pixel is not masked `NO_DATA`.
    pub variance: Plane,
    /// Bits of [`crate::image::mask`].
    pub mask: MaskPlane,
    /// World coordinates, if the header holds a usable solution.
    pub wcs: Option<Wcs>,
    /// AB magnitude of one image unit of flux; `None` if unknown.
    pub zero_point: Option<f64>,
    /// Electrons per image unit; `None` if unknown.
    pub gain: Option<f64>,
    /// Image value at which pixels saturate; `None` if unknown.
    pub saturation: Option<f64>,
    /// Band (filter) name.
    pub band: Option<String>,
    /// Exposure time, seconds.
    pub exposure_time: Option<f64>,
    /// Instrument name.
    pub instrument: Option<String>,
    /// Where `variance` came from.
    pub variance_origin: VarianceOrigin,
    /// Whether the sky is known to have been subtracted already; `None` if the file does not say.
    pub background_subtracted: Option<bool>,
    /// Name of the layout it was read as (`lsst-afw`, `euclid-vis`, `decam`, `mef`, `simple`).
    pub layout: String,
    /// Pixel scale in arcsec used where there is no WCS (header card or configuration); `None` if unknown.
    pub pixel_scale_hint: Option<f64>,
    /// What the reader had to assume or leave out, in sentences for the summary.
    pub notes: Vec<String>,
}

impl Exposure {
    /// Number of rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.image.dim()
    }

    /// Pixel scale in arcsec at the centre: from the WCS, else the hint; `None` if neither is known.
    pub fn pixel_scale(&self) -> Option<f64> {
        let (ny, nx) = self.shape();
        match &self.wcs {
            Some(wcs) => Some(wcs.pixel_scale((nx as f64 - 1.0) / 2.0, (ny as f64 - 1.0) / 2.0)),
            None => self.pixel_scale_hint,
        }
    }
}
