//! The catalogue as a FITS binary table.

use std::path::Path;
use std::sync::Arc;

use super::ArchiveError;
use super::atomic::write_file;
use super::fits_cards::{Cards, pad, printable};
use crate::catalog::columns::MISSING_INT;
use crate::catalog::flags::FLAG_TABLE;
use crate::catalog::{COLUMNS, Catalog, CatalogHeader, CatalogRow, Kind, Units, Value};
use crate::fits::FitsFile;

/// Largest catalogue file that is inflated into memory, bytes.
pub(super) const MAX_TABLE_BYTES: u64 = 1 << 32;

/// Name of the table's HDU.
pub const CATALOG_HDU: &str = "CATALOG";

/// Writes the catalogue, atomically.
pub fn write_catalog_fits(path: &Path, catalog: &Catalog) -> Result<(), ArchiveError> {
    write_file(path, &catalog_fits_bytes(catalog))
}

/// The catalogue as the bytes of a FITS file: an empty primary HDU and a binary table `CATALOG`.
pub fn catalog_fits_bytes(catalog: &Catalog) -> Vec<u8> {
    let columns: Vec<(&str, usize)> = COLUMNS.iter().map(|c| (c.name, width(c.kind, &catalog.rows, c.get))).collect();
    let row_bytes = columns.iter().map(|c| c.1).sum();
    let mut cards = Cards::table(CATALOG_HDU, row_bytes, catalog.rows.len(), COLUMNS.len());
    for (i, (column, (_, width))) in COLUMNS.iter().zip(&columns).enumerate() {
        let n = i + 1;
        let form = match column.kind {
            Kind::Float => "D".to_string(),
            Kind::Integer => "K".to_string(),
            Kind::Small => "J".to_string(),
            Kind::Text => format!("{width}A"),
        };
        cards.text(&format!("TTYPE{n}"), column.name, "").text(&format!("TFORM{n}"), &form, "");
        let unit = catalog.header.units.text(column.unit);
        if !unit.is_empty() {
            cards.text(&format!("TUNIT{n}"), unit, "");
        }
        if column.kind == Kind::Small {
            cards.integer(&format!("TNULL{n}"), i64::from(MISSING_INT), "missing");
        }
        cards.text(&format!("TUCD{n}"), column.ucd, "").text(&format!("TCOMM{n}"), column.description, "");
    }
    cards.extend(&header_cards(&catalog.header));
    for (bit, name, meaning) in FLAG_TABLE {
        cards.text(&format!("FLAG{bit}"), name, &format!("flag of value {}", 1_u32 << bit));
        cards.text(&format!("FLAGM{bit}"), meaning, "");
    }

    let mut bytes = Cards::primary().finish();
    bytes.extend_from_slice(&cards.finish());
    for row in &catalog.rows {
        for (column, (_, width)) in COLUMNS.iter().zip(&columns) {
            put(&mut bytes, (column.get)(row), *width);
        }
    }
    pad(&mut bytes, 0);
    bytes
}

/// Bytes of one cell.
fn width(kind: Kind, rows: &[CatalogRow], get: fn(&CatalogRow) -> Value) -> usize {
    match kind {
        Kind::Float | Kind::Integer => 8,
        Kind::Small => 4,
        Kind::Text => {
            let longest = rows.iter().filter_map(|row| match get(row) {
                Value::Text(Some(text)) => Some(text.chars().count()),
                _ => None,
            });
            longest.max().unwrap_or(0).max(1)
        }
    }
}

fn put(bytes: &mut Vec<u8>, value: Value, width: usize) {
    match value {
        Value::Float(v) => bytes.extend_from_slice(&v.to_be_bytes()),
        Value::Integer(v) => bytes.extend_from_slice(&v.to_be_bytes()),
        Value::Small(v) => bytes.extend_from_slice(&v.unwrap_or(MISSING_INT).to_be_bytes()),
        Value::Text(v) => {
            let end = bytes.len() + width;
            bytes.extend(v.as_deref().unwrap_or("").chars().map(printable));
            bytes.resize(end, b' ');
        }
    }
}

