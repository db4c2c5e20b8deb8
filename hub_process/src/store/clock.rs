//! The clock of a store, as this process reads it.

use std::time::{Duration, Instant};

/// What a store's clock has shown, in milliseconds since 1970, and when.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub shown: u64,
    pub read_at: Instant,
}

impl Reading {
    /// Returns what the clock shows.
    pub fn shows(&self, now: Instant) -> u64 {
        let since = u64::try_from(now.saturating_duration_since(self.read_at).as_millis()).unwrap_or(u64::MAX);
        self.shown.saturating_add(since)
    }

    /// Returns how long ago a time of that clock is; zero if it is still to come.
    pub fn age(&self, at: u64, now: Instant) -> Duration {
        let shown = Duration::from_millis(self.shown) + now.saturating_duration_since(self.read_at);
        shown.saturating_sub(Duration::from_millis(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_time_grows_with_the_clock_of_this_process() {
        let (seconds, now) = (Duration::from_secs, Instant::now());
        let clock = Reading { shown: 100_000, read_at: now };
        for (at, later, expected) in [(90_000, 0, 10), (90_000, 5, 15), (101_000, 0, 0), (101_000, 5, 4)] {
            assert_eq!(clock.age(at, now + seconds(later)), seconds(expected), "{at} after {later} seconds");
        }
    }
}
