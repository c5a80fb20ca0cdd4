//! Length and checksum, checked as the bytes go by.

use sha2::{Digest, Sha256};

use super::{FetchError, Wanted};

/// What a file must be.
#[derive(Debug, Clone)]
pub(super) struct Check {
    uri: String,
    limit: u64,
    size: Option<u64>,
    /// Lower-case hexadecimal.
    checksum: Option<String>,
    seen: u64,
    digest: Sha256,
}

impl Check {
    pub(super) fn new(wanted: Wanted<'_>, limit: u64) -> Result<Self, FetchError> {
        let checksum = match wanted.checksum {
            None => None,
            Some(text) => match text.strip_prefix("sha256:") {
                Some(hex) => Some(hex.to_ascii_lowercase()),
                None => {
                    let reason = format!("checksum {text:?} is not of the form sha256:HEX");
                    return Err(FetchError::Scheme { uri: wanted.uri.into(), reason });
                }
            },
        };
        let check = Self { uri: wanted.uri.into(), limit, size: wanted.size, checksum, seen: 0, digest: Sha256::new() };
        if let Some(size) = wanted.size {
            check.within(size, "the event announces")?;
        }
        Ok(check)
    }

    fn within(&self, length: u64, what: &str) -> Result<(), FetchError> {
        if length <= self.limit {
            return Ok(());
        }
        Err(FetchError::TooLarge { uri: self.uri.clone(), found: format!("{what} {length} bytes"), limit: self.limit })
    }

    /// The length that the other side announces: refused before a byte is taken.
    pub(super) fn announced(&self, length: u64) -> Result<(), FetchError> {
        self.within(length, "it has")?;
        self.same_length(length)
    }

    fn same_length(&self, length: u64) -> Result<(), FetchError> {
        match self.size {
            Some(expected) if expected != length => Err(FetchError::Mismatch {
                uri: self.uri.clone(),
                what: "length",
                found: format!("{length} bytes"),
                expected: format!("{expected} bytes"),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the bytes themselves must be seen.
    pub(super) fn wants_bytes(&self) -> bool {
        self.checksum.is_some()
    }

    /// Instead of [`Check::take`] and [`Check::finish`], where no bytes need be seen.
    pub(super) fn length_only(&self, length: u64) -> Result<(), FetchError> {
        self.same_length(length)
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.seen += bytes.len() as u64;
        self.within(self.seen, "it has at least")?;
        if self.checksum.is_some() {
            self.digest.update(bytes);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), FetchError> {
        self.same_length(self.seen)?;
        let Some(expected) = self.checksum else { return Ok(()) };
        let found = hex::encode(self.digest.finalize());
        if found == expected {
            return Ok(());
        }
        Err(FetchError::Mismatch { uri: self.uri, what: "SHA-256", found, expected })
    }
}
