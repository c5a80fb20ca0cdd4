//! What of the PSF fit can be configured.

/// Settings of the star selection, the fit and its validation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PsfSettings {
    /// Smallest signal-to-noise ratio (fitted flux over its error) of a star.
    pub min_snr: f64,
    /// Largest expected share of galaxies among the selected stars, 0..1.
    pub contamination: f64,
    /// Share of the selected stars kept out of the fit to score it, 0..0.5; they join the delivered model afterwards.
    pub reserved_fraction: f64,
    /// Highest total order of the spatial polynomials.
    pub max_order: usize,
    /// Fewest used stars per polynomial term: the order falls until this holds.
    pub stars_per_term: f64,
    /// Fewest used stars for a fitted model at all.
    pub min_stars: usize,
    /// Half side of the fitted stamps in units of the FWHM.
    pub fit_radius_fwhm: f64,
    /// Error floor as a share of the model's value per pixel: keeps bright stars from dominating.
    pub model_error: f64,
    /// Pixels above this share of the saturation level are taken as non-linear.
    pub linear_fraction: f64,
    /// Whether a super-resolved residual is fitted on top of the parametric core, where it pays.
    pub residual: bool,
    /// Highest total order of the residual's spatial variation.
    pub residual_order: usize,
    /// Highest angular frequency of the residual, at most 8.
    pub residual_m_max: usize,
    /// Whether a smooth random field follows what the polynomial cannot.
    pub smooth_residual: bool,
    /// Least share of the image within the stars' bounding box for quality "good".
    pub min_coverage: f64,
    /// Largest |mean reserved dT/T| for quality "good" (dimensionless).
    pub good_size_residual: f64,
    /// Largest |mean reserved dT/T| for quality "degraded"; beyond it the model has failed.
    pub failed_size_residual: f64,
    /// Largest reserved ellipticity residual (mean, either component) for quality "good".
    pub good_ellipticity_residual: f64,
    /// Largest reserved ellipticity residual for quality "degraded".
    pub failed_ellipticity_residual: f64,
    /// Largest median reduced chi-square of the reserved stars for quality "good".
    pub good_chi2: f64,
    /// Largest median reduced chi-square of the reserved stars for quality "degraded".
    pub failed_chi2: f64,
}

impl Default for PsfSettings {
    fn default() -> Self {
        Self {
            min_snr: 20.0,
            contamination: 0.01,
            reserved_fraction: 0.1,
            max_order: 6,
            stars_per_term: 1.8,
            min_stars: 3,
            fit_radius_fwhm: 4.0,
            model_error: 0.005,
            linear_fraction: 0.8,
            residual: true,
            residual_order: 6,
            residual_m_max: 5,
            smooth_residual: true,
            min_coverage: 0.25,
            good_size_residual: 0.01,
            failed_size_residual: 0.1,
            good_ellipticity_residual: 0.005,
            failed_ellipticity_residual: 0.05,
            good_chi2: 1.3,
            failed_chi2: 5.0,
        }
    }
}
