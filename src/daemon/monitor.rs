//! Looks after disk, connection and queue, and tells the page, Prometheus and systemd.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Daemon, worker};
use crate::status::Component;

/// Between looks at the disk.
const DISK: Duration = Duration::from_secs(2);
/// Between looks at the queue.
const QUEUE: Duration = Duration::from_secs(5);

pub(super) fn start(daemon: &Daemon, tasks: &mut JoinSet<()>) {
    tasks.spawn(disk(daemon.clone()));
    tasks.spawn(queue(daemon.clone()));
    if daemon.link.is_some() {
        tasks.spawn(link(daemon.clone()));
    } else {
        daemon.status.set(Component::Bus, Ok(()));
        daemon.metrics.bus_connected.set(1);
    }
}

async fn disk(daemon: Daemon) {
    loop {
        let settings = daemon.settings();
        let folders = [settings.output.directory.clone(), settings.fetch.staging_folder()];
        let needed = settings.serve.min_free_mib << 20;
        let looked = tokio::task::spawn_blocking(move || room(&folders[0], &folders[1], needed)).await;
        let (free, state) = looked.unwrap_or_else(|error| (0, Err(error.to_string())));
        daemon.metrics.disk_free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        daemon.status.set(Component::Disk, state);
        tell_readiness(&daemon);
        tokio::time::sleep(DISK).await;
    }
}

/// Bytes free where the archive lies, and whether work may be taken.
fn room(archive: &Path, staging: &Path, needed: u64) -> (u64, Result<(), String>) {
    let probe = || -> std::io::Result<u64> {
        std::fs::create_dir_all(archive)?;
        let mut file = tempfile::Builder::new().prefix(".stillair-probe").tempfile_in(archive)?;
        std::io::Write::write_all(&mut file, &[0; 4096])?;
        file.as_file().sync_all()?;
        free(archive)
    };
    let free_here = match probe() {
        Ok(free) => free,
        Err(error) => {
            let free = free(archive).unwrap_or(0);
            return (free, Err(format!("{} cannot be written to: {error}", archive.display())));
        }
    };
    let staged = std::fs::create_dir_all(staging).and_then(|()| free(staging));
    let state = match staged {
        _ if free_here < needed => Err(format!(
            "{} has {} MiB free, {} are needed ([serve] min_free_mib)",
            archive.display(),
            free_here >> 20,
            needed >> 20
        )),
        Ok(free) if free < needed => {
            Err(format!("{} has {} MiB free, {} are needed", staging.display(), free >> 20, needed >> 20))
        }
        Err(error) => Err(format!("{}: {error}", staging.display())),
        Ok(_) => Ok(()),
    };
    (free_here, state)
}

fn free(folder: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

async fn link(daemon: Daemon) {
    let Some(mut link) = daemon.link.clone() else { return };
    let (mut seen, mut seen_connected) = (0, false);
    loop {
        let now = link.borrow_and_update().clone();
        daemon.metrics.bus_connected.set(i64::from(now.connected));
        daemon.metrics.bus_reconnects_total.inc_by(now.reconnects.saturating_sub(seen));
        seen = now.reconnects;
        let state = match (now.connected, now.trouble) {
            (true, _) => Ok(()),
            (false, Some(trouble)) => Err(trouble),
            (false, None) => Err("not connected yet".into()),
        };
        if let (Err(reason), true) = (&state, seen_connected) {
            tracing::warn!(reason, "the bus is away");
        }
        seen_connected |= now.connected;
        daemon.status.set(Component::Bus, state);
        tell_readiness(&daemon);
        if link.changed().await.is_err() {
            return;
        }
    }
}

/// Queue depths, and the watchdog for a connection that is there but silent.
async fn queue(daemon: Daemon) {
    let mut silent_since = None::<Instant>;
    loop {
        let settings = daemon.settings();
        let waiting = daemon.inference.as_ref().map_or(0, crate::pipeline::Inference::waiting);
        daemon.metrics.queue_depth.with_label_values(&["inference"]).set(waiting as i64);
        let (working, _) = daemon.status.workers();
        let answer = tokio::time::timeout(QUEUE, daemon.source.pending()).await;
        if let Ok(Ok(pending)) = &answer {
            daemon.metrics.queue_depth.with_label_values(&["source"]).set(i64::try_from(*pending).unwrap_or(i64::MAX));
            daemon.status.queue(*pending);
        }
        // Something waits (or nobody answers), we are connected and idle, and nothing comes.
        let stuck = !matches!(answer, Ok(Ok(0))) && working == 0 && worker::may_ask(&daemon);
        silent_since = if stuck { silent_since.or_else(|| Some(Instant::now())) } else { None };
        let patience = Duration::from_secs(settings.serve.watchdog_s.max(1));
        if silent_since.is_some_and(|since| since.elapsed() > patience) {
            tracing::warn!("work waits, but none comes: connecting anew");
            if let Some(client) = &daemon.client
                && let Err(error) = client.force_reconnect().await
            {
                tracing::warn!(%error, "cannot connect anew");
            }
            silent_since = None;
        }
        if daemon.status.since_beat() < Duration::from_secs_f64(settings.serve.deadline_s.max(60.0)) {
            // Without systemd this does nothing.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        tokio::time::sleep(QUEUE).await;
    }
}

fn tell_readiness(daemon: &Daemon) {
    for (component, state) in daemon.status.readiness() {
        daemon.metrics.ready.with_label_values(&[component.name()]).set(i64::from(state.is_ok()));
    }
}
