//! Subscribing: where a stream begins in the sequence, with which block, and its end.

pub(super) mod subscription;
pub(super) mod subscription_end;
