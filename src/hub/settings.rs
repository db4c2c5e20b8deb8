//! The settings of a hub: retention, lagging streams, ids, and the events of the hub itself.
//!
//! # Policies
//!
//! What the hub retains of a channel, and how it treats a stream that lags in it, is a policy. The first one is that of the
//! hub's own settings, the others are those of its list of [channel settings](ChannelSettings), in their order. A channel has
//! the number of its policy. A hub whose channels do not differ has one policy.

use super::glob::Glob;
use crate::log::Bounds;
use std::ops::Index;
use std::time::Duration;

/// The bounds of the state of a channel, or of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBounds {
    /// The most keys.
    pub keys: usize,
    /// The most bytes of their events and of the keys themselves.
    pub bytes: usize,
}

/// The settings of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The bounds that may change while the hub has streams.
    pub retention: Retention,
    /// The hub's treatment of a lagging stream.
    pub on_slow: OnSlow,
    /// The name of the `gap` event.
    pub gap_event: Box<str>,
    /// The data of the `gap` event for each reason, if the application gives it.
    pub gap_data: Option<Box<GapData>>,
    /// The name of the event that carries a position.
    pub position_event: Box<str>,
    /// True if events with the name of the event for positions are refused.
    pub refuses_position_event: bool,
    /// True if ids hide sequence numbers.
    pub opaque_ids: bool,
}

/// The settings that may change while a hub has streams: how much it retains of each channel and of all together, what
/// differs for some channels, and how many members a channel may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The retention of each channel's log.
    pub history: Bounds,
    /// The retention of all logs together.
    pub total_history: Bounds,
    /// The bounds of each channel's state.
    pub state: StateBounds,
    /// The bounds of all state together.
    pub total_state: StateBounds,
    /// The settings that differ for some channels. The first whose pattern matches a channel's name counts.
    pub channels: Vec<ChannelSettings>,
    /// The number of members that a channel may have.
    pub max_members: usize,
}

impl Retention {
    /// Returns the age at which entries of all channels have expired.
    pub fn longest_age(&self) -> Duration {
        let ages = self.channels.iter().filter_map(|channels| channels.age);
        ages.fold(self.history.age, Duration::max).min(self.total_history.age)
    }

    /// Returns the bounds of a channel's state, and the settings that name them if they are not the hub's own.
    pub(in crate::hub) fn state_of(&self, channel: &[u8]) -> (StateBounds, Option<&ChannelSettings>) {
        let other = self.channels.iter().find(|channels| channels.is_for(channel));
        let other = other.filter(|channels| channels.state_keys.is_some() || channels.state_bytes.is_some());
        (other.map_or(self.state, |channels| channels.state(self.state)), other)
    }
}

impl Settings {
    /// Returns settings with that retention, and the defaults of the others.
    pub fn new(history: Bounds, total_history: Bounds) -> Self {
        Self {
            retention: Retention {
                history,
                total_history,
                state: StateBounds { keys: 10_000, bytes: 16 << 20 },
                total_state: StateBounds { keys: 100_000, bytes: 64 << 20 },
                channels: Vec::new(),
                max_members: 10_000,
            },
            on_slow: OnSlow::Disconnect,
            gap_event: "gap".into(),
            gap_data: None,
            position_event: "position".into(),
            refuses_position_event: true,
            opaque_ids: false,
        }
    }
}

/// All that differs for the channels that a pattern matches. Everything else is as the hub's settings say. Of a list of these,
/// the first whose pattern matches a channel's name counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    pattern: Glob,
    /// The largest number of events of a channel's history.
    pub events: Option<usize>,
    /// The largest number of their bytes.
    pub bytes: Option<usize>,
    /// The age at which they expire.
    pub age: Option<Duration>,
    /// The most retained keys of a channel.
    pub state_keys: Option<usize>,
    /// The most bytes of these.
    pub state_bytes: Option<usize>,
    /// The hub's treatment of a stream that lags in a channel.
    pub on_slow: Option<OnSlow>,
}

coded!(ChannelSettings { pattern, events, bytes, age, state_keys, state_bytes, on_slow });

impl ChannelSettings {
    /// Creates settings in which nothing differs.
    pub fn new(pattern: &[u8]) -> Self {
        Self {
            pattern: Glob::new(pattern),
            events: None,
            bytes: None,
            age: None,
            state_keys: None,
            state_bytes: None,
            on_slow: None,
        }
    }

    /// Returns the pattern. A name is a pattern that matches only itself.
    pub fn pattern(&self) -> &[u8] {
        self.pattern.text()
    }

    /// Returns true if the settings are for a channel, unless others come before them.
    pub(in crate::hub) fn is_for(&self, channel: &[u8]) -> bool {
        self.pattern.is_match(channel)
    }

    /// Returns the retention of a channel's log in a hub whose own is `hub`.
    pub fn history(&self, hub: Bounds) -> Bounds {
        Bounds {
            events: self.events.unwrap_or(hub.events),
            bytes: self.bytes.unwrap_or(hub.bytes),
            age: self.age.unwrap_or(hub.age),
        }
    }

    /// Returns the bounds of a channel's state in a hub whose own are `hub`.
    pub fn state(&self, hub: StateBounds) -> StateBounds {
        StateBounds { keys: self.state_keys.unwrap_or(hub.keys), bytes: self.state_bytes.unwrap_or(hub.bytes) }
    }
}

/// The data of the `gap` event for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapData {
    /// For [`Gap::Evicted`](crate::hub::Gap::Evicted).
    pub evicted: Box<str>,
    /// For [`Gap::Unknown`](crate::hub::Gap::Unknown).
    pub unknown: Box<str>,
    /// For [`Gap::Slow`](crate::hub::Gap::Slow).
    pub slow: Box<str>,
}

named! {
    /// The hub's treatment of a lagging stream: one whose log has evicted entries before the stream was sent them.
    OnSlow {
        /// The stream ends. Its client reconnects and receives a `gap` event.
        Disconnect = "disconnect",
        /// The stream is sent a `gap` event, then the entries that the log still holds.
        Gap = "gap",
        /// The logs are compacted: the stream is sent the latest entry of each channel, or of each key, and continues
        /// there.
        Latest = "latest",
    }
}

/// The hub's treatment of some of its channels.
#[derive(Debug)]
pub(in crate::hub) struct Policy {
    /// The retention of each channel's log. No entry becomes older than the hub allows for all logs.
    pub(in crate::hub) history: Bounds,
    pub(in crate::hub) on_slow: OnSlow,
}

/// The settings of a hub, and the policies that follow from them, the hub's own first.
#[derive(Debug)]
pub(in crate::hub) struct Policies {
    pub(in crate::hub) settings: Settings,
    list: Vec<Policy>,
    /// True if logs of any policy are compacted.
    pub(in crate::hub) can_compact: bool,
}

impl Policy {
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

    /// Returns the number of the policy of a channel.
    pub(in crate::hub) fn number_of(&self, channel: &[u8]) -> usize {
        let of_channel = self.settings.retention.channels.iter().position(|channels| channels.is_for(channel));
        of_channel.map_or(0, |number| number + 1)
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
