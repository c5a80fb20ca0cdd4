//! Exposures that were given up: listed, and sent on their way again.

use async_nats::jetstream::Context;
use serde_json::Value;

use super::publish::send;
use super::{BusError, BusSettings, Spool};
use crate::event::{CloudEvent, ExposureFailed};

/// An exposure that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// What it is called by `retry`: sequence on the stream, or name in the spool.
    pub id: String,
    /// When it was given up, RFC 3339.
    pub time: String,
    /// What was said of it.
    pub failure: ExposureFailed,
}

/// Where dead letters lie.
#[derive(Debug, Clone)]
pub enum DeadLetters {
    /// On a stream.
    Jet {
        /// The server.
        context: Context,
        /// Streams and subjects.
        settings: Box<BusSettings>,
    },
    /// In the spool.
    Spool(Spool),
}

impl DeadLetters {
    /// All of them, oldest first.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, BusError> {
        match self {
            Self::Jet { context, settings } => {
                let stream = stream(context, settings).await?;
                let state = stream.get_info().await.map_err(|error| BusError::server("read the stream", error))?.state;
                let mut found = Vec::new();
                for sequence in state.first_sequence..=state.last_sequence {
                    let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                    found.extend(letter(sequence.to_string(), &message.payload));
                }
                Ok(found)
            }
            Self::Spool(spool) => {
                Ok(spool.failures()?.into_iter().filter_map(|(name, bytes)| letter(name, &bytes)).collect())
            }
        }
    }

    /// Sends one on its way again and takes it off the list.
    pub async fn retry(&self, letter: &DeadLetter) -> Result<(), BusError> {
        match self {
            Self::Jet { context, settings } => {
                let payload = original(letter)?;
                let subject = &letter.failure.original.subject;
                // The id stands for this letter: asking twice sends once.
                send(context, subject, &format!("retry/{}", letter.id), &[], payload.into()).await?;
                let sequence: u64 = letter.id.parse().map_err(|_| BusError::NotFound(unknown(&letter.id)))?;
                let stream = stream(context, settings).await?;
                let deleted = stream.delete_message(sequence).await;
                deleted.map(|_| ()).map_err(|error| BusError::server("take the letter off the stream", error))
            }
            Self::Spool(spool) => spool.put_back(&letter.id),
        }
    }
}

/// What is said of a letter that is not there.
fn unknown(id: &str) -> String {
    format!("no dead letter {id}; `stillair deadletter list` shows those there are")
}

async fn stream(context: &Context, settings: &BusSettings) -> Result<async_nats::jetstream::stream::Stream, BusError> {
    let name = &settings.dead_letter_stream;
    context.get_stream(name).await.map_err(|error| BusError::Provision {
        what: "stream",
        name: name.clone(),
        reason: error.to_string(),
    })
}

/// Others may have put something else there: that is left alone.
fn letter(id: String, bytes: &[u8]) -> Option<DeadLetter> {
    let event: CloudEvent<ExposureFailed> = serde_json::from_slice(bytes).ok()?;
    Some(DeadLetter { id, time: event.time.unwrap_or_default(), failure: event.data })
}

fn original(letter: &DeadLetter) -> Result<Vec<u8>, BusError> {
    let original = &letter.failure.original;
    if let Some(event) = &original.event {
        return serde_json::to_vec::<Value>(event).map_err(|error| BusError::Rows(error.to_string()));
    }
    let bytes = original.bytes_hex.as_deref().and_then(|text| hex::decode(text).ok()).unwrap_or_default();
    if bytes.len() == original.length {
        return Ok(bytes);
    }
    Err(BusError::NotFound(format!("dead letter {}: the message was too long to be kept whole", letter.id)))
}
