//! The reactor in a process: its thread, forks, and the handles of streams and hubs (Linux).
//!
//! Each file uses only files before it in this list.
//!
//! - `error`: why a call is refused
//! - `sync`: atomics and locks of the standard library, or of loom in its models
//! - [`waker`]: wakes the reactor, with a system call only if it sleeps
//! - [`notifier`]: wakes threads that wait for the reactor
//! - `stats`: the counters of a reactor
//! - `end_queue`: the ends of streams that interpreters have yet to take
//! - `progress`: the streams that have made progress, for the process of a hub
//! - `end_signal`: the signal that tells an idle interpreter of ended streams
//! - `stream_state`: the state of one stream, which producers read without asking the reactor
//! - `reactor_handle`: the queue of commands to the reactor, and what threads share with the reactor
//! - `forks`: the generation of this process, and the lock that keeps forks out of the reactor's turns
//! - [`descriptor_reserve`]: the descriptors that stay free for the application
//! - `spawned`: the end of a process that only serves one client
//! - `stream_table`: what each answer of the reactor does to the states and the counters
//! - `sockets`: the reactor's calls on real sockets
//! - `handover`: what the event loop knows of hub processes: an interface, which `remote` implements
//! - `event_loop`: the reactor's thread: takes commands, waits for sockets, applies the answers
//! - `registration`: the hubs in the reactor of a process
//! - `process`: the reactor of this process: its start, forks, the shutdown at exit
//! - `stream_handle`: a stream as the application holds it
//! - `capture`: the takeover of a response from its server
//! - `hub_handle`: a hub in the reactor of this process, as the application holds it
//! - [`upgrade`]: a new program goes on with the streams and hubs of this process

pub mod descriptor_reserve;
pub mod notifier;
pub mod upgrade;
pub mod waker;

mod capture;
pub(crate) mod end_queue;
mod end_signal;
mod error;
pub(crate) mod event_loop;
pub(crate) mod forks;
pub(crate) mod handover;
mod hub_handle;
pub(crate) mod process;
mod progress;
pub(crate) mod reactor_handle;
mod registration;
pub(crate) mod sockets;
mod spawned;
pub(crate) mod stats;
mod stream_handle;
pub(crate) mod stream_state;
pub(crate) mod stream_table;
pub(crate) mod sync;

pub use capture::{Capture, Obstacle};
pub use end_queue::{count_callbacks, has_callbacks};
pub use end_signal::set_end_signal;
pub use error::Error;
pub use hub_handle::{HubHandle, PublishMeta};
pub use process::{
    end_with_retry, linger, notify_descriptor, remove_interpreter, shutdown, stats, stop_waiting, take_ended,
};
pub use process::{progress_descriptor, take_progress};
pub use stats::{Counts, Stats};
pub use stream_handle::{OpenOptions, Pushed, StreamHandle};
