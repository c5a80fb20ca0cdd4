//! A delivery is seen through to its answer.

use std::path::PathBuf;
use std::time::Duration;

use super::exposure::{self, Finished};
use super::process::events_of_file;
use super::{Daemon, Trouble, TroubleKind, say};
use crate::bus::{Delivery, Receipt, Request};
use crate::event::{ExposureEvent, parse_exposure_event};
use crate::status::{ExposureRecord, State};

/// Pause before a delivery that another process works on, or that is handed back by a service that stops.
const SOON: Duration = Duration::from_secs(1);

/// Works on a delivery and answers for it. Signs of life are given meanwhile.
pub(super) async fn see_through(daemon: &Daemon, delivery: Delivery) {
    let settings = daemon.settings();
    if delivery.attempt > 1 {
        daemon.metrics.redeliveries_total.inc();
    }
    let Delivery { request, subject, id, attempt, receipt } = delivery;
    let working = daemon.metrics.queue_depth.with_label_values(&["working"]);
    working.inc();
    let mut companions = Vec::new();
    let mut key = None;
    let limit = settings.bus.max_deliveries;
    let work = async {
        if attempt > limit {
            return Err(Trouble {
                stage: "event",
                kind: TroubleKind::Deliveries,
                reason: format!(
                    "delivered {attempt} times without an answer: whoever worked on it died each time; see the log of those times"
                ),
            });
        }
        let events = events(daemon, &request).await?;
        for (event, files) in &events {
            key = Some(event.event.data.identity.key());
            companions.extend(files.iter().cloned());
            exposure::see_through(daemon, event, &id, attempt).await?;
        }
        Ok(())
    };
    let interval = Duration::from_secs_f64((settings.bus.ack_wait_s as f64 / 3.0).min(30.0));
    let result = alive(daemon, work, &receipt, interval).await;
    working.dec();
    let trouble = match result {
        Ok(()) => {
            if let Err(error) = receipt.done(&companions).await {
                // It comes again, is found done, and is answered for then.
                tracing::warn!(%subject, %error, "finished, but not acknowledged");
            }
            return;
        }
        Err(trouble) => trouble,
    };
    let about = About { id: &id, subject: &subject, key, attempt, companions: &companions };
    failed(daemon, trouble, about, &request, receipt).await;
}

/// Runs work, and gives a sign of life every `interval`.
async fn alive<T>(daemon: &Daemon, work: impl Future<Output = T>, receipt: &Receipt, interval: Duration) -> T {
    let mut ticks = tokio::time::interval(interval);
    ticks.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => {
                daemon.status.beat();
                if let Err(error) = receipt.progress().await {
                    tracing::debug!(%error, "no sign of life could be given");
                }
            }
        }
    }
}

/// The exposures that a request asks for, each with the files of the spool that belong to it.
async fn events(daemon: &Daemon, request: &Request) -> Result<Vec<(ExposureEvent, Vec<PathBuf>)>, Trouble> {
    let settings = daemon.settings();
    match request {
        Request::Event(bytes) => {
            let event = parse_exposure_event(bytes, settings.bus.max_event_bytes)
                .map_err(|error| Trouble::new("event", &error))?;
            Ok(vec![(event, Vec::new())])
        }
        Request::File(path) => {
            let path = path.clone();
            let listed = tokio::task::spawn_blocking(move || events_of_file(&path, &settings.read)).await;
            match listed {
                Ok(events) => events.map_err(|error| Trouble::new("read", &error)),
                Err(error) => Err(panicked("read", &error)),
            }
        }
    }
}

/// A task of ours died: that is one exposure's failure.
pub(super) fn panicked(stage: &'static str, error: &tokio::task::JoinError) -> Trouble {
    let reason = format!("stillair panicked ({error}); this is a bug, please report it with the log");
    Trouble { stage, kind: TroubleKind::Bug, reason }
}

/// What is known of a delivery that failed.
struct About<'a> {
    id: &'a str,
    subject: &'a str,
    key: Option<String>,
    attempt: u64,
    companions: &'a [PathBuf],
}

