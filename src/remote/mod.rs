//! A named hub as other processes see it (Linux).
//!
//! For all:
//!
//! - [`place`]: where the sockets of a user's hubs are
//! - [`kept`]: the settings of a hub, in a file beside its socket
//! - `foreign`: hubs of other users
//! - [`start`]: connects to a hub, and starts its process if none runs
//! - [`client`]: a connection to a hub that waits for its answers, for commands and jobs
//! - [`link`]: a connection that never waits, for event loops
//! - [`publisher`]: a connection on which the thread that publishes waits for the answer
//! - [`calls`]: the system calls that the program of the hub process makes
//!
//! For a worker, with the reactor of its [`runtime`](crate::runtime):
//!
//! - `losses`: what was lost on the way to hub processes, until the application is told
//! - `leases`: what a worker knows of its leases of a hub
//! - `publish_connection`: a worker's publish connection, as its threads share it
//! - `connection`: the connection to a hub process, as threads see it that wait for answers
//! - `link_command`: what threads ask of the event loop's connections
//! - `links`: the event loop's connections, and the streams that were handed over
//! - `remotes`: the connections of a process, and how they end with it
//! - `remote_hub`: the calls of a named hub
//! - `lease_handle`: a lease of such a hub, as the application holds it
//! - `presence`: connections of workers that call nothing
//! - `forks`: what a fork does to all that
//! - [`hub`]: a hub as the application holds it, of this process or a named one

#![forbid(unsafe_code)]

pub mod client;
mod connection;
pub mod error;
mod foreign;
mod forks;
pub mod hub;
pub mod kept;
mod lease_handle;
mod leases;
pub mod link;
mod link_command;
mod links;
mod losses;
pub mod place;
mod presence;
mod publish_connection;
pub mod publisher;
mod remote_hub;
mod remotes;
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
pub use error::{CallError, Error};
pub use hub::{serve, Hub, NamedHub};
pub use lease_handle::LeaseHandle;
pub use leases::LeaseState;
pub use link::Link;
pub use losses::{has_losses, take_losses};
pub use place::{Address, Place};
pub use publisher::Publisher;
pub use remote_hub::{RemotePublish, Subscribed};
pub use remotes::{shutdown, RemoteHub};
pub use start::Start;
