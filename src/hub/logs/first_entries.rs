//! The first entry of each log, by the policy of its channel.
//!
//! The channels of a policy expire their entries at one age, so the entry with the smallest sequence number is the next one.

use crate::hub::channels::Channels;
use std::collections::BTreeSet;

/// For each policy, the first entry of each channel that has one: its sequence number, and the channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FirstEntries(Vec<BTreeSet<(u64, usize)>>);

impl FirstEntries {
    /// Finds the first entries of all channels. There are so many policies.
    pub(super) fn of(channels: &Channels, policies: usize) -> Self {
        let mut firsts = vec![BTreeSet::new(); policies];
        for (at, channel) in channels.iter() {
            firsts[channel.policy].extend(channel.log.first().map(|(seq, _)| (seq, at)));
        }
        Self(firsts)
    }

    /// Records that a channel's first entry is another one.
    pub(super) fn replace(&mut self, policy: usize, at: usize, before: Option<u64>, first: Option<u64>) {
        if let Some(seq) = before {
            self.0[policy].remove(&(seq, at));
        }
        if let Some(seq) = first {
            self.0[policy].insert((seq, at));
        }
    }

    /// Returns the first entry of the channels of a policy.
    pub(super) fn of_policy(&self, policy: usize) -> Option<(u64, usize)> {
        self.0[policy].iter().next().copied()
    }

    /// Returns the first entry of the channels of each policy that have one.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.0.iter().filter_map(|firsts| firsts.iter().next()).copied()
    }

    /// Returns true if no channel has an entry.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
    }
}
