//! What others rely on: the schemas of the events, the names of the metrics, the room on the disk, the configuration.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common {
    pub mod servers;
    pub mod service;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::servers::{Nats, Prometheus, get, wait_until};
use common::service::{Service, all_answered, client, event, messages, provision, publish, small_exposures, uri};
use serde_json::Value;
use stillair::event::{CATALOG_READY, EXPOSURE_AVAILABLE, EXPOSURE_FAILED, schemas};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_schemas_in_the_repository_are_those_of_the_types() {
    for (kind, schema) in schemas() {
        let path = repository("config/schemas").join(format!("{kind}.schema.json"));
        let kept: Value = serde_json::from_slice(&std::fs::read(&path).expect("a schema")).expect("JSON");
        assert!(
            kept == serde_json::to_value(&schema).unwrap(),
            "{kind}: run `stillair config schema --out config/schemas`"
        );
        jsonschema::meta::validate(&kept).expect("a JSON schema");
    }
}

fn validator(kind: &str) -> jsonschema::Validator {
    let (_, schema) = schemas().into_iter().find(|(name, _)| *name == kind).expect("a schema");
    jsonschema::validator_for(&serde_json::to_value(schema).unwrap()).expect("a validator")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_fits_the_schemas_and_prometheus_reads_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 2);
    provision(&nats.url());
    let context = client(&nats.url()).await;
    let asked = event("good", &uri(&files[0]));
    assert!(validator(EXPOSURE_AVAILABLE).is_valid(&asked));
    publish(&context, "good", asked.to_string().into_bytes()).await;
    publish(&context, "bad", event("bad", "gopher://a/b").to_string().into_bytes()).await;
    let roots = format!("[{:?}]", data.canonicalize().unwrap());
    let service = Service::start(
        &folder.path().join("out"),
        &folder.path().join("log"),
        &[("STILLAIR__BUS__URL", &nats.url()), ("STILLAIR__FETCH__ROOTS", &roots)],
    );
    all_answered(&context, Duration::from_secs(60)).await;
    for (stream, kind) in [("STILLAIR_CATALOGS", CATALOG_READY), ("STILLAIR_DEAD_LETTERS", EXPOSURE_FAILED)] {
        let validator = validator(kind);
        let said: Vec<Value> = messages(&context, stream)
            .await
            .iter()
            .filter_map(|(_, payload)| serde_json::from_slice(payload).ok())
            .collect();
        assert_eq!(said.len(), 1, "{stream}");
        let errors: Vec<String> = validator.iter_errors(&said[0]).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{stream}: {errors:?}");
    }

    // The number of series does not grow with exposures.
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let before = get(service.port, "/metrics").expect("metrics");
    for number in 0..20 {
        let id = format!("more-{number}");
        publish(&context, &id, event(&id, &uri(&files[1])).to_string().into_bytes()).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    all_answered(&context, Duration::from_secs(60)).await;
    let after = get(service.port, "/metrics").expect("metrics");
    assert_eq!(series(&before), series(&after), "{after}");

    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: stillair\n  static_configs:\n  - targets: ['127.0.0.1:{}']\n",
        service.port
    );
    let Some(prometheus) = Prometheus::start(&folder.path().join("prometheus"), &config) else { return };
    wait_until("it is scraped", Duration::from_secs(30), || {
        prometheus.query("stillair_exposures_total{outcome=\"done\"} == 21").len() == 1
    });
    let scraped: BTreeSet<String> = prometheus
        .query("count by (__name__) ({job=\"stillair\"})")
        .iter()
        .filter_map(|row| row["metric"]["__name__"].as_str().map(str::to_string))
        .collect();
    for name in
        after.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| line.split(' ').next().unwrap())
    {
        // Histograms arrive by their parts; what has no series yet is not scraped.
        let there = [name.to_string(), format!("{name}_count")].iter().any(|name| scraped.contains(name));
        assert!(there || name == "stillair_inference_device_info", "{name} is not in Prometheus");
    }
}

/// A file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, mib: usize) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: a small file system cannot be mounted here (needs root)");
            return None;
        }
        Some(Self(path.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_work_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 40) else { return };
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 1);
    provision(&nats.url());
    let context = client(&nats.url()).await;
    let roots = format!("[{:?}]", data.canonicalize().unwrap());
    let out = disk.0.join("out");
    std::fs::create_dir_all(&out).unwrap();
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1_u8; 30 << 20]).unwrap();
    let service = Service::start(
        &out,
        &folder.path().join("log"),
        &[("STILLAIR__BUS__URL", &nats.url()), ("STILLAIR__FETCH__ROOTS", &roots)],
    );
    let refuses = || service.get("/readyz").is_some_and(|(status, body)| status == 503 && body.contains("MiB free"));
    wait_until("the full disk is noticed", Duration::from_secs(30), refuses);
    publish(&context, "one", event("one", &uri(&files[0])).to_string().into_bytes()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let stream = context.get_stream("STILLAIR_EXPOSURES").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer = stream.get_consumer("stillair").await.unwrap();
    let info = consumer.get_info().await.unwrap();
    assert_eq!((info.num_pending, info.num_ack_pending), (1, 0), "nothing was taken");
    assert_eq!(service.metric("stillair_ready{component=\"disk\"}"), Some(0.0));
    alert_fires(folder.path(), service.port);
    std::fs::remove_file(&ballast).unwrap();
    all_answered(&context, Duration::from_secs(60)).await;
    assert!(out.join("Test-one/summary.json").exists());
    assert_eq!(service.metric("stillair_ready{component=\"disk\"}"), Some(1.0));
}

