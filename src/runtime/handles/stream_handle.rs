//! A stream as the application holds it.

use crate::compression::Body;
use crate::hub::SubscribeRequest;
use crate::reactor::{Command, Ending, HubId, StreamId, StreamInit};
use crate::runtime::descriptor_reserve;
use crate::runtime::error::Error;
use crate::runtime::forks::{fork_count, generation};
use crate::runtime::process::reactor_or_start;
use crate::runtime::reactor_handle::{Queued, ReactorHandle, StreamParts};
use crate::runtime::spawned;
use crate::runtime::stream_state::StreamState;
use crate::stream::{LineEnd, Reason, Settings};
use crate::sys::{descriptor, socket};
use bytes::Bytes;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for the reactor to act. The reactor never waits for a client, so it acts much sooner.
const REACTOR_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes that a stream may buffer while it is opened and the reactor naps.
const MAX_SOON_BYTES: usize = 16 << 10;

/// How many unsent bytes the kernel keeps for a client. That is enough for the network, as measured, and little for a
/// client that never reads. All other bytes are buffered in the stream, where they are limited and counted.
const UNSENT_BYTES: u32 = 128 << 10;

/// How a stream begins.
#[derive(Debug)]
pub struct OpenOptions<'a> {
    /// The client's connection. Without it events are buffered until [`StreamHandle::attach`].
    pub socket: Option<OwnedFd>,
    /// The head of the response, and what of its content is encoded. It is sent first, as it is.
    pub head: &'a [u8],
    /// The content that is sent after it, neither framed nor encoded.
    pub content: &'a [u8],
    /// What of the content was sent by another process, or is part of `head`.
    pub body: Body,
    /// The settings of the application.
    pub settings: Settings,
    /// Whether a push to a full buffer returns [`Pushed::Full`] instead of ending the stream. It does not after
    /// [`StreamHandle::leave_handler`].
    pub waits: bool,
    /// Whether the stream ends when the last handle is [released](StreamHandle::release).
    pub ends_with_handle: bool,
    /// The interpreter that the end is reported to.
    pub interpreter: u32,
    /// How many streams this process may hold.
    pub max_streams: usize,
    /// How long its handler may run before the server's log says so ([`StreamHandle::report_handler`]), on a server where one
    /// handler runs at a time.
    pub handler_limit: Option<Duration>,
    /// Whether the head may wait until the first push or [`StreamHandle::leave_handler`], so that both are sent at once.
    pub may_wait: bool,
}

/// The result of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The stream has accepted the event.
    Taken,
    /// The buffer is full: [wait](StreamHandle::wait_for_room) for room, and push again.
    Full,
    /// The stream has ended.
    Ended,
}

/// When a subscription takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubscribeMode {
    /// At once.
    AtOnce,
    /// Later: a handler runs, and all of its subscriptions are one request.
    Hold,
    /// As `Hold`, and the handler has subscribed. Nothing is sent before it returns or pushes.
    Held,
}

/// A stream as the application holds it, in one thread.
#[derive(Debug)]
pub struct StreamHandle {
    reactor: Arc<ReactorHandle>,
    state: Arc<StreamState>,
    stream: StreamId,
    settings: Arc<Settings>,
    waits: bool,
    /// Whether the stream's handler runs, on a server where one handler runs at a time.
    in_handler: bool,
    subscribe_mode: SubscribeMode,
    /// Whether an event with an id was pushed. A later subscription does not replace that id.
    has_pushed_id: bool,
    ends_with_handle: bool,
    /// Whether this process has made its parent's stream its own.
    is_adopted: bool,
    /// Whether the reactor is still to be woken for the stream's beginning.
    must_wake: bool,
    /// Whether the stream is being opened: its first handler has not returned. What is sent may wait for a nap of the
    /// reactor.
    is_opening: bool,
    /// Whether the application has released the stream. The handle may exist longer.
    is_released: bool,
    /// Whether the stream is promised to a child that is still to be forked. To the application it has ended.
    is_promised: bool,
    /// Whether a subscription waits for a hub process, or has waited.
    has_waited_for_hub: bool,
    generation: u32,
    /// The number of forks when the stream began. After another fork a child may continue the stream.
    forks: u32,
}

