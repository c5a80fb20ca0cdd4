use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::*;

/// Answers one request on each connection and hands on what was posted: path and body.
fn collector(listener: TcpListener, answer: &'static str) -> mpsc::Receiver<(String, Vec<u8>)> {
    let (posted, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = request(&mut stream);
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if posted.send(request).is_err() {
                return;
            }
        }
    });
    received
}

fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..n]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = head
            .lines()
            .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap()))
            .unwrap();
        if bytes.len() >= end + 4 + length {
            return (head, bytes.split_off(end + 4));
        }
    }
}

fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    (listener, endpoint)
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let value = span.attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn an_exposure_arrives_at_a_collector_with_its_stages_below_the_events_span() {
    let (listener, endpoint) = listening();
    let received = collector(listener, "200 OK");
    let traces = Traces::start(&endpoint).unwrap().unwrap();
    let tracer = traces.tracer();

    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let at = |ms: u64| begin + Duration::from_millis(ms);
    let trace = ExposureTrace::start_at(Some(PARENT), "LSSTCam/42/7/1", Some(&tracer), begin);
    trace.stage("read", at(10), at(200));
    trace.stage("psf", at(200), at(900));
    trace.attribute("stillair.objects", 321_i64);
    trace.failed("reserved stars: none");
    assert_eq!(trace.trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    let handed_on = trace.traceparent().unwrap();
    trace.end("failed");
    traces.shutdown();

    let (head, body) = received.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let resource = &request.resource_spans[0];
    let service = resource.resource.as_ref().unwrap().attributes.iter().find(|a| a.key == "service.name").unwrap();
    assert!(format!("{service:?}").contains("stillair"));
    let spans: Vec<&Span> = resource.scope_spans.iter().flat_map(|s| &s.spans).collect();
    let names: Vec<&str> = spans.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["read", "psf", "exposure"]);
    let root = spans[2];
    assert_eq!(hex::encode(&root.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex::encode(&root.parent_span_id), "b7ad6b7169203331");
    assert_eq!(handed_on, format!("00-{}-{}-01", hex::encode(&root.trace_id), hex::encode(&root.span_id)));
    assert_eq!(root.start_time_unix_nano, 1_700_000_000_000_000_000);
    assert_eq!(
        (text(root, "stillair.exposure"), text(root, "stillair.outcome")),
        (Some("LSSTCam/42/7/1"), Some("failed"))
    );
    assert_eq!(root.status.as_ref().unwrap().message, "reserved stars: none");
    for (span, (start, end)) in spans.iter().zip([(10, 200), (200, 900)]) {
        assert_eq!(span.parent_span_id, root.span_id, "{}", span.name);
        assert_eq!(span.trace_id, root.trace_id);
        let ms = |ns: u64| (ns - 1_700_000_000_000_000_000) / 1_000_000;
        assert_eq!((ms(span.start_time_unix_nano), ms(span.end_time_unix_nano)), (start, end));
    }
}

#[test]
fn what_the_event_says_of_its_trace_is_checked() {
    let (listener, endpoint) = listening();
    let received = collector(listener, "200 OK");
    let traces = Traces::start(&endpoint).unwrap().unwrap();
    let tracer = traces.tracer();
    for parent in
        [None, Some("nonsense"), Some("00-00000000000000000000000000000000-0000000000000000-01"), Some("\u{e9}")]
    {
        let trace = ExposureTrace::start(parent, "a", Some(&tracer));
        assert_ne!(trace.trace_id().unwrap(), "0".repeat(32), "{parent:?}");
        trace.end("done");
    }
    // the sender decided that this one is not recorded
    ExposureTrace::start(Some(&PARENT.replace("-01", "-00")), "b", Some(&tracer)).end("done");
    traces.shutdown();
    let (_, body) = received.recv_timeout(Duration::from_secs(10)).unwrap();
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let spans: Vec<&Span> = request.resource_spans[0].scope_spans.iter().flat_map(|s| &s.spans).collect();
    assert_eq!(spans.len(), 4);
    assert!(spans.iter().all(|s| s.parent_span_id.is_empty() && text(s, "stillair.exposure") == Some("a")));
}

#[test]
fn a_collector_that_is_away_or_refuses_costs_one_warning_and_no_time() {
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
    let (listener, nobody) = listening();
    drop(listener);
    let (listener, refusing) = listening();
    let refused = collector(listener, "400 Bad Request");
    for endpoint in [nobody, refusing] {
        let traces = Traces::start(&endpoint).unwrap().unwrap();
        let tracer = traces.tracer();
        let start = Instant::now();
        // ten times what the queue holds
        for _ in 0..QUEUE {
            let trace = ExposureTrace::start(None, "a", Some(&tracer));
            for _ in 0..9 {
                trace.stage("read", SystemTime::now(), SystemTime::now());
            }
            trace.end("done");
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the work waited: {:?}", start.elapsed());
        traces.shutdown();
    }
    assert!(refused.try_recv().is_ok(), "the second one was asked");

    // the warning itself: what calls the exporter is the sender's own thread, so it is asked here directly
    let (listener, nobody) = listening();
    drop(listener);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inner = opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(nobody.clone()).build().unwrap();
    let delivery = Delivery {
        inner: Arc::new(inner),
        runtime: runtime.handle().clone(),
        endpoint: nobody,
        away: AtomicBool::new(false),
    };
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            assert!(runtime.block_on(delivery.export(Vec::new())).is_err());
        }
    });
    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let warnings: Vec<&str> = said.lines().filter(|l| l.contains("WARN stillair")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("said once"), "{said}");
}

#[test]
fn an_address_that_cannot_be_used_is_refused() {
    assert!(Traces::start("").unwrap().is_none());
    for wrong in ["collector:4318", "ftp://a/b", "http://user:secret@127.0.0.1:4318/v1/traces", "http://"] {
        let error = Traces::start(wrong).unwrap_err().to_string();
        assert!(error.contains("otlp_endpoint") && !error.contains("secret@"), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn ending_within_a_runtime_does_not_hang_or_panic() {
    let (listener, endpoint) = listening();
    let received = collector(listener, "200 OK");
    let traces = Traces::start(&endpoint).unwrap().unwrap();
    ExposureTrace::start(None, "a", Some(&traces.tracer())).end("done");
    traces.shutdown();
    traces.shutdown();
    drop(traces);
    assert!(received.recv_timeout(Duration::from_secs(10)).is_ok());
}

#[test]
fn without_a_collector_nothing_happens() {
    let trace = ExposureTrace::start(Some(PARENT), "a", None);
    trace.stage("read", SystemTime::now(), SystemTime::now());
    assert_eq!((trace.traceparent(), trace.trace_id()), (None, None));
    trace.end("done");
}
