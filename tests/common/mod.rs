//! What every integration test shares.
#![allow(dead_code)]

use std::path::PathBuf;

/// Path of a real data file, or `None` (said on standard error) where the data set is absent.
/// The data lie in `$STILLAIR_TEST_DATA`, or beside the repository in `shared/data`.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STILLAIR_TEST_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: real data {name} not found below {}", root.display());
    None
}

/// Path of a file below `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}
