//! Arbitrary bytes as a given catalogue (FITS, Parquet or text: told by content) must not panic.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use stillair::archive::{CatalogColumns, read_given_catalog};

fuzz_target!(|data: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(data).is_ok() {
        let _ = read_given_catalog(file.path(), &CatalogColumns::default());
    }
});
