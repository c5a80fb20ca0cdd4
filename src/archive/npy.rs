//! NumPy's array files (format 1.0), 32-bit floats in C order, written as they come.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// An array file that is being written; it takes its name only when [`NpyWriter::finish`] finds it complete.
#[derive(Debug)]
pub struct NpyWriter {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    left: usize,
}

impl NpyWriter {
    /// Begins an array of the given shape at `path` (below a temporary name beside it).
    pub fn create(path: &Path, shape: &[usize]) -> io::Result<Self> {
        let partial = path.with_extension("npy.part");
        let mut file = BufWriter::new(File::create(&partial)?);
        let dims: String = shape.iter().map(|n| format!("{n}, ")).collect();
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
        // magic (6), version (2), length (2), header and its newline fill a multiple of 64 bytes
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let length = u16::try_from(header.len()).map_err(io::Error::other)?;
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        Ok(Self { file, partial, path: path.to_path_buf(), left: shape.iter().product() })
    }

    /// Writes the next values.
    pub fn append<'a>(&mut self, values: impl IntoIterator<Item = &'a f32>) -> io::Result<()> {
        for v in values {
            self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("more values than the array's shape holds"))?;
            self.file.write_all(&v.to_le_bytes())?;
        }
        Ok(())
    }

    /// Ends the file and gives it its name; an error if values are missing.
    pub fn finish(mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(format!("{} values missing from the array", self.left)));
        }
        self.file.flush()?;
        std::fs::rename(&self.partial, &self.path)
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
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 2, ), }"));
        assert_eq!(&bytes[128..136], [1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat());
        assert!(NpyWriter::create(&path, &[3]).expect("created").finish().is_err());
    }
}
