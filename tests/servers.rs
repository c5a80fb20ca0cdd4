//! The test servers themselves: each starts, answers, and comes back after it was killed; the proxy cuts.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/servers.rs"]
mod servers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use proxy::Proxy;
use servers::{Certificates, Nats, Prometheus, S3, http, wait_until};

/// The first line that a NATS server says.
fn greeting(port: u16) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a line");
    line
}

#[test]
fn nats_keeps_its_streams_when_killed() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(mut nats) = Nats::start(folder.path(), "") else { return };
    assert!(greeting(nats.port).contains("\"jetstream\":true"), "{}", greeting(nats.port));

    // A stream, made by a plain request: its answer comes to the subscription.
    let mut stream = TcpStream::connect(("127.0.0.1", nats.port)).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    let body = r#"{"name":"KEPT","subjects":["kept"],"storage":"file"}"#;
    let request = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.KEPT answer {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    wait_until("the stream is made", Duration::from_secs(10), || nats.state()["streams"] == 1);

    nats.server.kill();
    assert!(TcpStream::connect(("127.0.0.1", nats.port)).is_err(), "killed and yet there");
    let port = nats.port;
    nats.server.restart();
    assert_eq!(nats.port, port);
    assert_eq!(nats.state()["account_details"][0]["stream_detail"][0]["name"], "KEPT", "{}", nats.state());

    let status = nats.server.stop().expect("it ran");
    assert_eq!(status.code(), Some(0), "{}", nats.server.log());
}

#[test]
fn nats_asks_for_password_and_certificate() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(certificates) = Certificates::make(&folder.path().join("tls")) else { return };
    let more = format!("authorization {{ user: u, password: p }}\n{}", certificates.nats_tls(true));
    let Some(nats) = Nats::start(&folder.path().join("nats"), &more) else { return };
    let hello = greeting(nats.port);
    for part in ["\"auth_required\":true", "\"tls_required\":true", "\"tls_verify\":true"] {
        assert!(hello.contains(part), "{hello}");
    }
}

#[test]
fn s3_holds_objects() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(s3) = S3::start(folder.path()) else { return };
    s3.make_bucket("exposures");
    s3.put("exposures/night/1.fits", b"SIMPLE  =                    T");
    assert_eq!(s3.get("exposures/night/1.fits").expect("the object"), b"SIMPLE  =                    T");
    assert!(s3.get("exposures/night/2.fits").is_none());
    assert!(s3.list("exposures").contains("<Key>night/1.fits</Key>"), "{}", s3.list("exposures"));
}

#[test]
fn prometheus_scrapes() {
    let folder = tempfile::tempdir().expect("folder");
    // It scrapes another Prometheus: a real exporter.
    let plain = "global: { scrape_interval: 200ms }\n";
    let Some(exporter) = Prometheus::start(&folder.path().join("exporter"), plain) else { return };
    let config = format!(
        "{plain}scrape_configs:\n- job_name: it\n  static_configs:\n  - targets: ['127.0.0.1:{}']\n",
        exporter.port
    );
    let prometheus = Prometheus::start(&folder.path().join("scraper"), &config).expect("the same program");
    wait_until("a scrape", Duration::from_secs(20), || {
        prometheus.query("up{job=\"it\"} == 1").len() == 1 && !prometheus.query("prometheus_build_info").is_empty()
    });
    drop(exporter);
    wait_until("a failed scrape", Duration::from_secs(20), || prometheus.query("up{job=\"it\"} == 0").len() == 1);
}

#[test]
fn a_cut_network_is_silent_and_comes_back() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(nats) = Nats::start(folder.path(), "") else { return };
    let proxy = Proxy::start(nats.port);
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).expect("connects");
    let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("the greeting");
    assert!(line.starts_with("INFO"), "{line}");
    let mut ping = |limit: Duration| -> Option<String> {
        stream.set_read_timeout(Some(limit)).expect("a time limit");
        stream.write_all(b"PING\r\n").ok()?;
        let mut line = String::new();
        (lines.read_line(&mut line).ok()? > 0).then_some(line)
    };
    assert!(ping(Duration::from_secs(5)).expect("an answer").starts_with("PONG"));

    proxy.cut();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ping(Duration::from_millis(300)), None, "a byte came through the cut");
    proxy.restore();
    // The PING that was held back arrives now.
    assert!(ping(Duration::from_secs(5)).expect("an answer").starts_with("PONG"));

    proxy.sever();
    let start = Instant::now();
    while ping(Duration::from_millis(200)).is_some() {
        assert!(start.elapsed() < Duration::from_secs(5), "the connection outlived the cut");
    }
    let mut refused = TcpStream::connect(("127.0.0.1", proxy.port)).expect("the proxy listens");
    refused.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    assert_eq!(refused.read(&mut [0; 1]).unwrap_or(0), 0, "a new connection went through");
    proxy.restore();
    assert!(greeting(proxy.port).starts_with("INFO"));
    assert!(http("GET", nats.monitor, "/varz", &[]).is_some());
}
