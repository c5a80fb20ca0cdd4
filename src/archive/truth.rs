//! The truth of a simulated exposure: what was put where.

use std::path::{Path, PathBuf};

use super::ArchiveError;
use super::catalog_fits::MAX_TABLE_BYTES;
use crate::fits::{FitsFile, HduContent, Table};

/// Name of the table's HDU, in the exposure's own file or in `<exposure>.truth.fits` beside it.
pub const TRUTH_HDU: &str = "TRUTH";
/// Name of the HDU of a truth file that lists positions where nothing is.
pub const BLANKS_HDU: &str = "BLANKS";

/// One simulated object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruthObject {
    /// Identifier.
    pub id: i64,
    /// Column of the centre, 0-based pixels (columns `x`, `y` of the table are FITS pixels).
    pub x: f64,
    /// Row of the centre, 0-based pixels.
    pub y: f64,
    /// Right ascension, degrees; NaN if not given.
    pub ra: f64,
    /// Declination, degrees; NaN if not given.
    pub dec: f64,
    /// Total flux, in [`TruthTable::flux_unit`].
    pub flux: f64,
    /// Whether it is a star.
    pub star: bool,
    /// Signal-to-noise ratio; NaN if not given.
    pub snr: f64,
    /// Half-light radius before the PSF, detector pixels; NaN if not given.
    pub half_light_radius: f64,
    /// Ellipticity along the pixel axes, before the PSF; NaN if not given.
    pub e1: f64,
    /// Ellipticity along the diagonals, before the PSF; NaN if not given.
    pub e2: f64,
}

/// A position where nothing is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blank {
    /// Identifier.
    pub id: i64,
    /// Column, 0-based pixels.
    pub x: f64,
    /// Row, 0-based pixels.
    pub y: f64,
}

/// The truth of an exposure.
#[derive(Debug, Clone, PartialEq)]
pub struct TruthTable {
    /// Unit of the fluxes as the file states it (`nJy`, `adu` ...); empty: image units.
    pub flux_unit: String,
    /// The objects.
    pub objects: Vec<TruthObject>,
    /// Positions where nothing is, where the file lists any.
    pub blanks: Vec<Blank>,
    /// AB magnitude of one image unit (card MAGZERO); `None` if not given.
    pub zero_point: Option<f64>,
    /// Detector pixel, arcsec (card PIXSCALE); `None` if not given.
    pub pixel_scale: Option<f64>,
}

impl TruthTable {
    /// What its fluxes are multiplied with to be in the catalogue's flux unit (`flux_scale`: catalogue unit per image unit).
    pub fn to_catalog(&self, catalog_unit: &str, flux_scale: f64) -> f64 {
        if self.flux_unit == catalog_unit { 1.0 } else { flux_scale }
    }
}

/// Reads the truth that goes with an exposure; `None` if there is none. Needs columns `x`, `y`, `flux`; takes `id`, `snr`, `star` (or
/// `kind`, text beginning with `s` for a star), `ra`, `dec`, `half_light_radius`, `e1`, `e2` where they are.
pub fn read_truth(exposure: &Path) -> Result<Option<TruthTable>, ArchiveError> {
    let Some(path) = truth_file(exposure) else { return Ok(None) };
    let mut file = FitsFile::open(&path, MAX_TABLE_BYTES)?;
    let mut truth = match truth_hdu(&file) {
        Some(index) => table(&file.read_table(index)?)?,
        None => table(&file.first_table()?)?,
    };
    let blanks = file.find(BLANKS_HDU).filter(|hdu| hdu.content == HduContent::Table).map(|hdu| hdu.index);
    if let Some(index) = blanks {
        let table = file.read_table(index)?;
        let (ids, x, y) = (table.integers("id")?, table.numbers("x")?, table.numbers("y")?);
        let places = ids.into_iter().zip(x).zip(y);
        truth.blanks = places.map(|((id, x), y)| Blank { id, x: x - 1.0, y: y - 1.0 }).collect();
    }
    Ok(Some(truth))
}

/// The file that holds the truth of an exposure: itself, or the one beside it; `None` if there is none.
pub fn truth_file(exposure: &Path) -> Option<PathBuf> {
    let itself = FitsFile::open(exposure, MAX_TABLE_BYTES).is_ok_and(|file| truth_hdu(&file).is_some());
    if itself { Some(exposure.to_path_buf()) } else { beside(exposure).filter(|p| p.exists()) }
}

