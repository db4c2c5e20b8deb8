//! A stream of the reactor, as a handle commands it: its commands, its state, its settings, its subscriptions, and the process
//! that it belongs to after a fork.

use crate::hub::SubscribeRequest;
use crate::reactor::{Command, HubId, StreamId, StreamInit};
use crate::runtime::descriptor_reserve;
use crate::runtime::generation::{fork_count, generation};
use crate::runtime::process::reactor_or_start;
use crate::runtime::reactor_handle::{Queued, ReactorHandle, StreamParts};
use crate::runtime::stream_state::StreamState;
use crate::stream::Settings;
use crate::sys::{descriptor, socket};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// The time for which a call waits for the reactor to act. The reactor never waits for a client, so it acts much sooner.
pub(super) const REACTOR_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream of the reactor.
#[derive(Debug)]
pub(super) struct ReactorStream {
    pub(super) reactor: Arc<ReactorHandle>,
    pub(super) state: Arc<StreamState>,
    /// The id by which the reactor knows the stream.
    pub(super) id: StreamId,
    pub(super) settings: Arc<Settings>,
    pub(super) subscriptions: Subscriptions,
    pub(super) origin: Origin,
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
        let (settings, subscriptions) = (reactor.share_settings(settings), Subscriptions::default());
        Self { state, id, settings, reactor, subscriptions, origin: Origin::here() }
    }

    /// Makes a stream of the parent process one of this child, which has inherited the socket, and returns that. The stream
    /// is still to be [opened](Self::queue_open). Returns nothing, and closes the stream, if that is not possible:
    ///
    /// - The parent still had events to send at the fork. It sends them later, and they would mix with the child's.
    /// - The stream belongs to a hub of the parent, which may send events at any time.
    /// - The child has closed the descriptor, and its number may have been reused.
    pub(super) fn adopt(&mut self) -> Option<OwnedFd> {
        let inherited = self.state.take_socket().and_then(|(number, cookie)| descriptor::inherit(number, cookie).ok());
        let socket = inherited.filter(|_| self.state.buffered_bytes() == 0 && self.subscriptions.hub.is_none());
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
        self.origin = Origin::adopted();
        Some(socket)
    }

    /// Returns true in the process that the stream belongs to, false in a child of it.
    pub(super) fn is_here(&self) -> bool {
        self.origin.generation == generation()
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
        let init = self.reactor.share_init(init);
        self.reactor.queue_up(self.with_parts(Command::Open { stream: self.id, init }, socket), true);
    }

    /// Gives the stream its socket.
    pub(super) fn attach(&self, socket: OwnedFd) {
        self.configure(&socket);
        self.reactor.send_soon(self.with_parts(Command::Attach { stream: self.id }, Some(socket)));
        self.wait_if_short();
    }

    /// Sets the options of a socket, and stores its number and cookie, before the reactor gets it. In a hub process it has the
    /// options from a worker, or from the socket that listens, and there is no child that would compare the cookie.
    fn configure(&self, socket: &OwnedFd) {
        let mut cookie = 0;
        if !self.reactor.mailbox.is_open() {
            socket::limit_unsent(socket.as_fd());
            socket::set_tcp_user_timeout(socket.as_fd(), None); // the server may have set one
            cookie = socket::cookie(socket.as_fd());
        }
        self.state.set_socket(socket.as_raw_fd(), cookie);
    }

    fn with_parts(&self, command: Command, socket: Option<OwnedFd>) -> Queued {
        Queued::Stream(command, StreamParts { socket, state: Arc::clone(&self.state) })
    }

    /// Ends a new stream that is one too many, after its client is sent a reconnection time.
    pub(super) fn refuse(&self, has_socket: bool) {
        self.state.close();
        self.reactor.counts.refused.fetch_add(1, Ordering::Relaxed);
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

    /// Frames and counts an event. Returns the command that pushes it.
    pub(super) fn buffer(&self, event: &[u8], has_id: bool) -> Command {
        let event = self.settings.framing.frame(event);
        self.state.add_buffered(event.len());
        Command::Push { stream: self.id, event, has_id }
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

/// Where and when a stream began, or was adopted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    generation: u32,
    /// The number of forks when the stream began. After another fork a child may continue the stream.
    forks: u32,
    /// True if this process has made its parent's stream its own.
    pub(super) is_adopted: bool,
}

impl Origin {
    /// A stream that begins in this process.
    fn here() -> Self {
        Self { generation: generation(), forks: fork_count(), is_adopted: false }
    }

    /// A stream of the parent that becomes this process' own. The parent has its connection too, as after a later fork.
    fn adopted() -> Self {
        Self { generation: generation(), forks: fork_count().wrapping_sub(1), is_adopted: true }
    }

    /// Returns true if a child may continue the stream.
    pub(super) fn has_forked(self) -> bool {
        self.forks != fork_count()
    }
}

/// When a subscription takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SubscribeMode {
    /// At once.
    #[default]
    AtOnce,
    /// Later: a handler runs, and all of its subscriptions are one request.
    Hold,
    /// As `Hold`, and the handler has subscribed. Nothing is sent before it returns or pushes.
    Held,
}

/// The subscriptions of a stream, as its handle knows them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) mode: SubscribeMode,
    /// The hub that the stream belongs to.
    pub(super) hub: Option<HubId>,
    /// True if an event with an id was pushed. A later subscription does not replace that id.
    pub(super) has_pushed_id: bool,
    /// True if one waits for a hub process or is on its way there, or was.
    pub(super) has_waited_for_hub: bool,
}

impl Subscriptions {
    /// Holds subscriptions from now on: a handler runs.
    pub(super) fn hold(&mut self) {
        self.mode = SubscribeMode::Hold;
    }

    /// Completes a subscription to a hub, to which the stream belongs from here on. Returns it, and whether it is held.
    pub(super) fn add(&mut self, hub: HubId, mut request: SubscribeRequest) -> (SubscribeRequest, bool) {
        self.hub = Some(hub);
        request.first_block.keeps_id |= self.has_pushed_id;
        let holds = self.mode != SubscribeMode::AtOnce;
        if holds {
            self.mode = SubscribeMode::Held;
        }
        (request, holds)
    }

    /// Holds no subscription any longer: the handler has pushed or has returned.
    pub(super) fn begin(&mut self) {
        self.mode = SubscribeMode::AtOnce;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_of_a_handler_is_held_until_the_handler_pushes_or_returns() {
        let mut subscriptions = Subscriptions::default();
        assert!(!subscriptions.add(7, SubscribeRequest::default()).1);
        subscriptions.hold();
        assert_eq!(subscriptions.mode, SubscribeMode::Hold);
        assert!(subscriptions.add(7, SubscribeRequest::default()).1);
        assert_eq!(subscriptions.mode, SubscribeMode::Held);
        subscriptions.begin();
        assert_eq!(subscriptions.mode, SubscribeMode::AtOnce);
    }

    #[test]
    fn a_subscription_after_a_push_with_an_id_keeps_that_id() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.has_pushed_id |= false;
        assert!(!subscriptions.add(7, SubscribeRequest::default()).0.first_block.keeps_id);
        subscriptions.has_pushed_id |= true;
        subscriptions.has_pushed_id |= false;
        assert!(subscriptions.add(7, SubscribeRequest::default()).0.first_block.keeps_id);
    }
}
