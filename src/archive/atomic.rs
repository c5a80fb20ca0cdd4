//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ArchiveError;

/// Ending of a file that is still being written.
const PARTIAL: &str = ".partial";

/// A file under a temporary name in the folder of its final one. [`AtomicFile::commit`] makes it durable and gives it its name;
/// dropped before that, it leaves nothing behind. Buffered; positions may be sought.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    out: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Starts a file that shall lie at `path`; its folder must exist.
    pub fn create(path: &Path) -> Result<Self, ArchiveError> {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or_else(|| ArchiveError::Misuse { path: path.to_path_buf(), what: "not the name of a file".into() })?;
        let temporary = path.with_file_name(format!(".{name}.{}{PARTIAL}", std::process::id()));
        let file = File::create(&temporary).map_err(|e| ArchiveError::io("create", &temporary, e))?;
        Ok(Self { path: path.to_path_buf(), temporary, out: Some(BufWriter::with_capacity(1 << 18, file)) })
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn out(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.out.as_mut().ok_or_else(|| io::Error::other("already closed"))
    }

    /// Appends (or overwrites at the position sought).
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let done = self.out().and_then(|out| out.write_all(bytes));
        done.map_err(|e| ArchiveError::io("write", &self.path, e))
    }

    /// Moves to a byte position from the start.
    pub fn seek(&mut self, position: u64) -> Result<(), ArchiveError> {
        let done = self.out().and_then(|out| out.seek(SeekFrom::Start(position)));
        done.map(|_| ()).map_err(|e| ArchiveError::io("write", &self.path, e))
    }

    /// Flushes, syncs to disk and renames: after this the file is there, whole, even if the machine loses power.
    pub fn commit(mut self) -> Result<(), ArchiveError> {
        let done = self.finish();
        done.map_err(|e| ArchiveError::io("write", &self.path, e))
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&self.temporary, &self.path)?;
        sync_folder(&self.path)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // thrown away unwritten: a flush could fail and would be pointless
            let _ = out.into_parts();
        }
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes a rename in the folder of `path` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Writes a whole file at once, atomically and durably.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Removes what killed runs left unfinished in a folder: partial files not touched for an hour (a younger one may belong to
/// another process at work). Returns how many were removed.
pub fn remove_leftovers(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter(|e| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            let old = e.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            name.starts_with('.') && name.ends_with(PARTIAL) && old.is_some_and(|age| age > Duration::from_secs(3600))
        })
        .filter(|e| fs::remove_file(e.path()).is_ok())
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn nothing_is_seen_until_commit_and_nothing_stays_after_a_drop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(names(folder.path()), ["a.bin"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"....new").unwrap();
        file.seek(0).unwrap();
        file.write_all(b"very").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"verynew");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn a_full_disk_is_told_from_a_wrong_path() {
        use crate::failure::{Classify, FailureKind};
        let missing = AtomicFile::create(Path::new("/nowhere/at/all/a.bin")).unwrap_err();
        assert_eq!(missing.kind(), FailureKind::BadInput);
        // /dev/full answers every write with "no space left on device"
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let mut file = AtomicFile {
            path: "/dev/full".into(),
            temporary: "/nonexistent-partial".into(),
            out: Some(BufWriter::with_capacity(4, full)),
        };
        let error = file.write_all(b"more than the buffer holds").unwrap_err();
        assert_eq!(error.kind(), FailureKind::Transient, "{error}");
    }

    #[test]
    fn only_old_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        let (old, young, other) =
            (folder.path().join(".a.fits.1.partial"), folder.path().join(".b.fits.2.partial"), folder.path().join("c"));
        for p in [&old, &young, &other] {
            fs::write(p, b"x").unwrap();
        }
        let past = std::time::SystemTime::now() - Duration::from_secs(7200);
        for p in [&old, &other] {
            File::options().write(true).open(p).unwrap().set_modified(past).unwrap();
        }
        assert_eq!(remove_leftovers(folder.path()), 1);
        assert_eq!(names(folder.path()), [".b.fits.2.partial", "c"]);
    }
}
