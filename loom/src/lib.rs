//! Models of the threads that meet at the reactor.
//!
//! [loom](https://docs.rs/loom) runs each model with every interleaving of its threads, and with every value that the
//! memory model lets a load return. A lost wake-up shows as a deadlock, as does a circle of locks.
//!
//! `waker.rs`, `notifier.rs`, `turn_lock.rs` and `sync.rs` are the reactor's own files. The models add as little of
//! `src/runtime/event_loop.rs` as they need: a queue, and an epoll set with the waker's descriptor and one socket. The
//! queue promises no more than that a thread that sees a command sees what the command holds.

#[path = "../../src/runtime/wake/notifier.rs"]
pub mod notifier;
#[path = "../../src/runtime/wake/sync.rs"]
pub mod sync;
#[path = "../../src/runtime/wake/turn_lock.rs"]
pub mod turn_lock;
#[path = "../../src/runtime/wake/waker.rs"]
pub mod waker;

#[cfg(test)]
mod models;
