//! Positions from tables and text, for evaluation and for lists of stars.

use std::path::Path;

use super::error::FitsError;
use super::file::{FitsFile, HduContent};
use super::psf_files::{MAX_BYTES, PsfFileError, content};

/// Positions (0-based) from a table: columns x, y (1-based) of the first table that has them, of the named HDU, or of a CSV.
/// `spec` is FILE or FILE[HDU]; without an HDU a table PSFPOS comes first.
pub fn read_positions(spec: &str) -> Result<Vec<(f64, f64)>, PsfFileError> {
    let (path, hdu) = split_spec(spec);
    let zero_based = |x: Vec<f64>, y: Vec<f64>| -> Vec<(f64, f64)> {
        x.into_iter().zip(y).map(|(a, b)| (a - 1.0, b - 1.0)).collect()
    };
    let lower = path.to_lowercase();
    if lower.ends_with(".csv") || lower.ends_with(".txt") {
        let text = std::fs::read_to_string(path).map_err(|source| FitsError::Io {
            path: path.into(),
            action: "read",
            source,
        })?;
        return read_csv(&text, path);
    }
    let mut file = FitsFile::open(Path::new(path), MAX_BYTES)?;
    let indices: Vec<usize> = match hdu {
        Some(h) => vec![file.select(h)?.index],
        None => {
            let mut v: Vec<usize> = file.find("PSFPOS").map(|h| h.index).into_iter().collect();
            v.extend(file.hdus().iter().filter(|h| h.content == HduContent::Table).map(|h| h.index));
            v
        }
    };
    for index in indices {
        let table = file.read_table(index)?;
        let x = table.first_of(&["x", "X", "X_IMAGE", "XWIN_IMAGE"]).map(str::to_string);
        let y = table.first_of(&["y", "Y", "Y_IMAGE", "YWIN_IMAGE"]).map(str::to_string);
        if let (Some(x), Some(y)) = (x, y) {
            return Ok(zero_based(table.numbers(&x)?, table.numbers(&y)?));
        }
    }
    Err(content(path, "no table with columns x and y", "name the table as FILE[HDU]"))
}

/// FILE[NAME] into FILE and NAME.
pub fn split_spec(spec: &str) -> (&str, Option<&str>) {
    match spec.strip_suffix(']').and_then(|s| s.rsplit_once('[')) {
        Some((file, inner)) => (file, Some(inner)),
        None => (spec, None),
    }
}

fn read_csv(text: &str, path: &str) -> Result<Vec<(f64, f64)>, PsfFileError> {
    let split = |line: &str| -> Vec<String> {
        line.split([',', ';', '\t', ' ']).filter(|f| !f.is_empty()).map(|f| f.trim().to_string()).collect()
    };
    let mut columns = (0, 1);
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let fields = split(line.trim_start_matches('#'));
        if fields.is_empty() {
            continue;
        }
        let value = |k: usize| fields.get(k).and_then(|f| f.parse::<f64>().ok());
        match (value(columns.0), value(columns.1)) {
            (Some(x), Some(y)) => out.push((x - 1.0, y - 1.0)),
            _ if out.is_empty() => {
                let find = |name: &str| fields.iter().position(|f| f.eq_ignore_ascii_case(name));
                if let (Some(x), Some(y)) = (find("x"), find("y")) {
                    columns = (x, y);
                }
            }
            _ => {
                return Err(content(
                    path,
                    &format!("line {} holds no x and y", number + 1),
                    "give two numbers per line, or a header with x and y",
                ));
            }
        }
    }
    if out.is_empty() {
        return Err(content(path, "no positions", "give two numbers per line, or a header with x and y"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_with_and_without_header() {
        assert_eq!(read_csv("1,2\n3,4\n", "a").expect("two rows"), vec![(0.0, 1.0), (2.0, 3.0)]);
        assert_eq!(read_csv("id,x,y\n7,1,2\n", "a").expect("one row"), vec![(0.0, 1.0)]);
        assert!(read_csv("id,x\n", "a").is_err());
    }

    #[test]
    fn specs() {
        assert_eq!(split_spec("a.fits[PSFPOS]"), ("a.fits", Some("PSFPOS")));
        assert_eq!(split_spec("a.fits"), ("a.fits", None));
    }
}
