//! What is no good ends on the dead-letter stream with its reason and the whole event; the good around it goes through.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common {
    pub mod servers;
    pub mod service;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::servers::Nats;
use common::service::{
    Service, all_answered, client, event, messages, provision, publish, ready_events, small_exposures, uri,
};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// Dead letters by the id of the event that they hold; those that hold none under the hexadecimal of their bytes.
async fn dead_letters(context: &async_nats::jetstream::Context) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (_, payload) in messages(context, "STILLAIR_DEAD_LETTERS").await {
        let event: Value = serde_json::from_slice(&payload).expect("an event");
        assert_eq!(event["type"], "org.stillair.exposure.failed.v1");
        let original = &event["data"]["original"];
        let id = match (original["event"]["id"].as_str(), original["bytes_hex"].as_str()) {
            (Some(id), _) => id.to_string(),
            (None, Some(hex)) => hex.to_string(),
            (None, None) => original["event"].to_string(),
        };
        assert!(found.insert(id.clone(), event["data"].clone()).is_none(), "{id} is there twice");
    }
    found
}

/// A FITS file whose header claims 10^9 pixels.
fn claims_too_much(path: &Path) {
    let cards = [
        "SIMPLE  =                    T",
        "BITPIX  =                  -32",
        "NAXIS   =                    2",
        "NAXIS1  =                40000",
        "NAXIS2  =                25000",
        "END",
    ];
    let mut text: String = cards.iter().map(|card| format!("{card:<80}")).collect();
    text = format!("{text:<2880}");
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_named_and_the_good_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 2);
    let outside = folder.path().join("outside.fits");
    std::fs::copy(&files[0], &outside).unwrap();
    std::os::unix::fs::symlink(&outside, data.join("link.fits")).unwrap();
    let truncated = data.join("truncated.fits");
    let bytes = std::fs::read(&files[0]).unwrap();
    std::fs::write(&truncated, &bytes[..bytes.len() / 2]).unwrap();
    claims_too_much(&data.join("huge.fits"));
    provision(&nats.url());
    let context = client(&nats.url()).await;

    let good = |id: &str| event(id, &uri(&files[0]));
    let with = |id: &str, path: &[&str], value: Value| {
        let mut event = good(id);
        let mut place = &mut event;
        for key in path {
            place = &mut place[*key];
        }
        *place = value;
        event
    };
    let image_uri = ["data", "data", "image", "uri"];
    let escape = format!("file://{}/../outside.fits", data.canonicalize().unwrap().display());
    let link = format!("file://{}/link.fits", data.canonicalize().unwrap().display());
    // (event, stage, part of the reason)
    let poison: Vec<(Value, &str, &str)> = vec![
        (event("truncated", &uri(&truncated)), "read", "truncated.fits"),
        (event("huge", &uri(&data.join("huge.fits"))), "read", "pixels"),
        (
            with("checksum", &["data", "data", "image", "checksum"], json!(format!("sha256:{}", "0".repeat(64)))),
            "fetch",
            "SHA-256",
        ),
        (with("size", &["data", "data", "image", "size"], json!(17)), "fetch", "17 bytes"),
        (with("scheme", &image_uri, json!("gopher://old/a.fits")), "fetch", "gopher"),
        (with("escape", &image_uri, json!(escape)), "fetch", "not allowed"),
        (with("link", &image_uri, json!(link)), "fetch", "not allowed"),
        (with("host", &image_uri, json!("http://127.0.0.1:1/a.fits")), "fetch", "hosts"),
        (with("bucket", &image_uri, json!("s3://secret/a.fits")), "fetch", "buckets"),
        (with("negative", &["data", "calibration"], json!({"gain": -1.0})), "event", "gain"),
        (with("expired", &["data", "deadline"], json!("2020-01-01T00:00:00Z")), "event", "2020"),
        (json!({"id": "no-event", "hello": "world"}), "event", "specversion"),
        (json!([1, 2, 3]), "event", "no JSON object"),
    ];
    for (number, (poison, _, _)) in poison.iter().enumerate() {
        publish(&context, &format!("poison-{number}"), poison.to_string().into_bytes()).await;
        publish(&context, &format!("good-{number}"), good(&format!("good-{number}")).to_string().into_bytes()).await;
    }
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut junk = std::collections::BTreeSet::new();
    while junk.len() < 1000 {
        let length = random.random_range(1..400);
        let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        if serde_json::from_slice::<Value>(&bytes).is_err() {
            junk.insert(bytes);
        }
    }
    for (number, bytes) in junk.iter().enumerate() {
        publish(&context, &format!("junk-{number}"), bytes.clone()).await;
    }
    publish(&context, "good-last", good("good-last").to_string().into_bytes()).await;

    let roots = format!("[{:?}]", data.canonicalize().unwrap());
    let settings = [("STILLAIR__BUS__URL", nats.url()), ("STILLAIR__FETCH__ROOTS", roots)];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let out = folder.path().join("out");
    let service = Service::start(&out, &folder.path().join("log"), &settings);
    all_answered(&context, Duration::from_secs(180)).await;

    let ready = ready_events(&context).await;
    assert_eq!(ready.len(), poison.len() + 1, "{:?}", ready.keys());
    let letters = dead_letters(&context).await;
    assert_eq!(letters.len(), poison.len() + junk.len());
    for (event, stage, reason) in &poison {
        let id = event["id"].as_str().map_or_else(|| event.to_string(), str::to_string);
        let letter = &letters[&id];
        assert_eq!(letter["stage"], *stage, "{id}: {letter}");
        assert!(letter["reason"].as_str().unwrap().contains(reason), "{id}: {letter}");
        assert_eq!(&letter["original"]["event"], event, "{id}: the whole event");
    }
    for bytes in &junk {
        let letter = &letters[&hex::encode(bytes)];
        assert_eq!((&letter["stage"], &letter["kind"]), (&json!("event"), &json!("bad_input")));
    }
    assert!(!service.log().contains("panic"), "{}", service.log());
    let failed = service.metric("stillair_exposures_total{outcome=\"failed\"}").unwrap();
    assert_eq!(failed, (poison.len() + junk.len()) as f64);

    retry_one(&nats.url(), &context, &data, &files[0]).await;
}

