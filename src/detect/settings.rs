//! Settings of background estimation and detection.

use super::DetectError;
use crate::image::mask;

/// How the sky is estimated: SExtractor's meshes (Bertin & Arnouts 1996, section 3), each summarised by a clipped mode,
/// median-filtered and joined by bicubic splines.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackgroundSettings {
    /// Side of a mesh, pixels. The side used differs a little, so that the meshes share the image evenly.
    pub mesh: usize,
    /// Side of the median filter over meshes, meshes (odd).
    pub filter: usize,
    /// Only meshes that differ from the filtered value by more than this are replaced, image units.
    pub filter_threshold: f64,
    /// Mask bits whose pixels are left out (see [`crate::image::mask`]).
    pub mask_bits: u16,
}

impl Default for BackgroundSettings {
    fn default() -> Self {
        Self { mesh: 64, filter: 3, filter_threshold: 0.0, mask_bits: mask::UNUSABLE }
    }
}

impl BackgroundSettings {
    /// Checks every value.
    pub fn check(&self) -> Result<(), DetectError> {
        if self.mesh == 0 {
            return Err(bad("background.mesh", 0.0, "must be at least 1 pixel"));
        }
        if self.filter.is_multiple_of(2) || self.filter > 101 {
            return Err(bad("background.filter", self.filter as f64, "must be odd, at most 101"));
        }
        if !(self.filter_threshold >= 0.0 && self.filter_threshold.is_finite()) {
            return Err(bad("background.filter_threshold", self.filter_threshold, "must not be negative"));
        }
        Ok(())
    }
}

/// The kernel that the image is convolved with before the threshold.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DetectKernel {
    /// No convolution.
    None,
    /// 3 x 3 pixels, weights 1 2 1 / 2 4 2 / 1 2 1: SExtractor's default.
    Pyramid,
    /// A sampled round Gaussian.
    Gaussian {
        /// Full width at half maximum, pixels.
        fwhm: f64,
    },
}

/// How sources are found and measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectSettings {
    /// Threshold per pixel of the convolved image, in standard deviations of the unconvolved sky noise.
    pub threshold: f64,
    /// Fewest connected pixels above the threshold.
    pub min_area: usize,
    /// Kernel of the convolution before the threshold.
    pub kernel: DetectKernel,
    /// Number of levels in the search for separate peaks within an isophote.
    pub deblend_levels: usize,
    /// Least share of an isophote's flux that a peak needs to become a source of its own; 1 switches deblending off.
    pub deblend_contrast: f64,
    /// Efficiency of the removal of false detections in the wings of bright sources; 0 switches it off.
    pub clean: f64,
    /// Total flux: aperture radius in Kron radii (Kron 1980).
    pub kron_factor: f64,
    /// Total flux: smallest aperture radius, in units of the source's rms extent.
    pub kron_min_radius: f64,
    /// Mask bits whose pixels cannot belong to a source. Saturated pixels can: they mark the brightest stars.
    pub mask_bits: u16,
    /// Given positions: largest distance to the source found in the image that lends its shape, pixels.
    pub match_radius: f64,
    /// Given positions without such a source: rms extent assumed, pixels.
    pub default_extent: f64,
}

impl Default for DetectSettings {
    fn default() -> Self {
        Self {
            threshold: 1.5,
            min_area: 5,
            kernel: DetectKernel::Pyramid,
            deblend_levels: 32,
            deblend_contrast: 0.005,
            clean: 1.0,
            kron_factor: 2.5,
            kron_min_radius: 3.5,
            mask_bits: mask::UNUSABLE & !mask::SATURATED,
            match_radius: 3.0,
            default_extent: 1.5,
        }
    }
}

impl DetectSettings {
    /// Checks every value.
    pub fn check(&self) -> Result<(), DetectError> {
        positive("detect.threshold", self.threshold)?;
        positive("detect.kron_factor", self.kron_factor)?;
        positive("detect.default_extent", self.default_extent)?;
        not_negative("detect.clean", self.clean)?;
        not_negative("detect.kron_min_radius", self.kron_min_radius)?;
        not_negative("detect.match_radius", self.match_radius)?;
        if self.min_area == 0 || self.min_area > 1_000_000 {
            return Err(bad("detect.min_area", self.min_area as f64, "must be 1 to 1000000 pixels"));
        }
        if !(1..=256).contains(&self.deblend_levels) {
            return Err(bad("detect.deblend_levels", self.deblend_levels as f64, "must be 1 to 256"));
        }
        if !(0.0..=1.0).contains(&self.deblend_contrast) {
            return Err(bad("detect.deblend_contrast", self.deblend_contrast, "must be 0 to 1"));
        }
        if let DetectKernel::Gaussian { fwhm } = self.kernel
            && !(fwhm > 0.0 && fwhm <= 20.0)
        {
            return Err(bad("detect.kernel.fwhm", fwhm, "must be positive, at most 20 pixels"));
        }
        Ok(())
    }

    /// The kernel's weights, row by row, and its side; `None` for no convolution.
    pub(super) fn kernel_weights(&self) -> Option<(Vec<f32>, usize)> {
        match self.kernel {
            DetectKernel::None => None,
            DetectKernel::Pyramid => Some((vec![1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0], 3)),
            DetectKernel::Gaussian { fwhm } => {
                let half = (fwhm.ceil() as isize).max(1);
                let sigma = fwhm / (8.0 * std::f64::consts::LN_2).sqrt();
                let weight =
                    |dx: isize, dy: isize| (-0.5 * ((dx * dx + dy * dy) as f64) / (sigma * sigma)).exp() as f32;
                let weights = (-half..=half).flat_map(|dy| (-half..=half).map(move |dx| weight(dx, dy))).collect();
                Some((weights, (2 * half + 1) as usize))
            }
        }
    }
}

fn bad(name: &'static str, value: f64, why: &'static str) -> DetectError {
    DetectError::BadSetting { name, value, why }
}

fn positive(name: &'static str, value: f64) -> Result<(), DetectError> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(bad(name, value, "must be positive")) }
}

fn not_negative(name: &'static str, value: f64) -> Result<(), DetectError> {
    if value >= 0.0 && value.is_finite() { Ok(()) } else { Err(bad(name, value, "must not be negative")) }
}
