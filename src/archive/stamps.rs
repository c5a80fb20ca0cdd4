//! Stamp cubes: one FITS file per exposure and stamp size, filled stamp by stamp in any order within the memory of one plane.

use std::path::Path;

use super::ArchiveError;
use super::atomic::AtomicFile;
use super::catalog_fits::header_cards;
use super::fits_cards::{BLOCK, Cards, pad};
use crate::catalog::{CatalogHeader, Flags};
use crate::image::Plane;

/// The cubes of a stamp file, in order: name and whether it lies on the target grid (else on the detector's).
pub const STAMP_CUBES: [(&str, bool); 5] =
    [("DECONVOLVED", true), ("OBSERVED", false), ("PSF", true), ("TIKHONOV", true), ("RESIDUAL", false)];

/// What the table `STAMPS` says of one stamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StampRecord {
    /// Identifier, as in the catalogue.
    pub id: i64,
    /// Right ascension of the object's centre, degrees; NaN if unknown.
    pub ra: f64,
    /// Declination of the object's centre, degrees; NaN if unknown.
    pub dec: f64,
    /// Object's 0-based position in the observed stamp: column, row.
    pub centre: (f64, f64),
    /// 0-based detector pixel under the stamp's first pixel: column, row.
    pub corner: (isize, isize),
    /// White-noise standard deviation per pixel of `observed`, image units.
    pub sigma: f64,
    /// Standard deviation per pixel of the noise in `tikhonov`, image units.
    pub noise_sigma: f64,
    /// Row flags.
    pub flags: Flags,
}

/// The planes of one stamp; fluxes in image units, n detector pixels and s target pixels per detector pixel along a side.
#[derive(Debug, Clone, Copy)]
pub struct StampPlanes<'a> {
    /// Final image at the target PSF, scaled to the observed pixels; (n s, n s).
    pub deconvolved: &'a Plane,
    /// Observed pixels, sky and neighbours subtracted; (n, n).
    pub observed: &'a Plane,
    /// Effective PSF on the target grid, sum 1, centred on pixel n s / 2; (n s, n s).
    pub psf: &'a Plane,
    /// Result of the Tikhonov step; (n s, n s).
    pub tikhonov: &'a Plane,
    /// Observed minus re-convolved final image; (n, n).
    pub residual: &'a Plane,
}

/// A stamp file being written.
#[derive(Debug)]
pub struct StampFile {
    file: AtomicFile,
    /// Byte position and side of each cube.
    cubes: [(u64, usize); 5],
    /// End of the cubes.
    end: u64,
    header: CatalogHeader,
    records: Vec<Option<StampRecord>>,
    ids: Vec<i64>,
}

impl StampFile {
    /// Starts a file for the objects `ids` with stamps of `size` detector pixels; the exposure's calibration, target PSF and grid
    /// come from the header. Fluxes are turned into nJy where the header knows a zero point.
    pub fn create(path: &Path, header: &CatalogHeader, size: usize, ids: Vec<i64>) -> Result<Self, ArchiveError> {
        let mut file = AtomicFile::create(path)?;
        let factor = header.target_factor.max(1);
        let mut primary = Cards::primary();
        primary.integer("STAMPSZ", size as i64, "[pixel] side of a stamp, detector pixels");
        primary.integer("NSTAMPS", ids.len() as i64, "stamps");
        primary.real_if("MAGZERO", header.flux_unit_zero_point(), "[mag] AB zero point of the stamps (31.4: nJy)");
        primary.real_if("DETSCALE", header.pixel_scale, "[arcsec] detector pixel");
        let target = CatalogHeader { pixel_scale: header.pixel_scale.map(|s| s / factor as f64), ..header.clone() };
        primary.extend(&header_cards(&target));
        let bytes = primary.finish();
        file.write_all(&bytes)?;
        let mut position = bytes.len() as u64;
        let mut cubes = [(0, 0); 5];
        for ((name, fine), cube) in STAMP_CUBES.into_iter().zip(&mut cubes) {
            let (side, scale) = if fine { (size * factor, factor) } else { (size, 1) };
            let bytes = cube_cards(name, side, scale, factor, ids.len(), header).finish();
            file.seek(position)?;
            file.write_all(&bytes)?;
            position += bytes.len() as u64;
            *cube = (position, side);
            let length = (side * side * ids.len() * 4).next_multiple_of(BLOCK) as u64;
            position += length;
        }
        let records = vec![None; ids.len()];
        Ok(Self { file, cubes, end: position, header: header.clone(), records, ids })
    }

    /// Writes the stamp of `ids[index]`.
    pub fn put(&mut self, index: usize, record: StampRecord, planes: StampPlanes<'_>) -> Result<(), ArchiveError> {
        match self.ids.get(index) {
            Some(id) if *id == record.id => {}
            other => return Err(self.misuse(format!("stamp {index} is of object {}, expected {other:?}", record.id))),
        }
        let scale = self.header.flux_scale();
        let all = [
            (planes.deconvolved, scale),
            (planes.observed, scale),
            (planes.psf, 1.0),
            (planes.tikhonov, scale),
            (planes.residual, scale),
        ];
        for ((plane, scale), ((start, side), (name, _))) in all.into_iter().zip(self.cubes.into_iter().zip(STAMP_CUBES))
        {
            if plane.dim() != (side, side) {
                return Err(self.misuse(format!(
                    "{name} of object {} is {:?}, expected {side}",
                    record.id,
                    plane.dim()
                )));
            }
            let mut bytes = Vec::with_capacity(side * side * 4);
            for value in plane {
                bytes.extend_from_slice(&((f64::from(*value) * scale) as f32).to_be_bytes());
            }
            self.file.seek(start + (index * side * side * 4) as u64)?;
            self.file.write_all(&bytes)?;
        }
        if let Some(slot) = self.records.get_mut(index) {
            *slot = Some(record);
        }
        Ok(())
    }

