//! What an application sets for streams that have missed events.

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
