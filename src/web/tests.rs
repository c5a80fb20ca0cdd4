use std::collections::BTreeMap;
use std::path::Path;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::archive::{self, ExposurePaths, ExposureSummary, StampFile, StampPlanes, StampRecord};
use crate::catalog::{Catalog, CatalogHeader, CatalogRow, Flags, PsfSummary};
use crate::image::Plane;
use crate::status::{Component, ExposureRecord, State};

const HOSTILE: &str = "<script>alert('x')</script>\r\n\"&";
const OBJECTS: i64 = 120;

/// An archive of one exposure, written by the archive's own writers.
fn archive_of(name: &str) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let paths = ExposurePaths::new(out.path(), name);
    paths.prepare().unwrap();
    let header = CatalogHeader {
        source: Some(format!("file:///data/{HOSTILE}")),
        band: Some("r".into()),
        zero_point: Some(27.0),
        pixel_scale: Some(0.2),
        target_fwhm_pixels: 2.0,
        psf: PsfSummary { fwhm_arcsec: Some(0.81), quality: "degraded".into(), ..PsfSummary::default() },
        notes: vec![format!("assumed {HOSTILE}")],
        ..CatalogHeader::new(name)
    };
    let ids: Vec<i64> = (1..=OBJECTS).collect();
    let mut stamps = StampFile::create(&paths.stamps(32), &header, 32, ids.clone()).unwrap();
    let rows: Vec<CatalogRow> = ids
        .iter()
        .map(|&id| {
            let mut row = CatalogRow::empty(id);
            row.snr = ((id * 37) % OBJECTS) as f64 + 0.5;
            row.flags = if id % 3 == 0 { Flags::UNCALIBRATED | Flags::BLENDED } else { Flags::UNCALIBRATED };
            row.stamp_size = Some(32);
            let blob = Plane::from_shape_fn((32, 32), |(y, x)| {
                let r2 = (y as f32 - 16.0).powi(2) + (x as f32 - 16.0).powi(2);
                row.snr as f32 * (-r2 / 20.0).exp()
            });
            let planes =
                StampPlanes { deconvolved: &blob, observed: &blob, psf: &blob, tikhonov: &blob, residual: &blob };
            let record = StampRecord {
                id,
                ra: 10.0,
                dec: -5.0,
                centre: (16.0, 16.0),
                corner: (0, 0),
                sigma: 1.0,
                noise_sigma: 1.0,
                flags: row.flags,
            };
            stamps.put((id - 1) as usize, record, planes).unwrap();
            row
        })
        .collect();
    stamps.finish().unwrap();
    let catalog = Catalog { header, rows };
    archive::write_catalog_parquet(&paths.catalog_parquet(), &catalog).unwrap();
    archive::write_catalog_fits(&paths.catalog_fits(), &catalog).unwrap();
    std::fs::write(paths.sheet(), b"\x89PNG not really").unwrap();
    let seconds = BTreeMap::from([("psf".to_string(), 1.5), ("network".to_string(), 2.5)]);
    ExposureSummary::new(&catalog, &paths, seconds).unwrap().write(&paths).unwrap();
    // what the summary does not list
    std::fs::write(paths.folder().join("secret.txt"), "secret").unwrap();
    out
}

fn app(archive: &Path, limits: Limits) -> App {
    App {
        status: Status::new(50),
        metrics: Metrics::new().unwrap(),
        archive: archive.to_path_buf(),
        bus: "spool directory <spool>".into(),
        version: "0.0".into(),
        started: OffsetDateTime::now_utc(),
        limits,
    }
}

async fn ask(app: &App, request: Request<Body>) -> Response<Body> {
    router(app.clone(), CancellationToken::new()).oneshot(request).await.unwrap()
}

