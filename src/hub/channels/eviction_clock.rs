//! The evictions of a pattern's channels, and the eviction clock.
//!
//! The hub's eviction clock counts evictions, and so orders them in time: "evicted since the client began" is an
//! eviction at a later time on the clock. Sequence numbers cannot tell that, because an old entry may be evicted late.

use std::collections::VecDeque;

/// The eviction clock of a hub: the number of evictions, and how far they reach.
#[derive(Debug, Default)]
pub(in crate::hub) struct EvictionClock {
    /// The sequence number through which any log has evicted anything.
    through: u64,
    /// The number of evictions.
    time: u64,
}

impl EvictionClock {
    /// Begins with evictions through a sequence number, of before the hub.
    pub(in crate::hub) fn new(through: u64) -> Self {
        Self { through, time: 0 }
    }

    /// Returns the sequence number through which any log has evicted anything.
    pub(in crate::hub) fn through(&self) -> u64 {
        self.through
    }

    /// Returns the time of the last eviction.
    pub(in crate::hub) fn time(&self) -> u64 {
        self.time
    }

    /// Counts an eviction, and returns its time.
    pub(super) fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// Records that a log has evicted something through a sequence number.
    pub(super) fn record(&mut self, through: u64) {
        self.through = self.through.max(through);
    }
}

/// The evictions of the channels that a pattern matches: each one's time on the eviction clock, and the sequence
/// number of the evicted entry.
///
/// A later eviction replaces an earlier one with a smaller sequence number, so the numbers descend: the first is the
/// greatest of all, and the first one after a time is the greatest since then.
#[derive(Debug, Default)]
pub(super) struct Evictions(VecDeque<(u64, u64)>);

impl Evictions {
    /// The largest number of evictions. Beyond it the first two are merged, into the time of the later and the sequence
    /// number of the greater. An old eviction may then count as a new one, but a new one never as an old one.
    const MOST: usize = 256;

    pub(super) fn new(clock: u64, seq: u64) -> Self {
        let mut evictions = Self::default();
        evictions.record(clock, seq);
        evictions
    }

    /// Records an eviction, the latest of all.
    pub(super) fn record(&mut self, clock: u64, seq: u64) {
        while self.0.back().map_or(false, |(_, last)| *last <= seq) {
            self.0.pop_back();
        }
        self.0.push_back((clock, seq));
        if self.0.len() > Self::MOST {
            let first = self.0.pop_front();
            if let (Some((_, greatest)), Some(second)) = (first, self.0.front_mut()) {
                second.1 = greatest;
            }
        }
    }

    /// Returns the greatest sequence number that was evicted; 0 if none was.
    pub(super) fn through(&self) -> u64 {
        self.0.front().map_or(0, |(_, seq)| *seq)
    }

    /// Returns the greatest sequence number that was evicted after a time; 0 if none was.
    pub(super) fn through_since(&self, clock: u64) -> u64 {
        let first = self.0.partition_point(|(at, _)| *at <= clock);
        self.0.get(first).map_or(0, |(_, seq)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn through_since_returns_the_greatest_eviction_after_a_time() {
        let recorded = [(1, 50), (2, 9), (3, 30), (4, 30), (5, 2), (7, 12)];
        let mut evictions = Evictions::new(0, 0);
        for (clock, seq) in recorded {
            evictions.record(clock, seq);
        }
        assert_eq!(evictions.through(), 50);
        for clock in 0..9 {
            let naive = recorded.iter().filter(|(at, _)| *at > clock).map(|(_, seq)| *seq).max().unwrap_or(0);
            assert_eq!(evictions.through_since(clock), naive, "since {clock}");
        }
    }

    #[test]
    fn merged_evictions_count_as_late_as_the_latest_of_them() {
        let mut evictions = Evictions::default();
        let count = 4 * Evictions::MOST as u64;
        for clock in 1..=count {
            evictions.record(clock, 10_000 - clock);
        }
        assert_eq!((evictions.0.len(), evictions.through()), (Evictions::MOST, 9_999));
        for clock in 0..count {
            assert!(evictions.through_since(clock) >= 10_000 - (clock + 1), "since {clock}");
        }
        assert_eq!(evictions.through_since(count), 0);
    }
}
