//! The sequence numbers up to which the channels of topics have evicted their entries, 0 if they have not.
//!
//! The hub's eviction clock counts evictions, and so orders them in time: "evicted since the client began" is an
//! eviction at a later time on the clock. Sequence numbers cannot tell that, because an old entry may be evicted late.

use crate::hub::channels::{Channel, Channels, TopicId};
use crate::hub::settings::Policies;
use std::collections::VecDeque;

/// Returns the greatest of the numbers of topics.
fn greatest(topics: &[TopicId], of_channel: impl Fn(usize) -> u64, of_pattern: impl Fn(usize) -> u64) -> u64 {
    let numbers = topics.iter().map(|topic| match topic {
        TopicId::Channel(at) => of_channel(*at as usize),
        TopicId::Pattern(at) => of_pattern(*at as usize),
    });
    numbers.max().unwrap_or(0)
}

/// A channel, and the sequence number through which its history was evicted.
type Evicted = (Box<[u8]>, u64);

impl Channels {
    /// Returns the sequence number through which the history of any topic was evicted.
    pub(in crate::hub) fn evicted_through(&self, topics: &[TopicId]) -> u64 {
        greatest(topics, |at| self.slots[at].log.evicted_through(), |at| self.patterns[at].evictions.through())
    }

    /// Returns how far each channel has evicted its history, also a removed one, and how far any other one.
    pub(in crate::hub) fn all_evictions(&self) -> (Vec<Evicted>, u64) {
        let (removed, others) = self.names.tombstones();
        let evicted = self.slots.iter().map(|(_, channel)| (&channel.name, channel.log.evicted_through()));
        let all = evicted.filter(|(_, through)| *through > others).chain(removed);
        (all.map(|(name, through)| ((**name).into(), through)).collect(), others)
    }

    /// Returns the same, of what was evicted after a time on the eviction clock.
    pub(in crate::hub) fn evicted_since(&self, topics: &[TopicId], clock: u64) -> u64 {
        let of_pattern = |at: usize| self.patterns[at].evictions.through_since(clock);
        greatest(topics, |at| self.slots[at].evicted_since(clock), of_pattern)
    }

    /// Returns the sequence number through which any topic has discarded even the latest entry of a key.
    pub(in crate::hub) fn discarded_through(&self, topics: &[TopicId]) -> u64 {
        greatest(topics, |at| self.slots[at].log.discarded_through(), |at| self.patterns[at].discarded_through)
    }

    /// Returns the sequence number through which those have done so in whose channels a lagging stream ends.
    pub(in crate::hub) fn ending_through(&self, topics: &[TopicId], policies: &Policies) -> u64 {
        let of_channel = |at| self.channel_ending_through(at, policies);
        greatest(topics, of_channel, |at| self.patterns[at].ending_through)
    }

    /// Returns the same of one channel.
    pub(super) fn channel_ending_through(&self, at: usize, policies: &Policies) -> u64 {
        let Channel { log, policy, .. } = &self.slots[at];
        if policies[*policy].is_disconnecting() {
            log.discarded_through()
        } else {
            0
        }
    }

    /// Records in a channel's patterns how far it has evicted entries, if a lagging stream ends in it.
    pub(super) fn record_ending(&mut self, at: usize, policies: &Policies) {
        let ending_through = self.channel_ending_through(at, policies);
        for pattern in &self.slots[at].patterns {
            let pattern = &mut self.patterns[*pattern];
            pattern.ending_through = pattern.ending_through.max(ending_through);
        }
    }

    /// Records in the clock and in the channel's patterns how far the channel's log has evicted and discarded entries.
    pub(in crate::hub) fn record_eviction(
        &mut self,
        at: usize,
        has_evicted: bool,
        clock: &mut EvictionClock,
        policies: &Policies,
    ) {
        let channel = &mut self.slots[at];
        if has_evicted {
            clock.time += 1;
            channel.evicted_at = clock.time;
        }
        let (evicted, discarded) = (channel.log.evicted_through(), channel.log.discarded_through());
        clock.through = clock.through.max(evicted).max(discarded);
        for pattern in &channel.patterns {
            let pattern = &mut self.patterns[*pattern];
            if has_evicted {
                pattern.evictions.record(channel.evicted_at, evicted);
            }
            pattern.discarded_through = pattern.discarded_through.max(discarded);
        }
        self.record_ending(at, policies);
    }
}

/// The eviction clock of a hub: the number of evictions, and how far they reach.
#[derive(Debug, Default)]
pub(in crate::hub) struct EvictionClock {
    /// The sequence number through which any log has evicted anything.
    pub(in crate::hub) through: u64,
    /// The number of evictions.
    pub(in crate::hub) time: u64,
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
