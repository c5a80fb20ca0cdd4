//! The connections: so many at once, each with a limit on how long it may stand still.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, WebError, router};

/// Longest head of a request.
const LONGEST_HEAD: usize = 16 << 10;

/// Serves until `shutdown` completes, then lets requests in hand end for a short while.
pub async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WebError> {
    let limits = app.limits;
    let closing = CancellationToken::new();
    let service = TowerToHyperService::new(router(app, closing.clone()));
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.stall)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(64)
        .half_close(false);
    tokio::pin!(shutdown);
    loop {
        let next = async {
            // a closed semaphore is none of ours: then there is simply no limit
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // too many open files, a connection gone before it was taken: the next one may do better
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let mut stream = TimeoutStream::new(stream);
        // an answer that nobody takes; the reading side of a live page is silent for hours and has no limit
        stream.set_write_timeout(Some(limits.stall));
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service.clone());
        let closing = closing.clone();
        connections.spawn(async move {
            let _place = place;
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() {
        tracing::debug!("connections are still open: left behind");
    }
    Ok(())
}
