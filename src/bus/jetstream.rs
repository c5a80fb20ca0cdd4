//! Exposure events from a durable pull consumer.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Context};
use futures_util::StreamExt;
use tokio::sync::Mutex;

use super::{BusError, BusSettings, Delivery, Receipt, Request, provision};

/// How long one request for a message stands.
const EXPIRES: Duration = Duration::from_secs(5);

/// A durable pull consumer; one message is asked for at a time, so that nothing is held that is not worked on.
#[derive(Debug, Clone)]
pub struct JetSource {
    context: Context,
    settings: BusSettings,
    consumer: Arc<Mutex<Option<PullConsumer>>>,
}

impl JetSource {
    /// A source; streams and consumer are looked up at the first use and again whenever they are gone.
    pub fn new(context: Context, settings: &BusSettings) -> Self {
        Self { context, settings: settings.clone(), consumer: Arc::default() }
    }

    async fn consumer(&self) -> Result<PullConsumer, BusError> {
        let mut consumer = self.consumer.lock().await;
        if consumer.is_none() {
            *consumer = Some(provision(&self.context, &self.settings).await?);
        }
        consumer.clone().ok_or_else(|| BusError::server("look up the consumer", "it is gone"))
    }

    /// Forgets the consumer: it is looked up (or made) again.
    async fn forget(&self) {
        *self.consumer.lock().await = None;
    }

    /// Asks for one message.
    pub async fn next(&self) -> Result<Option<Delivery>, BusError> {
        let message = match self.pull().await {
            Ok(message) => message,
            Err(error) => {
                self.forget().await;
                return Err(error);
            }
        };
        let Some(message) = message else { return Ok(None) };
        let info = message.info().map_err(|error| BusError::server("read a message's origin", error))?;
        let attempt = u64::try_from(info.delivered).unwrap_or(1);
        let id = format!("{}:{}", info.stream, info.stream_sequence);
        Ok(Some(Delivery {
            id,
            request: Request::Event(message.payload.clone()),
            subject: message.subject.to_string(),
            attempt,
            receipt: Receipt::Jet(JetReceipt { message: Box::new(message) }),
        }))
    }

    async fn pull(&self) -> Result<Option<async_nats::jetstream::Message>, BusError> {
        let consumer = self.consumer().await?;
        let asked = consumer.batch().max_messages(1).expires(EXPIRES).messages();
        let mut batch = asked.await.map_err(|error| BusError::server("ask for an event", error))?;
        // The server answers within the time it was given; a server that does not is away.
        match tokio::time::timeout(EXPIRES + Duration::from_secs(5), batch.next()).await {
            Err(_) => Err(BusError::server("ask for an event", "no answer")),
            Ok(None) => Ok(None),
            Ok(Some(Ok(message))) => Ok(Some(message)),
            Ok(Some(Err(error))) => Err(BusError::server("ask for an event", error)),
        }
    }

    /// Messages that wait to be delivered; those in somebody's hands, or put off, are not counted.
    pub async fn pending(&self) -> Result<u64, BusError> {
        let consumer = self.consumer().await?;
        match consumer.get_info().await {
            Ok(info) => Ok(info.num_pending),
            Err(error) => {
                self.forget().await;
                Err(BusError::server("ask how many events wait", error))
            }
        }
    }
}

/// The receipt of a message.
#[derive(Debug)]
pub struct JetReceipt {
    message: Box<async_nats::jetstream::Message>,
}

impl JetReceipt {
    pub(super) async fn progress(&self) -> Result<(), BusError> {
        let sent = self.message.ack_with(AckKind::Progress).await;
        sent.map_err(|error| BusError::server("report progress", error))
    }

    pub(super) async fn done(self) -> Result<(), BusError> {
        let confirmed = self.message.double_ack().await;
        confirmed.map_err(|error| BusError::server("acknowledge the event", error))
    }

    pub(super) async fn retry_after(self, delay: Duration) -> Result<(), BusError> {
        let sent = self.message.double_ack_with(AckKind::Nak(Some(delay))).await;
        sent.map_err(|error| BusError::server("hand the event back", error))
    }

    pub(super) async fn give_up(self) -> Result<(), BusError> {
        let sent = self.message.double_ack_with(AckKind::Term).await;
        sent.map_err(|error| BusError::server("end the event", error))
    }
}

/// Every message that the stream of exposures still holds, oldest first: (sequence, payload). `take` may end it by answering false.
pub async fn original_events(
    context: &Context,
    settings: &BusSettings,
    mut take: impl FnMut(u64, bytes::Bytes) -> bool,
) -> Result<(), BusError> {
    let failed = |error: &dyn std::fmt::Display| BusError::Provision {
        what: "stream",
        name: settings.exposures_stream.clone(),
        reason: error.to_string(),
    };
    let stream = context.get_stream(&settings.exposures_stream).await.map_err(|error| failed(&error))?;
    let state = stream.get_info().await.map_err(|error| failed(&error))?.state;
    for sequence in state.first_sequence..=state.last_sequence {
        // Sequences that were deleted leave gaps.
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        if !take(sequence, message.payload) {
            break;
        }
    }
    Ok(())
}
