//! A survey's own catalogue as the list of objects to process (`--catalog`): FITS table, Parquet, or text.

use std::collections::HashSet;
use std::path::Path;

use super::ArchiveError;
use super::table_source::TableSource;

/// Which columns of a given catalogue to take. Each is found by the names of [`ACCEPTED`] unless it is set here.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogColumns {
    /// Column of the identifier (a whole number).
    pub id: Option<String>,
    /// Column of the right ascension, degrees.
    pub ra: Option<String>,
    /// Column of the declination, degrees.
    pub dec: Option<String>,
    /// Column of the pixel column.
    pub x: Option<String>,
    /// Column of the pixel row.
    pub y: Option<String>,
    /// What the centre of the first pixel is called in `x` and `y`: 1 (FITS, SExtractor) or 0 (LSST, photutils); by the column's name if not set.
    pub first_pixel: Option<u8>,
}

/// Accepted names, in order of preference; upper and lower case are the same.
pub struct Accepted {
    /// Identifier.
    pub id: &'static [&'static str],
    /// Right ascension and declination, degrees (radians where the column's unit says so).
    pub sky: &'static [(&'static str, &'static str)],
    /// Pixel column and row, and the number of the first pixel.
    pub pixel: &'static [(&'static str, &'static str, u8)],
}

/// The column names that are understood without a mapping.
pub const ACCEPTED: Accepted = Accepted {
    id: &["id", "sourceId", "diaSourceId", "objectId", "NUMBER", "OBJECT_ID", "SOURCE_ID", "COADD_OBJECT_ID", "label"],
    sky: &[
        ("ra", "dec"),
        ("RIGHT_ASCENSION", "DECLINATION"),
        ("ALPHAWIN_J2000", "DELTAWIN_J2000"),
        ("ALPHA_J2000", "DELTA_J2000"),
        ("RAJ2000", "DEJ2000"),
        ("RA_ICRS", "DE_ICRS"),
        ("coord_ra", "coord_dec"),
        ("RA_DEG", "DEC_DEG"),
    ],
    pixel: &[
        ("XWIN_IMAGE", "YWIN_IMAGE", 1),
        ("X_IMAGE", "Y_IMAGE", 1),
        ("x", "y", 1),
        ("xcentroid", "ycentroid", 0),
        ("x_fit", "y_fit", 0),
        ("slot_Centroid_x", "slot_Centroid_y", 0),
    ],
};

/// The accepted names as the last rows of `docs/catalogue.md`.
pub fn given_markdown() -> String {
    let id: Vec<String> = ACCEPTED.id.iter().map(|n| format!("`{n}`")).collect();
    let sky: Vec<String> = ACCEPTED.sky.iter().map(|(a, b)| format!("`{a}`/`{b}`")).collect();
    let pixels = |wanted: u8| -> String {
        let names = ACCEPTED.pixel.iter().filter(|p| p.2 == wanted).map(|(a, b, _)| format!("`{a}`/`{b}`"));
        names.collect::<Vec<_>>().join(", ")
    };
    format!(
        "| identifier (a whole number; else objects are numbered from 1) | {} |\n\
         | sky position, degrees (radians where the column's unit says so) | {} |\n\
         | pixel position, first pixel = 1 | {} |\n\
         | pixel position, first pixel = 0 | {}; `x`/`y` beside `sourceId`, `diaSourceId` or `objectId` |\n",
        id.join(", "),
        sky.join(", "),
        pixels(1),
        pixels(0)
    )
}

/// Identifiers that show an LSST table, whose `x`, `y` count from 0.
const LSST_IDS: [&str; 3] = ["sourceid", "diasourceid", "objectid"];

/// One object of a given catalogue; at least one of the two positions is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GivenObject {
    /// Identifier.
    pub id: i64,
    /// Right ascension and declination, degrees.
    pub sky: Option<(f64, f64)>,
    /// Column and row, 0-based pixels.
    pub pixel: Option<(f64, f64)>,
}

/// A given catalogue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GivenCatalog {
    /// The objects, in the file's order.
    pub objects: Vec<GivenObject>,
    /// What was assumed or left out, in sentences for the summary.
    pub notes: Vec<String>,
}

