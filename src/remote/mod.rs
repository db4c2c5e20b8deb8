//! A hub in a process of its own, as other processes see it (Linux).
//!
//! - [`place`]: where the sockets of a user's hubs are
//! - [`kept`]: the settings of a hub, in a file beside its socket
//! - `foreign`: hubs of other users
//! - [`start`]: connects to a hub, and starts its process if none runs
//! - [`client`]: a connection to a hub that waits for its answers, for commands and jobs
//! - [`link`]: a connection that never waits, for event loops
//! - [`direct`]: a worker's second connection, on which the thread that publishes waits for the answer
//! - [`calls`]: the system calls that the program of the hub's process makes

#![forbid(unsafe_code)]

pub mod client;
pub mod direct;
pub mod error;
mod foreign;
pub mod kept;
pub mod link;
pub mod place;
pub mod start;

/// System calls for the program of the hub's process, which has no `unsafe` code of its own.
pub mod calls {
    pub use crate::sys::daemon::{
        begin_session, close_at_exec, execute, memory_file, next_signal, open_program, signals, Asked,
    };
    pub use crate::sys::descriptor::{adopt, duplicate, keep_at_exec, set_close_at_exec, silence};
    pub use crate::sys::epoll::{Epoll, Readiness};
    pub use crate::sys::local::{can_write, own_user, peer_process, peer_user, receive, send, try_lock, Wait};
}

pub use client::{upgrade, Client, Publication};
pub use direct::Direct;
pub use error::Error;
pub use link::Link;
pub use place::{Address, Place};
pub use start::Start;
