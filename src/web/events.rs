//! `/events`: the page's live part as server-sent events, sent again whenever something changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch::Receiver;

use super::site::Site;
use super::{WebError, home};

/// Changes closer together than this are sent as one.
const PACE: Duration = Duration::from_millis(400);
/// Ages on the page move on even when nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// What a page that lost its connection waits before it tries again.
const RETRY: Duration = Duration::from_secs(3);

struct Live {
    site: Arc<Site>,
    changes: Receiver<u64>,
    /// One of a bounded number; given back when the page is closed.
    _place: OwnedSemaphorePermit,
    first: bool,
}

pub(super) async fn stream(
    State(site): State<Arc<Site>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, WebError> {
    let place = Arc::clone(&site.streams).try_acquire_owned().map_err(|_| WebError::TooManyStreams)?;
    let changes = site.app.status.subscribe();
    let live = Live { site, changes, _place: place, first: true };
    let events = unfold(live, |mut live| async move {
        if !live.first {
            tokio::select! {
                () = live.site.closing.cancelled() => return None,
                // the sender lives as long as the site
                _ = live.changes.changed() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
            tokio::select! {
                () = live.site.closing.cancelled() => return None,
                () = tokio::time::sleep(PACE) => {}
            }
        }
        live.first = false;
        live.changes.mark_unchanged();
        let fragment = home::live(&live.site).await.into_string();
        // as JSON, so that line ends of any kind stay within the event
        let event = Event::default().event("live").retry(RETRY).json_data(&fragment).unwrap_or_default();
        Some((Ok(event), live))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
