//! Real servers for tests: NATS with JetStream, an S3 endpoint (moto), Prometheus. Each listens on a free loopback port, keeps
//! its files in a folder of its own, can be killed and started again on the same port and files, and ends with its handle.
//! `None` (said on standard error) where its program is missing: `make setup-tests` installs them.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

/// The tests' Python: `$STILLAIR_PYTHON`, else the repository's `.venv`.
pub fn python() -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let found = std::env::var_os("STILLAIR_PYTHON").map(PathBuf::from).or_else(|| own.exists().then_some(own));
    if found.is_none() {
        eprintln!("SKIPPED: no Python for the tests: run `make setup-tests`");
    }
    found
}

/// A program beside the tests' Python or on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    let beside = python().and_then(|python| python.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed: run `make setup-tests`");
    }
    found
}

/// Waits until `done` holds; panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One HTTP/1.1 request to a loopback port: status and body. `None` if nobody answers.
pub fn http(method: &str, port: u16, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    request(method, port, path, "", body)
}

/// As [`http`], with more header lines (each with its end of line).
fn request(method: &str, port: u16, path: &str, headers: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    // HTTP/1.0: the body ends with the connection, in no chunks.
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

/// The text at a path of a loopback port, if the status is 200.
pub fn get(port: u16, path: &str) -> Option<String> {
    let (status, body) = http("GET", port, path, &[])?;
    (status == 200).then(|| String::from_utf8_lossy(&body).into_owned())
}

/// Sends a process a signal ("TERM", "KILL", "HUP", "STOP", "CONT").
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().expect("kill runs");
    assert!(status.success(), "no process {} to signal", child.id());
}

