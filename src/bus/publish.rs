//! What is said of finished and failed exposures.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use serde::Serialize;

use super::rows::row_messages;
use super::{BusError, BusSettings, Spool};
use crate::event::{CatalogReady, CloudEvent, ExposureFailed, RowsRef};

/// Header that the server recognises repeated messages by.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// Room for subject and headers within the server's largest payload, bytes.
const HEADERS: usize = 2048;
/// How often a publication is tried before the exposure as a whole is.
const TRIES: u32 = 4;

/// Where answers go.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// To JetStream.
    Jet {
        /// The server.
        context: Context,
        /// Subjects and streams.
        settings: Box<BusSettings>,
    },
    /// Into the spool directory.
    Spool(Spool),
}

impl Publisher {
    /// Publishes the rows, then the event that `ready` makes of where they are; everything confirmed by the server, and known by
    /// ids that begin with `id`, so that saying it twice is saying it once. `name` is the delivery's (a spool's file name).
    pub async fn catalog(
        &self,
        id: &str,
        name: &str,
        batch: &RecordBatch,
        ready: impl FnOnce(Option<RowsRef>) -> CloudEvent<CatalogReady>,
    ) -> Result<(), BusError> {
        match self {
            Self::Jet { context, settings } => {
                let limit = context.client().max_payload().saturating_sub(HEADERS);
                let messages = row_messages(batch, limit)?;
                let parts = messages.len();
                let mut sequences = Vec::with_capacity(parts);
                for (part, message) in messages.into_iter().enumerate() {
                    let headers = [
                        ("Content-Type", "application/vnd.apache.arrow.stream".to_string()),
                        ("Stillair-Part", format!("{}/{parts}", part + 1)),
                        ("Stillair-Exposure", ascii(id)),
                    ];
                    let part_id = format!("{id}/rows/{part}");
                    sequences.push(send(context, &settings.rows_subject, &part_id, &headers, message).await?);
                }
                let stream = settings.catalogs_stream.clone();
                let subject = settings.rows_subject.clone();
                let event = ready(Some(RowsRef { stream, subject, parts, sequences }));
                let ready_id = format!("{id}/ready");
                send(context, &settings.ready_subject, &ready_id, &json_headers(), json(&event)?).await.map(|_| ())
            }
            Self::Spool(spool) => spool.write_answer("done", name, "ready.json", &json(&ready(None))?),
        }
    }

    /// Says that an exposure was given up. `id` is the delivery's.
    pub async fn failed(&self, id: &str, name: &str, event: &CloudEvent<ExposureFailed>) -> Result<(), BusError> {
        match self {
            Self::Jet { context, settings } => {
                let id = format!("failed/{id}");
                send(context, &settings.failed_subject, &id, &json_headers(), json(event)?).await.map(|_| ())
            }
            Self::Spool(spool) => spool.write_answer("failed", name, "reason.json", &json(event)?),
        }
    }

    /// Says an event on the subject that the sender asked for, if the configuration allows it; whether it did.
    pub async fn reply<T: Serialize + Sync>(&self, subject: &str, event: &CloudEvent<T>) -> Result<bool, BusError> {
        let Self::Jet { context, settings } = self else { return Ok(false) };
        let prefix = &settings.reply_prefix;
        if prefix.is_empty() || !subject.starts_with(prefix.as_str()) || subject.contains(['*', '>', ' ']) {
            return Ok(false);
        }
        let sent = context.client().publish(subject.to_string(), json(event)?).await;
        sent.map(|()| true).map_err(|error| BusError::server("reply", error))
    }
}

fn json<T: Serialize>(event: &T) -> Result<Bytes, BusError> {
    serde_json::to_vec(event).map(Bytes::from).map_err(|error| BusError::Rows(error.to_string()))
}

fn json_headers() -> [(&'static str, String); 1] {
    [("Content-Type", "application/cloudevents+json".to_string())]
}

/// Header values are printable ASCII.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '_' }).collect()
}

/// Publishes one message and waits until the stream has it; its sequence.
pub(super) async fn send(
    context: &Context,
    subject: &str,
    id: &str,
    headers: &[(&'static str, String)],
    payload: Bytes,
) -> Result<u64, BusError> {
    let mut pause = Duration::from_millis(250);
    let mut last = String::new();
    for _ in 0..TRIES {
        let mut message = PublishMessage::build().message_id(ascii(id)).payload(payload.clone());
        for (name, value) in headers {
            message = message.header(*name, value.as_str());
        }
        let sent = async { context.send_publish(subject.to_string(), message).await?.await };
        match sent.await {
            Ok(ack) => return Ok(ack.sequence),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(BusError::server("publish", format!("{subject}: {last}")))
}
