//! What is written to disk, read back in Rust and as users read it in Python.
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use stillair::archive::{
    CatalogColumns, StampFile, StampPlanes, StampRecord, catalog_fits_bytes, catalog_parquet_bytes, read_catalog_fits,
    read_catalog_parquet, read_given_catalog, write_catalog_fits, write_catalog_parquet,
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

/// Runs a script; false if there is no Python.
fn run_python(script: &str, arguments: &[&Path]) -> bool {
    let Some(python) = python() else { return false };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let output = Command::new(&python).arg(&script).args(arguments).output().expect("Python starts");
    assert!(
        output.status.success(),
        "{} failed:\n{}{}",
        script.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
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
    let text = stillair::catalog::text::catalogue_markdown() + &stillair::archive::given_markdown();
    if std::env::var_os("STILLAIR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("write the documentation");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/catalogue.md");
    assert!(
        kept == text,
        "docs/catalogue.md is out of step: STILLAIR_WRITE_DOCS=1 cargo test --test archive documentation"
    );
}

/// The stamps that check_stamps.py expects: pixel (r, c) of stamp i of cube k holds 1000 k + 100 i + r + c / 256.
fn ramp(cube: usize, index: usize, side: usize) -> stillair::image::Plane {
    let base = (1000 * cube + 100 * index) as f32;
    stillair::image::Plane::from_shape_fn((side, side), |(r, c)| base + r as f32 + c as f32 / 256.0)
}

#[test]
fn astropy_reads_stamps_as_the_contract_says() {
    for (size, factor, calibrated) in [(64, 1, true), (32, 2, true), (16, 3, false)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(format!("stamps_{size}.fits"));
        let mut h = header(calibrated);
        h.exposure = "stamps".into();
        h.target_factor = factor;
        let ids = vec![5_i64, 9, 2, 77];
        let put = [3_usize, 0, 2]; // in another order, and stamp 1 never
        let mut file = StampFile::create(&path, &h, size, ids.clone()).expect("create");
        for i in put {
            let record = StampRecord {
                id: ids[i],
                ra: 150.0 + i as f64,
                dec: -(i as f64),
                centre: (size as f64 / 2.0 + 0.25, size as f64 / 2.0 - 0.25),
                corner: (10 * i as isize, 20 * i as isize),
                sigma: 2.0,
                noise_sigma: 3.0,
                flags: Flags::EDGE,
            };
            let fine = size * factor;
            let planes = StampPlanes {
                deconvolved: &ramp(0, i, fine),
                observed: &ramp(1, i, size),
                psf: &ramp(2, i, fine),
                tikhonov: &ramp(3, i, fine),
                residual: &ramp(4, i, size),
            };
            file.put(i, record, planes).expect("put");
        }
        assert!(!path.exists(), "nothing is seen before the end");
        file.finish().expect("finish");
        let json = folder.path().join("expected.json");
        let expected = serde_json::json!({
            "size": size, "factor": factor, "ids": ids, "put": put,
            "mag_zero": calibrated.then_some(31.4), "pixel_scale": h.pixel_scale, "target_fwhm": h.target_fwhm_arcsec,
            "flux_scale": h.flux_scale(),
        });
        std::fs::write(&json, expected.to_string()).expect("JSON");
        run_python("check_stamps.py", &[&path, &json]);
    }
}

#[test]
fn a_stamp_of_the_wrong_object_or_size_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = StampFile::create(&folder.path().join("s.fits"), &header(true), 8, vec![1]).expect("create");
    let record = |id| StampRecord {
        id,
        ra: 0.0,
        dec: 0.0,
        centre: (4.0, 4.0),
        corner: (0, 0),
        sigma: 1.0,
        noise_sigma: 1.0,
        flags: Flags::empty(),
    };
    let (right, wrong) = (ramp(0, 0, 8), ramp(0, 0, 9));
    let planes =
        |observed| StampPlanes { deconvolved: &right, observed, psf: &right, tikhonov: &right, residual: &right };
    assert!(file.put(0, record(2), planes(&right)).is_err());
    assert!(file.put(1, record(1), planes(&right)).is_err());
    assert!(file.put(0, record(1), planes(&wrong)).is_err());
    assert!(file.put(0, record(1), planes(&right)).is_ok());
}

#[test]
fn catalogues_of_surveys_and_tools_are_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    if !run_python("make_given.py", &[folder.path()]) {
        return;
    }
    let read = |name: &str| {
        read_given_catalog(&folder.path().join(name), &CatalogColumns::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let pixels = [(9.5, 19.25), (29.0, 39.0), (49.125, 59.0)];
    let sky = |k: usize| (150.0 + k as f64 / 8.0, 2.0 + k as f64 / 16.0);
    for (name, has_pixels, has_sky) in [
        ("sextractor_ldac.fits", true, true),
        ("euclid_mer.fits", false, true),
        ("afw.fits", false, true),
        ("afw.fits.gz", false, true),
        ("lsst.parquet", true, true),
        ("photutils.ecsv", true, false),
        ("text_ids.fits", false, true),
    ] {
        let catalog = read(name);
        assert_eq!(catalog.objects.len(), 3, "{name}");
        for (k, object) in catalog.objects.iter().enumerate() {
            assert_eq!(object.id, 11 * (k as i64 + 1), "{name}");
            assert_eq!(object.pixel, has_pixels.then_some(pixels[k]), "{name}");
            assert_eq!(object.sky.is_some(), has_sky, "{name}");
            if let Some((ra, dec)) = object.sky {
                assert!((ra - sky(k).0).abs() < 1e-12 && (dec - sky(k).1).abs() < 1e-12, "{name}: {ra} {dec}");
            }
        }
    }
    for name in ["masked.csv", "nulls.parquet"] {
        let catalog = read(name);
        let ids: Vec<i64> = catalog.objects.iter().map(|o| o.id).collect();
        assert_eq!(ids, [11, 33], "{name}");
        assert!(catalog.notes.iter().any(|n| n.contains("1 of 3")), "{name}: {:?}", catalog.notes);
    }
}

#[test]
fn what_is_no_catalogue_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c");
    for (bytes, part) in [
        (b"PAR1 and then nothing".as_slice(), "Parquet"),
        (b"SIMPLE  =                    T and no more", "FITS"),
        (b"\x00\x01\xff\xfe binary", "neither FITS, Parquet nor text"),
        (b"<?xml version='1.0'?><VOTABLE/>", "VOTable"),
        (b"", "no columns with positions"),
    ] {
        std::fs::write(&path, bytes).expect("write");
        let error = read_given_catalog(&path, &CatalogColumns::default()).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    }
    let gone = read_given_catalog(&folder.path().join("gone.fits"), &CatalogColumns::default()).expect_err("refused");
    assert!(gone.to_string().contains("gone.fits"), "{gone}");
}
