//! NumPy's array files (format 1.0), 32-bit floats in C order, written as they come.

use std::path::Path;

use super::ArchiveError;
use super::atomic::AtomicFile;

/// An array file that is being written; it takes its name only when [`NpyWriter::finish`] finds it complete.
#[derive(Debug)]
pub struct NpyWriter {
    file: AtomicFile,
    left: usize,
}

impl NpyWriter {
    /// Begins an array of the given shape.
    pub fn create(path: &Path, shape: &[usize]) -> Result<Self, ArchiveError> {
        let mut file = AtomicFile::create(path)?;
        let dims: String = shape.iter().map(|n| format!("{n}, ")).collect();
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
        // magic (6), version (2), length (2), header and its newline fill a multiple of 64 bytes
        while !(10 + header.len() + 1).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        Ok(Self { file, left: shape.iter().product() })
    }

    /// Writes the next values.
    pub fn append(&mut self, values: &[f32]) -> Result<(), ArchiveError> {
        self.left =
            self.left.checked_sub(values.len()).ok_or_else(|| self.misuse("more values than its shape holds"))?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.file.write_all(&bytes)
    }

    /// Ends the file and gives it its name; an error if values are missing.
    pub fn finish(self) -> Result<(), ArchiveError> {
        if self.left > 0 {
            return Err(self.misuse("fewer values than its shape holds"));
        }
        self.file.commit()
    }

    fn misuse(&self, what: &str) -> ArchiveError {
        ArchiveError::Misuse { path: self.file.path().to_path_buf(), what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_numpy_s() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.npy");
        let mut writer = NpyWriter::create(&path, &[2, 1, 2]).expect("created");
        writer.append(&[1.0, -2.5]).expect("written");
        assert!(!path.exists());
        writer.append(&[0.0, 4.0]).expect("written");
        assert!(writer.append(&[9.0]).is_err(), "one value too many");
        let mut writer = NpyWriter::create(&path, &[2, 1, 2]).expect("created");
        writer.append(&[1.0, -2.5, 0.0, 4.0]).expect("written");
        writer.finish().expect("complete");
        let bytes = std::fs::read(&path).expect("bytes");
        assert_eq!(bytes.len(), 128 + 16);
        assert!(
            bytes.starts_with(
                b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 2, ), }"
            )
        );
        assert_eq!(&bytes[128..136], [1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat());
        assert!(NpyWriter::create(&path, &[3]).expect("created").finish().is_err());
    }
}
