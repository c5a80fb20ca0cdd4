//! Data of `org.stillair.exposure.failed.v1`: why an exposure was given up, with all that is needed to try again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An exposure that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExposureFailed {
    /// Key of the exposure, where the event could be read.
    pub key: Option<String>,
    /// Stage it failed at: `event`, `fetch`, a stage of the pipeline, or `publish`.
    pub stage: String,
    /// `transient`, `bad_input`, `bug`, `deadline` or `deliveries`.
    pub kind: String,
    /// What was wrong, where, and what to do.
    pub reason: String,
    /// Times it was delivered.
    pub attempts: u64,
    /// Version of stillair.
    pub software: String,
    /// The message that asked for it.
    pub original: Original,
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Original {
    /// Where it came in: a subject, or a file of the spool.
    pub subject: String,
    /// The event, where it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Value>,
    /// The message's bytes in hexadecimal, where it is not (as many as fit into a message).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_hex: Option<String>,
    /// Length of the message, bytes.
    pub length: usize,
}
