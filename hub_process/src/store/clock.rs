//! The clock of a store, as this process reads it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The last reading of a store's clock; none before the store has begun.
#[derive(Debug, Default)]
pub struct StoreClock(Mutex<Option<Reading>>);

/// What a clock has shown, in milliseconds since 1970, and when.
#[derive(Clone, Copy, Debug)]
struct Reading {
    shown: u64,
    read_at: Instant,
}

impl StoreClock {
    fn lock(&self) -> MutexGuard<'_, Option<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what the clock shows.
    pub fn set(&self, shown: u64, read_at: Instant) {
        *self.lock() = Some(Reading { shown, read_at });
    }

    /// Returns what the clock shows; 0 if it was never read.
    pub fn shows(&self, now: Instant) -> u64 {
        let Some(Reading { shown, read_at }) = *self.lock() else { return 0 };
        let since = u64::try_from(now.saturating_duration_since(read_at).as_millis()).unwrap_or(u64::MAX);
        shown.saturating_add(since)
    }

    /// Returns how long ago a time of that clock is; zero if it is still to come.
    pub fn age(&self, at: u64, now: Instant) -> Duration {
        let Some(Reading { shown, read_at }) = *self.lock() else { return Duration::ZERO };
        let shown = Duration::from_millis(shown) + now.saturating_duration_since(read_at);
        shown.saturating_sub(Duration::from_millis(at))
    }
}

/// Returns the milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_time_grows_with_the_clock_of_this_process() {
        let (clock, now) = (StoreClock::default(), Instant::now());
        let seconds = Duration::from_secs;
        assert_eq!(clock.age(0, now), Duration::ZERO, "the clock was never read");
        clock.set(100_000, now);
        for (at, later, expected) in [(90_000, 0, 10), (90_000, 5, 15), (101_000, 0, 0), (101_000, 5, 4)] {
            assert_eq!(clock.age(at, now + seconds(later)), seconds(expected), "{at} after {later} seconds");
        }
    }
}
