//! A directory instead of a bus: `incoming/` is watched for events (`.json`) and exposures (FITS); what is finished moves to
//! `done/`, what is given up to `failed/`, each with an answer beside it.
//!
//! A file is claimed by a lock on `working/NAME`, which also counts the tries: the lock of a process that dies is free again.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{BusError, Delivery, Receipt, Request, SpoolSettings};

/// Endings of exposures.
const FITS: [&str; 5] = [".fits", ".fit", ".fits.gz", ".fits.fz", ".fts"];

/// A spool directory. Clones watch the same.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
    poll: Duration,
    settle: Duration,
}

/// A file in hand.
#[derive(Debug)]
pub struct Claim {
    spool: Spool,
    name: String,
    /// Locked as long as it is open.
    marker: File,
}

/// What a claim's marker says.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Marker {
    attempts: u64,
    /// Seconds since 1970.
    not_before: u64,
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BusError {
    move |source| BusError::Spool { doing, path: path.to_path_buf(), source }
}

impl Spool {
    /// Opens a spool, making its folders.
    pub fn open(settings: &SpoolSettings) -> Result<Self, BusError> {
        for part in ["incoming", "working", "done", "failed"] {
            let folder = settings.directory.join(part);
            fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        }
        let folder = settings.directory.canonicalize().map_err(io("open", &settings.directory))?;
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::from_secs(1));
        Ok(Self { folder, poll: seconds(settings.poll_s), settle: seconds(settings.settle_s) })
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, part: &str, name: &str) -> PathBuf {
        self.folder.join(part).join(name)
    }

    /// Names in `incoming/` that are whole and are exposures or events, oldest first.
    fn waiting(&self) -> Result<Vec<String>, BusError> {
        let folder = self.folder.join("incoming");
        let mut found: Vec<(SystemTime, String)> = fs::read_dir(&folder)
            .map_err(io("read", &folder))?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let metadata = entry.metadata().ok()?;
                let lower = name.to_ascii_lowercase();
                let wanted = lower.ends_with(".json") || FITS.iter().any(|ending| lower.ends_with(ending));
                (metadata.is_file() && !name.starts_with('.') && wanted).then_some((metadata.modified().ok()?, name))
            })
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, name)| name).collect())
    }

    /// How many files wait; those in hand, or put off, are not counted.
    pub fn pending(&self) -> Result<u64, BusError> {
        Ok(self.waiting()?.iter().filter(|name| !self.path("working", name).exists()).count() as u64)
    }

    /// Claims the next file; waits a moment where there is none.
    pub async fn next(&self) -> Result<Option<Delivery>, BusError> {
        let spool = self.clone();
        let claimed = tokio::task::spawn_blocking(move || spool.claim()).await;
        let claimed = claimed.map_err(|error| BusError::server("look into the spool", error))??;
        if claimed.is_none() {
            tokio::time::sleep(self.poll).await;
        }
        Ok(claimed)
    }

    fn claim(&self) -> Result<Option<Delivery>, BusError> {
        for name in self.waiting()? {
            let path = self.path("incoming", &name);
            let age = fs::metadata(&path).and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age < self.settle) || is_companion(&path) {
                continue;
            }
            if let Some(delivery) = self.try_claim(&name, &path)? {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    fn try_claim(&self, name: &str, path: &Path) -> Result<Option<Delivery>, BusError> {
        let marker_path = self.path("working", name);
        let mut marker = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&marker_path)
            .map_err(io("create", &marker_path))?;
        if marker.try_lock().is_err() {
            return Ok(None);
        }
        if !path.exists() {
            // Another process finished it between our look and our lock.
            let _ = fs::remove_file(&marker_path);
            return Ok(None);
        }
        let mut text = String::new();
        marker.read_to_string(&mut text).map_err(io("read", &marker_path))?;
        let mut state: Marker = serde_json::from_str(&text).unwrap_or_default();
        if state.not_before > now() {
            return Ok(None);
        }
        state.attempts += 1;
        let attempt = state.attempts;
        let claim = Claim { spool: self.clone(), name: name.to_string(), marker };
        claim.write(&state)?;
        let request = match name.to_ascii_lowercase().ends_with(".json") {
            true => Request::Event(fs::read(path).map_err(io("read", path))?.into()),
            false => Request::File(path.to_path_buf()),
        };
        Ok(Some(Delivery {
            request,
            subject: path.display().to_string(),
            id: name.to_string(),
            attempt,
            receipt: Receipt::Spool(claim),
        }))
    }

    /// Writes an answer beside where a file is going to lie.
    pub(super) fn write_answer(&self, part: &str, name: &str, ending: &str, bytes: &[u8]) -> Result<(), BusError> {
        let path = self.path(part, &format!("{name}.{ending}"));
        let partial = self.path(part, &format!(".{name}.{ending}.partial"));
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&partial, &path)
        };
        write().map_err(io("write", &path))
    }

    /// Answers in `failed/`: (name of the file, bytes of the answer).
    pub(super) fn failures(&self) -> Result<Vec<(String, Vec<u8>)>, BusError> {
        let folder = self.folder.join("failed");
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io("read", &folder))?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(".reason.json") {
                found.push((name.to_string(), fs::read(entry.path()).map_err(io("read", &entry.path()))?));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Puts a failed file back into `incoming/`.
    pub(super) fn put_back(&self, name: &str) -> Result<(), BusError> {
        let (from, to) = (self.path("failed", name), self.path("incoming", name));
        fs::rename(&from, &to).map_err(io("move", &from))?;
        let answer = self.path("failed", &format!("{name}.reason.json"));
        fs::remove_file(&answer).map_err(io("remove", &answer))
    }
}

