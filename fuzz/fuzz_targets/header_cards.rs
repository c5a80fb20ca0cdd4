//! Arbitrary cards behind a valid image header: metadata, mask planes and world coordinates must not panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stillair::fits::{FitsFile, ReadSettings, list_in, read_with};
use stillair::sky::Wcs;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Vec::new();
    let mut card = |text: &[u8]| {
        let mut line = [b' '; 80];
        let n = text.len().min(80);
        line[..n].copy_from_slice(&text[..n]);
        bytes.extend_from_slice(&line);
    };
    for text in ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2"] {
        card(text.as_bytes());
    }
    card(b"NAXIS1  =                   40");
    card(b"NAXIS2  =                   36");
    data.split(|&b| b == b'\n').take(100).for_each(&mut card);
    card(b"END");
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes.extend((0..2880).map(|i| (i * 7919 % 251) as u8));
    let Ok(mut file) = FitsFile::from_bytes("fuzz.fits", bytes) else { return };
    let settings = ReadSettings { max_pixels: 1 << 16, ..ReadSettings::default() };
    if let Ok(handles) = list_in(&file, Path::new("fuzz.fits"), &settings) {
        for handle in handles {
            let _ = read_with(&mut file, &handle, &settings);
        }
    }
    if let Ok(cards) = file.cards(0)
        && let Ok(wcs) = Wcs::from_cards(&cards)
    {
        let (ra, dec) = wcs.pixel_to_sky(3.0, 40.0);
        let _ = wcs.sky_to_pixel(ra, dec);
        let _ = wcs.jacobian(3.0, 40.0);
    }
});
