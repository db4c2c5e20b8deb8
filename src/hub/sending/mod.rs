//! Sending: the next events of a stream, and what is put between them.

pub(super) mod blocks;
pub(super) mod replay;
pub(super) mod state_phases;
mod window_rounds;
