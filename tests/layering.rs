//! Imports run downward only: the edges that `src/lib.rs` states, read off the code's own `crate::` paths.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rooms, bottom floor first. A room may use rooms of lower floors, and those of its own floor listed in `SIDEWAYS`.
const FLOORS: &[&[&str]] = &[
    &["failure", "image", "fourier", "sky", "calibration"],
    &["exposure", "catalog", "event"],
    &["detect", "deconv"],
    &["psf", "stamp", "photometry", "simulate", "evaluate", "joint"],
    &["fits", "network", "archive", "picture", "fetch", "bus", "settings", "telemetry", "status"],
    &["pipeline"],
    &["replay", "daemon", "web"],
    &["cli"],
];

/// Edges within a floor: (from, to).
const SIDEWAYS: &[(&str, &str)] = &[
    ("sky", "failure"),
    ("calibration", "failure"),
    ("calibration", "image"),
    ("fourier", "image"),
    ("fourier", "failure"),
    ("archive", "fits"),
    ("settings", "fits"),
    ("settings", "network"),
    ("settings", "archive"),
    ("settings", "fetch"),
    ("settings", "bus"),
    ("bus", "fits"),
    ("settings", "telemetry"),
    ("simulate", "psf"),
];

/// Crates that do I/O, keep time or run asynchronously: not for the numerics.
const OUTSIDE_WORLD: &[&str] =
    &["std::fs", "std::net", "std::time", "std::thread", "tokio", "ort::", "rayon", "tracing::"];

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its room and the text of it, comments and tests left out.
fn rooms() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut result = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        let room = relative.split('/').next().expect("a name").trim_end_matches(".rs").to_string();
        if matches!(room.as_str(), "lib" | "main") || relative.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable source");
        let code: Vec<&str> = text
            .split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        result.push((room, relative, code.join("\n")));
    }
    result
}

fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("room {room} has no floor: add it to tests/layering.rs and to src/lib.rs"))
}

#[test]
fn imports_run_downward_only() {
    let names: Vec<&str> = FLOORS.iter().flat_map(|rooms| rooms.iter().copied()).collect();
    let mut broken: BTreeMap<String, String> = BTreeMap::new();
    for (room, file, code) in rooms() {
        for used in &names {
            if *used == room || !code.contains(&format!("crate::{used}")) {
                continue;
            }
            let down = floor(used) < floor(&room);
            let sideways = SIDEWAYS.contains(&(room.as_str(), used));
            if !down && !sideways {
                broken.insert(file.clone(), format!("{room} must not use {used}"));
            }
        }
        if code.contains("use crate::{") {
            broken.insert(
                file.clone(),
                "write `use crate::room::…` one room a line, so that this test can read it".into(),
            );
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn numerics_do_not_touch_the_outside_world() {
    let mut broken = Vec::new();
    for (room, file, code) in rooms() {
        if floor(&room) > 3 {
            continue;
        }
        for outside in OUTSIDE_WORLD {
            // A longer name that ends the same ("report::") is another thing.
            let mut found = code.match_indices(outside).map(|(at, _)| code[..at].chars().next_back());
            if found.any(|before| !before.is_some_and(|c| c.is_alphanumeric() || c == '_')) {
                broken.push(format!("{file} uses {outside}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
