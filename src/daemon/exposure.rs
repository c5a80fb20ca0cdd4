//! One exposure: fetched, processed, archived, published.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::process::{Local, Processed, archive_name, process};
use super::{Daemon, Trouble, TroubleKind, answer, ledger, say};
use crate::archive::{ExposureSummary, catalog_batch};
use crate::bus::{Publisher, Source};
use crate::event::{DataRef, ExposureEvent};
use crate::fetch::{Fetcher, Staging, Wanted};
use crate::fits::NoiseKind;
use crate::pipeline::Watch;
use crate::settings::Settings;
use crate::status::ExposureRecord;
use crate::telemetry::ExposureTrace;

/// An exposure that is archived and published.
#[derive(Debug)]
pub(super) struct Finished {
    pub summary: ExposureSummary,
    /// Whether an earlier delivery did the work.
    pub earlier: bool,
}

/// Sees one exposure through: after `Ok` the archive holds it and everything has been published.
pub(super) async fn see_through(
    daemon: &Daemon,
    event: &ExposureEvent,
    delivery: &str,
    attempt: u64,
) -> Result<(), Trouble> {
    let settings = daemon.settings();
    let data = &event.event.data;
    let key = data.identity.key();
    let mut record =
        ExposureRecord::new(&key, folder_name(&settings, &archive_name(&data.identity)), &data.data.image.uri);
    record.attempt = attempt;
    record.band.clone_from(&data.observation.band);
    daemon.status.began(record);
    let trace = ExposureTrace::start(event.event.traceparent.as_deref(), &key, daemon.tracer.as_ref());
    trace.attribute("stillair.attempt", attempt as i64);
    tracing::info!(exposure = key, attempt, source = data.data.image.uri, "begun");
    let start = Instant::now();
    let outcome = work(daemon, &settings, event, delivery, &trace).await;
    match outcome {
        Ok((finished, mut seconds)) => {
            seconds.push(("total".into(), start.elapsed().as_secs_f64()));
            answer::note_finished(daemon, &key, &finished, &seconds);
            note_age(daemon, event);
            tracing::info!(
                exposure = key,
                objects = finished.summary.objects,
                psf = finished.summary.header.psf.quality,
                seconds = start.elapsed().as_secs_f64(),
                earlier = finished.earlier,
                trace = trace.trace_id(),
                "done"
            );
            trace.end(if finished.earlier { "duplicate" } else { "done" });
            Ok(())
        }
        Err(trouble) => {
            trace.failed(&trouble.to_string());
            trace.end("failed");
            Err(trouble)
        }
    }
}