/// A child process that ends with its handle.
pub struct Server {
    command: Vec<std::ffi::OsString>,
    health: String,
    health_port: u16,
    log: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts the command and waits until `health` on `health_port` answers 200. Its output goes to `log`.
    fn start(command: Vec<std::ffi::OsString>, health_port: u16, health: &str, log: PathBuf) -> Self {
        let mut server = Self { command, health: health.to_string(), health_port, log, child: None };
        server.restart();
        server
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it wrote to its standard streams.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        signal(&child, "TERM");
        Some(child.wait().expect("reaped"))
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("a running server"), name);
    }

    /// Starts it again on the same port and files, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let log = File::options().create(true).append(true).open(&self.log).expect("log file");
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stderr(log.try_clone().expect("log file")).stdout(log);
        self.child = Some(command.spawn().expect("the server starts"));
        let start = Instant::now();
        while get(self.health_port, &self.health).is_none() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("its state"));
            if ended.is_some() || start.elapsed() > START {
                panic!("{:?} does not answer ({ended:?}):\n{}", self.command, self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Another process may have taken the port first: then ours has ended by now, or is about to.
        let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("its state"));
        assert!(ended.is_none(), "{:?} ended ({ended:?}), another answers:\n{}", self.command, self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn arguments(program: &Path, arguments: &[&str]) -> Vec<std::ffi::OsString> {
    std::iter::once(program.into()).chain(arguments.iter().map(Into::into)).collect()
}

/// nats-server with JetStream.
pub struct Nats {
    /// The process.
    pub server: Server,
    /// Client port.
    pub port: u16,
    /// Monitoring port (HTTP): `/varz`, `/jsz`, `/healthz`.
    pub monitor: u16,
}

impl Nats {
    /// Starts it with its files in `folder`. `more` is appended to its configuration: accounts, TLS, limits; "" for none.
    pub fn start(folder: &Path, more: &str) -> Option<Self> {
        let program = program("nats-server")?;
        std::fs::create_dir_all(folder).expect("folder");
        let (port, monitor) = (free_port(), free_port());
        let config = folder.join("nats-server.conf");
        let store = folder.join("store");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
             jetstream {{ store_dir: \"{}\", max_mem: 256MB, max_file: 4GB }}\n{more}\n",
            store.display()
        );
        std::fs::write(&config, text).expect("configuration");
        let command = arguments(&program, &["-c", config.to_str().expect("a plain path")]);
        let server = Server::start(command, monitor, "/healthz", folder.join("nats-server.log"));
        Some(Self { server, port, monitor })
    }

    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// JetStream's state as the monitoring port tells it, streams and consumers included.
    pub fn state(&self) -> serde_json::Value {
        let text = get(self.monitor, "/jsz?streams=true&consumers=true&config=true").expect("/jsz answers");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// An S3 endpoint (moto): any key and secret will do; what it holds is gone when it ends.
pub struct S3 {
    /// The process.
    pub server: Server,
    /// Its port.
    pub port: u16,
}

impl S3 {
    /// Starts it with its log in `folder`.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = program("moto_server")?;
        std::fs::create_dir_all(folder).expect("folder");
        let port = free_port();
        let command = arguments(&program, &["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = Server::start(command, port, "/moto-api/data.json", folder.join("moto.log"));
        Some(Self { server, port })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str) {
        self.put(bucket, &[]);
    }

    /// Puts an object: `path` is `bucket/key`.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let (status, body) = self.ask("PUT", path, bytes).expect("the S3 server answers");
        assert_eq!(status, 200, "PUT {path}: {}", String::from_utf8_lossy(&body));
    }

    /// An object's bytes: `path` is `bucket/key`. `None` if there is none.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let (status, body) = self.ask("GET", path, &[])?;
        (status == 200).then_some(body)
    }

    /// A bucket's listing (XML).
    pub fn list(&self, bucket: &str) -> String {
        String::from_utf8_lossy(&self.get(&format!("{bucket}?list-type=2")).expect("a bucket")).into_owned()
    }

    /// moto asks for credentials, and does not check them.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let headers = "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                       SignedHeaders=host, Signature=0\r\n";
        request(method, self.port, &format!("/{path}"), headers, body)
    }
}

/// Prometheus with its own configuration.
pub struct Prometheus {
    /// The process.
    pub server: Server,
    /// Its port.
    pub port: u16,
}

impl Prometheus {
    /// Starts it with its files in `folder`; `config` is the text of its `prometheus.yml`.
    pub fn start(folder: &Path, config: &str) -> Option<Self> {
        let program = program("prometheus")?;
        std::fs::create_dir_all(folder).expect("folder");
        let port = free_port();
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).expect("configuration");
        let command = arguments(
            &program,
            &[
                &format!("--config.file={}", file.display()),
                &format!("--storage.tsdb.path={}", folder.join("data").display()),
                &format!("--web.listen-address=127.0.0.1:{port}"),
            ],
        );
        let server = Server::start(command, port, "/-/ready", folder.join("prometheus.log"));
        Some(Self { server, port })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The result of an instant query: a list of `{metric, value}`. Panics on an expression that does not parse.
    pub fn query(&self, expression: &str) -> Vec<serde_json::Value> {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let (status, body) =
            http("GET", self.port, &format!("/api/v1/query?{query}"), &[]).expect("Prometheus answers");
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(status, 200, "{expression}: {answer}");
        answer["data"]["result"].as_array().expect("a vector").clone()
    }
}

/// Certificates for loopback, made by `trustme`: an authority, the server's and a client's.
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's chain.
    pub server: PathBuf,
    /// The server's key.
    pub server_key: PathBuf,
    /// The client's chain.
    pub client: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`.
    pub fn make(folder: &Path) -> Option<Self> {
        let python = python()?;
        std::fs::create_dir_all(folder).expect("folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/make_certificates.py");
        let output = Command::new(python).arg(script).arg(folder).output().expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = |name: &str| folder.join(name);
        Some(Self {
            authority: file("ca.pem"),
            server: file("server.pem"),
            server_key: file("server.key"),
            client: file("client.pem"),
            client_key: file("client.key"),
        })
    }

    /// The `tls` block of nats-server; with `verify`, clients must show a certificate of the same authority.
    pub fn nats_tls(&self, verify: bool) -> String {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: {verify} }}",
            self.server.display(),
            self.server_key.display(),
            self.authority.display()
        )
    }
}
