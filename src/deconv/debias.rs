//! Debiasing by a multi-resolution support: what the data hold and an output lacks is put back, what they reject is taken out.
//!
//! `x_(j+1) = x_j + mu Phi^T M Phi K^T S^T r_j`, `r_j = y - S K x_j` (Starck & Murtagh 2006, "Astronomical Image and Data Analysis",
//! section 3.6.3): M keeps the starlet coefficients that stand out in the first estimate by `threshold` standard deviations of the Tikhonov
//! image's noise, so that noise outside the object's own structure never enters. `mu = 1 / max |S K|^2` is the true step.

use super::{DeconvError, Workspace, starlet};
use crate::image::Plane;

/// Settings of the debiasing (`[debias]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DebiasSettings {
    /// Steps; 0 leaves outputs as they are.
    pub steps: usize,
    /// A coefficient belongs to the support above this many standard deviations of its noise.
    pub threshold: f64,
    /// Starlet scales.
    pub scales: usize,
    /// Signal-to-noise ratio of the amplitude below which an output is left as it is.
    pub min_snr: f64,
}

impl Default for DebiasSettings {
    fn default() -> Self {
        Self { steps: 10, threshold: 3.0, scales: 5, min_snr: 30.0 }
    }
}

/// What the debiasing of one output needs.
#[derive(Debug, Clone, Copy)]
pub struct DebiasInput<'a> {
    /// Output scaled to the observed pixels, side n * factor.
    pub image: &'a Plane,
    /// Observed pixels with the fitted sky taken off, (n, n).
    pub observed: &'a Plane,
    /// 0 where a pixel is not to be used, (n, n).
    pub weight: &'a Plane,
    /// Effective PSF on the target grid.
    pub psf: &'a Plane,
    /// Object's position in stamp pixels.
    pub centre: (f64, f64),
    /// Target pixels per detector pixel.
    pub factor: usize,
    /// FWHM of the target PSF, target pixels.
    pub target_fwhm: f64,
    /// Noise per pixel of the Tikhonov image.
    pub noise_sigma: f64,
}

/// The debiased output.
///
/// # Errors
/// Planes that do not fit together; a PSF or centre that cannot be used.
pub fn debias(input: &DebiasInput, settings: &DebiasSettings, workspace: &mut Workspace) -> Result<Plane, DeconvError> {
    let mut image = input.image.clone();
    if settings.steps == 0 {
        return Ok(image);
    }
    let levels = starlet::noise_levels(settings.scales)?;
    let support: Vec<Plane> = starlet::transform(&image, settings.scales)?
        .details
        .into_iter()
        .zip(levels)
        .map(|(detail, level)| {
            let least = (settings.threshold * level * input.noise_sigma) as f32;
            detail.mapv(|v| if v.abs() > least { 1.0 } else { 0.0 })
        })
        .collect();
    let n = input.observed.nrows();
    let grid = workspace.grid(n, input.factor, input.target_fwhm)?;
    let step = 1.0 / grid.largest_gain(input.psf, input.centre)?;
    for _ in 0..settings.steps {
        let mut residual = input.observed - &grid.forward_model(&image, input.psf, input.centre)?;
        residual.zip_mut_with(input.weight, |r, w| {
            if !(*w > 0.0 && r.is_finite()) {
                *r = 0.0;
            }
        });
        let gradient = grid.adjoint(&residual, input.psf, input.centre)?;
        let parts = starlet::transform(&gradient, settings.scales)?;
        for (detail, mask) in parts.details.iter().zip(&support) {
            ndarray::Zip::from(&mut image).and(detail).and(mask).for_each(|v, d, m| *v += step * d * m);
        }
    }
    Ok(image)
}