async fn get_as(app: &App, path: &str) -> (StatusCode, String) {
    let response = ask(app, Request::get(path).body(Body::empty()).unwrap()).await;
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

fn record(name: &str) -> ExposureRecord {
    ExposureRecord::new(format!("cam/{name}"), name, format!("s3://bucket/{name}"))
}

/// Object ids in the order of the table's rows.
fn table_ids(page: &str) -> Vec<i64> {
    page.split("<tr><th scope=\"row\" class=\"n\"><a href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().rsplit('/').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn probes_say_what_is_wrong() {
    let out = tempfile::tempdir().unwrap();
    let app = app(out.path(), Limits::default());
    app.metrics.objects_total.inc_by(42);
    let (status, text) = get_as(&app, "/metrics").await;
    assert!(status.is_success() && text.contains("\nstillair_objects_total 42\n"), "{text}");

    let (status, text) = get_as(&app, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    app.status.set(Component::Bus, Ok(()));
    app.status.set(Component::Network, Ok(()));
    app.status.set(Component::Disk, Err(HOSTILE.into()));
    let (_, said) = get_as(&app, "/readyz").await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["ready"], &said["components"]["bus"]["ready"]), (&false.into(), &true.into()), "{text}");
    assert_eq!(said["components"]["disk"]["reason"], HOSTILE);
    app.status.set(Component::Disk, Ok(()));
    assert_eq!(get_as(&app, "/readyz").await.0, StatusCode::OK);

    assert_eq!(get_as(&app, "/livez").await.0, StatusCode::OK);
    let silent = App { limits: Limits { silent: Duration::ZERO, ..app.limits }, ..app.clone() };
    let (status, text) = get_as(&silent, "/livez").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains("\"alive\":false"), "{text}");
}

