//! Invariants of a hub, checked by tests after each step.

use super::*;
use crate::hub::channels::Channel;
use crate::hub::settings::Policies;
use std::collections::HashSet;

impl Hub {
    /// Asserts that everything the hub stores twice agrees. Slow.
    pub(crate) fn check(&self) {
        self.check_counts();
        let grown: HashSet<usize> = self.pending.grown().collect();
        assert_eq!(self.pending.grown().count(), grown.len());
        self.logs.check(&grown);
    }

    /// Returns true if a channel's history holds an entry.
    pub(crate) fn holds(&self, channel: &[u8], seq: u64) -> bool {
        let channels = &self.logs.channels;
        channels.at_name(channel).map_or(false, |at| channels[at].log.at(seq).is_some())
    }

    fn check_counts(&self) {
        let channels = || self.logs.channels.iter().map(|(_, channel)| channel);
        let held =
            channels().map(|channel| channel.log.size()).fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        let is_held = |channel: &&Channel| channel.log.first().is_some();
        let names: usize = channels().filter(is_held).map(|channel| channel.name.len()).sum();
        assert_eq!((self.counts.events, self.counts.bytes), (held.0 as u64, (held.1 + names) as u64));
    }

    /// Returns true if the hub holds only what returning clients may need: ids and tombstones.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.logs.is_at_rest() && self.pending.is_empty() && self.readers.is_empty()
    }
}

impl Settings {
    /// Returns how a stream that lags in a channel is treated.
    pub(crate) fn on_slow_of(&self, channel: &[u8]) -> OnSlow {
        let policies = Policies::new(self.clone());
        policies[policies.number_of(channel)].on_slow
    }
}
