//! A stream as the application holds it.
//!
//! Each part owns its fields, and none calls another: what one of them decides, the handle passes on.
//!
//! - [`reactor_stream`]: the reactor's side: commands, the state that it shares, subscriptions, which take effect when the
//!   handler returns, and the process that the stream belongs to: forks
//! - [`handler`]: whether the stream's handler runs: then pushes may wait, and the head waits for them

mod handler;
mod reactor_stream;

use crate::compression::Body;
use crate::hub::SubscribeRequest;
use crate::reactor::{Command, Ending, HubId, StreamId, StreamInit};
use crate::runtime::descriptor_reserve;
use crate::runtime::process::reactor_or_start;
use crate::runtime::reactor_handle::{Queued, ReactorHandle};
use crate::runtime::reactor_hub::ReactorHub;
use crate::runtime::spawned;
use crate::stream::{LineEnd, Liveness, Reason, Settings};
use crate::sys::descriptor;
use crate::{ErrorCode, Failure};
use bytes::Bytes;
use handler::{Handler, Opening};
use reactor_stream::{ReactorStream, SubscribeMode, REACTOR_TIMEOUT};
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The bytes that a stream may buffer while it is opened and the reactor naps.
const MAX_SOON_BYTES: usize = 16 << 10;

/// The socket, the settings and the first bytes of a stream.
#[derive(Debug)]
pub struct OpenOptions<'a> {
    /// The client's connection. Without it events are buffered until [`StreamHandle::attach`].
    pub socket: Option<OwnedFd>,
    /// The head of the response, and what of its content is encoded. It is sent first, as it is.
    pub head: &'a [u8],
    /// The content that is sent after it, neither framed nor encoded.
    pub content: &'a [u8],
    /// The part of the content that another process has sent, or that is in `head`.
    pub body: Body,
    /// The settings of the application.
    pub settings: Settings,
    /// True if a push to a full buffer returns [`Pushed::Full`] instead of ending the stream: until
    /// [`StreamHandle::leave_handler`] if the stream ends with its handle, and after [`StreamHandle::end_process_too`].
    pub waits: bool,
    /// True if the stream ends when its handle is [released](StreamHandle::release).
    pub ends_with_handle: bool,
    /// The interpreter that the end is reported to.
    pub interpreter: u32,
    /// The number of streams that this process may hold.
    pub max_streams: usize,
    /// The time for which its handler may run before the server's log says so ([`StreamHandle::report_handler`]), on a server
    /// where one handler runs at a time.
    pub handler_limit: Option<Duration>,
    /// True if the head may wait until the first push or [`StreamHandle::leave_handler`], so that both are sent at once.
    pub may_wait: bool,
    /// The hub in which the stream has a member or a will already, because another program has handed it over. Its end is
    /// reported.
    pub members_of: Option<&'a ReactorHub>,
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

/// A stream as the application holds it. It has one handle, which belongs to one thread.
#[derive(Debug)]
pub struct StreamHandle {
    stream: ReactorStream,
    handler: Handler,
    /// True if the stream ends when the handle is released.
    ends_with_handle: bool,
    /// True if the stream is promised to a child that is still to be forked. To the application it has ended.
    is_promised: bool,
}

impl StreamHandle {
    /// Opens a stream. If this process has as many streams as it may have or few descriptors left, the client is
    /// sent a reconnection time, and the returned handle is that of a stream that is ending. Fails with `Unavailable`, with the
    /// socket. Nothing has been sent then.
    pub fn open(opening: OpenOptions<'_>) -> Result<Self, (Failure, Option<OwnedFd>)> {
        Self::open_or_resume(opening, None)
    }

    /// Opens a stream that another program has handed over at a time, as [`open`](Self::open) does. `liveness` is of then.
    pub fn resume(
        opening: OpenOptions<'_>,
        liveness: Liveness,
        at: Instant,
    ) -> Result<Self, (Failure, Option<OwnedFd>)> {
        Self::open_or_resume(opening, Some(Box::new((at, liveness))))
    }

