//! Single stamps out of a stamp file: by random access, the rest of the file is not read.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fits_well::FitsReader;
use fits_well::io::StreamSource;
use fits_well::table::{ColumnData, SelectedData};

use super::ArchiveError;
use crate::image::Plane;

/// Name of the table that lists the stamps.
const TABLE: &str = "STAMPS";
/// Rows of the table read at once where identifiers are not in order.
const CHUNK: usize = 4096;
/// No stamp has a longer side, target pixels.
const LONGEST_SIDE: usize = 4096;

/// An open stamp file.
pub struct StampReader {
    path: String,
    reader: FitsReader<StreamSource<BufReader<File>>>,
    stamps: usize,
}

impl std::fmt::Debug for StampReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StampReader").field("path", &self.path).field("stamps", &self.stamps).finish_non_exhaustive()
    }
}

impl StampReader {
    /// Opens a file and reads its headers.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|e| ArchiveError::io("read", path, e))?;
        let name = path.display().to_string();
        let wrong = |what: String| ArchiveError::content(path, what);
        let reader = FitsReader::open(BufReader::new(file)).map_err(|e| wrong(format!("not a FITS file: {e}")))?;
        let stamps = reader.hdu("OBSERVED").and_then(|hdu| Ok(hdu.image_metadata()?.shape.to_vec()));
        match stamps {
            Ok(shape) if shape.len() == 3 => Ok(Self { path: name, stamps: shape[2], reader }),
            Ok(shape) => Err(wrong(format!("OBSERVED has axes {shape:?}, a cube of stamps has three"))),
            Err(error) => Err(wrong(format!("no cube OBSERVED: {error}"))),
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::content(Path::new(&self.path), what.to_string())
    }

    /// Number of stamps.
    pub fn len(&self) -> usize {
        self.stamps
    }

    /// Whether there is no stamp.
    pub fn is_empty(&self) -> bool {
        self.stamps == 0
    }

    /// Place of an object's stamp, if it is in this file. Identifiers are in order where the objects were detected: then a few
    /// cells are read; the table is gone through where they are not.
    pub fn find(&mut self, id: i64) -> Result<Option<usize>, ArchiveError> {
        let (mut low, mut high) = (0, self.stamps);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle)?.cmp(&id) {
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        for start in (0..self.stamps).step_by(CHUNK) {
            let rows = start..(start + CHUNK).min(self.stamps);
            let ids = self.ids(rows)?;
            if let Some(at) = ids.iter().position(|i| *i == id) {
                return Ok(Some(start + at));
            }
        }
        Ok(None)
    }

    fn id(&mut self, row: usize) -> Result<i64, ArchiveError> {
        self.ids(row..row + 1)?.first().copied().ok_or_else(|| self.wrong(format!("table {TABLE} has no row {row}")))
    }

    fn ids(&mut self, rows: std::ops::Range<usize>) -> Result<Vec<i64>, ArchiveError> {
        let selection = self.reader.read_table_columns(TABLE, rows, ["id"]);
        let selection = selection.map_err(|error| self.wrong(format!("table {TABLE}, column id: {error}")))?;
        match selection.columns.into_iter().next().map(|column| column.data) {
            Some(SelectedData::Fixed(ColumnData::I64(ids))) => Ok(ids),
            _ => Err(self.wrong(format!("column id of {TABLE} does not hold 64-bit integers"))),
        }
    }

    /// Number `column` of an object's row, such as `sigma` or `x_observed`.
    pub fn number(&mut self, index: usize, column: &str) -> Result<f64, ArchiveError> {
        match self.reader.read_table_cell(TABLE, index, column) {
            Ok(ColumnData::F64(values)) => values.first().copied().ok_or_else(|| self.wrong("an empty cell")),
            Ok(_) => Err(self.wrong(format!("column {column} of {TABLE} does not hold 64-bit floats"))),
            Err(error) => Err(self.wrong(format!("table {TABLE}, row {index}, column {column}: {error}"))),
        }
    }

