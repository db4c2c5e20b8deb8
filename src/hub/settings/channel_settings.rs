//! Settings that differ by channel: a list of patterns, of which the first that matches a channel's name counts.

use crate::hub::glob::Glob;
use crate::hub::{OnSlow, StateBounds};
use crate::log::Bounds;
use std::time::Duration;

/// What differs for the channels that a pattern matches. Everything else is as the hub's settings say.
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
    /// How the hub treats a stream that lags in a channel.
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
