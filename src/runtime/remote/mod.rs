//! A named hub as other processes see it (Linux).
//!
//! - `access`: the same for all: [`place`], where the sockets of a user's hubs are, [`kept_settings`], those of a hub, beside
//!   its socket, `foreign`, hubs of other users, [`start`], `greeting`, the first messages, `response_reader`, their bytes and
//!   requests, `sockets`, those that a forked child closes, [`call_connection`], a connection that waits for its responses, and
//!   those of a worker, [`link`], one that never waits
//! - [`calls`]: the system calls that eventsource-hub makes
//!
//! The rest is for a worker, with the reactor of its [`runtime`](super):
//!
//! - `losses`: what was lost on the way to hub processes, until the application takes that
//! - `links`: the event loop's connections, and the streams that were handed over; in its folder `worker_leases`, and
//!   `connection`, a connection as threads see it, and what they ask of the event loop
//! - `registrations`: the connections of a process, and how they end with it
//! - `hub_log`: the log of a hub process, as one of its workers writes it
//! - `remote_hub`: the calls of a named hub
//! - `lease_handle`: a lease of such a hub, as the application holds it
//! - `serving`: connections of workers that call nothing
//! - [`hub`]: a hub as the application holds it, of this process or a named one

#![forbid(unsafe_code)]

mod access;
pub mod hub;
mod hub_log;
mod lease_handle;
pub(crate) mod links;
mod losses;
pub(crate) mod registrations;
mod remote_hub;
pub(crate) mod serving;
#[cfg(test)]
mod tests;

/// System calls for eventsource-hub, which has no `unsafe` code of its own.
pub mod calls {
    pub use crate::sys::daemon::{
        begin_session, can_write, close_at_exec, execute, ignore_signals, is_at, memory_file, next_signal,
        open_program, replace_file, signals, try_lock, Asked,
    };
    pub use crate::sys::descriptor::{adopt, duplicate, is_connection, limit, set_close_at_exec, silence};
    pub use crate::sys::epoll::{Epoll, Readiness};
    pub use crate::sys::random;
    pub use crate::sys::socket::{
        connect_at_once, defer_accept, limit_unsent, own_user, peer_process, peer_user, receive, send, Wait,
    };
    pub use crate::sys::standard_error;
    pub use crate::sys::thread::spawn as spawn_thread;
}

pub use super::process::shutdown;
pub use access::{call_connection, foreign, kept_settings, link, place, start};
pub(crate) use access::{greeting, response_reader, sockets, unanswered};
pub use call_connection::CallConnection;
pub use greeting::{replace, stop, upgrade};
pub use hub::{serve, Act, Hub, NamedHub};
pub use lease_handle::LeaseHandle;
pub use link::Link;
pub use links::worker_leases::LeaseState;
pub use losses::LOSSES;
pub use place::{Address, Place};
pub use registrations::RemoteHub;
pub use remote_hub::Subscribed;
pub use start::Start;
