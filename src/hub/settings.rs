//! The settings of a hub: retention, lagging streams, ids, and the events of the hub itself.

use super::gap::{GapData, OnSlow};
use super::state_bounds::StateBounds;
use crate::log::Bounds;

/// The settings of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The retention of each channel's log.
    pub history: Bounds,
    /// The retention of all logs together.
    pub total_history: Bounds,
    /// How much of each channel's state is retained.
    pub state: StateBounds,
    /// How much of all state together is retained.
    pub total_state: StateBounds,
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

/// How much a hub retains, which may change while it has streams: of each channel, and of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // those of `Settings`
pub struct Retention {
    pub history: Bounds,
    pub total_history: Bounds,
    pub state: StateBounds,
    pub total_state: StateBounds,
}

impl Settings {
    /// Returns how much is retained.
    pub fn retention(&self) -> Retention {
        let Self { history, total_history, state, total_state, .. } = *self;
        Retention { history, total_history, state, total_state }
    }

    /// Returns these settings with another retention.
    pub fn with_retention(self, Retention { history, total_history, state, total_state }: Retention) -> Self {
        Self { history, total_history, state, total_state, ..self }
    }

    /// Returns settings with that retention, and the defaults of the others.
    pub fn new(history: Bounds, total_history: Bounds) -> Self {
        Self {
            history,
            total_history,
            state: StateBounds { keys: 10_000, bytes: 16 << 20 },
            total_state: StateBounds { keys: 100_000, bytes: 64 << 20 },
            on_slow: OnSlow::Disconnect,
            gap_event: "gap".into(),
            gap_data: None,
            position_event: "position".into(),
            refuses_position_event: true,
            opaque_ids: false,
        }
    }
}

saved!(Retention { history, total_history, state, total_state });
saved!(Settings {
    history,
    total_history,
    state,
    total_state,
    on_slow,
    gap_event,
    gap_data,
    position_event,
    refuses_position_event,
    opaque_ids,
});
