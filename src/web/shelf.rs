//! Finished exposures as the archive holds them: what earlier runs of the daemon, or other programs, left there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::site;
use crate::archive::ExposurePaths;

/// Age from which on the list is made again. What this daemon does itself is on the page at once.
const FRESH: Duration = Duration::from_secs(60);
/// Folders looked at: an archive of more shows the newest of these.
const MOST_FOLDERS: usize = 200_000;

/// One finished exposure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shelved {
    /// Its folder.
    pub(super) name: String,
    /// When its summary was written.
    pub(super) finished: SystemTime,
    pub(super) band: Option<String>,
    pub(super) psf_fwhm_arcsec: Option<f64>,
    pub(super) psf_quality: String,
    pub(super) objects: usize,
    pub(super) flagged: Option<usize>,
    /// Seconds of all stages.
    pub(super) seconds: f64,
}

/// The newest finished exposures.
#[derive(Debug)]
pub(super) struct Shelf {
    archive: PathBuf,
    keep: usize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    made: Option<Instant>,
    shelved: Arc<Vec<Shelved>>,
}

impl Shelf {
    pub(super) fn new(archive: PathBuf, keep: usize) -> Self {
        Self { archive, keep, list: Mutex::default() }
    }

    /// The newest finished exposures, newest first; at most a minute old.
    pub(super) async fn newest(&self) -> Arc<Vec<Shelved>> {
        let mut list = self.list.lock().await;
        if list.made.is_none_or(|made| made.elapsed() > FRESH) {
            let (archive, keep, before) = (self.archive.clone(), self.keep, Arc::clone(&list.shelved));
            let found = tokio::task::spawn_blocking(move || look(&archive, keep, &before)).await;
            list.shelved = Arc::new(found.unwrap_or_default());
            list.made = Some(Instant::now());
        }
        Arc::clone(&list.shelved)
    }
}

/// Looks through the archive; summaries that have not changed since `before` are not read again.
fn look(archive: &Path, keep: usize, before: &[Shelved]) -> Vec<Shelved> {
    let Ok(folders) = std::fs::read_dir(archive) else { return Vec::new() };
    let names = folders.flatten().take(MOST_FOLDERS).filter_map(|folder| folder.file_name().into_string().ok());
    let mut finished: Vec<(SystemTime, String)> = names
        .filter(|name| site::is_name(name))
        .filter_map(|name| {
            let summary = std::fs::metadata(ExposurePaths::new(archive, &name).summary()).ok()?;
            Some((summary.modified().ok()?, name))
        })
        .collect();
    finished.sort_by(|a, b| b.cmp(a));
    finished.truncate(keep);
    let known: HashMap<&str, &Shelved> = before.iter().map(|s| (s.name.as_str(), s)).collect();
    finished
        .into_iter()
        .filter_map(|(time, name)| match known.get(name.as_str()) {
            Some(same) if same.finished == time => Some((*same).clone()),
            _ => read(archive, name, time),
        })
        .collect()
}

fn read(archive: &Path, name: String, finished: SystemTime) -> Option<Shelved> {
    let summary = match site::summary(&ExposurePaths::new(archive, &name)) {
        Ok(summary) => summary?,
        Err(error) => {
            tracing::debug!(%error, "left out of the page");
            return None;
        }
    };
    Some(Shelved {
        name,
        finished,
        band: summary.header.band,
        psf_fwhm_arcsec: summary.header.psf.fwhm_arcsec,
        psf_quality: summary.header.psf.quality,
        objects: summary.objects,
        flagged: summary.flagged_objects,
        seconds: summary.seconds.values().sum(),
    })
}

impl Shelved {
    /// When it was done.
    pub(super) fn when(&self) -> OffsetDateTime {
        self.finished.into()
    }
}
