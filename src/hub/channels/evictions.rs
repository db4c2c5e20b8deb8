//! How far the channels of topics have evicted their entries: the sequence number, or 0 if they have not.

use super::eviction_clock::EvictionClock;
use super::{Channel, Channels, TopicId};
use crate::hub::settings::policies::Policies;

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
            channel.evicted_at = clock.tick();
        }
        let (evicted, discarded) = (channel.log.evicted_through(), channel.log.discarded_through());
        clock.record(evicted.max(discarded));
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
