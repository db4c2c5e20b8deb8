//! Counts of times in fixed ranges: counting costs a few nanoseconds.

use std::time::Duration;

/// The number of ranges. The last one has no upper bound.
pub const RANGES: usize = 11;

/// The upper bounds of ranges, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(pub(crate) [u64; RANGES - 1]);

impl Scale {
    /// For what should be done at once: 100 microseconds to 5 seconds.
    pub const DELAYS: Self = Self([100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000]);
    /// For what may last: a second to a day.
    pub const AGES: Self = {
        const SECOND: u64 = 1_000_000;
        const HOUR: u64 = 3600 * SECOND;
        let (minute, day) = (60 * SECOND, 24 * HOUR);
        Self([SECOND, 5 * SECOND, 15 * SECOND, minute, 5 * minute, 15 * minute, HOUR, 4 * HOUR, 12 * HOUR, day])
    };

    /// Returns the range of a time, and its microseconds.
    pub(crate) fn range_of(&self, time: Duration) -> (usize, u64) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        (self.0.iter().position(|bound| microseconds <= *bound).unwrap_or(RANGES - 1), microseconds)
    }
}

/// The number of times that were in each range, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The counts of the ranges of a [`Scale`].
    pub counts: [u64; RANGES],
    /// The sum in microseconds.
    pub sum: u64,
}

impl Histogram {
    /// Counts a time.
    pub fn record(&mut self, scale: &Scale, time: Duration) {
        let (range, microseconds) = scale.range_of(time);
        self.counts[range] += 1;
        self.sum = self.sum.wrapping_add(microseconds);
    }

    /// Adds the times of another histogram.
    #[cfg(target_os = "linux")]
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        Self { sum: self.sum.wrapping_add(other.sum), ..self }
    }
}

/// The times that a process has measured of its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From the moment in which the reactor takes an event to its last write to a client that reads, for each event.
    pub send: Histogram,
    /// The ages of streams at their ends.
    pub age: Histogram,
    /// From a publish to the answer of the hub's store.
    pub store_wait: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_range_that_it_does_not_exceed() {
        for (microseconds, range) in [(0, 0), (100, 0), (101, 1), (5_000_000, 9), (5_000_001, 10), (u64::MAX, 10)] {
            let mut histogram = Histogram::default();
            histogram.record(&Scale::DELAYS, Duration::from_micros(microseconds));
            assert_eq!((histogram.counts[range], histogram.sum), (1, microseconds), "{microseconds}");
        }
        assert!([Scale::DELAYS, Scale::AGES].iter().all(|scale| scale.0.windows(2).all(|two| two[0] < two[1])));
    }
}
