//! The three kinds of failure every error falls into; what the caller does next depends on nothing else.

/// What kind of failure an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// May go away by itself (a full disk, a busy server): try again later.
    Transient,
    /// The input or the configuration is at fault: trying again gives the same.
    BadInput,
    /// stillair is at fault.
    Bug,
}

/// Implemented by every module's error type.
pub trait Classify {
    /// Which kind of failure this is.
    fn kind(&self) -> FailureKind;
}