/// What is said of the exposure, as cards (documented in `docs/catalogue.md`).
pub fn header_cards(h: &CatalogHeader) -> Cards {
    let mut c = Cards::default();
    let text = Option::as_deref;
    c.text("EXPOSURE", &h.exposure, "name of the exposure").text_if("SRCFILE", text(&h.source), "input");
    c.text_if("LAYOUT", text(&h.layout), "layout it was read as").text_if("INSTRUME", text(&h.instrument), "");
    c.text_if("FILTER", text(&h.band), "").real_if("EXPTIME", h.exposure_time, "[s] exposure time");
    c.integer("IMNAXIS1", h.columns as i64, "image columns").integer("IMNAXIS2", h.rows as i64, "image rows");
    c.real_if("IMGZERO", h.zero_point, "[mag] AB zero point of the input image");
    c.real_if("PIXSCALE", h.pixel_scale, "[arcsec] pixel scale");
    let Units { flux, angular } = &h.units;
    c.text("FLUXUNIT", flux, "unit of the fluxes");
    c.text("SIZEUNIT", if *angular { "arcsec" } else { "pixel" }, "unit of the sizes");
    c.real("TGTFWPIX", h.target_fwhm_pixels, "[target pixel] FWHM of the target PSF");
    c.real_if("TGTFWHM", h.target_fwhm_arcsec, "[arcsec] FWHM of the target PSF");
    c.integer("TGTFACT", h.target_factor as i64, "target pixels per detector pixel");
    let p = &h.psf;
    c.real_if("PSFFWPIX", p.fwhm_pixels, "[pixel] FWHM of the PSF at the centre");
    c.real_if("PSFFWHM", p.fwhm_arcsec, "[arcsec] FWHM of the PSF at the centre");
    c.real_if("PSFE1", p.e1, "ellipticity of the PSF at the centre").real_if("PSFE2", p.e2, "");
    if let Some(order) = p.order {
        c.integer("PSFORDER", i64::from(order), "order of the PSF model over the field");
    }
    c.integer("PSFNUSED", p.stars_used as i64, "stars the PSF was fitted to");
    c.integer("PSFNRES", p.stars_reserved as i64, "stars kept out of the fit");
    c.integer("PSFNMOD", p.stars_in_model as i64, "stars in the delivered PSF model");
    c.integer("PSFNREJ", p.stars_rejected as i64, "candidates left out");
    c.real_if("PSFRSIZE", p.reserved_size_residual, "reserved stars: median size residual");
    c.real_if("PSFSSIZE", p.reserved_size_scatter, "reserved stars: its scatter");
    c.real_if("PSFRE1", p.reserved_e1_residual, "reserved stars: median e1 residual");
    c.real_if("PSFRE2", p.reserved_e2_residual, "reserved stars: median e2 residual");
    c.real_if("PSFSE", p.reserved_e_scatter, "reserved stars: scatter of e residuals");
    c.real_if("PSFRHO1", p.rho1, "largest |rho_1|");
    c.real_if("PSFRHO2", p.rho2, "largest |rho_2|");
    c.real_if("PSFCHI2", p.reserved_chi2, "reserved stars: reduced chi-square");
    c.text("PSFQUAL", &p.quality, "verdict on the PSF model").text_if("PSFFALL", text(&p.fallback), "fallback");
    c.text_if("NETWORK", text(&h.network), "network").text_if("NETSHA", text(&h.network_sha), "its SHA-256");
    c.text_if("NETDEV", text(&h.inference), "where it ran").text("CREATOR", &h.software, "");
    c.integer("CATVERS", i64::from(h.catalog_version), "version of this layout");
    c.text_if("CFGHASH", text(&h.config_hash), "SHA-256 of the configuration");
    if let Some(calibration) = &h.calibration {
        c.text("CALSHA", &calibration.sha256, "SHA-256 of the calibration file");
        c.real("CALC0", calibration.law.c0, "flux-bias law, units of signal");
        c.real("CALC1", calibration.law.c1, "").real("CALC2", calibration.law.c2, "");
        let ([a1, a2], [b1, b2]) = (calibration.law.size_offset, calibration.law.size_factor);
        c.real("CALA1", a1, "its terms in the extent")
            .real("CALA2", a2, "")
            .real("CALB1", b1, "")
            .real("CALB2", b2, "");
        c.real("CALSKY", calibration.sky_sigma, "sky noise that signals are counted in, image units");
    }
    for (i, note) in h.notes.iter().take(999).enumerate() {
        c.text(&format!("NOTE{}", i + 1), note, "");
    }
    c
}

/// Reads the rows of a FITS catalogue that stillair wrote. Columns that are absent stay missing.
pub fn read_catalog_fits(path: &Path) -> Result<Vec<CatalogRow>, ArchiveError> {
    let mut file = FitsFile::open(path, MAX_TABLE_BYTES)?;
    let index = file.select(CATALOG_HDU)?.index;
    let table = file.read_table(index)?;
    let names = table.names();
    let mut rows: Vec<CatalogRow> = (0..table.rows()).map(|_| CatalogRow::empty(0)).collect();
    for column in COLUMNS.iter().filter(|c| names.iter().any(|n| n == c.name)) {
        let values: Vec<Value> = match column.kind {
            Kind::Float => table.numbers(column.name)?.into_iter().map(Value::Float).collect(),
            Kind::Integer => table.integers(column.name)?.into_iter().map(Value::Integer).collect(),
            Kind::Small => table.integers(column.name)?.into_iter().map(small).collect(),
            Kind::Text => table.strings(column.name)?.into_iter().map(text).collect(),
        };
        for (row, value) in rows.iter_mut().zip(values) {
            (column.set)(row, value);
        }
    }
    Ok(rows)
}

fn small(value: i64) -> Value {
    Value::Small(i32::try_from(value).ok().filter(|v| *v != MISSING_INT))
}

fn text(value: String) -> Value {
    Value::Text((!value.is_empty()).then(|| Arc::from(value)))
}