/// The truncated file is replaced by a whole one; `deadletter retry` sends its event again.
async fn retry_one(url: &str, context: &async_nats::jetstream::Context, data: &Path, whole: &Path) {
    let deadletter = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stillair"));
        let output = command.arg("deadletter").args(arguments).env("STILLAIR__BUS__URL", url).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = deadletter(&["list", "--json"]);
    let letter: Value = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|letter| letter["failure"]["key"] == "Test/truncated/-/1")
        .expect("the truncated exposure is listed");
    assert!(deadletter(&["list"]).contains("truncated.fits"));
    std::fs::copy(whole, data.join("truncated.fits")).unwrap();
    deadletter(&["retry", letter["id"].as_str().unwrap()]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    all_answered(context, Duration::from_secs(60)).await;
    assert!(ready_events(context).await.contains_key("Test-truncated"));
    assert!(!deadletter(&["list"]).contains("Test/truncated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_go_away_is_tried_again_and_given_up_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 1);
    provision(&nats.url());
    let context = client(&nats.url()).await;
    let root = data.canonicalize().unwrap();
    for id in ["late", "never"] {
        let missing = format!("file://{}/{id}.fits", root.display());
        publish(&context, id, event(id, &missing).to_string().into_bytes()).await;
    }
    let roots = format!("[{root:?}]");
    let settings = [
        ("STILLAIR__BUS__URL", nats.url()),
        ("STILLAIR__FETCH__ROOTS", roots),
        ("STILLAIR__BUS__MAX_DELIVERIES", "3".into()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let service = Service::start(&folder.path().join("out"), &folder.path().join("log"), &settings);
    service.ready();
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::copy(&files[0], root.join("late.fits")).unwrap();
    all_answered(&context, Duration::from_secs(60)).await;
    assert!(ready_events(&context).await.contains_key("Test-late"));
    let letters = dead_letters(&context).await;
    let letter = &letters["never"];
    assert_eq!((letter["kind"].as_str(), letter["attempts"].as_u64()), (Some("deliveries"), Some(3)));
    assert!(letter["reason"].as_str().unwrap().contains("never.fits"), "{letter}");
    assert!(service.metric("stillair_redeliveries_total").unwrap() >= 3.0);
    assert!(service.metric("stillair_exposures_total{outcome=\"retried\"}").unwrap() >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposure_that_takes_too_long_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(&folder.path().join("nats"), "") else { return };
    let data = folder.path().join("data");
    let files = small_exposures(&data, 1);
    provision(&nats.url());
    let context = client(&nats.url()).await;
    publish(&context, "slow", event("slow", &uri(&files[0])).to_string().into_bytes()).await;
    let roots = format!("[{:?}]", data.canonicalize().unwrap());
    let settings = [
        ("STILLAIR__BUS__URL", nats.url()),
        ("STILLAIR__FETCH__ROOTS", roots),
        // No exposure is that fast: the least that can be asked for.
        ("STILLAIR__SERVE__DEADLINE_S", "0.02".into()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _service = Service::start(&folder.path().join("out"), &folder.path().join("log"), &settings);
    all_answered(&context, Duration::from_secs(60)).await;
    let letters = dead_letters(&context).await;
    assert_eq!(letters["slow"]["kind"], "deadline");
    assert!(ready_events(&context).await.is_empty());
}
