//! The counters of a hub.

use super::Hub;

/// The counters of a hub. Their order is the one of the C struct `esx_hub_counts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Streams that are subscribed, or are still to be sent events from before they unsubscribed.
    pub streams: u64,
    /// Channels that have subscribers or entries.
    pub channels: u64,
    /// Patterns that have subscribers.
    pub patterns: u64,
    /// Events that were published.
    pub published: u64,
    /// Events that were given to the kernel, or put into a stream's own buffer, counted once for each stream.
    pub delivered: u64,
    /// Entries in all logs.
    pub events: u64,
    /// The bytes of these entries, and of the names of their channels.
    pub bytes: u64,
    /// Streams that began with a client's last event id.
    pub resumed: u64,
    /// `gap` events that were sent.
    pub gaps: u64,
    /// Lagging streams that were ended.
    pub disconnected: u64,
    /// Lagging streams that were sent a `gap` event and continued.
    pub skipped: u64,
    /// Lagging streams that continued with the latest entry of each key.
    pub compacted: u64,
}

impl Hub {
    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        Counts { channels: self.channels.len() as u64, patterns: self.patterns.len() as u64, ..self.counts }
    }

    /// Counts a stream that ends because more is buffered for it than its limit.
    pub fn count_disconnected(&mut self) {
        self.counts.disconnected += 1;
    }
}

saved!(Counts {
    streams,
    channels,
    patterns,
    published,
    delivered,
    events,
    bytes,
    resumed,
    gaps,
    disconnected,
    skipped,
    compacted,
});
