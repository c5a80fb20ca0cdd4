//! What is said on the bus: CloudEvents 1.0 in structured JSON, their data, and their names.
//!
//! The JSON schemas in `config/schemas/` are generated from these types (`stillair config schema`).

mod catalog_ready;
mod cloud_event;
mod error;
mod exposure_available;
mod exposure_failed;
mod parse;
mod schema;

pub use catalog_ready::{CatalogReady, Counts, Product, RowsRef};
pub use cloud_event::{CLOUD_EVENTS_VERSION, CloudEvent, check_traceparent};
pub use error::EventError;
pub use exposure_available::{
    Calibration, CatalogRef, DataFiles, DataRef, ExposureAvailable, HduRef, Identity, Observation, PsfRef, SkyPosition,
};
pub use exposure_failed::{ExposureFailed, Original};
pub use parse::{ExposureEvent, parse_exposure_event};
pub use schema::schemas;

/// Type of an exposure that is ready to be processed.
pub const EXPOSURE_AVAILABLE: &str = "org.stillair.exposure.available.v1";
/// Type of a finished catalogue.
pub const CATALOG_READY: &str = "org.stillair.catalog.ready.v1";
/// Type of an exposure that could not be processed.
pub const EXPOSURE_FAILED: &str = "org.stillair.exposure.failed.v1";