    /// Plane `index` of a cube ([`super::STAMP_CUBES`]), rows first.
    pub fn plane(&mut self, cube: &str, index: usize) -> Result<Plane, ArchiveError> {
        let wrong =
            |what: String| ArchiveError::content(Path::new(&self.path), format!("{cube}, stamp {index}: {what}"));
        let mut image = self.reader.image(cube).map_err(|error| wrong(error.to_string()))?;
        let (columns, rows) = match image.metadata().shape {
            [columns, rows, stamps] if index < *stamps && (*columns).max(*rows) <= LONGEST_SIDE => (*columns, *rows),
            shape => return Err(wrong(format!("not in a cube of {shape:?}"))),
        };
        let mut pixels: Vec<f32> = Vec::with_capacity(columns * rows);
        image
            .physical_into(&[0..columns, 0..rows, index..index + 1], &mut pixels)
            .map_err(|error| wrong(error.to_string()))?;
        Plane::from_shape_vec((rows, columns), pixels).map_err(|error| wrong(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{STAMP_CUBES, StampFile, StampPlanes, StampRecord};
    use crate::catalog::{CatalogHeader, Flags};

    fn written(ids: &[i64]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stamps_8.fits");
        let header = CatalogHeader { target_factor: 2, ..CatalogHeader::new("a") };
        let mut file = StampFile::create(&path, &header, 8, ids.to_vec()).unwrap();
        for (index, id) in ids.iter().enumerate().rev() {
            let value = |cube: usize, side: usize| {
                Plane::from_shape_fn((side, side), |(y, x)| (*id as f32) * 1e4 + (cube * 1000 + y * side + x) as f32)
            };
            let record = StampRecord {
                id: *id,
                ra: 1.0,
                dec: 2.0,
                centre: (3.5, 4.0),
                corner: (0, 0),
                sigma: 0.5,
                noise_sigma: 0.25,
                flags: Flags::empty(),
            };
            let planes = [16, 8, 16, 16, 8].into_iter().enumerate().map(|(cube, side)| value(cube, side));
            let planes: Vec<Plane> = planes.collect();
            let planes = StampPlanes {
                deconvolved: &planes[0],
                observed: &planes[1],
                psf: &planes[2],
                tikhonov: &planes[3],
                residual: &planes[4],
            };
            file.put(index, record, planes).unwrap();
        }
        file.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let ids: Vec<i64> = (1..=300).collect();
        let (_folder, path) = written(&ids);
        let mut file = StampReader::open(&path).unwrap();
        assert_eq!(file.len(), 300);
        for id in [1, 150, 300] {
            let index = file.find(id).unwrap().unwrap();
            assert_eq!(index as i64, id - 1);
            for (cube, (name, fine)) in STAMP_CUBES.into_iter().enumerate() {
                let side = if fine { 16 } else { 8 };
                let plane = file.plane(name, index).unwrap();
                assert_eq!(plane.dim(), (side, side), "{name}");
                assert_eq!(plane[(2, 5)], (id as f32) * 1e4 + (cube * 1000 + 2 * side + 5) as f32, "{name}");
            }
            assert_eq!(file.number(index, "x_observed").unwrap(), 3.5);
        }
        assert_eq!((file.find(0).unwrap(), file.find(301).unwrap()), (None, None));
        assert!(file.plane("OBSERVED", 300).unwrap_err().to_string().contains("stamp 300"));
        assert!(file.number(0, "nonsense").is_err());
    }

    #[test]
    fn identifiers_in_any_order_are_found() {
        let (_folder, path) = written(&[90, 7, -3, 5000, 12]);
        let mut file = StampReader::open(&path).unwrap();
        for (index, id) in [90, 7, -3, 5000, 12].into_iter().enumerate() {
            assert_eq!(file.find(id).unwrap(), Some(index), "{id}");
        }
        assert_eq!(file.find(8).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let (folder, path) = written(&[1, 2, 3]);
        let bytes = std::fs::read(&path).unwrap();
        let cut = folder.path().join("cut.fits");
        for length in [0, 100, 2880, bytes.len() / 2] {
            std::fs::write(&cut, &bytes[..length]).unwrap();
            let read = StampReader::open(&cut).and_then(|mut f| f.find(3).and_then(|_| f.plane("RESIDUAL", 2)));
            assert!(read.is_err(), "{length}");
        }
    }
}
