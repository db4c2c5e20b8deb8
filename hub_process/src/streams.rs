//! The streams that workers have handed over.

use crate::ids_ahead::IdsAhead;
use crate::peers::{ByToken, End};
use eventsource_xs::reactor::Ending;
use eventsource_xs::runtime::{self, HandoverFile, OpenOptions, Pushed, ReactorHub, StreamHandle};
use eventsource_xs::stream::{Liveness, Reason, Settings, StreamId};
use eventsource_xs::wire::{Handover, Open, Response, StreamProgress, MAX_FRAME_BYTES};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The most bytes that may be pushed to a stream that has no socket yet.
const MOST_WITHOUT_SOCKET: usize = MAX_FRAME_BYTES;
/// The shortest time between two keepalives.
const LEAST_KEEPALIVE: Duration = Duration::from_millis(10);

/// The opener of the streams that this process has begun itself: no connection has this number.
pub const OWN: Opener = Opener { peer: 0, number: 0 };

/// The opener of a stream: a worker's connection, and the number that it has given the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opener {
    pub peer: u64,
    pub number: u64,
}

/// A stream, and what its opener knows of it.
#[derive(Debug)]
pub struct ServedStream {
    pub handle: StreamHandle,
    /// The opener that holds it.
    pub opener: Opener,
    /// The number of bytes that its opener has pushed.
    pushed: u64,
    /// True if progress is to be reported to the opener.
    is_watched: bool,
}

impl ServedStream {
    /// Opens a stream: one that a worker hands over, or of a client that this process answers itself, with the first bytes of
    /// the content, not coded yet. It is refused if there are `most` streams. Fails with the reason of its end.
    pub fn open(
        open: &Open<'_>,
        content: &[u8],
        socket: Option<OwnedFd>,
        opener: Opener,
        most: usize,
    ) -> Result<Self, Reason> {
        Self::open_or_resume(open, content, socket, opener, most, (None, None))
    }

    fn open_or_resume(
        open: &Open<'_>,
        content: &[u8],
        socket: Option<OwnedFd>,
        opener: Opener,
        most: usize,
        (members_of, liveness): (Option<&ReactorHub>, Option<(Instant, Liveness)>),
    ) -> Result<Self, Reason> {
        let keepalive = open.settings.keepalive.map(|time| time.max(LEAST_KEEPALIVE));
        let options = OpenOptions {
            max_streams: most,
            socket,
            head: open.unsent,
            content,
            body: open.body,
            settings: Settings { keepalive, ..open.settings },
            waits: false,
            ends_with_handle: false,
            interpreter: 0,
            handler_limit: None,
            may_wait: false,
            members_of,
        };
        let opened = match liveness {
            Some((at, liveness)) => StreamHandle::resume(options, liveness, at),
            None => StreamHandle::open(options),
        };
        let mut handle = opened.map_err(|_| Reason::Error)?;
        if open.holds {
            handle.enter_handler();
        }
        match handle.report_end_or_reason() {
            Some(reason) if members_of.is_none() => Err(reason),
            _ => Ok(Self { handle, opener, pushed: 0, is_watched: false }),
        }
    }

    /// Continues a stream of another program, to which its opener has pushed so many bytes, which perhaps has a member or a
    /// will in a hub, and was silent for a time then. Fails as [`open`](Self::open).
    pub fn resume(
        open: &Open<'_>,
        socket: Option<OwnedFd>,
        opener: Opener,
        pushed: u64,
        members_of: Option<&ReactorHub>,
        liveness: (Instant, Liveness),
    ) -> Result<Self, Reason> {
        let before = (members_of, Some(liveness));
        Ok(Self { pushed, ..Self::open_or_resume(open, b"", socket, opener, usize::MAX, before)? })
    }

    /// Called when the opener's handler has returned: subscriptions take effect.
    pub fn begin(&mut self) {
        self.handle.leave_handler();
    }

    /// Gives a stream its socket. Without one, the stream ends.
    pub fn attach(&mut self, socket: Option<OwnedFd>) -> Result<(), End> {
        if self.handle.is_attached() {
            return Err(End::Descriptors);
        }
        match socket {
            Some(socket) => self.handle.attach(socket),
            None => self.handle.end_without_socket(),
        }
        Ok(())
    }

