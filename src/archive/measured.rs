//! A catalogue to be scored, whoever wrote it: FITS, Parquet or text, its columns found by name or named by the caller.

use std::collections::BTreeMap;
use std::path::Path;

use super::table_source::TableSource;
use super::{ACCEPTED, ArchiveError};

/// A quantity that is looked for: its name, the columns that are taken for it (upper and lower case alike), and what it is.
pub struct Quantity {
    /// Name, as in stillair's catalogue.
    pub name: &'static str,
    /// Further names of columns, after its own.
    pub others: &'static [&'static str],
    /// Meaning and unit.
    pub meaning: &'static str,
}

/// What can be scored, besides positions and identifiers (whose names are those of [`ACCEPTED`]).
pub const QUANTITIES: &[Quantity] = &[
    Quantity { name: "flux", others: &["FLUX_AUTO", "FLUX_PSF", "flux_total"], meaning: "total flux" },
    Quantity {
        name: "flux_err",
        others: &["fluxerr", "FLUXERR_AUTO", "FLUXERR_PSF", "flux_error"],
        meaning: "its standard error",
    },
    Quantity { name: "e1", others: &[], meaning: "(Qxx - Qyy) / (Qxx + Qyy), pixel axes" },
    Quantity { name: "e2", others: &[], meaning: "2 Qxy / (Qxx + Qyy)" },
    Quantity { name: "size", others: &[], meaning: "Qxx + Qyy, arcsec^2" },
    Quantity { name: "ixx", others: &[], meaning: "Qxx, arcsec^2; with iyy instead of size" },
    Quantity { name: "iyy", others: &[], meaning: "Qyy, arcsec^2" },
    Quantity { name: "psf_e1", others: &[], meaning: "ellipticity of the PSF at the object" },
    Quantity { name: "psf_e2", others: &[], meaning: "as psf_e1" },
    Quantity { name: "flags", others: &[], meaning: "stillair's row flags" },
];

/// Names of the positions' and identifier's quantities.
const PLACES: [&str; 5] = ["id", "x", "y", "ra", "dec"];

/// A catalogue column by column.
#[derive(Debug, Clone, Default)]
pub struct MeasuredTable {
    /// Number of rows.
    pub rows: usize,
    /// The column that was taken for each quantity found.
    pub columns: BTreeMap<&'static str, String>,
    values: BTreeMap<&'static str, Vec<f64>>,
    /// Identifiers, where the table has whole numbers for them.
    pub ids: Option<Vec<i64>>,
    /// Unit of the fluxes, where the file states one.
    pub flux_unit: Option<String>,
    /// What the centre of the first pixel is called in x and y; they are given 0-based here all the same.
    pub first_pixel: u8,
}

impl MeasuredTable {
    /// Reads a table. `mapping`: column by quantity, over the accepted names; `first_pixel`: number of the first pixel in x and y, if not
    /// what their names say.
    pub fn read(
        path: &Path,
        mapping: &BTreeMap<String, String>,
        first_pixel: Option<u8>,
    ) -> Result<Self, ArchiveError> {
        let known = |name: &str| PLACES.contains(&name) || QUANTITIES.iter().any(|q| q.name == name);
        if let Some(unknown) = mapping.keys().find(|k| !known(k)) {
            let names: Vec<&str> = PLACES.into_iter().chain(QUANTITIES.iter().map(|q| q.name)).collect();
            return Err(ArchiveError::content(
                path,
                format!("nothing is scored by the name of {unknown}; there are {}", names.join(", ")),
            ));
        }
        let source = TableSource::open(path, |names| positions(names, mapping).is_some())?;
        Self::of(path, &source, mapping, first_pixel)
    }

    fn of(
        path: &Path,
        source: &TableSource,
        mapping: &BTreeMap<String, String>,
        first_pixel: Option<u8>,
    ) -> Result<Self, ArchiveError> {
        let names = source.names().to_vec();
        for wanted in mapping.values() {
            if find(&names, wanted).is_none() {
                return Err(ArchiveError::content(path, format!("no column {wanted}; it has: {}", names.join(", "))));
            }
        }
        let mut table = Self { rows: source.rows(), ..Self::default() };
        let Some(places) = positions(&names, mapping) else {
            return Err(ArchiveError::content(
                path,
                format!("no columns for the positions (x and y, or ra and dec); it has: {}", names.join(", ")),
            ));
        };
        table.first_pixel = first_pixel.unwrap_or(places.first_pixel);
        if let Some((x, y)) = places.pixel {
            for (quantity, column) in [("x", x), ("y", y)] {
                let values = source.numbers(&column)?.into_iter().map(|v| v - f64::from(table.first_pixel)).collect();
                table.take(quantity, column, values);
            }
        }
        if let Some((ra, dec)) = places.sky {
            for (quantity, column) in [("ra", ra), ("dec", dec)] {
                let values = source.degrees(&column)?;
                table.take(quantity, column, values);
            }
        }
        let id = mapping.get("id").map(String::as_str).into_iter().chain(ACCEPTED.id.iter().copied());
        if let Some(column) = id.into_iter().find_map(|n| find(&names, n)) {
            table.ids = source.integers(column)?;
            if table.ids.is_some() {
                table.columns.insert("id", column.to_string());
            }
        }
        for quantity in QUANTITIES {
            let given = mapping.get(quantity.name).map(String::as_str);
            let own = [quantity.name];
            let accepted = own.iter().chain(quantity.others).copied();
            let Some(column) = given.into_iter().chain(accepted).find_map(|n| find(&names, n)) else { continue };
            if quantity.name == "flux" {
                table.flux_unit = source.unit(column).filter(|u| !u.trim().is_empty());
            }
            let values = source.numbers(column)?;
            table.take(quantity.name, column.to_string(), values);
        }
        Ok(table)
    }

