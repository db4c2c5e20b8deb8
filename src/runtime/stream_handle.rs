//! A stream as the application holds it.

use super::forks::{fork_count, generation};
use super::process::{link, set_handled};
use super::reactor_handle::{Enclosed, ReactorHandle};
use super::reserve;
use super::stream_state::StreamState;
use crate::hub::{Request, Topic};
use crate::reactor::{Beginning, Command, Ending, HubId, StreamId};
use crate::stream::{Reason, Settings};
use crate::sys::{descriptor, socket};
use bytes::Bytes;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for the reactor, which waits for nobody.
const QUICK: Duration = Duration::from_secs(1);

/// How many unsent bytes the kernel keeps for a client: enough for the network, measured, and little for a client that never
/// reads. More than that waits in the stream, where it is limited and counted.
const UNSENT_BYTES: u32 = 128 << 10;

/// How a stream begins.
pub struct Opening<'a> {
    /// The client's connection; without it events wait until [`StreamHandle::attach`].
    pub socket: Option<OwnedFd>,
    /// What is sent first, as it is: the head of the response.
    pub head: &'a [u8],
    /// What the application has decided.
    pub settings: Settings,
    /// Whether a push waits when as much waits as may, until [`StreamHandle::leave_handler`].
    pub waits: bool,
    /// Whether the stream ends when the last handle is [released](Handle::release).
    pub ends_with_handle: bool,
    /// Which interpreter is told of its end.
    pub interpreter: u32,
    /// How many streams this process may hold, if there are descriptors for them.
    pub max_streams: usize,
}

/// What has become of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be sent.
    Taken,
    /// As much waits as may: [wait](Handle::wait_for_room) for its bytes, and push again.
    Full,
    /// The stream has ended.
    Gone,
}

/// What becomes of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It is effective at once.
    Off,
    /// A handler runs, and may subscribe to several things: all of that is one request.
    Handler,
    /// It has subscribed to something. Nothing of that is sent before the handler returns, or pushes.
    Held,
}

/// A stream as the application holds it, in one thread.
pub struct StreamHandle {
    link: Arc<ReactorHandle>,
    state: Arc<StreamState>,
    stream: StreamId,
    settings: Arc<Settings>,
    waits: bool,
    /// Whether its handler runs, and has the process to itself.
    is_handled: bool,
    hold: Hold,
    ends_with_handle: bool,
    /// Whether the application has let go of it, though the handle is there.
    is_released: bool,
    generation: u32,
    /// How often this process had forked when the stream began: if it has since, a child may go on with it.
    forks: u32,
}

impl StreamHandle {
    /// Opens a stream. If this process holds as many as it may, or few descriptors are left, the client is told to come back later, and the handle is
    /// one of a stream that is ending.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor, no memory or no thread for a reactor; then nothing has been sent.
    pub fn open(opening: Opening<'_>) -> Result<Self, (io::Error, Option<OwnedFd>)> {
        let link = match link() {
            Ok(link) => link,
            Err(error) => return Err((error, opening.socket)),
        };
        let head = Bytes::copy_from_slice(opening.head);
        let stream = link.new_stream();
        let handle = Self {
            state: Arc::new(StreamState::new(stream, head.len(), opening.interpreter)),
            stream,
            settings: link.share(opening.settings),
            waits: opening.waits,
            is_handled: opening.ends_with_handle,
            hold: Hold::Off,
            ends_with_handle: opening.ends_with_handle,
            is_released: false,
            generation: generation(),
            forks: fork_count(),
            link,
        };
        let is_one_too_many =
            reserve::is_getting_short(|| handle.link.counts.sockets()) || handle.link.is_full(opening.max_streams);
        let has_socket = opening.socket.is_some();
        handle.send_open(opening.socket, head, false);
        if is_one_too_many {
            handle.state.close();
            handle.link.count_refused();
            handle.link.send(Command::Refuse { stream: handle.stream }, 0, None);
            if has_socket {
                handle.wait_if_short();
            }
        } else {
            handle.tell_handled();
        }
        Ok(handle)
    }

    /// If few descriptors are left, waits until the reactor has closed that of a stream that was refused, which is quick. Else
    /// many could come at once that are still open.
    fn wait_if_short(&self) {
        if reserve::is_short() && !self.is_open() {
            self.link.wait(QUICK, || !self.state.has_socket() || self.link.is_dead());
        }
    }

    /// A fork waits for what the handler that runs has pushed.
    fn tell_handled(&self) {
        if self.is_handled {
            set_handled(Some((Arc::clone(&self.link), Arc::clone(&self.state))));
        }
    }

    fn send_open(&self, socket: Option<OwnedFd>, head: Bytes, is_inherited: bool) {
        if let Some(socket) = &socket {
            self.prepare(socket);
        }
        let bytes = head.len();
        let beginning = Box::new(Beginning { settings: *self.settings, head, is_inherited });
        self.link.count_open();
        let enclosed = Enclosed { socket, state: Arc::clone(&self.state) };
        self.link.send(Command::Open { stream: self.stream, beginning }, bytes, Some(Box::new(enclosed)));
    }

