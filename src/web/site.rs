//! What every request shares.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::shelf::Shelf;
use super::{App, WebError};
use crate::archive::{ExposurePaths, ExposureSummary};

/// A summary is a few KiB; what is longer is none.
const LONGEST_SUMMARY: u64 = 8 << 20;
/// Longest name of an exposure's folder.
const LONGEST_NAME: usize = 140;

/// What every request shares.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) app: App,
    pub(super) shelf: Shelf,
    pub(super) streams: Arc<Semaphore>,
    pub(super) closing: CancellationToken,
    renders: Arc<Semaphore>,
}

impl Site {
    pub(super) fn new(app: App, closing: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            shelf: Shelf::new(app.archive.clone(), app.limits.exposures),
            streams: Arc::new(Semaphore::new(app.limits.event_streams)),
            renders: Arc::new(Semaphore::new(app.limits.renders)),
            closing,
            app,
        })
    }

    /// Runs work that reads files or draws, so many at a time, off the threads that serve.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, WebError> + Send + 'static,
    ) -> Result<T, WebError> {
        let turn = Arc::clone(&self.renders).acquire_owned();
        let turn = tokio::time::timeout(self.app.limits.patience, turn).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(WebError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            // kept until the work ends, even if nobody waits for it any more
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| WebError::Broken(error.to_string()))?
    }

    /// The exposure's folder, where the name can be one.
    pub(super) fn paths(&self, name: &str) -> Result<ExposurePaths, WebError> {
        if is_name(name) {
            Ok(ExposurePaths::new(&self.app.archive, name))
        } else {
            Err(WebError::NoExposure(name.to_string()))
        }
    }
}

/// Whether this can be the name of an exposure's folder: `archive` gives no other names.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('.') && name.chars().all(plain)
}

/// The summary of a finished exposure; `None` while there is none.
pub(super) fn summary(paths: &ExposurePaths) -> Result<Option<ExposureSummary>, WebError> {
    let path = paths.summary();
    match std::fs::metadata(&path) {
        Ok(file) if file.len() > LONGEST_SUMMARY => {
            Err(WebError::Broken(format!("{}: {} bytes are no summary", path.display(), file.len())))
        }
        _ => Ok(ExposureSummary::read(paths)?),
    }
}
