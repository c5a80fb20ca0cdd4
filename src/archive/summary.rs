//! The summary of an exposure: what was found, how long it took, which files there are. Written last, it marks the exposure done.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::atomic::write_file;
use super::{ArchiveError, ExposurePaths};
use crate::catalog::flags::FLAG_TABLE;
use crate::catalog::{Catalog, CatalogHeader, common_flags};

/// Version of `summary.json`.
pub const SUMMARY_VERSION: u32 = 1;

/// A file of the exposure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Name in the exposure's folder.
    pub name: String,
    /// Length, bytes.
    pub bytes: u64,
}

/// `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExposureSummary {
    /// See [`SUMMARY_VERSION`].
    pub version: u32,
    /// What the catalogue says of the exposure.
    pub header: CatalogHeader,
    /// Rows of the catalogue.
    pub objects: usize,
    /// Rows with each flag, flags that no row has left out.
    pub flagged: BTreeMap<String, usize>,
    /// Rows with a flag that not every row has; `None` in summaries of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flagged_objects: Option<usize>,
    /// Seconds of each stage: the one thing that differs from run to run.
    pub seconds: BTreeMap<String, f64>,
    /// Every file of the exposure but this one.
    pub files: Vec<WrittenFile>,
    /// Anything else worth keeping (comparison with truth, memory ...).
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub more: serde_json::Map<String, serde_json::Value>,
}

impl ExposureSummary {
    /// A summary of the catalogue and of the files that lie in its folder now (partial files and the summary itself left out).
    pub fn new(catalog: &Catalog, paths: &ExposurePaths, seconds: BTreeMap<String, f64>) -> Result<Self, ArchiveError> {
        let mut flagged = BTreeMap::new();
        for (bit, name, _) in FLAG_TABLE {
            let count = catalog.rows.iter().filter(|r| r.flags.bits() & (1 << bit) != 0).count();
            if count > 0 {
                flagged.insert((*name).to_string(), count);
            }
        }
        let common = common_flags(&catalog.rows);
        let folder = paths.folder();
        let failed = |e| ArchiveError::io("read the folder", folder, e);
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_file() && !name.starts_with('.') && name != "summary.json" {
                files.push(WrittenFile { name, bytes: metadata.len() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            version: SUMMARY_VERSION,
            header: catalog.header.clone(),
            objects: catalog.rows.len(),
            flagged,
            flagged_objects: Some(catalog.rows.iter().filter(|r| !(r.flags - common).is_empty()).count()),
            seconds,
            files,
            more: serde_json::Map::new(),
        })
    }

    /// Writes it, atomically. To be done last.
    pub fn write(&self, paths: &ExposurePaths) -> Result<(), ArchiveError> {
        let path = paths.summary();
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|e| ArchiveError::Misuse { path: path.clone(), what: e.to_string() })?;
        json.push(b'\n');
        write_file(&path, &json)
    }

    /// Reads the summary; `None` if there is none.
    pub fn read(paths: &ExposurePaths) -> Result<Option<Self>, ArchiveError> {
        let path = paths.summary();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ArchiveError::io("read", &path, e)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            ArchiveError::content(&path, format!("not a summary ({e}): delete it to do the exposure again"))
        })
    }

    /// Why an exposure must be done again, given the summary of an earlier run; `None` if all of it is there and was made with
    /// the same configuration, network and program.
    pub fn stale(&self, folder: &Path, wanted: &CatalogHeader) -> Option<String> {
        if self.version != SUMMARY_VERSION || self.header.catalog_version != wanted.catalog_version {
            return Some("written in an older layout".into());
        }
        if self.header.software != wanted.software {
            return Some(format!("made by {}", self.header.software));
        }
        if self.header.config_hash != wanted.config_hash {
            return Some("made with another configuration".into());
        }
        if self.header.network_sha != wanted.network_sha {
            return Some("made with another network".into());
        }
        let gone = self.files.iter().find(|f| fs::metadata(folder.join(&f.name)).map_or(0, |m| m.len()) != f.bytes);
        gone.map(|f| format!("{} is missing or of another length", f.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CatalogRow, Flags};

    #[test]
    fn a_summary_marks_the_exposure_done_until_something_differs() {
        let out = tempfile::tempdir().unwrap();
        let paths = ExposurePaths::new(out.path(), "a");
        paths.prepare().unwrap();
        assert_eq!(ExposureSummary::read(&paths).unwrap(), None);
        write_file(&paths.catalog_fits(), b"1234").unwrap();
        let mut row = CatalogRow::empty(1);
        row.flags = Flags::EDGE;
        let header = CatalogHeader { config_hash: Some("c".into()), ..CatalogHeader::new("a") };
        let catalog = Catalog { header: header.clone(), rows: vec![row, CatalogRow::empty(2)] };
        let summary = ExposureSummary::new(&catalog, &paths, BTreeMap::from([("psf".to_string(), 0.5)])).unwrap();
        assert_eq!(summary.flagged, BTreeMap::from([("EDGE".to_string(), 1)]));
        assert_eq!(summary.files, [WrittenFile { name: "catalog.fits".into(), bytes: 4 }]);
        summary.write(&paths).unwrap();
        let read = ExposureSummary::read(&paths).unwrap().unwrap();
        assert_eq!(read, summary);
        assert_eq!(read.stale(paths.folder(), &header), None);
        let other = CatalogHeader { config_hash: Some("d".into()), ..header.clone() };
        assert!(read.stale(paths.folder(), &other).unwrap().contains("configuration"));
        fs::write(paths.catalog_fits(), b"12").unwrap();
        assert!(read.stale(paths.folder(), &header).unwrap().contains("catalog.fits"));
        fs::write(paths.summary(), b"{").unwrap();
        assert!(ExposureSummary::read(&paths).unwrap_err().to_string().contains("delete it"));
    }
}
