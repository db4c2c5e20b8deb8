//! A stream of the reactor, as a handle commands it: its commands, its state and its settings.

use crate::hub::SubscribeRequest;
use crate::reactor::{Command, Ending, HubId, StreamId, StreamInit};
use crate::runtime::descriptor_reserve;
use crate::runtime::process::reactor_or_start;
use crate::runtime::reactor_handle::{Queued, ReactorHandle, StreamParts};
use crate::runtime::stream_state::StreamState;
use crate::stream::{Reason, Settings};
use crate::sys::{descriptor, socket};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How many unsent bytes the kernel keeps for a client. That is enough for the network, as measured, and little for a
/// client that never reads. All other bytes are buffered in the stream, where they are limited and counted.
const UNSENT_BYTES: u32 = 128 << 10;

/// How long a call waits for the reactor to act. The reactor never waits for a client, so it acts much sooner.
pub(super) const REACTOR_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream of the reactor.
#[derive(Debug)]
pub(super) struct ReactorStream {
    pub(super) reactor: Arc<ReactorHandle>,
    pub(super) state: Arc<StreamState>,
    /// The id by which the reactor knows the stream.
    pub(super) id: StreamId,
    pub(super) settings: Arc<Settings>,
}

impl ReactorStream {
    /// Gives a new stream its id and its state. The reactor has it after [`queue_open`](Self::queue_open).
    pub(super) fn new(
        reactor: Arc<ReactorHandle>,
        settings: Settings,
        buffered_bytes: usize,
        interpreter: u32,
    ) -> Self {
        let id = reactor.new_stream();
        let state = Arc::new(StreamState::new(id, buffered_bytes, interpreter));
        Self { state, id, settings: reactor.share_settings(settings), reactor }
    }

    /// Makes a stream of the parent process one of this child, which has inherited the socket, and returns that. The stream
    /// is still to be [opened](Self::queue_open). Returns nothing, and closes the stream, if that is not possible:
    ///
    /// - The parent still had events to send at the fork. It sends them later, and they would mix with the child's.
    /// - The stream belongs to a hub of the parent, which may send events at any time.
    /// - The child has closed the descriptor, and its number may have been reused.
    pub(super) fn adopt(&mut self, is_subscribed: bool) -> Option<OwnedFd> {
        let inherited = self.state.take_socket().and_then(|(number, cookie)| descriptor::inherit(number, cookie).ok());
        let socket = inherited.filter(|_| self.state.buffered_bytes() == 0 && !is_subscribed);
        let adopted = socket.and_then(|socket| Some((socket, reactor_or_start().ok()?)));
        if adopted.is_none() {
            self.state.close();
        }
        let (socket, reactor) = adopted?;
        // The child never drops what the parent's reactor may have held at the fork.
        std::mem::forget(std::mem::replace(&mut self.reactor, reactor));
        let parents = &self.state;
        let state = StreamState::new(parents.id, 0, parents.interpreter);
        if parents.is_end_wanted() {
            state.report_end_or_reason();
        }
        self.state = Arc::new(state);
        self.id = self.reactor.new_stream();
        Some(socket)
    }

    /// Closes the child's copy of the socket. The connection is the parent's.
    pub(super) fn close_inherited(&self) {
        if let Some((number, cookie)) = self.state.take_socket() {
            drop(descriptor::inherit(number, cookie));
        }
    }

    /// Returns true if this process has as many streams as it may have, or few descriptors left.
    pub(super) fn is_one_too_many(&self, max_streams: usize) -> bool {
        descriptor_reserve::recount_if_due(|| self.reactor.counts.sockets()) || self.reactor.is_full(max_streams)
    }

    /// Returns true if the stream accepts events.
    pub(super) fn is_open(&self) -> bool {
        self.state.is_open() && !self.reactor.is_dead()
    }

    /// Gives the stream to the reactor, without waking it.
    pub(super) fn queue_open(&self, socket: Option<OwnedFd>, init: StreamInit) {
        if let Some(socket) = &socket {
            self.configure(socket);
        }
        self.reactor.count_opened();
        self.reactor.queue_up(self.with_parts(Command::Open { stream: self.id, init: Box::new(init) }, socket), true);
    }

    /// Gives the stream its socket.
    pub(super) fn attach(&self, socket: OwnedFd) {
        self.configure(&socket);
        self.reactor.send_soon(self.with_parts(Command::Attach { stream: self.id }, Some(socket)));
        self.wait_if_short();
    }

