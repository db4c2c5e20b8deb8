//! Sending: the position of a stream, its next events, and what is put between them.

pub(super) mod gathering;
pub(super) mod notice;
pub(super) mod positions;
pub(super) mod replay;
pub(super) mod shared_encoding;
pub(super) mod snapshots;
pub(super) mod state_phases;
mod window_rounds;
