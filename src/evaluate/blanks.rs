//! What comes out at positions where nothing is.

use super::statistics::Centre;

/// One empty position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlankRow {
    /// Flux that came out.
    pub flux: f64,
    /// Its standard error.
    pub flux_err: f64,
    /// Highest pixel of the output over the standard deviation of its noise; NaN where there is no image.
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
    /// Mean flux over the median flux error: how much of a sky-noise error every flux is off.
    pub mean_over_error: f64,
    /// Its standard error.
    pub mean_over_error_err: f64,
    /// flux / flux error: 0 +- 1 is right.
    pub pulls: Centre,
    /// Share of positions whose flux is above `source_threshold` errors: invented sources.
    pub sources: f64,
    /// Share of positions without a usable flux and error: said to be nothing.
    pub without_flux: f64,
    /// Share of the positions with an image whose output has a pixel above `blob_threshold` standard deviations.
    pub blobs: f64,
    /// Errors above which a flux counts as a source.
    pub source_threshold: f64,
    /// The threshold used for blobs.
    pub blob_threshold: f64,
}

/// Flux errors above which an empty position is a source.
const SOURCE_THRESHOLD: f64 = 5.0;

/// Summarises empty positions. `blob_threshold`: standard deviations above which a pixel counts as an invented object.
pub fn evaluate_blanks(rows: &[BlankRow], blob_threshold: f64) -> BlankReport {
    let flux = Centre::of(rows.iter().map(|r| r.flux));
    let errors = Centre::of(rows.iter().map(|r| r.flux_err).filter(|e| *e > 0.0));
    let pulls: Vec<f64> = rows.iter().filter(|r| r.flux_err > 0.0).map(|r| r.flux / r.flux_err).collect();
    let finite = pulls.iter().filter(|p| p.is_finite()).count();
    let peaks: Vec<f64> = rows.iter().map(|r| r.peak_snr).filter(|p| !p.is_nan()).collect();
    let share = |count: usize, of: usize| count as f64 / of as f64;
    BlankReport {
        positions: rows.len(),
        flux,
        mean: flux.mean,
        mean_err: flux.mean_err(),
        mean_over_error: flux.mean / errors.median,
        mean_over_error_err: flux.mean_err() / errors.median,
        sources: share(pulls.iter().filter(|p| **p > SOURCE_THRESHOLD).count(), rows.len()),
        without_flux: share(rows.len() - finite, rows.len()),
        pulls: Centre::of(pulls),
        blobs: share(peaks.iter().filter(|p| **p > blob_threshold).count(), peaks.len()),
        source_threshold: SOURCE_THRESHOLD,
        blob_threshold,
    }
}
