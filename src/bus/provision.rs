//! Streams and the consumer.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};

use super::{BusError, BusSettings};

/// Days that a stream made here keeps its messages, so that no disk fills up over the years; deploy/nats says the same.
const EXPOSURES_DAYS: u64 = 30;
const CATALOGS_DAYS: u64 = 7;
const DEAD_LETTERS_DAYS: u64 = 90;

/// Sees to it that the three streams and the consumer exist, and gives the consumer. Without `provision` in the settings nothing is
/// created, and what is missing is an error that names it. Streams that exist are left as their operator made them.
pub async fn provision(context: &Context, settings: &BusSettings) -> Result<PullConsumer, BusError> {
    let streams = [
        (&settings.exposures_stream, vec![settings.exposures_subject.clone()], EXPOSURES_DAYS),
        (&settings.catalogs_stream, vec![settings.ready_subject.clone(), settings.rows_subject.clone()], CATALOGS_DAYS),
        (&settings.dead_letter_stream, vec![settings.failed_subject.clone()], DEAD_LETTERS_DAYS),
    ];
    for (name, subjects, days) in streams {
        stream(context, settings, name, subjects, days).await?;
    }
    consumer(context, settings).await
}

async fn stream(
    context: &Context,
    settings: &BusSettings,
    name: &str,
    subjects: Vec<String>,
    days: u64,
) -> Result<(), BusError> {
    let failed = |reason: String| BusError::Provision { what: "stream", name: name.to_string(), reason };
    if !settings.provision {
        let found = context.get_stream(name).await;
        return found.map(|_| ()).map_err(|error| failed(format!("{error}; create it (`stillair bus provision`)")));
    }
    let config = stream::Config {
        name: name.to_string(),
        subjects,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        max_age: Duration::from_secs(days * 86_400),
        duplicate_window: Duration::from_secs(settings.duplicate_window_s),
        ..Default::default()
    };
    context.get_or_create_stream(config).await.map(|_| ()).map_err(|error| failed(error.to_string()))
}

async fn consumer(context: &Context, settings: &BusSettings) -> Result<PullConsumer, BusError> {
    let failed = |reason: String| BusError::Provision { what: "consumer", name: settings.consumer.clone(), reason };
    let stream = context
        .get_stream(&settings.exposures_stream)
        .await
        .map_err(|error| failed(format!("stream {}: {error}", settings.exposures_stream)))?;
    if !settings.provision {
        return stream
            .get_consumer(&settings.consumer)
            .await
            .map_err(|error| failed(format!("{error}; create it (`stillair bus provision`)")));
    }
    let config = pull::Config {
        durable_name: Some(settings.consumer.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(settings.ack_wait_s),
        // Deliveries are counted here: a message that the server parks silently would be lost.
        max_deliver: -1,
        filter_subject: settings.exposures_subject.clone(),
        max_ack_pending: 10_000,
        ..Default::default()
    };
    stream.create_consumer(config).await.map_err(|error| failed(error.to_string()))
}
