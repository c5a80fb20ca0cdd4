//! The service is killed, cut off and shared with others: nothing is lost, nothing is there twice, nothing is there by half.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common {
    pub mod proxy;
    pub mod servers;
    pub mod service;
}

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::proxy::Proxy;
use common::servers::{Nats, wait_until};
use common::service::{
    Service, all_answered, assert_same_archive, client, event, provision, publish, ready_events, small_exposures, uri,
};
use rand::{RngExt, SeedableRng};
use stillair::archive::read_catalog_parquet;

/// Publishes so many events that name the files in turn.
async fn publish_events(context: &async_nats::jetstream::Context, files: &[PathBuf], count: usize) {
    for number in 0..count {
        let id = format!("{number:03}");
        let payload = event(&id, &uri(&files[number % files.len()])).to_string().into_bytes();
        assert!(!publish(context, &id, payload).await);
    }
}

/// Each exposure has one `ready` event and a catalogue of as many rows as it says.
async fn assert_complete(context: &async_nats::jetstream::Context, out: &Path, count: usize) {
    let ready = ready_events(context).await;
    assert_eq!(ready.len(), count);
    for (name, event) in ready {
        let rows =
            read_catalog_parquet(&out.join(&name).join("catalog.parquet")).expect("a whole catalogue").rows.len();
        assert_eq!(event["data"]["counts"]["objects"].as_u64(), Some(rows as u64), "{name}");
        assert!(out.join(&name).join("summary.json").exists(), "{name}");
    }
    let partial: Vec<String> =
        common::service::archive_content(out).into_keys().filter(|name| name.contains(".partial")).collect();
    // What a killed process was writing stays as a hidden file; no reader takes it for a product.
    assert!(partial.iter().all(|name| name.rsplit('/').next().unwrap().starts_with('.')), "{partial:?}");
}

struct Stage {
    folder: tempfile::TempDir,
    nats: Nats,
    files: Vec<PathBuf>,
}

impl Stage {
    fn set(exposures: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let nats = Nats::start(&folder.path().join("nats"), "")?;
        let files = small_exposures(&folder.path().join("data"), exposures);
        provision(&nats.url());
        Some(Self { folder, nats, files })
    }