impl StreamHandle {
    /// Opens a stream. If this process has as many streams as it may have or few descriptors left, the client is
    /// sent a reconnection time, and the returned handle is that of a stream that is ending.
    ///
    /// # Errors
    ///
    /// [`Error::System`] or [`Error::ShuttingDown`], with the socket. Nothing has been sent then.
    pub fn open(opening: OpenOptions<'_>) -> Result<Self, (Error, Option<OwnedFd>)> {
        let reactor = match reactor_or_start() {
            Ok(reactor) => reactor,
            Err(error) => return Err((error, opening.socket)),
        };
        let head = Bytes::copy_from_slice(opening.head);
        let content = opening.settings.framing.frame(opening.content);
        let stream = reactor.new_stream();
        let mut handle = Self {
            state: Arc::new(StreamState::new(stream, head.len() + content.len(), opening.interpreter)),
            stream,
            settings: reactor.share_settings(opening.settings),
            waits: opening.waits,
            in_handler: opening.ends_with_handle,
            subscribe_mode: SubscribeMode::AtOnce,
            has_pushed_id: false,
            ends_with_handle: opening.ends_with_handle,
            is_adopted: false,
            must_wake: false,
            is_opening: true,
            is_released: false,
            is_promised: false,
            has_waited_for_hub: false,
            generation: generation(),
            forks: fork_count(),
            reactor,
        };
        let is_refused = descriptor_reserve::recount_if_due(|| handle.reactor.counts.sockets())
            || handle.reactor.is_full(opening.max_streams);
        let has_socket = opening.socket.is_some();
        handle.must_wake = opening.may_wait && !is_refused;
        if !is_refused {
            handle.begin_handler(opening.handler_limit);
        }
        handle.send_open(opening.socket, head, content, opening.body, false);
        if is_refused {
            handle.refuse(has_socket);
        }
        Ok(handle)
    }