    /// Pushes an event. Its opener is sent the state when the stream has made progress.
    pub fn push(&mut self, event: &[u8], has_id: bool) {
        self.pushed += event.len() as u64;
        if !std::mem::replace(&mut self.is_watched, true) {
            self.handle.watch_progress();
        }
        // A stream without its socket is not slow, however much is buffered, but it has its bound.
        if !self.handle.is_attached() && self.handle.buffered_bytes().saturating_add(event.len()) > MOST_WITHOUT_SOCKET
        {
            return self.end(Reason::Slow, true);
        }
        // A stream that has ended reports its end.
        let (Pushed::Taken | Pushed::Full | Pushed::Ended) = self.handle.push(event, has_id);
    }

    /// Returns the state, for the opener. Watches the stream further while anything is buffered.
    pub fn state(&mut self, stream: u64) -> Response<'static> {
        // Watched before the state is read, so that no later progress is missed.
        self.handle.watch_progress();
        let buffered = self.handle.buffered_bytes() as u64;
        self.is_watched = buffered > 0;
        let is_stalled = self.handle.is_stalled();
        Response::State(StreamProgress { stream, pushed: self.pushed, buffered, is_stalled })
    }

    /// Ends the stream.
    pub fn end(&self, reason: Reason, discards: bool) {
        self.handle.end(reason, if discards { Ending::Discard } else { Ending::Flush });
    }

    /// Called when the opener no longer holds the stream. It continues if it is subscribed and has its socket.
    fn release(mut self) {
        self.handle.leave_handler();
        if !self.handle.is_attached() {
            self.handle.end_without_socket();
        } else if !self.handle.is_subscribed() {
            self.handle.close(Reason::Application);
        }
    }
}

/// A stream of the library. Most streams of a large hub were released.
#[derive(Debug)]
enum StreamRecord {
    Served(Box<ServedStream>),
    /// Its opener no longer holds it.
    Released(Opener),
}

impl StreamRecord {
    /// Returns the connection that the end is reported to, if it is still there.
    fn opener(&self) -> Opener {
        match self {
            Self::Served(stream) => stream.opener,
            Self::Released(opener) => *opener,
        }
    }
}

/// All streams until their ends are taken, by the ids that the library gives them.
#[derive(Debug, Default)]
pub struct Streams {
    records: ByToken<StreamRecord>,
    /// The streams whose clients are ahead of the hub.
    pub ahead: IdsAhead,
}

impl Streams {
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Adds a stream, and returns its id.
    pub fn insert(&mut self, stream: ServedStream) -> u64 {
        let id = stream.handle.id().into();
        self.records.insert(id, StreamRecord::Served(Box::new(stream)));
        id
    }

    /// Returns a stream that its opener holds.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut ServedStream> {
        match self.records.get_mut(&id)? {
            StreamRecord::Served(stream) => Some(stream),
            StreamRecord::Released(_) => None,
        }
    }

    /// Lets a stream that its opener holds wait for an id that is [ahead](IdsAhead::wait_for) of the hub.
    pub fn wait_for(&mut self, id: u64, seq: u64, is_proven: bool, now: Instant) {
        if self.get_mut(id).is_some() {
            self.ahead.wait_for(id, seq, is_proven, now);
        }
    }

    /// Called when the opener no longer holds the stream. It continues if it is subscribed.
    pub fn release(&mut self, id: u64) {
        let Some(opener) = self.get_mut(id).map(|stream| stream.opener) else { return };
        if let Some(StreamRecord::Served(stream)) = self.records.insert(id, StreamRecord::Released(opener)) {
            stream.release();
        }
    }

    /// Removes a stream that has ended, and returns the connection that the end is reported to.
    pub fn remove(&mut self, id: StreamId) -> Option<Opener> {
        self.ahead.remove(id.into());
        self.records.remove(&id.into()).map(|record| record.opener())
    }

    /// Ends all streams, which no worker holds, in the order in which they have begun, after their clients are sent a
    /// reconnection time.
    pub fn end_all_with_retry(&self) {
        let mut all: Vec<u64> = self.records.keys().copied().collect();
        all.sort_unstable();
        all.into_iter().for_each(|id| runtime::end_with_retry(id.into()));
    }

    /// Hands the openers of all streams over to another program.
    pub fn hand_over(&self, file: &mut HandoverFile) {
        for (stream, record) in &self.records {
            let pushed = if let StreamRecord::Served(stream) = record { Some(stream.pushed) } else { None };
            let Opener { peer, number } = record.opener();
            file.add(&Handover::Opener { stream: *stream, peer, number, pushed });
        }
    }
}