    /// What a socket is told, and what is remembered of it, before the reactor gets it.
    fn prepare(&self, socket: &OwnedFd) {
        socket::give_up_after(socket.as_fd(), self.settings.timeout);
        socket::limit_unsent(socket.as_fd(), UNSENT_BYTES);
        self.state.set_socket(socket.as_raw_fd(), socket::cookie(socket.as_fd()));
    }

    /// Gives the stream its socket.
    pub fn attach(&mut self, socket: OwnedFd) {
        self.prepare(&socket);
        let enclosed = Enclosed { socket: Some(socket), state: Arc::clone(&self.state) };
        self.link.send(Command::Attach { stream: self.stream }, 0, Some(Box::new(enclosed)));
        self.wait_if_short();
    }

    /// Sends an event. In a forked child this makes the stream the child's.
    pub fn push(&mut self, event: &[u8]) -> Pushed {
        if !self.is_open() || (self.generation != generation() && !self.adopt()) {
            return Pushed::Gone;
        }
        self.begin();
        if event.is_empty() {
            return Pushed::Taken;
        }
        if self.is_limited() && !self.state.has_room(event.len(), self.settings.max_buffered) {
            if self.waits {
                return Pushed::Full;
            }
            if !self.has_room_soon(event.len()) {
                self.end(Reason::Slow, Ending::Discard);
                return Pushed::Gone;
            }
        }
        let event = self.settings.framing.frame(event);
        let bytes = event.len();
        self.state.add(bytes);
        self.link.send(Command::Push { stream: self.stream, event }, bytes, None);
        Pushed::Taken
    }

    /// Whether a push may find too much waiting. Where the reactor drops the oldest events it never does.
    fn is_limited(&self) -> bool {
        !self.settings.drop_oldest && self.state.is_attached()
    }

    /// Whether so many more bytes may wait when the reactor has tried to send what waits: a burst says nothing about the
    /// client. So this waits for the reactor, which is quick, and never for the client.
    fn has_room_soon(&self, bytes: usize) -> bool {
        let has_room = || self.state.has_room(bytes, self.settings.max_buffered);
        self.link.wait(QUICK, || has_room() || self.state.waits_for_client() || !self.is_open());
        has_room() && self.is_open()
    }

    /// Waits until there is room for so many bytes, at most for that long.
    pub fn wait_for_room(&self, bytes: usize, time: Duration) {
        if self.generation == generation() {
            // Not at every byte: who waits for half of it sends larger pieces, and wakes less often.
            let max_bytes = self.settings.max_buffered;
            let enough = max_bytes.saturating_sub(bytes).min(max_bytes / 2);
            self.link.wait(time, || self.state.waiting_bytes() <= enough || !self.is_open());
        }
    }

    /// Has it follow channels of a hub, whose it is from here on: it no longer ends with its handles. False if it has ended,
    /// or is another process's.
    ///
    /// # Errors
    ///
    /// If it is another hub's, for one id cannot be a place in the sequences of two; or if it would have too many topics.
    pub(super) fn subscribe(
        &mut self,
        link: &Arc<ReactorHandle>,
        hub: HubId,
        request: Request,
        max_topics: usize,
    ) -> io::Result<bool> {
        if !self.is_open() || self.generation != generation() || !Arc::ptr_eq(&self.link, link) {
            return Ok(false);
        }
        if !self.state.keep(hub) {
            return Err(io::Error::new(io::ErrorKind::Other, "this stream follows another hub"));
        }
        if !self.state.add_topics(request.topics.len(), max_topics) {
            let message = format!("a stream may have at most {max_topics} channels and patterns (max_topics)");
            return Err(io::Error::new(io::ErrorKind::Other, message));
        }
        let request = Box::new(request);
        let holds = self.hold != Hold::Off;
        if holds {
            self.hold = Hold::Held;
        }
        self.link.send(Command::Subscribe { hub, stream: self.stream, request, holds }, 0, None);
        Ok(true)
    }

    /// A handler begins to run: what it subscribes the stream to, before it returns or pushes, is one request.
    pub fn enter_handler(&mut self) {
        self.hold = Hold::Handler;
    }

    /// Makes what was subscribed to effective, if that is held.
    fn begin(&mut self) {
        if self.hold == Hold::Held && self.generation == generation() {
            self.link.send(Command::Begin { stream: self.stream }, 0, None);
            self.hold = Hold::Off;
        }
    }

    /// Has it follow something of a hub no longer; without topics, anything, and then it is the application's again.
    pub(super) fn unsubscribe(&mut self, hub: HubId, topics: Option<Box<[Topic]>>) {
        if self.state.is_kept_by(hub) && self.generation == generation() {
            if topics.is_none() {
                self.state.give_back();
            }
            self.link.send(Command::Unsubscribe { stream: self.stream, topics }, 0, None);
        }
    }

    /// Whether it follows a hub, which has to know every id that its client is sent.
    pub fn follows_hub(&self) -> bool {
        self.state.is_kept()
    }

