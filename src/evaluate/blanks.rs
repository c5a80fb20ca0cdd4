//! What comes out at positions where nothing is.

use super::statistics::Centre;

/// One empty position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlankRow {
    /// Flux that came out.
    pub flux: f64,
    /// Its standard error.
    pub flux_err: f64,
    /// Highest pixel of the output over the standard deviation of its noise.
    pub peak_snr: f64,
}

/// Empty positions together.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct BlankReport {
    /// Positions.
    pub positions: usize,
    /// Flux: median and spread; the median is right at 0.
    pub flux: Centre,
    /// Mean flux and the error of the mean.
    pub mean: f64,
    /// Standard deviation of the flux over the square root of the number of positions.
    pub mean_err: f64,
    /// flux / flux error: 0 +- 1 is right.
    pub pulls: Centre,
    /// Share of positions whose output has a pixel above `blob_threshold` standard deviations: invented objects.
    pub blobs: f64,
    /// The threshold used.
    pub blob_threshold: f64,
}

/// Summarises empty positions. `blob_threshold`: standard deviations above which a pixel counts as an invented object.
pub fn evaluate_blanks(rows: &[BlankRow], blob_threshold: f64) -> BlankReport {
    let fluxes: Vec<f64> = rows.iter().map(|r| r.flux).filter(|f| f.is_finite()).collect();
    let n = fluxes.len() as f64;
    let mean = fluxes.iter().sum::<f64>() / n;
    let variance = fluxes.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / (n - 1.0);
    BlankReport {
        positions: rows.len(),
        flux: Centre::of(fluxes.iter().copied()),
        mean,
        mean_err: (variance / n).sqrt(),
        pulls: Centre::of(rows.iter().filter(|r| r.flux_err > 0.0).map(|r| r.flux / r.flux_err)),
        blobs: rows.iter().filter(|r| r.peak_snr > blob_threshold).count() as f64 / rows.len() as f64,
        blob_threshold,
    }
}
