//! Writes an exposure as one of the layouts stillair reads: for simulations, tests and injected sources.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use fits_well::FitsWriter;
use fits_well::header::Header;
use fits_well::image::{Data, Image, Scaling};
use ndarray::{Array2, Array3};

use super::error::FitsError;
use super::table::{TableColumn, unwritable, write_table_hdu};
use crate::exposure::Exposure;
use crate::image::{Plane, mask};
use crate::sky::{CardValue, Cards};

/// Which layout to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteLayout {
    /// LSST-like: IMAGE, MASK (named by `MP_` cards), VARIANCE.
    LsstAfw,
    /// Euclid-VIS-like: one quadrant, `.SCI`, `.RMS`, `.FLG`.
    EuclidVis,
    /// Generic multi-extension: SCI, ERR, DQ.
    Generic,
}

/// An HDU written behind the exposure's own.
#[derive(Debug, Clone)]
pub enum ExtraHdu {
    /// A plane of pixels.
    Plane {
        /// EXTNAME.
        name: String,
        /// Pixels (row, column).
        plane: Plane,
        /// Further cards.
        cards: Cards,
    },
    /// A stack of planes.
    Cube {
        /// EXTNAME.
        name: String,
        /// Pixels (plane, row, column).
        cube: Array3<f32>,
        /// Further cards.
        cards: Cards,
    },
    /// A binary table.
    Table {
        /// EXTNAME.
        name: String,
        /// Columns.
        columns: Vec<TableColumn>,
        /// Further cards.
        cards: Cards,
    },
}

/// Mask planes as LSST names and numbers them: (our bit, name, bit number).
const LSST_PLANES: [(u16, &str, u32); 6] = [
    (mask::BAD, "BAD", 0),
    (mask::SATURATED, "SAT", 1),
    (mask::COSMIC_RAY, "CR", 3),
    (mask::EDGE, "EDGE", 4),
    (mask::SUSPECT, "SUSPECT", 7),
    (mask::NO_DATA, "NO_DATA", 8),
];

/// Mask bits as Euclid VIS numbers them (INVALID, QUADEDGE, HOT, SAT, COSMIC, GHOST): (our bit, value).
const EUCLID_BITS: [(u16, i32); 6] = [
    (mask::NO_DATA, 0x1),
    (mask::EDGE, 0x40),
    (mask::BAD, 0x2),
    (mask::SATURATED, 0x8),
    (mask::COSMIC_RAY, 0x10),
    (mask::SUSPECT, 0x20),
];

/// Writes the exposure and the extra HDUs; an existing file is replaced.
pub fn write_exposure(
    path: &Path,
    exposure: &Exposure,
    layout: WriteLayout,
    extra: &[ExtraHdu],
) -> Result<(), FitsError> {
    let label = path.display().to_string();
    let file = File::create(path).map_err(|source| FitsError::Io { path: label.clone(), action: "create", source })?;
    let mut writer = FitsWriter::new(BufWriter::new(file));
    write_exposure_to(&mut writer, &label, exposure, layout, extra)?;
    writer.into_inner().flush().map_err(|source| FitsError::Io { path: label, action: "write", source })
}

/// Writes a file of an empty primary HDU with `cards` and these HDUs behind it; an existing file is replaced.
pub fn write_hdus(path: &Path, cards: &Cards, hdus: &[ExtraHdu]) -> Result<(), FitsError> {
    let label = path.display().to_string();
    let file = File::create(path).map_err(|source| FitsError::Io { path: label.clone(), action: "create", source })?;
    let mut writer = FitsWriter::new(BufWriter::new(file));
    lead(&mut writer, &label, cards)?;
    write_extra(&mut writer, &label, hdus)?;
    writer.into_inner().flush().map_err(|source| FitsError::Io { path: label, action: "write", source })
}

/// As [`write_exposure`], into memory.
pub fn exposure_bytes(exposure: &Exposure, layout: WriteLayout, extra: &[ExtraHdu]) -> Result<Vec<u8>, FitsError> {
    let mut writer = FitsWriter::new(Vec::new());
    write_exposure_to(&mut writer, "memory", exposure, layout, extra)?;
    Ok(writer.into_inner())
}

