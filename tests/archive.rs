//! What is written to disk, read back in Rust and as users read it in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use stillair::archive::{
    catalog_fits_bytes, catalog_parquet_bytes, read_catalog_fits, read_catalog_parquet, write_catalog_fits,
    write_catalog_parquet,
};
use stillair::catalog::flags::FLAG_TABLE;
use stillair::catalog::{COLUMNS, Catalog, CatalogHeader, CatalogRow, Flags, Kind, Units, Value};

/// A Python with astropy and pyarrow: `$STILLAIR_PYTHON`, else the repository's `.venv`. `None` (said on standard error) without one.
fn python() -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let found = std::env::var_os("STILLAIR_PYTHON").map(PathBuf::from).or_else(|| own.exists().then_some(own));
    if found.is_none() {
        eprintln!("SKIPPED: no Python: set STILLAIR_PYTHON to one with astropy and pyarrow, or run `make setup`");
    }
    found
}

fn run_python(script: &str, arguments: &[&Path]) {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let output = Command::new(&python).arg(&script).args(arguments).output().expect("Python starts");
    assert!(
        output.status.success(),
        "{} failed:\n{}{}",
        script.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn header(calibrated: bool) -> CatalogHeader {
    let mut h = CatalogHeader::new("visit 42/R22_S11");
    h.band = Some("r".into());
    h.instrument = Some("O'Brien's camera".into());
    h.columns = 2048;
    h.rows = 1024;
    h.target_fwhm_pixels = 2.0;
    h.psf.fwhm_pixels = Some(4.125);
    h.psf.order = Some(2);
    h.psf.stars_used = 80;
    h.psf.quality = "good".into();
    h.network = Some("xdense-tikhonet".into());
    h.notes = vec!["a note longer than a FITS card ".repeat(5).trim_end().to_string(), "sky was not subtracted".into()];
    if calibrated {
        h.zero_point = Some(27.0);
        h.pixel_scale = Some(0.2);
        h.target_fwhm_arcsec = Some(0.4);
    } else {
        h.units = Units { flux: "adu".into(), angular: false };
    }
    h
}

fn rows() -> Vec<CatalogRow> {
    let mut whole = CatalogRow::empty(1);
    for (i, column) in COLUMNS.iter().enumerate().skip(1) {
        let value = match column.kind {
            Kind::Float => Value::Float(0.1 * i as f64 - 1.0),
            Kind::Integer => Value::Integer(i as i64),
            Kind::Small => Value::Small(Some(64)),
            Kind::Text => Value::Text(Some(format!("text {i}").into())),
        };
        (column.set)(&mut whole, value);
    }
    let mut large = whole.clone();
    large.id = i64::MAX;
    large.flux = 1e300;
    large.flags = Flags::all();
    vec![whole, CatalogRow::empty(2), large]
}

/// The same in the words of JSON, for the Python check; NaN is null.
fn expected(catalog: &Catalog) -> serde_json::Value {
    let row = |r: &CatalogRow| -> serde_json::Value {
        let cells = COLUMNS.iter().map(|c| {
            let value = match (c.get)(r) {
                Value::Float(v) => serde_json::json!(v),
                Value::Integer(v) => serde_json::json!(v),
                Value::Small(v) => serde_json::json!(v),
                Value::Text(v) => serde_json::json!(v.as_deref()),
            };
            (c.name.to_string(), value)
        });
        serde_json::Value::Object(cells.collect())
    };
    let units = &catalog.header.units;
    serde_json::json!({
        "columns": COLUMNS.iter().map(|c| serde_json::json!({
            "name": c.name, "unit": units.text(c.unit), "ucd": c.ucd, "description": c.description,
        })).collect::<Vec<_>>(),
        "flags": FLAG_TABLE,
        "rows": catalog.rows.iter().map(row).collect::<Vec<_>>(),
        "header": catalog.header,
        "cards": {
            "EXPOSURE": catalog.header.exposure, "INSTRUME": "O'Brien's camera", "TGTFWPIX": 2.0, "PSFNUSED": 80,
            "NOTE1": catalog.header.notes[0], "NOTE2": "sky was not subtracted", "FLUXUNIT": units.flux,
        },
    })
}

#[test]
fn python_reads_both_formats_with_units_and_ucds() {
    for calibrated in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog { header: header(calibrated), rows: rows() };
        write_catalog_fits(&folder.path().join("catalog.fits"), &catalog).expect("FITS");
        write_catalog_parquet(&folder.path().join("catalog.parquet"), &catalog).expect("Parquet");
        let json = folder.path().join("expected.json");
        std::fs::write(&json, expected(&catalog).to_string()).expect("JSON");
        run_python("check_catalog.py", &[folder.path(), &json]);
    }
}

/// NaN equals NaN, all else bit by bit.
fn same(a: &CatalogRow, b: &CatalogRow) -> Result<(), String> {
    for c in COLUMNS {
        let (left, right) = ((c.get)(a), (c.get)(b));
        let equal = match (&left, &right) {
            (Value::Float(l), Value::Float(r)) => l.to_bits() == r.to_bits() || (l.is_nan() && r.is_nan()),
            _ => left == right,
        };
        if !equal {
            return Err(format!("{}: {left:?} became {right:?}", c.name));
        }
    }
    Ok(())
}

#[test]
fn an_empty_catalogue_is_a_table_of_no_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Catalog { header: header(true), rows: Vec::new() };
    let (fits, parquet) = (folder.path().join("c.fits"), folder.path().join("c.parquet"));
    write_catalog_fits(&fits, &catalog).expect("FITS");
    write_catalog_parquet(&parquet, &catalog).expect("Parquet");
    assert!(read_catalog_fits(&fits).expect("read").is_empty());
    assert_eq!(read_catalog_parquet(&parquet).expect("read"), catalog);
}

