//! What a pattern's channels have evicted since a moment.

use std::collections::VecDeque;

/// Evictions of the channels that a pattern matches, each with its time on the hub's clock of evictions.
///
/// A later eviction hides an earlier one with a smaller sequence number, so the numbers descend: the first is the
/// greatest of all, and the first after a moment is the greatest since then.
#[derive(Debug, Default)]
pub(super) struct Evictions(VecDeque<(u64, u64)>);

impl Evictions {
    /// Beyond so many, the oldest two become one that is as late as the later and as great as the greater: then an old
    /// eviction may count as a new one, never the other way round.
    const MOST: usize = 256;

    pub(super) fn new(clock: u64, seq: u64) -> Self {
        let mut all = Self::default();
        all.record(clock, seq);
        all
    }

    /// Adds an eviction, the latest of all.
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

    /// The greatest sequence number that was evicted; 0 if none was.
    pub(super) fn newest(&self) -> u64 {
        self.0.front().map_or(0, |(_, seq)| *seq)
    }

    /// The same, of the evictions after a time.
    pub(super) fn since(&self, clock: u64) -> u64 {
        let first = self.0.partition_point(|(at, _)| *at <= clock);
        self.0.get(first).map_or(0, |(_, seq)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_eviction_since_a_time_is_known() {
        let recorded = [(1, 50), (2, 9), (3, 30), (4, 30), (5, 2), (7, 12)];
        let mut evictions = Evictions::new(0, 0);
        for (clock, seq) in recorded {
            evictions.record(clock, seq);
        }
        assert_eq!(evictions.newest(), 50);
        for clock in 0..9 {
            let naive = recorded.iter().filter(|(at, _)| *at > clock).map(|(_, seq)| *seq).max().unwrap_or(0);
            assert_eq!(evictions.since(clock), naive, "since {clock}");
        }
    }

    #[test]
    fn too_many_evictions_are_never_taken_for_older_ones() {
        let mut evictions = Evictions::default();
        let most = 4 * Evictions::MOST as u64;
        for clock in 1..=most {
            evictions.record(clock, 10_000 - clock);
        }
        assert_eq!((evictions.0.len(), evictions.newest()), (Evictions::MOST, 9_999));
        for clock in 0..most {
            assert!(evictions.since(clock) >= 10_000 - (clock + 1), "since {clock}");
        }
        assert_eq!(evictions.since(most), 0);
    }
}