    fn service(&self, out: &Path, url: &str, name: &str) -> Service {
        let roots = format!("[{:?}]", self.folder.path().join("data").canonicalize().unwrap());
        let log = self.folder.path().join(format!("{name}.log"));
        Service::start(out, &log, &[("STILLAIR__BUS__URL", url), ("STILLAIR__FETCH__ROOTS", &roots)])
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the archive looks like when nothing goes wrong.
    async fn undisturbed(&self, count: usize) -> PathBuf {
        let folder = self.folder.path().join("calm-nats");
        let calm = Nats::start(&folder, "").expect("it started before");
        provision(&calm.url());
        let context = client(&calm.url()).await;
        publish_events(&context, &self.files, count).await;
        let out = self.out("calm");
        let mut service = self.service(&out, &calm.url(), "calm");
        all_answered(&context, Duration::from_secs(300)).await;
        service.signal("TERM");
        assert!(service.wait(Duration::from_secs(25)).success());
        out
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_25_times_nothing_is_lost_or_there_twice() {
    const EVENTS: usize = 200;
    let Some(stage) = Stage::set(8) else { return };
    let context = client(&stage.nats.url()).await;
    publish_events(&context, &stage.files, EVENTS).await;
    let out = stage.out("out");
    let mut service = stage.service(&out, &stage.nats.url(), "killed");
    service.ready();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(std::process::id().into());
    for kill in 0..25 {
        // Spread over the whole of the work, each at a random moment.
        let patience = Instant::now();
        while ready_events(&context).await.len() < kill * EVENTS / 28 && patience.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
        assert!(ready_events(&context).await.len() < EVENTS, "all was done before kill {kill}");
        service.kill_and_restart();
    }
    all_answered(&context, Duration::from_secs(300)).await;
    service.signal("TERM");
    assert!(service.wait(Duration::from_secs(25)).success());
    assert_complete(&context, &out, EVENTS).await;
    remove_partial(&out);
    assert_same_archive(&stage.undisturbed(EVENTS).await, &out);
}

/// Takes away what killed processes were writing: hidden, and swept by the service itself after an hour.
fn remove_partial(out: &Path) {
    for name in common::service::archive_content(out).into_keys().filter(|name| name.ends_with(".partial")) {
        std::fs::remove_file(out.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_and_comes_back() {
    const EVENTS: usize = 40;
    let Some(mut stage) = Stage::set(4) else { return };
    let context = client(&stage.nats.url()).await;
    publish_events(&context, &stage.files, EVENTS).await;
    let out = stage.out("out");
    let service = stage.service(&out, &stage.nats.url(), "service");
    for _ in 0..3 {
        let before = ready_events(&context).await.len();
        wait_until("some work", Duration::from_secs(60), || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async { ready_events(&context).await.len() > before + 3 })
            })
        });
        stage.nats.server.kill();
        wait_until("it is noticed", Duration::from_secs(30), || {
            service.get("/readyz").is_some_and(|(code, _)| code == 503)
        });
        stage.nats.server.restart();
        let restored = Instant::now();
        wait_until("it is ready again", Duration::from_secs(30), || {
            service.get("/readyz").is_some_and(|(code, _)| code == 200)
        });
        eprintln!("ready {:.1} s after the server came back", restored.elapsed().as_secs_f64());
    }
    all_answered(&context, Duration::from_secs(120)).await;
    assert_complete(&context, &out, EVENTS).await;
    assert!(service.metric("stillair_bus_reconnects_total").unwrap() >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_cut_for_longer_than_ack_wait() {
    const EVENTS: usize = 40;
    let Some(stage) = Stage::set(4) else { return };
    let context = client(&stage.nats.url()).await;
    publish_events(&context, &stage.files, EVENTS).await;
    let proxy = Proxy::start(stage.nats.port);
    let url = format!("nats://127.0.0.1:{}", proxy.port);
    let out = stage.out("out");
    let service = stage.service(&out, &url, "service");
    service.ready();
    for silent in [true, false] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if silent {
            proxy.cut()
        } else {
            proxy.sever()
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        proxy.restore();
    }
    all_answered(&context, Duration::from_secs(180)).await;
    assert_complete(&context, &out, EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_silent_is_made_anew() {
    let Some(stage) = Stage::set(1) else { return };
    let context = client(&stage.nats.url()).await;
    let proxy = Proxy::start(stage.nats.port);
    let url = format!("nats://127.0.0.1:{}", proxy.port);
    let roots = format!("[{:?}]", stage.folder.path().join("data").canonicalize().unwrap());
    let out = stage.out("out");
    let service = Service::start(
        &out,
        &stage.folder.path().join("silent.log"),
        &[("STILLAIR__BUS__URL", &url), ("STILLAIR__FETCH__ROOTS", &roots), ("STILLAIR__SERVE__WATCHDOG_S", "1")],
    );
    service.ready();
    proxy.cut();
    publish_events(&context, &stage.files, 1).await;
    wait_until("it is noticed", Duration::from_secs(60), || service.log().contains("connecting anew"));
    proxy.restore();
    all_answered(&context, Duration::from_secs(60)).await;
    assert_complete(&context, &out, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_share_the_work_and_one_is_killed() {
    const EVENTS: usize = 60;
    let Some(stage) = Stage::set(4) else { return };
    let context = client(&stage.nats.url()).await;
    publish_events(&context, &stage.files, EVENTS).await;
    let out = stage.out("out");
    let mut one = stage.service(&out, &stage.nats.url(), "one");
    let two = stage.service(&out, &stage.nats.url(), "two");
    let done = |service: &Service| service.metric("stillair_exposures_total{outcome=\"done\"}").unwrap_or(0.0);
    wait_until("both work", Duration::from_secs(60), || done(&one) >= 3.0 && done(&two) >= 3.0);
    one.kill();
    all_answered(&context, Duration::from_secs(180)).await;
    assert!(done(&two) >= 3.0);
    assert_complete(&context, &out, EVENTS).await;
    remove_partial(&out);
    assert_same_archive(&stage.undisturbed(EVENTS).await, &out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_hands_back_what_it_cannot_finish() {
    const EVENTS: usize = 30;
    let Some(stage) = Stage::set(4) else { return };
    let context = client(&stage.nats.url()).await;
    publish_events(&context, &stage.files, EVENTS).await;
    let out = stage.out("out");
    for (round, signal) in ["TERM", "INT"].into_iter().enumerate() {
        let mut service = stage.service(&out, &stage.nats.url(), signal);
        let before = ready_events(&context).await.len();
        let start = Instant::now();
        while ready_events(&context).await.len() < before + 4 {
            assert!(start.elapsed() < Duration::from_secs(60), "no work is done:\n{}", service.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        service.signal(signal);
        assert_eq!(service.wait(Duration::from_secs(20)).code(), Some(0), "{}", service.log());
        assert!(service.log().contains("\"stopped\""), "{}", service.log());
        assert!(ready_events(&context).await.len() < EVENTS, "round {round}: nothing was left to hand back");
    }
    let _service = stage.service(&out, &stage.nats.url(), "rest");
    all_answered(&context, Duration::from_secs(120)).await;
    assert_complete(&context, &out, EVENTS).await;
}
