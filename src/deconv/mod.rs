//! Deconvolution: Tikhonov in closed form, the choice of its strength, classical baselines.
//!
//! Every observed pixel is `y_i = sum_j K(s i - j) z_j + noise`: `z` is the sky as seen with the target PSF (a round Gaussian) on a
//! grid `s` times finer than the detector's, and `K = H / G` (effective PSF over target Gaussian, in Fourier space) takes it to the
//! observed seeing. `docs/deconvolution.md` derives what is done here.

mod classical;
mod debias;
mod edges;
mod observed;
pub mod starlet;
mod strength;
pub mod tikhonov;

use crate::failure::{Classify, FailureKind};
use crate::fourier::FourierError;
use crate::image::Plane;

pub use classical::{richardson_lucy, wiener};
pub use debias::{DebiasInput, DebiasSettings, debias};
pub use edges::cosine_taper;
pub use observed::observed_on_target;
pub use tikhonov::{Deconvolver, TikhonovInput, Workspace, forward_model, tikhonov};

/// What goes wrong in a deconvolution.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DeconvError {
    /// The oversampling is not 1 to 4.
    #[error(
        "target grid {0} times finer than the detector's pixels: only 1, 2, 3 and 4 are supported; set deconv.factor"
    )]
    Factor(usize),
    /// The target PSF has no usable width.
    #[error("target PSF of FWHM {0} target pixels: it must be finite and not negative; set deconv.target_fwhm")]
    TargetWidth(f64),
    /// The stamp is not square or not of the size planned for.
    #[error("stamp of ({ny}, {nx}) pixels where {what}")]
    Shape {
        /// Rows given.
        ny: usize,
        /// Columns given.
        nx: usize,
        /// What is needed.
        what: String,
    },
    /// The stamp holds NaN or infinite pixels.
    #[error("stamp holds {0} pixels that are NaN or infinite: they must be in-painted before the transform")]
    NotFinite(usize),
    /// The PSF cannot be used.
    #[error("PSF has sum {0}: it must be finite and positive (unit sum)")]
    Psf(f64),
    /// The noise level cannot be used.
    #[error("noise of {0} per pixel: it must be finite and positive for a strength to be chosen")]
    Noise(f64),
    /// A fixed strength that cannot be used.
    #[error("Tikhonov strength lambda = {0}: it must be finite and not negative; set deconv.lambda")]
    Lambda(f64),
    /// The object's centre is not a number.
    #[error("object's centre ({0}, {1}) is not finite")]
    Centre(f64, f64),
    /// A wavelet transform without scales or pixels.
    #[error(
        "starlet transform of ({ny}, {nx}) pixels into {scales} scales: 1 to 16 scales of a plane with pixels are supported"
    )]
    Scales {
        /// Scales asked for.
        scales: usize,
        /// Rows.
        ny: usize,
        /// Columns.
        nx: usize,
    },
    /// A transform was misused.
    #[error(transparent)]
    Fourier(#[from] FourierError),
}

impl Classify for DeconvError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Fourier(e) => e.kind(),
            _ => FailureKind::BadInput,
        }
    }
}

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
    /// Minimum of SURE of the target image's risk inside the object's area.
    SureObject {
        /// Radius of the area in units of the object's observed half-light radius.
        radii: f64,
    },
    /// Minimum of the expected risk of the target image inside the object's area, for an exponential profile of the object's flux and size.
    Bayes {
        /// Radius of the area in units of the object's observed half-light radius.
        radii: f64,
    },
}

/// Settings of the Tikhonov step (`[deconv]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeconvSettings {
    /// FWHM of the target PSF, target pixels.
    pub target_fwhm: f64,
    /// Target pixels per detector pixel along each axis, 1 to 4; 0 takes 2 where the PSF's FWHM is below `undersampled_below`, else 1.
    pub factor: usize,
    /// PSF FWHM below which `factor = 0` takes the twice finer grid, detector pixels.
    pub undersampled_below: f64,
    /// How lambda is chosen.
    pub lambda: LambdaRule,
    /// Smallest lambda that a rule may choose.
    pub lambda_min: f64,
    /// Largest lambda that a rule may choose.
    pub lambda_max: f64,
    /// Width of the cosine taper along every side of a stamp, as a share of the stamp's side.
    pub taper: f64,
}

impl Default for DeconvSettings {
    fn default() -> Self {
        Self {
            target_fwhm: 2.0,
            factor: 0,
            undersampled_below: 2.5,
            lambda: LambdaRule::SureObject { radii: 1.0 },
            lambda_min: 1e-8,
            lambda_max: 1e4,
            taper: 1.0 / 16.0,
        }
    }
}

impl DeconvSettings {
    /// Target pixels per detector pixel for a PSF of this FWHM in detector pixels.
    pub fn factor_for(&self, psf_fwhm: f64) -> usize {
        match self.factor {
            0 if psf_fwhm < self.undersampled_below => 2,
            0 => 1,
            given => given,
        }
    }
}

/// Ratio of the strengths of the sharper, the chosen and the smoother estimate that a network can be given side by side.
pub const STRENGTH_RATIO: f64 = 16.0;

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
    /// Standard deviation per target pixel of the noise in `image` (propagated sky noise; for factor > 1 the mean over pixel phases).
    pub noise_sigma: f64,
}
