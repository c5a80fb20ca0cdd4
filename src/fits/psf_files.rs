//! PSFs in files: PSFEx `.psf` (written with stillair's own model beside the table), merged PSFEx rows as the Legacy
//! Surveys keep them, Euclid CATALOG-PSF and grids of stamps, a single stamp.

use std::path::Path;

use super::error::FitsError;
use super::file::{FitsFile, HduContent};
use super::table::{Table, TableColumn, Values};
use super::write::{ExtraHdu, write_hdus};
use crate::psf::{Domain, NativeModel, PsfError, PsfModel, PsfReport, PsfStar, StarStatus, Tabulated, Variation};
use crate::sky::Cards;

/// Largest PSF image read, pixels.
const MAX_PIXELS: u64 = 1 << 28;
/// Largest gzipped PSF file, bytes inflated.
pub(super) const MAX_BYTES: u64 = 1 << 31;
/// Degree of the polynomial in the PSFEx table of a PSF that varies.
const TABLE_DEGREE: usize = 8;
/// HDU of stillair's own model.
const NATIVE: &str = "STILLAIR_PSF";
/// HDU of the stars.
const STARS: &str = "STARS";

/// Why a PSF file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PsfFileError {
    /// The file itself.
    #[error(transparent)]
    Fits(#[from] FitsError),
    /// The model in it.
    #[error("{path}: {source}")]
    Model {
        /// File.
        path: String,
        /// What is wrong with the model.
        source: PsfError,
    },
    /// Content that is no PSF that stillair knows.
    #[error("{path}: {problem}; {remedy}")]
    Content {
        /// File.
        path: String,
        /// What was found.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

impl crate::failure::Classify for PsfFileError {
    fn kind(&self) -> crate::failure::FailureKind {
        match self {
            Self::Fits(error) => error.kind(),
            Self::Model { .. } | Self::Content { .. } => crate::failure::FailureKind::BadInput,
        }
    }
}

/// Reads a PSF file of any known format; `row` picks a row of merged PSFEx tables by CCD name (needed where there are several).
pub fn read_psf(path: &Path, row: Option<&str>) -> Result<PsfModel, PsfFileError> {
    let mut file = FitsFile::open(path, MAX_BYTES)?;
    let name = path.display().to_string();
    if let Some(hdu) = file.find(NATIVE) {
        let index = hdu.index;
        return read_native(&file.read_table(index)?, &name);
    }
    let hdus: Vec<(usize, HduContent)> = file.hdus().iter().map(|h| (h.index, h.content.clone())).collect();
    let mut images = Vec::new();
    let mut tables = Vec::new();
    for (index, content) in hdus {
        match content {
            HduContent::Table => {
                let table = file.read_table(index)?;
                if table.first_of(&["PSF_MASK", "psf_mask"]).is_some() {
                    return read_psfex(&table, &file.cards(index)?, &name, row);
                }
                tables.push(table);
            }
            HduContent::Image(axes) if axes.len() == 2 && axes.iter().all(|n| *n > 0) => images.push(index),
            _ => {}
        }
    }
    let Some(&image) = images.first() else {
        return Err(content(
            &name,
            "no PSF_MASK column, no PSF image",
            "give a PSFEx .psf, a Euclid PSF file or a stamp",
        ));
    };
    let cards = file.cards(image)?;
    let plane = file.read_plane(image, MAX_PIXELS)?;
    read_images(&plane, &cards, tables.first(), &name)
}

pub(super) fn content(path: &str, problem: &str, remedy: &str) -> PsfFileError {
    PsfFileError::Content { path: path.into(), problem: problem.into(), remedy: remedy.into() }
}

fn model(path: &str, result: Result<PsfModel, PsfError>) -> Result<PsfModel, PsfFileError> {
    result.map_err(|source| PsfFileError::Model { path: path.into(), source })
}

fn read_native(table: &Table, path: &str) -> Result<PsfModel, PsfFileError> {
    let bytes: Vec<u8> = table.integers("MODEL")?.into_iter().map(|v| v as u8).collect();
    let native: NativeModel = serde_json::from_slice(&bytes).map_err(|e| {
        content(path, &format!("its {NATIVE} table cannot be read ({e})"), "write it again with `stillair psf fit`")
    })?;
    Ok(PsfModel::from_native(native))
}

fn number(cards: &Cards, key: &str) -> Option<f64> {
    cards.real(key)
}

/// A PSFEx table: parameters in the header (PSFEx) or in columns (Legacy Surveys).
fn read_psfex(table: &Table, cards: &Cards, path: &str, wanted: Option<&str>) -> Result<PsfModel, PsfFileError> {
    let column = table.first_of(&["PSF_MASK", "psf_mask"]).unwrap_or("PSF_MASK").to_string();
    let rows = table.rows();
    let row = match (rows, wanted) {
        (0, _) => return Err(content(path, "its PSF table is empty", "give another")),
        (1, None) => 0,
        (_, wanted) => {
            let names =
                table.first_of(&["ccdname", "CCDNAME"]).map(|n| table.strings(n)).transpose()?.unwrap_or_default();
            let found = wanted.and_then(|w| names.iter().position(|n| n.trim().eq_ignore_ascii_case(w.trim())));
            match (found, rows) {
                (Some(k), _) => k,
                (None, 1) => 0,
                (None, _) => {
                    return Err(content(
                        path,
                        &format!(
                            "it holds PSFs of {rows} detectors ({})",
                            names.iter().take(6).cloned().collect::<Vec<_>>().join(", ")
                        ),
                        "name the detector as FILE[CCDNAME]",
                    ));
                }
            }
        }
    };
    let get = |key: &str| -> Result<f64, PsfFileError> {
        if let Some(v) = number(cards, key) {
            return Ok(v);
        }
        let lower = key.to_lowercase();
        let name = table.first_of(&[key, lower.as_str()]).map(str::to_string);
        match name {
            Some(n) => table
                .numbers(&n)?
                .get(row)
                .copied()
                .ok_or_else(|| content(path, &format!("{key} has no row {row}"), "give another")),
            None => Err(content(path, &format!("neither a card nor a column {key}"), "give a file written by PSFEx")),
        }
    };
    let values = table.numbers(&column)?;
    let per_row = values.len() / rows.max(1);
    let naxis = get("POLNAXIS")? as i64;
    if naxis != 0 && naxis != 2 {
        return Err(content(
            path,
            &format!("its PSF varies with {naxis} parameters, not with x and y"),
            "fit it with PSFVAR_KEYS X_IMAGE,Y_IMAGE",
        ));
    }
    let size = (get("PSFAXIS1")? as usize, get("PSFAXIS2")? as usize);
    let step = get("PSF_SAMP")?;
    let (degree, x, y) = if naxis == 2 {
        // PSFEx counts pixels from 1.
        (
            get("POLDEG1")? as usize,
            (get("POLZERO1")? - 1.0, get("POLSCAL1")?),
            (get("POLZERO2")? - 1.0, get("POLSCAL2")?),
        )
    } else {
        (0, (0.0, 1.0), (0.0, 1.0))
    };
    let images = values.get(row * per_row..(row + 1) * per_row).unwrap_or(&[]).to_vec();
    let planes = get("PSFAXIS3")? as usize;
    let images = images.get(..size.0 * size.1 * planes).map(<[f64]>::to_vec).unwrap_or(images);
    model(
        path,
        PsfModel::from_table(Tabulated { step, size, images, variation: Variation::Polynomial { degree, x, y } }),
    )
}

/// Euclid CATALOG-PSF (card STMPSIZE, table of positions), a grid of stamps over the detector, or one stamp.
fn read_images(
    plane: &crate::image::Plane,
    cards: &Cards,
    table: Option<&Table>,
    path: &str,
) -> Result<PsfModel, PsfFileError> {
    let (ny, nx) = plane.dim();
    let step = number(cards, "OVERSAMP").map_or(1.0, |k| 1.0 / k.max(1.0));
    let cut = |x0: usize, y0: usize, n: usize| -> Vec<f64> {
        plane.slice(ndarray::s![y0..y0 + n, x0..x0 + n]).iter().map(|v| f64::from(*v)).collect()
    };
    let stamp = number(cards, "STMPSIZE").map(|v| v as usize).filter(|n| *n > 2 && *n <= nx.min(ny));
    if let (Some(n), Some(t)) = (stamp, table) {
        let column = |names: &[&str]| -> Result<Vec<f64>, PsfFileError> {
            let name = t
                .first_of(names)
                .ok_or_else(|| content(path, &format!("its table lacks {}", names[0]), "give a Euclid CATALOG-PSF"))?
                .to_string();
            Ok(t.numbers(&name)?)
        };
        let (cx, cy, x, y) = (column(&["x_center"])?, column(&["y_center"])?, column(&["x"])?, column(&["y"])?);
        let mut images = Vec::new();
        let mut positions = Vec::new();
        for k in 0..cx.len() {
            // Centres count from 1.
            let (x0, y0) = (cx[k].round() - 1.0 - (n / 2) as f64, cy[k].round() - 1.0 - (n / 2) as f64);
            if x0 < 0.0 || y0 < 0.0 || x0 as usize + n > nx || y0 as usize + n > ny {
                continue;
            }
            let image = cut(x0 as usize, y0 as usize, n);
            if image.iter().all(|v| v.is_finite()) && image.iter().sum::<f64>() > 0.0 {
                images.extend(image);
                positions.push((x[k] - 1.0, y[k] - 1.0));
            }
        }
        return model(
            path,
            PsfModel::from_table(Tabulated { step, size: (n, n), images, variation: Variation::Scattered(positions) }),
        );
    }
    // A grid: square, of odd square stamps that divide it (Euclid VIS: 189 = 9 x 21); its extent on the detector in cards.
    let grid = stamp.or_else(|| (nx == ny && nx % 21 == 0 && nx > 21).then_some(21));
    if let Some(n) = grid
        && nx % n == 0
        && ny % n == 0
        && nx / n > 1
    {
        let (gx, gy) = (nx / n, ny / n);
        let (dx, dy) = (number(cards, "DETNAX1").unwrap_or(2048.0), number(cards, "DETNAX2").unwrap_or(2066.0));
        let mut images = Vec::new();
        let mut positions = Vec::new();
        for j in 0..gy {
            for i in 0..gx {
                let image = cut(i * n, j * n, n);
                if image.iter().all(|v| v.is_finite()) && image.iter().sum::<f64>() > 0.0 {
                    images.extend(image);
                    positions.push(((i as f64 + 0.5) * dx / gx as f64 - 0.5, (j as f64 + 0.5) * dy / gy as f64 - 0.5));
                }
            }
        }
        return model(
            path,
            PsfModel::from_table(Tabulated { step, size: (n, n), images, variation: Variation::Scattered(positions) }),
        );
    }
    let images = plane.iter().map(|v| f64::from(*v)).collect();
    model(
        path,
        PsfModel::from_table(Tabulated {
            step,
            size: (nx, ny),
            images,
            variation: Variation::Scattered(vec![(0.0, 0.0)]),
        }),
    )
}

/// Word for a star's part in the fit.
fn status_word(status: StarStatus) -> (&'static str, &'static str) {
    match status {
        StarStatus::Used => ("used", ""),
        StarStatus::Reserved => ("reserved", ""),
        StarStatus::Rejected(reason) => ("rejected", reason.name()),
    }
}

/// Writes a `.psf`: PSFEx's table PSF_DATA, stillair's own model (full fidelity), the stars with their verdicts (1-based).
pub fn write_psf(
    path: &Path,
    psf: &PsfModel,
    stars: &[PsfStar],
    report: Option<&PsfReport>,
) -> Result<(), PsfFileError> {
    let name = path.display().to_string();
    let failed = |source| PsfFileError::Model { path: name.clone(), source };
    let domain = psf.native().map_or(Domain::image(2048, 2048), |n| n.domain);
    // High enough for the random field, which is no polynomial.
    let varies = psf
        .native()
        .is_some_and(|n| n.order > 0 || n.residual.as_ref().is_some_and(|r| r.order > 0) || n.smooth.is_some());
    let degree = if varies { TABLE_DEGREE } else { 0 };
    let fwhm = psf.fwhm(domain.centre.0, domain.centre.1);
    let fwhm = if fwhm.is_finite() { fwhm } else { 3.0 };
    // Six samples per FWHM, at most one pixel: the Lanczos-3 of the readers then loses little.
    let step = (fwhm / 6.0).min(1.0);
    let side = (2 * ((5.0 * fwhm / step).ceil() as usize) + 1).min(127);
    let table = psf.tabulate(&domain, degree, step, side).map_err(failed)?;
    let (degree, px, py) = match &table.variation {
        Variation::Polynomial { degree, x, y } => (*degree, *x, *y),
        Variation::Scattered(_) => (0, (0.0, 1.0), (0.0, 1.0)),
    };
    let planes = table.images.len() / (table.size.0 * table.size.1);
    let mut cards = Cards::default();
    let used = stars.iter().filter(|s| s.status == StarStatus::Used).count();
    cards.push("LOADED", stars.len() as i64, "sources looked at");
    cards.push("ACCEPTED", used as i64, "stars in the fit");
    cards.push(
        "CHI2",
        report.map_or(0.0, |r| if r.chi2_used.is_finite() { r.chi2_used } else { 0.0 }),
        "median reduced chi2 of the used stars",
    );
    cards.push("POLNAXIS", 2_i64, "number of context parameters");
    for (k, (axis, p)) in [("X_IMAGE", px), ("Y_IMAGE", py)].iter().enumerate() {
        cards.push(&format!("POLGRP{}", k + 1), 1_i64, "polynomial group");
        cards.push(&format!("POLNAME{}", k + 1), *axis, "context parameter");
        cards.push(&format!("POLZERO{}", k + 1), p.0 + 1.0, "offset, pixels counted from 1");
        cards.push(&format!("POLSCAL{}", k + 1), p.1, "scale, pixels");
    }
    cards.push("POLNGRP", 1_i64, "number of context groups");
    cards.push("POLDEG1", degree as i64, "polynomial degree");
    cards.push("PSF_FWHM", fwhm, "FWHM of the azimuthal mean, pixels");
    cards.push("PSF_SAMP", table.step, "sampling step, pixels");
    cards.push("PSFNAXIS", 3_i64, "dimensions of the PSF data");
    cards.push("PSFAXIS1", table.size.0 as i64, "columns");
    cards.push("PSFAXIS2", table.size.1 as i64, "rows");
    cards.push("PSFAXIS3", planes as i64, "polynomial terms");
    cards.push(PLACEHOLDER, format!("({}, {}, {planes})", table.size.0, table.size.1).as_str(), "");
    let values: Vec<f32> = table.images.iter().map(|v| *v as f32).collect();
    let width = values.len();
    let mut hdus = vec![ExtraHdu::Table {
        name: "PSF_DATA".into(),
        columns: vec![TableColumn::new("PSF_MASK", Values::F32(values)).width(width)],
        cards,
    }];
    if let Some(native) = psf.native() {
        let bytes = serde_json::to_vec(native).map_err(|e| {
            content(&name, &format!("the model cannot be written ({e})"), "report this as a fault of stillair")
        })?;
        let width = bytes.len();
        hdus.push(ExtraHdu::Table {
            name: NATIVE.into(),
            columns: vec![
                TableColumn::new("MODEL", Values::U8(bytes)).width(width).description("stillair model as JSON text"),
            ],
            cards: report.map(report_cards).unwrap_or_default(),
        });
    }
    if !stars.is_empty() {
        let words: Vec<(&str, &str)> = stars.iter().map(|s| status_word(s.status)).collect();
        hdus.push(ExtraHdu::Table {
            name: STARS.into(),
            columns: vec![
                TableColumn::new("x", Values::F64(stars.iter().map(|s| s.x + 1.0).collect()))
                    .unit("pix")
                    .description("column, FITS pixels (1-based)"),
                TableColumn::new("y", Values::F64(stars.iter().map(|s| s.y + 1.0).collect()))
                    .unit("pix")
                    .description("row, FITS pixels (1-based)"),
                TableColumn::new("snr", Values::F64(stars.iter().map(|s| s.snr).collect()))
                    .description("signal-to-noise ratio"),
                TableColumn::new("chi2", Values::F64(stars.iter().map(|s| s.chi2).collect()))
                    .description("reduced chi-square against the model"),
                TableColumn::new("status", Values::Text(words.iter().map(|w| w.0.to_string()).collect()))
                    .description("used, reserved or rejected"),
                TableColumn::new("reason", Values::Text(words.iter().map(|w| w.1.to_string()).collect()))
                    .description("why rejected"),
            ],
            cards: Cards::default(),
        });
    }
    write_hdus(path, &Cards::default(), &hdus)?;
    name_dimensions(path)?;
    Ok(())
}

/// Stands for TDIM1 until the file is written: the table writer keeps that card to itself and never writes it, and PSFEx's
/// readers need it.
const PLACEHOLDER: &str = "ZDIM1";

/// Turns the placeholder card into TDIM1; same length, nothing else moves.
fn name_dimensions(path: &Path) -> Result<(), FitsError> {
    let io = |action| {
        let path = path.display().to_string();
        move |source| FitsError::Io { path, action, source }
    };
    let mut bytes = std::fs::read(path).map_err(io("read"))?;
    let card = format!("{PLACEHOLDER:<8}= ");
    if let Some(at) = bytes.chunks(80).position(|c| c.starts_with(card.as_bytes()))
        && let Some(name) = bytes.get_mut(80 * at..80 * at + 5)
    {
        name.copy_from_slice(b"TDIM1");
    }
    std::fs::write(path, bytes).map_err(io("write"))
}

/// The report's numbers as cards.
fn report_cards(report: &PsfReport) -> Cards {
    let mut cards = Cards::default();
    let mut real = |key: &str, v: f64, comment: &str| {
        if v.is_finite() {
            cards.push(key, v, comment);
        }
    };
    real("FWHM", report.fwhm, "FWHM at the centre, pixels");
    real("E1", report.e1, "distortion e1 at the centre");
    real("E2", report.e2, "distortion e2 at the centre");
    real("CHI2USED", report.chi2_used, "median reduced chi2, used stars");
    real("CHI2RES", report.chi2_reserved, "median reduced chi2, reserved stars");
    real("DTTMEAN", report.size_residual.mean, "reserved stars: mean dT/T");
    real("DTTRMS", report.size_residual.rms, "reserved stars: rms dT/T");
    real("DE1MEAN", report.e1_residual.mean, "reserved stars: mean de1");
    real("DE1RMS", report.e1_residual.rms, "reserved stars: rms de1");
    real("DE2MEAN", report.e2_residual.mean, "reserved stars: mean de2");
    real("DE2RMS", report.e2_residual.rms, "reserved stars: rms de2");
    cards.push("NUSED", report.used as i64, "stars in the fit");
    cards.push("NRESERV", report.reserved as i64, "stars kept out to validate it");
    cards.push("NMODEL", report.in_model as i64, "stars in the model after the validation");
    cards.push("ORDER", report.order as i64, "order of the polynomial");
    cards.push("QUALITY", report.quality.name(), "good, degraded or failed");
    if let Some(fallback) = &report.fallback {
        cards.push("FALLBACK", fallback.chars().take(60).collect::<String>().as_str(), "which fallback was taken");
    }
    cards
}
