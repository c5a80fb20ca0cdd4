//! How the daemon is seen from outside: metrics, logs, traces.

mod error;
mod log;
mod metrics;
mod settings;
mod trace;

pub use error::TelemetryError;
pub use log::{Telemetry, init};
pub use metrics::{FAILURE_KINDS, Metrics, OUTCOMES, QUALITIES, QUEUES, STAGES};
pub use settings::{LogFormat, TelemetrySettings};
pub use trace::{ExposureTrace, Tracer};
