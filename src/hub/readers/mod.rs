//! Who reads: the labels and ages of streams, requests to end streams, and limits of streams with a key in common.

pub(super) mod ends;
pub(super) mod stream_limits;