    fn take(&mut self, quantity: &'static str, column: String, values: Vec<f64>) {
        self.columns.insert(quantity, column);
        self.values.insert(quantity, values);
    }

    /// Whether there is a column for a quantity.
    pub fn has(&self, quantity: &str) -> bool {
        self.values.contains_key(quantity)
    }

    /// A quantity of a row; NaN where there is none. `x` and `y` are 0-based.
    pub fn number(&self, quantity: &str, row: usize) -> f64 {
        self.values.get(quantity).and_then(|v| v.get(row)).copied().unwrap_or(f64::NAN)
    }
}

fn find<'a>(names: &'a [String], wanted: &str) -> Option<&'a str> {
    let exact = names.iter().find(|n| *n == wanted);
    exact.or_else(|| names.iter().find(|n| n.eq_ignore_ascii_case(wanted))).map(String::as_str)
}

struct Places {
    pixel: Option<(String, String)>,
    sky: Option<(String, String)>,
    first_pixel: u8,
}

fn positions(names: &[String], mapping: &BTreeMap<String, String>) -> Option<Places> {
    let pair = |a: &str, b: &str| Some((find(names, a)?.to_string(), find(names, b)?.to_string()));
    let mapped = |a: &str, b: &str| pair(mapping.get(a)?, mapping.get(b)?);
    let accepted = ACCEPTED.pixel.iter().find_map(|(x, y, first)| Some((pair(x, y)?, *first)));
    let (pixel, first_pixel) = match (mapped("x", "y"), accepted) {
        (Some(found), _) => (Some(found), 1),
        (None, Some((found, first))) => (Some(found), first),
        (None, None) => (None, 1),
    };
    let sky = mapped("ra", "dec").or_else(|| ACCEPTED.sky.iter().find_map(|(ra, dec)| pair(ra, dec)));
    (pixel.is_some() || sky.is_some()).then_some(Places { pixel, sky, first_pixel })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn columns_are_found_by_name_and_by_mapping() {
        let (_folder, path) = csv("X_IMAGE,Y_IMAGE,FLUX_AUTO,myflux,NUMBER\n1.0,11.5,3.0,4.0,7\n2.0,3.0,,5.0,8\n");
        let table = MeasuredTable::read(&path, &BTreeMap::new(), None).unwrap();
        assert_eq!((table.rows, table.number("x", 0), table.number("y", 0)), (2, 0.0, 10.5));
        assert_eq!((table.number("flux", 0), table.columns["flux"].as_str()), (3.0, "FLUX_AUTO"));
        assert!(table.number("flux", 1).is_nan() && table.number("e1", 0).is_nan() && !table.has("e1"));
        assert_eq!(table.ids, Some(vec![7, 8]));
        let mapping = BTreeMap::from([("flux".to_string(), "myflux".to_string())]);
        let table = MeasuredTable::read(&path, &mapping, Some(0)).unwrap();
        assert_eq!((table.number("flux", 1), table.number("x", 0)), (5.0, 1.0));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (_folder, path) = csv("a,b\n1,2\n");
        let message = MeasuredTable::read(&path, &BTreeMap::new(), None).unwrap_err().to_string();
        assert!(message.contains("no columns for the positions") && message.contains("a, b"), "{message}");
        let wrong = BTreeMap::from([("flux".to_string(), "c".to_string())]);
        let message = MeasuredTable::read(&path, &wrong, None).unwrap_err().to_string();
        assert!(message.contains("no column c"), "{message}");
        let unknown = BTreeMap::from([("colour".to_string(), "a".to_string())]);
        let message = MeasuredTable::read(&path, &unknown, None).unwrap_err().to_string();
        assert!(message.contains("colour") && message.contains("flux_err"), "{message}");
    }
}
