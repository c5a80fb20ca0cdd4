//! Stamp files, whoever wrote them: cubes of stamps with a table that says where each lies.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use fits_well::FitsReader;
use fits_well::io::StreamSource;

use super::ArchiveError;
use super::catalog_fits::MAX_TABLE_BYTES;
use crate::fits::{FitsFile, HduContent, Table};
use crate::image::Plane;
use crate::sky::Cards;

/// No stamp has a longer side, pixels.
const LONGEST_SIDE: usize = 4096;

/// What a table says of one stamp. Values that are missing are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StampPlace {
    /// Identifier.
    pub id: Option<i64>,
    /// Right ascension and declination of the reference pixel, degrees.
    pub sky: (f64, f64),
    /// Column and row of the reference pixel in the exposure, 0-based pixels.
    pub pixel: (f64, f64),
    /// Column and row of the reference pixel in the stamp, 0-based.
    pub reference: (f64, f64),
    /// Standard deviation of the noise per pixel of TIKHONOV, in the cubes' unit.
    pub noise_sigma: f64,
}

/// A cube of a stamp file.
#[derive(Debug, Clone)]
pub struct Cube {
    /// Position of its HDU.
    hdu: usize,
    /// Name of its HDU.
    pub name: String,
    /// Stamps, rows and columns.
    pub shape: (usize, usize, usize),
    /// Its cards with the primary's behind them.
    pub cards: Cards,
}

impl Cube {
    /// Pixel scale, arcsec (card PIXSCALE).
    pub fn pixel_scale(&self) -> Option<f64> {
        self.cards.real("PIXSCALE").filter(|v| *v > 0.0)
    }

    /// FWHM of the target PSF, arcsec (card TGTFWHM).
    pub fn target_fwhm(&self) -> Option<f64> {
        self.cards.real("TGTFWHM").filter(|v| *v > 0.0)
    }

    /// What its values are multiplied with to be nJy: by MAGZERO, else by BUNIT; `None` where it says neither.
    pub fn to_nanojansky(&self) -> Option<f64> {
        if let Some(zero) = self.cards.real("MAGZERO").filter(|v| v.is_finite()) {
            return Some(10f64.powf(0.4 * (31.4 - zero)));
        }
        (self.cards.text("BUNIT").is_some_and(|unit| unit.trim().eq_ignore_ascii_case("njy"))).then_some(1.0)
    }
}

/// An open stamp file.
pub struct StampCubes {
    path: PathBuf,
    reader: FitsReader<StreamSource<BufReader<File>>>,
    /// Its cubes, in the file's order.
    pub cubes: Vec<Cube>,
    /// A place per stamp; empty where the file has no table of them.
    pub places: Vec<StampPlace>,
}

impl std::fmt::Debug for StampCubes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StampCubes").field("path", &self.path).field("cubes", &self.cubes).finish_non_exhaustive()
    }
}

impl StampCubes {
    /// Opens a file: its three-axis images and the table STAMPS, or else its first table.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let mut file = FitsFile::open(path, MAX_TABLE_BYTES)?;
        let mut cubes = Vec::new();
        for hdu in file.hdus() {
            if let HduContent::Image(axes) = &hdu.content
                && let [columns, rows, stamps] = axes.as_slice()
            {
                let shape = (*stamps, *rows, *columns);
                cubes.push(Cube { hdu: hdu.index, name: hdu.name.clone(), shape, cards: file.cards(hdu.index)? });
            }
        }
        if cubes.is_empty() {
            return Err(ArchiveError::content(path, "no cube of stamps (an image of three axes) in this file"));
        }
        let is_table = |content: &HduContent| *content == HduContent::Table;
        let named = file.find("STAMPS").filter(|hdu| is_table(&hdu.content)).map(|hdu| hdu.index);
        let table = named.or_else(|| file.hdus().iter().find(|h| is_table(&h.content)).map(|h| h.index));
        let places = match table {
            Some(index) => {
                let middle = cubes.first().map_or((0, 0), |c| (c.shape.2 / 2, c.shape.1 / 2));
                places(&file.read_table(index)?, middle)?
            }
            None => Vec::new(),
        };
        let opened = File::open(path).map_err(|e| ArchiveError::io("read", path, e))?;
        let reader = FitsReader::open(BufReader::new(opened))
            .map_err(|error| ArchiveError::content(path, format!("not a FITS file: {error}")))?;
        Ok(Self { path: path.to_path_buf(), reader, cubes, places })
    }

    /// The cube of this name (upper and lower case alike).
    pub fn cube(&self, name: &str) -> Option<&Cube> {
        self.cubes.iter().find(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// Stamp `index` of a cube of this file.
    pub fn plane(&mut self, cube: &Cube, index: usize) -> Result<Plane, ArchiveError> {
        let wrong =
            |what: String| ArchiveError::content(&self.path, format!("cube {:?}, stamp {index}: {what}", cube.name));
        let (stamps, rows, columns) = cube.shape;
        if index >= stamps || rows.max(columns) > LONGEST_SIDE || rows.min(columns) == 0 {
            return Err(wrong(format!("not in a cube of {stamps} stamps of {rows} x {columns} pixels")));
        }
        let mut pixels: Vec<f32> = Vec::with_capacity(columns * rows);
        self.reader
            .image(cube.hdu)
            .and_then(|mut image| image.physical_into(&[0..columns, 0..rows, index..index + 1], &mut pixels))
            .map_err(|error| wrong(error.to_string()))?;
        Plane::from_shape_vec((rows, columns), pixels).map_err(|error| wrong(error.to_string()))
    }
}

/// `middle`: the reference pixel where the table names none.
fn places(table: &Table, middle: (usize, usize)) -> Result<Vec<StampPlace>, ArchiveError> {
    let rows = table.rows();
    let column = |names: &[&str]| -> Result<Vec<f64>, ArchiveError> {
        match table.first_of(names) {
            Some(name) => Ok(table.numbers(name)?),
            None => Ok(vec![f64::NAN; rows]),
        }
    };
    let ids = table.first_of(&["id"]).and_then(|name| table.integers(name).ok());
    let (ra, dec) = (column(&["ra"])?, column(&["dec"])?);
    let (x0, y0) = (column(&["x0"])?, column(&["y0"])?);
    // stillair says where the observed stamp lies in the exposure and where the object lies in it; others give x and y
    let (corner_x, corner_y) = (column(&["x_corner"])?, column(&["y_corner"])?);
    let (inside_x, inside_y) = (column(&["x_observed"])?, column(&["y_observed"])?);
    let (x, y) = (column(&["x"])?, column(&["y"])?);
    let noise = column(&["noise_sigma"])?;
    let at = |values: &[f64], i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    let or = |value: f64, other: f64| if value.is_finite() { value } else { other };
    Ok((0..rows)
        .map(|i| StampPlace {
            id: ids.as_ref().and_then(|ids| ids.get(i).copied()),
            sky: (at(&ra, i), at(&dec, i)),
            pixel: (
                or(at(&corner_x, i) + at(&inside_x, i), at(&x, i)) - 1.0,
                or(at(&corner_y, i) + at(&inside_y, i), at(&y, i)) - 1.0,
            ),
            reference: (or(at(&x0, i), middle.0 as f64), or(at(&y0, i), middle.1 as f64)),
            noise_sigma: at(&noise, i),
        })
        .collect())
}
