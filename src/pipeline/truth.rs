//! Catalogue against truth, where an exposure was simulated.

use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::catalog::{Catalog, Flags};
use crate::fits::{FitsError, FitsFile};
use crate::image::stats::median_and_sigma;
use crate::picture::FluxPoint;

/// Farthest that a catalogue position may lie from a true one, pixels.
const MATCH_RADIUS: f64 = 2.0;

/// Largest truth file read, bytes.
const MAX_BYTES: u64 = 4 << 30;

/// Edges of the signal-to-noise bins.
const SNR_EDGES: [f64; 5] = [10.0, 30.0, 100.0, 300.0, f64::INFINITY];

/// Rows with any of these are counted but left out of the statistics.
pub const UNSOUND: Flags = Flags::EDGE
    .union(Flags::BAD_PIXELS)
    .union(Flags::SATURATED)
    .union(Flags::BLENDED)
    .union(Flags::TRUNCATED)
    .union(Flags::FIT_FAILED);

/// Fluxes of one signal-to-noise bin.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FluxBin {
    /// Least signal-to-noise ratio of the bin (that of the fitted amplitude).
    pub snr_from: f64,
    /// Largest; `None`: no end.
    pub snr_to: Option<f64>,
    /// Objects.
    pub objects: usize,
    /// Median of (flux - true flux) / true flux.
    pub bias: f64,
    /// 1.4826 times the median absolute deviation of the same.
    pub scatter: f64,
    /// Median of (flux - true flux) / flux error.
    pub pull_median: f64,
    /// 1.4826 times the median absolute deviation of the same.
    pub pull_scatter: f64,
}

/// How a catalogue compares with the truth.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TruthReport {
    /// Truth table.
    pub file: PathBuf,
    /// True objects.
    pub true_objects: usize,
    /// Rows matched to a true object within 2 pixels.
    pub matched: usize,
    /// Matched rows without a flag that speaks against them.
    pub sound: usize,
    /// Fluxes of the sound matched rows by signal-to-noise ratio.
    pub bins: Vec<FluxBin>,
    /// Every matched row, for the picture.
    #[serde(skip)]
    pub points: Vec<FluxPoint>,
}

impl TruthReport {
    /// The truth table that the simulator puts beside an exposure, if there is one.
    pub fn beside(exposure: &Path) -> Option<PathBuf> {
        let name = exposure.file_name()?.to_str()?;
        let stem = name.split(".fit").next()?;
        let file = exposure.with_file_name(format!("{stem}.truth.fits"));
        file.is_file().then_some(file)
    }

    /// Compares a catalogue with a truth table (HDU `TRUTH`, else the first table; columns x, y in FITS pixels, and flux in
    /// nJy, or in image units where the catalogue has no zero point).
    pub fn compare(file: &Path, catalog: &Catalog) -> Result<Self, ArchiveError> {
        let fits = |error: FitsError| ArchiveError::Content { path: file.to_path_buf(), what: error.to_string() };
        let mut opened = FitsFile::open(file, MAX_BYTES).map_err(fits)?;
        let table = match opened.find("TRUTH").map(|hdu| hdu.index) {
            Some(index) => opened.read_table(index),
            None => opened.first_table(),
        }
        .map_err(fits)?;
        let (x, y) = (table.numbers("x").map_err(fits)?, table.numbers("y").map_err(fits)?);
        let flux = table.numbers("flux").map_err(fits)?;
        let truth: Vec<(f64, f64, f64)> = x.into_iter().zip(y).zip(flux).map(|((x, y), f)| (x, y, f)).collect();
        Ok(Self::of(file, &truth, catalog))
    }

    fn of(file: &Path, truth: &[(f64, f64, f64)], catalog: &Catalog) -> Self {
        let points: Vec<FluxPoint> = nearest_pairs(truth, catalog)
            .into_iter()
            .filter_map(|(row, object)| {
                let (row, &(_, _, flux)) = (catalog.rows.get(row)?, truth.get(object)?);
                Some(FluxPoint {
                    truth: flux,
                    flux: row.flux,
                    flux_err: row.flux_err,
                    snr: row.snr,
                    flagged: row.flags.intersects(UNSOUND),
                })
            })
            .collect();
        let bins = SNR_EDGES
            .windows(2)
            .filter_map(|edges| {
                let &[from, to] = edges else { return None };
                flux_bin(&points, from, to)
            })
            .collect();
        Self {
            file: file.to_path_buf(),
            true_objects: truth.len(),
            matched: points.len(),
            sound: points.iter().filter(|p| !p.flagged).count(),
            bins,
            points,
        }
    }
}

