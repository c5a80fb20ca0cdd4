//! Real clients and stores around the service: Python's NATS client and pyarrow, S3, a web server, the JetStream object store; and
//! NATS servers that ask who is there.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common {
    pub mod servers;
    pub mod service;
}

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::servers::{Certificates, Nats, S3, free_port, python, wait_until};
use common::service::{
    Service, all_answered, client, event, exposures, provision, publish, ready_events, small_exposures, uri,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use stillair::archive::read_catalog_parquet;

fn service(folder: &Path, settings: &[(&str, String)]) -> Service {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Service::start(&folder.join("out"), &folder.join("service.log"), &settings)
}

fn roots(data: &Path) -> String {
    format!("[{:?}]", data.canonicalize().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_publishes_an_event_and_reads_the_rows_back() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    // Small messages, so that the rows need several.
    let Some(nats) = Nats::start(&folder.path().join("nats"), "max_payload: 20000") else { return };
    let files = exposures(&folder.path().join("data"), 1, "384,384", "120");
    provision(&nats.url());
    let service = service(
        folder.path(),
        &[
            ("STILLAIR__BUS__URL", nats.url()),
            ("STILLAIR__FETCH__ROOTS", roots(&folder.path().join("data"))),
            ("STILLAIR__BUS__REPLY_PREFIX", "answers.".into()),
        ],
    );
    service.ready();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/bus_client.py");
    let output = Command::new(python).arg(script).arg(nats.url()).arg(uri(&files[0])).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}\n{}", String::from_utf8_lossy(&output.stderr), service.log());
    let read: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let rows = read_catalog_parquet(&folder.path().join("out/Python-1/catalog.parquet")).unwrap().rows;
    assert!(read["parts"].as_u64().unwrap() > 1, "{read}");
    assert_eq!(read["rows"].as_u64(), Some(rows.len() as u64));
    let ids: Vec<i64> = read["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
    assert_eq!(ids, rows.iter().map(|row| row.id).collect::<Vec<_>>());
    assert_eq!(read["replied"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn said_twice_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let files = small_exposures(&folder.path().join("data"), 1);
    provision(&nats.url());
    let context = client(&nats.url()).await;
    let payload = event("one", &uri(&files[0])).to_string().into_bytes();
    assert!(!publish(&context, "one", payload.clone()).await);
    assert!(publish(&context, "one", payload.clone()).await, "the stream knows it");
    // Under another message id the stream takes it, and the service finds it done.
    assert!(!publish(&context, "again", payload).await);
    let service = service(
        folder.path(),
        &[
            ("STILLAIR__BUS__URL", nats.url()),
            ("STILLAIR__FETCH__ROOTS", roots(&folder.path().join("data"))),
            ("STILLAIR__SERVE__WORKERS", "1".into()),
        ],
    );
    service.ready();
    all_answered(&context, Duration::from_secs(60)).await;
    assert_eq!(ready_events(&context).await.len(), 1);
    assert_eq!(service.metric("stillair_exposures_total{outcome=\"done\"}"), Some(1.0));
    assert_eq!(service.metric("stillair_exposures_total{outcome=\"duplicate\"}"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_come_from_s3_http_and_nats_and_go_to_s3() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let Some(s3) = S3::start(&folder.path().join("s3")) else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 1);
    let bytes = std::fs::read(&files[0]).unwrap();
    let checksum = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
    for bucket in ["pixels", "catalogues"] {
        s3.make_bucket(bucket);
    }
    s3.put("pixels/night/a.fits", &bytes);
    let web = free_port();
    let mut server = Command::new(python().unwrap())
        .args(["-m", "http.server", "--bind", "127.0.0.1", &web.to_string()])
        .current_dir(&data)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    provision(&nats.url());
    let context = client(&nats.url()).await;
    let store = context
        .create_object_store(async_nats::jetstream::object_store::Config {
            bucket: "pixels".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    store.put("night/a.fits", &mut bytes.as_slice()).await.unwrap();

    let name = files[0].file_name().unwrap().to_str().unwrap();
    for (id, uri) in [
        ("s3", "s3://pixels/night/a.fits".to_string()),
        ("http", format!("http://127.0.0.1:{web}/{name}")),
        ("nats", "nats-object://pixels/night/a.fits".to_string()),
    ] {
        let mut event = event(id, &uri);
        event["data"]["data"]["image"]["checksum"] = json!(checksum);
        event["data"]["data"]["image"]["size"] = json!(bytes.len());
        publish(&context, id, event.to_string().into_bytes()).await;
    }
    // Keys in the environment, as everywhere with S3.
    let service = service(
        folder.path(),
        &[
            ("STILLAIR__BUS__URL", nats.url()),
            ("STILLAIR__FETCH__HOSTS", "[\"127.0.0.1\"]".into()),
            ("STILLAIR__FETCH__BUCKETS", "[\"pixels\"]".into()),
            ("STILLAIR__FETCH__S3_ENDPOINT", s3.url()),
            ("STILLAIR__FETCH__S3_ALLOW_HTTP", "true".into()),
            ("STILLAIR__SERVE__UPLOAD", "s3://catalogues/dr1".into()),
            ("STILLAIR__FETCH__STAGING", folder.path().join("staging").display().to_string()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ],
    );
    all_answered(&context, Duration::from_secs(90)).await;
    let _ = server.kill();
    let _ = server.wait();
    let ready = ready_events(&context).await;
    assert_eq!(ready.keys().collect::<Vec<_>>(), ["Test-http", "Test-nats", "Test-s3"], "{}", service.log());
    for (name, event) in &ready {
        for product in event["data"]["products"].as_array().unwrap() {
            let (file, uri) = (product["name"].as_str().unwrap(), product["uri"].as_str().unwrap());
            assert_eq!(uri, format!("s3://catalogues/dr1/{name}/{file}"));
            let here = std::fs::read(folder.path().join("out").join(name).join(file)).unwrap();
            assert_eq!(s3.get(uri.strip_prefix("s3://").unwrap()), Some(here), "{uri}");
        }
    }
    // The same pixels by three ways: the same rows, and nothing left in the staging folder.
    let rows =
        |name: &str| read_catalog_parquet(&folder.path().join("out").join(name).join("catalog.parquet")).unwrap().rows;
    assert_eq!(format!("{:?}", rows("Test-s3")), format!("{:?}", rows("Test-nats")));
    assert_eq!(format!("{:?}", rows("Test-s3")), format!("{:?}", rows("Test-http")));
    assert_eq!(std::fs::read_dir(folder.path().join("staging")).unwrap().count(), 0);
}

/// Starts the service against a server with this configuration and these settings; whether it becomes ready.
fn gets_in(folder: &Path, nats: &Nats, url: &str, settings: &[(&str, String)]) -> bool {
    let log = folder.join(format!("{}.log", nats.port));
    let mut all = vec![("STILLAIR__BUS__URL", url.to_string())];
    all.extend_from_slice(settings);
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let service = Service::start(&folder.join("out"), &log, &all);
    let start = std::time::Instant::now();
    let mut ready = false;
    while !ready && start.elapsed() < Duration::from_secs(6) {
        ready = service.get("/readyz").is_some_and(|(status, _)| status == 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = service.log();
    assert!(!text.contains("hunter2") && !text.contains("SUAM"), "a secret is in the log: {text}");
    ready
}

#[test]
fn servers_that_ask_who_is_there_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("password"), "hunter2\n").unwrap();
    let Some(user) = Nats::start(&path("user"), "authorization { user: me, password: hunter2 }") else { return };
    let me = ("STILLAIR__BUS__USER", "me".to_string());
    let file = ("STILLAIR__BUS__PASSWORD_FILE", path("password").display().to_string());
    assert!(gets_in(folder.path(), &user, &user.url(), &[me.clone(), file]));
    assert!(gets_in(folder.path(), &user, &user.url(), &[me.clone(), ("STILLAIR__BUS__PASSWORD", "hunter2".into())]));
    assert!(!gets_in(folder.path(), &user, &user.url(), &[me, ("STILLAIR__BUS__PASSWORD", "wrong".into())]));

    let token = Nats::start(&path("token"), "authorization { token: hunter2 }").unwrap();
    assert!(gets_in(folder.path(), &token, &token.url(), &[("STILLAIR__BUS__TOKEN", "hunter2".into())]));

    let keys = nkeys::KeyPair::new_user();
    std::fs::write(path("seed"), keys.seed().unwrap()).unwrap();
    let nkey = Nats::start(&path("nkey"), &format!("authorization {{ users: [ {{ nkey: {} }} ] }}", keys.public_key()))
        .unwrap();
    let seed = ("STILLAIR__BUS__NKEY_SEED_FILE", path("seed").display().to_string());
    assert!(gets_in(folder.path(), &nkey, &nkey.url(), &[seed]));

    let Some(certificates) = Certificates::make(&path("certificates")) else { return };
    let tls = Nats::start(&path("tls"), &certificates.nats_tls(true)).unwrap();
    let url = format!("tls://localhost:{}", tls.port);
    let show = |path: &Path| path.display().to_string();
    let authority = ("STILLAIR__BUS__TLS_CA_FILE", show(&certificates.authority));
    let ours = [
        ("STILLAIR__BUS__TLS_CERT_FILE", show(&certificates.client)),
        ("STILLAIR__BUS__TLS_KEY_FILE", show(&certificates.client_key)),
    ];
    let all = [authority.clone(), ours[0].clone(), ours[1].clone()];
    assert!(gets_in(folder.path(), &tls, &url, &all));
    assert!(!gets_in(folder.path(), &tls, &url, &[authority]), "it asks for a certificate");
    assert!(!gets_in(folder.path(), &tls, &url, &ours), "nobody vouches for the server");
}

#[test]
fn secrets_are_not_shown() {
    let output = Command::new(env!("CARGO_BIN_EXE_stillair"))
        .args(["config", "show"])
        .env("STILLAIR__BUS__PASSWORD", "hunter2")
        .env("STILLAIR__BUS__URL", "nats://me:hunter2@localhost")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("***"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_directory_serves_sites_without_a_bus() {
    let folder = tempfile::tempdir().unwrap();
    let files = small_exposures(&folder.path().join("data"), 2);
    let spool = folder.path().join("spool");
    std::fs::create_dir_all(spool.join("incoming")).unwrap();
    let mut service = service(folder.path(), &[("STILLAIR__SPOOL__DIRECTORY", spool.display().to_string())]);
    service.ready();
    let drop_in = |name: &str, bytes: &[u8]| {
        let partial = spool.join("incoming").join(format!(".{name}.part"));
        std::fs::write(&partial, bytes).unwrap();
        std::fs::rename(partial, spool.join("incoming").join(name)).unwrap();
    };
    drop_in("first.fits", &std::fs::read(&files[0]).unwrap());
    std::fs::copy(&files[1], spool.join("pixels.dat")).unwrap();
    drop_in("second.json", event("second", &uri(&spool.join("pixels.dat"))).to_string().as_bytes());
    drop_in("bad.json", b"{}");
    drop_in("outside.json", event("outside", &uri(&files[1])).to_string().as_bytes());
    let there = |path: &str| spool.join(path).exists();
    wait_until("all is answered", Duration::from_secs(60), || {
        there("done/first.fits")
            && there("done/second.json")
            && there("failed/bad.json")
            && there("failed/outside.json")
    });
    for answer in ["done/first.fits.ready.json", "done/second.json.ready.json", "failed/bad.json.reason.json"] {
        assert!(there(answer), "{answer}");
    }
    let reason = std::fs::read_to_string(spool.join("failed/outside.json.reason.json")).unwrap();
    assert!(reason.contains("not allowed"), "{reason}");
    let catalog = read_catalog_parquet(&folder.path().join("out/first/catalog.parquet")).unwrap();
    let source = catalog.header.source.unwrap();
    assert!(source.ends_with("/done/first.fits"), "{source}");
    assert_eq!(std::fs::read_dir(spool.join("working")).unwrap().count(), 0);

    service.signal("TERM");
    assert!(service.wait(Duration::from_secs(20)).success());
    let retry = Command::new(env!("CARGO_BIN_EXE_stillair"))
        .args(["deadletter", "retry", "bad.json"])
        .env("STILLAIR__SPOOL__DIRECTORY", &spool)
        .output()
        .unwrap();
    assert!(retry.status.success(), "{}", String::from_utf8_lossy(&retry.stderr));
    assert!(there("incoming/bad.json") && !there("failed/bad.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_rehearsed_on_the_bus_and_replayed_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 3);
    let replay = |arguments: &[&str], out: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_stillair"))
            .arg("replay")
            .args(arguments)
            .env("STILLAIR__NETWORK__NAME", "none")
            .env("STILLAIR__OUTPUT__PICTURES", "false")
            .env("STILLAIR__OUTPUT__DIRECTORY", folder.path().join(out))
            .env("STILLAIR__FETCH__ROOTS", roots(&data))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let folder_of_data = data.to_str().unwrap();
    let start = std::time::Instant::now();
    let sent = replay(&[folder_of_data, "--to", &nats.url(), "--rate", "2/s"], "none");
    assert!(sent.contains("3 events sent"), "{sent}");
    assert!(start.elapsed() >= Duration::from_secs(1), "two a second take a second for three");
    assert!(replay(&[folder_of_data, "--to", &nats.url()], "none").contains("0 events sent, 3 known"));

    let context = client(&nats.url()).await;
    let live = service(folder.path(), &[("STILLAIR__BUS__URL", nats.url()), ("STILLAIR__FETCH__ROOTS", roots(&data))]);
    all_answered(&context, Duration::from_secs(60)).await;
    drop(live);
    assert_eq!(ready_events(&context).await.len(), files.len());
    let again = replay(&["--from-stream", &nats.url()], "again");
    assert!(again.contains("3 done, 0 skipped, 0 failed"), "{again}");
    assert!(replay(&["--from-stream", &nats.url()], "again").contains("0 done, 3 skipped"));
    let rows = |out: &str| {
        let catalog = read_catalog_parquet(&folder.path().join(out).join("lsst-1/catalog.parquet")).unwrap();
        format!("{:?}", catalog.rows)
    };
    assert_eq!(rows("out"), rows("again"));
}
