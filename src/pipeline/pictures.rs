//! Collecting what the pictures of an exposure need, and writing them.

use std::path::Path;

use super::object::centred_psf;
use super::{Field, Measured, ObjectView, Prepared, TruthReport};
use crate::archive::{self, ArchiveError, ExposurePaths};
use crate::catalog::{Catalog, CatalogRow};
use crate::exposure::Exposure;
use crate::image::{PixelBox, Plane};
use crate::photometry::{self, Moments, MomentsSettings};
use crate::picture::{
    self, FluxTexts, Picture, PictureError, PsfMap, PsfPoint, SheetObject, SheetTexts, StarDiagram, StarDiagramPoint,
    StarPoint, StarStatus,
};
use crate::psf;
use crate::settings::Settings;

/// FWHM of a Gaussian of unit sigma.
const SIGMA_TO_FWHM: f64 = 2.354_820_045_030_949;

/// Stars below this signal-to-noise ratio are drawn without a shape.
const SHAPE_SNR: f64 = 50.0;

/// Points along the longer side of the PSF map.
const MAP_POINTS: usize = 12;

/// What is kept of an exposure for its pictures.
pub struct Pictures {
    wanted: bool,
    chosen: Vec<usize>,
    objects: Vec<(usize, Prepared, Measured)>,
}

impl Pictures {
    /// Chooses the objects of the sheet by what detection knows of them.
    pub fn new(field: &Field, settings: &Settings) -> Self {
        let rows: Vec<CatalogRow> = field
            .detections
            .sources
            .iter()
            .map(|source| {
                let mut row = CatalogRow::empty(source.id);
                row.snr = source.flux / source.flux_err;
                row.flags = source.flags;
                row.stamp_size = Some(0);
                row
            })
            .collect();
        let chosen = picture::choose_objects(&rows, settings.output.sheet_objects);
        Self { wanted: settings.output.pictures, chosen, objects: Vec::new() }
    }

    /// Looks at a finished object and keeps it if it is to be shown.
    pub fn object(&mut self, object: &ObjectView<'_>) {
        if self.wanted && self.chosen.contains(&object.index) {
            self.objects.push((object.index, object.prepared.clone(), object.measured.clone()));
        }
    }

    /// Draws and writes every picture.
    pub fn write(
        mut self,
        paths: &ExposurePaths,
        exposure: &Exposure,
        field: &Field,
        catalog: &Catalog,
        truth: Option<&TruthReport>,
    ) -> Result<(), ArchiveError> {
        if !self.wanted {
            return Ok(());
        }
        let order = |index: usize| self.chosen.iter().position(|&c| c == index);
        self.objects.sort_by_key(|(index, _, _)| order(*index));
        save(&paths.sheet(), self.sheet(exposure, field, catalog))?;
        save(&paths.psf_map(), picture::psf_map(&map(exposure, field, catalog)))?;
        if !field.stars.is_empty() {
            save(&paths.stars(), picture::star_selection(&diagram(exposure, field, catalog)))?;
        }
        if let Some(truth) = truth {
            let texts = FluxTexts {
                exposure: catalog.header.exposure.clone(),
                subtitle: format!(
                    "{} of {} true objects matched within 2 pixels",
                    truth.report.matched, truth.report.truth
                ),
            };
            save(&paths.flux(), picture::flux_against_truth(&truth.points, &texts))?;
        }
        Ok(())
    }

    fn sheet(&self, exposure: &Exposure, field: &Field, catalog: &Catalog) -> Result<Picture, PictureError> {
        let psfs: Vec<Plane> = self
            .objects
            .iter()
            .map(|(_, prepared, _)| centred_psf(&prepared.psf, prepared.deconvolved.image.nrows()))
            .collect();
        let objects: Vec<SheetObject<'_>> = self
            .objects
            .iter()
            .zip(&psfs)
            .filter_map(|((index, prepared, measured), psf)| {
                Some(SheetObject {
                    row: catalog.rows.get(*index)?,
                    observed: &prepared.stamp.observed,
                    psf,
                    tikhonov: &prepared.deconvolved.image,
                    deconvolved: &measured.image,
                    residual: &measured.residual,
                    sigma: prepared.stamp.sigma,
                    noise_sigma: prepared.deconvolved.noise_sigma,
                    centre: prepared.stamp.centre,
                })
            })
            .collect();
        let header = &catalog.header;
        let width = |pixels: f64, arcsec: Option<f64>| match arcsec {
            Some(arcsec) => format!("{arcsec:.2}\u{2033}"),
            None => format!("{pixels:.2} px"),
        };
        let subtitle = format!(
            "{}PSF FWHM {}, target FWHM {}",
            header.band.as_ref().map(|b| format!("band {b}, ")).unwrap_or_default(),
            width(field.psf_fwhm, header.psf.fwhm_arcsec),
            width(header.target_fwhm_pixels / header.target_factor as f64, header.target_fwhm_arcsec),
        );
        let texts = SheetTexts {
            exposure: header.exposure.clone(),
            subtitle,
            flux_unit: header.units.flux.clone(),
            pixel_unit: "image units".into(),
            network: header.network.clone().unwrap_or_default(),
            pixel_scale: exposure.pixel_scale(),
            factor: field.factor,
        };
        picture::object_sheet(&objects, &texts)
    }
}

fn save(path: &Path, picture: Result<Picture, PictureError>) -> Result<(), ArchiveError> {
    let bytes = picture
        .and_then(|picture| picture.png())
        .map_err(|error| ArchiveError::Misuse { path: path.to_path_buf(), what: error.to_string() })?;
    archive::atomic::write_file(path, &bytes)
}

