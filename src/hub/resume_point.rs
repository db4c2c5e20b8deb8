//! The beginning of a subscription in the hub's sequence.

use super::Gap;

/// The beginning of a subscription.
#[derive(Debug)]
pub(super) struct ResumePoint {
    /// The sequence number after which it begins.
    pub(super) seq: u64,
    /// Evictions through this number need no `gap` event.
    pub(super) reported_through: u64,
    /// Why the client receives a `gap` event, whatever was evicted.
    pub(super) gap: Option<Gap>,
    /// The client's last event id, if the hub does not know it. A later request may be for the channel of that id.
    pub(super) unknown_id: Option<Box<[u8]>>,
    /// True if the request's `start` determines the resume point, and not an id.
    pub(super) is_start: bool,
    /// The client's last event id, if the application gave it and the hub knows it.
    pub(super) custom_id: Option<Box<str>>,
}

impl ResumePoint {
    /// Returns true if the client has sent no last event id, so that it has missed nothing.
    pub(super) fn is_new_client(&self) -> bool {
        self.is_start && self.gap.is_none()
    }
}
