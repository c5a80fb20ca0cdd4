//! `stillair evaluate` on files: against scores by numpy and scikit-image, on its own simulated fields, and on input that cannot be scored.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use common::golden;
use serde_json::Value;

fn stillair(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stillair")).args(arguments).output().expect("stillair runs")
}

fn path(name: &str) -> String {
    golden(&format!("evaluate/{name}")).display().to_string()
}

/// The golden output against the golden truth, with further arguments; the report and the table of objects.
fn scored(more: &[&str]) -> (Value, Vec<HashMap<String, String>>, String) {
    let folder = tempfile::tempdir().expect("folder");
    let (json, csv) = (folder.path().join("a.json"), folder.path().join("a.csv"));
    let (json, csv) = (json.to_str().expect("a path"), csv.to_str().expect("a path"));
    let (catalog, truth, stamps) = (path("field_catalog.csv"), path("field.truth.fits"), path("field_stamps.fits"));
    let arguments = ["evaluate", &catalog, "--truth", &truth, "--stamps", &stamps, "--column", "flux=flux_nJy"];
    let done = stillair(&[&arguments[..], &["--json", json, "--objects", csv], more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report = serde_json::from_slice(&std::fs::read(json).expect("report")).expect("JSON");
    let text = std::fs::read_to_string(csv).expect("objects");
    let mut lines = text.lines().map(|l| l.split(',').map(str::to_string).collect::<Vec<_>>());
    let names = lines.next().expect("names");
    let rows = lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect();
    (report, rows, String::from_utf8_lossy(&done.stdout).into_owned())
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(golden("evaluate/field.json")).expect("golden values")).expect("JSON")
}

fn near(got: &Value, wanted: &Value, tolerance: f64, what: &str) {
    let (got, wanted) = (got.as_f64().unwrap_or(f64::NAN), wanted.as_f64().expect("a number"));
    assert!((got - wanted).abs() <= tolerance * wanted.abs().max(0.01), "{what}: {got} for {wanted}");
}

#[test]
fn scores_agree_with_numpy_and_scikit_image() {
    let (report, rows, text) = scored(&[]);
    let wanted = expected();
    for name in ["truth", "measured", "matched"] {
        assert_eq!(report["report"][name], wanted[name], "{name}");
    }
    let galaxies = &report["report"]["galaxies"]["all"];
    let g = &wanted["galaxies"];
    assert_eq!(galaxies["flux_bias"]["count"], g["count"]);
    for (got, name) in [
        (&galaxies["flux_bias"]["median"], "flux_median"),
        (&galaxies["flux_bias"]["scatter"], "flux_scatter"),
        (&galaxies["pulls"]["mean"], "pull_mean"),
        (&galaxies["pulls"]["std"], "pull_std"),
        (&galaxies["c_psf"]["value"], "c_psf"),
    ] {
        near(got, &g[name], 1e-4, name);
    }
    // the command measures the true shapes, numpy knows them: Gaussians on pixels, to a part in a few hundred
    for (got, name) in [
        (&galaxies["e1_bias"]["median"], "e1_median"),
        (&galaxies["e2_bias"]["median"], "e2_median"),
        (&galaxies["size_bias"]["median"], "size_median"),
        (&galaxies["c_psf_of_error"]["value"], "c_psf_of_error"),
        (&galaxies["c_true"]["value"], "c_true"),
        (&galaxies["nmse"]["median"], "nmse_median"),
    ] {
        near(got, &g[name], 0.02, name);
    }
    let low = &report["report"]["galaxies"]["bins"][0];
    assert_eq!(low["flux_bias"]["count"], wanted["low_bin"]["count"]);
    near(&low["flux_bias"]["median"], &wanted["low_bin"]["flux_median"], 1e-4, "flux of the lowest bin");
    near(&report["report"]["all"]["centroid_rms"], &wanted["centroid_rms"], 1e-4, "centroids");
    assert_eq!(report["report"]["stars"]["all"]["truth"], 3);
    let blanks = &report["blanks"];
    assert_eq!(blanks["positions"], 4);
    for name in ["mean", "mean_err", "sources"] {
        near(&blanks[name], &wanted["blanks"][name], 1e-6, name);
    }
    near(&blanks["blobs"], &wanted["blob_share"], 1e-6, "blobs");

    let objects = wanted["objects"].as_array().expect("objects");
    assert_eq!(rows.len(), objects.len());
    for (row, object) in rows.iter().zip(objects) {
        assert_eq!(row["truth_id"], object["truth_id"].to_string());
        assert_eq!(row["id"], object["id"].to_string());
        let number = |name: &str| Value::from(row[name].parse::<f64>().expect("a number"));
        for (column, tolerance) in [("fwhm_pixels", 1e-3), ("nmse", 5e-3), ("ssim", 1e-4), ("ssim_object", 2e-4)] {
            let name = if column == "fwhm_pixels" { "fwhm" } else { column };
            near(&number(column), &object[name], tolerance, &format!("{column} of object {}", row["truth_id"]));
        }
        for column in ["e1_true", "e2_true", "size_true"] {
            // e near 0 is held to 0.003 absolute
            let (got, wanted) = (number(column), &object[column]);
            let off = (got.as_f64().expect("f64") - wanted.as_f64().expect("f64")).abs();
            let allowed = if column == "size_true" { 0.01 * wanted.as_f64().expect("f64") } else { 0.003 };
            assert!(off < allowed, "{column} of object {}: {got} for {wanted}", row["truth_id"]);
        }
    }
    for word in ["Galaxies", "Stars", "flux = flux_nJy", "4 empty positions", "NMSE"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn stamps_alone_are_scored_by_what_they_show() {
    let folder = tempfile::tempdir().expect("folder");
    let json = folder.path().join("a.json");
    let json = json.to_str().expect("a path");
    let done =
        stillair(&["evaluate", &path("field_stamps.fits"), "--truth", &path("field.truth.fits"), "--json", json]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(json).expect("report")).expect("JSON");
    let galaxies = &report["report"]["galaxies"]["above"][0];
    // the stamps show 95 % of the flux and the true shapes
    near(&galaxies["flux_bias"]["median"], &Value::from(-0.05), 0.05, "flux");
    assert!(galaxies["e1_bias"]["median"].as_f64().expect("shapes").abs() < 0.01, "{galaxies}");
    assert!(galaxies["size_bias"]["median"].as_f64().expect("sizes").abs() < 0.01, "{galaxies}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("adaptive moments of the stamps"));
}

#[test]
fn what_cannot_be_scored_says_why() {
    let folder = tempfile::tempdir().expect("folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (truth, stamps) = (path("field.truth.fits"), path("field_stamps.fits"));
    let elsewhere = file("elsewhere.csv", "id,x,y,flux\n1,5000,5000,1\n2,5100,5000,1\n");
    let nothing = file("nothing.csv", "a,b\n1,2\n");
    let no_table = file("no_table.fits", "SIMPLE  =                    T");
    let catalog = path("field_catalog.csv");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("folder");
    let empty = empty.display().to_string();
    for (arguments, code, says) in [
        (vec![catalog.as_str()], 1, "no truth"),
        (vec![&catalog, "--truth", &nothing], 1, "truth"),
        (vec![&catalog, "--truth", "/nowhere.fits"], 1, "no table TRUTH"),
        (vec![&elsewhere, "--truth", &truth], 1, "another field"),
        (vec![&nothing, "--truth", &truth], 1, "no columns for the positions"),
        (vec!["/nowhere.csv", "--truth", &truth], 1, "no such file"),
        (vec![&empty, "--truth", &truth], 1, "no catalog.parquet"),
        (vec![&no_table, "--truth", &truth], 1, "no_table.fits"),
        (vec![&catalog, "--truth", &truth, "--stamps", &truth], 1, "11"),
        (vec![&catalog, "--truth", &truth, "--column", "flux"], 2, "QUANTITY=COLUMN"),
        (vec![&catalog, "--truth", &truth, "--column", "flux=nothing"], 1, "no column nothing"),
        (vec![&catalog, "--truth", &truth, "--exclude", "BRIGHT"], 2, "stillair flags"),
        (vec![&catalog, "--truth", &truth, "--snr", "30,10"], 2, "rising"),
        (vec![&catalog, "--truth", &truth, "--first-pixel", "2"], 2, "0 or 1"),
        (vec![&catalog, "--truth", &truth, "--match-radius", "-1"], 2, "positive"),
        (vec![&catalog, &catalog, "--truth", &truth, "--stamps", &stamps], 2, "one OUTPUT"),
        (vec![&catalog, &catalog, &catalog, "--truth", &truth, "--truth", &truth], 2, "one for each"),
        (vec![], 2, "OUTPUT"),
    ] {
        let done = stillair(&[&["evaluate"], &arguments[..]].concat());
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {error}");
        if says != "11" {
            assert!(error.contains(says), "{arguments:?}: {error}");
        }
    }
}

/// A simulated field, processed and scored from its folder alone; its empty positions along with it; another target is refused.
#[test]
fn a_processed_field_is_scored_from_its_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let done = stillair(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let target = ["--target-fwhm", "0.4", "--target-scale", "0.2"];
    run(&[
        &[
            "simulate",
            "--out",
            &at("sky"),
            "--seed",
            "8",
            "--size",
            "512,400",
            "--objects",
            "70",
            "--truth-stamps",
            "48",
        ][..],
        &["--blanks", "12"],
        &target,
    ]
    .concat());
    let exposure = at("sky/lsst-8.fits");
    let common = ["process", &exposure, "--model", "none"];
    run(&[&common[..], &["--out", &at("out")], &target].concat());
    let blanks = at("sky/lsst-8.blanks.csv");
    run(&[&common[..], &["--out", &at("blank"), "--catalog", &blanks], &target].concat());
    let (output, blank) = (at("out/lsst-8"), at("blank/lsst-8"));
    let (json, pictures) = (at("a.json"), at("pictures"));
    let text = run(&["evaluate", &output, &blank, "--json", &json, "--pictures", &pictures]);
    assert!(text.contains("empty positions") && text.contains("NMSE"), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).expect("report")).expect("JSON");
    assert_eq!(report["fields"].as_array().map(Vec::len), Some(2));
    let blanks = report["blanks"]["positions"].as_u64().expect("blanks");
    assert!(blanks >= 6, "{blanks}");
    let bright = &report["report"]["all"];
    assert!(bright["nmse"]["median"].as_f64().is_some_and(|v| v > 0.0 && v < 1.0), "{bright}");
    assert!(report["report"]["completeness"].as_f64().is_some_and(|v| v > 0.3));
    for name in ["scores.png", "objects.png"] {
        let bytes = std::fs::read(Path::new(&pictures).join(name)).expect(name);
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    }

    // other stamps of the same exposure, at another target
    run(&[&common[..], &["--out", &at("other"), "--target-fwhm", "0.5", "--target-scale", "0.2"]].concat());
    let done = stillair(&["evaluate", &at("other/lsst-8")]);
    let error = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{error}");
    assert!(error.contains("--target-fwhm") && error.contains("0.4"), "{error}");
    // without its stamps the catalogue is scored all the same
    for stamps in std::fs::read_dir(at("other/lsst-8")).expect("folder").flatten() {
        if stamps.file_name().to_string_lossy().starts_with("stamps_") {
            std::fs::remove_file(stamps.path()).expect("removed");
        }
    }
    assert!(run(&["evaluate", &at("other/lsst-8")]).contains("no stamps"));
    std::fs::remove_file(at("sky/lsst-8.truth.fits")).expect("removed");
    let done = stillair(&["evaluate", &output]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("--truth FILE"));
}