impl Claim {
    fn write(&self, state: &Marker) -> Result<(), BusError> {
        let path = self.spool.path("working", &self.name);
        let mut marker = &self.marker;
        let text = serde_json::to_string(state).unwrap_or_default();
        let mut write = || {
            marker.set_len(0)?;
            marker.rewind()?;
            marker.write_all(text.as_bytes())
        };
        write().map_err(io("write", &path))
    }

    pub(super) fn done(self, companions: &[PathBuf]) -> Result<(), BusError> {
        self.moved("done", companions)
    }

    pub(super) fn give_up(self, companions: &[PathBuf]) -> Result<(), BusError> {
        self.moved("failed", companions)
    }

    fn moved(self, part: &str, companions: &[PathBuf]) -> Result<(), BusError> {
        let incoming = self.spool.folder.join("incoming");
        let from = incoming.join(&self.name);
        let to = self.spool.path(part, &self.name);
        fs::rename(&from, &to).map_err(io("move", &from))?;
        for companion in companions.iter().filter(|path| path.starts_with(&incoming)) {
            if let Some(name) = companion.file_name() {
                // Two exposures may share one: the second finds it moved.
                let _ = fs::rename(companion, self.spool.folder.join(part).join(name));
            }
        }
        let marker = self.spool.path("working", &self.name);
        fs::remove_file(&marker).map_err(io("remove", &marker))
    }

    pub(super) fn retry_after(self, delay: Duration) -> Result<(), BusError> {
        let path = self.spool.path("working", &self.name);
        let text = fs::read_to_string(&path).map_err(io("read", &path))?;
        let state: Marker = serde_json::from_str(&text).unwrap_or_default();
        self.write(&Marker { not_before: now() + delay.as_secs().max(1), ..state })
    }
}

/// A weight, variance or mask beside its image is no exposure.
fn is_companion(path: &Path) -> bool {
    crate::fits::is_companion(path, &crate::fits::ReadSettings::default())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(folder: &Path) -> Spool {
        let settings = SpoolSettings { directory: folder.join("spool"), poll_s: 0.0, settle_s: 0.0 };
        Spool::open(&settings).unwrap()
    }

    fn claimed(spool: &Spool) -> Option<Delivery> {
        spool.claim().unwrap()
    }

    #[tokio::test]
    async fn a_file_is_claimed_once_and_moves_when_done() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path());
        fs::write(spool.path("incoming", "a.json"), b"{}").unwrap();
        fs::write(spool.path("incoming", "notes.txt"), b"no").unwrap();
        fs::write(spool.path("incoming", ".hidden.json"), b"no").unwrap();
        let first = claimed(&spool).unwrap();
        assert_eq!(first.attempt, 1);
        assert!(claimed(&spool).is_none(), "it is in hand");
        first.receipt.done(&[]).await.unwrap();
        assert!(spool.path("done", "a.json").exists() && !spool.path("working", "a.json").exists());
        assert!(claimed(&spool).is_none());
    }

    #[tokio::test]
    async fn a_dropped_claim_comes_again_and_tries_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path());
        fs::write(spool.path("incoming", "a.fits"), b"x").unwrap();
        drop(claimed(&spool).unwrap());
        let second = claimed(&spool).unwrap();
        assert_eq!(second.attempt, 2);
        second.receipt.retry_after(Duration::from_secs(60)).await.unwrap();
        assert!(claimed(&spool).is_none(), "not before its time");
        fs::write(spool.path("working", "a.fits"), br#"{"attempts":2,"not_before":0}"#).unwrap();
        let third = claimed(&spool).unwrap();
        assert_eq!(third.attempt, 3);
        third.receipt.give_up(&[]).await.unwrap();
        assert!(spool.path("failed", "a.fits").exists());
    }
}
