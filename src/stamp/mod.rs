//! Cut-outs: one per object, neighbours and bad pixels dealt with, ready for deconvolution.

use crate::catalog::Flags;
use crate::image::{PixelBox, Plane};

/// One object's square cut-out on the detector's grid, sky and neighbours subtracted.
/// All planes are (n, n), axes (row = y, column = x); pixels are never interpolated or shifted.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Index into the exposure's sources.
    pub source: usize,
    /// Where it was cut.
    pub bounds: PixelBox,
    /// Observed pixels, image units: sky and neighbours subtracted, unusable pixels in-painted (so that a Fourier transform can be taken).
    pub observed: Plane,
    /// 1 / model variance (sky noise + smoothed source), image units^-2; 0 where the pixel is unusable or outside the image.
    pub weight: Plane,
    /// White-noise standard deviation per pixel of the sky in the stamp, image units.
    pub sigma: f64,
    /// Object's 0-based position in stamp pixels: column, row.
    pub centre: (f64, f64),
    /// Share of pixels with zero weight within the object's footprint.
    pub bad_fraction: f64,
    /// What cutting has to say: EDGE, BAD_PIXELS, NEIGHBOUR, TRUNCATED ...
    pub flags: Flags,
}