    fn refuse(&self, has_socket: bool) {
        self.state.close();
        self.reactor.count_refused();
        self.reactor.send(Command::Refuse { stream: self.stream });
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

    /// Makes a fork wait until the events of the running handler are sent.
    fn begin_handler(&self, limit: Option<Duration>) {
        if self.in_handler {
            self.reactor.running_handler.begin(Arc::clone(&self.state), limit);
        }
    }

    /// Has the reactor write a line to a descriptor once, when the running handler has reached its limit.
    pub fn report_handler(&self, line: &str, log: i32) {
        if self.in_handler && self.generation == generation() {
            self.reactor.running_handler.report_later(&self.state, line, log);
        }
    }

    fn send_open(&self, socket: Option<OwnedFd>, head: Bytes, content: Bytes, body: Body, is_inherited: bool) {
        if let Some(socket) = &socket {
            self.configure(socket);
        }
        let init = Box::new(StreamInit { settings: *self.settings, head, content, body, is_inherited });
        self.reactor.count_opened();
        self.reactor.queue_up(self.with_parts(Command::Open { stream: self.stream, init }, socket));
        if !self.must_wake {
            self.reactor.wake_soon();
        }
    }

    /// Sets the options of a socket, and stores its number and cookie, before the reactor gets it.
    fn configure(&self, socket: &OwnedFd) {
        socket::give_up_after(socket.as_fd(), Some(self.settings.timeout));
        socket::limit_unsent(socket.as_fd(), UNSENT_BYTES);
        self.state.set_socket(socket.as_raw_fd(), socket::cookie(socket.as_fd()));
    }

    /// Gives the stream its socket.
    pub fn attach(&mut self, socket: OwnedFd) {
        self.configure(&socket);
        self.reactor.send_soon(self.with_parts(Command::Attach { stream: self.stream }, Some(socket)));
        self.wait_if_short();
    }

    fn with_parts(&self, command: Command, socket: Option<OwnedFd>) -> Queued {
        Queued::Stream(command, Box::new(StreamParts { socket, state: Arc::clone(&self.state) }))
    }

    /// Pushes an event. In a forked child this first makes the stream the child's.
    pub fn push(&mut self, event: &[u8]) -> Pushed {
        self.push_event(event, false)
    }

    /// Pushes an event that has an id, as [`push`](Self::push) does. No position of a hub replaces that id.
    pub fn push_with_id(&mut self, event: &[u8]) -> Pushed {
        self.push_event(event, true)
    }

    fn push_event(&mut self, event: &[u8], has_id: bool) -> Pushed {
        if !self.is_open() || (self.generation != generation() && !self.adopt()) {
            return Pushed::Ended;
        }
        self.begin_subscriptions();
        if event.is_empty() {
            return Pushed::Taken;
        }
        if self.is_limited() && !self.state.has_room(event.len(), self.settings.max_buffered) {
            if self.waits {
                return Pushed::Full;
            }
            if !self.has_room_after_send(event.len()) {
                self.end(Reason::Slow, Ending::Discard);
                return Pushed::Ended;
            }
        }
        let event = self.settings.framing.frame(event);
        self.state.add_buffered(event.len());
        self.has_pushed_id |= has_id;
        let push = Command::Push { stream: self.stream, event, has_id };
        if self.is_opening && self.state.buffered_bytes() < MAX_SOON_BYTES {
            self.must_wake = false;
            self.reactor.send_soon(Queued::Command(push));
        } else {
            self.reactor.send(push);
        }
        Pushed::Taken
    }

    /// Returns true if the buffer can be full for a push. It cannot if the reactor drops the oldest events.
    fn is_limited(&self) -> bool {
        !self.settings.drop_oldest && self.state.is_attached()
    }

    /// Returns true if there is room for `bytes` bytes after the reactor has tried to send what is buffered. A burst
    /// that fills the buffer does not mean that the client is slow. This waits for the reactor, which is quick, and
    /// never for the client.
    fn has_room_after_send(&self, bytes: usize) -> bool {
        let has_room = || self.state.has_room(bytes, self.settings.max_buffered);
        self.reactor.wait(REACTOR_TIMEOUT, || has_room() || self.state.is_blocked_by_client() || !self.is_open());
        has_room() && self.is_open()
    }

    /// Waits until there is room for `bytes` bytes, at most for the timeout.
    pub fn wait_for_room(&self, bytes: usize, timeout: Duration) {
        if self.generation == generation() {
            // A producer that waits until half of the buffer is free wakes less often, and larger pieces are sent.
            let max_bytes = self.settings.max_buffered;
            let low_water = max_bytes.saturating_sub(bytes).min(max_bytes / 2);
            self.reactor.wait(timeout, || self.state.buffered_bytes() <= low_water || !self.is_open());
        }
    }

    /// Subscribes the stream to topics of a hub. From here on it belongs to the hub, and no longer ends with its
    /// handles. Returns false if it has ended or belongs to another process.
    ///
    /// # Errors
    ///
    /// [`Error::OtherHub`] or [`Error::TooManyTopics`].
    pub(crate) fn subscribe(
        &mut self,
        reactor: &Arc<ReactorHandle>,
        hub: HubId,
        request: SubscribeRequest,
        max_topics: usize,
    ) -> Result<bool, Error> {
        match self.prepare(reactor, hub, request, Some(max_topics))? {
            Some((request, holds)) => {
                let request = Box::new(request);
                self.reactor.send(Command::Subscribe { hub, stream: self.stream, request, holds });
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Checks that the stream may be subscribed to a hub. From here on it belongs to the hub. Returns the subscription and
    /// whether it is held; nothing if the stream has ended or belongs to another process.
    ///
    /// # Errors
    ///
    /// [`Error::OtherHub`] or [`Error::TooManyTopics`].
    pub(crate) fn prepare(
        &mut self,
        reactor: &Arc<ReactorHandle>,
        hub: HubId,
        mut subscription: SubscribeRequest,
        max_topics: Option<usize>,
    ) -> Result<Option<(SubscribeRequest, bool)>, Error> {
        if !self.is_open() || self.generation != generation() || !Arc::ptr_eq(&self.reactor, reactor) {
            return Ok(None);
        }
        if !self.state.set_hub(hub) {
            return Err(Error::OtherHub);
        }
        if let Some(max) = max_topics.filter(|max| !self.state.add_topics(subscription.topics.len(), *max)) {
            return Err(Error::TooManyTopics { max });
        }
        subscription.first_block.keeps_id |= self.has_pushed_id;
        let holds = self.subscribe_mode != SubscribeMode::AtOnce;
        if holds {
            self.subscribe_mode = SubscribeMode::Held;
        }
        Ok(Some((subscription, holds)))
    }

    /// Returns the id by which the reactor knows the stream.
    pub(crate) fn reactor_id(&self) -> StreamId {
        self.stream
    }

    /// Called when a handler begins to run. All subscriptions before it returns or pushes are one request.
    pub fn enter_handler(&mut self) {
        self.subscribe_mode = SubscribeMode::Hold;
    }

    /// Wakes the reactor for a stream whose beginning it may not have seen. Another command may have woken it already.
    fn wake_if_due(&mut self) {
        if std::mem::take(&mut self.must_wake) && self.generation == generation() {
            self.reactor.wake_soon();
        }
    }

    /// Makes the subscriptions of the running handler effective.
    fn begin_subscriptions(&mut self) {
        if self.subscribe_mode == SubscribeMode::Held && self.generation == generation() {
            self.reactor.send(Command::BeginSubscription { stream: self.stream });
            self.subscribe_mode = SubscribeMode::AtOnce;
        }
    }

    /// Returns the line end of the stream. Pushed events are encoded with it.
    pub fn line_end(&self) -> LineEnd {
        self.settings.line_end
    }

    /// Returns true if the stream belongs to a hub. The hub must be able to resume from every id that its client
    /// receives.
    pub fn is_subscribed(&self) -> bool {
        self.state.has_hub()
    }

    /// Returns true if a subscription would be a later one, which begins with new events: the stream is subscribed, and is not
    /// in the handler that did it.
    pub fn has_begun(&self) -> bool {
        self.is_subscribed() && self.subscribe_mode == SubscribeMode::AtOnce
    }

    /// Ends the stream. Only the first call has an effect.
    pub fn end(&self, reason: Reason, ending: Ending) {
        if self.generation == generation() && self.state.close() {
            self.reactor.send(Command::End { stream: self.stream, reason, ending });
        }
    }

    /// Ends the stream after its buffer is sent. A forked child may close a stream that it has not pushed to. It waits for
    /// the end, because it may itself end at once, without sending anything.
    pub fn close(&mut self, reason: Reason) {
        if self.is_open() && (self.generation == generation() || self.adopt()) {
            self.end(reason, Ending::Flush);
            if self.is_adopted {
                self.wait_for_end(REACTOR_TIMEOUT);
            }
        }
    }

    /// Ends the stream after its buffer is sent and its client is sent a reconnection time. The reason is
    /// [`Reason::Server`].
    pub fn end_with_retry(&self) {
        if self.generation == generation() && self.state.close() {
            self.reactor.send(Command::Refuse { stream: self.stream });
        }
    }

    /// Promises the stream to a child that cannot be forked yet, or takes it back. Meanwhile the application can do nothing to
    /// it; it may end by itself.
    pub fn promise(&mut self, is_promised: bool) {
        self.is_promised = is_promised;
    }

    /// Gives the stream to a child that was forked after everything was sent. Here it has ended, and the connection stays
    /// open for the child.
    pub fn hand_over(&self) {
        self.end(Reason::Application, Ending::HandOver);
    }

    /// Makes this process end with the stream, unless the application closes it. See `spawned`.
    pub fn end_process_too(&self, grace: Duration, report: i32) {
        spawned::set_up(grace, report);
        self.state.set_ends_process();
        if self.state.reason().map_or(false, |reason| reason != Reason::Application) {
            spawned::end_process(Reason::Client);
        }
    }

    /// In a forked child: closes the inherited connections of all clients but this stream's, and the listening sockets.
    pub fn leave_other_clients(&self) {
        let number = self.state.socket_number();
        if number >= 0 {
            descriptor::leave_other_clients(number);
        }
    }

    /// Waits until everything is sent, at most for the timeout. Returns true if it is. A head that waits for the first push
    /// waits no longer.
    pub fn wait_until_sent(&mut self, timeout: Duration) -> bool {
        if self.generation != generation() {
            return false;
        }
        self.wake_if_due();
        let is_sent = || self.state.buffered_bytes() == 0 && self.state.is_attached();
        self.reactor.wait(timeout, || is_sent() || !self.is_open());
        is_sent() && self.is_open()
    }

    /// Ends a stream that will never have a socket, even if it is ending already: it would wait for the socket.
    pub fn end_without_socket(&self) {
        if self.generation == generation() {
            self.state.close();
            self.reactor.send(Command::End { stream: self.stream, reason: Reason::Error, ending: Ending::Discard });
        }
    }

    /// Called when the application no longer holds the stream. The stream ends if it [ends with its
    /// handle](OpenOptions::ends_with_handle) and no other thread holds it. A child that was forked meanwhile may continue
    /// it.
    pub fn release(&mut self) {
        // Several threads may release at the same time; one of them is the last.
        let is_last = !std::mem::replace(&mut self.is_released, true) && self.state.remove_handle();
        if is_last && self.generation == generation() {
            self.end_after_release();
        }
    }

    fn end_after_release(&self) {
        if self.ends_with_handle && !self.state.has_hub() {
            let ending = if self.forks == fork_count() { Ending::Flush } else { Ending::HandOver };
            self.end(Reason::Application, ending);
        }
    }

    /// Called when the handler has returned. Later pushes do not wait for room.
    pub fn leave_handler(&mut self) {
        self.waits = false;
        self.begin_subscriptions();
        self.wake_if_due();
        self.is_opening = false;
        self.subscribe_mode = SubscribeMode::AtOnce;
        if std::mem::take(&mut self.in_handler) && self.generation == generation() {
            self.reactor.running_handler.end();
        }
    }

    /// Returns true if the stream accepts events.
    pub fn is_open(&self) -> bool {
        self.state.is_open() && !self.is_promised && !self.reactor.is_dead()
    }

    /// Returns true if the stream lives in a hub process, and so outlives this one.
    pub fn is_handed_over(&self) -> bool {
        self.state.is_handed_over()
    }

    /// Returns true if the stream lives in a hub process, or will when that process answers. It ends soon if that does not.
    pub fn is_for_hub_process(&self) -> bool {
        self.has_waited_for_hub || self.is_handed_over()
    }

    /// Takes note that a subscription waits for a hub process.
    pub(crate) fn note_waiting_for_hub(&mut self) {
        self.has_waited_for_hub = true;
    }

    /// Returns true if the stream has got its socket.
    pub fn is_attached(&self) -> bool {
        self.state.is_attached()
    }

    /// Returns true if the stream ends when its last handle is released.
    pub fn ends_with_handle(&self) -> bool {
        self.ends_with_handle
    }

    /// Returns how many bytes are buffered; 0 after the end.
    pub fn buffered_bytes(&self) -> usize {
        // Nobody subtracts what was pushed while the stream ended.
        if self.state.reason().is_some() {
            return 0;
        }
        self.state.buffered_bytes()
    }

    /// Returns true if the client's socket takes no more bytes for now.
    pub fn is_stalled(&self) -> bool {
        self.state.is_stalled()
    }

    /// Has [`take_progress`](crate::runtime::take_progress) return the stream when some of its buffer was sent, or when its
    /// client takes nothing more. Progress from before this call is not reported: read the state after it.
    pub fn watch_progress(&self) {
        self.state.watch();
    }

    /// Returns the id with which [`take_ended`](crate::runtime::take_ended) reports the end.
    pub fn id(&self) -> StreamId {
        self.state.id
    }

    /// Waits until a closed stream has ended, at most for the timeout.
    pub fn wait_for_end(&self, timeout: Duration) {
        if self.generation == generation() && !self.is_open() {
            self.reactor.wait(timeout, || self.state.reason().is_some() || self.reactor.is_dead());
        }
    }

    /// Has [`take_ended`](crate::runtime::take_ended) report the end. If the stream has ended already, returns the reason
    /// instead.
    pub fn report_end_or_reason(&self) -> Option<Reason> {
        if self.reactor.is_dead() {
            return Some(self.state.reason().unwrap_or(Reason::Error));
        }
        self.state.report_end_or_reason()
    }

    /// Makes a stream of the parent process a stream of this child, which has inherited the descriptor. Returns false
    /// if that is not possible:
    ///
    /// - The parent still had events to send at the fork. It sends them later, and they would mix with the child's.
    /// - The stream belongs to a hub of the parent, which may send events at any time.
    /// - The child has closed the descriptor, and its number may have been reused.
    fn adopt(&mut self) -> bool {
        let inherited = self.state.take_socket().and_then(|(number, cookie)| descriptor::inherit(number, cookie).ok());
        let socket = inherited.filter(|_| self.state.buffered_bytes() == 0 && !self.state.has_hub());
        let (socket, reactor) = match socket.and_then(|socket| Some((socket, reactor_or_start().ok()?))) {
            Some(both) => both,
            None => {
                self.state.close();
                return false;
            }
        };
        // The child never drops what the parent's reactor may have held at the fork.
        std::mem::forget(std::mem::replace(&mut self.reactor, reactor));
        let parents = &self.state;
        let state = StreamState::new(parents.id, 0, parents.interpreter);
        if parents.is_end_wanted() {
            state.report_end_or_reason();
        }
        self.state = Arc::new(state);
        self.stream = self.reactor.new_stream();
        self.is_released = false;
        self.generation = generation();
        self.forks = fork_count().wrapping_sub(1); // the parent has the connection too
        self.must_wake = false;
        (self.is_adopted, self.is_opening) = (true, false);
        self.send_open(Some(socket), Bytes::new(), Bytes::new(), Body::unknown(), true);
        self.begin_handler(None);
        true
    }
}

/// A stream's handle, with which a new program continues.
#[derive(Debug)]
pub struct SavedStream {
    pub(crate) stream: StreamId,
    settings: Settings,
    subscribe_mode: SubscribeMode,
    has_pushed_id: bool,
    is_opening: bool,
    is_released: bool,
}

saved!(SubscribeMode: AtOnce, Hold, Held);
saved!(SavedStream { stream, settings, subscribe_mode, has_pushed_id, is_opening, is_released });

impl StreamHandle {
    /// Returns what a new program needs to continue the stream. That of a handle that waits for its handler's pushes
    /// (`waits`, `may_wait`) or ends with its handle is not saved: a hub process has none.
    pub fn saved(&self) -> SavedStream {
        SavedStream {
            stream: self.stream,
            settings: *self.settings,
            subscribe_mode: self.subscribe_mode,
            has_pushed_id: self.has_pushed_id,
            is_opening: self.is_opening,
            is_released: self.is_released,
        }
    }

    /// Continues a stream of a restored reactor.
    pub(crate) fn restore(saved: &SavedStream, state: Arc<StreamState>, reactor: Arc<ReactorHandle>) -> Self {
        Self {
            state,
            stream: saved.stream,
            settings: reactor.share_settings(saved.settings),
            waits: false,
            in_handler: false,
            subscribe_mode: saved.subscribe_mode,
            has_pushed_id: saved.has_pushed_id,
            ends_with_handle: false,
            is_adopted: false,
            must_wake: false,
            is_opening: saved.is_opening,
            is_released: saved.is_released,
            is_promised: false,
            has_waited_for_hub: false,
            generation: generation(),
            forks: fork_count(),
            reactor,
        }
    }
}

/// Copies a handle for a new ithread, which gets a copy of every object.
impl Clone for StreamHandle {
    fn clone(&self) -> Self {
        if !self.is_released {
            self.state.add_handle();
        }
        Self {
            reactor: Arc::clone(&self.reactor),
            state: Arc::clone(&self.state),
            stream: self.stream,
            settings: Arc::clone(&self.settings),
            waits: self.waits,
            in_handler: false, // a handler runs in one thread
            subscribe_mode: SubscribeMode::AtOnce,
            has_pushed_id: self.has_pushed_id,
            ends_with_handle: self.ends_with_handle,
            is_adopted: self.is_adopted,
            must_wake: false,
            is_opening: false,
            is_released: self.is_released,
            is_promised: self.is_promised,
            has_waited_for_hub: self.has_waited_for_hub,
            generation: self.generation,
            forks: self.forks,
        }
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.begin_subscriptions();
        self.wake_if_due();
        self.release();
        if self.state.has_hub() && self.generation == generation() {
            // Handles of other threads may exist; the event loop checks that.
            self.reactor.send(Command::ReleaseState { stream: self.stream });
        }
        if self.generation != generation() {
            if let Some((number, cookie)) = self.state.take_socket() {
                drop(descriptor::inherit(number, cookie)); // the child's copy; the connection is the parent's
            }
        }
    }
}
