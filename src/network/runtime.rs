//! Finding and loading ONNX Runtime's shared library; one per process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::NetworkError;

/// The library's file name.
#[cfg(target_os = "windows")]
const LIBRARY: &str = "onnxruntime.dll";
/// The library's file name.
#[cfg(target_os = "macos")]
const LIBRARY: &str = "libonnxruntime.dylib";
/// The library's file name.
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const LIBRARY: &str = "libonnxruntime.so";

/// ONNX Runtime, loaded. Copies share the one library of the process.
#[derive(Debug, Clone)]
pub struct Runtime {
    path: PathBuf,
    pub(super) environment: ort::environment::Environment,
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Finds and loads the library: `path` (a file or its folder), or where it is empty `ORT_DYLIB_PATH`, `runtime/` below the
    /// current directory, the program's folder, and `runtime/` beside the program and beside its parent folders up to two.
    ///
    /// Errors name what was looked at and the remedy. Once loaded, asking for another file is an error.
    pub fn load(path: &Path) -> Result<Self, NetworkError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            if path.as_os_str().is_empty() {
                return Ok(runtime.clone());
            }
            let asked = resolve(path)?;
            if asked == runtime.path {
                return Ok(runtime.clone());
            }
            return Err(NetworkError::RuntimeAlreadyLoaded { loaded: runtime.path.clone(), asked });
        }
        let file = if path.as_os_str().is_empty() { search(&default_places())? } else { resolve(path)? };
        let unusable = |reason: String| NetworkError::RuntimeUnusable { path: file.clone(), reason };
        // The plain `ort::init` panics at first use where the library is missing; `init_from` says so at once.
        let environment = ort::init_from(&file)
            .map_err(|error| unusable(error.to_string()))?
            .with_name("stillair")
            .with_telemetry(false)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        let runtime = Self { path: file, environment };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version and build, as the library says.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }
}

/// A file as given, or the library in a folder as given.
fn resolve(path: &Path) -> Result<PathBuf, NetworkError> {
    let file = if path.is_dir() { path.join(LIBRARY) } else { path.to_path_buf() };
    search(&[file])
}

/// Where the library is looked for when no path is given, in order.
fn default_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(given) = std::env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()) {
        places.push(PathBuf::from(given));
    }
    places.push(Path::new("runtime").join(LIBRARY));
    if let Ok(program) = std::env::current_exe() {
        let folders = program.ancestors().skip(1).take(4);
        for (i, folder) in folders.enumerate() {
            if i == 0 {
                places.push(folder.join(LIBRARY));
            }
            places.push(folder.join("runtime").join(LIBRARY));
        }
    }
    places
}

/// The first place that exists, absolute.
fn search(places: &[PathBuf]) -> Result<PathBuf, NetworkError> {
    let found = places.iter().find(|place| place.is_file()).and_then(|place| place.canonicalize().ok());
    found.ok_or_else(|| NetworkError::RuntimeMissing {
        looked: places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_with_path_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = resolve(&folder.path().join("nowhere.so")).unwrap_err().to_string();
        assert!(error.contains("nowhere.so") && error.contains("make setup"), "{error}");
        let error = resolve(folder.path()).unwrap_err().to_string();
        assert!(error.contains(LIBRARY), "{error}");
    }

    #[test]
    fn places_are_tried_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&second, "").unwrap();
        assert!(search(&[first.clone(), second.clone()]).unwrap().ends_with("b"));
        std::fs::write(&first, "").unwrap();
        assert!(search(&[first, second]).unwrap().ends_with("a"));
        assert!(default_places().contains(&Path::new("runtime").join(LIBRARY)));
    }
}
