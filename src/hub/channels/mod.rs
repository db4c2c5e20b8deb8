//! Channels, and patterns of their names.

pub(super) mod channel;
pub(super) mod glob;
pub(super) mod names;
pub(super) mod prefixes;
pub(super) mod recent_channels;
pub(super) mod subscribers;
pub(super) mod topics;
