//! What the event loop knows of hub processes: an interface to what serves their connections, and the streams that were handed
//! over to them.
//!
//! `remote` implements it. An event loop makes it with the first command for it, so a process without a connection to a hub
//! process has none.

use super::sockets::Sockets;
use super::stream_table::StreamTable;
use crate::reactor::{Command, Reactor, Ready, StreamId};
use crate::runtime::reactor_handle::ReactorHandle;
use crate::runtime::wake::sync::lock;
use rustix::fd::OwnedFd;
use std::any::Any;
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

/// The parts of the event loop that the methods work on.
pub(crate) struct Context<'a> {
    pub(crate) reactor: &'a mut Reactor<Sockets>,
    pub(crate) streams: &'a mut StreamTable,
    pub(crate) handle: &'a ReactorHandle,
}

/// The connections to hub processes, and the streams that were handed over.
pub(crate) trait Forwarder: fmt::Debug + Send {
    /// Carries out a [`ForwarderCommand`](crate::runtime::reactor_handle::ForwarderCommand), perhaps later.
    fn apply(&mut self, command: Box<dyn Any>, context: &mut Context<'_>);
    /// Forwards a command for a stream that was handed over. Returns false if it is the reactor's.
    fn forward(&mut self, command: &Command, context: &mut Context<'_>) -> bool;
    /// Takes the socket of a stream that was handed over without it. Returns it if the stream is the reactor's.
    fn attach(&mut self, stream: StreamId, socket: OwnedFd) -> Option<OwnedFd>;
    /// Called when a stream's handle was dropped. If it was the last one, and nobody wants to know of the end, a stream that
    /// was handed over is left to the hub process, and nothing is kept of it here. Returns true if so.
    fn release(&mut self, stream: StreamId, context: &mut Context<'_>) -> bool;
    /// Called when a connection is ready. It was added to the epoll set as the slot of a stream with the serial number 0.
    fn handle_readiness(&mut self, number: u32, ready: Ready, context: &mut Context<'_>);
    /// Returns when [`run_due`](Self::run_due) has something to do.
    fn next_due(&self) -> Option<Instant>;
    /// Does what is due.
    fn run_due(&mut self, now: Instant, context: &mut Context<'_>);
    /// Sends what the kernel takes.
    fn flush(&mut self, context: &mut Context<'_>);
    /// Returns true if there is something that a hub process is still to be sent.
    fn has_queued(&self) -> bool;
}

type Make = fn() -> Box<dyn Forwarder>;

static MAKE: Mutex<Option<Make>> = Mutex::new(None);

/// Sets what makes the [`Forwarder`] of each event loop, before the first command for it is sent.
pub(crate) fn set_up(make: Make) {
    *lock(&MAKE) = Some(make);
}

/// Makes the [`Forwarder`] of an event loop.
pub(crate) fn make() -> Option<Box<dyn Forwarder>> {
    lock(&MAKE).map(|make| make())
}
