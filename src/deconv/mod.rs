//! Deconvolution: Tikhonov in closed form, the choice of its strength, classical baselines.

use crate::image::Plane;

/// How the strength lambda of the Tikhonov step is chosen per object.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum LambdaRule {
    /// The same lambda for every object.
    Fixed {
        /// Strength.
        lambda: f64,
    },
    /// Minimum of Stein's unbiased estimate of the prediction risk.
    SurePrediction,
    /// Minimum of SURE of the projection risk.
    SureProjection,
    /// Generalised cross-validation.
    Gcv,
}

/// The result of a Tikhonov step for one stamp.
#[derive(Debug, Clone)]
pub struct Deconvolved {
    /// Estimate of the sky as seen with the target PSF, flux per target pixel; shape (n * factor, n * factor).
    /// The object's centre lies on pixel (n * factor / 2, n * factor / 2).
    pub image: Plane,
    /// Strength used.
    pub lambda: f64,
    /// Whether the search ended at a bound of its range.
    pub lambda_at_bound: bool,
    /// Standard deviation per target pixel of the noise in `image` (propagated sky noise).
    pub noise_sigma: f64,
}
