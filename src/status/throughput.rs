//! What was done in the last hour, counted in slots of ten seconds.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;

const SLOT_S: i64 = 10;
const HOUR_S: i64 = 3600;

/// What was done over the last minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Length of the time looked at, minutes.
    pub minutes: u32,
    /// Exposures done in it.
    pub exposures: u64,
    /// Objects in their catalogues.
    pub objects: u64,
    /// Exposures a minute of the part of that time the daemon was up (at least one minute).
    pub exposures_per_minute: f64,
    /// Objects a minute, likewise.
    pub objects_per_minute: f64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Seconds since 1970 over [`SLOT_S`].
    number: i64,
    exposures: u64,
    objects: u64,
}

/// At most an hour of slots, oldest first.
#[derive(Debug, Default)]
pub(super) struct Counts {
    slots: VecDeque<Slot>,
}

impl Counts {
    /// One exposure more, finished at `at`.
    pub(super) fn add(&mut self, at: OffsetDateTime, objects: u64) {
        // a clock that is set back counts into the newest slot
        let number = at.unix_timestamp().div_euclid(SLOT_S).max(self.slots.back().map_or(i64::MIN, |s| s.number));
        match self.slots.back_mut() {
            Some(slot) if slot.number == number => {
                slot.exposures += 1;
                slot.objects = slot.objects.saturating_add(objects);
            }
            _ => self.slots.push_back(Slot { number, exposures: 1, objects }),
        }
        while self.slots.front().is_some_and(|s| s.number <= number - HOUR_S / SLOT_S) {
            self.slots.pop_front();
        }
    }

    /// Sums over the `minutes` before `now`, of which the daemon was up for `up`.
    pub(super) fn over(&self, now: OffsetDateTime, minutes: u32, up: Duration) -> Throughput {
        let minutes = minutes.clamp(1, 60);
        let since = now.unix_timestamp().div_euclid(SLOT_S) - i64::from(minutes) * 60 / SLOT_S;
        let (mut exposures, mut objects) = (0_u64, 0_u64);
        for slot in self.slots.iter().filter(|s| s.number > since) {
            exposures += slot.exposures;
            objects = objects.saturating_add(slot.objects);
        }
        let spent = (up.as_secs_f64() / 60.0).clamp(1.0, f64::from(minutes));
        Throughput {
            minutes,
            exposures,
            objects,
            exposures_per_minute: exposures as f64 / spent,
            objects_per_minute: objects as f64 / spent,
        }
    }

    /// Exposures in each of the 60 minutes before `now`, oldest first.
    pub(super) fn by_minute(&self, now: OffsetDateTime) -> Vec<u64> {
        let mut minutes = vec![0; 60];
        let newest = now.unix_timestamp().div_euclid(SLOT_S);
        for slot in &self.slots {
            let age = (newest - slot.number).max(0) / (60 / SLOT_S);
            let place = usize::try_from(age).ok().and_then(|age| 59_usize.checked_sub(age));
            if let Some(count) = place.and_then(|at| minutes.get_mut(at)) {
                *count += slot.exposures;
            }
        }
        minutes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut counts = Counts::default();
        for second in [0, 5, 1800, 3500, 3590] {
            counts.add(at(second), 100);
        }
        let up = Duration::from_secs(86_400);
        let of = |minutes| counts.over(at(3595), minutes, up);
        assert_eq!((of(1).exposures, of(1).objects), (1, 100));
        assert_eq!(of(10).exposures, 2);
        assert_eq!(of(60).exposures, 5);
        assert_eq!(of(60).exposures_per_minute, 5.0 / 60.0);
        assert_eq!(of(10).objects_per_minute, 20.0);
        let by_minute = counts.by_minute(at(3595));
        assert_eq!((by_minute.len(), by_minute.iter().sum::<u64>(), by_minute[59], by_minute[0]), (60, 5, 1, 2));
    }

    #[test]
    fn a_young_daemon_is_not_measured_over_time_it_was_not_there() {
        let mut counts = Counts::default();
        counts.add(at(0), 10);
        counts.add(at(30), 10);
        assert_eq!(counts.over(at(30), 60, Duration::from_secs(120)).exposures_per_minute, 1.0);
        assert_eq!(counts.over(at(30), 60, Duration::from_secs(2)).exposures_per_minute, 2.0, "at least one minute");
    }

    #[test]
    fn a_year_takes_an_hour_of_memory_and_a_clock_set_back_does_no_harm() {
        let mut counts = Counts::default();
        for hour in 0..24 * 365 {
            counts.add(at(hour * 600), 1);
        }
        assert!(counts.slots.len() <= 360, "{}", counts.slots.len());
        let newest = counts.slots.back().map(|s| s.number);
        counts.add(at(0), 1);
        assert_eq!(counts.slots.back().map(|s| s.number), newest);
    }
}
