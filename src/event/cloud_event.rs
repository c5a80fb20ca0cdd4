//! The envelope.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The only version of CloudEvents that is read and written.
pub const CLOUD_EVENTS_VERSION: &str = "1.0";

/// A CloudEvent in structured JSON [CloudEvents 1.0.2, JSON event format].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent<T> {
    /// Version of the CloudEvents specification: "1.0".
    pub specversion: String,
    /// Unique together with `source`.
    pub id: String,
    /// Who says it, a URI reference.
    pub source: String,
    /// What kind of event it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Content type of `data`: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// URI of the schema of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// W3C trace context [CloudEvents distributed tracing extension].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What the event says.
    pub data: T,
    /// Further extension attributes; kept, not understood.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, serde_json::Value>,
}

impl<T> CloudEvent<T> {
    /// An event of ours; time and trace are to be set by the caller.
    pub fn new(kind: &str, source: &str, id: String, subject: &str, data: T) -> Self {
        Self {
            specversion: CLOUD_EVENTS_VERSION.into(),
            id,
            source: source.into(),
            kind: kind.into(),
            subject: Some(subject.into()),
            time: None,
            datacontenttype: Some("application/json".into()),
            dataschema: None,
            traceparent: None,
            data,
            extensions: BTreeMap::new(),
        }
    }
}

/// Whether a text is a W3C traceparent: `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zero.
pub fn check_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    hex(version, 2)
        && *version != "ff"
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && some(trace)
        && some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_told_from_other_texts() {
        assert!(check_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!check_traceparent(wrong), "{wrong}");
        }
    }
}
