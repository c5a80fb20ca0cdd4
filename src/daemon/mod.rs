//! The service: takes deliveries from the bus or the spool, sees each exposure through, and answers for it.
//!
//! Nothing is answered before the archive holds everything and the bus has confirmed what was published; a process that dies has
//! answered for nothing, and every step can be done twice. Each worker asks for one delivery at a time, so that no more is held
//! than is worked on.

mod answer;
mod error;
mod exposure;
mod ledger;
mod monitor;
mod process;
mod say;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use error::{DaemonError, Trouble, TroubleKind};
pub use exposure::process_event;
pub use process::events_of_file;

use crate::bus::{Link, Publisher, Source};
use crate::fetch::Fetcher;
use crate::pipeline::Inference;
use crate::settings::Settings;
use crate::status::Status;
use crate::telemetry::{Metrics, Tracer};

/// What the service works with. Clones share everything.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Settings in force for the next exposure; thresholds may change while it runs.
    pub settings: Arc<RwLock<Arc<Settings>>>,
    /// The network.
    pub inference: Option<Inference>,
    /// Where deliveries come from.
    pub source: Source,
    /// Where answers go.
    pub publisher: Publisher,
    /// How pixels are fetched.
    pub fetcher: Fetcher,
    /// What the page shows.
    pub status: Status,
    /// What Prometheus reads.
    pub metrics: Metrics,
    /// Where traces go.
    pub tracer: Option<Tracer>,
    /// State of the connection; without a bus there is none.
    pub link: Option<tokio::sync::watch::Receiver<Link>>,
    /// To force a new connection with.
    pub client: Option<async_nats::Client>,
    /// No more deliveries are taken once this is cancelled.
    pub stop: CancellationToken,
    /// What is in hand is called off and handed back once this is cancelled.
    pub abandon: CancellationToken,
}

impl Daemon {
    /// The settings for the next exposure.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The folder of the archive.
    pub fn archive(&self) -> PathBuf {
        self.settings().output.directory.clone()
    }

    /// Takes over the thresholds of new settings; the sections that differ otherwise and need a restart.
    pub fn reload(&self, new: &Settings) -> Vec<&'static str> {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = settings.as_ref().clone();
        next.quality = new.quality.clone();
        next.telemetry.log.clone_from(&new.telemetry.log);
        let ignored = next.differing_sections(new);
        *settings = Arc::new(next);
        ignored
    }

    /// Works until `stop`, then finishes what is in hand (or, after `abandon`, hands it back) and returns.
    pub async fn run(self) -> Result<(), DaemonError> {
        let settings = self.settings();
        let workers = settings.serve.workers.max(1);
        self.status.set_workers(workers);
        let mut monitors = JoinSet::new();
        monitor::start(&self, &mut monitors);
        let mut hands = JoinSet::new();
        for number in 0..workers {
            hands.spawn(worker::work(self.clone(), number));
        }
        let mut broken = None;
        while let Some(ended) = hands.join_next().await {
            if let Err(error) = ended {
                // A worker must not end but by `stop`: the rest finish, and whoever supervises us starts afresh.
                tracing::error!(%error, "a worker ended unexpectedly: stopping");
                self.stop.cancel();
                broken = Some(DaemonError::Worker(error.to_string()));
            }
        }
        monitors.shutdown().await;
        if let Some(client) = &self.client {
            // Acknowledgements that are still in the connection's buffer.
            let _ = tokio::time::timeout(Duration::from_secs(5), client.flush()).await;
        }
        broken.map_or(Ok(()), Err)
    }
}