/// The alert's expression, in a real Prometheus that scrapes the service.
fn alert_fires(folder: &Path, port: u16) {
    let rules = std::fs::read_to_string(repository("deploy/prometheus/rules.yml")).unwrap();
    assert!(rules.contains("stillair_ready"), "an alert looks at the readiness");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n- job_name: stillair\n  static_configs:\n  - targets: ['127.0.0.1:{port}']\n",
        repository("deploy/prometheus/rules.yml")
    );
    let Some(prometheus) = Prometheus::start(&folder.join("prometheus"), &config) else { return };
    wait_until("the alert is pending or fires", Duration::from_secs(30), || {
        !prometheus.query("ALERTS{alertname=~\"Stillair.*(Ready|Disk).*\"}").is_empty()
    });
}

#[test]
fn a_reload_takes_log_filter_and_thresholds_and_names_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("stillair.toml");
    let write = |log: &str, chi2: f64, workers: usize| {
        let text = format!(
            "[telemetry]\nlog = \"{log}\"\n[quality]\nchi2_reduced = {chi2}\n[serve]\nworkers = {workers}\nmin_free_mib = 16\n\
             [network]\nname = \"none\"\n[spool]\ndirectory = {:?}\n[output]\ndirectory = {:?}\n[http]\nlisten = \"\"\n",
            folder.path().join("spool"),
            folder.path().join("out"),
        );
        std::fs::write(&config, text).unwrap();
    };
    write("info", 1.5, 2);
    let log = folder.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_stillair"))
        .args(["serve", "--config"])
        .arg(&config)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let logged = || std::fs::read_to_string(&log).unwrap();
    wait_until("it serves", Duration::from_secs(30), || logged().contains("serving"));
    write("info", 2.5, 2);
    common::servers::signal(&child, "HUP");
    wait_until("it reloads", Duration::from_secs(10), || logged().contains("log filter and thresholds reloaded\""));
    write("info", 2.5, 7);
    common::servers::signal(&child, "HUP");
    wait_until("it names the section", Duration::from_secs(10), || logged().contains("need a restart"));
    assert!(logged().contains("\"sections\":\"serve\""), "{}", logged());
    std::fs::write(&config, "[serve]\nworkres = 1\n").unwrap();
    common::servers::signal(&child, "HUP");
    wait_until("it keeps what it has", Duration::from_secs(10), || logged().contains("stays in force"));
    common::servers::signal(&child, "TERM");
    assert!(child.wait().unwrap().success(), "{}", logged());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposures_trace_hangs_below_the_events() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let (sender, received) = std::sync::mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for stream in collector.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            let (mut all, mut buffer) = (Vec::new(), [0_u8; 4096]);
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                all.extend_from_slice(&buffer[..read]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = sender.send(all);
        }
    });
    let data = folder.path().join("data");
    let files = small_exposures(&data, 1);
    provision(&nats.url());
    let context = client(&nats.url()).await;
    let mut asked = event("traced", &uri(&files[0]));
    asked["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
    publish(&context, "traced", asked.to_string().into_bytes()).await;
    let roots = format!("[{:?}]", data.canonicalize().unwrap());
    let mut service = Service::start(
        &folder.path().join("out"),
        &folder.path().join("log"),
        &[
            ("STILLAIR__BUS__URL", &nats.url()),
            ("STILLAIR__FETCH__ROOTS", &roots),
            ("STILLAIR__TELEMETRY__OTLP_ENDPOINT", &endpoint),
        ],
    );
    all_answered(&context, Duration::from_secs(60)).await;
    service.signal("TERM");
    assert!(service.wait(Duration::from_secs(20)).success());
    let trace = hex::decode("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    let parent = hex::decode("00f067aa0ba902b7").unwrap();
    let mut seen = Vec::new();
    while let Ok(request) = received.recv_timeout(Duration::from_secs(2)) {
        seen.extend(request);
    }
    let holds = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
    assert!(holds(&trace) && holds(&parent), "{} bytes of traces", seen.len());
    for part in ["Test/traced/-/1", "fetch", "psf", "publish"] {
        assert!(holds(part.as_bytes()), "no {part} in the trace");
    }
    assert!(service.log().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "the log names the trace");
}

#[test]
fn systemd_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let spool = folder.path().join("spool");
    let mut service = Service::start(
        &folder.path().join("out"),
        &folder.path().join("log"),
        &[("STILLAIR__SPOOL__DIRECTORY", spool.to_str().unwrap()), ("NOTIFY_SOCKET", socket.to_str().unwrap())],
    );
    let mut told = String::new();
    let mut listen_for = |what: &str| {
        let mut buffer = [0_u8; 4096];
        while !told.contains(what) {
            let length =
                listener.recv(&mut buffer).unwrap_or_else(|error| panic!("waiting for {what}: {error}; told {told}"));
            told.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    listen_for("READY=1");
    listen_for("WATCHDOG=1");
    service.signal("TERM");
    listen_for("STOPPING=1");
    assert!(service.wait(Duration::from_secs(20)).success());
}
