//! Arbitrary text as a configuration file, and as the value of an environment variable, must not panic.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use stillair::settings;

fuzz_target!(|text: &str| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(text.as_bytes()).is_ok() {
        let _ = settings::load_from(Some(file.path()), []);
    }
    let variable = ("STILLAIR__OUTPUT__DIRECTORY".to_string(), text.to_string());
    let _ = settings::load_from(None, [variable]);
});
