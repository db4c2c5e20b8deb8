//! Wakes whoever has work: the reactor, threads that wait for it, and interpreters.
//!
//! - `sync`: atomics and locks of the standard library, or of loom in its models
//! - [`waker`]: wakes the reactor, with a system call only if it sleeps
//! - [`notifier`]: wakes threads that wait for the reactor
//! - `channel`: waits for a message of another thread
//! - `turn_lock`: keeps forks out of the reactor's turns
//! - `end_queue`: the ends of streams that interpreters have yet to take
//! - `end_signal`: the signal that tells an idle interpreter of ended streams

pub(crate) mod channel;
pub(crate) mod end_queue;
pub(crate) mod end_signal;
pub mod notifier;
pub(crate) mod sync;
pub(crate) mod turn_lock;
pub mod waker;