fn truth_hdu(file: &FitsFile) -> Option<usize> {
    file.find(TRUTH_HDU).filter(|hdu| hdu.content == HduContent::Table).map(|hdu| hdu.index)
}

/// `night/a.fits.fz` -> `night/a.truth.fits`.
fn beside(exposure: &Path) -> Option<PathBuf> {
    let name = exposure.file_name()?.to_str()?;
    let stem = [".fz", ".gz"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let stem = [".fits", ".fit", ".fts"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    Some(exposure.with_file_name(format!("{stem}.truth.fits")))
}

fn table(table: &Table) -> Result<TruthTable, ArchiveError> {
    let names = table.names();
    let has = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    let or_nan = |name: &str| if has(name) { table.numbers(name) } else { Ok(vec![f64::NAN; table.rows()]) };
    let (x, y, flux) = (table.numbers("x")?, table.numbers("y")?, table.numbers("flux")?);
    let ids = if has("id") { table.integers("id")? } else { (1..=table.rows() as i64).collect() };
    let star: Vec<bool> = if has("star") {
        table.integers("star")?.into_iter().map(|v| v != 0).collect()
    } else if has("kind") {
        table.strings("kind")?.iter().map(|k| k.trim().to_ascii_lowercase().starts_with('s')).collect()
    } else {
        vec![false; table.rows()]
    };
    let (ra, dec) = (or_nan("ra")?, or_nan("dec")?);
    let (snr, radius, e1, e2) = (or_nan("snr")?, or_nan("half_light_radius")?, or_nan("e1")?, or_nan("e2")?);
    let mut objects = Vec::with_capacity(table.rows());
    for ((((&id, &x), &y), &flux), &star) in ids.iter().zip(&x).zip(&y).zip(&flux).zip(&star) {
        let i = objects.len();
        let at = |values: &[f64]| values.get(i).copied().unwrap_or(f64::NAN);
        objects.push(TruthObject {
            id,
            x: x - 1.0,
            y: y - 1.0,
            ra: at(&ra),
            dec: at(&dec),
            flux,
            star,
            snr: at(&snr),
            half_light_radius: at(&radius),
            e1: at(&e1),
            e2: at(&e2),
        });
    }
    Ok(TruthTable {
        flux_unit: table.unit("flux")?,
        objects,
        blanks: Vec::new(),
        zero_point: table.cards.real("MAGZERO"),
        pixel_scale: table.cards.real("PIXSCALE"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::{TableColumn, Values, write_table};
    use crate::sky::Cards;

    #[test]
    fn truth_beside_an_exposure_is_found_and_counted_from_zero() {
        let folder = tempfile::tempdir().unwrap();
        let exposure = folder.path().join("a.fits.fz");
        assert_eq!(read_truth(&exposure).unwrap(), None);
        let columns = [
            TableColumn::new("id", Values::I64(vec![4, 5])),
            TableColumn::new("x", Values::F64(vec![1.0, 10.5])),
            TableColumn::new("y", Values::F64(vec![1.0, 20.0])),
            TableColumn::new("flux", Values::F64(vec![100.0, 7.0])).unit("nJy"),
            TableColumn::new("kind", Values::Text(vec!["star".into(), "galaxy".into()])),
            TableColumn::new("e1", Values::F32(vec![0.25, 0.5])),
        ];
        write_table(&folder.path().join("a.truth.fits"), TRUTH_HDU, &columns, &Cards::new()).unwrap();
        let truth = read_truth(&exposure).unwrap().unwrap();
        assert_eq!(truth.flux_unit, "nJy");
        let [first, second] = truth.objects[..] else { panic!("two objects") };
        assert_eq!((first.id, first.x, first.y, first.star, first.e1), (4, 0.0, 0.0, true, 0.25));
        assert_eq!((second.x, second.y, second.flux, second.star), (9.5, 19.0, 7.0, false));
        assert!(second.half_light_radius.is_nan());
        assert_eq!((truth.to_catalog("nJy", 57.5), truth.to_catalog("adu", 57.5)), (1.0, 57.5));
    }
}
