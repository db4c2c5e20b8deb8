//! Models of how threads meet in the reactor. [loom](https://docs.rs/loom) runs each with every interleaving of its
//! threads, and with every value that the memory model lets a load see; a wake-up that is lost shows as a deadlock.
//!
//! `waker.rs` and `notifier.rs` are the reactor's own. Around them is as little as `src/runtime/event_loop.rs` needs: a queue that
//! promises no more than that who sees a command sees what it holds, and an epoll set with a signal and one socket.

#[path = "../../src/runtime/notifier.rs"]
pub mod notifier;
#[path = "../../src/runtime/sync.rs"]
pub mod sync;
#[path = "../../src/runtime/waker.rs"]
pub mod waker;

#[cfg(test)]
mod models;