#[test]
fn the_same_catalogue_gives_the_same_bytes() {
    let catalog = Catalog { header: header(true), rows: rows() };
    assert_eq!(catalog_fits_bytes(&catalog), catalog_fits_bytes(&catalog.clone()));
    let name = Path::new("c.parquet");
    let once = catalog_parquet_bytes(name, &catalog).expect("Parquet");
    for _ in 0..5 {
        assert_eq!(once, catalog_parquet_bytes(name, &catalog.clone()).expect("Parquet"));
    }
}

prop_compose! {
    fn any_row()(
        floats in prop::collection::vec(prop_oneof![3 => any::<f64>(), 1 => Just(f64::NAN)], 64),
        id in any::<i64>(),
        stamp in prop::option::of(0..1_000_i32),
        bits in 0..(1_u32 << 22),
        texts in prop::collection::vec(prop::option::of("[A-Za-z0-9_.-]{1,20}"), 8),
    ) -> CatalogRow {
        let mut row = CatalogRow::empty(id);
        for (i, c) in COLUMNS.iter().enumerate().skip(1) {
            let value = match c.kind {
                Kind::Float => Value::Float(floats[i]),
                Kind::Integer => Value::Integer(id),
                Kind::Small if c.name == "flags" => Value::Small(Some(bits as i32)),
                Kind::Small => Value::Small(stamp),
                Kind::Text => Value::Text(texts[i % 8].as_deref().map(Into::into)),
            };
            (c.set)(&mut row, value);
        }
        row
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_row_survives_both_formats(rows in prop::collection::vec(any_row(), 1..6)) {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog { header: header(true), rows };
        let (fits, parquet) = (folder.path().join("c.fits"), folder.path().join("c.parquet"));
        write_catalog_fits(&fits, &catalog).expect("FITS");
        write_catalog_parquet(&parquet, &catalog).expect("Parquet");
        let from_parquet = read_catalog_parquet(&parquet).expect("read Parquet");
        prop_assert_eq!(&from_parquet.header, &catalog.header);
        let from_fits = read_catalog_fits(&fits).expect("read FITS");
        for back in [&from_parquet.rows, &from_fits] {
            prop_assert_eq!(back.len(), catalog.rows.len());
            for (a, b) in catalog.rows.iter().zip(back) {
                prop_assert_eq!(same(a, b), Ok(()));
            }
        }
    }
}

#[test]
fn documentation_is_in_step_with_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/catalogue.md");
    let text = stillair::catalog::text::catalogue_markdown();
    if std::env::var_os("STILLAIR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("write the documentation");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/catalogue.md");
    assert!(
        kept == text,
        "docs/catalogue.md is out of step: STILLAIR_WRITE_DOCS=1 cargo test --test archive documentation"
    );
}
