//! The events that the service says.

use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::Trouble;
use crate::archive::ExposureSummary;
use crate::bus::Request;
use crate::event::{
    CATALOG_READY, CatalogReady, CloudEvent, Counts, EXPOSURE_FAILED, ExposureAvailable, ExposureFailed, Original,
    Product, RowsRef,
};

/// Who speaks, in our events.
const SOURCE: &str = "/stillair";
/// Bytes kept of a message that is no JSON.
const KEPT: usize = 100 * 1024;

/// Now, RFC 3339.
pub(super) fn now() -> Option<String> {
    OffsetDateTime::now_utc().format(&Rfc3339).ok()
}

/// A file's place as a URI: below `upload` where finished exposures are put there too.
fn product_uri(folder: &Path, file: &str, upload: &str) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if !upload.is_empty() {
        return format!("{}/{name}/{file}", upload.trim_end_matches('/'));
    }
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).join(file);
    Url::from_file_path(&path).map_or_else(|()| path.display().to_string(), String::from)
}

/// The event of a finished catalogue.
pub(super) fn ready(
    asked: &CloudEvent<ExposureAvailable>,
    id: &str,
    summary: &ExposureSummary,
    folder: &Path,
    upload: &str,
    rows: Option<RowsRef>,
) -> CloudEvent<CatalogReady> {
    let header = &summary.header;
    let product =
        |name: &str, bytes: u64| Product { name: name.to_string(), uri: product_uri(folder, name, upload), bytes };
    let mut products: Vec<Product> = summary.files.iter().map(|file| product(&file.name, file.bytes)).collect();
    let summary_bytes = std::fs::metadata(folder.join("summary.json")).map_or(0, |metadata| metadata.len());
    products.push(product("summary.json", summary_bytes));
    let data = CatalogReady {
        identity: asked.data.identity.clone(),
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        source: header.source.clone().unwrap_or_default(),
        cause: asked.id.clone(),
        counts: Counts { objects: summary.objects, flagged: summary.flagged.clone() },
        psf: serde_json::to_value(&header.psf).unwrap_or_default(),
        notes: header.notes.clone(),
        network: header.network.clone(),
        network_sha: header.network_sha.clone(),
        inference: header.inference.clone(),
        software: header.software.clone(),
        config_hash: header.config_hash.clone(),
        products,
        rows,
    };
    let mut event = CloudEvent::new(CATALOG_READY, SOURCE, id.to_string(), &asked.data.identity.key(), data);
    event.time = now();
    event.traceparent.clone_from(&asked.traceparent);
    event
}

/// The event of an exposure that is given up.
pub(super) fn failed(
    id: &str,
    key: Option<String>,
    trouble: &Trouble,
    attempts: u64,
    subject: &str,
    request: &Request,
) -> CloudEvent<ExposureFailed> {
    let (length, event, bytes_hex) = match request {
        Request::Event(bytes) => match serde_json::from_slice(bytes) {
            Ok(event) => (bytes.len(), Some(event), None),
            Err(_) => (bytes.len(), None, Some(hex::encode(bytes.get(..KEPT).unwrap_or(bytes)))),
        },
        Request::File(path) => (std::fs::metadata(path).map_or(0, |m| m.len() as usize), None, None),
    };
    let data = ExposureFailed {
        key: key.clone(),
        stage: trouble.stage.into(),
        kind: trouble.kind.name().into(),
        reason: trouble.reason.clone(),
        attempts,
        software: concat!("stillair ", env!("CARGO_PKG_VERSION")).into(),
        original: Original { subject: subject.to_string(), event, bytes_hex, length },
    };
    let mut event =
        CloudEvent::new(EXPOSURE_FAILED, SOURCE, format!("failed/{id}"), key.as_deref().unwrap_or(subject), data);
    event.time = now();
    event
}
