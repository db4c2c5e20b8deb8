//! Sending: the position of a stream, its next events, and what is put between them.

pub(super) mod backlog;
pub(super) mod cursor;
pub(super) mod cursor_parts;
pub(super) mod gathering;
pub(super) mod merge;
pub(super) mod notice;
pub(super) mod positions;
pub(super) mod replay;
pub(super) mod shared_encoding;
pub(super) mod state_phases;