/// Hands a failed delivery back, or gives it up where trying again is no use.
async fn failed(daemon: &Daemon, mut trouble: Trouble, about: About<'_>, request: &Request, receipt: Receipt) {
    let settings = daemon.settings();
    let shown = about.key.clone().unwrap_or_else(|| about.id.to_string());
    daemon.metrics.failures_total.with_label_values(&[trouble.stage, trouble.kind.name()]).inc();
    if trouble.kind == TroubleKind::Stopping {
        tracing::info!(exposure = shown, "handed back: the service stops");
        handed_back(receipt, SOON).await;
        return;
    }
    let again = trouble.kind == TroubleKind::Transient;
    if again && about.attempt < settings.bus.max_deliveries {
        let delay = settings.bus.retry_delay(about.attempt);
        tracing::warn!(
            exposure = shown,
            stage = trouble.stage,
            reason = trouble.reason,
            ?delay,
            "failed, will be tried again"
        );
        daemon.metrics.exposures_total.with_label_values(&["retried"]).inc();
        if let Some(key) = &about.key {
            daemon.status.ended(key, |record| {
                record.state =
                    State::Retrying { reason: trouble.reason.clone(), at: time::OffsetDateTime::now_utc() + delay };
            });
        }
        handed_back(receipt, delay).await;
        return;
    }
    if again {
        trouble.reason = format!("tried {} times; the last time: {}", about.attempt, trouble.reason);
        trouble.kind = TroubleKind::Deliveries;
    }
    tracing::error!(
        exposure = shown,
        stage = trouble.stage,
        kind = trouble.kind.name(),
        reason = trouble.reason,
        "given up"
    );
    let event = say::failed(about.id, about.key.clone(), &trouble, about.attempt, about.subject, request);
    if let Err(error) = daemon.publisher.failed(about.id, about.id, &event).await {
        // Not given up before that is known where it will be looked for.
        tracing::error!(exposure = shown, %error, "the failure could not be published: to be tried again");
        handed_back(receipt, settings.bus.retry_delay(about.attempt)).await;
        return;
    }
    if let Some(subject) = reply_to(request)
        && let Err(error) = daemon.publisher.reply(&subject, &event).await
    {
        tracing::warn!(%error, "no reply could be sent");
    }
    daemon.metrics.exposures_total.with_label_values(&["failed"]).inc();
    let state =
        State::Failed { stage: trouble.stage.into(), kind: trouble.kind.name().into(), reason: trouble.reason.clone() };
    let key = about.key.unwrap_or_else(|| about.id.to_string());
    if daemon.status.recent().iter().all(|record| record.key != key) {
        daemon.status.began(ExposureRecord::new(&key, &key, about.subject));
    }
    daemon.status.ended(&key, |record| {
        record.attempt = about.attempt;
        record.finished = Some(time::OffsetDateTime::now_utc());
        record.state = state;
    });
    if let Err(error) = receipt.give_up(about.companions).await {
        tracing::warn!(%error, "given up, but the bus was not told: it will be told next time");
    }
}

/// Where the sender wants to be answered, if the message is an event that says so.
fn reply_to(request: &Request) -> Option<String> {
    let Request::Event(bytes) = request else { return None };
    let event: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    Some(event.get("data")?.get("reply_to")?.as_str()?.to_string())
}

async fn handed_back(receipt: Receipt, delay: Duration) {
    if let Err(error) = receipt.retry_after(delay).await {
        // Without our word the bus waits a little longer.
        tracing::debug!(%error, "not handed back in time");
    }
}

/// What became of one exposure, for the page and the metrics.
pub(super) fn note_finished(daemon: &Daemon, key: &str, finished: &Finished, seconds: &[(String, f64)]) {
    let metrics = &daemon.metrics;
    let outcome = if finished.earlier { "duplicate" } else { "done" };
    metrics.exposures_total.with_label_values(&[outcome]).inc();
    let summary = &finished.summary;
    let psf = &summary.header.psf;
    if !finished.earlier {
        metrics.objects_total.inc_by(summary.objects as u64);
        for (flag, count) in &summary.flagged {
            metrics.objects_flagged_total.with_label_values(&[flag]).inc_by(*count as u64);
        }
        for (stage, spent) in seconds {
            metrics.stage_duration_seconds.with_label_values(&[stage]).observe(*spent);
        }
        if let Some(fwhm) = psf.fwhm_arcsec {
            metrics.psf_fwhm_arcsec.observe(fwhm);
        }
        if let Some(residual) = psf.reserved_size_residual {
            metrics.psf_reserved_size_residual.observe(residual);
        }
        if let Some(drift) = summary.more.get("calibration_drift").and_then(serde_json::Value::as_f64) {
            metrics.calibration_drift.set(drift);
        }
        if daemon.settings().calibration.loaded.is_some() && summary.header.calibration.is_none() {
            metrics.exposures_uncalibrated_total.inc();
        }
        metrics.psf_quality_total.with_label_values(&[&psf.quality]).inc();
    }
    let now = time::OffsetDateTime::now_utc();
    metrics.last_exposure_timestamp_seconds.set(now.unix_timestamp() as f64);
    daemon.status.ended(key, |record| {
        record.state = State::Done;
        record.finished = Some(now);
        record.band.clone_from(&summary.header.band);
        record.objects = Some(summary.objects);
        record.flagged = summary.flagged_objects;
        record.seconds = seconds.to_vec();
        record.psf_fwhm_arcsec = psf.fwhm_arcsec;
        record.psf_quality = Some(psf.quality.clone());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_exposures_failure() {
        let ended = tokio::task::spawn_blocking(|| panic!("out of cheese")).await.unwrap_err();
        let trouble = panicked("total", &ended);
        assert_eq!(trouble.kind, TroubleKind::Bug);
        assert!(trouble.reason.contains("out of cheese") && trouble.reason.contains("report it"), "{}", trouble.reason);
    }
}
