//! Sources in a sky-subtracted image.

use ndarray::Array2;

use super::measure::{self, Measured};
use super::sep::{self, RawObject, SepImage};
use super::{DetectError, DetectSettings, Detection, Detections, same_shape};
use crate::catalog::Flags;
use crate::image::{MaskPlane, Plane};

/// The planes of an image in the form SEP takes: row by row, unusable pixels 0 and masked.
pub(super) struct Prepared {
    pub data: Vec<f32>,
    pub rms: Vec<f32>,
    pub bad: Vec<u8>,
    pub shape: (usize, usize),
}

impl Prepared {
    pub fn new(
        subtracted: &Plane,
        rms: &Plane,
        mask: &MaskPlane,
        settings: &DetectSettings,
    ) -> Result<Self, DetectError> {
        settings.check()?;
        let shape = subtracted.dim();
        same_shape("rms", shape, rms.dim())?;
        same_shape("mask", shape, mask.dim())?;
        if subtracted.is_empty() {
            return Err(DetectError::EmptyImage { rows: shape.0, columns: shape.1 });
        }
        let n = subtracted.len();
        let mut out =
            Self { data: Vec::with_capacity(n), rms: Vec::with_capacity(n), bad: Vec::with_capacity(n), shape };
        let (mut unmasked, mut usable) = (0usize, 0usize);
        for ((&v, &r), &m) in subtracted.iter().zip(rms).zip(mask) {
            let open = v.is_finite() && m & settings.mask_bits == 0;
            let good = open && r.is_finite() && r > 0.0;
            unmasked += usize::from(open);
            usable += usize::from(good);
            out.data.push(if good { v } else { 0.0 });
            out.rms.push(if good { r } else { sep::UNUSABLE_RMS });
            out.bad.push(u8::from(!good));
        }
        match (unmasked, usable) {
            (0, _) => Err(DetectError::AllMasked { pixels: n }),
            (_, 0) => Err(DetectError::NoNoise),
            _ => Ok(out),
        }
    }

    pub fn image(&self) -> Result<SepImage<'_>, DetectError> {
        SepImage::new(&self.data, Some(&self.rms), &self.bad, self.shape)
    }

    pub fn extract(&self, settings: &DetectSettings) -> Result<Vec<RawObject>, DetectError> {
        let options = sep::ExtractOptions {
            threshold: settings.threshold as f32,
            min_area: settings.min_area,
            kernel: settings.kernel_weights(),
            deblend_levels: settings.deblend_levels,
            deblend_contrast: settings.deblend_contrast,
            clean: settings.clean,
        };
        sep::extract(&self.image()?, &options)
    }
}

/// Finds and measures sources in a sky-subtracted image with sky noise `rms` (standard deviation per pixel, image units).
/// Sources are ordered as SEP finds them: by the row in which their isophote ends.
pub fn detect(
    subtracted: &Plane,
    rms: &Plane,
    mask: &MaskPlane,
    settings: &DetectSettings,
) -> Result<Detections, DetectError> {
    let prepared = Prepared::new(subtracted, rms, mask, settings)?;
    let objects = prepared.extract(settings)?;
    let segmentation = label(&objects, prepared.shape);
    let flat = segmentation.as_slice().unwrap_or(&[]);
    let image = prepared.image()?.with_labels(flat)?;
    let sources = objects
        .iter()
        .enumerate()
        .map(|(i, object)| {
            let m = measure::measure(&image, object, i as i32 + 1, flat, settings)?;
            Ok(detection(i as i64 + 1, object, &m, mask, prepared.shape))
        })
        .collect::<Result<Vec<_>, DetectError>>()?;
    Ok(Detections { sources, segmentation })
}

/// Segmentation map of the objects: pixel of `objects[i]` = i + 1.
pub(super) fn label(objects: &[RawObject], shape: (usize, usize)) -> Array2<i32> {
    let mut labels = vec![0i32; shape.0 * shape.1];
    for (i, object) in objects.iter().enumerate() {
        for &p in &object.pixels {
            if let Some(slot) = labels.get_mut(p) {
                *slot = i as i32 + 1;
            }
        }
    }
    Array2::from_shape_vec(shape, labels).unwrap_or_else(|_| Array2::zeros(shape))
}

fn detection(id: i64, object: &RawObject, m: &Measured, mask: &MaskPlane, shape: (usize, usize)) -> Detection {
    let mut flags = measure::mask_flags(mask, &object.pixels, shape) | m.flags;
    flags.set(Flags::BLENDED, object.flag & sep::OBJ_MERGED != 0);
    if object.flag & sep::OBJ_TRUNC != 0 {
        flags |= Flags::EDGE;
    }
    Detection {
        id,
        x: m.x,
        y: m.y,
        flux: m.flux,
        flux_err: m.flux_err,
        peak: object.peak,
        a: m.a,
        b: m.b,
        theta: m.theta,
        half_light_radius: m.half_light_radius,
        npix: object.pixels.len(),
        extent: object.extent,
        flags,
    }
}
