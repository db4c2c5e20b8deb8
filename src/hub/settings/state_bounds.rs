//! The bounds of what is retained.

/// How much is retained: of a channel, or of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBounds {
    /// The most keys.
    pub keys: usize,
    /// The most bytes of their events and of the keys themselves.
    pub bytes: usize,
}

saved!(StateBounds { keys, bytes });
