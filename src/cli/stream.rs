//! `stillair replay --to` and `--from-stream`: archived fields onto a bus, and from a stream into the archive.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bus::{connect, flush, runtime};
use super::{CliError, report};
use crate::bus::{self, MESSAGE_ID};
use crate::daemon::{events_of_file, process_event};
use crate::event::{CloudEvent, ExposureAvailable, parse_exposure_event};
use crate::fetch::Fetcher;
use crate::pipeline::Inference;
use crate::settings::Settings;

/// Events a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, seconds) = match text.split_once('/') {
            None => (text, 1.0),
            Some((number, "s")) => (number, 1.0),
            Some((number, "min")) => (number, 60.0),
            Some((number, "h")) => (number, 3600.0),
            Some((_, unit)) => return Err(format!("unit /{unit} is not known; write N/s, N/min or N/h")),
        };
        let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is not a number"))?;
        let rate = number / seconds;
        if rate.is_finite() && rate > 0.0 { Ok(Self(rate)) } else { Err("must be greater than zero".into()) }
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

/// Publishes an event for every exposure of the files, at most so many a second.
pub fn publish(files: &[PathBuf], url: &str, rate: Option<Rate>, settings: &Settings) -> Result<(), CliError> {
    let mut settings = settings.clone();
    settings.bus.url = url.to_string();
    runtime()?.block_on(async {
        let (client, context) = connect(&settings).await?;
        bus::provision(&context, &settings.bus).await.map_err(failed)?;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.map_or(1000.0, |rate| rate.0)));
        // A file that cannot be read is said and left out; the rest goes on.
        let (mut sent, mut duplicates, mut unreadable) = (0_u64, 0_u64, 0_u64);
        for file in files {
            let events = match events_of_file(file, &settings.read) {
                Ok(events) => events,
                Err(error) => {
                    say!("FAILED   {}: {error}", file.display());
                    unreadable += 1;
                    continue;
                }
            };
            for (event, _) in events {
                ticks.tick().await;
                let key = event.event.data.identity.key();
                let duplicate = send(&context, &settings, &key, event.event).await?;
                say!("{} {key}: {}", if duplicate { "known   " } else { "sent    " }, file.display());
                sent += u64::from(!duplicate);
                duplicates += u64::from(duplicate);
            }
        }
        flush(&client).await?;
        say!("{sent} events sent, {duplicates} known to the stream already, {unreadable} files unreadable");
        if unreadable == 0 { Ok(()) } else { Err(failed(format!("{unreadable} files could not be read"))) }
    })
}

/// Publishes one event; whether the stream had it already.
async fn send(
    context: &async_nats::jetstream::Context,
    settings: &Settings,
    key: &str,
    mut event: CloudEvent<ExposureAvailable>,
) -> Result<bool, CliError> {
    use time::format_description::well_known::Rfc3339;
    event.time = time::OffsetDateTime::now_utc().format(&Rfc3339).ok();
    let value = without_nulls(serde_json::to_value(&event).map_err(failed)?);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(MESSAGE_ID, key);
    headers.insert("Content-Type", "application/cloudevents+json");
    let subject = settings.bus.exposures_subject.clone();
    let sent = context.publish_with_headers(subject, headers, value.to_string().into()).await.map_err(failed)?;
    Ok(sent.await.map_err(failed)?.duplicate)
}

/// What is not known is left out.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(fields) => serde_json::Value::Object(
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        other => other,
    }
}

/// Processes every event that the stream still holds; what the archive holds already is skipped. Nothing is acknowledged and
/// nothing published: a running service is not disturbed.
pub fn from_stream(url: Option<&str>, settings: &Settings) -> Result<(), CliError> {
    let mut settings = settings.clone();
    if let Some(url) = url {
        settings.bus.url = url.to_string();
    }
    let inference = Inference::start(&settings.network).map_err(failed)?;
    let runtime = runtime()?;
    let (messages, context) = runtime.block_on(async {
        let (_, context) = connect(&settings).await?;
        let mut messages = Vec::new();
        bus::original_events(&context, &settings.bus, |sequence, payload| {
            messages.push((sequence, payload));
            true
        })
        .await
        .map_err(failed)?;
        Ok::<_, CliError>((messages, context))
    })?;
    let fetcher = Fetcher::new(&settings.fetch, &[], Some(context)).map_err(failed)?;
    let (mut done, mut skipped, mut broken) = (0, 0, 0);
    for (sequence, payload) in messages {
        let event = match parse_exposure_event(&payload, settings.bus.max_event_bytes) {
            Ok(event) => event,
            Err(error) => {
                say!("FAILED   message {sequence}: {error}");
                broken += 1;
                continue;
            }
        };
        let key = event.event.data.identity.key();
        match runtime.block_on(process_event(&event, &settings, inference.clone(), &fetcher)) {
            Ok((_, true)) => {
                say!("skipped  {key}: done already");
                skipped += 1;
            }
            Ok((summary, false)) => {
                say!("done     {key}: {}", report::summary_line(&summary));
                done += 1;
            }
            Err(trouble) => {
                say!("FAILED   {key}: {trouble}");
                broken += 1;
            }
        }
    }
    say!("{done} done, {skipped} skipped, {broken} failed");
    if broken == 0 { Ok(()) } else { Err(failed(format!("{broken} events failed"))) }
}

/// Whether `replay` was asked for something that its options do not allow together.
pub fn check_options(source: Option<&Path>, from_stream: bool) -> Result<(), CliError> {
    match (source, from_stream) {
        (None, false) => {
            Err(CliError::Usage("name a folder, manifest or file to replay, or give --from-stream".into()))
        }
        (Some(_), true) => {
            Err(CliError::Usage("--from-stream takes its exposures from the bus: name no folder".into()))
        }
        _ => Ok(()),
    }
}
