//! Point spread function: stars in, a spatially varying model out.

use crate::detect::Detections;
use crate::image::{MaskPlane, Plane};

/// What the PSF fit sees of an exposure. All planes have the same shape (rows, columns).
#[derive(Debug, Clone, Copy)]
pub struct PsfInput<'a> {
    /// Background-subtracted image, image units.
    pub image: &'a Plane,
    /// Variance per pixel (sources' Poisson noise possibly included), image units squared.
    pub variance: &'a Plane,
    /// Bits of [`crate::image::mask`].
    pub mask: &'a MaskPlane,
    /// Sources found in the image.
    pub detections: &'a Detections,
    /// Saturation level in image units, if known.
    pub saturation: Option<f64>,
    /// Electrons per image unit, if known.
    pub gain: Option<f64>,
}

/// A PSF at a position: what evaluation returns.
#[derive(Debug, Clone)]
pub struct PsfStamp {
    /// The effective PSF (pixel response in), odd square, centred on the central pixel, sum 1; axes (row = y, column = x).
    pub image: Plane,
    /// Samples per detector pixel along each axis.
    pub oversample: usize,
}

/// A spatially varying effective PSF.
#[derive(Debug, Clone)]
pub struct PsfModel {}

impl PsfModel {
    /// The effective PSF at 0-based detector position `(x, y)`, sampled `oversample` times finer than the detector's pixels
    /// on an odd square of `size` samples, centred on the central sample, unit sum.
    pub fn evaluate(&self, _x: f64, _y: f64, _size: usize, _oversample: usize) -> PsfStamp {
        todo!()
    }

    /// Full width at half maximum of the effective PSF at a 0-based position, detector pixels (of the azimuthally averaged profile).
    pub fn fwhm(&self, _x: f64, _y: f64) -> f64 {
        todo!()
    }
}
