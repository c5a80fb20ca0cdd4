//! Runs the program as a user does and reads what it left behind.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use stillair::archive::{read_catalog_fits, read_catalog_parquet};
use stillair::catalog::{Catalog, CatalogRow, Flags};

/// What came of a run of the program.
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// The run must have ended with this exit code, and without a panic.
    pub fn exit(self, code: i32) -> Self {
        let all = format!("exit code {}, expected {code}\n--- out\n{}--- err\n{}", self.code, self.out, self.err);
        assert!(self.code == code && !self.err.contains("panicked") && !self.out.contains("panicked"), "{all}");
        self
    }

    /// Standard error must hold each of these.
    pub fn tells(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "standard error lacks {part:?}:\n{}", self.err);
        }
        self
    }

    /// Standard output must hold each of these.
    pub fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.out.contains(part), "standard output lacks {part:?}:\n{}", self.out);
        }
        self
    }
}

/// Runs the program in the repository's root with these settings in the environment.
pub fn stillair_with<A: AsRef<std::ffi::OsStr>>(settings: &[(&str, &str)], arguments: &[A]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stillair"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STILLAIR__")) {
        command.env_remove(name);
    }
    command.envs(settings.iter().copied());
    let output = command.output().expect("the program starts");
    Run {
        code: output.status.code().expect("the program ends by itself"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// As [`stillair_with`], with the shipped configuration.
pub fn stillair<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Run {
    stillair_with(&[], arguments)
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Whether ONNX Runtime is there (said on standard error where not): tests of the shipped network need it.
pub fn has_runtime() -> bool {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so").exists()
        || std::env::var_os("ORT_DYLIB_PATH").is_some();
    if !found {
        eprintln!("SKIPPED: no ONNX Runtime: run `make setup`");
    }
    found
}

/// Simulates one exposure of 512 x 512 pixels into `folder`; its path.
pub fn simulated(folder: &Path, layout: &str, seed: u64) -> PathBuf {
    let seed = seed.to_string();
    let arguments = ["simulate", "--out", text(folder), "--layout", layout, "--size", "512,512"];
    let more = ["--objects", "200", "--stars", "60", "--seed", &seed];
    stillair(&[arguments.as_slice(), more.as_slice()].concat()).exit(0);
    folder.join(format!("{layout}-{seed}.fits"))
}

/// The folder of an exposure's outputs: catalogues in both formats with the same rows, and the summary.
pub struct Outputs {
    /// The folder.
    pub folder: PathBuf,
    /// The catalogue.
    pub catalog: Catalog,
    /// `summary.json`.
    pub summary: serde_json::Value,
}

impl Outputs {
    /// Reads them; every file that the summary names must be there at its length, and no other.
    pub fn read(folder: PathBuf) -> Self {
        let bytes = std::fs::read(folder.join("summary.json")).expect("summary.json");
        let summary: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let catalog = read_catalog_parquet(&folder.join("catalog.parquet")).expect("catalog.parquet");
        let fits = read_catalog_fits(&folder.join("catalog.fits")).expect("catalog.fits");
        assert_eq!(format!("{:?}", catalog.rows), format!("{fits:?}"), "FITS and Parquet differ");
        assert_eq!(summary["objects"].as_u64(), Some(catalog.rows.len() as u64));
        let mut listed = vec!["summary.json".to_string()];
        for file in summary["files"].as_array().expect("files") {
            let name = file["name"].as_str().expect("name");
            let length = std::fs::metadata(folder.join(name)).expect("a listed file").len();
            assert_eq!(file["bytes"].as_u64(), Some(length), "{name}");
            listed.push(name.to_string());
        }
        let mut present: Vec<String> = std::fs::read_dir(&folder)
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        listed.sort();
        present.sort();
        assert_eq!(listed, present);
        Self { folder, catalog, summary }
    }

    /// Whether a file was written.
    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }

    /// The catalogue's rows.
    pub fn rows(&self) -> &[CatalogRow] {
        &self.catalog.rows
    }

    /// Whether there are rows and all carry these flags.
    pub fn all_flagged(&self, flags: Flags) -> bool {
        !self.rows().is_empty() && self.rows().iter().all(|row| row.flags.contains(flags))
    }
}

/// Processes an exposure into `out` and reads the outputs; the exit code must be 0.
pub fn processed(exposure: &Path, out: &Path, options: &[&str]) -> (Run, Outputs) {
    let run = stillair(&[["process", text(exposure), "--out", text(out)].as_slice(), options].concat()).exit(0);
    let name = exposure.file_name().expect("name").to_string_lossy().into_owned();
    let folder = out.join(name.trim_end_matches(".fits"));
    let outputs = Outputs::read(folder);
    (run, outputs)
}
