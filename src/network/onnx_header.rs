//! The few top-level fields of an ONNX file that decide whether a runtime takes it, read without the runtime.
//! `ModelProto` of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>: 1 ir_version, 8 opset_import {1 domain, 2 version}.

/// Largest IR version that ONNX Runtime 1.17 to 1.31 are known to take together with [`OPSET_MAX`].
pub(super) const IR_MAX: u64 = 10;
/// Range of operator sets that pinned runtimes take.
pub(super) const OPSET_MIN: u64 = 7;
/// See [`OPSET_MIN`].
pub(super) const OPSET_MAX: u64 = 21;

/// IR version and the version of the default operator set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OnnxHeader {
    pub ir_version: u64,
    pub opset: u64,
}

/// Reads the header; `None` where the bytes are no ONNX model.
pub(super) fn read(bytes: &[u8]) -> Option<OnnxHeader> {
    let (mut ir_version, mut opset) = (None, None);
    let mut fields = Fields { bytes };
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(version)) => ir_version = Some(version),
            (8, Value::Bytes(inner)) => {
                let (mut domain, mut version) = (&b""[..], None);
                let mut parts = Fields { bytes: inner };
                while let Some(part) = parts.next()? {
                    match part {
                        (1, Value::Bytes(name)) => domain = name,
                        (2, Value::Number(number)) => version = Some(number),
                        _ => {}
                    }
                }
                if domain.is_empty() || domain == b"ai.onnx" {
                    opset = version;
                }
            }
            _ => {}
        }
    }
    Some(OnnxHeader { ir_version: ir_version?, opset: opset? })
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Walks the fields of one protocol-buffer message.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field; `Some(None)` at the end, `None` where the bytes are malformed.
    #[allow(clippy::option_option)]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.bytes.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_and_refuses_rubbish() {
        // ir_version 10; graph (field 7) of 3 bytes; opset_import { version 17 }; opset_import { domain "x", version 1 }
        let model = [8, 10, 0x3a, 3, 1, 2, 3, 0x42, 2, 0x10, 17, 0x42, 5, 0x0a, 1, b'x', 0x10, 1];
        assert_eq!(read(&model), Some(OnnxHeader { ir_version: 10, opset: 17 }));
        assert_eq!(read(&model[..10]), None);
        assert_eq!(read(b"<html>not found</html>"), None);
        assert_eq!(read(b""), None);
    }
}
