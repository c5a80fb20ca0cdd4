//! One trace an exposure, sent to an OTLP/HTTP collector in batches. Work never waits for it: spans go into a bounded queue, a
//! thread of their own sends them, and what the collector does not take is dropped with one warning.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    SpanBuilder, SpanKind, Status as SpanStatus, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};

use super::TelemetryError;

/// What traces are made with.
pub type Tracer = SdkTracer;

/// Spans held while the collector is slow; more are dropped.
const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// How long a finished span waits for company.
const DELAY: Duration = Duration::from_secs(2);
/// How long one delivery may take.
const DELIVERY: Duration = Duration::from_secs(5);
/// How long the end of the program waits for the last delivery.
const LAST_DELIVERY: Duration = Duration::from_secs(6);

/// The trace of one exposure. Does nothing where no collector is named.
#[derive(Debug)]
pub struct ExposureTrace {
    span: Option<(Tracer, Context)>,
}

impl ExposureTrace {
    /// Starts the trace of an exposure, below the span that `parent` names (W3C `traceparent`, from the event) where it reads as one.
    pub fn start(parent: Option<&str>, key: &str, tracer: Option<&Tracer>) -> Self {
        Self::start_at(parent, key, tracer, SystemTime::now())
    }

    /// As [`ExposureTrace::start`], begun at a time that has passed.
    pub fn start_at(parent: Option<&str>, key: &str, tracer: Option<&Tracer>, at: SystemTime) -> Self {
        let Some(tracer) = tracer else { return Self { span: None } };
        let carrier: HashMap<String, String> =
            parent.map(|value| ("traceparent".to_string(), value.to_string())).into_iter().collect();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        let builder = SpanBuilder::from_name("exposure")
            .with_kind(SpanKind::Consumer)
            .with_start_time(at)
            .with_attributes([KeyValue::new("stillair.exposure", key.to_string())]);
        let span = tracer.build_with_context(builder, &parent);
        Self { span: Some((tracer.clone(), parent.with_span(span))) }
    }

    /// Adds what is known of the exposure (`stillair.objects`, `stillair.band` ...).
    pub fn attribute(&self, name: &'static str, value: impl Into<Value>) {
        if let Some((_, context)) = &self.span {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Adds a stage that ran from `start` to `end`.
    pub fn stage(&self, name: &str, start: SystemTime, end: SystemTime) {
        let Some((tracer, context)) = &self.span else { return };
        let builder = SpanBuilder::from_name(name.to_string()).with_start_time(start);
        let mut span = tracer.build_with_context(builder, context);
        opentelemetry::trace::Span::end_with_timestamp(&mut span, end);
    }

    /// Marks the exposure as failed, and why.
    pub fn failed(&self, reason: &str) {
        if let Some((_, context)) = &self.span {
            context.span().set_status(SpanStatus::error(reason.to_string()));
        }
    }

    /// Ends the trace; `outcome` as in the metric `stillair_exposures_total`.
    pub fn end(self, outcome: &str) {
        if let Some((_, context)) = &self.span {
            context.span().set_attribute(KeyValue::new("stillair.outcome", outcome.to_string()));
            context.span().end();
        }
    }

    /// W3C `traceparent` of this exposure's span, for the events that come of it.
    pub fn traceparent(&self) -> Option<String> {
        let (_, context) = self.span.as_ref()?;
        let mut carrier: HashMap<String, String> = HashMap::new();
        TraceContextPropagator::new().inject_context(context, &mut carrier);
        carrier.remove("traceparent")
    }

    /// The trace's id, for log lines.
    pub fn trace_id(&self) -> Option<String> {
        let (_, context) = self.span.as_ref()?;
        Some(context.span().span_context().trace_id().to_string())
    }
}

/// The thread that sends traces.
pub(super) struct Traces {
    provider: SdkTracerProvider,
    /// Deliveries run here and not on the daemon's own runtime: so that a program that is ending can wait for the last one.
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// Starts sending to a collector; `None` where none is named.
    pub(super) fn start(endpoint: &str) -> Result<Option<Self>, TelemetryError> {
        if endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = checked(endpoint)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let inner = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(DELIVERY)
            .build()
            .map_err(|error| TelemetryError::Endpoint(error.to_string()))?;
        let exporter = Delivery {
            inner: Arc::new(inner),
            runtime: runtime.handle().clone(),
            endpoint,
            away: AtomicBool::new(false),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let resource = Resource::builder()
            .with_service_name("stillair")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build();
        Ok(Some(Self { provider, runtime: Mutex::new(Some(runtime)) }))
    }

    pub(super) fn tracer(&self) -> Tracer {
        self.provider.tracer("stillair")
    }

    pub(super) fn shutdown(&self) {
        match self.provider.shutdown_with_timeout(LAST_DELIVERY) {
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) => tracing::warn!(%error, "the last traces may not have been delivered"),
        }
        self.stop_runtime();
    }

    fn stop_runtime(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // may be called from within the daemon's runtime, where waiting for another one is not allowed
            runtime.shutdown_background();
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        self.stop_runtime();
    }
}

/// An address that can be sent to, and that holds no password: it appears in the log.
fn checked(endpoint: &str) -> Result<String, TelemetryError> {
    let url =
        url::Url::parse(endpoint).map_err(|error| TelemetryError::Endpoint(format!("not an address ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(TelemetryError::Endpoint("is no http or https address".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TelemetryError::Endpoint(
            "must not hold a password: give it as OTEL_EXPORTER_OTLP_HEADERS=authorization=... in the environment"
                .into(),
        ));
    }
    Ok(url.to_string())
}

/// Sends on a runtime (the exporter needs one, the thread that calls it has none) and says once that the collector is away.
#[derive(Debug)]
struct Delivery {
    inner: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: tokio::runtime::Handle,
    endpoint: String,
    away: AtomicBool,
}

impl SpanExporter for Delivery {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exporter = Arc::clone(&self.inner);
        let sent = self.runtime.spawn(async move { exporter.export(batch).await }).await;
        let result = sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        match &result {
            Ok(()) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = self.endpoint, "the trace collector takes traces again");
                }
            }
            Err(error) => {
                if !self.away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        endpoint = self.endpoint,
                        %error,
                        spans = count,
                        "the trace collector does not take traces: they are dropped until it does (said once)"
                    );
                }
            }
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        // called while the provider is built: no delivery holds the exporter yet
        if let Some(exporter) = Arc::get_mut(&mut self.inner) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests;
