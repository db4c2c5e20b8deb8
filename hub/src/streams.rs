//! The streams that workers have handed over.

use crate::worker::End;
use eventsource_xs::reactor::Ending;
use eventsource_xs::runtime::upgrade::{Restored, SavedStreamHandle};
use eventsource_xs::runtime::{OpenOptions, Pushed, StreamHandle};
use eventsource_xs::saved;
use eventsource_xs::stream::{Reason, Settings, StreamId};
use eventsource_xs::wire::{Answer, Open, MAX_FRAME_BYTES};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How many bytes may be pushed to a stream that has no socket yet.
const MOST_WITHOUT_SOCKET: usize = MAX_FRAME_BYTES;
/// The shortest time between two keepalives.
const LEAST_KEEPALIVE: Duration = Duration::from_millis(10);

/// Who is told about a stream: a worker's connection, and the number that it has given the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    pub worker: u64,
    pub number: u64,
}

/// A stream, and what its opener knows of it.
#[derive(Debug)]
pub struct Stream {
    pub handle: StreamHandle,
    /// Who has opened it, while it holds the stream.
    pub opener: Option<Opener>,
    /// How many bytes its opener has pushed.
    pushed: u64,
    /// Whether the opener is to be told of progress.
    is_watched: bool,
}

impl Stream {
    /// Opens a stream that a worker hands over. Without its socket it is refused if there are `most` streams. Fails with the
    /// reason of its end.
    pub fn open(open: &Open<'_>, socket: Option<OwnedFd>, opener: Opener, most: usize) -> Result<Self, Reason> {
        let keepalive = open.settings.keepalive.map(|time| time.max(LEAST_KEEPALIVE));
        let options = OpenOptions {
            max_streams: if socket.is_some() { usize::MAX } else { most },
            socket,
            head: open.unsent,
            settings: Settings { keepalive, ..open.settings },
            waits: false,
            ends_with_handle: false,
            interpreter: 0,
            may_wait: false,
        };
        let mut handle = StreamHandle::open(options).map_err(|_| Reason::Error)?;
        if open.holds {
            handle.enter_handler();
        }
        match handle.report_end_or_reason() {
            Some(reason) => Err(reason),
            None => Ok(Self { handle, opener: Some(opener), pushed: 0, is_watched: false }),
        }
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

    /// Pushes an event. Its opener is told when the stream has made progress.
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
        let pushed = if has_id { self.handle.push_with_id(event) } else { self.handle.push(event) };
        let (Pushed::Taken | Pushed::Full | Pushed::Ended) = pushed;
    }

    /// Returns the state, for the opener. Watches the stream further while anything is buffered.
    pub fn state(&mut self, number: u64) -> Answer<'static> {
        // Watched before the state is read, so that no later progress is missed.
        self.handle.watch_progress();
        let buffered = self.handle.buffered_bytes() as u64;
        self.is_watched = buffered > 0;
        Answer::State { stream: number, pushed: self.pushed, buffered, is_stalled: self.handle.is_stalled() }
    }

    /// Ends the stream.
    pub fn end(&self, reason: Reason, discards: bool) {
        self.handle.end(reason, if discards { Ending::Discard } else { Ending::Flush });
    }

    /// Called when the opener no longer holds the stream. It goes on if it is subscribed and has its socket.
    pub fn release(&mut self) {
        self.opener = None;
        self.handle.leave_handler();
        if !self.handle.is_attached() {
            self.handle.end_without_socket();
        } else if !self.handle.is_subscribed() {
            self.handle.close(Reason::Application);
        }
    }
}

/// All streams, by the ids that the library gives them.
#[derive(Debug, Default)]
pub struct Streams(HashMap<u64, Stream>);

impl Streams {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a stream, and returns its id.
    pub fn insert(&mut self, stream: Stream) -> u64 {
        let id = stream.handle.id().into();
        self.0.insert(id, stream);
        id
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut Stream> {
        self.0.get_mut(&id)
    }

    pub fn remove(&mut self, id: StreamId) -> Option<Stream> {
        self.0.remove(&id.into())
    }

    /// Ends all streams that no worker holds, after their clients are sent a reconnection time.
    pub fn end_all_with_retry(&self) {
        for stream in self.0.values() {
            stream.handle.end_with_retry();
        }
    }
}

/// What a new program goes on with.
#[derive(Debug)]
pub struct SavedStream {
    handle: SavedStreamHandle,
    opener: Option<Opener>,
    pushed: u64,
    is_watched: bool,
}

saved!(Opener { worker, number });
saved!(SavedStream { handle, opener, pushed, is_watched });

impl Streams {
    pub fn saved(&self) -> Vec<SavedStream> {
        let saved = |stream: &Stream| SavedStream {
            handle: SavedStreamHandle::of(&stream.handle),
            opener: stream.opener,
            pushed: stream.pushed,
            is_watched: stream.is_watched,
        };
        self.0.values().map(saved).collect()
    }

    /// Goes on with the streams of another program.
    pub fn restore(saved: Vec<SavedStream>, restored: &Restored) -> Self {
        let stream = |saved: SavedStream| {
            let handle = restored.stream(&saved.handle)?;
            let SavedStream { opener, pushed, is_watched, .. } = saved;
            Some((handle.id().into(), Stream { handle, opener, pushed, is_watched }))
        };
        Self(saved.into_iter().filter_map(stream).collect())
    }

    /// Returns the answers that openers wait for: what has been taken while nobody was watching.
    pub fn owed_states(&mut self) -> Vec<(u64, Answer<'static>)> {
        let owed = self.0.values_mut().filter(|stream| stream.is_watched);
        owed.filter_map(|stream| stream.opener.map(|opener| (opener.worker, stream.state(opener.number)))).collect()
    }
}
