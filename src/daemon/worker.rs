//! One worker: one delivery at a time.

use std::time::Duration;

use super::{Daemon, answer};

/// How long to wait before looking again whether work may be taken.
const WAIT: Duration = Duration::from_millis(500);
/// Longest pause after a failed look for work.
const LONGEST: Duration = Duration::from_secs(10);

/// Takes deliveries until the service stops.
pub(super) async fn work(daemon: Daemon, number: usize) {
    let mut pause = WAIT;
    while !daemon.stop.is_cancelled() {
        daemon.status.beat();
        if !daemon.status.ready() {
            // A full disk or a missing bus: what is not taken is not lost.
            wait(&daemon, WAIT).await;
            continue;
        }
        let next = tokio::select! {
            () = daemon.stop.cancelled() => break,
            next = daemon.source.next() => next,
        };
        match next {
            Ok(Some(delivery)) => {
                pause = WAIT;
                answer::see_through(&daemon, delivery).await;
            }
            Ok(None) => pause = WAIT,
            Err(error) => {
                tracing::warn!(worker = number, %error, "no work can be had");
                wait(&daemon, pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
    tracing::debug!(worker = number, "stopped");
}

async fn wait(daemon: &Daemon, time: Duration) {
    tokio::select! {
        () = daemon.stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