    /// Ends the stream. What the first call says counts.
    pub fn end(&self, reason: Reason, ending: Ending) {
        if self.generation == generation() && self.state.close() {
            self.link.send(Command::End { stream: self.stream, reason, ending }, 0, None);
        }
    }

    /// Ends the stream as [`end`](Self::end), in a forked child also one that the child has not pushed to.
    pub fn close(&mut self, reason: Reason) {
        if self.is_open() && (self.generation == generation() || self.adopt()) {
            self.end(reason, Ending::Flush);
        }
    }

    /// Ends a stream that will never have a socket.
    pub fn fail(&self) {
        self.end(Reason::Error, Ending::Discard);
    }

    /// The application holds the stream no longer. It ends, if it is one that does, and no other thread holds it; a
    /// child that was forked meanwhile may go on.
    pub fn release(&mut self) {
        // Of several threads that let go at once, one is the last.
        let is_last = !std::mem::replace(&mut self.is_released, true) && self.state.let_go();
        if is_last && self.generation == generation() {
            self.end_with_handle();
        }
    }

    fn end_with_handle(&self) {
        if self.ends_with_handle && !self.state.is_kept() {
            let ending = if self.forks == fork_count() { Ending::Flush } else { Ending::HandOver };
            self.end(Reason::Application, ending);
        }
    }

    /// The handler has returned: from here on no push waits.
    pub fn leave_handler(&mut self) {
        self.waits = false;
        self.begin();
        self.hold = Hold::Off;
        if std::mem::take(&mut self.is_handled) {
            set_handled(None);
        }
    }

    /// Whether it takes events.
    pub fn is_open(&self) -> bool {
        self.state.is_open() && !self.link.is_dead()
    }

    /// Whether it ends when the last handle is released.
    pub fn ends_with_handle(&self) -> bool {
        self.ends_with_handle
    }

    /// How many bytes wait; none when it has ended.
    pub fn waiting_bytes(&self) -> usize {
        // What was pushed to it while it ended is nobody's to take off.
        if self.state.reason().is_some() {
            return 0;
        }
        self.state.waiting_bytes()
    }

    /// Its name, for [`take_ended`](super::take_ended).
    pub fn name(&self) -> StreamId {
        self.state.name
    }

    /// Waits until a stream that is ending has ended, at most for that long.
    pub fn wait_for_end(&self, time: Duration) {
        if self.generation == generation() && !self.is_open() {
            self.link.wait(time, || self.state.reason().is_some() || self.link.is_dead());
        }
    }

    /// Asks for its end to be told by [`take_ended`](super::take_ended). If it has ended already, says why.
    pub fn want_end(&self) -> Option<Reason> {
        if self.link.is_dead() {
            return Some(self.state.reason().unwrap_or(Reason::Error));
        }
        self.state.want_end()
    }

    /// Makes a stream of the parent's one of this child: it has inherited the descriptor. Not if some of what the parent
    /// has pushed was on its way at the fork, for that goes on there, and would be mixed with what is pushed here; nor if a
    /// hub of the parent's holds it, which may send something at any time; and not if the child has closed the descriptor,
    /// whose number may be another's by now.
    fn adopt(&mut self) -> bool {
        let inherited = self.state.take_socket().and_then(|(number, cookie)| descriptor::inherit(number, cookie).ok());
        let socket = inherited.filter(|_| self.state.waiting_bytes() == 0 && !self.state.is_kept());
        let (socket, link) = match socket.and_then(|socket| Some((socket, link().ok()?))) {
            Some(both) => both,
            None => {
                self.state.close();
                return false;
            }
        };
        // The parent's is left alone: the child never drops what the parent's thread may have held.
        std::mem::forget(std::mem::replace(&mut self.link, link));
        let parents = &self.state;
        let state = StreamState::new(parents.name, 0, parents.interpreter);
        if parents.is_end_wanted() {
            state.want_end();
        }
        self.state = Arc::new(state);
        self.stream = self.link.new_stream();
        self.is_released = false;
        self.generation = generation();
        self.forks = fork_count().wrapping_sub(1); // the parent has it too
        self.send_open(Some(socket), Bytes::new(), true);
        self.tell_handled();
        true
    }
}

/// For a new thread, which has a copy of every object.
impl Clone for StreamHandle {
    fn clone(&self) -> Self {
        if !self.is_released {
            self.state.hold();
        }
        Self {
            link: Arc::clone(&self.link),
            state: Arc::clone(&self.state),
            stream: self.stream,
            settings: Arc::clone(&self.settings),
            waits: self.waits,
            is_handled: false, // a handler runs in one thread
            hold: Hold::Off,
            ends_with_handle: self.ends_with_handle,
            is_released: self.is_released,
            generation: self.generation,
            forks: self.forks,
        }
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.begin();
        self.release();
        if self.state.is_kept() && self.generation == generation() && !self.state.is_end_wanted() {
            // Another thread may hold it yet: the reactor sees that.
            self.link.send(Command::Release { stream: self.stream }, 0, None);
        }
        if self.generation != generation() {
            if let Some((number, cookie)) = self.state.take_socket() {
                drop(descriptor::inherit(number, cookie)); // the child's copy; the connection is the parent's
            }
        }
    }
}
