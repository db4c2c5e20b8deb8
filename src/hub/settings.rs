//! The settings of a hub: retention, lagging streams, ids.

use crate::log::Bounds;

/// The settings of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The retention of each channel's log.
    pub history: Bounds,
    /// The retention of all logs together.
    pub total_history: Bounds,
    /// How the hub treats a lagging stream.
    pub on_slow: OnSlow,
    /// The name of the `gap` event.
    pub gap_event: Box<str>,
    /// Whether ids hide sequence numbers.
    pub opaque_ids: bool,
}

/// How the hub treats a lagging stream: one whose log has evicted entries before the stream was sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSlow {
    /// The stream ends. Its client reconnects and receives a `gap` event.
    Disconnect,
    /// The stream is sent a `gap` event, then the entries that the log still holds.
    Gap,
    /// The logs are compacted: the stream is sent the latest entry of each channel, or of each key, and continues
    /// there.
    Latest,
}