/// Reads a given catalogue: a FITS binary table (in any HDU), Parquet, or text (CSV, tab- or blank-separated with a header line,
/// ECSV, SExtractor's ASCII_HEAD). The kind of file is told by its content.
pub fn read_given_catalog(path: &Path, columns: &CatalogColumns) -> Result<GivenCatalog, ArchiveError> {
    let source = TableSource::open(path, |names| position_columns(names, columns).is_some())?;
    let names = source.names().to_vec();
    let Some(found) = position_columns(&names, columns) else { return Err(not_found(path, &source, columns)) };
    let mut notes = Vec::new();

    let id_column = match &columns.id {
        Some(wanted) => {
            Some(find(&names, wanted).ok_or_else(|| ArchiveError::content(path, missing(wanted, &names)))?.to_string())
        }
        None => ACCEPTED.id.iter().find_map(|n| find(&names, n)).map(str::to_string),
    };
    let sky = match &found.sky {
        Some((ra, dec)) => Some((source.degrees(ra)?, source.degrees(dec)?)),
        None => None,
    };
    let pixel = match &found.pixel {
        Some((x, y)) => Some((source.numbers(x)?, source.numbers(y)?)),
        None => None,
    };
    let rows = source.rows();
    let ids = match &id_column {
        Some(name) => match source.integers(name)? {
            Some(ids) => ids,
            None => {
                notes.push(format!(
                    "column {name} of the catalogue holds no whole numbers: objects are numbered from 1"
                ));
                (1..=rows as i64).collect()
            }
        },
        None => {
            notes.push("the catalogue has no identifiers: objects are numbered from 1".into());
            (1..=rows as i64).collect()
        }
    };

    let lsst = id_column.as_deref().is_some_and(|n| LSST_IDS.contains(&n.to_lowercase().as_str()));
    let plain_xy = found.pixel.as_ref().is_some_and(|(x, _)| x.eq_ignore_ascii_case("x"));
    let first = columns.first_pixel.unwrap_or(if lsst && plain_xy { 0 } else { found.first_pixel });
    if let (Some((x, _)), None) = (&found.pixel, columns.first_pixel) {
        notes.push(format!("column {x} of the catalogue: the centre of the first pixel is taken to be {first}"));
    }
    let at = |pair: &Option<(Vec<f64>, Vec<f64>)>, i: usize| {
        let (a, b) = pair.as_ref()?;
        let (a, b) = (*a.get(i)?, *b.get(i)?);
        (a.is_finite() && b.is_finite()).then_some((a, b))
    };
    let mut objects = Vec::with_capacity(rows);
    for (i, &id) in ids.iter().enumerate() {
        let sky = at(&sky, i);
        let pixel = at(&pixel, i).map(|(x, y)| (x - f64::from(first), y - f64::from(first)));
        if sky.is_some() || pixel.is_some() {
            objects.push(GivenObject { id, sky, pixel });
        }
    }
    if objects.len() < rows {
        notes.push(format!(
            "{} of {rows} objects of the catalogue have no position and are left out",
            rows - objects.len()
        ));
    }
    let distinct: HashSet<i64> = objects.iter().map(|o| o.id).collect();
    if distinct.len() < objects.len() {
        notes.push(format!("{} identifiers of the catalogue occur more than once", objects.len() - distinct.len()));
    }
    Ok(GivenCatalog { objects, notes })
}

/// The position columns that were found: as they are spelt in the file.
#[derive(Debug)]
struct Positions {
    sky: Option<(String, String)>,
    pixel: Option<(String, String)>,
    first_pixel: u8,
}

fn find<'a>(names: &'a [String], wanted: &str) -> Option<&'a str> {
    let exact = names.iter().find(|n| *n == wanted);
    exact.or_else(|| names.iter().find(|n| n.eq_ignore_ascii_case(wanted))).map(String::as_str)
}

fn position_columns(names: &[String], mapping: &CatalogColumns) -> Option<Positions> {
    let pair = |a: &str, b: &str| Some((find(names, a)?.to_string(), find(names, b)?.to_string()));
    let mut first_pixel = 1;
    let sky = match (&mapping.ra, &mapping.dec) {
        (Some(ra), Some(dec)) => Some(pair(ra, dec)?),
        _ => ACCEPTED.sky.iter().find_map(|(ra, dec)| pair(ra, dec)),
    };
    let pixel = match (&mapping.x, &mapping.y) {
        (Some(x), Some(y)) => Some(pair(x, y)?),
        _ => ACCEPTED.pixel.iter().find_map(|(x, y, first)| {
            let found = pair(x, y)?;
            first_pixel = *first;
            Some(found)
        }),
    };
    (sky.is_some() || pixel.is_some()).then_some(Positions { sky, pixel, first_pixel })
}

fn missing(wanted: &str, names: &[String]) -> String {
    format!("no column {wanted}; it has: {}", names.join(", "))
}

