//! What the daemon shows over HTTP: metrics, probes, and the page. It only reads; there is nothing to change and no login.
//!
//! Bounded on every side: connections, event streams, pages made at once, rows on a page, time to send a request and to take the
//! answer. What came from events or files is escaped where it enters HTML (maud does it) and checked where it names a file.

mod detail;
mod error;
mod events;
mod files;
mod home;
mod layout;
mod object;
mod probes;
mod server;
mod shelf;
mod site;
mod table;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::status::Status;
use crate::telemetry::Metrics;

pub use error::WebError;
pub use server::serve;

use site::Site;

/// What is served.
#[derive(Debug, Clone)]
pub struct App {
    /// What the daemon is doing.
    pub status: Status,
    /// Its metrics.
    pub metrics: Metrics,
    /// Output directory: one folder an exposure.
    pub archive: PathBuf,
    /// Where exposures come from, in words and without secrets.
    pub bus: String,
    /// Version of the program.
    pub version: String,
    /// When the daemon started.
    pub started: OffsetDateTime,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of what is served.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Live pages at once; more are refused, and their page does not move.
    pub event_streams: usize,
    /// Pages and pictures made at once; more wait, then are refused.
    pub renders: usize,
    /// Objects on a page.
    pub page_rows: usize,
    /// Exposures on the page.
    pub exposures: usize,
    /// Objects of the largest catalogue that is shown as a table.
    pub catalog_rows: usize,
    /// Age of the work loop's last sign of life from which on `/livez` says it is dead.
    pub silent: Duration,
    /// How long a request waits for its turn.
    pub patience: Duration,
    /// How long the head of a request may take, and how long an answer may stand still because nobody takes it.
    pub stall: Duration,
    /// How long connections may go on after the end was asked for.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            event_streams: 32,
            renders: 2,
            page_rows: 50,
            exposures: 200,
            catalog_rows: 500_000,
            silent: Duration::from_secs(120),
            patience: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            grace: Duration::from_secs(2),
        }
    }
}

/// Every route. `closing` ends the event streams.
pub fn router(app: App, closing: CancellationToken) -> Router {
    Router::new()
        .route("/", get(home::page))
        .route("/events", get(events::stream))
        .route("/metrics", get(probes::metrics))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/exposures/{name}", get(detail::page))
        .route("/exposures/{name}/files/{file}", get(files::file))
        .route("/exposures/{name}/objects/{object}", get(object::page_or_picture))
        .fallback(error::no_such_page)
        .layer(axum::middleware::map_response(layout::secure))
        .with_state(Site::new(app, closing))
}

#[cfg(test)]
mod tests;