/// (row, true object) of every true object's nearest row within the radius, each row once (the brightest true object has it).
fn nearest_pairs(truth: &[(f64, f64, f64)], catalog: &Catalog) -> Vec<(usize, usize)> {
    let mut by_x: Vec<usize> = (0..catalog.rows.len()).collect();
    let x_of = |row: usize| catalog.rows.get(row).map_or(f64::NAN, |r| r.x);
    by_x.sort_by(|&a, &b| x_of(a).total_cmp(&x_of(b)));
    let mut order: Vec<usize> = (0..truth.len()).collect();
    order.sort_by(|&a, &b| truth[b].2.total_cmp(&truth[a].2).then(a.cmp(&b)));
    let mut taken = vec![false; catalog.rows.len()];
    let mut pairs = Vec::new();
    for object in order {
        let Some(&(x, y, _)) = truth.get(object) else { continue };
        let from = by_x.partition_point(|&row| x_of(row) < x - MATCH_RADIUS);
        let near = by_x.iter().skip(from).take_while(|&&row| x_of(row) <= x + MATCH_RADIUS);
        let distance = |row: usize| catalog.rows.get(row).map_or(f64::INFINITY, |r| (r.x - x).hypot(r.y - y));
        let best = near.copied().min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        if let Some(row) = best.filter(|&row| distance(row) <= MATCH_RADIUS) {
            if let Some(free) = taken.get_mut(row).filter(|t| !**t) {
                *free = true;
                pairs.push((row, object));
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

fn flux_bin(points: &[FluxPoint], from: f64, to: f64) -> Option<FluxBin> {
    let inside: Vec<&FluxPoint> = points
        .iter()
        .filter(|p| !p.flagged && p.snr >= from && p.snr < to && p.truth > 0.0 && p.flux_err > 0.0)
        .collect();
    let relative: Vec<f32> = inside.iter().map(|p| ((p.flux - p.truth) / p.truth) as f32).collect();
    let pulls: Vec<f32> = inside.iter().map(|p| ((p.flux - p.truth) / p.flux_err) as f32).collect();
    let (bias, scatter) = median_and_sigma(&relative)?;
    let (pull_median, pull_scatter) = median_and_sigma(&pulls)?;
    let snr_to = to.is_finite().then_some(to);
    Some(FluxBin { snr_from: from, snr_to, objects: inside.len(), bias, scatter, pull_median, pull_scatter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CatalogHeader, CatalogRow};

    #[test]
    fn bias_and_pulls_are_those_put_in() {
        let truth: Vec<(f64, f64, f64)> = (0..40).map(|i| (10.0 * f64::from(i), 5.0, 100.0)).collect();
        let rows = truth
            .iter()
            .enumerate()
            .map(|(i, &(x, y, flux))| {
                let mut row = CatalogRow::empty(i as i64);
                (row.x, row.y, row.flux, row.flux_err, row.snr) = (x + 0.5, y, 1.02 * flux, 2.0, 50.0);
                row
            })
            .collect();
        let catalog = Catalog { header: CatalogHeader::new("a"), rows };
        let report = TruthReport::of(Path::new("t"), &truth, &catalog);
        assert_eq!((report.matched, report.sound, report.bins.len()), (40, 40, 1));
        let bin = &report.bins[0];
        assert!((bin.bias - 0.02).abs() < 1e-6 && (bin.pull_median - 1.0).abs() < 1e-6, "{bin:?}");
    }

    #[test]
    fn two_true_objects_do_not_share_a_row() {
        let mut row = CatalogRow::empty(1);
        (row.x, row.y) = (10.0, 10.0);
        let catalog = Catalog { header: CatalogHeader::new("a"), rows: vec![row] };
        let report = TruthReport::of(Path::new("t"), &[(10.0, 10.5, 5.0), (10.5, 10.0, 50.0)], &catalog);
        assert_eq!(report.matched, 1);
        assert_eq!(report.points[0].truth, 50.0);
    }
}