#[tokio::test]
async fn the_page_shows_what_the_daemon_does_and_what_the_archive_holds() {
    let out = archive_of("field-1");
    let app = app(out.path(), Limits::default());
    let status = &app.status;
    status.queue(1234);
    status.set_workers(3);
    status.set(Component::Disk, Err(format!("full {HOSTILE}")));
    for name in ["field-2", "field-3", "field-4", HOSTILE] {
        status.began(record(name));
    }
    status.stage("cam/field-2", "tikhonov");
    status.ended("cam/field-3", |r| {
        r.state = State::Done;
        r.objects = Some(4321);
        r.psf_fwhm_arcsec = Some(0.67);
        r.psf_quality = Some("good".into());
        r.seconds = vec![("read".into(), 1.0), ("total".into(), 7.25)];
    });
    let failed =
        State::Failed { stage: "read".into(), kind: "bad_input".into(), reason: format!("truncated {HOSTILE}") };
    status.ended("cam/field-4", |r| r.state = failed);
    let (code, page) = get_as(&app, "/").await;
    assert_eq!(code, StatusCode::OK);
    for part in [
        "href=\"exposures/field-1\"",
        "0.81\u{2033}",
        "degraded",
        "tikhonov",
        "4\u{202f}321",
        "0.67\u{2033}",
        "7.25",
        "1\u{202f}234",
        "of 3",
        "truncated &lt;script&gt;",
        "bad input",
        "spool directory &lt;spool&gt;",
        "not ready",
        "http-equiv=\"refresh\"",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(!page.contains("<script>alert"), "what came from outside is escaped");
    assert_eq!(
        page.matches("<tr><th scope=\"row\"><a id=\"to-").count(),
        4,
        "a name that can be no folder has no link"
    );
    // an exposure that is being done again appears once
    status.began(record("field-1"));
    let (_, page) = get_as(&app, "/").await;
    assert_eq!(page.matches("href=\"exposures/field-1\"").count(), 1);
}

#[tokio::test]
async fn a_detail_page_sorts_filters_and_turns_pages() {
    let out = archive_of("field-1");
    let app = app(out.path(), Limits::default());
    let (code, page) = get_as(&app, "/exposures/field-1").await;
    assert_eq!(code, StatusCode::OK);
    let ids = table_ids(&page);
    let snr = |id: &i64| (id * 37) % OBJECTS;
    assert_eq!(ids.len(), 50);
    assert!(ids.windows(2).all(|w| snr(&w[0]) > snr(&w[1])), "brightest first: {ids:?}");
    assert!(page.contains("aria-sort=\"descending\"") && page.contains("Page 1 of 3"));
    assert!(page.contains("Every object: <strong>uncalibrated</strong>"));
    assert!(page.contains("120, 40 flagged"), "{page}");
    assert!(!page.contains("<script>alert") && page.contains("assumed &lt;script&gt;"));
    assert!(page.contains("../exposures/field-1/objects/7.png?size=72") || page.contains("/objects/81.png"));

    let (_, page) = get_as(&app, "/exposures/field-1?sort=id&page=3").await;
    assert_eq!(table_ids(&page), (101..=120).collect::<Vec<_>>());
    let (_, page) = get_as(&app, "/exposures/field-1?sort=id&desc=1&only=flagged").await;
    assert_eq!(table_ids(&page), (1..=40).rev().map(|i| 3 * i).collect::<Vec<_>>());
    let (_, page) = get_as(&app, "/exposures/field-1?flag=BLENDED&sort=id").await;
    assert_eq!(table_ids(&page)[..3], [3, 6, 9]);
    for wrong in ["sort=magic", "page=minus", "only=good", "flag=UGLY"] {
        let (code, page) = get_as(&app, &format!("/exposures/field-1?{wrong}")).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{wrong}: {page}");
        assert!(page.contains("All exposures"), "a page with a way back");
    }
    let small = App { limits: Limits { catalog_rows: 100, ..app.limits }, ..app.clone() };
    let (code, page) = get_as(&small, "/exposures/field-1").await;
    assert!(code.is_success() && page.contains("120 objects, more than the 100"), "the rest of the page is there");
    std::fs::write(out.path().join("field-1/catalog.parquet"), "broken").unwrap();
    let (code, page) = get_as(&app, "/exposures/field-1").await;
    assert!(code.is_success() && page.contains("class=\"notice\"") && page.contains("catalog.parquet"));
}

#[tokio::test]
async fn names_cannot_lead_out_of_the_archive() {
    let out = archive_of("field-1");
    std::fs::write(out.path().join("beside.json"), "beside").unwrap();
    std::os::unix::fs::symlink(out.path().join("beside.json"), out.path().join("field-1/link.json")).unwrap();
    let path = out.path().join("field-1/summary.json");
    let mut summary: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for name in ["link.json", "../beside.json", "gone.fits"] {
        summary["files"].as_array_mut().unwrap().push(serde_json::json!({"name": name, "bytes": 6}));
    }
    std::fs::write(&path, serde_json::to_vec(&summary).unwrap()).unwrap();
    let app = app(out.path(), Limits::default());
    for path in [
        "/exposures/nothing",
        "/exposures/..",
        "/exposures/.",
        "/exposures/%2e%2e",
        "/exposures/..%2ffield-1",
        "/exposures/field-1%2f..%2ffield-1",
        "/exposures/field-1%00",
        "/exposures/%ff",
        "/exposures/field-1/files/secret.txt",
        "/exposures/field-1/files/link.json",
        "/exposures/field-1/files/..%2fbeside.json",
        "/exposures/field-1/files/gone.fits",
        "/exposures/field-1/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/exposures/..%2f..%2fetc/files/passwd",
        "/exposures/field-1/objects/..%2f..%2fbeside.json",
        "/exposures/field-1/objects/9999.png",
        "/exposures/field-1/objects/9999",
        "/exposures/field-1/objects/1e3.png",
        "/beside.json",
        "/nothing",
    ] {
        let (code, text) = get_as(&app, path).await;
        assert!(code == StatusCode::NOT_FOUND || code == StatusCode::BAD_REQUEST, "{path}: {code} {text}");
        assert_ne!(text, "beside", "{path}");
    }
    let (code, page) = get_as(&app, "/exposures/nothing").await;
    assert!(
        code == StatusCode::NOT_FOUND
            && page.contains("There is no exposure \u{201c}nothing\u{201d}")
            && page.contains("<h1>")
    );
}

#[tokio::test]
async fn files_are_served_as_they_lie() {
    let out = archive_of("field-1");
    let app = app(out.path(), Limits::default());
    for (file, kind, shown) in [
        ("catalog.fits", "application/fits", false),
        ("catalog.parquet", "application/vnd.apache.parquet", false),
        ("stamps_32.fits", "application/fits", false),
        ("sheet.png", "image/png", true),
        ("summary.json", "application/json", true),
    ] {
        let request = Request::get(format!("/exposures/field-1/files/{file}")).body(Body::empty()).unwrap();
        let response = ask(&app, request).await;
        assert_eq!(response.status(), StatusCode::OK, "{file}");
        assert_eq!(response.headers()[CONTENT_TYPE], kind);
        let disposition = response.headers()[CONTENT_DISPOSITION].to_str().unwrap();
        assert_eq!(disposition == "inline", shown, "{disposition}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, std::fs::read(out.path().join("field-1").join(file)).unwrap(), "{file}");
    }
}

#[tokio::test]
async fn thumbnails_are_drawn_in_any_size_and_kept_by_the_browser() {
    let out = archive_of("field-1");
    let app = app(out.path(), Limits::default());
    let png = |path: &str, tag: Option<String>| {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).unwrap();
        let app = app.clone();
        async move { ask(&app, request).await }
    };
    for (size, width, height) in [("", 4 * 72 + 6, 72), ("?size=200", 806, 200)] {
        let response = png(&format!("/exposures/field-1/objects/17.png{size}"), None).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "image/png");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let picture = image::load_from_memory(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (width, height));
    }
    let first = png("/exposures/field-1/objects/17.png", None).await;
    let tag = first.headers()[ETAG].to_str().unwrap().to_string();
    let again = png("/exposures/field-1/objects/17.png", Some(format!("W/{tag}"))).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_ne!(png("/exposures/field-1/objects/18.png", None).await.headers()[ETAG], tag.as_str());
    for wrong in ["?size=4", "?size=100000", "?size=big"] {
        let (code, _) = get_as(&app, &format!("/exposures/field-1/objects/17.png{wrong}")).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let (code, page) = get_as(&app, "/exposures/field-1/objects/18").await;
    assert!(
        code.is_success()
            && page.contains("half_light_radius")
            && page.contains("blended")
            && page.contains("18.png?size=320")
    );
    // half of the file is gone: what is asked for is not there, and that is an error, not a wrong picture
    let stamps = out.path().join("field-1/stamps_32.fits");
    let length = std::fs::metadata(&stamps).unwrap().len();
    std::fs::File::options().write(true).open(&stamps).unwrap().set_len(length / 2).unwrap();
    assert_eq!(get_as(&app, "/exposures/field-1/objects/17.png").await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_exposure_in_hand_has_a_page_of_its_own() {
    let out = tempfile::tempdir().unwrap();
    let app = app(out.path(), Limits::default());
    app.status.began(record("field-9"));
    app.status.stage("cam/field-9", "network");
    let (code, page) = get_as(&app, "/exposures/field-9").await;
    assert!(code.is_success() && page.contains("stage network") && page.contains("http-equiv=\"refresh\""), "{page}");
    let failed = State::Failed { stage: "psf".into(), kind: "bad_input".into(), reason: "no stars".into() };
    app.status.ended("cam/field-9", |r| r.state = failed);
    let (_, page) = get_as(&app, "/exposures/field-9").await;
    assert!(page.contains("Stage psf, bad input: no stars") && !page.contains("http-equiv=\"refresh\""), "{page}");
}

#[tokio::test]
async fn every_answer_carries_the_strict_headers() {
    let out = archive_of("field-1");
    let app = app(out.path(), Limits::default());
    for path in ["/", "/metrics", "/readyz", "/exposures/field-1", "/exposures/field-1/objects/1.png", "/nothing"] {
        let response = ask(&app, Request::get(path).body(Body::empty()).unwrap()).await;
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_string();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["x-frame-options"], "DENY");
        let kept = response.headers()[CACHE_CONTROL].to_str().unwrap();
        assert_eq!(kept, if path.ends_with(".png") { "no-cache" } else { "no-store" }, "{path}");
    }
    let (_, page) = get_as(&app, "/exposures/field-1").await;
    assert!(
        !page.contains(" style=\"") && !page.contains(" onclick") && !page.contains("//cdn"),
        "the policy forbids it"
    );
    let post = ask(&app, Request::post("/").body(Body::from("x")).unwrap()).await;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn live_pages_follow_the_status_and_are_bounded() {
    let out = tempfile::tempdir().unwrap();
    let app = app(out.path(), Limits { event_streams: 2, ..Limits::default() });
    let closing = CancellationToken::new();
    let routes = router(app.clone(), closing.clone());
    let open = || {
        let routes = routes.clone();
        async move { routes.oneshot(Request::get("/events").body(Body::empty()).unwrap()).await.unwrap() }
    };
    let mut first = open().await.into_body();
    let second = open().await;
    assert_eq!(open().await.status(), StatusCode::SERVICE_UNAVAILABLE, "a third one");
    let next = async |body: &mut Body| {
        let frame =
            tokio::time::timeout(Duration::from_secs(5), body.frame()).await.expect("an event").unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let event = next(&mut first).await;
    assert!(event.contains("event: live") && event.contains("None yet"), "{event}");
    app.status.began(record("field-5"));
    app.status.set(Component::Disk, Err("line one\r\nline two\ndata: forged".into()));
    let event = next(&mut first).await;
    assert!(event.contains("exposures/field-5"), "{event}");
    let data: Vec<&str> = event.lines().filter(|l| l.starts_with("data: ")).collect();
    assert_eq!(data.len(), 1, "one line, whatever is in it");
    let html: String = serde_json::from_str(&data[0]["data: ".len()..]).unwrap();
    assert!(html.contains("line one\r\nline two\ndata: forged"));
    drop(second);
    assert_eq!(open().await.status(), StatusCode::OK, "a place is free again");
    closing.cancel();
    let end = tokio::time::timeout(Duration::from_secs(5), first.collect()).await;
    assert!(end.is_ok(), "the end of the daemon ends the streams");
}

mod connections;