fn map(exposure: &Exposure, field: &Field, catalog: &Catalog) -> PsfMap {
    let (rows, columns) = exposure.shape();
    let header = &catalog.header;
    let psf = &header.psf;
    let subtitle = match psf.order {
        Some(order) => format!(
            "order {order}, {} stars used, {} reserved, quality {}",
            psf.stars_used, psf.stars_reserved, psf.quality
        ),
        None => "given PSF".to_string(),
    };
    let step = (rows.max(columns) as f64) / MAP_POINTS as f64;
    let along = |side: usize| -> Vec<f64> {
        let count = ((side as f64 / step).round() as usize).max(2);
        (0..count).map(|i| (i as f64 + 0.5) * side as f64 / count as f64 - 0.5).collect()
    };
    let (xs, ys) = (along(columns), along(rows));
    let grid = ys.iter().flat_map(|&y| xs.iter().map(move |&x| (x, y))).map(|(x, y)| map_point(field, x, y)).collect();
    PsfMap {
        exposure: header.exposure.clone(),
        subtitle,
        columns,
        rows,
        pixel_scale: exposure.pixel_scale(),
        calibrated: exposure.zero_point.is_some(),
        grid,
        grid_columns: xs.len(),
        stars: star_points(exposure, field),
    }
}

/// Adaptive moments' width as a FWHM, and shape: the same measure for stars and model.
fn point(x: f64, y: f64, moments: Option<Moments>) -> PsfPoint {
    let (fwhm, e1, e2) = moments.map_or((f64::NAN, f64::NAN, f64::NAN), |m| (m.sigma() * SIGMA_TO_FWHM, m.e1, m.e2));
    PsfPoint { x, y, fwhm, e1, e2 }
}

fn start(field: &Field) -> MomentsSettings {
    MomentsSettings { start_sigma: (field.psf_fwhm / SIGMA_TO_FWHM).max(0.7), ..MomentsSettings::default() }
}

/// Side of the square on which stars and models are measured, pixels; odd.
fn side(field: &Field) -> usize {
    2 * (3.0 * field.psf_fwhm).ceil() as usize + 1
}

/// The model at a place of the map: its width is the true FWHM.
fn map_point(field: &Field, x: f64, y: f64) -> PsfPoint {
    PsfPoint { fwhm: field.psf.fwhm(x, y), ..model_point(field, x, y) }
}

fn model_point(field: &Field, x: f64, y: f64) -> PsfPoint {
    let side = side(field);
    let centre = (side / 2) as f64;
    let moments =
        field.psf.evaluate(x, y, side, 1).ok().and_then(|stamp| {
            photometry::adaptive_moments(&stamp.image, None, None, (centre, centre), &start(field)).ok()
        });
    point(x, y, moments)
}

fn star_points(exposure: &Exposure, field: &Field) -> Vec<StarPoint> {
    let (rows, columns) = exposure.shape();
    field
        .stars
        .iter()
        .filter_map(|star| {
            let status = picture_status(star.status)?;
            if status == StarStatus::Rejected {
                return None;
            }
            let bounds = PixelBox::centred(star.x, star.y, side(field));
            let (x0, x1, y0, y1) = bounds.clip(columns, rows)?;
            let cut = field.subtracted.slice(ndarray::s![y0..y1, x0..x1]).to_owned();
            let centre = (star.x - x0 as f64, star.y - y0 as f64);
            // Shapes of faint stars are noise and would hide the field's pattern.
            let moments = photometry::adaptive_moments(&cut, None, None, centre, &start(field))
                .ok()
                .filter(|_| star.snr >= SHAPE_SNR);
            Some(StarPoint {
                measured: point(star.x, star.y, moments),
                model: model_point(field, star.x, star.y),
                mag: magnitude(exposure, field, star.source),
                status,
            })
        })
        .collect()
}

fn magnitude(exposure: &Exposure, field: &Field, source: usize) -> f64 {
    let flux = field.star_source(source).map_or(f64::NAN, |s| s.flux);
    exposure.zero_point.unwrap_or(0.0) - 2.5 * flux.log10()
}

/// `None` for sources that were never candidates.
fn picture_status(status: psf::StarStatus) -> Option<StarStatus> {
    match status {
        psf::StarStatus::Used => Some(StarStatus::Used),
        psf::StarStatus::Reserved => Some(StarStatus::Reserved),
        psf::StarStatus::Rejected(psf::Rejection::Faint | psf::Rejection::Extended) => None,
        psf::StarStatus::Rejected(_) => Some(StarStatus::Rejected),
    }
}

fn diagram(exposure: &Exposure, field: &Field, catalog: &Catalog) -> StarDiagram {
    let points = field
        .stars
        .iter()
        .map(|star| StarDiagramPoint {
            mag: magnitude(exposure, field, star.source),
            half_light_radius: field.star_source(star.source).map_or(f64::NAN, |s| s.half_light_radius),
            status: picture_status(star.status),
        })
        .collect();
    let psf = &catalog.header.psf;
    StarDiagram {
        exposure: catalog.header.exposure.clone(),
        subtitle: format!(
            "{} stars used, {} reserved, {} sources rejected",
            psf.stars_used, psf.stars_reserved, psf.stars_rejected
        ),
        pixel_scale: exposure.pixel_scale(),
        calibrated: exposure.zero_point.is_some(),
        locus: None,
        points,
    }
}
