//! Arbitrary bytes as a FITS file: images, masks and tables must not panic. Good seeds: tests/golden/reading/*.fits.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stillair::fits::{FitsFile, ReadSettings, list_in, read_with};

fuzz_target!(|data: &[u8]| {
    let Ok(mut file) = FitsFile::from_bytes("fuzz.fits", data.to_vec()) else { return };
    let settings = ReadSettings { max_pixels: 1 << 16, ..ReadSettings::default() };
    if let Ok(handles) = list_in(&file, Path::new("fuzz.fits"), &settings) {
        for handle in handles {
            let _ = read_with(&mut file, &handle, &settings);
        }
    }
    for index in 0..file.hdus().len() {
        let _ = file.read_plane(index, 1 << 16);
        let _ = file.read_bits(index, 1 << 16);
        if let Ok(table) = file.read_table(index) {
            for name in table.names() {
                let _ = (table.numbers(&name), table.integers(&name), table.strings(&name));
            }
        }
    }
});
