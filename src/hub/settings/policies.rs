//! Policies: what the hub retains of a channel, and how it treats a stream that lags in it.
//!
//! The first policy is that of the hub's own settings, the others are those of its list of
//! [channel settings](crate::hub::ChannelSettings), in their order. A channel has the number of its policy. A hub whose
//! channels do not differ has one policy.

use crate::hub::{ChannelSettings, OnSlow, Retention, Settings};
use crate::log::Bounds;
use std::ops::Index;

/// How a hub treats some of its channels.
#[derive(Debug)]
pub(in crate::hub) struct Policy {
    history: Bounds,
    on_slow: OnSlow,
}

/// The settings of a hub, and the policies that follow from them, the hub's own first.
#[derive(Debug)]
pub(in crate::hub) struct Policies {
    settings: Settings,
    list: Vec<Policy>,
    can_compact: bool,
}

impl Policy {
    /// Returns the retention of each channel's log. No entry becomes older than the hub allows for all logs.
    pub(in crate::hub) fn history(&self) -> Bounds {
        self.history
    }

    #[cfg(test)]
    pub(in crate::hub) fn on_slow(&self) -> OnSlow {
        self.on_slow
    }

    /// Returns true if logs are compacted.
    pub(in crate::hub) fn is_compacting(&self) -> bool {
        self.on_slow == OnSlow::Latest
    }

    /// Returns true if lagging streams end.
    pub(in crate::hub) fn is_disconnecting(&self) -> bool {
        self.on_slow == OnSlow::Disconnect
    }
}

impl Policies {
    pub(in crate::hub) fn new(settings: Settings) -> Self {
        let policy = |history: Bounds, on_slow| {
            let age = history.age.min(settings.retention.total_history.age);
            Policy { history: Bounds { age, ..history }, on_slow }
        };
        let own = policy(settings.retention.history, settings.on_slow);
        let other = |channels: &ChannelSettings| {
            policy(channels.history(settings.retention.history), channels.on_slow.unwrap_or(settings.on_slow))
        };
        let others = settings.retention.channels.iter().map(other);
        let list: Vec<Policy> = std::iter::once(own).chain(others).collect();
        let can_compact = list.iter().any(Policy::is_compacting);
        Self { settings, list, can_compact }
    }

    /// Returns these policies with other settings of those that may change.
    pub(in crate::hub) fn with_retention(&self, retention: Retention) -> Self {
        Self::new(Settings { retention, ..self.settings.clone() })
    }

    pub(in crate::hub) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the number of the policy of a channel.
    pub(in crate::hub) fn number_of(&self, channel: &[u8]) -> usize {
        let of_channel = self.settings.retention.channels.iter().position(|channels| channels.is_for(channel));
        of_channel.map_or(0, |number| number + 1)
    }

    /// Returns true if logs of any policy are compacted.
    pub(in crate::hub) fn can_compact(&self) -> bool {
        self.can_compact
    }

    #[cfg(test)]
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
