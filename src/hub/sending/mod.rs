//! Sending: the next events of a stream, and what is put between them.

pub(super) mod gathering;
pub(super) mod positions;
pub(super) mod replay;
pub(super) mod shared_encoding;
pub(super) mod snapshots;
pub(super) mod state_phases;
mod window_rounds;
