//! The settings of a hub: retention, lagging streams, ids, and the events of the hub itself.

use super::Gap;
use crate::log::Bounds;
use std::borrow::Cow;

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
    /// The data of the `gap` event for each reason, if the application gives it.
    pub gap_data: Option<Box<GapData>>,
    /// The name of the event that carries a position.
    pub position_event: Box<str>,
    /// Whether events with the name of the event for positions are refused.
    pub refuses_position_event: bool,
    /// Whether ids hide sequence numbers.
    pub opaque_ids: bool,
}

impl Settings {
    /// Returns settings with that retention, and the defaults of the others.
    pub fn new(history: Bounds, total_history: Bounds) -> Self {
        Self {
            history,
            total_history,
            on_slow: OnSlow::Disconnect,
            gap_event: "gap".into(),
            gap_data: None,
            position_event: "position".into(),
            refuses_position_event: true,
            opaque_ids: false,
        }
    }

    /// Returns the data of a `gap` event.
    pub fn data_of_gap(&self, gap: Gap) -> Cow<'_, str> {
        let data = match &self.gap_data {
            Some(data) => data,
            None => return format!("{{\"reason\":\"{}\"}}", gap.name()).into(),
        };
        let given = match gap {
            Gap::Evicted => &data.evicted,
            Gap::Unknown => &data.unknown,
            Gap::Slow => &data.slow,
        };
        Cow::Borrowed(given)
    }
}

/// The data of the `gap` event for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapData {
    /// For [`Gap::Evicted`].
    pub evicted: Box<str>,
    /// For [`Gap::Unknown`].
    pub unknown: Box<str>,
    /// For [`Gap::Slow`].
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

saved!(OnSlow: Disconnect, Gap, Latest);
saved!(GapData { evicted, unknown, slow });
saved!(Settings {
    history,
    total_history,
    on_slow,
    gap_event,
    gap_data,
    position_event,
    refuses_position_event,
    opaque_ids,
});
