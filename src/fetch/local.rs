//! Files on this machine.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::FetchError;
use super::transfer::Check;

/// A folder of the configuration, without links and dots.
pub(super) fn root(path: &Path) -> Result<PathBuf, FetchError> {
    path.canonicalize().map_err(|source| FetchError::Folder { path: path.to_path_buf(), source })
}

/// The path without links and dots, if it lies below one of the roots and is a plain file.
pub(super) fn allowed(uri: &str, path: &Path, roots: &[PathBuf]) -> Result<PathBuf, FetchError> {
    let forbidden = |reason: String| FetchError::Forbidden { uri: uri.to_string(), reason };
    let listed = || {
        let names: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        if names.is_empty() { "none ([fetch] roots)".into() } else { names.join(", ") }
    };
    let outside = || forbidden(format!("file: URIs may lie below {}", listed()));
    let real = match path.canonicalize() {
        Ok(real) => real,
        // Whether a file exists outside the roots is nobody's business.
        Err(_) if !roots.iter().any(|root| path.starts_with(root)) => return Err(outside()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(FetchError::Missing { uri: uri.into(), reason: source.to_string() });
        }
        Err(source) => return Err(FetchError::Io { uri: uri.into(), doing: "open", path: path.into(), source }),
    };
    if !roots.iter().any(|root| real.starts_with(root)) {
        return Err(outside());
    }
    if !real.is_file() {
        return Err(forbidden("it is not a plain file".into()));
    }
    Ok(real)
}

/// Length and checksum of a file in place.
pub(super) fn verify(uri: &str, path: &Path, mut check: Check) -> Result<(), FetchError> {
    let io = |doing| move |source| FetchError::Io { uri: uri.to_string(), doing, path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(io("open"))?;
    let length = file.metadata().map_err(io("read"))?.len();
    check.announced(length)?;
    if !check.wants_bytes() {
        return check.length_only(length);
    }
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io("read"))? {
            0 => return check.finish(),
            read => check.take(buffer.get(..read).unwrap_or_default())?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_roots_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        for path in [&inside, &outside] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("a.fits"), b"x").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("a.fits"), inside.join("link.fits")).unwrap();
        std::os::unix::fs::symlink(inside.join("a.fits"), inside.join("good.fits")).unwrap();
        let roots = [root(&inside).unwrap()];
        let try_path = |path: PathBuf| allowed("file:x", &path, &roots);
        assert!(try_path(inside.join("a.fits")).is_ok());
        assert!(try_path(inside.join("good.fits")).is_ok());
        for bad in
            [outside.join("a.fits"), inside.join("link.fits"), inside.join("../out/a.fits"), outside.join("none")]
        {
            assert!(matches!(try_path(bad.clone()), Err(FetchError::Forbidden { .. })), "{}", bad.display());
        }
        assert!(matches!(try_path(inside.clone()), Err(FetchError::Forbidden { .. })));
        assert!(matches!(try_path(roots[0].join("later.fits")), Err(FetchError::Missing { .. })));
    }
}