    fn open_or_resume(
        opening: OpenOptions<'_>,
        liveness: Option<Box<(Instant, Liveness)>>,
    ) -> Result<Self, (Failure, Option<OwnedFd>)> {
        let OpenOptions { socket, body, settings, ends_with_handle, .. } = opening;
        let reactor = match reactor_or_start() {
            Ok(reactor) => reactor,
            Err(error) => return Err((error, socket)),
        };
        let head = Bytes::copy_from_slice(opening.head);
        let content = settings.framing.frame(opening.content);
        let stream = ReactorStream::new(reactor, settings, head.len() + content.len(), opening.interpreter);
        let is_refused = descriptor_reserve::recount_if_due(|| stream.reactor.counts.sockets())
            || stream.reactor.is_full(opening.max_streams);
        let handle = Self {
            handler: Handler::new(opening.waits, ends_with_handle, opening.may_wait && !is_refused),
            ends_with_handle,
            is_promised: false,
            stream,
        };
        if !is_refused {
            handle.begin_handler(opening.handler_limit);
        }
        let has_socket = socket.is_some();
        let members_of = opening.members_of.map(|hub| hub.number);
        if members_of.is_some() {
            handle.stream.state.report_end_or_reason(); // it has not ended, and its end comes in the order of all
        }
        let init = StreamInit { settings, head, content, body, is_inherited: false, members_of, liveness };
        handle.send_open(socket, init);
        if is_refused {
            handle.stream.refuse(has_socket);
        }
        Ok(handle)
    }

    /// Makes a fork wait until the events of the running handler are sent.
    fn begin_handler(&self, limit: Option<Duration>) {
        if self.handler.occupies_worker {
            self.stream.reactor.running_handler.begin(Arc::clone(&self.stream.state), limit);
        }
    }

    /// Sets the line that the reactor writes to a descriptor once, when the running handler has reached its limit.
    pub fn report_handler(&self, line: &str, log: i32) {
        if self.handler.occupies_worker && self.stream.is_here() {
            self.stream.reactor.running_handler.report_later(&self.stream.state, line, log);
        }
    }

    fn send_open(&self, socket: Option<OwnedFd>, init: StreamInit) {
        self.stream.queue_open(socket, init);
        if !self.handler.has_waiting_head() {
            self.stream.reactor.wake_soon();
        }
    }

    /// Gives the stream its socket.
    pub fn attach(&mut self, socket: OwnedFd) {
        self.stream.attach(socket);
    }

    /// Pushes an event. If it has an id, no position of a hub replaces that. In a forked child this first makes the stream the
    /// child's.
    pub fn push(&mut self, event: &[u8], has_id: bool) -> Pushed {
        if !self.is_open() || !(self.stream.is_here() || self.adopt()) {
            return Pushed::Ended;
        }
        self.begin_subscriptions();
        if event.is_empty() {
            return Pushed::Taken;
        }
        if !self.stream.has_room(event.len()) {
            if self.handler.waits() {
                return Pushed::Full;
            }
            if !self.stream.has_room_after_send(event.len()) {
                self.end(Reason::Slow, Ending::Discard);
                return Pushed::Ended;
            }
        }
        let push = self.stream.buffer(event, has_id);
        self.stream.subscriptions.has_pushed_id |= has_id;
        if self.handler.opening != Opening::Over && self.stream.state.buffered_bytes() < MAX_SOON_BYTES {
            self.handler.release_head();
            self.stream.reactor.send_soon(Queued::Command(push));
        } else {
            self.stream.reactor.send(push);
        }
        Pushed::Taken
    }

    /// Waits until there is room for `bytes` bytes, at most for the timeout.
    pub fn wait_for_room(&self, bytes: usize, timeout: Duration) {
        if !self.stream.is_here() {
            return;
        }
        let ReactorStream { reactor, state, settings, .. } = &self.stream;
        // A producer that waits until half of the buffer is free wakes less often, and larger pieces are sent.
        let low_water = settings.max_buffered.saturating_sub(bytes).min(settings.max_buffered / 2);
        reactor.wait(timeout, || state.buffered_bytes() <= low_water || !self.stream.is_open());
    }

