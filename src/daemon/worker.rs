//! One worker: one delivery at a time.

use std::time::Duration;

use super::{Daemon, answer};
use crate::status::Component;

/// How long to wait before looking again whether work may be taken.
const WAIT: Duration = Duration::from_millis(500);
/// Longest pause after a failed look for work.
const LONGEST: Duration = Duration::from_secs(10);

/// Takes deliveries until the service stops.
pub(super) async fn work(daemon: Daemon, number: usize) {
    let mut pause = WAIT;
    while !daemon.stop.is_cancelled() {
        daemon.status.beat();
        if !may_ask(&daemon) {
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
                answered(&daemon);
                answer::see_through(&daemon, delivery).await;
            }
            Ok(None) => {
                pause = WAIT;
                answered(&daemon);
            }
            Err(error) => {
                tracing::warn!(worker = number, %error, "no work can be had");
                // Connected or not: a server without streams is not one that work can be had from.
                daemon.status.set(Component::Bus, Err(error.to_string()));
                wait(&daemon, pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
    tracing::debug!(worker = number, "stopped");
}

/// Whether work may be asked for: everything is ready, or the bus at least connected, for only asking shows whether it answers again.
pub(super) fn may_ask(daemon: &Daemon) -> bool {
    let connected = daemon.link.as_ref().is_none_or(|link| link.borrow().connected);
    daemon.status.readiness().iter().all(|(component, state)| match component {
        Component::Bus => connected,
        Component::Network | Component::Disk => state.is_ok(),
    })
}

/// The bus has answered.
fn answered(daemon: &Daemon) {
    if daemon.status.readiness().iter().any(|(component, state)| *component == Component::Bus && state.is_err()) {
        daemon.status.set(Component::Bus, Ok(()));
    }
}

async fn wait(daemon: &Daemon, time: Duration) {
    tokio::select! {
        () = daemon.stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
