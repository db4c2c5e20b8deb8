//! The messages between a worker and the hub process.
//!
//! Both sides use this module: it only encodes and decodes, and makes no system call. The messages travel over a Unix
//! stream socket, so bytes arrive whole and in order, and both processes belong to the same user of the same machine. The
//! decoder trusts nothing all the same: any bytes give a message or [`Malformed`], never a panic, and never more memory than
//! the bytes that have arrived, times a small constant.
//!
//! # A connection
//!
//! ```text
//! worker                                    hub process
//! Hello (version, name, role)         ->
//!                                     <-    Welcome (name, pid, epoch, settings, credits), or Rejected, and the end
//! Publish, Call, Open, Subscribe, ... ->
//!                                     <-    Published, Reply, State, Ended, Credits, ...
//! ```
//!
//! This connection of a worker, the link, is that of its event loop: streams, leases, and publishes that nobody waits for.
//! Threads that wait for responses have others, at most four ([`Role::Calls`]). Nothing orders the bytes of two connections. So
//! before a thread calls that has sent something on the link, a [`Mark`](Request::Mark) follows there, and the call names it
//! ([`After`](Request::After)): the hub process keeps the call until it has read the mark, and rejects it if the link ends
//! before.
//!
//! # Frames
//!
//! A frame is its length as four bytes, the kind of its message as one byte, and the message. The length counts the kind and
//! the message. All numbers are little-endian; a text or a list has its length first. A frame has at most
//! [`MAX_FRAME_BYTES`] bytes. The frames `Upgrade`, `Stop`, `Rejected` and `Upgraded` and the beginning of `Hello` have one
//! layout in all versions, so that processes of different versions can tell each other so, and a program of any version can
//! end a process, or ask it to exec that program.
//!
//! # Descriptors
//!
//! The socket of a stream travels with the first byte of its [`Open`](Request::Open), as a control message
//! (`SCM_RIGHTS`). The receiver keeps descriptors in the order of their arrival; each `Open` takes the next one. The kernel
//! never gives a receiver the bytes of an `Open` before its descriptor, because a read ends with the message that carried one.
//!
//! # Credits
//!
//! A worker may have sent at most [`WINDOW_BYTES`] bytes more than the hub process has handled, and the frame that exceeds
//! them. [`Credits`] counts that on both sides. So a worker knows without a system call whether a publish would wait. A hub in
//! memory handles each request as it reads it, so its workers get their credits back at once; what slows these down is the
//! kernel, when they send faster than they are read.
//!
//! # The log
//!
//! A hub process that a worker has started has nobody who reads its standard error. So each worker asks for the lease
//! [`LOG_LEASE`], and the one that holds it is sent the lines ([`Response::Log`]). A process that does not know the name elects
//! one as for any other lease, and a worker that does not know the response has not asked: both work with all of their
//! protocol.
//!
//! # Files
//!
//! - `frame`: frames in a sequence of bytes that is cut anywhere, how much a worker may send, and messages as frames
//! - `settings`: the settings of hubs and streams
//! - `first_messages`: those of a connection: which worker is refused because of its version; the name of a hub
//! - `request`: what a worker sends, the fields of events among it; `show_channel`: the name of their channel in these
//! - `response`: what the hub process sends
//! - `handover`: what a program hands over to the one that continues as its process

#![forbid(unsafe_code)]

#[macro_use]
mod frame;
mod first_messages;
mod handover;
mod request;
mod response;
mod settings;
mod show_channel;
#[cfg(test)]
mod tests;

use crate::codec;

pub use crate::codec::Malformed;
pub use crate::hub::{Call, Counted, Described, Reply, StoreStatus};
pub use crate::store_settings::{FileSettings, FileSync, RedisSettings, StoreSettings};
pub use crate::Failure;
pub use first_messages::{Hello, Name, Role, Stop, Upgrade, Welcome, WorkerId, MAX_GREETING_BYTES, VERSION};
pub use frame::{Credits, Frame, FrameBuffer, MAX_FRAME_BYTES, WINDOW_BYTES};
pub use handover::{HandedDeadMachine, HandedMachine, HandedPeer, HandedProcess, Handover, HANDOVER};
pub use request::{FieldList, Fields, Open, Request, LOG_LEASE, MAX_LEASE_NAME_BYTES, MAX_TOPICS};
pub use response::{Response, StreamProgress};
pub use settings::{HubSettings, NamedSettings};
pub use show_channel::ShowChannel;