/// The folder that an exposure of this name gets.
fn folder_name(settings: &Settings, name: &str) -> String {
    let paths = crate::archive::ExposurePaths::new(&settings.output.directory, name);
    paths.folder().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

type Timed = Vec<(String, f64)>;

async fn work(
    daemon: &Daemon,
    settings: &Settings,
    event: &ExposureEvent,
    delivery: &str,
    trace: &ExposureTrace,
) -> Result<(Finished, Timed), Trouble> {
    let limit = time_left(settings, event)?;
    let key = event.event.data.identity.key();
    let watch = {
        let (status, key) = (daemon.status.clone(), key.clone());
        Watch::new(move |stage| status.stage(&key, stage.name()))
    };
    let computing = AtomicBool::new(false);
    let steps = async {
        let (begun, clock) = (SystemTime::now(), Instant::now());
        let staging = Staging::new(&settings.fetch.staging_folder()).map_err(|error| Trouble::new("fetch", &error))?;
        let local = fetch(&daemon.fetcher, event, &staging).await?;
        trace.stage("fetch", begun, SystemTime::now());
        let mut seconds = vec![("fetch".to_string(), clock.elapsed().as_secs_f64())];

        let begun = SystemTime::now();
        computing.store(true, Ordering::Relaxed);
        let processed = processed(daemon, settings, event, local, &watch).await?;
        computing.store(false, Ordering::Relaxed);
        drop(staging);
        trace_stages(trace, begun, &processed.seconds);
        seconds.extend(processed.seconds.iter().cloned());

        daemon.status.stage(&key, "publish");
        let (begun, clock) = (SystemTime::now(), Instant::now());
        upload(daemon, settings, &processed).await?;
        publish(daemon, settings, event, delivery, &processed).await?;
        trace.stage("publish", begun, SystemTime::now());
        seconds.push(("publish".into(), clock.elapsed().as_secs_f64()));
        Ok((Finished { summary: processed.summary, earlier: processed.earlier }, seconds))
    };
    tokio::pin!(steps);
    let stopped = tokio::select! {
        result = &mut steps => return result,
        () = tokio::time::sleep(limit) => Trouble {
            stage: "total",
            kind: TroubleKind::Deadline,
            reason: format!("not finished within {:.0} s ([serve] deadline_s, or the event's own deadline)", limit.as_secs_f64()),
        },
        () = daemon.abandon.cancelled() => Trouble {
            stage: "total",
            kind: TroubleKind::Stopping,
            reason: "the service stops".into(),
        },
    };
    if !computing.load(Ordering::Relaxed) {
        // A transfer is given up where it is.
        return Err(stopped);
    }
    // The computation ends at its next stage or chunk. Until then the worker stays with it: what goes on is never more than the
    // workers there are.
    watch.cancel();
    match steps.await {
        // It was finished in that very moment after all.
        Ok(finished) => Ok(finished),
        Err(_) => Err(stopped),
    }
}

/// How long the exposure may take.
fn time_left(settings: &Settings, event: &ExposureEvent) -> Result<Duration, Trouble> {
    let ours = Duration::from_secs_f64(settings.serve.deadline_s.max(0.001));
    let Some(text) = &event.event.data.deadline else { return Ok(ours) };
    let bad = |reason: String| Trouble { stage: "event", kind: TroubleKind::BadInput, reason };
    let deadline = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|error| bad(format!("data.deadline {text:?} is not an RFC 3339 time: {error}")))?;
    match Duration::try_from(deadline - OffsetDateTime::now_utc()) {
        Ok(left) => Ok(ours.min(left)),
        Err(_) => Err(Trouble {
            stage: "event",
            kind: TroubleKind::Deadline,
            reason: format!("its deadline {text} had passed when it was taken up"),
        }),
    }
}

/// Fetches and processes the exposure of an event, without a bus: its summary, and whether the archive held it already.
pub async fn process_event(
    event: &ExposureEvent,
    settings: &Settings,
    inference: Option<crate::pipeline::Inference>,
    fetcher: &Fetcher,
) -> Result<(ExposureSummary, bool), Trouble> {
    let staging = Staging::new(&settings.fetch.staging_folder()).map_err(|error| Trouble::new("fetch", &error))?;
    let local = fetch(fetcher, event, &staging).await?;
    let source = &event.event.data.data.image.uri;
    let processed = process(event, &local, settings, inference, source, &Watch::default())?;
    Ok((processed.summary, processed.earlier))
}

async fn fetch(fetcher: &Fetcher, event: &ExposureEvent, staging: &Staging) -> Result<Local, Trouble> {
    let one = async |file: Option<&DataRef>| -> Result<Option<PathBuf>, Trouble> {
        let Some(file) = file else { return Ok(None) };
        let wanted = Wanted { uri: &file.uri, size: file.size, checksum: file.checksum.as_deref() };
        let path = fetcher.fetch(wanted, staging).await;
        path.map(Some).map_err(|error| Trouble::new("fetch", &error))
    };
    let asked = &event.event.data;
    let files = &asked.data;
    let noise =
        [(NoiseKind::Variance, &files.variance), (NoiseKind::Rms, &files.rms), (NoiseKind::Weight, &files.weight)];
    let mut local = Local {
        image: one(Some(&files.image)).await?.unwrap_or_default(),
        noise: None,
        mask: one(files.mask.as_ref()).await?,
        background: one(files.background.as_ref()).await?,
        catalog: one(asked.catalog.as_ref().map(|catalog| &catalog.file)).await?,
        psf: one(asked.psf.as_ref().map(|psf| &psf.file)).await?,
    };
    for (kind, file) in noise {
        if let Some(path) = one(file.as_ref()).await? {
            local.noise = Some((kind, path));
        }
    }
    Ok(local)
}

