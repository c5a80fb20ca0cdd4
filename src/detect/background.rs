//! The sky: level and noise per pixel.

use ndarray::Array2;

use super::sep::{self, SepImage};
use super::{BackgroundSettings, DetectError, same_shape};
use crate::image::{MaskPlane, Plane, stats};

/// Sky level and noise; planes have the image's shape (rows, columns), image units.
#[derive(Debug, Clone)]
pub struct Background {
    /// Sky level per pixel.
    pub level: Plane,
    /// Standard deviation of the sky noise per pixel.
    pub rms: Plane,
    /// Median over meshes of the level.
    pub global_level: f64,
    /// Median over meshes of the standard deviation; 0 for a constant image.
    pub global_rms: f64,
    /// Whether no mesh held enough usable (or different) pixels, so that both planes are constants: the median and the
    /// scaled median absolute deviation of the usable pixels.
    pub constant: bool,
}

/// Sky of an image from the pixels that `settings.mask_bits` leave.
pub fn background(image: &Plane, mask: &MaskPlane, settings: &BackgroundSettings) -> Result<Background, DetectError> {
    settings.check()?;
    let shape = image.dim();
    same_shape("mask", shape, mask.dim())?;
    if image.is_empty() {
        return Err(DetectError::EmptyImage { rows: shape.0, columns: shape.1 });
    }
    let bad: Array2<u8> =
        ndarray::Zip::from(image).and(mask).map_collect(|v, m| u8::from(!v.is_finite() || m & settings.mask_bits != 0));
    if bad.iter().all(|&b| b != 0) {
        return Err(DetectError::AllMasked { pixels: image.len() });
    }
    // SEP sums squares about zero: taking a central value off first keeps the digits of a faint noise on a bright sky.
    let usable = image.iter().zip(&bad).filter(|(_, b)| **b == 0).map(|(v, _)| v);
    let (median, sigma) = stats::median_and_sigma(usable).unwrap_or((0.0, 0.0));
    let pivot = median as f32;
    let mesh = (even_mesh(shape.1, settings.mesh), even_mesh(shape.0, settings.mesh));
    let constant = || Background {
        level: Plane::from_elem(shape, pivot),
        rms: Plane::from_elem(shape, sigma as f32),
        global_level: median,
        global_rms: sigma,
        constant: true,
    };
    if !any_good_mesh(&bad, mesh) {
        return Ok(constant());
    }
    let data: Vec<f32> = image.iter().zip(&bad).map(|(v, b)| if *b == 0 { v - pivot } else { 0.0 }).collect();
    let flags: Vec<u8> = bad.iter().copied().collect();
    let raw =
        sep::background(&SepImage::new(&data, None, &flags, shape)?, mesh, settings.filter, settings.filter_threshold)?;
    let plane = |values: Vec<f32>| {
        Plane::from_shape_vec(shape, values)
            .map_err(|e| DetectError::Sep { step: "sep_bkg_array", message: e.to_string() })
    };
    let level = plane(raw.level)?.mapv_into(|v| v + pivot);
    let rms = plane(raw.rms)?.mapv_into(|v| v.max(0.0));
    // In a handful of pixels SEP's histogram has a single bin; and it reports a global rms of 1 where no mesh has any.
    if rms.iter().all(|&v| v == 0.0) {
        return Ok(constant());
    }
    Ok(Background {
        level,
        rms,
        global_level: f64::from(raw.global_level) + f64::from(pivot),
        global_rms: f64::from(raw.global_rms),
        constant: false,
    })
}

/// Mesh side that shares `length` pixels among meshes evenly: a thin last mesh would be noisy, and SExtractor's median
/// filter does not reach it.
fn even_mesh(length: usize, mesh: usize) -> usize {
    let count = ((length as f64 / mesh as f64).round() as usize).max(1);
    length.div_ceil(count).max(1)
}

/// SEP drops meshes of which less than half the pixels are usable and, where it drops all, silently returns level 0, rms 1.
fn any_good_mesh(bad: &Array2<u8>, (width, height): (usize, usize)) -> bool {
    let (ny, nx) = bad.dim();
    (0..ny).step_by(height).any(|y| {
        (0..nx).step_by(width).any(|x| {
            let mesh = bad.slice(ndarray::s![y..(y + height).min(ny), x..(x + width).min(nx)]);
            2 * mesh.iter().filter(|&&b| b == 0).count() >= mesh.len()
        })
    })
}
