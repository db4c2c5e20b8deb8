//! The reactor in a process: its thread, what a fork does to it, and the handles by which the application reaches it (Linux).
//!
//! Each file uses only files before it in this list.
//!
//! - `sync`: the standard library's atomics and locks, or those of loom's models
//! - [`waker`]: wakes the reactor, with a system call only if it sleeps
//! - [`notifier`]: wakes threads that wait for the reactor
//! - `stream_state`: the state of one stream that producers read without asking the reactor
//! - `reactor_handle`: the queue of commands to the reactor, the queues of ended streams, and the counters
//! - `forks`: the generation of this process, and the lock that keeps a fork out of the reactor's turns
//! - [`reserve`]: the descriptors that stay free for the application
//! - `event_loop`: the reactor's thread: takes commands, waits for sockets, applies the answers
//! - `registration`: the hubs that this process uses
//! - `process`: the reactor of this process: its start, the handlers of a fork, the shutdown at exit
//! - `stream_handle`: a stream as the application holds it
//! - `publisher`: a hub as the application holds it

pub mod notifier;
pub mod reserve;
pub mod waker;

mod event_loop;
mod forks;
mod process;
mod publisher;
mod reactor_handle;
mod registration;
mod stream_handle;
mod stream_state;
mod sync;

pub use process::{finish, forget_interpreter, linger, notify_descriptor, stats, take_ended};
pub use publisher::{PublishMeta, Publisher};
pub use reactor_handle::{Counts, Stats};
pub use stream_handle::{Opening, Pushed, StreamHandle};
