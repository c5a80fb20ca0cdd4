//! JSON schemas of the events, generated from their types.

use schemars::{Schema, schema_for};

use super::{
    CATALOG_READY, CatalogReady, CloudEvent, EXPOSURE_AVAILABLE, EXPOSURE_FAILED, ExposureAvailable, ExposureFailed,
};

/// (type, schema of the whole event) of each event.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let mut all = vec![
        (EXPOSURE_AVAILABLE, schema_for!(CloudEvent<ExposureAvailable>)),
        (CATALOG_READY, schema_for!(CloudEvent<CatalogReady>)),
        (EXPOSURE_FAILED, schema_for!(CloudEvent<ExposureFailed>)),
    ];
    for (kind, schema) in &mut all {
        schema.insert("title".into(), (*kind).into());
        if let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) {
            properties.insert("specversion".into(), serde_json::json!({"const": super::CLOUD_EVENTS_VERSION}));
            properties.insert("type".into(), serde_json::json!({"const": kind}));
        }
    }
    all
}
