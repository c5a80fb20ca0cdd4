//! `/metrics`, `/livez`, `/readyz`: for machines.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::json;

use super::site::Site;
use crate::telemetry::Metrics;

pub(super) async fn metrics(State(site): State<Arc<Site>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], site.app.metrics.render())
}

/// 200 while the work loop gives signs of life: what does not is to be restarted.
pub(super) async fn livez(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let (silent, limit) = (site.app.status.since_beat(), site.app.limits.silent);
    let alive = silent < limit;
    let code = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "alive": alive,
        "seconds_since_beat": silent.as_secs(),
        "limit_seconds": limit.as_secs(),
    });
    (code, Json(body))
}

/// 200 while exposures can be taken: each component, and why not.
pub(super) async fn readyz(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let mut ready = true;
    let mut components = serde_json::Map::new();
    for (component, state) in site.app.status.readiness() {
        ready &= state.is_ok();
        let said = match state {
            Ok(()) => json!({ "ready": true }),
            Err(reason) => json!({ "ready": false, "reason": reason }),
        };
        components.insert(component.name().to_string(), said);
    }
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": ready, "components": components })))
}
