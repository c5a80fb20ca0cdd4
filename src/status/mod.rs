//! What the daemon is doing, in memory: for its page and its probes.
//!
//! Bounded: so many exposures, so many failures, texts cut at a length, an hour of counts. Cheap: a short lock, no I/O.

mod record;
mod throughput;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::watch;

pub use record::{ExposureRecord, State};
pub use throughput::Throughput;

use throughput::Counts;

/// Failures kept beyond the exposures that came after them.
const FAILURES: usize = 50;

/// What must work before the daemon takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The bus, or the spool directory.
    Bus,
    /// The network: loaded, and verified by an inference.
    Network,
    /// The output directory: writable, with room left.
    Disk,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bus, Self::Network, Self::Disk];

    /// Name in probes, metrics and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Network => "network",
            Self::Disk => "disk",
        }
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the daemon is doing; clones share one state.
#[derive(Debug, Clone)]
pub struct Status {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    beat: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    keep: usize,
    /// Newest first.
    records: VecDeque<ExposureRecord>,
    /// Newest first.
    failures: VecDeque<ExposureRecord>,
    readiness: [Result<(), String>; Component::ALL.len()],
    pending: u64,
    workers: usize,
    counts: Counts,
}

impl Status {
    /// Nothing seen, nothing ready; `keep` exposures will be remembered (at least one).
    pub fn new(keep: usize) -> Self {
        let inner = Inner {
            keep: keep.max(1),
            records: VecDeque::new(),
            failures: VecDeque::new(),
            readiness: Component::ALL.map(|_| Err("not checked yet".to_string())),
            pending: 0,
            workers: 0,
            counts: Counts::default(),
        };
        let changes = watch::Sender::new(0);
        let shared = Shared { inner: Mutex::new(inner), changes, started: Instant::now(), beat: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// A panic elsewhere while the lock was held leaves whole records: nothing is half done here.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Work on an exposure began; a record of the same key (an earlier attempt) is replaced.
    pub fn began(&self, mut record: ExposureRecord) {
        record.bound();
        {
            let mut inner = self.lock();
            inner.records.retain(|r| r.key != record.key);
            inner.records.push_front(record);
            while inner.records.len() > inner.keep {
                // what is still being worked on stays visible longest
                let oldest = inner.records.iter().rposition(|r| !matches!(r.state, State::Working { .. }));
                let last = inner.records.len() - 1;
                inner.records.remove(oldest.filter(|at| *at > 0).unwrap_or(last));
            }
        }
        self.changed();
    }

    /// The exposure, still in hand, entered a stage.
    pub fn stage(&self, key: &str, stage: &str) {
        {
            let mut inner = self.lock();
            let Some(record) = inner.records.iter_mut().find(|r| r.key == key) else { return };
            if !matches!(record.state, State::Working { .. }) {
                return;
            }
            record.state = State::Working { stage: stage.to_string() };
            record.bound();
        }
        self.changed();
    }

    /// The attempt ended: `update` fills in how. A state of [`State::Done`] counts towards the throughput, [`State::Failed`] is
    /// kept among the failures; `finished` is set to now where the update leaves it out and the exposure will not be tried again.
    pub fn ended(&self, key: &str, update: impl FnOnce(&mut ExposureRecord)) {
        {
            let mut inner = self.lock();
            let Some(record) = inner.records.iter_mut().find(|r| r.key == key) else { return };
            update(record);
            record.bound();
            if matches!(record.state, State::Done | State::Failed { .. }) && record.finished.is_none() {
                record.finished = Some(OffsetDateTime::now_utc());
            }
            let record = record.clone();
            match record.state {
                State::Done => {
                    let objects = record.objects.unwrap_or(0) as u64;
                    inner.counts.add(record.finished.unwrap_or(record.received), objects);
                }
                State::Failed { .. } => {
                    inner.failures.push_front(record);
                    inner.failures.truncate(FAILURES);
                }
                State::Working { .. } | State::Retrying { .. } => {}
            }
        }
        self.changed();
    }

    /// The exposures, newest first.
    pub fn recent(&self) -> Vec<ExposureRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// The last failures, newest first; they outlive the exposures that came after them.
    pub fn failures(&self) -> Vec<ExposureRecord> {
        self.lock().failures.iter().cloned().collect()
    }

    /// The newest record of that name.
    pub fn find(&self, name: &str) -> Option<ExposureRecord> {
        self.lock().records.iter().find(|r| r.name == name).cloned()
    }

    /// Whether a component works, and why not.
    pub fn set(&self, component: Component, ok: Result<(), String>) {
        let ok = ok.map_err(record::bounded);
        {
            let mut inner = self.lock();
            let slot = &mut inner.readiness[component as usize];
            if *slot == ok {
                return;
            }
            *slot = ok;
        }
        self.changed();
    }

    /// Every component and whether it works.
    pub fn readiness(&self) -> Vec<(Component, Result<(), String>)> {
        Component::ALL.into_iter().zip(self.lock().readiness.iter().cloned()).collect()
    }

    /// Whether every component works.
    pub fn ready(&self) -> bool {
        self.lock().readiness.iter().all(Result::is_ok)
    }

    /// Exposures that wait on the stream or in the spool.
    pub fn queue(&self, pending: u64) {
        let before = std::mem::replace(&mut self.lock().pending, pending);
        if before != pending {
            self.changed();
        }
    }

    /// Exposures that wait, as last told.
    pub fn pending(&self) -> u64 {
        self.lock().pending
    }

    /// How many exposures can be worked on at once.
    pub fn set_workers(&self, workers: usize) {
        let before = std::mem::replace(&mut self.lock().workers, workers);
        if before != workers {
            self.changed();
        }
    }

    /// (exposures in hand, exposures that can be worked on at once).
    pub fn workers(&self) -> (usize, usize) {
        let inner = self.lock();
        let busy = inner.records.iter().filter(|r| matches!(r.state, State::Working { .. })).count();
        (busy, inner.workers)
    }

    /// Exposures and objects done in the last `minutes` (at most 60).
    pub fn throughput(&self, minutes: u32) -> Throughput {
        let up = self.shared.started.elapsed();
        self.lock().counts.over(OffsetDateTime::now_utc(), minutes, up)
    }

    /// Exposures done in each of the last 60 minutes, oldest first.
    pub fn last_hour(&self) -> Vec<u64> {
        self.lock().counts.by_minute(OffsetDateTime::now_utc())
    }

    /// A counter that rises with every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The work loop is alive.
    pub fn beat(&self) {
        let now = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.beat.store(now, Ordering::Relaxed);
    }

    /// Time since the last beat (since the start, before the first).
    pub fn since_beat(&self) -> Duration {
        let beat = Duration::from_millis(self.shared.beat.load(Ordering::Relaxed));
        self.shared.started.elapsed().saturating_sub(beat)
    }

    /// Time since this status was made.
    pub fn up(&self) -> Duration {
        self.shared.started.elapsed()
    }
}

#[cfg(test)]
mod tests;
