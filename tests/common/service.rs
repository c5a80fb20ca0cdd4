//! The service as a process, and a NATS client beside it.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use serde_json::{Value, json};
use stillair::event::EXPOSURE_AVAILABLE;

use super::servers::{free_port, get, http, signal};

/// Settings of a service for small exposures: no network, quick to hear of dead neighbours.
pub const QUICK: &[(&str, &str)] = &[
    ("STILLAIR__NETWORK__NAME", "none"),
    ("STILLAIR__OUTPUT__PICTURES", "false"),
    ("STILLAIR__BUS__ACK_WAIT_S", "2"),
    ("STILLAIR__BUS__RETRY_S", "1"),
    ("STILLAIR__BUS__MAX_DELIVERIES", "40"),
    ("STILLAIR__SERVE__MIN_FREE_MIB", "16"),
    ("STILLAIR__SERVE__GRACE_S", "20"),
    ("STILLAIR__SPOOL__SETTLE_S", "0"),
    ("STILLAIR__SPOOL__POLL_S", "0.1"),
    ("STILLAIR__TELEMETRY__LOG_FORMAT", "json"),
];

/// `stillair serve`; ends with its handle.
pub struct Service {
    child: Option<Child>,
    /// Port of the page, metrics and probes.
    pub port: u16,
    settings: BTreeMap<String, String>,
    log: PathBuf,
}

impl Service {
    /// Starts it with its archive in `out`; does not wait until it is ready.
    pub fn start(out: &Path, log: &Path, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut all: BTreeMap<String, String> =
            QUICK.iter().chain(settings).map(|(name, value)| (name.to_string(), value.to_string())).collect();
        all.insert("STILLAIR__OUTPUT__DIRECTORY".into(), out.display().to_string());
        all.insert("STILLAIR__HTTP__LISTEN".into(), format!("127.0.0.1:{port}"));
        let mut service = Self { child: None, port, settings: all, log: log.to_path_buf() };
        service.spawn();
        service
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stillair"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("serve").stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STILLAIR__")) {
            command.env_remove(name);
        }
        command.envs(&self.settings).stderr(log.try_clone().expect("log file")).stdout(log);
        self.child = Some(command.spawn().expect("the service starts"));
    }

    /// Kills it as a power cut would, and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("a running service"), name);
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        let mut child = self.child.take().expect("a running service");
        loop {
            if let Some(status) = child.try_wait().expect("its state") {
                return status;
            }
            if start.elapsed() > limit {
                let _ = child.kill();
                panic!("still running after {limit:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it is ready; its log is shown where it is not in time.
    pub fn ready(&self) {
        let start = Instant::now();
        while get(self.port, "/readyz").is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Status and body of a page.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let (status, body) = http("GET", self.port, path, &[])?;
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The value of a series at `/metrics`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = get(self.port, "/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the service's last lines, newest first\n{}", tail.join("\n"));
        }
    }
}

/// A JetStream client.
pub async fn client(url: &str) -> Context {
    let client = async_nats::ConnectOptions::new().retry_on_initial_connect().connect(url).await.expect("connects");
    let mut context = jetstream::new(client);
    context.set_timeout(Duration::from_secs(10));
    context
}

/// Streams and consumer, as the service makes them.
pub fn provision(url: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stillair"));
    command.args(["bus", "provision"]).env("STILLAIR__BUS__URL", url).env("STILLAIR__BUS__ACK_WAIT_S", "2");
    let output = command.output().expect("stillair starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An event for a file.
pub fn event(id: &str, uri: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": EXPOSURE_AVAILABLE,
        "time": time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).expect("now"),
        "data": {
            "identity": {"instrument": "Test", "exposure_id": id},
            "data": {"image": {"uri": uri}}
        }
    })
}

/// `file:` URI of a path.
pub fn uri(path: &Path) -> String {
    url::Url::from_file_path(path.canonicalize().expect("an existing file")).expect("an absolute path").into()
}

/// Publishes an event as a sender should; whether the stream had it already.
pub async fn publish(context: &Context, id: &str, payload: Vec<u8>) -> bool {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let sent = context.publish_with_headers("stillair.exposure.available", headers, payload.into()).await;
    sent.expect("sent").await.expect("acknowledged").duplicate
}

/// Every message of a stream, oldest first: (headers, payload).
pub async fn messages(context: &Context, stream: &str) -> Vec<(async_nats::HeaderMap, Vec<u8>)> {
    let Ok(stream) = context.get_stream(stream).await else { return Vec::new() };
    let state = stream.get_info().await.expect("stream state").state;
    let mut found = Vec::new();
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.expect("a message");
        found.push((message.headers.clone(), message.payload.to_vec()));
    }
    found
}

/// The `catalog.ready` events, by the exposure's name; each at most once.
pub async fn ready_events(context: &Context) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (_, payload) in messages(context, "STILLAIR_CATALOGS").await {
        if let Ok(event) = serde_json::from_slice::<Value>(&payload) {
            let name = event["data"]["name"].as_str().expect("a name").to_string();
            assert!(found.insert(name.clone(), event).is_none(), "{name} was published twice");
        }
    }
    found
}

/// Messages on the exposures' stream that nobody has answered for.
pub async fn unanswered(context: &Context) -> u64 {
    let stream = context.get_stream("STILLAIR_EXPOSURES").await.expect("stream");
    let consumer: jetstream::consumer::PullConsumer = stream.get_consumer("stillair").await.expect("consumer");
    let info = consumer.get_info().await.expect("consumer state");
    info.num_pending + info.num_ack_pending as u64
}

/// Waits until every message has been answered for.
pub async fn all_answered(context: &Context, limit: Duration) {
    let start = Instant::now();
    loop {
        let left = unanswered(context).await;
        if left == 0 {
            return;
        }
        assert!(start.elapsed() < limit, "{left} events unanswered after {limit:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Simulates small exposures of different seeds.
pub fn small_exposures(folder: &Path, count: usize) -> Vec<PathBuf> {
    exposures(folder, count, "128,128", "12")
}

/// Simulates exposures of different seeds, of this size and with so many galaxies.
pub fn exposures(folder: &Path, count: usize, size: &str, objects: &str) -> Vec<PathBuf> {
    (1..=count)
        .map(|seed| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_stillair"));
            command.args(["simulate", "--layout", "lsst", "--size", size, "--objects", objects, "--stars", "10"]);
            command.arg("--seed").arg(seed.to_string()).arg("--out").arg(folder);
            let output = command.output().expect("stillair starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let _ = std::fs::remove_file(folder.join(format!("lsst-{seed}.truth.fits")));
            folder.join(format!("lsst-{seed}.fits"))
        })
        .collect()
}

/// Every file below an archive with its bytes; of `summary.json` what does not tell how long it took.
pub fn archive_content(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut content = BTreeMap::new();
    let mut folders = vec![out.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(out).expect("below").display().to_string();
            let mut bytes = std::fs::read(&path).expect("file");
            if name.ends_with("summary.json") {
                let mut summary: Value = serde_json::from_slice(&bytes).expect("JSON");
                summary.as_object_mut().expect("object").remove("seconds");
                summary["more"].as_object_mut().expect("object").remove("peak_memory_mib");
                bytes = summary.to_string().into_bytes();
            }
            content.insert(name, bytes);
        }
    }
    content
}

/// Two archives hold the same files with the same bytes.
pub fn assert_same_archive(one: &Path, other: &Path) {
    let (one, other) = (archive_content(one), archive_content(other));
    let names = |content: &BTreeMap<String, Vec<u8>>| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, bytes) in &one {
        assert!(other.get(name) == Some(bytes), "{name} differs");
    }
}
