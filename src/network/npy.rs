//! Reading NumPy's `.npy` files (little-endian f32 and f64, C order), for stored examples.
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::path::Path;

use super::error::NetworkError;

/// Shape and values, C order.
#[derive(Debug)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// Reads one file.
pub(super) fn read(path: &Path) -> Result<Array, NetworkError> {
    let fail = |reason: String| NetworkError::Unreadable { path: path.into(), reason };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    parse(&bytes).ok_or_else(|| {
        fail("not a .npy file of little-endian f32 or f64 in C order; write it with numpy.save(path, array.astype('<f4'))".into())
    })
}

fn parse(bytes: &[u8]) -> Option<Array> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (length, rest) = match *rest.first()? {
        1 => (usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)), rest.get(4..)?),
        2 | 3 => (usize::try_from(u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?)).ok()?, rest.get(6..)?),
        _ => return None,
    };
    let header = std::str::from_utf8(rest.get(..length)?).ok()?;
    let data = rest.get(length..)?;
    let after = |key: &str| header.split_once(key).map(|(_, tail)| tail.trim_start());
    if !after("'fortran_order':")?.starts_with("False") {
        return None;
    }
    let shape: Vec<usize> = after("'shape':")?
        .strip_prefix('(')?
        .split_once(')')?
        .0
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().ok())
        .collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side))?;
    let kind = after("'descr':")?;
    let values: Vec<f64> = if kind.starts_with("'<f4'") {
        data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
    } else if kind.starts_with("'<f8'") {
        data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
    } else {
        return None;
    };
    (values.len() == count).then_some(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_what_numpy_writes() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }          \n";
        let data: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let array = parse(&file(header, &data)).unwrap();
        assert_eq!((array.shape, array.values), (vec![2, 1], vec![1.5, -2.0]));
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n";
        assert_eq!(parse(&file(header, &3.0_f64.to_le_bytes())).unwrap().values, vec![3.0]);
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n";
        assert!(parse(&file(header, &[0; 8])).is_none(), "too short");
        assert!(parse(&file(&header.replace("False", "True"), &[0; 12])).is_none(), "Fortran order");
        assert!(parse(&file(&header.replace("<f4", "<i4"), &[0; 12])).is_none(), "integers");
        assert!(parse(b"\x93NUMPY\x01\x00\xff\xff{").is_none(), "truncated header");
        assert!(parse(b"PK\x03\x04").is_none(), "a zip file");
    }
}
