//! Log lines on standard error, with a filter that can be changed while running.

use std::io::IsTerminal;
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::trace::{Tracer, Traces};
use super::{LogFormat, TelemetryError, TelemetrySettings};

/// Logs and traces, set up. Clones share them.
#[derive(Debug, Clone)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    traces: Option<Arc<Traces>>,
}

/// Takes the process's log and, where a collector is named, starts the thread that sends traces. Once a process.
pub fn init(settings: &TelemetrySettings) -> Result<Telemetry, TelemetryError> {
    let json = match settings.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let (subscriber, filter) = subscriber(&settings.log, json, std::io::stderr)?;
    let traces = Traces::start(&settings.otlp_endpoint)?.map(Arc::new);
    subscriber.try_init().map_err(|error| TelemetryError::AlreadyInstalled(error.to_string()))?;
    Ok(Telemetry { filter, traces })
}

impl Telemetry {
    /// Changes what is logged from now on.
    pub fn reload_log(&self, filter: &str) -> Result<(), TelemetryError> {
        let parsed = parse(filter)?;
        self.filter.reload(parsed).map_err(|error| TelemetryError::AlreadyInstalled(error.to_string()))
    }

    /// What traces are made with; `None` where no collector is named.
    pub fn tracer(&self) -> Option<Tracer> {
        self.traces.as_ref().map(|traces| traces.tracer())
    }

    /// Sends the traces that are still held, for at most a few seconds. Blocks: to be called when all work is done.
    pub fn shutdown(&self) {
        if let Some(traces) = &self.traces {
            traces.shutdown();
        }
    }
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_string(), reason: error.to_string() })
}

type Reloadable = reload::Handle<EnvFilter, Registry>;

/// Lines of text or JSON written to `writer`. JSON lines carry the fields of the spans around them, outermost first, so that each
/// line of an exposure names it.
fn subscriber<W>(
    filter: &str,
    json: bool,
    writer: W,
) -> Result<(impl Subscriber + for<'a> LookupSpan<'a>, Reloadable), TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    Ok((tracing_subscriber::registry().with(filter).with(lines), handle))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().lines().map(str::to_string).collect()
        }
    }

    #[test]
    fn json_lines_name_the_exposure_and_the_filter_can_be_changed() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, handle) = subscriber("info", true, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("exposure", exposure = "cam/1/2/3", trace_id = "abc").entered();
            tracing::info!(objects = 12, "done");
            tracing::debug!("hidden");
            let line: serde_json::Value = serde_json::from_str(&lines.take().join("\n")).unwrap();
            assert_eq!((line["message"].as_str(), line["objects"].as_u64()), (Some("done"), Some(12)), "{line}");
            assert_eq!(line["level"], "INFO");
            assert_eq!(line["spans"][0]["exposure"], "cam/1/2/3", "{line}");
            handle.reload(parse("stillair=debug").unwrap()).unwrap();
            tracing::debug!("now\nseen");
            let seen = lines.take();
            assert_eq!(seen.len(), 1, "one line an event, whatever is in it: {seen:?}");
            assert!(seen[0].contains("now\\nseen"), "{seen:?}");
        });
    }

    #[test]
    fn text_lines_are_for_people() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _) = subscriber("warn", false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::warn_span!("exposure", exposure = "cam/1").entered();
            tracing::warn!("slow");
            tracing::info!("hidden");
        });
        let seen = lines.take();
        assert!(seen.len() == 1 && seen[0].contains("slow") && seen[0].contains("cam/1"), "{seen:?}");
    }

    #[test]
    fn a_wrong_filter_says_so() {
        let error = parse("stillair=shout").unwrap_err().to_string();
        assert!(error.contains("stillair=shout") && error.contains("debug"), "{error}");
    }
}
