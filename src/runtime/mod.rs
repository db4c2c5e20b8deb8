//! The reactor in a process: its thread, forks, and the handles of streams and hubs (Linux).
//!
//! Each file uses only files before it in this list.
//!
//! - [`wake`]: what wakes whom: the reactor, threads that wait for it, interpreters
//! - `stats`: the counters of a reactor
//! - `stream_state`: the ids of streams, and the state of one, which producers read without asking the reactor
//! - `mailbox`: what the reactor tells the thread that serves other processes, and what it reports of streams with members
//! - `spawned`: the end of a process that only serves one client
//! - `running_handler`: the handler that runs, on a server that blocks
//! - `relayed_client`: when the client of a relay is dead that takes nothing
//! - `handover_file`: what is handed over to another program
//! - `reactor_handle`: the queue of commands to the reactor, and what threads share with the reactor
//! - `generation`: the generation of this process, and the locks that keep forks out of the reactor's turns
//! - [`descriptor_reserve`]: the descriptors that stay free for the application
//! - `event_loop`: the reactor's thread: takes commands, waits for sockets, applies the answers; in its folder `streams`,
//!   their sockets and states, and what the connections to hub processes work on
//! - [`reactor_hub`](ReactorHub): a hub in the reactor, and [one](OwnHub) that owns the order of its events
//! - `registration`: the hubs of an application in the reactor of a process
//! - `process`: the reactor of this process: its start, the shutdown at exit; in its folder `forks`: what a fork does to it
//! - `handles`: streams and hubs of this process, as the application holds them
//! - [`remote`]: named hubs. The event loop has its `links`; a fork and the end of the process concern its `registrations`
//! - [`handing_over`]: a new program continues with the history and the streams of this process

pub mod descriptor_reserve;
pub mod handing_over;
pub mod remote;
pub mod wake;

pub(crate) mod event_loop;
pub(crate) mod generation;
pub(crate) mod handles;
mod handover_file;
mod mailbox;
pub(crate) mod process;
pub(crate) mod reactor_handle;
mod reactor_hub;
mod registration;
mod relayed_client;
mod running_handler;
mod spawned;
pub(crate) mod stats;
pub(crate) mod stream_state;

pub use crate::stream::Stats;
pub use crate::sys::clock::{moment_of, monotonic, monotonic_at, wall};
pub use handles::stream_handle::{OpenOptions, Pushed, StreamHandle};
pub use handles::takeover::Takeover;
pub use handover_file::{HandedOver, HandoverFile};
pub use mailbox::{Mail, Mailbox, PresenceReport};
pub use process::{
    count_refused_origin, counted_generation, create_hub, create_own_hub, drain_stream, end_streams, end_with_retry,
    is_shutting_down, linger, mailbox, notify_descriptor, remove_interpreter, resume_hub, shutdown, stats,
    stop_waiting, take_ended, times,
};
pub use reactor_hub::{no_answer, Begun, OwnHub, ReactorHub};
pub use relayed_client::RelayedClient;
pub use stats::Counts;
pub use wake::end_queue::{count_callbacks, has_callbacks};
pub use wake::end_signal::set_end_signal;