fn write_exposure_to<W: Write>(
    writer: &mut FitsWriter<W>,
    path: &str,
    exposure: &Exposure,
    layout: WriteLayout,
    extra: &[ExtraHdu],
) -> Result<(), FitsError> {
    let mut primary = common_cards(exposure);
    match layout {
        WriteLayout::LsstAfw => {
            if let Some(zero_point) = exposure.zero_point {
                primary.push("FLUXMAG0", 10_f64.powf(0.4 * zero_point), "flux of magnitude 0, image units");
            }
            lead(writer, path, &primary)?;
            let wcs = wcs_cards(exposure);
            plane_hdu(writer, path, "IMAGE", &exposure.image, &with_exttype(&wcs, "IMAGE"))?;
            let mut cards = with_exttype(&wcs, "MASK");
            for (_, name, number) in LSST_PLANES {
                cards.push(&format!("MP_{name}"), i64::from(number), "bit of this mask plane");
            }
            mask_hdu(writer, path, "MASK", &lsst_mask(exposure), &cards)?;
            plane_hdu(writer, path, "VARIANCE", &exposure.variance, &with_exttype(&wcs, "VARIANCE"))?;
        }
        WriteLayout::EuclidVis => {
            let (zero_point, time) = (exposure.zero_point, exposure.exposure_time);
            primary.set("INSTRUME", exposure.instrument.clone().unwrap_or_else(|| "VIS".into()), "");
            lead(writer, path, &primary)?;
            let mut cards = wcs_cards(exposure);
            if let Some(zero_point) = zero_point {
                // Euclid's zero point is per second and spelt as a string.
                let per_second = zero_point - 2.5 * time.unwrap_or(1.0).log10();
                cards.push("MAGZEROP", format!("{per_second:.6}"), "[mag] zero point for 1 ADU per second");
            }
            if let Some(gain) = exposure.gain {
                cards.push("GAIN", gain, "[e-/ADU]");
            }
            plane_hdu(writer, path, "1-1.E.SCI", &exposure.image, &cards)?;
            plane_hdu(writer, path, "1-1.E.RMS", &exposure.variance.mapv(f32::sqrt), &cards)?;
            mask_hdu(writer, path, "1-1.E.FLG", &euclid_mask(exposure), &cards)?;
        }
        WriteLayout::Generic => {
            if let Some(zero_point) = exposure.zero_point {
                primary.push("MAGZERO", zero_point, "[mag] AB magnitude of one image unit");
            }
            lead(writer, path, &primary)?;
            let wcs = wcs_cards(exposure);
            plane_hdu(writer, path, "SCI", &exposure.image, &wcs)?;
            plane_hdu(writer, path, "ERR", &exposure.variance.mapv(f32::sqrt), &wcs)?;
            let mut cards = wcs;
            for (_, name, number) in LSST_PLANES {
                cards.push(&format!("MP_{name}"), i64::from(number), "bit of this mask plane");
            }
            mask_hdu(writer, path, "DQ", &lsst_mask(exposure), &cards)?;
        }
    }
    write_extra(writer, path, extra)
}

fn write_extra<W: Write>(writer: &mut FitsWriter<W>, path: &str, hdus: &[ExtraHdu]) -> Result<(), FitsError> {
    for hdu in hdus {
        match hdu {
            ExtraHdu::Plane { name, plane, cards } => plane_hdu(writer, path, name, plane, cards)?,
            ExtraHdu::Cube { name, cube, cards } => cube_hdu(writer, path, name, cube, cards)?,
            ExtraHdu::Table { name, columns, cards } => write_table_hdu(writer, path, name, columns, cards)?,
        }
    }
    Ok(())
}

/// Appends a 3-D image HDU (plane, row, column).
pub fn cube_hdu<W: Write>(
    writer: &mut FitsWriter<W>,
    path: &str,
    name: &str,
    cube: &Array3<f32>,
    cards: &Cards,
) -> Result<(), FitsError> {
    let (n, ny, nx) = cube.dim();
    image_hdu(writer, path, name, vec![nx, ny, n], Data::F32(cube.iter().copied().collect()), cards)
}

/// Appends a 2-D image HDU.
pub fn plane_hdu<W: Write>(
    writer: &mut FitsWriter<W>,
    path: &str,
    name: &str,
    plane: &Plane,
    cards: &Cards,
) -> Result<(), FitsError> {
    let (ny, nx) = plane.dim();
    image_hdu(writer, path, name, vec![nx, ny], Data::F32(plane.iter().copied().collect()), cards)
}