    /// Subscribes the stream to topics of a hub. From here on it belongs to the hub, and no longer ends with its
    /// handle. Returns false if it has ended or belongs to another process. Fails with `State` or `Invalid`.
    pub fn subscribe(
        &mut self,
        hub: &ReactorHub,
        request: SubscribeRequest,
        max_topics: usize,
    ) -> Result<bool, Failure> {
        match self.prepare(&hub.reactor, hub.number, request, Some(max_topics))? {
            Some((request, holds)) => {
                let (hub, stream, request) = (hub.number, self.stream.id, Box::new(request));
                self.stream.reactor.send(Command::Subscribe { hub, stream, request, holds });
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Checks that the stream may be subscribed to a hub. If so, it belongs to the hub from here on. Returns the subscription
    /// and whether it is held; nothing if the stream has ended or belongs to another process. Fails with `State` or
    /// `Invalid`.
    pub(crate) fn prepare(
        &mut self,
        reactor: &Arc<ReactorHandle>,
        hub: HubId,
        request: SubscribeRequest,
        max_topics: Option<usize>,
    ) -> Result<Option<(SubscribeRequest, bool)>, Failure> {
        if !self.is_open() || !self.stream.is_here() || !Arc::ptr_eq(&self.stream.reactor, reactor) {
            return Ok(None);
        }
        if self.stream.subscriptions.hub.map_or(false, |own| own != hub) {
            return Err(Failure::new(ErrorCode::State, None, "this stream is subscribed to another hub"));
        }
        if let Some(max) = max_topics.filter(|max| !self.stream.state.add_topics(request.topics.len(), *max)) {
            let message = format!("a stream may have at most {max} channels and patterns (max_topics)");
            return Err(Failure::invalid("channels", message));
        }
        Ok(Some(self.stream.subscriptions.add(hub, request)))
    }

    /// Returns the id by which the reactor knows the stream.
    pub(crate) fn reactor_id(&self) -> StreamId {
        self.stream.id
    }

    /// Called when a handler begins to run. All subscriptions before it returns or pushes are one request.
    pub fn enter_handler(&mut self) {
        self.stream.subscriptions.hold();
    }

    /// Wakes the reactor for a stream whose beginning it may not have seen. Another command may have woken it already.
    fn wake_if_due(&mut self) {
        if self.handler.release_head() && self.stream.is_here() {
            self.stream.reactor.wake_soon();
        }
    }

    /// Makes the subscriptions of the running handler effective.
    fn begin_subscriptions(&mut self) {
        if self.stream.subscriptions.mode == SubscribeMode::Held && self.stream.is_here() {
            self.stream.reactor.send(Command::BeginSubscription { stream: self.stream.id });
            self.stream.subscriptions.begin();
        }
    }

    /// Returns the line end of the stream. Pushed events are encoded with it.
    pub fn line_end(&self) -> LineEnd {
        self.stream.settings.line_end
    }

    /// Returns true if the stream belongs to a hub. The hub must be able to resume from every id that its client
    /// receives.
    pub fn is_subscribed(&self) -> bool {
        self.stream.subscriptions.hub.is_some()
    }

    /// Returns true if a subscription would be a later one, which begins with new events: the stream is subscribed, and is not
    /// in the handler that did it.
    pub fn has_begun(&self) -> bool {
        self.is_subscribed() && self.stream.subscriptions.mode == SubscribeMode::AtOnce
    }

    /// Ends the stream. Only the first call has an effect.
    pub fn end(&self, reason: Reason, ending: Ending) {
        if self.stream.is_here() && self.stream.state.close() {
            self.stream.reactor.send(Command::End { stream: self.stream.id, reason, ending });
        }
    }

    /// Ends the stream after its buffer is sent. A forked child may close a stream that it has not pushed to. It waits for
    /// the end, because it may itself end at once, without sending anything.
    pub fn close(&mut self, reason: Reason) {
        if self.is_open() && (self.stream.is_here() || self.adopt()) {
            self.end(reason, Ending::Flush);
            if self.stream.origin.is_adopted {
                self.wait_for_end(REACTOR_TIMEOUT);
            }
        }
    }

    /// Ends the stream after its buffer is sent and its client is sent a reconnection time. The reason is
    /// [`Reason::Server`].
    pub fn end_with_retry(&self) {
        if self.stream.is_here() && self.stream.state.close() {
            self.stream.reactor.send(Command::Refuse { stream: self.stream.id });
        }
    }

    /// Promises the stream to a child that cannot be forked yet, or takes it back. Meanwhile the application can do nothing to
    /// it; it may end by itself.
    pub fn promise(&mut self, is_promised: bool) {
        self.is_promised = is_promised;
    }

    /// Gives the stream to a child that was forked after everything was sent. Here it has ended, and the connection stays
    /// open for the child.
    pub fn transfer(&self) {
        self.end(Reason::Application, Ending::Transfer);
    }

    /// Makes this process end with the stream, unless the application closes it. See `spawned`.
    pub fn end_process_too(&mut self, grace: Duration, report: i32) {
        self.handler.may_wait = true;
        let state = &self.stream.state;
        spawned::set_up(grace, report);
        state.set_ends_process();
        if state.reason().map_or(false, |reason| reason != Reason::Application) {
            spawned::end_process(Reason::Client);
        }
    }

    /// In a forked child: closes the inherited connections of all clients but this stream's, and the listening sockets.
    pub fn leave_other_clients(&self) {
        let number = self.stream.state.socket_number();
        if number >= 0 {
            descriptor::leave_other_clients(number);
        }
    }

    /// Waits until everything is sent, at most for the timeout. Returns true if it is. A head that waits for the first push
    /// waits no longer.
    pub fn wait_until_sent(&mut self, timeout: Duration) -> bool {
        if !self.stream.is_here() {
            return false;
        }
        self.wake_if_due();
        self.stream.wait_until_sent(timeout)
    }

    /// Ends a stream that will never have a socket, even if it is ending already: it would wait for the socket.
    pub fn end_without_socket(&self) {
        if self.stream.is_here() {
            self.stream.state.close();
            let (reason, ending) = (Reason::Error, Ending::Discard);
            self.stream.reactor.send(Command::End { stream: self.stream.id, reason, ending });
        }
    }

    /// Called when the application no longer holds the stream; the handle may exist longer. The stream ends if it [ends with
    /// its handle](OpenOptions::ends_with_handle). A child that was forked meanwhile may continue it.
    pub fn release(&mut self) {
        let is_first = self.stream.state.release();
        if is_first && self.stream.is_here() && self.ends_with_handle && !self.is_subscribed() {
            self.end(
                Reason::Application,
                if self.stream.origin.has_forked() { Ending::Transfer } else { Ending::Flush },
            );
        }
    }

    /// Called when the handler has returned. Later pushes do not wait for room.
    pub fn leave_handler(&mut self) {
        self.begin_subscriptions();
        self.wake_if_due();
        self.stream.subscriptions.begin();
        if self.handler.leave() && self.stream.is_here() {
            self.stream.reactor.running_handler.end();
        }
    }

    /// Returns true if the stream accepts events.
    pub fn is_open(&self) -> bool {
        self.stream.is_open() && !self.is_promised
    }

    /// Returns true if the stream lives in a hub process, and so outlives this one.
    pub fn is_handed_over(&self) -> bool {
        self.stream.state.is_handed_over()
    }

    /// Returns true if the stream lives in a hub process, or will when that process answers. It ends soon if that does not.
    pub fn is_for_hub_process(&self) -> bool {
        self.stream.subscriptions.has_waited_for_hub || self.is_handed_over()
    }

    /// Records that a subscription waits for a hub process, or is on its way there.
    pub(crate) fn note_waiting_for_hub(&mut self) {
        self.stream.subscriptions.has_waited_for_hub = true;
    }

    /// Returns true if the stream has got its socket.
    pub fn is_attached(&self) -> bool {
        self.stream.state.is_attached()
    }

    /// Returns true if the stream ends when its handle is released.
    pub fn ends_with_handle(&self) -> bool {
        self.ends_with_handle
    }

    /// Returns how many bytes are buffered; 0 after the end.
    pub fn buffered_bytes(&self) -> usize {
        let state = &self.stream.state;
        // Nobody subtracts what was pushed while the stream ended.
        state.reason().map_or_else(|| state.buffered_bytes(), |_| 0)
    }

    /// Returns true if the client's socket takes no more bytes for now.
    pub fn is_stalled(&self) -> bool {
        self.stream.state.is_stalled()
    }

    /// Reports [progress](crate::runtime::Mail::Progress) of the stream when some of its buffer was sent, or when its
    /// client takes nothing more. Progress from before this call is not reported: read the state after it.
    pub fn watch_progress(&self) {
        self.stream.state.watch();
    }

    /// Returns the id with which [`take_ended`](crate::runtime::take_ended) reports the end.
    pub fn id(&self) -> StreamId {
        self.stream.state.id
    }

    /// Waits until a closed stream has ended, at most for the timeout.
    pub fn wait_for_end(&self, timeout: Duration) {
        if self.stream.is_here() && !self.is_open() {
            self.stream.wait_for_end(timeout);
        }
    }

    /// Asks [`take_ended`](crate::runtime::take_ended) for the end. If the stream has ended already, returns the reason
    /// instead.
    pub fn report_end_or_reason(&self) -> Option<Reason> {
        let ReactorStream { reactor, state, .. } = &self.stream;
        match reactor.is_dead() {
            true => Some(state.reason().unwrap_or(Reason::Error)),
            false => state.report_end_or_reason(),
        }
    }

    /// Makes a stream of the parent process a stream of this child. Returns false if that is not possible.
    fn adopt(&mut self) -> bool {
        let socket = some_or!(self.stream.adopt(), return false);
        self.handler.opening = Opening::Over;
        let (settings, body) = (*self.stream.settings, Body::unknown());
        let init = StreamInit {
            settings,
            head: Bytes::new(),
            content: Bytes::new(),
            body,
            is_inherited: true,
            members_of: None,
            liveness: None,
        };
        self.send_open(Some(socket), init);
        self.begin_handler(None);
        true
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.begin_subscriptions();
        self.wake_if_due();
        self.release();
        if !self.stream.is_here() {
            // The connection is the parent's.
            let inherited = self.stream.state.take_socket();
            drop(inherited.map(|(number, cookie)| descriptor::inherit(number, cookie)));
        } else if self.is_subscribed() {
            self.stream.reactor.send(Command::ReleaseState { stream: self.stream.id });
        }
    }
}