    /// Sets the options of a socket, and stores its number and cookie, before the reactor gets it.
    fn configure(&self, socket: &OwnedFd) {
        socket::limit_unsent(socket.as_fd(), UNSENT_BYTES);
        self.state.set_socket(socket.as_raw_fd(), socket::cookie(socket.as_fd()));
    }

    fn with_parts(&self, command: Command, socket: Option<OwnedFd>) -> Queued {
        Queued::Stream(command, Box::new(StreamParts { socket, state: Arc::clone(&self.state) }))
    }

    /// Ends a new stream that is one too many, after its client is sent a reconnection time.
    pub(super) fn refuse(&self, has_socket: bool) {
        self.state.close();
        self.reactor.count_refused();
        self.reactor.send(Command::Refuse { stream: self.id });
        if has_socket {
            self.wait_if_short();
        }
    }

    /// If few descriptors are left, waits until the reactor has closed the socket of this refused stream. Otherwise
    /// many refused streams that are still open could use up the descriptors.
    fn wait_if_short(&self) {
        if descriptor_reserve::is_short() && !self.state.is_open() {
            self.reactor.wait(REACTOR_TIMEOUT, || !self.state.has_socket() || self.reactor.is_dead());
        }
    }

    /// Returns true if there is room for an event. The buffer cannot be full if the reactor drops the oldest events.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.settings.drop_oldest || !self.state.is_attached() || self.state.has_room(bytes, self.settings.max_buffered)
    }

    /// Returns true if there is room for an event after the reactor has tried to send what is buffered. A burst that fills
    /// the buffer does not mean that the client is slow. This waits for the reactor, which is quick, and never for the client.
    pub(super) fn has_room_after_send(&self, bytes: usize) -> bool {
        let has_room = || self.state.has_room(bytes, self.settings.max_buffered);
        self.reactor.wait(REACTOR_TIMEOUT, || has_room() || self.state.is_blocked_by_client() || !self.is_open());
        has_room() && self.is_open()
    }

    /// Waits until there is room for an event, at most for the timeout.
    pub(super) fn wait_for_room(&self, bytes: usize, timeout: Duration) {
        // A producer that waits until half of the buffer is free wakes less often, and larger pieces are sent.
        let max_bytes = self.settings.max_buffered;
        let low_water = max_bytes.saturating_sub(bytes).min(max_bytes / 2);
        self.reactor.wait(timeout, || self.state.buffered_bytes() <= low_water || !self.is_open());
    }

    /// Frames and counts an event. Returns the command that pushes it.
    pub(super) fn buffer(&self, event: &[u8], has_id: bool) -> Command {
        let event = self.settings.framing.frame(event);
        self.state.add_buffered(event.len());
        Command::Push { stream: self.id, event, has_id }
    }

    pub(super) fn subscribe(&self, hub: HubId, request: SubscribeRequest, holds: bool) {
        self.reactor.send(Command::Subscribe { hub, stream: self.id, request: Box::new(request), holds });
    }

    /// Ends the stream. Only the first call has an effect.
    pub(super) fn end(&self, reason: Reason, ending: Ending) {
        if self.state.close() {
            self.reactor.send(Command::End { stream: self.id, reason, ending });
        }
    }

    /// Ends the stream after its buffer is sent and its client is sent a reconnection time.
    pub(super) fn end_with_retry(&self) {
        if self.state.close() {
            self.reactor.send(Command::Refuse { stream: self.id });
        }
    }

    /// Ends a stream that will never have a socket, even if it is ending already: it would wait for the socket.
    pub(super) fn end_without_socket(&self) {
        self.state.close();
        self.reactor.send(Command::End { stream: self.id, reason: Reason::Error, ending: Ending::Discard });
    }

    /// Waits until a closed stream has ended, at most for the timeout.
    pub(super) fn wait_for_end(&self, timeout: Duration) {
        self.reactor.wait(timeout, || self.state.reason().is_some() || self.reactor.is_dead());
    }

    /// Waits until everything is sent, at most for the timeout. Returns true if it is.
    pub(super) fn wait_until_sent(&self, timeout: Duration) -> bool {
        let is_sent = || self.state.buffered_bytes() == 0 && self.state.is_attached();
        self.reactor.wait(timeout, || is_sent() || !self.is_open());
        is_sent() && self.is_open()
    }
}