fn not_found(path: &Path, source: &TableSource, mapping: &CatalogColumns) -> ArchiveError {
    let named: Vec<&String> = [&mapping.ra, &mapping.dec, &mapping.x, &mapping.y].into_iter().flatten().collect();
    let names = source.names();
    if let Some(wanted) = named.iter().find(|n| find(names, n).is_none()) {
        return ArchiveError::content(path, format!("{} (named in [catalog])", missing(wanted, names)));
    }
    let sky: Vec<String> = ACCEPTED.sky.iter().map(|(a, b)| format!("{a}/{b}")).collect();
    let pixel: Vec<String> = ACCEPTED.pixel.iter().map(|(a, b, _)| format!("{a}/{b}")).collect();
    ArchiveError::content(
        path,
        format!(
            "no columns with positions; it has: {}. Accepted are {} (degrees), {} (pixels), or names given in [catalog] of the configuration",
            if names.is_empty() { "none".to_string() } else { names.join(", ") },
            sky.join(", "),
            pixel.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, columns: &CatalogColumns) -> Result<GivenCatalog, ArchiveError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.csv");
        std::fs::write(&path, text).unwrap();
        read_given_catalog(&path, columns)
    }

    #[test]
    fn csv_with_plain_names_counts_pixels_from_one() {
        let c = read("ID,RA,Dec,X,Y\n7,150.5,2.25,1,1\n8,150.6,2.26,10.5,20\n", &CatalogColumns::default()).unwrap();
        assert_eq!(c.objects[0], GivenObject { id: 7, sky: Some((150.5, 2.25)), pixel: Some((0.0, 0.0)) });
        assert_eq!(c.objects[1].pixel, Some((9.5, 19.0)));
        assert_eq!(c.notes.len(), 1, "{:?}", c.notes);
    }

    #[test]
    fn an_lsst_table_counts_pixels_from_zero() {
        let c = read("sourceId,x,y\n9007199254740993,5,6\n", &CatalogColumns::default()).unwrap();
        assert_eq!(c.objects, [GivenObject { id: 9_007_199_254_740_993, sky: None, pixel: Some((5.0, 6.0)) }]);
    }

    #[test]
    fn a_sextractor_text_catalogue_is_understood() {
        let text = "#   1 NUMBER     Running object number\n#   2 X_IMAGE    Position [pixel]\n#   3 Y_IMAGE\n\
                    #   4 ALPHA_J2000\n#   5 DELTA_J2000\n   1   10.0  20.0 150.0 2.0\n   2   11.0  21.0 150.1 2.1\n";
        let c = read(text, &CatalogColumns::default()).unwrap();
        assert_eq!(c.objects[1], GivenObject { id: 2, sky: Some((150.1, 2.1)), pixel: Some((10.0, 20.0)) });
    }

    #[test]
    fn an_ecsv_table_is_understood() {
        let text = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, datatype: float64}\nra dec\n150.5 2.5\n";
        let c = read(text, &CatalogColumns::default()).unwrap();
        assert_eq!(c.objects, [GivenObject { id: 1, sky: Some((150.5, 2.5)), pixel: None }]);
    }

    #[test]
    fn a_mapping_names_the_columns() {
        let columns = CatalogColumns {
            id: Some("key".into()),
            x: Some("col".into()),
            y: Some("row".into()),
            first_pixel: Some(0),
            ..CatalogColumns::default()
        };
        let c = read("key;col;row\n3;4;5\n", &columns).unwrap();
        assert_eq!(c.objects, [GivenObject { id: 3, sky: None, pixel: Some((4.0, 5.0)) }]);
        assert!(c.notes.is_empty());
        let error = read("key;column;row\n3;4;5\n", &columns).unwrap_err().to_string();
        assert!(error.contains("no column col") && error.contains("key, column, row"), "{error}");
    }

    #[test]
    fn missing_columns_are_named_with_what_is_there_and_what_is_accepted() {
        let error = read("name,alpha,delta\na,1,2\n", &CatalogColumns::default()).unwrap_err().to_string();
        for part in ["name, alpha, delta", "ALPHA_J2000/DELTA_J2000", "X_IMAGE/Y_IMAGE", "[catalog]"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn rows_without_a_position_are_left_out_and_said() {
        let c = read("id,ra,dec\na1,nan,2\na2,1,\na3,1,2\n", &CatalogColumns::default()).unwrap();
        assert_eq!(c.objects, [GivenObject { id: 3, sky: Some((1.0, 2.0)), pixel: None }]);
        assert!(
            c.notes.iter().any(|n| n.contains("2 of 3")) && c.notes.iter().any(|n| n.contains("numbered")),
            "{:?}",
            c.notes
        );
    }

    #[test]
    fn a_broken_number_is_an_error_with_its_line() {
        let error = read("id,ra,dec\n1,10,20\n2,1o,20\n", &CatalogColumns::default()).unwrap_err().to_string();
        assert!(error.contains("`1o`") && error.contains("row 2") && error.contains("ra"), "{error}");
    }
}
