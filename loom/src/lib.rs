//! Models of how threads meet in the reactor. [loom](https://docs.rs/loom) runs each with every interleaving of its
//! threads, and with every value that the memory model lets a load see; a wake-up that is lost shows as a deadlock.
//!
//! `bell.rs` and `change.rs` are the reactor's own. Around them is as little as `src/reactor/run.rs` needs: a queue that
//! promises no more than that who sees a command sees what it holds, and an epoll set with a signal and one socket.

#[path = "../../src/reactor/bell.rs"]
pub mod bell;
#[path = "../../src/reactor/change.rs"]
pub mod change;

#[cfg(test)]
mod models;
