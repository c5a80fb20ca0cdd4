//! The page in a real browser (Chromium, headless): the list moves, a table sorts, a thumbnail opens, all of it is readable without
//! scripts. `STILLAIR_WRITE_DOCS=1 cargo test --test web_browser` keeps its screenshots in `docs/pictures/`.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use program::{has_runtime, processed, simulated};
use stillair::status::{Component, ExposureRecord, State, Status};
use stillair::telemetry::Metrics;
use stillair::web::{App, Limits, serve};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// The first of these programs that is there.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).flat_map(|folder| names.iter().map(move |n| folder.join(n))).find(|p| p.is_file())
}

/// Python, Chromium and its driver; what is missing is said.
fn tools() -> Option<[PathBuf; 3]> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let python = std::env::var_os("STILLAIR_PYTHON").map(PathBuf::from).or_else(|| own.exists().then_some(own));
    let selenium =
        |python: &PathBuf| Command::new(python).args(["-c", "import selenium"]).status().is_ok_and(|s| s.success());
    let python = python.filter(selenium);
    let chromium = on_path(&["chromium", "chromium-browser", "google-chrome"]);
    let driver = on_path(&["chromedriver"]);
    if python.is_none() || chromium.is_none() || driver.is_none() {
        eprintln!(
            "SKIPPED: the page is not tested in a browser: Python with selenium {python:?}, chromium {chromium:?}, chromedriver \
             {driver:?}; run `make test`, or scripts/setup.sh --tests"
        );
    }
    Some([python?, chromium?, driver?])
}

/// A daemon with something to show: one exposure in the archive, others in hand.
fn app(archive: &Path) -> App {
    let status = Status::new(50);
    status.set_workers(2);
    status.queue(17);
    for component in Component::ALL {
        status.set(component, Ok(()));
    }
    let now = OffsetDateTime::now_utc();
    for (number, objects, fwhm) in [(1, 1834, 0.78), (2, 2011, 0.74), (3, 1920, 0.92), (4, 2202, 0.69)] {
        let record = record(&format!("night-{number}"));
        let ended = now - time::Duration::seconds(290 - 60 * number);
        status.began(ExposureRecord { received: ended - time::Duration::seconds(30), ..record });
        status.ended(&format!("cam/night-{number}/1/1"), |r| {
            r.state = State::Done;
            r.finished = Some(ended);
            r.band = Some(if number % 2 == 0 { "i" } else { "r" }.into());
            r.objects = Some(objects);
            r.flagged = Some(objects / 7);
            r.psf_fwhm_arcsec = Some(fwhm);
            r.psf_quality = Some(if number == 3 { "degraded" } else { "good" }.into());
            r.seconds = vec![("total".into(), 11.0 + number as f64)];
        });
    }
    status.began(record("night-5"));
    status.stage("cam/night-5/1/1", "network");
    status.began(ExposureRecord { attempt: 2, ..record("night-6") });
    let reason = "s3://survey/night-6.fits: the server does not answer".to_string();
    status.ended("cam/night-6/1/1", |r| r.state = State::Retrying { reason, at: now + time::Duration::minutes(4) });
    App {
        status,
        metrics: Metrics::new().expect("metrics"),
        archive: archive.to_path_buf(),
        bus: "nats://127.0.0.1:4222, stream STILLAIR_EXPOSURES".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: now,
        limits: Limits::default(),
    }
}

fn record(name: &str) -> ExposureRecord {
    ExposureRecord::new(format!("cam/{name}/1/1"), name, format!("s3://survey/{name}.fits"))
}

/// What the script asks for.
fn change(status: &Status, what: &str, stop: &CancellationToken) {
    match what {
        "begin" => {
            status.began(record("night-7"));
            status.stage("cam/night-7/1/1", "detect");
        }
        "end" => status.ended("cam/night-7/1/1", |r| {
            r.state = State::Done;
            r.band = Some("g".into());
            r.objects = Some(2345);
            r.flagged = Some(301);
            r.psf_fwhm_arcsec = Some(0.71);
            r.psf_quality = Some("good".into());
            r.seconds = vec![("total".into(), 14.2)];
        }),
        "fail" => {
            status.began(record("night-8"));
            let reason = "s3://survey/night-8.fits: its SHA-256 is not the event's: send it again".to_string();
            let failed = State::Failed { stage: "fetch".into(), kind: "bad_input".into(), reason };
            status.ended("cam/night-8/1/1", |r| r.state = failed);
        }
        "attack" => {
            let name = "<img src=x onerror=window.owned=1>";
            status.began(record(name));
            let failed = State::Failed { stage: name.into(), kind: name.into(), reason: name.into() };
            status.ended(&format!("cam/{name}/1/1"), |r| r.state = failed);
            status.set(Component::Disk, Err(name.into()));
        }
        "stop" => stop.cancel(),
        other => panic!("the script asks for {other}"),
    }
}

#[test]
fn the_page_works_in_a_browser() {
    let Some([python, chromium, driver]) = tools() else { return };
    // below the repository and named relative to it: the page shows where an exposure came from, and the documentation shows the page
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(root.join("out")).expect("out/");
    let kept = tempfile::Builder::new().prefix("browser-").tempdir_in(root.join("out")).expect("temporary folder");
    let folder = kept.path().strip_prefix(root).expect("below the repository");
    let exposure = simulated(&folder.join("survey"), "lsst", 5);
    let archive = folder.join("archive");
    let model: &[&str] = if has_runtime() { &[] } else { &["--model", "none"] };
    let (_, outputs) = processed(&exposure, &archive, model);
    let name = outputs.folder.file_name().expect("name").to_str().expect("plain").to_string();
    let pictures = if std::env::var_os("STILLAIR_WRITE_DOCS").is_some() {
        root.join("docs/pictures")
    } else {
        folder.to_path_buf()
    };

    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    let app = app(&archive);
    let (status, stop) = (app.status.clone(), CancellationToken::new());
    let server = runtime.spawn(serve(listener, app, stop.clone().cancelled_owned()));

    let script = root.join("tests/python/browse_page.py");
    let mut browser = Command::new(python)
        .arg(script)
        .args([url.as_str(), &name])
        .args([&pictures, &chromium, &driver])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut answers = browser.stdin.take().expect("stdin");
    for asked in BufReader::new(browser.stdout.take().expect("stdout")).lines() {
        change(&status, asked.expect("a line").trim(), &stop);
        writeln!(answers, "done").expect("the script listens");
    }
    assert!(browser.wait().expect("the script ends").success(), "see the script's message above");
    assert!(stop.is_cancelled(), "the script went through to its end");
    runtime.block_on(server).expect("no panic").expect("served");
}
