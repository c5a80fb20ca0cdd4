//! How whoever asked for an exposure follows it, and calls it off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Failure, Stage};

/// Told of each stage as it begins.
type Observer = Arc<dyn Fn(Stage) + Send + Sync>;

/// Follows an exposure through its stages. Clones are the same watch.
#[derive(Clone, Default)]
pub struct Watch {
    cancelled: Arc<AtomicBool>,
    observer: Option<Observer>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watch").field("cancelled", &self.cancelled).finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch that is told of each stage as it begins.
    pub fn new(observer: impl Fn(Stage) + Send + Sync + 'static) -> Self {
        Self { cancelled: Arc::default(), observer: Some(Arc::new(observer)) }
    }

    /// Calls the work off: it ends at the next stage or chunk of objects.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Fails if the work has been called off.
    pub fn check(&self, exposure: &str, stage: Stage) -> Result<(), Failure> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(Failure::cancelled(exposure, stage)),
            false => Ok(()),
        }
    }

    pub(super) fn begins(&self, stage: Stage) {
        if let Some(observer) = &self.observer {
            observer(stage);
        }
    }
}
