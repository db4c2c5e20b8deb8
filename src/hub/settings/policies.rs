//! Policies: what the hub retains of a channel, and how it treats a stream that lags in it.
//!
//! The first policy is that of the hub's own settings, the others are those of its list of
//! [channel settings](crate::hub::ChannelSettings), in their order. A channel has the number of its policy.
//!
//! The channels of a policy expire their entries at one age, so the entry with the smallest sequence number is the next one. A
//! hub whose channels do not differ has one policy.

use crate::hub::{OnSlow, Settings};
use crate::log::Bounds;
use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

/// How a hub treats some of its channels.
#[derive(Debug)]
pub(in crate::hub) struct Policy {
    /// The retention of each channel's log. No entry becomes older than the hub allows for all logs.
    pub(in crate::hub) history: Bounds,
    pub(in crate::hub) on_slow: OnSlow,
    /// The first entry of each channel that has one: its sequence number, and the channel.
    pub(in crate::hub) firsts: BTreeSet<(u64, usize)>,
}

/// All policies of a hub, the hub's own first.
#[derive(Debug)]
pub(in crate::hub) struct Policies {
    list: Vec<Policy>,
    /// Whether logs of any policy are compacted.
    pub(in crate::hub) may_compact: bool,
}

impl Policy {
    /// Returns true if logs are compacted.
    pub(in crate::hub) fn compacts(&self) -> bool {
        self.on_slow == OnSlow::Latest
    }

    /// Returns true if lagging streams end.
    pub(in crate::hub) fn disconnects(&self) -> bool {
        self.on_slow == OnSlow::Disconnect
    }
}

impl Policies {
    pub(in crate::hub) fn new(settings: &Settings) -> Self {
        let policy = |history: Bounds, on_slow| {
            let age = history.age.min(settings.total_history.age);
            Policy { history: Bounds { age, ..history }, on_slow, firsts: BTreeSet::new() }
        };
        let own = policy(settings.history, settings.on_slow);
        let others = settings
            .channels
            .iter()
            .map(|channels| policy(channels.history(settings.history), channels.on_slow.unwrap_or(settings.on_slow)));
        let list: Vec<Policy> = std::iter::once(own).chain(others).collect();
        let may_compact = list.iter().any(Policy::compacts);
        Self { list, may_compact }
    }

    /// Returns the first entry of all logs: its sequence number, and the channel.
    pub(in crate::hub) fn first(&self) -> Option<(u64, usize)> {
        self.iter().filter_map(|policy| policy.firsts.iter().next()).min().copied()
    }

    pub(in crate::hub) fn iter(&self) -> std::slice::Iter<'_, Policy> {
        self.list.iter()
    }

    pub(in crate::hub) fn len(&self) -> usize {
        self.list.len()
    }
}

impl Index<usize> for Policies {
    type Output = Policy;

    fn index(&self, number: usize) -> &Policy {
        &self.list[number]
    }
}

impl IndexMut<usize> for Policies {
    fn index_mut(&mut self, number: usize) -> &mut Policy {
        &mut self.list[number]
    }
}

impl Settings {
    /// Returns the number of the policy of a channel.
    pub(in crate::hub) fn policy_of(&self, channel: &[u8]) -> usize {
        self.channels.iter().position(|channels| channels.are_for(channel)).map_or(0, |number| number + 1)
    }
}