/// The blocking part, on a thread of its own; a panic in it is this exposure's failure.
async fn processed(
    daemon: &Daemon,
    settings: &Settings,
    event: &ExposureEvent,
    local: Local,
    watch: &Watch,
) -> Result<Processed, Trouble> {
    let (event, settings, watch) = (event.clone(), settings.clone(), watch.clone());
    let inference = daemon.inference.clone();
    let source = resting_place(daemon, &event.event.data.data.image.uri);
    let work = tokio::task::spawn_blocking(move || process(&event, &local, &settings, inference, &source, &watch));
    work.await.unwrap_or_else(|error| Err(answer::panicked("total", &error)))
}

/// Where a file of the spool is going to lie; every other URI stays as it is.
fn resting_place(daemon: &Daemon, uri: &str) -> String {
    let Source::Spool(spool) = &daemon.source else { return uri.to_string() };
    let part =
        |name: &str| url::Url::from_directory_path(spool.folder().join(name)).map(String::from).unwrap_or_default();
    match uri.strip_prefix(&part("incoming")) {
        Some(file) => format!("{}{file}", part("done")),
        None => uri.to_string(),
    }
}

/// Stages follow one another, apart from those that take turns over chunks of objects: their spans are laid end to end.
fn trace_stages(trace: &ExposureTrace, begun: SystemTime, seconds: &[(String, f64)]) {
    let mut at = begun;
    for (stage, spent) in seconds {
        let end = at + Duration::try_from_secs_f64(*spent).unwrap_or_default();
        if let Some(stage) = crate::telemetry::STAGES.iter().find(|name| *name == stage) {
            trace.stage(stage, at, end);
        }
        at = end;
    }
}

/// Puts the exposure's files into a bucket too, the summary last.
async fn upload(daemon: &Daemon, settings: &Settings, processed: &Processed) -> Result<(), Trouble> {
    let prefix = settings.serve.upload.trim_end_matches('/');
    if prefix.is_empty() {
        return Ok(());
    }
    let folder = processed.paths.folder();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let files = processed.summary.files.iter().map(|file| file.name.as_str()).chain(["summary.json"]);
    for file in files {
        let uri = format!("{prefix}/{name}/{file}");
        daemon.fetcher.put(&uri, &folder.join(file)).await.map_err(|error| Trouble::new("archive", &error))?;
    }
    Ok(())
}

async fn publish(
    daemon: &Daemon,
    settings: &Settings,
    event: &ExposureEvent,
    delivery: &str,
    processed: &Processed,
) -> Result<(), Trouble> {
    let header = &processed.summary.header;
    // The same exposure made with another configuration or network is another catalogue.
    let made = [header.config_hash.as_deref(), header.network_sha.as_deref()].map(|hash| hash.unwrap_or("-"));
    let short = made.map(|hash| hash.get(..12).unwrap_or(hash)).join("-");
    let id = format!("{}@{short}", event.event.data.identity.key());
    let (archive, folder) = (&settings.output.directory, processed.paths.folder());
    let spooled = matches!(daemon.publisher, Publisher::Spool(_));
    if !ledger::published(archive, folder, &id) || spooled {
        let batch = catalog_batch(&processed.catalog.rows, &header.units).map_err(|error| Trouble {
            stage: "publish",
            kind: TroubleKind::Bug,
            reason: error.to_string(),
        })?;
        let ready = |rows| say::ready(&event.event, &id, &processed.summary, folder, &settings.serve.upload, rows);
        daemon
            .publisher
            .catalog(&id, delivery, &batch, ready)
            .await
            .map_err(|error| Trouble::new("publish", &error))?;
        ledger::note(archive, folder, &id).map_err(|error| Trouble::new("publish", &error))?;
    }
    if let Some(subject) = &event.event.data.reply_to {
        let ready = say::ready(&event.event, &id, &processed.summary, folder, &settings.serve.upload, None);
        match daemon.publisher.reply(subject, &ready).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(subject, "no reply sent: the subject does not begin with [bus] reply_prefix"),
            Err(error) => tracing::warn!(%error, "no reply could be sent"),
        }
    }
    Ok(())
}

/// Time from the event to its catalogue.
fn note_age(daemon: &Daemon, event: &ExposureEvent) {
    let time = event.event.time.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    if let Some(time) = time {
        daemon.metrics.event_age_seconds.observe((OffsetDateTime::now_utc() - time).as_seconds_f64().max(0.0));
    }
}