fn mask_hdu<W: Write>(
    writer: &mut FitsWriter<W>,
    path: &str,
    name: &str,
    mask: &Array2<i32>,
    cards: &Cards,
) -> Result<(), FitsError> {
    let (ny, nx) = mask.dim();
    image_hdu(writer, path, name, vec![nx, ny], Data::I32(mask.iter().copied().collect()), cards)
}

fn image_hdu<W: Write>(
    writer: &mut FitsWriter<W>,
    path: &str,
    name: &str,
    shape: Vec<usize>,
    data: Data,
    cards: &Cards,
) -> Result<(), FitsError> {
    let mut header = header_of(path, cards)?;
    header.set("EXTNAME", name).map_err(|error| unwritable(path, error))?;
    let image = Image::new(shape, data, Scaling::IDENTITY).map_err(|error| unwritable(path, error))?;
    writer.write_image(image.view(), Some(&header)).map_err(|error| unwritable(path, error))
}

/// Writes an empty primary HDU that carries `cards`.
pub fn lead<W: Write>(writer: &mut FitsWriter<W>, path: &str, cards: &Cards) -> Result<(), FitsError> {
    let header = header_of(path, cards)?;
    writer.write_empty_primary(Some(&header)).map_err(|error| unwritable(path, error))
}

fn common_cards(exposure: &Exposure) -> Cards {
    let mut cards = Cards::new();
    cards.push("EXPID", exposure.id.as_str(), "exposure");
    if let Some(instrument) = &exposure.instrument {
        cards.push("INSTRUME", instrument.as_str(), "instrument");
    }
    if let Some(band) = &exposure.band {
        cards.push("FILTER", band.as_str(), "band");
    }
    let numbers = [
        ("EXPTIME", exposure.exposure_time, "[s] exposure time"),
        ("GAIN", exposure.gain, "electrons per image unit"),
        ("SATURATE", exposure.saturation, "image value at which pixels saturate"),
        ("PIXSCALE", exposure.pixel_scale(), "[arcsec] pixel scale"),
    ];
    for (name, value, comment) in numbers {
        if let Some(value) = value {
            cards.push(name, value, comment);
        }
    }
    if let Some(subtracted) = exposure.background_subtracted {
        cards.push("BKGSUB", subtracted, "sky background already subtracted");
    }
    cards
}

fn wcs_cards(exposure: &Exposure) -> Cards {
    exposure.wcs.as_ref().map(crate::sky::Wcs::to_cards).unwrap_or_default()
}

fn with_exttype(cards: &Cards, name: &str) -> Cards {
    let mut cards = cards.clone();
    cards.push("EXTTYPE", name, "");
    cards
}

fn lsst_mask(exposure: &Exposure) -> Array2<i32> {
    exposure.mask.mapv(|bits| {
        LSST_PLANES.iter().filter(|(ours, _, _)| bits & ours != 0).fold(0, |sum, (_, _, number)| sum | 1 << number)
    })
}

fn euclid_mask(exposure: &Exposure) -> Array2<i32> {
    exposure
        .mask
        .mapv(|bits| EUCLID_BITS.iter().filter(|(ours, _)| bits & ours != 0).fold(0, |sum, (_, value)| sum | value))
}

/// Cards as a header of the FITS crate; names above eight characters become `HIERARCH` cards.
pub(super) fn header_of(path: &str, cards: &Cards) -> Result<Header, FitsError> {
    let mut header = Header::new();
    for card in cards.iter() {
        let plain = card.name.len() <= 8
            && card.name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        let name = if plain { card.name.clone() } else { format!("HIERARCH {}", card.name) };
        let set = match &card.value {
            CardValue::Logical(value) => header.set(name.as_str(), *value),
            CardValue::Integer(value) => header.set(name.as_str(), *value),
            // FITS cannot hold a NaN in a header.
            CardValue::Real(value) if !value.is_finite() => continue,
            CardValue::Real(value) => header.set(name.as_str(), *value),
            CardValue::Text(value) => header.set(name.as_str(), value.as_str()),
        };
        set.map_err(|error| unwritable(path, error))?;
        if !card.comment.is_empty() {
            // A comment that does not fit is cut by the writer's rules or left out; the value counts.
            let _ = header.set_comment(name.as_str(), card.comment.as_str());
        }
    }
    Ok(header)
}
