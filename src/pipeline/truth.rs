//! Catalogue against truth, where an exposure was simulated.

use std::path::{Path, PathBuf};

use super::score::UNSOUND;
use crate::archive::{ArchiveError, TruthTable, read_truth};
use crate::catalog::{Catalog, CatalogRow};
use crate::evaluate::{self, EvaluateSettings, MeasuredRow, Report, TruthRow};
use crate::photometry;
use crate::picture::FluxPoint;

/// How a catalogue compares with the truth.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TruthReport {
    /// Where the truth was found: the exposure itself, or the file given or beside it.
    pub file: PathBuf,
    /// The comparison.
    pub report: Report,
    /// Every matched row, for the picture.
    #[serde(skip)]
    pub points: Vec<FluxPoint>,
}

impl TruthReport {
    /// Compares a catalogue with the truth of `file` (an exposure with a table `TRUTH`, one with `X.truth.fits` beside it, or such a
    /// table itself); `None` if there is none.
    pub fn compare(file: &Path, catalog: &Catalog) -> Result<Option<Self>, ArchiveError> {
        Ok(read_truth(file)?.map(|table| Self::of(file, &table, catalog)))
    }

    fn of(file: &Path, table: &TruthTable, catalog: &Catalog) -> Self {
        let header = &catalog.header;
        let image_unit = header.zero_point.map_or(1.0, photometry::nanojansky_per_unit);
        let unit = table.to_catalog(&header.units.flux, image_unit);
        let truth: Vec<TruthRow> = table
            .objects
            .iter()
            .map(|object| TruthRow {
                x: object.x,
                y: object.y,
                flux: object.flux * unit,
                snr: object.snr,
                // The truth table describes objects before the target PSF: shapes are compared by `stillair evaluate`.
                e: [f64::NAN; 2],
                size: f64::NAN,
                has_shape: !object.star,
            })
            .collect();
        let measured: Vec<MeasuredRow> = catalog.rows.iter().map(measured_row).collect();
        let settings = EvaluateSettings {
            snr_edges: vec![10.0, 30.0, 100.0, 300.0],
            excluded_flags: UNSOUND.bits(),
            ..EvaluateSettings::default()
        };
        let report = evaluate::evaluate(&truth, &measured, &settings);
        let true_positions: Vec<(f64, f64)> = truth.iter().map(|t| (t.x, t.y)).collect();
        let row_positions: Vec<(f64, f64)> = measured.iter().map(|m| (m.x, m.y)).collect();
        let matches = evaluate::match_positions(&true_positions, &row_positions, settings.match_radius);
        let points = matches
            .iter()
            .filter_map(|pair| {
                let (truth, row) = (truth.get(pair.truth)?, catalog.rows.get(pair.measured)?);
                Some(FluxPoint {
                    truth: truth.flux,
                    flux: row.flux,
                    flux_err: row.flux_err,
                    snr: row.snr,
                    flagged: row.flags.intersects(UNSOUND),
                })
            })
            .collect();
        Self { file: file.to_path_buf(), report, points }
    }
}

fn measured_row(row: &CatalogRow) -> MeasuredRow {
    MeasuredRow {
        x: row.x - 1.0,
        y: row.y - 1.0,
        flux: row.flux,
        flux_err: row.flux_err,
        e: [row.e1, row.e2],
        size: row.ixx + row.iyy,
        psf_e: [row.psf_e1, row.psf_e2],
        flags: row.flags,
        image: None,
        invented: None,
    }
}
