//! The reactor in a process: its thread, forks, and the handles of streams and hubs (Linux).
//!
//! Each file uses only files before it in this list.
//!
//! - [`wake`]: what wakes whom: the reactor, threads that wait for it, interpreters
//! - `stats`: the counters of a reactor
//! - `stream_ids`: the ids of streams
//! - `stream_state`: the state of one stream, which producers read without asking the reactor
//! - `presence`: what the reactor reports of streams with members, until it is applied
//! - `mailbox`: what the reactor tells the thread that serves other processes
//! - `spawned`: the end of a process that only serves one client
//! - `running_handler`: the handler that runs, on a server that blocks
//! - `relayed_client`: when the client of a relay is dead that takes nothing
//! - `handover_file`: what is handed over to another program
//! - `reactor_handle`: the queue of commands to the reactor, and what threads share with the reactor
//! - `generation`: the generation of this process, and the locks that keep forks out of the reactor's turns
//! - [`descriptor_reserve`]: the descriptors that stay free for the application
//! - `event_loop`: the reactor's thread: takes commands, waits for sockets, applies the answers; in its folder `sockets`,
//!   `stream_table`, and `context`, what the connections to hub processes work on
//! - [`reactor_hub`](ReactorHub): a hub in the reactor; [`own_hub`](OwnHub): one that owns the order of its events
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
mod own_hub;
mod presence;
pub(crate) mod process;
pub(crate) mod reactor_handle;
mod reactor_hub;
mod registration;
mod relayed_client;
mod running_handler;
mod spawned;
pub(crate) mod stats;
mod stream_ids;
pub(crate) mod stream_state;

pub use crate::stream::Stats;
pub use crate::sys::clock::{monotonic, wall};
pub use handles::stream_handle::{OpenOptions, Pushed, StreamHandle};
pub use handles::takeover::{Obstacle, Takeover};
pub use handover_file::HandoverFile;
pub use mailbox::{Mail, Mailbox};
pub use own_hub::OwnHub;
pub use presence::PresenceReport;
pub use process::{
    count_refused_origin, counted_generation, create_hub, create_own_hub, end_streams, end_with_retry,
    is_shutting_down, linger, mailbox, notify_descriptor, remove_interpreter, resume_hub, shutdown, stats,
    stop_waiting, take_ended, times,
};
pub use reactor_hub::{no_answer, Begun, ReactorHub};
pub use relayed_client::RelayedClient;
pub use stats::Counts;
pub use wake::end_queue::{count_callbacks, has_callbacks};
pub use wake::end_signal::set_end_signal;
