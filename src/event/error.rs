//! What can be wrong with an event.

use crate::failure::{Classify, FailureKind};

/// Why a message is no event that can be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Larger than allowed.
    #[error(
        "the message has {length} bytes, more than the {limit} that an event may have; events carry URIs, not pixels"
    )]
    TooLarge {
        /// Its length, bytes.
        length: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// Not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// JSON, but no CloudEvent of the right kind.
    #[error("the message is not a CloudEvent 1.0 of type {}: {reason}", super::EXPOSURE_AVAILABLE)]
    NotAnEvent {
        /// What is wrong.
        reason: String,
    },
    /// A field that is missing or cannot be understood.
    #[error("{field}: {problem}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Classify for EventError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}
