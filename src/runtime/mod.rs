//! The reactor in a process: its thread, what a fork does to it, and the handles by which the application reaches it (Linux).
//!
//! - [`waker`]: wakes a reactor that sleeps, and only one that sleeps
//! - [`notifier`]: wakes threads that wait for what the reactor does
//! - `stream_state`: what a producer can see of a stream without asking the reactor
//! - `reactor_handle`: the way to the reactor, with what is counted on the way
//! - `event_loop`: the thread's body: takes commands, waits for sockets, applies the answers
//! - `process`: the reactor of this process: its start, its end, what a fork does to it
//! - [`reserve`]: the descriptors that stay free for the application
//! - `stream_handle`: a stream as the application holds it
//! - `publisher`: a hub as the application holds it

pub mod notifier;
pub mod reserve;
pub mod waker;

mod event_loop;
mod process;
mod publisher;
mod reactor_handle;
mod stream_handle;
mod stream_state;

pub use process::{finish, forget_interpreter, linger, notify_descriptor, stats, take_ended};
pub use publisher::{PublishMeta, Publisher};
pub use reactor_handle::{Counts, Stats};
pub use stream_handle::{Opening, Pushed, StreamHandle};
