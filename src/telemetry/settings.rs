//! Settings of logs and traces.

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of logs and traces (`[telemetry]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// How log lines look on standard error: `auto` (text on a terminal, JSON elsewhere), `text` or `json`.
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a tracing filter such as `info,stillair::bus=debug`.
    pub log: String,
    /// Where traces go: the OTLP/HTTP address of a collector, such as `http://127.0.0.1:4318/v1/traces`; empty: nowhere.
    pub otlp_endpoint: String,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { log_format: LogFormat::Auto, log: "info,ort=warn".into(), otlp_endpoint: String::new() }
    }
}