    fn misuse(&self, what: String) -> ArchiveError {
        ArchiveError::Misuse { path: self.file.path().to_path_buf(), what }
    }

    /// Adds the table and gives the file its name. Stamps that were never put are NaN throughout.
    pub fn finish(mut self) -> Result<(), ArchiveError> {
        for index in 0..self.records.len() {
            if self.records.get(index).is_some_and(Option::is_none) {
                for (start, side) in self.cubes {
                    self.file.seek(start + (index * side * side * 4) as u64)?;
                    self.file.write_all(&f32::NAN.to_be_bytes().repeat(side * side))?;
                }
            }
        }
        let table = self.table();
        self.file.seek(self.end)?;
        self.file.write_all(&table)?;
        self.file.commit()
    }

    fn table(&self) -> Vec<u8> {
        const WIDTH: usize = 8 + 11 * 8 + 4;
        let flux = self.header.units.flux.as_str();
        let columns: [(&str, &str, &str, &str); 13] = [
            ("id", "K", "", "object identifier, as in the catalogue"),
            ("ra", "D", "deg", "right ascension of the reference pixel"),
            ("dec", "D", "deg", "declination of the reference pixel"),
            ("x0", "D", "pixel", "column of the reference pixel in DECONVOLVED, from 0"),
            ("y0", "D", "pixel", "row of the reference pixel in DECONVOLVED, from 0"),
            ("pixel_scale", "D", "arcsec", "pixel scale of DECONVOLVED"),
            ("x_observed", "D", "pixel", "column of the object's centre in OBSERVED, from 0"),
            ("y_observed", "D", "pixel", "row of the object's centre in OBSERVED, from 0"),
            ("x_corner", "D", "pixel", "FITS column in the exposure of the first pixel of OBSERVED"),
            ("y_corner", "D", "pixel", "FITS row in the exposure of the first pixel of OBSERVED"),
            ("sigma", "D", flux, "noise per pixel of OBSERVED (standard deviation)"),
            ("noise_sigma", "D", flux, "noise per pixel of TIKHONOV (standard deviation)"),
            ("flags", "J", "", "row flags, as in the catalogue"),
        ];
        let mut cards = Cards::table("STAMPS", WIDTH, self.records.len(), columns.len());
        for (i, (name, form, unit, meaning)) in columns.into_iter().enumerate() {
            let n = i + 1;
            cards.text(&format!("TTYPE{n}"), name, "").text(&format!("TFORM{n}"), form, "");
            if !unit.is_empty() {
                cards.text(&format!("TUNIT{n}"), unit, "");
            }
            cards.text(&format!("TCOMM{n}"), meaning, "");
        }
        let mut bytes = cards.finish();
        let scale = self.header.flux_scale();
        let factor = self.header.target_factor.max(1);
        let reference = (self.cubes[0].1 / 2) as f64;
        let pixel_scale = self.header.pixel_scale.map_or(f64::NAN, |s| s / factor as f64);
        for (id, record) in self.ids.iter().zip(&self.records) {
            let nan = f64::NAN;
            let numbers = match record {
                Some(r) => [
                    r.ra,
                    r.dec,
                    reference,
                    reference,
                    pixel_scale,
                    r.centre.0,
                    r.centre.1,
                    r.corner.0 as f64 + 1.0,
                    r.corner.1 as f64 + 1.0,
                    r.sigma * scale,
                    r.noise_sigma * scale,
                ],
                None => [nan, nan, reference, reference, pixel_scale, nan, nan, nan, nan, nan, nan],
            };
            bytes.extend_from_slice(&id.to_be_bytes());
            for v in numbers {
                bytes.extend_from_slice(&v.to_be_bytes());
            }
            let flags = record.map_or(Flags::NETWORK_SKIPPED | Flags::FIT_FAILED, |r| r.flags);
            bytes.extend_from_slice(&flags.bits().to_be_bytes());
        }
        pad(&mut bytes, 0);
        bytes
    }
}

/// Header of one cube: N stamps of `side` pixels, `finer` of them per detector pixel (1 or the target grid's `factor`).
fn cube_cards(name: &str, side: usize, finer: usize, factor: usize, count: usize, header: &CatalogHeader) -> Cards {
    let mut cards = Cards::image(name, &[side, side, count]);
    if name == "PSF" {
        cards.text("BUNIT", "", "unit sum");
    } else {
        cards.text("BUNIT", &header.units.flux, "flux per pixel");
        cards.real_if("MAGZERO", header.flux_unit_zero_point(), "[mag] AB zero point (31.4: nJy)");
    }
    cards.real_if("TGTFWHM", header.target_fwhm_arcsec, "[arcsec] FWHM of the target PSF");
    let fwhm = header.target_fwhm_pixels * finer as f64 / factor as f64;
    cards.real("TGTFWPIX", fwhm, "[pixel of this image] FWHM of the target PSF");
    cards.real_if("PIXSCALE", header.pixel_scale.map(|s| s / finer as f64), "[arcsec] pixel of this image");
    cards.integer("PIXFACT", finer as i64, "pixels of this image per detector pixel");
    cards
}
