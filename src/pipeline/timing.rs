//! Seconds and memory per stage.

use std::time::{Duration, Instant};

use super::{Stage, Watch};

/// Wall-clock time spent in each stage of one exposure.
#[derive(Debug, Clone, Default)]
pub struct Timings {
    watch: Watch,
    spent: [Duration; Stage::ALL.len()],
    /// Highest resident memory of the process up to the end of each stage, KiB; 0 where the system does not tell.
    memory: [u64; Stage::ALL.len()],
}

impl Timings {
    /// Timings that tell of each stage as it begins.
    pub fn watched(watch: &Watch) -> Self {
        Self { watch: watch.clone(), ..Self::default() }
    }

    /// Who is told, and whether the work has been called off.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Runs `work` and adds its wall-clock time to `stage`.
    pub fn measure<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        self.watch.begins(stage);
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    /// Adds a duration to a stage.
    pub fn add(&mut self, stage: Stage, spent: Duration) {
        self.spent[stage as usize] += spent;
        self.memory[stage as usize] = peak_memory().unwrap_or(0);
    }

    /// (stage, highest resident memory of the process up to its end in MiB), where the system tells.
    pub fn peak_mib(&self) -> impl Iterator<Item = (Stage, u64)> + '_ {
        Stage::ALL.iter().map(|&stage| (stage, self.memory[stage as usize] / 1024)).filter(|(_, mib)| *mib > 0)
    }

    /// (stage, seconds) in order.
    pub fn seconds(&self) -> impl Iterator<Item = (Stage, f64)> + '_ {
        Stage::ALL.iter().map(|&stage| (stage, self.spent[stage as usize].as_secs_f64()))
    }

    /// All stages together, seconds.
    pub fn total(&self) -> f64 {
        self.spent.iter().map(Duration::as_secs_f64).sum()
    }
}

/// High-water mark of the process's resident memory, KiB (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up() {
        let mut timings = Timings::default();
        timings.add(Stage::Psf, Duration::from_millis(1500));
        timings.add(Stage::Psf, Duration::from_millis(500));
        timings.add(Stage::Archive, Duration::from_millis(250));
        assert_eq!(timings.measure(Stage::Read, || 7), 7);
        let psf = timings.seconds().find(|(stage, _)| *stage == Stage::Psf).map(|(_, s)| s);
        assert_eq!(psf, Some(2.0));
        assert!(timings.total() >= 2.25);
    }
}
